//! Tables and sentences of a reconciliation by month.

use cyclometer_pricing::Exact;
use serde_json::{Value, json};

use super::month::{Agreement, ComparedGroup, GroupSums, MonthComparison, NamedPart};
use super::rows_report::format_share;
use crate::table::{Cell, Column, Table};
use crate::text_format::{format_count, format_percent};

/// Decimals of quantities and costs in text.
const DECIMALS: u32 = 6;

/// Says what share of the bill is explained, first, and what the rest is.
#[must_use]
pub fn describe_month(compared: &MonthComparison) -> Vec<String> {
    let currency = compared.currencies.join(", ");
    let mut lines = vec![match compared.explained_share() {
        Some(share) => {
            format!("{} of what AWS Lambda was billed is explained", format_share(&share))
        }
        None => "the bill has no line of AWS Lambda in the months of the trace".to_owned(),
    }];
    let without = [("region", compared.by_region), ("function", compared.by_function)];
    for (name, _) in without.iter().filter(|(_, is_compared)| !is_compared) {
        lines
            .push(format!("not by {name}: not every line of the bill and row of the trace has it"));
    }
    if compared.currencies.len() > 1 {
        lines.push(format!("the bill has several currencies, whose costs are added: {currency}"));
    }
    let counted = [
        (compared.refused, "that the model cannot bill"),
        (compared.undated, "without a time, which belong to no month"),
    ];
    for (count, what) in counted.iter().filter(|(count, _)| *count > 0) {
        lines.push(format!("{} {what}", format_count(*count, "invocation")));
    }
    lines
}

/// Builds one row a group: the bill beside the simulation.
#[must_use]
pub fn month_table(compared: &MonthComparison) -> Table {
    let mut table = Table::new(&[
        Column::text("month", "month"),
        Column::text("region", "region"),
        Column::text("function", "function"),
        Column::text("line", "line"),
        Column::number("in the bill", "billed_quantity"),
        Column::number("simulated", "simulated_quantity"),
        Column::number("billed", "billed_cost"),
        Column::number("at list", "simulated_list_cost"),
        Column::text("difference", "agreement"),
        Column::hidden("explained"),
    ]);
    for group in &compared.groups {
        let name = &group.group;
        let value =
            |side: &Option<GroupSums>, pick: fn(&GroupSums) -> &Exact| {
                Cell::optional(side.as_ref().map(|sums| {
                    (pick(sums).to_rounded_string(DECIMALS), pick(sums).to_plain_string())
                }))
            };
        table.push(vec![
            Cell::text(name.month.clone()),
            Cell::optional_text(name.region.clone()),
            Cell::optional_text(name.function.clone()),
            Cell::text(name.charge.clone()),
            value(&group.billed, |sums| &sums.quantity),
            value(&group.simulated, |sums| &sums.quantity),
            value(&group.billed, |sums| &sums.cost),
            value(&group.simulated, |sums| &sums.cost),
            Cell::text(describe_difference(group)),
            Cell::new("", group.agreement.is_explained()),
        ]);
    }
    table
}

/// Names the difference of a group: of its quantities, and why its cost is not that at list.
fn describe_difference(group: &ComparedGroup) -> String {
    let mut parts = vec![group.agreement.meaning().to_owned()];
    if let Some(billed) = &group.billed {
        if !billed.free_quantity.is_zero() {
            let free = billed.free_quantity.to_rounded_string(DECIMALS);
            parts.push(format!("free tier: {free} at no cost"));
        }
        if !billed.covered_quantity.is_zero() {
            let covered = billed.covered_quantity.to_rounded_string(DECIMALS);
            parts.push(format!("commitment: covers {covered}"));
        }
    }
    if let (Agreement::OtherPrice, Some(billed), Some(simulated)) =
        (group.agreement, &group.billed, &group.simulated)
        && let Some(share) = billed.paid_cost.checked_div(&billed.price_at_list(simulated))
    {
        let percent = format_percent(&share, 2);
        parts.push(format!("{percent} % of list: a tier, a region or a discount?"));
    }
    parts.join("; ")
}

/// Builds one row a kind of other lines of the bill.
#[must_use]
pub fn named_table(compared: &MonthComparison) -> Table {
    let mut table = Table::new(&[
        Column::text("other lines of the bill", "part"),
        Column::text("what they are", "kind"),
        Column::number("lines", "lines"),
        Column::number("billed", "billed_cost"),
    ]);
    for (part, (lines, cost)) in &compared.named {
        let (name, kind) = match part {
            NamedPart::Category(name) => (*name, "named difference"),
            NamedPart::Commitment => ("savings plan or reservation", "named difference"),
            NamedPart::OtherUsage(sku) => (sku.as_str(), "usage that is not simulated"),
            NamedPart::OtherService(service) => (service.as_str(), "service that is not simulated"),
            NamedPart::OtherMonth => ("other months", "not in the trace"),
        };
        table.push(vec![
            Cell::text(name),
            Cell::text(kind),
            Cell::new(lines, *lines),
            Cell::new(cost.to_rounded_string(DECIMALS), cost.to_plain_string()),
        ]);
    }
    table
}

/// Builds one object with everything.
#[must_use]
pub fn month_to_json(compared: &MonthComparison) -> Value {
    let share = compared.explained_share();
    json!({
        "explained_percent": share.map(|share| {
            (&share * &Exact::from(100)).to_rounded_string(6)
        }),
        "currencies": compared.currencies,
        "by_region": compared.by_region,
        "by_function": compared.by_function,
        "refused_invocations": compared.refused,
        "undated_invocations": compared.undated,
        "lines": month_table(compared).to_json(),
        "other_lines": named_table(compared).to_json(),
    })
}
