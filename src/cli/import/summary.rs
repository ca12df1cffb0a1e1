//! What an import has read, and what to do next.

use std::path::Path;
use std::process::ExitCode;

use std::io::Write;

use serde_json::{Value, json};

use super::session::PreparedImport;
use crate::cli::trace_tables::{file_table, gather_causes, print_trace_tables};
use crate::cli::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::files::display_path;
use crate::output::{json_text, text_output};
use crate::report::{Format, format_count, format_timestamp};
use crate::store::{Store, TraceFile, TraceOverview};
use crate::trace::import::{LeftoverKind, MAX_WRITTEN_REJECTS};

/// Prints what was read.
pub(super) fn print(
    common: &CommonOptions,
    store: &Store,
    trace: i64,
    prepared: &PreparedImport,
) -> CommandOutcome {
    let (skipped, rejects) = (&prepared.skipped, prepared.plan.rejects.as_path());
    let files = store.trace_files(trace).map_err(CommandFailure::failed)?;
    let overview = store.trace_overview(trace).map_err(CommandFailure::failed)?;
    let has_rejects = rejects.exists();
    let printed = match common.format {
        Format::Json => print_json(trace, &files, &overview, skipped, rejects),
        Format::Csv | Format::Jsonl => common.print_table(&file_table(&files, usize::MAX)),
        Format::Table | Format::Markdown => print_trace_tables(common, &files, &overview.meters),
    };
    crate::cli::ignore_unread(printed)?;
    say(&describe_trace(trace, &overview));
    if let Some(last) = files.last() {
        say(&format!("digest of all rows: {}", last.digest));
    }
    if has_rejects {
        let written: u64 = files.iter().map(|it| it.rejects_written).max().unwrap_or(0);
        let more = if written >= MAX_WRITTEN_REJECTS { "the first of the" } else { "the" };
        say(&format!("{more} rejected records are in {}", display_path(rejects)));
    }
    say(&format!(
        "next: cyclometer replay {trace} · cyclometer history show {trace} · cyclometer replay \
         {trace} --waste"
    ));
    // A file of a folder that is no log is only told.
    let is_settled = |file: &TraceFile| {
        is_read_whole(file) || (file.format.is_empty() && !prepared.named.contains(&file.path))
    };
    let is_whole = files.iter().all(is_settled);
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// Returns whether nothing of a file was rejected, and it was read to its end.
fn is_read_whole(file: &TraceFile) -> bool {
    let is_bad = |cause: &str| cause.starts_with("the input breaks off");
    !file.format.is_empty()
        && !file.leftovers.iter().any(|it| it.kind == LeftoverKind::Rejected || is_bad(&it.cause))
}

fn describe_trace(trace: i64, overview: &TraceOverview) -> String {
    let span = match (&overview.first, &overview.last) {
        (Some(first), Some(last)) => {
            format!(", from {} to {} (UTC)", format_timestamp(first), format_timestamp(last))
        }
        _ => ", without times".to_owned(),
    };
    format!(
        "trace {trace}: {} of {} on {}{span}",
        format_count(overview.rows, "invocation"),
        format_count(overview.functions, "function"),
        overview.platforms.join(", ")
    )
}

fn print_json(
    trace: i64,
    files: &[TraceFile],
    overview: &TraceOverview,
    skipped: &[(String, String)],
    rejects: &Path,
) -> Result<(), CommandFailure> {
    let files_json: Vec<Value> = files
        .iter()
        .map(|file| {
            let leftovers: Vec<Value> = file
                .leftovers
                .iter()
                .map(|it| {
                    json!({ "kind": it.kind.label(), "cause": it.cause, "records": it.records,
                        "first_lines": it.first_lines })
                })
                .collect();
            json!({ "file": file.path, "format": file.format, "bytes": file.bytes,
                "records": file.records, "rows": file.rows, "leftovers": leftovers,
                "digest": file.digest, "content": file.content })
        })
        .collect();
    let meters: Vec<Value> = overview
        .meters
        .iter()
        .map(|it| {
            json!({ "platform": it.platform, "meter": it.meter, "source": it.source,
                "note": it.note })
        })
        .collect();
    let skipped: Vec<Value> =
        skipped.iter().map(|(path, reason)| json!({ "file": path, "reason": reason })).collect();
    let object = json!({
        "trace": trace,
        "rows": overview.rows,
        "functions": overview.functions,
        "platforms": overview.platforms,
        "first": overview.first,
        "last": overview.last,
        "digest": files.last().map(|it| &it.digest),
        "rejects": rejects.exists().then(|| display_path(rejects)),
        "files": files_json,
        "skipped": skipped,
        "meters": meters,
    });
    let mut out = text_output();
    writeln!(out, "{}", json_text(&object, true))?;
    out.flush()?;
    Ok(())
}

/// Says why no invocation could be read.
pub(super) fn describe_nothing(files: &[TraceFile], rejects: &Path) -> String {
    let mut lines_of_text = vec!["no invocation could be read".to_owned()];
    for ((kind, cause), (count, lines)) in gather_causes(files) {
        lines_of_text.push(match kind {
            "note" => format!("{}: {cause}", lines.join("; ")),
            _ => format!("{count} {kind}: {cause} ({})", lines.join("; ")),
        });
    }
    if rejects.exists() {
        lines_of_text.push(format!("the rejected records are in {}", display_path(rejects)));
    }
    lines_of_text.join("\n")
}
