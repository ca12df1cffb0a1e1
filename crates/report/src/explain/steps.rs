//! Renders factors and their products, line by line.

use super::figures::{TIED, amount, metered};
use super::page::Page;
use cyclometer_pricing::{Dimension, Exact, FactorTrace, PriceModel, Step, UsageGroup};

/// Writes the steps of every factor other than the 1 of a request, then their product in
/// `unit`, with `each` appended.
pub(super) fn factors(
    page: &mut Page,
    indent: usize,
    factors: &[FactorTrace],
    product: (&Exact, &str, &str),
) {
    let shown: Vec<&FactorTrace> = factors.iter().filter(|factor| !is_one(factor)).collect();
    for factor in &shown {
        steps(page, indent, factor);
    }
    if shown.len() > 1 {
        let left = shown.iter().map(|factor| amount(&factor.billed, &factor.unit));
        let left: Vec<String> = left.collect();
        let (value, unit, each) = product;
        page.row(indent, &left.join(&format!(" x{TIED}")), "=", &(amount(value, unit) + each));
    }
}

/// Returns whether a factor is the 1 that a request counts for.
pub(super) fn is_one(factor: &FactorTrace) -> bool {
    matches!(&*factor.steps, [step] if step.dimension == Dimension::Requests)
        && factor.billed == Exact::from(1)
}

fn steps(page: &mut Page, indent: usize, factor: &FactorTrace) {
    // The values that were read, and the steps that changed them.
    let mut lines: Vec<(&Step, String)> = Vec::new();
    for step in &factor.steps {
        let result = shown(step, &factor.unit);
        let changes = lines.last().is_none_or(|(_, before)| *before != result);
        if step.read || changes || step.what == "the largest" {
            lines.push((step, result));
        }
    }
    let last = lines.len().saturating_sub(1);
    for (index, (step, mut result)) in lines.into_iter().enumerate() {
        let billed = amount(&factor.billed, &factor.unit);
        if index == last && billed != result {
            result = format!("{result} ={TIED}{billed}");
        }
        if step.read {
            page.row(indent, &step.what, "", &result);
        } else {
            page.row(indent + 2, &step.what, "=", &result);
        }
    }
    if let Some(note) = &factor.note {
        page.text(indent + 2, &format!("note: {note}"));
    }
}

/// Formats the value of a step; plain numbers are in their own unit or in that of the
/// factor.
fn shown(step: &Step, unit: &str) -> String {
    if step.dimension == Dimension::Number {
        amount(&step.value, step.unit.as_deref().unwrap_or(unit))
    } else {
        metered(&step.value, step.dimension)
    }
}

/// Lists the usage of each invocation of a group, as far as the model reads it.
pub(super) fn usage(model: &PriceModel, group: &UsageGroup) -> Vec<String> {
    let mut parts = Vec::new();
    let tied = |name: &str, value: String| format!("{name}{TIED}{value}");
    for phase in model.phases() {
        if let Some(span) = phase.of(&group.usage.phases) {
            let value = metered(&Exact::from(span.0), Dimension::Time);
            parts.push(tied(phase.name(), value));
        }
    }
    for meter in model.meters() {
        if let Some(value) = group.usage.get(meter) {
            let value = metered(&Exact::from(value), Dimension::of(meter));
            parts.push(tied(meter.name(), value));
        }
    }
    if group.usage.cold {
        parts.push("cold".to_owned());
    }
    parts
}
