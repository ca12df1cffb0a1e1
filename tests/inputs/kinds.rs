//! Kinds of input from outside, each with an invariant that must hold for any bytes at
//! all: shared by fuzzing and `cargo test --test all fuzzing`.

use cyclometer::lane::survival::{
    engine_reply_survives, launcher_answer_survives, profile_survives, worker_line_survives,
    worker_report_survives,
};
use cyclometer::pricing::survival::{price_model_survives, usage_file_survives};
use cyclometer::trace::survival::{mapping_survives, trace_lines_survive};
use cyclometer::workload::Manifest;

/// A kind of input that anybody may have written.
#[derive(Debug, Clone, Copy)]
pub struct InputKind {
    /// Name of the fuzz target, and of the folder of its corpus.
    pub name: &'static str,
    /// Reads the bytes as the program does; panics if they break an invariant.
    pub survives: fn(&[u8]),
    /// Words that have a meaning in this kind of input.
    pub words: &'static [&'static str],
    /// Maximum size of the inputs that are tried, in bytes.
    pub longest: usize,
}

/// Maximum size of a text, in bytes.
const TEXT: usize = 64 << 10;

/// Maximum size of a message of a process, in bytes.
const MESSAGE: usize = 4 << 10;

/// All kinds of input, each a fuzz target.
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
        survives: super::database::database_image_survives,
        words: &["SELECT", "CREATE VIEW", "recording", "invocation", "running", "wasmtime"],
        longest: 1 << 20,
    },
    InputKind {
        name: "query",
        survives: |bytes| with_text(bytes, query_survives),
        words: QUERY_WORDS,
        longest: 8 << 10,
    },
    InputKind {
        name: "mapping",
        survives: |bytes| with_text(bytes, mapping_survives),
        words: &[
            "[trace]",
            "format = \"csv\"",
            "\"parquet\"",
            "\"json\"",
            "array",
            "delimiter",
            "header = false",
            "decimal = \",\"",
            "group = \".\"",
            "zone = \"+02:00\"",
            "[fields]",
            "started",
            "notation",
            "%d.%m.%Y %H:%M:%S",
            "column",
            "value",
            "values",
            "[meters]",
            "unit",
            "MiB",
            "GB-s",
            "estimate = true",
        ],
        longest: TEXT,
    },
    InputKind {
        name: "trace_lines",
        survives: trace_lines_survive,
        words: &[
            "REPORT RequestId: ",
            "\tDuration: 1 ms\t",
            "\"duration\"",
            "\"timestamp\"",
            "\"itemCount\"",
            "\"activationId\"",
            "\"resourceSpans\"",
            "app,func,end_timestamp,duration\n",
            "pool22-300-128-1",
            "2025-05-12T20:24:06.154Z",
            "1747081446154",
            "9223372036854775807",
            "1e400",
            "-1",
            "\\u0000",
        ],
        longest: MESSAGE,
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

/// Reads the bytes as text, as all files are.
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
    match Manifest::parse(content, "workload.toml", None, &read) {
        Ok(manifest) => {
            assert!(!manifest.presets.is_empty(), "accepted without a preset");
            for (name, preset) in &manifest.presets {
                assert_eq!(*name, preset.name);
                assert!(preset.args.iter().all(|arg| !arg.contains('\0')), "NUL in an argument");
                assert!(preset.limits.timeout.0 > 0, "a run without end was accepted");
                assert!(preset.limits.memory.0 > 0, "memory without a limit was accepted");
                assert!(!preset.stdin.content_identity().is_empty());
            }
        }
        Err(error) => assert_bounded(&error.to_string(), &String::from_utf8_lossy(content)),
    }
}

/// Asserts that a message about a text is short, however long the text.
fn assert_bounded(message: &str, text: &str) {
    let most = 4096 + 2 * text.len().min(4096);
    assert!(message.len() <= most, "{} bytes of message", message.len());
}

fn query_survives(sql: &str) {
    thread_local! {
        static READER: cyclometer::store::SqlReader =
            cyclometer::store::SqlReader::open_empty().expect("a database in memory");
    }
    READER.with(|reader| cyclometer::cli::query_survives(reader, sql));
}
