-- How many times the fine bill is the coarse one, by workload and lane?
-- Every coarse model beside every fine one of the same currency; where a model
-- refused a lane there is nothing to compare.
-- :simulation
WITH priced AS (
    SELECT granularity, model, currency, workload, preset, lane, start,
        decimal_sum(amount) AS total, MIN(invocations) AS invocations
    FROM v_line_item
    WHERE simulation = :simulation
    GROUP BY granularity, model, currency, workload, preset, lane, start
    HAVING COUNT(refused) = 0
)
SELECT workload, lane, start, c.model AS coarse_model, f.model AS fine_model,
    c.total AS coarse_total, f.total AS fine_total, c.currency,
    ROUND(CAST(c.total AS REAL) / CAST(f.total AS REAL), 2) AS coarse_over_fine
FROM priced c JOIN priced f USING (currency, workload, preset, lane, start)
WHERE c.granularity = 'coarse' AND f.granularity = 'fine'
ORDER BY workload, lane, start, coarse_model, fine_model;
