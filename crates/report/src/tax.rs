//! Cost of metering, as a multiple of the same run without metering.

use serde_json::{Value, json};

use super::table::{Cell, Column, Table};
use cyclometer_core::clock::{ACCOUNTING_RESOLUTION, MonotonicClock};
use cyclometer_core::units::Nanos;
use cyclometer_stats::{Change, Confidence, Quantum, RatioRefusal, median, ratio_with_interval};
use cyclometer_store::{CellSeries, SeriesRun};
use cyclometer_workload::metering::{METERINGS, Metering, PLAIN};

/// Number of columns that name the compared runs: rows are grouped by them.
pub const NAME_COLUMNS: usize = 3;

const COLUMNS: [Column; 19] = [
    Column::text("workload", "workload"),
    Column::hidden("preset"),
    Column::text("lane", "lane"),
    Column::text("metering", "metering"),
    Column::hidden("runs"),
    Column::hidden("failed"),
    Column::number("run p50", "run_p50_ns"),
    Column::text("of plain", "run_told"),
    Column::hidden("run_ratio"),
    Column::hidden("run_ratio_low"),
    Column::hidden("run_ratio_high"),
    Column::number("CPU p50", "cpu_p50_ns"),
    Column::text("of plain", "cpu_told"),
    Column::hidden("cpu_ratio"),
    Column::hidden("cpu_ratio_low"),
    Column::hidden("cpu_ratio_high"),
    Column::hidden("confidence"),
    Column::hidden("order"),
    Column::hidden("reason"),
];

/// The table, and the notes needed to read it.
#[derive(Debug, Clone)]
pub struct TaxReport {
    /// One row a workload, lane and metering.
    pub table: Table,
    /// Reasons and remarks.
    pub notes: Vec<String>,
}

/// Builds the report of a tax recording; `missing` are lanes that could not run, with the
/// reason.
#[must_use]
pub fn build_report(
    series: &[CellSeries],
    missing: &[(String, String)],
    clock: Option<MonotonicClock>,
    confidence: Confidence,
) -> TaxReport {
    let mut tax = TaxReport { table: Table::new(&COLUMNS), notes: Vec::new() };
    let mut workloads: Vec<(&str, &str)> = Vec::new();
    for it in series {
        let workload = (&*it.key.workload, &*it.key.preset);
        if !workloads.contains(&workload) {
            workloads.push(workload);
        }
    }
    for workload in workloads {
        let of = |name: &str| {
            series.iter().find(|it| {
                (&*it.key.workload, &*it.key.preset) == workload && &*it.key.lane == name
            })
        };
        for (order, metering) in METERINGS.iter().enumerate() {
            let reason = missing.iter().find(|(name, _)| *name == metering.lane_name());
            if let Some((name, reason)) = reason {
                let note = format!("{name}: {reason}");
                if !tax.notes.contains(&note) {
                    tax.notes.push(note);
                }
                tax.table.push(unmeasured_row(workload, metering, order, reason));
            } else if let Some(one) = of(&metering.lane_name()) {
                let plain = of(&format!("{}/{PLAIN}", metering.base));
                tax.add_row(one, plain, (metering, order), clock, confidence);
            }
        }
    }
    tax.notes.push(format!(
        "of plain: the median as a multiple of that without counters and samples, with its \
         {confidence} interval; one that leaves out 1 shows a cost"
    ));
    tax.notes.push(
        "CPU: user and kernel mode by the kernel's account, start and end of the process included"
            .to_owned(),
    );
    tax
}

impl TaxReport {
    fn add_row(
        &mut self,
        one: &CellSeries,
        plain: Option<&CellSeries>,
        (metering, order): (&Metering, usize),
        clock: Option<MonotonicClock>,
        confidence: Confidence,
    ) {
        if let Some(reason) = &one.reason {
            let name = format!("{} in {}", one.key.workload, one.key.lane);
            self.notes.push(format!("{name}: {} failed, the first: {reason}", one.failed));
        }
        let run = |it: &CellSeries| collect_times(it, |run| run.run);
        let cpu = |it: &CellSeries| collect_times(it, |run| run.cpu_accounted);
        let is_plain = metering.label == PLAIN;
        let against = |of: &dyn Fn(&CellSeries) -> Vec<f64>, quantum: Option<Quantum>| {
            let plain = plain.filter(|_| !is_plain)?;
            Some(ratio_with_interval(&of(one), &of(plain), quantum, confidence))
        };
        let clock = clock.map(|clock| Quantum { span: clock.quantum(), origin: "clock" });
        let accounts = Quantum { span: ACCOUNTING_RESOLUTION, origin: "kernel's accounts" };
        let mut row = name_cells((&one.key.workload, &one.key.preset), metering);
        row.extend([
            hidden_cell(json!(one.runs.len())),
            hidden_cell(json!(one.failed)),
            median_cell(&run(one)),
        ]);
        row.extend(ratio_cells(against(&run, clock), is_plain));
        row.push(median_cell(&cpu(one)));
        row.extend(ratio_cells(against(&cpu, Some(accounts)), is_plain));
        row.extend([
            hidden_cell(json!(confidence.share())),
            hidden_cell(json!(order)),
            hidden_cell(Value::Null),
        ]);
        self.table.push(row);
    }
}

fn hidden_cell(value: Value) -> Cell {
    Cell::new("", value)
}

fn name_cells((workload, preset): (&str, &str), metering: &Metering) -> Vec<Cell> {
    vec![
        Cell::text(workload),
        Cell::text(preset),
        Cell::text(metering.base),
        Cell::text(metering.label),
    ]
}

/// Returns the row of a metering that could not be measured.
fn unmeasured_row(
    workload: (&str, &str),
    metering: &Metering,
    order: usize,
    reason: &str,
) -> Vec<Cell> {
    let none = || Cell::optional::<Value>(None);
    let mut row = name_cells(workload, metering);
    row.extend((row.len()..COLUMNS.len() - 2).map(|_| none()));
    row.extend([hidden_cell(json!(order)), Cell::text(reason)]);
    row
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
fn collect_times(series: &CellSeries, of: impl Fn(&SeriesRun) -> Option<Nanos>) -> Vec<f64> {
    series.runs.iter().filter_map(of).map(|span| span.0 as f64).collect()
}

fn median_cell(values: &[f64]) -> Cell {
    let mut ascending = values.to_vec();
    ascending.sort_unstable_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times are between 0 and 2^53 ns"
    )]
    let whole = median(&ascending).map(|value| value as u64);
    Cell::optional_time(whole.map(Nanos))
}

/// Returns the cells of a ratio: as text, and its three figures.
fn ratio_cells(ratio: Option<Result<Change, RatioRefusal>>, is_plain: bool) -> [Cell; 4] {
    let figure = |value: f64| hidden_cell(json!(value.is_finite().then_some(value)));
    let none = || hidden_cell(Value::Null);
    match ratio {
        Some(Ok(change)) => {
            let Change { ratio, low, high, .. } = change;
            let text = format!("{ratio:.3}x [{low:.3}, {high:.3}]");
            [Cell::text(text), figure(ratio), figure(low), figure(high)]
        }
        Some(Err(refusal)) => [Cell::text(refusal.to_string()), none(), none(), none()],
        None if is_plain => [Cell::text("1"), figure(1.0), none(), none()],
        None => [Cell::text("no plain runs"), none(), none(), none()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_core::cell_key::CellKey;
    use cyclometer_core::invocation::StartKind;

    fn series(word: &str, run: u64, cpu: u64) -> CellSeries {
        let one = |at: u64| SeriesRun {
            run: Some(Nanos(run + at)),
            cpu_accounted: Some(Nanos(cpu + at)),
            ..SeriesRun::default()
        };
        let lane = format!("native/{word}");
        let key = CellKey::new(&lane, "nop", "quick", StartKind::Cold);
        CellSeries { runs: (0..9).map(one).collect(), ..CellSeries::new(key) }
    }

    #[test]
    fn a_tax_is_a_multiple_of_the_plain_run() {
        let all = [series(PLAIN, 1_000_000, 5_000), series("1ms", 1_500_000, 9_000)];
        let missing = [("native/10ms".to_owned(), "no counter".to_owned())];
        let clock =
            MonotonicClock { resolution_ns: 1, step_ns: 30, read_ns: 40, counters_ns: None };
        let tax = build_report(&all, &missing, Some(clock), Confidence::default());
        let rows = tax.table.to_json();
        let words: Vec<_> = (0..3).map(|at| rows[at]["metering"].clone()).collect();
        assert_eq!(words, [PLAIN, "10ms", "1ms"]);
        assert_eq!(
            (&rows[0]["run_ratio"], &rows[0]["run_p50_ns"]),
            (&json!(1.0), &json!(1_000_004))
        );
        let ratio = rows[2]["run_ratio"].as_f64().expect("a ratio");
        assert!((ratio - 1_500_004.0 / 1_000_004.0).abs() < 1e-9, "{ratio}");
        assert_eq!(rows[2]["run_told"], "1.500x [1.500, 1.500]");
        // 5 us is below ten microseconds, the resolution of the kernel's CPU time.
        assert_eq!(rows[2]["cpu_ratio"], Value::Null);
        assert_eq!(rows[2]["cpu_told"], "no ratio: 5.00 us < 10 x 1.00 us (kernel's accounts)");
        assert_eq!(
            (&rows[1]["run_p50_ns"], &rows[1]["reason"]),
            (&Value::Null, &json!("no counter"))
        );
        assert_eq!(tax.notes[0], "native/10ms: no counter");
    }

    #[test]
    fn rows_fit_eighty_columns() {
        let all =
            [series(PLAIN, 123_456_789, 123_456_789), series("counters", 200_000_000, 150_000_000)];
        let tax = build_report(&all, &[], None, Confidence::default());
        let text = tax.table.render_grouped(NAME_COLUMNS);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
