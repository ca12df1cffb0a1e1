//! State of the screens: changed by [`super::update`] alone, read by drawing.

use std::path::PathBuf;
use std::sync::Arc;

use super::keymap::Keymap;
use super::live::Snapshot;
use super::overlay::Overlay;
use super::screens::{Screen, bills, history, host, live, timeline};
use super::theme::Theme;
use cyclometer_core::units::Nanos;
use cyclometer_pricing::PriceCatalog;

/// Smallest terminal, in columns and lines, that the screens are laid out for.
pub const LEAST: (u16, u16) = (60, 16);

/// Time for which a notice is shown.
const NOTICE: Nanos = Nanos(8_000_000_000);

/// Settings that do not change while the program runs.
#[derive(Debug)]
pub struct Settings {
    /// Path of the database.
    pub database: PathBuf,
    /// All available price models.
    pub prices: PriceCatalog,
    /// Names of all available workloads.
    pub workloads: Vec<String>,
    /// Folder that exports are written to.
    pub folder: PathBuf,
}

/// Line for the user, shown for some seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Text of the notice.
    pub text: String,
    /// Whether it reports a failure.
    pub bad: bool,
    /// Time at which it was shown first.
    pub at: Nanos,
}

/// Model of everything that is shown.
#[derive(Debug)]
pub struct Model {
    /// Settings that do not change.
    pub settings: Arc<Settings>,
    /// Colours and signs.
    pub theme: Theme,
    /// Key bindings.
    pub keymap: Keymap,
    /// Columns and lines of the terminal.
    pub size: (u16, u16),
    /// Whether the mouse is captured.
    pub mouse: bool,
    /// Current time on the monotonic clock.
    pub now: Nanos,
    /// Screen that is shown.
    pub screen: Screen,
    /// Overlay above the screen.
    pub overlay: Option<Overlay>,
    /// Newest notice.
    pub notice: Option<Notice>,
    /// Newest snapshot of the recording.
    pub snapshot: Arc<Snapshot>,
    /// Recording that bills and timeline show; `None`: the one that runs, or
    /// ran last.
    pub opened: Option<i64>,
    /// State of the live screen.
    pub live: live::State,
    /// State of the bills screen.
    pub bills: bills::State,
    /// State of the timeline screen.
    pub timeline: timeline::State,
    /// State of the history screen.
    pub history: history::State,
    /// State of the host screen.
    pub host: host::State,
}

impl Model {
    /// Shows a notice.
    pub fn say(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), bad: false, at: self.now });
    }

    /// Shows a notice that something failed.
    pub fn complain(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), bad: true, at: self.now });
    }

    /// Returns the newest notice, unless it has expired.
    #[must_use]
    pub fn notice(&self) -> Option<&Notice> {
        self.notice.as_ref().filter(|notice| self.now.since(notice.at) < NOTICE)
    }

    /// Returns the recording that bills and timeline show.
    #[must_use]
    pub fn recording(&self) -> Option<i64> {
        self.opened.or(self.snapshot.recording)
    }
}
