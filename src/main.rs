//! Parse, dispatch, exit code.

use std::process::ExitCode;

use cyclometer::cli;

fn main() -> ExitCode {
    // Workers first, and nothing before them: their start is measured.
    let begun = cyclometer::lane::now();
    match cli::hidden(begun) {
        Some(code) => code,
        None => cli::run(),
    }
}
