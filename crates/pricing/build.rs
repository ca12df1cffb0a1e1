//! Embeds the price models that come with the library.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    // A link to the repository's `pricing`, and a folder in a package of this crate.
    println!("cargo::rerun-if-changed=tariffs");
    println!("cargo::rerun-if-changed=build.rs");
    let mut all: Vec<PathBuf> = fs::read_dir("tariffs")
        .expect("the tariffs are part of the crate")
        .map(|entry| entry.expect("readable").path())
        .filter(|file| file.extension().is_some_and(|kind| kind == "toml"))
        .collect();
    all.sort();
    let mut table = String::from("static SHIPPED: &[(&str, &str)] = &[\n");
    for file in all {
        let base = file.file_name().expect("a file").to_string_lossy().into_owned();
        let name = format!("pricing/{base}");
        // Found from where the crate is now: build output may be shared.
        let path = format!("/tariffs/{base}");
        let text = format!("include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))");
        writeln!(table, "({name:?}, {text}),").expect("memory");
    }
    table.push_str("];\n");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("pricing.rs"), table).expect("OUT_DIR is writable");
}
