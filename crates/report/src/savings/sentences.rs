//! Savings in sentences.

use super::advice::format_limit;
use super::{Advice, Basis, Change, Evidence, FunctionSavings, Grouping, SavingsReport};
use crate::sweep::format_size;
use crate::{format_bill, format_count, format_percent, format_thousands, format_timestamp};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_core::visible_text::escape_line;
use cyclometer_pricing::{Exact, Money, Waste};

/// A day in nanoseconds.
const DAY: u64 = 86_400 * 1_000_000_000;

/// Formats an amount with its currency: `$212.40`, `EUR 3.10`.
#[must_use]
pub fn format_amount(amount: &Money, currency: &str) -> String {
    let figure = format_bill(amount, true);
    match currency {
        "USD" => format!("${figure}"),
        other => format!("{other} {figure}"),
    }
}

/// Formats memory in whole MiB, as sizes are configured, rounded up: `310 MiB`.
#[must_use]
pub fn format_memory(size: Bytes) -> String {
    format!("{} MiB", size.0.div_ceil(1 << 20))
}

/// Describes how much of its memory a function never touches, where the peak of every invocation
/// is known and all have the same size.
#[must_use]
pub fn describe_untouched(function: &FunctionSavings) -> Option<String> {
    let ((known, peak), (least, most)) = (function.usage.peak, function.usage.given?);
    if least != most || known != function.usage.rows || peak > most {
        return None;
    }
    let percent = (&Exact::from(peak.0) * &Exact::from(100)).checked_div(&Exact::from(most.0))?;
    // "No more than" is true of what is rounded up.
    let percent = percent.up_to_multiple(&Exact::from(1)).to_rounded_string(0);
    Some(format!("no invocation touched more than {percent} % of its memory"))
}

/// Names a function, or a cell of one.
fn name_function(function: &FunctionSavings) -> String {
    let name = escape_line(&function.key.function);
    match &function.key.cell {
        Some((preset, start)) => format!("`{name}` ({}, {start})", escape_line(preset)),
        None => format!("`{name}`"),
    }
}

/// Describes a change in a few words: `512 MiB instead of 1024 MiB`.
#[must_use]
pub fn describe_change(report: &SavingsReport, change: &Change) -> String {
    match change {
        Change::Memory { from, to } => {
            format!("{} instead of {}", format_size(*to), format_size(*from))
        }
        Change::Model(at) => report.models.get(*at).cloned().unwrap_or_default(),
    }
}

/// Describes one piece of advice: the change, what it saves, why, and how that is known.
#[must_use]
pub fn describe_advice(
    report: &SavingsReport,
    function: &FunctionSavings,
    advice: &Advice,
) -> String {
    let name = name_function(function);
    let change = match &advice.change {
        Change::Memory { from, to } => {
            format!("moving {name} from {} to {}", format_size(*from), format_size(*to))
        }
        Change::Model(at) => {
            format!("moving {name} to {}", report.models.get(*at).map_or("", String::as_str))
        }
    };
    let saves = format_amount(&advice.saving, &report.currency);
    let share = function
        .cost
        .as_ref()
        .ok()
        .and_then(|cost| advice.saving.as_exact().checked_div(cost.as_exact()))
        .map(|share| format!(" ({} %)", format_percent(&share, 1)))
        .unwrap_or_default();
    let memory = advice.peak.map(|(peak, least)| {
        let margin = report.margin / 10;
        format!(
            "its largest peak is {}, with {margin} % head-room {}; ",
            format_memory(peak),
            format_memory(least)
        )
    });
    let assumed = match advice.assumptions.as_slice() {
        [] => String::new(),
        several => format!("; assumed: {}", several.join("; ")),
    };
    format!(
        "{change} saves {saves} {}{share}: {}{}{}{assumed}",
        report.basis.unit(),
        memory.unwrap_or_default(),
        describe_evidence(&advice.evidence),
        describe_break_even(advice).map(|text| format!(": {text}")).unwrap_or_default()
    )
}

/// Describes how the durations after a change are known.
#[must_use]
pub fn describe_evidence(evidence: &Evidence) -> String {
    let times = |stretch: &Exact| stretch.to_rounded_string(2);
    match evidence {
        Evidence::Unchanged => "an estimate, durations assumed unchanged".to_owned(),
        Evidence::CpuTime { share, stretch } if *stretch == Exact::from(1) => format!(
            "an estimate by CPU time, {} % of the duration: a whole CPU is left, durations unchanged",
            format_percent(share, 0)
        ),
        Evidence::CpuTime { share, stretch } => format!(
            "an estimate by CPU time, {} % of the duration, taken by one thread: it would take \
             about {} times as long",
            format_percent(share, 0),
            times(stretch)
        ),
        Evidence::Measured { stretch, runs, sweep } => {
            let place = match sweep {
                Some(recording) => format!("by the sweep in recording {recording}"),
                None => "at that size".to_owned(),
            };
            format!(
                "measured {place} in {}: {} times as long",
                format_count(i128::from(*runs), "invocation"),
                times(stretch)
            )
        }
    }
}

/// Describes until when a change saves something.
#[must_use]
pub fn describe_break_even(advice: &Advice) -> Option<String> {
    let limit = format_limit(advice.break_even.as_ref()?);
    Some(format!("worth it while it runs less than {limit} times as long"))
}

/// Describes what is wasted of a bill, the largest part first; empty if nothing is.
#[must_use]
pub fn describe_split(split: &Waste<Money>) -> String {
    let whole = split.total();
    let names = ["used", "idle", "head-room", "rounding", "start-up", "fees", "unmeasured"];
    let mut parts: Vec<(&str, Exact)> = names
        .into_iter()
        .zip(split.named_parts())
        .filter_map(|(name, (_, part))| {
            Some((name, part.as_exact().checked_div(whole.as_exact())?))
        })
        .filter(|(_, share)| !share.is_zero())
        .collect();
    parts.sort_by(|(_, one), (_, two)| two.cmp(one));
    let texts = parts.iter().map(|(name, share)| {
        let percent = format_percent(share, 1);
        let percent = if percent == "0.0" { "under 0.1".to_owned() } else { percent };
        format!("{name} {percent} %")
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Formats a step of time exactly: `100 ms`, `1 s`.
#[must_use]
pub fn format_step(step: Nanos) -> String {
    const MS: u64 = 1_000_000;
    match step.0 {
        nanos if nanos % (1_000 * MS) == 0 => format!("{} s", nanos / (1_000 * MS)),
        nanos if nanos % MS == 0 => format!("{} ms", nanos / MS),
        nanos => format!("{nanos} ns"),
    }
}

/// Formats a period in days, or in hours where it is shorter than two.
fn format_period(length: Nanos) -> String {
    let tenths = |unit: u64| {
        Exact::from(length.0)
            .checked_div(&Exact::from(unit))
            .unwrap_or_default()
            .to_rounded_string(1)
    };
    if length.0 >= 2 * DAY {
        format!("{} days", tenths(DAY))
    } else {
        format!("{} hours", tenths(DAY / 24))
    }
}

/// Lists what has to be known to read the figures: what the amounts are for, how time is billed,
/// and what is not in them.
#[must_use]
pub fn list_notes(report: &SavingsReport) -> Vec<String> {
    let id = report.models.first().map_or("", String::as_str);
    let mut notes = vec![describe_basis(report, id)];
    if let Some(step) = report.time_step {
        let least = (step.least.0 > 0).then(|| format!(", at least {}", format_step(step.least)));
        let least = least.unwrap_or_default();
        notes.push(match step.step.0 {
            0 => format!("{id} bills time as it is{least}"),
            _ => format!("{id} bills time in steps of {}{least}", format_step(step.step)),
        });
    }
    let several = |it: &&FunctionSavings| it.usage.given.is_some_and(|(one, two)| one != two);
    let mixed = report.functions.iter().filter(several).count();
    if mixed > 0 && report.grouping == Grouping::Function {
        let count = format_count(i128::try_from(mixed).unwrap_or(0), "function");
        notes.push(format!(
            "{count} had several sizes: advice on memory is for the invocations with more than \
             the advised one"
        ));
    }
    let fees: Vec<&str> = report
        .with_monthly_charges
        .iter()
        .filter_map(|at| report.models.get(*at).map(String::as_str))
        .collect();
    if !fees.is_empty() {
        notes.push(format!("monthly charges come on top: {}", fees.join(", ")));
    }
    for (note, count) in &report.stand_ins {
        notes.push(format!("{note} ({count} x)"));
    }
    let without = report.functions.iter().filter(|it| it.cost.is_err()).count();
    if let Some(Err(reason)) = report.functions.iter().map(|it| &it.cost).find(|it| it.is_err()) {
        let count = format_count(i128::try_from(without).unwrap_or(0), "function");
        notes.push(format!("{count} without a price, the first: {reason}"));
    }
    notes
}

fn describe_basis(report: &SavingsReport, id: &str) -> String {
    let prices = "list prices, without allowances and tiers";
    match &report.basis {
        Basis::Month { period: (begun, ended), length } => {
            let short = if length.0 < DAY {
                "; less than a day, so that the month may be quite different"
            } else {
                ""
            };
            format!(
                "a month: {} from {} to {} UTC, scaled to 30 days, by {id} at {prices}{short}",
                format_period(*length),
                format_timestamp(begun),
                format_timestamp(ended)
            )
        }
        Basis::Requests { requests, .. } => format!(
            "a month: {} requests, shared out like the invocations, by {id} at {prices}",
            format_thousands(requests)
        ),
        Basis::Million => {
            format!("a million invocations of each function, by {id} at {prices}")
        }
        Basis::Trace => format!(
            "in this trace: all its invocations, by {id} at {prices}; their times are not in the \
             log or span less than a minute, so that there is no month: --per-month gives one"
        ),
    }
}
