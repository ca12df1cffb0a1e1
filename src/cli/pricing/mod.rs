//! `pricing`: lists, shows, checks and explains price models, starts new ones, and imports price lists.

mod check;
mod contract_template;
mod explain;
mod import;
mod list;
mod new;

use clap::Subcommand;

use super::{CommandOutcome, CommonOptions};

/// Options of `pricing`.
#[derive(Debug, clap::Args)]
pub(super) struct PricingOptions {
    #[command(subcommand)]
    command: PricingCommand,
}

#[derive(Debug, Subcommand)]
enum PricingCommand {
    /// List the price models with their dates and what they need
    List(list::PricingListOptions),
    /// Show one price model: charges, inputs, examples, source
    Show(list::ShowOptions),
    /// Check price files and bill their worked examples
    Check(check::PricingCheckOptions),
    /// Print the arithmetic of a bill, step by step
    Explain(Box<explain::PricingExplainOptions>),
    /// Write a price file to start from
    New(new::PricingNewOptions),
    /// Write contracts with the regional prices of a provider's price list
    Import(import::PriceImportOptions),
    /// Print the JSON Schema of price files, or the meters
    Schema(new::SchemaOptions),
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &PricingOptions) -> CommandOutcome {
    match &options.command {
        PricingCommand::List(options) => list::run(common, options),
        PricingCommand::Show(options) => list::run_show(common, options),
        PricingCommand::Check(options) => check::run(common, options),
        PricingCommand::Explain(options) => explain::run(common, options),
        PricingCommand::New(options) => new::run(common, options),
        PricingCommand::Import(options) => import::run(common, options),
        PricingCommand::Schema(options) => new::run_schema(common, options),
    }
}
