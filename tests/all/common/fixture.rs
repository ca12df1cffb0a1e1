//! A small database whose figures are easy to check by hand.

use rusqlite::{Connection, params};

use super::Place;

const MS: i64 = 1_000_000;

/// A database with the schema and nothing in it.
pub fn empty(place: &Place) {
    drop(cyclometer::store::Store::open(&place.db()).expect("made"));
}

/// A finished recording of that number.
pub fn recording(connection: &Connection, id: i64, label: &str) {
    connection
        .execute(
            "INSERT INTO recording (id, label, started_at, ended_at, status, owner, plan, host,
                sample_interval_ns, sampler_cpu_ns)
             VALUES (?1, ?2, '2026-11-2' || ?1 || 'T10:00:00.000Z', '2026-11-2' || ?1 || 'T10:01:00.000Z',
                'done', 'x', '{}', '{\"cpu\":\"A\"}', 10000000, 250000000)",
            params![id, label],
        )
        .expect("a recording");
}

/// A cell, and its lane unless that is there; its number is `id`.
pub fn cell(
    connection: &Connection,
    recording: i64,
    id: i64,
    lane: &str,
    workload: &str,
    start: &str,
) -> i64 {
    connection
        .execute(
            "INSERT OR IGNORE INTO lane (recording_id, name, version) VALUES (?1, ?2, '1')",
            params![recording, lane],
        )
        .expect("a lane");
    connection
        .execute(
            "INSERT INTO cell (id, recording_id, lane_id, workload, preset, start)
             SELECT ?2, ?1, id, ?4, 'quick', ?5 FROM lane WHERE recording_id = ?1 AND name = ?3",
            params![recording, id, lane, workload, start],
        )
        .expect("a cell");
    id
}

/// An invocation that is being made.
pub struct Row<'a> {
    connection: &'a Connection,
    columns: Vec<(&'static str, rusqlite::types::Value)>,
}

/// An invocation that ended well.
pub fn invocation(connection: &Connection, cell: i64, sequence: i64) -> Row<'_> {
    let row = Row { connection, columns: Vec::new() };
    row.with("cell_id", cell).with("sequence", sequence).with("offset_ns", sequence * 100 * MS)
}

impl Row<'_> {
    pub fn with(mut self, column: &'static str, value: impl Into<rusqlite::types::Value>) -> Self {
        self.columns.push((column, value.into()));
        self
    }

    /// Enters it; returns its number.
    pub fn save(mut self) -> i64 {
        if !self.columns.iter().any(|(name, _)| *name == "status") {
            self = self.with("status", "ok".to_owned());
        }
        let (names, values): (Vec<_>, Vec<_>) = self.columns.into_iter().unzip();
        let marks = vec!["?"; names.len()].join(", ");
        let sql = format!("INSERT INTO invocation ({}) VALUES ({marks})", names.join(", "));
        self.connection.execute(&sql, rusqlite::params_from_iter(values)).expect("an invocation");
        self.connection.last_insert_rowid()
    }
}

/// Two recordings of the same three cells, and a simulation of the first.
pub fn place() -> Place {
    let place = Place::new();
    empty(&place);
    let connection = place.open();
    for (id, label) in [(1, "first"), (2, "second")] {
        recording(&connection, id, label);
        runs(&connection, id);
    }
    simulation(&connection);
    drop(connection);
    place
}

/// Cells 1 to 3, or 4 to 6 of the second recording.
fn runs(connection: &Connection, recording: i64) {
    let first = (recording - 1) * 3 + 1;
    let native = cell(connection, recording, first, "native", "nop", "cold");
    for at in 1..=20 {
        let id = invocation(connection, native, at)
            .with("create_ns", at * MS)
            .with("run_ns", at * MS)
            .with("wall_ns", 2 * at * MS)
            .with("cpu_ns", at * MS)
            .with("cycles", 3 * at * MS)
            .with("memory_peak_bytes", 32 << 20)
            .with("memory_allocated_bytes", 128 << 20)
            .save();
        let sample = "INSERT INTO sample VALUES (?1, 1, 'memory_rss', 5), (?1, 2, 'memory_rss', 6)";
        connection.execute(sample, [id]).expect("samples");
    }
    invocation(connection, native, 21)
        .with("status", "failed".to_owned())
        .with("reason", "exit code 7".to_owned())
        .with("exit_code", 7)
        .with("create_ns", 500 * MS)
        .with("wall_ns", 999 * MS)
        .save();
    let cold = cell(connection, recording, first + 1, "wasmtime", "nop", "cold");
    let warm = cell(connection, recording, first + 2, "wasmtime", "nop", "warm");
    for at in 1..=6 {
        invocation(connection, cold, at)
            .with("create_ns", MS)
            .with("start_ns", MS)
            .with("run_ns", (7 + at) * MS)
            .with("wall_ns", (9 + at) * MS)
            .with("wasm_ops", 15)
            .save();
        invocation(connection, warm, at)
            .with("start_ns", MS)
            .with("run_ns", MS)
            .with("wall_ns", 2 * MS)
            .with("wasm_ops", 15)
            .save();
    }
    connection
        .execute(
            "INSERT INTO lane_meter (lane_id, start, meter, source, note)
         SELECT id, 'cold', 'ref_cycles', NULL, 'no counter here'
             FROM lane WHERE recording_id = ?1 AND name = 'native'",
            [recording],
        )
        .expect("a source");
    let phase = "INSERT INTO phase VALUES (?1, 'prepare', 5)";
    connection.execute(phase, [cold]).expect("a phase");
    let part = "INSERT INTO footprint VALUES (?1, 0, 'program layer', 'function', 5)";
    connection.execute(part, [cold]).expect("a part of a footprint");
    let compile = "INSERT INTO compile VALUES (?1, 1, 5)";
    connection.execute(compile, [cold]).expect("a compilation");
    let subject =
        "INSERT INTO subject VALUES (?1, '[\"1\"]', 'none', 0, 'aa', 'bb', NULL, 128, 5, 1024,
            '{\"invoke\":\"add\"}')";
    connection.execute(subject, [cold]).expect("what was run");
}

fn simulation(connection: &Connection) {
    connection
        .execute_batch(
            "INSERT INTO simulation (id, recording_id, created_at, inputs, invocations, options)
                VALUES (1, 1, '2026-11-21T10:02:00.000Z', 'x', 33, '{\"requests\":1000}');
             INSERT INTO simulation_recording VALUES (1, 1);
             INSERT INTO simulation_model VALUES
                (1, 'coarse', 'aa', 'USD', 'coarse', ''), (1, 'fine', 'bb', 'USD', 'fine', '');
             INSERT INTO bill (simulation_id, model, invocation_id, amount)
                SELECT 1, 'coarse', id, '0.1' FROM invocation WHERE cell_id = 1 AND sequence <= 3;
             INSERT INTO bill (simulation_id, model, invocation_id, amount)
                SELECT 1, 'fine', id, CASE sequence WHEN 1 THEN '9' WHEN 2 THEN '20'
                    ELSE '1.0000000000000000001' END
                FROM invocation WHERE cell_id = 1 AND sequence <= 3;
             INSERT INTO line_item (simulation_id, model, cell_id, charge, amount, invocations, refused)
                VALUES (1, 'coarse', 1, 'duration', '0.1', 3, NULL),
                       (1, 'coarse', 1, 'requests', '0.2', 3, NULL),
                       (1, 'fine', 1, 'cycles', '0.06', 3, NULL),
                       (1, 'coarse', 2, 'duration', '0.5', 6, NULL),
                       (1, 'fine', 2, 'cycles', NULL, 0, 'cycles were not measured');
             INSERT INTO settlement
                (simulation_id, model, cell_id, position, unit, requests, quantity, free, billable, amount)
                VALUES (1, 'coarse', 1, 'duration', 'GB s', '1000', '5', '0', '5', '1234.5'),
                       (1, 'coarse', 1, 'requests', '1', '1000', '1000', '0', '1000', '0.06');
             INSERT INTO waste (simulation_id, model, cell_id, part, amount)
                VALUES (1, 'coarse', 1, 'used', '0.3'), (1, 'coarse', 1, 'headroom', '0.1');",
        )
        .expect("a simulation");
}
