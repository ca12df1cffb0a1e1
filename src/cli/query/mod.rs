//! `query`: runs read-only SQL over the database.

mod output;
mod saved;
mod schema;
mod watchdog;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::{Common, Failure, Outcome, say};
use crate::files::{self, Bound};
use crate::output::text_output;
use crate::quantity::whole_number;
use crate::store::{Datum, QueryError, Reader, Stop};
use crate::units::Nanos;
use output::{Output, Told};
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

One statement that only reads; values of at most 64 MiB, in 512 MiB of memory.
Cells of a table are cut after 1000 characters. `:recording` and `:simulation` are the newest, if
--param does not say otherwise. `decimal_sum(amount)` adds money exactly."
)]
pub(super) struct Options {
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
    /// A value for a named parameter; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parameter, conflicts_with_all = ["list", "schema"])]
    param: Vec<(String, String)>,
    /// End the query after this time, whatever it does then
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    timeout: Option<Duration>,
    /// No more rows than this [default: all; 1000 in a table]
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
    match whole_number(text) {
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
pub(super) fn run(common: &Common, options: &Options) -> Outcome {
    if options.list {
        common.print(&saved::table())?;
        return Ok(ExitCode::SUCCESS);
    }
    let saved = options.saved.as_deref().map(Saved::find).transpose().map_err(Failure::Usage)?;
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
    let reader = Reader::open(&common.db_path()?).map_err(Failure::failed)?;
    watchdog.removes(reader.copy_folder());
    // From here on: even the first query may run a view of somebody else's.
    reader.watch(cancel, options.timeout).map_err(Failure::failed)?;
    let result = if options.schema {
        schema::print(common, &reader)
    } else {
        ask(common, options, &reader, &sql, saved)
    };
    match (result, reader.stop()) {
        (Err(_), Some(Stop::Cancelled)) => Ok(super::signals::interrupted_status()),
        (Err(_), Some(stop)) => Err(Failure::failed(stop)),
        (result, _) => result,
    }
}

/// Runs the statement and prints its rows.
fn ask(
    common: &Common,
    options: &Options,
    reader: &Reader,
    sql: &str,
    saved: Option<&Saved>,
) -> Outcome {
    let parameters = parameters(reader, sql, saved, &options.param)?;
    // Written in large pieces: a system call a row would take most of the time.
    let out = Box::new(std::io::BufWriter::with_capacity(1 << 16, text_output()));
    let mut output = Output::new(common.format, options.limit, out);
    let result = reader.query(sql, &parameters, &mut output);
    // The rows that were read before a stop are complete, and are shown.
    let ended = output.end(result.is_ok());
    if let Ok(told) = &ended {
        tell_what_is_left_out(told);
    }
    result.map_err(failure)?;
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a text through everything that `query` does, as a table and as JSON: for fuzzing.
pub fn query_survives(reader: &Reader, sql: &str) {
    let time = Some(Duration::from_millis(20));
    for format in [crate::report::Format::Table, crate::report::Format::Json] {
        if reader.watch(crate::lane::Cancel::default(), time).is_err() {
            return;
        }
        let Ok(parameters) = parameters(reader, sql, None, &[]) else { return };
        let mut output = Output::new(format, Some(20), Box::new(std::io::sink()));
        let result = reader.query(sql, &parameters, &mut output);
        let _ = output.end(result.is_ok());
    }
}

fn failure(error: QueryError) -> Failure {
    match error {
        QueryError::Wrong(message) => Failure::Usage(message),
        QueryError::Output(error) => error.into(),
        error @ (QueryError::Stopped(_) | QueryError::Store(_)) => Failure::failed(error),
    }
}

/// Size limit of a query.
const SQL: Bound = Bound::new("a query", MOST_SQL);

fn standard_input() -> Result<String, Failure> {
    files::read_standard_input(SQL)
        .and_then(files::into_text)
        .map_err(|error| Failure::Failed(format!("cannot read standard input: {error}")))
}

/// Returns a value for each parameter of the statement: the given one, or the saved
/// query's default, or the newest item.
fn parameters(
    reader: &Reader,
    sql: &str,
    saved: Option<&Saved>,
    given: &[(String, String)],
) -> Result<Vec<(String, Datum)>, Failure> {
    let names = reader.parameters(sql).map_err(failure)?;
    if let Some((unknown, _)) = given.iter().find(|(name, _)| !names.contains(name)) {
        let hint = if names.is_empty() {
            "; it has none".to_owned()
        } else {
            crate::suggest::suggestion(unknown, names.iter().map(String::as_str))
        };
        return Err(Failure::Usage(format!("the query has no parameter `{unknown}`{hint}")));
    }
    let mut values: Vec<(String, Datum)> = Vec::new();
    for name in names {
        let text =
            given.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        let text = text.or_else(|| saved?.default(&name));
        let value = match (name.as_str(), text) {
            ("recording" | "simulation", None | Some("latest")) => newest(reader, &name)?,
            ("recording", Some(text)) if text.parse::<i64>().is_err() => {
                let found = reader.labelled(text).map_err(Failure::failed)?;
                Datum::Integer(found.ok_or_else(|| {
                    Failure::Usage(format!(
                        "no recording has the number or label `{text}`: `cyclometer history` \
                         lists them"
                    ))
                })?)
            }
            // Named as in `history`.
            ("simulation", Some(text)) => datum(text.strip_prefix('s').unwrap_or(text)),
            (_, Some(text)) => datum(text),
            (_, None) => {
                return Err(Failure::Usage(format!(
                    "the parameter `{name}` has no value: give one with --param {name}=..."
                )));
            }
        };
        values.push((name, value));
    }
    Ok(values)
}

fn newest(reader: &Reader, what: &str) -> Result<Datum, Failure> {
    let newest = reader.latest(what).map_err(Failure::failed)?;
    newest.map(Datum::Integer).ok_or_else(|| {
        let command = if what == "recording" { "record" } else { "replay" };
        Failure::Failed(format!("there is no {what} yet: make one with `cyclometer {command}`"))
    })
}

/// Parses a number if the text is one, since `sequence > :n` compares by type.
fn datum(text: &str) -> Datum {
    if let Ok(value) = text.parse() {
        return Datum::Integer(value);
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Datum::Real(value),
        _ => Datum::Text(text.to_owned()),
    }
}

/// Reports what a table leaves out.
fn tell_what_is_left_out(told: &Told) {
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
        assert_eq!(datum("12"), Datum::Integer(12));
        assert_eq!(datum("1.5"), Datum::Real(1.5));
        assert_eq!(datum("nbody"), Datum::Text("nbody".to_owned()));
        assert_eq!(datum("inf"), Datum::Text("inf".to_owned()));
        assert_eq!(datum(""), Datum::Text(String::new()));
        assert_eq!(parameter(":a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(parameter("a").is_err());
    }
}
