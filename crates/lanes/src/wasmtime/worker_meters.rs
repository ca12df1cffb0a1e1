//! A worker's readings of itself: clocks of CPU time, resident memory, and the counts of a warm
//! invocation.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::sys::socket::{MsgFlags, send};
use nix::time::{ClockId, clock_gettime};

use super::protocol::WasmWorkerReport;
use super::standard_streams::{StandardStreams, TrackedFile};
use super::thread_meters::{
    LONGEST_READING, ThreadAccount, ThreadAnchor, ThreadCounts, ThreadMeters, thread_sources,
};
use crate::program_run::{digest_output, one_line};
use cyclometer_core::units::Nanos;
use cyclometer_meter::perf::{CounterSnapshot, CounterTarget, Counters};
use cyclometer_meter::{Meter, Provenance, Provenances, Source};
use cyclometer_workload::OutputDigest;

/// Returns the CPU time of this process in nanoseconds, from its fork on.
pub(crate) fn process_cpu_time() -> Option<u64> {
    read_cpu_clock(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

pub(super) fn read_cpu_clock(clock: ClockId) -> Option<u64> {
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

/// Meters that a warm worker reads around each invocation.
pub(crate) struct WorkerMeters {
    thread: ThreadMeters,
    /// Counts when the invocation began.
    begun: ThreadCounts,
    hardware_begun: CounterSnapshot,
    /// Counts right before the function's first instruction, once they are read, and the anchor of
    /// that reading.
    startup: Option<(ThreadCounts, ThreadAnchor)>,
    /// File to which writing 5 resets the peak of resident memory.
    clear_refs: Option<File>,
    /// Whether the last invocation raised the peak, as far as is known.
    raised_peak: bool,
    /// Duplicates of descriptors 0, 1 and 2.
    stdin: TrackedFile,
    stdout: TrackedFile,
    stderr: TrackedFile,
    buffer: Vec<u8>,
}

impl WorkerMeters {
    /// Opens the counters of this thread and sends their sources to the lane.
    ///
    /// # Errors
    /// Fails when the lane has ended, or a descriptor cannot be duplicated.
    pub(super) fn open(socket: &OwnedFd, streams: &StandardStreams) -> Result<Self, String> {
        let counters = Counters::open(CounterTarget::ThisThread);
        let clear_refs = File::options().write(true).open("/proc/self/clear_refs").ok();
        let mut sources = thread_sources(&counters);
        set_memory_sources(&mut sources, clear_refs.is_some());
        let hello = encode_provenances(&sources).map_err(|error| error.to_string())?;
        send(socket.as_raw_fd(), &hello, MsgFlags::MSG_NOSIGNAL).map_err(|it| it.to_string())?;
        Ok(Self {
            thread: ThreadMeters::new(counters),
            begun: ThreadCounts::default(),
            hardware_begun: CounterSnapshot::default(),
            startup: None,
            clear_refs,
            raised_peak: true,
            stdin: streams.stdin.watch(),
            stdout: streams.stdout.watch(),
            stderr: streams.stderr.watch(),
            buffer: Vec::new(),
        })
    }

    /// Forgets what is known of the time before a request: memory may have been reclaimed.
    pub(super) const fn begin_request(&mut self) {
        self.raised_peak = true;
    }

    /// Begins an invocation: resets peak memory, standard input and standard error, and reads the
    /// counters; returns when it began. The lane has already read the messages of an earlier
    /// invocation.
    pub(super) fn begin_invocation(&mut self) -> Nanos {
        // A peak that was not raised since it was reset is what is resident now.
        if std::mem::take(&mut self.raised_peak)
            && let Some(file) = &mut self.clear_refs
        {
            let _ = file.write_all(b"5");
        }
        if self.stdin.take_used() {
            let _ = self.stdin.file.as_ref().rewind();
        }
        if self.stderr.take_used()
            && self.stderr.file.as_ref().stream_position().is_ok_and(|position| position > 0)
        {
            let _ = self.stderr.file.set_len(0);
            let _ = self.stderr.file.as_ref().rewind();
        }
        self.hardware_begun = self.thread.read_hardware();
        self.startup = None;
        self.begun = self.thread.read_begin();
        self.begun.at
    }

    /// Reads CPU time and peak memory since the invocation began, at `ready`, right before the
    /// function's first instruction.
    pub(super) fn read_startup(&mut self, ready: Nanos) -> [Option<u64>; 2] {
        let counts = self.thread.read_at(ready);
        self.startup = Some((counts, self.thread.anchor()));
        let memory = self.clear_refs.as_ref().and(counts.account);
        let memory = memory.and_then(|account| account.peak_kib.checked_mul(1_024));
        [difference(self.begun.cpu, counts.cpu), memory]
    }

    /// Adds what was read around the invocation to its report, and its output; standard output is
    /// empty again afterwards.
    pub(super) fn finish_invocation(&mut self, report: &mut WasmWorkerReport) {
        let hardware = self.thread.read_hardware();
        let ended = self.thread.read_at(report.dropped);
        let counts = self.thread.counters.counts_between(&self.hardware_begun, &hardware);
        for (meter, value) in Meter::ALL.iter().zip(&mut report.counts) {
            *value = value.or(counts.get(*meter));
        }
        // Reading at the first instruction is not the function's work.
        let [own_cpu, own_ticks] = self.startup_reading(report);
        let since = |begun: Option<u64>, ended: Option<u64>, own: u64| {
            difference(begun, ended).map(|all| all.saturating_sub(own))
        };
        let (begun, all) = (self.begun, &mut report.counts);
        all[Meter::CpuTime as usize] = since(begun.cpu, ended.cpu, own_cpu);
        let timed = all[Meter::CpuTime as usize];
        let startup = &mut all[Meter::CpuStartup as usize];
        // No part exceeds the whole.
        *startup = startup.zip(timed).map(|(part, whole)| part.min(whole)).or(*startup);
        if self.thread.has_msr_ticks {
            all[Meter::RefCycles as usize] = since(begun.ticks, ended.ticks, own_ticks);
        }
        all[Meter::Migrations as usize] = difference(begun.migrations, ended.migrations);
        let accounted = begun.account.zip(ended.account);
        let of = |field: fn(&ThreadAccount) -> u64| {
            accounted.and_then(|(begun, ended)| field(&ended).checked_sub(field(&begun)))
        };
        all[Meter::PageFaults as usize] = of(|it| it.page_faults);
        all[Meter::ContextSwitches as usize] = of(|it| it.switches);
        report.coverage_ppm = counts.coverage_ppm.map(u64::from);
        report.peak_kib = self.clear_refs.as_ref().and(ended.account).map(|it| it.peak_kib);
        self.raised_peak = accounted.is_none_or(|(begun, ended)| begun.peak_kib != ended.peak_kib);
        report.output = self.take_output();
    }

    /// Returns the CPU time and ticks that reading at the first instruction took.
    fn startup_reading(&self, report: &WasmWorkerReport) -> [u64; 2] {
        let Some((ready, anchor)) = &self.startup else { return [0; 2] };
        let started = self.thread.continue_anchor(*anchor, report.started);
        // A CPU clock is read again at the end only.
        let span = report.started.saturating_since(report.ready).min(LONGEST_READING).0;
        let cpu = difference(ready.cpu, started.cpu).unwrap_or(span);
        [cpu, difference(ready.ticks, started.ticks).unwrap_or(0)]
    }

    fn take_output(&mut self) -> Option<OutputDigest> {
        if !self.stdout.take_used() {
            return Some(super::protocol::empty_output());
        }
        let mut file: &File = &self.stdout.file;
        let size = file.stream_position().ok()?;
        if size == 0 {
            return Some(super::protocol::empty_output());
        }
        let output = if size <= SHORT_OUTPUT {
            self.buffer.resize(usize::try_from(size).ok()?, 0);
            file.read_exact_at(&mut self.buffer, 0).ok()?;
            OutputDigest::from_content(&self.buffer)
        } else {
            digest_output(&mut file.try_clone().ok()?).ok()?
        };
        file.set_len(0).ok()?;
        file.rewind().ok()?;
        Some(output)
    }
}

/// Longest output in bytes that is read at once.
const SHORT_OUTPUT: u64 = 64 << 10;

fn difference(begun: Option<u64>, ended: Option<u64>) -> Option<u64> {
    ended.zip(begun).and_then(|(ended, begun)| ended.checked_sub(begun))
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

/// Sets the sources of a warm worker's memory; `resets` is whether its peak can be reset.
fn set_memory_sources(all: &mut Provenances, resets: bool) {
    if resets {
        all.set_source(
            Meter::MemoryPeak,
            Source::Procfs,
            "peak resident set of the whole worker, reset before each invocation that comes after \
             one that raised it",
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
