//! `lanes`: what runs here, why the rest does not, and whether a runtime does
//! what its profile says.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Common, Failure, Outcome};
use crate::doctor;
use crate::meter::procfs::ProcessIdentity;

/// Options of `lanes`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the contract tests of a runtime's profile
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// The profile, a .toml file
    file: PathBuf,
}

/// Runs the command.
pub(super) fn run(common: &Common, options: &Options) -> Outcome {
    match &options.command {
        None => list(common),
        Some(Command::Check(_options)) => Err(Failure::failed("later")),
    }
}

fn list(common: &Common) -> Outcome {
    let owner = ProcessIdentity::current().map_err(Failure::failed)?;
    let lanes = doctor::lanes().iter().map(|spec| doctor::try_lane(spec, &owner)).collect();
    common.print(&doctor::lane_table(lanes))?;
    Ok(ExitCode::SUCCESS)
}
