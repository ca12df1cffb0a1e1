//! `completions` and `man`: shell completions and manual pages of the command line.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Arguments, CommandFailure, CommandOutcome, say};
use crate::files::{Bound, FileError, Folder, LinkPolicy, PrivateFolder, display_path};
use crate::output::text_output;

/// Size limit of a manual page, which this program generates itself.
const PAGE: Bound = Bound::new("a manual page", 16 << 20);

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

/// Prints the completions for a shell.
pub(super) fn print_completions(options: &CompletionOptions) -> CommandOutcome {
    // Generated into memory first: the generator panics if the output is closed.
    let mut text = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(options.shell, &mut command, "cyclometer", &mut text);
    text_output().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page, or writes all of them.
pub(super) fn print_manual(options: &ManOptions) -> CommandOutcome {
    let Some(folder) = &options.into else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
        text_output().write_all(&page)?;
        return Ok(ExitCode::SUCCESS);
    };
    write_pages(folder).map_err(|error| {
        CommandFailure::Failed(format!(
            "cannot write manual pages into {}: {error}; name a folder that can be written",
            display_path(folder)
        ))
    })?;
    say(&format!("manual pages are in {}", display_path(folder)));
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for each command. The generator follows links, so it writes to a private
/// folder first.
fn write_pages(folder: &Path) -> Result<(), FileError> {
    std::fs::create_dir_all(folder)?;
    let folder = Folder::open(folder, LinkPolicy::Anywhere)?;
    let scratch = PrivateFolder::new("manual")?;
    clap_mangen::generate_to(Arguments::command(), scratch.path())?;
    let pages = Folder::open(scratch.path(), LinkPolicy::Beneath)?;
    for name in pages.entry_names()? {
        let page = pages.read_file(Path::new(&name), PAGE)?;
        folder.replace_file(Path::new(&name), &page, 0o666)?;
    }
    Ok(())
}
