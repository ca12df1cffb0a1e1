//! Tests of mappings: hand-made files in several locales, and what is wrong with mappings.

use cyclometer_core::invocation::Status;
use cyclometer_core::meter::{Meter, Source};
use cyclometer_core::units::Nanos;

use super::*;
use crate::batch::{RowBatch, TraceNames};
use crate::format::{Record, RecordOutcome, Reject};
use crate::row::TraceRow;

/// Content of an input as a mapping reads it.
struct Read {
    names: TraceNames,
    rows: Vec<TraceRow>,
    rejects: Vec<(u64, String)>,
    others: Vec<&'static str>,
}

fn read(mapping: &str, text: &str) -> Read {
    read_with(&parse_mapping(mapping, "m.toml").expect("a mapping"), text)
}

fn read_with(mapping: &Mapping, text: &str) -> Read {
    let mut reader = mapping.open(&ImportSettings::default(), "input");
    let (mut names, mut batch) = (TraceNames::default(), RowBatch::default());
    let (mut rejects, mut others) = (Vec::new(), Vec::new());
    for (line, bytes) in (1..).zip(text.lines()) {
        let record = Record { bytes: bytes.as_bytes(), line };
        let rows = batch.len();
        match reader.read_record(&record, &mut names, &mut batch) {
            Ok(RecordOutcome::Rows) => {}
            Ok(RecordOutcome::Other(kind)) => others.push(kind),
            Err(Reject(cause)) => {
                batch.truncate(rows);
                rejects.push((line, cause.to_owned()));
            }
        }
    }
    Read { names, rows: batch.rows().to_vec(), rejects, others }
}

const GERMAN: &str = r#"
[trace]
format = "csv"
platform = "haus"
delimiter = ";"
decimal = ","
group = "."
zone = "+02:00"

[fields]
function = { column = "Funktion" }
started = { column = "Beginn", notation = "%d.%m.%Y %H:%M:%S" }
request = { column = "Kennung" }
instance = { column = "Instanz" }
status = { column = "Zustand", ok = ["ok"], failed = ["Fehler*"], timeout = ["Zeit"] }
cold = { column = "Kalt", values = ["ja"] }
weight = { column = "Anzahl" }

[meters]
run = { column = "Dauer (ms)", unit = "ms" }
start = { column = "Start (s)", unit = "s" }
memory_allocated = { value = 128, unit = "MiB" }
memory_peak = { column = "RAM", unit = "MB", estimate = true, note = "average" }
vcpu_allocated = { value = 0.5, unit = "vCPU" }
"#;

#[test]
fn a_file_of_another_locale_has_exact_units() {
    let text = "\u{feff}Funktion;Beginn;Kennung;Instanz;Zustand;Kalt;Anzahl;\"Dauer (ms)\";Start (s);RAM\n\
        \"bild;klein\";12.05.2025 22:24:06;a1;i1;ok;ja;3;1.234,5;0,25;33,5\r\n\
        f;12.05.2025 22:24:06;a2;i1;Fehler 7;nein;1;1;;\n\
        f;12.05.2025 22:24:06;a3;i1;was?;nein;1;1;;\n\
        f;12.05.2025 22:24:06;a3;i1;ok;nein;1;1.23,5;;\n\
        f;12.05.2025 22:24:06;a3;i1;ok;nein;1;-1;;\n\
        f;05/12/2025 22:24:06;a3;i1;ok;nein;1;1;;\n\
        f;12.05.2025 22:24:06;a3;i1;ok;nein;1,5;1;;\n\
        f;12.05.2025 22:24:06;a3;i1;ok;nein;1;;;\n";
    let input = read(GERMAN, text);
    let [first, second] = &input.rows[..] else { panic!("{:?}", input.rejects) };
    assert_eq!(first.usage.phases.run, Some(Nanos(1_234_500_000)));
    assert_eq!(first.usage.phases.start, Some(Nanos(250_000_000)));
    // 1,234.5 ms and 250 ms.
    assert_eq!(first.usage.get(Meter::Wall), Some(1_484_500_000));
    assert_eq!(first.usage.get(Meter::MemoryPeak), Some(33_500_000));
    assert_eq!(first.usage.get(Meter::MemoryAllocated), Some(134_217_728));
    assert_eq!(first.usage.get(Meter::VcpuAllocated), Some(500));
    // 22:24:06 two hours ahead of UTC; `date -u -d 2025-05-12T20:24:06Z +%s` is 1747081446.
    assert_eq!(first.started_at, Some(1_747_081_446_000_000_000));
    assert_eq!((first.weight, first.status), (3, Status::Ok));
    assert!(first.usage.cold && !second.usage.cold);
    assert_eq!(second.status, Status::Failed);
    assert_eq!(second.usage.phases.start, None, "empty is missing");
    assert_eq!(input.names.cells()[0].function, "bild;klein");
    assert_eq!(input.names.cells()[0].platform, "haus");
    assert_eq!(input.names.cells()[0].configuration, "128MB");
    let rejects: Vec<_> = input.rejects.iter().map(|(line, it)| (*line, it.as_str())).collect();
    assert_eq!(
        rejects,
        [
            (4, "a status that the mapping does not list"),
            (5, "column `Dauer (ms)`: no number"),
            (6, "column `Dauer (ms)`: a negative number"),
            (7, "a time that is not in the notation of its column"),
            (8, "a count that is no number"),
            // The last has constants only, and no duration.
            (9, "a record without any meter of the mapping"),
        ]
    );
}

#[test]
fn meters_tell_their_sources() {
    let mapping = parse_mapping(GERMAN, "m.toml").expect("a mapping");
    let find = |meter| {
        let found = mapping.meters().iter().find(|(known, _)| *known == meter);
        found.map(|(_, it)| (it.source, it.note.clone())).expect("told")
    };
    assert_eq!(
        find(Meter::MemoryPeak),
        (Some(Source::Estimate), "column `RAM` in MB: average".to_owned())
    );
    let size = find(Meter::MemoryAllocated);
    assert_eq!(size, (Some(Source::Plan), "128 MiB by the mapping".to_owned()));
    assert_eq!(find(Meter::CpuTime), (None, "the mapping has no column for it".to_owned()));
    assert_eq!(find(Meter::Wall).0, Some(Source::Log));
    assert_eq!(mapping.framing(), Framing::Delimited { delimiter: b';' });
}

#[test]
fn json_paths_and_large_integers_are_read() {
    let mapping = r#"
        [trace]
        format = "json"
        array = "data"
        platform = "p"
        [fields]
        function = { column = "labels.fn" }
        started = { column = ["time", "a.b"], notation = "ns" }
        only = { column = "type", values = ["call", "in*"] }
        [meters]
        cycles = { column = "counters.cycles", unit = "cycles" }
        wall = { column = "wall", unit = "us" }
    "#;
    let text = concat!(
        r#"{"type":"call","labels":{"fn":"a\"b"},"time":{"a.b":1747081446154000001},"counters":{"cycles":9007199254740993},"wall":"1.5"}"#,
        "\n",
        r#"{"type":"other"}"#,
        "\n",
        r#"{"type":"invoke","counters":{"cycles":1e400}}"#,
        "\n",
        r#"{"type":"call","counters":7}"#,
        "\n",
        "{\"type\":\"call\",\"wall\":\"1\0\"}",
        "\n",
        r#"{"type":"call","wall":1,"wall":2}"#,
    );
    let input = read(mapping, text);
    let [row] = &input.rows[..] else { panic!("{:?}", input.rejects) };
    assert_eq!(row.usage.get(Meter::Cycles), Some(9_007_199_254_740_993));
    assert_eq!(row.usage.get(Meter::Wall), Some(1_500));
    assert_eq!(row.started_at, Some(1_747_081_446_154_000_001));
    assert_eq!(input.names.cells()[0].function, "a\"b");
    assert_eq!(input.others, ["row that the mapping leaves out (`only`)"]);
    let lines: Vec<_> = input.rejects.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [3, 4, 5, 6]);
}

#[test]
fn headers_that_do_not_fit_are_refused_with_the_column() {
    let mapping = "[trace]\nformat = \"csv\"\nplatform = \"p\"\n\
        [meters]\nrun = { column = \"ms\", unit = \"ms\" }\n";
    let input = read(mapping, "a,b\n1,2\n");
    let cause = "there is no column `ms` of the mapping".to_owned();
    assert_eq!(input.rejects, [(1, cause.clone()), (2, cause)]);
    let twice = read(mapping, "ms,a,ms\n1,2,3\n");
    assert_eq!(twice.rejects.len(), 2);
    assert!(twice.rejects[0].1.contains("twice"));
    // Names that are not mapped may stand twice.
    assert_eq!(read(mapping, "ms,a,a\n1,2,3\n").rows.len(), 1);
    let bare = mapping.replace("\"p\"", "\"p\"\nheader = false").replace("\"ms\", u", "2, u");
    let input = read(&bare, "f,1.5\nf\n");
    assert_eq!(input.rows[0].usage.get(Meter::Wall), Some(1_500_000));
    assert_eq!(input.rejects, [(2, "there is no column number 2 of the mapping".to_owned())]);
}

#[test]
fn a_start_is_found_from_the_end_and_clocks_that_jump_are_rejected() {
    let mapping = "[trace]\nformat = \"csv\"\nplatform = \"p\"\n\
        [fields]\nstarted = { column = \"s\", notation = \"ms\" }\n\
        ended = { column = \"e\", notation = \"ms\" }\n\
        [meters]\nwall = { column = \"w\", unit = \"ms\" }\n";
    let input = read(mapping, "s,e,w\n,5000,2000\n6000,5000,1\n,1,2\n1,2,1\n");
    let starts: Vec<_> = input.rows.iter().map(|row| row.started_at).collect();
    assert_eq!(starts, [Some(3_000_000_000), Some(1_000_000)]);
    assert_eq!(input.rejects[0], (3, "an end before its start".to_owned()));
    assert_eq!(input.rejects[1], (4, "a duration that began before 1970".to_owned()));
}

#[test]
fn errors_have_a_place_and_near_names() {
    let head = "[trace]\nformat = \"csv\"\nplatform = \"p\"\n";
    let meters = "[meters]\nrun = { column = \"ms\", unit = \"ms\" }\n";
    for (text, wanted) in [
        (
            format!("{head}[meters]\nrunn = {{ column = \"ms\", unit = \"ms\" }}\n"),
            "m.toml:5:1: there is no meter `runn`; did you mean `run`?",
        ),
        (
            format!("{head}[meters]\nrun = {{ column = \"ms\", unit = \"msec\" }}\n"),
            "m.toml:5:31: unknown unit `msec`: there are ns, us, ms, s, min, h",
        ),
        (
            format!("{head}[meters]\nrun = {{ column = \"ms\" }}\n"),
            "m.toml:5:7: missing field `unit`",
        ),
        (
            format!("{head}[meters]\nmemory_peak = {{ column = \"ms\", unit = \"mb\" }}\n"),
            "m.toml:5:39: unknown unit `mb`: did you mean `",
        ),
        (
            format!("{head}delimeter = \";\"\n{meters}"),
            "m.toml:4:1: unknown field `delimeter`: did you mean `delimiter`?",
        ),
        (
            format!("{head}delimiter = \";;\"\n{meters}"),
            "m.toml:4:13: a delimiter is one character",
        ),
        (
            format!("{head}zone = \"Berlin\"\n{meters}"),
            "m.toml:4:8: a zone is like \"+02:00\" or \"UTC\"",
        ),
        (format!("{head}decimal = \",\"\ngroup = \",\"\n{meters}"), "m.toml:5:9: `group` is"),
        (
            format!(
                "{head}[fields]\nstarted = {{ column = \"t\", notation = \"unix\" }}\n{meters}"
            ),
            "m.toml:5:38: unknown notation `unix`",
        ),
        (
            format!("{head}[fields]\nfunction = {{}}\n{meters}"),
            "m.toml:5:12: either `column` or `value` is needed",
        ),
        (
            format!("{head}[fields]\nrequest = {{ value = \"x\" }}\n{meters}"),
            "m.toml:5:11: `request` needs a column",
        ),
        (
            format!("{head}header = false\n{meters}"),
            "m.toml:6:7: without a header, a column is a position from 1",
        ),
        (
            format!("{head}[meters]\nrun = {{ value = -1, unit = \"ms\" }}\n"),
            "m.toml:5:17: a value is not negative",
        ),
        (format!("{head}[meters]\n"), "m.toml:1:1: `meters` needs a column"),
        ("[trace\n".to_owned(), "m.toml:1:7: "),
    ] {
        let error = parse_mapping(&text, "m.toml").expect_err("wrong").to_string();
        assert!(error.starts_with(wanted), "{error}\nwanted {wanted}");
    }
    let long = " ".repeat(MAX_FILE_BYTES + 1);
    assert!(matches!(parse_mapping(&long, "m.toml"), Err(MappingError::TooLarge { .. })));
}

#[test]
fn the_template_is_a_mapping_with_or_without_its_comments() {
    let text = template();
    let mapping = parse_mapping(text, "m.toml").expect("a mapping");
    assert_eq!((mapping.name(), mapping.platform()), ("m.toml", "my-platform"));
    let is_example = |line: &&str| {
        line.strip_prefix("# ").is_some_and(|rest| {
            rest.split_once(" = ")
                .is_some_and(|(key, _)| key.bytes().all(|it| it.is_ascii_lowercase() || it == b'_'))
        })
    };
    // Each example by itself, in its table.
    for example in text.lines().filter(is_example) {
        let key = example.trim_start_matches("# ");
        let name = key.split(' ').next().unwrap_or_default();
        if ["array", "header", "started", "group"].contains(&name) {
            continue;
        }
        let one = text.replace(example, key);
        let parsed = parse_mapping(&one, "m.toml");
        assert!(parsed.is_ok(), "{example}: {:?}", parsed.err());
    }
}

#[test]
fn quick_mappings_are_read_by_their_grammar() {
    let options = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    let text = "fn;dur_ms;ts;a=b;state\nf;12.5;1747081446154;64;bad\n";
    let given = options(&[
        "fn=function",
        "dur_ms=run:ms",
        "ts=started:ms",
        "a=b=memory_allocated:MiB",
        "state=status:bad|5*",
    ]);
    let mapping = parse_map_options(&given, "p", text.as_bytes()).expect("a mapping");
    let input = read_with(&mapping, text);
    assert_eq!(input.rejects, []);
    assert_eq!(input.rows[0].usage.phases.run, Some(Nanos(12_500_000)));
    assert_eq!(input.rows[0].usage.get(Meter::MemoryAllocated), Some(64 << 20));
    assert_eq!(input.rows[0].status, Status::Failed);
    let json = r#"{"a":{"ms":1}}"#;
    let mapping = parse_map_options(&options(&["a.ms=wall:ms"]), "p", json.as_bytes());
    let input = read_with(&mapping.expect("a mapping"), json);
    assert_eq!(input.rows[0].usage.get(Meter::Wall), Some(1_000_000));
    for (given, wanted) in [
        ("dur_ms=run", "--map dur_ms=run: `run` needs its unit: dur_ms=run:UNIT"),
        ("dur_ms=run:sec", "--map dur_ms=run:sec: unknown unit `sec`"),
        ("dur_ms=rnu:ms", "--map dur_ms=rnu:ms: there is no meter `rnu`; did you mean `run`?"),
        ("dur_ms", "--map dur_ms: an option is COLUMN=METER:UNIT"),
        ("ts=started", "--map ts=started: `started` needs its notation"),
        ("fn=function:ms", "--map fn=function:ms: `function` has no unit"),
        ("none=run:ms", "--map: the first line of the input is no header with the columns none"),
    ] {
        let error = parse_map_options(&options(&[given]), "p", text.as_bytes());
        let error = error.expect_err("wrong");
        assert!(error.starts_with(wanted), "{error}");
    }
}

#[test]
fn the_documented_mapping_is_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/mapping-files.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let (_, rest) = text.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let input = read(
        example,
        "Function;Begin;Id;State;Duration;RAM\nf;12.05.2025 22:24:06;a;503;1.234,5;64\n",
    );
    assert_eq!(input.rejects, []);
    assert_eq!(input.rows[0].usage.phases.run, Some(Nanos(1_234_500_000)));
    assert_eq!(input.rows[0].status, Status::Failed);
}
