//! `doctor`: reports what can be measured here, and the fix for what cannot.

use std::process::ExitCode;

use super::{Common, Outcome};
use crate::doctor;

/// Runs the command.
pub(super) fn run(common: &Common) -> Outcome {
    let database = common.usual_or_named_database().map_err(|error| error.to_string());
    let database = database.as_deref().map_err(String::as_str);
    common.print(&doctor::table(&doctor::examine(database)))?;
    Ok(ExitCode::SUCCESS)
}
