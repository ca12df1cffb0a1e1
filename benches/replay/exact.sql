-- What the five models bill, in whole steps of their grids: requests; MiB x ms;
-- 1/1000 GB x 100 ms; 1/10 GHz x 100 ms; 128 MiB x ms; cycles; ns of CPU time.
-- The products are integers of 64 bits, their sums of 128. CASE instead of
-- greatest() and least(), which take DuckDB half as long again.
SELECT
    count(*),
    sum(((CASE WHEN memory < 134217728 THEN 134217728 ELSE memory END + 1048575) // 1048576)
        * ((start_ns + run_ns + 999999) // 1000000)),
    sum(gb * tenths),
    sum(ghz * tenths),
    sum(((CASE WHEN peak < 134217728 THEN 134217728 WHEN peak > 1610612736 THEN 1610612736
          ELSE peak END + 134217727) // 134217728)
        * ((CASE WHEN run_ns < 100000000 THEN 100000000 ELSE run_ns END + 999999) // 1000000)),
    sum(cycles),
    sum(cpu_ns)
FROM (
    SELECT *,
        (run_ns + 99999999) // 100000000 AS tenths,
        CASE WHEN memory <= 134217728 THEN 125 WHEN memory <= 268435456 THEN 250
             WHEN memory <= 536870912 THEN 500 WHEN memory <= 1073741824 THEN 1000
             WHEN memory <= 2147483648 THEN 2000 WHEN memory <= 4294967296 THEN 4000
             WHEN memory <= 8589934592 THEN 8000 END AS gb,
        CASE WHEN memory <= 134217728 THEN 2 WHEN memory <= 268435456 THEN 4
             WHEN memory <= 536870912 THEN 8 WHEN memory <= 1073741824 THEN 14
             WHEN memory <= 2147483648 THEN 24 WHEN memory <= 8589934592 THEN 48 END AS ghz
    FROM usage
)
