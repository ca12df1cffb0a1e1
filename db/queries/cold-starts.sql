-- How long do cold starts take: p50 and p95 by workload and lane?
-- A start-up is what passes before the function's first instruction. Percentiles
-- are nearest-rank: a value that was measured, not one between two.
-- :recording
WITH starts AS (
    SELECT workload, lane, COALESCE(create_ns, 0) + COALESCE(start_ns, 0) AS startup_ns
    FROM v_invocation
    WHERE recording = :recording AND start = 'cold' AND status = 'ok'
      AND (create_ns IS NOT NULL OR start_ns IS NOT NULL)
), ranked AS (
    SELECT *,
        ROW_NUMBER() OVER (PARTITION BY workload, lane ORDER BY startup_ns) AS rank,
        COUNT(*) OVER (PARTITION BY workload, lane) AS runs
    FROM starts
)
SELECT workload, lane, runs,
    MAX(startup_ns) FILTER (WHERE rank = (runs * 50 + 99) / 100) AS p50_ns,
    MAX(startup_ns) FILTER (WHERE rank = (runs * 95 + 99) / 100) AS p95_ns,
    MAX(startup_ns) AS max_ns
FROM ranked
GROUP BY workload, lane
ORDER BY workload, p50_ns;
