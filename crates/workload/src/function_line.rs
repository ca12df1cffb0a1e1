//! Functions of the user's own that one line of text names: a file, folder, program or image, and
//! the arguments that follow it, split as a shell does.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::own_function::{
    FileForm, OwnFunction, OwnFunctionError, check_image_name, detect_form, find_in_path,
};
use crate::preset_values::{check_arguments, check_export_name};
use crate::{Catalog, Preset, Workload, WorkloadError};

/// Word before the name of an image.
pub const IMAGE_PREFIX: &str = "image:";

/// Error of a line that names a function.
#[derive(Debug, Error)]
pub enum FunctionLineError {
    /// There is no word on it.
    #[error("name a file, a folder, a program or image:NAME")]
    Empty,
    /// A quote has no end.
    #[error("a quote has no end")]
    OpenQuote,
    /// Nothing has that name.
    #[error("there is no file and no program `{name}`; an image is named {IMAGE_PREFIX}{name}")]
    Unknown {
        /// Name as given.
        name: String,
    },
    /// A folder of workloads is given arguments.
    #[error("{folder} is a folder of workloads, whose workload.toml has the arguments")]
    FolderArguments {
        /// Path of the folder.
        folder: String,
    },
    /// An export is to be called, but of no module.
    #[error("--invoke calls an export of a WebAssembly module: --invoke EXPORT ARG ...")]
    Invoke,
    /// The arguments are none.
    #[error("arguments: {0}")]
    Arguments(String),
    /// A form cannot be used.
    #[error(transparent)]
    Form(#[from] OwnFunctionError),
    /// The folder's workloads cannot be loaded.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
}

/// Form of a function that a word names.
#[derive(Debug)]
enum NamedForm {
    Folder(PathBuf),
    Function(OwnFunction),
}

impl Catalog {
    /// Adds the function that a line names, with a preset of the name `preset`, and returns its
    /// name; the names of all workloads, where it names a folder. A name that is taken gets a
    /// number, unless it is that of the same line, which is read again. `images`: names that are
    /// known to be those of images.
    ///
    /// # Errors
    /// Returns an error when the line is none, or what it names cannot be used.
    pub fn add_function_line(
        &mut self,
        line: &str,
        preset: &str,
        images: &[String],
    ) -> Result<Vec<String>, FunctionLineError> {
        let words = shlex::split(line).ok_or(FunctionLineError::OpenQuote)?;
        let (name, rest) = words.split_first().ok_or(FunctionLineError::Empty)?;
        let function = match find_form(name, images)? {
            NamedForm::Folder(folder) if rest.is_empty() => return Ok(self.add_folder(&folder)?),
            NamedForm::Folder(_) => {
                return Err(FunctionLineError::FolderArguments { folder: name.clone() });
            }
            NamedForm::Function(function) => function,
        };
        let preset = build_preset(preset, rest, function.wasm.is_some())?;
        let mut workload = function.build_workload(preset)?;
        workload.name = self.choose_free_name(&workload);
        let name = workload.name.clone();
        self.add_workload(workload);
        Ok(vec![name])
    }

    /// Returns the workload's own name, with a number where another workload has it.
    fn choose_free_name(&self, workload: &Workload) -> String {
        let numbered = (2..).map(|number| format!("{}-{number}", workload.name));
        let is_free = |name: &String| match self.get(name) {
            Ok(other) => is_same_function(other, workload),
            Err(WorkloadError::Unknown { .. }) => true,
            Err(_) => false,
        };
        let mut names = std::iter::once(workload.name.clone()).chain(numbered);
        names.find(is_free).unwrap_or_default()
    }
}

/// Returns whether two workloads were made from lines that mean the same.
fn is_same_function(one: &Workload, other: &Workload) -> bool {
    let given = |it: &Workload| {
        let presets = it.presets.values();
        presets.map(|it| (it.args.clone(), it.invoke.clone())).collect::<Vec<_>>()
    };
    one.title == other.title && one.stresses == other.stresses && given(one) == given(other)
}

/// Builds the preset of the arguments; a first `--` only separates them, as on the command line.
fn build_preset(name: &str, rest: &[String], is_wasm: bool) -> Result<Preset, FunctionLineError> {
    let (invoke, args) = match rest {
        [option, export, parameters @ ..] if option == "--invoke" && is_wasm => {
            check_export_name(export).map_err(FunctionLineError::Arguments)?;
            (Some(export.clone()), parameters)
        }
        [option, ..] if option == "--invoke" => return Err(FunctionLineError::Invoke),
        [separator, args @ ..] if separator == "--" => (None, args),
        args => (None, args),
    };
    check_arguments(args).map_err(FunctionLineError::Arguments)?;
    Ok(Preset { args: args.to_vec(), invoke, ..Preset::with_defaults(name) })
}

/// Finds what a word names: a file or folder, a program of `PATH`, or an image.
fn find_form(word: &str, images: &[String]) -> Result<NamedForm, FunctionLineError> {
    let image = |name: &str| {
        NamedForm::Function(OwnFunction { image: Some(name.to_owned()), ..OwnFunction::default() })
    };
    if let Some(name) = word.strip_prefix(IMAGE_PREFIX) {
        return Ok(image(name));
    }
    let path = expand_home(word);
    if path.exists() || is_surely_path(word) {
        let forms = match detect_form(&path)? {
            FileForm::Folder => return Ok(NamedForm::Folder(path)),
            FileForm::Wasm => OwnFunction { wasm: Some(path), ..OwnFunction::default() },
            // A bare name that was found here is the file, and not one of PATH.
            FileForm::Native => {
                let native = Some(Path::new(".").join(path).into());
                OwnFunction { native, ..OwnFunction::default() }
            }
        };
        return Ok(NamedForm::Function(forms));
    }
    let is_bare = !word.contains('/');
    if is_bare && find_in_path(OsStr::new(word), std::env::var_os("PATH").as_deref()).is_ok() {
        let native = Some(word.into());
        return Ok(NamedForm::Function(OwnFunction { native, ..OwnFunction::default() }));
    }
    // A path that is mistyped must not become an image that there is none of.
    let is_known = images.iter().any(|it| it == word || it.strip_suffix(":latest") == Some(word));
    if is_known || (word.contains([':', '@']) && check_image_name(word).is_ok()) {
        return Ok(image(word));
    }
    Err(FunctionLineError::Unknown { name: word.to_owned() })
}

/// Returns whether a word can be nothing but a path.
fn is_surely_path(word: &str) -> bool {
    let extension = Path::new(word).extension();
    word.starts_with(['.', '/', '~']) || extension.is_some_and(|it| it == "wasm" || it == "wat")
}

/// Returns the path with the home folder in the place of a first `~`.
pub(crate) fn expand_home(word: &str) -> PathBuf {
    let home = || std::env::var_os("HOME").filter(|home| !home.is_empty());
    match word.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => home().map_or_else(
            || PathBuf::from(word),
            |home| PathBuf::from(home).join(rest.trim_start_matches('/')),
        ),
        _ => PathBuf::from(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(catalog: &mut Catalog, line: &str) -> Result<Vec<String>, String> {
        let images = ["team/fn:latest".to_owned()];
        catalog.add_function_line(line, "quick", &images).map_err(|error| error.to_string())
    }

    fn args_of(catalog: &Catalog, name: &str) -> Vec<String> {
        let workload = catalog.get(name).expect("added");
        workload.find_preset("quick").expect("its only one").args.clone()
    }

    #[test]
    fn a_line_names_a_program_and_its_arguments() {
        let mut catalog = Catalog::load_builtin().expect("valid");
        assert_eq!(add(&mut catalog, "sh -c 'exit  0' a\\ b"), Ok(vec!["sh".to_owned()]));
        assert_eq!(args_of(&catalog, "sh"), ["-c", "exit  0", "a b"]);
        assert_eq!(add(&mut catalog, "sh -- -x -- y"), Ok(vec!["sh-2".to_owned()]), "another");
        assert_eq!(args_of(&catalog, "sh-2"), ["-x", "--", "y"]);
        assert_eq!(add(&mut catalog, "sh  -x -- y"), Ok(vec!["sh-2".to_owned()]), "the same");
        let error = add(&mut catalog, "sh -c 'exit").expect_err("refused");
        assert_eq!(error, "a quote has no end");
        assert!(add(&mut catalog, "  ").expect_err("refused").starts_with("name a file"));
        assert!(add(&mut catalog, "sh --invoke add").expect_err("refused").contains("of a WebAss"));
    }

    #[test]
    fn a_line_names_a_module_and_the_export_to_call() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("my add.wat");
        std::fs::write(&path, "(module (func (export \"add\")))").expect("written");
        let mut catalog = Catalog::load_builtin().expect("valid");
        let line = format!("'{}' --invoke add 2 3", path.display());
        assert_eq!(add(&mut catalog, &line), Ok(vec!["my add".to_owned()]));
        let workload = catalog.get("my add").expect("added");
        let preset = workload.find_preset("quick").expect("its only one");
        assert_eq!(
            (preset.invoke.as_deref(), &preset.args[..]),
            (Some("add"), &["2".into(), "3".into()][..])
        );
        assert!(workload.wasm.as_ref().is_some_and(|it| it.starts_with(b"\0asm")));
        std::fs::write(&path, "(module").expect("written");
        let broken = add(&mut catalog, &line).expect_err("refused");
        assert!(broken.contains("my add.wat"), "{broken}");
        assert!(catalog.get("my add").is_ok(), "what was there stays");
    }

    #[test]
    fn images_are_named_with_a_prefix_a_tag_or_when_they_are_known() {
        let mut catalog = Catalog::load_builtin().expect("valid");
        let image = |catalog: &Catalog, name: &str| catalog.get(name).expect("added").image.clone();
        assert_eq!(add(&mut catalog, "image:alpine"), Ok(vec!["alpine".to_owned()]));
        assert_eq!(image(&catalog, "alpine").as_deref(), Some("alpine"));
        assert_eq!(add(&mut catalog, "me/other:1 a"), Ok(vec!["other".to_owned()]));
        assert_eq!(add(&mut catalog, "team/fn"), Ok(vec!["fn".to_owned()]));
        // A built-in workload is not replaced by an image of its name.
        assert_eq!(add(&mut catalog, "image:nop"), Ok(vec!["nop-2".to_owned()]));
        let error = add(&mut catalog, "target/fn").expect_err("refused");
        let expected =
            "there is no file and no program `target/fn`; an image is named image:target/fn";
        assert_eq!(error, expected);
        assert!(
            add(&mut catalog, "image:-x").expect_err("refused").contains("no name of an image")
        );
        let missing = add(&mut catalog, "./no-such.wasm").expect_err("refused");
        assert!(missing.contains("No such file"), "{missing}");
    }

    #[test]
    fn a_line_names_a_folder_of_workloads() {
        let place = tempfile::tempdir().expect("a folder");
        let mut catalog = Catalog::load_builtin().expect("valid");
        let line = place.path().display().to_string();
        assert!(add(&mut catalog, &line).expect_err("refused").contains("holds no workload"));
        let error = add(&mut catalog, &format!("{line} arg")).expect_err("refused");
        assert!(error.ends_with("whose workload.toml has the arguments"), "{error}");
    }

    #[test]
    fn a_tilde_is_the_home_folder_only_where_a_shell_says_so() {
        assert_eq!(expand_home("~fn"), PathBuf::from("~fn"));
        assert_eq!(expand_home("a/~"), PathBuf::from("a/~"));
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        if let Some(home) = home {
            assert_eq!(expand_home("~/a/b"), PathBuf::from(home).join("a/b"));
        }
    }
}
