//! `reconcile`: holds what a provider billed against what a price model says.

use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::replay::{SelectionOptions, TermOptions, select_contracts, select_recordings};
use super::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::files::{display_path, open_user_file};
use crate::lane::Cancel;
use crate::output::{json_text, text_output};
use crate::pricing::Exact;
use crate::quantity::Decimal;
use crate::report::reconcile::{
    MonthComparison, MonthSums, ReconciledRows, RowReconciliation, TariffVersions, describe_month,
    describe_rows, listed_rows_table, month_table, month_to_json, named_table, rows_to_json,
    rules_table,
};
use crate::report::{Format, format_count};
use crate::store::{Selection, Store, StoreError};
use crate::trace::bill_file::{BillFileError, BillReader};
use crate::trace::input::InputStream;

/// Options of `reconcile`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer reconcile latest --model aws-lambda-x86
  cyclometer reconcile my-logs --rows 1000 --format json
  cyclometer reconcile my-logs --bill focus.csv    the month's bill beside the logs

Each invocation whose log has a billed duration is held against the time that the
model bills, by the version of the tariff in force on its day. A difference is
explained by a rule, or the row is listed with its request. CSV has one row a rule,
JSON everything.

--bill takes the lines of a bill as CSV: FOCUS 1.0 to 1.2, or an AWS Cost and Usage
Report, 2.0 or legacy. Their quantities are held against those that the model makes of
the trace, by month, region and function; tax, credits, discounts, commitments and
what is not simulated are listed by name. gzip and zstd are noticed by themselves; `-`
is standard input. With --bill, CSV has one row a line of the bill.

Exit status: 3 if something is not explained.")]
pub(super) struct ReconcileOptions {
    /// Trace by number or label, or `latest`
    #[arg(value_name = "TRACE", default_value = "latest")]
    trace: String,
    /// Price model, by id
    #[arg(long, value_name = "ID", default_value = "aws-lambda-x86")]
    model: String,
    /// Only these functions
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    function: Vec<String>,
    /// Most rows to list of those that no rule explains, and of those that need one
    #[arg(long, value_name = "N", default_value_t = 20)]
    rows: usize,
    /// Bill to hold against the trace instead: FOCUS or AWS Cost and Usage Report, CSV
    #[arg(long, value_name = "FILE")]
    bill: Option<PathBuf>,
    /// Difference of quantities, in percent, that is taken for rounding
    #[arg(long, value_name = "PERCENT", default_value = "0.01", requires = "bill",
        value_parser = parse_tolerance)]
    tolerance: Exact,
    #[command(flatten)]
    terms: TermOptions,
}

/// Parses a percentage as a share of 1.
fn parse_tolerance(text: &str) -> Result<Exact, String> {
    let bad = || format!("`{text}`: write a percentage from 0 to 100, such as 0.01");
    let number = text.trim().trim_end_matches('%').trim_end();
    let percent = Decimal::parse(number).map_err(|_| bad())?;
    let share = Exact::from(&percent).checked_div(&Exact::from(100)).ok_or_else(bad)?;
    if share > Exact::from(1) { Err(bad()) } else { Ok(share) }
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &ReconcileOptions) -> CommandOutcome {
    let choice = SelectionOptions {
        model: vec![options.model.clone()],
        lane: Vec::new(),
        workload: options.function.clone(),
        start: None,
        since: None,
    };
    let catalog = common.price_catalog()?;
    let contracts = select_contracts(&catalog, &choice.model, &options.terms)?;
    let [(model, terms)] = contracts.as_slice() else {
        return Err(CommandFailure::usage("reconcile takes one model: --model ID"));
    };
    let versions = TariffVersions::find_versions(model, terms, catalog.models())
        .map_err(CommandFailure::usage)?;
    let store = common.open_for_reading()?;
    let names = [options.trace.clone()];
    let recordings = select_recordings(&store, &names, &choice)?;
    if let Some(bill) = &options.bill {
        let is_arm = model.tariff().ends_with("-arm");
        let sums = simulate_months(&store, &recordings, options, &versions)?;
        return reconcile_bill(common, options, bill, sums, is_arm);
    }
    let rows = reconcile_rows(&store, &recordings, options, &versions)?;
    let reconciled = ReconciledRows {
        trace: recordings.first().copied().unwrap_or_default(),
        model: model.id(),
        rows: &rows,
    };
    print_rows(common, &reconciled)?;
    let explained = rows.unexplained_invocations() == 0 && rows.billed_invocations() > 0;
    Ok(if explained { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn reconcile_rows(
    store: &Store,
    recordings: &[i64],
    options: &ReconcileOptions,
    versions: &TariffVersions,
) -> Result<RowReconciliation, CommandFailure> {
    let selection = select_rows(recordings, options);
    let mut rows = RowReconciliation::new(options.rows);
    let read = store.for_each_provider_row(&selection, |row| {
        rows.add_row(versions, row);
        Ok::<(), StoreError>(())
    });
    read.map_err(CommandFailure::failed)?;
    Ok(rows)
}

fn select_rows(recordings: &[i64], options: &ReconcileOptions) -> Selection {
    Selection {
        recordings: recordings.to_vec(),
        workloads: options.function.clone(),
        ..Selection::default()
    }
}

fn simulate_months(
    store: &Store,
    recordings: &[i64],
    options: &ReconcileOptions,
    versions: &TariffVersions,
) -> Result<MonthSums, CommandFailure> {
    let mut sums = MonthSums::default();
    let read = store.for_each_provider_row(&select_rows(recordings, options), |row| {
        sums.add_row(versions, &row);
        Ok::<(), StoreError>(())
    });
    read.map_err(CommandFailure::failed)?;
    Ok(sums)
}

/// Opens a bill, and decompresses what is gzip or zstd by its first bytes.
fn open_bill_file(bill: &Path) -> std::io::Result<InputStream> {
    let file = if bill == Path::new("-") {
        None
    } else {
        let opened = open_user_file(bill).map_err(std::io::Error::other)?;
        let status = opened.metadata()?;
        // What is no file, such as a pipe of the shell, has no size.
        Some((opened, status.is_file().then_some(status.len())))
    };
    InputStream::open(file, 0, &Cancel::default())
}

fn reconcile_bill(
    common: &CommonOptions,
    options: &ReconcileOptions,
    bill: &Path,
    mut sums: MonthSums,
    is_arm: bool,
) -> CommandOutcome {
    let place = display_path(bill);
    let failed = |error: BillFileError| CommandFailure::failed(format!("{place} {error}"));
    let input = open_bill_file(bill).map_err(|error| failed(BillFileError::Input(error)))?;
    let mut reader =
        BillReader::open_bill(BufReader::with_capacity(1 << 16, input)).map_err(failed)?;
    while let Some(line) = reader.next_line().map_err(failed)? {
        sums.add_line(&line, is_arm);
    }
    let compared = sums.compare(&options.tolerance);
    print_bill(common, &compared)?;
    let summary = reader.summary();
    let format = reader.format().name();
    say(&format!("{place}: {}, {format}", format_count(summary.lines, "line")));
    for (cause, (count, lines)) in &summary.rejects {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        let lines = lines.join(", ");
        say(&format!(
            "{place}: {} not read: {cause} (from line {lines})",
            format_count(*count, "record")
        ));
    }
    let explained = compared.is_explained() && summary.rejected() == 0;
    Ok(if explained { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn print_bill(common: &CommonOptions, compared: &MonthComparison) -> Result<(), CommandFailure> {
    match common.format {
        Format::Json => {
            let mut out = text_output();
            writeln!(out, "{}", json_text(&month_to_json(compared), true))?;
            out.flush()?;
        }
        Format::Csv | Format::Jsonl => common.print_table(&month_table(compared))?,
        Format::Table | Format::Markdown => {
            common.print_lines(&describe_month(compared))?;
            writeln!(text_output())?;
            common.print_table(&month_table(compared))?;
            if !compared.named.is_empty() {
                writeln!(text_output())?;
                common.print_table(&named_table(compared))?;
            }
        }
    }
    Ok(())
}

fn print_rows(
    common: &CommonOptions,
    reconciled: &ReconciledRows<'_>,
) -> Result<(), CommandFailure> {
    match common.format {
        Format::Json => {
            let mut out = text_output();
            writeln!(out, "{}", json_text(&rows_to_json(reconciled), true))?;
            out.flush()?;
        }
        Format::Csv | Format::Jsonl => common.print_table(&rules_table(reconciled))?,
        Format::Table | Format::Markdown => {
            common.print_lines(&describe_rows(reconciled))?;
            writeln!(text_output())?;
            common.print_table(&rules_table(reconciled))?;
            let listed = listed_rows_table(reconciled);
            if !listed.is_empty() {
                writeln!(text_output())?;
                common.print_table(&listed)?;
            }
        }
    }
    Ok(())
}
