//! Tables of many price models beside each other: the cost of a million invocations, or
//! of a month of them.

use std::cmp::Ordering;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::table::{Cell, Column, Table};
use super::text_format::format_percent;
use cyclometer_core::invocation::StartKind;
use cyclometer_core::quantity::separate_thousands;
use cyclometer_pricing::{ChargeBasis, Exact, Money};
use cyclometer_replay::{CellKey, GroupTotal, ModelTotal, ReplaySummary};

/// Significant digits of an amount in text; programs get all digits.
const DIGITS: NonZeroU64 = NonZeroU64::MIN.saturating_add(3);

/// Number of invocations that list prices are quoted for.
const MILLION: u64 = 1_000_000;

/// Reason why a model without charges for single invocations has no price at list.
const MONTHLY_ONLY: &str = "it has monthly charges only: --per-month bills them";

/// Cost of a group under a model: for a month, or for a million at list prices.
#[derive(Clone, PartialEq, Eq)]
enum GroupPrice {
    Amount(Money),
    /// Refused, or nothing was billed: the reason.
    Missing(String),
}

impl GroupPrice {
    fn for_group(
        summary: &ReplaySummary,
        group: &GroupTotal,
        model: usize,
        month: Option<&Exact>,
    ) -> Self {
        let Some(total) = group.models.get(model) else { return Self::Missing(String::new()) };
        if let Some(refusal) = total.refused.keys().next() {
            return Self::Missing(refusal.to_string());
        }
        if group.only_failed() {
            return Self::Missing(group.describe_failures().unwrap_or_default());
        }
        match month {
            Some(requests) => match summary.monthly_bill(group, model, requests) {
                Ok(settlement) => Self::Amount(settlement.total),
                Err(why) => Self::Missing(why.to_string()),
            },
            None if total.charges.is_empty() => Self::Missing(MONTHLY_ONLY.to_owned()),
            None => total
                .project_cost(MILLION)
                .map_or(Self::Missing("nothing was billed".to_owned()), Self::Amount),
        }
    }

    const fn amount(&self) -> Option<&Money> {
        match self {
            Self::Amount(amount) => Some(amount),
            Self::Missing(_) => None,
        }
    }
}

/// Builds one row a model and group, for programs: one schema whatever the number of
/// models, with a row for refused groups too.
#[must_use]
pub fn price_table(summary: &ReplaySummary, month: Option<&Exact>) -> Table {
    let mut table = Table::new(&[
        Column::text("model", "model"),
        Column::text("", "currency"),
        Column::hidden("granularity"),
        Column::text("workload", "workload"),
        Column::hidden("preset"),
        Column::text("lane", "lane"),
        Column::text("start", "start"),
        Column::number("invocations", "invocations"),
        Column::hidden("failed"),
        Column::hidden("billed"),
        Column::hidden("refused"),
        Column::hidden("outcome"),
        Column::hidden("list_total"),
        Column::number("a million", "list_per_million"),
        Column::number("a month", "month_total"),
        Column::hidden("month_requests"),
        Column::hidden("used"),
        Column::hidden("idle"),
        Column::hidden("headroom"),
        Column::hidden("rounding"),
        Column::hidden("startup"),
        Column::hidden("fees"),
        Column::hidden("unmeasured"),
        Column::hidden("note"),
    ]);
    for index in 0..summary.models().len() {
        for (key, group) in summary.groups() {
            table.push(price_row(summary, month, index, key, group));
        }
    }
    table
}

fn price_row(
    summary: &ReplaySummary,
    month: Option<&Exact>,
    index: usize,
    key: &CellKey,
    group: &GroupTotal,
) -> Vec<Cell> {
    let info = &summary.models()[index];
    let total = &group.models[index];
    let money = |amount: Option<&Money>| Cell::optional_money(amount, DIGITS);
    let listed = total.billed > 0 && !total.charges.is_empty();
    let billed = listed.then_some(&total.total);
    let requests = month.map(|it| (it.to_plain_string(), it.to_plain_string()));
    let of_month = month.map(|_| GroupPrice::for_group(summary, group, index, month));
    let mut note = list_remarks(group, total);
    match (&of_month, listed) {
        (Some(GroupPrice::Missing(why)), _) if !note.iter().any(|it| it.contains(why)) => {
            note.push(why.clone());
        }
        (None, false) if total.charges.is_empty() && total.billed > 0 => {
            note.push(MONTHLY_ONLY.to_owned());
        }
        _ => {}
    }
    let mut cells = vec![
        Cell::text(info.id.as_str()),
        Cell::text(info.currency.as_str()),
        Cell::text(info.granularity.name()),
        Cell::text(&*key.workload),
        Cell::text(&*key.preset),
        Cell::text(&*key.lane),
        Cell::text(key.start.label()),
        Cell::new(group.invocations, group.invocations),
        Cell::new(group.failed, group.failed),
        Cell::new(total.billed, total.billed),
        Cell::new(total.refusal_count(), total.refusal_count()),
        Cell::text(bill_outcome(group, total)),
        money(billed),
        money(total.project_cost(MILLION).filter(|_| listed).as_ref()),
        money(of_month.as_ref().and_then(GroupPrice::amount)),
        Cell::optional(requests),
    ];
    cells.extend(total.waste.named_parts().map(|(_, part)| money(billed.map(|_| part))));
    cells.push(Cell::text(note.join("; ")));
    cells
}

/// Returns how the bill of a group came out, for programs.
fn bill_outcome(group: &GroupTotal, total: &ModelTotal) -> &'static str {
    match (total.billed, total.refusal_count()) {
        (0, 0) if group.only_failed() => "failed",
        (0, _) => "refused",
        (_, 0) => "billed",
        _ => "partly refused",
    }
}

/// Lists the stand-ins in a group's bill, the refusals with their reasons, and the number
/// of failed invocations.
pub(super) fn list_remarks(group: &GroupTotal, total: &ModelTotal) -> Vec<String> {
    let mut remarks: Vec<String> = total.notes.keys().map(ToString::to_string).collect();
    remarks.extend(
        total
            .refused
            .iter()
            .map(|(why, count)| format!("refused {count} of {}: {why}", group.invocations)),
    );
    remarks.extend(group.describe_failures());
    remarks
}

/// A column of the matrix: a lane and a kind of start, over all workloads.
type LaneColumn = (Arc<str>, StartKind);

fn lane_columns(summary: &ReplaySummary) -> Vec<(LaneColumn, GroupTotal)> {
    summary.group_by(|key| (Arc::clone(&key.lane), key.start)).into_iter().collect()
}

/// Sorts models by cost, the cheapest first; other currencies, models that nobody sells
/// and refused ones last.
fn sort_models_by_price(
    summary: &ReplaySummary,
    overall: &GroupTotal,
    month: Option<&Exact>,
) -> Vec<(usize, GroupPrice)> {
    let mut models: Vec<(usize, GroupPrice)> = (0..summary.models().len())
        .map(|index| (index, GroupPrice::for_group(summary, overall, index, month)))
        .collect();
    let currency = |index: usize| summary.models()[index].currency.as_str();
    // Dollars first: most models are in them.
    let foreign = |index: usize| (currency(index) != "USD", currency(index));
    models.sort_by(|(one, first), (other, second)| {
        let amounts = match (first.amount(), second.amount()) {
            (Some(first), Some(second)) => first.cmp(second),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        let missing = first.amount().is_none().cmp(&second.amount().is_none());
        let made_up =
            |index, price: &GroupPrice| price.amount().is_some() && is_made_up(summary, index);
        let apart = made_up(*one, first).cmp(&made_up(*other, second));
        let currencies = foreign(*one).cmp(&foreign(*other));
        missing.then(apart).then(currencies).then(amounts)
    });
    models
}

/// Builds the matrix of models (rows) and lanes (columns), cheapest first, for people.
#[must_use]
pub fn price_matrix(summary: &ReplaySummary, month: Option<&Exact>) -> Table {
    let lanes = lane_columns(summary);
    let mut columns = vec![("model".to_owned(), false)];
    columns.extend(lanes.iter().map(|((lane, start), _)| (format!("{lane}\n{start}"), true)));
    columns.push(("waste".to_owned(), true));
    let mut table = Table::with_headings(columns);
    let overall = summary.overall_group();
    let mut section = "in USD:".to_owned();
    for (index, price) in sort_models_by_price(summary, &overall, month) {
        let info = &summary.models()[index];
        let apart = price.amount().is_some() && is_made_up(summary, index);
        let its = match (apart, info.currency.as_str()) {
            (true, "USD") => "nobody sells these:".to_owned(),
            (true, currency) => format!("nobody sells these, in {currency}:"),
            (false, currency) => format!("in {currency}:"),
        };
        if its != section {
            section = its;
            let mut heading = vec![Cell::text(section.as_str())];
            heading.extend((0..=lanes.len()).map(|_| Cell::text("")));
            table.push(heading);
        }
        let ended = if has_ended(summary, index) { "*" } else { "" };
        let fees = if month.is_none() && has_fees(summary, index) { "+" } else { "" };
        let mut row = vec![Cell::text(format!("{}{ended}{fees}", info.id))];
        for (_, group) in &lanes {
            let price = GroupPrice::for_group(summary, group, index, month);
            let shown =
                price.amount().map(|it| (format_bill(it, month.is_some()), it.to_plain_string()));
            row.push(Cell::optional(shown));
        }
        row.push(waste_share_cell(&overall.models[index]));
        table.push(row);
    }
    table
}

/// Returns whether the model is no longer in force.
fn has_ended(summary: &ReplaySummary, index: usize) -> bool {
    summary.contract(index).is_some_and(|(model, _)| model.effective_until().is_some())
}

/// Returns whether the model has monthly charges, which a bill at list prices leaves out.
fn has_fees(summary: &ReplaySummary, index: usize) -> bool {
    let Some((model, terms)) = summary.contract(index) else { return false };
    model.charges().any(|it| it.basis() == ChargeBasis::Period && model.charge_applies(it, terms))
}

/// Returns whether nobody sells the model: a made-up tariff, or a price of the user's
/// own.
fn is_made_up(summary: &ReplaySummary, index: usize) -> bool {
    summary.contract(index).is_some_and(|(model, _)| model.provider().is_none())
}

/// Returns whether the model is on offer today, at a price that is all there is to pay.
fn on_offer(summary: &ReplaySummary, index: usize, month: Option<&Exact>) -> bool {
    let offered = summary.contract(index).is_some_and(|(model, _)| model.provider().is_some());
    let whole = month.is_some() || !has_fees(summary, index);
    offered && whole && !has_ended(summary, index)
}

/// Note shown where a part of a bill is unmeasured.
const UNMEASURED: &str = ">=: a part is unmeasured, since CPU time by phase or memory is not known";

/// Formats a month's bill with two decimals like an invoice, and any other amount to
/// four significant digits.
#[must_use]
pub fn format_bill(amount: &Money, of_month: bool) -> String {
    let cents: Option<Money> = "0.01".parse().ok();
    match cents {
        Some(cent) if of_month && (*amount >= cent || amount.is_zero()) => {
            amount.to_rounded_string(2)
        }
        _ => amount.to_significant_string(DIGITS),
    }
}

/// Returns the share of the bills that paid for no work; marked `>=` where a part is
/// unmeasured.
fn waste_share_cell(total: &ModelTotal) -> Cell {
    Cell::optional(total.waste.wasted_share().map(|share| {
        let percent = format_percent(&share, 0);
        let least = if total.waste.unmeasured.is_zero() { "" } else { ">= " };
        (format!("{least}{percent} %"), share.to_plain_string())
    }))
}

/// Names the cheapest, the dearest and the most wasteful model, and explains the figures.
#[must_use]
pub fn describe_extremes(summary: &ReplaySummary, month: Option<&Exact>) -> Vec<String> {
    let overall = summary.overall_group();
    let order = sort_models_by_price(summary, &overall, month);
    let unit = month.map_or_else(
        || "a million invocations at list prices".to_owned(),
        |requests| {
            let many = if *requests == Exact::from(1) { "" } else { "s" };
            format!("a month of {} invocation{many}", format_thousands(requests))
        },
    );
    let mut lines = vec![format!("cost of {unit}; USD unless said")];
    let dollars = |index: usize| summary.models()[index].currency == "USD";
    let priced =
        order.iter().filter(|(index, _)| dollars(*index) && on_offer(summary, *index, month));
    let mut priced = priced.filter_map(|(index, price)| Some((*index, price.amount()?)));
    if let Some((index, amount)) = priced.next() {
        let id = &summary.models()[index].id;
        lines.push(format!(
            "cheapest on offer: {id}, ${} over all lanes",
            format_bill(amount, month.is_some())
        ));
    }
    if let Some((index, amount)) = priced.next_back() {
        let id = &summary.models()[index].id;
        lines.push(format!(
            "dearest on offer: {id}, ${} over all lanes",
            format_bill(amount, month.is_some())
        ));
    }
    let offered = |index: &usize| on_offer(summary, *index, Some(&Exact::default()));
    let shares = order.iter().map(|(index, _)| *index).filter(offered);
    let shares =
        shares.filter_map(|index| Some((index, overall.models[index].waste.wasted_share()?)));
    let shares = shares.filter(|(_, share)| !share.is_zero());
    if let Some((index, share)) = shares.max_by(|(_, one), (_, other)| one.cmp(other)) {
        let id = &summary.models()[index].id;
        let percent = (&share * &Exact::from(100)).to_rounded_string(1);
        let unmeasured = !overall.models[index].waste.unmeasured.is_zero();
        let least = if unmeasured { "at least " } else { "" };
        lines.push(format!("most wasteful: {id}, {least}{percent} % for work that was never done"));
    }
    lines.push("waste: idle time, head-room, rounding, start-up; --waste has each".to_owned());
    if overall.models.iter().any(|total| !total.waste.unmeasured.is_zero()) {
        lines.push(UNMEASURED.to_owned());
    }
    if month.is_none() && (0..summary.models().len()).any(|index| has_fees(summary, index)) {
        lines.push("+: there are monthly charges on top, see --per-month".to_owned());
    }
    if (0..summary.models().len()).any(|index| has_ended(summary, index)) {
        lines.push("*: no longer holds, see pricing list".to_owned());
    }
    lines
}

/// Formats a number with thousands separators.
#[must_use]
pub fn format_thousands(number: &Exact) -> String {
    separate_thousands(&number.to_plain_string())
}
