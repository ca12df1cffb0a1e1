//! Sentences on a sweep: what to choose under each tariff, what that changes, and the notes that
//! are needed to believe it.

use super::{Figure, Pick, SizeRow, SweepReport, Tariff, format_amount, format_size};
use crate::text_format::format_time;
use cyclometer_core::units::Bytes;
use cyclometer_pricing::Exact;
use cyclometer_stats::LEAST_RUNS;
use cyclometer_workload::CpuShare;

/// Describes the choice under each tariff: one paragraph each.
#[must_use]
pub fn describe_choices(report: &SweepReport) -> Vec<String> {
    report.tariffs.iter().map(|tariff| describe_tariff(report, tariff)).collect()
}

fn describe_tariff(report: &SweepReport, tariff: &Tariff) -> String {
    let picks = tariff.named_picks();
    if picks.is_empty() {
        return format!(
            "{}: no size can be recommended: {}.",
            tariff.id,
            why_no_choice(report, tariff)
        );
    }
    let told: Vec<String> =
        picks.iter().map(|(name, pick)| describe_pick(report, tariff, name, pick)).collect();
    let mut text = format!("{}: {}.", tariff.id, told.join("; "));
    if picks.iter().any(|(_, pick)| pick.alike.is_none()) {
        text.push_str(" Without intervals it is not known whether these sizes differ from others.");
    }
    if let Some(change) = describe_changes(report, tariff) {
        text.push(' ');
        text.push_str(&change);
    }
    text
}

fn why_no_choice(report: &SweepReport, tariff: &Tariff) -> String {
    let ran = || report.rows.iter().filter(|row| row.ok > 0 && row.failed == 0);
    let Some(least) = report.least else {
        return if ran().next().is_none() {
            "at none of them all runs ended well".to_owned()
        } else {
            "no peak of memory was measured, so none can be ruled out".to_owned()
        };
    };
    if !ran().any(|row| row.planned.memory >= least) {
        return format!(
            "none of those at which all runs ended well has the {} that the peak and its head-room \
             need: name larger ones with --memory",
            describe_least(least)
        );
    }
    let why = tariff.costs.iter().rev().find_map(|cost| cost.as_ref().err());
    why.map_or_else(|| "none has a price".to_owned(), |why| format!("none has a price: {why}"))
}

/// Formats the least size, rounded up to a whole MiB, of which memory is given.
fn describe_least(least: Bytes) -> String {
    format_size(Bytes(least.0.div_ceil(1 << 20) << 20))
}

fn describe_pick(report: &SweepReport, tariff: &Tariff, name: &str, pick: &Pick) -> String {
    let row = |at: usize| tariff.candidates.get(at).map(|at| &report.rows[*at]);
    let size = |at: usize| row(at).map(|row| format_size(row.planned.memory)).unwrap_or_default();
    let figure = match name {
        "fastest" => {
            format!(" ({})", with_ends(&pick.figure, format_time))
        }
        "cheapest" => {
            format!(" ({} {} a million)", with_ends(&pick.figure, format_amount), tariff.currency)
        }
        _ => String::new(),
    };
    let alike = match pick.alike.as_deref() {
        None | Some([]) => String::new(),
        Some(others) => {
            let names: Vec<String> = others.iter().map(|at| size(*at)).collect();
            format!(", not distinguishable from {}", join_names(&names))
        }
    };
    format!("{name} {}{figure}{alike}", size(pick.best))
}

/// Formats a figure with the ends of its interval in brackets.
pub(super) fn with_ends(figure: &Figure, format: impl Fn(f64) -> String) -> String {
    match figure.ends {
        Some((low, high)) => {
            format!("{} [{}, {}]", format(figure.value), format(low), format(high))
        }
        None => format(figure.value),
    }
}

fn join_names(names: &[String]) -> String {
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// Returns the change in cost from the present size to the one of a pick.
pub(super) fn change_from_present(
    report: &SweepReport,
    tariff: &Tariff,
    row: usize,
) -> Option<Exact> {
    let cost = |at: usize| tariff.costs.get(at)?.as_ref().ok().map(|cost| &cost.mean);
    Some(cost(row)? - cost(report.present_row()?)?)
}

/// Describes what each choice changes against the present size.
fn describe_changes(report: &SweepReport, tariff: &Tariff) -> Option<String> {
    let present = report.plan.present?;
    let Some(row) = report.present_row() else {
        return Some(format!(
            "What they change against {}, the size it has now, is not known: --present {} measures \
             that too.",
            format_size(present),
            format_size(present).replace(' ', "")
        ));
    };
    let before = match &tariff.costs[row] {
        Ok(cost) => cost,
        Err(why) => {
            return Some(format!(
                "What they change against {}, the size it has now, is not known: {why}.",
                format_size(present)
            ));
        }
    };
    let mut told: Vec<(usize, String, String)> = Vec::new();
    for (name, pick) in tariff.named_picks() {
        let Some(at) = tariff.candidates.get(pick.best) else { continue };
        if let Some((_, names, _)) = told.iter_mut().find(|(other, ..)| other == at) {
            *names = format!("{names} and {name}");
            continue;
        }
        let change = change_from_present(report, tariff, *at)?.to_f64()?;
        told.push((*at, name.to_owned(), format_change(change, before.figure.value, tariff)));
    }
    let parts: Vec<String> =
        told.into_iter().map(|(_, names, change)| format!("{names} {change}")).collect();
    Some(format!("Against {}, a million cost: {}.", format_size(present), parts.join("; ")))
}

fn format_change(change: f64, before: f64, tariff: &Tariff) -> String {
    if change == 0.0 {
        return "the same".to_owned();
    }
    let sign = if change < 0.0 { '-' } else { '+' };
    let percent = if before > 0.0 {
        format!(" ({sign}{:.1} %)", (change / before * 100.0).abs())
    } else {
        String::new()
    };
    format!("{sign}{} {}{percent}", format_amount(change.abs()), tariff.currency)
}

/// Returns the notes that are needed to read the report.
#[must_use]
pub fn list_notes(report: &SweepReport) -> Vec<String> {
    let mut notes: Vec<String> = report.rows.iter().filter_map(describe_failure).collect();
    notes.extend(describe_head_room(report));
    notes.extend(describe_shares(report));
    for tariff in &report.tariffs {
        notes.extend(describe_refusals(report, tariff));
        if !tariff.unsold.is_empty() {
            let sizes: Vec<String> = tariff.unsold.iter().copied().map(format_size).collect();
            notes.push(format!(
                "{} does not sell {}: it bills the next size that it has",
                tariff.id,
                sizes.join(", ")
            ));
        }
    }
    if report.rows.iter().any(|row| row.ok > 0 && row.ok < LEAST_RUNS as u64) {
        notes.push(format!(
            "fewer than {LEAST_RUNS} runs have no interval: use --runs {LEAST_RUNS} or more"
        ));
    }
    if report.tariffs.iter().any(|tariff| tariff.choice.is_some()) {
        notes.push(format!(
            "balanced: the least sum of half the cost, as a share of the dearest, and half the time, \
             as a share of the slowest, as AWS Lambda Power Tuning has it; brackets are {} intervals \
             of the median wall time and the mean cost, and sizes whose intervals overlap are not \
             distinguishable",
            report.confidence
        ));
    }
    notes
}

fn describe_failure(row: &SizeRow) -> Option<String> {
    let (size, reason) = (format_size(row.planned.memory), row.reason.as_deref()?);
    Some(match (row.ok, row.failed) {
        (0, 0) => format!("{size}: not measured: {reason}"),
        (0, 1) => format!("{size}: its only run failed: {reason}"),
        (0, failed) => format!("{size}: all {failed} runs failed: {reason}"),
        (ok, failed) => format!(
            "{size}: {failed} of {} runs failed, so it is not recommended: {reason}",
            ok + failed
        ),
    })
}

fn describe_head_room(report: &SweepReport) -> Option<String> {
    let ((peak, at), least) = (report.peak?, report.least?);
    let percent = f64::from(report.plan.head_room) / 10.0;
    Some(format!(
        "sizes below {} are not recommended: the largest peak, {peak} at {}, and {percent} % \
         head-room{}",
        describe_least(least),
        format_size(at),
        describe_container_peak(&report.place)
    ))
}

/// Says of lanes of containers what their peak leaves out; nothing of others.
fn describe_container_peak(lane: &str) -> &'static str {
    if lane.starts_with("docker") {
        "; pages of the image's files that were read before are not in a container's peak: a \
         provider may count them"
    } else {
        ""
    }
}

/// Describes the CPU shares of the sizes, or that they had none.
fn describe_shares(report: &SweepReport) -> Vec<String> {
    /// Services with a share by memory: the word of the rule, a part of the provider's name, and
    /// that of the service.
    const SERVICES: [(&str, &str, &str); 3] = [
        ("aws", "Amazon", "AWS Lambda"),
        ("google", "Google", "Cloud Run functions"),
        ("azure", "Microsoft", "Azure Functions (Flex Consumption)"),
    ];
    let Some(rule) = report.plan.cpu_rule.as_deref() else {
        return vec![
            "functions had whole CPUs at every size: a size changes only the head-room and the price \
             here; --cpu-by-memory aws gives each its share"
                .to_owned(),
        ];
    };
    let Some((_, own, service)) = SERVICES.iter().find(|(word, ..)| *word == rule) else {
        return vec![format!(
            "functions had {rule} CPUs at every size: a size changes only the head-room and the \
             price here; --cpu-by-memory aws gives each its share"
        )];
    };
    let others = report.tariffs.iter().filter(|tariff| {
        tariff.provider.as_deref().is_some_and(|provider| !provider.contains(own))
    });
    let names: Vec<String> = others.map(|tariff| tariff.id.clone()).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let words: Vec<&str> =
        SERVICES.iter().map(|(word, ..)| *word).filter(|word| *word != rule).collect();
    let [verb, share] = if names.len() == 1 { ["has", "another"] } else { ["have", "others"] };
    vec![format!(
        "every size had the CPU share that {service} gives it, and all tariffs price these same \
         times; {} {verb} {share}: before you compare providers, measure with --cpu-by-memory {}",
        join_names(&names),
        words.join(" or ")
    )]
}

/// Lists the sizes that a tariff does not price, by reason.
fn describe_refusals(report: &SweepReport, tariff: &Tariff) -> Vec<String> {
    let mut told: Vec<(&str, Vec<String>)> = Vec::new();
    for (row, cost) in report.rows.iter().zip(&tariff.costs) {
        let (Err(why), true) = (cost, row.ok > 0) else { continue };
        let size = format_size(row.planned.memory);
        match told.iter_mut().find(|(other, _)| other == why) {
            Some((_, sizes)) => sizes.push(size),
            None => told.push((why, vec![size])),
        }
    }
    told.into_iter()
        .map(|(why, sizes)| format!("{}: no price at {}: {why}", tariff.id, join_names(&sizes)))
        .collect()
}

/// Formats the share of a size: `0.072`.
pub(super) fn format_share(share: u32) -> String {
    CpuShare(share).to_string()
}
