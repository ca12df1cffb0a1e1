-- Which recordings are there, and how did they go?
SELECT r.recording, r.label, r.started_at, r.status,
    COUNT(i.invocation) AS invocations,
    COUNT(i.invocation) FILTER (WHERE i.status IN ('failed', 'timeout')) AS bad,
    COUNT(DISTINCT i.lane) AS lanes,
    COUNT(DISTINCT i.workload) AS workloads,
    ROUND(SUM(i.wall_ns) / 1e9, 3) AS wall_seconds,
    ROUND(r.sampler_cpu_ns / 1e9, 3) AS sampler_cpu_seconds,
    r.samples_dropped
FROM v_recording r LEFT JOIN v_invocation i USING (recording)
GROUP BY r.recording
ORDER BY r.recording DESC;
