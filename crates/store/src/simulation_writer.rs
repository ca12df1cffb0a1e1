//! Storing a simulation: models, line items, months, waste, bills.
//!
//! Bills of single invocations are many, and others want to write too: they are
//! stored in short transactions. Until the last one the simulation is marked as
//! unfinished and has no models, so that no view and no list shows a part of
//! it; simulations that a process left unfinished when it ended are removed.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, params};

use super::event_rows::{current_timestamp, to_sql_integer};
use super::invocation_scan;
use super::open::{Store, StoreError};
use super::simulation::{ReplayError, ReplayPlan};
use cyclometer_pricing::Exact;
use cyclometer_replay::{CellKey, GroupTotal, ModelTotal, ReplaySummary};
use cyclometer_system::procfs::ProcessIdentity;

/// Number of invocations whose bills are computed at once.
const PAGE_ROWS: u32 = 1_000;
/// Longest time for which a transaction holds the lock.
const MAX_TRANSACTION_TIME: Duration = Duration::from_millis(100);
/// Number of rows that are deleted in that time, or less.
const DELETE_CHUNK: u32 = 5_000;

/// Prefix of the `inputs` of a simulation whose bills are still being stored.
const UNFINISHED: &str = "unfinished";

/// SQL condition: all of a `simulation s` is stored.
pub(super) const IS_FINISHED: &str = "s.inputs NOT LIKE 'unfinished %'";

fn write_error(source: rusqlite::Error) -> StoreError {
    StoreError::Sql { action: "write of the simulation", source }
}

/// Stores the simulation and returns its number.
pub(super) fn save_simulation(
    store: &Store,
    plan: &ReplayPlan,
    cells: &HashMap<i64, CellKey>,
    inputs: &str,
    with_bills: bool,
    summary: &ReplaySummary,
) -> Result<i64, ReplayError> {
    if !with_bills {
        return Ok(run_transaction(store, |connection| {
            let id = insert_header(connection, plan, inputs, summary)?;
            insert_all_totals(connection, plan, id, cells, summary)?;
            insert_models(connection, plan, id)?;
            Ok(id)
        })?);
    }
    let marked = unfinished_inputs(inputs)?;
    let id = run_transaction(store, |connection| {
        let id = insert_header(connection, plan, &marked, summary)?;
        insert_all_totals(connection, plan, id, cells, summary)?;
        Ok(id)
    })?;
    let only_failed: Vec<&CellKey> =
        summary.groups().filter(|(_, it)| it.only_failed()).map(|(key, _)| key).collect();
    let mut priced = cells.clone();
    priced.retain(|_, key| !only_failed.contains(&&*key));
    let kept = insert_all_bills(store, plan, &priced, id)
        .and_then(|()| publish_simulation(store, plan, id, inputs));
    match kept {
        Ok(()) => Ok(id),
        Err(error) => {
            // If this fails too, the simulation is removed as soon as this
            // process is gone.
            let _ = delete_simulation(store, id);
            let known =
                if is_duplicate(&error) { store.find_saved_simulation(inputs)? } else { None };
            known.ok_or(error.into())
        }
    }
}

/// Runs one transaction, however long it has to wait for the lock.
fn run_transaction<T>(
    store: &Store,
    mut write: impl FnMut(&Connection) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    store.retry_while_busy(|| {
        let connection = &store.connection;
        connection.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::for_action("begin"))?;
        let written = write(connection).map_err(write_error);
        let end = if written.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = connection.execute_batch(end).map_err(StoreError::for_action("commit"));
        if ended.is_err() {
            // While the failed one is open, no other can be begun.
            let _ = connection.execute_batch("ROLLBACK");
        }
        written.and_then(|value| ended.map(|()| value))
    })
}

/// Returns the `inputs` of a simulation that this process is storing.
fn unfinished_inputs(inputs: &str) -> Result<String, StoreError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let owner = ProcessIdentity::current()
        .map_err(|error| StoreError::NotFound(format!("this process has no identity: {error}")))?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(format!("{UNFINISHED} {owner} {number} {inputs}"))
}

/// Returns whether another process has stored the same simulation meanwhile.
fn is_duplicate(error: &StoreError) -> bool {
    matches!(error, StoreError::Sql { source, .. }
        if source.sqlite_error_code() == Some(ErrorCode::ConstraintViolation))
}

/// Makes the simulation visible, now that all of it is stored.
fn publish_simulation(
    store: &Store,
    plan: &ReplayPlan,
    id: i64,
    inputs: &str,
) -> Result<(), StoreError> {
    let rows = run_transaction(store, |connection| {
        insert_models(connection, plan, id)?;
        connection.execute("UPDATE simulation SET inputs = ?2 WHERE id = ?1", params![id, inputs])
    })?;
    if rows == 0 {
        return Err(StoreError::NotFound("what it was made of was deleted meanwhile".to_owned()));
    }
    Ok(())
}

/// Deletes a simulation: its bills first, in several transactions.
fn delete_simulation(store: &Store, id: i64) -> Result<(), StoreError> {
    while run_transaction(store, |connection| {
        connection.execute(
            "DELETE FROM bill WHERE simulation_id = ?1 AND (model, invocation_id) IN (
                SELECT model, invocation_id FROM bill WHERE simulation_id = ?1 LIMIT ?2)",
            params![id, DELETE_CHUNK],
        )
    })? > 0
    {}
    run_transaction(store, |connection| {
        connection.execute("DELETE FROM simulation WHERE id = ?1", [id]).map(drop)
    })
}

/// Deletes unfinished simulations of processes that are gone.
pub(super) fn delete_unfinished_simulations(store: &Store) -> Result<(), StoreError> {
    let begun: Vec<(i64, String)> = super::query::query_list(
        &store.connection,
        "look for unfinished simulations",
        "SELECT id, inputs FROM simulation
         WHERE inputs >= 'unfinished ' AND inputs < 'unfinished!'",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    for (id, inputs) in begun {
        let owner = inputs.split(' ').nth(1).and_then(|it| it.parse::<ProcessIdentity>().ok());
        if !owner.is_some_and(|owner| owner.is_alive()) {
            delete_simulation(store, id)?;
        }
    }
    Ok(())
}

/// Inserts line items, months and waste of all cells.
fn insert_all_totals(
    connection: &Connection,
    plan: &ReplayPlan,
    id: i64,
    cells: &HashMap<i64, CellKey>,
    summary: &ReplaySummary,
) -> rusqlite::Result<()> {
    // A month is that of a lane, workload, preset and kind of start: of one
    // recording, or of several that have it.
    let mut entered: HashMap<&CellKey, i64> = HashMap::new();
    for (cell, key) in cells {
        let first = entered.entry(key).or_insert(*cell);
        *first = (*first).min(*cell);
    }
    for (key, group) in summary.groups() {
        if let Some(cell) = entered.get(key) {
            insert_cell_totals(connection, plan, id, *cell, summary, group)?;
        }
    }
    Ok(())
}

fn insert_header(
    connection: &Connection,
    plan: &ReplayPlan,
    inputs: &str,
    summary: &ReplaySummary,
) -> rusqlite::Result<i64> {
    connection.execute(
        "INSERT INTO simulation (recording_id, created_at, inputs, invocations, options)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            plan.selection.recordings.first(),
            current_timestamp(),
            inputs,
            to_sql_integer(summary.overall_group().invocations),
            plan.options_json().to_string()
        ],
    )?;
    let id = connection.last_insert_rowid();
    for recording in &plan.selection.recordings {
        connection.execute(
            "INSERT OR IGNORE INTO simulation_recording (simulation_id, recording_id)
             VALUES (?1, ?2)",
            params![id, recording],
        )?;
    }
    Ok(id)
}

fn insert_models(connection: &Connection, plan: &ReplayPlan, id: i64) -> rusqlite::Result<()> {
    for (model, _) in plan.contracts.iter() {
        connection.execute(
            "INSERT INTO simulation_model
                (simulation_id, model, digest, currency, granularity, text)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                id,
                model.id(),
                model.source_digest(),
                model.currency(),
                model.granularity().name(),
                model.complete_text()
            ],
        )?;
    }
    Ok(())
}

/// Inserts line items, month and waste of one cell under each model.
fn insert_cell_totals(
    connection: &Connection,
    plan: &ReplayPlan,
    id: i64,
    cell: i64,
    summary: &ReplaySummary,
    group: &GroupTotal,
) -> rusqlite::Result<()> {
    for (index, (info, total)) in summary.models().iter().zip(&group.models).enumerate() {
        insert_line_items(connection, id, cell, info, group, total)?;
        insert_waste(connection, id, cell, &info.id, total)?;
        let Some(requests) = &plan.per_month else { continue };
        if let Ok(month) = summary.monthly_bill(group, index, requests) {
            insert_settlement(connection, id, cell, info, requests, &month)?;
        }
    }
    Ok(())
}

fn insert_line_items(
    connection: &Connection,
    id: i64,
    cell: i64,
    info: &cyclometer_replay::ModelInfo,
    group: &GroupTotal,
    total: &ModelTotal,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO line_item (simulation_id, model, cell_id, charge, amount, invocations,
            refused, note, quantity, unit, exact)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    let mut refused = total.refused.keys().map(ToString::to_string).collect::<Vec<_>>();
    refused.extend(group.describe_failures().filter(|_| group.only_failed()));
    let refused = (!refused.is_empty()).then(|| refused.join("; "));
    let notes = total.notes.keys().map(AsRef::as_ref).collect::<Vec<&str>>().join("; ");
    for ((charge, unit), sums) in info.charges.iter().zip(&total.charges) {
        let billed = total.billed > 0;
        insert.execute(params![
            id,
            info.id,
            cell,
            &**charge,
            billed.then(|| sums.amount.to_plain_string()),
            to_sql_integer(total.billed),
            refused,
            (!notes.is_empty()).then_some(&notes),
            billed.then(|| sums.quantity.to_plain_string()),
            &**unit,
            sums.amount.to_fraction_string(),
        ])?;
    }
    Ok(())
}

fn insert_waste(
    connection: &Connection,
    id: i64,
    cell: i64,
    model: &str,
    total: &ModelTotal,
) -> rusqlite::Result<()> {
    if total.billed == 0 {
        return Ok(());
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO waste (simulation_id, model, cell_id, part, amount, exact)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (part, amount) in total.waste.named_parts() {
        let (text, fraction) = (amount.to_plain_string(), amount.to_fraction_string());
        insert.execute(params![id, model, cell, part, text, fraction])?;
    }
    Ok(())
}

fn insert_settlement(
    connection: &Connection,
    id: i64,
    cell: i64,
    info: &cyclometer_replay::ModelInfo,
    requests: &Exact,
    month: &cyclometer_pricing::Settlement,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO settlement (simulation_id, model, cell_id, position, unit, requests,
            quantity, free, billable, amount, exact)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for position in &month.positions {
        insert.execute(params![
            id,
            info.id,
            cell,
            &*position.name,
            &*position.unit,
            requests.to_plain_string(),
            position.quantity.to_plain_string(),
            position.free.to_plain_string(),
            position.billable.to_plain_string(),
            position.amount.to_plain_string(),
            position.amount.to_fraction_string(),
        ])?;
    }
    // Lines of a contract: what they are computed from is their quantity.
    for line in &month.adjustments {
        let basis = line.basis.to_plain_string();
        insert.execute(params![
            id,
            info.id,
            cell,
            &*line.name,
            info.currency,
            requests.to_plain_string(),
            basis,
            "0",
            basis,
            line.amount.to_plain_string(),
            line.amount.to_fraction_string(),
        ])?;
    }
    Ok(())
}

/// Row of the table of bills: model, invocation, amount, and its fraction.
type StoredBillRow<'a> = (&'a str, i64, String, Option<String>);

/// Stores the bill of every invocation at list prices, page by page: bills are
/// computed while nobody is kept from writing.
fn insert_all_bills(
    store: &Store,
    plan: &ReplayPlan,
    cells: &HashMap<i64, CellKey>,
    id: i64,
) -> Result<(), StoreError> {
    let Some((mut next, last)) = invocation_scan::invocation_range(&store.connection, cells)?
    else {
        return Ok(());
    };
    while next <= last {
        let page =
            invocation_scan::billable_page(&store.connection, cells, (next, last), PAGE_ROWS)?;
        let mut rows: VecDeque<StoredBillRow<'_>> = VecDeque::new();
        for row in page.rows {
            let usage = plan.what_if.apply_to(row.usage);
            for (model, terms) in plan.contracts.iter() {
                if let Ok(bill) = model.bill_under(&usage, terms) {
                    let amount = &bill.total;
                    let (text, fraction) = (amount.to_plain_string(), amount.to_fraction_string());
                    rows.push_back((model.id(), row.invocation, text, fraction));
                }
            }
        }
        while !rows.is_empty() {
            let stored = run_transaction(store, |connection| insert_bills(connection, id, &rows))?;
            rows.drain(..stored);
        }
        let Some(after) = page.next else { break };
        next = after;
    }
    Ok(())
}

/// Inserts as many bills as one transaction has time for; returns their number.
fn insert_bills(
    connection: &Connection,
    id: i64,
    rows: &VecDeque<StoredBillRow<'_>>,
) -> rusqlite::Result<usize> {
    let begun = Instant::now();
    let mut insert = connection.prepare_cached(
        "INSERT INTO bill (simulation_id, model, invocation_id, amount, exact)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut stored = 0;
    for (model, invocation, amount, fraction) in rows {
        insert.execute(params![id, model, invocation, amount, fraction])?;
        stored += 1;
        if begun.elapsed() > MAX_TRANSACTION_TIME {
            break;
        }
    }
    Ok(stored)
}
