-- Is the clock what it says: cycles and TSC ticks for each second of CPU time?
-- Far from the machine's frequency, one of the two meters is wrong, or covers
-- other work than the other.
-- :recording
SELECT lane, start,
    COUNT(*) AS runs,
    ROUND(SUM(cpu_ns) FILTER (WHERE cycles IS NOT NULL OR ref_cycles IS NOT NULL) / 1e9, 3)
        AS cpu_seconds,
    CAST(SUM(cycles) * 1e9 / SUM(cpu_ns) FILTER (WHERE cycles IS NOT NULL) AS INTEGER)
        AS cycles_per_second,
    CAST(SUM(ref_cycles) * 1e9 / SUM(cpu_ns) FILTER (WHERE ref_cycles IS NOT NULL) AS INTEGER)
        AS ref_cycles_per_second
FROM v_invocation
WHERE recording = :recording AND status = 'ok' AND cpu_ns > 0
GROUP BY lane, start
ORDER BY lane, start;
