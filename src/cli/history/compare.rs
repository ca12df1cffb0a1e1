//! `history compare`: differences between two recordings or two simulations, with a gate
//! on their size.

use std::io::Write;
use std::process::ExitCode;

use super::super::{CommandFailure, CommandOutcome, CommonOptions, say};
use super::resolve_item;
use crate::output::text_output;
use crate::quantity::parse_percentage;
use crate::report::Format;
use crate::report::difference::{Difference, NAME_COLUMNS};
use crate::report::gate::{Gate, GateMeter, Threshold};
use crate::report::stored_comparison::{self, StoredComparison};
use crate::stats::Confidence;
use crate::store::{HistoryItem, Store};
use crate::visible_text::escape_markdown;

/// Exit status of a gate that is not met.
pub(in crate::cli) const NOT_MET: u8 = 4;

/// Options of `history compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer history compare 3 4
  cyclometer history compare before latest   by label
  cyclometer history compare 3 latest --format csv
  cyclometer history compare s3 s4           mean bills, by model
  cyclometer history compare 3 4 --fail-above 10% --meter start,run,bill
  cyclometer history compare 3 4 --fail-above 5% --format markdown >> $GITHUB_STEP_SUMMARY

The second is compared with the first. Times and counts are compared by their
medians, bills by their means, of runs that ended well, each with a bootstrap
interval. `99 % sure`: of a hundred comparisons of things that do not differ,
one says that they do. The runs of one recording share a machine in one state:
to rule out its influence, record both again.

The gate of --fail-above is not met if the whole interval of a rise lies above
the threshold, if a cell of the first is missing in the second or all its runs
failed there, or if nothing could be compared. An interval that straddles the
threshold is undecided, which is reported and does not fail; so is a meter that
one side lacks.

Exit status: 0 done, 1 failed, 2 wrong usage, 4 the gate is not met.")]
pub(super) struct HistoryCompareOptions {
    /// The recording (12, latest, a label) or simulation (s12) to compare with
    #[arg(value_name = "FIRST")]
    first: String,
    /// The recording or simulation that is compared
    #[arg(value_name = "SECOND")]
    second: String,
    #[command(flatten)]
    gate: GateOptions,
    /// Confidence that a reported difference must reach, in per cent
    #[arg(long, value_name = "PERCENT", default_value = "99", value_parser = confidence)]
    confidence: Confidence,
}

/// Options of the gate: meters that may rise, and by how much.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::cli) struct GateOptions {
    /// Exit with status 4 if a meter has certainly risen by more than this
    #[arg(long, value_name = "PERCENT")]
    fail_above: Option<Threshold>,
    /// Meters of that gate: start, run, wall, cpu, cycles, ops, memory, bill
    /// [default: start,run,bill]
    #[arg(long, value_name = "X,Y", value_delimiter = ',', requires = "fail_above")]
    meter: Vec<GateMeter>,
}

fn confidence(text: &str) -> Result<Confidence, String> {
    let share = parse_percentage(text).map_err(|error| error.to_string())?;
    Confidence::new(share).ok_or_else(|| format!("`{text}`: write a per cent from 50 to 99.9"))
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &HistoryCompareOptions) -> CommandOutcome {
    let store = common.open_for_reading()?;
    let (first, second) =
        (resolve_item(&store, &options.first)?, resolve_item(&store, &options.second)?);
    let compared = match (first, second) {
        (HistoryItem::Recording(first), HistoryItem::Recording(second)) => {
            return compare_recordings(
                common,
                (&store, first),
                (&store, second),
                &options.gate,
                options.confidence,
                true,
            );
        }
        (HistoryItem::Simulation(_), HistoryItem::Simulation(_)) => {
            stored_comparison::compare_items(&store, first, second, options.confidence)
                .map_err(CommandFailure::failed)?
                .ok_or_else(|| CommandFailure::usage("two of one kind can be compared"))?
        }
        _ => {
            return Err(CommandFailure::usage(
                "a recording and a simulation cannot be compared: name two recordings (3 4) or \
                 two simulations (s3 s4)",
            ));
        }
    };
    let meters = options.gate.selected_meters();
    if options.gate.fail_above.is_some() && meters.iter().all(|it| it.name != "bill") {
        return Err(CommandFailure::usage("simulations have bills only: --meter bill"));
    }
    let bills: Vec<GateMeter> = meters.into_iter().filter(|it| it.name == "bill").collect();
    let gate =
        options.gate.fail_above.map(|most| Gate::evaluate(&[&compared.difference], &bills, most));
    if first == second {
        say(&format!("note: both are {}", store.name_item(first).map_err(CommandFailure::failed)?));
    }
    print_comparison(common, &compared, gate.as_ref())?;
    Ok(gate_status(gate.as_ref()))
}

impl GateOptions {
    /// Returns whether there is a gate.
    pub(in crate::cli) const fn is_set(&self) -> bool {
        self.fail_above.is_some()
    }

    fn selected_meters(&self) -> Vec<GateMeter> {
        if self.meter.is_empty() { GateMeter::default_meters() } else { self.meter.clone() }
    }
}

fn gate_status(gate: Option<&Gate>) -> ExitCode {
    match gate {
        Some(gate) if !gate.met => ExitCode::from(NOT_MET),
        _ => ExitCode::SUCCESS,
    }
}

/// Compares two recordings, each in its database, prints the comparison and applies the
/// gate. Without `with_table`, programs get no rows, since other rows stand before them.
pub(in crate::cli) fn compare_recordings(
    common: &CommonOptions,
    first: (&Store, i64),
    second: (&Store, i64),
    options: &GateOptions,
    sure: Confidence,
    with_table: bool,
) -> CommandOutcome {
    let compared = stored_comparison::compare_recordings(first, second, sure)
        .map_err(CommandFailure::failed)?;
    let meters = options.selected_meters();
    let bills: Option<Difference> = if options.is_set() && meters.iter().any(|it| it.name == "bill")
    {
        let contracts = super::super::replay::headline_contracts(&common.price_catalog()?);
        let contracts = contracts.map_err(CommandFailure::failed)?;
        let bills = stored_comparison::compare_bills(first, second, &contracts, sure);
        Some(bills.map_err(CommandFailure::failed)?)
    } else {
        None
    };
    let gate = options.fail_above.map(|most| {
        let mut all = vec![&compared.difference];
        all.extend(&bills);
        Gate::evaluate(&all, &meters, most)
    });
    if first.1 == second.1 && first.0.path() == second.0.path() {
        let name = first.0.name_recordings(&[first.1]).map_err(CommandFailure::failed)?;
        say(&format!("note: both are {name}"));
    }
    if with_table || common.format.is_for_people() {
        print_comparison(common, &compared, gate.as_ref())?;
    } else {
        let gate = gate.iter().flat_map(|gate| &gate.lines);
        compared.subjects.iter().chain(&compared.largest).chain(gate).for_each(|it| say(it));
    }
    Ok(gate_status(gate.as_ref()))
}

fn say_all(lines: &[String]) {
    for line in lines {
        say(line);
    }
}

/// Prints a comparison: first the differences in what was run, then the largest
/// differences, the gate, and the whole table.
fn print_comparison(
    common: &CommonOptions,
    compared: &StoredComparison,
    gate: Option<&Gate>,
) -> Result<(), CommandFailure> {
    let StoredComparison { names: [one, two], subjects, warnings, largest, difference, conclusion } =
        compared;
    let remarks: Vec<String> = subjects
        .iter()
        .map(|it| format!("what was run: {it}"))
        .chain(warnings.iter().map(|it| format!("warning: {it}")))
        .collect();
    let notes: Vec<String> = difference.notes.iter().chain(conclusion).cloned().collect();
    let empty = difference.table.is_empty();
    match common.format {
        Format::Table => {
            common.print_lines(&[one.clone(), two.clone(), String::new()])?;
            say_all(&remarks);
            if !largest.is_empty() {
                common.print_lines(largest)?;
                common.print_lines(&[String::new()])?;
            }
            if !empty {
                let mut out = text_output();
                writeln!(out, "{}", difference.table.render_grouped(NAME_COLUMNS))?;
            }
            if let Some(gate) = gate {
                common.print_lines(&[String::new()])?;
                common.print_table(&gate.table)?;
                common.print_lines(&gate.lines)?;
            }
            say_all(&notes);
        }
        Format::Markdown => {
            let mut out = text_output();
            let title = gate.and_then(|gate| gate.lines.last());
            let title = title.map_or("comparison", String::as_str);
            writeln!(out, "### cyclometer: {}", escape_markdown(title))?;
            drop(out);
            common.print_lines(&[one.clone(), two.clone()])?;
            common.print_lines(&remarks)?;
            common.print_lines(largest)?;
            if let Some(gate) = gate {
                writeln!(text_output())?;
                common.print_table(&gate.table)?;
                common.print_lines(&gate.lines)?;
            }
            if !empty {
                writeln!(text_output(), "\n<details><summary>all figures</summary>\n")?;
                common.print_table(&difference.table)?;
                common.print_lines(&notes)?;
                writeln!(text_output(), "\n</details>")?;
            }
        }
        _ => {
            say_all(&remarks);
            common.print_table(&difference.table)?;
            say_all(largest);
            say_all(&notes);
            if let Some(gate) = gate {
                say_all(&gate.lines);
            }
        }
    }
    if empty {
        say("neither of the two has anything to compare");
    }
    Ok(())
}
