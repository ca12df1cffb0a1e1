//! The kinds of input that come from outside, each with what must hold for any
//! bytes at all: what fuzzing and `cargo test --test all fuzzing` have in common.

use super::billing::{price_model_survives, usage_file_survives};
use crate::lane::wasmtime::protocol::Report;
use crate::profile::{self, Profile};
use crate::workload::Manifest;

/// A kind of input that anybody may have written.
#[derive(Debug, Clone, Copy)]
pub struct InputKind {
    /// Its name: that of the fuzz target, and of the folder of its corpus.
    pub name: &'static str,
    /// Reads the bytes as the program does; panics if they do harm.
    pub survives: fn(&[u8]),
    /// Words that mean something in it.
    pub words: &'static [&'static str],
}

/// All kinds, each a fuzz target.
pub const INPUT_KINDS: &[InputKind] = &[
    InputKind {
        name: "manifest",
        survives: |bytes| with_text(bytes, manifest_survives),
        words: &[
            "title",
            "stresses",
            "wasm",
            "native",
            "source",
            "[preset.quick]",
            "[limits]",
            "memory",
            "timeout",
            "output",
            "args",
            "stdin",
            "expected",
            "pattern",
            "counter",
            "bytes",
            "sha256",
            "text",
            "file",
            "128MiB",
            "\"0s\"",
            "none",
            "../",
            "\\u0000",
        ],
    },
    InputKind {
        name: "profile",
        survives: |bytes| with_text(bytes, profile_survives),
        words: &[
            "title",
            "takes",
            "module",
            "program",
            "bundle",
            "machine",
            "install",
            "memory",
            "option",
            "process",
            "sandbox",
            "[program]",
            "names",
            "version",
            "after",
            "[cold]",
            "[warm]",
            "[variant.x]",
            "args",
            "{module}",
            "{args...}",
            "{artifact}",
            "{{",
            "}}",
            "[compile]",
            "extension",
            "timeout",
            "[trap]",
            "status",
            "stderr",
            "[[needs]]",
            "[[known_failure]]",
            "script",
            "config",
        ],
    },
    InputKind {
        name: "price_model",
        survives: |bytes| with_text(bytes, price_model_survives),
        words: PRICE_WORDS,
    },
    InputKind {
        name: "usage_file",
        survives: |bytes| with_text(bytes, usage_file_survives),
        words: &[
            "[[usage]]",
            "set",
            "requests",
            "duration",
            "memory",
            "\"128MB\"",
            "\"1GB\"",
            "ms",
            "1e400",
            "-1",
            "0.1",
            "1_000_000",
            "18446744073709551616",
            "cpu_time",
            "wall",
        ],
    },
    InputKind { name: "worker_report", survives: worker_report_survives, words: &[] },
];

const PRICE_WORDS: &[&str] = &[
    "[[charge]]",
    "[[charge.factor]]",
    "[[charge.tier]]",
    "[[pool]]",
    "[[example]]",
    "name",
    "price",
    "meter",
    "unit",
    "round",
    "up_to",
    "from",
    "free",
    "minimum",
    "increment",
    "rounding",
    "half-up",
    "currency",
    "effective_from",
    "granularity",
    "lookup",
    "max_of",
    "cpu_time",
    "wall",
    "GB-s",
    "s",
    "1/3",
    "1e-30",
    "0.0000166667",
    "99999999999999999999",
];

/// Reads bytes as a text, as all files are.
fn with_text(bytes: &[u8], survives: fn(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        survives(text);
    }
}

fn manifest_survives(text: &str) {
    let read = |name: &str| match name {
        "there" => Ok(b"content".to_vec()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    match Manifest::parse(text, "workload.toml", &read) {
        Ok(manifest) => {
            assert!(!manifest.presets.is_empty(), "accepted without a preset");
            for (name, preset) in &manifest.presets {
                assert_eq!(*name, preset.name);
                assert!(preset.args.iter().all(|arg| !arg.contains('\0')), "NUL in an argument");
                assert!(preset.limits.timeout.0 > 0, "a run without end was accepted");
                assert!(preset.limits.memory.0 > 0, "memory without a limit was accepted");
                assert!(!preset.stdin.identity().is_empty());
            }
        }
        Err(error) => assert_bounded(&error.to_string(), text),
    }
}

fn profile_survives(text: &str) {
    let read = |name: &str| match name {
        "there.mjs" => Ok(b"script".to_vec()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    match profile::resolve::parse("some", text, "some.toml", &read) {
        Ok(profiles) => {
            assert!(!profiles.is_empty(), "a file without a runtime was accepted");
            profiles.iter().for_each(profile_is_usable);
        }
        Err(error) => assert_bounded(&error.to_string(), text),
    }
}

/// Every command line can be filled in, and holds nothing that exec would cut.
fn profile_is_usable(profile: &Profile) {
    assert_eq!(profile.base(), "some");
    let value = |name: &str| Some(format!("/{name}"));
    let lines = [Some(&profile.cold), profile.warm.as_ref(), profile.cleanup.as_ref()];
    let compile = profile.compile.as_ref().map(|it| &it.args);
    for line in lines.into_iter().flatten().chain(compile).chain([&profile.program.version_args]) {
        let line = line.expand(&value, &["x".to_owned()]).expect("every placeholder has a value");
        assert!(line.iter().all(|argument| !argument.contains('\0')), "NUL in an argument");
    }
    for need in &profile.needs {
        assert!(profile.need_variable(need).is_ascii());
    }
    let _ = profile.known("nop", "some reason");
}

/// A message about a text is short, however long the text.
fn assert_bounded(message: &str, text: &str) {
    let most = 4096 + 2 * text.len().min(4096);
    assert!(message.len() <= most, "{} bytes of message", message.len());
}

/// What was understood is what would be sent.
fn worker_report_survives(bytes: &[u8]) {
    let Some(report) = Report::decode(bytes) else { return };
    let again = Report::decode(&report.encode()).expect("what was encoded is whole");
    let cut = |report: Report| Report { text: String::new(), ..report };
    assert!(report.text.starts_with(&again.text), "another text");
    assert_eq!(cut(again), cut(report));
}
