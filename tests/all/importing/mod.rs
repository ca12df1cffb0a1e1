//! `import` through the program itself: what is read, told and kept, and what is left after an
//! import was stopped in any way.

mod endings;
mod files;
mod your_bill;

use std::fmt::Write;

use crate::common::Place;

/// Writes a log of REPORT lines, of which the durations grow by 1 ms from 1.25 ms on.
fn report_log(first: u32, count: u32) -> String {
    let mut text = String::new();
    for number in first..first + count {
        let _ = writeln!(
            text,
            "REPORT RequestId: {number:032x}\tDuration: {}.25 ms\tBilled Duration: {} ms\t\
             Memory Size: 128 MB\tMax Memory Used: 40 MB\t",
            number + 1,
            number + 2
        );
    }
    text
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("gzip");
    let mut stdin = child.stdin.take().expect("piped");
    let content = content.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&content));
    let output = child.wait_with_output().expect("gzip ends");
    writer.join().expect("no panic").expect("written");
    output.stdout
}

/// Imports, and returns the summary.
fn import(place: &Place, args: &[&str], code: i32) -> serde_json::Value {
    let run = place.run(&[&["import", "--format", "json"], args].concat());
    assert_eq!(run.code, code, "{args:?}: {}", run.stderr);
    run.json()
}
