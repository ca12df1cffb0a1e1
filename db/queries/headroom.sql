-- How much of the memory that is paid for is never used?
-- :recording
SELECT workload, lane, start,
    COUNT(*) AS runs,
    MAX(memory_peak_bytes) AS peak_bytes,
    MAX(memory_allocated_bytes) AS allocated_bytes,
    ROUND(100.0 * (1 - 1.0 * MAX(memory_peak_bytes) / MAX(memory_allocated_bytes)), 1)
        AS unused_percent
FROM v_invocation
WHERE recording = :recording AND memory_peak_bytes IS NOT NULL
  AND memory_allocated_bytes IS NOT NULL
GROUP BY workload, lane, start
ORDER BY unused_percent DESC, workload, lane, start;
