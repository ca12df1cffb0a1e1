//! Fixture: a small database whose figures are easy to check by hand, and a
//! model that shows it.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::queries::answer;
use super::*;
use crate::model::TuiSettings;
use crate::query_worker::QueryContext;
use crate::screens::{ScreenId, ScreenRequest, ScreenResponse};
use crate::testing::{self, press};
use crate::update::{AppMessage, update};
use cyclometer_core::units::Bytes;
use cyclometer_lanes::Cancel;
use cyclometer_store::Store;
use cyclometer_system::procfs::ProcessIdentity;

const MS: i64 = 1_000_000;

/// Adds a recording of that number, begun on that day of the month.
pub fn recording(to: &Connection, id: i64, status: &str, label: Option<&str>) {
    let owner = ProcessIdentity::current().expect("/proc").to_string();
    let plan = r#"{"workloads":["nop"],"lanes":["native","wasmtime","docker"],"preset":"quick",
        "start":"both","runs":6,"warmup":1,"memory_bytes":null,"timeout_ns":null,"pin":null}"#;
    let host = r#"{"hostname":"lab","cpu":"Some CPU","cpus":2,"memory_bytes":4294967296,
        "kernel":"6.1","cyclometer":"0.1.0"}"#;
    to.execute(
        "INSERT INTO recording (id, label, started_at, ended_at, status, owner, plan, host,
            sample_interval_ns, sampler_cpu_ns, sampler_ticks)
         VALUES (?1, ?2, '2026-11-1' || ?1 || 'T10:00:00.000Z',
            CASE ?3 WHEN 'running' THEN NULL ELSE '2026-11-1' || ?1 || 'T10:01:40.000Z' END,
            ?3, ?4, ?5, ?6, 10000000, 250000000, 9000)",
        params![id, label, status, owner, plan, host],
    )
    .expect("a recording");
    for (name, unavailable) in [("native", None), ("docker", Some("no engine; start one"))] {
        to.execute(
            "INSERT INTO lane (recording_id, name, version, unavailable) VALUES (?1, ?2, '1', ?3)",
            params![id, name, unavailable],
        )
        .expect("a lane");
    }
    to.execute(
        "INSERT INTO lane_meter (lane_id, start, meter, source, note)
         SELECT id, 'cold', 'cycles', NULL, 'no counter here'
         FROM lane WHERE recording_id = ?1 AND name = 'native'",
        [id],
    )
    .expect("a source");
}

/// Adds six runs of 1 to 6 times `run` milliseconds, then one that failed.
pub fn runs(to: &Connection, id: i64, run: i64) {
    to.execute(
        "INSERT INTO cell (id, recording_id, lane_id, workload, preset, start)
         SELECT ?1, ?1, id, 'nop', 'quick', 'cold' FROM lane
         WHERE recording_id = ?1 AND name = 'native'",
        [id],
    )
    .expect("a cell");
    for at in 1..=7_i64 {
        to.execute(
            "INSERT INTO invocation (cell_id, sequence, status, reason, offset_ns, create_ns,
                run_ns, wall_ns, cpu_ns, memory_peak_bytes, memory_allocated_bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?7, 33554432, 134217728)",
            params![
                id,
                at,
                if at == 7 { "failed" } else { "ok" },
                (at == 7).then_some("exit code 7"),
                at * 100 * MS,
                2 * MS,
                at * run * MS,
                (2 + at * run) * MS,
            ],
        )
        .expect("an invocation");
        let invocation = to.last_insert_rowid();
        to.execute(
            "INSERT INTO sample VALUES (?1, 1, 'memory_rss', 5), (?1, 2, 'memory_rss', 6)",
            [invocation],
        )
        .expect("samples");
    }
}

/// Fills a database with two recordings that are over, and a simulation of the
/// first.
pub fn fill(path: &Path) {
    drop(Store::open(path).expect("made"));
    let to = Connection::open(path).expect("opened");
    recording(&to, 1, "done", Some("quiet machine"));
    runs(&to, 1, 10);
    recording(&to, 2, "interrupted", None);
    runs(&to, 2, 100);
    to.execute_batch(
        "INSERT INTO simulation (id, recording_id, created_at, inputs, invocations, options)
            VALUES (1, 1, '2026-11-11T12:00:00.000Z', 'x', 7, '{}');
         INSERT INTO simulation_recording VALUES (1, 1);
         INSERT INTO simulation_model VALUES
            (1, 'aws-lambda-x86', 'aa', 'USD', 'coarse', ''),
            (1, 'per-cycle', 'bb', 'USD', 'fine', '');
         INSERT INTO line_item
            (simulation_id, model, cell_id, charge, amount, invocations, refused)
            VALUES (1, 'aws-lambda-x86', 1, 'duration', '0.03', 6, NULL),
                   (1, 'aws-lambda-x86', 1, 'requests', '0.01', 6, NULL),
                   (1, 'per-cycle', 1, 'cycles', NULL, 0, 'cycles were not measured');",
    )
    .expect("a simulation");
}

/// Returns a model whose database is that file, and the context of its worker.
pub fn model(path: &Path, size: (u16, u16)) -> (Model, QueryContext) {
    let mut model = testing::model(size);
    let TuiSettings { prices, folder, .. } =
        Arc::into_inner(std::mem::replace(&mut model.settings, empty_settings())).expect("its own");
    model.settings = Arc::new(TuiSettings { database: path.to_owned(), prices, folder });
    model.screen = ScreenId::History;
    crate::frame::lay_out(&mut model);
    let context = QueryContext::new(Arc::clone(&model.settings), Cancel::default());
    (model, context)
}

/// Returns the settings of a database that does not exist.
pub(crate) fn empty_settings() -> Arc<TuiSettings> {
    Arc::new(TuiSettings {
        database: "/nonexistent/c.db".into(),
        prices: cyclometer_pricing::PriceCatalog::with_builtin_models(),
        folder: std::env::temp_dir(),
    })
}

/// Lets the worker respond until there are no more requests; returns the
/// effects for others.
pub fn settle(model: &mut Model, context: &mut QueryContext, effects: Vec<Effect>) -> Vec<Effect> {
    let mut others = Vec::new();
    let mut open = effects;
    while let Some(effect) = open.pop() {
        match effect {
            Effect::Query(ScreenRequest::History(ask)) => {
                let answer = answer(context, ask);
                open.extend(update(
                    model,
                    AppMessage::Response(ScreenResponse::History(Box::new(answer))),
                ));
            }
            other => others.push(other),
        }
    }
    others
}

/// Presses a key, and lets the worker respond.
pub fn key(model: &mut Model, context: &mut QueryContext, key: &str) -> Vec<Effect> {
    let effects = press(model, key);
    settle(model, context, effects)
}

/// Returns the filled database, read, with the simulation in view.
pub fn full(size: (u16, u16)) -> (tempfile::TempDir, Model, QueryContext) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.db");
    fill(&path);
    let (mut model, mut context) = model(&path, size);
    let effects = HistoryState::entered(&mut model);
    settle(&mut model, &mut context, effects);
    model.screens.history.unfolded.insert(HistoryItem::Recording(1));
    model.screens.history.filter_and_sort();
    (folder, model, context)
}

/// Returns the drawn screen, without what differs from run to run.
pub(crate) fn picture(model: &mut Model) -> String {
    model.settings = empty_settings();
    if let Some(lists) = &mut model.screens.history.lists {
        let lists = Arc::make_mut(lists);
        (lists.size, lists.free) = (Some(Bytes(3 << 20)), Some(Bytes(64 << 10)));
    }
    testing::text(model)
}

/// Returns the newest notice.
pub fn notice(model: &Model) -> String {
    model.current_notice().map(|notice| notice.text.clone()).unwrap_or_default()
}

/// Returns the numbers in the list, from the top.
pub fn numbers(model: &Model) -> Vec<String> {
    let lists = model.screens.history.lists.as_ref().expect("read");
    model.screens.history.visible.iter().map(|at| lists.rows[*at].number.clone()).collect()
}
