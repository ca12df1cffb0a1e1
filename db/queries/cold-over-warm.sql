-- How many times as long as a warm invocation does a cold one take?
-- Means of the wall time, of invocations that ended well.
-- :recording
SELECT workload, preset, lane,
    COUNT(*) FILTER (WHERE start = 'cold') AS cold_runs,
    COUNT(*) FILTER (WHERE start = 'warm') AS warm_runs,
    CAST(AVG(wall_ns) FILTER (WHERE start = 'cold') AS INTEGER) AS cold_mean_ns,
    CAST(AVG(wall_ns) FILTER (WHERE start = 'warm') AS INTEGER) AS warm_mean_ns,
    ROUND(AVG(wall_ns) FILTER (WHERE start = 'cold')
        / AVG(wall_ns) FILTER (WHERE start = 'warm'), 2) AS cold_over_warm
FROM v_invocation
WHERE recording = :recording AND status = 'ok' AND wall_ns IS NOT NULL
GROUP BY workload, preset, lane
HAVING cold_runs > 0 AND warm_runs > 0
ORDER BY cold_over_warm DESC;
