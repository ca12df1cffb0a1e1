-- Invocations that were measured elsewhere and imported: a trace is kept like a
-- recording, with its platform where a recording has a lane, and its functions
-- where that has workloads, so that whatever reads recordings reads traces.
--
-- A trace is not seen before its last row is stored: `importing` is 1 until then,
-- in the recording and in its cells. What has been read of each file is kept in
-- the same transaction as the rows, so that an import that was killed goes on
-- where it stopped.

ALTER TABLE recording ADD COLUMN kind TEXT NOT NULL DEFAULT 'recording'
    CHECK (kind IN ('recording', 'trace'));
ALTER TABLE recording ADD COLUMN importing INTEGER NOT NULL DEFAULT 0
    CHECK (importing IN (0, 1));

ALTER TABLE cell ADD COLUMN importing INTEGER NOT NULL DEFAULT 0
    CHECK (importing IN (0, 1));
-- Region of the provider; NULL: not known, or measured here.
ALTER TABLE cell ADD COLUMN region TEXT;
-- What the offsets of the invocations count from. In a recording they count from
-- its start, and this is 0; in a trace they are nanoseconds since 1970 UTC, and
-- this is the earliest of the trace.
ALTER TABLE cell ADD COLUMN offset_base_ns INTEGER NOT NULL DEFAULT 0;

-- Time that the provider says it billed.
ALTER TABLE invocation ADD COLUMN billed_ns INTEGER;
-- Invocations that a row of a sampled log stands for; NULL: 1.
ALTER TABLE invocation ADD COLUMN weight INTEGER;
ALTER TABLE invocation ADD COLUMN instance_id INTEGER;
-- A UUID, or 16 bytes of the SHA-256 of the log's own name of the request.
ALTER TABLE invocation ADD COLUMN request_id BLOB;

-- Instances that served the invocations of a trace, by the log's names.
CREATE TABLE trace_instance (
    id           INTEGER PRIMARY KEY,
    recording_id INTEGER NOT NULL REFERENCES recording ON DELETE CASCADE,
    name         TEXT NOT NULL,
    UNIQUE (recording_id, name)
) STRICT;

-- Inputs of a trace, and how far each was read.
CREATE TABLE trace_file (
    id           INTEGER PRIMARY KEY,
    recording_id INTEGER NOT NULL REFERENCES recording ON DELETE CASCADE,
    -- From 0, in the order in which they are read.
    position     INTEGER NOT NULL,
    path         TEXT NOT NULL,
    format       TEXT NOT NULL,
    -- NULL: standard input.
    bytes        INTEGER,
    -- By which the same file is noticed: a digest of its size, start and end.
    identity     TEXT NOT NULL,
    records      INTEGER NOT NULL DEFAULT 0,
    rows         INTEGER NOT NULL DEFAULT 0,
    -- Of the rows, batch after batch; independent of where an import was cut.
    digest       TEXT NOT NULL DEFAULT '',
    -- Where to go on, as JSON; NULL: the file was read to its end.
    checkpoint   TEXT DEFAULT '{}',
    UNIQUE (recording_id, position)
) STRICT;
CREATE INDEX trace_file_identity ON trace_file (identity);

-- Records that gave no row, by their kind or cause.
CREATE TABLE trace_leftover (
    file_id  INTEGER NOT NULL REFERENCES trace_file ON DELETE CASCADE,
    -- 'other': no invocation, as the format foresees; 'rejected': cannot be read;
    -- 'duplicate': a request that is there already; 'note': read, with a remark.
    kind     TEXT NOT NULL CHECK (kind IN ('other', 'rejected', 'duplicate', 'note')),
    cause    TEXT NOT NULL,
    records  INTEGER NOT NULL,
    -- Numbers of the first lines, as a JSON array.
    first_lines TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (file_id, kind, cause)
) STRICT, WITHOUT ROWID;

DROP VIEW v_recording;
CREATE VIEW v_recording AS
SELECT r.id AS recording, r.label, r.started_at, r.ended_at, r.status,
       r.sample_interval_ns, r.sampler_cpu_ns, r.sampler_ticks, r.samples_dropped,
       (SELECT COUNT(*) FROM cell c JOIN invocation i ON i.cell_id = c.id
        WHERE c.recording_id = r.id) AS invocations,
       r.kind
FROM recording r
WHERE r.importing = 0;

CREATE VIEW v_trace_file AS
SELECT f.recording_id AS recording, f.position, f.path, f.format, f.bytes, f.records, f.rows,
       f.digest
FROM trace_file f
JOIN recording r ON r.id = f.recording_id
WHERE r.importing = 0;

CREATE VIEW v_trace_leftover AS
SELECT f.recording_id AS recording, f.path, x.kind, x.cause, x.records, x.first_lines
FROM trace_leftover x
JOIN trace_file f ON f.id = x.file_id
JOIN recording r ON r.id = f.recording_id
WHERE r.importing = 0;

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
    i.output_bytes, i.counter_coverage_ppm, i.offset_ns - c.offset_base_ns AS offset_ns,
    i.id AS invocation, c.id AS cell,
    i.billed_ns, i.weight, c.region,
    -- Nanoseconds since 1970 UTC, where a log has the time.
    CASE WHEN c.offset_base_ns > 0 THEN i.offset_ns END AS unix_ns,
    lower(hex(i.request_id)) AS request,
    (SELECT name FROM trace_instance t WHERE t.id = i.instance_id) AS instance
FROM invocation i
JOIN cell c ON c.id = i.cell_id
JOIN lane l ON l.id = c.lane_id
WHERE c.importing = 0;
