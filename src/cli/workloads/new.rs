//! `workloads new`: a folder with a manifest to start from.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::files::{Bound, create_new, display_path, read_user_file};
use crate::workload::own_function::{FileForm, OwnFunction, detect_form};
use crate::workload::{Catalog, Preset};

/// Size limit of a form that is copied.
const FORM: Bound = Bound::new("a form of a function", 256 << 20);

/// Options of `workloads new`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer workloads new thumbnail --wasm thumbnail.wasm --native ./thumbnail
  cyclometer workloads new greet --image me/greet:1
  cyclometer workloads check --workloads thumbnail")]
pub(super) struct WorkloadNewOptions {
    /// Name of the workload, and of its folder
    name: String,
    /// Program or script, which is copied into the folder
    #[arg(long, value_name = "FILE")]
    native: Option<PathBuf>,
    /// WebAssembly module or component, which is copied into the folder
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,
    /// Container image
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// C source, which is copied into the folder: `workloads build` makes the module
    #[arg(long, value_name = "FILE")]
    source: Option<PathBuf>,
    /// Folder in which the new one is made
    #[arg(long, default_value = ".", value_name = "DIR")]
    into: PathBuf,
}

/// File that is copied into the folder of the workload.
struct CopiedForm {
    key: &'static str,
    from: PathBuf,
    name: String,
    mode: u32,
}

/// Runs `workloads new`.
pub(super) fn run(common: &CommonOptions, options: &WorkloadNewOptions) -> CommandOutcome {
    let forms = list_copies(options)?;
    check_forms(options)?;
    let folder = options.into.join(&options.name);
    let shown = display_path(&folder);
    if common.workload_catalog()?.get(&options.name).is_ok() {
        let name = &options.name;
        say(&format!("note: there is a workload `{name}`, whose place this one takes"));
    }
    std::fs::create_dir(&folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            CommandFailure::Failed(format!("{shown} exists and is left alone: choose another name"))
        }
        _ => CommandFailure::Failed(format!("cannot make the folder {shown}: {error}")),
    })?;
    // What was begun is not left half done.
    if let Err(error) = write_files(&folder, &forms, options) {
        let _ = std::fs::remove_dir_all(&folder);
        return Err(error);
    }
    let has_form = !forms.iter().all(|form| form.key == "source") || options.image.is_some();
    if has_form {
        let mut catalog = Catalog::load_builtin().map_err(CommandFailure::failed)?;
        catalog.add_folder(&folder).map_err(CommandFailure::failed)?;
    } else {
        say(&format!("name a form in {shown}/workload.toml: nothing can run yet"));
    }
    say(&format!("check it:  cyclometer workloads check --workloads {shown}"));
    say(&format!("use it:    cyclometer record --workloads {shown}"));
    if let Some(own) = crate::paths::config_folder() {
        say(&format!("keep it:   in {}, which is always read", own.join("workloads").display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists the files to copy, whose names in the folder are those that they have.
fn list_copies(options: &WorkloadNewOptions) -> Result<Vec<CopiedForm>, CommandFailure> {
    let given = [
        ("wasm", &options.wasm, 0o644),
        ("native", &options.native, 0o755),
        ("source", &options.source, 0o644),
    ];
    let mut copies: Vec<CopiedForm> = Vec::new();
    for (key, from, mode) in given {
        let Some(from) = from else { continue };
        let name = from.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            CommandFailure::Usage(format!("--{key}: {} names no file", display_path(from)))
        })?;
        if name == "workload.toml" || copies.iter().any(|other| other.name == name) {
            return Err(CommandFailure::Usage(format!(
                "--{key}: two files of the folder would be named `{name}`: rename one"
            )));
        }
        copies.push(CopiedForm { key, from: from.clone(), name: name.to_owned(), mode });
    }
    Ok(copies)
}

/// Checks the forms before anything is written.
fn check_forms(options: &WorkloadNewOptions) -> Result<(), CommandFailure> {
    let native = options.native.as_ref().map(|path| Path::new(".").join(path).into());
    let function = OwnFunction {
        name: Some(options.name.clone()),
        native,
        wasm: options.wasm.clone(),
        image: options.image.clone(),
    };
    if options.name.contains('/') || matches!(options.name.as_str(), "." | "..") {
        return Err(CommandFailure::Usage(format!(
            "`{}` is a path, and a workload is named after its folder: --into says where it is made",
            options.name
        )));
    }
    function.build_workload(Preset::with_defaults("quick")).map_err(CommandFailure::usage)?;
    match options.native.as_deref().map(detect_form).transpose().map_err(CommandFailure::usage)? {
        Some(FileForm::Wasm) => {
            Err(CommandFailure::usage("--native: this is a WebAssembly file: use --wasm"))
        }
        _ => Ok(()),
    }
}

/// Writes the manifest, and the files beside it.
fn write_files(
    folder: &Path,
    forms: &[CopiedForm],
    options: &WorkloadNewOptions,
) -> Result<(), CommandFailure> {
    for form in forms {
        let content = read_user_file(&form.from, FORM).map_err(|error| {
            CommandFailure::Usage(format!("cannot read {}: {error}", display_path(&form.from)))
        })?;
        write_new(&folder.join(&form.name), &content, form.mode)?;
    }
    let manifest = fill_template(&options.name, forms, options.image.as_deref());
    write_new(&folder.join("workload.toml"), manifest.as_bytes(), 0o644)
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), CommandFailure> {
    create_new(path, content, mode).map_err(|error| {
        CommandFailure::Failed(format!("cannot write {}: {error}", display_path(path)))
    })
}

/// Returns the manifest of these forms; those that are not given stand in comments.
fn fill_template(name: &str, forms: &[CopiedForm], image: Option<&str>) -> String {
    let quote = |text: &str| toml::Value::from(text).to_string();
    let line = |key: &str, given: Option<String>, example: &str, remark: &str| {
        let text = match given {
            Some(value) => format!("{key} = {value}"),
            None => format!("# {key} = \"{example}\""),
        };
        format!("{text:<36} # {remark}")
    };
    let of = |key: &str| forms.iter().find(|form| form.key == key).map(|form| quote(&form.name));
    let lines = [
        line("wasm", of("wasm"), "fn.wasm", "WebAssembly module or component (.wasm, .wat)"),
        line("native", of("native"), "fn", "program or script; containers need it static"),
        line("image", image.map(quote), "me/fn:1", "container image, run as it is"),
    ];
    let text = include_str!("template.toml")
        .replace("\"TITLE\"", &quote(name))
        .replace("FORMS", &lines.join("\n"));
    match of("source") {
        Some(source) => text.replace("# source = \"fn.c\"", &format!("source = {source}")),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_manifest_is_valid_and_keeps_to_what_was_given() {
        let form = |key, name: &str| CopiedForm {
            key,
            from: PathBuf::new(),
            name: name.to_owned(),
            mode: 0,
        };
        let forms = [form("wasm", "fn.wasm"), form("native", "my \"fn\"")];
        let text = fill_template("thumb\"nail", &forms, Some("me/fn:1"));
        let manifest: toml::Table = toml::from_str(&text).expect("TOML");
        assert_eq!(manifest["title"].as_str(), Some("thumb\"nail"));
        assert_eq!(manifest["wasm"].as_str(), Some("fn.wasm"));
        assert_eq!(manifest["native"].as_str(), Some("my \"fn\""));
        assert_eq!(manifest["image"].as_str(), Some("me/fn:1"));
        assert!(!manifest.contains_key("source"));
        let with_source = fill_template("x", &[form("source", "x.c")], None);
        let manifest: toml::Table = toml::from_str(&with_source).expect("TOML");
        assert_eq!(manifest["source"].as_str(), Some("x.c"));
        assert!(!manifest.contains_key("wasm"));
    }

    #[test]
    fn every_key_in_comments_is_a_key_of_manifests() {
        let text = fill_template("fn", &[], Some("me/fn"));
        // All lines that could be keys, without their signs of comments.
        let is_key =
            |line: &&str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        let lines = text.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
        let keys: Vec<&str> = lines
            .filter(|line| line.starts_with('[') || is_key(line))
            // These name files, which are not there.
            .filter(|line| !line.starts_with("wasm") && !line.starts_with("native"))
            .collect();
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().join("fn");
        std::fs::create_dir_all(own.join("data")).expect("made");
        std::fs::write(own.join("workload.toml"), keys.join("\n")).expect("written");
        let mut catalog = Catalog::load_builtin().expect("valid");
        catalog.add_folder(&own).expect("all keys are known");
        let workload = catalog.get("fn").expect("there");
        let preset = workload.find_preset("quick").expect("there");
        assert_eq!(preset.env[0].to_string(), "LOG=off");
        assert_eq!((preset.dirs.len(), preset.dirs[0].guest.as_str()), (1, "/data"));
        assert_eq!(preset.invoke.as_deref(), Some("add"));
    }
}
