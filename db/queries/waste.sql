-- What of a bill was used, and what was paid for nothing: by model, lane and part?
-- :simulation
WITH parts AS (
    SELECT model, lane, currency, part, decimal_sum(amount) AS amount
    FROM v_waste
    WHERE simulation = :simulation
    GROUP BY model, lane, currency, part
)
SELECT model, lane, part, amount, currency,
    ROUND(100 * CAST(amount AS REAL) / SUM(CAST(amount AS REAL)) OVER (PARTITION BY model, lane), 1)
        AS percent
FROM parts
ORDER BY model, lane, CAST(amount AS REAL) DESC, part;
