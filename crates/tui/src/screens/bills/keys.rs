//! Keys of the bills screen.

use crate::action::UserAction;
use crate::keymap::ScreenKey;

/// Keys that mean something on this screen alone.
pub(crate) const KEYS: &[ScreenKey] = &[
    ScreenKey::new("sort", UserAction::Sort, &["s"], "sort by the next column", "sort"),
    ScreenKey::new(
        "bills-rows",
        UserAction::Fold,
        &["f"],
        "by function, by cell, or by price model",
        "functions",
    ),
    ScreenKey::new("reverse", UserAction::Reverse, &["S"], "turn the order round", ""),
    ScreenKey::new("filter", UserAction::Filter, &["/"], "only models with these words", "filter"),
    ScreenKey::new("less-memory", UserAction::LessMemory, &["["], "what if less memory", ""),
    ScreenKey::new(
        "more-memory",
        UserAction::MoreMemory,
        &["]"],
        "what if more memory",
        "[ ]: memory",
    ),
    ScreenKey::new("less-volume", UserAction::LessVolume, &["{"], "fewer requests a month", ""),
    ScreenKey::new(
        "more-volume",
        UserAction::MoreVolume,
        &["}"],
        "more requests a month",
        "{ }: month",
    ),
    ScreenKey::new(
        "bills-workload",
        UserAction::NextWorkload,
        &["w"],
        "all workloads, or one",
        "workload",
    ),
    ScreenKey::new("bills-start", UserAction::StartKind, &["t"], "cold, warm or both", "cold/warm"),
    ScreenKey::new(
        "bills-models",
        UserAction::Models,
        &["p"],
        "all models, or those of the live view",
        "",
    ),
];
