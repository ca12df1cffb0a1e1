//! `query`: runs read-only SQL over the database.

mod row_printer;
mod saved;
mod schema;
mod watchdog;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::files::{self, Bound};
use crate::output::text_output;
use crate::quantity::parse_whole_number;
use crate::store::{Datum, QueryError, QueryStop, SqlReader};
use crate::units::Nanos;
use row_printer::{RowPrinter, TableOmissions};
use saved::Saved;
use watchdog::Watchdog;

/// Maximum size of a statement in bytes, the limit of `SQLite`.
const MOST_SQL: u64 = 1_000_000;

/// Options of `query`.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true),
    after_help = "Examples:
  cyclometer query --list
  cyclometer query --saved cold-starts
  cyclometer query --saved outliers --param recording=3 --param factor=5
  cyclometer query 'SELECT lane, AVG(cpu_ns) FROM v_invocation GROUP BY lane'
  cyclometer query 'SELECT * FROM v_sample WHERE recording = :recording' --format csv
  cyclometer query --schema

The query is one statement that only reads, with values of at most 64 MiB and
512 MiB of memory. Cells of a table are cut after 1000 characters. `:recording`
and `:simulation` are the newest unless --param names others. `decimal_sum(amount)` adds money exactly."
)]
pub(super) struct QueryOptions {
    /// A SELECT; `-` reads it from standard input
    #[arg(value_name = "SQL", group = "what")]
    sql: Option<String>,
    /// Run this saved query
    #[arg(long, value_name = "NAME", group = "what")]
    saved: Option<String>,
    /// List the saved queries
    #[arg(long, group = "what")]
    list: bool,
    /// List the views and their columns
    #[arg(long, group = "what")]
    schema: bool,
    /// Print the SQL of the saved query instead of running it
    #[arg(long, requires = "saved")]
    show: bool,
    /// Value of a named parameter; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parameter, conflicts_with_all = ["list", "schema"])]
    param: Vec<(String, String)>,
    /// End the query after this time
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    timeout: Option<Duration>,
    /// Print at most this many rows [default: all; 1000 in a table]
    #[arg(long, value_name = "N", value_parser = limit)]
    limit: Option<u64>,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` has no `=`: write a name and a value, as recording=3"))?;
    // With its prefix, as it stands in the SQL.
    let key = key.trim_start_matches([':', '@', '$']);
    Ok((key.to_owned(), value.to_owned()))
}

fn limit(text: &str) -> Result<u64, String> {
    match parse_whole_number(text) {
        Ok(0) => Err(format!("`{text}`: write 1 or more")),
        Ok(rows) => Ok(rows),
        Err(error) => Err(error.to_string()),
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    let span: Nanos = text.parse().map_err(|error: crate::units::UnitError| error.to_string())?;
    if span.0 == 0 { Err("a query needs some time".to_owned()) } else { Ok(span.into()) }
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &QueryOptions) -> CommandOutcome {
    if options.list {
        common.print_table(&saved::saved_query_table())?;
        return Ok(ExitCode::SUCCESS);
    }
    let saved =
        options.saved.as_deref().map(Saved::by_name).transpose().map_err(CommandFailure::Usage)?;
    if let Some(saved) = saved.filter(|_| options.show) {
        let mut out = text_output();
        out.write_all(saved.text.as_bytes())?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let sql = match (&saved, &options.sql) {
        (Some(saved), _) => saved.text.to_owned(),
        (None, Some(sql)) if sql == "-" => standard_input()?,
        (None, Some(sql)) => sql.clone(),
        (None, None) => String::new(),
    };
    let cancel = super::signals::cancel_on_signals()?;
    let watchdog = Watchdog::start(cancel.clone(), options.timeout)?;
    let reader = SqlReader::open(&common.db_path()?).map_err(CommandFailure::failed)?;
    watchdog.set_leftover(reader.copy_folder());
    // From here on: even the first query may run a view of somebody else's.
    reader.watch_queries(cancel, options.timeout).map_err(CommandFailure::failed)?;
    let result = if options.schema {
        schema::print_views(common, &reader)
    } else {
        run_statement(common, options, &reader, &sql, saved)
    };
    match (result, reader.stop_reason()) {
        (Err(_), Some(QueryStop::Cancelled)) => Ok(super::signals::interrupted_status()),
        (Err(_), Some(stop)) => Err(CommandFailure::failed(stop)),
        (result, _) => result,
    }
}

/// Runs the statement and prints its rows.
fn run_statement(
    common: &CommonOptions,
    options: &QueryOptions,
    reader: &SqlReader,
    sql: &str,
    saved: Option<&Saved>,
) -> CommandOutcome {
    let parameters = bind_parameters(reader, sql, saved, &options.param)?;
    // Written in large pieces: a system call a row would take most of the time.
    let out = Box::new(std::io::BufWriter::with_capacity(1 << 16, text_output()));
    let mut output = RowPrinter::new(common.format, options.limit, out);
    let result = reader.run_query(sql, &parameters, &mut output);
    // The rows that were read before a stop are complete, and are shown.
    let ended = output.finish(result.is_ok());
    if let Ok(told) = &ended {
        say_omissions(told);
    }
    result.map_err(query_failure)?;
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a text through everything that `query` does, as a table and as JSON: for fuzzing.
pub fn query_survives(reader: &SqlReader, sql: &str) {
    let time = Some(Duration::from_millis(20));
    for format in [crate::report::Format::Table, crate::report::Format::Json] {
        if reader.watch_queries(crate::lane::Cancel::default(), time).is_err() {
            return;
        }
        let Ok(parameters) = bind_parameters(reader, sql, None, &[]) else { return };
        let mut output = RowPrinter::new(format, Some(20), Box::new(std::io::sink()));
        let result = reader.run_query(sql, &parameters, &mut output);
        let _ = output.finish(result.is_ok());
    }
}

fn query_failure(error: QueryError) -> CommandFailure {
    match error {
        QueryError::Wrong(message) => CommandFailure::Usage(message),
        QueryError::Output(error) => error.into(),
        error @ (QueryError::Stopped(_) | QueryError::Store(_)) => CommandFailure::failed(error),
    }
}

/// Size limit of a query.
const SQL: Bound = Bound::new("a query", MOST_SQL);

fn standard_input() -> Result<String, CommandFailure> {
    files::read_standard_input(SQL)
        .and_then(files::into_text)
        .map_err(|error| CommandFailure::Failed(format!("cannot read standard input: {error}")))
}

/// Returns a value for each parameter of the statement: the given one, or the saved
/// query's default, or the newest item.
fn bind_parameters(
    reader: &SqlReader,
    sql: &str,
    saved: Option<&Saved>,
    given: &[(String, String)],
) -> Result<Vec<(String, Datum)>, CommandFailure> {
    let names = reader.parameter_names(sql).map_err(query_failure)?;
    if let Some((unknown, _)) = given.iter().find(|(name, _)| !names.contains(name)) {
        let hint = if names.is_empty() {
            "; it has none".to_owned()
        } else {
            crate::suggest::format_suggestion(unknown, names.iter().map(String::as_str))
        };
        return Err(CommandFailure::Usage(format!("the query has no parameter `{unknown}`{hint}")));
    }
    let mut values: Vec<(String, Datum)> = Vec::new();
    for name in names {
        let text =
            given.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        let text = text.or_else(|| saved?.default_value(&name));
        let value = match (name.as_str(), text) {
            ("recording" | "simulation", None | Some("latest")) => find_newest(reader, &name)?,
            ("recording", Some(text)) if text.parse::<i64>().is_err() => {
                let found = reader.find_label(text).map_err(CommandFailure::failed)?;
                Datum::Integer(found.ok_or_else(|| {
                    CommandFailure::Usage(format!(
                        "no recording has the number or label `{text}`: `cyclometer history` \
                         lists them"
                    ))
                })?)
            }
            // Named as in `history`.
            ("simulation", Some(text)) => parse_datum(text.strip_prefix('s').unwrap_or(text)),
            (_, Some(text)) => parse_datum(text),
            (_, None) => {
                return Err(CommandFailure::Usage(format!(
                    "the parameter `{name}` has no value: give one with --param {name}=..."
                )));
            }
        };
        values.push((name, value));
    }
    Ok(values)
}

fn find_newest(reader: &SqlReader, what: &str) -> Result<Datum, CommandFailure> {
    let newest = reader.latest_number(what).map_err(CommandFailure::failed)?;
    newest.map(Datum::Integer).ok_or_else(|| {
        let command = if what == "recording" { "record" } else { "replay" };
        CommandFailure::Failed(format!(
            "there is no {what} yet: make one with `cyclometer {command}`"
        ))
    })
}

/// Parses a number if the text is one, since `sequence > :n` compares by type.
fn parse_datum(text: &str) -> Datum {
    if let Ok(value) = text.parse() {
        return Datum::Integer(value);
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Datum::Real(value),
        _ => Datum::Text(text.to_owned()),
    }
}

/// Reports what a table leaves out.
fn say_omissions(told: &TableOmissions) {
    if told.no_rows {
        say("no rows");
    }
    if let Some(rows) = told.cut_after {
        say(&format!(
            "the first {rows} rows; --limit N shows more, as far as a table goes, and --format csv \
             or jsonl shows all"
        ));
    }
    if told.cut_cells > 0 {
        say(&format!(
            "{} cell(s) are cut and end in \u{2026}; --format json, jsonl or csv has them whole",
            told.cut_cells
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbers_where_they_read_as_numbers() {
        assert_eq!(parse_datum("12"), Datum::Integer(12));
        assert_eq!(parse_datum("1.5"), Datum::Real(1.5));
        assert_eq!(parse_datum("nbody"), Datum::Text("nbody".to_owned()));
        assert_eq!(parse_datum("inf"), Datum::Text("inf".to_owned()));
        assert_eq!(parse_datum(""), Datum::Text(String::new()));
        assert_eq!(parameter(":a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(parameter("a").is_err());
    }
}
