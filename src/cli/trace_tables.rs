//! Tables of a trace: its files, what was not read of them, and where its figures come from.

use std::collections::BTreeMap;
use std::io::Write;

use super::{CommandFailure, CommonOptions, say};
use crate::output::text_output;
use crate::report::{Cell, Column, Table};
use crate::store::{TraceFile, TraceMeter};
use crate::trace::import::LeftoverKind;
use crate::units::Bytes;

/// Most files that are listed for people.
const LISTED: usize = 20;

fn count_of(file: &TraceFile, kind: LeftoverKind) -> u64 {
    file.leftovers.iter().filter(|it| it.kind == kind).map(|it| it.records).sum()
}

/// Lists files, with the counts of their records.
pub(super) fn file_table(files: &[TraceFile], most: usize) -> Table {
    let mut table = Table::new(&[
        Column::text("file", "file"),
        Column::text("format", "format"),
        Column::number("size", "bytes"),
        Column::number("records", "records"),
        Column::number("invocations", "rows"),
        Column::number("other records", "other"),
        Column::number("rejected", "rejected"),
        Column::number("duplicates", "duplicates"),
        Column::hidden("digest"),
    ]);
    for file in files.iter().take(most) {
        let count = |kind| {
            let count = count_of(file, kind);
            Cell::new(count, count)
        };
        let format = if file.format.is_empty() { "left out" } else { &file.format };
        table.push(vec![
            Cell::text(&file.path),
            Cell::text(format),
            Cell::optional_size(file.bytes.map(Bytes)),
            Cell::new(file.records, file.records),
            Cell::new(file.rows, file.rows),
            count(LeftoverKind::Other),
            count(LeftoverKind::Rejected),
            count(LeftoverKind::Duplicate),
            Cell::text(&file.digest),
        ]);
    }
    table
}

/// Counts of a kind and cause in all files, with the first lines and where they are.
pub(super) type Causes = BTreeMap<(&'static str, String), (u64, Vec<String>)>;

/// Counts the leftovers of all files by kind and cause.
pub(super) fn gather_causes(files: &[TraceFile]) -> Causes {
    let mut causes = Causes::new();
    for file in files {
        for leftover in &file.leftovers {
            let key = (leftover.kind.label(), leftover.cause.to_string());
            let (count, lines) = causes.entry(key).or_default();
            *count += leftover.records;
            if lines.len() < 3 {
                let first: Vec<String> =
                    leftover.first_lines.iter().map(ToString::to_string).collect();
                lines.push(if first.is_empty() {
                    file.path.clone()
                } else {
                    format!("{}:{}", file.path, first.join(","))
                });
            }
        }
    }
    causes
}

/// Prints the files, what was not read of them, and where the figures come from.
pub(super) fn print_trace_tables(
    common: &CommonOptions,
    files: &[TraceFile],
    meters: &[TraceMeter],
) -> Result<(), CommandFailure> {
    common.print_table(&file_table(files, LISTED))?;
    if files.len() > LISTED {
        say(&format!("and {} more files; --format json lists all", files.len() - LISTED));
    }
    let causes = gather_causes(files);
    if !causes.is_empty() {
        writeln!(text_output())?;
        let mut table = Table::new(&[
            Column::text("records", "kind"),
            Column::text("cause or kind", "cause"),
            Column::number("count", "records"),
            Column::text("first lines", "first_lines"),
        ]);
        for ((kind, cause), (count, lines)) in causes {
            table.push(vec![
                Cell::text(kind),
                Cell::text(cause),
                Cell::new(count, count),
                Cell::text(lines.join("; ")),
            ]);
        }
        common.print_table(&table)?;
    }
    writeln!(text_output())?;
    common.print_table(&meter_table(meters))?;
    Ok(())
}

fn meter_table(meters: &[TraceMeter]) -> Table {
    let mut table = Table::new(&[
        Column::text("platform", "platform"),
        Column::text("meter", "meter"),
        Column::text("source", "source"),
        Column::text("note", "note"),
    ]);
    let mut missing: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for meter in meters {
        match &meter.source {
            Some(source) => table.push(vec![
                Cell::text(&meter.platform),
                Cell::text(&meter.meter),
                Cell::text(source),
                Cell::text(&meter.note),
            ]),
            None => missing.entry((&meter.platform, &meter.note)).or_default().push(&meter.meter),
        }
    }
    for ((platform, note), meters) in missing {
        table.push(vec![
            Cell::text(platform),
            Cell::text(meters.join(", ")),
            Cell::text("missing"),
            Cell::text(note),
        ]);
    }
    table
}
