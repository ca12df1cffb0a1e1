//! Writing a simulation: models, line items, months, waste, bills.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::entry::{integer, timestamp};
use super::open::StoreError;
use super::simulation::{ReplayError, ReplayPlan};
use crate::pricing::{Exact, Money};
use crate::replay::{Group, Key, ModelTotal, Row, Summary};

fn failed(source: rusqlite::Error) -> StoreError {
    StoreError::Sql { action: "write of the simulation", source }
}

/// Enters the simulation and gives its number.
pub(super) fn keep(
    connection: &Connection,
    plan: &ReplayPlan,
    cells: &HashMap<i64, Key>,
    inputs: &str,
    with_bills: bool,
    summary: &Summary,
) -> Result<i64, ReplayError> {
    let id = header(connection, plan, inputs, summary).map_err(failed)?;
    // A month is that of a lane, workload, preset and kind of start: of one
    // recording, or of several that have it.
    let mut entered: HashMap<&Key, i64> = HashMap::new();
    for (cell, key) in cells {
        let first = entered.entry(key).or_insert(*cell);
        *first = (*first).min(*cell);
    }
    for (key, group) in summary.groups() {
        if let Some(cell) = entered.get(key) {
            totals(connection, plan, id, *cell, summary, group).map_err(failed)?;
        }
    }
    if with_bills {
        let failed: Vec<&Key> =
            summary.groups().filter(|(_, it)| it.only_failed()).map(|(key, _)| key).collect();
        let mut priced = cells.clone();
        priced.retain(|_, key| !failed.contains(&&*key));
        bills(connection, plan, &priced, id)?;
    }
    Ok(id)
}

fn header(
    connection: &Connection,
    plan: &ReplayPlan,
    inputs: &str,
    summary: &Summary,
) -> rusqlite::Result<i64> {
    connection.execute(
        "INSERT INTO simulation (recording_id, created_at, inputs, invocations, options)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            plan.selection.recordings.first(),
            timestamp(),
            inputs,
            integer(summary.overall().invocations),
            plan.options().to_string()
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
    for (model, _) in plan.contracts.iter() {
        connection.execute(
            "INSERT INTO simulation_model
                (simulation_id, model, digest, currency, granularity, text)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                id,
                model.id(),
                model.digest(),
                model.currency(),
                model.granularity().name(),
                model.text()
            ],
        )?;
    }
    Ok(id)
}

/// Line items, month and waste of one cell under each model.
fn totals(
    connection: &Connection,
    plan: &ReplayPlan,
    id: i64,
    cell: i64,
    summary: &Summary,
    group: &Group,
) -> rusqlite::Result<()> {
    for (index, (info, total)) in summary.models().iter().zip(&group.models).enumerate() {
        line_items(connection, id, cell, info, group, total)?;
        waste(connection, id, cell, &info.id, total)?;
        let Some(requests) = &plan.per_month else { continue };
        if let Ok(month) = summary.month(group, index, requests) {
            settlement(connection, id, cell, &info.id, requests, &month)?;
        }
    }
    Ok(())
}

fn line_items(
    connection: &Connection,
    id: i64,
    cell: i64,
    info: &crate::replay::ModelInfo,
    group: &Group,
    total: &ModelTotal,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO line_item (simulation_id, model, cell_id, charge, amount, invocations,
            refused, note, quantity, unit, exact)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    let mut refused = total.refused.keys().map(ToString::to_string).collect::<Vec<_>>();
    refused.extend(group.failures().filter(|_| group.only_failed()));
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
            integer(total.billed),
            refused,
            (!notes.is_empty()).then_some(&notes),
            billed.then(|| sums.quantity.to_plain_string()),
            &**unit,
            sums.amount.fraction(),
        ])?;
    }
    Ok(())
}

fn waste(
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
    for (part, amount) in total.waste.parts() {
        let (text, fraction) = (amount.to_plain_string(), amount.fraction());
        insert.execute(params![id, model, cell, part, text, fraction])?;
    }
    Ok(())
}

fn settlement(
    connection: &Connection,
    id: i64,
    cell: i64,
    model: &str,
    requests: &Exact,
    month: &crate::pricing::Settlement,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO settlement (simulation_id, model, cell_id, position, unit, requests,
            quantity, free, billable, amount, exact)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for position in &month.positions {
        insert.execute(params![
            id,
            model,
            cell,
            &*position.name,
            &*position.unit,
            requests.to_plain_string(),
            position.quantity.to_plain_string(),
            position.free.to_plain_string(),
            position.billable.to_plain_string(),
            position.amount.to_plain_string(),
            position.amount.fraction(),
        ])?;
    }
    Ok(())
}

/// The bill of every invocation at list prices.
fn bills(
    connection: &Connection,
    plan: &ReplayPlan,
    cells: &HashMap<i64, Key>,
    id: i64,
) -> Result<(), ReplayError> {
    let mut insert = connection
        .prepare_cached(
            "INSERT INTO bill (simulation_id, model, invocation_id, amount, exact)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .map_err(failed)?;
    let mut enter = |model: &str, row: &Row, amount: &Money| {
        let (text, fraction) = (amount.to_plain_string(), amount.fraction());
        insert.execute(params![id, model, row.invocation, text, fraction]).map(drop)
    };
    super::scan::each_billable(connection, cells, |row| {
        let usage = plan.what_if.apply(row.usage);
        for (model, terms) in plan.contracts.iter() {
            if let Ok(bill) = model.bill_under(&usage, terms) {
                enter(model.id(), &row, &bill.total).map_err(failed)?;
            }
        }
        Ok(())
    })
}
