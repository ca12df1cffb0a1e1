//! Claims of the paper, and whether they hold here. A claim about a ratio holds where the
//! whole interval is beyond the claimed value, and does not where the whole interval
//! falls short; otherwise it is undecided.

use super::footprint::Footprint;
use super::report::{Material, Row, Table};
use super::{Part, Published};
use cyclometer_stats::{Change, Refusal};

/// Verdict on a claim or a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// It holds for everything that was measured.
    Yes,
    /// It holds for nothing that was measured.
    No,
    /// It holds for some and not for others.
    Partly,
    /// The interval contains the claimed value.
    Undecided,
    /// Nothing was measured that could decide it.
    Untested,
}

/// Evidence for a claim from one lane and function.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The lane.
    pub lane: String,
    /// The function; empty if the claim concerns none.
    pub workload: String,
    /// Whether the claim holds for it.
    pub holds: Holds,
    /// The ratio that the verdict follows from.
    pub ratio: Option<Change>,
    /// The finding in words.
    pub text: String,
}

/// A claim of the paper.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Number of the claim.
    pub number: u8,
    /// Text of the claim.
    pub claim: String,
    /// Whether it holds here.
    pub holds: Holds,
    /// The findings that the verdict follows from.
    pub findings: Vec<Finding>,
    /// Remarks on the measurement.
    pub note: String,
}

impl Holds {
    /// Returns the word that is shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Yes => "holds",
            Self::No => "does not hold",
            Self::Partly => "holds in part",
            Self::Undecided => "undecided",
            Self::Untested => "not tested",
        }
    }

    /// Returns the verdict on a ratio that is claimed to be `least` or more.
    #[must_use]
    pub fn at_least(change: &Change, least: f64) -> Self {
        if change.low >= least {
            Self::Yes
        } else if change.high < least {
            Self::No
        } else {
            Self::Undecided
        }
    }

    /// Combines the verdicts of all findings.
    #[must_use]
    pub fn together(all: &[Finding]) -> Self {
        let has = |holds: Self| all.iter().any(|finding| finding.holds == holds);
        match (has(Self::Yes), has(Self::No), has(Self::Undecided)) {
            (false, false, false) => Self::Untested,
            (true, true, _) => Self::Partly,
            (_, _, true) => Self::Undecided,
            (true, false, false) => Self::Yes,
            (false, true, false) => Self::No,
        }
    }
}

/// Evaluates all claims.
pub(super) fn all(
    material: &Material<'_>,
    tables: &[Table],
    footprint: &[Footprint],
) -> Vec<Claim> {
    let table = |part: Part| tables.iter().find(|table| table.part == part);
    let cold = |part: Part| -> Vec<&Row> {
        let rows = table(part).map(|table| table.rows.as_slice()).unwrap_or_default();
        rows.iter().filter(|row| row.start == "cold" && is_wasm(material, &row.lane)).collect()
    };
    vec![
        faster(
            1,
            "Cold starts of WebAssembly are at least 10x faster than Docker's.",
            &cold(Part::Nop),
            10.0,
            "nop, from the request to its end; the image holds the program only, the paper's \
             was a distribution's",
        ),
        faster(
            2,
            "SSVM and Lucet start in less than 1/500 of Docker's time.",
            &cold(Part::Nop)
                .into_iter()
                .filter(|row| matches!(row.runtime.as_deref(), Some("SSVM" | "Lucet")))
                .collect::<Vec<_>>(),
            500.0,
            "the figures in the authors' own repository give 294x and 440x",
        ),
        faster(
            3,
            "cat-sync from a cold start: WebAssembly is at least 10x faster than Docker.",
            &cold(Part::CatSync),
            10.0,
            "from the request to its end",
        ),
        warm(material, table(Part::Benchmarks)),
        sizes(material, footprint),
        counting(material),
    ]
}

fn is_wasm(material: &Material<'_>, lane: &str) -> bool {
    material.lanes.iter().any(|about| about.name == lane && about.wasm)
}

/// Derives a finding from the ratio of Docker's time to the lane's.
fn from_ratio(row: &Row, least: f64, word: &str) -> Finding {
    let (holds, text, ratio) = match &row.docker_over {
        Some(Ok(change)) => {
            (Holds::at_least(change, least), format!("{}{word}", spoken(change)), Some(*change))
        }
        Some(Err(refusal)) => (Holds::Untested, refused(refusal), None),
        None => {
            let why = row.why.as_deref().unwrap_or("Docker was not measured beside it");
            (Holds::Untested, why.to_owned(), None)
        }
    };
    Finding { lane: row.lane.clone(), workload: row.workload.clone(), holds, ratio, text }
}

fn refused(refusal: &Refusal) -> String {
    refusal.to_string()
}

/// Formats a ratio with its interval: `180x [170x, 190x]`.
fn spoken(change: &Change) -> String {
    format!("{} [{}, {}]", times(change.ratio), times(change.low), times(change.high))
}

/// Formats a ratio to three significant digits: `1.23x`, `45.6x`, `789x`.
#[must_use]
pub fn times(ratio: f64) -> String {
    if ratio >= 100.0 {
        format!("{ratio:.0}x")
    } else if ratio >= 10.0 {
        format!("{ratio:.1}x")
    } else {
        format!("{ratio:.2}x")
    }
}

fn faster(number: u8, claim: &str, rows: &[&Row], least: f64, note: &str) -> Claim {
    let tried = rows.iter().filter(|row| row.was_tried());
    let findings: Vec<Finding> = tried.map(|row| from_ratio(row, least, " faster")).collect();
    Claim {
        number,
        claim: claim.to_owned(),
        holds: Holds::together(&findings),
        findings,
        note: format!("{note}{}", untried(rows.iter().copied())),
    }
}

/// Names the lanes that did not run; the tables say why.
fn untried<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let mut lanes: Vec<&str> = Vec::new();
    for row in rows.filter(|row| !row.was_tried()) {
        if !lanes.contains(&row.lane.as_str()) {
            lanes.push(&row.lane);
        }
    }
    if lanes.is_empty() { String::new() } else { format!("; not tested in {}", lanes.join(", ")) }
}

/// Evaluates claim 4. A lane's warm run counts, or its cold one where it has no other;
/// Lucet, which the paper excepts, is today's wasmtime and not excepted.
fn warm(material: &Material<'_>, table: Option<&Table>) -> Claim {
    let rows = table.map(|table| table.rows.as_slice()).unwrap_or_default();
    let has_warm = |row: &Row| {
        rows.iter().any(|other| {
            other.lane == row.lane
                && other.workload == row.workload
                && other.start == "warm"
                && other.time.is_some()
        })
    };
    let rows = rows
        .iter()
        .filter(|row| is_wasm(material, &row.lane) && (row.start == "warm" || !has_warm(row)));
    let rows: Vec<&Row> = rows.collect();
    let untried = untried(rows.iter().copied());
    let findings: Vec<Finding> = rows
        .iter()
        .filter(|row| row.was_tried())
        .map(|row| {
            let mut finding = from_ratio(row, 1.1, "");
            if let Some(change) = finding.ratio.filter(|change| change.high < 1.0) {
                finding.text = format!("{}: slower than Docker", spoken(&change));
            } else if let Some(change) = finding.ratio.filter(|change| change.low > 1.5) {
                finding.text = format!("{}: more than claimed", spoken(&change));
            }
            finding
        })
        .collect();
    Claim {
        number: 4,
        claim: "Warm, WebAssembly runs 10 % to 50 % faster than Docker.".to_owned(),
        holds: Holds::together(&findings),
        findings,
        note: format!(
            "Docker's time as a multiple of the lane's, of the function alone; at least 1.1x \
             holds. In Docker the same native program runs as in the native lane{untried}"
        ),
    }
}

/// Evaluates claim 5.
fn sizes(material: &Material<'_>, footprint: &[Footprint]) -> Claim {
    let published = &Published::all().footprint;
    // An image of the program alone is not an image as people ship them.
    let image = footprint
        .iter()
        .filter(|it| it.is_image && it.lane.contains('@'))
        .max_by_key(|it| it.function.map(|size| size.0));
    let findings: Vec<Finding> = image
        .map(|image| {
            let runtimes =
                footprint.iter().filter(|it| is_wasm(material, &it.lane) && it.runtime.is_some());
            runtimes.filter_map(|it| of_image(it, image)).collect()
        })
        .unwrap_or_default();
    Claim {
        number: 5,
        claim: "WebAssembly runtimes take about a tenth of a Docker image.".to_owned(),
        holds: Holds::together(&findings),
        findings,
        note: format!(
            "sizes of files, exact; at most a tenth holds. Published: an image of {} MB, SSVM \
             under {} MB{}",
            published.docker_image_mb,
            published.ssvm_mb,
            if image.is_some() {
                ""
            } else {
                "; no image of a distribution was measured: --base-image does, and \
                 runtimes/base-image makes one"
            }
        ),
    }
}

fn of_image(it: &Footprint, image: &Footprint) -> Option<Finding> {
    let (runtime, whole) = (it.runtime?, image.function?);
    let holds = if runtime.0.saturating_mul(10) <= whole.0 { Holds::Yes } else { Holds::No };
    Some(Finding {
        lane: it.lane.clone(),
        workload: String::new(),
        holds,
        ratio: None,
        text: format!("{runtime} beside the image of {whole} in {}", image.lane),
    })
}

/// Evaluates claim 6: operators come out the same in every run.
fn counting(material: &Material<'_>) -> Claim {
    let series = material.series.iter().filter(|(part, _)| *part == Part::Counting);
    let findings: Vec<Finding> = series
        .flat_map(|(_, series)| series)
        .map(|series| {
            let counts: Vec<u64> = series.runs.iter().filter_map(|run| run.wasm_ops).collect();
            let (holds, text) = match counts.as_slice() {
                [] => {
                    let why = series.reason.as_deref().or(series.note.as_deref());
                    (Holds::Untested, why.unwrap_or("not counted").to_owned())
                }
                [first, rest @ ..] if rest.iter().all(|count| count == first) => {
                    let times = counts.len();
                    (Holds::Yes, format!("{first} operators in each of {times} runs"))
                }
                _ => (Holds::No, format!("the runs differ: {counts:?}")),
            };
            let (lane, workload) = (series.lane.clone(), series.workload.clone());
            Finding { lane, workload, holds, ratio: None, text }
        })
        .collect();
    Claim {
        number: 6,
        claim: "WebAssembly can measure resource use operator by operator, and so be billed by it."
            .to_owned(),
        holds: Holds::together(&findings),
        findings,
        note: "what counting costs: `cyclometer tax`".to_owned(),
    }
}
