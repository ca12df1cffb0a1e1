//! Containers: functions that attack what runs them or leave something behind,
//! and engines that answer in every wrong way.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cyclometer_testkit::skip;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::fake_engine::{Ask, FakeEngine, Fault};
use crate::common::{Place, Run, column, compile, docker, fake_engine, numbers};

/// Compiles a program of `programs/` and makes a workload of each set of
/// arguments. `false`, said aloud, without a compiler.
fn make_workloads(place: &Place, program: &str, timeout: &str, sets: &[(&str, &str)]) -> bool {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/programs");
    let source = std::fs::read_to_string(folder.join(format!("{program}.c"))).expect("a program");
    let Some(binary) = compile(place, program, &source) else { return false };
    for (name, arguments) in sets {
        let manifest = format!(
            "title = \"{name}\"\nstresses = \"its container\"\nnative = \"program\"\n\
             [limits]\nmemory = \"128MiB\"\ntimeout = \"{timeout}\"\noutput = \"16MiB\"\n\
             [preset.quick]\nargs = [{arguments}]\n"
        );
        place.write(&format!("w/{name}/workload.toml"), manifest);
        std::fs::copy(&binary, place.path().join(format!("w/{name}/program"))).expect("copied");
    }
    true
}

/// Records runs of such a workload, and insists that no container is left.
fn record(place: &Place, name: &str, lane: &str, start: &str, runs: &str) -> Run {
    let folder = place.path().join("w").display().to_string();
    let what = ["record", "--workloads", &folder, "--workload", name, "--lane", lane];
    let how = ["--start", start, "--runs", runs, "--warmup", "0"];
    let child = place.spawn(&[&what[..], &how].concat());
    let name = format!("cyclometer-{}-", child.id());
    let run = Run::of(&child.wait_with_output().expect("it ends"));
    let left = place.ok(&["clean", "--only", "containers", "--format", "csv"]).stdout;
    assert!(!left.contains(&name), "{left}");
    run
}

/// Status and reason of each invocation, in order.
fn ends(place: &Place) -> Vec<String> {
    let sql = "SELECT status || ': ' || COALESCE(reason, '') FROM v_invocation ORDER BY invocation";
    column(&place.open(), sql)
}

/// The lanes of containers that there are: the engine's default, and gVisor.
fn lanes() -> Vec<&'static str> {
    match cyclometer::lane::docker::inspect_engine() {
        Ok(info) if info.runtimes.iter().any(|name| name == "runsc") => {
            vec!["docker", "docker:runsc"]
        }
        Ok(_) => {
            cyclometer_testkit::skip("the engine has no runtime `runsc`");
            vec!["docker"]
        }
        Err(_) => Vec::new(),
    }
}

#[test]
fn a_function_gets_at_neither_its_starter_nor_process_1() {
    if !docker() {
        return;
    }
    for lane in lanes() {
        for start in ["cold", "warm"] {
            let place = Place::new();
            if !make_workloads(&place, "intruder", "20s", &[("intruder", "")]) {
                return;
            }
            let run = record(&place, "intruder", lane, start, "2");
            assert_eq!(ends(&place), ["ok: ", "ok: "], "{lane} {start}: {}", run.stderr);
        }
    }
}

#[test]
fn nothing_of_a_function_is_found_by_the_next_in_its_container() {
    if !docker() {
        return;
    }
    let place = Place::new();
    let sets = [
        ("file", "\"file\""),
        ("system-v", "\"shm\", \"sem\", \"msg\""),
        ("queue", "\"queue\""),
        ("attribute", "\"xattr\""),
        ("process", "\"process\""),
    ];
    if !make_workloads(&place, "leaver", "20s", &sets) {
        return;
    }
    for lane in lanes() {
        for (name, told) in [
            ("file", "left files in /dev/shm behind"),
            ("system-v", "left System V objects behind"),
            ("queue", "left message queues behind"),
            ("attribute", "left attributes of its output files behind"),
            ("process", "process(es) behind, which were killed"),
        ] {
            let _ = std::fs::remove_file(place.db());
            let run = record(&place, name, lane, "warm", "3");
            let ends = ends(&place);
            assert_eq!(ends.len(), 3, "{lane} {name}: {}", run.stderr);
            for end in &ends {
                // A sandbox may not have such a thing at all.
                let nothing = lane != "docker" && end == "ok: ";
                assert!(end.starts_with("ok: "), "{lane} {name}: {end}");
                assert!(end.contains(told) || nothing, "{lane} {name}: {end}");
            }
        }
    }
}

/// 8 MiB of files: whoever comes next would start with them.
#[test]
fn memory_that_a_function_leaves_is_its_own_and_not_of_the_next() {
    if !docker() {
        return;
    }
    let place = Place::new();
    if !make_workloads(&place, "leaver", "20s", &[("file", "\"file\"")]) {
        return;
    }
    record(&place, "file", "docker", "warm", "3");
    let connection = place.open();
    let known = "memory_startup_bytes IS NOT NULL AND memory_peak_bytes IS NOT NULL";
    let rows = |what: &str| {
        numbers(&connection, &format!("SELECT {what} FROM v_invocation WHERE {known}"))
    };
    let (starts, peaks) = (rows("memory_startup_bytes"), rows("memory_peak_bytes"));
    if starts.is_empty() {
        return skip("no memory of control groups");
    }
    assert!(starts.iter().all(|start| *start < 6 << 20), "{starts:?}");
    assert!(peaks.iter().all(|peak| (8 << 20..30 << 20).contains(peak)), "{peaks:?}");
}

#[test]
fn families_that_grow_for_ever_end_with_their_invocation_and_are_told() {
    if !docker() {
        return;
    }
    let place = Place::new();
    let sets =
        [("for-ever", "\"for-ever\""), ("and-return", "\"and-return\""), ("comets", "\"comets\"")];
    if !make_workloads(&place, "bomb", "3s", &sets) {
        return;
    }
    for lane in lanes() {
        for start in ["cold", "warm"] {
            for (name, _) in sets {
                let _ = std::fs::remove_file(place.db());
                let run = record(&place, name, lane, start, "2");
                let ends = ends(&place);
                assert_eq!(ends.len(), 2, "{lane} {start} {name}: {}", run.stderr);
                for end in ends {
                    let killed = end.contains("process(es) behind, which were killed");
                    // On a busy machine a sandbox full of them dies slowly, and
                    // that is told as well.
                    let stopped = end.contains(": no end within 3.00 s");
                    // A sandbox holds as many processes as its memory does, and
                    // ends with them; engines tell of that in several ways.
                    let full = lane != "docker" && end.starts_with("failed: ");
                    let told = stopped || full || (killed && name != "for-ever");
                    assert!(told, "{lane} {start} {name}: {end}");
                }
            }
        }
    }
}

/// A recording against an engine of the test's own.
struct Trial {
    run: Run,
    /// Most memory that it held.
    peak: u64,
    took: Duration,
}

/// Starts a recording of a native run, and of one in a container of that engine.
fn start(place: &Place, workloads: &Path, engine: &FakeEngine, start: &str) -> Child {
    let folder = workloads.join("w").display().to_string();
    let what = ["record", "--workloads", &folder, "--workload", "calm", "--lane", "docker,native"];
    let how = ["--start", start, "--runs", "1", "--warmup", "0", "--sample-interval", "1s"];
    let mut command = place.command(&[&what[..], &how].concat());
    command.env("DOCKER_HOST", engine.host()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

/// Waits for its end, within two minutes.
fn wait(mut child: Child) -> Trial {
    let begun = Instant::now();
    let mut peak = 0;
    let status = format!("/proc/{}/status", child.id());
    while child.try_wait().expect("a child").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
        let kilobytes = line.split_whitespace().nth(1).and_then(|it| it.parse().ok());
        peak = peak.max(kilobytes.unwrap_or(0) << 10);
        if begun.elapsed() > Duration::from_mins(2) {
            child.kill().expect("killed");
            panic!("it hangs: {:?}", Run::of(&child.wait_with_output().expect("killed")).stderr);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = begun.elapsed();
    Trial { run: Run::of(&child.wait_with_output().expect("it ended")), peak, took }
}

/// What is wrong, and what is to be said of it: by the recording, or of the
/// invocation.
type Case = (&'static str, &'static [(Ask, Fault)], &'static str);

const ESCAPES: &str = "{\"message\":\"\\u001b[2J\\u0000\\u009b31m\\r\\nbad\"}";

/// Engines that cannot be used at all.
const USELESS: &[Case] = &[
    ("silent", &[(Ask::Version, Fault::Silent)], "did not answer within"),
    ("half a header", &[(Ask::Version, Fault::HalfHeader)], "did not answer within"),
    ("endless header", &[(Ask::Version, Fault::EndlessHeader)], "no Docker engine at"),
    ("endless body", &[(Ask::Version, Fault::EndlessBody)], "longer than 16777216 bytes"),
    ("drip", &[(Ask::Info, Fault::Drip)], "did not answer within"),
    ("foreign", &[(Ask::Version, Fault::Foreign)], "no Docker engine at"),
    ("redirect", &[(Ask::Version, Fault::Redirect)], "status 302"),
    ("no list", &[(Ask::Version, Fault::Answer(200, "[]"))], "not understood"),
    ("no JSON", &[(Ask::Version, Fault::Answer(200, "\u{1b}[2J\0"))], "not understood"),
    ("empty", &[(Ask::Version, Fault::Answer(200, ""))], "not understood"),
    (
        "huge version",
        &[(Ask::Version, Fault::Answer(200, r#"{"ApiVersion":"99999999999999999999999.1"}"#))],
        "is no version",
    ),
    (
        "negative version",
        &[(Ask::Version, Fault::Answer(200, r#"{"ApiVersion":"-1.-1"}"#))],
        "is no version",
    ),
    (
        "version of a number",
        &[(Ask::Version, Fault::Answer(200, r#"{"ApiVersion":1}"#))],
        "not understood",
    ),
    ("long refusal", &[(Ask::Info, Fault::LongRefusal)], "refuses to tell of itself (status 500)"),
    ("bad chunks", &[(Ask::Info, Fault::BadChunks)], "no Docker engine at"),
    ("closed", &[(Ask::Info, Fault::Close)], "no Docker engine at"),
    ("closed midway", &[(Ask::Info, Fault::CloseMidway)], "no Docker engine at"),
    ("wrong type", &[(Ask::Info, Fault::Answer(200, r#"{"Runtimes":5}"#))], "not understood"),
    ("nested", &[(Ask::Info, Fault::Nested(200_000))], "not understood"),
    ("escapes", &[(Ask::Info, Fault::Answer(500, ESCAPES))], "bad"),
];

/// A frame with 4096 bytes of standard output.
static PAGE: [u8; 8 + 4096] = {
    let mut frame = [0; 8 + 4096];
    frame[0] = 1;
    frame[6] = 16;
    frame
};

/// Engines that fail an invocation, or its preparation.
const FAILING: &[Case] = &[
    ("silent image", &[(Ask::Image, Fault::Silent)], "did not answer within 10.0 s"),
    ("image id", &[(Ask::Image, Fault::Answer(200, r#"{"Id":"../../x"}"#))], "no image's id"),
    ("silent create", &[(Ask::Create, Fault::Silent)], "did not answer within 10.0 s"),
    ("refused create", &[(Ask::Create, Fault::Answer(500, ESCAPES))], "could not create"),
    ("long refusal of create", &[(Ask::Create, Fault::LongRefusal)], "longer than"),
    ("silent attach", &[(Ask::Attach, Fault::Silent)], "did not answer within 10.0 s"),
    ("no stream", &[(Ask::Attach, Fault::Answer(200, "{}"))], "attach to the container"),
    (
        "frame of 4 GiB",
        &[
            (Ask::Attach, Fault::BytesAndZeros(&[1, 0, 0, 0, 255, 255, 255, 255])),
            (Ask::Wait, Fault::Silent),
        ],
        "wrote more than the output limit",
    ),
    ("no frame", &[(Ask::Attach, Fault::BytesAndZeros(b"nonsense"))], "no valid frame"),
    (
        "half a frame",
        &[(Ask::Attach, Fault::BytesAndEnd(&[1, 0, 0, 0, 0, 0, 0, 9, 65]))],
        "inside a frame",
    ),
    ("open stream", &[(Ask::Attach, Fault::Bytes(&[]))], "still open"),
    (
        "flood of frames",
        &[(Ask::Attach, Fault::Repeated(&PAGE))],
        "wrote more than the output limit",
    ),
    ("silent start", &[(Ask::Start, Fault::Silent)], "did not answer within 10.0 s"),
    ("closed start", &[(Ask::Start, Fault::Close)], "start the container"),
    ("silent wait", &[(Ask::Wait, Fault::Silent)], "no end within 2.00 s"),
    (
        "cannot be killed",
        &[(Ask::Wait, Fault::Silent), (Ask::Kill, Fault::Silent), (Ask::Remove, Fault::Silent)],
        "no end within 2.00 s",
    ),
    (
        "least exit code",
        &[(Ask::Wait, Fault::Answer(200, r#"{"StatusCode":-9223372036854775808}"#))],
        "exit code",
    ),
    (
        "code beyond all",
        &[(Ask::Wait, Fault::Answer(200, r#"{"StatusCode":1e400}"#))],
        "wait for the container's end",
    ),
    (
        "of another",
        &[
            (Ask::Wait, Fault::Answer(200, r#"{"StatusCode":3}"#)),
            (Ask::State, Fault::Answer(200, r#"{"Name":"/other","State":{"OOMKilled":true}}"#)),
        ],
        "exit code 3",
    ),
];

/// Engines that are wrong where it does not matter.
const HARMLESS: &[Case] = &[
    (
        "ids that are paths",
        &[(
            Ask::Containers,
            Fault::Answer(
                200,
                r#"[{"Id":"../../images/x","Labels":{"cyclometer.owner":"1-2-nosuchboot"}}]"#,
            ),
        )],
        "",
    ),
    ("a crowd", &[(Ask::Containers, Fault::Crowd(4_000_000))], ""),
    ("endless list", &[(Ask::Containers, Fault::EndlessBody)], ""),
    ("endless event", &[(Ask::Events, Fault::BytesAndZeros(b"{"))], ""),
    ("no events", &[(Ask::Events, Fault::Repeated(b"{}\n[]\nx\n{\"timeNano\":1e99}\n"))], ""),
    (
        "layers",
        &[(Ask::Layers, Fault::Answer(200, r#"[{"Size":9223372036854775807},{"Size":-1}]"#))],
        "",
    ),
    (
        "id of a container",
        &[(Ask::Create, Fault::Answer(201, r#"{"Id":"../../x\u001b[2J","Warnings":null}"#))],
        "",
    ),
];

/// Runs the cases a few at a time: most of them are waiting.
fn try_cases(cases: &'static [Case], judge: fn(&Case, &Place, &FakeEngine, &Trial)) {
    let place = Place::new();
    if !make_workloads(&place, "bomb", "2s", &[("calm", "")]) {
        return;
    }
    let program = place.path().to_owned();
    for some in cases.chunks(5) {
        std::thread::scope(|scope| {
            for case in some {
                let program = &program;
                scope.spawn(move || {
                    let place = Place::new();
                    let engine = FakeEngine::start(case.1, false);
                    let trial = wait(start(&place, program, &engine, "cold"));
                    let Trial { run, peak, took } = &trial;
                    assert!(!run.stderr.contains("panicked"), "{}: {}", case.0, run.stderr);
                    assert!(!run.stderr.contains(['\u{1b}', '\0', '\u{9b}']), "{}", case.0);
                    assert!(*peak < 400 << 20, "{}: {peak} bytes", case.0);
                    assert!(*took < Duration::from_secs(100), "{}: {took:?}", case.0);
                    let native = column(
                        &place.open(),
                        "SELECT status FROM v_invocation WHERE lane = 'native'",
                    );
                    assert_eq!(native, ["ok"], "{}: other lanes go on: {}", case.0, run.stderr);
                    judge(case, &place, &engine, &trial);
                });
            }
        });
    }
}

#[test]
fn engines_that_make_no_sense_are_told_with_a_remedy_and_the_others_go_on() {
    try_cases(USELESS, |(name, _, told), place, engine, trial| {
        let text = &trial.run.stderr;
        assert!(text.contains(told), "{name}: {text}");
        assert!(text.contains(&engine.host()), "{name}: which engine? {text}");
        let remedies = ["look at its log", "DOCKER_HOST", "systemctl"];
        assert!(remedies.iter().any(|remedy| text.contains(remedy)), "{name}: {text}");
        let docker = column(&place.open(), "SELECT status FROM v_invocation WHERE lane = 'docker'");
        assert_eq!(docker, [""; 0], "{name}");
    });
}

#[test]
fn engines_that_fail_an_invocation_are_told_and_the_others_go_on() {
    try_cases(FAILING, |(name, _, told), place, _, trial| {
        let sql = "SELECT COALESCE(reason, '') FROM v_invocation WHERE lane = 'docker'";
        let reasons = column(&place.open(), sql).join("\n");
        let all = format!("{}\n{reasons}", trial.run.stderr);
        assert!(all.contains(told), "{name}: {all}");
        assert!(!reasons.contains(|it: char| it.is_control() && it != '\n'), "{name}: {reasons:?}");
        assert_ne!(trial.run.code, 0, "{name}: {all}");
    });
}

#[test]
fn engines_that_are_wrong_where_it_does_not_matter_change_nothing() {
    try_cases(HARMLESS, |(name, ..), place, engine, trial| {
        let docker = column(&place.open(), "SELECT status FROM v_invocation WHERE lane = 'docker'");
        assert_eq!(docker, ["ok"], "{name}: {}", trial.run.stderr);
        assert_eq!(trial.run.code, 0, "{name}: {}", trial.run.stderr);
        let asked = engine.asked();
        assert!(
            !asked.iter().any(|line| line.contains("..") || line.contains("images/x")),
            "{asked:?}"
        );
    });
}

#[test]
fn an_engine_that_accepts_no_connection_is_told() {
    let place = Place::new();
    if !make_workloads(&place, "bomb", "2s", &[("calm", "")]) {
        return;
    }
    let engine = FakeEngine::deaf();
    let trial = wait(start(&place, place.path(), &engine, "cold"));
    let text = &trial.run.stderr;
    assert!(text.contains("did not answer within") && text.contains(&engine.host()), "{text}");
}

/// A function that ended well has a report of its starter: who says so without
/// one is not believed.
#[test]
fn a_warm_function_without_a_report_is_no_success() {
    for (fault, told) in [
        (&[][..], "ended without a report"),
        (&[(Ask::CreateCommand, Fault::Answer(201, r#"{"Id":"../x"}"#))], "a name that is none"),
        (&[(Ask::CreateCommand, Fault::Silent)], "did not answer within 10.0 s"),
        (&[(Ask::StartCommand, Fault::Silent)], "did not answer within 10.0 s"),
        (&[(Ask::StartCommand, Fault::Repeated(&[1, 0, 0, 0, 0, 0, 0, 1, 65]))], "too long"),
        (&[(Ask::StartCommand, Fault::Bytes(&[]))], "no end within 2.00 s"),
        (&[(Ask::Command, Fault::Answer(200, r#"{"Running":true}"#))], "report the end"),
    ] {
        let place = Place::new();
        if !make_workloads(&place, "bomb", "2s", &[("calm", "")]) {
            return;
        }
        // Its word for the end of the container itself is not believed: see Ask::Wait.
        let runs = Fault::Answer(200, r#"{"State":{"Running":true,"OOMKilled":false}}"#);
        let faults = [fault, &[(Ask::State, runs)]].concat();
        let engine = FakeEngine::start(&faults, true);
        let trial = wait(start(&place, place.path(), &engine, "warm"));
        let sql =
            "SELECT status || ': ' || COALESCE(reason, '') FROM v_invocation WHERE lane = 'docker'";
        let ends = column(&place.open(), sql).join("\n");
        assert!(
            ends.contains(told) && !ends.contains("ok: "),
            "{fault:?}: {ends} {}",
            trial.run.stderr
        );
    }
}

/// An engine says after a second that the warm container has ended, while the stream
/// of the command stays open: believed only if the container's state agrees.
#[test]
fn the_end_of_a_warm_container_is_believed_if_its_state_says_so() {
    let killed = "SIGKILL), and nothing here tells whether memory ran out";
    for (state, told) in [
        (r#"{"State":{"Running":true,"OOMKilled":false}}"#, "no end within 5.00 s"),
        (r#"{"State":{"Running":false,"OOMKilled":false}}"#, killed),
        (r#"{"State":{"Running":false,"OOMKilled":true}}"#, "failed: out of memory"),
    ] {
        let place = Place::new();
        if !make_workloads(&place, "bomb", "5s", &[("calm", "")]) {
            return;
        }
        let faults =
            [(Ask::StartCommand, Fault::Bytes(&[])), (Ask::State, Fault::Answer(200, state))];
        let engine = FakeEngine::start(&faults, true);
        let trial = wait(start(&place, place.path(), &engine, "warm"));
        let sql =
            "SELECT status || ': ' || COALESCE(reason, '') FROM v_invocation WHERE lane = 'docker'";
        let ends = column(&place.open(), sql).join("\n");
        assert!(ends.contains(told), "{state}: {ends} {}", trial.run.stderr);
    }
}

/// Whatever the engine was asked when Ctrl-C came.
#[test]
fn ctrl_c_ends_every_wait_for_an_engine() {
    let place = Place::new();
    if !make_workloads(&place, "bomb", "60s", &[("calm", "")]) {
        return;
    }
    let program = place.path().to_owned();
    let cases: [&'static [(Ask, Fault)]; 9] = [
        &[(Ask::Info, Fault::Silent)],
        &[(Ask::Containers, Fault::Silent)],
        &[(Ask::Image, Fault::Missing), (Ask::Import, Fault::Silent)],
        &[(Ask::Create, Fault::Silent)],
        &[(Ask::Attach, Fault::Silent)],
        &[(Ask::Start, Fault::Silent)],
        &[(Ask::Wait, Fault::Silent), (Ask::Kill, Fault::Silent)],
        &[(Ask::Wait, Fault::Silent), (Ask::Kill, Fault::Silent), (Ask::Remove, Fault::Silent)],
        &[(Ask::Attach, Fault::Bytes(&[])), (Ask::Remove, Fault::Silent)],
    ];
    std::thread::scope(|scope| {
        for case in cases {
            let program = &program;
            scope.spawn(move || {
                let place = Place::new();
                let engine = FakeEngine::start(case, false);
                let child = start(&place, program, &engine, "cold");
                let is_reached = |asked: &[String]| {
                    asked.iter().any(|line| fake_engine::kind_of(line) == case[0].0)
                };
                let begun = Instant::now();
                while !is_reached(&engine.asked()) && begun.elapsed() < Duration::from_mins(1) {
                    std::thread::sleep(Duration::from_millis(50));
                }
                std::thread::sleep(Duration::from_millis(300));
                let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
                kill(pid, Signal::SIGINT).expect("sent");
                let trial = wait(child);
                println!("{case:?}: {:?}: {}", trial.took, trial.run.stderr);
                // Two or three waits of 2 s each, on a machine that is busy.
                assert!(trial.took < Duration::from_secs(15), "{case:?}: {:?}", trial.took);
                assert_eq!(trial.run.code, 130, "{case:?}: {}", trial.run.stderr);
            });
        }
    });
}
