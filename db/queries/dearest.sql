-- Which invocations are the dearest of a simulation, model by model?
-- :simulation
-- :count = 5
WITH ranked AS (
    SELECT *,
        -- Rounded for the order alone: text would put 10 before 9.
        ROW_NUMBER() OVER (PARTITION BY model ORDER BY CAST(amount AS REAL) DESC, invocation)
            AS place
    FROM v_bill
    WHERE simulation = :simulation
)
SELECT r.model, r.place, r.workload, r.lane, r.start, r.sequence, r.amount, r.currency,
    i.status, i.wall_ns, i.cpu_ns, r.invocation
FROM ranked r JOIN v_invocation i USING (invocation)
WHERE r.place <= :count
ORDER BY r.model, r.place;
