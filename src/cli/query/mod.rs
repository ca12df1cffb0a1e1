//! `query`: SQL over the database, which it cannot change.

mod output;
mod saved;
mod schema;

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::{Common, Failure, Outcome, say};
use crate::quantity::whole_number;
use crate::store::{Datum, QueryError, Reader, Stop};
use crate::units::Nanos;
use output::Output;
use saved::Saved;

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

One statement that only reads. `:recording` and `:simulation` are the newest, if
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
    /// End the query after this time
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
    // As it stands in the SQL.
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
        let mut out = std::io::stdout().lock();
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
    let reader = Reader::open(&common.db_path()?).map_err(Failure::failed)?;
    if options.schema {
        return schema::print(common, &reader);
    }
    let parameters = parameters(&reader, &sql, saved, &options.param)?;
    let cancel = super::signals::cancel_on_signals()?;
    reader.watch(cancel, options.timeout).map_err(Failure::failed)?;
    let mut output = Output::new(common.format, options.limit);
    let result = reader.query(&sql, &parameters, &mut output);
    // What was read before it was stopped is whole rows, and is shown.
    let ended = output.end(result.is_ok());
    match result {
        Err(QueryError::Stopped(Stop::Cancelled)) => Ok(super::signals::interrupted_status()),
        Err(error) => Err(failure(error)),
        Ok(()) => ended.map(|()| ExitCode::SUCCESS).map_err(Failure::from),
    }
}

fn failure(error: QueryError) -> Failure {
    match error {
        QueryError::Wrong(message) => Failure::Usage(message),
        QueryError::Output(error) => error.into(),
        error @ (QueryError::Stopped(_) | QueryError::Store(_)) => Failure::failed(error),
    }
}

fn standard_input() -> Result<String, Failure> {
    let mut sql = String::new();
    std::io::stdin()
        .read_to_string(&mut sql)
        .map_err(|error| Failure::Failed(format!("cannot read standard input: {error}")))?;
    Ok(sql)
}

/// A value for each parameter of the statement: given, or the saved query's
/// own, or the newest.
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
            // As `history` names it.
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

/// A number if it reads as one, for `sequence > :n` compares by kind.
fn datum(text: &str) -> Datum {
    if let Ok(value) = text.parse() {
        return Datum::Integer(value);
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Datum::Real(value),
        _ => Datum::Text(text.to_owned()),
    }
}

/// Says that a table ends before its rows do.
fn tell_cut(rows: usize) {
    say(&format!(
        "the first {rows} rows; --limit N shows more, and --format csv or jsonl shows all"
    ));
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
