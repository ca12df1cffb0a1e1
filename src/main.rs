//! Entry point: parses, dispatches, returns the exit code.

use std::process::ExitCode;

use cyclometer::cli;

fn main() -> ExitCode {
    // Worker processes are dispatched first, with nothing before them: their start-up is
    // measured.
    let begun = cyclometer::lane::monotonic_now();
    match cli::run_hidden(begun) {
        Some(code) => code,
        None => cli::run(),
    }
}
