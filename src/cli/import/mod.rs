//! `import`: reads logs and traces that were measured elsewhere.

mod formats;
mod options;
mod progress;
mod session;
mod summary;

use std::path::PathBuf;

use clap::Subcommand;

use super::{CommandFailure, CommandOutcome, CommonOptions};

/// Options of `import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer import lambda.log                      format and units by the file itself
  cyclometer import exports/ --function thumbnail   all files below a folder, by name
  zcat *.gz | cyclometer import - --from aws-lambda-report
  cyclometer import usage.csv --map dur_ms=run:ms --map mem=memory_allocated:MiB
  cyclometer import new > mine.toml                 a mapping file to start from
  cyclometer import usage.parquet --mapping mine.toml   CSV, JSON or Parquet
  cyclometer import formats                         what can be read, and which meters it has

A trace is kept like a recording: `latest` is the newest of both, and replay,
history and query take it by its number or label. It is seen when all of it is
stored. An import that was stopped in any way goes on when the same command is
given again; `--discard` removes what it has stored. gzip and zstd are noticed
by themselves. Records that cannot be read are counted by cause, with the first
lines, and written to a file beside the database. Copies of one request are
stored once.

`--from` names the format of the files; `--format` is the form of the results,
as everywhere.

Exit status: 0 done, 1 failed or no invocation could be read, 2 wrong usage,
3 done but records were rejected, an input broke off, or a named file was left
out (one of a folder is only told); 130 stopped by Ctrl-C, to be gone on with.")]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ImportOptions {
    #[command(subcommand)]
    command: Option<ImportCommand>,
    /// Files, folders, or `-` for standard input
    #[arg(value_name = "FILE|FOLDER|-")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    reading: options::ReadingOptions,
    /// Label of the trace
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// File that gets the records that cannot be read [default: beside the database]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Import files that another trace has already
    #[arg(long)]
    again: bool,
    /// Remove what an unfinished import has stored
    #[arg(long, value_name = "TRACE", conflicts_with_all = ["paths", "again", "label", "rejects"])]
    discard: Option<i64>,
}

#[derive(Debug, Subcommand)]
enum ImportCommand {
    /// Print a mapping file to start from
    New,
    /// List the formats that can be read, with the meters of each
    Formats,
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &ImportOptions) -> CommandOutcome {
    match &options.command {
        Some(ImportCommand::New) => formats::print_template(),
        Some(ImportCommand::Formats) => formats::run(common),
        None => match options.discard {
            Some(trace) => session::discard(common, trace),
            None if options.paths.is_empty() => Err(CommandFailure::usage(
                "name a file, a folder, or `-` for standard input; `cyclometer import formats` \
                 lists what can be read",
            )),
            None => session::run(common, options),
        },
    }
}
