//! Progress of a running recording: a bar on a terminal, lines elsewhere.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::lane::Status;
use crate::output::MessageBar;
use crate::record::Event;
use crate::report::precision;
use crate::store::CellStats;
use crate::units::Nanos;

/// Minimum interval between plain lines, after the first [`FREE_LINES`].
const PACE: Duration = Duration::from_secs(1);
/// Number of lines that are written whatever their rate.
const FREE_LINES: u64 = 200;
/// Number of failures that are reported at once; further ones are counted.
const FREE_LINES_OF_FAILURES: usize = 100;

/// The bar on the terminal, for messages beside it.
static BAR: Mutex<Option<MessageBar>> = Mutex::new(None);

/// Writes a message beside the bar that no event carries.
pub(super) fn say_beside_bar(text: &str) {
    let bar = BAR.lock().clone();
    match bar.filter(|bar| !bar.is_cleared()) {
        Some(bar) => bar.write_message(text),
        None => super::say(text),
    }
}

/// Reports events that are stored in the database.
pub(super) struct RecordingProgress {
    bar: Option<MessageBar>,
    /// `None` if the recording goes on until it is stopped.
    total: Option<u64>,
    done: u64,
    cells: HashMap<usize, String>,
    last: Option<Instant>,
    /// Number of failed invocations so far.
    failed: u64,
    /// Failures that were reported: a second one of the kind is only counted.
    seen: HashSet<(usize, String)>,
    shown_messages: ShownMessages,
}

/// Messages shown while a recording ran, so that its summary does not repeat them.
#[derive(Debug, Clone, Default)]
pub(super) struct ShownMessages(Arc<Mutex<HashSet<String>>>);

impl ShownMessages {
    fn insert(&self, text: String) {
        self.0.lock().insert(text);
    }

    fn contains(&self, text: &str) -> bool {
        self.0.lock().contains(text)
    }

    /// Returns cells without the notes and failures that were shown in full; a failure
    /// that occurred again keeps its count.
    pub fn leave_out_of(&self, cells: &[CellStats]) -> Vec<CellStats> {
        let mut cells = cells.to_vec();
        for stats in &mut cells {
            let name = stats.key.to_string();
            let was_said = |text: &str| self.contains(&format!("{name}: {text}"));
            stats.note = stats.note.take().filter(|note| !was_said(note));
            stats.failures.retain(|(reason, count)| *count > 1 || !was_said(reason));
        }
        cells
    }
}

impl RecordingProgress {
    /// Starts the progress of `total` invocations.
    pub fn new(total: Option<u64>) -> Self {
        let template = match total {
            Some(_) => "{bar:30} {pos}/{len} {elapsed} {prefix}{wide_msg}",
            None => "{pos} {elapsed} {prefix}{wide_msg}",
        };
        let bar = MessageBar::on_terminal(total, template);
        BAR.lock().clone_from(&bar);
        Self {
            bar,
            total,
            done: 0,
            cells: HashMap::new(),
            last: None,
            failed: 0,
            seen: HashSet::new(),
            shown_messages: ShownMessages::default(),
        }
    }

    /// Returns the messages shown so far.
    pub fn shown_messages(&self) -> ShownMessages {
        self.shown_messages.clone()
    }

    /// Handles one event.
    pub fn handle_event(&mut self, event: &Event) {
        match event {
            Event::Cell { lane, job } => {
                let name = format!("{} in {lane}, {}", job.workload.name, job.start);
                self.cells.insert(job.cell, name);
            }
            Event::Prepared { cell, result } => {
                let name = self.cell_name(*cell);
                match result {
                    Ok(prepared) => {
                        if let Some(took) = prepared.took {
                            self.write_line(&format!("prepared {name} ({took})"), false);
                        }
                        for note in &prepared.notes {
                            self.write_line(&format!("note: {name}: {note}"), true);
                        }
                        self.shown_messages
                            .insert(format!("{name}: {}", prepared.notes.join("; ")));
                    }
                    Err(reason) => {
                        self.write_line(&format!("failed: {name}: {reason}"), true);
                        self.shown_messages.insert(format!("{name}: {reason}"));
                        // The invocation that fails for this reason would repeat it.
                        self.seen.insert((*cell, kind_of(Status::Failed.label(), reason)));
                    }
                }
            }
            Event::Finished { cell, sequence, outcome, .. } => {
                self.done += 1;
                let wall = outcome.usage.get(crate::meter::Meter::Wall);
                let wall = wall.map_or_else(|| "-".to_owned(), |wall| Nanos(wall).to_string());
                let name = self.cell_name(*cell);
                let status = outcome.status.label();
                if let Some(bar) = &self.bar {
                    bar.set_position(self.done);
                    bar.set_message(&format!("{name} {wall}"));
                }
                let reason = outcome.reason.as_deref().unwrap_or("");
                if outcome.status == Status::Ok {
                    let total = self.total.map_or_else(String::new, |total| format!("/{total}"));
                    let line = format!("[{}{total}] {name} #{sequence}: ok {wall}", self.done);
                    self.write_line(&line, false);
                } else {
                    self.report_failure(*cell, status, reason, &format!("{name} #{sequence}"));
                }
            }
            Event::Lane { .. }
            | Event::Preparing { .. }
            | Event::Started { .. }
            | Event::WarmedUp { .. } => {}
            Event::PrecisionChecked { cell, width } => {
                let state = if width.enough { ", known" } else { "" };
                let reach = precision::format_reach(width.reach);
                let text =
                    format!("{}: {reach} after {} runs{state}", self.cell_name(*cell), width.runs);
                self.write_line(&text, width.enough);
            }
            Event::Ended { .. } => {
                if let Some(bar) = &self.bar {
                    bar.clear();
                }
            }
        }
    }

    /// Reports a failure when it first occurs; its count is reported at the end.
    fn report_failure(&mut self, cell: usize, status: &str, reason: &str, name: &str) {
        self.failed += 1;
        if let Some(bar) = &self.bar {
            bar.set_prefix(&format!("{} failed  ", self.failed));
        }
        if self.seen.len() < FREE_LINES_OF_FAILURES
            && self.seen.insert((cell, kind_of(status, reason)))
        {
            self.write_line(&format!("{status}: {name}: {reason}"), true);
            self.shown_messages.insert(format!("{}: {reason}", self.cell_name(cell)));
        }
    }

    fn cell_name(&self, cell: usize) -> String {
        self.cells.get(&cell).cloned().unwrap_or_else(|| format!("cell {cell}"))
    }

    /// Writes a line; beside a bar only if it is `important`.
    fn write_line(&mut self, text: &str, important: bool) {
        if let Some(bar) = &self.bar {
            if important {
                bar.write_message(text);
            }
            return;
        }
        let due = self.last.is_none_or(|last| last.elapsed() >= PACE);
        if important || due || self.done <= FREE_LINES {
            super::say(text);
            self.last = Some(Instant::now());
        }
    }
}

/// Returns a key that distinguishes the kinds of failures of a cell.
fn kind_of(status: &str, reason: &str) -> String {
    format!("{status} {reason}")
}
