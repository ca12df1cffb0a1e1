//! What the lane and its workers say to each other.

use serde::{Deserialize, Serialize};

use super::settings::Settings;
use crate::meter::Meter;
use crate::units::Nanos;
use crate::workload::OutputDigest;

/// What a worker is to run; its only argument, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerConfig {
    /// The compiled module.
    pub module: std::path::PathBuf,
    /// Arguments of the function, argument 0 included.
    pub args: Vec<String>,
    /// Limit of all linear memories together, in bytes.
    pub memory: u64,
    /// The variant, in words.
    pub settings: Settings,
    /// Whether to stay and run on request.
    pub warm: bool,
}

/// How a call into the module ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It returned or exited.
    Exit(i32),
    /// It trapped, or could not be instantiated: the text says why.
    Trap,
}

/// What a worker reports of one invocation. Moments are of the monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// When the worker, or for a warm one the request, began.
    pub begun: Nanos,
    /// How long loading the compiled module took, for a worker that did.
    pub deserialize: Option<u64>,
    /// When its host state, the store, was made.
    pub created: Nanos,
    /// When its instance was made.
    pub instantiated: Nanos,
    /// When the function's first instruction was due.
    pub started: Nanos,
    /// When it ended.
    pub ended: Nanos,
    /// When its instance was gone.
    pub dropped: Nanos,
    /// Size of the linear memories at the end, in bytes.
    pub linear_memory: u64,
    /// Fuel used, if counted.
    pub fuel: Option<u64>,
    /// Peak resident memory of the worker during this invocation, in KiB.
    pub peak_kib: Option<u64>,
    /// What was written to standard output; cold workers leave that to the lane.
    pub output: Option<OutputDigest>,
    /// Counts of the worker's own thread.
    pub counts: [Option<u64>; Meter::COUNT],
    /// Coverage of multiplexed counters.
    pub coverage_ppm: Option<u64>,
    /// Why it trapped.
    pub text: String,
}

/// Longest text that is reported.
const MAX_TEXT: usize = 2048;

/// Largest message: fixed part and text.
pub const MAX_MESSAGE: usize = 8 * (20 + 2 * Meter::COUNT + 8) + OutputDigest::HEAD + MAX_TEXT;

impl Report {
    /// As bytes. An option is two words: present, value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut words: Vec<u64> = Vec::with_capacity(64);
        match self.end {
            End::Exit(code) => words.extend([0, u64::from(code.cast_unsigned())]),
            End::Trap => words.extend([1, 0]),
        }
        words.extend([self.begun.0, self.created.0, self.instantiated.0, self.started.0]);
        words.extend([self.ended.0, self.dropped.0]);
        words.push(self.linear_memory);
        let mut option =
            |value: Option<u64>| words.extend([u64::from(value.is_some()), value.unwrap_or(0)]);
        option(self.deserialize);
        option(self.fuel);
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

    /// From bytes; `None` if they are too few.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut word = || {
            let (first, tail) = rest.split_first_chunk::<8>()?;
            rest = tail;
            Some(u64::from_ne_bytes(*first))
        };
        let end = match (word()?, word()?) {
            (0, code) => End::Exit(u32::try_from(code).ok()?.cast_signed()),
            _ => End::Trap,
        };
        let [begun, created, instantiated, started] =
            [word()?, word()?, word()?, word()?].map(Nanos);
        let [ended, dropped] = [word()?, word()?].map(Nanos);
        let linear_memory = word()?;
        let mut option =
            || Some((word()? == 1, word()?)).map(|(some, value)| some.then_some(value));
        let deserialize = option()?;
        let (fuel, peak_kib, coverage_ppm) = (option()?, option()?, option()?);
        let mut counts = [None; Meter::COUNT];
        for count in &mut counts {
            *count = option()?;
        }
        let written = option()?;
        let (sha256, rest) = rest.split_first_chunk::<32>()?;
        let (head, text) = rest.split_first_chunk::<{ OutputDigest::HEAD }>()?;
        Some(Self {
            end,
            begun,
            deserialize,
            created,
            instantiated,
            started,
            ended,
            dropped,
            linear_memory,
            fuel,
            peak_kib,
            output: written.map(|bytes| OutputDigest::new(bytes, *sha256).beginning(head)),
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
        let report = Report {
            end: End::Exit(-3),
            begun: Nanos(1),
            deserialize: Some(5),
            created: Nanos(1),
            instantiated: Nanos(6),
            started: Nanos(2),
            ended: Nanos(3),
            dropped: Nanos(4),
            linear_memory: 65_536,
            fuel: None,
            peak_kib: Some(u64::MAX),
            output: Some(OutputDigest::of(b"x")),
            counts,
            coverage_ppm: None,
            text: "é".repeat(2_000),
        };
        let bytes = report.encode();
        assert!(bytes.len() <= MAX_MESSAGE);
        let back = Report::decode(&bytes).expect("whole");
        assert_eq!(back.text, "é".repeat(1_024));
        assert_eq!(back.output.map(|it| it.to_string()).as_deref(), Some("\"x\""));
        assert_eq!(
            Report { text: String::new(), ..back },
            Report { text: String::new(), ..report }
        );
        assert_eq!(Report::decode(&bytes[..100]), None);
    }
}
