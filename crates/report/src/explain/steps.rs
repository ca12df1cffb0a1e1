//! Renders factors and their products, line by line.

use super::number_format::{TIED, format_amount, format_metered};
use super::page::TextPage;
use cyclometer_pricing::{Dimension, Exact, FactorTrace, PriceModel, TraceStep, UsageGroup};

/// Writes the steps of every factor other than the 1 of a request, then their product in
/// `unit`, with `each` appended.
pub(super) fn write_factors(
    page: &mut TextPage,
    indent: usize,
    factors: &[FactorTrace],
    product: (&Exact, &str, &str),
) {
    let shown: Vec<&FactorTrace> = factors.iter().filter(|factor| !is_one(factor)).collect();
    for factor in &shown {
        write_steps(page, indent, factor);
    }
    if shown.len() > 1 {
        let left = shown.iter().map(|factor| format_amount(&factor.billed, &factor.unit));
        let left: Vec<String> = left.collect();
        let (value, unit, each) = product;
        page.add_row(
            indent,
            &left.join(&format!(" x{TIED}")),
            "=",
            &(format_amount(value, unit) + each),
        );
    }
}

/// Returns whether a factor is the 1 that a request counts for.
pub(super) fn is_one(factor: &FactorTrace) -> bool {
    matches!(&*factor.steps, [step] if step.dimension == Dimension::Requests)
        && factor.billed == Exact::from(1)
}

fn write_steps(page: &mut TextPage, indent: usize, factor: &FactorTrace) {
    // The values that were read, and the steps that changed them.
    let mut lines: Vec<(&TraceStep, String)> = Vec::new();
    for step in &factor.steps {
        let result = format_step(step, &factor.unit);
        let changes = lines.last().is_none_or(|(_, before)| *before != result);
        if step.is_measured || changes || step.description == "the largest" {
            lines.push((step, result));
        }
    }
    let last = lines.len().saturating_sub(1);
    for (index, (step, mut result)) in lines.into_iter().enumerate() {
        let billed = format_amount(&factor.billed, &factor.unit);
        if index == last && billed != result {
            result = format!("{result} ={TIED}{billed}");
        }
        if step.is_measured {
            page.add_row(indent, &step.description, "", &result);
        } else {
            page.add_row(indent + 2, &step.description, "=", &result);
        }
    }
    if let Some(note) = &factor.note {
        page.add_text(indent + 2, &format!("note: {note}"));
    }
}

/// Formats the value of a step; plain numbers are in their own unit or in that of the
/// factor.
fn format_step(step: &TraceStep, unit: &str) -> String {
    if step.dimension == Dimension::Number {
        format_amount(&step.value, step.unit.as_deref().unwrap_or(unit))
    } else {
        format_metered(&step.value, step.dimension)
    }
}

/// Lists the usage of each invocation of a group, as far as the model reads it.
pub(super) fn list_usage(model: &PriceModel, group: &UsageGroup) -> Vec<String> {
    let mut parts = Vec::new();
    let tied = |name: &str, value: String| format!("{name}{TIED}{value}");
    for phase in model.used_phases() {
        if let Some(span) = phase.duration_in(&group.usage.phases) {
            let value = format_metered(&Exact::from(span.0), Dimension::Time);
            parts.push(tied(phase.name(), value));
        }
    }
    for meter in model.used_meters() {
        if let Some(value) = group.usage.get(meter) {
            let value = format_metered(&Exact::from(value), Dimension::for_meter(meter));
            parts.push(tied(meter.name(), value));
        }
    }
    if group.usage.cold {
        parts.push("cold".to_owned());
    }
    parts
}
