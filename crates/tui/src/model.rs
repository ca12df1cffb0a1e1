//! What the screens show: changed by [`super::update`] alone, read by drawing.

use std::path::PathBuf;
use std::sync::Arc;

use super::keymap::Keymap;
use super::live::Snapshot;
use super::overlay::Overlay;
use super::screens::{Screen, bills, history, host, live, timeline};
use super::theme::Theme;
use cyclometer_core::units::Nanos;
use cyclometer_pricing::PriceCatalog;

/// Smallest terminal that the screens are laid out for.
pub const LEAST: (u16, u16) = (60, 16);

/// How long a notice is shown.
const NOTICE: Nanos = Nanos(8_000_000_000);

/// What does not change while the program runs.
#[derive(Debug)]
pub struct Settings {
    /// The database.
    pub database: PathBuf,
    /// All price models.
    pub prices: PriceCatalog,
    /// Names of all workloads.
    pub workloads: Vec<String>,
    /// Where exports are written.
    pub folder: PathBuf,
}

/// A line for the person, shown for some seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it says.
    pub text: String,
    /// Whether something failed.
    pub bad: bool,
    /// When it was said.
    pub at: Nanos,
}

/// Everything that is shown.
#[derive(Debug)]
pub struct Model {
    /// What does not change.
    pub settings: Arc<Settings>,
    /// Colours and signs.
    pub theme: Theme,
    /// The keys.
    pub keymap: Keymap,
    /// Columns and lines of the terminal.
    pub size: (u16, u16),
    /// Whether the mouse is ours.
    pub mouse: bool,
    /// Now, on the monotonic clock.
    pub now: Nanos,
    /// Which screen is shown.
    pub screen: Screen,
    /// What lies above it.
    pub overlay: Option<Overlay>,
    /// What was said last.
    pub notice: Option<Notice>,
    /// The recording as it is.
    pub snapshot: Arc<Snapshot>,
    /// The recording that bills and timeline show; `None`: the one that runs,
    /// or ran last.
    pub opened: Option<i64>,
    /// The live screen.
    pub live: live::State,
    /// The bills.
    pub bills: bills::State,
    /// The timeline.
    pub timeline: timeline::State,
    /// The history.
    pub history: history::State,
    /// The machine.
    pub host: host::State,
}

impl Model {
    /// Says something.
    pub fn say(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), bad: false, at: self.now });
    }

    /// Says that something failed.
    pub fn complain(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), bad: true, at: self.now });
    }

    /// The notice, unless it is old.
    #[must_use]
    pub fn notice(&self) -> Option<&Notice> {
        self.notice.as_ref().filter(|notice| self.now.since(notice.at) < NOTICE)
    }

    /// The recording that bills and timeline are of.
    #[must_use]
    pub fn recording(&self) -> Option<i64> {
        self.opened.or(self.snapshot.recording)
    }
}
