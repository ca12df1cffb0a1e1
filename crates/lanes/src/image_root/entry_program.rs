//! The program that an image starts with, looked for before anything runs: runtimes tell of one that
//! is missing by an exit code that could be the function's own.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use cyclometer_system::files::Folder;

/// Longest first line of a script that names its interpreter, as the kernel has it.
const MAX_SCRIPT_LINE: u64 = 256;

/// Checks that the program of a container is among the files of its root, can be executed, and that
/// the interpreter of a script is there, too. `search` is the value of `PATH`.
///
/// # Errors
/// Missing part of a program.
pub(crate) fn check_entry_program(
    root: &Folder,
    program: &str,
    workdir: &str,
    search: &str,
) -> Result<(), String> {
    let shown = program.escape_debug();
    let candidates: Vec<String> = if program.starts_with('/') {
        vec![program.to_owned()]
    } else if program.contains('/') {
        vec![format!("{workdir}/{program}")]
    } else {
        search.split(':').map(|folder| format!("{folder}/{program}")).collect()
    };
    let mut unfit = None;
    for path in &candidates {
        match open_program(root, path) {
            Ok(file) => return check_script(root, file, program),
            Err(ProgramProblem::Missing) => {}
            Err(ProgramProblem::Unknown) => return Ok(()),
            Err(ProgramProblem::Unfit(why)) => unfit = Some(why),
        }
    }
    Err(match unfit {
        Some(why) => format!("its program `{shown}` {why}"),
        None if program.contains('/') => format!("its program `{shown}` is not among its files"),
        None => format!("its program `{shown}` is in no folder of its PATH ({search})"),
    })
}

/// Opens a file of a root for reading, by its path in it: links are followed as in the container,
/// absolute ones within the root.
///
/// # Errors
/// The error of the system; `ENOSYS` before Linux 5.6.
pub(super) fn open_in_root(root: &Folder, path: &str) -> Result<File, Errno> {
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(resolve);
    openat2(root.as_fd(), path, how).map(File::from)
}

/// Reason why a program cannot be opened.
enum ProgramProblem {
    Missing,
    /// It is there, but no program: what it is.
    Unfit(&'static str),
    /// It cannot be told from here.
    Unknown,
}

/// Opens a program below the root, whose absolute links are links within it.
fn open_program(root: &Folder, path: &str) -> Result<File, ProgramProblem> {
    let file = match open_in_root(root, path) {
        Ok(file) => file,
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Err(ProgramProblem::Missing),
        // Linux before 5.6, a filter of system calls, a file that may only be executed.
        Err(_) => return Err(ProgramProblem::Unknown),
    };
    let data = file.metadata().map_err(|_| ProgramProblem::Unknown)?;
    if data.is_dir() {
        return Err(ProgramProblem::Unfit("is a folder"));
    }
    if !data.is_file() || data.permissions().mode() & 0o111 == 0 {
        return Err(ProgramProblem::Unfit("may not be executed (`chmod +x` in the image)"));
    }
    Ok(file)
}

/// Checks that the interpreter that a script names is there.
fn check_script(root: &Folder, file: File, program: &str) -> Result<(), String> {
    let mut start = Vec::new();
    if file.take(MAX_SCRIPT_LINE).read_to_end(&mut start).is_err() {
        return Ok(());
    }
    let Some(line) = start.strip_prefix(b"#!") else { return Ok(()) };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    let Some(interpreter) = line.split_whitespace().next() else { return Ok(()) };
    match open_program(root, interpreter) {
        Err(ProgramProblem::Missing) => Err(format!(
            "its program `{}` is a script for `{}`, which is not among its files",
            program.escape_debug(),
            interpreter.escape_debug()
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use cyclometer_system::files::LinkPolicy;

    #[test]
    fn programs_are_looked_for_in_the_root_alone() {
        let place = tempfile::tempdir().expect("a folder");
        let at = |name: &str| place.path().join(name);
        std::fs::create_dir_all(at("bin/folder")).expect("made");
        for (name, content, mode) in [
            ("bin/tool", "program", 0o755),
            ("bin/data", "x", 0o644),
            ("bin/script", "#! /bin/tool -x\nmore", 0o755),
            ("bin/orphan", "#!/usr/bin/env python3\n", 0o755),
        ] {
            std::fs::write(at(name), content).expect("written");
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(at(name), mode).expect("set");
        }
        // Absolute links are links within the root; one to a file of this machine leads nowhere.
        symlink("/bin/tool", at("bin/link")).expect("linked");
        symlink("/bin/sh", at("bin/outside")).expect("linked");
        symlink("loop", at("bin/loop")).expect("linked");
        let check = |program: &str| {
            let root = Folder::open(place.path(), LinkPolicy::Beneath).expect("there");
            check_entry_program(&root, program, "/bin", "/nowhere:/bin")
        };
        for good in ["tool", "/bin/tool", "./tool", "link", "script", "/bin/../bin/link"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("/bin/none", "`/bin/none` is not among its files"),
            ("none", "is in no folder of its PATH (/nowhere:/bin)"),
            ("/bin/outside", "not among its files"),
            ("/bin/loop", "not among its files"),
            ("/bin/folder", "is a folder"),
            ("data", "may not be executed"),
            ("orphan", "a script for `/usr/bin/env`, which is not among its files"),
        ] {
            assert!(check(bad).is_err_and(|text| text.contains(why)), "{bad}: {:?}", check(bad));
        }
    }
}
