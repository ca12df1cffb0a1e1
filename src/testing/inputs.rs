//! The kinds of input that come from outside, each with what must hold for any
//! bytes at all: what fuzzing and `cargo test --test all fuzzing` have in common.

use super::billing::{price_model_survives, usage_file_survives};
use crate::lane::command::answer::{Answer, parse_answer};
use crate::lane::docker::answers;
use crate::lane::docker::frames::FrameDecoder;
use crate::lane::launcher;
use crate::lane::wasmtime::protocol::Report;
use crate::profile::{self, Profile};
use crate::units::Nanos;
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
    /// Bytes of the longest that is tried.
    pub longest: usize,
}

/// Longest text.
const TEXT: usize = 64 << 10;

/// Longest message of a process.
const MESSAGE: usize = 4 << 10;

/// All kinds, each a fuzz target.
pub const INPUT_KINDS: &[InputKind] = &[
    InputKind {
        name: "manifest",
        survives: manifest_survives,
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
        longest: TEXT,
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
        longest: TEXT,
    },
    InputKind {
        name: "price_model",
        survives: |bytes| with_text(bytes, price_model_survives),
        words: PRICE_WORDS,
        longest: TEXT,
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
        longest: TEXT,
    },
    InputKind {
        name: "worker_report",
        survives: worker_report_survives,
        words: &[],
        longest: MESSAGE,
    },
    InputKind {
        name: "worker_line",
        survives: worker_line_survives,
        words: &["ready", "done ", "rested", " exit ", " trap ", " "],
        longest: 16 << 10,
    },
    InputKind {
        name: "launcher_answer",
        survives: launcher_answer_survives,
        words: &["lcyc"],
        longest: MESSAGE,
    },
    InputKind {
        name: "engine_reply",
        survives: engine_reply_survives,
        words: ENGINE_WORDS,
        longest: TEXT,
    },
    InputKind {
        name: "database",
        survives: crate::store::database_image_survives,
        words: &["SELECT", "CREATE VIEW", "recording", "invocation", "running", "wasmtime"],
        longest: 1 << 20,
    },
    InputKind {
        name: "query",
        survives: |bytes| with_text(bytes, query_survives),
        words: QUERY_WORDS,
        longest: 8 << 10,
    },
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

const ENGINE_WORDS: &[&str] = &[
    "\"Id\":",
    "\"Names\":",
    "\"Labels\":",
    "\"State\":",
    "\"ExitCode\":",
    "\"OOMKilled\":",
    "\"StartedAt\":",
    "\"message\":",
    "\"Driver\":",
    "\"RepoTags\":",
    "\"Size\":",
    "null",
    "[",
    "{}",
    "2026-11-28T14:00:00.123456789Z",
    "../",
    "9223372036854775808",
    "1e999",
    "\\u001b",
];

const QUERY_WORDS: &[&str] = &[
    "SELECT ",
    "FROM ",
    "WITH RECURSIVE ",
    "v_invocation",
    "v_recording",
    "v_bill",
    "WHERE ",
    "GROUP BY ",
    "ORDER BY ",
    "LIMIT ",
    "count(*)",
    "printf('%.*c',",
    "zeroblob(",
    "randomblob(",
    "group_concat(",
    "UNION ALL ",
    "PRAGMA ",
    "ATTACH ",
    ":recording",
    "'",
    "\"",
    "||",
    "LIKE ",
    "json_each(",
    "x'00'",
    "CAST(",
    "OVER (",
    "1e308",
    "-9223372036854775808",
];

/// Reads bytes as a text, as all files are.
fn with_text(bytes: &[u8], survives: fn(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        survives(text);
    }
}

fn manifest_survives(content: &[u8]) {
    let read = |name: &str| match name {
        "there" => Ok(b"content".to_vec()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    match Manifest::parse(content, "workload.toml", &read) {
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
        Err(error) => assert_bounded(&error.to_string(), &String::from_utf8_lossy(content)),
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

/// A line is one answer, or refused in few words; a report is believed only
/// within its request.
fn worker_line_survives(bytes: &[u8]) {
    match parse_answer(bytes) {
        Ok(Answer::Done(report)) => {
            let within = report.check_within(Nanos(1_000), Nanos(2_000)).is_ok();
            let told = [report.begun, report.started, report.ended];
            let holds = told.is_sorted() && told.iter().all(|it| (1_000..=2_000).contains(&it.0));
            assert_eq!(within, holds, "{report:?}");
        }
        Ok(Answer::Ready | Answer::Rested) => {}
        Err(error) => assert!(error.to_string().len() < 4096, "a long message"),
    }
}

fn launcher_answer_survives(bytes: &[u8]) {
    if let Some(answer) = launcher::answers::Answer::decode(bytes) {
        assert!(bytes.len() <= launcher::answers::Answer::LONGEST);
        let _ = (answer.kind(), answer.number());
    }
}

/// Everything that an engine, or process 1 of a container, may answer, read as
/// each of the things that are asked for.
fn engine_reply_survives(bytes: &[u8]) {
    let _ = answers::parse_version(bytes);
    let _ = answers::parse_info(bytes);
    for container in answers::parse_containers(bytes).unwrap_or_default() {
        assert!(answers::is_id(&container.id), "{:?} would be part of a path", container.id);
    }
    let _ = answers::parse_images(bytes);
    let _ = answers::parse_image(bytes);
    let _ = answers::parse_layers(bytes);
    let _ = answers::parse_state(bytes, "cyclometer-1-2-boot-c3");
    let _ = answers::parse_command(bytes);
    let _ = answers::parse_event(bytes);
    assert!(answers::parse_refusal(bytes).len() <= 4096, "a long message");
    let _ = answers::parse_report(bytes, [0; 16]);
    let mut decoder = FrameDecoder::default();
    let _ = decoder.decode(bytes, |_, place| assert!(place.end <= bytes.len(), "{place:?}"));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = answers::parse_moment(text);
        assert!(answers::shown(text).chars().count() <= 600, "a long text");
    }
}

fn query_survives(sql: &str) {
    thread_local! {
        static READER: crate::store::Reader =
            crate::store::Reader::empty().expect("a database in memory");
    }
    READER.with(|reader| crate::cli::query_survives(reader, sql));
}
