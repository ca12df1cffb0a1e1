//! Runs one program through the launcher with counters, sampler and the kernel's account of it:
//! shared by the native lane and cold Wasm workers.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use sha2::{Digest, Sha256};

use super::control_group::{self, InnerProcessLimit, LauncherGroup};
use super::cpu_share::{self, ShareMeter, ShareUsage};
use super::launcher::{
    EndCause, Launcher, LauncherError, Privileges, ProgramEnd, SpawnRequest, StartedProgram, Stdio3,
};
use super::{Cancel, Job, Probe, ProbeSampler, Status};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_core::visible_text::{summarize_end, summarize_text};
use cyclometer_meter::function_group::{FunctionGroup, GroupUsage};
use cyclometer_meter::perf::{CounterTarget, Counters, Counts};
use cyclometer_meter::{Meter, Provenance, Provenances, Source, Usage, host};
use cyclometer_system::procfs;
use cyclometer_workload::{CpuShare, OutputDigest};

/// Note on the memory limit that holds without a control group.
pub(super) const EACH_PROCESS_NOTE: &str =
    "memory limit holds for the private memory of each process (RLIMIT_DATA)";

/// Meters that both a process' counters and its rusage can give.
const FALLBACKS: [Meter; 3] = [Meter::CpuTime, Meter::PageFaults, Meter::ContextSwitches];

/// A launcher with counters on everything that it starts.
pub(super) struct Runner {
    launcher: Launcher,
    /// Counters that can be opened here; each run gets its own (see [`cyclometer_meter::perf`]).
    template: Counters,
    provenances: Arc<Provenances>,
    tsc_hz: Option<u64>,
    /// Control group of everything that the launcher starts; `Err`: why there is none, empty where
    /// none is wanted.
    group: Result<LauncherGroup, String>,
    /// Description of the fence between functions and other processes.
    fence: String,
    /// Description of what is under a CPU share.
    share_scope: &'static str,
}

/// One program's run.
pub(super) struct ProgramRun {
    pub started: StartedProgram,
    pub ended: ProgramEnd,
    /// Account of the run's control group, if it had one.
    pub group_usage: Option<GroupUsage>,
    /// CPU share of the program, if it had one.
    pub share: Option<ShareUsage>,
    /// Counts of the run; `None`: they miss time that the kernel accounts for.
    counts: Option<Counts>,
}

impl Runner {
    /// Starts a launcher whose children are in the recorder's own control group, and limited by
    /// `inside`.
    pub(crate) fn start_inside(
        privileges: Privileges,
        inside: InnerProcessLimit,
    ) -> Result<Self, LauncherError> {
        Self::start_launcher(privileges, true, Some(inside))
    }

    /// Starts a launcher whose children are in a control group of their own, where one can be
    /// created.
    pub(crate) fn start_grouped(
        privileges: Privileges,
        counting: bool,
    ) -> Result<Self, LauncherError> {
        Self::start_launcher(privileges, counting, None)
    }

    /// Starts a launcher, in a control group of its own unless `inside` says otherwise.
    fn start_launcher(
        privileges: Privileges,
        counting: bool,
        inside: Option<InnerProcessLimit>,
    ) -> Result<Self, LauncherError> {
        let mut launcher = Launcher::start(privileges)?;
        let template = if counting {
            Counters::open(CounterTarget::Children(launcher.pid()))
        } else {
            Counters::unavailable_because("counters are switched off, to see what they cost")
        };
        let tsc_hz = host::tsc_hz();
        let group = match inside {
            None => LauncherGroup::for_launcher(&mut launcher),
            Some(_) => Err(String::new()),
        };
        let inside = inside.unwrap_or(InnerProcessLimit::Unlimited);
        let limit = control_group::limit_processes(&mut launcher, group.as_ref().ok(), inside);
        let fence = launcher.fence().describe(&limit);
        let mut provenances = process_provenances(&template, tsc_hz);
        control_group::set_sources(group.as_ref().map(drop), &mut provenances);
        let share_scope = match privileges {
            Privileges::Function => "the function and what starts it",
            Privileges::Worker => {
                "the worker with its start, loading and instantiation (compiling is not in it)"
            }
            Privileges::Runtime => "the runtime with its start (compiling is not in it)",
        };
        let provenances = Arc::new(provenances);
        Ok(Self { launcher, template, provenances, tsc_hz, group, fence, share_scope })
    }

    /// Checks whether everything that it starts can have that share of CPUs.
    ///
    /// # Errors
    /// The reason why not, and what to do.
    pub(crate) fn check_cpu_share(&self, share: CpuShare) -> Result<(), String> {
        let group = self.group();
        let group = group.as_ref().map(|group| &**group).map_err(|reason| *reason);
        cpu_share::set_share(group, Some(share))
    }

    /// Opens the meter of a share that the group has; `None` where none was asked for, or nothing
    /// enforces it.
    pub(crate) fn open_share_meter(&self, share: Option<CpuShare>) -> Option<ShareMeter> {
        Some(ShareMeter::for_function(&*self.group().ok()?, share?))
    }

    /// Returns a description of what is under a CPU share.
    pub(crate) const fn share_scope(&self) -> &'static str {
        self.share_scope
    }

    /// Returns a description of the fence between functions and other processes.
    pub fn fence(&self) -> &str {
        &self.fence
    }

    /// Returns whether everything that it starts is in a PID namespace.
    pub(crate) fn has_namespace(&self) -> bool {
        self.launcher.fence().is_namespace()
    }

    /// Returns whether it has to be replaced by another before the next run.
    pub(crate) fn is_spent(&self) -> bool {
        self.launcher.is_spent()
    }

    /// Returns the control group of everything that it starts.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn group(&self) -> Result<Arc<FunctionGroup>, &str> {
        self.group.as_ref().map(LauncherGroup::current_group).map_err(String::as_str)
    }

    /// Returns the sources of the meters of every run.
    pub fn provenances(&self) -> &Arc<Provenances> {
        &self.provenances
    }

    /// Starts a program and waits for its end.
    pub fn run(
        &self,
        spawn: &SpawnRequest<'_>,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
    ) -> Result<ProgramRun, LauncherError> {
        self.prepare_group(spawn, true)?;
        let group = self.group().ok();
        let mut share = self.open_share_meter(spawn.cpu_share);
        let baseline = group.as_ref().map(|group| group.take_baseline());
        let counters = self.template.reopen_on(CounterTarget::Children(self.launcher.pid()));
        let counters = Arc::new(Mutex::new(counters));
        let before = lock_counters(&counters).read_all();
        let started = self.launcher.spawn_program(spawn)?;
        watch.start_sampling(Box::new(ProcessProbe {
            pid: started.pid,
            counters: Arc::clone(&counters),
            // Fresh counters start at 0.
            baseline: SAMPLED.map(|meter| (meter, Some(0))),
            group: group.as_ref().map(Arc::downgrade),
        }));
        let ended = self.launcher.wait_for_end(cancel);
        watch.stop_sampling();
        let ended = ended?;
        let grouped = group.zip(baseline).map(|(group, baseline)| group.usage_since(&baseline));
        let share = share.as_mut().map(ShareMeter::take_usage);
        let mut counters = lock_counters(&counters);
        let after = counters.read_all();
        let counts = counters.counts_between(&before, &after);
        let after_exec =
            accounted_cpu_time(&ended, grouped.as_ref()).saturating_since(started.setup_cpu_time);
        // Where the function runs elsewhere, that account does not cover all of it.
        let is_exact =
            ended.had_children && !matches!(&self.group, Err(reason) if reason.is_empty());
        let counted = counts.get(Meter::CpuTime);
        let counts = are_counts_plausible(counted, after_exec, is_exact).then_some(counts);
        Ok(ProgramRun { started, ended, group_usage: grouped, share, counts })
    }

    /// Prepares the control group, if there is one: sets the limits of `spawn`, and with `fresh`
    /// replaces a group in which earlier runs left too much.
    fn prepare_group(&self, spawn: &SpawnRequest<'_>, fresh: bool) -> Result<(), LauncherError> {
        let group = match &self.group {
            Ok(group) => group,
            Err(reason) => {
                return cpu_share::set_share(Err(reason), spawn.cpu_share)
                    .map_err(LauncherError::Arguments);
            }
        };
        if fresh {
            group.replace_if_used_up(&self.launcher);
        }
        let current = group.current_group();
        let limited = current.limit_memory(spawn.memory_limit);
        limited.map_err(|error| LauncherError::Arguments(error.to_string()))?;
        cpu_share::set_share(Ok(&current), spawn.cpu_share).map_err(LauncherError::Arguments)
    }

    /// Returns the sources of the meters of a run.
    pub(crate) fn sources_for(
        &self,
        run: &ProgramRun,
        usual: &Arc<Provenances>,
    ) -> Arc<Provenances> {
        let escaped = run.has_escaped_processes();
        let peak = run.peak_memory();
        let is_usual = matches!(peak, Ok((_, Source::Rusage)));
        if run.counts.is_some() && run.share.is_none() && !escaped && is_usual {
            return Arc::clone(usual);
        }
        let mut all = (**usual).clone();
        if run.counts.is_none() {
            for (meter, _) in self.template.provenances().iter() {
                all.set_missing(meter, "its counter missed time that the kernel accounts for");
            }
            set_fallbacks(&mut all);
            if all.get(Meter::CpuStartup).is_some_and(|it| it.source == Some(Source::PerfSoftware))
            {
                set_startup_sources(&mut all);
            }
            if let Some(hz) = self.tsc_hz {
                all.set_source(
                    Meter::RefCycles,
                    Source::Estimate,
                    format!("cpu_time x {hz} Hz (TSC)"),
                );
            }
        }
        if escaped {
            let why = "of the control group, in ticks: some processes ended unaccounted";
            let by_group =
                |meter: &Meter| all.get(*meter).is_some_and(|it| it.source == Some(Source::Rusage));
            let meters = [Meter::CpuTime, Meter::CpuUser, Meter::CpuSystem];
            for meter in meters.into_iter().filter(by_group).collect::<Vec<_>>() {
                all.set_source(meter, Source::Cgroup, why);
            }
        }
        match peak {
            Ok((_, Source::Cgroup)) => {
                all.set_source(Meter::MemoryPeak, Source::Cgroup, control_group::GROUP_MEMORY_NOTE);
            }
            Ok(_) => {}
            Err(reason) => all.set_missing(Meter::MemoryPeak, reason),
        }
        if let Some(share) = &run.share {
            share.set_sources(self.share_scope, &mut all);
        }
        Arc::new(all)
    }

    /// Starts a program that stays, such as a warm worker.
    pub(crate) fn spawn_program(
        &self,
        spawn: &SpawnRequest<'_>,
    ) -> Result<StartedProgram, LauncherError> {
        self.prepare_group(spawn, false)?;
        self.launcher.spawn_program(spawn)
    }

    /// Starts a program that stays, with counters on it and all its threads and
    /// children from its first instruction on.
    pub(crate) fn spawn_counted(
        &self,
        spawn: &SpawnRequest<'_>,
    ) -> Result<(StartedProgram, Arc<Mutex<Counters>>), LauncherError> {
        let counters = self.template.reopen_on(CounterTarget::Children(self.launcher.pid()));
        let started = self.spawn_program(spawn)?;
        Ok((started, Arc::new(Mutex::new(counters))))
    }

    /// Waits for the end of a program that was started with [`Self::spawn_program`].
    pub(crate) fn wait_for_end(&self, cancel: &Cancel) -> Result<ProgramEnd, LauncherError> {
        self.launcher.wait_for_end(cancel)
    }

    /// Kills the running program.
    pub fn kill(&self) {
        self.launcher.kill();
    }

    /// Enters the run's counts and the kernel's account into `usage`.
    pub(crate) fn fill_usage(&self, run: &ProgramRun, usage: &mut Usage) {
        if let Some(counts) = &run.counts {
            for meter in Meter::ALL {
                usage.set(*meter, counts.get(*meter));
            }
            usage.counter_coverage_ppm = counts.coverage_ppm;
        }
        let ended = &run.ended;
        let escaped = run.group_usage.as_ref().filter(|_| run.has_escaped_processes());
        let (user, system) =
            escaped.and_then(|group| group.split).unwrap_or((ended.user, ended.system));
        usage.set(Meter::CpuUser, user.0);
        usage.set(Meter::CpuSystem, system.0);
        usage.set(Meter::MemoryPeak, run.peak_memory().ok().map(|(peak, _)| peak.0));
        if let Some(share) = &run.share {
            share.fill_usage(usage);
        }
        let accounted = accounted_cpu_time(ended, run.group_usage.as_ref());
        for (meter, value) in
            FALLBACKS.into_iter().zip([accounted.0, ended.page_faults, ended.context_switches])
        {
            if usage.get(meter).is_none() {
                usage.set(meter, value);
            }
        }
        // Only where the sources say so: an estimate is never presented as a count.
        if run.counts.is_none() || !self.template.has_counter(Meter::RefCycles) {
            estimate_ref_cycles(usage, self.tsc_hz);
        }
    }
}

/// Enters the CPU time that a run used before exec, as its sources say: in lanes that see no later
/// moment, `run` begins there.
pub(super) fn fill_startup(run: &ProgramRun, sources: &Provenances, usage: &mut Usage) {
    let startup = match sources.get(Meter::CpuStartup).and_then(|it| it.source) {
        Some(Source::PerfSoftware) => Some(0),
        Some(_) => Some(run.started.setup_cpu_time.0),
        None => None,
    };
    usage.set(Meter::CpuStartup, startup);
}

/// Sets the sources of the time before exec, by what counted the CPU time.
pub(super) fn set_startup_sources(all: &mut Provenances) {
    match all.get(Meter::CpuTime).and_then(|it| it.source) {
        Some(Source::PerfSoftware) => {
            let note = "counters are switched on by exec, where `run` begins: nothing before it \
                        is in cpu_time";
            all.set_source(Meter::CpuStartup, Source::PerfSoftware, note);
        }
        Some(_) => {
            let note = "CPU time of the new process until it calls exec; `run` begins there";
            all.set_source(Meter::CpuStartup, Source::Clock, note);
        }
        None => {
            all.set_missing(Meter::CpuStartup, "there is no CPU time that it could be a part of");
        }
    }
    all.set_missing(Meter::MemoryStartup, "`run` begins at exec, when nothing is resident yet");
}

impl ProgramRun {
    /// Returns whether the control group accounts for much more CPU time than the kernel's account
    /// of the processes that were waited for, in which a process whose parent ignores SIGCHLD
    /// leaves nothing.
    fn has_escaped_processes(&self) -> bool {
        let group = self.group_usage.as_ref().and_then(|group| group.cpu);
        group.is_some_and(|group| {
            exceeds_with_slack(group, waited_cpu_time(&self.ended), LAUNCHER_SLACK)
        })
    }

    /// Returns the peak memory of all processes together, with its source, or why it is not known.
    /// A group counts in batches of pages and keeps memory of earlier runs: for a lone process the
    /// exact resident set is used, unless the group held clearly more.
    fn peak_memory(&self) -> Result<(Bytes, Source), &str> {
        let alone = self.ended.peak;
        match &self.group_usage {
            Some(group) => {
                let held = group.peak.as_ref().map_err(String::as_str)?;
                let most = Bytes(held.0.saturating_sub(group.page_cache.0));
                let is_all =
                    !self.ended.had_children && most.0 <= alone.0 + control_group::GROUP_MARGIN.0;
                // Pages of a program may be charged to the first process that read them.
                let most = (*held).max(alone);
                Ok(if is_all { (alone, Source::Rusage) } else { (most, Source::Cgroup) })
            }
            None if self.ended.had_children => Err(control_group::ONLY_LARGEST),
            None => Ok((alone, Source::Rusage)),
        }
    }
}

/// Returns the CPU time of all processes that were waited for.
const fn waited_cpu_time(ended: &ProgramEnd) -> Nanos {
    Nanos(ended.user.0 + ended.system.0)
}

/// Returns the CPU time by the kernel's own accounts: that of the control group where it has much
/// more.
fn accounted_cpu_time(ended: &ProgramEnd, group: Option<&GroupUsage>) -> Nanos {
    let waited_for = waited_cpu_time(ended);
    let group = group.and_then(|group| group.cpu);
    group
        .filter(|group| exceeds_with_slack(*group, waited_for, LAUNCHER_SLACK))
        .unwrap_or(waited_for)
}

/// Returns whether the kernel accounts for so much more than `counted` that the two cannot merely
/// differ in what they leave out: 2 % and `slack`.
const fn exceeds_with_slack(accounted: Nanos, counted: Nanos, slack: Nanos) -> bool {
    accounted.0 > counted.0 + counted.0 / 50 + slack.0
}

/// Allowance for the launcher's own work, and the rounding of short times.
const LAUNCHER_SLACK: Nanos = Nanos(5_000_000);
/// Allowance for several processes: counters lose a part of what children do, a fifth in a test
/// where `cpuacct` and the kernel's account of each process agreed.
const FAMILY_SLACK: Nanos = Nanos(1_000_000);

/// Estimates reference cycles as CPU time in TSC ticks, where nothing counted them.
pub(super) fn estimate_ref_cycles(usage: &mut Usage, tsc_hz: Option<u64>) {
    if let (None, Some(cpu), Some(hz)) =
        (usage.get(Meter::RefCycles), usage.get(Meter::CpuTime), tsc_hz)
    {
        let ticks = u128::from(cpu) * u128::from(hz) / 1_000_000_000;
        usage.set(Meter::RefCycles, u64::try_from(ticks).ok());
    }
}

fn process_provenances(counters: &Counters, tsc_hz: Option<u64>) -> Provenances {
    let mut all = counters.provenances().clone();
    set_fallbacks(&mut all);
    set_estimate(&mut all, counters, tsc_hz);
    let split = "split of the kernel's scheduler, in microseconds, over all processes; with the \
                 launcher's set-up before exec";
    all.set_source(Meter::CpuUser, Source::Rusage, split);
    all.set_source(Meter::CpuSystem, Source::Rusage, split);
    all.set_source(Meter::MemoryAllocated, Source::Plan, "the memory limit");
    all.set_missing(Meter::VcpuAllocated, super::NO_CPU_LIMIT);
    all.set_source(Meter::Wall, Source::Clock, "create + start + run");
    all.set_sampled_memory_time();
    for meter in [Meter::IoRead, Meter::IoWrite] {
        all.set_missing(meter, "not metered in process lanes yet");
    }
    all
}

/// Sets the rusage as the source of meters that have no counter.
fn set_fallbacks(all: &mut Provenances) {
    for meter in FALLBACKS {
        let why = match all.get(meter) {
            Some(Provenance { source: Some(_), .. }) => continue,
            Some(Provenance { source: None, note, .. }) => format!("; {note}"),
            None => String::new(),
        };
        all.set_source(
            meter,
            Source::Rusage,
            format!("the kernel's account of the ended processes{why}"),
        );
    }
}

/// Returns whether the counters saw what the kernel saw: `counted` is the CPU time that they counted
/// if they did, and `accounted` the time after exec, exact where it covers all processes.
fn are_counts_plausible(counted: Option<u64>, accounted: Nanos, is_exact: bool) -> bool {
    let slack = if is_exact { FAMILY_SLACK } else { LAUNCHER_SLACK };
    counted.is_none_or(|counted| !exceeds_with_slack(accounted, Nanos(counted), slack))
}

/// Sets the source of the estimate of [`estimate_ref_cycles`].
fn set_estimate(all: &mut Provenances, counters: &Counters, tsc_hz: Option<u64>) {
    if counters.has_counter(Meter::RefCycles) {
        return;
    }
    if let Some(hz) = tsc_hz {
        let why = all.get(Meter::RefCycles).map_or_else(String::new, |it| it.note.clone());
        all.set_source(
            Meter::RefCycles,
            Source::Estimate,
            format!("cpu_time x {hz} Hz (TSC); {why}"),
        );
    }
}

/// Reason given for a process that the kernel killed by a limit that is not the function's.
const KILLED_OUTSIDE: &str = "out of memory: the kernel killed it in cyclometer's own control group, because memory \
     outside of its own limit ran out";

/// Status, reason and the function's own exit code.
pub(super) type EndVerdict = (Status, Option<String>, Option<i32>);

/// Judges how a run ended, in the words of the store; `written` is the size of the longer of both
/// outputs, in bytes.
pub(super) fn judge_run(
    job: &Job,
    ended: &ProgramEnd,
    grouped: Option<&GroupUsage>,
    stderr: &str,
    written: u64,
) -> EndVerdict {
    let verdict = judge_end(job, ended, grouped, stderr, written);
    let verdict = with_output_limit(verdict, written, job.limits.output);
    with_remarks(verdict, ended, grouped)
}

/// Judges how a run ended, without further remarks.
pub(super) fn judge_end(
    job: &Job,
    ended: &ProgramEnd,
    grouped: Option<&GroupUsage>,
    stderr: &str,
    written: u64,
) -> EndVerdict {
    let signal = ended.status & 0x7f;
    let code = (signal == 0).then_some((ended.status >> 8) & 0xff);
    let limits = &job.limits;
    let killed = control_group::out_of_memory(grouped, limits.memory);
    let (status, reason) = match (ended.why, signal, code) {
        (EndCause::Timeout, ..) => {
            (Status::Timeout, Some(format!("no end within its limit of {}", limits.timeout)))
        }
        (EndCause::Cancelled, ..) => {
            (Status::Interrupted, Some("stopped with the recording".to_owned()))
        }
        (EndCause::ByItself, ..) if killed.is_some() => {
            (Status::Failed, killed.map(|reason| with_tail(reason, stderr)))
        }
        (EndCause::ByItself, libc::SIGXFSZ, _) if written >= limits.output.0 => {
            (Status::Failed, Some(output_limit_reason(limits.output)))
        }
        // The signal does not say which file it concerns, or whether there is one.
        (EndCause::ByItself, libc::SIGXFSZ, _) => {
            (Status::Failed, Some(with_tail(file_limit_reason(limits.output), stderr)))
        }
        (EndCause::ByItself, 0, Some(0)) => (Status::Ok, None),
        (EndCause::ByItself, 0, Some(code)) => {
            (Status::Failed, Some(with_tail(format!("exit code {code}"), stderr)))
        }
        (EndCause::ByItself, libc::SIGKILL, _) if ended.is_memory_starved => {
            (Status::Failed, Some(with_tail(KILLED_OUTSIDE.to_owned(), stderr)))
        }
        (EndCause::ByItself, signal, _) => {
            (Status::Failed, Some(with_tail(format!("killed by {}", signal_name(signal)), stderr)))
        }
    };
    (status, reason, code)
}

/// Adds remarks on the end to the reason of a verdict.
pub(super) fn with_remarks(
    verdict: EndVerdict,
    ended: &ProgramEnd,
    grouped: Option<&GroupUsage>,
) -> EndVerdict {
    let (status, reason, code) = verdict;
    let told = reason.into_iter().chain(list_remarks(ended, grouped)).collect::<Vec<_>>();
    (status, (!told.is_empty()).then(|| told.join("; ")), code)
}

/// Words for an end at the output limit.
const OUTPUT_LIMIT: &str = "output limit";

/// Formats the reason of a function that certainly wrote more than it may.
pub(super) fn output_limit_reason(limit: Bytes) -> String {
    format!("wrote more than the {OUTPUT_LIMIT} of {limit}")
}

/// Formats the reason of a function that SIGXFSZ ended while its output is below its limit.
pub(super) fn file_limit_reason(limit: Bytes) -> String {
    format!(
        "killed by SIGXFSZ, the signal of a file that grows beyond the limit for files, here {limit}"
    )
}

/// Adds that output is at its limit, unless the reason says so: some functions ignore the signal,
/// and their further writes are refused.
pub(super) fn with_output_limit(verdict: EndVerdict, written: u64, limit: Bytes) -> EndVerdict {
    let (status, reason, code) = verdict;
    if written < limit.0 || reason.as_ref().is_some_and(|reason| reason.contains(OUTPUT_LIMIT)) {
        return (status, reason, code);
    }
    let remark = format!("its output is at the {OUTPUT_LIMIT} of {limit}");
    let reason = match reason {
        Some(reason) => format!("{reason}; {remark}"),
        None => remark,
    };
    (status, Some(reason), code)
}

/// Returns the size of the longer of both outputs, in bytes.
pub(super) fn longest_output(files: &Stdio3) -> u64 {
    file_size(&files.stdout).max(file_size(&files.stderr))
}

/// Returns the size of a file in bytes.
pub(super) fn file_size(file: &File) -> u64 {
    file.metadata().map_or(0, |data| data.len())
}

/// Lists further remarks on an end: processes left behind, attacks, and refusals of the fence.
fn list_remarks(ended: &ProgramEnd, grouped: Option<&GroupUsage>) -> Vec<String> {
    let mut all = Vec::new();
    if ended.stray_processes > 0 {
        all.push(format!("left {} process(es) behind, which were killed", ended.stray_processes));
    }
    if let Some(refused) = grouped.map(|group| group.refused).filter(|refused| *refused > 0) {
        let most = control_group::max_processes();
        all.push(format!(
            "was refused {refused} process(es) or thread(s) over its limit of {most}"
        ));
    }
    if ended.has_unended_processes {
        all.push("some of its processes were killed and did not end".to_owned());
    }
    if ended.is_tampered {
        all.push("changed limits or priority of its launcher, which was replaced".to_owned());
    }
    if ended.discarded_messages > 0 {
        let count = ended.discarded_messages;
        all.push(format!("{count} forged message(s) in the name of its launcher were discarded"));
    }
    all
}

fn with_tail(what: String, stderr: &str) -> String {
    if stderr.is_empty() { what } else { format!("{what}: {stderr}") }
}

fn signal_name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

/// Computes length and digest of what was written to `file`.
pub(super) fn digest_output(file: &mut File) -> std::io::Result<OutputDigest> {
    file.rewind()?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    let mut head = Vec::new();
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(OutputDigest::new(bytes, hasher.finalize().into()).with_head(&head)),
            size => {
                let missing = OutputDigest::HEAD.saturating_sub(head.len()).min(size);
                head.extend_from_slice(&buffer[..missing]);
                hasher.update(&buffer[..size]);
                bytes += size as u64;
            }
        }
    }
}

/// Returns the end of what was written to standard error, on one line.
pub(super) fn read_tail(file: &mut File) -> String {
    const KEPT: u64 = 2048;
    let mut bytes = Vec::new();
    let size = file.seek(SeekFrom::End(0)).unwrap_or(0);
    let start = file.seek(SeekFrom::Start(size.saturating_sub(KEPT)));
    if start.is_err() || file.read_to_end(&mut bytes).is_err() {
        return String::new();
    }
    summarize_end(&bytes, size > KEPT, MAX_LINE_CHARS)
}

/// Longest line that a reason quotes, in characters.
const MAX_LINE_CHARS: usize = 2_048;

/// Returns a message of a function, a worker or an engine on one visible line of bounded length.
pub(super) fn one_line(text: &str) -> String {
    summarize_text(text, MAX_LINE_CHARS)
}

/// Meters that the sampler reads from a process' counters.
const SAMPLED: [Meter; 3] = [Meter::CpuTime, Meter::RefCycles, Meter::Cycles];

pub(super) fn lock_counters(counters: &Mutex<Counters>) -> MutexGuard<'_, Counters> {
    counters.lock()
}

/// Reads a process from outside while it runs one invocation.
pub(super) struct ProcessProbe {
    pid: u32,
    counters: Arc<Mutex<Counters>>,
    /// Values of the counters before the invocation.
    baseline: [(Meter, Option<u64>); 3],
    /// Group of the process. Weak, so that it goes away with its lane.
    group: Option<Weak<FunctionGroup>>,
}

impl ProcessProbe {
    /// Creates a probe that counts from now on.
    pub fn new(
        pid: u32,
        counters: &Arc<Mutex<Counters>>,
        group: Option<&Arc<FunctionGroup>>,
    ) -> Self {
        let baseline = {
            let mut counters = lock_counters(counters);
            SAMPLED.map(|meter| (meter, counters.read_one(meter)))
        };
        Self { pid, counters: Arc::clone(counters), baseline, group: group.map(Arc::downgrade) }
    }
}

impl Probe for ProcessProbe {
    fn read_values(&mut self) -> Vec<(Meter, u64)> {
        let mut values = Vec::with_capacity(4);
        {
            let mut counters = lock_counters(&self.counters);
            for (meter, baseline) in self.baseline {
                if let (Some(value), Some(baseline)) = (counters.read_one(meter), baseline) {
                    values.push((meter, value.saturating_sub(baseline)));
                }
            }
        }
        let group = self.group.as_ref().and_then(Weak::upgrade);
        let memory = procfs::resident_memory(self.pid).map(|resident| match group {
            Some(group) => control_group::memory_level(resident, &group),
            None => resident,
        });
        values.extend(memory.map(|bytes| (Meter::MemoryRss, bytes.0)));
        values
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn terminals_are_safe_from_stderr() {
        assert_eq!(one_line("a\x1b[2Jb\r\n\tc"), "a\\x1b[2Jb c");
    }

    /// Creates a job that prints nothing.
    pub(crate) fn job() -> Job {
        let catalog = cyclometer_workload::Catalog::load_builtin().expect("valid");
        let workload = Arc::clone(catalog.get("nop").expect("there"));
        let preset = Arc::new(workload.find_preset("quick").expect("there").clone());
        let limits = cyclometer_workload::Limits { output: Bytes(1 << 20), ..Default::default() };
        Job { limits, ..Job::new(0, workload, preset, crate::StartKind::Cold) }
    }

    #[test]
    fn only_output_at_its_limit_is_told_as_such() {
        let told = |status, written| {
            let ended = ProgramEnd::for_test(status, EndCause::ByItself);
            let (status, reason, _) = judge_run(&job(), &ended, None, "", written);
            (status, reason.unwrap_or_default())
        };
        let failed = |reason: &str| (Status::Failed, reason.to_owned());
        let full = 1 << 20;
        let over = "wrote more than the output limit of 1.00 MiB";
        assert_eq!(told(libc::SIGXFSZ, full), failed(over));
        // The function raised the signal itself, or a file elsewhere became too large.
        let elsewhere = "killed by SIGXFSZ, the signal of a file that grows beyond the limit for \
                         files, here 1.00 MiB";
        assert_eq!(told(libc::SIGXFSZ, full - 1), failed(elsewhere));
        // The function ignored the signal, and what it wrote after that is lost.
        let refused = "exit code 3; its output is at the output limit of 1.00 MiB";
        assert_eq!(told(3 << 8, full), failed(refused));
        assert_eq!(told(3 << 8, full - 1), failed("exit code 3"));
        let remark = "its output is at the output limit of 1.00 MiB";
        assert_eq!(told(0, full), (Status::Ok, remark.to_owned()));
        assert_eq!(told(0, full - 1), (Status::Ok, String::new()));
    }

    #[test]
    fn a_failure_keeps_what_else_is_told() {
        let ended = ProgramEnd {
            stray_processes: 5,
            discarded_messages: 2,
            ..ProgramEnd::for_test(3 << 8, EndCause::ByItself)
        };
        let (_, reason, _) = judge_run(&job(), &ended, None, "", 1 << 20);
        let all = "exit code 3; its output is at the output limit of 1.00 MiB; left 5 process(es) \
                   behind, which were killed; 2 forged message(s) in the name of its launcher \
                   were discarded";
        assert_eq!(reason.as_deref(), Some(all));
    }

    #[test]
    fn counters_that_miss_what_the_kernel_saw_are_not_believed() {
        let ended =
            ProgramEnd { user: Nanos(60_000_000), ..ProgramEnd::for_test(0, EndCause::ByItself) };
        for (counted, believed) in [(0, false), (30_000_000, false), (59_000_000, true)] {
            assert_eq!(
                are_counts_plausible(Some(counted), waited_cpu_time(&ended), false),
                believed,
                "{counted} ns counted"
            );
        }
        // Ticks of a short process are coarse: nothing can be said.
        let short = ProgramEnd { user: Nanos(4_000_000), ..ended };
        assert!(are_counts_plausible(Some(600_000), waited_cpu_time(&short), false));
        // Several processes lose counts, and are accounted for to the microsecond.
        assert!(!are_counts_plausible(Some(600_000), waited_cpu_time(&short), true));
    }

    #[test]
    fn estimates_need_both_factors_and_never_replace_a_count() {
        let mut usage = Usage::new(true);
        estimate_ref_cycles(&mut usage, Some(2_000_000_000));
        assert_eq!(usage.get(Meter::RefCycles), None);
        usage.set(Meter::CpuTime, 1_500);
        estimate_ref_cycles(&mut usage, Some(2_000_000_000));
        assert_eq!(usage.get(Meter::RefCycles), Some(3_000));
        usage.set(Meter::CpuTime, 9_000);
        estimate_ref_cycles(&mut usage, Some(2_000_000_000));
        assert_eq!(usage.get(Meter::RefCycles), Some(3_000));
    }
}
