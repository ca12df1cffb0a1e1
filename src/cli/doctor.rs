//! `doctor`: what can be measured here, and the fix for what cannot.

use std::process::ExitCode;

use super::{Common, Outcome};
use crate::doctor;

/// Runs the command.
pub(super) fn run(common: &Common) -> Outcome {
    common.print(&doctor::table(&doctor::examine(&common.db_path())))?;
    Ok(ExitCode::SUCCESS)
}
