//! The command line: one file a subcommand.

mod clean;
mod doctor;
mod history;
mod lanes;
mod live;
mod manual;
mod paper;
mod pricing;
mod progress;
mod query;
mod record;
mod replay;
mod signals;
mod tax;
mod workloads;

pub use query::query_survives;

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::lane::wasmtime::settings::Settings;
use crate::lane::wasmtime::{engine, worker};
use crate::output::{self, text_output};
use crate::paths;
use crate::pricing::PriceCatalog;
use crate::profile::{self, ProfileCatalog};
use crate::record::Control;
use crate::report::{Format, Table, wrap_sentence};
use crate::store::{Notice, Patience, Store, StoreError, default_path, is_writable};
use crate::sys;
use crate::units::Nanos;
use crate::visible_text::{escape_lines, escape_markdown};
use crate::workload::Catalog;

/// Run a function as WebAssembly, in Docker and as a plain process; meter every
/// invocation; keep it in a database; and see what coarse and fine prices charge.
#[derive(Debug, Parser)]
#[command(
    name = "cyclometer",
    version,
    after_help = "Examples:
  cyclometer                                   the live view, recording at once
  cyclometer record                            the same comparison without a terminal
  cyclometer record --workload nbody --runs 30 one workload, thirty runs a lane
  cyclometer replay latest                     what it costs, coarse beside fine
  cyclometer doctor                            what can be measured here, and fixes

Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but some lane or invocation
failed, 4 a gate is not met; 128 and the number of the signal that stopped it:
130 Ctrl-C, 143 SIGTERM, 129 the terminal is gone (SIGHUP). In the live view q and
ctrl-c are keys that leave it, with 0."
)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Heading of the global options, which stand after those of the subcommand.
const GLOBAL: &str = "Global options";

/// Options of every subcommand.
#[derive(Debug, clap::Args)]
struct Common {
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Table, help_heading = GLOBAL)]
    format: Format,
    /// Database file [default: cyclometer/cyclometer.db in the XDG data folder]
    #[arg(long, global = true, env = "CYCLOMETER_DB", hide_env_values = true,
        value_name = "FILE", help_heading = GLOBAL)]
    db: Option<PathBuf>,
    /// Folder with workloads of your own, or with one; --workload then chooses
    /// them by name; may be repeated
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    workloads: Vec<PathBuf>,
    /// Folder with price models of your own, or a file; --model then chooses
    /// them by id; may be repeated
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    pricing: Vec<PathBuf>,
    /// Folder with runtime profiles of your own, or a file; --lane then chooses
    /// them by name; may be repeated
    #[arg(
        long,
        global = true,
        env = "CYCLOMETER_RUNTIMES",
        hide_env_values = true,
        value_name = "DIR",
        value_delimiter = ':',
        help_heading = GLOBAL
    )]
    runtimes: Vec<PathBuf>,
    /// Use runtime profiles even if others own or can write them: they name
    /// programs that are run
    #[arg(long, global = true, help_heading = GLOBAL)]
    trust_profiles: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare lanes live in the terminal; what bare `cyclometer` does
    Live(Box<live::Options>),
    /// Run workloads in lanes, meter and store every invocation, and compare
    Record(record::Options),
    /// Price a recording's invocations with every price model
    Replay(replay::Options),
    /// List, show and check price models, and explain what they charge
    Pricing(pricing::Options),
    /// List, show, compare, name or delete recordings and simulations
    History(history::Options),
    /// Query the database by SQL, or run a saved query
    Query(query::Options),
    /// Measure what metering itself costs: counters, samples, fuel, epochs
    Tax(tax::Options),
    /// Make the paper's tables again here, and check its claims
    Paper(paper::Options),
    /// Show which lanes run here, and why others do not; check a runtime's profile
    Lanes(lanes::Options),
    /// List, check or rebuild workloads
    Workloads(workloads::Options),
    /// Show what can be measured here, with the fix for what cannot
    Doctor,
    /// List what this program has left here, with sizes, and remove it
    Clean(clean::Options),
    /// Print what a shell needs to complete commands
    Completions(manual::CompletionOptions),
    /// Print the manual page, or write one for each command
    Man(manual::ManOptions),
}

/// Reason why a command failed; each has its own exit status.
#[derive(Debug)]
enum Failure {
    /// Exit status 1: the message says what failed, why, and what to do.
    Failed(String),
    /// Exit status 2: a wrong argument.
    Usage(String),
    /// Nobody reads the output any more: its pipe is closed, or its terminal is gone.
    /// This is no failure of the command.
    Unread,
}

type Outcome = Result<ExitCode, Failure>;

impl Failure {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    fn usage(error: impl std::fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let hung_up = error.raw_os_error() == Some(libc::EIO) && output::is_device_output();
        if error.kind() == io::ErrorKind::BrokenPipe || hung_up {
            Self::Unread
        } else {
            let error = sys::name_file_size_limit(error);
            Self::Failed(format!("cannot write the output: {error}"))
        }
    }
}

/// Turns an unread output into success: the measurements are stored, and the exit status
/// is about them.
fn even_unread(printed: Result<(), Failure>) -> Result<(), Failure> {
    match printed {
        Err(Failure::Unread) => Ok(()),
        other => other,
    }
}

/// Runs a hidden subcommand, if this process was started for one. `begun` is the time at
/// which the process started.
#[must_use]
pub fn hidden(begun: Nanos) -> Option<ExitCode> {
    let mut args = std::env::args().skip(1);
    let result = match args.next()?.as_str() {
        "__worker" => worker::run(begun, &args.next()?),
        "__compile" => {
            let variant = args.next()?;
            match Settings::named(&variant) {
                Some(settings) => engine::compile(settings),
                None => Err(format!("no variant `{variant}`")),
            }
        }
        _ => return None,
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say(&message);
            ExitCode::FAILURE
        }
    })
}

/// Parses the arguments and runs the command.
#[must_use]
pub fn run() -> ExitCode {
    let Arguments { common, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse_arguments(&error),
    };
    sys::fail_at_file_size_limit();
    crate::descriptors::raise();
    let command = command.unwrap_or_else(|| Command::Live(Box::default()));
    let result = crate::descriptors::check_least()
        .map_err(Failure::Failed)
        .and_then(|()| common.install_runtimes())
        .and_then(|()| dispatch(&common, command));
    match result {
        Ok(code) => code,
        Err(Failure::Unread) => ExitCode::SUCCESS,
        Err(Failure::Failed(message)) => {
            say(&format!("error: {message}"));
            // A command that failed because it was interrupted while waiting exits with
            // the status of the signal.
            if signals::is_interrupted() {
                signals::interrupted_status()
            } else {
                ExitCode::from(1)
            }
        }
        Err(Failure::Usage(message)) => {
            say(&format!("error: {message}\n"));
            say("For more information, try '--help'.");
            ExitCode::from(2)
        }
    }
}

/// Prints help, the version, or an error in the arguments. A repeated argument must not
/// reach the terminal unescaped; if there is nothing to escape, the library prints the
/// text, with colours.
fn refuse_arguments(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    match escape_lines(&text) {
        Cow::Borrowed(_) => drop(error.print()),
        Cow::Owned(visible) => say(visible.trim_end()),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn dispatch(common: &Common, command: Command) -> Outcome {
    match command {
        Command::Live(options) => live::run(common, &options),
        Command::Record(options) => record::run(common, &options),
        Command::Replay(options) => replay::run(common, &options),
        Command::Pricing(options) => pricing::run(common, &options),
        Command::History(options) => history::run(common, &options),
        Command::Query(options) => query::run(common, &options),
        Command::Tax(options) => tax::run(common, &options),
        Command::Paper(options) => paper::run(common, &options),
        Command::Lanes(options) => lanes::run(common, &options),
        Command::Workloads(options) => workloads::run(common, &options),
        Command::Doctor => doctor::run(common),
        Command::Clean(options) => clean::run(common, &options),
        Command::Completions(options) => manual::completions(&options),
        Command::Man(options) => manual::man(&options),
    }
}

/// Reports that the database accepts no rows for now, and when it does again.
fn tell_of_the_database(notice: Notice) {
    progress::say_beside_bar(&match notice {
        Notice::Waits(reason) => format!(
            "waiting for the database: {reason}; nothing is lost meanwhile, Ctrl-C gives up"
        ),
        Notice::GoesOn(after) => {
            let after = Nanos(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
            format!("the database takes rows again, after {after}: going on")
        }
        Notice::Remark(remark) => format!("note: {remark}"),
    });
}

/// Writes a message to standard error.
fn say(message: &str) {
    output::write_message(message);
}

/// Removes leftovers of killed processes before functions are run.
fn sweep() {
    crate::clean::sweep(&mut |note| say(&format!("note: {note}")));
}

impl Common {
    fn catalog(&self) -> Result<Catalog, Failure> {
        let mut catalog = Catalog::builtin().map_err(Failure::failed)?;
        for folder in &self.workloads {
            catalog.add_folder(folder).map_err(|error| {
                let known = |name: &str| catalog.get(name).is_ok();
                Failure::Usage(name_hint(error, folder, "workload", "--workload", known))
            })?;
        }
        for notice in catalog.notices() {
            say(&format!("note: {notice}"));
        }
        Ok(catalog)
    }

    /// Returns the built-in price models, those in the config folder, and those of
    /// `--pricing`; later ones replace earlier ones.
    fn price_catalog(&self) -> Result<PriceCatalog, Failure> {
        let mut catalog = PriceCatalog::builtin();
        if let Some(folder) = own_config("pricing").filter(|folder| folder.is_dir()) {
            catalog.add_own(&folder).map_err(Failure::failed)?;
        }
        for folder in &self.pricing {
            catalog.add(folder).map_err(|error| {
                let known = |id: &str| catalog.find(id).is_ok();
                Failure::Usage(name_hint(error, folder, "price model", "--model", known))
            })?;
        }
        for notice in catalog.notices() {
            say(&format!("note: {notice}"));
        }
        Ok(catalog)
    }

    /// Adds the profiles in the config folder and those of `--runtimes` to the built-in
    /// ones; later ones replace earlier ones.
    fn install_runtimes(&self) -> Result<(), Failure> {
        let own = paths::config().map(|folder| folder.join("runtimes"));
        let own = own.filter(|folder| folder.is_dir());
        if own.is_none() && self.runtimes.is_empty() {
            return Ok(());
        }
        let mut catalog = ProfileCatalog::builtin();
        if let Some(folder) = own.filter(|folder| self.trusts(folder)) {
            catalog.add_own(&folder).map_err(Failure::failed)?;
        }
        let given = self.runtimes.iter().filter(|path| !path.as_os_str().is_empty());
        for folder in given.filter(|path| self.trusts(path)) {
            catalog.add(folder).map_err(|error| {
                let known = |name: &str| name.parse::<crate::lane::LaneSpec>().is_ok();
                Failure::Usage(name_hint(error, folder, "lane", "--lane", known))
            })?;
        }
        for notice in catalog.notices() {
            say(&format!("note: {notice}"));
        }
        profile::install(catalog);
        Ok(())
    }

    /// Returns whether the profiles in `profiles` may be run; reports why not.
    fn trusts(&self, profiles: &Path) -> bool {
        match profile::check_trust(profiles) {
            Err(reason) if !self.trust_profiles => {
                let place = profiles.display();
                say(&format!("note: the profiles of {place} are left out: {reason}"));
                false
            }
            _ => true,
        }
    }

    fn usual_or_named_database(&self) -> Result<PathBuf, StoreError> {
        // An empty path would be a temporary database that vanishes at the end.
        let named = self.db.clone().filter(|path| !path.as_os_str().is_empty());
        named.map_or_else(default_path, Ok)
    }

    fn db_path(&self) -> Result<PathBuf, Failure> {
        self.usual_or_named_database().map_err(Failure::failed)
    }

    /// Opens the database, marks interrupted recordings, and removes their leftovers.
    /// Waits while the database is locked, now and later.
    fn store(&self) -> Result<Store, Failure> {
        // No signal handler is installed yet: signals end the program.
        self.store_until(Control::default())
    }

    /// Opens the database like [`Self::store`], but stops waiting when `control` is
    /// cancelled.
    fn store_until(&self, control: impl Into<Control>) -> Result<Store, Failure> {
        let patience = Patience::for_locks(Box::new(tell_of_the_database), control);
        let mut note = |note| say(&format!("note: {note}"));
        let opened = Store::open_recovered_patiently(&self.db_path()?, patience, &mut note);
        opened.map(swept).map_err(Failure::failed)
    }

    /// Opens the database for reading. If it is writable, interrupted recordings are
    /// marked and their leftovers removed.
    fn reading(&self) -> Result<Store, Failure> {
        let mut note = |note| say(&format!("note: {note}"));
        let opened = Store::open_to_read(&self.db_path()?, &mut note);
        opened.map(swept).map_err(Failure::failed)
    }

    /// Opens the database for reading, and for storing results if it is writable.
    fn reading_to_keep(&self) -> Result<Store, Failure> {
        let path = self.db_path()?;
        if path.exists() && is_writable(&path) { self.store() } else { self.reading() }
    }

    /// Opens the database for changes, without creating it if it does not exist.
    fn existing(&self) -> Result<Store, Failure> {
        if self.db_path()?.exists() { self.store() } else { self.reading() }
    }

    /// Prints sentences below a table; as a list in Markdown.
    fn print_lines(&self, lines: &[String]) -> Result<(), Failure> {
        let mut out = text_output();
        if self.format == Format::Markdown && !lines.is_empty() {
            writeln!(out)?;
        }
        for line in lines {
            match self.format {
                Format::Markdown => writeln!(out, "- {}", escape_markdown(line))?,
                _ => writeln!(out, "{}", wrap_sentence(line))?,
            }
        }
        out.flush()?;
        Ok(())
    }

    fn print(&self, table: &Table) -> Result<(), Failure> {
        let mut out = text_output();
        table.print(self.format, &mut out)?;
        out.flush()?;
        Ok(())
    }
}

/// Explains an option that takes folders but was given names, which another option takes;
/// otherwise returns `error`.
fn name_hint(
    error: impl std::fmt::Display,
    given: &Path,
    what: &str,
    option: &str,
    known: impl Fn(&str) -> bool,
) -> String {
    let text = given.to_str().unwrap_or_default();
    match text.split(',').find(|name| known(name)) {
        Some(name) if !given.exists() => format!(
            "`{name}` is the name of a {what}, and there is no folder or file `{text}`: write \
             `{option} {text}`"
        ),
        _ => error.to_string(),
    }
}

/// Explains an option that takes names but was given a path, which another option takes;
/// otherwise returns `error`.
fn path_hint(
    error: impl std::fmt::Display,
    given: &str,
    what: &str,
    options: [&str; 2],
) -> Failure {
    let [names, paths] = options;
    let path = Path::new(given);
    let is_path = given.contains(std::path::MAIN_SEPARATOR)
        || given == "."
        || path.is_dir()
        || (path.extension().is_some() && path.exists());
    if !is_path {
        return Failure::usage(error);
    }
    let name = path.file_stem().map_or("NAME".into(), std::ffi::OsStr::to_string_lossy);
    Failure::Usage(format!(
        "`{given}` is a path, and {names} takes the name of a {what}: write `{paths} {given}` to \
         add what is there, and `{names} {name}` to choose it"
    ))
}

/// Finds a workload by name.
fn find_workload<'a>(
    catalog: &'a Catalog,
    name: &str,
) -> Result<&'a std::sync::Arc<crate::workload::Workload>, Failure> {
    catalog
        .get(name)
        .map_err(|error| path_hint(error, name, "workload", ["--workload", "--workloads"]))
}

/// Returns the file or folder with that name in the user's configuration, if it exists. A
/// profile is a command that is run, and prices are trusted: files that others own or can
/// write are not read, which is reported.
fn own_config(name: &str) -> Option<PathBuf> {
    let path = paths::config()?.join(name);
    if path.symlink_metadata().is_err() {
        return None;
    }
    match paths::examine_content(&path) {
        Ok(()) => Some(path),
        Err(reason) => {
            say(&format!("note: {} is not read: {reason}", path.display()));
            None
        }
    }
}

/// Removes the leftovers of interrupted recordings after a database was opened.
fn swept((store, was_cut_off): (Store, bool)) -> Store {
    if was_cut_off {
        sweep();
    }
    store
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
