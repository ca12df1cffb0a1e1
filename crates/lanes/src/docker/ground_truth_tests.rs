//! Comparison of the lane's values with those that the kernel and the engine report
//! independently.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;

use super::tests::{Bench, bench, gvisor};
use super::*;
use crate::{Probe, Status, monotonic_now};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_meter::Meter;
use cyclometer_workload::FunctionInput;

/// Reads the kernel's files of this process' latest control group, as `cat`
/// would, when an invocation has ended and its group is still there.
#[derive(Default)]
struct Kernel {
    cpu: Option<u64>,
    peak: Option<u64>,
    throttled: Option<u64>,
}

fn number(path: &Path, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().parse().ok()
}

/// Finds the group that was made last, in a hierarchy of that name.
fn latest(hierarchy: &str) -> Option<PathBuf> {
    let prefix = format!("cyclometer-{}-d", ProcessIdentity::current().expect("/proc"));
    let root = Path::new("/sys/fs/cgroup").join(hierarchy);
    let groups = std::fs::read_dir(root).ok()?.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let number: u64 = name.strip_prefix(&prefix)?.trim_end_matches(".slice").parse().ok()?;
        Some((number, entry.path()))
    });
    groups.max().map(|(_, path)| path)
}

impl ProbeSampler for Kernel {
    fn start_sampling(&mut self, _: Box<dyn Probe>) {}

    fn stop_sampling(&mut self) {
        let v1 = latest("cpuacct").and_then(|group| number(&group.join("cpuacct.usage"), ""));
        let v2 = || Some(number(&latest("")?.join("cpu.stat"), "usage_usec")? * 1_000);
        self.cpu = v1.or_else(v2);
        let v1 =
            latest("memory").and_then(|group| number(&group.join("memory.max_usage_in_bytes"), ""));
        self.peak = v1.or_else(|| number(&latest("")?.join("memory.peak"), ""));
        let v1 = latest("cpu").and_then(|group| number(&group.join("cpu.stat"), "throttled_time"));
        let v2 = || Some(number(&latest("")?.join("cpu.stat"), "throttled_usec")? * 1_000);
        self.throttled = v1.or_else(v2);
    }
}

fn agrees_with_the_kernel(bench: &mut Bench) {
    if bench.lane.groups.is_err() {
        return cyclometer_testkit::skip("no control groups");
    }
    for args in [["spin", "400000000"], ["hog", "30000000"]] {
        let job = bench.job(&args, FunctionInput::default());
        holds_in_some_attempt(|| {
            let mut kernel = Kernel::default();
            let outcome = bench.run_watched(&job, &mut kernel, &Cancel::default());
            assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.reason);
            let said = |meter| outcome.usage.get(meter).expect("metered");
            let (cpu, peak) = (said(Meter::CpuTime), said(Meter::MemoryPeak));
            let (kernel_cpu, kernel_peak) = (kernel.cpu.expect("read"), kernel.peak.expect("read"));
            if args[0] == "hog" {
                assert!((30_000_000..64 << 20).contains(&peak), "{peak}");
            }
            // Two per cent and 5 ms are allowed for two clocks, and for a sandbox
            // that is still ending.
            let allowed = kernel_cpu / 50 + 5_000_000;
            let is_equal = cpu.abs_diff(kernel_cpu) <= allowed
                && peak.abs_diff(kernel_peak) <= kernel_peak / 50;
            let text = format!(
                "{args:?}: CPU {cpu}, kernel {kernel_cpu}; peak {peak}, kernel {kernel_peak}"
            );
            if is_equal { Ok(()) } else { Err(text) }
        });
    }
}

/// Checks that the values agree in one of some attempts. Two readings are never of
/// the same moment, and on a busy machine other work comes between them: that makes
/// single attempts differ, whereas a wrong account differs in all.
fn holds_in_some_attempt(mut attempt: impl FnMut() -> Result<(), String>) {
    const ATTEMPTS: usize = 6;
    let mut failures = Vec::new();
    while failures.len() < ATTEMPTS {
        match attempt() {
            Ok(()) => return,
            Err(text) => failures.push(text),
        }
    }
    panic!("in no attempt:\n{}", failures.join("\n"));
}

/// Runs the same computation with whole CPUs and with a fifth of one.
#[test]
fn a_containers_share_of_cpus_holds_it_back_as_the_kernel_says() {
    let Some(mut bench) = bench(None) else { return };
    let share = CpuShare(200);
    if let Err(error) = bench.lane.check_cpu_share(share) {
        return cyclometer_testkit::skip(&error.to_string());
    }
    let whole = bench.job(&["spin", "200000000"], FunctionInput::default());
    let shared = Job { cpu_share: Some(share), ..whole.clone() };
    // The least of all attempts: whatever runs beside it only adds to the CPU time.
    let (mut least, mut least_usual) = (u64::MAX, u64::MAX);
    holds_in_some_attempt(|| {
        let mut kernel = Kernel::default();
        let outcome = bench.run_watched(&whole, &mut kernel, &Cancel::default());
        assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.reason);
        assert_eq!(outcome.usage.get(Meter::VcpuAllocated), None);
        let usual = outcome.usage.get(Meter::CpuTime).expect("metered");
        let outcome = bench.run_watched(&shared, &mut kernel, &Cancel::default());
        assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.reason);
        let said = |meter| outcome.usage.get(meter).expect("metered");
        assert_eq!(said(Meter::VcpuAllocated), 200);
        let (cpu, wall) = (said(Meter::CpuTime), said(Meter::Wall));
        // A fifth of the time; a quota at the start, and ticks of two CPUs.
        assert!(cpu <= wall / 5 + 16_000_000, "{cpu} ns of CPU time in {wall} ns");
        let (throttled, kernel) = (said(Meter::Throttled), kernel.throttled.expect("read"));
        (least, least_usual) = (least.min(cpu), least_usual.min(usual));
        // Each period begins with caches that others have used: a tenth is allowed for that, on a
        // machine that runs other tests.
        let is_equal = throttled == kernel && least.abs_diff(least_usual) <= least_usual / 10;
        let text = format!("throttled {throttled}, kernel {kernel}; CPU {cpu}, whole {usual}");
        if is_equal { Ok(()) } else { Err(text) }
    });
}

#[test]
fn cpu_time_and_memory_are_the_kernels() {
    let Some(mut bench) = bench(None) else { return };
    agrees_with_the_kernel(&mut bench);
}

#[test]
fn cpu_time_and_memory_of_gvisor_are_the_kernels() {
    let Some(mut bench) = gvisor() else { return };
    agrees_with_the_kernel(&mut bench);
}

/// Returns the CPU time of the run and that of the function by its own `getrusage` at
/// its end, both in nanoseconds.
fn run_and_own(bench: &mut Bench, start: StartKind, amount: &str) -> (u64, u64) {
    let job = Job { start, ..bench.job(&["account", amount], FunctionInput::default()) };
    let outcome = bench.run(&job);
    let reason = outcome.reason.expect("it failed, to be heard");
    let micros: u64 = reason.trim_start_matches("exit code 3: ").parse().expect("a number");
    let said = |meter| outcome.usage.get(meter).expect("metered");
    let (cpu, startup) = (said(Meter::CpuTime), said(Meter::CpuStartup));
    println!("{start}: {cpu} ns of CPU, {startup} before, the function's own {micros} us");
    assert!(startup <= cpu, "{startup} of {cpu}");
    assert!(startup >= 1_000_000, "an OCI runtime starts in more than a millisecond of CPU");
    let level = said(Meter::MemoryStartup);
    assert!((4_096..=said(Meter::MemoryPeak)).contains(&level), "{level} bytes");
    (cpu - startup, micros * 1_000)
}

/// The kernel's own figure for the function is the independent source. Beyond it lie
/// exec, exit and the end of the container: 0.3 to 1.6 ms here; two clocks, perf's
/// and the group's, differ by less than two per cent.
#[test]
fn cpu_time_after_the_start_up_is_the_functions_own() {
    let Some(mut bench) = bench(None) else { return };
    if bench.lane.groups.is_err() {
        return cyclometer_testkit::skip("no control groups");
    }
    for start in [StartKind::Cold, StartKind::Warm, StartKind::Warm] {
        for amount in ["0", "400000000"] {
            holds_in_some_attempt(|| {
                let (run, own) = run_and_own(&mut bench, start, amount);
                let is_enough = run + own / 50 + 500_000 >= own;
                let is_no_more = run <= own + own / 50 + 10_000_000;
                let text = format!("{start}: {run} ns, but {own} of its own");
                if is_enough && is_no_more { Ok(()) } else { Err(text) }
            });
        }
    }
}

#[test]
fn what_nobody_read_when_the_function_began_is_missing_with_its_reason() {
    let Some(mut bench) = bench(None) else { return };
    if bench.lane.groups.is_err() {
        return cyclometer_testkit::skip("no control groups");
    }
    bench.lane.files = Err("a test".to_owned());
    let outcome = bench.run(&bench.job(&["spin", "1000"], FunctionInput::default()));
    assert!(outcome.usage.get(Meter::CpuTime).is_some());
    for meter in [Meter::CpuStartup, Meter::MemoryStartup] {
        assert_eq!(outcome.usage.get(meter), None);
        let why = outcome.provenances.get(meter).expect("a reason");
        assert!(why.source.is_none() && why.note.contains("nothing in the container"), "{why:?}");
    }
}

#[test]
fn a_sandbox_with_its_own_kernel_does_not_tell_what_it_costs_here() {
    let Some(mut bench) = gvisor() else { return };
    for start in [StartKind::Cold, StartKind::Warm] {
        let job = Job { start, ..bench.job(&["spin", "1000"], FunctionInput::default()) };
        let outcome = bench.run(&job);
        assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.reason);
        assert_eq!(outcome.usage.get(Meter::CpuStartup), None, "{start}");
        let why = outcome.provenances.get(Meter::CpuStartup).expect("a reason");
        assert!(why.note.contains("a kernel of its own"), "{}", why.note);
    }
}

#[test]
fn output_is_not_memory_of_the_function() {
    let Some(mut bench) = bench(None) else { return };
    if bench.lane.groups.is_err() {
        return cyclometer_testkit::skip("no control groups");
    }
    // More than the function's memory limit of 64 MiB.
    let mut job = bench.job(&["print", "100000000"], FunctionInput::default());
    job.limits.output = Bytes(128 << 20);
    let outcome = bench.run(&job);
    assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.reason);
    let peak = outcome.usage.get(Meter::MemoryPeak).expect("metered");
    assert!(peak < 16 << 20, "{peak}");
    assert_eq!(outcome.output.map(|output| output.bytes), Some(100_007_936));
}

/// Returns the engine's events about this process' containers since then, in order.
fn events(bench: &Bench, since: Nanos) -> Vec<(String, Nanos)> {
    let wall = |at: Nanos| {
        let ahead = monotonic_now().saturating_since(at);
        let since = std::time::SystemTime::now() - std::time::Duration::from(ahead);
        let since = since.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        (since, format!("{}.{:09}", since.as_secs(), since.subsec_nanos()))
    };
    let filters = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        ("label".to_owned(), vec![format!("{OWNER_LABEL}={}", bench.lane.owner)]),
    ]);
    let options = EventsOptionsBuilder::new()
        .since(&wall(since).1)
        .until(&wall(monotonic_now()).1)
        .filters(&filters)
        .build();
    let ahead =
        i64::try_from(wall(monotonic_now()).0.as_nanos()).expect("small") - signed(monotonic_now());
    let engine = &bench.lane.engine;
    let all: Vec<_> = engine.block_on(engine.docker.events(Some(options)).collect());
    let event = |event: bollard::models::EventMessage| {
        let at = event.time_nano.expect("timed") - ahead;
        let action = event.action.expect("named");
        let word = action.split(':').next().expect("a word").to_owned();
        (word, Nanos(u64::try_from(at).expect("after the start")))
    };
    all.into_iter().map(|it| event(it.expect("an event"))).collect()
}

fn signed(at: Nanos) -> i64 {
    i64::try_from(at.0).expect("small")
}

/// Returns the milliseconds from `a` to `b`.
fn apart(a: Nanos, b: Nanos) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
    let nanos = (signed(b) - signed(a)) as f64;
    nanos / 1e6
}

const MS_5: f64 = 5.0;

fn phases_agree(bench: &mut Bench, start: StartKind, words: [&str; 3]) {
    let job = Job { start, ..bench.job(&["spin", "30000000"], FunctionInput::default()) };
    bench.run(&job);
    for _ in 0..5 {
        let outcome = bench.run(&job);
        let phases = outcome.usage.phases;
        let at: BTreeMap<String, Nanos> = events(bench, outcome.requested).into_iter().collect();
        let event = |word: &str| *at.get(word).unwrap_or_else(|| panic!("no {word} in {at:?}"));
        let created = Nanos(outcome.requested.0 + phases.create.expect("timed").0);
        let began = Nanos(outcome.ended.0 - phases.run.expect("timed").0);
        let lag = [(created, words[0]), (began, words[1]), (outcome.ended, words[2])]
            .map(|(ours, word)| apart(ours, event(word)));
        println!("{start}: events after our create, start and end: {lag:.2?} ms");
        assert!(lag[0].abs() <= MS_5, "create: {} ms apart", lag[0]);
        // The function runs before the engine has noted that it does, and ends
        // before it has noted that. For a command, it notes that it will start.
        match start {
            StartKind::Cold => assert!(lag[1] >= -MS_5, "start: {} ms apart", lag[1]),
            StartKind::Warm => assert!(lag[1] <= MS_5, "start: {} ms apart", lag[1]),
        }
        assert!(lag[2] >= -MS_5, "end: {} ms apart", lag[2]);
    }
}

const COLD: [&str; 3] = ["create", "start", "die"];
const WARM: [&str; 3] = ["exec_create", "exec_start", "exec_die"];

#[test]
fn phases_lie_between_the_engines_events() {
    let Some(mut bench) = bench(None) else { return };
    phases_agree(&mut bench, StartKind::Cold, COLD);
    phases_agree(&mut bench, StartKind::Warm, WARM);
}

#[test]
fn phases_of_gvisor_lie_between_the_engines_events() {
    let Some(mut bench) = gvisor() else { return };
    phases_agree(&mut bench, StartKind::Cold, COLD);
    phases_agree(&mut bench, StartKind::Warm, WARM);
}

#[test]
fn without_a_starter_phases_are_the_engines() {
    let Some(mut bench) = bench(None) else { return };
    bench.lane.files = Err("a test".to_owned());
    assert_eq!(bench.lane.start_kinds(), [StartKind::Cold]);
    let job = bench.job(&["spin", "200000000"], FunctionInput::default());
    for _ in 0..4 {
        let outcome = bench.run(&job);
        assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.reason);
        let note = &outcome.provenances.get(Meter::Wall).expect("a note").note;
        assert!(note.contains("that it states"), "{note}");
        let phases = outcome.usage.phases;
        let at: BTreeMap<String, Nanos> = events(&bench, outcome.requested).into_iter().collect();
        let created = Nanos(outcome.requested.0 + phases.create.expect("timed").0);
        assert!(apart(created, at["create"]).abs() <= MS_5);
        let began = Nanos(outcome.ended.0 - phases.run.expect("timed").0);
        println!("start event {:.2} ms after ours", apart(began, at["start"]));
        assert!(began <= Nanos(at["start"].0 + 5_000_000));
    }
}

#[test]
fn streams_through_the_engine_still_work() {
    let Some(mut bench) = bench(None) else { return };
    bench.lane.files = Err("a test".to_owned());
    let input = FunctionInput::from_counter(2_000_000);
    let mut job = bench.job(&["cat"], input.clone());
    job.limits.output = Bytes(4 << 20);
    let outcome = bench.run(&job);
    let expected = cyclometer_workload::OutputDigest::from_content(&input.content());
    assert_eq!((outcome.status, outcome.output), (Status::Ok, Some(expected)));
    let fail = bench.run(&bench.job(&["fail", "3"], FunctionInput::default()));
    assert_eq!(fail.reason.as_deref(), Some("exit code 3: no luck"));
    let flood = bench.run(&bench.job(&["print", "1000000000"], FunctionInput::default()));
    assert!(flood.reason.is_some_and(|reason| reason.contains("output limit of 1.00 MiB")));
    let warm = Job { start: StartKind::Warm, ..job };
    let refused = bench.lane.prepare(&warm, &Cancel::default()).expect_err("refused").to_string();
    assert!(refused.contains("files of this machine: a test"), "{refused}");
}
