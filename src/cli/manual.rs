//! `completions` and `man`: what shells and manuals know of the command line.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Arguments, Failure, Outcome, say};
use crate::output::text_output;

/// Options of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer completions bash > ~/.local/share/bash-completion/completions/cyclometer
  cyclometer completions zsh > ~/.zfunc/_cyclometer
  cyclometer completions fish > ~/.config/fish/completions/cyclometer.fish")]
pub(super) struct CompletionOptions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Options of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer man | man -l -
  cyclometer man --into ~/.local/share/man/man1")]
pub(super) struct ManOptions {
    /// Write a page for each command into this folder instead
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

/// Prints what the shell needs.
pub(super) fn completions(options: &CompletionOptions) -> Outcome {
    // Into memory first: the generator panics where nobody reads.
    let mut text = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(options.shell, &mut command, "cyclometer", &mut text);
    text_output().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page, or writes all of them.
pub(super) fn man(options: &ManOptions) -> Outcome {
    let Some(folder) = &options.into else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
        text_output().write_all(&page)?;
        return Ok(ExitCode::SUCCESS);
    };
    let failed = |error| {
        Failure::Failed(format!(
            "cannot write manual pages into {}: {error}; name a folder that can be written",
            folder.display()
        ))
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), folder).map_err(failed)?;
    say(&format!("manual pages are in {}", folder.display()));
    Ok(ExitCode::SUCCESS)
}
