//! Keys of the host screen.

use crate::action::UserAction;
use crate::keymap::ScreenKey;

/// Keys that mean something on this screen alone.
pub(crate) const KEYS: &[ScreenKey] = &[
    ScreenKey::new("host-refresh", UserAction::Refresh, &["r"], "look again", "look again"),
    ScreenKey::new(
        "host-filter",
        UserAction::Filter,
        &["/"],
        "only lines with these words",
        "filter",
    ),
];
