//! Keys of the history screen.

use crate::action::UserAction;
use crate::keymap::ScreenKey;

/// Keys that mean something on this screen alone.
pub(crate) const KEYS: &[ScreenKey] = &[
    ScreenKey::new(
        "history-filter",
        UserAction::Filter,
        &["/"],
        "only those with these words",
        "filter",
    ),
    ScreenKey::new("history-sort", UserAction::Sort, &["s"], "sort by the next column", "sort"),
    ScreenKey::new("history-reverse", UserAction::Reverse, &["S"], "turn the order round", ""),
    ScreenKey::new("label", UserAction::Label, &["L"], "name it", "label"),
    ScreenKey::new(
        "delete",
        UserAction::Delete,
        &["d", "delete"],
        "delete it; asked twice",
        "delete",
    ),
    ScreenKey::new(
        "fold",
        UserAction::Fold,
        &["f"],
        "its simulations, shown or hidden",
        "simulations",
    ),
    ScreenKey::new(
        "history-mark",
        UserAction::Mark,
        &["a", "space"],
        "mark for a comparison",
        "mark",
    ),
    ScreenKey::new(
        "history-compare",
        UserAction::Compare,
        &["c"],
        "compare with the marked one",
        "compare",
    ),
    ScreenKey::new("history-refresh", UserAction::Refresh, &["r"], "read anew", ""),
];
