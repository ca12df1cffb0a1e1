// What the build scripts of several crates share: finding files of the repository
// and compiling C. Included by `#[path]`, since a build script is no library.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The repository's root: two levels above each crate.
pub fn repository() -> PathBuf {
    let own = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    own.ancestors().nth(2).expect("crates/NAME").to_owned()
}

/// The folder for what is generated.
pub fn output() -> PathBuf {
    PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"))
}

/// Refuses targets that the program cannot run on.
pub fn is_linux() -> bool {
    let linux = env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux");
    if !linux {
        println!("cargo::error=cyclometer runs on Linux only: it reads perf, cgroups and procfs");
    }
    linux
}

/// A file of the repository, found from where the crate is now: build output
/// may be shared by several checkouts.
pub fn included(by: &str, root: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(root).expect("a file of the repository");
    format!("{by}!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/../../\", {:?}))", text(inside))
}

/// A path as a Rust string literal needs it.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("cargo's folders have UTF-8 names")
}

/// Lists what a workload needs at run time: all but its C source.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.is_file() && path.extension().is_none_or(|kind| kind != "c"))
        .collect();
    found.sort();
    found
}

/// Compiles one C file, statically where the C library allows it: a static
/// program runs in an empty container image.
pub fn compile(options: &[&str], source: &Path, output: &Path) {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let run = |link: &[&str]| {
        Command::new(&compiler)
            .args(options)
            .args(link)
            .arg("-s")
            .arg(source)
            .arg("-o")
            .arg(output)
            .args(super::flags::LIBRARIES)
            .output()
    };
    match run(&["-static"]) {
        Ok(result) if result.status.success() => return,
        Ok(_) => {}
        Err(error) => {
            println!(
                "cargo::error=cannot run the C compiler `{compiler}`: {error}; install one \
                 (Debian: apt-get install gcc libc6-dev) or set CC"
            );
            std::process::exit(1);
        }
    }
    println!(
        "cargo::warning=no static C library: {} is linked dynamically, and docker lanes will \
         not run it (Fedora: install glibc-static)",
        source.display()
    );
    let result = run(&[]).expect("the compiler ran a moment ago");
    if !result.status.success() {
        let message = String::from_utf8_lossy(&result.stderr).replace('\n', " ");
        println!("cargo::error=cannot compile {}: {message}", source.display());
        std::process::exit(1);
    }
}
