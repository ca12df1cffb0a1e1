//! Resolution of profiles from their TOML form: checks what the values mean together.

use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;

use super::error::ProfileProblem;
use super::schema::{
    CommandFile, CompileFile, KnownFailureFile, NeedFile, ProfileFile, ProfileVariantFile,
    ProgramFile, Text, Texts, TrapFile,
};
use super::template::{ARGS_PLACEHOLDER, COMMAND_PLACEHOLDER, CommandLine, OPTIONS_PLACEHOLDER};
use super::{
    AcceptedForm, CompileStep, HostVisibility, KnownFailure, MemoryEnforcement, Profile,
    ProfileError, ProfileScript, RequiredFile, RuntimeProgram, TrapSigns,
};
use cyclometer_core::units::{Bytes, Nanos, UnitError};
use cyclometer_system::files::FileError;
use cyclometer_workload::check_range;

/// Longest text of one value, in bytes.
const MAX_TEXT: usize = 4096;

/// Most variants of one runtime.
const MAX_VARIANTS: usize = 16;

/// Longest time that compiling may take, unless the profile says otherwise.
const COMPILE_TIMEOUT: Nanos = Nanos(120_000_000_000);

/// Least and most memory that a runtime may be allowed beside its function's.
const ALLOWANCES: (Bytes, Bytes) = (Bytes(1 << 20), Bytes(64 << 30));

/// Placeholders that every command line may use.
const COMMON: [&str; 7] =
    ["name", "script", "config", "scratch", "memory_bytes", "memory_mib", "memory_pages"];

/// Reads the file beside the profile that it names, by its plain name.
pub type ReadScript<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, FileError>;

type ProfileResult<T> = Result<T, ProfileProblem>;

/// Parses and checks a profile: returns the runtime `name`, and after it its variants. `origin` is
/// how errors name the file, and `read` returns the content of a script beside it.
///
/// # Errors
/// Fails with a description of what is wrong, with line and column.
pub fn parse_profiles(
    name: &str,
    text: &str,
    origin: &str,
    read: ReadScript<'_>,
) -> Result<Vec<Profile>, ProfileError> {
    let resolved =
        toml::from_str::<ProfileFile>(text).map_err(ProfileProblem::from).and_then(|file| {
            check_name(name).map_err(|message| ProfileProblem::new(0..0, message))?;
            Resolver { name, origin, file: &file, read }.resolve_all()
        });
    resolved.map_err(|problem| problem.into_profile_error(text, origin))
}

/// Checks that a command line and an environment variable can hold the name of a lane.
fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 32 || !name.chars().all(fits) {
        return Err(format!(
            "`{}` cannot be a lane's name: up to 32 lower-case letters, digits and `-`",
            name.chars().take(64).collect::<String>()
        ));
    }
    if ["native", "wasmtime", "docker"].contains(&name) {
        return Err(format!("`{name}` is a lane of its own; give the file another name"));
    }
    Ok(())
}

struct Resolver<'a> {
    name: &'a str,
    origin: &'a str,
    file: &'a ProfileFile,
    read: ReadScript<'a>,
}

impl Resolver<'_> {
    fn resolve_all(&self) -> ProfileResult<Vec<Profile>> {
        let file = self.file;
        let mut profiles = vec![self.resolve_base()?];
        if file.variant.len() > MAX_VARIANTS {
            return Err(ProfileProblem::new(0..0, format!("more than {MAX_VARIANTS} variants")));
        }
        for (name, variant) in &file.variant {
            let profile = self.resolve_variant(&profiles[0], name, variant)?;
            profiles.push(profile);
        }
        if let (Some(compile), false) =
            (&file.compile, profiles.iter().any(|it| it.compile.is_some()))
        {
            let message = "no command line uses `{artifact}`, which this step makes";
            return Err(ProfileProblem::new(compile.args.span(), message));
        }
        Ok(profiles)
    }

    fn resolve_base(&self) -> ProfileResult<Profile> {
        let file = self.file;
        let needs: Vec<RequiredFile> =
            file.need.iter().map(resolve_need).collect::<ProfileResult<_>>()?;
        let mut profile = Profile {
            name: self.name.to_owned(),
            origin: self.origin.to_owned(),
            title: plain_text(&file.title)?,
            homepage: file.homepage.as_ref().map(plain_text).transpose()?,
            note: file.note.as_ref().map(plain_text).transpose()?,
            takes: file.takes,
            install: plain_text(&file.install)?,
            program: resolve_program(&file.program)?,
            environment: self.resolve_environment()?,
            script: file.script.as_ref().map(|name| self.resolve_script(name)).transpose()?,
            config: None,
            memory: *file.memory.get_ref(),
            allowance: file.allowance.as_ref().map(parse_allowance).transpose()?,
            sees: HostVisibility {
                files: file.sees.files,
                environment: file
                    .sees
                    .environment
                    .iter()
                    .map(plain_text)
                    .collect::<ProfileResult<_>>()?,
            },
            outside: file.outside.as_ref().map(plain_text).transpose()?,
            footprint: file
                .footprint
                .files
                .iter()
                .map(absolute_path)
                .collect::<ProfileResult<_>>()?,
            needs,
            compile: None,
            cold: CommandLine::default(),
            warm: None,
            cleanup: None,
            trap: file.trap.as_ref().map(resolve_trap).transpose()?,
            refused_exit: file.refused_exit.as_ref().map(resolve_refused_exit).transpose()?,
            known_failures: resolve_known_failures(&file.known_failure)?,
        };
        if let Some(config) = &file.config {
            let text = Spanned::new(config.span(), vec![config.clone()]);
            profile.config = Some(Self::resolve_command_line(&profile, &text, &[])?);
        }
        if let Some(cleanup) = &file.cleanup {
            profile.cleanup = Some(Self::resolve_command_line(&profile, &cleanup.args, &[])?);
        }
        self.resolve_commands(
            &mut profile,
            &CommandFiles {
                cold: &file.cold,
                warm: file.warm.as_ref(),
                compile: file.compile.as_ref(),
                memory: &file.memory,
            },
        )?;
        Ok(profile)
    }

    fn resolve_variant(
        &self,
        base: &Profile,
        name: &Text,
        file: &ProfileVariantFile,
    ) -> ProfileResult<Profile> {
        check_name(name.get_ref()).map_err(|message| ProfileProblem::new(name.span(), message))?;
        let mut profile = base.clone();
        profile.name = format!("{}:{}", base.name, name.get_ref());
        if let Some(note) = &file.note {
            profile.note = Some(plain_text(note)?);
        }
        if let Some(install) = &file.install {
            profile.install = plain_text(install)?;
        }
        profile.known_failures.extend(resolve_known_failures(&file.known_failure)?);
        let memory = file.memory.as_ref().unwrap_or(&self.file.memory);
        profile.memory = *memory.get_ref();
        // A variant with its own command line replaces the worker as well.
        let warm = match (&file.warm, &file.cold) {
            (Some(warm), _) => Some(warm),
            (None, Some(_)) => None,
            (None, None) => self.file.warm.as_ref(),
        };
        self.resolve_commands(
            &mut profile,
            &CommandFiles {
                cold: file.cold.as_ref().unwrap_or(&self.file.cold),
                warm,
                compile: file.compile.as_ref().or(self.file.compile.as_ref()),
                memory,
            },
        )?;
        Ok(profile)
    }

    /// Enters the command lines, which must fit each other.
    fn resolve_commands(
        &self,
        profile: &mut Profile,
        given: &CommandFiles<'_>,
    ) -> ProfileResult<()> {
        let mut lists = vec![ARGS_PLACEHOLDER];
        if profile.takes == AcceptedForm::Bundle {
            lists.extend([OPTIONS_PLACEHOLDER, COMMAND_PLACEHOLDER]);
        }
        let cold = Self::resolve_command_line(profile, &given.cold.args, &lists)?;
        self.check_cold(profile, &given.cold.args, &cold)?;
        let warm = given
            .warm
            .map(|warm| Self::resolve_command_line(profile, &warm.args, &[ARGS_PLACEHOLDER]))
            .transpose()?;
        let limits = ["memory_bytes", "memory_mib", "memory_pages"];
        let by_option = limits.iter().any(|name| cold.uses_placeholder(name));
        if profile.memory == MemoryEnforcement::Option && !by_option {
            let message = "`option` says that an argument limits memory, but `cold.args` has none \
                           of {memory_bytes}, {memory_mib} and {memory_pages}";
            return Err(ProfileProblem::new(given.memory.span(), message));
        }
        let compiled = cold.uses_placeholder("artifact")
            || warm.as_ref().is_some_and(|it| it.uses_placeholder("artifact"));
        profile.compile = match (compiled, given.compile) {
            (false, _) => None,
            (true, Some(compile)) => Some(Self::resolve_compile(profile, compile)?),
            (true, None) => {
                let message = "`{artifact}` is what [compile] makes, and there is none";
                return Err(ProfileProblem::new(given.cold.args.span(), message));
            }
        };
        profile.cold = cold;
        profile.warm = warm;
        Ok(())
    }

    fn check_cold(
        &self,
        profile: &Profile,
        given: &Texts,
        cold: &CommandLine,
    ) -> ProfileResult<()> {
        let wrong = |message: &str| Err(ProfileProblem::new(given.span(), message));
        // A bundle has its arguments in its config.json, where a command line may
        // repeat them; a machine has them in its archive.
        let inside = matches!(profile.takes, AcceptedForm::Bundle | AcceptedForm::Machine);
        match (inside, cold.count_placeholder(ARGS_PLACEHOLDER)) {
            (false, 0) => return wrong("the function's arguments are missing: `{args...}`"),
            (true, 1..) if profile.takes == AcceptedForm::Machine => {
                return wrong("the function's arguments are inside: no `{args...}` here");
            }
            (_, 2..) => return wrong("`{args...}` is there twice"),
            _ => {}
        }
        let lists = [OPTIONS_PLACEHOLDER, COMMAND_PLACEHOLDER, ARGS_PLACEHOLDER]
            .map(|name| cold.count_placeholder(name));
        if !matches!(lists, [0, 0, _] | [1, 1, 0]) {
            return wrong(
                "`{options...}` and `{command...}` belong together, once each and without \
                 `{args...}`",
            );
        }
        let subjects: &[&str] = match profile.takes {
            AcceptedForm::Module => &["module", "artifact"],
            AcceptedForm::Program => &["file"],
            AcceptedForm::Bundle => &["bundle"],
            AcceptedForm::Machine => &["initramfs"],
        };
        let config = profile.config.as_ref().filter(|_| cold.uses_placeholder("config"));
        let used = |name: &&str| {
            cold.uses_placeholder(name) || config.is_some_and(|it| it.uses_placeholder(name))
        };
        if !subjects.iter().any(used) {
            let names: Vec<String> = subjects.iter().map(|name| format!("`{{{name}}}`")).collect();
            return wrong(&format!("what is to be run is missing: {}", names.join(" or ")));
        }
        if cold.uses_placeholder("config") && profile.config.is_none() {
            return wrong("`{config}` is the file that `config` holds, and there is none");
        }
        if cold.uses_placeholder("script") && self.file.script.is_none() {
            return wrong("`{script}` is the file that `script` names, and it names none");
        }
        Ok(())
    }

    fn resolve_command_line(
        profile: &Profile,
        given: &Texts,
        more: &[&str],
    ) -> ProfileResult<CommandLine> {
        let mut allowed = COMMON.to_vec();
        allowed.extend(profile.takes.placeholders());
        allowed.extend(profile.needs.iter().map(|need| &*need.name));
        allowed.extend(more);
        for argument in given.get_ref() {
            check_length(argument)?;
        }
        CommandLine::parse(given, &allowed)
    }

    fn resolve_compile(profile: &Profile, file: &CompileFile) -> ProfileResult<CompileStep> {
        if profile.takes != AcceptedForm::Module {
            let message = "only a runtime that takes a `module` compiles ahead of time";
            return Err(ProfileProblem::new(file.args.span(), message));
        }
        let args = Self::resolve_command_line(profile, &file.args, &[])?;
        for name in ["module", "artifact"] {
            if !args.uses_placeholder(name) {
                let message = format!("`{{{name}}}` is missing: what is compiled, to what");
                return Err(ProfileProblem::new(file.args.span(), message));
            }
        }
        let extension = match &file.extension {
            None => "compiled".to_owned(),
            Some(text) if is_word(text.get_ref()) => text.get_ref().clone(),
            Some(text) => {
                return Err(ProfileProblem::new(text.span(), "an extension is letters and digits"));
            }
        };
        let timeout = file.timeout.as_ref().map_or(Ok(COMPILE_TIMEOUT), parse_compile_timeout)?;
        let names = file.names.as_ref().map(resolve_program_names).transpose()?;
        Ok(CompileStep { names, args, extension, timeout })
    }

    fn resolve_environment(&self) -> ProfileResult<Vec<(String, String)>> {
        let entries = self.file.environment.iter().map(|(name, value)| {
            let text = name.get_ref();
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if text.is_empty() || text.len() > 64 || !text.chars().all(fits) {
                let message = "a variable's name is letters, digits and `_`";
                return Err(ProfileProblem::new(name.span(), message));
            }
            Ok((text.clone(), plain_text(value)?))
        });
        entries.collect()
    }

    fn resolve_script(&self, name: &Text) -> ProfileResult<ProfileScript> {
        let text = name.get_ref();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if text.starts_with('.') || text.len() > 64 || text.is_empty() || !text.chars().all(fits) {
            let message = "`script` must be the name of a file beside the profile, without folders";
            return Err(ProfileProblem::new(name.span(), message));
        }
        let content = (self.read)(text).map_err(|error| {
            ProfileProblem::new(
                name.span(),
                format!("cannot read `{text}` beside the profile: {error}"),
            )
        })?;
        Ok(ProfileScript { name: text.clone(), content: Arc::from(content) })
    }
}

/// Parses the time limit of a compilation: 1ms to 1h.
fn parse_compile_timeout(text: &Text) -> ProfileResult<Nanos> {
    const RANGE: &str = "1ms to 1h";
    let wrong = |message: String| ProfileProblem::new(text.span(), message);
    let span: Nanos =
        text.get_ref().parse().map_err(|error: UnitError| wrong(format!("{error} ({RANGE})")))?;
    check_range(span, &(Nanos(1_000_000)..=Nanos(3_600_000_000_000)), RANGE).map_err(wrong)
}

/// The command lines of a runtime or variant, as written.
struct CommandFiles<'a> {
    cold: &'a CommandFile,
    warm: Option<&'a CommandFile>,
    compile: Option<&'a CompileFile>,
    memory: &'a Spanned<MemoryEnforcement>,
}

fn check_length(text: &Text) -> ProfileResult<()> {
    if text.get_ref().len() > MAX_TEXT {
        return Err(ProfileProblem::new(text.span(), format!("longer than {MAX_TEXT} bytes")));
    }
    Ok(())
}

/// Returns a text that is shown, or given to a program, unless it has control characters.
fn plain_text(text: &Text) -> ProfileResult<String> {
    check_length(text)?;
    if text.get_ref().chars().any(char::is_control) {
        return Err(ProfileProblem::new(text.span(), "a control character; write it on one line"));
    }
    Ok(text.get_ref().clone())
}

fn parse_allowance(text: &Text) -> ProfileResult<Bytes> {
    let size: Bytes =
        plain_text(text)?.parse().map_err(|error: cyclometer_core::units::UnitError| {
            ProfileProblem::new(text.span(), error.to_string())
        })?;
    let (least, most) = ALLOWANCES;
    if (least..=most).contains(&size) {
        return Ok(size);
    }
    Err(ProfileProblem::new(text.span(), format!("an allowance is {least} to {most}")))
}

fn absolute_path(text: &Text) -> ProfileResult<PathBuf> {
    let path = PathBuf::from(plain_text(text)?);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(ProfileProblem::new(
        text.span(),
        "an absolute path is needed: functions run in no folder of yours",
    ))
}

fn resolve_program(file: &ProgramFile) -> ProfileResult<RuntimeProgram> {
    let least = file.least.as_ref().map(plain_text).transpose()?;
    if let (Some(given), Some(text)) = (&file.least, &least)
        && !text.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(ProfileProblem::new(
            given.span(),
            "a version starts with a digit, such as `1.2`",
        ));
    }
    Ok(RuntimeProgram {
        names: resolve_program_names(&file.names)?,
        version_args: CommandLine::parse(&file.version, &["script"])?,
        version_after: plain_text(&file.after)?,
        least,
    })
}

/// Returns names for `PATH`, or absolute paths, and nothing in between: such would be looked for
/// wherever cyclometer happens to be started.
fn resolve_program_names(given: &Texts) -> ProfileResult<Vec<String>> {
    if given.get_ref().is_empty() {
        return Err(ProfileProblem::new(given.span(), "at least one program is needed"));
    }
    let names = given.get_ref().iter().map(|name| {
        let text = plain_text(name)?;
        let relative = text.contains('/') && !text.starts_with('/');
        if text.is_empty() || relative || text == "." || text == ".." {
            let message =
                "a program is a plain name that is looked for on PATH, or an absolute path";
            return Err(ProfileProblem::new(name.span(), message));
        }
        Ok(text)
    });
    names.collect()
}

fn resolve_need(file: &NeedFile) -> ProfileResult<RequiredFile> {
    let name = file.name.get_ref();
    let taken = COMMON.contains(&&**name)
        || [
            AcceptedForm::Module,
            AcceptedForm::Program,
            AcceptedForm::Bundle,
            AcceptedForm::Machine,
        ]
        .iter()
        .any(|takes| takes.placeholders().contains(&&**name));
    if !is_word(name) || taken {
        let message = "a placeholder's name is letters and digits, and not one that there is";
        return Err(ProfileProblem::new(file.name.span(), message));
    }
    Ok(RequiredFile {
        name: name.clone(),
        what: plain_text(&file.what)?,
        path: file.path.as_ref().map(absolute_path).transpose()?,
        install: plain_text(&file.install)?,
    })
}

fn is_word(text: &str) -> bool {
    (1..=16).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric())
}

fn resolve_trap(given: &Spanned<TrapFile>) -> ProfileResult<TrapSigns> {
    let file = given.get_ref();
    let status = |status: &Spanned<i64>| {
        let value = i32::try_from(*status.get_ref()).ok().filter(|it| (1..=255).contains(it));
        value.ok_or_else(|| ProfileProblem::new(status.span(), "an exit status is from 1 to 255"))
    };
    let trap = TrapSigns {
        status: file.status.as_ref().map(status).transpose()?,
        stderr: file.stderr.as_ref().map(plain_text).transpose()?,
    };
    if trap.status.is_none() && trap.stderr.as_deref().is_none_or(str::is_empty) {
        let message = "say by which `status` or which text on `stderr` a trap shows";
        return Err(ProfileProblem::new(given.span(), message));
    }
    Ok(trap)
}

fn resolve_refused_exit(given: &Text) -> ProfileResult<String> {
    let text = plain_text(given)?;
    if text.trim().is_empty() {
        return Err(ProfileProblem::new(
            given.span(),
            "name the text on standard error that reports it",
        ));
    }
    Ok(text)
}

fn resolve_known_failures(files: &[KnownFailureFile]) -> ProfileResult<Vec<KnownFailure>> {
    let each = files.iter().map(|file| {
        Ok(KnownFailure {
            workload: file.workload.as_ref().map(plain_text).transpose()?,
            contains: file.contains.as_ref().map(plain_text).transpose()?,
            reason: plain_text(&file.reason)?,
        })
    });
    each.collect()
}
