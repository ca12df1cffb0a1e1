//! Inputs of an import: files, folders and standard input, decompressed while they are read.

mod identity;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyclometer_system::files::{
    self, FileError, FileKind, Folder, LinkPolicy, display_path, open_user_file,
};

pub(crate) use identity::to_hexadecimal;
pub use identity::{FileIdentity, digest_content, identify_file};
pub use stream::{InputStream, ReadCounter};

/// Most files of an import.
const MAX_FILES: usize = 1_000_000;

/// Deepest folder below the one that was named.
const MAX_DEPTH: usize = 64;

/// Place of an input.
#[derive(Debug, Clone)]
enum InputPlace {
    StandardInput,
    /// Named by the user.
    Named(PathBuf),
    /// Found in a folder, which it does not lead out of.
    Within(Arc<Folder>, PathBuf),
}

/// Input of an import.
#[derive(Debug, Clone)]
pub struct InputFile {
    place: InputPlace,
    /// Path as it is shown, `-` for standard input.
    pub path: String,
}

/// Inputs that were found, and what is none.
#[derive(Debug, Default)]
pub struct InputList {
    /// Inputs in the order in which they are read.
    pub files: Vec<InputFile>,
    /// Paths that are left out, with the reason of each.
    pub skipped: Vec<(String, String)>,
}

impl InputFile {
    /// Returns the name without folder and endings, by which a function is called that no record
    /// names.
    #[must_use]
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        let stem = name.split('.').find(|part| !part.is_empty()).unwrap_or(name);
        if self.is_standard_input() { "stdin" } else { stem }
    }

    /// Returns whether it is standard input.
    #[must_use]
    pub const fn is_standard_input(&self) -> bool {
        matches!(self.place, InputPlace::StandardInput)
    }

    /// Opens the file; `None` for standard input.
    ///
    /// # Errors
    /// Returns an error when it cannot be opened.
    pub fn open(&self) -> Result<Option<File>, FileError> {
        match &self.place {
            InputPlace::StandardInput => Ok(None),
            InputPlace::Named(path) => open_user_file(path).map(Some),
            InputPlace::Within(folder, name) => {
                Ok(Some(folder.find_regular(name)?.open_for_reading()?))
            }
        }
    }
}

/// Finds the inputs that paths stand for: a folder stands for the files below it, by name. Links in
/// a folder are left out, since what they lead to is another's, or is there already.
///
/// # Errors
/// Returns the path that cannot be read, with the reason.
pub fn list_inputs(paths: &[PathBuf]) -> Result<InputList, (String, FileError)> {
    let mut list = InputList::default();
    let mut seen = HashSet::new();
    for path in paths {
        if !seen.insert(path) {
            list.skipped.push((display_path(path), "named twice".to_owned()));
        } else if path == Path::new("-") {
            list.files.push(InputFile { place: InputPlace::StandardInput, path: "-".to_owned() });
        } else if path.is_dir() {
            list_folder(path, &mut list).map_err(|error| (display_path(path), error))?;
        } else {
            let place = InputPlace::Named(path.clone());
            list.files.push(InputFile { place, path: display_path(path) });
        }
    }
    Ok(list)
}

fn list_folder(path: &Path, list: &mut InputList) -> Result<(), FileError> {
    let root = Arc::new(Folder::open(path, LinkPolicy::Beneath)?);
    // Folders still to be read, the next one last.
    let mut waiting = vec![PathBuf::new()];
    while let Some(inside) = waiting.pop() {
        let folder = root.open_folder(&inside)?;
        let mut below = Vec::new();
        for name in folder.entry_names_up_to(MAX_FILES)? {
            let name = PathBuf::from(name);
            let inner = inside.join(&name);
            let shown = display_path(&path.join(&inner));
            let reason = match folder.own_kind(&name) {
                Ok(FileKind::Regular) if list.files.len() == MAX_FILES => {
                    return Err(FileError::TooMany(MAX_FILES));
                }
                Ok(FileKind::Regular) => {
                    let place = InputPlace::Within(Arc::clone(&root), inner);
                    list.files.push(InputFile { place, path: shown });
                    continue;
                }
                Ok(FileKind::Folder) if inner.components().count() <= MAX_DEPTH => {
                    below.push(inner);
                    continue;
                }
                Ok(FileKind::Folder) => format!("more than {MAX_DEPTH} folders deep"),
                Ok(other) => other.label().to_owned(),
                Err(error) => error.to_string(),
            };
            list.skipped.push((shown, reason));
        }
        waiting.extend(below.into_iter().rev());
    }
    Ok(())
}

/// Returns the reason why an input is none, by its first bytes, if there is one.
#[must_use]
pub fn refuse_content(start: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 7] = [
        (b"PK\x03\x04", "a zip archive: unpack it first"),
        (
            b"BZh",
            "compressed with bzip2: decompress it first (bzip2 -dc FILE | cyclometer import -)",
        ),
        (
            b"\xfd7zXZ\0",
            "compressed with xz: decompress it first (xz -dc FILE | cyclometer import -)",
        ),
        (b"7z\xbc\xaf", "a 7-Zip archive: unpack it first"),
        (b"Rar!", "a RAR archive: unpack it first"),
        (b"\xff\xfe", "text in UTF-16: convert it first (iconv -f UTF-16 -t UTF-8)"),
        (b"\xfe\xff", "text in UTF-16: convert it first (iconv -f UTF-16 -t UTF-8)"),
    ];
    if start.is_empty() {
        return Some("an empty file");
    }
    KNOWN.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, reason)| *reason)
}

/// Bound of files that an import reads whole, such as a mapping.
pub const SMALL_FILE: files::Bound = files::Bound::new("a mapping file", 1 << 20);
