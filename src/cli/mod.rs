//! The command line: one file a subcommand.

mod clean;
mod cpu_options;
mod doctor;
mod history;
mod import;
mod lanes;
mod live;
mod manual;
mod own_function;
mod paper;
mod pricing;
mod progress;
mod query;
mod reconcile;
mod record;
mod recording;
mod replay;
mod signals;
mod sweep;
mod tax;
mod trace_tables;
mod unfinished;
mod workloads;

pub use query::query_survives;

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::lane::wasmtime::settings::WasmtimeSettings;
use crate::lane::wasmtime::{engine, worker};
use crate::output::{self, text_output};
use crate::paths;
use crate::pricing::PriceCatalog;
use crate::profile::{self, ProfileCatalog};
use crate::record::Control;
use crate::report::{Format, Table, wrap_sentence};
use crate::store::{RetryPolicy, Store, StoreError, WriteNotice, default_path, is_writable};
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
  cyclometer record -- ./prog ARGS              your own program, module or image
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
    common: CommonOptions,
    #[command(subcommand)]
    command: Option<CliCommand>,
}

/// Variable with folders of workloads that are always there, separated by colons.
const WORKLOADS_VARIABLE: &str = "CYCLOMETER_WORKLOADS";

/// Heading of the global options, which stand after those of the subcommand.
const GLOBAL: &str = "Global options";

/// Options of every subcommand.
#[derive(Debug, clap::Args)]
struct CommonOptions {
    /// Form of the results
    #[arg(long, global = true, value_enum, default_value_t = Format::Table, help_heading = GLOBAL)]
    format: Format,
    /// Database file [default: cyclometer/cyclometer.db in the XDG data folder]
    #[arg(long, global = true, env = "CYCLOMETER_DB", hide_env_values = true,
        value_name = "FILE", help_heading = GLOBAL)]
    db: Option<PathBuf>,
    /// Folder of workloads to add, or of one workload; `record` then runs these unless --workload
    /// chooses by name; may be repeated; those of `CYCLOMETER_WORKLOADS` and of
    /// ~/.config/cyclometer/workloads are always there
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    workloads: Vec<PathBuf>,
    /// Folder of price models to add, or one file; choose them by id with --model; may be repeated
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    pricing: Vec<PathBuf>,
    /// Folder of runtime profiles to add, or one file; choose them by name with --lane; may be
    /// repeated
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
    /// Use runtime profiles even if other users own them or can write to them; profiles name
    /// programs that are run
    #[arg(long, global = true, help_heading = GLOBAL)]
    trust_profiles: bool,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Compare lanes live in the terminal (the default command)
    Live(Box<live::LiveOptions>),
    /// Run workloads in lanes, meter and store every invocation, and compare
    Record(record::RecordOptions),
    /// Import logs and traces of invocations that were measured elsewhere
    Import(Box<import::ImportOptions>),
    /// Price a recording's invocations with every price model
    Replay(replay::ReplayOptions),
    /// Hold what a provider billed against what a price model says, row by row
    Reconcile(reconcile::ReconcileOptions),
    /// List, show and check price models, and explain what they charge
    Pricing(pricing::PricingOptions),
    /// List, show, compare, label or delete recordings and simulations
    History(history::HistoryOptions),
    /// Query the database by SQL, or run a saved query
    Query(query::QueryOptions),
    /// Measure what metering itself costs: counters, samples, fuel, epochs
    Tax(tax::TaxOptions),
    /// Measure a function at several memory sizes, and find the cheapest, fastest and balanced one
    Sweep(Box<sweep::SweepOptions>),
    /// Repeat the measurements of Long et al. 2020 here, and check the paper's claims
    Paper(paper::PaperOptions),
    /// List the lanes that run here, and why others do not; check a runtime's profile
    Lanes(lanes::LanesOptions),
    /// List, begin, check or rebuild workloads
    Workloads(workloads::WorkloadsOptions),
    /// Report what can be measured here, and how to fix what cannot
    Doctor,
    /// List what cyclometer left on this machine, with sizes, and remove it
    Clean(clean::CleanOptions),
    /// Print what a shell needs to complete commands
    Completions(manual::CompletionOptions),
    /// Print the manual page, or write one for each command
    Man(manual::ManOptions),
}

/// Reason why a command failed; each has its own exit status.
#[derive(Debug)]
enum CommandFailure {
    /// Exit status 1: the message says what failed, why, and what to do.
    Failed(String),
    /// Exit status 2: a wrong argument.
    Usage(String),
    /// Nobody reads the output any more: its pipe is closed, or its terminal is gone.
    /// This is no failure of the command.
    Unread,
}

type CommandOutcome = Result<ExitCode, CommandFailure>;

impl CommandFailure {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    fn usage(error: impl std::fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<io::Error> for CommandFailure {
    fn from(error: io::Error) -> Self {
        let hung_up = error.raw_os_error() == Some(libc::EIO) && output::is_device_output();
        if error.kind() == io::ErrorKind::BrokenPipe || hung_up {
            Self::Unread
        } else {
            let error = sys::explain_file_size_limit(error);
            Self::Failed(format!("cannot write the output: {error}"))
        }
    }
}

/// Turns an unread output into success: the measurements are stored, and the exit status
/// is about them.
fn ignore_unread(printed: Result<(), CommandFailure>) -> Result<(), CommandFailure> {
    match printed {
        Err(CommandFailure::Unread) => Ok(()),
        other => other,
    }
}

/// Runs a hidden subcommand, if this process was started for one. `begun` is the time at
/// which the process started.
#[must_use]
pub fn run_hidden(begun: Nanos) -> Option<ExitCode> {
    let mut args = std::env::args().skip(1);
    let result = match args.next()?.as_str() {
        "__worker" => worker::run_worker(begun, &args.next()?),
        "__compile" => {
            let variant = args.next()?;
            match WasmtimeSettings::from_name(&variant) {
                Some(settings) => engine::compile_standard_input(settings),
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
    let Arguments { common, command } = match parse_arguments(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(error) => return refuse_arguments(&error),
    };
    sys::fail_at_file_size_limit();
    crate::descriptors::raise_soft_limit();
    let command = command.unwrap_or_else(|| CliCommand::Live(Box::default()));
    let result = crate::descriptors::check_least()
        .map_err(CommandFailure::Failed)
        .and_then(|()| common.install_runtimes())
        .and_then(|()| dispatch(&common, command));
    match result {
        Ok(code) => code,
        Err(CommandFailure::Unread) => ExitCode::SUCCESS,
        Err(CommandFailure::Failed(message)) => {
            say(&format!("error: {message}"));
            // A command that failed because it was interrupted while waiting exits with
            // the status of the signal.
            if signals::is_interrupted() {
                signals::interrupted_status()
            } else {
                ExitCode::from(1)
            }
        }
        Err(CommandFailure::Usage(message)) => {
            say(&format!("error: {message}\n"));
            say("For more information, try '--help'.");
            ExitCode::from(2)
        }
    }
}

/// Parses the arguments. `cyclometer fn.wasm`, `cyclometer --image me/fn` and
/// `cyclometer -- ./prog` name no subcommand: the live view is meant.
fn parse_arguments(words: Vec<OsString>) -> Result<Arguments, clap::Error> {
    let error = match Arguments::try_parse_from(&words) {
        Ok(arguments) => return Ok(arguments),
        Err(error) => error,
    };
    let is_form = |word: &OsString| {
        let text = word.to_string_lossy();
        let option = text.split('=').next().unwrap_or_default();
        matches!(option, "--" | "--image" | "--wasm" | "--native") || is_function_path(word)
    };
    let is_unknown =
        matches!(error.kind(), ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument);
    let names_subcommand = words.iter().skip(1).any(|word| {
        let word = word.to_string_lossy();
        Arguments::command().get_subcommands().any(|it| it.get_name() == word)
    });
    if !is_unknown || names_subcommand || !words.iter().skip(1).any(is_form) {
        return Err(error);
    }
    let mut with_live = words;
    with_live.insert(1, "live".into());
    Arguments::try_parse_from(with_live)
}

/// Returns whether a word names a file that is there, or a module: a typing error of a subcommand
/// does neither.
fn is_function_path(word: &OsString) -> bool {
    let path = Path::new(word);
    let is_module = path.extension().is_some_and(|it| it == "wasm" || it == "wat");
    is_module || (word.as_encoded_bytes().contains(&b'/') && path.exists())
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
    let is_word = |text: &String| !text.starts_with('-');
    let word = match error.get(clap::error::ContextKind::InvalidArg) {
        Some(clap::error::ContextValue::String(text)) => Some(text).filter(|text| is_word(text)),
        _ => None,
    };
    if error.kind() == ErrorKind::UnknownArgument && word.is_some() {
        say("arguments of a function of your own follow `--`: cyclometer record ./prog -- ARG");
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn dispatch(common: &CommonOptions, command: CliCommand) -> CommandOutcome {
    match command {
        CliCommand::Live(options) => live::run(common, &options),
        CliCommand::Record(options) => record::run(common, &options),
        CliCommand::Import(options) => import::run(common, &options),
        CliCommand::Replay(options) => replay::run(common, &options),
        CliCommand::Reconcile(options) => reconcile::run(common, &options),
        CliCommand::Pricing(options) => pricing::run(common, &options),
        CliCommand::History(options) => history::run(common, &options),
        CliCommand::Query(options) => query::run(common, &options),
        CliCommand::Tax(options) => tax::run(common, &options),
        CliCommand::Sweep(options) => sweep::run(common, &options),
        CliCommand::Paper(options) => paper::run(common, &options),
        CliCommand::Lanes(options) => lanes::run(common, &options),
        CliCommand::Workloads(options) => workloads::run(common, &options),
        CliCommand::Doctor => doctor::run(common),
        CliCommand::Clean(options) => clean::run(common, &options),
        CliCommand::Completions(options) => manual::print_completions(&options),
        CliCommand::Man(options) => manual::print_manual(&options),
    }
}

/// Reports that the database accepts no rows for now, and when it does again.
fn say_database_notice(notice: WriteNotice) {
    progress::say_beside_bar(&match notice {
        WriteNotice::Waiting(reason) => format!(
            "waiting for the database: {reason}; nothing is lost meanwhile, Ctrl-C gives up"
        ),
        WriteNotice::Resumed(after) => {
            let after = Nanos(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
            format!("the database takes rows again, after {after}: going on")
        }
        WriteNotice::Remark(remark) => format!("note: {remark}"),
    });
}

/// Writes a message to standard error.
fn say(message: &str) {
    output::write_message(message);
}

/// Removes leftovers of killed processes before functions are run.
fn sweep_leftovers() {
    crate::clean::sweep_leftovers(&mut |note| say(&format!("note: {note}")));
}

impl CommonOptions {
    fn workload_catalog(&self) -> Result<Catalog, CommandFailure> {
        self.load_workloads().map(|(catalog, _)| catalog)
    }

    /// Returns the built-in workloads, those in the config folder, those of the environment and
    /// those of `--workloads`, of which later ones replace earlier ones; and the names of the
    /// last.
    fn load_workloads(&self) -> Result<(Catalog, Vec<String>), CommandFailure> {
        let mut catalog = Catalog::load_builtin().map_err(CommandFailure::failed)?;
        let always = std::env::var_os(WORKLOADS_VARIABLE).unwrap_or_default();
        let always = std::env::split_paths(&always).filter(|path| !path.as_os_str().is_empty());
        let own = own_config("workloads").filter(|folder| folder.is_dir());
        for folder in own.into_iter().chain(always) {
            // What is always there must not keep other commands from running.
            if let Err(error) = catalog.add_folder(&folder) {
                say(&format!("note: {error} (left out)"));
            }
        }
        let mut added = Vec::new();
        for folder in &self.workloads {
            added.extend(catalog.add_folder(folder).map_err(|error| {
                let known = |name: &str| catalog.get(name).is_ok();
                CommandFailure::Usage(name_hint(error, folder, "workload", "--workload", known))
            })?);
        }
        for notice in catalog.notices() {
            say(&format!("note: {notice}"));
        }
        Ok((catalog, added))
    }

    /// Returns the built-in price models, those in the config folder, and those of
    /// `--pricing`; later ones replace earlier ones.
    fn price_catalog(&self) -> Result<PriceCatalog, CommandFailure> {
        let mut catalog = PriceCatalog::with_builtin_models();
        if let Some(folder) = own_config("pricing").filter(|folder| folder.is_dir()) {
            catalog.add_own(&folder).map_err(CommandFailure::failed)?;
        }
        for folder in &self.pricing {
            catalog.add_path(folder).map_err(|error| {
                let known = |id: &str| catalog.find_model(id).is_ok();
                CommandFailure::Usage(name_hint(error, folder, "price model", "--model", known))
            })?;
        }
        for notice in catalog.replacement_notices() {
            say(&format!("note: {notice}"));
        }
        Ok(catalog)
    }

    /// Adds the profiles in the config folder and those of `--runtimes` to the built-in
    /// ones; later ones replace earlier ones.
    fn install_runtimes(&self) -> Result<(), CommandFailure> {
        let own = paths::config_folder().map(|folder| folder.join("runtimes"));
        let own = own.filter(|folder| folder.is_dir());
        if own.is_none() && self.runtimes.is_empty() {
            return Ok(());
        }
        let mut catalog = ProfileCatalog::builtin();
        if let Some(folder) = own.filter(|folder| self.is_trusted(folder)) {
            catalog.add_user_folder(&folder).map_err(CommandFailure::failed)?;
        }
        let given = self.runtimes.iter().filter(|path| !path.as_os_str().is_empty());
        for folder in given.filter(|path| self.is_trusted(path)) {
            catalog.add_path(folder).map_err(|error| {
                let known = |name: &str| name.parse::<crate::lane::LaneSpec>().is_ok();
                CommandFailure::Usage(name_hint(error, folder, "lane", "--lane", known))
            })?;
        }
        for notice in catalog.notices() {
            say(&format!("note: {notice}"));
        }
        profile::install_catalog(catalog);
        Ok(())
    }

    /// Returns whether the profiles in `profiles` may be run; reports why not.
    fn is_trusted(&self, profiles: &Path) -> bool {
        match profile::check_trust(profiles) {
            Err(reason) if !self.trust_profiles => {
                let place = profiles.display();
                say(&format!("note: the profiles of {place} are left out: {reason}"));
                false
            }
            _ => true,
        }
    }

    fn find_db_path(&self) -> Result<PathBuf, StoreError> {
        // An empty path would be a temporary database that vanishes at the end.
        let named = self.db.clone().filter(|path| !path.as_os_str().is_empty());
        named.map_or_else(default_path, Ok)
    }

    fn db_path(&self) -> Result<PathBuf, CommandFailure> {
        self.find_db_path().map_err(CommandFailure::failed)
    }

    /// Opens the database, marks interrupted recordings, and removes their leftovers.
    /// Waits while the database is locked, now and later.
    fn open_store(&self) -> Result<Store, CommandFailure> {
        // No signal handler is installed yet: signals end the program.
        self.open_store_until(Control::default())
    }

    /// Opens the database like [`Self::open_store`], but stops waiting when `control` is
    /// cancelled.
    fn open_store_until(&self, control: impl Into<Control>) -> Result<Store, CommandFailure> {
        let patience = RetryPolicy::for_locks(Box::new(say_database_notice), control);
        let mut note = |note| say(&format!("note: {note}"));
        let opened = Store::open_recovered_with_retry(&self.db_path()?, patience, &mut note);
        opened.map(sweep_if_cut_off).map_err(CommandFailure::failed)
    }

    /// Opens the database for reading. If it is writable, interrupted recordings are
    /// marked and their leftovers removed.
    fn open_for_reading(&self) -> Result<Store, CommandFailure> {
        let mut note = |note| say(&format!("note: {note}"));
        let opened = Store::open_to_read(&self.db_path()?, &mut note);
        opened.map(sweep_if_cut_off).map_err(CommandFailure::failed)
    }

    /// Opens the database for reading, and for storing results if it is writable.
    fn open_for_results(&self) -> Result<Store, CommandFailure> {
        let path = self.db_path()?;
        if path.exists() && is_writable(&path) {
            self.open_store()
        } else {
            self.open_for_reading()
        }
    }

    /// Opens the database for changes, without creating it if it does not exist.
    fn open_existing(&self) -> Result<Store, CommandFailure> {
        if self.db_path()?.exists() { self.open_store() } else { self.open_for_reading() }
    }

    /// Prints sentences below a table; as a list in Markdown.
    fn print_lines(&self, lines: &[String]) -> Result<(), CommandFailure> {
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

    fn print_table(&self, table: &Table) -> Result<(), CommandFailure> {
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
) -> CommandFailure {
    let [names, paths] = options;
    let path = Path::new(given);
    let is_path = given.contains(std::path::MAIN_SEPARATOR)
        || given == "."
        || path.is_dir()
        || (path.extension().is_some() && path.exists());
    if !is_path {
        return CommandFailure::usage(error);
    }
    let name = path.file_stem().map_or("NAME".into(), std::ffi::OsStr::to_string_lossy);
    CommandFailure::Usage(format!(
        "`{given}` is a path, and {names} takes the name of a {what}: write `{paths} {given}` to \
         add what is there, and `{names} {name}` to choose it"
    ))
}

/// Finds a workload by name.
fn find_workload<'a>(
    catalog: &'a Catalog,
    name: &str,
) -> Result<&'a std::sync::Arc<crate::workload::Workload>, CommandFailure> {
    catalog
        .get(name)
        .map_err(|error| path_hint(error, name, "workload", ["--workload", "--workloads"]))
}

/// Returns the file or folder with that name in the user's configuration, if it exists. A
/// profile is a command that is run, and prices are trusted: files that others own or can
/// write are not read, which is reported.
fn own_config(name: &str) -> Option<PathBuf> {
    let path = paths::config_folder()?.join(name);
    if path.symlink_metadata().is_err() {
        return None;
    }
    match paths::check_content_trust(&path) {
        Ok(()) => Some(path),
        Err(reason) => {
            say(&format!("note: {} is not read: {reason}", path.display()));
            None
        }
    }
}

/// Removes the leftovers of interrupted recordings after a database was opened.
fn sweep_if_cut_off((store, was_cut_off): (Store, bool)) -> Store {
    if was_cut_off {
        sweep_leftovers();
    }
    store
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_function_without_a_subcommand_is_for_the_live_view() {
        let parse = |words: &[&str]| {
            let words = ["cyclometer"].iter().chain(words).map(OsString::from);
            parse_arguments(words.collect()).map(|it| it.command)
        };
        for words in [
            &["fn.wasm"][..],
            &["fn.wat", "--", "1"],
            &["--image", "me/fn"],
            &["--image=me/fn", "--", "1"],
            &["--", "sh", "-c", "true"],
            &["--db", "/tmp/x", "fn.wasm"],
            &["/bin/sh"],
        ] {
            assert!(matches!(parse(words), Ok(Some(CliCommand::Live(_)))), "{words:?}");
        }
        assert!(matches!(parse(&[]), Ok(None)));
        assert!(matches!(parse(&["record", "fn.wasm"]), Ok(Some(CliCommand::Record(_)))));
        for words in [&["recrod"][..], &["recrod", "fn"], &["record", "--no-such", "fn.wasm"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
        let typo = parse(&["recrod"]).expect_err("refused").to_string();
        assert!(typo.contains("record"), "{typo}");
    }
}
