-- Which meters are missing in which lanes, and why?
-- :recording
SELECT lane, start, meter, note AS reason
FROM v_meter_source
WHERE recording = :recording AND source IS NULL
ORDER BY lane, start, meter;
