//! `pricing`: lists, shows, checks and explains price models, and starts new ones.

mod check;
mod explain;
mod list;
mod new;

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
    /// Write a price file to start from
    New(new::Options),
    /// Print the JSON Schema of price files, or the meters
    Schema(new::SchemaOptions),
}

/// Runs the command.
pub(super) fn run(common: &Common, options: &Options) -> Outcome {
    match &options.command {
        Command::List(options) => list::run(common, options),
        Command::Show(options) => list::show(common, options),
        Command::Check(options) => check::run(common, options),
        Command::Explain(options) => explain::run(common, options),
        Command::New(options) => new::run(common, options),
        Command::Schema(options) => new::schema(common, options),
    }
}
