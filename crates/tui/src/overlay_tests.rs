//! Tests of overlays: how they are drawn, and what keys do in them.

use insta::assert_snapshot;

use super::*;
use crate::screens::ScreenId;
use crate::screens::history::{HistoryDialog, HistoryState};
use crate::screens::{ListedScreen, ScreenRequest};
use crate::testing::{self, SIZES, press, text};

fn drawn(name: &str, change: impl Fn(&mut Model)) {
    for (columns, lines) in SIZES {
        let mut model = testing::model((columns, lines));
        model.snapshot = testing::full();
        change(&mut model);
        assert_snapshot!(format!("{name}_{columns}x{lines}"), text(&model));
    }
}

#[test]
fn help_of_every_screen() {
    for screen in ScreenId::ALL {
        drawn(&format!("help_{}", screen.name().to_lowercase()), |model| {
            model.screen = screen;
            press(model, "?");
        });
    }
}

#[test]
fn choices_and_questions() {
    drawn("choice", |model| {
        press(model, "p");
        press(model, "down");
    });
    drawn("export", |model| {
        press(model, "e");
    });
    drawn("confirm", |model| {
        model.overlay = Some(Overlay::Confirm {
            question: "delete recording 3: 1 recording, 160 invocations and 2 simulations?".into(),
            purpose: HistoryState::purpose(HistoryDialog::Delete(vec![
                cyclometer_store::HistoryItem::Recording(3),
            ])),
            again: false,
        });
    });
    drawn("prompt", |model| {
        model.overlay = Some(Overlay::Prompt {
            title: "label of recording 3".to_owned(),
            text: "runc beside gVisor, after the kernel was changed and the machine was quiet"
                .into(),
            purpose: HistoryState::purpose(HistoryDialog::Label(
                cyclometer_store::HistoryItem::Recording(3),
            )),
        });
    });
    drawn("complaint", |model| model.notify_error("a recording is under way: stop it first"));
}

#[test]
fn below_the_least_size_there_is_only_a_message() {
    for size in [(59, 16), (60, 15), (30, 4), (5, 2), (2, 1)] {
        let mut model = testing::model(size);
        model.snapshot = testing::full();
        press(&mut model, "?");
        let shown = text(&model);
        assert!(!shown.contains("everywhere"), "{shown}");
        assert!(
            "cyclometer needs".starts_with(shown.lines().next().unwrap_or("").trim_end())
                || shown.starts_with("cyclometer"),
            "{shown}"
        );
    }
}

#[test]
fn help_scrolls_to_its_end_and_back() {
    let mut model = testing::model((80, 24));
    press(&mut model, "?");
    press(&mut model, "G");
    let end = text(&model);
    assert!(end.contains("to the shell; fg comes back"), "{end}");
    press(&mut model, "up");
    assert_ne!(text(&model), end, "one line up is seen at once");
    press(&mut model, "g");
    let top = text(&model);
    let place = |words: &str| top.find(words).expect(words);
    assert!(place("what is shown") < place("A column a lane"), "what is shown comes first: {top}");
    press(&mut model, "q");
    assert_eq!(model.overlay, None, "q closes what lies above first");
}

#[test]
fn an_export_is_asked_for_by_its_first_letter() {
    for (key, form) in [
        ("c", ExportFormat::Csv),
        ("j", ExportFormat::Json),
        ("s", ExportFormat::Svg),
        ("t", ExportFormat::Text),
    ] {
        let mut model = testing::model((80, 24));
        press(&mut model, "e");
        let effects = press(&mut model, key);
        assert!(matches!(effects[..], [Effect::Export(found)] if found == form), "{effects:?}");
        assert_eq!(model.overlay, None, "it is not in the picture");
    }
}

#[test]
fn the_keys_of_a_choice_of_short_names_are_shown_in_full() {
    let mut model = testing::model((80, 24));
    press(&mut model, "w");
    let shown = text(&model);
    assert!(shown.contains("space: on or off   enter: done   esc: as before"), "{shown}");
}

#[test]
fn deleting_is_agreed_to_twice() {
    let confirm = || Overlay::Confirm {
        question: "delete recording 3?".to_owned(),
        purpose: HistoryState::purpose(HistoryDialog::Delete(vec![
            cyclometer_store::HistoryItem::Recording(3),
        ])),
        again: false,
    };
    let mut model = testing::model((80, 24));
    model.screen = ScreenId::History;
    model.overlay = Some(confirm());
    assert!(press(&mut model, "y").is_empty(), "once is not enough");
    assert!(text(&model).contains("Really?"));
    assert!(matches!(press(&mut model, "y")[..], [Effect::Query(ScreenRequest::History(_))]));
    model.overlay = Some(confirm());
    press(&mut model, "y");
    assert!(press(&mut model, "n").is_empty());
    assert!(text(&model).contains("nothing was deleted"));
    model.overlay = Some(confirm());
    assert!(press(&mut model, "enter").is_empty(), "only a y agrees");
}

#[test]
fn a_line_is_written_pasted_and_taken_back() {
    let mut model = testing::model((80, 24));
    let prompt = |text: &str| Overlay::Prompt {
        title: "label".to_owned(),
        text: text.to_owned(),
        purpose: HistoryState::purpose(HistoryDialog::Label(
            cyclometer_store::HistoryItem::Recording(3),
        )),
    };
    model.overlay = Some(prompt(""));
    for key in ["a", "space", "q", "backspace", "b"] {
        press(&mut model, key);
    }
    insert_pasted(&mut model, "c\nd\u{1b}[2J");
    assert_eq!(model.overlay, Some(prompt("a bcd[2J")), "control characters stay out");
    press(&mut model, "esc");
    assert_eq!(model.overlay, None);
}
