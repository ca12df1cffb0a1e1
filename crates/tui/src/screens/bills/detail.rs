//! Texts of the detail panel for the selected cell. They are made when the selection
//! changes, so that drawing only places them.

use super::LoadedBills;
use super::bill_query::MONTHLY_REQUESTS;
use super::bill_table::{BillCell, ModelRow, NOT_SOLD, align_decimal_points};
use super::sorting::{BillSortKey, sort_rows};
use crate::widgets::bar;
use cyclometer_pricing::{Exact, Money, RoundingDirection};
use cyclometer_replay::{GroupTotal, ModelTotal, ReplaySummary};
use cyclometer_report::{format_bill, format_count, format_thousands};

/// Number of cheapest models that are listed.
const CHEAPEST_COUNT: usize = 5;

/// Texts about the selected cell.
#[derive(Debug, Default)]
pub(crate) struct BillDetail {
    /// Model and lane.
    pub title: String,
    /// Name, provider and validity of the model.
    pub about: Vec<String>,
    /// Amount and the number of invocations it is for, or the reason why there is none.
    pub price: String,
    /// Whether `price` is such a reason.
    pub missing: bool,
    /// Invocations and memory that the amount covers.
    pub scope: String,
    /// Warning about those invocations: memory beyond what is billed.
    pub memory_warning: Option<String>,
    /// Comparisons with other models, the most important first.
    pub comparisons: Vec<String>,
    /// Heading of the parts: the invocations that their amounts are for.
    pub parts_heading: String,
    /// Shares of the parts in the bill, in parts per million.
    pub shares: Option<[u64; 7]>,
    /// Amount of each part.
    pub parts: Vec<String>,
    /// Heading of the charges: the invocations that they are for.
    pub charges_heading: String,
    /// Charges: name, quantity with unit, amount, share.
    pub charges: Vec<[String; 4]>,
    /// Line items of the month: name, quantity with unit, free, billable, amount.
    pub line_items: Vec<[String; 5]>,
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
pub(crate) fn describe_cell(
    held: &LoadedBills,
    row: usize,
    lane: usize,
    live: &[String],
) -> BillDetail {
    let figures = &held.table;
    let (Some(model), Some(column)) = (figures.rows.get(row), figures.lanes.get(lane)) else {
        return BillDetail::default();
    };
    let mut detail = BillDetail {
        title: format!("{} in {}", model.id, column.name),
        about: describe_model(model),
        currency: model.currency.clone(),
        uncertain: model.uncertain.clone(),
        lanes: build_lane_rows(held, model),
        ..BillDetail::default()
    };
    let Some(cell) = model.cells.get(lane) else { return detail };
    detail.missing = cell.price.is_err();
    detail.price = match &cell.price {
        Ok(price) => format!("{} {} {}", price.text.trim(), model.currency, short_unit_label(held)),
        Err(reason) => format!("-: {reason}"),
    };
    detail.comparisons = describe_comparisons(held, model, cell, lane, live);
    detail.cheapest = build_cheapest_rows(held, model, lane);
    if let Ok(group) = &column.group {
        detail.add_group(held, row, group);
    }
    detail
}

/// Returns the unit of an amount in a word or two.
const fn short_unit_label(held: &LoadedBills) -> &'static str {
    if held.request.view.month.is_some() { "a month" } else { "a million" }
}

/// Names the invocations that an amount is for.
fn unit_label(held: &LoadedBills) -> String {
    held.request.view.month.map_or_else(
        || "a million invocations".to_owned(),
        |it| format!("{} requests", format_thousands(&Exact::from(it))),
    )
}

fn describe_model(model: &ModelRow) -> Vec<String> {
    let provider = model.provider.as_deref().unwrap_or(NOT_SOLD);
    let until = model.valid_until.as_ref().map(|day| format!(", no longer since {day}"));
    let until = until.unwrap_or_default();
    let about = vec![
        model.name.clone(),
        format!("{provider}, {}, from {}{until}", model.granularity, model.valid_from),
    ];
    about
}

impl BillDetail {
    /// Adds all texts that follow from the sums of the lane.
    fn add_group(&mut self, held: &LoadedBills, row: usize, group: &GroupTotal) {
        let view = &held.request.view;
        let peak = group.peak.map(|peak| format!(", largest peak {peak}")).unwrap_or_default();
        self.scope = format!(
            "{}, {}: {}{peak}",
            view.workload_name(),
            view.start_name(),
            format_count(group.invocations, "invocation")
        );
        if group.over_allocation > 0 {
            self.memory_warning = Some(format!(
                "! {} of {} touched more memory than they are billed for",
                group.over_allocation, group.invocations
            ));
        }
        let Some(total) = group.models.get(row) else { return };
        self.notes =
            total.notes.iter().map(|(note, count)| format!("{note} ({count} x)")).collect();
        if !total.refused.is_empty() || total.billed == 0 {
            return;
        }
        let summary = &held.replayed.summary;
        self.parts_heading =
            format!("what {} cost at list prices, {}", unit_label(held), self.currency);
        self.shares = bar::waste_shares(&total.waste);
        let unit = view.unit_invocations();
        self.charges_heading = format!("what is charged for {}", self::unit_label(held));
        let part =
            |(_, part): (&str, &Money)| format_bill(&scale_amount(part, unit, total.billed), false);
        self.parts = align_decimal_points(&total.waste.named_parts().map(part));
        self.charges = build_charge_rows(summary, row, total, unit);
        self.volumes = build_volume_rows(summary, group, row);
        if let Some(requests) = view.month {
            self.line_items = build_line_item_rows(summary, group, row, requests);
        }
    }
}

/// Scales an amount for `billed` invocations to `unit` of them.
fn scale_amount(amount: &Money, unit: u64, billed: u64) -> Money {
    let all = amount.multiplied_by(unit);
    Money::from(all.as_exact().checked_div(&Exact::from(billed)).unwrap_or_default())
}

fn share_in_ppm(part: &Exact, whole: &Exact) -> Option<u64> {
    let share = part.checked_div(whole)?;
    (&share * &Exact::from(1_000_000)).round_to(0, RoundingDirection::HalfUp).to_u64()
}

fn build_charge_rows(
    summary: &ReplaySummary,
    row: usize,
    total: &ModelTotal,
    unit: u64,
) -> Vec<[String; 4]> {
    let Some(info) = summary.models().get(row) else { return Vec::new() };
    let charges = info.charges.iter().zip(&total.charges);
    let mut lines: Vec<_> = charges
        .filter(|(_, charge)| !charge.quantity.is_zero())
        .map(|((name, of), charge)| {
            let quantity = scale_amount(&Money::from(charge.quantity.clone()), unit, total.billed);
            let share = share_in_ppm(charge.amount.as_exact(), total.total.as_exact());
            [
                name.to_string(),
                format!("{} {of}", format_quantity(quantity.as_exact())),
                format_bill(&scale_amount(&charge.amount, unit, total.billed), false),
                share.map_or_else(|| "-".to_owned(), bar::format_percent),
            ]
        })
        .collect();
    align_column(&mut lines, 2);
    lines
}

/// Formats a quantity to four significant digits with separated thousands.
fn format_quantity(value: &Exact) -> String {
    let text = value.to_significant_string(super::bill_table::SIGNIFICANT_DIGITS);
    text.parse().map_or(text, |rounded: Exact| format_thousands(&rounded))
}

fn build_line_item_rows(
    summary: &ReplaySummary,
    group: &GroupTotal,
    row: usize,
    requests: u64,
) -> Vec<[String; 5]> {
    let Ok(month) = summary.monthly_bill(group, row, &Exact::from(requests)) else {
        return Vec::new();
    };
    let there = month.positions.iter().filter(|position| !position.quantity.is_zero());
    let positions = there.map(|position| {
        [
            position.name.to_string(),
            format!("{} {}", format_quantity(&position.quantity), position.unit),
            format_quantity(&position.free),
            format_quantity(&position.billable),
            format_bill(&position.rounded, true),
        ]
    });
    // Lines of a contract; what is taken off has its sign.
    let adjustments = month.adjustments.iter().map(|line| {
        let amount = line.rounded.as_exact();
        let sign = if *amount < Exact::default() { "-" } else { "" };
        let size = format_bill(&Money::from(amount.without_sign()), true);
        let nothing = String::new;
        [line.name.to_string(), nothing(), nothing(), nothing(), format!("{sign}{size}")]
    });
    positions.chain(adjustments).collect()
}

fn build_lane_rows(
    held: &LoadedBills,
    model: &ModelRow,
) -> Vec<(String, String, Option<[u64; 7]>)> {
    let amount = |cell: &BillCell| {
        let price = cell.price.as_ref().map_or("-", |price| price.text.trim());
        price.to_owned()
    };
    let amounts: Vec<String> = model.cells.iter().map(amount).collect();
    let lanes = held.table.lanes.iter().zip(align_decimal_points(&amounts)).zip(&model.cells);
    lanes.map(|((lane, amount), cell)| (lane.name.clone(), amount, cell.shares)).collect()
}

fn build_volume_rows(summary: &ReplaySummary, group: &GroupTotal, row: usize) -> Vec<[String; 3]> {
    let bill = |requests: u64| {
        let month = summary.monthly_bill(group, row, &Exact::from(requests)).ok()?.total;
        let million = scale_amount(&month, 1_000_000, requests);
        Some([
            format_thousands(&Exact::from(requests)),
            format_bill(&month, true),
            format_bill(&million, true),
        ])
    };
    let mut bills: Vec<_> =
        MONTHLY_REQUESTS.iter().flatten().filter_map(|requests| bill(*requests)).collect();
    align_column(&mut bills, 1);
    align_column(&mut bills, 2);
    bills
}

/// Aligns the decimal points of a column.
fn align_column<const N: usize>(rows: &mut [[String; N]], column: usize) {
    let texts: Vec<String> = rows.iter().map(|row| row[column].clone()).collect();
    for (row, text) in rows.iter_mut().zip(align_decimal_points(&texts)) {
        row[column] = text;
    }
}

/// Ranks the models with an amount in the same currency, cheapest first. Models with
/// further charges beyond their amount and models that nobody sells are left out.
fn rank_priced_models<'a>(
    held: &'a LoadedBills,
    model: &ModelRow,
    lane: usize,
) -> Vec<(&'a ModelRow, &'a Money)> {
    let figures = &held.table;
    sort_rows(figures, "", (BillSortKey::Price, false), lane)
        .into_iter()
        .map(|at| &figures.rows[at])
        .filter(|row| row.currency == model.currency && !row.has_monthly_charges && row.is_sold())
        .filter_map(|row| Some((row, row.amount_in_lane(lane)?)))
        .collect()
}

fn build_cheapest_rows(held: &LoadedBills, model: &ModelRow, lane: usize) -> Vec<[String; 3]> {
    let mut priced = rank_priced_models(held, model, lane);
    priced.truncate(CHEAPEST_COUNT);
    let Some((_, least)) = priced.first().copied() else { return Vec::new() };
    let month = held.request.view.month.is_some();
    let told = |(row, amount): &(&ModelRow, &Money)| {
        let ratio = amount.ratio_to(least, 2);
        let ratio =
            ratio.map_or_else(|| "-".to_owned(), |it| format!("{}x", it.to_rounded_string(2)));
        [format!("{}{}", row.id, row.marks), format_bill(amount, month), ratio]
    };
    let mut lines: Vec<_> = priced.iter().map(told).collect();
    align_column(&mut lines, 1);
    lines
}

/// Compares the selected amount with the cheapest one, and the two models of the live
/// view's pair.
fn describe_comparisons(
    held: &LoadedBills,
    model: &ModelRow,
    cell: &BillCell,
    lane: usize,
    live: &[String],
) -> Vec<String> {
    let mut lines = Vec::new();
    if model.has_monthly_charges {
        lines.push("+ monthly charges come on top, which a month has".to_owned());
    } else if let Ok(price) = &cell.price {
        let priced = rank_priced_models(held, model, lane);
        if let Some((row, least)) = priced.iter().find(|(row, _)| row.valid_until.is_none()) {
            lines.push(describe_ratio(model, &price.amount, row, least, "cheapest offer"));
        }
    }
    lines.extend(describe_live_pair(held, lane, live));
    lines
}

fn describe_ratio(
    model: &ModelRow,
    amount: &Money,
    row: &ModelRow,
    least: &Money,
    what: &str,
) -> String {
    if row.id == model.id {
        return format!("{what} in {}", model.currency);
    }
    match amount.ratio_to(least, 2) {
        Some(ratio) => {
            format!("{}x {}, {what} in {}", ratio.to_rounded_string(2), row.id, model.currency)
        }
        None => format!("0 for {}, {what} in {}", row.id, model.currency),
    }
}

/// Formats the ratio of the coarse to the fine model of the first pair of the live
/// view.
fn describe_live_pair(held: &LoadedBills, lane: usize, live: &[String]) -> Option<String> {
    let summary = &held.replayed.summary;
    let group = held.table.lanes.get(lane)?.group.as_ref().ok()?;
    let chosen = |at: usize| live.contains(&summary.models()[at].id);
    let (coarse, fine) =
        summary.coarse_fine_pairs().find(|(coarse, fine)| chosen(*coarse) && chosen(*fine))?;
    let name = |at: usize| &summary.models()[at].id;
    let dearer = match summary.describe_dearer(group, coarse, fine) {
        Ok(dearer) => dearer,
        Err(why) => format!("-, {why}"),
    };
    Some(format!("dearer of {} (coarse) and {} (fine): {dearer}", name(coarse), name(fine)))
}
