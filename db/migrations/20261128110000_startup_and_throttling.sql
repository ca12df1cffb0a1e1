-- CPU time and memory are known by phase where a reading at the function's
-- first instruction can be had: what was used before it is a column of its own,
-- and NULL where nobody could tell. `cpu_ns` is the whole, as before.
--
-- A CPU quota makes a function wait that would run: the time is kept, since a
-- tariff bills it like work.

ALTER TABLE invocation ADD COLUMN cpu_startup_ns INTEGER;
ALTER TABLE invocation ADD COLUMN memory_startup_bytes INTEGER;
ALTER TABLE invocation ADD COLUMN throttled_ns INTEGER;
ALTER TABLE invocation ADD COLUMN memory_grow_failed INTEGER;

DROP VIEW v_invocation;
CREATE VIEW v_invocation AS
SELECT
    c.recording_id AS recording,
    l.name         AS lane,
    c.workload, c.preset, c.start,
    i.sequence, i.status, i.reason, i.exit_code,
    i.wall_ns, i.cpu_ns, i.cpu_user_ns, i.cpu_system_ns, i.cpu_startup_ns, i.throttled_ns,
    i.cycles, i.ref_cycles, i.instructions, i.branch_misses, i.cache_misses,
    i.wasm_ops,
    i.page_faults, i.context_switches, i.migrations,
    i.memory_peak_bytes, i.memory_startup_bytes, i.memory_allocated_bytes,
    i.linear_memory_bytes, i.memory_grow_failed,
    i.memory_time_byte_ms, i.io_read_bytes, i.io_write_bytes,
    i.create_ns, i.start_ns, i.run_ns, i.teardown_ns,
    i.deserialize_ns, i.instantiate_ns, i.release_ns,
    i.output_bytes, i.counter_coverage_ppm, i.offset_ns,
    i.id AS invocation, c.id AS cell
FROM invocation i
JOIN cell c ON c.id = i.cell_id
JOIN lane l ON l.id = c.lane_id;
