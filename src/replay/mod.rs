//! Replays recorded usage through price models.
//!
//! Replay is a stream: rows come in, each is billed once by each model and
//! handed to a sink, and only sums are kept, so that memory does not grow with
//! the recording. It opens no file and prints nothing. Which invocations are
//! billed is the caller's choice.

mod summary;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use summary::{ChargeTotal, Group, Key, ModelInfo, ModelTotal, NoRatio, Summary};

use crate::meter::Usage;
use crate::pricing::{Bill, PriceModel};

/// One invocation to be billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number in the database.
    pub invocation: i64,
    /// The lane it ran in.
    pub lane: Arc<str>,
    /// The workload that ran.
    pub workload: Arc<str>,
    /// The workload's preset of arguments.
    pub preset: Arc<str>,
    /// `cold` or `warm`.
    pub start: Arc<str>,
    /// What it used.
    pub usage: Usage,
}

/// Bills every row with every model, hands each bill to `sink` in the order of
/// rows and models, and sums up. A row that a model refuses is counted in the
/// summary, with the reason, and does not reach the sink.
///
/// # Errors
///
/// The first error of `rows` or `sink` ends the replay.
pub fn replay<E>(
    rows: impl IntoIterator<Item = Result<Row, E>>,
    models: &[&PriceModel],
    mut sink: impl FnMut(&Row, &PriceModel, &Bill) -> Result<(), E>,
) -> Result<Summary, E> {
    let mut summary = Summary::new(models);
    for row in rows {
        bill_row(&mut summary, &row?, models, &mut sink)?;
    }
    Ok(summary)
}

/// One step of [`replay`], for callers that are handed their rows one by one.
///
/// # Errors
///
/// The error of `sink`; the row is not summed up then.
pub fn bill_row<E>(
    summary: &mut Summary,
    row: &Row,
    models: &[&PriceModel],
    sink: &mut impl FnMut(&Row, &PriceModel, &Bill) -> Result<(), E>,
) -> Result<(), E> {
    let totals = summary.group_of(row);
    for (model, total) in models.iter().zip(totals) {
        match model.bill(&row.usage) {
            Ok(bill) => {
                sink(row, model, &bill)?;
                total.add(&bill);
            }
            Err(refusal) => total.refuse(refusal),
        }
    }
    Ok(())
}
