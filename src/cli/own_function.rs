//! Options that name a function of the user's own: its forms, what it is given, and the rules
//! of its sandbox that are loosened.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{CommandFailure, CommonOptions, say};
use crate::files::{Bound, display_path, read_user_file};
use crate::lane::{Cancel, LaneError, LaneSpec, docker};
use crate::workload::own_function::{FileForm, OwnFunction, detect_form, find_in_path};
use crate::workload::preset_values::{
    SharedFolderText, check_arguments, check_export_name, check_folders, check_guest_path,
    check_variables,
};
use crate::workload::{
    Catalog, EnvironmentVariable, FunctionInput, Preset, SandboxRules, SharedFolder, Workload,
    find_common_preset,
};

/// Heading of the options in the help.
const HEADING: &str = "Your own function";

/// Heading of the options that loosen rules.
const RULES: &str = "Rules of the sandbox, strict unless loosened";

/// Size limit of a function's standard input, which is kept in memory.
const INPUT: Bound = Bound::new("an input", 1 << 30);

/// Options that name a function of the user's own.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct FunctionOptions {
    /// Function to run: a WebAssembly module or component (.wasm, .wat), a program or script, or
    /// a folder with a workload.toml
    #[arg(value_name = "FILE", help_heading = HEADING)]
    file: Option<PathBuf>,
    /// Arguments of the function; without another form, the program to run and its arguments
    #[arg(last = true, value_name = "PROGRAM|ARG", help_heading = HEADING)]
    words: Vec<OsString>,
    /// Program or script that is the function as a plain process
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    native: Option<OsString>,
    /// WebAssembly module or component that is the function
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    wasm: Option<PathBuf>,
    /// Container image that is the function, with its own entrypoint, user and environment; the
    /// engine must have it
    #[arg(long, value_name = "IMAGE", help_heading = HEADING)]
    image: Option<String>,
    /// Pull the image if the engine does not have it
    #[arg(long, requires = "image", help_heading = HEADING)]
    pull: bool,
    /// Call this export of the module with these parameters: --invoke add 2 3; further ones, such
    /// as -inf, follow `--`
    #[arg(long, num_args = 1.., value_name = "EXPORT", allow_negative_numbers = true,
        help_heading = HEADING)]
    invoke: Vec<String>,
    /// Name of the function in the recording [default: that of its file]
    #[arg(long = "name", value_name = "TEXT", help_heading = HEADING)]
    name: Option<String>,
    /// Content of the function's standard input; `-` is that of this command
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    stdin: Option<PathBuf>,
    /// Variable of the function's environment; without a value, that of this command; may be
    /// repeated
    #[arg(long, value_name = "NAME=VALUE", help_heading = HEADING)]
    env: Vec<String>,
    /// Folder that the function sees, at the same path or another, `ro` for reading only; may be
    /// repeated
    #[arg(long, value_name = "HOST[:GUEST][:ro]", help_heading = HEADING)]
    dir: Vec<String>,
    /// Folder in which the function starts [default: this one for programs, else the image's or /]
    #[arg(long, value_name = "PATH", help_heading = HEADING)]
    workdir: Option<String>,
    /// Exit code of a success
    #[arg(long, default_value_t = 0, value_name = "CODE", help_heading = HEADING)]
    expected_exit: u8,
    #[command(flatten)]
    rules: RuleOptions,
}

/// Options that loosen rules of the sandbox. The recording keeps them.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct RuleOptions {
    /// Let functions reach the network
    #[arg(long, help_heading = RULES)]
    network: bool,
    /// Let functions write to the root file system of their containers
    #[arg(long, help_heading = RULES)]
    writable: bool,
    /// User of functions in containers, in place of the image's: USER[:GROUP], names or numbers
    #[arg(long, value_parser = user_name, value_name = "USER", help_heading = RULES)]
    user: Option<String>,
}

/// Parses a user with an optional group.
fn user_name(text: &str) -> Result<String, String> {
    let fits = |part: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        !part.is_empty() && part.len() <= 64 && part.chars().all(known) && !part.starts_with('-')
    };
    if text.split(':').count() <= 2 && text.split(':').all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!("`{}` is not USER[:GROUP], by names or numbers", text.escape_debug()))
}

impl RuleOptions {
    /// Returns the rules of the sandbox.
    pub(super) fn to_rules(&self) -> SandboxRules {
        let Self { network, writable, user } = self.clone();
        SandboxRules { network, writable, user }
    }
}

/// Function that options name, and the lanes of a command that names none.
pub(super) struct NamedFunction {
    /// Names of the workloads to run.
    pub workloads: Vec<String>,
    /// Lanes that run the forms that were named; `None`: the usual ones.
    pub lanes: Option<Vec<LaneSpec>>,
}

impl FunctionOptions {
    /// Returns the rules of the sandbox.
    pub(super) fn to_rules(&self) -> SandboxRules {
        self.rules.to_rules()
    }

    /// Adds the function to `catalog`, with a preset of that name, and returns its name; `None`
    /// if the options name no function.
    pub(super) fn add_to_catalog(
        &self,
        catalog: &mut Catalog,
        preset: &str,
    ) -> Result<Option<NamedFunction>, CommandFailure> {
        let (function, args) = self.choose_forms()?;
        if let Some(folder) = self.file.as_deref().filter(|path| path.is_dir()) {
            return self.add_folder(catalog, folder, &function).map(Some);
        }
        if function.is_empty() {
            return self.refuse_orphans().map(|()| None);
        }
        let preset = self.build_preset(preset, args)?;
        self.settle_image(&preset.args)?;
        if preset.invoke.is_some() && function.wasm.is_none() {
            return Err(CommandFailure::usage(
                "--invoke calls an export of a WebAssembly module: name one",
            ));
        }
        let workload = function.build_workload(preset).map_err(CommandFailure::usage)?;
        let lanes = LaneSpec::lanes_for(&workload);
        let workloads = vec![workload.name.clone()];
        catalog.add_workload(workload);
        Ok(Some(NamedFunction { workloads, lanes: Some(lanes) }))
    }

    /// Adds the workloads of a folder that stands in the place of a file.
    fn add_folder(
        &self,
        catalog: &mut Catalog,
        folder: &Path,
        function: &OwnFunction,
    ) -> Result<NamedFunction, CommandFailure> {
        if !function.is_empty() || !self.words.is_empty() {
            return Err(CommandFailure::Usage(format!(
                "{} is a folder of workloads, whose workload.toml says what is run: leave the \
                 other forms and arguments out",
                folder.display()
            )));
        }
        let told = catalog.notices().len();
        let workloads = catalog.add_folder(folder).map_err(CommandFailure::usage)?;
        for notice in catalog.notices().iter().skip(told) {
            say(&format!("note: {notice}"));
        }
        Ok(NamedFunction { workloads, lanes: None })
    }

    /// Returns the forms, and the arguments that follow them.
    fn choose_forms(&self) -> Result<(OwnFunction, Vec<String>), CommandFailure> {
        let mut function = OwnFunction {
            name: self.name.clone(),
            native: self.native.clone(),
            wasm: self.wasm.clone(),
            image: self.image.clone(),
        };
        if let Some(file) = &self.file {
            take_form(&mut function, file)?;
        }
        let mut words = self.words.iter();
        if function.is_empty() && !self.file.as_deref().is_some_and(Path::is_dir) {
            // The first word is the program, as in `-- ./prog args`; it may be a module.
            match words.next() {
                Some(first) if is_wasm_file(first) => function.wasm = Some(first.into()),
                Some(first) => function.native = Some(first.clone()),
                None => {}
            }
        }
        let text = |word: &OsString| {
            word.to_str().map(str::to_owned).ok_or_else(|| {
                CommandFailure::Usage(format!(
                    "the argument {:?} is not UTF-8, which recordings keep",
                    word.to_string_lossy()
                ))
            })
        };
        Ok((function, words.map(text).collect::<Result<_, _>>()?))
    }

    /// Refuses options about a function where none is named.
    fn refuse_orphans(&self) -> Result<(), CommandFailure> {
        if std::env::args_os().next_back().is_some_and(|word| word == "--") {
            return Err(CommandFailure::usage("there is no program after `--`"));
        }
        let given = [
            ("--invoke", !self.invoke.is_empty()),
            ("--name", self.name.is_some()),
            ("--stdin", self.stdin.is_some()),
            ("--env", !self.env.is_empty()),
            ("--dir", !self.dir.is_empty()),
            ("--workdir", self.workdir.is_some()),
            ("--expected-exit", self.expected_exit != 0),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(CommandFailure::Usage(format!(
                "{option} is about a function of your own: name it, such as `fn.wasm`, `--image \
                 IMAGE` or `-- ./prog ARGS` (workloads have it in their workload.toml)"
            ))),
            None => Ok(()),
        }
    }

    /// Builds the preset of the function.
    fn build_preset(&self, name: &str, args: Vec<String>) -> Result<Preset, CommandFailure> {
        let usage = |option: &'static str| {
            move |error: String| CommandFailure::Usage(format!("{option}: {error}"))
        };
        let (invoke, args) = match self.invoke.split_first() {
            Some((export, parameters)) => (Some(export.clone()), [parameters, &args].concat()),
            None => (None, args),
        };
        check_arguments(&args).map_err(usage("arguments"))?;
        invoke.as_deref().map_or(Ok(()), check_export_name).map_err(usage("--invoke"))?;
        let env: Vec<_> =
            self.env.iter().map(|text| parse_variable(text)).collect::<Result<_, _>>()?;
        check_variables(&env).map_err(usage("--env"))?;
        let dirs: Vec<SharedFolder> =
            self.dir.iter().map(|text| find_folder(text)).collect::<Result<_, _>>()?;
        check_folders(&dirs).map_err(usage("--dir"))?;
        self.workdir.as_deref().map_or(Ok(()), check_guest_path).map_err(usage("--workdir"))?;
        Ok(Preset {
            args,
            stdin: self.stdin.as_deref().map_or(Ok(FunctionInput::default()), read_input)?,
            env,
            dirs,
            workdir: self.workdir.clone(),
            invoke,
            expected_exit: self.expected_exit.into(),
            ..Preset::with_defaults(name)
        })
    }

    /// Checks before any work that the image is there and can run, and pulls it if that was asked
    /// for. Without an engine nothing is known: lanes then say so.
    fn settle_image(&self, args: &[String]) -> Result<(), CommandFailure> {
        let Some(image) = self.image.as_deref().filter(|it| !Path::new(it).exists()) else {
            return Ok(());
        };
        match (docker::check_image(image, args), self.pull) {
            (Ok(_) | Err(LaneError::Unavailable { .. }), _) => Ok(()),
            (Err(_), true) => pull_image(image, args),
            (Err(error), false) => Err(CommandFailure::usage(error)),
        }
    }
}

/// Pulls an image for this machine, and checks that it can run.
fn pull_image(image: &str, args: &[String]) -> Result<(), CommandFailure> {
    let mut last = Instant::now();
    let mut tell = |progress: &docker::PullProgress| {
        if last.elapsed() >= Duration::from_secs(1) {
            say(&format!("pulling {image}: {progress}"));
            last = Instant::now();
        }
    };
    say(&format!("pulling {image}, since --pull allows it"));
    docker::pull_image(image, &mut tell, &Cancel::for_process()).map_err(CommandFailure::failed)?;
    docker::check_image(image, args).map(drop).map_err(CommandFailure::usage)
}

/// Takes the file as the form that it has.
fn take_form(function: &mut OwnFunction, file: &Path) -> Result<(), CommandFailure> {
    let twice = |option: &str| {
        CommandFailure::Usage(format!(
            "{} and {option} are the same form of a function: name one of them",
            file.display()
        ))
    };
    let form = detect_form(file).map_err(|error| {
        let name = file.display();
        let is_name = !name.to_string().contains('/')
            && find_in_path(file.as_os_str(), std::env::var_os("PATH").as_deref()).is_ok();
        if is_name {
            CommandFailure::Usage(format!("{error}; to run the program of that name: `-- {name}`"))
        } else {
            CommandFailure::usage(error)
        }
    })?;
    match form {
        FileForm::Folder => {}
        FileForm::Wasm if function.wasm.is_some() => return Err(twice("--wasm")),
        FileForm::Wasm => function.wasm = Some(file.to_owned()),
        FileForm::Native if function.native.is_some() => return Err(twice("--native")),
        // A bare name that was found here is the file, and not one of PATH.
        FileForm::Native => function.native = Some(Path::new(".").join(file).into()),
    }
    Ok(())
}

/// Returns whether a word names a WebAssembly file.
fn is_wasm_file(word: &OsString) -> bool {
    let path = Path::new(word);
    path.is_file() && matches!(detect_form(path), Ok(FileForm::Wasm))
}

/// Parses `NAME=VALUE`, or `NAME` with the value that it has here.
fn parse_variable(text: &str) -> Result<EnvironmentVariable, CommandFailure> {
    if let Some((name, value)) = text.split_once('=') {
        return Ok(EnvironmentVariable { name: name.to_owned(), value: value.to_owned() });
    }
    match std::env::var(text) {
        Ok(value) => Ok(EnvironmentVariable { name: text.to_owned(), value }),
        Err(_) => Err(CommandFailure::Usage(format!(
            "--env {text}: there is no such variable here: write {text}=VALUE"
        ))),
    }
}

/// Finds a folder of this machine that the function is to see.
fn find_folder(text: &str) -> Result<SharedFolder, CommandFailure> {
    let usage = |error: String| CommandFailure::Usage(format!("--dir: {error}"));
    let SharedFolderText { host, guest, is_read_only } =
        SharedFolderText::parse(text).map_err(usage)?;
    let found = Path::new(host).canonicalize();
    let found = found.map_err(|error| usage(format!("cannot find `{host}`: {error}")))?;
    if !found.is_dir() {
        return Err(usage(format!("`{host}` is no folder")));
    }
    let Some(own) = found.to_str() else {
        return Err(usage(format!("the path of `{host}` is not UTF-8")));
    };
    let guest = guest.unwrap_or(own).to_owned();
    check_guest_path(&guest).map_err(usage)?;
    Ok(SharedFolder { host: found, guest, is_read_only })
}

/// Reads the function's standard input: a file, or what this command is given.
fn read_input(path: &Path) -> Result<FunctionInput, CommandFailure> {
    let content = read_user_file(path, INPUT).map_err(|error| {
        CommandFailure::Usage(format!("--stdin: cannot read {}: {error}", display_path(path)))
    })?;
    Ok(FunctionInput::from_bytes(content))
}

/// Returns the name of the preset that all of the workloads have: `wanted` if given, else `quick`
/// if all have that, else the first that all have.
pub(super) fn choose_preset(
    workloads: &[std::sync::Arc<Workload>],
    wanted: Option<&str>,
) -> Result<String, CommandFailure> {
    if let Some(name) = wanted {
        for workload in workloads {
            workload.find_preset(name).map_err(CommandFailure::usage)?;
        }
        return Ok(name.to_owned());
    }
    find_common_preset(workloads, "quick").ok_or_else(|| {
        CommandFailure::usage("these workloads have no preset in common: name one with --preset")
    })
}

impl CommonOptions {
    /// Returns all workloads, with the function that `options` name, and the names of those to
    /// run: `named`, the function, or those of --workloads; empty if none of these is given.
    pub(super) fn choose_workloads(
        &self,
        options: &FunctionOptions,
        named: &[String],
        preset: Option<&str>,
    ) -> Result<(Catalog, NamedFunction), CommandFailure> {
        let (mut catalog, added) = self.load_workloads()?;
        let own = options.add_to_catalog(&mut catalog, preset.unwrap_or("quick"))?;
        let mut chosen = NamedFunction { workloads: Vec::new(), lanes: None };
        for name in named {
            chosen.workloads.extend(find_or_add(&mut catalog, name)?);
        }
        let broken = catalog.broken_workloads();
        let is_named = !self.workloads.is_empty() && named.is_empty();
        let nothing =
            own.as_ref().map_or(is_named && added.is_empty(), |own| own.workloads.is_empty());
        if let (true, Some((name, reason))) = (nothing, broken.first()) {
            return Err(CommandFailure::Usage(format!(
                "none of the {} workload(s) can be loaded; of `{name}`: {reason}",
                broken.len()
            )));
        }
        match own {
            Some(own) if named.is_empty() => chosen = own,
            Some(own) => chosen.workloads.extend(own.workloads),
            None if named.is_empty() => chosen.workloads = added,
            None => {}
        }
        Ok((catalog, chosen))
    }
}

/// Returns the names that `text` stands for: a workload's, or those of the folder or file at
/// that path, which are added.
fn find_or_add(catalog: &mut Catalog, text: &str) -> Result<Vec<String>, CommandFailure> {
    let path = Path::new(text);
    let is_path = text.contains('/') || text == "." || text == "..";
    if catalog.get(text).is_ok() || !(is_path && path.exists()) {
        return super::find_workload(catalog, text).map(|it| vec![it.name.clone()]);
    }
    let options = FunctionOptions { file: Some(path.to_owned()), ..FunctionOptions::default() };
    let own = options.add_to_catalog(catalog, "quick")?;
    Ok(own.map(|own| own.workloads).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_names_or_numbers() {
        for good in ["0", "1000:1000", "nobody", "app:www-data", "a.b_c"] {
            assert_eq!(user_name(good), Ok(good.to_owned()));
        }
        for bad in ["", ":", "a:", "a:b:c", "-x", "a b", "a\u{1b}", "a/b"] {
            assert!(user_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_first_word_is_the_program_only_without_another_form() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect();
        let command = FunctionOptions { words: words(&["sh", "-c", "true"]), ..Default::default() };
        let (function, args) = command.choose_forms().expect("forms");
        assert_eq!((function.native, args), (Some("sh".into()), vec!["-c".into(), "true".into()]));
        let image = FunctionOptions {
            image: Some("me/fn".to_owned()),
            words: words(&["a", "b"]),
            ..Default::default()
        };
        let (function, args) = image.choose_forms().expect("forms");
        assert_eq!((function.native, args.len()), (None, 2));
    }

    #[test]
    fn presets_that_all_have_are_found() {
        let workload = |names: &[&str]| {
            let presets =
                names.iter().map(|name| ((*name).to_owned(), Preset::with_defaults(name)));
            let presets = presets.collect();
            std::sync::Arc::new(Workload { presets, ..Workload::without_forms("w") })
        };
        let choose = |all: &[std::sync::Arc<Workload>], wanted| choose_preset(all, wanted).ok();
        let (both, own) = (workload(&["big", "quick"]), workload(&["big"]));
        assert_eq!(choose(std::slice::from_ref(&both), None).as_deref(), Some("quick"));
        assert_eq!(choose(std::slice::from_ref(&own), None).as_deref(), Some("big"));
        assert_eq!(choose(&[both.clone(), own.clone()], None).as_deref(), Some("big"));
        assert_eq!(choose(&[both, own], Some("quick")), None);
        assert_eq!(choose(&[workload(&["a"]), workload(&["b"])], None), None);
    }
}
