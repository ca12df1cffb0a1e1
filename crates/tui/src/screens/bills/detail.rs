//! Texts of the detail panel for the selected cell. They are made when the selection
//! changes, so that drawing only places them.

use super::Held;
use super::figures::{Cell, NOBODY, Row, aligned, counted, shown};
use super::order::{Sort, order};
use super::request::VOLUMES;
use crate::widgets::bar;
use cyclometer_pricing::{Direction, Exact, Money};
use cyclometer_replay::{Group, ModelTotal, Summary};
use cyclometer_report::grouped;

/// Number of cheapest models that are listed.
const CHEAPEST: usize = 5;

/// Texts about the selected cell.
#[derive(Debug, Default)]
pub struct Detail {
    /// Model and lane.
    pub title: String,
    /// Name, provider and validity of the model.
    pub about: Vec<String>,
    /// Amount and the number of invocations it is for, or the reason why there is none.
    pub price: String,
    /// Whether `price` is such a reason.
    pub missing: bool,
    /// Invocations and memory that the amount covers.
    pub of: String,
    /// Warning about those invocations: memory beyond what is billed.
    pub beyond: Option<String>,
    /// Comparisons with other models, the most important first.
    pub compared: Vec<String>,
    /// Heading of the parts: the invocations that their amounts are for.
    pub parts_of: String,
    /// Shares of the parts in the bill, in parts per million.
    pub shares: Option<[u64; 7]>,
    /// Amount of each part.
    pub parts: Vec<String>,
    /// Heading of the charges: the invocations that they are for.
    pub charged_of: String,
    /// Charges: name, quantity with unit, amount, share.
    pub charges: Vec<[String; 4]>,
    /// Line items of the month: name, quantity with unit, free, billable, amount.
    pub positions: Vec<[String; 5]>,
    /// Bills of the model in each lane: lane, amount, shares of the parts in parts per
    /// million.
    pub lanes: Vec<(String, String, Option<[u64; 7]>)>,
    /// Bills of the model by requests a month: requests, bill, bill for a million of
    /// them.
    pub volumes: Vec<[String; 3]>,
    /// Cheapest models in this lane: id, amount, ratio to the cheapest.
    pub cheapest: Vec<[String; 3]>,
    /// Currency of all amounts.
    pub currency: String,
    /// Stand-ins for meters that were not measured, and assumptions.
    pub notes: Vec<String>,
    /// Part of the tariff that is not certain.
    pub uncertain: Option<String>,
}

/// Describes the cell of the model at `row` in `lane`; `live` holds the ids of the
/// models of the live view.
pub fn of(held: &Held, row: usize, lane: usize, live: &[String]) -> Detail {
    let figures = &held.figures;
    let (Some(model), Some(column)) = (figures.rows.get(row), figures.lanes.get(lane)) else {
        return Detail::default();
    };
    let mut detail = Detail {
        title: format!("{} in {}", model.id, column.name),
        about: about(model),
        currency: model.currency.clone(),
        uncertain: model.uncertain.clone(),
        lanes: lanes(held, model),
        ..Detail::default()
    };
    let Some(cell) = model.cells.get(lane) else { return detail };
    detail.missing = cell.price.is_err();
    detail.price = match &cell.price {
        Ok(price) => format!("{} {} {}", price.shown.trim(), model.currency, what(held)),
        Err(reason) => format!("-: {reason}"),
    };
    detail.compared = compared(held, model, cell, lane, live);
    detail.cheapest = cheapest(held, model, lane);
    if let Ok(group) = &column.group {
        detail.group(held, row, group);
    }
    detail
}

/// Returns the unit of an amount in a word or two.
const fn what(held: &Held) -> &'static str {
    if held.request.view.month.is_some() { "a month" } else { "a million" }
}

/// Names the invocations that an amount is for.
fn unit(held: &Held) -> String {
    held.request.view.month.map_or_else(
        || "a million invocations".to_owned(),
        |it| format!("{} requests", grouped(&Exact::from(it))),
    )
}

fn about(model: &Row) -> Vec<String> {
    let provider = model.provider.as_deref().unwrap_or(NOBODY);
    let until = model.until.as_ref().map(|day| format!(", no longer since {day}"));
    let until = until.unwrap_or_default();
    let about = vec![
        model.name.clone(),
        format!("{provider}, {}, from {}{until}", model.granularity, model.from),
    ];
    about
}

impl Detail {
    /// Adds all texts that follow from the sums of the lane.
    fn group(&mut self, held: &Held, row: usize, group: &Group) {
        let view = &held.request.view;
        let peak = group.peak.map(|peak| format!(", largest peak {peak}")).unwrap_or_default();
        self.of = format!(
            "{}, {}: {}{peak}",
            view.workload_name(),
            view.start_name(),
            counted(group.invocations)
        );
        if group.beyond > 0 {
            self.beyond = Some(format!(
                "! {} of {} touched more memory than they are billed for",
                group.beyond, group.invocations
            ));
        }
        let Some(total) = group.models.get(row) else { return };
        self.notes =
            total.notes.iter().map(|(note, count)| format!("{note} ({count} x)")).collect();
        if !total.refused.is_empty() || total.billed == 0 {
            return;
        }
        let summary = &held.known.summary;
        self.parts_of = format!("what {} cost at list prices, {}", unit(held), self.currency);
        self.shares = bar::shares(&total.waste);
        let unit = view.unit();
        self.charged_of = format!("what is charged for {}", self::unit(held));
        let part = |(_, part): (&str, &Money)| shown(&scaled(part, unit, total.billed), false);
        self.parts = aligned(&total.waste.parts().map(part));
        self.charges = charges(summary, row, total, unit);
        self.volumes = volumes(summary, group, row);
        if let Some(requests) = view.month {
            self.positions = positions(summary, group, row, requests);
        }
    }
}

/// Scales an amount for `billed` invocations to `unit` of them.
fn scaled(amount: &Money, unit: u64, billed: u64) -> Money {
    let all = amount.times(unit);
    Money::from(all.as_exact().over(&Exact::from(billed)).unwrap_or_default())
}

fn ppm(part: &Exact, whole: &Exact) -> Option<u64> {
    let share = part.over(whole)?;
    (&share * &Exact::from(1_000_000)).round(0, Direction::HalfUp).to_u64()
}

fn charges(summary: &Summary, row: usize, total: &ModelTotal, unit: u64) -> Vec<[String; 4]> {
    let Some(info) = summary.models().get(row) else { return Vec::new() };
    let charges = info.charges.iter().zip(&total.charges);
    let mut lines: Vec<_> = charges
        .filter(|(_, charge)| !charge.quantity.is_zero())
        .map(|((name, of), charge)| {
            let quantity = scaled(&Money::from(charge.quantity.clone()), unit, total.billed);
            let share = ppm(charge.amount.as_exact(), total.total.as_exact());
            [
                name.to_string(),
                format!("{} {of}", number(quantity.as_exact())),
                shown(&scaled(&charge.amount, unit, total.billed), false),
                share.map_or_else(|| "-".to_owned(), bar::percent),
            ]
        })
        .collect();
    align(&mut lines, 2);
    lines
}

/// Formats a quantity to four significant digits with separated thousands.
fn number(value: &Exact) -> String {
    let text = value.significant(super::figures::DIGITS);
    text.parse().map_or(text, |rounded: Exact| grouped(&rounded))
}

fn positions(summary: &Summary, group: &Group, row: usize, requests: u64) -> Vec<[String; 5]> {
    let Ok(month) = summary.month(group, row, &Exact::from(requests)) else { return Vec::new() };
    let there = month.positions.iter().filter(|position| !position.quantity.is_zero());
    there
        .map(|position| {
            [
                position.name.to_string(),
                format!("{} {}", number(&position.quantity), position.unit),
                number(&position.free),
                number(&position.billable),
                shown(&position.rounded, true),
            ]
        })
        .collect()
}

fn lanes(held: &Held, model: &Row) -> Vec<(String, String, Option<[u64; 7]>)> {
    let amount = |cell: &Cell| {
        let price = cell.price.as_ref().map_or("-", |price| price.shown.trim());
        price.to_owned()
    };
    let amounts: Vec<String> = model.cells.iter().map(amount).collect();
    let lanes = held.figures.lanes.iter().zip(aligned(&amounts)).zip(&model.cells);
    lanes.map(|((lane, amount), cell)| (lane.name.clone(), amount, cell.shares)).collect()
}

fn volumes(summary: &Summary, group: &Group, row: usize) -> Vec<[String; 3]> {
    let bill = |requests: u64| {
        let month = summary.month(group, row, &Exact::from(requests)).ok()?.total;
        let million = scaled(&month, 1_000_000, requests);
        Some([grouped(&Exact::from(requests)), shown(&month, true), shown(&million, true)])
    };
    let mut bills: Vec<_> =
        VOLUMES.iter().flatten().filter_map(|requests| bill(*requests)).collect();
    align(&mut bills, 1);
    align(&mut bills, 2);
    bills
}

/// Aligns the decimal points of a column.
fn align<const N: usize>(rows: &mut [[String; N]], column: usize) {
    let texts: Vec<String> = rows.iter().map(|row| row[column].clone()).collect();
    for (row, text) in rows.iter_mut().zip(aligned(&texts)) {
        row[column] = text;
    }
}

/// Ranks the models with an amount in the same currency, cheapest first. Models with
/// further charges beyond their amount and models that nobody sells are left out.
fn priced<'a>(held: &'a Held, model: &Row, lane: usize) -> Vec<(&'a Row, &'a Money)> {
    let figures = &held.figures;
    order(figures, "", (Sort::Price, false), lane)
        .into_iter()
        .map(|at| &figures.rows[at])
        .filter(|row| row.currency == model.currency && !row.more && row.is_sold())
        .filter_map(|row| Some((row, row.amount(lane)?)))
        .collect()
}

fn cheapest(held: &Held, model: &Row, lane: usize) -> Vec<[String; 3]> {
    let mut priced = priced(held, model, lane);
    priced.truncate(CHEAPEST);
    let Some((_, least)) = priced.first().copied() else { return Vec::new() };
    let month = held.request.view.month.is_some();
    let told = |(row, amount): &(&Row, &Money)| {
        let ratio = amount.ratio(least, 2);
        let ratio = ratio.map_or_else(|| "-".to_owned(), |it| format!("{}x", it.rounded(2)));
        [format!("{}{}", row.id, row.marks), shown(amount, month), ratio]
    };
    let mut lines: Vec<_> = priced.iter().map(told).collect();
    align(&mut lines, 1);
    lines
}

/// Compares the selected amount with the cheapest one, and the two models of the live
/// view's pair.
fn compared(held: &Held, model: &Row, cell: &Cell, lane: usize, live: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    if model.more {
        lines.push("+ monthly charges come on top, which a month has".to_owned());
    } else if let Ok(price) = &cell.price {
        let priced = priced(held, model, lane);
        if let Some((row, least)) = priced.iter().find(|(row, _)| row.until.is_none()) {
            lines.push(beside(model, &price.amount, row, least, "cheapest offer"));
        }
    }
    lines.extend(pair(held, lane, live));
    lines
}

fn beside(model: &Row, amount: &Money, row: &Row, least: &Money, what: &str) -> String {
    if row.id == model.id {
        return format!("{what} in {}", model.currency);
    }
    match amount.ratio(least, 2) {
        Some(ratio) => {
            format!("{}x {}, {what} in {}", ratio.rounded(2), row.id, model.currency)
        }
        None => format!("0 for {}, {what} in {}", row.id, model.currency),
    }
}

/// Formats the ratio of the coarse to the fine model of the first pair of the live
/// view.
fn pair(held: &Held, lane: usize, live: &[String]) -> Option<String> {
    let summary = &held.known.summary;
    let group = held.figures.lanes.get(lane)?.group.as_ref().ok()?;
    let chosen = |at: usize| live.contains(&summary.models()[at].id);
    let (coarse, fine) = summary.pairs().find(|(coarse, fine)| chosen(*coarse) && chosen(*fine))?;
    let name = |at: usize| &summary.models()[at].id;
    let dearer = match summary.dearer(group, coarse, fine) {
        Ok(dearer) => dearer,
        Err(why) => format!("-, {why}"),
    };
    Some(format!("dearer of {} (coarse) and {} (fine): {dearer}", name(coarse), name(fine)))
}
