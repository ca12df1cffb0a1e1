-- What failed, how often, and why?
-- :recording
SELECT workload, lane, start, status, COUNT(*) AS invocations, exit_code, reason
FROM v_invocation
WHERE recording = :recording AND status <> 'ok'
GROUP BY workload, lane, start, status, exit_code, reason
ORDER BY invocations DESC, workload, lane, start;
