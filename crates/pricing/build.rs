//! Embeds the price models that come with the library.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    // A link to the repository's `pricing`, and a folder in a package of this crate.
    println!("cargo::rerun-if-changed=tariffs");
    println!("cargo::rerun-if-changed=build.rs");
    let mut tables = String::new();
    for (table, folder) in [("SHIPPED", ""), ("REGIONAL", "regions/")] {
        write_table(table, folder, &mut tables);
    }
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("pricing.rs"), tables).expect("OUT_DIR is writable");
}

/// Writes a table of the price files in a folder of the tariffs: their names and texts.
fn write_table(name: &str, folder: &str, tables: &mut String) {
    let mut all: Vec<PathBuf> = fs::read_dir(format!("tariffs/{folder}"))
        .expect("the tariffs are part of the crate")
        .map(|entry| entry.expect("readable").path())
        .filter(|file| file.extension().is_some_and(|kind| kind == "toml"))
        .collect();
    all.sort();
    writeln!(tables, "static {name}: &[(&str, &str)] = &[").expect("memory");
    for file in all {
        let base = file.file_name().expect("a file").to_string_lossy().into_owned();
        let name = format!("pricing/{folder}{base}");
        // Found from where the crate is now: build output may be shared.
        let path = format!("/tariffs/{folder}{base}");
        let text = format!("include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))");
        writeln!(tables, "({name:?}, {text}),").expect("memory");
    }
    tables.push_str("];\n");
}
