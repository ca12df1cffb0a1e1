-- Compiling ahead of time, done over and over to be measured, whatever was in
-- the lane's cache; `phase` has what preparing the cell really took.

CREATE TABLE compile (
    cell_id     INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
    -- From 1 within the cell.
    sequence    INTEGER NOT NULL,
    duration_ns INTEGER NOT NULL,
    PRIMARY KEY (cell_id, sequence)
) STRICT, WITHOUT ROWID;

CREATE VIEW v_compile AS
SELECT c.recording_id AS recording, l.name AS lane, c.workload, x.sequence, x.duration_ns,
       c.id AS cell
FROM compile x
JOIN cell c ON c.id = x.cell_id
JOIN lane l ON l.id = c.lane_id;
