-- What a cell's function was given beside arguments, input and limits, as a JSON object without
-- what is usual: image, invoke, environment (names only: values may be secrets), dirs, workdir,
-- expected_exit, loosened (rules of the sandbox), cpu_share (thousandths of a CPU).
-- NULL: nothing of these.
ALTER TABLE subject ADD COLUMN settings TEXT;

DROP VIEW v_subject;
CREATE VIEW v_subject AS
SELECT c.recording_id AS recording, l.name AS lane, c.workload, c.preset, c.start,
       s.arguments, s.input, s.input_bytes, s.module_sha256, s.program_sha256,
       s.expected_sha256, s.memory_limit_bytes, s.timeout_ns, s.output_limit_bytes,
       s.settings, c.id AS cell
FROM subject s
JOIN cell c ON c.id = s.cell_id
JOIN lane l ON l.id = c.lane_id;
