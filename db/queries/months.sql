-- What does the month of a simulation cost, by model and lane?
-- After allowances, tiers, packages and the model's rounding.
-- :simulation
SELECT model, lane, currency, decimal_sum(amount) AS total, COUNT(DISTINCT cell) AS cells
FROM v_settlement
WHERE simulation = :simulation
GROUP BY model, lane, currency
ORDER BY model, CAST(total AS REAL) DESC;
