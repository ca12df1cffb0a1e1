-- Did a recording get slower or faster on the way: its last third against its first?
-- Medians of the run time; a machine that warms up or is shared shows here.
-- :recording
WITH thirds AS (
    SELECT cell, workload, lane, start, run_ns,
        NTILE(3) OVER (PARTITION BY cell ORDER BY sequence) AS third
    FROM v_invocation
    WHERE recording = :recording AND status = 'ok' AND run_ns IS NOT NULL
), ranked AS (
    SELECT *,
        ROW_NUMBER() OVER (PARTITION BY cell, third ORDER BY run_ns) AS rank,
        COUNT(*) OVER (PARTITION BY cell, third) AS runs
    FROM thirds
)
SELECT workload, lane, start,
    MAX(run_ns) FILTER (WHERE third = 1) AS first_third_ns,
    MAX(run_ns) FILTER (WHERE third = 3) AS last_third_ns,
    ROUND(100.0 * MAX(run_ns) FILTER (WHERE third = 3) / MAX(run_ns) FILTER (WHERE third = 1) - 100,
        1) AS change_percent
FROM ranked
WHERE rank = (runs + 1) / 2
GROUP BY cell, workload, lane, start
HAVING last_third_ns IS NOT NULL
ORDER BY ABS(change_percent) DESC;
