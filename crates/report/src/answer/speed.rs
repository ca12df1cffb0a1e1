//! Sentences on which lane starts and which runs faster, as far as the runs show it.

use super::super::text_format::format_time;
use super::phrasing::{format_interval, format_ratio, join_names};
use super::{EQUALITY_BAND, REFERENCE_LANE, UNSANDBOXED_LANE, lane_timing};
use cyclometer_core::invocation::StartKind;
use cyclometer_stats::{Change, Confidence, Quantum, RatioRefusal, Verdict, compare_times, median};
use cyclometer_store::RunsOfCell;

/// Number of lanes that are all named; of more, only the fastest and the slowest are.
pub(super) const MOST_NAMED: usize = 3;

/// Measured times of one lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneTiming<'a> {
    pub lane: &'a str,
    pub values: &'a [f64],
    pub quantum: Option<Quantum>,
    median: f64,
}

impl<'a> LaneTiming<'a> {
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
    /// The interval lies within [`EQUALITY_BAND`].
    Alike,
    /// The interval contains 1 and leaves the band.
    Undecided(Change),
    /// Both sides have a single value in all their runs; the second as a multiple of the
    /// first.
    Apart(f64),
    /// There is no ratio.
    Refused(RatioRefusal),
}

/// Compares one time with another. The shorter one is the divisor, so that the ratio is
/// above 1.
pub(super) fn compare_timings(one: &LaneTiming<'_>, other: &LaneTiming<'_>) -> Relation {
    let faster = one.median <= other.median;
    let (short, long) = if faster { (one, other) } else { (other, one) };
    let verdict = compare_times(short.values, long.values, short.quantum, Confidence::default());
    let within =
        |change: &Change| change.low >= 1.0 / EQUALITY_BAND && change.high <= EQUALITY_BAND;
    match verdict {
        Verdict::Identical { .. } => Relation::Alike,
        Verdict::WithoutSpread { ratio } if ratio <= EQUALITY_BAND => Relation::Alike,
        Verdict::WithoutSpread { ratio } => {
            Relation::Apart(if faster { 1.0 / ratio } else { ratio })
        }
        Verdict::Refused(refusal) => Relation::Refused(refusal),
        Verdict::TooFew { have, need } => Relation::Refused(RatioRefusal::TooFew { have, need }),
        Verdict::Lower(change) | Verdict::Higher(change) | Verdict::NoDifferenceShown(change)
            if within(&change) =>
        {
            Relation::Alike
        }
        // The median of the longer side is not below the shorter one's, so `lower` cannot
        // come from an interval that contains the ratio.
        Verdict::NoDifferenceShown(change) | Verdict::Lower(change) => {
            Relation::Undecided(if faster { change } else { invert_ratio(change) })
        }
        Verdict::Higher(change) if faster => Relation::Faster(change),
        Verdict::Higher(change) => Relation::Slower(change),
    }
}

/// Inverts a ratio and its interval.
fn invert_ratio(change: Change) -> Change {
    Change { ratio: 1.0 / change.ratio, low: 1.0 / change.high, high: 1.0 / change.low, ..change }
}

/// Describes `one` relative to `other`, after a verb: `78x [55, 88] faster than docker`.
fn describe_relation(one: &LaneTiming<'_>, other: &LaneTiming<'_>) -> String {
    let name = other.lane;
    match compare_timings(one, other) {
        Relation::Faster(change) => format!("{} faster than {name}", format_ratio(&change)),
        Relation::Slower(change) => format!("{} slower than {name}", format_ratio(&change)),
        Relation::Apart(ratio) if ratio < 1.0 => {
            format!("{:.2}x faster than {name}, without spread", 1.0 / ratio)
        }
        Relation::Apart(ratio) => format!("{ratio:.2}x slower than {name}, without spread"),
        Relation::Alike => {
            format!("as fast as {name} (within {:.0} %)", (EQUALITY_BAND - 1.0) * 100.0)
        }
        Relation::Undecided(change) => {
            format!("with no difference from {name} shown [{}]", format_interval(&change))
        }
        Relation::Refused(RatioRefusal::TooFew { .. }) => {
            format!("in {} ({name}: {})", format_time(one.median), format_time(other.median))
        }
        Relation::Refused(RatioRefusal::BelowQuanta { quantum, .. }) => format!(
            "in {} ({name}: {}; no ratio, since the shorter is below {} x {} of the {})",
            format_time(one.median),
            format_time(other.median),
            cyclometer_stats::QUANTA,
            quantum.span,
            quantum.origin
        ),
    }
}

/// Name of a lane, and the clause about it.
type Clause<'a> = (&'a str, String);

/// Returns the sentences on start-up and run times for one kind of start.
pub(super) fn describe_speed(start: StartKind, cells: &[&RunsOfCell]) -> Vec<String> {
    let readings = |key: &str| -> Vec<LaneTiming<'_>> {
        let all = cells.iter().map(|cell| lane_timing(cell, key));
        all.filter(|reading| !reading.values.is_empty()).collect()
    };
    let (mut starts, runs) = (readings("startup_ns"), readings("run_ns"));
    // A lane without a sandbox does not compete with two that have one.
    if starts.len() > 2 {
        starts.retain(|it| it.lane != UNSANDBOXED_LANE);
    }
    let (of_starts, of_runs) = (choose_reference(&starts), choose_reference(&runs));
    let begins = format!("starts {start}");
    let mut sentences = Vec::new();
    if starts.is_empty() {
        sentences.extend(describe_unmeasured("start-up", start, cells));
    }
    if runs.is_empty() {
        sentences.extend(describe_unmeasured("run", start, cells));
    }
    let others = |lanes: &[LaneTiming<'_>], base: &Option<SpeedReference<'_>>| {
        base.as_ref().map_or(0, |base| base.compared_lanes(lanes).len())
    };
    if others(&starts, &of_starts) < MOST_NAMED && others(&runs, &of_runs) < MOST_NAMED {
        let starts =
            of_starts.map_or_else(Vec::new, |base| describe_lanes(&starts, &base, &begins));
        let runs = of_runs.map_or_else(Vec::new, |base| describe_lanes(&runs, &base, "runs"));
        sentences.extend(join_clauses(starts, runs));
        return sentences;
    }
    // Both sentences name their kind of start; the first of two merged ones does so for
    // both.
    let runs_of_kind = format!("runs, when started {start},");
    sentences
        .extend(of_starts.and_then(|base| describe_fastest_and_slowest(&starts, &base, &begins)));
    sentences
        .extend(of_runs.and_then(|base| describe_fastest_and_slowest(&runs, &base, &runs_of_kind)));
    sentences
}

/// Returns whether a difference is undecided that more runs might show.
pub(super) fn has_undecided(sentences: &[String]) -> bool {
    sentences.iter().any(|sentence| sentence.contains("with no difference from "))
}

/// Joins all clauses into one sentence; the clause on a lane's run follows the one on its
/// start.
fn join_clauses(starts: Vec<Clause<'_>>, runs: Vec<Clause<'_>>) -> Option<String> {
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

fn describe_unmeasured(what: &str, start: StartKind, cells: &[&RunsOfCell]) -> Option<String> {
    (!cells.is_empty()).then(|| format!("How long a {start} {what} takes was not measured."))
}

/// Reference that lanes are compared with.
#[derive(Debug, Clone, Copy)]
enum SpeedReference<'a> {
    /// Another lane.
    Lane(LaneTiming<'a>),
    /// None: it is the only lane.
    Alone(LaneTiming<'a>),
}

impl<'a> SpeedReference<'a> {
    /// Returns the lanes that are compared with the reference, the fastest first.
    fn compared_lanes(&self, lanes: &[LaneTiming<'a>]) -> Vec<LaneTiming<'a>> {
        let Self::Lane(base) = self else { return Vec::new() };
        let mut others: Vec<LaneTiming<'a>> =
            lanes.iter().filter(|it| it.lane != base.lane).copied().collect();
        others.sort_by(|one, two| one.median.total_cmp(&two.median));
        others
    }
}

/// Chooses the reference for `lanes`. For starts, the lane without a sandbox is among
/// them only beside a single other one.
fn choose_reference<'a>(lanes: &[LaneTiming<'a>]) -> Option<SpeedReference<'a>> {
    match lanes {
        [] => None,
        [only] => Some(SpeedReference::Alone(*only)),
        several => find_lane(several, UNSANDBOXED_LANE)
            .or_else(|| find_lane(several, REFERENCE_LANE))
            .or_else(|| slowest_lane(several))
            .map(SpeedReference::Lane),
    }
}

fn find_lane<'a>(lanes: &[LaneTiming<'a>], name: &str) -> Option<LaneTiming<'a>> {
    lanes.iter().find(|it| it.lane == name).copied()
}

fn slowest_lane<'a>(lanes: &[LaneTiming<'a>]) -> Option<LaneTiming<'a>> {
    lanes.iter().copied().max_by(|one, two| one.median.total_cmp(&two.median))
}

/// Describes each lane relative to `base`.
fn describe_lanes<'a>(
    lanes: &[LaneTiming<'a>],
    base: &SpeedReference<'a>,
    verb: &str,
) -> Vec<Clause<'a>> {
    match base {
        SpeedReference::Alone(only) => {
            let preposition = if verb.starts_with("starts") { "in" } else { "for" };
            vec![(only.lane, format!("{verb} {preposition} {}", format_time(only.median)))]
        }
        SpeedReference::Lane(beside) => {
            let clause = |it: &LaneTiming<'a>| {
                let loading =
                    if verb.starts_with("runs") { includes_loading(it, beside) } else { "" };
                (it.lane, format!("{verb} {}{loading}", describe_relation(it, beside)))
            };
            base.compared_lanes(lanes).iter().map(clause).collect()
        }
    }
}

/// Explains a run that is short beside that of a lane which starts a process: the run of
/// a process begins at exec, so that loading the program is part of it.
fn includes_loading(one: &LaneTiming<'_>, beside: &LaneTiming<'_>) -> &'static str {
    let process = |lane: &str| lane == UNSANDBOXED_LANE || lane.starts_with(REFERENCE_LANE);
    let much =
        matches!(compare_timings(one, beside), Relation::Faster(change) if change.ratio >= 2.0);
    if much && process(beside.lane) && !process(one.lane) {
        return ", whose run includes loading the program";
    }
    ""
}

/// Describes the fastest and the slowest of many lanes relative to `base`.
fn describe_fastest_and_slowest<'a>(
    lanes: &[LaneTiming<'a>],
    base: &SpeedReference<'a>,
    verb: &str,
) -> Option<String> {
    let others = base.compared_lanes(lanes);
    let clauses = describe_lanes(lanes, base, verb);
    if clauses.len() < MOST_NAMED {
        return join_clauses(clauses, Vec::new());
    }
    let ((first, fastest), (last, slowest)) = (clauses.first()?, clauses.last()?);
    let near = indistinguishable_lanes(others.first()?, &others[1..]);
    let near = match near.as_slice() {
        [] => String::new(),
        near => format!(" (not told apart from it: {})", join_few_names(near)),
    };
    let count = lanes.len();
    Some(format!("Of {count} lanes, {first} {fastest}{near}; {last} {slowest}."))
}

/// Returns the lanes that show no difference from `first`.
fn indistinguishable_lanes<'a>(first: &LaneTiming<'_>, others: &[LaneTiming<'a>]) -> Vec<&'a str> {
    let apart = |it: &&LaneTiming<'_>| {
        !matches!(compare_timings(first, it), Relation::Faster(_) | Relation::Apart(_))
    };
    others.iter().filter(apart).map(|it| it.lane).collect()
}

fn join_few_names(names: &[&str]) -> String {
    match names.len() {
        0..=3 => join_names(names, "and"),
        more => format!("{} and {} more", names[..2].join(", "), more - 2),
    }
}
