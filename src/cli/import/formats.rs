//! `import formats` and `import new`: what can be read.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::{CommandOutcome, CommonOptions, say};
use crate::output::text_output;
use crate::report::{Cell, Column, Table};
use crate::trace::formats::FORMATS;
use crate::trace::mapping;

/// Prints a mapping file to start from.
pub(super) fn print_template() -> CommandOutcome {
    let mut out = text_output();
    write!(out, "{}", mapping::template())?;
    out.flush()?;
    say("keep it in a file, fill it in, and name it with --mapping");
    Ok(ExitCode::SUCCESS)
}

/// Lists the formats.
pub(super) fn run(common: &CommonOptions) -> CommandOutcome {
    let mut table = Table::new(&[
        Column::text("format", "format"),
        Column::text("platform", "platform"),
        Column::text("what", "about"),
        Column::text("has", "meters"),
        Column::text("lacks", "missing"),
        Column::hidden("schema"),
    ]);
    for format in FORMATS {
        let names = |wanted: bool| {
            let meters = format.meters.iter().filter(|it| it.source.is_some() == wanted);
            meters.map(|it| it.meter.name()).collect::<Vec<_>>().join(", ")
        };
        table.push(vec![
            Cell::text(format.name),
            Cell::text(format.platform.unwrap_or("as the log says")),
            Cell::text(format.about),
            Cell::text(names(true)),
            Cell::text(names(false)),
            Cell::text(format.schema),
        ]);
    }
    common.print_table(&table)?;
    say("any other CSV, JSON or Parquet file: `cyclometer import new`, or --map COLUMN=METER:UNIT");
    Ok(ExitCode::SUCCESS)
}
