//! Fake kernel for tests, which behaves like other machines: a hybrid CPU, one without a
//! PMU, a seccomp filter, or a level of `perf_event_paranoid`.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::event::PerfEvent;
use super::kernel::{
    CorePmu, CounterHandle, CounterRequest, CounterTarget, GroupHandle, Kernel, RawCount,
};
use super::refusal::PerfPrivileges;
use super::{Counters, Perf};
use crate::{Meter, Source};
use cyclometer_core::meter::USER_ONLY;

/// Request for a counter as the fake kernel sees it.
#[derive(Debug, Clone, Copy)]
struct AnsweredRequest {
    event: PerfEvent,
    core_pmu: Option<u32>,
    cpu: Option<usize>,
    kernel_mode: bool,
}

/// Rule that answers a request: an error, or the step of the counter at each read.
type Rule = dyn Fn(AnsweredRequest) -> Result<RawCount, i32> + Send + Sync;

/// Kernel whose counters grow by a fixed step at each read.
struct FakeKernel {
    rule: Arc<Rule>,
    pmus: Vec<CorePmu>,
    standing: PerfPrivileges,
    groups: bool,
    log: Arc<Mutex<Vec<AnsweredRequest>>>,
}

struct Growing {
    step: RawCount,
    now: RawCount,
}

impl CounterHandle for Growing {
    fn read_count(&mut self) -> io::Result<RawCount> {
        self.now.count += self.step.count;
        self.now.enabled += self.step.enabled;
        self.now.running += self.step.running;
        Ok(self.now)
    }
}

struct GrowingGroup(Vec<Growing>);

impl GroupHandle for GrowingGroup {
    fn read_counts(&mut self) -> io::Result<Vec<RawCount>> {
        self.0.iter_mut().map(CounterHandle::read_count).collect()
    }
}

impl FakeKernel {
    fn new(
        rule: impl Fn(AnsweredRequest) -> Result<RawCount, i32> + Send + Sync + 'static,
    ) -> Self {
        Self {
            rule: Arc::new(rule),
            pmus: Vec::new(),
            standing: PerfPrivileges { paranoid: Some(1), ..PerfPrivileges::default() },
            groups: true,
            log: Arc::default(),
        }
    }

    /// Adds a CPU with two kinds of cores, two CPUs of each.
    fn with_hybrid_cpu(mut self) -> Self {
        let pmu = |name: &str, number, cpus: &[usize]| CorePmu {
            name: name.to_owned(),
            number,
            cpus: cpus.to_vec(),
        };
        self.pmus = vec![pmu("cpu_atom", 8, &[2, 3]), pmu("cpu_core", 4, &[0, 1])];
        self
    }

    fn with_privileges(mut self, standing: PerfPrivileges) -> Self {
        self.standing = standing;
        self
    }

    fn open_counters(self, target: CounterTarget<'_>) -> Counters {
        Counters::open_with(Box::leak(Box::new(Perf::new(self))), target)
    }

    fn answer_request(&self, request: &CounterRequest<'_>) -> io::Result<Growing> {
        let asked = AnsweredRequest {
            event: request.event,
            core_pmu: request.core_pmu,
            cpu: request.cpu,
            kernel_mode: request.kernel_mode,
        };
        self.log.lock().push(asked);
        let step = (self.rule)(asked).map_err(io::Error::from_raw_os_error)?;
        Ok(Growing { step, now: RawCount::default() })
    }
}

impl Kernel for FakeKernel {
    fn open_counter(&self, request: &CounterRequest<'_>) -> io::Result<Box<dyn CounterHandle>> {
        Ok(Box::new(self.answer_request(request)?))
    }

    fn open_group(&self, requests: &[CounterRequest<'_>]) -> io::Result<Box<dyn GroupHandle>> {
        if !self.groups {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let members: io::Result<Vec<Growing>> =
            requests.iter().map(|request| self.answer_request(request)).collect();
        Ok(Box::new(GrowingGroup(members?)))
    }

    fn core_pmus(&self) -> Vec<CorePmu> {
        self.pmus.clone()
    }

    fn online_cpus(&self) -> io::Result<Vec<usize>> {
        Ok(vec![0, 1, 2, 3])
    }

    fn read_privileges(&self) -> PerfPrivileges {
        self.standing
    }
}

/// Returns a step of `count` per read, without multiplexing.
fn unmultiplexed_count(count: u64) -> RawCount {
    RawCount { count, enabled: 100, running: 100 }
}

fn has_no_msr(asked: AnsweredRequest) -> bool {
    asked.event == PerfEvent::MsrTsc
}

/// Returns the count and the coverage of a meter between two reads.
fn count_once(counters: &mut Counters, meter: Meter) -> (Option<u64>, Option<u32>) {
    let before = counters.read_all();
    let after = counters.read_all();
    let counts = counters.counts_between(&before, &after);
    (counts.get(meter), counts.coverage_ppm)
}

fn missing_reason(counters: &Counters, meter: Meter) -> String {
    let provenance = counters.provenances().get(meter).expect("told");
    assert_eq!(provenance.source, None, "{meter} is there: {}", provenance.note);
    provenance.note.clone()
}

#[test]
fn cycles_of_both_kinds_of_cores_are_added_and_not_scaled() {
    // A thread that spent 30 of 100 ns on an efficiency core and 70 on a
    // performance core: 30 x 2 + 70 x 5 cycles. A single generic event would
    // have counted 350 on the one, and scaled it to 500.
    let kernel = FakeKernel::new(|asked| match (asked.event.source(), asked.core_pmu) {
        (Source::PerfHardware, Some(8)) => Ok(RawCount { count: 60, enabled: 100, running: 30 }),
        (Source::PerfHardware, _) => Ok(RawCount { count: 350, enabled: 100, running: 70 }),
        _ => Ok(unmultiplexed_count(1)),
    });
    let log = Arc::clone(&kernel.log);
    let mut counters = kernel.with_hybrid_cpu().open_counters(CounterTarget::ThisThread);
    for meter in [Meter::Cycles, Meter::Instructions, Meter::CacheMisses, Meter::RefCycles] {
        assert_eq!(count_once(&mut counters, meter), (Some(410), None), "{meter}");
        let note = &counters.provenances().get(meter).expect("told").note;
        assert!(note.contains("cpu_atom and cpu_core"), "{note}");
    }
    let log = log.lock();
    assert!(
        log.iter()
            .all(|asked| asked.event.source() != Source::PerfHardware || asked.core_pmu.is_some()),
        "no generic event is left to the kernel's choice of a PMU"
    );
    assert!(
        log.iter()
            .all(|asked| asked.event.source() == Source::PerfHardware || asked.core_pmu.is_none()),
        "the kernel's own events belong to no PMU"
    );
}

#[test]
fn a_hybrid_cpu_whose_counters_were_multiplexed_is_scaled_by_both_together() {
    // 20 of 30 ns on one kind and 30 of 70 on the other were counted.
    let kernel = FakeKernel::new(|asked| match asked.core_pmu {
        Some(8) => Ok(RawCount { count: 40, enabled: 100, running: 20 }),
        Some(_) => Ok(RawCount { count: 150, enabled: 100, running: 30 }),
        None => Ok(unmultiplexed_count(1)),
    });
    let mut counters = kernel.with_hybrid_cpu().open_counters(CounterTarget::ThisThread);
    // (40 + 150) x 100 / 50, and half of the time covered.
    assert_eq!(count_once(&mut counters, Meter::Cycles), (Some(380), Some(500_000)));
}

#[test]
fn an_event_that_one_kind_of_core_lacks_is_missing() {
    let kernel = FakeKernel::new(|asked| match (asked.event, asked.core_pmu) {
        (PerfEvent::BranchMisses | PerfEvent::RefCycles, Some(8)) => Err(libc::EINVAL),
        _ => Ok(unmultiplexed_count(7)),
    });
    let mut counters = kernel.with_hybrid_cpu().open_counters(CounterTarget::Process(1));
    assert!(missing_reason(&counters, Meter::BranchMisses).contains("those of `cpu_atom` cannot"));
    assert_eq!(count_once(&mut counters, Meter::Cycles).0, Some(14));
    // The time-stamp counter ticks alike on all cores.
    let ticks = counters.provenances().get(Meter::RefCycles).expect("told");
    assert_eq!(ticks.source, Some(Source::PerfMsrTsc));
    assert_eq!(count_once(&mut counters, Meter::RefCycles).0, Some(7));
}

#[test]
fn a_hybrid_cpu_on_a_kernel_that_cannot_tell_the_cores_apart_has_no_cycles() {
    let kernel = FakeKernel::new(|asked| match asked.core_pmu {
        Some(_) => Err(libc::EINVAL),
        None => Ok(unmultiplexed_count(1)),
    });
    let mut counters = kernel.with_hybrid_cpu().open_counters(CounterTarget::Children(1));
    let told = missing_reason(&counters, Meter::Cycles);
    assert!(told.contains("several kinds of cores") && told.contains("cpu_atom"), "{told}");
    assert!(counters.remedy_for(Meter::Cycles).contains("5.13"));
    assert_eq!(count_once(&mut counters, Meter::Cycles), (None, None));
}

#[test]
fn a_control_group_asks_each_cpu_for_its_own_kind_of_core() {
    let kernel = FakeKernel::new(|asked| match (asked.event.source(), asked.core_pmu, asked.cpu) {
        // The kernel answers this for a CPU that the PMU does not cover.
        (Source::PerfHardware, Some(4), Some(2 | 3))
        | (Source::PerfHardware, Some(8), Some(0 | 1)) => Err(libc::EINVAL),
        _ => Ok(unmultiplexed_count(10)),
    });
    let folder = std::fs::File::open("/").expect("a folder");
    let mut counters = kernel.with_hybrid_cpu().open_counters(CounterTarget::Cgroup(&folder));
    assert_eq!(count_once(&mut counters, Meter::Cycles), (Some(40), None));
}

#[test]
fn one_core_pmu_is_left_to_the_kernel_and_read_as_a_group() {
    let kernel = FakeKernel::new(|_| Ok(unmultiplexed_count(5)));
    let log = Arc::clone(&kernel.log);
    let mut counters = kernel.open_counters(CounterTarget::ThisThread);
    assert_eq!(count_once(&mut counters, Meter::Instructions), (Some(5), None));
    assert!(log.lock().iter().all(|asked| asked.core_pmu.is_none()));
}

#[test]
fn counters_that_the_kernel_will_not_bundle_are_read_one_by_one() {
    let kernel = FakeKernel { groups: false, ..FakeKernel::new(|_| Ok(unmultiplexed_count(5))) };
    let mut counters = kernel.open_counters(CounterTarget::ThisThread);
    assert_eq!(count_once(&mut counters, Meter::Instructions), (Some(5), None));
    assert_eq!(count_once(&mut counters, Meter::CpuTime), (Some(5), None));
}

#[test]
fn a_multiplexed_counter_is_scaled_and_says_how_much_it_saw() {
    let kernel = FakeKernel::new(|asked| match asked.event {
        PerfEvent::Cycles => Ok(RawCount { count: 250, enabled: 1_000, running: 250 }),
        _ => Ok(unmultiplexed_count(1)),
    });
    let mut counters = kernel.open_counters(CounterTarget::Process(1));
    assert_eq!(count_once(&mut counters, Meter::Cycles), (Some(1_000), Some(250_000)));
}

#[test]
fn a_counter_that_never_runs_is_missing_and_not_0() {
    let kernel = FakeKernel::new(|asked| match asked.event.source() {
        Source::PerfHardware => Ok(RawCount { count: 0, enabled: 100, running: 0 }),
        _ => Ok(unmultiplexed_count(1)),
    });
    let mut counters = kernel.open_counters(CounterTarget::ThisThread);
    for meter in [Meter::Cycles, Meter::Instructions, Meter::BranchMisses, Meter::CacheMisses] {
        assert!(missing_reason(&counters, meter).contains("never runs"));
        assert_eq!(count_once(&mut counters, meter).0, None);
    }
    // The ticks come from the other source then.
    assert_eq!(count_once(&mut counters, Meter::RefCycles).0, Some(1));
    assert_eq!(counters.remedy_for(Meter::RefCycles), "");
}

#[test]
fn a_counter_that_reads_0_whatever_is_done_is_missing() {
    let kernel = FakeKernel::new(|asked| match asked.event {
        PerfEvent::CacheMisses | PerfEvent::BranchMisses => Ok(unmultiplexed_count(0)),
        _ => Ok(unmultiplexed_count(1)),
    });
    let counters = kernel.open_counters(CounterTarget::ThisThread);
    assert!(missing_reason(&counters, Meter::CacheMisses).contains("reads 0"));
    assert!(missing_reason(&counters, Meter::BranchMisses).contains("reads 0"));
    assert!(counters.has_counter(Meter::Cycles));
}

#[test]
fn no_pmu_is_said_as_such_whatever_the_errno() {
    for errno in [libc::ENOENT, libc::EOPNOTSUPP, libc::ENODEV] {
        let kernel = FakeKernel::new(move |asked| match asked.event.source() {
            Source::PerfHardware => Err(errno),
            _ if has_no_msr(asked) => Err(libc::ENOENT),
            _ => Ok(unmultiplexed_count(1)),
        });
        let counters = kernel.open_counters(CounterTarget::ThisThread);
        assert!(missing_reason(&counters, Meter::Cycles).contains("no hardware PMU"));
        assert!(counters.remedy_for(Meter::Cycles).contains("exposes the PMU"));
        assert!(counters.has_counter(Meter::CpuTime), "the kernel's own events are there");
    }
}

#[test]
fn a_seccomp_filter_is_named_and_not_the_paranoid_level() {
    // Docker's default profile answers EPERM; others say ENOSYS or anything.
    for errno in [libc::EPERM, libc::ENOSYS, libc::EACCES, libc::EIO] {
        for paranoid in [1, 2, 4] {
            let standing = PerfPrivileges {
                paranoid: Some(paranoid),
                seccomp: true,
                ..PerfPrivileges::default()
            };
            let kernel = FakeKernel::new(move |_| Err(errno)).with_privileges(standing);
            let counters = kernel.open_counters(CounterTarget::ThisThread);
            let told = missing_reason(&counters, Meter::CpuTime);
            if errno == libc::EACCES && paranoid > 2 {
                // The level alone explains it.
                assert_eq!(told, "denied by perf_event_paranoid=4");
                continue;
            }
            assert!(told.contains("seccomp"), "errno {errno}, level {paranoid}: {told}");
            assert_eq!(missing_reason(&counters, Meter::Cycles), told);
            assert!(counters.remedy_for(Meter::Cycles).contains("--cap-add PERFMON"));
        }
    }
}

#[test]
fn a_filter_is_asked_once() {
    let standing = PerfPrivileges { paranoid: Some(2), seccomp: true, ..PerfPrivileges::default() };
    let kernel = FakeKernel::new(|_| Err(libc::EPERM)).with_privileges(standing);
    let log = Arc::clone(&kernel.log);
    let _ = kernel.open_counters(CounterTarget::ThisThread);
    assert_eq!(log.lock().len(), 2, "with kernel mode and without");
}

#[test]
fn the_paranoid_level_leaves_out_kernel_mode_or_everything() {
    let at = |level| {
        let standing = PerfPrivileges { paranoid: Some(level), ..PerfPrivileges::default() };
        let rule = move |asked: AnsweredRequest| match level {
            2 if !asked.kernel_mode => Ok(unmultiplexed_count(3)),
            _ => Err(libc::EACCES),
        };
        FakeKernel::new(rule).with_privileges(standing).open_counters(CounterTarget::ThisThread)
    };
    let mut user = at(2);
    let cycles = user.provenances().get(Meter::Cycles).expect("told");
    assert!(cycles.note.contains(USER_ONLY) && cycles.user_only, "{cycles:?}");
    let clock = user.provenances().get(Meter::CpuTime).expect("told");
    assert!(!clock.user_only, "the task clock runs in kernel mode: {clock:?}");
    assert_eq!(count_once(&mut user, Meter::Cycles), (Some(3), None));
    // These happen in the kernel: without it they would read 0 for ever.
    let switches = missing_reason(&user, Meter::ContextSwitches);
    assert_eq!(switches, "denied by perf_event_paranoid=2");
    assert!(user.remedy_for(Meter::ContextSwitches).contains("perf_event_paranoid=1"));
    let none = at(3);
    assert_eq!(missing_reason(&none, Meter::Cycles), "denied by perf_event_paranoid=3");
    assert!(none.remedy_for(Meter::Cycles).contains("perf_event_paranoid=2"));
}

#[test]
fn an_ordinary_user_without_a_pmu_is_told_of_the_pmu_and_not_of_permissions() {
    let standing = PerfPrivileges { paranoid: Some(2), ..PerfPrivileges::default() };
    let rule = |asked: AnsweredRequest| match (asked.event.source(), asked.kernel_mode) {
        (_, true) => Err(libc::EACCES),
        (Source::PerfHardware, false) => Err(libc::ENOENT),
        (_, false) => Ok(unmultiplexed_count(3)),
    };
    let counters =
        FakeKernel::new(rule).with_privileges(standing).open_counters(CounterTarget::ThisThread);
    assert!(missing_reason(&counters, Meter::Cycles).contains("no hardware PMU"));
}

#[test]
fn a_control_group_needs_a_lower_level_than_a_thread() {
    let standing = PerfPrivileges { paranoid: Some(1), ..PerfPrivileges::default() };
    let kernel = FakeKernel::new(|_| Err(libc::EACCES)).with_privileges(standing);
    let folder = std::fs::File::open("/").expect("a folder");
    let counters = kernel.open_counters(CounterTarget::Cgroup(&folder));
    assert_eq!(missing_reason(&counters, Meter::Cycles), "denied by perf_event_paranoid=1");
    assert!(counters.remedy_for(Meter::Cycles).contains("perf_event_paranoid=0"));
}

#[test]
fn root_of_a_user_namespace_is_told_that_it_is_not_root_here() {
    let standing =
        PerfPrivileges { paranoid: Some(3), capable: true, user_namespace: true, seccomp: false };
    let kernel = FakeKernel::new(|_| Err(libc::EACCES)).with_privileges(standing);
    let counters = kernel.open_counters(CounterTarget::ThisThread);
    assert!(missing_reason(&counters, Meter::Cycles).contains("user namespace"));
    assert!(counters.remedy_for(Meter::Cycles).starts_with("as root of the machine"));
}

#[test]
fn what_perf_allows_and_something_else_denies_blames_that() {
    let standing = PerfPrivileges { paranoid: Some(-1), ..PerfPrivileges::default() };
    let denied = || FakeKernel::new(|_| Err(libc::EACCES)).with_privileges(standing);
    let own = denied().open_counters(CounterTarget::ThisThread);
    assert!(missing_reason(&own, Meter::Cycles).contains("security module"));
    let other = denied().open_counters(CounterTarget::Process(1));
    assert!(missing_reason(&other, Meter::Cycles).contains("may not watch that process"));
}

#[test]
fn a_kernel_without_perf_and_full_tables_are_said() {
    let standing = PerfPrivileges::default();
    let none = FakeKernel::new(|_| Err(libc::ENOSYS)).with_privileges(standing);
    let none = none.open_counters(CounterTarget::ThisThread);
    assert!(none.remedy_for(Meter::Cycles).contains("CONFIG_PERF_EVENTS"));
    let full = FakeKernel::new(|_| Err(libc::EMFILE)).open_counters(CounterTarget::ThisThread);
    assert!(full.remedy_for(Meter::Cycles).contains("ulimit -n"));
}

#[test]
fn counters_that_cannot_be_opened_again_say_why() {
    let calls = Mutex::new(0_u32);
    let kernel = FakeKernel::new(move |asked| {
        if asked.event != PerfEvent::PageFaults {
            return Ok(unmultiplexed_count(2));
        }
        let mut calls = calls.lock();
        *calls += 1;
        if *calls > 1 { Err(libc::EMFILE) } else { Ok(unmultiplexed_count(2)) }
    });
    let template = kernel.open_counters(CounterTarget::Children(1));
    assert!(template.has_counter(Meter::PageFaults));
    let mut again = template.reopen_on(CounterTarget::Children(1));
    assert!(missing_reason(&again, Meter::PageFaults).contains("too many open files"));
    assert_eq!(count_once(&mut again, Meter::Cycles), (Some(2), None));
}
