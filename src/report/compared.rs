//! Two stored recordings, or two stored simulations, side by side: what is
//! read, compared and said of it.

use super::difference::{self, Difference};
use super::words::moment;
use crate::stats::{Confidence, QUANTA};
use crate::store::{Circumstances, Item, SimulationInfo, Store, StoreError};

/// A comparison, and what is said around its table.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Which two they are; a line each.
    pub names: [String; 2],
    /// Circumstances that differ.
    pub warnings: Vec<String>,
    /// The verdicts.
    pub difference: Difference,
    /// What they all together mean.
    pub conclusion: Vec<String>,
}

/// Compares two of one kind; `None` when they are not. The bootstrap takes some
/// time.
///
/// # Errors
/// When the database cannot be read, or one of them is not there.
pub fn compare(
    store: &Store,
    first: Item,
    second: Item,
    sure: Confidence,
) -> Result<Option<Compared>, StoreError> {
    let (names, warnings, difference) = match (first, second) {
        (Item::Recording(first), Item::Recording(second)) => {
            recordings(store, first, second, sure)?
        }
        (Item::Simulation(first), Item::Simulation(second)) => {
            simulations(store, first, second, sure)?
        }
        _ => return Ok(None),
    };
    let conclusion = conclusion(&difference, sure);
    Ok(Some(Compared { names, warnings, difference, conclusion }))
}

type Parts = ([String; 2], Vec<String>, Difference);

fn recordings(
    store: &Store,
    first: i64,
    second: i64,
    sure: Confidence,
) -> Result<Parts, StoreError> {
    let around = [store.circumstances(first)?, store.circumstances(second)?];
    let name = |which: &str, id: i64, it: &Circumstances| {
        let label = it.label.as_ref().map_or_else(String::new, |it| format!(", {it}"));
        format!("{which}: recording {id}, {} UTC{label}", moment(&it.started_at))
    };
    let names = [name("first", first, &around[0]), name("second", second, &around[1])];
    let warnings = difference::warnings(&around[0], &around[1]);
    let difference = difference::recordings(&store.runs(first)?, &store.runs(second)?, sure);
    Ok((names, warnings, difference))
}

fn simulations(
    store: &Store,
    first: i64,
    second: i64,
    sure: Confidence,
) -> Result<Parts, StoreError> {
    let name = |which: &str, it: &SimulationInfo| {
        let label = it.label.as_ref().map_or_else(String::new, |it| format!(", {it}"));
        let made = moment(&it.created_at);
        format!("{which}: simulation {} of recording {}, {made} UTC{label}", it.id, it.recordings)
    };
    let names =
        [name("first", &store.simulation(first)?), name("second", &store.simulation(second)?)];
    let warnings = difference::models(&store.used_models(first)?, &store.used_models(second)?);
    let difference = difference::simulations(&store.bills(first)?, &store.bills(second)?, sure);
    Ok((names, warnings, difference))
}

/// What all the verdicts together mean.
#[must_use]
pub fn conclusion(difference: &Difference, sure: Confidence) -> Vec<String> {
    let (shown, all) = difference.shown;
    if all + difference.refused == 0 {
        return Vec::new();
    }
    let expected = (1.0 - sure.share()) * f64::from(u32::try_from(all).unwrap_or(u32::MAX));
    let mut lines = vec![format!("{shown} of {all} comparisons show a difference")];
    if shown > 0 {
        let chance =
            if expected < 0.5 { "hardly one".to_owned() } else { format!("about {expected:.0}") };
        lines.push(format!(
            "by chance {chance} of {all} would, were all runs independent; a machine that was \
             busier during one of the two shows as well, in CPU time and cycles least"
        ));
    }
    if difference.apart > 0 {
        lines.push(format!(
            "{} more differ without spread: either side has one value in all its runs, as of a \
             worker that they share",
            difference.apart
        ));
    }
    let (few, need) = (difference.few, difference.need);
    if few > 0 {
        lines.push(format!(
            "{few} have too few runs: `record --runs {need}` or more makes them comparable"
        ));
    }
    if difference.refused > 0 {
        lines.push(format!(
            "{} have no ratio: the first side is below {QUANTA} times what its clock tells apart, \
             or what measuring nothing takes; a workload that runs longer has one",
            difference.refused
        ));
    }
    lines
}
