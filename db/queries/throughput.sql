-- How many warm invocations a second can one worker do, back to back?
-- :recording
SELECT workload, preset, lane,
    COUNT(*) AS runs,
    CAST(AVG(wall_ns) AS INTEGER) AS mean_wall_ns,
    CAST(COUNT(*) * 1e9 / SUM(wall_ns) AS INTEGER) AS invocations_per_second
FROM v_invocation
WHERE recording = :recording AND start = 'warm' AND status = 'ok' AND wall_ns > 0
GROUP BY workload, preset, lane
ORDER BY invocations_per_second DESC;
