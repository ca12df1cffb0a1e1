//! Tables and sentences of a reconciliation by row.

use std::fmt::Write as _;

use cyclometer_core::units::Nanos;
use cyclometer_pricing::Exact;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::rows::{ListedRow, RowReconciliation};
use super::rules::Rule;
use crate::table::{Cell, Column, Table};
use crate::text_format::{format_count, format_percent};

/// Reconciliation with the name of what was reconciled.
#[derive(Debug)]
pub struct ReconciledRows<'a> {
    /// Number of the trace.
    pub trace: i64,
    /// Id of the model that was named.
    pub model: &'a str,
    /// Reconciliation.
    pub rows: &'a RowReconciliation,
}

/// Says what share is explained, first, and how.
#[must_use]
pub fn describe_rows(reconciled: &ReconciledRows<'_>) -> Vec<String> {
    let rows = reconciled.rows;
    let Some(share) = rows.explained_share() else {
        return vec![format!(
            "trace {} has no billed durations: its log has none, so that there is nothing to \
             reconcile",
            reconciled.trace
        )];
    };
    let exact = rows.count_rules(Rule::is_exact);
    let by_rule = rows.count_rules(|rule| rule.is_explained() && !rule.is_exact());
    let mut first = format!(
        "{} of {} explained: {exact} exact, {by_rule} by a rule",
        format_share(&share),
        format_count(rows.billed_invocations(), "billed duration"),
    );
    let unexplained = rows.unexplained_invocations();
    if unexplained > 0 {
        let _ = write!(first, ", {unexplained} unexplained");
    }
    let mut lines = vec![first];
    let without = rows.count_rules(|rule| rule == Rule::NoBilledTime);
    if without > 0 {
        lines.push(format!("{} without a billed duration", format_count(without, "invocation")));
    }
    lines
}

/// Formats a share so that 100 % is only what is complete.
pub(super) fn format_share(share: &Exact) -> String {
    let hundred = Exact::from(1);
    let text = format_percent(share, 2);
    let is_short = *share < hundred && text.starts_with("100");
    format!("{} %", if is_short { "99.99" } else { &text })
}

/// Builds one row a rule and model.
#[must_use]
pub fn rules_table(reconciled: &ReconciledRows<'_>) -> Table {
    let mut table = Table::new(&[
        Column::text("rule", "rule"),
        Column::text("model in force", "model"),
        Column::number("invocations", "invocations"),
        Column::number("billed", "billed_ns"),
        Column::number("by the model", "modelled_ns"),
        Column::number("difference", "difference_ns"),
        Column::hidden("explained"),
    ]);
    for ((rule, model), count) in reconciled.rows.counts() {
        let has_times = *rule != Rule::NoBilledTime && *rule != Rule::Refused;
        let difference = Signed::between(count.billed, count.modelled);
        let time = |nanos: u128| (format_nanos(nanos), nanos.to_string());
        table.push(vec![
            Cell::new(rule.meaning(), rule.name()),
            Cell::text(model.clone()),
            Cell::new(count.invocations, count.invocations),
            Cell::optional((*rule != Rule::NoBilledTime).then(|| time(count.billed))),
            Cell::optional((*rule != Rule::Refused).then(|| time(count.modelled))),
            Cell::optional(has_times.then(|| (difference.format(), difference.to_plain()))),
            Cell::new("", rule.is_explained()),
        ]);
    }
    table
}

/// Builds the table of rows that the model does not give by itself.
#[must_use]
pub fn listed_rows_table(reconciled: &ReconciledRows<'_>) -> Table {
    let mut table = Table::new(&[
        Column::text("request", "request"),
        Column::text("started", "started"),
        Column::text("function", "function"),
        Column::number("INIT", "start_ns"),
        Column::number("duration", "run_ns"),
        Column::number("billed", "billed_ns"),
        Column::number("by the model", "modelled_ns"),
        Column::text("rule", "rule"),
        Column::hidden("invocation"),
        Column::hidden("model"),
    ]);
    for listed in reconciled.rows.listed_rows() {
        let row = &listed.row;
        let hint = listed.finding.hint.as_ref();
        let text = match hint {
            Some(hint) => format!("{}: {hint}", listed.finding.rule.meaning()),
            None => listed.finding.rule.meaning().to_owned(),
        };
        table.push(vec![
            Cell::optional_text(request_text(listed)),
            Cell::optional_text(row.started_at.and_then(format_time)),
            Cell::text(&*row.key.workload),
            exact_time(row.usage.phases.start),
            exact_time(row.usage.phases.run),
            exact_time(row.billed),
            exact_time(listed.finding.modelled),
            Cell::new(text, listed.finding.rule.name()),
            Cell::new("", row.invocation),
            Cell::text(listed.finding.model.clone()),
        ]);
    }
    table
}

/// Builds one object with everything.
#[must_use]
pub fn rows_to_json(reconciled: &ReconciledRows<'_>) -> Value {
    let rows = reconciled.rows;
    let share = rows.explained_share();
    json!({
        "trace": reconciled.trace,
        "model": reconciled.model,
        "billed_invocations": rows.billed_invocations(),
        "explained_invocations": rows.count_rules(Rule::is_explained),
        "unexplained_invocations": rows.unexplained_invocations(),
        "explained_percent": share.map(|share| {
            (&share * &Exact::from(100)).to_rounded_string(6)
        }),
        "rules": rules_table(reconciled).to_json(),
        "rows": listed_rows_table(reconciled).to_json(),
    })
}

/// Returns the request's UUID, or the digest of its other name.
fn request_text(listed: &ListedRow) -> Option<String> {
    let id = u128::from_be_bytes(listed.row.request?);
    let digits = format!("{id:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
    Some(parts.join("-"))
}

fn format_time(nanos: i64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)).ok()?;
    time.format(&Rfc3339).ok()
}

/// Returns a cell with all digits of a time, in milliseconds.
fn exact_time(span: Option<Nanos>) -> Cell {
    Cell::optional(span.map(|span| (format_milliseconds(u128::from(span.0)), span.0)))
}

/// Formats nanoseconds as milliseconds, without zeros at the end.
fn format_milliseconds(nanos: u128) -> String {
    let (whole, part) = (nanos / 1_000_000, nanos % 1_000_000);
    if part == 0 {
        return format!("{whole} ms");
    }
    let digits = format!("{part:06}");
    format!("{whole}.{} ms", digits.trim_end_matches('0'))
}

fn format_nanos(nanos: u128) -> String {
    u64::try_from(nanos).map_or_else(|_| format_milliseconds(nanos), |it| Nanos(it).to_string())
}

/// Difference of two sums.
struct Signed {
    negative: bool,
    size: u128,
}

impl Signed {
    const fn between(left: u128, right: u128) -> Self {
        Self { negative: left < right, size: left.abs_diff(right) }
    }

    fn format(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        format!("{sign}{}", format_milliseconds(self.size))
    }

    fn to_plain(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        format!("{sign}{}", self.size)
    }
}
