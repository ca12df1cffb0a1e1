//! Sentences on the cost of a million invocations, coarse beside fine, and on the ratio
//! of the two.

use super::{REFERENCE_LANE, UNSANDBOXED_LANE};
use cyclometer_core::invocation::StartKind;
use cyclometer_core::quantity::separate_thousands;
use cyclometer_pricing::{Exact, Money, Waste};
use cyclometer_replay::{GroupTotal, ReplaySummary};
use cyclometer_store::RunsOfCell;

/// Largest ratio that is called about the same.
const NEARLY: &str = "1.05";

/// Describes the cost of a million invocations in one sandbox, with the share that pays
/// for no work, and in `docker` where that is another lane.
pub(super) fn describe_cost(
    summary: &ReplaySummary,
    start: StartKind,
    cells: &[&RunsOfCell],
) -> Vec<String> {
    let Some((coarse, fine)) = summary.coarse_fine_pairs().next() else { return Vec::new() };
    let groups: Vec<(&str, &GroupTotal)> = cells
        .iter()
        .filter_map(|cell| Some((&*cell.key.lane, find_group(summary, cell)?)))
        .collect();
    let named = |name: &str| groups.iter().find(|(lane, _)| *lane == name);
    let subject =
        groups.iter().find(|(lane, _)| *lane != UNSANDBOXED_LANE && *lane != REFERENCE_LANE);
    let subject = subject.or_else(|| named(REFERENCE_LANE)).or_else(|| groups.first());
    let Some((lane, group)) = subject else { return Vec::new() };
    let [on_coarse, on_fine] = [coarse, fine].map(|model| tariff_phrase(summary, model));
    let amounts =
        |group: &GroupTotal| [coarse, fine].map(|model| mean_bill_text(summary, group, model));
    let many = format!("a million {start} runs in {lane} cost");
    let known = |amount: String, on: &str, other: &str, model: usize| {
        let why = first_refusal_reason(group, model);
        format!("A{} {amount} {on}; what they cost {other} is not known: {why}.", &many[1..])
    };
    let for_nothing = describe_wasted_share(&group.models[coarse].waste);
    let mut sentences = vec![match amounts(group) {
        [Some(dollars), Some(fine_dollars)] => {
            let relation = describe_price_ratio(group, (coarse, fine), &on_coarse);
            format!(
                "A{} {dollars} {on_coarse} ({for_nothing}) and {fine_dollars} {on_fine}{relation}.",
                &many[1..]
            )
        }
        [Some(dollars), None] => {
            known(dollars, &format!("{on_coarse} ({for_nothing})"), &on_fine, fine)
        }
        [None, Some(dollars)] => known(dollars, &on_fine, &on_coarse, coarse),
        [None, None] => {
            format!("What {many} is not known: {}.", first_refusal_reason(group, coarse))
        }
    }];
    if let Some((other, group)) = named(REFERENCE_LANE).filter(|(other, _)| other != lane)
        && let [Some(coarse), Some(fine)] = amounts(group)
    {
        sentences.push(format!("In {other} they cost {coarse} and {fine}."));
    }
    sentences
}

fn find_group<'a>(summary: &'a ReplaySummary, cell: &RunsOfCell) -> Option<&'a GroupTotal> {
    summary.groups().find(|(key, _)| **key == cell.key).map(|(_, group)| group)
}

/// Returns a tariff as a phrase: `on AWS Lambda x86`, `per cycle`.
fn tariff_phrase(summary: &ReplaySummary, model: usize) -> String {
    let info = &summary.models()[model];
    if info.id == "per-cycle" {
        return "per cycle".to_owned();
    }
    let name = summary.contract(model).map_or(&*info.id, |(model, _)| model.name());
    format!("on {}", name.split(',').next().unwrap_or(name))
}

/// Returns the mean bill of a million with its currency.
fn mean_bill_text(summary: &ReplaySummary, group: &GroupTotal, model: usize) -> Option<String> {
    let mean = group.models.get(model)?.mean_per_million()?;
    let text = format_amount(&mean);
    Some(match &*summary.models()[model].currency {
        "USD" => format!("${text}"),
        other => format!("{text} {other}"),
    })
}

/// Formats an amount to the cent, or to two significant digits below ten cents.
fn format_amount(amount: &Exact) -> String {
    const TWO: std::num::NonZeroU64 = std::num::NonZeroU64::MIN.saturating_add(1);
    let dime = Exact::from(1).checked_div(&Exact::from(10)).unwrap_or_default();
    if amount.is_zero() {
        "0".to_owned()
    } else if *amount < dime {
        amount.to_significant_string(TWO)
    } else {
        separate_thousands(&amount.to_rounded_string(2))
    }
}

fn format_percent(share: &Exact) -> String {
    let percent = share * &Exact::from(100);
    match percent.to_rounded_string(0).as_str() {
        "0" if !percent.is_zero() => "less than 1 %".to_owned(),
        "100" if percent != Exact::from(100) => "more than 99 %".to_owned(),
        whole => format!("{whole} %"),
    }
}

/// Describes the share of a bill that paid for no work, and the share that was not
/// measured.
fn describe_wasted_share(waste: &Waste<Money>) -> String {
    let part = |part: &Money| part.as_exact().checked_div(waste.total().as_exact());
    match (waste.wasted_share(), part(&waste.unmeasured)) {
        (None, _) | (_, None) => "nothing at all".to_owned(),
        (Some(share), Some(unmeasured)) if unmeasured.is_zero() => {
            format!("{} of it for no work", format_percent(&share))
        }
        (Some(share), Some(unmeasured)) if share.is_zero() => {
            format!("what {} of it is for was not measured", format_percent(&unmeasured))
        }
        (Some(share), Some(unmeasured)) => format!(
            "at least {} of it for no work, and what {} is for was not measured",
            format_percent(&share),
            format_percent(&unmeasured)
        ),
    }
}

/// Describes the ratio of the finer price to the coarse one, the larger as a multiple of
/// the smaller, with the reason where it is known.
fn describe_price_ratio(
    group: &GroupTotal,
    (coarse, fine): (usize, usize),
    on_coarse: &str,
) -> String {
    let [above, below] = [coarse, fine].map(|model| &group.models[model].total);
    let (larger, smaller) = if above >= below { (above, below) } else { (below, above) };
    let Some(ratio) = larger.as_exact().checked_div(smaller.as_exact()) else {
        return String::new();
    };
    if NEARLY.parse().is_ok_and(|nearly: Exact| ratio <= nearly) {
        return ", which is about the same".to_owned();
    }
    let ten = Exact::from(10);
    let times = if ratio < ten {
        ratio.to_rounded_string(1)
    } else {
        separate_thousands(&ratio.to_rounded_string(0))
    };
    if above < below {
        return format!(
            ", which is {times} times as much, since the former bills time and memory, whatever \
             is computed in them"
        );
    }
    let why = main_waste_reason(&group.models[coarse].waste);
    let why = why.map_or_else(String::new, |why| format!(", since {why}"));
    format!("; {on_coarse} it is {times} times as much{why}")
}

/// Returns what most of a coarse bill pays for, if that is not work.
fn main_waste_reason(waste: &Waste<Money>) -> Option<String> {
    let total = waste.total();
    let (name, part) = waste
        .named_parts()
        .into_iter()
        .filter(|(name, _)| !matches!(*name, "used" | "unmeasured"))
        .max_by(|one, two| one.1.cmp(two.1))?;
    let share = part.as_exact().checked_div(total.as_exact())?;
    if share < Exact::from(1).checked_div(&Exact::from(2))? {
        return None;
    }
    let what = match name {
        "idle" => "waiting",
        "headroom" => "memory that was never touched",
        "rounding" => "rounding up",
        "startup" => "starting up",
        _ => "the request itself, whatever it does",
    };
    Some(format!("{} of that bill is for {what}", format_percent(&share)))
}

fn first_refusal_reason(group: &GroupTotal, model: usize) -> String {
    group.models[model]
        .refused
        .keys()
        .next()
        .map_or_else(|| "nothing was billed".to_owned(), |why| why.missing.to_string())
}
