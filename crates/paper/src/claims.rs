//! Claims of the paper, and whether they hold here. A claim about a ratio holds where the
//! whole interval is beyond the claimed value, and does not where the whole interval
//! falls short; otherwise it is undecided.

use super::footprint::LaneFootprint;
use super::report::{PaperRow, PaperTable, ReportMaterial};
use super::{PaperPart, Published};
use cyclometer_core::invocation::StartKind;
use cyclometer_stats::{Change, RatioRefusal};

/// Verdict on a claim or a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimVerdict {
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
pub struct ClaimFinding {
    /// The lane.
    pub lane: String,
    /// The function; empty if the claim concerns none.
    pub workload: String,
    /// Whether the claim holds for it.
    pub holds: ClaimVerdict,
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
    pub holds: ClaimVerdict,
    /// The findings that the verdict follows from.
    pub findings: Vec<ClaimFinding>,
    /// Remarks on the measurement.
    pub note: String,
}

impl ClaimVerdict {
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
    pub(crate) fn at_least(change: &Change, least: f64) -> Self {
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
    pub(crate) fn combine(all: &[ClaimFinding]) -> Self {
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
pub(super) fn evaluate_all(
    material: &ReportMaterial<'_>,
    tables: &[PaperTable],
    footprint: &[LaneFootprint],
) -> Vec<Claim> {
    let table = |part: PaperPart| tables.iter().find(|table| table.part == part);
    let cold = |part: PaperPart| -> Vec<&PaperRow> {
        let rows = table(part).map(|table| table.rows.as_slice()).unwrap_or_default();
        rows.iter()
            .filter(|row| row.start == StartKind::Cold && is_wasm(material, &row.lane))
            .collect()
    };
    vec![
        evaluate_speedup(
            1,
            "Cold starts of WebAssembly are at least 10x faster than Docker's.",
            &cold(PaperPart::Nop),
            10.0,
            "nop, from the request to its end; the image holds the program only, the paper's \
             was a distribution's",
        ),
        evaluate_speedup(
            2,
            "SSVM and Lucet start in less than 1/500 of Docker's time.",
            &cold(PaperPart::Nop)
                .into_iter()
                .filter(|row| matches!(row.runtime.as_deref(), Some("SSVM" | "Lucet")))
                .collect::<Vec<_>>(),
            500.0,
            "the figures in the authors' own repository give 294x and 440x",
        ),
        evaluate_speedup(
            3,
            "cat-sync from a cold start: WebAssembly is at least 10x faster than Docker.",
            &cold(PaperPart::CatSync),
            10.0,
            "from the request to its end",
        ),
        evaluate_warm_runs(material, table(PaperPart::Benchmarks)),
        evaluate_sizes(material, footprint),
        evaluate_counting(material),
    ]
}

fn is_wasm(material: &ReportMaterial<'_>, lane: &str) -> bool {
    material.lanes.iter().any(|about| about.name == lane && about.wasm)
}

/// Derives a finding from the ratio of Docker's time to the lane's.
fn from_ratio(row: &PaperRow, least: f64, word: &str) -> ClaimFinding {
    let (holds, text, ratio) = match &row.docker_over {
        Some(Ok(change)) => (
            ClaimVerdict::at_least(change, least),
            format!("{}{word}", format_change(change)),
            Some(*change),
        ),
        Some(Err(refusal)) => (ClaimVerdict::Untested, refusal_text(refusal), None),
        None => {
            let why = row.why.as_deref().unwrap_or("Docker was not measured beside it");
            (ClaimVerdict::Untested, why.to_owned(), None)
        }
    };
    ClaimFinding { lane: row.lane.clone(), workload: row.workload.clone(), holds, ratio, text }
}

fn refusal_text(refusal: &RatioRefusal) -> String {
    refusal.to_string()
}

/// Formats a ratio with its interval: `180x [170x, 190x]`.
fn format_change(change: &Change) -> String {
    format!(
        "{} [{}, {}]",
        format_ratio(change.ratio),
        format_ratio(change.low),
        format_ratio(change.high)
    )
}

/// Formats a ratio to three significant digits: `1.23x`, `45.6x`, `789x`.
#[must_use]
pub fn format_ratio(ratio: f64) -> String {
    if ratio >= 100.0 {
        format!("{ratio:.0}x")
    } else if ratio >= 10.0 {
        format!("{ratio:.1}x")
    } else {
        format!("{ratio:.2}x")
    }
}

fn evaluate_speedup(number: u8, claim: &str, rows: &[&PaperRow], least: f64, note: &str) -> Claim {
    let tried = rows.iter().filter(|row| row.was_tried());
    let findings: Vec<ClaimFinding> = tried.map(|row| from_ratio(row, least, " faster")).collect();
    Claim {
        number,
        claim: claim.to_owned(),
        holds: ClaimVerdict::combine(&findings),
        findings,
        note: format!("{note}{}", describe_untried(rows.iter().copied())),
    }
}

/// Names the lanes that did not run; the tables say why.
fn describe_untried<'a>(rows: impl Iterator<Item = &'a PaperRow>) -> String {
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
fn evaluate_warm_runs(material: &ReportMaterial<'_>, table: Option<&PaperTable>) -> Claim {
    let rows = table.map(|table| table.rows.as_slice()).unwrap_or_default();
    let has_warm = |row: &PaperRow| {
        rows.iter().any(|other| {
            other.lane == row.lane
                && other.workload == row.workload
                && other.start == StartKind::Warm
                && other.time.is_some()
        })
    };
    let rows = rows.iter().filter(|row| {
        is_wasm(material, &row.lane) && (row.start == StartKind::Warm || !has_warm(row))
    });
    let rows: Vec<&PaperRow> = rows.collect();
    let untried = describe_untried(rows.iter().copied());
    let findings: Vec<ClaimFinding> = rows
        .iter()
        .filter(|row| row.was_tried())
        .map(|row| {
            let mut finding = from_ratio(row, 1.1, "");
            if let Some(change) = finding.ratio.filter(|change| change.high < 1.0) {
                finding.text = format!("{}: slower than Docker", format_change(&change));
            } else if let Some(change) = finding.ratio.filter(|change| change.low > 1.5) {
                finding.text = format!("{}: more than claimed", format_change(&change));
            }
            finding
        })
        .collect();
    Claim {
        number: 4,
        claim: "Warm, WebAssembly runs 10 % to 50 % faster than Docker.".to_owned(),
        holds: ClaimVerdict::combine(&findings),
        findings,
        note: format!(
            "Docker's time as a multiple of the lane's, of the function alone; at least 1.1x \
             holds. In Docker the same native program runs as in the native lane{untried}"
        ),
    }
}

/// Evaluates claim 5.
fn evaluate_sizes(material: &ReportMaterial<'_>, footprint: &[LaneFootprint]) -> Claim {
    let published = &Published::builtin().footprint;
    // An image of the program alone is not an image as people ship them.
    let image = footprint
        .iter()
        .filter(|it| it.is_image && it.lane.contains('@'))
        .max_by_key(|it| it.function.map(|size| size.0));
    let findings: Vec<ClaimFinding> = image
        .map(|image| {
            let runtimes =
                footprint.iter().filter(|it| is_wasm(material, &it.lane) && it.runtime.is_some());
            runtimes.filter_map(|it| compare_with_image(it, image)).collect()
        })
        .unwrap_or_default();
    Claim {
        number: 5,
        claim: "WebAssembly runtimes take about a tenth of a Docker image.".to_owned(),
        holds: ClaimVerdict::combine(&findings),
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

fn compare_with_image(it: &LaneFootprint, image: &LaneFootprint) -> Option<ClaimFinding> {
    let (runtime, whole) = (it.runtime?, image.function?);
    let holds =
        if runtime.0.saturating_mul(10) <= whole.0 { ClaimVerdict::Yes } else { ClaimVerdict::No };
    Some(ClaimFinding {
        lane: it.lane.clone(),
        workload: String::new(),
        holds,
        ratio: None,
        text: format!("{runtime} beside the image of {whole} in {}", image.lane),
    })
}

/// Evaluates claim 6: operators come out the same in every run.
fn evaluate_counting(material: &ReportMaterial<'_>) -> Claim {
    let series = material.series.iter().filter(|(part, _)| *part == PaperPart::Counting);
    let findings: Vec<ClaimFinding> = series
        .flat_map(|(_, series)| series)
        .map(|series| {
            let counts: Vec<u64> = series.runs.iter().filter_map(|run| run.wasm_ops).collect();
            let (holds, text) = match counts.as_slice() {
                [] => {
                    let why = series.reason.as_deref().or(series.note.as_deref());
                    (ClaimVerdict::Untested, why.unwrap_or("not counted").to_owned())
                }
                [first, rest @ ..] if rest.iter().all(|count| count == first) => {
                    let times = counts.len();
                    (ClaimVerdict::Yes, format!("{first} operators in each of {times} runs"))
                }
                _ => (ClaimVerdict::No, format!("the runs differ: {counts:?}")),
            };
            let (lane, workload) = (series.key.lane.to_string(), series.key.workload.to_string());
            ClaimFinding { lane, workload, holds, ratio: None, text }
        })
        .collect();
    Claim {
        number: 6,
        claim: "WebAssembly can measure resource use operator by operator, and so be billed by it."
            .to_owned(),
        holds: ClaimVerdict::combine(&findings),
        findings,
        note: "what counting costs: `cyclometer tax`".to_owned(),
    }
}
