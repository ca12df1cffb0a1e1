//! Functions of the user's own: commands, modules, components and images, as a newcomer names
//! them, with figures held against other sources.

mod bad_input;
mod forms;
mod images;
mod manifests;

use std::path::PathBuf;
use std::process::Command;

use crate::common::{Place, Run};

/// A function that prints the sum of its arguments, in Rust, for every target.
const SUM: &str = r#"
fn main() {
    let numbers = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap_or(0));
    let mut sum = numbers.sum::<u64>();
    for step in 0..2_000_000_u64 {
        sum = sum.wrapping_mul(6364136223846793005).wrapping_add(step);
    }
    println!("{sum}");
    std::process::exit(i32::from(std::env::args().count() == 1));
}
"#;

/// Compiles [`SUM`] for `target`, or for this machine; `None`, said aloud, where that target is
/// not installed.
fn compile_rust(place: &Place, target: Option<&str>) -> Option<PathBuf> {
    let source = place.write("sum.rs", SUM);
    let output = place.path().join(target.map_or("sum", |_| "sum.wasm"));
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-O", "-C", "strip=symbols", "-o"]).arg(&output).arg(&source);
    match target {
        Some(target) => rustc.args(["--target", target]),
        None => rustc.args(["-C", "target-feature=+crt-static"]),
    };
    // That of this project may ask for flags and folders of its own.
    let made = rustc.current_dir(place.path()).env_remove("RUSTFLAGS").output();
    let made = made.expect("rustc starts");
    if made.status.success() {
        return Some(output);
    }
    let told = String::from_utf8_lossy(&made.stderr).into_owned();
    let target = target.unwrap_or("this machine");
    assert!(told.contains("target may not be installed"), "{target}: {told}");
    cyclometer_testkit::skip_unless_required(target, &format!("rustc has no target {target}"));
    None
}

/// The one value of a query about the latest recording.
fn value(place: &Place, column: &str) -> Vec<i64> {
    let sql = format!(
        "SELECT {column} FROM v_invocation
         WHERE recording = (SELECT max(recording) FROM v_invocation) ORDER BY invocation"
    );
    crate::common::numbers(&place.open(), &sql)
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Insists on a refusal before any work: exit status 2, one line, no database.
fn refuse(place: &Place, args: &[&str], words: &[&str]) -> Run {
    let run = place.run(args);
    assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
    for word in words {
        assert!(run.stderr.contains(word), "{args:?}: no {word:?} in {}", run.stderr);
    }
    let lines = run.stderr.lines().filter(|line| line.starts_with("error:")).count();
    assert_eq!(lines, 1, "{args:?}: {}", run.stderr);
    assert!(!run.stderr.contains('\u{1b}'), "{args:?}: {:?}", run.stderr);
    run
}
