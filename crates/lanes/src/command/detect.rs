//! Detection of a profile's runtime on this machine: its program, version and needs.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::super::launcher::Stdio3;
use super::super::program_run::{Runner, one_line, read_tail};
use super::super::{Cancel, NoSampling};
use super::runtime_call::RuntimeCall;
use crate::profile::Profile;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_workload::FunctionInput;

/// Longest time that reporting a version may take.
const VERSION_TIMEOUT: Nanos = Nanos(20_000_000_000);

/// Most memory that reporting a version may take.
const VERSION_MEMORY: Bytes = Bytes(4 << 30);

/// Most bytes that a program may write when asked for its version.
const VERSION_OUTPUT: Bytes = Bytes(1 << 20);

/// A runtime that was found.
#[derive(Debug, Clone)]
pub(super) struct DetectedRuntime {
    pub program: PathBuf,
    /// The compiler, where it is another program.
    pub compiler: PathBuf,
    pub version: String,
    /// Paths of needed files, with their placeholders.
    pub needs: Vec<(String, PathBuf)>,
}

/// Finds the runtime and asks for its version.
///
/// # Errors
/// A description of what is missing or wrong, and what to do.
pub(super) fn detect_runtime(
    profile: &Profile,
    script: Option<&Path>,
    runner: &Runner,
) -> Result<DetectedRuntime, String> {
    let program = find_program(profile)?;
    let compiler = match profile.compile.as_ref().and_then(|compile| compile.names.as_ref()) {
        None => program.clone(),
        Some(names) => find_on_path(names).ok_or_else(|| {
            format!(
                "its compiler is not installed: no {} on PATH; {}",
                names.join(" or "),
                profile.install
            )
        })?,
    };
    let needs = profile.needs.iter().map(|need| {
        let variable = profile.need_variable(need);
        let given = std::env::var_os(&variable).filter(|it| !it.is_empty()).map(PathBuf::from);
        let path = given.clone().or_else(|| need.path.clone());
        match path {
            Some(path) if path.is_absolute() && path.exists() => Ok((need.name.clone(), path)),
            Some(path) => Err(format!(
                "needs {}, and {} is not there; {}, or set {variable}",
                need.what,
                path.display(),
                need.install
            )),
            None => Err(format!("needs {}: {}, and set {variable}", need.what, need.install)),
        }
    });
    let needs = needs.collect::<Result<_, String>>()?;
    let version = ask_version(profile, &program, script, runner)?;
    Ok(DetectedRuntime { program, compiler, version, needs })
}

fn find_program(profile: &Profile) -> Result<PathBuf, String> {
    let variable = profile.program_variable();
    if let Some(given) = std::env::var_os(&variable).filter(|it| !it.is_empty()) {
        let path = PathBuf::from(given);
        if path.is_absolute() && is_executable(&path) {
            return Ok(path);
        }
        return Err(format!(
            "{variable} is {}, which is no absolute path of a program",
            path.display()
        ));
    }
    find_on_path(&profile.program.names).ok_or_else(|| {
        format!(
            "not installed: no {} on PATH; {}, or set {variable} to its path",
            profile.program.names.join(" or "),
            profile.install
        )
    })
}

/// Returns the first of `names` that exists: an absolute path, or a program in a folder of `PATH`.
fn find_on_path(names: &[String]) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).filter(|it| it.is_absolute()).collect())
        .unwrap_or_default();
    names.iter().find_map(|name| {
        if name.starts_with('/') {
            return Some(PathBuf::from(name)).filter(|path| is_executable(path));
        }
        folders.iter().map(|folder| folder.join(name)).find(|path| is_executable(path))
    })
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn ask_version(
    profile: &Profile,
    program: &Path,
    script: Option<&Path>,
    runner: &Runner,
) -> Result<String, String> {
    let script = script.map(|path| path.display().to_string());
    let args = profile.program.version_args.expand(&|_| script.clone(), &[]);
    let args = args.map_err(|name| format!("no value for {{{name}}}"))?;
    let asked = format!("`{} {}`", program.display(), args.join(" "));
    let said = run_captured(profile, program, &args, runner)
        .map_err(|error| format!("{asked} failed: {error}"))?;
    let version = extract_version(&said, &profile.program.version_after).ok_or_else(|| {
        format!(
            "{asked} does not tell its version as the profile says, by a number after {:?}; it said: {}",
            profile.program.version_after,
            excerpt_text(&said)
        )
    })?;
    match &profile.program.least {
        Some(least) if is_older_version(&version, least) => Err(format!(
            "{} is version {version}, and the profile is for {least} and later; {}",
            program.display(),
            profile.install
        )),
        _ => Ok(version),
    }
}

/// Runs the program to its end; returns its output, standard error after standard output.
fn run_captured(
    profile: &Profile,
    program: &Path,
    args: &[String],
    runner: &Runner,
) -> Result<String, String> {
    use std::io::{Read, Seek};
    let mut files =
        Stdio3::with_input(&FunctionInput::default()).map_err(|error| error.to_string())?;
    let call = RuntimeCall {
        file_limit: Some(VERSION_OUTPUT),
        memory_limit: Some(VERSION_MEMORY),
        ..RuntimeCall::new(profile, program, args, &files, VERSION_TIMEOUT)
    };
    let run =
        call.with_spawn_request(|spawn| runner.run(spawn, &mut NoSampling, &Cancel::for_process()));
    let run = run.map_err(|error| error.to_string())?;
    if run.ended.status != 0 {
        let said = read_tail(&mut files.stderr);
        return Err(format!("{}; {said}", super::invocation_verdict::describe_end(&run.ended)));
    }
    let mut said = Vec::new();
    for file in [&mut files.stdout, &mut files.stderr] {
        let whole = file.rewind().and_then(|()| file.take(VERSION_OUTPUT.0).read_to_end(&mut said));
        whole.map_err(|error| error.to_string())?;
        said.push(b'\n');
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Finds the version behind `after`: it starts with a digit and ends at a space.
fn extract_version(said: &str, after: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '~');
    said.match_indices(after).find_map(|(at, _)| {
        let rest = &said[at + after.len()..];
        let version: String = rest.chars().take_while(|c| fits(*c)).take(64).collect();
        version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
    })
}

/// Returns whether `version` is older than `least`, compared number by number.
fn is_older_version(version: &str, least: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|c: char| !c.is_ascii_digit())
            .take_while(|part| !part.is_empty())
            .map(|part| part.parse().unwrap_or(u64::MAX))
            .collect()
    };
    numbers(version) < numbers(least)
}

/// Returns the beginning of a text, on one line.
pub(super) fn excerpt_text(text: &str) -> String {
    let line = one_line(text);
    let short: String = line.chars().take(120).collect();
    if line.is_empty() {
        "nothing".to_owned()
    } else if short.len() < line.len() {
        format!("{short}...")
    } else {
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_behind_their_text() {
        assert_eq!(
            extract_version("wasmtime 48.0.8 (abc)\n", "wasmtime "),
            Some("48.0.8".to_owned())
        );
        assert_eq!(extract_version("v20.20.2\n", "v"), Some("20.20.2".to_owned()));
        assert_eq!(extract_version("version vx v1", "v"), Some("1".to_owned()));
        assert_eq!(extract_version("1.4.5\n", ""), Some("1.4.5".to_owned()));
        assert_eq!(
            extract_version("runsc version 0.0~20221219.0", "version "),
            Some("0.0~20221219.0".to_owned())
        );
        assert_eq!(extract_version("wasmtime", "wasmtime "), None);
        assert_eq!(extract_version("", "v"), None);
    }

    #[test]
    fn versions_are_compared_by_number() {
        for (version, least, expected) in [
            ("9.1", "10", true),
            ("10", "9.9.9", false),
            ("1.2", "1.2", false),
            ("1.2", "1.2.1", true),
            ("1.8.1", "1.8", false),
            ("0.0~2022", "0.0", false),
        ] {
            assert_eq!(is_older_version(version, least), expected, "{version} {least}");
        }
    }
}
