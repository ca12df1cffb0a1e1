//! `lanes`: what runs here, and why the rest does not.

use std::process::ExitCode;

use super::{Common, Failure, Outcome};
use crate::doctor;
use crate::meter::procfs::ProcessIdentity;

/// Runs the command.
pub(super) fn run(common: &Common) -> Outcome {
    let owner = ProcessIdentity::current().map_err(Failure::failed)?;
    let lanes = doctor::lanes().iter().map(|spec| doctor::try_lane(spec, &owner)).collect();
    common.print(&doctor::lane_table(lanes))?;
    Ok(ExitCode::SUCCESS)
}
