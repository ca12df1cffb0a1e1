//! What a million costs, coarse beside fine, and how the two stand to each
//! other in words.

use super::super::prices::thousands;
use super::{BARE, USUAL};
use crate::pricing::{Exact, Money, Waste};
use crate::replay::{Group, Key, Summary};
use crate::store::RunsOfCell;

/// A ratio up to this is "about as much".
const NEARLY: &str = "1.05";

/// Says what a million invocations cost: in the lane that the sentence is
/// about, why, and in the lane that it is set beside.
pub(super) fn cost(summary: &Summary, start: &str, cells: &[&RunsOfCell]) -> Vec<String> {
    let Some((coarse, fine)) = summary.pairs().next() else { return Vec::new() };
    let groups: Vec<(&str, &Group)> =
        cells.iter().filter_map(|cell| Some((&*cell.names[2], group(summary, cell)?))).collect();
    let about = |name: &str| groups.iter().find(|(lane, _)| *lane == name);
    // As with speed: a sandbox, with docker beside it.
    let subject = groups.iter().find(|(lane, _)| *lane != BARE && *lane != USUAL);
    let Some((lane, group)) = subject.or_else(|| about(USUAL)).or_else(|| groups.first()) else {
        return Vec::new();
    };
    let names = [name(summary, coarse), name(summary, fine)];
    let amounts = |group: &Group| [amount(summary, group, coarse), amount(summary, group, fine)];
    let mut sentences = Vec::new();
    let many = format!("A million {start} runs");
    match amounts(group) {
        [Some(coarse_amount), Some(fine_amount)] => {
            let no_work = no_work(&group.models[coarse].waste);
            let mut text = format!(
                "{many} in {lane} cost {coarse_amount} {} ({no_work}) and {fine_amount} {}",
                names[0], names[1]
            );
            if let Some(words) = times(summary, group, (coarse, fine), &names) {
                text.push_str(&words);
            }
            sentences.push(format!("{text}."));
        }
        [Some(amount), None] => sentences.push(format!(
            "{many} in {lane} cost {amount} {}; {} is not known, since {}.",
            names[0],
            price_of(&names[1]),
            refusal(group, fine)
        )),
        [None, Some(amount)] => sentences.push(format!(
            "{many} in {lane} cost {amount} {}; {} is not known, since {}.",
            names[1],
            price_of(&names[0]),
            refusal(group, coarse)
        )),
        [None, None] => sentences.push(format!(
            "What {} in {lane} cost is not known, since {}.",
            many.to_lowercase(),
            refusal(group, coarse)
        )),
    }
    if let Some((other, group)) = about(USUAL).filter(|(other, _)| other != lane)
        && let [Some(coarse), Some(fine)] = amounts(group)
    {
        sentences.push(format!("In {other} they cost {coarse} and {fine}."));
    }
    sentences
}

fn group<'a>(summary: &'a Summary, cell: &RunsOfCell) -> Option<&'a Group> {
    let [workload, preset, lane, start] = &cell.names;
    let key = Key {
        lane: (&**lane).into(),
        workload: (&**workload).into(),
        preset: (&**preset).into(),
        start: (&**start).into(),
    };
    summary.groups().find(|(other, _)| **other == key).map(|(_, group)| group)
}

/// A tariff as a sentence names it: `on AWS Lambda x86`, `per cycle`.
fn name(summary: &Summary, model: usize) -> String {
    let info = &summary.models()[model];
    if info.id == "per-cycle" {
        return "per cycle".to_owned();
    }
    let name = summary.contract(model).map_or(&*info.id, |(model, _)| model.name());
    format!("on {}", name.split(',').next().unwrap_or(name))
}

fn price_of(name: &str) -> String {
    format!("the price {name}")
}

/// The mean bill of a million with its currency.
fn amount(summary: &Summary, group: &Group, model: usize) -> Option<String> {
    let mean = group.models.get(model)?.mean_per_million()?;
    let text = digits(&mean);
    Some(match &*summary.models()[model].currency {
        "USD" => format!("${text}"),
        other => format!("{text} {other}"),
    })
}

/// To the cent, or two digits of what is less than ten cents.
fn digits(amount: &Exact) -> String {
    const TWO: std::num::NonZeroU64 = std::num::NonZeroU64::MIN.saturating_add(1);
    let dime = Exact::from(1).over(&Exact::from(10)).unwrap_or_default();
    if amount.is_zero() {
        "0".to_owned()
    } else if *amount < dime {
        amount.significant(TWO)
    } else {
        thousands(&amount.rounded(2))
    }
}

fn percent(share: &Exact) -> String {
    let percent = share * &Exact::from(100);
    match percent.rounded(0).as_str() {
        "0" if !percent.is_zero() => "less than 1 %".to_owned(),
        "100" if percent != Exact::from(100) => "more than 99 %".to_owned(),
        whole => format!("{whole} %"),
    }
}

/// How much of a bill is for no work; where a part was not measured, that.
fn no_work(waste: &Waste<Money>) -> String {
    let part = |part: &Money| part.as_exact().over(waste.total().as_exact());
    match (waste.share(), part(&waste.unmeasured)) {
        (None, _) | (_, None) => "nothing at all".to_owned(),
        (Some(share), Some(unmeasured)) if unmeasured.is_zero() => {
            format!("{} of it for no work", percent(&share))
        }
        (Some(share), Some(unmeasured)) if share.is_zero() => {
            format!("what {} of it is for was not measured", percent(&unmeasured))
        }
        (Some(share), Some(unmeasured)) => format!(
            "at least {} of it for no work, and what {} is for was not measured",
            percent(&share),
            percent(&unmeasured)
        ),
    }
}

/// How the two prices stand to each other, the larger as a multiple of the
/// smaller, with the reason.
fn times(
    summary: &Summary,
    group: &Group,
    (coarse, fine): (usize, usize),
    names: &[String; 2],
) -> Option<String> {
    let [above, below] = [coarse, fine].map(|at| &group.models[at].total);
    let dear = |one: &Money, two: &Money| one.as_exact().over(two.as_exact());
    let coarse_is_more = above >= below;
    let ratio = if coarse_is_more { dear(above, below)? } else { dear(below, above)? };
    if ratio.rounded(2) == "1.00" || ratio <= nearly()? {
        return Some(", which is about the same".to_owned());
    }
    let text =
        if ratio >= Exact::from(10) { thousands(&ratio.rounded(0)) } else { ratio.rounded(1) };
    Some(if coarse_is_more {
        let reason = why_coarse(&group.models[coarse].waste);
        let reason = reason.map_or_else(String::new, |reason| format!(", since {reason}"));
        format!("; {} that is {text} times as much{reason}", names[0])
    } else {
        format!(
            ", which is {text} times as much, since the former bills time and memory, whatever is \
             computed in them"
        )
    })
}

fn nearly() -> Option<Exact> {
    NEARLY.parse().ok()
}

/// What most of a coarse bill is for, where that is not work.
fn why_coarse(waste: &Waste<Money>) -> Option<String> {
    let total = waste.total();
    let (name, part) = waste
        .parts()
        .into_iter()
        .filter(|(name, _)| !matches!(*name, "used" | "unmeasured"))
        .max_by(|one, two| one.1.cmp(two.1))?;
    let share = part.as_exact().over(total.as_exact())?;
    if share < Exact::from(1).over(&Exact::from(2))? {
        return None;
    }
    let what = match name {
        "idle" => "waiting",
        "headroom" => "memory that was never touched",
        "rounding" => "rounding up",
        "startup" => "starting up",
        _ => "the request itself, whatever it does",
    };
    Some(format!("{} of it is for {what}", percent(&share)))
}

fn refusal(group: &Group, model: usize) -> String {
    group.models[model]
        .refused
        .keys()
        .next()
        .map_or_else(|| "nothing was billed".to_owned(), |why| why.missing.to_string())
}
