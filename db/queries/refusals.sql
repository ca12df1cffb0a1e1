-- Which lanes could a price model not bill, and why?
-- A lane that lacks a meter the model charges for is refused, never billed 0.
-- :simulation
SELECT DISTINCT model, lane, workload, start, refused AS reason
FROM v_line_item
WHERE simulation = :simulation AND refused IS NOT NULL
ORDER BY model, lane, workload, start;
