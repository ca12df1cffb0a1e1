//! Cells of the bills table as text, made when the bills are computed.

use std::num::NonZeroU64;

use super::bill_query::BillsView;
use crate::widgets::bar;
use cyclometer_core::units::Bytes;
use cyclometer_pricing::{ChargeBasis, Exact, Granularity, Money};
use cyclometer_replay::{GroupTotal, ReplaySummary};
use cyclometer_report::format_bill;
use cyclometer_store::RecordedCell;

/// Significant digits of displayed amounts.
pub(crate) const SIGNIFICANT_DIGITS: NonZeroU64 = NonZeroU64::MIN.saturating_add(3);

/// Content of the bills table.
#[derive(Debug)]
pub(crate) struct BillTable {
    /// Rows, one per model, in the order of the catalogue.
    pub rows: Vec<ModelRow>,
    /// Lanes in the order of the recording.
    pub lanes: Vec<BilledLane>,
    /// Workloads in the order of the recording.
    pub workloads: Vec<String>,
    /// Largest memory peak of the invocations shown.
    pub peak: Option<Bytes>,
    /// Number of invocations shown, over all lanes.
    pub invocations: u64,
}

/// Column of the table: a lane.
#[derive(Debug)]
pub(crate) struct BilledLane {
    /// Name of the lane.
    pub name: String,
    /// Sums of the lane, or the reason why it has none.
    pub group: Result<GroupTotal, String>,
}

/// Row of the table: a price model.
#[derive(Debug)]
pub(crate) struct ModelRow {
    /// Id of the model.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Provider of the tariff; `None` if nobody sells it.
    pub provider: Option<String>,
    /// First day on which the tariff is valid.
    pub valid_from: String,
    /// First day on which the tariff is no longer valid.
    pub valid_until: Option<String>,
    /// Part of the tariff that is not certain.
    pub uncertain: Option<String>,
    /// Currency of the amounts.
    pub currency: String,
    /// Granularity: coarse, hybrid or fine.
    pub granularity: Granularity,
    /// Whether there are monthly charges that the amounts do not include.
    pub has_monthly_charges: bool,
    /// Marks, one character each of `*+!?`: ended, monthly charges on top, stand-in for
    /// a meter, uncertain.
    pub marks: String,
    /// Text of the line except its amounts, in lower case, for the filter.
    pub search_text: String,
    /// Cells, one per lane.
    pub cells: Vec<BillCell>,
}

/// Cell of the table: a model in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BillCell {
    /// Amount, or the reason why there is none.
    pub price: Result<DisplayedAmount, String>,
    /// Shares of the parts of the bill, in parts per million.
    pub shares: Option<[u64; 7]>,
}

/// Amount with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DisplayedAmount {
    /// Exact amount.
    pub amount: Money,
    /// Displayed text, padded so that decimal points align.
    pub text: String,
}

/// Text in place of the provider of a model that nobody sells.
pub(crate) const NOT_SOLD: &str = "nobody sells it";

impl ModelRow {
    /// Whether the tariff can be bought.
    #[must_use]
    pub(crate) const fn is_sold(&self) -> bool {
        self.provider.is_some()
    }

    /// Whether every word of the filter occurs in the line.
    #[must_use]
    pub(crate) fn matches_filter(&self, words: &str) -> bool {
        let amounts = || self.cells.iter().filter_map(|cell| cell.price.as_ref().ok());
        let seen = |word: &str| {
            self.search_text.contains(word) || amounts().any(|price| price.text.contains(word))
        };
        words.split_whitespace().all(seen)
    }

    /// Returns the amount in a lane.
    #[must_use]
    pub(crate) fn amount_in_lane(&self, lane: usize) -> Option<&Money> {
        self.cells.get(lane)?.price.as_ref().ok().map(|price| &price.amount)
    }
}

impl BillTable {
    /// Builds the table of a view.
    #[must_use]
    pub(crate) fn from_summary(
        summary: &ReplaySummary,
        cells: &[RecordedCell],
        view: &BillsView,
    ) -> Self {
        let lanes = build_lanes(summary, cells, view);
        let mut rows: Vec<ModelRow> = (0..summary.models().len())
            .filter_map(|at| build_row(summary, &lanes, at, view))
            .collect();
        for lane in 0..lanes.len() {
            align_lane_amounts(&mut rows, lane);
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

fn build_lanes(
    summary: &ReplaySummary,
    cells: &[RecordedCell],
    view: &BillsView,
) -> Vec<BilledLane> {
    let mut names: Vec<&str> = Vec::new();
    for cell in cells {
        if !names.contains(&cell.lane.as_str()) {
            names.push(&cell.lane);
        }
    }
    let mut sums = summary.group_by(|key| (key.lane.to_string(), view.includes_key(key)));
    names
        .into_iter()
        .map(|name| {
            let found = sums.remove(&(name.to_owned(), true)).filter(|it| it.invocations > 0);
            let group = found.ok_or_else(|| explain_missing_lane(cells, view, name));
            BilledLane { name: name.to_owned(), group }
        })
        .collect()
}

/// Explains why a lane has nothing to show in a view.
fn explain_missing_lane(cells: &[RecordedCell], view: &BillsView, lane: &str) -> String {
    let mut of_lane = cells.iter().filter(|cell| cell.lane == lane);
    if let Some(reason) = of_lane.clone().find_map(|cell| cell.unavailable.as_ref()) {
        return format!("the lane could not run: {reason}");
    }
    let shown = of_lane.find(|cell| {
        let names = cell.workload.as_deref().zip(cell.start);
        names.is_some_and(|(workload, start)| view.includes(workload, start))
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

fn build_row(
    summary: &ReplaySummary,
    lanes: &[BilledLane],
    at: usize,
    view: &BillsView,
) -> Option<ModelRow> {
    let (model, terms) = summary.contract(at)?;
    let charges = || {
        model
            .charges()
            .any(|it| it.basis() == ChargeBasis::Period && model.charge_applies(it, terms))
    };
    let more = view.month.is_none() && charges();
    let groups = || lanes.iter().filter_map(|lane| lane.group.as_ref().ok());
    let noted = groups().any(|it| it.models.get(at).is_some_and(|it| !it.notes.is_empty()));
    let marks = [
        (model.effective_until().is_some(), '*'),
        (more, '+'),
        (noted, '!'),
        (model.uncertainty_note().is_some(), '?'),
    ];
    let provider = model.provider().map(str::to_owned);
    let marks: String = marks.into_iter().filter(|(on, _)| *on).map(|(_, sign)| sign).collect();
    let words = [
        &format!("{}{marks}", model.id()),
        model.name(),
        provider.as_deref().unwrap_or(NOT_SOLD),
        model.granularity().name(),
        model.currency(),
    ];
    let words = words.join(" ");
    Some(ModelRow {
        id: model.id().to_owned(),
        name: model.name().to_owned(),
        provider,
        valid_from: model.effective_from().to_owned(),
        valid_until: model.effective_until().map(str::to_owned),
        uncertain: model.uncertainty_note().map(str::to_owned),
        currency: model.currency().to_owned(),
        granularity: model.granularity(),
        has_monthly_charges: more,
        marks,
        search_text: words.to_lowercase(),
        cells: lanes.iter().map(|lane| build_cell(summary, lane, at, view)).collect(),
    })
}

fn build_cell(summary: &ReplaySummary, lane: &BilledLane, at: usize, view: &BillsView) -> BillCell {
    let group = match &lane.group {
        Ok(group) => group,
        Err(reason) => return BillCell { price: Err(reason.clone()), shares: None },
    };
    let price = compute_amount(summary, group, at, view);
    let shares = match group.models.get(at) {
        Some(total) if total.refused.is_empty() => bar::waste_shares(&total.waste),
        _ => None,
    };
    let price = price
        .map(|amount| DisplayedAmount { text: format_bill(&amount, view.month.is_some()), amount });
    BillCell { price, shares }
}

/// Returns the bill of a month or the mean of a million invocations, or the reason why
/// there is none.
fn compute_amount(
    summary: &ReplaySummary,
    group: &GroupTotal,
    at: usize,
    view: &BillsView,
) -> Result<Money, String> {
    let total = group.models.get(at).ok_or("there is no such model in this replay")?;
    if let Some(failures) = group.describe_failures().filter(|_| group.only_failed()) {
        return Err(failures);
    }
    if let Some((refusal, count)) = total.refused.iter().next() {
        return Err(format!("refused {count} of {}: {refusal}", group.invocations));
    }
    if let Some(requests) = view.month {
        let month = summary.monthly_bill(group, at, &Exact::from(requests));
        return month.map(|month| month.total).map_err(|why| why.to_string());
    }
    if total.charges.is_empty() {
        return Err("there are monthly charges only: choose the requests of a month".to_owned());
    }
    total.project_cost(view.unit_invocations()).ok_or_else(|| "no invocation was billed".to_owned())
}

/// Pads amounts so that their decimal points align.
#[must_use]
pub(crate) fn align_decimal_points(amounts: &[String]) -> Vec<String> {
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
fn align_lane_amounts(rows: &mut [ModelRow], lane: usize) {
    let mut currencies: Vec<String> = rows.iter().map(|row| row.currency.clone()).collect();
    currencies.sort_unstable();
    currencies.dedup();
    for currency in currencies {
        let of_currency = rows.iter_mut().filter(|row| row.currency == currency);
        let mut prices: Vec<&mut DisplayedAmount> =
            of_currency.filter_map(|row| row.cells[lane].price.as_mut().ok()).collect();
        let texts: Vec<String> = prices.iter().map(|price| price.text.clone()).collect();
        for (price, text) in prices.iter_mut().zip(align_decimal_points(&texts)) {
            text.trim_start().clone_into(&mut price.text);
        }
    }
}
