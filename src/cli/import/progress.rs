//! Progress of an import: a bar on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use crate::cli::say;
use crate::output::MessageBar;
use crate::report::format_thousands;
use crate::trace::import::ImportProgress;
use crate::units::Bytes;

/// Time between two lines.
const PACE: Duration = Duration::from_secs(10);

/// Shows how far an import is.
pub(super) struct ProgressView {
    bar: Option<MessageBar>,
    /// Bytes of all files; `None` if one has no size.
    total: Option<u64>,
    begun: Instant,
    last: Instant,
}

impl ProgressView {
    pub fn new(total: Option<u64>) -> Self {
        let template = match total {
            Some(_) => "{bar:30} {percent}% {elapsed} {wide_msg}",
            None => "{elapsed} {wide_msg}",
        };
        let now = Instant::now();
        Self { bar: MessageBar::on_terminal(total, template), total, begun: now, last: now }
    }

    pub fn show(&mut self, progress: &ImportProgress) {
        let text = self.describe(progress);
        if let Some(bar) = &self.bar {
            bar.set_position(progress.bytes());
            bar.set_message(&text);
        } else if self.last.elapsed() >= PACE {
            say(&text);
            self.last = Instant::now();
        }
    }

    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.clear();
        }
    }

    fn describe(&self, progress: &ImportProgress) -> String {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = progress.rows.saturating_mul(1_000) / millis;
        let read = Bytes(progress.bytes());
        let of = self.total.map(|total| format!(" of {}", Bytes(total))).unwrap_or_default();
        format!(
            "{}: {read}{of}, {} invocations, {} a second",
            progress.path,
            format_thousands(&progress.rows.into()),
            format_thousands(&rate.into()),
        )
    }
}
