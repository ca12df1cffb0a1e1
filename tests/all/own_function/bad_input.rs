//! What cannot run: one clear line, and what to do.

use super::{refuse, text};
use crate::common::{self, Place};

#[test]
fn files_that_are_no_function_are_refused() {
    let place = Place::new();
    let file = |name: &str, content: &[u8]| place.write(name, content);
    let text_file = file("notes.wasm", b"just some text\n");
    refuse(&place, &["record", text(&text_file)], &["notes.wasm", "no WebAssembly"]);
    let cut = file("cut.wasm", b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f");
    refuse(&place, &["record", text(&cut)], &["cut.wasm"]);
    let empty = file("empty.wasm", b"");
    refuse(&place, &["record", text(&empty)], &["empty"]);
    let wrong = file("wrong.wat", b"(module (func $f (call $g)))");
    refuse(&place, &["record", text(&wrong)], &["wrong.wat"]);
    refuse(&place, &["record", "/no/such/fn.wasm"], &["/no/such/fn.wasm", "No such file"]);
    refuse(&place, &["record", "--", "no-such-tool-at-all"], &["no program", "PATH"]);
    let plain = file("plain", b"#!/bin/sh\n");
    refuse(&place, &["record", text(&plain)], &["chmod +x"]);
    refuse(&place, &["record", "--", text(place.path())], &["a folder"]);
    refuse(&place, &["record", text(place.path())], &["workload.toml"]);
    let sparse = place.path().join("huge.wasm");
    let huge = std::fs::File::create(&sparse).expect("made");
    huge.set_len(2 << 30).expect("sparse");
    refuse(&place, &["record", text(&sparse)], &["huge.wasm", "256 MiB"]);
    assert!(!place.db().exists(), "nothing was done");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let place = Place::new();
    refuse(&place, &["record", "--env", "A=b"], &["--env", "function of your own"]);
    refuse(&place, &["record", "--env", "CYCLOMETER_NO_SUCH", "--", "true"], &["no such variable"]);
    refuse(&place, &["record", "--env", "=x", "--", "true"], &["no name of a variable"]);
    refuse(&place, &["record", "--dir", "/no/such/folder", "--", "true"], &["cannot find"]);
    refuse(&place, &["record", "--dir", "/tmp:relative", "--", "true"], &["absolute path"]);
    refuse(&place, &["record", "--workdir", "relative", "--", "true"], &["absolute path"]);
    refuse(&place, &["record", "--stdin", "/no/such", "--", "true"], &["--stdin"]);
    refuse(&place, &["record", "--user", "a b", "--", "true"], &["USER"]);
    refuse(&place, &["record", "--name", "a\u{202e}b", "--", "true"], &["no name of a workload"]);
    let long = "x".repeat(57 << 10);
    refuse(&place, &["record", "--", "true", &long], &["more than 56.0 KiB"]);
    let many: Vec<&str> = ["record", "--", "true"].into_iter().chain(vec!["x"; 1_001]).collect();
    refuse(&place, &many, &["1001 are more than 1000"]);
    let module = place.write("m.wat", "(module (func (export \"_start\")))");
    refuse(&place, &["record", "--invoke", "add", "1"], &["name"]);
    refuse(&place, &["record", "--wasm", text(&module), text(&module)], &["same form"]);
    assert!(!place.db().exists(), "nothing was done");
}

#[test]
fn a_program_that_leaves_a_daemon_behind_leaves_nothing() {
    let place = Place::new();
    let word = format!("cyclometer-daemon-{}", std::process::id());
    let script = format!("sleep 4713 {word} 2>/dev/null & exit 0");
    // `sleep` refuses the word, so that a shell carries it.
    let script = script.replace("sleep 4713", "sh -c 'sleep 4713; :'");
    let run = place.run(&["record", "--runs", "2", "--", "sh", "-c", &script]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("behind, which were killed"), "{}", run.stderr);
    assert_eq!(common::processes(&word), [] as [i32; 0]);
}

#[test]
fn a_program_that_wants_a_terminal_finds_none() {
    let place = Place::new();
    let run = place.run(&["record", "--runs", "1", "--", "sh", "-c", "test -t 0 || exit 7"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("exit code 7"), "{}", run.stderr);
}
