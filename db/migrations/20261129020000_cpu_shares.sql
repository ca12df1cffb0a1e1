-- A function may have a share of CPUs, which tariffs bill by, and which holds it back:
-- throttled_ns beside it is what was asked for, and without it a disturbance.

ALTER TABLE invocation ADD COLUMN vcpu_allocated_milli INTEGER;

DROP VIEW v_invocation;
CREATE VIEW v_invocation AS
SELECT
    c.recording_id AS recording,
    l.name         AS lane,
    c.workload, c.preset, c.start,
    i.sequence, i.status, i.reason, i.exit_code,
    i.wall_ns, i.cpu_ns, i.cpu_user_ns, i.cpu_system_ns, i.cpu_startup_ns, i.throttled_ns,
    i.vcpu_allocated_milli,
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
