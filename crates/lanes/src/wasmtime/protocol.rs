//! Protocol between the lane and its workers.

use std::path::PathBuf;
use std::sync::LazyLock;

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

/// Causes of results that vary from run to run: functions of WASI 0.1, interfaces of WASI 0.2 (those
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

/// Most words of a report: the first, times, fuel, [`VARYING`], options, counts with their mask,
/// output, and text with its length.
pub(crate) const MAX_WORDS: usize =
    1 + 7 + 1 + 1 + 4 + 1 + Meter::COUNT + 1 + 4 + OutputDigest::HEAD / 8 + 1 + MAX_TEXT / 8;

/// Size of the largest message, in bytes.
pub(crate) const MAX_MESSAGE: usize = 8 * MAX_WORDS;

/// Bits of a report's first word; the upper half is the exit code.
mod bits {
    /// How the call ended: 0 to 2.
    pub(super) const END: u64 = 0b11;
    /// Progress: 0 to 2, shifted by 2.
    pub(super) const PROGRESS: u32 = 2;
    /// Kind of fuel: 0 to 2, shifted by 4.
    pub(super) const FUEL: u32 = 4;
    /// Which of the four options have a value, shifted by 6.
    pub(super) const OPTIONS: u32 = 6;
    pub(super) const HAS_OUTPUT: u64 = 1 << 10;
    pub(super) const HAS_TEXT: u64 = 1 << 11;
    /// All bits that mean something in the lower half.
    pub(super) const KNOWN: u64 = (1 << 12) - 1;
}

/// Digest of an empty output: the usual one of short functions.
static NO_OUTPUT: LazyLock<OutputDigest> = LazyLock::new(|| OutputDigest::from_content(b""));

/// Returns the digest of an empty output.
pub(super) fn empty_output() -> OutputDigest {
    *NO_OUTPUT
}

impl WasmWorkerReport {
    /// Returns the time from `requested` to the end, less what reading meters took.
    #[must_use]
    pub(crate) fn wall_time(&self, requested: Nanos) -> Nanos {
        let whole = self.ended.saturating_since(requested).0;
        Nanos(whole.saturating_sub(self.started.saturating_since(self.ready).0))
    }

    /// Encodes the report as bytes.
    #[must_use]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut words = Vec::with_capacity(64);
        self.encode_words(&mut words);
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// Appends the report to `words`; what has no value takes no room.
    pub(crate) fn encode_words(&self, words: &mut Vec<u64>) {
        let text = self.bounded_text();
        words.push(self.first_word(!text.is_empty()));
        words.extend([self.begun.0, self.created.0, self.instantiated.0, self.ready.0]);
        words.extend([self.started.0, self.ended.0, self.dropped.0]);
        if let Fuel::Exact(fuel) = self.fuel {
            words.push(fuel);
        }
        words.push(self.varying);
        words.extend(self.options().into_iter().flatten());
        let mask =
            self.counts.iter().rev().fold(0, |mask, count| mask << 1 | u64::from(count.is_some()));
        words.push(mask);
        words.extend(self.counts.iter().flatten());
        if let Some(output) = &self.output {
            words.push(output.bytes);
            if output.bytes > 0 {
                push_bytes(words, &output.sha256);
                let mut head = [0; OutputDigest::HEAD];
                let begins = output.head().unwrap_or_default();
                head[..begins.len()].copy_from_slice(begins);
                push_bytes(words, &head);
            }
        }
        if !text.is_empty() {
            words.push(text.len() as u64);
            push_bytes(words, text.as_bytes());
        }
    }

    fn first_word(&self, has_text: bool) -> u64 {
        let (end, code) = match self.end {
            CallEnd::Exit(code) => (0, code.cast_unsigned()),
            CallEnd::Trap => (1, 0),
            CallEnd::NotStarted => (2, 0),
        };
        let fuel = match self.fuel {
            Fuel::Off => 0,
            Fuel::Exact(_) => 1,
            Fuel::Lost => 2,
        };
        let options =
            self.options().iter().rev().fold(0, |mask, it| mask << 1 | u64::from(it.is_some()));
        u64::from(code) << 32
            | end
            | (self.progress as u64) << bits::PROGRESS
            | fuel << bits::FUEL
            | options << bits::OPTIONS
            | if self.output.is_some() { bits::HAS_OUTPUT } else { 0 }
            | if has_text { bits::HAS_TEXT } else { 0 }
    }

    const fn options(&self) -> [Option<u64>; 4] {
        [self.linear_memory, self.deserialize, self.peak_kib, self.coverage_ppm]
    }

    /// Returns as much of the text as is reported.
    fn bounded_text(&self) -> &str {
        let mut cut = self.text.len().min(MAX_TEXT);
        while !self.text.is_char_boundary(cut) {
            cut -= 1;
        }
        &self.text[..cut]
    }

    /// Decodes a report from bytes; `None` if they are none.
    #[must_use]
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (chunks, rest) = bytes.as_chunks::<8>();
        let mut words = [0; MAX_WORDS];
        let used = words.get_mut(..chunks.len()).filter(|_| rest.is_empty())?;
        for (word, chunk) in used.iter_mut().zip(chunks) {
            *word = u64::from_ne_bytes(*chunk);
        }
        Self::decode_words(used)
    }

    /// Decodes a report from words; `None` if they are none. Whoever sent them may be hostile.
    #[must_use]
    pub(crate) fn decode_words(words: &[u64]) -> Option<Self> {
        let mut reader = WordReader(words);
        let first = reader.take_word()?;
        let code = u32::try_from(first >> 32).ok()?;
        let field = |shift: u32| first >> shift & 0b11;
        let end = match (first & bits::END, code) {
            (0, code) => CallEnd::Exit(code.cast_signed()),
            (1, 0) => CallEnd::Trap,
            (2, 0) => CallEnd::NotStarted,
            _ => return None,
        };
        let progress = match field(bits::PROGRESS) {
            0 => InvocationProgress::Begun,
            1 => InvocationProgress::Created,
            2 => InvocationProgress::Entered,
            _ => return None,
        };
        if u64::from(u32::MAX) & first & !bits::KNOWN != 0 {
            return None;
        }
        let [begun, created, instantiated, ready, started, ended, dropped] =
            reader.take_words::<7>()?.map(Nanos);
        let fuel = match field(bits::FUEL) {
            0 => Fuel::Off,
            1 => Fuel::Exact(reader.take_word()?),
            2 => Fuel::Lost,
            _ => return None,
        };
        let varying = reader.take_word()?;
        let [linear_memory, deserialize, peak_kib, coverage_ppm] =
            reader.take_options(first >> bits::OPTIONS & 0b1111)?;
        let mask = reader.take_word()?;
        let counts = reader.take_options::<{ Meter::COUNT }>(mask)?;
        let output = if first & bits::HAS_OUTPUT == 0 { None } else { Some(reader.take_output()?) };
        let text = if first & bits::HAS_TEXT == 0 { String::new() } else { reader.take_text()? };
        reader.0.is_empty().then_some(Self {
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
            output,
            counts,
            coverage_ppm,
            text,
        })
    }
}

/// Appends bytes as words, the last one filled up with zeros.
fn push_bytes(words: &mut Vec<u64>, bytes: &[u8]) {
    let (chunks, rest) = bytes.as_chunks::<8>();
    words.extend(chunks.iter().map(|chunk| u64::from_ne_bytes(*chunk)));
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        words.push(u64::from_ne_bytes(last));
    }
}

/// Words of a report that are not decoded yet.
struct WordReader<'a>(&'a [u64]);

impl WordReader<'_> {
    fn take_word(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take_words<const N: usize>(&mut self) -> Option<[u64; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    /// Takes those of `N` values whose bit in `mask` is set; it may have no other bits.
    fn take_options<const N: usize>(&mut self, mask: u64) -> Option<[Option<u64>; N]> {
        let mut values = [None; N];
        for (place, value) in values.iter_mut().enumerate() {
            if mask >> place & 1 == 1 {
                *value = Some(self.take_word()?);
            }
        }
        (mask >> N == 0).then_some(values)
    }

    fn take_bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        for chunk in bytes.as_chunks_mut::<8>().0 {
            *chunk = self.take_word()?.to_ne_bytes();
        }
        Some(bytes)
    }

    fn take_output(&mut self) -> Option<OutputDigest> {
        let bytes = self.take_word()?;
        if bytes == 0 {
            return Some(empty_output());
        }
        let sha256 = self.take_bytes::<32>()?;
        let head = self.take_bytes::<{ OutputDigest::HEAD }>()?;
        Some(OutputDigest::new(bytes, sha256).with_head(&head))
    }

    fn take_text(&mut self) -> Option<String> {
        let length = usize::try_from(self.take_word()?).ok().filter(|it| *it <= MAX_TEXT)?;
        let mut bytes = Vec::with_capacity(length.next_multiple_of(8));
        for _ in 0..length.div_ceil(8) {
            bytes.extend(self.take_word()?.to_ne_bytes());
        }
        bytes.truncate(length);
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a report with something in every field, and the longest text.
    pub(in crate::wasmtime) fn report() -> WasmWorkerReport {
        let mut counts = [None; Meter::COUNT];
        counts[Meter::CpuTime as usize] = Some(7);
        counts[Meter::PageFaults as usize] = Some(0);
        WasmWorkerReport {
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
        }
    }

    #[test]
    fn reports_survive_the_socket() {
        let bytes = report().encode();
        assert!(bytes.len() <= MAX_MESSAGE);
        let back = WasmWorkerReport::decode(&bytes).expect("whole");
        assert_eq!(back.text, "é".repeat(1_024));
        assert_eq!(back.output.map(|it| it.to_string()).as_deref(), Some("\"x\""));
        assert_eq!(back, WasmWorkerReport { text: "é".repeat(1_024), ..report() });
        for cut in 0..bytes.len() {
            assert_eq!(WasmWorkerReport::decode(&bytes[..cut]), None, "{cut} bytes");
        }
    }

    #[test]
    fn values_that_are_absent_stay_so_and_zeros_stay_zeros() {
        let mut counts = [Some(0); Meter::COUNT];
        counts[Meter::COUNT - 1] = None;
        let few = WasmWorkerReport {
            end: CallEnd::Trap,
            progress: InvocationProgress::Entered,
            deserialize: None,
            linear_memory: None,
            fuel: Fuel::Lost,
            peak_kib: Some(0),
            output: Some(OutputDigest::from_content(b"")),
            counts,
            coverage_ppm: Some(0),
            text: String::new(),
            ..report()
        };
        for report in [
            WasmWorkerReport { output: None, fuel: Fuel::Off, ..few.clone() },
            WasmWorkerReport {
                end: CallEnd::NotStarted,
                counts: [None; Meter::COUNT],
                ..few.clone()
            },
            WasmWorkerReport { counts: [Some(u64::MAX); Meter::COUNT], ..few.clone() },
            few,
        ] {
            assert_eq!(WasmWorkerReport::decode(&report.encode()), Some(report));
        }
    }

    #[test]
    fn words_that_no_worker_sends_are_refused() {
        let mut words = Vec::new();
        WasmWorkerReport { text: String::new(), ..report() }.encode_words(&mut words);
        assert!(WasmWorkerReport::decode_words(&words).is_some());
        let refuses = |place: usize, word: u64| {
            let mut words = words.clone();
            words[place] = word;
            assert_eq!(WasmWorkerReport::decode_words(&words), None, "{word:#x}");
        };
        // No such end, progress, fuel; an unknown bit; a trap with an exit code.
        let first = words[0];
        for word in [first | 3, first | 3 << 2, first | 3 << 4, first | 1 << 12, 1 | 5 << 32] {
            refuses(0, word);
        }
        // A count of a meter that does not exist: the mask follows times, fuel, imports, options.
        assert_eq!(words[13], 1 << Meter::CpuTime as u64 | 1 << Meter::PageFaults as u64);
        refuses(13, words[13] | 1 << Meter::COUNT);
        words.push(0);
        assert_eq!(WasmWorkerReport::decode_words(&words), None, "too many");
    }
}
