-- What was run, by cell: without it, two recordings of one name are compared
-- though they ran other arguments or another program. Recordings made before
-- have no rows here.

CREATE TABLE subject (
    cell_id  INTEGER PRIMARY KEY REFERENCES cell ON DELETE CASCADE,
    -- A JSON array; functions are given no environment of their own.
    arguments       TEXT NOT NULL,
    -- Standard input: 'none', 'counter' (numbers that count up), or a SHA-256.
    input           TEXT NOT NULL,
    input_bytes     INTEGER NOT NULL,
    -- SHA-256, in hexadecimal; NULL: the workload has no such form.
    module_sha256   TEXT,
    program_sha256  TEXT,
    -- Of standard output; NULL: only the exit status was checked.
    expected_sha256 TEXT,
    -- Limits that held.
    memory_limit_bytes INTEGER NOT NULL,
    timeout_ns         INTEGER NOT NULL,
    output_limit_bytes INTEGER NOT NULL
) STRICT;

CREATE VIEW v_subject AS
SELECT c.recording_id AS recording, l.name AS lane, c.workload, c.preset, c.start,
       s.arguments, s.input, s.input_bytes, s.module_sha256, s.program_sha256,
       s.expected_sha256, s.memory_limit_bytes, s.timeout_ns, s.output_limit_bytes,
       c.id AS cell
FROM subject s
JOIN cell c ON c.id = s.cell_id
JOIN lane l ON l.id = c.lane_id;
