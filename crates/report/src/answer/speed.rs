//! Sentences on which lane starts and which runs faster, as far as the runs show it.

use super::words::{list, range, span, times};
use super::{BAND, BARE, USUAL, reading};
use cyclometer_stats::{Change, Confidence, Quantum, Refusal, Verdict, compare_times, median};
use cyclometer_store::RunsOfCell;

/// Number of lanes that are all named; of more, only the fastest and the slowest are.
pub(super) const NAMED: usize = 3;

/// Measured times of one lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub lane: &'a str,
    pub values: &'a [f64],
    pub quantum: Option<Quantum>,
    median: f64,
}

impl<'a> Reading<'a> {
    /// Takes the values of `lane`, in any order, and the quantum of their clock.
    pub fn new(lane: &'a str, values: &'a [f64], quantum: Option<Quantum>) -> Self {
        let mut ascending = values.to_vec();
        ascending.sort_unstable_by(f64::total_cmp);
        Self { lane, values, quantum, median: median(&ascending).unwrap_or(0.0) }
    }
}

/// Relation of one median to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Relation {
    /// Shorter, by this ratio; the interval leaves out 1.
    Faster(Change),
    /// Longer, by this ratio; the interval leaves out 1.
    Slower(Change),
    /// The interval lies within [`BAND`].
    Alike,
    /// The interval contains 1 and leaves the band.
    Undecided(Change),
    /// Both sides have a single value in all their runs; the second as a multiple of the
    /// first.
    Apart(f64),
    /// There is no ratio.
    Refused(Refusal),
}

/// Compares one time with another. The shorter one is the divisor, so that the ratio is
/// above 1.
pub(super) fn relate(one: &Reading<'_>, other: &Reading<'_>) -> Relation {
    let faster = one.median <= other.median;
    let (short, long) = if faster { (one, other) } else { (other, one) };
    let verdict = compare_times(short.values, long.values, short.quantum, Confidence::default());
    let within = |change: &Change| change.low >= 1.0 / BAND && change.high <= BAND;
    match verdict {
        Verdict::Identical { .. } => Relation::Alike,
        Verdict::Apart { ratio } if ratio <= BAND => Relation::Alike,
        Verdict::Apart { ratio } => Relation::Apart(if faster { 1.0 / ratio } else { ratio }),
        Verdict::Refused(refusal) => Relation::Refused(refusal),
        Verdict::TooFew { have, need } => Relation::Refused(Refusal::TooFew { have, need }),
        Verdict::Lower(change) | Verdict::Higher(change) | Verdict::NoDifferenceShown(change)
            if within(&change) =>
        {
            Relation::Alike
        }
        // The median of the longer side is not below the shorter one's, so `lower` cannot
        // come from an interval that contains the ratio.
        Verdict::NoDifferenceShown(change) | Verdict::Lower(change) => {
            Relation::Undecided(if faster { change } else { inverse(change) })
        }
        Verdict::Higher(change) if faster => Relation::Faster(change),
        Verdict::Higher(change) => Relation::Slower(change),
    }
}

/// Inverts a ratio and its interval.
fn inverse(change: Change) -> Change {
    Change { ratio: 1.0 / change.ratio, low: 1.0 / change.high, high: 1.0 / change.low, ..change }
}

/// Describes `one` relative to `other`, after a verb: `78x [55, 88] faster than docker`.
fn relation(one: &Reading<'_>, other: &Reading<'_>) -> String {
    let name = other.lane;
    match relate(one, other) {
        Relation::Faster(change) => format!("{} faster than {name}", times(&change)),
        Relation::Slower(change) => format!("{} slower than {name}", times(&change)),
        Relation::Apart(ratio) if ratio < 1.0 => {
            format!("{:.2}x faster than {name}, without spread", 1.0 / ratio)
        }
        Relation::Apart(ratio) => format!("{ratio:.2}x slower than {name}, without spread"),
        Relation::Alike => format!("as fast as {name} (within {:.0} %)", (BAND - 1.0) * 100.0),
        Relation::Undecided(change) => {
            format!("with no difference from {name} shown [{}]", range(&change))
        }
        Relation::Refused(Refusal::TooFew { .. }) => {
            format!("in {} ({name}: {})", span(one.median), span(other.median))
        }
        Relation::Refused(Refusal::BelowQuanta { quantum, .. }) => format!(
            "in {} ({name}: {}; no ratio, since the shorter is below {} x {} of the {})",
            span(one.median),
            span(other.median),
            cyclometer_stats::QUANTA,
            quantum.span,
            quantum.of
        ),
    }
}

/// Name of a lane, and the clause about it.
type Clause<'a> = (&'a str, String);

/// Returns the sentences on start-up and run times for one kind of start.
pub(super) fn compare(start: &str, cells: &[&RunsOfCell]) -> Vec<String> {
    let readings = |key: &str| -> Vec<Reading<'_>> {
        let all = cells.iter().map(|cell| reading(cell, key));
        all.filter(|reading| !reading.values.is_empty()).collect()
    };
    let (mut starts, runs) = (readings("startup_ns"), readings("run_ns"));
    // A lane without a sandbox does not compete with two that have one.
    if starts.len() > 2 {
        starts.retain(|it| it.lane != BARE);
    }
    let (of_starts, of_runs) = (base(&starts), base(&runs));
    let begins = format!("starts {start}");
    let mut sentences = Vec::new();
    if starts.is_empty() {
        sentences.extend(unmeasured("start-up", start, cells));
    }
    if runs.is_empty() {
        sentences.extend(unmeasured("run", start, cells));
    }
    let others = |lanes: &[Reading<'_>], base: &Option<Base<'_>>| {
        base.as_ref().map_or(0, |base| base.others(lanes).len())
    };
    if others(&starts, &of_starts) < NAMED && others(&runs, &of_runs) < NAMED {
        let starts = of_starts.map_or_else(Vec::new, |base| all(&starts, &base, &begins));
        let runs = of_runs.map_or_else(Vec::new, |base| all(&runs, &base, "runs"));
        sentences.extend(joined(starts, runs));
        return sentences;
    }
    // Both sentences name their kind of start; the first of two merged ones does so for
    // both.
    let runs_of_kind = format!("runs, when started {start},");
    sentences.extend(of_starts.and_then(|base| ends(&starts, &base, &begins)));
    sentences.extend(of_runs.and_then(|base| ends(&runs, &base, &runs_of_kind)));
    sentences
}

/// Returns whether a difference is undecided that more runs might show.
pub(super) fn any_open(sentences: &[String]) -> bool {
    sentences.iter().any(|sentence| sentence.contains("with no difference from "))
}

/// Joins all clauses into one sentence; the clause on a lane's run follows the one on its
/// start.
fn joined(starts: Vec<Clause<'_>>, runs: Vec<Clause<'_>>) -> Option<String> {
    let mut parts: Vec<(&str, Vec<String>)> = Vec::new();
    for (lane, text) in starts.into_iter().chain(runs) {
        match parts.iter_mut().find(|(other, _)| *other == lane) {
            Some((_, texts)) => texts.push(text),
            None => parts.push((lane, vec![text])),
        }
    }
    let parts: Vec<String> =
        parts.into_iter().map(|(lane, texts)| format!("{lane} {}", texts.join(" and "))).collect();
    (!parts.is_empty()).then(|| format!("{}.", parts.join("; ")))
}

fn unmeasured(what: &str, start: &str, cells: &[&RunsOfCell]) -> Option<String> {
    (!cells.is_empty()).then(|| format!("How long a {start} {what} takes was not measured."))
}

/// Reference that lanes are compared with.
#[derive(Debug, Clone, Copy)]
enum Base<'a> {
    /// Another lane.
    Lane(Reading<'a>),
    /// None: it is the only lane.
    Alone(Reading<'a>),
}

impl<'a> Base<'a> {
    /// Returns the lanes that are compared with the reference, the fastest first.
    fn others(&self, lanes: &[Reading<'a>]) -> Vec<Reading<'a>> {
        let Self::Lane(base) = self else { return Vec::new() };
        let mut others: Vec<Reading<'a>> =
            lanes.iter().filter(|it| it.lane != base.lane).copied().collect();
        others.sort_by(|one, two| one.median.total_cmp(&two.median));
        others
    }
}

/// Chooses the reference for `lanes`. For starts, the lane without a sandbox is among
/// them only beside a single other one.
fn base<'a>(lanes: &[Reading<'a>]) -> Option<Base<'a>> {
    match lanes {
        [] => None,
        [only] => Some(Base::Alone(*only)),
        several => named(several, BARE)
            .or_else(|| named(several, USUAL))
            .or_else(|| slowest(several))
            .map(Base::Lane),
    }
}

fn named<'a>(lanes: &[Reading<'a>], name: &str) -> Option<Reading<'a>> {
    lanes.iter().find(|it| it.lane == name).copied()
}

fn slowest<'a>(lanes: &[Reading<'a>]) -> Option<Reading<'a>> {
    lanes.iter().copied().max_by(|one, two| one.median.total_cmp(&two.median))
}

/// Describes each lane relative to `base`.
fn all<'a>(lanes: &[Reading<'a>], base: &Base<'a>, verb: &str) -> Vec<Clause<'a>> {
    match base {
        Base::Alone(only) => {
            let preposition = if verb.starts_with("starts") { "in" } else { "for" };
            vec![(only.lane, format!("{verb} {preposition} {}", span(only.median)))]
        }
        Base::Lane(beside) => {
            let clause = |it: &Reading<'a>| {
                let loading =
                    if verb.starts_with("runs") { includes_loading(it, beside) } else { "" };
                (it.lane, format!("{verb} {}{loading}", relation(it, beside)))
            };
            base.others(lanes).iter().map(clause).collect()
        }
    }
}

/// Explains a run that is short beside that of a lane which starts a process: the run of
/// a process begins at exec, so that loading the program is part of it.
fn includes_loading(one: &Reading<'_>, beside: &Reading<'_>) -> &'static str {
    let process = |lane: &str| lane == BARE || lane.starts_with(USUAL);
    let much = matches!(relate(one, beside), Relation::Faster(change) if change.ratio >= 2.0);
    if much && process(beside.lane) && !process(one.lane) {
        return ", whose run includes loading the program";
    }
    ""
}

/// Describes the fastest and the slowest of many lanes relative to `base`.
fn ends<'a>(lanes: &[Reading<'a>], base: &Base<'a>, verb: &str) -> Option<String> {
    let others = base.others(lanes);
    let clauses = all(lanes, base, verb);
    if clauses.len() < NAMED {
        return joined(clauses, Vec::new());
    }
    let ((first, fastest), (last, slowest)) = (clauses.first()?, clauses.last()?);
    let near = not_apart(others.first()?, &others[1..]);
    let near = match near.as_slice() {
        [] => String::new(),
        near => format!(" (not told apart from it: {})", few(near)),
    };
    let count = lanes.len();
    Some(format!("Of {count} lanes, {first} {fastest}{near}; {last} {slowest}."))
}

/// Returns the lanes that show no difference from `first`.
fn not_apart<'a>(first: &Reading<'_>, others: &[Reading<'a>]) -> Vec<&'a str> {
    let apart =
        |it: &&Reading<'_>| !matches!(relate(first, it), Relation::Faster(_) | Relation::Apart(_));
    others.iter().filter(apart).map(|it| it.lane).collect()
}

fn few(names: &[&str]) -> String {
    match names.len() {
        0..=3 => list(names, "and"),
        more => format!("{} and {} more", names[..2].join(", "), more - 2),
    }
}
