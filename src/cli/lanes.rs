//! `lanes`: lists which lanes run here and why the others do not, and checks whether a
//! runtime does what its profile promises.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{Common, Failure, Outcome, say};
use crate::doctor;
use crate::lane::command::contract;
use crate::procfs::ProcessIdentity;
use crate::profile::{self, Profile};
use crate::report::{Cell, Column, Table};

/// Options of `lanes`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Test whether a runtime does what its profile says
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// A profile (a .toml file), or the name of a lane that has one
    #[arg(value_name = "FILE|LANE")]
    profile: PathBuf,
}

/// Runs the command.
pub(super) fn run(common: &Common, options: &Options) -> Outcome {
    match &options.command {
        None => list(common),
        Some(Command::Check(options)) => check(common, options),
    }
}

fn list(common: &Common) -> Outcome {
    let owner = ProcessIdentity::current().map_err(Failure::failed)?;
    let mut lanes: Vec<_> =
        doctor::lanes().iter().map(|spec| doctor::try_lane(spec, &owner)).collect();
    // Available lanes stand first.
    lanes.sort_by_key(|lane| lane.about.is_err());
    common.print(&doctor::lane_table(lanes))?;
    Ok(ExitCode::SUCCESS)
}

fn check(common: &Common, options: &Check) -> Outcome {
    let profiles = profiles(common, &options.profile)?;
    let cancel = super::signals::cancel_on_signals()?;
    super::sweep();
    let mut table = Table::new(&[
        Column::text("lane", "lane"),
        Column::text("check", "check"),
        Column::text("state", "state"),
        Column::text("expected", "expected"),
        Column::text("found", "came"),
    ]);
    let (mut done, mut failed) = (0, 0);
    for profile in &profiles {
        contract::check(profile, &cancel, &mut |finding| {
            done += usize::from(finding.state != contract::State::NotChecked);
            failed += usize::from(finding.state == contract::State::Failed);
            let state = finding.state.label();
            let cells = [&*profile.name, finding.check, state, &*finding.expected, &*finding.came];
            table.push(cells.map(Cell::text).to_vec());
        });
    }
    super::even_unread(common.print(&table))?;
    if cancel.is_cancelled() {
        return Ok(super::signals::interrupted_status());
    }
    if failed > 0 {
        return Err(Failure::Failed(format!("{failed} of {done} checks failed")));
    }
    say(&format!("all {done} checks passed"));
    Ok(ExitCode::SUCCESS)
}

/// Returns the profiles of a file, or the one with the given name.
fn profiles(common: &Common, given: &Path) -> Result<Vec<Arc<Profile>>, Failure> {
    let named = given.to_str().and_then(|name| profile::catalog().get(name).cloned());
    match named {
        Some(profile) if given.extension().is_none() => Ok(vec![profile]),
        _ => {
            if !common.trust_profiles {
                profile::check_trust(given).map_err(Failure::Failed)?;
            }
            let profiles = profile::load(given).map_err(Failure::failed)?;
            Ok(profiles.into_iter().map(Arc::new).collect())
        }
    }
}
