//! State of the screens: changed by [`super::update`] alone, read by drawing.

use std::path::PathBuf;
use std::sync::Arc;

use super::keymap::Keymap;
use super::overlay::{Overlay, OverlayLayout};
use super::screens::{ScreenId, Screens};
use super::theme::Theme;
use cyclometer_core::units::Nanos;
use cyclometer_pricing::PriceCatalog;
use cyclometer_record::live::LiveSnapshot;
use cyclometer_workload::Catalog;

/// Smallest terminal, in columns and lines, that the screens are laid out for.
pub(crate) const LEAST_SIZE: (u16, u16) = (60, 16);

/// Time for which a notice is shown.
const NOTICE_DURATION: Nanos = Nanos(8_000_000_000);

/// Settings that do not change while the program runs.
#[derive(Debug)]
pub(crate) struct TuiSettings {
    /// Path of the database.
    pub database: PathBuf,
    /// All available price models.
    pub prices: PriceCatalog,
    /// Folder that exports are written to.
    pub folder: PathBuf,
}

/// Line for the user, shown for some seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FooterNotice {
    /// Text of the notice.
    pub text: String,
    /// Whether it reports a failure.
    pub bad: bool,
    /// Time at which it was shown first.
    pub at: Nanos,
}

/// Model of everything that is shown.
#[derive(Debug)]
pub(crate) struct Model {
    /// Settings that do not change.
    pub settings: Arc<TuiSettings>,
    /// All available workloads. A function that is added makes a new catalog; a recording that
    /// runs keeps its own.
    pub catalog: Arc<Catalog>,
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
    pub screen: ScreenId,
    /// Overlay above the screen.
    pub overlay: Option<Overlay>,
    /// Sizes of the overlay in the last frame.
    pub overlay_layout: OverlayLayout,
    /// Newest notice.
    pub notice: Option<FooterNotice>,
    /// Newest snapshot of the recording.
    pub snapshot: Arc<LiveSnapshot>,
    /// Recording that bills and timeline show; `None`: the one that runs, or
    /// ran last.
    pub opened: Option<i64>,
    /// States of the screens.
    pub screens: Screens,
}

impl Model {
    /// Shows a notice.
    pub fn notify(&mut self, text: impl Into<String>) {
        self.notice = Some(FooterNotice { text: text.into(), bad: false, at: self.now });
    }

    /// Shows a notice that something failed.
    pub(crate) fn notify_error(&mut self, text: impl Into<String>) {
        self.notice = Some(FooterNotice { text: text.into(), bad: true, at: self.now });
    }

    /// Returns the newest notice, unless it has expired.
    #[must_use]
    pub(crate) fn current_notice(&self) -> Option<&FooterNotice> {
        self.notice.as_ref().filter(|notice| self.now.saturating_since(notice.at) < NOTICE_DURATION)
    }

    /// Returns the recording that bills and timeline show.
    #[must_use]
    pub(crate) fn shown_recording(&self) -> Option<i64> {
        self.opened.or(self.snapshot.recording)
    }
}
