//! Checks of a preset's values, which manifests and command lines give alike.

use std::path::{Component, Path};

use cyclometer_core::units::Bytes;
use cyclometer_core::visible_text::is_hidden;

use crate::{EnvironmentVariable, SharedFolder};

/// Most arguments of a preset.
const MAX_ARGS: usize = 1_000;
/// Most bytes of all arguments and variables of a preset, each with its terminator: they go to the
/// launcher in one message, with those of the runtime.
const MAX_TEXT_BYTES: usize = 56 << 10;
/// Most variables of a preset: the launcher takes 128, some of them of runtimes.
const MAX_VARIABLES: usize = 100;
/// Longest name of an export, in bytes.
const MAX_EXPORT: usize = 1_000;

/// Checks arguments: no NUL, at most 1,000, at most 56 KiB together.
///
/// # Errors
/// Returns a message for users.
pub fn check_arguments(args: &[String]) -> Result<(), String> {
    if let Some(bad) = args.iter().find(|arg| arg.contains('\0')) {
        return Err(format!("{bad:?} contains a NUL character"));
    }
    if args.len() > MAX_ARGS {
        return Err(format!("{} are more than {MAX_ARGS}", args.len()));
    }
    check_size(args.iter().map(|arg| arg.len() + 1).sum(), "give it on `stdin`")
}

fn check_size(bytes: usize, remedy: &str) -> Result<(), String> {
    if bytes <= MAX_TEXT_BYTES {
        return Ok(());
    }
    let (all, most) = (Bytes(bytes as u64), Bytes(MAX_TEXT_BYTES as u64));
    Err(format!("{all} are more than {most}: {remedy}"))
}

/// Checks variables of an environment: names without `=`, no NUL, at most 100, at most 56 KiB
/// together.
///
/// # Errors
/// Returns a message for users, without values.
pub fn check_variables(variables: &[EnvironmentVariable]) -> Result<(), String> {
    for EnvironmentVariable { name, value } in variables {
        if name.is_empty() || name.contains(['=', '\0']) || name.contains(is_hidden) {
            return Err(format!("{name:?} is no name of a variable"));
        }
        if value.contains('\0') {
            return Err(format!("the value of {name} contains a NUL character"));
        }
    }
    if variables.len() > MAX_VARIABLES {
        return Err(format!("{} are more than {MAX_VARIABLES}", variables.len()));
    }
    let size = |it: &EnvironmentVariable| it.name.len() + it.value.len() + 2;
    check_size(variables.iter().map(size).sum(), "write it to a file that the function reads")
}

/// Checks a path that a function sees: absolute, without `..`, on one line.
///
/// # Errors
/// Returns a message for users.
pub fn check_guest_path(path: &str) -> Result<(), String> {
    let parts = Path::new(path).components();
    let fits = path.starts_with('/') && !parts.clone().any(|it| it == Component::ParentDir);
    if !fits || path.contains(is_hidden) || path.contains('\0') || path.len() > 4_096 {
        return Err(format!("{path:?} must be an absolute path without `..`, such as /data"));
    }
    Ok(())
}

/// Checks folders that a function sees: none in the place of another, or of the kernel's.
///
/// # Errors
/// Returns a message for users.
pub fn check_folders(folders: &[SharedFolder]) -> Result<(), String> {
    const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];
    for (at, folder) in folders.iter().enumerate() {
        let guest = Path::new(&folder.guest);
        if folders.iter().take(at).any(|other| Path::new(&other.guest) == guest) {
            return Err(format!("two folders are to be at {}: name another path", folder.guest));
        }
        if KERNEL.iter().any(|own| guest.starts_with(own)) {
            return Err(format!("{} is the kernel's: name another path", folder.guest));
        }
    }
    Ok(())
}

/// Checks the name of an export.
///
/// # Errors
/// Returns a message for users.
pub fn check_export_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_EXPORT || name.contains(is_hidden) {
        return Err(format!("an export's name is 1 to {MAX_EXPORT} bytes on one line"));
    }
    Ok(())
}

/// Parts of the text of a folder: `HOST[:GUEST][:ro]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedFolderText<'a> {
    /// Path on this machine.
    pub host: &'a str,
    /// Absolute path at which the function finds it, if given.
    pub guest: Option<&'a str>,
    /// Whether it may only be read.
    pub is_read_only: bool,
}

impl<'a> SharedFolderText<'a> {
    /// Splits the text.
    ///
    /// # Errors
    /// Returns a message for users when it has other parts, or the function's path is not absolute.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let mut parts: Vec<&str> = text.split(':').collect();
        let mode = parts.pop_if(|last| matches!(*last, "ro" | "rw"));
        let (host, guest) = match parts[..] {
            [host] if !host.is_empty() => (host, None),
            [host, guest] if !host.is_empty() => (host, Some(guest)),
            _ => return Err(format!("{text:?} is not HOST[:GUEST][:ro]")),
        };
        guest.map_or(Ok(()), check_guest_path)?;
        if guest == Some("/") {
            return Err(format!(
                "{text:?} would take the place of the root: choose a folder in it"
            ));
        }
        Ok(Self { host, guest, is_read_only: mode == Some("ro") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_split_into_their_parts() {
        let parse = |text| SharedFolderText::parse(text);
        let folder = |host, guest, is_read_only| Ok(SharedFolderText { host, guest, is_read_only });
        assert_eq!(parse("data"), folder("data", None, false));
        assert_eq!(parse("data:ro"), folder("data", None, true));
        assert_eq!(parse("data:/in"), folder("data", Some("/in"), false));
        assert_eq!(parse("/a b:/in:ro"), folder("/a b", Some("/in"), true));
        assert_eq!(parse("data:/in:rw"), folder("data", Some("/in"), false));
        for bad in ["", ":", ":/in", "ro", "a:b", "a:/in/..", "a:/in:rx", "a:/", "a:/x\u{1b}"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn folders_take_the_place_of_no_other() {
        let folder = |guest: &str| SharedFolder {
            host: "/srv".into(),
            guest: guest.to_owned(),
            is_read_only: false,
        };
        assert_eq!(check_folders(&[folder("/a"), folder("/a/b"), folder("/process")]), Ok(()));
        for bad in
            [vec![folder("/a"), folder("/a/")], vec![folder("/proc")], vec![folder("/dev/x")]]
        {
            assert!(check_folders(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn variables_have_bounds_and_their_values_are_never_told() {
        let variable = |name: &str, value: &str| EnvironmentVariable {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(check_variables(&[variable("A", "b=c"), variable("_x1", "")]), Ok(()));
        for bad in [variable("", "s3cret"), variable("A=B", "s3cret"), variable("A", "s3cret\0")] {
            let error = check_variables(&[bad]).expect_err("refused");
            assert!(!error.contains("s3cret"), "{error}");
        }
        let many = vec![variable("A", "b"); 101];
        assert_eq!(check_variables(&many), Err("101 are more than 100".to_owned()));
        let long = [variable("A", &"x".repeat(56 << 10))];
        assert!(check_variables(&long).expect_err("refused").contains("more than 56.0 KiB"));
    }
}
