//! `pricing`: the price models, what they say, and whether it is true.

mod check;
mod explain;
mod list;

use clap::Subcommand;

use super::{Common, Outcome};

/// Options of `pricing`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the price models with their dates and what they need
    List(list::Options),
    /// Show one price model: charges, inputs, examples, source
    Show(list::ShowOptions),
    /// Check price files and bill their worked examples
    Check(check::Options),
    /// Print the arithmetic of a bill, step by step
    Explain(Box<explain::Options>),
}

/// Runs the command.
pub(super) fn run(common: &Common, options: &Options) -> Outcome {
    match &options.command {
        Command::List(options) => list::run(common, options),
        Command::Show(options) => list::show(common, options),
        Command::Check(options) => check::run(common, options),
        Command::Explain(options) => explain::run(common, options),
    }
}
