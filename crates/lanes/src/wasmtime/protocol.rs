//! Protocol between the lane and its workers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::program::ProgramFacts;
use super::settings::WasmtimeSettings;
use cyclometer_core::units::Nanos;
use cyclometer_meter::Meter;
use cyclometer_workload::OutputDigest;
use cyclometer_workload::wasm_call::ExportCall;

/// Configuration of a worker: its only argument, as JSON. The compiled module comes over the
/// socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WorkerConfig {
    /// Arguments of the function, argument 0 included.
    pub args: Vec<String>,
    /// Limit of all linear memories together, in bytes.
    pub memory: u64,
    /// Variant of the lane, in words.
    pub settings: WasmtimeSettings,
    /// Whether the worker stays and runs on request.
    pub warm: bool,
    /// Facts about the program.
    pub facts: ProgramFacts,
    /// Function that is called; `None`: the entry of a command.
    pub call: Option<ExportCall>,
    /// Folders of this machine that it sees.
    pub dirs: Vec<WorkerFolder>,
    /// Folder in which it starts.
    pub workdir: Option<String>,
    /// Whether it reaches the network.
    pub network: bool,
}

/// A folder that a function sees.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WorkerFolder {
    /// Path on this machine.
    pub host: PathBuf,
    /// Path for the function.
    pub guest: String,
    /// Whether it may only read it.
    pub is_read_only: bool,
}

/// Prefix of the variables in a worker's own environment that are its function's. They are not
/// arguments, which everybody on the machine can read.
pub(crate) const VARIABLE_PREFIX: &str = "cyclometer-function:";

/// End of a call into the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallEnd {
    /// The function returned or exited.
    Exit(i32),
    /// The function trapped: the text says why.
    Trap,
    /// The function never ran: the text says why.
    NotStarted,
}

/// Progress of an invocation. Times of the report that were not reached are those of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InvocationProgress {
    /// The worker began.
    Begun,
    /// The store was created; instantiation, with a start section, was under way.
    Created,
    /// The function's entry was called.
    Entered,
}

/// Count of executed operators by wasmtime's fuel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fuel {
    /// Nothing was counted.
    Off,
    /// Every operator was counted.
    Exact(u64),
    /// A trap lost the part of the count that was in registers.
    Lost,
}

/// A worker's report of one invocation. Times are of the monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WasmWorkerReport {
    /// End of the call.
    pub end: CallEnd,
    /// Progress of the invocation.
    pub progress: InvocationProgress,
    /// Time at which the worker, or for a warm one the request, began.
    pub begun: Nanos,
    /// Time that loading the compiled module took in nanoseconds, for a worker that did.
    pub deserialize: Option<u64>,
    /// Time at which the host state, the store, was created.
    pub created: Nanos,
    /// Time at which the instance was created.
    pub instantiated: Nanos,
    /// Time at which the function's first instruction was due: the end of the start.
    pub ready: Nanos,
    /// Time at which the function was called: in between the worker reads its own usage so far,
    /// which belongs to no phase and is no part of the wall time.
    pub started: Nanos,
    /// Time at which the call ended.
    pub ended: Nanos,
    /// Time at which the instance was dropped.
    pub dropped: Nanos,
    /// Size of the linear memories at the end, in bytes; `None` if none was created.
    pub linear_memory: Option<u64>,
    /// Fuel used, if counted.
    pub fuel: Fuel,
    /// Functions of [`VARYING`] that the module imports, a bit each.
    pub varying: u64,
    /// Peak resident memory of the worker during this invocation, in KiB.
    pub peak_kib: Option<u64>,
    /// Digest of standard output; cold workers leave that to the lane.
    pub output: Option<OutputDigest>,
    /// Readings of the worker: for a warm one, counts of its thread.
    pub counts: [Option<u64>; Meter::COUNT],
    /// Coverage of multiplexed counters.
    pub coverage_ppm: Option<u64>,
    /// Reason of the trap.
    pub text: String,
}

/// What makes results vary from run to run: functions of WASI 0.1, interfaces of WASI 0.2 (those
/// that end in `/` with all below them), and what a function shares with the machine. All else
/// depends on arguments, environment and input only.
pub(crate) const VARYING: [&str; 8] = [
    "clock_time_get",
    "fd_filestat_get",
    "poll_oneoff",
    "random_get",
    "wasi:clocks/",
    "wasi:random/",
    FOLDERS,
    NETWORK,
];

/// Shared folders, in [`VARYING`].
pub(crate) const FOLDERS: &str = "shared folders";

/// The network, in [`VARYING`].
pub(crate) const NETWORK: &str = "the network";

/// Longest text that is reported, in bytes.
const MAX_TEXT: usize = 2048;

/// Size of the largest message, in bytes: fixed part and text.
pub(crate) const MAX_MESSAGE: usize =
    8 * (24 + 2 * Meter::COUNT + 8) + OutputDigest::HEAD + MAX_TEXT;

impl WasmWorkerReport {
    /// Returns the time from `requested` to the end, less what reading meters took.
    #[must_use]
    pub(crate) fn wall_time(&self, requested: Nanos) -> Nanos {
        let whole = self.ended.saturating_since(requested).0;
        Nanos(whole.saturating_sub(self.started.saturating_since(self.ready).0))
    }

    /// Encodes the report as bytes. An option is two words: present, value.
    #[must_use]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut words: Vec<u64> = Vec::with_capacity(64);
        match self.end {
            CallEnd::Exit(code) => words.extend([0, u64::from(code.cast_unsigned())]),
            CallEnd::Trap => words.extend([1, 0]),
            CallEnd::NotStarted => words.extend([2, 0]),
        }
        words.push(self.progress as u64);
        words.extend([self.begun.0, self.created.0, self.instantiated.0, self.ready.0]);
        words.extend([self.started.0, self.ended.0, self.dropped.0]);
        words.extend(match self.fuel {
            Fuel::Off => [0, 0],
            Fuel::Exact(fuel) => [1, fuel],
            Fuel::Lost => [2, 0],
        });
        words.push(self.varying);
        let mut option =
            |value: Option<u64>| words.extend([u64::from(value.is_some()), value.unwrap_or(0)]);
        option(self.linear_memory);
        option(self.deserialize);
        option(self.peak_kib);
        option(self.coverage_ppm);
        self.counts.iter().for_each(|count| option(*count));
        option(self.output.map(|output| output.bytes));
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend(self.output.map_or([0; 32], |output| output.sha256));
        let mut head = [0; OutputDigest::HEAD];
        let begins = self.output.as_ref().and_then(OutputDigest::head).unwrap_or_default();
        head[..begins.len()].copy_from_slice(begins);
        bytes.extend(head);
        let mut cut = self.text.len().min(MAX_TEXT);
        while !self.text.is_char_boundary(cut) {
            cut -= 1;
        }
        bytes.extend(&self.text.as_bytes()[..cut]);
        bytes
    }

    /// Decodes a report from bytes; `None` if they are too few.
    #[must_use]
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut word = || {
            let (first, tail) = rest.split_first_chunk::<8>()?;
            rest = tail;
            Some(u64::from_ne_bytes(*first))
        };
        let end = match (word()?, word()?) {
            (0, code) => CallEnd::Exit(u32::try_from(code).ok()?.cast_signed()),
            (1, _) => CallEnd::Trap,
            _ => CallEnd::NotStarted,
        };
        let progress = match word()? {
            0 => InvocationProgress::Begun,
            1 => InvocationProgress::Created,
            _ => InvocationProgress::Entered,
        };
        let [begun, created, instantiated, ready] = [word()?, word()?, word()?, word()?].map(Nanos);
        let [started, ended, dropped] = [word()?, word()?, word()?].map(Nanos);
        let fuel = match (word()?, word()?) {
            (0, _) => Fuel::Off,
            (1, fuel) => Fuel::Exact(fuel),
            _ => Fuel::Lost,
        };
        let varying = word()?;
        let mut option =
            || Some((word()? == 1, word()?)).map(|(some, value)| some.then_some(value));
        let (linear_memory, deserialize) = (option()?, option()?);
        let (peak_kib, coverage_ppm) = (option()?, option()?);
        let mut counts = [None; Meter::COUNT];
        for count in &mut counts {
            *count = option()?;
        }
        let written = option()?;
        let (sha256, rest) = rest.split_first_chunk::<32>()?;
        let (head, text) = rest.split_first_chunk::<{ OutputDigest::HEAD }>()?;
        Some(Self {
            end,
            progress,
            begun,
            deserialize,
            created,
            instantiated,
            ready,
            started,
            ended,
            dropped,
            linear_memory,
            fuel,
            varying,
            peak_kib,
            output: written.map(|bytes| OutputDigest::new(bytes, *sha256).with_head(head)),
            counts,
            coverage_ppm,
            text: String::from_utf8_lossy(text).into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_socket() {
        let mut counts = [None; Meter::COUNT];
        counts[Meter::CpuTime as usize] = Some(7);
        counts[Meter::PageFaults as usize] = Some(0);
        let report = WasmWorkerReport {
            end: CallEnd::Exit(-3),
            progress: InvocationProgress::Created,
            begun: Nanos(1),
            deserialize: Some(5),
            created: Nanos(1),
            instantiated: Nanos(6),
            ready: Nanos(9),
            started: Nanos(2),
            ended: Nanos(3),
            dropped: Nanos(4),
            linear_memory: Some(65_536),
            fuel: Fuel::Exact(12),
            varying: 5,
            peak_kib: Some(u64::MAX),
            output: Some(OutputDigest::from_content(b"x")),
            counts,
            coverage_ppm: None,
            text: "é".repeat(2_000),
        };
        let bytes = report.encode();
        assert!(bytes.len() <= MAX_MESSAGE);
        let back = WasmWorkerReport::decode(&bytes).expect("whole");
        assert_eq!(back.text, "é".repeat(1_024));
        assert_eq!(back.output.map(|it| it.to_string()).as_deref(), Some("\"x\""));
        assert_eq!(
            WasmWorkerReport { text: String::new(), ..back },
            WasmWorkerReport { text: String::new(), ..report }
        );
        assert_eq!(WasmWorkerReport::decode(&bytes[..100]), None);
    }
}
