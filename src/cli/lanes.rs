//! `lanes`: lists which lanes run here and why the others do not, and checks whether a
//! runtime does what its profile promises.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::doctor;
use crate::lane::command::contract;
use crate::procfs::ProcessIdentity;
use crate::profile::{self, Profile};
use crate::report::{Cell, Column, Table};

/// Options of `lanes`.
#[derive(Debug, clap::Args)]
pub(super) struct LanesOptions {
    #[command(subcommand)]
    command: Option<LanesCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum LanesCommand {
    /// Test whether a runtime does what its profile says
    Check(ProfileCheckOptions),
}

#[derive(Debug, clap::Args)]
struct ProfileCheckOptions {
    /// A profile (a .toml file), or the name of a lane that has one
    #[arg(value_name = "FILE|LANE")]
    profile: PathBuf,
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &LanesOptions) -> CommandOutcome {
    match &options.command {
        None => print_lanes(common),
        Some(LanesCommand::Check(options)) => check_profiles(common, options),
    }
}

fn print_lanes(common: &CommonOptions) -> CommandOutcome {
    let owner = ProcessIdentity::current().map_err(CommandFailure::failed)?;
    let mut lanes: Vec<_> =
        doctor::list_lanes().iter().map(|spec| doctor::try_lane(spec, &owner)).collect();
    // Available lanes stand first.
    lanes.sort_by_key(|lane| lane.about.is_err());
    common.print_table(&doctor::lane_table(lanes))?;
    Ok(ExitCode::SUCCESS)
}

fn check_profiles(common: &CommonOptions, options: &ProfileCheckOptions) -> CommandOutcome {
    let profiles = load_profiles(common, &options.profile)?;
    let cancel = super::signals::cancel_on_signals()?;
    super::sweep_leftovers();
    let mut table = Table::new(&[
        Column::text("lane", "lane"),
        Column::text("check", "check"),
        Column::text("state", "state"),
        Column::text("expected", "expected"),
        Column::text("found", "came"),
    ]);
    let (mut done, mut failed) = (0, 0);
    for profile in &profiles {
        contract::run_checks(profile, &cancel, &mut |finding| {
            done += usize::from(finding.state != contract::CheckState::NotChecked);
            failed += usize::from(finding.state == contract::CheckState::Failed);
            let state = finding.state.label();
            let cells =
                [&*profile.name, finding.check, state, &*finding.expected, &*finding.observed];
            table.push(cells.map(Cell::text).to_vec());
        });
    }
    super::ignore_unread(common.print_table(&table))?;
    if cancel.is_cancelled() {
        return Ok(super::signals::interrupted_status());
    }
    if failed > 0 {
        return Err(CommandFailure::Failed(format!("{failed} of {done} checks failed")));
    }
    say(&format!("all {done} checks passed"));
    Ok(ExitCode::SUCCESS)
}

/// Returns the profiles of a file, or the one with the given name.
fn load_profiles(
    common: &CommonOptions,
    given: &Path,
) -> Result<Vec<Arc<Profile>>, CommandFailure> {
    let named = given.to_str().and_then(|name| profile::current_catalog().get(name).cloned());
    match named {
        Some(profile) if given.extension().is_none() => Ok(vec![profile]),
        _ => {
            if !common.trust_profiles {
                profile::check_trust(given).map_err(CommandFailure::Failed)?;
            }
            let profiles = profile::load_profile(given).map_err(CommandFailure::failed)?;
            Ok(profiles.into_iter().map(Arc::new).collect())
        }
    }
}
