-- What do a simulation's invocations cost, by model and lane?
-- Exact sums: `decimal_sum` adds decimal text, which SUM would round.
-- :simulation
SELECT model, lane, currency, COUNT(*) AS invocations, decimal_sum(amount) AS total
FROM v_bill
WHERE simulation = :simulation
GROUP BY model, lane, currency
ORDER BY model, CAST(total AS REAL) DESC;
