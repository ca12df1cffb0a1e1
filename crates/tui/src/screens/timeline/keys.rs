//! Keys of the timeline screen.

use crate::action::UserAction;
use crate::keymap::ScreenKey;

/// Keys that mean something on this screen alone.
pub(crate) const KEYS: &[ScreenKey] = &[
    ScreenKey::new("play", UserAction::Pause, &["space"], "play and pause", "play"),
    ScreenKey::new("slower", UserAction::Slower, &["<", ","], "slower", ""),
    ScreenKey::new("faster", UserAction::Faster, &[">", "."], "faster", "< >: speed"),
    ScreenKey::new("timeline-in", UserAction::ZoomIn, &["+", "="], "look closer", ""),
    ScreenKey::new("timeline-out", UserAction::ZoomOut, &["-"], "from further away", "+ -: zoom"),
    ScreenKey::new("timeline-reset", UserAction::ZoomReset, &["0"], "the whole recording", ""),
    ScreenKey::new("mark", UserAction::Mark, &["a"], "mark this invocation", "mark"),
    ScreenKey::new(
        "overlay",
        UserAction::Compare,
        &["b"],
        "the marked one over this one",
        "overlay",
    ),
    ScreenKey::new("lanes-over", UserAction::Overlay, &["o"], "two lanes over each other", "lanes"),
    ScreenKey::new("next-invocation", UserAction::NextWorkload, &["]", "n"], "next invocation", ""),
    ScreenKey::new(
        "previous-invocation",
        UserAction::PreviousWorkload,
        &["[", "p"],
        "previous invocation",
        "",
    ),
    ScreenKey::new("timeline-refresh", UserAction::Refresh, &["r"], "read anew", ""),
];
