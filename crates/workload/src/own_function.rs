//! Functions of the user's own that are named by their forms: a program or script, a WebAssembly
//! module, a container image; no manifest is needed.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use cyclometer_core::visible_text::is_hidden;
use cyclometer_system::files::{FileError, RegularFile, display_path, read_user_file};

use crate::catalog::MAX_NAME;
use crate::wasm_form::{self, WasmFormError};
use crate::{NativeProgram, PROGRAM, Preset, Workload};

/// Form that a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileForm {
    /// A WebAssembly module or component, as bytes or as text.
    Wasm,
    /// A program or script.
    Native,
    /// A folder of workloads with manifests.
    Folder,
}

/// Forms of a function, from which a workload is made.
#[derive(Debug, Clone, Default)]
pub struct OwnFunction {
    /// Name of the workload; `None`: that of the first form.
    pub name: Option<String>,
    /// Program or script: a path, or a name that is looked up in `PATH`.
    pub native: Option<OsString>,
    /// WebAssembly module or component, as bytes or as text.
    pub wasm: Option<PathBuf>,
    /// Container image, by the name that an engine knows it by.
    pub image: Option<String>,
}

/// Error of a form.
#[derive(Debug, Error)]
pub enum OwnFunctionError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", display_path(path))]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of reading it.
        source: FileError,
    },
    /// There is no such program.
    #[error("there is no program `{name}`{hint}")]
    NoProgram {
        /// Name or path as given.
        name: String,
        /// Places that were searched, or a suggestion.
        hint: String,
    },
    /// The file cannot be executed.
    #[error("{} cannot be executed: {reason}", display_path(path))]
    NotExecutable {
        /// Path of the file.
        path: PathBuf,
        /// Reason, and what to do.
        reason: String,
    },
    /// The WebAssembly form is none.
    #[error(transparent)]
    Wasm(#[from] WasmFormError),
    /// The name is not one of a workload.
    #[error("`{0}` is no name of a workload: 1 to {MAX_NAME} bytes of text on one line")]
    Name(String),
    /// The image's name is none.
    #[error("`{0}` is no name of an image, such as debian:12 or me/fn")]
    Image(String),
}

/// Number of first bytes by which a form is told.
const HEAD: usize = 64;

/// Returns the form of the file at `path`, by its first bytes.
///
/// # Errors
/// Returns an error when it cannot be read, and is no program that may be executed only.
pub fn detect_form(path: &Path) -> Result<FileForm, OwnFunctionError> {
    let failed = |error: std::io::Error| OwnFunctionError::Read {
        path: path.to_owned(),
        source: error.into(),
    };
    if std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(FileForm::Folder);
    }
    let is_text = path.extension().is_some_and(|it| it == "wat");
    let is_module = path.extension().is_some_and(|it| it == "wasm");
    if is_text || is_module {
        return Ok(FileForm::Wasm);
    }
    match read_head(path) {
        Ok(head) if head.starts_with(b"\0asm") => Ok(FileForm::Wasm),
        Ok(_) => Ok(FileForm::Native),
        // It may still be executed.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(FileForm::Native),
        Err(error) => Err(failed(error)),
    }
}

/// Reads the first bytes of a regular file; those of a pipe are none, since they would be lost.
fn read_head(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut head = Vec::new();
    match RegularFile::from_path(path) {
        Ok(file) => {
            file.open_for_reading()?.take(HEAD as u64).read_to_end(&mut head)?;
        }
        Err(FileError::Io(error)) => return Err(error),
        Err(_) => {}
    }
    Ok(head)
}

impl OwnFunction {
    /// Returns whether it has no form.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.native.is_none() && self.wasm.is_none() && self.image.is_none()
    }

    /// Builds the workload with its only preset. A program starts in the present folder, with the
    /// `PATH` of this process.
    ///
    /// # Errors
    /// Returns an error for a form that cannot be found, read or executed.
    pub fn build_workload(&self, preset: Preset) -> Result<Workload, OwnFunctionError> {
        let native = self.native.as_deref().map(open_program).transpose()?;
        let wasm = self.wasm.as_deref().map(read_wasm).transpose()?;
        let image = self.image.as_deref().map(check_image_name).transpose()?;
        Ok(Workload {
            title: self.describe_forms(),
            stresses: "your own function".to_owned(),
            native,
            wasm,
            image: image.map(str::to_owned),
            presets: [(preset.name.clone(), preset)].into(),
            ..Workload::without_forms(&self.choose_name()?)
        })
    }

    /// Returns the name of the workload.
    fn choose_name(&self) -> Result<String, OwnFunctionError> {
        let file_name = |path: &Path| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            stem.chars().filter(|letter| !is_hidden(*letter)).take(40).collect::<String>()
        };
        let image_name = |image: &String| {
            let last = image.rsplit('/').next().unwrap_or(image);
            last.split(['@', ':']).next().unwrap_or(last).to_owned()
        };
        let name = self
            .name
            .clone()
            .or_else(|| self.wasm.as_deref().map(file_name))
            .or_else(|| self.native.as_deref().map(|it| file_name(Path::new(it))))
            .or_else(|| self.image.as_ref().map(image_name))
            .unwrap_or_default();
        let fits = (1..=MAX_NAME).contains(&name.len()) && !name.contains(is_hidden);
        if fits { Ok(name) } else { Err(OwnFunctionError::Name(name)) }
    }

    /// Describes the forms in one line.
    fn describe_forms(&self) -> String {
        let native = self.native.as_ref().map(|it| format!("program {}", it.to_string_lossy()));
        let wasm = self.wasm.as_ref().map(|it| format!("module {}", it.display()));
        let image = self.image.as_ref().map(|it| format!("image {it}"));
        [native, wasm, image].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Reads a WebAssembly form.
fn read_wasm(path: &Path) -> Result<std::sync::Arc<[u8]>, OwnFunctionError> {
    let bytes = read_user_file(path, PROGRAM)
        .map_err(|source| OwnFunctionError::Read { path: path.to_owned(), source })?;
    Ok(wasm_form::load_wasm(&bytes, &display_path(path))?)
}

/// Checks that a text can be the name of an image; its meaning is up to the engine.
///
/// # Errors
/// [`OwnFunctionError::Image`].
pub(crate) fn check_image_name(text: &str) -> Result<&str, OwnFunctionError> {
    let is_path = text.starts_with(['.', '/']) && Path::new(text).exists();
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let is_name = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits);
    if is_name || is_path { Ok(text) } else { Err(OwnFunctionError::Image(text.to_owned())) }
}

/// Opens a program, which is looked up in `PATH` unless it has a slash.
fn open_program(given: &OsStr) -> Result<NativeProgram, OwnFunctionError> {
    let path = if given.as_bytes().contains(&b'/') {
        PathBuf::from(given)
    } else {
        find_in_path(given, std::env::var_os("PATH").as_deref())?
    };
    let path = path.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => OwnFunctionError::NoProgram {
            name: given.to_string_lossy().into_owned(),
            hint: String::new(),
        },
        _ => OwnFunctionError::Read { path: path.clone(), source: error.into() },
    })?;
    check_executable(&path)?;
    let start_folder = std::env::current_dir().ok();
    NativeProgram::from_path(&path)
        .map(|program| program.with_command_line(&given.to_string_lossy(), start_folder))
        .map_err(|source| OwnFunctionError::Read { path, source })
}

/// Finds an executable file in the folders of `search`, as shells do.
///
/// # Errors
/// [`OwnFunctionError::NoProgram`].
pub fn find_in_path(name: &OsStr, search: Option<&OsStr>) -> Result<PathBuf, OwnFunctionError> {
    let folders = std::env::split_paths(search.unwrap_or(OsStr::new("/usr/bin:/bin")));
    let found = folders.map(|folder| folder.join(name)).find(|path| {
        path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    });
    found.ok_or_else(|| {
        let is_here = Path::new(name).exists();
        let shown = name.to_string_lossy();
        let hint = if is_here {
            format!(" in PATH; the file here is `./{shown}`")
        } else {
            " in PATH".to_owned()
        };
        OwnFunctionError::NoProgram { name: shown.into_owned(), hint }
    })
}

/// Checks that a file may be executed by this user.
fn check_executable(path: &Path) -> Result<(), OwnFunctionError> {
    use nix::unistd::{AccessFlags, access};
    let refuse = |reason: String| OwnFunctionError::NotExecutable { path: path.to_owned(), reason };
    let data = path
        .metadata()
        .map_err(|error| OwnFunctionError::Read { path: path.to_owned(), source: error.into() })?;
    if data.is_dir() {
        return Err(refuse("it is a folder".to_owned()));
    }
    // WebAssembly is run by a runtime, whatever its mode.
    if read_head(path).is_ok_and(|head| head.starts_with(b"\0asm")) {
        return Err(refuse("it is WebAssembly, and no program: name it with --wasm".to_owned()));
    }
    let may = access(path, AccessFlags::X_OK).is_ok() && data.permissions().mode() & 0o111 != 0;
    if data.is_file() && !may {
        return Err(refuse(format!(
            "permission denied: `chmod +x {}` allows it",
            display_path(path)
        )));
    }
    // One that may be executed only cannot be looked at.
    match read_head(path) {
        Ok(head) if data.is_file() => check_start(&head).map_err(refuse),
        _ => Ok(()),
    }
}

/// Machine of ELF files that run here, by the number of the ELF specification; `None`: not known.
const ELF_MACHINE: Option<u16> = if cfg!(target_arch = "x86_64") {
    Some(62)
} else if cfg!(target_arch = "aarch64") {
    Some(183)
} else {
    None
};

/// Checks by the first bytes of an executable file that the kernel can start it.
fn check_start(head: &[u8]) -> Result<(), String> {
    if head.is_empty() {
        return Err("it is empty".to_owned());
    }
    if let Some(line) = head.strip_prefix(b"#!") {
        return check_interpreter(line);
    }
    if has_other_formats() {
        return Ok(());
    }
    let [0x7f, b'E', b'L', b'F', ..] = head else {
        return Err("it is neither a program of this machine (ELF) nor a script, which begins \
                    with `#!` and its interpreter"
            .to_owned());
    };
    // Bytes 18 and 19, in the order of bytes that byte 5 tells: 1 is little-endian.
    let machine = match (head.get(5), head.get(18..20)) {
        (Some(1), Some([low, high])) => Some(u16::from_le_bytes([*low, *high])),
        (Some(2), Some([high, low])) => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    };
    match (machine, ELF_MACHINE) {
        (Some(its), Some(ours)) if its != ours => Err(format!(
            "it is for another machine (ELF machine {its}, and this is {ours}): build it for {}",
            std::env::consts::ARCH
        )),
        _ => Ok(()),
    }
}

/// Returns whether programs of other formats and machines are registered with the kernel
/// (`binfmt_misc`), beside the files that are always there.
fn has_other_formats() -> bool {
    let folder = std::fs::read_dir("/proc/sys/fs/binfmt_misc");
    folder.is_ok_and(|entries| entries.count() > 2)
}

/// Checks that the interpreter in the first line of a script is there; of a line that goes on
/// beyond the first bytes nothing is known.
fn check_interpreter(line: &[u8]) -> Result<(), String> {
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else { return Ok(()) };
    let line = String::from_utf8_lossy(&line[..end]);
    let interpreter = line.trim_matches([' ', '\t']).split([' ', '\t']).next().unwrap_or_default();
    if let Some(name) = interpreter.strip_suffix('\r') {
        return Err(format!(
            "its lines end in CRLF, so that `{name}\\r` would be its interpreter: \
             `sed -i 's/\\r$//'` mends it"
        ));
    }
    if interpreter.is_empty() || !Path::new(interpreter).exists() {
        let shown = cyclometer_core::visible_text::summarize_text(interpreter, HEAD);
        return Err(format!("its interpreter `{shown}` is not there"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preset() -> Preset {
        Preset::with_defaults("quick")
    }

    fn error_of(function: &OwnFunction) -> String {
        function.build_workload(preset()).expect_err("refused").to_string()
    }

    #[test]
    fn forms_are_told_by_their_first_bytes_or_their_extension() {
        let place = tempfile::tempdir().expect("a folder");
        let file = |name: &str, content: &[u8]| {
            let path = place.path().join(name);
            std::fs::write(&path, content).expect("written");
            detect_form(&path).expect("readable")
        };
        assert_eq!(file("a", b"\0asm\x01\0\0\0"), FileForm::Wasm);
        assert_eq!(file("b", b"\0asm\x0d\0\x01\0"), FileForm::Wasm, "a component");
        assert_eq!(file("c.wat", b"(module)"), FileForm::Wasm);
        assert_eq!(file("d.wasm", b"no module"), FileForm::Wasm, "it is reported as such");
        assert_eq!(file("e", b"\x7fELF"), FileForm::Native);
        assert_eq!(file("f", b"#!/bin/sh\n"), FileForm::Native);
        assert_eq!(detect_form(place.path()).expect("readable"), FileForm::Folder);
        let missing = detect_form(&place.path().join("missing")).expect_err("refused").to_string();
        assert!(missing.contains("No such file"), "{missing}");
    }

    #[test]
    fn programs_are_found_in_the_path_and_called_as_given() {
        let shell = OwnFunction { native: Some("sh".into()), ..OwnFunction::default() };
        let workload = shell.build_workload(preset()).expect("there is a shell");
        assert_eq!((workload.name.as_str(), workload.argument_zero()), ("sh", "sh"));
        assert!(workload.wasm.is_none() && workload.image.is_none());
        let none = OwnFunction { native: Some("no-such-tool".into()), ..OwnFunction::default() };
        assert_eq!(error_of(&none), "there is no program `no-such-tool` in PATH");
        let none = OwnFunction { native: Some("./no-such".into()), ..OwnFunction::default() };
        assert_eq!(error_of(&none), "there is no program `./no-such`");
        let folder = OwnFunction { native: Some("/usr".into()), ..OwnFunction::default() };
        assert!(error_of(&folder).ends_with("it is a folder"), "{}", error_of(&folder));
    }

    #[test]
    fn a_file_that_may_not_be_executed_is_refused_with_the_remedy() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("tool");
        std::fs::write(&path, "#!/bin/sh\n").expect("written");
        let function = OwnFunction { native: Some(path.into()), ..OwnFunction::default() };
        let error = error_of(&function);
        assert!(error.contains("permission denied: `chmod +x "), "{error}");
    }

    #[test]
    fn what_the_kernel_could_not_start_is_refused_with_the_cause() {
        let told = |head: &[u8]| check_start(head).expect_err("refused");
        assert_eq!(check_start(b"#!/bin/sh\necho\n"), Ok(()));
        assert_eq!(check_start(b"#! /usr/bin/env sh\n"), Ok(()));
        assert_eq!(check_start(b"#!/a/very/long/path/that/goes/on"), Ok(()), "not known");
        assert_eq!(told(b""), "it is empty");
        assert!(told(b"#!/bin/sh\r\necho\r\n").contains("CRLF"));
        assert_eq!(told(b"#!/no/such -x\n"), "its interpreter `/no/such` is not there");
        if has_other_formats() {
            return;
        }
        assert!(told(b"echo hello\n").contains("neither a program"));
        // Of the ELF specification: 40 is 32-bit ARM.
        let mut head = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x28\0";
        assert!(told(&head).contains("ELF machine 40"));
        let own = ELF_MACHINE.expect("tests run on known machines").to_le_bytes();
        head[18..20].copy_from_slice(&own);
        assert_eq!(check_start(&head), Ok(()));
    }

    #[test]
    fn a_function_is_named_after_its_first_form() {
        let image =
            |text: &str| OwnFunction { image: Some(text.to_owned()), ..OwnFunction::default() };
        for (text, name) in [
            ("me/fn:1", "fn"),
            ("localhost:5000/team/hello@sha256:00", "hello"),
            ("alpine", "alpine"),
        ] {
            let workload = image(text).build_workload(preset()).expect("a workload");
            assert_eq!((workload.name.as_str(), workload.image.as_deref()), (name, Some(text)));
        }
        for bad in ["", "-x", "a b", "me/f\u{1b}"] {
            assert!(image(bad).build_workload(preset()).is_err(), "{bad}");
        }
        let named = OwnFunction { name: Some("thumbnail".to_owned()), ..image("me/fn") };
        assert_eq!(named.build_workload(preset()).expect("a workload").name, "thumbnail");
        let hidden = OwnFunction { name: Some("a\u{202e}b".to_owned()), ..image("me/fn") };
        assert!(error_of(&hidden).contains("no name of a workload"));
    }
}
