//! Keys of the live screen.

use crate::action::UserAction;
use crate::keymap::ScreenKey;

/// Keys that mean something on this screen alone.
pub(crate) const KEYS: &[ScreenKey] = &[
    ScreenKey::new("start", UserAction::Start, &["r"], "record with the plan shown", "record"),
    ScreenKey::new(
        "stop",
        UserAction::Stop,
        &["x"],
        "stop after this invocation; twice: at once",
        "stop",
    ),
    ScreenKey::new(
        "freeze",
        UserAction::Pause,
        &["space"],
        "freeze the view; recording continues",
        "freeze",
    ),
    ScreenKey::new("loop", UserAction::Loop, &["o"], "once, or until stopped", "loop"),
    ScreenKey::new(
        "race",
        UserAction::Race,
        &["c"],
        "one lane at a time, or all on CPUs of their own",
        "race",
    ),
    ScreenKey::new("workloads", UserAction::Workloads, &["w"], "choose workloads", "workloads"),
    ScreenKey::new(
        "add-function",
        UserAction::AddFunction,
        &["a"],
        "add a function: a file, a folder or an image",
        "add",
    ),
    ScreenKey::new("lanes", UserAction::Lanes, &["n"], "choose lanes", "lanes"),
    ScreenKey::new("models", UserAction::Models, &["p"], "choose price models", "prices"),
    ScreenKey::new(
        "previous-workload",
        UserAction::PreviousWorkload,
        &["["],
        "show the workload before",
        "",
    ),
    ScreenKey::new("next-workload", UserAction::NextWorkload, &["]"], "show the next workload", ""),
    ScreenKey::new(
        "start-kind",
        UserAction::StartKind,
        &["t"],
        "show cold or warm starts",
        "cold/warm",
    ),
    ScreenKey::new("unit", UserAction::Unit, &["u"], "bills of a million, or sums so far", "sums"),
    ScreenKey::new("zoom-in", UserAction::ZoomIn, &["+", "="], "shorter time in the charts", ""),
    ScreenKey::new("zoom-out", UserAction::ZoomOut, &["-"], "longer time in the charts", ""),
    ScreenKey::new(
        "zoom-reset",
        UserAction::ZoomReset,
        &["0"],
        "the whole recording in the charts",
        "",
    ),
];
