//! Compiles the launcher and the native programs of the workloads from C and
//! embeds them with their manifests, so that an installed binary carries all
//! that it runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[path = "src/workload/flags.rs"]
#[expect(dead_code, reason = "the Wasm flags are for `workloads build`")]
mod flags;

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    for path in [
        "workloads",
        "pricing",
        "runtimes",
        "src/workload/flags.rs",
        "src/lane/launcher.c",
        "src/lane/command/init.c",
        "src/lane/docker/starter.c",
        "build.rs",
    ] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-env-changed=CC");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        println!("cargo::error=cyclometer runs on Linux only: it reads perf, cgroups and procfs");
        return;
    }
    println!("cargo::rerun-if-changed=Cargo.lock");
    println!("cargo::rustc-env=WASMTIME_VERSION={}", wasmtime_version(&root));
    let launcher = root.join("src/lane/launcher.c");
    compile(&["-std=c11", "-Os", "-Wall"], &launcher, &out.join("launcher"));
    freestanding(&root.join("src/lane/docker/starter.c"), &out.join("starter"));
    let init = root.join("src/lane/command/init.c");
    compile(&["-std=c11", "-Os", "-Wall"], &init, &out.join("init"));

    let mut table = String::from("static EMBEDDED: &[Embedded] = &[\n");
    for folder in folders(&root.join("workloads")) {
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
    fs::write(out.join("pricing.rs"), price_models(&root)).expect("OUT_DIR is writable");
    fs::write(out.join("runtimes.rs"), runtimes(&root, &out)).expect("OUT_DIR is writable");
}

/// Name and text of every price file.
fn price_models(root: &Path) -> String {
    let mut table = String::from("static SHIPPED: &[(&str, &str)] = &[\n");
    for file in files(&root.join("pricing")) {
        let base = file.file_name().expect("a file").to_string_lossy().into_owned();
        if file.extension().is_some_and(|kind| kind == "toml") {
            let name = format!("pricing/{base}");
            let included = included("include_str", root, &file);
            writeln!(table, "({name:?}, {included}),").expect("memory");
        }
    }
    table.push_str("];\n");
    table
}

/// Name and content of every profile and of the scripts beside them, and the
/// native form of the program that tests runtimes.
fn runtimes(root: &Path, out: &Path) -> String {
    let native = out.join("native-contract");
    compile(flags::COMMON, &root.join("runtimes/contract/contract.c"), &native);
    let mut table = String::from("static SHIPPED_RUNTIMES: &[(&str, &[u8])] = &[\n");
    let wanted = |file: &PathBuf| file.extension().is_some_and(|it| it == "toml" || it == "mjs");
    for file in files(&root.join("runtimes")).into_iter().filter(wanted) {
        let base = file.file_name().expect("a file").to_string_lossy().into_owned();
        let included = included("include_bytes", root, &file);
        writeln!(table, "({base:?}, {included}),").expect("memory");
    }
    table.push_str("];\n");
    table
}

/// A file of the repository, found from where the crate is now: build output
/// may be shared by several checkouts.
fn included(by: &str, root: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(root).expect("a file of the repository");
    format!("{by}!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/\", {:?}))", text(inside))
}

/// A path as a Rust string literal needs it.
fn text(path: &Path) -> &str {
    path.to_str().expect("cargo's folders have UTF-8 names")
}

/// Folders with a manifest, sorted.
fn folders(workloads: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(workloads)
        .expect("workloads/ is part of the repository")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.join("workload.toml").is_file())
        .collect();
    found.sort();
    found
}

/// What a workload needs at run time: all but its C source.
fn files(folder: &Path) -> Vec<PathBuf> {
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
fn compile(options: &[&str], source: &Path, output: &Path) {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let run = |link: &[&str]| {
        Command::new(&compiler)
            .args(options)
            .args(link)
            .arg("-s")
            .arg(source)
            .arg("-o")
            .arg(output)
            .args(flags::LIBRARIES)
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

/// Compiles a program that needs no C library: it runs in any image.
fn freestanding(source: &Path, output: &Path) {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut command = Command::new(&compiler);
    command.args(["-std=c11", "-Os", "-Wall", "-static", "-nostdlib", "-ffreestanding"]);
    command.args([
        "-fno-stack-protector",
        "-fno-pie",
        "-no-pie",
        "-ffunction-sections",
        "-Wl,--gc-sections",
    ]);
    command.args(["-fno-asynchronous-unwind-tables", "-Wl,--build-id=none", "-s"]);
    // Few pages in memory, and a file of 5 kB.
    command.arg("-Wl,-z,noseparate-code");
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        command.arg("-mno-red-zone");
    }
    let result = command.arg(source).arg("-o").arg(output).output();
    let result = result.expect("the compiler ran a moment ago");
    if !result.status.success() {
        let message = String::from_utf8_lossy(&result.stderr).replace('\n', " ");
        println!("cargo::error=cannot compile {}: {message}", source.display());
        std::process::exit(1);
    }
}

/// The locked version of wasmtime, which it does not tell at run time.
fn wasmtime_version(root: &Path) -> String {
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"wasmtime\"").skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = "));
    version.map_or_else(|| "48".to_owned(), |version| version.trim_matches('"').to_owned())
}
