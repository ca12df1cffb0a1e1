//! Compiles the helper programs of lanes from C, and embeds them and the profiles of
//! runtimes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[path = "../../build/common.rs"]
mod common;
#[path = "../workload/src/flags.rs"]
#[expect(dead_code, reason = "the Wasm flags are for `workloads build`")]
mod flags;

use common::{compile, files, included, is_linux, output, repository};

fn main() {
    let (root, out) = (repository(), output());
    for path in [
        "../../runtimes",
        "../../build",
        "../../Cargo.lock",
        "../workload/src/flags.rs",
        "src/launcher.c",
        "src/command/init.c",
        "src/docker/starter.c",
        "build.rs",
    ] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-env-changed=CC");
    if !is_linux() {
        return;
    }
    println!("cargo::rustc-env=WASMTIME_VERSION={}", wasmtime_version(&root));
    let helper = ["-std=c11", "-Os", "-Wall"];
    compile(&helper, Path::new("src/launcher.c"), &out.join("launcher"));
    compile(&helper, Path::new("src/command/init.c"), &out.join("init"));
    freestanding(Path::new("src/docker/starter.c"), &out.join("starter"));
    fs::write(out.join("runtimes.rs"), runtimes(&root, &out)).expect("OUT_DIR is writable");
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
