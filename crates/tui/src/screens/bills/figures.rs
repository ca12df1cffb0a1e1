//! Cells of the bills table as text, made when the bills are computed.

use std::num::NonZeroU64;

use super::request::View;
use crate::widgets::bar;
use cyclometer_core::units::Bytes;
use cyclometer_pricing::{Basis, Exact, Granularity, Money};
use cyclometer_replay::{Group, ModelTotal, Summary};
use cyclometer_store::RecordedCell;

/// Significant digits of displayed amounts.
pub const DIGITS: NonZeroU64 = NonZeroU64::MIN.saturating_add(3);

/// Content of the bills table.
#[derive(Debug)]
pub struct Figures {
    /// Rows, one per model, in the order of the catalogue.
    pub rows: Vec<Row>,
    /// Lanes in the order of the recording.
    pub lanes: Vec<Lane>,
    /// Workloads in the order of the recording.
    pub workloads: Vec<String>,
    /// Largest memory peak of the invocations shown.
    pub peak: Option<Bytes>,
    /// Number of invocations shown, over all lanes.
    pub invocations: u64,
}

/// Column of the table: a lane.
#[derive(Debug)]
pub struct Lane {
    /// Name of the lane.
    pub name: String,
    /// Sums of the lane, or the reason why it has none.
    pub group: Result<Group, String>,
}

/// Row of the table: a price model.
#[derive(Debug)]
pub struct Row {
    /// Id of the model.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Provider of the tariff; `None` if nobody sells it.
    pub provider: Option<String>,
    /// First day on which the tariff is valid.
    pub from: String,
    /// First day on which the tariff is no longer valid.
    pub until: Option<String>,
    /// Part of the tariff that is not certain.
    pub uncertain: Option<String>,
    /// Currency of the amounts.
    pub currency: String,
    /// Granularity: coarse, hybrid or fine.
    pub granularity: Granularity,
    /// Whether there are monthly charges that the amounts do not include.
    pub more: bool,
    /// Marks, one character each of `*+!?`: ended, monthly charges on top, stand-in for
    /// a meter, uncertain.
    pub marks: String,
    /// Text of the line except its amounts, in lower case, for the filter.
    pub words: String,
    /// Cells, one per lane.
    pub cells: Vec<Cell>,
}

/// Cell of the table: a model in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Amount, or the reason why there is none.
    pub price: Result<Price, String>,
    /// Shares of the parts of the bill, in parts per million.
    pub shares: Option<[u64; 7]>,
}

/// Amount with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Exact amount.
    pub amount: Money,
    /// Displayed text, padded so that decimal points align.
    pub shown: String,
}

/// Text in place of the provider of a model that nobody sells.
pub const NOBODY: &str = "nobody sells it";

impl Row {
    /// Whether the tariff can be bought.
    #[must_use]
    pub const fn is_sold(&self) -> bool {
        self.provider.is_some()
    }

    /// Whether every word of the filter occurs in the line.
    #[must_use]
    pub fn has(&self, words: &str) -> bool {
        let amounts = || self.cells.iter().filter_map(|cell| cell.price.as_ref().ok());
        let seen = |word: &str| {
            self.words.contains(word) || amounts().any(|price| price.shown.contains(word))
        };
        words.split_whitespace().all(seen)
    }

    /// Returns the amount in a lane.
    #[must_use]
    pub fn amount(&self, lane: usize) -> Option<&Money> {
        self.cells.get(lane)?.price.as_ref().ok().map(|price| &price.amount)
    }
}

impl Figures {
    /// Builds the table of a view.
    #[must_use]
    pub fn of(summary: &Summary, cells: &[RecordedCell], view: &View) -> Self {
        let lanes = lanes(summary, cells, view);
        let mut rows: Vec<Row> =
            (0..summary.models().len()).filter_map(|at| row(summary, &lanes, at, view)).collect();
        for lane in 0..lanes.len() {
            align(&mut rows, lane);
        }
        let mut workloads: Vec<String> = Vec::new();
        for workload in cells.iter().filter_map(|cell| cell.workload.as_ref()) {
            if !workloads.contains(workload) {
                workloads.push(workload.clone());
            }
        }
        let groups = || lanes.iter().filter_map(|lane| lane.group.as_ref().ok());
        let peak = groups().filter_map(|group| group.peak).max();
        let invocations = groups().map(|group| group.invocations).sum();
        Self { rows, lanes, workloads, peak, invocations }
    }
}

fn lanes(summary: &Summary, cells: &[RecordedCell], view: &View) -> Vec<Lane> {
    let mut names: Vec<&str> = Vec::new();
    for cell in cells {
        if !names.contains(&cell.lane.as_str()) {
            names.push(&cell.lane);
        }
    }
    let mut sums = summary.by(|key| (key.lane.to_string(), view.has_key(key)));
    names
        .into_iter()
        .map(|name| {
            let found = sums.remove(&(name.to_owned(), true)).filter(|it| it.invocations > 0);
            let group = found.ok_or_else(|| missing(cells, view, name));
            Lane { name: name.to_owned(), group }
        })
        .collect()
}

/// Explains why a lane has nothing to show in a view.
fn missing(cells: &[RecordedCell], view: &View, lane: &str) -> String {
    let mut of_lane = cells.iter().filter(|cell| cell.lane == lane);
    if let Some(reason) = of_lane.clone().find_map(|cell| cell.unavailable.as_ref()) {
        return format!("the lane could not run: {reason}");
    }
    let shown = of_lane.find(|cell| {
        let names = cell.workload.as_deref().zip(cell.start.as_deref());
        names.is_some_and(|(workload, start)| view.has(workload, start))
    });
    let what = match (&view.workload, view.start) {
        (None, None) => "nothing".to_owned(),
        (None, Some(start)) => format!("no {start} start"),
        (Some(workload), None) => format!("nothing of {workload}"),
        (Some(workload), Some(start)) => format!("no {start} start of {workload}"),
    };
    match shown {
        None => format!("{what} was recorded in {lane}"),
        Some(cell) => {
            let note = cell.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            format!("{what} has run to its end in {lane} yet{note}")
        }
    }
}

fn row(summary: &Summary, lanes: &[Lane], at: usize, view: &View) -> Option<Row> {
    let (model, terms) = summary.contract(at)?;
    let charges =
        || model.charges().any(|it| it.basis() == Basis::Period && model.applies(it, terms));
    let more = view.month.is_none() && charges();
    let groups = || lanes.iter().filter_map(|lane| lane.group.as_ref().ok());
    let noted = groups().any(|it| it.models.get(at).is_some_and(|it| !it.notes.is_empty()));
    let marks = [
        (model.effective_until().is_some(), '*'),
        (more, '+'),
        (noted, '!'),
        (model.uncertain().is_some(), '?'),
    ];
    let provider = model.provider().map(str::to_owned);
    let marks: String = marks.into_iter().filter(|(on, _)| *on).map(|(_, sign)| sign).collect();
    let words = [
        &format!("{}{marks}", model.id()),
        model.name(),
        provider.as_deref().unwrap_or(NOBODY),
        model.granularity().name(),
        model.currency(),
    ];
    let words = words.join(" ");
    Some(Row {
        id: model.id().to_owned(),
        name: model.name().to_owned(),
        provider,
        from: model.effective_from().to_owned(),
        until: model.effective_until().map(str::to_owned),
        uncertain: model.uncertain().map(str::to_owned),
        currency: model.currency().to_owned(),
        granularity: model.granularity(),
        more,
        marks,
        words: words.to_lowercase(),
        cells: lanes.iter().map(|lane| cell(summary, lane, at, view)).collect(),
    })
}

fn cell(summary: &Summary, lane: &Lane, at: usize, view: &View) -> Cell {
    let group = match &lane.group {
        Ok(group) => group,
        Err(reason) => return Cell { price: Err(reason.clone()), shares: None },
    };
    let price = price(summary, group, at, view);
    let shares = match group.models.get(at) {
        Some(total) if total.refused.is_empty() => bar::shares(&total.waste),
        _ => None,
    };
    let price = price.map(|amount| Price { shown: shown(&amount, view.month.is_some()), amount });
    Cell { price, shares }
}

/// Returns the bill of a month or the mean of a million invocations, or the reason why
/// there is none.
fn price(summary: &Summary, group: &Group, at: usize, view: &View) -> Result<Money, String> {
    let total = group.models.get(at).ok_or("there is no such model in this replay")?;
    if let Some(failures) = group.failures().filter(|_| group.only_failed()) {
        return Err(failures);
    }
    if let Some((refusal, count)) = total.refused.iter().next() {
        return Err(format!("refused {count} of {}: {refusal}", group.invocations));
    }
    if let Some(requests) = view.month {
        let month = summary.month(group, at, &Exact::from(requests));
        return month.map(|month| month.total).map_err(|why| why.to_string());
    }
    if total.charges.is_empty() {
        return Err("there are monthly charges only: choose the requests of a month".to_owned());
    }
    mean(total, view.unit()).ok_or_else(|| "no invocation was billed".to_owned())
}

/// Returns the cost of `count` invocations like these at list prices; `None` if none
/// was billed.
#[must_use]
pub fn mean(total: &ModelTotal, count: u64) -> Option<Money> {
    total.total.times(count).as_exact().over(&Exact::from(total.billed)).map(Money::from)
}

/// Formats a number of invocations with its noun.
#[must_use]
pub fn counted(invocations: u64) -> String {
    if invocations == 1 { "1 invocation".to_owned() } else { format!("{invocations} invocations") }
}

/// Formats a month's bill with two decimals like an invoice, and any other amount to
/// four significant digits.
#[must_use]
pub fn shown(amount: &Money, month: bool) -> String {
    let cent = Exact::from(1).over(&Exact::from(100)).unwrap_or_default();
    if month && (*amount.as_exact() >= cent || amount.is_zero()) {
        amount.rounded(2)
    } else {
        amount.significant(DIGITS)
    }
}

/// Pads amounts so that their decimal points align.
#[must_use]
pub fn aligned(amounts: &[String]) -> Vec<String> {
    let split = |text: &str| {
        let (whole, decimals) = text.split_once('.').map_or((text, ""), |it| it);
        (whole.len(), decimals.len())
    };
    let whole = amounts.iter().map(|it| split(it).0).max().unwrap_or(0);
    let decimals = amounts.iter().map(|it| split(it).1).max().unwrap_or(0);
    let line = |text: &String| {
        let own = split(text);
        let point = usize::from(own.1 == 0 && decimals > 0);
        let after = " ".repeat(decimals - own.1 + point);
        format!("{}{text}{after}", " ".repeat(whole - own.0))
    };
    amounts.iter().map(line).collect()
}

/// Aligns the decimal points of a lane's column, separately for each currency.
fn align(rows: &mut [Row], lane: usize) {
    let mut currencies: Vec<String> = rows.iter().map(|row| row.currency.clone()).collect();
    currencies.sort_unstable();
    currencies.dedup();
    for currency in currencies {
        let of_currency = rows.iter_mut().filter(|row| row.currency == currency);
        let mut prices: Vec<&mut Price> =
            of_currency.filter_map(|row| row.cells[lane].price.as_mut().ok()).collect();
        let texts: Vec<String> = prices.iter().map(|price| price.shown.clone()).collect();
        for (price, text) in prices.iter_mut().zip(aligned(&texts)) {
            text.trim_start().clone_into(&mut price.shown);
        }
    }
}
