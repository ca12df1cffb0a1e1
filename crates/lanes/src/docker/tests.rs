//! Tests of the lane against a real engine, where there is one.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveImageOptionsBuilder};
use parking_lot::{Mutex, MutexGuard};

use super::*;
use crate::{NoSampling, Probe, Status};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_meter::{Meter, Source, Usage};
use cyclometer_workload::{FunctionInput, Limits, NativeProgram, OutputDigest, Preset};

/// Source of a program that does what its first argument says.
const PROGRAM: &str = r#"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
static char buffer[1 << 16];
int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "nop";
    long amount = argc > 2 ? atol(argv[2]) : 0;
    if (!strcmp(mode, "cat"))
        for (ssize_t n; (n = read(0, buffer, sizeof buffer)) > 0;)
            for (ssize_t at = 0, put; at < n; at += put)
                if ((put = write(1, buffer + at, n - at)) <= 0) return 9;
    if (!strcmp(mode, "print"))
        for (long n = 0; n < amount; n += sizeof buffer)
            if (write(1, buffer, sizeof buffer) <= 0) return 9;
    if (!strcmp(mode, "hog"))
        for (long n = 0; n < amount; n += 1 << 20) memset(malloc(1 << 20), 7, 1 << 20);
    if (!strcmp(mode, "spin"))
        for (volatile uint64_t n = 0; n < (uint64_t)amount; n++) {}
    if (!strcmp(mode, "account")) {
        for (volatile uint64_t n = 0; n < (uint64_t)amount; n++) {}
        struct rusage used;
        getrusage(RUSAGE_SELF, &used);
        fprintf(stderr, "%ld\n", (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000L
                + used.ru_utime.tv_usec + used.ru_stime.tv_usec);
        return 3;
    }
    if (!strcmp(mode, "sleep")) sleep(amount);
    if (!strcmp(mode, "crash")) *(volatile int *)0 = 1;
    if (!strcmp(mode, "abort")) abort();
    if (!strcmp(mode, "stray") && fork() == 0) { setsid(); for (volatile int n = 0;; n++) {} }
    if (!strcmp(mode, "show")) {
        int file = open(argv[2], O_RDONLY);
        write(1, buffer, read(file, buffer, sizeof buffer));
    }
    if (!strcmp(mode, "forge"))
        for (int n = 90; n < 110; n++) {
            char path[32];
            snprintf(path, sizeof path, "/proc/1/fd/%d", n);
            int file = open(path, O_WRONLY);
            if (file >= 0 && write(file, buffer, 96) == 96) printf("forged\n");
        }
    if (!strcmp(mode, "fail")) { fprintf(stderr, "no luck\n"); return amount; }
    if (!strcmp(mode, "who")) printf("%d %d %d\n", getuid(), getgid(), open("/x", 0101, 0600));
    return 0;
}
"#;

/// Compiles the program once; `None` without a C compiler.
fn program() -> Option<&'static [u8]> {
    static BUILT: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let folder = tempfile::tempdir().expect("a folder");
            let (source, binary) = (folder.path().join("p.c"), folder.path().join("p"));
            std::fs::write(&source, format!("#include <fcntl.h>{PROGRAM}")).expect("written");
            let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
            let mut command = Command::new(compiler);
            command.args(["-O1", "-static", "-o"]).arg(&binary).arg(&source);
            command.status().ok().filter(std::process::ExitStatus::success)?;
            std::fs::read(&binary).ok()
        })
        .as_deref()
}

/// A lane and its workload. One test runs at a time, since tests count the containers left.
pub(super) struct Bench {
    pub lane: DockerLane,
    pub workload: Arc<Workload>,
    _one_at_a_time: MutexGuard<'static, ()>,
}

pub(super) fn workload(name: &str, native: NativeProgram) -> Workload {
    Workload { native: Some(native), ..Workload::without_forms(name) }
}

/// Returns a bench with gVisor, or `None` after saying why there is none.
pub(super) fn gvisor() -> Option<Bench> {
    let bench = bench(None)?;
    if !bench.lane.info.runtimes.iter().any(|name| name == "runsc") {
        // An engine may be required; gVisor is not.
        eprintln!("skipped: the engine has no runtime `runsc`");
        return None;
    }
    drop(bench);
    self::bench(Some("runsc"))
}

/// Returns a bench, or `None` after saying why there is none.
pub(super) fn bench(runtime: Option<&str>) -> Option<Bench> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let guard = ONE_AT_A_TIME.lock();
    let owner = ProcessIdentity::current().expect("/proc is mounted");
    let Some(program) = program() else {
        cyclometer_testkit::skip("no C compiler with a static library");
        return None;
    };
    match DockerLane::open(runtime, None, &owner, Some(2_000_000_000)) {
        Ok(lane) => {
            let workload = Arc::new(workload("docker-lane-test", NativeProgram::Embedded(program)));
            Some(Bench { lane, workload, _one_at_a_time: guard })
        }
        Err(error) => {
            cyclometer_testkit::skip(&error.to_string());
            None
        }
    }
}

impl Bench {
    pub fn job(&self, args: &[&str], stdin: FunctionInput) -> Job {
        let limits = Limits {
            memory: Bytes(64 << 20),
            timeout: Nanos(20_000_000_000),
            output: Bytes(1 << 20),
        };
        let preset = Preset {
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            stdin,
            limits,
            ..Preset::with_defaults("test")
        };
        Job::new(1, Arc::clone(&self.workload), Arc::new(preset), StartKind::Cold)
    }

    pub fn run(&mut self, job: &Job) -> Outcome {
        self.run_watched(job, &mut NoSampling, &Cancel::default())
    }

    pub(crate) fn run_watched(
        &mut self,
        job: &Job,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
    ) -> Outcome {
        self.lane.prepare(job, &Cancel::default()).expect("the image can be made");
        let mut outcomes = Vec::new();
        self.lane.invoke(job, 1, watch, cancel, &mut |outcome| outcomes.push(outcome));
        let outcome = outcomes.pop().expect("one outcome");
        println!("{:?}: {}", job.preset.args, shown(&outcome));
        let waiting = self.lane.warm.len();
        assert_eq!(self.left(), waiting, "a container was left behind");
        outcome
    }

    pub fn image(&self) -> Image {
        self.lane.images[&1].clone()
    }

    /// Counts the containers of this process that still exist.
    pub fn left(&self) -> usize {
        let label = format!("{OWNER_LABEL}={}", self.lane.owner);
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let engine = &self.lane.engine;
        engine.block_on(engine.docker.list_containers(Some(options))).expect("a list").len()
    }
}

pub(super) fn shown(outcome: &Outcome) -> String {
    let Usage { phases, .. } = outcome.usage;
    let show = |span: Option<Nanos>| span.map_or_else(|| "-".to_owned(), |span| span.to_string());
    let meters = [
        Meter::Wall,
        Meter::CpuTime,
        Meter::CpuUser,
        Meter::CpuSystem,
        Meter::RefCycles,
        Meter::PageFaults,
        Meter::ContextSwitches,
        Meter::MemoryPeak,
    ]
    .map(|meter| {
        let source = outcome.provenances.get(meter).and_then(|source| source.source);
        let source = source.map_or("missing", Source::label);
        format!("{meter}={:?} ({source})", outcome.usage.get(meter))
    })
    .join(" ");
    format!(
        "{} {:?} create {} start {} run {} teardown {}; {meters}",
        outcome.status.label(),
        outcome.reason,
        show(phases.create),
        show(phases.start),
        show(phases.run),
        show(phases.teardown),
    )
}

#[test]
fn a_function_that_does_nothing_is_metered_and_gone() {
    let Some(mut bench) = bench(None) else { return };
    let job = bench.job(&["nop"], FunctionInput::default());
    let first = bench.run(&job);
    let second = bench.run(&job);
    assert_eq!(second.status, Status::Ok, "{:?}", second.reason);
    assert_eq!((second.exit_code, second.reason), (Some(0), None));
    assert_eq!(second.output, Some(OutputDigest::from_content(b"")));
    let phases = second.usage.phases;
    let sum = [phases.create, phases.start, phases.run].map(|span| span.expect("timed").0);
    assert_eq!(second.usage.get(Meter::Wall), Some(sum.iter().sum()));
    assert!(phases.teardown.is_some());
    assert!(Arc::ptr_eq(&first.provenances, &second.provenances), "nothing has changed");
    for meter in Meter::ALL.iter().filter(|&&meter| meter != Meter::MemoryTime) {
        let source = second.provenances.get(*meter);
        let source = source.unwrap_or_else(|| panic!("{meter}: neither a source nor a reason"));
        // A level that only samples have, and a share of a CPU that only price
        // models give.
        let in_samples_only = matches!(*meter, Meter::MemoryRss | Meter::VcpuAllocated);
        assert!(
            second.usage.get(*meter).is_some() == source.source.is_some() || in_samples_only,
            "{meter}: {source:?}"
        );
        assert!(source.source.is_some() || !source.note.is_empty(), "{meter} lacks its reason");
    }
    if bench.lane.groups.is_ok() {
        let cpu = second.usage.get(Meter::CpuTime).expect("metered");
        assert!((100_000..2_000_000_000).contains(&cpu), "{cpu} ns");
        assert!(second.usage.get(Meter::MemoryPeak).is_some_and(|peak| peak > 4096));
    }
}

#[test]
fn the_image_is_made_once() {
    let Some(mut bench) = bench(None) else { return };
    let job = bench.job(&["nop"], FunctionInput::default());
    bench.run(&job);
    let image = bench.image();
    let engine = &bench.lane.engine;
    let options = RemoveImageOptionsBuilder::new().force(true).build();
    engine
        .block_on(engine.docker.remove_image(&image.reference, Some(options), None))
        .expect("removed");

    let mut outcomes = Vec::new();
    let cancel = Cancel::default();
    bench.lane.invoke(&job, 2, &mut NoSampling, &cancel, &mut |outcome| outcomes.push(outcome));
    assert_eq!(outcomes.len(), 2);
    for outcome in outcomes {
        let reason = outcome.reason.expect("a reason");
        println!("{reason}");
        assert_eq!(outcome.status, Status::Failed);
        assert!(reason.contains("No such image") && reason.contains("start again"), "{reason}");
        assert_eq!(outcome.usage.get(Meter::CpuTime), None);
    }
    let made = bench.lane.prepare(&job, &cancel).expect("imported anew");
    assert!(made.took.is_some(), "it was imported anew");
    let length = bench.workload.native.as_ref().expect("native").read_bytes().expect("read").len();
    assert_eq!(made.footprint, Some(Bytes((length + starter_report::STARTER.len()) as u64)));
    assert_eq!(bench.lane.prepare(&job, &cancel).expect("there").took, None);
}

#[test]
fn input_and_output_arrive_whole() {
    let Some(mut bench) = bench(None) else { return };
    let input = FunctionInput::from_counter(16_000_000);
    let mut job = bench.job(&["cat"], input.clone());
    job.limits.output = Bytes(32 << 20);
    for _ in 0..3 {
        let outcome = bench.run(&job);
        assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.reason);
        assert_eq!(outcome.output, Some(OutputDigest::from_content(&input.content())));
    }
    // A function that does not read its input ends all the same.
    let mut deaf = bench.job(&["nop"], input);
    deaf.limits.timeout = Nanos(10_000_000_000);
    assert_eq!(bench.run(&deaf).status, Status::Ok);
}

#[test]
fn the_expected_output_is_compared() {
    let Some(mut bench) = bench(None) else { return };
    let mut job = bench.job(&["cat"], FunctionInput::from_bytes(*b"abc"));
    let mut preset = (*job.preset).clone();
    preset.expected = Some(OutputDigest::from_content(b"abd"));
    job.preset = Arc::new(preset);
    let outcome = bench.run(&job);
    assert_eq!(outcome.status, Status::Failed);
    assert!(outcome.reason.is_some_and(|reason| reason.contains("wrong output")));
}

#[test]
fn limits_hold() {
    let Some(mut bench) = bench(None) else { return };
    let reason = |outcome: &Outcome| outcome.reason.clone().unwrap_or_default();

    let flood = bench.run(&bench.job(&["print", "1000000000"], FunctionInput::default()));
    assert_eq!(flood.status, Status::Failed);
    assert!(reason(&flood).contains("output limit of 1.00 MiB"), "{flood:?}");
    assert_eq!((flood.output, flood.exit_code), (None, None));

    let hog = bench.run(&bench.job(&["hog", "500000000"], FunctionInput::default()));
    assert_eq!(hog.status, Status::Failed);
    assert!(reason(&hog).contains("killed at its limit of 64.0 MiB"), "{hog:?}");

    let mut job = bench.job(&["sleep", "30"], FunctionInput::default());
    job.limits.timeout = Nanos(300_000_000);
    let sleeper = bench.run(&job);
    assert_eq!(sleeper.status, Status::Timeout);
    assert!(reason(&sleeper).contains("no end within 300 ms"), "{sleeper:?}");
    let run = sleeper.usage.phases.run.expect("timed");
    assert!((300_000_000..5_000_000_000).contains(&run.0), "{run}");
}

#[test]
fn failures_are_explained() {
    let Some(mut bench) = bench(None) else { return };
    let fail = bench.run(&bench.job(&["fail", "3"], FunctionInput::default()));
    assert_eq!((fail.status, fail.exit_code), (Status::Failed, Some(3)));
    assert_eq!(fail.reason.as_deref(), Some("exit code 3: no luck"));
    let abort = bench.run(&bench.job(&["abort"], FunctionInput::default()));
    assert_eq!(abort.reason.as_deref(), Some("killed by SIGABRT"));
    let stray = bench.run(&bench.job(&["stray"], FunctionInput::default()));
    assert_eq!(stray.status, Status::Ok);
    assert_eq!(stray.reason.as_deref(), Some("left 1 process(es) behind, which were killed"));
    let crash = bench.run(&bench.job(&["crash"], FunctionInput::default()));
    assert_eq!((crash.reason.as_deref(), crash.exit_code), (Some("killed by SIGSEGV"), None));

    let mut small = bench.job(&["nop"], FunctionInput::default());
    small.limits.memory = Bytes(1 << 20);
    let reason = bench.run(&small).reason.unwrap_or_default();
    assert!(reason.contains("raise the workload's memory limit"), "{reason}");
}

#[test]
fn it_is_nobody_on_a_read_only_root() {
    let Some(mut bench) = bench(None) else { return };
    let mut job = bench.job(&["who"], FunctionInput::default());
    job.cpu = Some(0);
    let outcome = bench.run(&job);
    assert_eq!(
        outcome.output,
        Some(OutputDigest::from_content(b"65534 65534 -1\n")),
        "{outcome:?}"
    );
}

/// Reads a probe's values once, then requests a stop.
struct Once<'a> {
    cancel: &'a Cancel,
    values: Vec<(Meter, u64)>,
    probe: Option<Box<dyn Probe>>,
}

impl ProbeSampler for Once<'_> {
    fn start_sampling(&mut self, mut probe: Box<dyn Probe>) {
        std::thread::sleep(Duration::from_millis(100));
        self.values = probe.read_values();
        self.probe = Some(probe);
        self.cancel.cancel();
    }

    fn stop_sampling(&mut self) {}
}

#[test]
fn running_functions_are_sampled_and_stop_on_request() {
    let Some(mut bench) = bench(None) else { return };
    let cancel = Cancel::default();
    let mut watch = Once { cancel: &cancel, values: Vec::new(), probe: None };
    let job = bench.job(&["spin", "100000000000"], FunctionInput::default());
    let begun = Instant::now();
    let outcome = bench.run_watched(&job, &mut watch, &cancel);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(outcome.status, Status::Interrupted, "{:?}", outcome.reason);
    if bench.lane.groups.is_ok() {
        println!("{:?}", watch.values);
        let value = |wanted| watch.values.iter().find(|(meter, _)| *meter == wanted);
        let cpu = value(Meter::CpuTime).expect("sampled").1;
        // The machine may have other things to do.
        assert!((20_000_000..5_000_000_000).contains(&cpu), "{cpu} ns after 100 ms");
        assert!(value(Meter::MemoryRss).is_some());
    }
    let mut probe = watch.probe.expect("it was given");
    assert_eq!(probe.read_values(), [], "the group outlived its invocation");
}

#[test]
fn what_a_crash_left_is_swept() {
    let Some(mut bench) = bench(None) else { return };
    let job = bench.job(&["sleep", "60"], FunctionInput::default());
    bench.lane.prepare(&job, &Cancel::default()).expect("prepared");
    let image = bench.image();
    let mut body = bench.lane.container_body(&job, &image, ContainerRole::Streams, None);
    let labels = body.labels.get_or_insert_default();
    labels.insert(OWNER_LABEL.to_owned(), "1-2-nosuchboot".to_owned());
    let engine = &bench.lane.engine;
    let id = engine.block_on(engine.docker.create_container(None, body)).expect("created").id;
    engine.block_on(engine.docker.start_container(&id, None)).expect("started");
    // Another process that shares the engine may be faster: only the end counts.
    crate::clean::sweep_leftovers(&mut |_| {});
    let gone = engine.block_on(engine.docker.inspect_container(&id, None));
    assert!(gone.is_err(), "it is still there");
}

#[test]
fn gvisor_is_metered_by_the_control_group() {
    let Some(mut bench) = gvisor() else { return };
    let outcome = bench.run(&bench.job(&["spin", "200000000"], FunctionInput::default()));
    assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.reason);
    if bench.lane.groups.is_err() {
        return;
    }
    let source = |meter| outcome.provenances.get(meter).and_then(|source| source.source);
    let cpu = outcome.usage.get(Meter::CpuTime).expect("metered");
    assert!(cpu > 50_000_000, "{cpu}: the sandbox was not metered");
    if source(Meter::CpuTime) == Some(Source::Cgroup) {
        assert_eq!(source(Meter::RefCycles), Some(Source::Estimate));
        assert_eq!(outcome.usage.get(Meter::RefCycles), Some(cpu * 2));
        assert_eq!(outcome.usage.get(Meter::PageFaults), None);
    }
}

#[test]
fn unknown_runtimes_are_refused_with_those_there_are() {
    if bench(None).is_none() {
        return;
    }
    let owner = ProcessIdentity::current().expect("/proc is mounted");
    let Err(error) = DockerLane::open(Some("nosuch"), None, &owner, None) else {
        panic!("a runtime that does not exist was accepted");
    };
    println!("{error}");
    let error = error.to_string();
    assert!(error.contains("`nosuch`") && error.contains("runc"), "{error}");
}

#[test]
fn only_static_programs_are_supported() {
    let Some(bench) = bench(None) else { return };
    assert!(bench.lane.check_support(&bench.workload).is_ok());
    let script =
        workload("script", NativeProgram::from_path("/proc/self/status".as_ref()).expect("there"));
    let error = bench.lane.check_support(&script).expect_err("not a program").to_string();
    assert!(error.contains("-static"), "{error}");
}
