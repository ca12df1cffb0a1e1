//! `doctor`: reports what can be measured here, and the fix for what cannot.

use std::process::ExitCode;

use super::{CommandOutcome, CommonOptions};
use crate::doctor;

/// Runs the command.
pub(super) fn run(common: &CommonOptions) -> CommandOutcome {
    let database = common.find_db_path().map_err(|error| error.to_string());
    let database = database.as_deref().map_err(String::as_str);
    common.print_table(&doctor::findings_table(&doctor::run_checks(database)))?;
    Ok(ExitCode::SUCCESS)
}
