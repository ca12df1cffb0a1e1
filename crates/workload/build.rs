//! Compiles the native programs of the workloads from C and embeds them with their
//! manifests, so that an installed binary carries all that it runs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../build/common.rs"]
mod common;
#[path = "src/flags.rs"]
#[expect(dead_code, reason = "the Wasm flags are for `workloads build`")]
mod flags;

use common::{compile, files, included, is_linux, output, repository, text};

fn main() {
    let (root, out) = (repository(), output());
    for path in ["../../workloads", "../../build", "src/flags.rs", "build.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-env-changed=CC");
    if !is_linux() {
        return;
    }
    let mut table = String::from("static EMBEDDED: &[Embedded] = &[\n");
    for folder in find_workload_folders(&root.join("workloads")) {
        let name = folder.file_name().expect("a folder").to_string_lossy().into_owned();
        let native = out.join(format!("native-{name}"));
        compile(flags::COMMON, &folder.join(format!("{name}.c")), &native);
        writeln!(table, "Embedded {{ name: {name:?}, files: &[").expect("memory");
        for file in files(&folder) {
            let base = file.file_name().expect("a file").to_string_lossy().into_owned();
            let included = included("include_bytes", &root, &file);
            writeln!(table, "({base:?}, {included}),").expect("memory");
        }
        writeln!(table, "], native: include_bytes!({:?}) }},", text(&native)).expect("memory");
    }
    table.push_str("];\n");
    fs::write(out.join("workloads.rs"), table).expect("OUT_DIR is writable");
}

/// Returns the folders with a manifest, sorted.
fn find_workload_folders(workloads: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(workloads)
        .expect("workloads/ is part of the repository")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.join("workload.toml").is_file())
        .collect();
    found.sort();
    found
}
