//! Ring of reports in memory that a warm worker shares with its lane, so that a report costs no
//! system call, and what was reported outlives the worker.
//!
//! The worker runs whatever a module makes it do, so that the lane trusts nothing in the ring: it
//! keeps its own position, copies a report before it looks at it, and takes a length that cannot be
//! for the end of the worker.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::atomic::{Ordering, fence};

use super::protocol::{MAX_WORDS, WasmWorkerReport};
use cyclometer_system::shared_memory::SharedWords;

/// Words of the ring: 128 KiB, some 500 reports of functions that end well. They count as resident
/// memory of the worker, all from its start on.
const CAPACITY: usize = 16 << 10;

/// Place of the number of words that were ever written.
const WRITTEN: usize = 0;

/// Place of the number of words that were ever read, in another cache line.
const READ: usize = 8;

/// Place of the word that is 1 while the lane waits to be told of reports.
const WAITING: usize = 9;

/// Place of the first word of the ring.
const FIRST: usize = 16;

/// The lane's end.
#[derive(Debug)]
pub(super) struct ReportReader {
    shared: SharedWords,
    /// Number of words that were ever read; the copy in the ring is for the worker.
    read: u64,
    buffer: Box<[u64; MAX_WORDS]>,
}

/// The worker's end.
#[derive(Debug)]
pub(super) struct ReportWriter {
    shared: SharedWords,
    /// Number of words that were ever written.
    written: u64,
    buffer: Vec<u64>,
}

/// Error of a ring in which no worker of ours has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BrokenRing;

impl ReportReader {
    /// Creates an empty ring; returns its memory as well, to hand over to the worker.
    ///
    /// # Errors
    /// Fails when the system provides no memory for it.
    pub(super) fn create() -> io::Result<(Self, File)> {
        let count = NonZeroUsize::MIN.saturating_add(FIRST + CAPACITY - 1);
        let (shared, memory) = SharedWords::create(count)?;
        Ok((Self { shared, read: 0, buffer: Box::new([0; MAX_WORDS]) }, memory))
    }

    /// Takes the next report out of the ring; `None` if there is none.
    ///
    /// # Errors
    /// Fails when what is there is no report.
    pub(super) fn take_report(&mut self) -> Result<Option<WasmWorkerReport>, BrokenRing> {
        let words = self.shared.as_words();
        let written = words[WRITTEN].load(Ordering::Acquire);
        let filled = written.wrapping_sub(self.read);
        if filled == 0 {
            return Ok(None);
        }
        if filled > CAPACITY as u64 {
            return Err(BrokenRing);
        }
        let word = |position: u64| words[place_of(position)].load(Ordering::Relaxed);
        let length = word(self.read);
        if length >= filled {
            return Err(BrokenRing);
        }
        let copy = usize::try_from(length).ok().and_then(|it| self.buffer.get_mut(..it));
        let copy = copy.ok_or(BrokenRing)?;
        for (position, copied) in (self.read.wrapping_add(1)..).zip(copy.iter_mut()) {
            *copied = word(position);
        }
        let report = WasmWorkerReport::decode_words(copy).ok_or(BrokenRing)?;
        self.read = self.read.wrapping_add(1).wrapping_add(length);
        words[READ].store(self.read, Ordering::Release);
        Ok(Some(report))
    }
}

impl ReportReader {
    /// Asks to be told of reports, or no longer. Whoever asks looks into the ring once more before
    /// it waits: a report may have come right before.
    pub(super) fn ask_for_signal(&self, asks: bool) {
        self.shared.as_words()[WAITING].store(u64::from(asks), Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}

impl ReportWriter {
    /// Opens the ring that the lane has created.
    ///
    /// # Errors
    /// Fails when it is none, or cannot be mapped.
    pub(super) fn open(memory: OwnedFd) -> io::Result<Self> {
        let shared = SharedWords::map(&memory.into())?;
        if shared.as_words().len() != FIRST + CAPACITY {
            return Err(io::Error::other("not a ring of reports"));
        }
        Ok(Self { shared, written: 0, buffer: Vec::with_capacity(MAX_WORDS) })
    }

    /// Appends a report; returns whether there was room for it.
    pub(super) fn append_report(&mut self, report: &WasmWorkerReport) -> bool {
        self.buffer.clear();
        report.encode_words(&mut self.buffer);
        let words = self.shared.as_words();
        let length = self.buffer.len() as u64;
        let filled = self.written.wrapping_sub(words[READ].load(Ordering::Acquire));
        if filled.saturating_add(length) >= CAPACITY as u64 {
            return false;
        }
        words[place_of(self.written)].store(length, Ordering::Relaxed);
        for (position, word) in (self.written.wrapping_add(1)..).zip(&self.buffer) {
            words[place_of(position)].store(*word, Ordering::Relaxed);
        }
        self.written = self.written.wrapping_add(1).wrapping_add(length);
        words[WRITTEN].store(self.written, Ordering::Release);
        true
    }

    /// Returns whether the lane waits to be told of what was appended, and has not been told yet.
    pub(super) fn take_signal_request(&self) -> bool {
        fence(Ordering::SeqCst);
        let waiting = &self.shared.as_words()[WAITING];
        waiting.load(Ordering::Relaxed) == 1 && waiting.swap(0, Ordering::Relaxed) == 1
    }
}

/// Returns the place of a position in the ring.
#[expect(clippy::cast_possible_truncation, reason = "the rest is less than the capacity")]
const fn place_of(position: u64) -> usize {
    FIRST + (position % CAPACITY as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasmtime::protocol::tests::report;

    fn open_ring() -> (ReportReader, ReportWriter) {
        let (reader, memory) = ReportReader::create().expect("made");
        let writer = ReportWriter::open(memory.into()).expect("mapped");
        (reader, writer)
    }

    #[test]
    fn reports_come_out_in_order_however_often_the_ring_is_filled() {
        let (mut reader, mut writer) = open_ring();
        let (mut sent, mut taken) = (0, 0);
        while taken < 5_000 {
            while writer.append_report(&WasmWorkerReport { varying: sent, ..report() }) {
                sent += 1;
            }
            assert!(sent - taken > 30, "{} long reports fit", sent - taken);
            for _ in 0..7 {
                let next = reader.take_report().expect("sound").expect("there");
                assert_eq!(
                    next,
                    WasmWorkerReport { varying: taken, text: next.text.clone(), ..report() }
                );
                taken += 1;
            }
        }
        while let Some(next) = reader.take_report().expect("sound") {
            assert_eq!(next.varying, taken);
            taken += 1;
        }
        assert_eq!(taken, sent);
    }

    #[test]
    fn a_lane_that_waits_is_told_once() {
        let (reader, mut writer) = open_ring();
        assert!(writer.append_report(&report()) && !writer.take_signal_request());
        reader.ask_for_signal(true);
        assert!(writer.take_signal_request() && !writer.take_signal_request());
        reader.ask_for_signal(true);
        reader.ask_for_signal(false);
        assert!(!writer.take_signal_request());
    }

    #[test]
    fn a_report_outlives_its_worker() {
        let (mut reader, mut writer) = open_ring();
        assert!(writer.append_report(&report()));
        drop(writer);
        assert!(reader.take_report().expect("sound").is_some());
        assert_eq!(reader.take_report(), Ok(None));
    }

    #[test]
    fn whatever_a_hostile_worker_writes_is_refused_and_never_read_beyond() {
        let store = |ring: &ReportReader, place: usize, value: u64| {
            ring.shared.as_words()[place].store(value, Ordering::Release);
        };
        // More words than there is room for; a position that goes backwards.
        for written in [CAPACITY as u64 + 1, u64::MAX, 1 << 63] {
            let (mut reader, _) = open_ring();
            store(&reader, WRITTEN, written);
            assert_eq!(reader.take_report(), Err(BrokenRing), "{written}");
        }
        // A report longer than what is there, than any report, and an empty one.
        let most = MAX_WORDS as u64;
        for (length, written) in [(10, 10), (u64::MAX, 100), (most + 1, most + 2), (0, 1)] {
            let (mut reader, _) = open_ring();
            store(&reader, FIRST, length);
            store(&reader, WRITTEN, written);
            assert_eq!(reader.take_report(), Err(BrokenRing), "{length}");
        }
        // The lane's position is its own.
        let (mut reader, mut writer) = open_ring();
        assert!(writer.append_report(&report()));
        store(&reader, READ, u64::MAX);
        assert!(reader.take_report().expect("sound").is_some());
    }
}
