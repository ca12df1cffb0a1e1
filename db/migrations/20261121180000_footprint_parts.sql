-- What a footprint consists of, and what it takes to run it: an image is made
-- of layers and run by a runtime, a shim and an engine, and their sizes should
-- not be mixed up.

CREATE TABLE footprint (
    cell_id  INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
    -- The order in which a lane gives its parts.
    position INTEGER NOT NULL,
    name     TEXT NOT NULL,
    -- What is shipped with each function, or is there once for all.
    kind     TEXT NOT NULL CHECK (kind IN ('function', 'runtime')),
    bytes    INTEGER NOT NULL,
    PRIMARY KEY (cell_id, position)
) STRICT, WITHOUT ROWID;

CREATE VIEW v_footprint AS
SELECT c.recording_id AS recording, l.name AS lane, c.workload, c.preset, c.start,
       f.position, f.name, f.kind, f.bytes, c.id AS cell
FROM footprint f
JOIN cell c ON c.id = f.cell_id
JOIN lane l ON l.id = c.lane_id;
