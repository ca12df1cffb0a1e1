//! A worker's readings of itself: clocks of CPU time, resident memory, and the kernel's account of
//! its thread.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{MsgFlags, send};
use nix::time::{ClockId, clock_gettime};

use crate::program_run::{digest_output, one_line};
use cyclometer_meter::perf::{CounterTarget, Counters};
use cyclometer_meter::{Meter, Provenance, Provenances, Source};
use cyclometer_workload::OutputDigest;

/// Returns the CPU time of this thread in nanoseconds.
pub fn thread_cpu_time() -> Option<u64> {
    read_cpu_clock(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Returns the CPU time of this process in nanoseconds, from its fork on.
pub(crate) fn process_cpu_time() -> Option<u64> {
    read_cpu_clock(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn read_cpu_clock(clock: ClockId) -> Option<u64> {
    let time = clock_gettime(clock).ok()?;
    let seconds = u64::try_from(time.tv_sec()).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(time.tv_nsec()).ok()?)
}

/// Returns the present resident memory of this process, in bytes.
pub fn resident_memory() -> Option<u64> {
    let statm = cyclometer_system::files::read_kernel_text("/proc/self/statm").ok()?;
    parse_statm(&statm)?.checked_mul(procfs::page_size())
}

/// Parses the number of resident pages, the second figure of `/proc/PID/statm`.
fn parse_statm(text: &str) -> Option<u64> {
    text.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the peak resident memory of this process in KiB.
pub(crate) fn process_peak_kib() -> Option<u64> {
    let used = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from(used.max_rss()).ok()
}

/// The kernel's account of a thread at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThreadAccount {
    cpu: Option<u64>,
    page_faults: Option<u64>,
    context_switches: Option<u64>,
}

/// Meters that the kernel accounts a thread for, whether perf is available or not.
const ACCOUNTED_METERS: [(Meter, Source, &str); 3] = [
    (Meter::CpuTime, Source::Clock, "CPU clock of the worker's thread"),
    (Meter::PageFaults, Source::Rusage, "the kernel's account of the worker's thread"),
    (Meter::ContextSwitches, Source::Rusage, "the kernel's account of the worker's thread"),
];

impl ThreadAccount {
    fn capture() -> Self {
        let used = getrusage(UsageWho::RUSAGE_THREAD).ok();
        let sum = |first: i64, second: i64| u64::try_from(first.checked_add(second)?).ok();
        Self {
            cpu: thread_cpu_time(),
            page_faults: used.and_then(|it| sum(it.minor_page_faults(), it.major_page_faults())),
            context_switches: used.and_then(|it| {
                sum(it.voluntary_context_switches(), it.involuntary_context_switches())
            }),
        }
    }

    fn get(&self, meter: Meter) -> Option<u64> {
        match meter {
            Meter::CpuTime => self.cpu,
            Meter::PageFaults => self.page_faults,
            Meter::ContextSwitches => self.context_switches,
            _ => None,
        }
    }
}

/// Counts of one invocation, indexed by meter, and their coverage.
pub(crate) type InvocationCounts = ([Option<u64>; Meter::COUNT], Option<u64>);

/// Meters that a warm worker reads around each invocation.
pub(crate) struct WorkerMeters {
    counters: Counters,
    /// Meters that no counter provides, but the kernel's account does.
    accounted: Vec<Meter>,
    /// File to which writing 5 resets the peak of resident memory.
    clear_refs: Option<File>,
    /// Duplicates of descriptors 0, 1 and 2.
    stdin: File,
    stdout: File,
    stderr: File,
}

impl WorkerMeters {
    /// Opens the counters of this thread and sends their sources to the lane.
    ///
    /// # Errors
    /// Fails when the lane has ended, or a descriptor cannot be duplicated.
    #[expect(clippy::disallowed_methods, reason = "the output of the function, not ours")]
    pub fn open(socket: &OwnedFd) -> Result<Self, String> {
        let counters = Counters::open(CounterTarget::ThisThread);
        let missing = |meter: &Meter| !counters.has_counter(*meter);
        let accounted: Vec<Meter> =
            ACCOUNTED_METERS.iter().map(|(meter, ..)| *meter).filter(missing).collect();
        let clear_refs = File::options().write(true).open("/proc/self/clear_refs").ok();
        let mut sources = thread_sources(counters.provenances(), &accounted);
        set_memory_sources(&mut sources, clear_refs.is_some());
        let hello = encode_provenances(&sources).map_err(|error| error.to_string())?;
        send(socket.as_raw_fd(), &hello, MsgFlags::MSG_NOSIGNAL).map_err(|it| it.to_string())?;
        Ok(Self {
            counters,
            accounted,
            clear_refs,
            stdin: duplicate_descriptor(std::io::stdin().as_fd())?,
            stdout: duplicate_descriptor(std::io::stdout().as_fd())?,
            stderr: duplicate_descriptor(std::io::stderr().as_fd())?,
        })
    }

    /// Runs one invocation between two readings; returns its result and counts.
    pub fn measure<T>(&mut self, run: impl FnOnce() -> T) -> (T, InvocationCounts) {
        let account = |meters: &Self| (!meters.accounted.is_empty()).then(ThreadAccount::capture);
        let counted_before = self.counters.read_all();
        let before = account(self);
        let result = run();
        let after = account(self);
        let counted_after = self.counters.read_all();
        let counts = self.counters.counts_between(&counted_before, &counted_after);
        let mut values = [None; Meter::COUNT];
        for (meter, value) in Meter::ALL.iter().zip(&mut values) {
            *value = counts.get(*meter);
        }
        for meter in &self.accounted {
            let read = |account: Option<ThreadAccount>| account.and_then(|it| it.get(*meter));
            values[*meter as usize] =
                read(after).zip(read(before)).and_then(|(after, before)| after.checked_sub(before));
        }
        (result, (values, counts.coverage_ppm.map(u64::from)))
    }

    /// Resets peak memory, standard input and standard error; the lane has already read the
    /// messages of an earlier invocation.
    pub fn reset(&mut self) {
        if let Some(file) = &mut self.clear_refs {
            let _ = file.write_all(b"5");
        }
        let _ = self.stdin.rewind();
        if self.stderr.stream_position().is_ok_and(|position| position > 0) {
            let _ = self.stderr.set_len(0);
            let _ = self.stderr.rewind();
        }
    }

    /// Returns the peak resident memory since [`Self::reset`], in KiB; `None` where the peak
    /// could not be reset.
    pub(crate) fn peak_kib(&self) -> Option<u64> {
        self.clear_refs.as_ref().and_then(|_| process_peak_kib())
    }

    /// Returns a digest of the invocation's output; standard output is empty again afterwards.
    pub(crate) fn take_output(&mut self) -> Option<OutputDigest> {
        if self.stdout.stream_position().ok()? == 0 {
            return Some(OutputDigest::from_content(b""));
        }
        let output = digest_output(&mut self.stdout).ok()?;
        self.stdout.set_len(0).ok()?;
        self.stdout.rewind().ok()?;
        Some(output)
    }
}

/// Provenance of a meter as a worker tells it: source, note, and whether it counts user mode
/// only.
type ToldProvenance<'a> = (Meter, Option<&'a str>, &'a str, bool);

/// Encodes the provenances of a worker's meters for its lane.
pub(super) fn encode_provenances(sources: &Provenances) -> serde_json::Result<Vec<u8>> {
    let mut told: Vec<ToldProvenance<'_>> = Vec::new();
    for (meter, Provenance { source, note, user_only }) in sources.iter() {
        told.push((meter, source.map(Source::label), note, *user_only));
    }
    serde_json::to_vec(&told)
}

/// Decodes what a worker tells of its meters; `None` if it is something else.
pub(super) fn decode_provenances(message: &[u8]) -> Option<Provenances> {
    let heard: Vec<(Meter, Option<String>, String, bool)> = serde_json::from_slice(message).ok()?;
    let mut all = Provenances::default();
    for (meter, source, note, user_only) in heard {
        match Source::ALL.iter().find(|it| Some(it.label()) == source.as_deref()) {
            Some(source) => all.set_provenance(
                meter,
                Provenance { user_only, ..Provenance::from_source(*source, note) },
            ),
            None => all.set_missing(meter, one_line(&note)),
        }
    }
    Some(all)
}

/// Returns the sources of a warm worker's meters: counters, and for `accounted` the kernel's
/// account, with the reason why there is no counter.
fn thread_sources(counters: &Provenances, accounted: &[Meter]) -> Provenances {
    let mut all = counters.clone();
    for (meter, source, note) in ACCOUNTED_METERS {
        if accounted.contains(&meter) {
            let why = counters.get(meter).map_or("", |it| it.note.as_str());
            let separator = if why.is_empty() { "" } else { "; no counter: " };
            all.set_source(meter, source, format!("{note}{separator}{why}"));
        }
    }
    all
}

/// Sets the sources of a warm worker's memory; `resets` is whether its peak can be reset.
fn set_memory_sources(all: &mut Provenances, resets: bool) {
    if resets {
        all.set_source(
            Meter::MemoryPeak,
            Source::Procfs,
            "peak resident set of the whole worker, reset before each invocation",
        );
        all.set_source(
            Meter::MemoryStartup,
            Source::Procfs,
            "peak resident set of the whole worker up to the function's first instruction",
        );
    } else {
        for meter in [Meter::MemoryPeak, Meter::MemoryStartup] {
            all.set_missing(meter, "the worker's peak cannot be reset: no /proc/self/clear_refs");
        }
    }
}

/// Duplicates a descriptor as another one of the same open file.
///
/// # Errors
/// Fails when there are too many descriptors.
pub(crate) fn duplicate_descriptor(
    descriptor: std::os::fd::BorrowedFd<'_>,
) -> Result<File, String> {
    descriptor.try_clone_to_owned().map(File::from).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_without_counters_has_its_cpu_time_from_the_kernel() {
        let mut counters = Provenances::default();
        counters.set_missing(Meter::CpuTime, "denied");
        counters.set_missing(Meter::Cycles, "denied");
        counters.set_source(Meter::PageFaults, Source::PerfSoftware, "");
        let all = thread_sources(&counters, &[Meter::CpuTime]);
        let cpu = all.get(Meter::CpuTime).expect("told");
        assert_eq!(cpu.source, Some(Source::Clock));
        assert!(cpu.note.ends_with("no counter: denied"), "{}", cpu.note);
        assert_eq!(all.get(Meter::Cycles).expect("told").source, None);
        assert_eq!(all.get(Meter::PageFaults).expect("told").source, Some(Source::PerfSoftware));
    }

    #[test]
    fn a_lane_hears_what_its_worker_says_of_its_meters() {
        let mut told = Provenances::default();
        told.set_source(Meter::CpuTime, Source::Clock, "of the thread");
        told.set_missing(Meter::BranchMisses, "denied");
        let user = Provenance {
            user_only: true,
            ..Provenance::from_source(Source::PerfHardware, cyclometer_meter::USER_ONLY)
        };
        told.set_provenance(Meter::Cycles, user);
        let message = encode_provenances(&told).expect("encoded");
        assert_eq!(decode_provenances(&message), Some(told));
        assert_eq!(decode_provenances(b"{}"), None);
    }

    #[test]
    fn resident_memory_is_told_in_pages() {
        // Figures of proc(5): size, resident, shared, text, lib, data, dt.
        assert_eq!(parse_statm("5120 1300 900 20 0 400 0\n"), Some(1_300));
        assert_eq!(parse_statm("5120"), None);
        assert!(resident_memory().is_some_and(|bytes| bytes > 100 << 10));
    }

    #[test]
    fn the_account_of_a_thread_grows_with_its_work() {
        let before = ThreadAccount::capture();
        let begun = std::time::Instant::now();
        let mut pages = Vec::new();
        while begun.elapsed().as_millis() < 5 {
            pages.push(vec![1_u8; 1 << 20]);
        }
        let after = ThreadAccount::capture();
        for meter in [Meter::CpuTime, Meter::PageFaults] {
            assert!(after.get(meter) > before.get(meter), "{meter}");
        }
        assert_eq!(after.get(Meter::Cycles), None);
    }
}
