-- The same in binary floating point: quicker, and not exact.
SELECT
    count(*),
    sum(ceil((CASE WHEN memory < 134217728 THEN 134217728 ELSE memory END) / 1048576.0::DOUBLE)
        * ceil((start_ns + run_ns) / 1000000.0::DOUBLE)),
    sum(gb * tenths),
    sum(ghz * tenths),
    sum(ceil((CASE WHEN peak < 134217728 THEN 134217728 WHEN peak > 1610612736 THEN 1610612736
              ELSE peak END) / 134217728.0::DOUBLE)
        * ceil((CASE WHEN run_ns < 100000000 THEN 100000000 ELSE run_ns END) / 1000000.0::DOUBLE)),
    sum(cycles),
    sum(cpu_ns)
FROM (
    SELECT *,
        ceil(run_ns / 100000000.0::DOUBLE) AS tenths,
        CASE WHEN memory <= 134217728 THEN 125::DOUBLE WHEN memory <= 268435456 THEN 250
             WHEN memory <= 536870912 THEN 500 WHEN memory <= 1073741824 THEN 1000
             WHEN memory <= 2147483648 THEN 2000 WHEN memory <= 4294967296 THEN 4000
             WHEN memory <= 8589934592 THEN 8000 END AS gb,
        CASE WHEN memory <= 134217728 THEN 2::DOUBLE WHEN memory <= 268435456 THEN 4
             WHEN memory <= 536870912 THEN 8 WHEN memory <= 1073741824 THEN 14
             WHEN memory <= 2147483648 THEN 24 WHEN memory <= 8589934592 THEN 48 END AS ghz
    FROM usage
)
