-- The public face for queries. Columns are added, never renamed or removed.

CREATE VIEW v_invocation AS
SELECT
    c.recording_id AS recording,
    l.name         AS lane,
    c.workload, c.preset, c.start,
    i.sequence, i.status, i.reason, i.exit_code,
    i.wall_ns, i.cpu_ns, i.cpu_user_ns, i.cpu_system_ns,
    i.cycles, i.ref_cycles, i.instructions, i.branch_misses, i.cache_misses,
    i.wasm_ops,
    i.page_faults, i.context_switches, i.migrations,
    i.memory_peak_bytes, i.memory_allocated_bytes, i.linear_memory_bytes,
    i.memory_time_byte_ms, i.io_read_bytes, i.io_write_bytes,
    i.create_ns, i.start_ns, i.run_ns, i.teardown_ns,
    i.output_bytes, i.counter_coverage_ppm, i.offset_ns,
    i.id AS invocation, c.id AS cell
FROM invocation i
JOIN cell c ON c.id = i.cell_id
JOIN lane l ON l.id = c.lane_id;

CREATE VIEW v_meter_source AS
SELECT l.recording_id AS recording, l.name AS lane, m.start, m.meter, m.source, m.note
FROM lane_meter m
JOIN lane l ON l.id = m.lane_id;

CREATE VIEW v_sample AS
SELECT c.recording_id AS recording, l.name AS lane, c.workload, c.start, i.sequence,
       s.at_ns, s.meter, s.value, s.invocation_id AS invocation
FROM sample s
JOIN invocation i ON i.id = s.invocation_id
JOIN cell c ON c.id = i.cell_id
JOIN lane l ON l.id = c.lane_id;

CREATE VIEW v_recording AS
SELECT r.id AS recording, r.label, r.started_at, r.ended_at, r.status,
       r.sample_interval_ns, r.sampler_cpu_ns, r.sampler_ticks, r.samples_dropped,
       (SELECT COUNT(*) FROM cell c JOIN invocation i ON i.cell_id = c.id
        WHERE c.recording_id = r.id) AS invocations
FROM recording r;

CREATE VIEW v_bill AS
SELECT b.simulation_id AS simulation, s.recording_id AS recording, b.model, m.currency,
       l.name AS lane, c.workload, c.preset, c.start, i.sequence, b.amount,
       b.invocation_id AS invocation
FROM bill b
JOIN simulation s ON s.id = b.simulation_id
JOIN simulation_model m ON m.simulation_id = b.simulation_id AND m.model = b.model
JOIN invocation i ON i.id = b.invocation_id
JOIN cell c ON c.id = i.cell_id
JOIN lane l ON l.id = c.lane_id;
