//! Tests of warm functions against a real engine, where there is one.

use super::tests::{Bench, bench, gvisor};
use super::*;
use crate::{Probe, Status};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_meter::Meter;
use cyclometer_workload::{FunctionInput, OutputDigest};

fn warm(bench: &Bench, args: &[&str], stdin: FunctionInput) -> Job {
    Job { start: StartKind::Warm, ..bench.job(args, stdin) }
}

fn container(bench: &Bench) -> Option<String> {
    bench.lane.warm.get(&1).map(|warm| warm.name().to_owned())
}

fn functions_follow_each_other(bench: &mut Bench) {
    let mut job = warm(bench, &["cat"], FunctionInput::from_counter(3_000_000));
    job.limits.output = Bytes(8 << 20);
    let first = bench.run(&job);
    assert_eq!((first.status, first.reason.as_deref()), (Status::Ok, None));
    let name = container(bench).expect("it stays");
    for _ in 0..3 {
        let next = bench.run(&job);
        assert_eq!(next.status, Status::Ok, "{:?}", next.reason);
        assert_eq!((next.exit_code, next.usage.cold), (Some(0), false));
        assert_eq!(next.output, Some(OutputDigest::from_content(&job.preset.stdin.content())));
        assert_eq!(container(bench).as_ref(), Some(&name), "the same container");
        let phases = next.usage.phases;
        let [create, start, run] =
            [phases.create, phases.start, phases.run].map(|span| span.expect("timed").0);
        assert_eq!(next.usage.get(Meter::Wall), Some(create + start + run));
        assert!(create > 0 && start > 0 && run > 0 && phases.teardown.is_some(), "{phases:?}");
        assert!(next.ended.saturating_since(next.requested).0 >= create + start + run);
    }
    bench.lane.close();
    assert_eq!(bench.left(), 0, "closed, and still there");
}

#[test]
fn functions_follow_each_other_in_one_container() {
    let Some(mut bench) = bench(None) else { return };
    functions_follow_each_other(&mut bench);
}

#[test]
fn functions_follow_each_other_in_one_sandbox_of_gvisor() {
    let Some(mut bench) = gvisor() else { return };
    functions_follow_each_other(&mut bench);
}

#[test]
fn each_is_charged_with_its_own_use() {
    let Some(mut bench) = bench(None) else { return };
    if bench.lane.groups.is_err() {
        return cyclometer_testkit::skip("no control groups");
    }
    let nop = warm(&bench, &["nop"], FunctionInput::default());
    let spin = warm(&bench, &["spin", "300000000"], FunctionInput::default());
    let hog = warm(&bench, &["hog", "40000000"], FunctionInput::default());
    let meter = |outcome: &Outcome, meter| outcome.usage.get(meter).expect("metered");
    bench.run(&nop);
    let long = bench.run(&spin);
    let short = bench.run(&nop);
    for which in [Meter::CpuTime, Meter::CpuUser] {
        let (long, short) = (meter(&long, which), meter(&short, which));
        assert!(long > 60_000_000 && short < long / 2, "{which}: {long} and then {short}");
    }
    let large = bench.run(&hog);
    let small = bench.run(&nop);
    assert_eq!(large.status, Status::Ok, "{:?}", large.reason);
    let large = meter(&large, Meter::MemoryPeak);
    assert!((40_000_000..64 << 20).contains(&large), "{large}");
    if let Some(small) = small.usage.get(Meter::MemoryPeak) {
        assert!(small < large / 2, "{small} after {large}");
    } else {
        let source = small.provenances.get(Meter::MemoryPeak).expect("a reason");
        assert!(source.note.contains("cannot be reset"), "{}", source.note);
    }
}

#[test]
fn a_container_is_kept_after_an_exit_code_and_replaced_after_anything_worse() {
    let Some(mut bench) = bench(None) else { return };
    let run = |bench: &mut Bench, args: &[&str]| {
        let mut job = warm(bench, args, FunctionInput::default());
        job.limits.timeout = Nanos(400_000_000);
        let outcome = bench.run(&job);
        let reason = outcome.reason.clone().unwrap_or_default();
        (outcome, reason, container(bench))
    };
    let (outcome, reason, first) = run(&mut bench, &["fail", "3"]);
    assert_eq!((outcome.status, outcome.exit_code), (Status::Failed, Some(3)));
    assert_eq!(reason, "exit code 3: no luck");
    assert!(first.is_some());
    let (outcome, reason, same) = run(&mut bench, &["stray"]);
    assert_eq!((outcome.status, &same), (Status::Ok, &first));
    assert!(reason.contains("behind, which were killed"), "{reason}");

    for (args, status, word) in [
        (&["crash"][..], Status::Failed, "killed by SIGSEGV"),
        (&["abort"], Status::Failed, "killed by SIGABRT"),
        (&["print", "9000000"], Status::Failed, "output limit of 1.00 MiB"),
        (&["hog", "500000000"], Status::Failed, "killed at its limit of 64.0 MiB"),
        (&["sleep", "30"], Status::Timeout, "no end within 400 ms"),
    ] {
        let (outcome, reason, kept) = run(&mut bench, args);
        assert_eq!((outcome.status, kept), (status, None), "{args:?}: {reason}");
        assert!(reason.contains(word), "{args:?}: {reason}");
        assert_eq!(bench.left(), 0);
        let (after, reason, _) = run(&mut bench, &["nop"]);
        assert_eq!(after.status, Status::Ok, "after {args:?}: {reason}");
    }
}

#[test]
fn a_container_that_is_gone_is_told_and_replaced() {
    let Some(mut bench) = bench(None) else { return };
    let job = warm(&bench, &["nop"], FunctionInput::default());
    bench.run(&job);
    let name = container(&bench).expect("it stays");
    let engine = &bench.lane.engine;
    engine.block_on(engine.docker.kill_container(&name, None)).expect("killed");
    let outcome = bench.run(&job);
    assert_eq!(outcome.status, Status::Failed);
    let reason = outcome.reason.unwrap_or_default();
    assert!(reason.contains("is not running") && reason.contains("warm container"), "{reason}");
    assert_eq!(bench.run(&job).status, Status::Ok);
}

#[test]
fn what_the_starter_says_cannot_be_forged() {
    let plain = || bench(None);
    for open in [plain as fn() -> Option<Bench>, gvisor] {
        let Some(mut bench) = open() else { continue };
        for start in [StartKind::Cold, StartKind::Warm] {
            let job = Job { start, ..bench.job(&["forge"], FunctionInput::default()) };
            let outcome = bench.run(&job);
            let forged = outcome.output.is_some_and(|output| output.bytes > 0);
            // A sandbox may let the function in; then nothing is believed.
            let refused = outcome.status == Status::Failed
                && outcome.reason.as_ref().is_some_and(|it| it.contains("tampered"));
            assert!(refused || !forged, "{outcome:?}");
        }
    }
}

/// Requests a stop as soon as the function runs.
struct AtOnce<'a>(&'a Cancel);

impl ProbeSampler for AtOnce<'_> {
    fn start_sampling(&mut self, _: Box<dyn Probe>) {
        self.0.cancel();
    }

    fn stop_sampling(&mut self) {}
}

#[test]
fn a_warm_function_stops_on_request() {
    let Some(mut bench) = bench(None) else { return };
    let cancel = Cancel::default();
    let job = warm(&bench, &["sleep", "20"], FunctionInput::default());
    let begun = std::time::Instant::now();
    let outcome = bench.run_watched(&job, &mut AtOnce(&cancel), &cancel);
    if bench.lane.groups.is_ok() {
        assert_eq!(outcome.status, Status::Interrupted, "{:?}", outcome.reason);
        assert!(begun.elapsed() < std::time::Duration::from_secs(15));
    }
}

/// Starts an engine that never answers a request to create a container, and has none.
fn start_silent_engine(folder: &std::path::Path) -> String {
    use std::io::{Read, Write};
    let socket = folder.join("e.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 8 << 10];
            let size = stream.read(&mut request).unwrap_or(0);
            if request[..size].starts_with(b"DELETE ") {
                let answer = "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\
                              Content-Length: 18\r\nConnection: close\r\n\r\n{\"message\":\"none\"}";
                // Whoever asked may be gone.
                let _ = stream.write_all(answer.as_bytes());
            } else {
                silent.push(stream);
            }
        }
    });
    format!("unix://{}", socket.display())
}

#[test]
fn a_container_that_may_appear_late_is_not_forgotten() {
    let Some(mut bench) = bench(None) else { return };
    let job = warm(&bench, &["nop"], FunctionInput::default());
    bench.lane.prepare(&job, &Cancel::default()).expect("the image can be made");
    let folder = tempfile::tempdir().expect("a folder");
    let silent = Engine::without_asking(&start_silent_engine(folder.path()));
    let real = std::mem::replace(&mut bench.lane.engine, silent);
    let cancel = Cancel::default();
    cancel.cancel();
    let started = bench.lane.start_warm(&job, &cancel);
    assert!(started.is_err(), "nothing answered");
    let left: Vec<bool> = bench.lane.leftovers.iter().map(|it| it.may_appear).collect();
    assert_eq!(left, [true], "the engine may still create it");
    bench.lane.engine = real;
    bench.lane.leftovers.clear();
}
