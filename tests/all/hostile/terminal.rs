//! Text of others on its way to a terminal, a table or a report.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Output;

use rusqlite::Connection;
use serde_json::Value;

use crate::common::{Place, Run, column, fixture};

/// Characters that must not leave the program, as the Unicode charts list them:
/// first and last of each range.
const FORBIDDEN: [(u32, u32); 31] = [
    (0x00, 0x1f),
    (0x7f, 0x9f),
    (0xad, 0xad),
    (0x34f, 0x34f),
    (0x61c, 0x61c),
    (0x115f, 0x1160),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x200b, 0x200f),
    (0x2028, 0x202e),
    (0x2060, 0x206f),
    (0x3164, 0x3164),
    (0xe000, 0xe003),
    (0xfdd0, 0xfdef),
    (0xfe00, 0xfe0f),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfffb),
    (0xfffe, 0xffff),
    (0x13430, 0x1343f),
    (0x1bca0, 0x1bca3),
    (0x1d173, 0x1d17a),
    (0x1fffe, 0x1ffff),
    (0xe0000, 0xe0001),
    (0xe0020, 0xe007f),
    (0xe0100, 0xe01ef),
    (0xe0fff, 0xe0fff),
    (0xf0000, 0xf0003),
    (0xffffe, 0xfffff),
    (0x0010_0000, 0x0010_0003),
    (0x0010_fffe, 0x0010_ffff),
];

/// Marks above and below on one letter.
const PILE: &str = "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}";

fn forbidden() -> impl Iterator<Item = char> {
    FORBIDDEN.iter().flat_map(|(first, last)| *first..=*last).filter_map(char::from_u32)
}

/// What terminals, tables, Markdown and HTML might obey, and every character of
/// the list but NUL, which no argument and no file name can hold.
fn payload() -> String {
    let all: String = forbidden().filter(|it| *it != '\0').collect();
    format!(
        "=P\x1b]0;owned\x07\x1b[2J\x1b[1;1H\u{9b}2J\x1bPq\x1b\\\r|`<script>[l](javascript:x)\n\
         error: fake{PILE}{all}"
    )
}

/// A short one where lengths are limited.
const SHORT: &str = "P\x1b]0;o\x07\u{9b}2J\r\u{202e}\u{200b}\u{e0041}\u{2028}\u{ad}";

/// Asserts that bytes are visible text.
fn assert_harmless(bytes: &[u8], what: &str) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|error| {
        panic!("{what}: no UTF-8 at {error}: {:?}", bytes.escape_ascii().to_string())
    });
    let around = |at: usize| text[..at].chars().rev().take(80).collect::<Vec<_>>();
    let before = |at: usize| around(at).into_iter().rev().collect::<String>();
    let mut pile = 0;
    for (at, character) in text.char_indices() {
        if matches!(character, ' '..='~' | '\n' | '\t') {
            pile = 0;
            continue;
        }
        pile = if character == '\u{301}' { pile + 1 } else { 0 };
        let code = character as u32;
        let bad = FORBIDDEN.iter().any(|(first, last)| (*first..=*last).contains(&code));
        assert!(!bad && pile <= 4, "{what}: U+{code:04X} after {:?}", before(at));
    }
}

fn assert_run_is_harmless(output: &Output, what: &str) -> Run {
    assert_harmless(&output.stdout, &format!("{what}, standard output"));
    assert_harmless(&output.stderr, &format!("{what}, standard error"));
    assert!(
        output.status.code().is_some_and(|code| code < 100),
        "{what} ended by {}",
        output.status
    );
    // Nothing of others begins a line of ours.
    let run = Run::of(output);
    assert!(
        !run.stderr.lines().any(|line| line.starts_with("error: fake")),
        "{what}: {}",
        run.stderr
    );
    run
}

/// Runs the program without an engine, and scans what it says.
fn run(place: &Place, args: &[&str]) -> Run {
    let output = place
        .command(args)
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .env("XDG_CONFIG_HOME", place.path().join("config"))
        .output()
        .expect("the program starts");
    assert_run_is_harmless(&output, &args.join(" ").escape_debug().to_string())
}

const FORMATS: [&str; 5] = ["table", "markdown", "json", "jsonl", "csv"];

/// Columns of text in which the program keeps what others wrote.
const FREE: [(&str, &str); 22] = [
    ("recording", "label"),
    ("recording", "owner"),
    ("lane", "name"),
    ("lane", "version"),
    ("lane", "note"),
    ("lane", "unavailable"),
    ("cell", "workload"),
    ("cell", "preset"),
    ("cell", "note"),
    ("invocation", "reason"),
    ("lane_meter", "meter"),
    ("lane_meter", "note"),
    ("simulation", "label"),
    ("simulation_model", "model"),
    ("simulation_model", "currency"),
    ("line_item", "charge"),
    ("line_item", "refused"),
    ("line_item", "note"),
    ("settlement", "position"),
    ("settlement", "unit"),
    ("footprint", "name"),
    ("subject", "arguments"),
];

fn columns_of(connection: &Connection, table: &str) -> Vec<String> {
    column(connection, &format!("SELECT name FROM pragma_table_info('{table}')"))
}

/// Adds the payload to a column of text.
fn poison(connection: &Connection, table: &str, name: &str) {
    let sql = format!("UPDATE OR IGNORE {table} SET {name} = COALESCE({name}, '') || ?1");
    connection.execute(&sql, [payload()]).expect("poisoned");
}

/// A database with the payload wherever text of others may be.
fn poisoned() -> Place {
    let place = fixture::place();
    let connection = place.open();
    for (table, name) in FREE {
        // What is not a column here has another name now: the list is wrong.
        let known = columns_of(&connection, table);
        assert!(known.iter().any(|it| it == name), "no column {table}.{name}");
        poison(&connection, table, name);
    }
    connection
        .execute(
            "UPDATE recording SET host = json_object('cpu', ?1, 'kernel', ?1, 'clock', ?1),
                plan = json_object('lanes', json_array(?1), 'preset', ?1)",
            [payload()],
        )
        .expect("poisoned");
    connection
        .execute(
            "UPDATE subject SET arguments = json_array(?1), input = ?1, module_sha256 = ?1",
            [payload()],
        )
        .expect("poisoned");
    drop(connection);
    place
}

/// Every way to look at what is stored.
fn readings() -> Vec<Vec<&'static str>> {
    [
        "history",
        "history list --kind all",
        "history list --kind recordings",
        "history list --kind simulations",
        "history show 1",
        "history show s1",
        "history compare 1 2",
        "history compare 1 2 --fail-above 1",
        "history compare s1 s1",
        "replay 1",
        "replay 1 2",
        "replay 1 --waste",
        "replay 1 --bills all",
        "replay 1 --break-even",
        "replay 1 --memory sweep",
        "replay 1 --per-month 1M",
        "replay 1 --explain 1",
        "replay 1 --explain cold",
        "replay 1 --explain cold/P",
        "replay 1 --model aws-lambda-x86 --set x=1",
        "tax --show 1",
        "paper --show",
        "query --list",
        "query --schema",
        "query --saved bills",
        "query --saved failures",
        "query --saved cold-starts",
        "query --saved outliers",
        "query --saved missing-meters",
        "clean",
    ]
    .iter()
    .map(|line| line.split(' ').collect())
    .chain([
        vec!["query", "SELECT * FROM v_recording"],
        vec!["query", "SELECT * FROM v_invocation LIMIT 30"],
        vec!["query", "SELECT label AS \"=a\u{202e}\u{200b}\" , x'9b00' FROM recording"],
        vec!["query", "SELECT * FROM \"\u{202e}\u{9b}2J\u{200b}\""],
        vec!["query", "SELECT CAST(x'9b324aff1b5b' AS TEXT), char(27), 1e999, -1.5"],
    ])
    .collect()
}

#[test]
fn stored_text_cannot_reach_a_terminal_as_it_is() {
    let place = poisoned();
    let mut worked = BTreeMap::new();
    for reading in readings() {
        for format in FORMATS {
            let args = [&reading[..], &["--format", format]].concat();
            let run = run(&place, &args);
            let shown = run.stdout.contains("fake") && run.stdout.contains("202e");
            *worked.entry(reading.join(" ")).or_insert(false) |= shown;
            match format {
                "json" if run.code == 0 && !run.stdout.is_empty() => drop(run.json()),
                "jsonl" if run.code == 0 => {
                    for line in run.stdout.lines() {
                        serde_json::from_str::<Value>(line).expect("JSON");
                    }
                }
                _ => {}
            }
        }
    }
    // The payload has to be there to be looked for.
    let seen = |name: &str| worked.iter().any(|(args, shown)| args.starts_with(name) && *shown);
    for name in ["history list", "history show 1", "history show s1", "history compare", "replay 1"]
    {
        assert!(seen(name), "{name} shows nothing of it: {worked:?}");
    }
    // The database still has what was written.
    let label = column(&place.open(), "SELECT label FROM recording WHERE id = 1");
    assert_eq!(label, [format!("first{}", payload())]);
}

#[test]
fn columns_that_hold_no_free_text_are_no_way_out_either() {
    let tables = column(
        &fixture::place().open(),
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
    );
    for table in tables {
        let place = fixture::place();
        let connection = place.open();
        connection.pragma_update(None, "ignore_check_constraints", true).expect("set");
        for name in columns_of(&connection, &table) {
            let text = format!("SELECT COUNT(*) FROM {table} WHERE typeof({name}) = 'text'");
            if column(&connection, &text) != ["0"] {
                poison(&connection, &table, &name);
            }
        }
        drop(connection);
        for args in [
            &["history"][..],
            &["history", "show", "1"],
            &["history", "show", "s1"],
            &["history", "compare", "1", "2"],
            &["replay", "1"],
            &["replay", "1", "--explain", "1"],
            &["query", "SELECT * FROM v_invocation LIMIT 3"],
        ] {
            run(&place, args);
        }
    }
}

#[test]
fn json_has_the_exact_value_and_csv_one_without_formulas() {
    let place = poisoned();
    let sql = "SELECT label, -1.5 AS n, '-0.25' AS money FROM recording WHERE id = 1";
    let json = run(&place, &["query", sql, "--format", "json"]).json();
    assert_eq!(json[0]["label"], Value::String(format!("first{}", payload())));
    let lines = run(&place, &["query", sql, "--format", "jsonl"]).stdout;
    let line: Value = serde_json::from_str(&lines).expect("JSON");
    assert_eq!(line["label"], json[0]["label"]);

    let sql = "SELECT substr(label, 6) AS label, -1.5 AS n, '-0.25' AS money, '''x' AS q
        FROM recording WHERE id = 1";
    let text = run(&place, &["query", sql, "--format", "csv"]).stdout;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let row = reader.records().next().expect("a row").expect("CSV");
    assert!(row[0].starts_with("'=P\\x1b]0;owned\\x07"), "{:?}", &row[0]);
    assert_eq!((&row[1], &row[2], &row[3]), ("-1.5", "-0.25", "''x"));
}

#[test]
fn arguments_that_are_repeated_cannot_reach_a_terminal_as_they_are() {
    let place = fixture::place();
    let bad = payload();
    let path = place.path().join(SHORT);
    let path = path.to_str().expect("text");
    let option = format!("--{bad}");
    for args in [
        vec![&*option],
        vec![&bad],
        vec!["--format", &bad],
        vec!["record", "--workload", &bad],
        vec!["record", "--lane", &bad],
        vec!["record", "--lane", &format!("docker@{bad}")],
        vec!["record", "--memory", &bad],
        vec!["record", "--until", &bad],
        vec!["record", "--runs", &bad],
        vec!["record", "--pin", &bad],
        vec!["record", "--preset", &bad, "--workload", "nop"],
        vec!["record", "--against", &bad],
        vec!["record", "--workloads", path],
        vec!["record", "--pricing", path],
        vec!["record", "--runtimes", path],
        vec!["history", "--db", path],
        vec!["history", "show", &bad],
        vec!["history", "compare", &bad, "2"],
        vec!["history", "--since", &bad],
        vec!["history", "--label", &bad],
        vec!["history", "label", "1", &bad],
        vec!["history", "list"],
        vec!["replay", &bad],
        vec!["replay", "1", "--model", &bad],
        vec!["replay", "1", "--set", &bad],
        vec!["replay", "1", "--explain", &bad],
        vec!["pricing", "show", &bad],
        vec!["pricing", "explain", "aws-lambda-x86", "--set", &bad],
        vec!["pricing", "explain", "aws-lambda-x86", "--usage", path],
        vec!["pricing", "check", path],
        vec!["pricing", "new", &bad],
        vec!["query", &bad],
        vec!["query", "SELECT :a", "--param", &format!("a={bad}")],
        vec!["query", "SELECT 1", "--param", &bad],
        vec!["query", "--saved", &bad],
        vec!["lanes", "check", &bad],
        vec!["workloads", "build", path],
        vec!["clean", "--only", &bad],
        vec!["completions", &bad],
        vec!["man", "--into", &format!("/proc/{SHORT}")],
        vec!["tax", "--show", &bad],
    ] {
        run(&place, &args);
    }
    // The shell may hand over bytes that are no text.
    let raw = std::ffi::OsStr::from_bytes(b"a\x9b2J\x1b[2J\xff");
    for args in
        [&["history", "show"][..], &["--db"], &["record", "--workloads"], &["pricing", "check"]]
    {
        let output = place.command(args).arg(raw).output().expect("the program starts");
        assert_run_is_harmless(&output, &format!("{args:?} with raw bytes"));
    }
    for name in [
        "TERM",
        "LANG",
        "CYCLOMETER_DB",
        "CYCLOMETER_RUNTIMES",
        "DOCKER_HOST",
        "NO_COLOR",
        "TMPDIR",
        "XDG_CACHE_HOME",
    ] {
        for args in [&["lanes"][..], &["doctor"], &["history"]] {
            let command = &mut place.command(args);
            command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
            let output = command.env(name, path).output().expect("the program starts");
            assert_run_is_harmless(&output, &format!("{args:?} with {name}"));
        }
    }
}

#[test]
fn files_of_others_cannot_reach_a_terminal_as_they_are() {
    let place = fixture::place();
    let bad = payload().replace(['\n', '\r'], "");
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let raw = bad.replace(|it: char| it.is_ascii_control(), "").replace(['"', '\\'], "");
    for content in [
        format!("title = {}\nstresses = {}\nwasm = \"m.wasm\"\n", quoted(&bad), quoted(&bad)),
        format!("{} = 1\n", quoted(&bad)),
        format!("title = \"{raw}\n"),
        format!("# {raw}\ntitle = 3\n"),
        bad.clone(),
    ] {
        place.write(&format!("w/{SHORT}/workload.toml"), &content);
        place.write("p/price.toml", format!("id = {}\n{content}", quoted(&bad)));
        place.write(&format!("r/{SHORT}.toml"), format!("{content}\ntakes = \"module\"\n"));
        let path = |name: &str| place.path().join(name).to_str().expect("text").to_owned();
        for format in ["table", "json", "csv", "markdown"] {
            run(&place, &["workloads", "list", "--workloads", &path("w"), "--format", format]);
            run(&place, &["pricing", "list", "--pricing", &path("p"), "--format", format]);
            run(&place, &["pricing", "check", &path("p/price.toml"), "--format", format]);
            run(&place, &["lanes", "--runtimes", &path("r"), "--format", format]);
        }
        run(&place, &["pricing", "explain", "per-cycle", "--usage", &path("p/price.toml")]);
    }
}

/// A price file with names that can be seen, and all the rest in a comment.
#[test]
fn a_price_file_is_printed_without_what_hides_in_its_comments() {
    let place = fixture::place();
    let file = place.path().join("own.toml");
    let file = file.to_str().expect("text");
    let text = run(&place, &["pricing", "new", "own"]).stdout;
    let raw = payload().replace(|it: char| it.is_ascii_control(), "");
    std::fs::write(file, format!("# {raw}\n{text}")).expect("written");
    let shown = run(&place, &["pricing", "show", "own", "--text", "--pricing", file]);
    assert!(shown.stdout.contains("\\u{202e}"), "{}", shown.stdout);
    let again = place.write("again.toml", shown.stdout);
    assert_eq!(run(&place, &["pricing", "check", again.to_str().expect("text")]).code, 0);
    // A name with something hidden is refused.
    let name = text.replacen("name = \"", "name = \"a\u{200b}", 1);
    assert_ne!(name, text);
    std::fs::write(file, name).expect("written");
    assert_ne!(run(&place, &["pricing", "check", file]).code, 0);
}

/// A program that says what it is given to say, on standard error, and fails.
fn speaking_profile(place: &Place) -> String {
    let script = "#!/bin/sh\nhere=${0%/*}\ncat \"$here/said\" >&2\n\
        [ \"$1\" = --version ] && { printf 'runtime 1.0 '; cat \"$here/said\"; exit 0; }\nexit 3\n";
    let program = place.write("runtimes/cyclometer-test-runtime", script);
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("executable");
    let mut said = payload().into_bytes();
    said.extend(b"\x9b2J\xff\xfe\x1b[2J\n");
    said.extend("x".repeat(9_000).bytes());
    said.extend(payload().bytes());
    place.write("runtimes/said", said);
    let profile = include_str!("../../data/profiles/sound.toml");
    place.write("runtimes/speaks.toml", profile);
    place.path().join("runtimes").to_str().expect("text").to_owned()
}

#[test]
fn what_a_runtime_says_cannot_reach_a_terminal_as_it_is() {
    let place = Place::new();
    let runtimes = speaking_profile(&place);
    let path = format!("{runtimes}:{}", std::env::var("PATH").unwrap_or_default());
    let speaking = |args: &[&str]| {
        let output = place
            .command(args)
            .args(["--runtimes", &runtimes])
            .env("PATH", &path)
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            .output()
            .expect("the program starts");
        assert_run_is_harmless(&output, &args.join(" "))
    };
    for format in FORMATS {
        speaking(&["lanes", "--format", format]);
    }
    let checked = speaking(&["lanes", "check", "speaks"]);
    assert!(
        checked.stdout.contains("\\x1b") || checked.stderr.contains("\\x1b"),
        "{}",
        checked.stdout
    );
    let label = payload();
    let recorded = speaking(&[
        "record",
        "--lane",
        "speaks",
        "--workload",
        "nop",
        "--runs",
        "2",
        "--label",
        &label,
    ]);
    assert!(recorded.stderr.contains("\\x1b"), "{}", recorded.stderr);
    for format in FORMATS {
        speaking(&["history", "show", "--format", format]);
        speaking(&["query", "SELECT * FROM v_invocation", "--format", format]);
    }
    // A reason is a line that a person reads, whatever was said.
    let reasons = column(&place.open(), "SELECT reason FROM invocation WHERE reason IS NOT NULL");
    assert!(!reasons.is_empty());
    for reason in reasons {
        assert!(!reason.contains('\n') && reason.chars().count() <= 4_096, "{reason}");
        assert_harmless(reason.as_bytes(), "a stored reason");
    }
    assert_eq!(column(&place.open(), "SELECT label FROM recording"), [label]);
}

/// An engine that answers every request with an error that holds the payload.
fn answer_with_errors(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 8_192];
            let _ = stream.read(&mut request);
            let message = serde_json::json!({ "message": payload() }).to_string();
            let _ = write!(
                stream,
                "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{message}",
                message.len()
            );
        }
    });
}

#[test]
fn what_an_engine_answers_cannot_reach_a_terminal_as_it_is() {
    let place = Place::new();
    let socket = place.path().join("engine.sock");
    answer_with_errors(&socket);
    let host = format!("unix://{}", socket.display());
    for args in [
        &["lanes"][..],
        &["lanes", "--format", "json"],
        &["doctor"],
        &["doctor", "--format", "csv"],
        &["clean"],
        &["record", "--lane", "docker", "--workload", "nop", "--runs", "1"],
        &["record", "--lane", "native,docker", "--workload", "nop", "--runs", "1"],
        &["history", "show"],
    ] {
        let output =
            place.command(args).env("DOCKER_HOST", &host).output().expect("the program starts");
        assert_run_is_harmless(&output, &args.join(" "));
    }
}
