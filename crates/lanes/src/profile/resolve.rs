//! Resolution of profiles from their TOML form: checks what the values mean together.

use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;

use super::error::Problem;
use super::schema::{
    CommandFile, CompileFile, KnownFailureFile, NeedFile, ProfileFile, ProgramFile, Text, Texts,
    TrapFile, VariantFile,
};
use super::template::{ARGS, CommandLine};
use super::{
    Compile, KnownFailure, MemoryLimit, Need, Profile, ProfileError, Program, Script, Sees, Takes,
    Trap,
};
use cyclometer_core::units::{Bytes, Nanos, UnitError};
use cyclometer_system::files::FileProblem;
use cyclometer_workload::within;

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
pub type ReadScript<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, FileProblem>;

type Resolved<T> = Result<T, Problem>;

/// Parses and checks a profile: returns the runtime `name`, and after it its variants. `origin` is
/// how errors name the file, and `read` returns the content of a script beside it.
///
/// # Errors
/// Fails with a description of what is wrong, with line and column.
pub fn parse(
    name: &str,
    text: &str,
    origin: &str,
    read: ReadScript<'_>,
) -> Result<Vec<Profile>, ProfileError> {
    let resolved = toml::from_str::<ProfileFile>(text).map_err(Problem::from).and_then(|file| {
        check_name(name).map_err(|message| Problem::new(0..0, message))?;
        Resolver { name, origin, file: &file, read }.all()
    });
    resolved.map_err(|problem| problem.locate(text, origin))
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
    fn all(&self) -> Resolved<Vec<Profile>> {
        let file = self.file;
        let mut profiles = vec![self.base()?];
        if file.variant.len() > MAX_VARIANTS {
            return Err(Problem::new(0..0, format!("more than {MAX_VARIANTS} variants")));
        }
        for (name, variant) in &file.variant {
            let profile = self.variant(&profiles[0], name, variant)?;
            profiles.push(profile);
        }
        if let (Some(compile), false) =
            (&file.compile, profiles.iter().any(|it| it.compile.is_some()))
        {
            let message = "no command line uses `{artifact}`, which this step makes";
            return Err(Problem::new(compile.args.span(), message));
        }
        Ok(profiles)
    }

    fn base(&self) -> Resolved<Profile> {
        let file = self.file;
        let needs: Vec<Need> = file.need.iter().map(need).collect::<Resolved<_>>()?;
        let mut profile = Profile {
            name: self.name.to_owned(),
            origin: self.origin.to_owned(),
            title: plain(&file.title)?,
            homepage: file.homepage.as_ref().map(plain).transpose()?,
            note: file.note.as_ref().map(plain).transpose()?,
            takes: file.takes,
            install: plain(&file.install)?,
            program: program(&file.program)?,
            environment: self.environment()?,
            script: file.script.as_ref().map(|name| self.script(name)).transpose()?,
            config: None,
            memory: *file.memory.get_ref(),
            allowance: file.allowance.as_ref().map(allowance).transpose()?,
            sees: Sees {
                files: file.sees.files,
                environment: file.sees.environment.iter().map(plain).collect::<Resolved<_>>()?,
            },
            outside: file.outside.as_ref().map(plain).transpose()?,
            footprint: file.footprint.files.iter().map(absolute).collect::<Resolved<_>>()?,
            needs,
            compile: None,
            cold: CommandLine::default(),
            warm: None,
            cleanup: None,
            trap: file.trap.as_ref().map(trap).transpose()?,
            refused_exit: file.refused_exit.as_ref().map(refused_exit).transpose()?,
            known_failures: known_failures(&file.known_failure)?,
        };
        if let Some(config) = &file.config {
            let text = Spanned::new(config.span(), vec![config.clone()]);
            profile.config = Some(Self::line(&profile, &text, &[])?);
        }
        if let Some(cleanup) = &file.cleanup {
            profile.cleanup = Some(Self::line(&profile, &cleanup.args, &[])?);
        }
        self.commands(
            &mut profile,
            &Commands {
                cold: &file.cold,
                warm: file.warm.as_ref(),
                compile: file.compile.as_ref(),
                memory: &file.memory,
            },
        )?;
        Ok(profile)
    }

    fn variant(&self, base: &Profile, name: &Text, file: &VariantFile) -> Resolved<Profile> {
        check_name(name.get_ref()).map_err(|message| Problem::new(name.span(), message))?;
        let mut profile = base.clone();
        profile.name = format!("{}:{}", base.name, name.get_ref());
        if let Some(note) = &file.note {
            profile.note = Some(plain(note)?);
        }
        if let Some(install) = &file.install {
            profile.install = plain(install)?;
        }
        profile.known_failures.extend(known_failures(&file.known_failure)?);
        let memory = file.memory.as_ref().unwrap_or(&self.file.memory);
        profile.memory = *memory.get_ref();
        // A variant with its own command line replaces the worker as well.
        let warm = match (&file.warm, &file.cold) {
            (Some(warm), _) => Some(warm),
            (None, Some(_)) => None,
            (None, None) => self.file.warm.as_ref(),
        };
        self.commands(
            &mut profile,
            &Commands {
                cold: file.cold.as_ref().unwrap_or(&self.file.cold),
                warm,
                compile: file.compile.as_ref().or(self.file.compile.as_ref()),
                memory,
            },
        )?;
        Ok(profile)
    }

    /// Enters the command lines, which must fit each other.
    fn commands(&self, profile: &mut Profile, given: &Commands<'_>) -> Resolved<()> {
        let cold = Self::line(profile, &given.cold.args, &[ARGS])?;
        self.check_cold(profile, &given.cold.args, &cold)?;
        let warm = given.warm.map(|warm| Self::line(profile, &warm.args, &[ARGS])).transpose()?;
        let limits = ["memory_bytes", "memory_mib", "memory_pages"];
        let by_option = limits.iter().any(|name| cold.uses(name));
        if profile.memory == MemoryLimit::Option && !by_option {
            let message = "`option` says that an argument limits memory, but `cold.args` has none \
                           of {memory_bytes}, {memory_mib} and {memory_pages}";
            return Err(Problem::new(given.memory.span(), message));
        }
        let compiled = cold.uses("artifact") || warm.as_ref().is_some_and(|it| it.uses("artifact"));
        profile.compile = match (compiled, given.compile) {
            (false, _) => None,
            (true, Some(compile)) => Some(Self::compile(profile, compile)?),
            (true, None) => {
                let message = "`{artifact}` is what [compile] makes, and there is none";
                return Err(Problem::new(given.cold.args.span(), message));
            }
        };
        profile.cold = cold;
        profile.warm = warm;
        Ok(())
    }

    fn check_cold(&self, profile: &Profile, given: &Texts, cold: &CommandLine) -> Resolved<()> {
        let wrong = |message: &str| Err(Problem::new(given.span(), message));
        // A bundle has its arguments in its config.json, where a command line may
        // repeat them; a machine has them in its archive.
        let inside = matches!(profile.takes, Takes::Bundle | Takes::Machine);
        match (inside, cold.count(ARGS)) {
            (false, 0) => return wrong("the function's arguments are missing: `{args...}`"),
            (true, 1..) if profile.takes == Takes::Machine => {
                return wrong("the function's arguments are inside: no `{args...}` here");
            }
            (_, 2..) => return wrong("`{args...}` is there twice"),
            _ => {}
        }
        let subjects: &[&str] = match profile.takes {
            Takes::Module => &["module", "artifact"],
            Takes::Program => &["file"],
            Takes::Bundle => &["bundle"],
            Takes::Machine => &["initramfs"],
        };
        let config = profile.config.as_ref().filter(|_| cold.uses("config"));
        let used = |name: &&str| cold.uses(name) || config.is_some_and(|it| it.uses(name));
        if !subjects.iter().any(used) {
            let names: Vec<String> = subjects.iter().map(|name| format!("`{{{name}}}`")).collect();
            return wrong(&format!("what is to be run is missing: {}", names.join(" or ")));
        }
        if cold.uses("config") && profile.config.is_none() {
            return wrong("`{config}` is the file that `config` holds, and there is none");
        }
        if cold.uses("script") && self.file.script.is_none() {
            return wrong("`{script}` is the file that `script` names, and it names none");
        }
        Ok(())
    }

    fn line(profile: &Profile, given: &Texts, more: &[&str]) -> Resolved<CommandLine> {
        let mut allowed = COMMON.to_vec();
        allowed.extend(profile.takes.placeholders());
        allowed.extend(profile.needs.iter().map(|need| &*need.name));
        allowed.extend(more);
        for argument in given.get_ref() {
            bounded(argument)?;
        }
        CommandLine::parse(given, &allowed)
    }

    fn compile(profile: &Profile, file: &CompileFile) -> Resolved<Compile> {
        if profile.takes != Takes::Module {
            let message = "only a runtime that takes a `module` compiles ahead of time";
            return Err(Problem::new(file.args.span(), message));
        }
        let args = Self::line(profile, &file.args, &[])?;
        for name in ["module", "artifact"] {
            if !args.uses(name) {
                let message = format!("`{{{name}}}` is missing: what is compiled, to what");
                return Err(Problem::new(file.args.span(), message));
            }
        }
        let extension = match &file.extension {
            None => "compiled".to_owned(),
            Some(text) if is_word(text.get_ref()) => text.get_ref().clone(),
            Some(text) => {
                return Err(Problem::new(text.span(), "an extension is letters and digits"));
            }
        };
        let timeout = file.timeout.as_ref().map_or(Ok(COMPILE_TIMEOUT), compile_timeout)?;
        let names = file.names.as_ref().map(program_names).transpose()?;
        Ok(Compile { names, args, extension, timeout })
    }

    fn environment(&self) -> Resolved<Vec<(String, String)>> {
        let entries = self.file.environment.iter().map(|(name, value)| {
            let text = name.get_ref();
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if text.is_empty() || text.len() > 64 || !text.chars().all(fits) {
                let message = "a variable's name is letters, digits and `_`";
                return Err(Problem::new(name.span(), message));
            }
            Ok((text.clone(), plain(value)?))
        });
        entries.collect()
    }

    fn script(&self, name: &Text) -> Resolved<Script> {
        let text = name.get_ref();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if text.starts_with('.') || text.len() > 64 || text.is_empty() || !text.chars().all(fits) {
            let message = "`script` must be the name of a file beside the profile, without folders";
            return Err(Problem::new(name.span(), message));
        }
        let content = (self.read)(text).map_err(|error| {
            Problem::new(name.span(), format!("cannot read `{text}` beside the profile: {error}"))
        })?;
        Ok(Script { name: text.clone(), content: Arc::from(content) })
    }
}

/// Parses the time limit of a compilation: 1ms to 1h.
fn compile_timeout(text: &Text) -> Resolved<Nanos> {
    const RANGE: &str = "1ms to 1h";
    let wrong = |message: String| Problem::new(text.span(), message);
    let span: Nanos =
        text.get_ref().parse().map_err(|error: UnitError| wrong(format!("{error} ({RANGE})")))?;
    within(span, &(Nanos(1_000_000)..=Nanos(3_600_000_000_000)), RANGE).map_err(wrong)
}

/// The command lines of a runtime or variant, as written.
struct Commands<'a> {
    cold: &'a CommandFile,
    warm: Option<&'a CommandFile>,
    compile: Option<&'a CompileFile>,
    memory: &'a Spanned<MemoryLimit>,
}

fn bounded(text: &Text) -> Resolved<()> {
    if text.get_ref().len() > MAX_TEXT {
        return Err(Problem::new(text.span(), format!("longer than {MAX_TEXT} bytes")));
    }
    Ok(())
}

/// Returns a text that is shown, or given to a program, unless it has control characters.
fn plain(text: &Text) -> Resolved<String> {
    bounded(text)?;
    if text.get_ref().chars().any(char::is_control) {
        return Err(Problem::new(text.span(), "a control character; write it on one line"));
    }
    Ok(text.get_ref().clone())
}

fn allowance(text: &Text) -> Resolved<Bytes> {
    let size: Bytes =
        plain(text)?.parse().map_err(|error: cyclometer_core::units::UnitError| {
            Problem::new(text.span(), error.to_string())
        })?;
    let (least, most) = ALLOWANCES;
    if (least..=most).contains(&size) {
        return Ok(size);
    }
    Err(Problem::new(text.span(), format!("an allowance is {least} to {most}")))
}

fn absolute(text: &Text) -> Resolved<PathBuf> {
    let path = PathBuf::from(plain(text)?);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Problem::new(
        text.span(),
        "an absolute path is needed: functions run in no folder of yours",
    ))
}

fn program(file: &ProgramFile) -> Resolved<Program> {
    let least = file.least.as_ref().map(plain).transpose()?;
    if let (Some(given), Some(text)) = (&file.least, &least)
        && !text.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(Problem::new(given.span(), "a version starts with a digit, such as `1.2`"));
    }
    Ok(Program {
        names: program_names(&file.names)?,
        version_args: CommandLine::parse(&file.version, &["script"])?,
        version_after: plain(&file.after)?,
        least,
    })
}

/// Returns names for `PATH`, or absolute paths, and nothing in between: such would be looked for
/// wherever cyclometer happens to be started.
fn program_names(given: &Texts) -> Resolved<Vec<String>> {
    if given.get_ref().is_empty() {
        return Err(Problem::new(given.span(), "at least one program is needed"));
    }
    let names = given.get_ref().iter().map(|name| {
        let text = plain(name)?;
        let relative = text.contains('/') && !text.starts_with('/');
        if text.is_empty() || relative || text == "." || text == ".." {
            let message =
                "a program is a plain name that is looked for on PATH, or an absolute path";
            return Err(Problem::new(name.span(), message));
        }
        Ok(text)
    });
    names.collect()
}

fn need(file: &NeedFile) -> Resolved<Need> {
    let name = file.name.get_ref();
    let taken = COMMON.contains(&&**name)
        || [Takes::Module, Takes::Program, Takes::Bundle, Takes::Machine]
            .iter()
            .any(|takes| takes.placeholders().contains(&&**name));
    if !is_word(name) || taken {
        let message = "a placeholder's name is letters and digits, and not one that there is";
        return Err(Problem::new(file.name.span(), message));
    }
    Ok(Need {
        name: name.clone(),
        what: plain(&file.what)?,
        path: file.path.as_ref().map(absolute).transpose()?,
        install: plain(&file.install)?,
    })
}

fn is_word(text: &str) -> bool {
    (1..=16).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric())
}

fn trap(given: &Spanned<TrapFile>) -> Resolved<Trap> {
    let file = given.get_ref();
    let status = |status: &Spanned<i64>| {
        let value = i32::try_from(*status.get_ref()).ok().filter(|it| (1..=255).contains(it));
        value.ok_or_else(|| Problem::new(status.span(), "an exit status is from 1 to 255"))
    };
    let trap = Trap {
        status: file.status.as_ref().map(status).transpose()?,
        stderr: file.stderr.as_ref().map(plain).transpose()?,
    };
    if trap.status.is_none() && trap.stderr.as_deref().is_none_or(str::is_empty) {
        let message = "say by which `status` or which text on `stderr` a trap shows";
        return Err(Problem::new(given.span(), message));
    }
    Ok(trap)
}

fn refused_exit(given: &Text) -> Resolved<String> {
    let text = plain(given)?;
    if text.trim().is_empty() {
        return Err(Problem::new(given.span(), "say which text on standard error tells of it"));
    }
    Ok(text)
}

fn known_failures(files: &[KnownFailureFile]) -> Resolved<Vec<KnownFailure>> {
    let each = files.iter().map(|file| {
        Ok(KnownFailure {
            workload: file.workload.as_ref().map(plain).transpose()?,
            contains: file.contains.as_ref().map(plain).transpose()?,
            reason: plain(&file.reason)?,
        })
    });
    each.collect()
}
