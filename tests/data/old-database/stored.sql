SELECT 'bill' AS kind, simulation, model, invocation AS number, '' AS name, amount, exact FROM v_bill
UNION ALL
SELECT 'charge', simulation, model, cell, charge, amount, exact FROM v_line_item
UNION ALL
SELECT 'waste', simulation, model, cell, part, amount, exact FROM v_waste
ORDER BY 1, 2, 3, 4, 5
