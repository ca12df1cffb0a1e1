-- The first schema. A recording has cells (lane x workload x preset x start
-- kind), a cell has invocations. What is the same for all invocations of a
-- cell stands in the cell, so that an invocation stays narrow and quick to
-- write and to scan. NULL always means "not measured"; the reason is in
-- lane_meter.

CREATE TABLE recording (
    id           INTEGER PRIMARY KEY,
    label        TEXT,
    -- UTC, RFC 3339.
    started_at   TEXT NOT NULL,
    ended_at     TEXT,
    -- 'interrupted' is also set on the next open, when the owner is gone.
    status       TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed', 'interrupted')),
    -- pid, start time in ticks and boot: identifies the process that records.
    owner        TEXT NOT NULL,
    plan         TEXT NOT NULL,
    host         TEXT NOT NULL,
    -- NULL: sampling was off.
    sample_interval_ns INTEGER,
    -- What the sampler's own thread used, and how often it woke.
    sampler_cpu_ns     INTEGER,
    sampler_ticks      INTEGER,
    -- Samples that did not fit its buffer.
    samples_dropped    INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A lane as it was in a recording; `unavailable` says why it could not run.
CREATE TABLE lane (
    id           INTEGER PRIMARY KEY,
    recording_id INTEGER NOT NULL REFERENCES recording ON DELETE CASCADE,
    name         TEXT NOT NULL,
    version      TEXT,
    note         TEXT,
    unavailable  TEXT,
    UNIQUE (recording_id, name)
) STRICT;

CREATE TABLE cell (
    id           INTEGER PRIMARY KEY,
    recording_id INTEGER NOT NULL REFERENCES recording ON DELETE CASCADE,
    lane_id      INTEGER NOT NULL REFERENCES lane ON DELETE CASCADE,
    workload     TEXT NOT NULL,
    preset       TEXT NOT NULL,
    start        TEXT NOT NULL CHECK (start IN ('cold', 'warm')),
    footprint_bytes INTEGER,
    footprint_of TEXT,
    -- Of the separate counting run.
    wasm_ops     INTEGER,
    -- Why the cell could not be prepared, and remarks.
    note         TEXT
) STRICT;
CREATE INDEX cell_recording ON cell (recording_id);

-- Phases that belong to no invocation. Those that do are columns of it: a
-- replay of millions of rows reads them all.
CREATE TABLE phase (
    cell_id     INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
    name        TEXT NOT NULL CHECK (name = 'prepare'),
    duration_ns INTEGER NOT NULL,
    PRIMARY KEY (cell_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE invocation (
    id          INTEGER PRIMARY KEY,
    cell_id     INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
    -- From 1 within the cell.
    sequence    INTEGER NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('ok', 'failed', 'timeout', 'interrupted')),
    reason      TEXT,
    exit_code   INTEGER,
    -- Since the recording began, on the monotonic clock.
    offset_ns   INTEGER NOT NULL,
    create_ns   INTEGER,
    start_ns    INTEGER,
    run_ns      INTEGER,
    teardown_ns INTEGER,
    wall_ns     INTEGER,
    cpu_ns      INTEGER,
    cpu_user_ns INTEGER,
    cpu_system_ns INTEGER,
    cycles      INTEGER,
    ref_cycles  INTEGER,
    instructions INTEGER,
    branch_misses INTEGER,
    cache_misses INTEGER,
    wasm_ops    INTEGER,
    page_faults INTEGER,
    context_switches INTEGER,
    migrations  INTEGER,
    memory_peak_bytes INTEGER,
    linear_memory_bytes INTEGER,
    memory_allocated_bytes INTEGER,
    -- Bytes times milliseconds: nanoseconds would overflow after a minute.
    memory_time_byte_ms INTEGER,
    io_read_bytes INTEGER,
    io_write_bytes INTEGER,
    output_bytes INTEGER,
    -- Least time running over time enabled of multiplexed hardware counters,
    -- in parts per million; the counts are scaled up already.
    counter_coverage_ppm INTEGER
) STRICT;
CREATE INDEX invocation_cell ON invocation (cell_id);

-- Where each meter came from in a lane. More than one row for a meter: the
-- source changed during the recording.
CREATE TABLE lane_meter (
    lane_id INTEGER NOT NULL REFERENCES lane ON DELETE CASCADE,
    start   TEXT NOT NULL CHECK (start IN ('cold', 'warm')),
    meter   TEXT NOT NULL,
    -- NULL: not measured; the note says why.
    source  TEXT,
    note    TEXT NOT NULL,
    UNIQUE (lane_id, start, meter, source, note)
) STRICT;

-- The time series. `at_ns` is since the invocation was requested.
CREATE TABLE sample (
    invocation_id INTEGER NOT NULL REFERENCES invocation ON DELETE CASCADE,
    at_ns   INTEGER NOT NULL,
    meter   TEXT NOT NULL,
    value   INTEGER NOT NULL,
    PRIMARY KEY (invocation_id, at_ns, meter)
) STRICT, WITHOUT ROWID;
