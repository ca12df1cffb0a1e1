-- Whether a counter leaves out kernel mode, since it may not count it: so far only
-- the note said so.

ALTER TABLE lane_meter ADD COLUMN user_only INTEGER NOT NULL DEFAULT 0
    CHECK (user_only IN (0, 1));
UPDATE lane_meter SET user_only = 1
WHERE source IS NOT NULL
    AND instr(note, 'user mode only: perf_event_paranoid forbids kernel mode') > 0;

DROP VIEW v_meter_source;
CREATE VIEW v_meter_source AS
SELECT l.recording_id AS recording, l.name AS lane, m.start, m.meter, m.source, m.note,
       m.user_only
FROM lane_meter m
JOIN lane l ON l.id = m.lane_id;
