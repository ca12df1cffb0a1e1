//! Parser of `workload.toml`, which is strict since manifests may come from anyone.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::Deserialize;
use thiserror::Error;

use super::input::MAX_INPUT;
use super::limits::{Limits, parse_memory_limit, parse_output_limit, parse_time_limit};
use super::own_function::check_image_name;
use super::preset_values::{
    SharedFolderText, check_arguments, check_export_name, check_folders, check_guest_path,
    check_variables,
};
use super::{EnvironmentVariable, FunctionInput, OutputDigest, Preset, SharedFolder};
use cyclometer_core::toml_text::{line_and_column, to_printable_line, with_nearest_key};
use cyclometer_core::units::Bytes;
use cyclometer_core::visible_text::is_hidden;
use cyclometer_system::files::{Bound, FileError};

/// Size limit of a manifest.
pub const MAX_MANIFEST: Bound = Bound::new("a manifest", 256 << 10);
/// Most presets of a workload.
const MAX_PRESETS: usize = 64;
/// Longest name of a preset, in bytes.
const MAX_NAME: usize = 64;
/// Longest title, in characters.
const MAX_TITLE: usize = 600;

/// Error of a manifest.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("{place}: {message}")]
    Syntax {
        /// File, line and column.
        place: String,
        /// Problem that the parser reports.
        message: String,
    },
    /// A value that is not valid.
    #[error("{file}: {key}: {message}")]
    Value {
        /// Path of the manifest.
        file: String,
        /// Key of the value.
        key: String,
        /// Problem, and what would be accepted.
        message: String,
    },
}

/// Checked manifest; its programs are not read.
#[derive(Debug)]
pub struct Manifest {
    /// Title in one line, for users.
    pub title: String,
    /// Resources that the function stresses.
    pub stresses: String,
    /// The C source, relative to the folder.
    pub source: Option<String>,
    /// The WebAssembly module, relative to the folder.
    pub wasm: Option<String>,
    /// The native program, relative to the folder.
    pub native: Option<String>,
    /// The container image, by the name that an engine knows it by.
    pub image: Option<String>,
    /// Arguments, input, expected output and limits by name.
    pub presets: BTreeMap<String, Preset>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    title: String,
    stresses: String,
    source: Option<String>,
    wasm: Option<String>,
    native: Option<String>,
    image: Option<String>,
    #[serde(default)]
    limits: RawLimits,
    preset: BTreeMap<String, RawPreset>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    memory: Option<String>,
    timeout: Option<String>,
    output: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPreset {
    #[serde(default)]
    args: Vec<String>,
    stdin: Option<RawContent>,
    expected: Option<RawContent>,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    dirs: Vec<String>,
    workdir: Option<String>,
    invoke: Option<String>,
    #[serde(default)]
    expected_exit: u8,
}

/// Input or expected output, in one of several forms.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawContent {
    text: Option<String>,
    file: Option<String>,
    pattern: Option<String>,
    sha256: Option<String>,
    bytes: Option<u64>,
}

/// Function that reads a file named by a manifest, by a path that stays inside its folder.
pub(crate) type ReadFile<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, FileError>;

struct ManifestContext<'a> {
    origin: &'a str,
    folder: Option<&'a Path>,
    read: ReadFile<'a>,
}

impl Manifest {
    /// Parses and checks a manifest; `origin` is its name in errors, `folder` the folder on disk
    /// in which it lies, and `read` returns the content of files that it names.
    ///
    /// # Errors
    /// Returns the first problem and its place.
    pub fn parse(
        text: &[u8],
        origin: &str,
        folder: Option<&Path>,
        read: ReadFile<'_>,
    ) -> Result<Self, ManifestError> {
        let syntax = |offset: Option<usize>, message: &str| ManifestError::Syntax {
            place: format_position(origin, &String::from_utf8_lossy(text), offset),
            message: to_printable_line(message),
        };
        if text.len() as u64 > MAX_MANIFEST.most.0 {
            return Err(syntax(None, &FileError::TooLarge(MAX_MANIFEST).to_string()));
        }
        let text = std::str::from_utf8(text)
            .map_err(|error| syntax(Some(error.valid_up_to()), "a byte here is not UTF-8"))?;
        let raw: RawManifest = toml::from_str(text).map_err(|error| {
            syntax(error.span().map(|span| span.start), &with_nearest_key(error.message()))
        })?;
        let context = ManifestContext { origin, folder, read };
        for (key, text) in [("title", &raw.title), ("stresses", &raw.stresses)] {
            context.check_line(key, text, MAX_TITLE)?;
        }
        for (key, path) in [("source", &raw.source), ("wasm", &raw.wasm), ("native", &raw.native)] {
            if let Some(path) = path {
                context.check_path(key, path)?;
            }
        }
        if let Some(image) = &raw.image {
            check_image_name(image)
                .map_err(|error| context.value_error("image", error.to_string()))?;
        }
        if raw.preset.is_empty() {
            return Err(context.value_error("preset", "at least one [preset.NAME] is needed"));
        }
        if raw.preset.len() > MAX_PRESETS {
            let message = format!("{} presets are more than {MAX_PRESETS}", raw.preset.len());
            return Err(context.value_error("preset", message));
        }
        let outer = context.parse_limits("limits", &raw.limits, Limits::default())?;
        let presets = raw
            .preset
            .into_iter()
            .map(|(name, preset)| {
                let preset = context.parse_preset(&name, preset, outer)?;
                Ok((name, preset))
            })
            .collect::<Result<_, ManifestError>>()?;
        Ok(Self {
            title: raw.title,
            stresses: raw.stresses,
            source: raw.source,
            wasm: raw.wasm,
            native: raw.native,
            image: raw.image,
            presets,
        })
    }
}

impl ManifestContext<'_> {
    fn value_error(&self, key: &str, message: impl Into<String>) -> ManifestError {
        ManifestError::Value {
            file: self.origin.to_owned(),
            key: key.to_owned(),
            message: to_printable_line(&message.into()),
        }
    }

    /// Checks that text for display fits on one line and has no hidden characters.
    fn check_line(&self, key: &str, text: &str, most: usize) -> Result<(), ManifestError> {
        if text.chars().count() > most {
            return Err(self.value_error(key, format!("it has more than {most} characters")));
        }
        if let Some(hidden) = text.chars().find(|it| is_hidden(*it)) {
            let message = format!(
                "it has a control character or a hidden one ({}): write it on one line, without",
                hidden.escape_default()
            );
            return Err(self.value_error(key, message));
        }
        Ok(())
    }

    fn check_args(&self, key: &str, args: &[String]) -> Result<(), ManifestError> {
        check_arguments(args).map_err(|error| self.value_error(key, error))
    }

    /// Checks that a path stays inside the workload's folder.
    fn check_path(&self, key: &str, path: &str) -> Result<(), ManifestError> {
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if inside && !path.is_empty() {
            return Ok(());
        }
        Err(self.value_error(key, format!("`{path}` must be a path inside the workload's folder")))
    }

    fn read_file(&self, key: &str, path: &str) -> Result<Vec<u8>, ManifestError> {
        self.check_path(key, path)?;
        (self.read)(path)
            .map_err(|error| self.value_error(key, format!("cannot read `{path}`: {error}")))
    }

    fn parse_preset(
        &self,
        name: &str,
        raw: RawPreset,
        outer: Limits,
    ) -> Result<Preset, ManifestError> {
        let key = |field: &str| format!("preset.{name}.{field}");
        if name.is_empty() || name.len() > MAX_NAME || name.contains(is_hidden) {
            let message = format!("a preset's name is 1 to {MAX_NAME} bytes on one line");
            return Err(self.value_error(&format!("preset.{}", to_printable_line(name)), message));
        }
        self.check_args(&key("args"), &raw.args)?;
        Ok(Preset {
            args: raw.args,
            stdin: raw
                .stdin
                .map_or(Ok(FunctionInput::default()), |it| self.parse_input(&key("stdin"), &it))?,
            expected: raw
                .expected
                .map(|it| self.parse_expected(&key("expected"), &it))
                .transpose()?,
            limits: self.parse_limits(&key("limits"), &raw.limits, outer)?,
            env: self.parse_variables(&key("env"), raw.env)?,
            dirs: self.parse_folders(&key("dirs"), &raw.dirs)?,
            workdir: raw.workdir.map(|it| self.parse_workdir(&key("workdir"), it)).transpose()?,
            invoke: raw.invoke.map(|it| self.parse_export(&key("invoke"), it)).transpose()?,
            expected_exit: raw.expected_exit.into(),
            name: name.to_owned(),
        })
    }

    fn parse_variables(
        &self,
        key: &str,
        given: BTreeMap<String, String>,
    ) -> Result<Vec<EnvironmentVariable>, ManifestError> {
        let variables = given.into_iter().map(|(name, value)| EnvironmentVariable { name, value });
        let variables: Vec<_> = variables.collect();
        check_variables(&variables).map_err(|error| self.value_error(key, error))?;
        Ok(variables)
    }

    /// Parses folders: `INSIDE:GUEST[:ro]`, of which the first lies in the workload's folder, so
    /// that a manifest from elsewhere shows a function nothing else of this machine.
    fn parse_folders(
        &self,
        key: &str,
        given: &[String],
    ) -> Result<Vec<SharedFolder>, ManifestError> {
        let parse = |text: &String| {
            let folder = SharedFolderText::parse(text).map_err(|it| self.value_error(key, it))?;
            self.check_path(key, folder.host)?;
            let Some(guest) = folder.guest else {
                let message = format!("`{text}` has no path for the function: write INSIDE:GUEST");
                return Err(self.value_error(key, message));
            };
            let root = self.folder.ok_or_else(|| {
                self.value_error(key, "a workload inside the program has no folder")
            })?;
            let host = root.join(folder.host);
            // Links must not lead out of the folder either.
            let host = host.canonicalize().map_err(|error| {
                self.value_error(key, format!("cannot find `{}`: {error}", folder.host))
            })?;
            if !host.is_dir() || !host.starts_with(root) {
                let message = format!("`{}` is no folder inside the workload's", folder.host);
                return Err(self.value_error(key, message));
            }
            Ok(SharedFolder { host, guest: guest.to_owned(), is_read_only: folder.is_read_only })
        };
        let folders: Vec<SharedFolder> = given.iter().map(parse).collect::<Result<_, _>>()?;
        check_folders(&folders).map_err(|error| self.value_error(key, error))?;
        Ok(folders)
    }

    fn parse_workdir(&self, key: &str, path: String) -> Result<String, ManifestError> {
        check_guest_path(&path).map_err(|error| self.value_error(key, error))?;
        Ok(path)
    }

    fn parse_export(&self, key: &str, name: String) -> Result<String, ManifestError> {
        check_export_name(&name).map_err(|error| self.value_error(key, error))?;
        Ok(name)
    }

    /// Reads content that is given in the manifest or in a file beside it; `None` if it has
    /// another form.
    fn read_literal(&self, key: &str, raw: &RawContent) -> Result<Option<Vec<u8>>, ManifestError> {
        match raw {
            RawContent {
                text: Some(text),
                file: None,
                pattern: None,
                sha256: None,
                bytes: None,
            } => Ok(Some(text.clone().into_bytes())),
            RawContent {
                text: None,
                file: Some(file),
                pattern: None,
                sha256: None,
                bytes: None,
            } => self.read_file(key, file).map(Some),
            _ => Ok(None),
        }
    }

    fn parse_input(&self, key: &str, raw: &RawContent) -> Result<FunctionInput, ManifestError> {
        if let Some(content) = self.read_literal(key, raw)? {
            return Ok(FunctionInput::from_bytes(content));
        }
        let RawContent { text: None, file: None, pattern: Some(pattern), sha256: None, bytes } =
            raw
        else {
            return Err(
                self.value_error(key, "give one of { text }, { file } or { pattern, bytes }")
            );
        };
        match bytes {
            _ if pattern != "counter" => {
                Err(self
                    .value_error(key, format!("unknown pattern `{pattern}`; there is `counter`")))
            }
            Some(bytes) if *bytes > MAX_INPUT => {
                Err(self
                    .value_error(key, format!("{bytes} bytes are more than {}", Bytes(MAX_INPUT))))
            }
            Some(bytes) => Ok(FunctionInput::from_counter(*bytes)),
            None => Err(self.value_error(key, "a pattern needs `bytes`, its length")),
        }
    }

    fn parse_expected(&self, key: &str, raw: &RawContent) -> Result<OutputDigest, ManifestError> {
        if let Some(content) = self.read_literal(key, raw)? {
            return Ok(OutputDigest::from_content(&content));
        }
        match raw {
            RawContent {
                text: None,
                file: None,
                pattern: None,
                sha256: Some(digest),
                bytes: Some(bytes),
            } => {
                let sha256 = parse_sha256(digest)
                    .ok_or_else(|| self.value_error(key, "sha256 must be 64 hexadecimal digits"))?;
                Ok(OutputDigest::new(*bytes, sha256))
            }
            _ => Err(self.value_error(key, "give one of { text }, { file } or { sha256, bytes }")),
        }
    }

    /// Parses the limits of a table, with `otherwise` for those that are not given; `key`
    /// is the name of the table in the file.
    fn parse_limits(
        &self,
        key: &str,
        given: &RawLimits,
        otherwise: Limits,
    ) -> Result<Limits, ManifestError> {
        let mut limits = otherwise;
        let wrong = |field: &str, error: String| self.value_error(&format!("{key}.{field}"), error);
        if let Some(text) = &given.memory {
            limits.memory = parse_memory_limit(text).map_err(|error| wrong("memory", error))?;
        }
        if let Some(text) = &given.timeout {
            limits.timeout = parse_time_limit(text).map_err(|error| wrong("timeout", error))?;
        }
        if let Some(text) = &given.output {
            limits.output = parse_output_limit(text).map_err(|error| wrong("output", error))?;
        }
        Ok(limits)
    }
}

/// Formats a byte offset as `file:line:column`.
fn format_position(origin: &str, text: &str, offset: Option<usize>) -> String {
    let Some(offset) = offset else { return origin.to_owned() };
    let (line, column) = line_and_column(text, offset);
    format!("{origin}:{line}:{column}")
}

fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_core::units::Nanos;

    fn parse(text: &str) -> Result<Manifest, ManifestError> {
        let place = Some(Path::new("/w"));
        Manifest::parse(text.as_bytes(), "w/workload.toml", place, &|name| {
            Ok(name.as_bytes().to_vec())
        })
    }

    const HEAD: &str = "title = \"t\"\nstresses = \"s\"\nwasm = \"w.wasm\"\n";

    #[test]
    fn a_preset_overrides_single_limits() {
        let text = format!(
            "{HEAD}[limits]\nmemory = \"256MiB\"\ntimeout = \"5s\"\n\
             [preset.quick]\nargs = [\"1\"]\nlimits = {{ timeout = \"9s\" }}\n"
        );
        let manifest = parse(&text).expect("valid");
        let limits = manifest.presets["quick"].limits;
        assert_eq!(limits.memory, Bytes(256 << 20));
        assert_eq!(limits.timeout, Nanos(9_000_000_000));
        assert_eq!(limits.output, Limits::default().output);
    }

    #[test]
    fn a_wrong_limit_is_named_by_the_key_that_has_it() {
        for (tail, key) in [
            ("[limits]\nmemory = \"lots\"\n[preset.quick]\n", "limits.memory"),
            ("[limits]\ntimeout = \"0s\"\n[preset.quick]\n", "limits.timeout"),
            ("[limits]\noutput = \"1PiB\"\n[preset.quick]\n", "limits.output"),
            // Refused even if every preset overrides it.
            (
                "[limits]\nmemory = \"lots\"\n[preset.quick]\nlimits = { memory = \"1GiB\" }\n",
                "limits.memory",
            ),
            ("[preset.quick]\nlimits = { memory = \"lots\" }\n", "preset.quick.limits.memory"),
        ] {
            let error = parse(&format!("{HEAD}{tail}")).expect_err("refused");
            let ManifestError::Value { key: named, .. } = error else { panic!("{error}") };
            assert_eq!(named, key, "{tail}");
        }
    }

    #[test]
    fn mistakes_are_placed() {
        let bad_key = parse(&format!("{HEAD}colour = 3\n[preset.quick]\n")).expect_err("refused");
        assert!(
            bad_key.to_string().starts_with("w/workload.toml:4:1: unknown field `colour`"),
            "{bad_key}"
        );
        for (tail, word) in [
            ("", "preset"),
            ("[preset.q]\nstdin = { pattern = \"noise\", bytes = 3 }\n", "unknown pattern"),
            ("[preset.q]\nstdin = { pattern = \"counter\", bytes = 9999999999 }\n", "more than"),
            ("[preset.q]\nexpected = { sha256 = \"00\", bytes = 1 }\n", "64 hexadecimal"),
            ("[preset.q]\nexpected = { text = \"a\", file = \"b\" }\n", "give one of"),
            ("[preset.q]\nexpected = { file = \"../secret\" }\n", "inside the workload"),
            ("[preset.q]\nlimits = { memory = \"lots\" }\n", "128MiB"),
            ("[preset.q]\nargs = [\"a\\u0000b\"]\n", "NUL"),
            ("[preset.\"a\u{ad}b\"]\n", "on one line"),
        ] {
            let error = parse(&format!("{HEAD}{tail}")).expect_err("refused").to_string();
            assert!(error.contains(word), "{tail:?} gave {error:?}");
        }
        let soft = HEAD.replace("\"t\"", "\"a\u{ad}b\"") + "[preset.q]\n";
        let error = parse(&soft).expect_err("refused").to_string();
        assert!(error.contains("hidden one (\\u{ad})"), "{error}");
    }
}
