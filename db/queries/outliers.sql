-- Which invocations took more than :factor times the median of their cell?
-- The median is the lower one of two in the middle.
-- :recording
-- :factor = 3
WITH ranked AS (
    SELECT *,
        ROW_NUMBER() OVER (PARTITION BY cell ORDER BY wall_ns) AS rank,
        COUNT(*) OVER (PARTITION BY cell) AS runs
    FROM v_invocation
    WHERE recording = :recording AND status = 'ok' AND wall_ns IS NOT NULL
), medians AS (
    SELECT cell, wall_ns AS median_ns FROM ranked WHERE rank = (runs + 1) / 2
)
SELECT workload, lane, start, sequence, wall_ns, median_ns,
    ROUND(1.0 * wall_ns / median_ns, 2) AS times,
    create_ns, start_ns, run_ns, context_switches, invocation
FROM ranked JOIN medians USING (cell)
WHERE wall_ns > :factor * median_ns
ORDER BY times DESC;
