//! Tests of the history screen on a small database whose figures are easy to
//! check by hand.

use std::sync::Arc;

use rusqlite::Connection;

use super::fixture::*;
use super::queries::answer;
use super::*;
use crate::query_worker::QueryRequest as _;
use crate::screens::{ScreenId, ScreenRequest, ScreenResponse};
use crate::testing::{self, press};
use crate::theme::{Palette, StyleRole, Theme};
use crate::update::{AppMessage, update};
use cyclometer_lanes::Status;
use cyclometer_record::live::{LiveSnapshot, SessionPhase};

#[test]
fn the_list_has_both_kinds_newest_first_and_is_sorted_and_filtered() {
    let (_folder, mut model, mut context) = full((80, 24));
    assert_eq!(numbers(&model), ["2", "1", "s1"]);
    key(&mut model, &mut context, "s");
    assert_eq!(numbers(&model), ["1", "s1", "2"], "by label, those without one last");
    assert_eq!(model.screens.history.cursor, 2, "the selection stays on recording 2");
    key(&mut model, &mut context, "S");
    assert_eq!(numbers(&model), ["2", "1", "s1"], "a simulation stays under its recording");
    key(&mut model, &mut context, "/");
    for letter in ["Q", "u", "i", "e", "t"] {
        key(&mut model, &mut context, letter);
    }
    assert_eq!(numbers(&model), ["1"], "while it is written, in any column");
    key(&mut model, &mut context, "enter");
    assert_eq!(numbers(&model), ["1"]);
    key(&mut model, &mut context, "esc");
    assert_eq!(numbers(&model).len(), 3);
}

#[test]
fn simulations_fold_under_their_recording() {
    let (_folder, mut model, mut context) = full((140, 40));
    key(&mut model, &mut context, "G");
    assert_eq!(model.screens.history.selected_row().map(|row| &*row.number), Some("s1"));
    key(&mut model, &mut context, "f");
    assert_eq!(numbers(&model), ["2", "1"], "folded");
    assert_eq!(
        model.screens.history.selected_row().map(|row| &*row.number),
        Some("1"),
        "its recording"
    );
    let shown = testing::text(&model);
    assert!(shown.contains("▶  +   1"), "a sign says that there are some: {shown}");
    assert!(shown.contains("+ has simulations"), "and is explained: {shown}");
    key(&mut model, &mut context, "right");
    assert_eq!(numbers(&model), ["2", "1", "s1"]);
    assert!(testing::text(&model).contains("└s1"));
    key(&mut model, &mut context, "left");
    assert_eq!(numbers(&model), ["2", "1"]);
    // A filter finds folded rows, and shows the recording above them.
    key(&mut model, &mut context, "/");
    for letter in "per-cycle".chars() {
        key(&mut model, &mut context, &letter.to_string());
    }
    assert_eq!(numbers(&model), ["1", "s1"]);
    key(&mut model, &mut context, "enter");
    key(&mut model, &mut context, "esc");
    key(&mut model, &mut context, "g");
    key(&mut model, &mut context, "f");
    assert!(notice(&model).contains("recording 2 has no simulations"), "{}", notice(&model));
}

#[test]
fn a_filter_matches_what_the_list_shows() {
    let (_folder, mut model, _desk) = full((140, 40));
    let mut found = |words: &str| {
        HistoryState::set_filter(&mut model, words.to_owned());
        numbers(&model)
    };
    assert_eq!(found("2026-11-12 10:00"), ["2"]);
    // Begun at 10:00:00; the list does not show the seconds.
    assert_eq!(found("10:00:00"), [""; 0]);
    assert_eq!(found("interrupted"), ["2"]);
}

#[test]
fn counts_are_worked_out_by_hand() {
    let (_folder, model, _desk) = full((80, 24));
    let lists = model.screens.history.lists.as_ref().expect("read");
    let row = lists.rows.iter().find(|row| row.number == "1").expect("there");
    // Six that ended well and one that failed.
    assert_eq!((row.invocations, row.bad), (7, Some(1)));
    // Lanes that could not run are not listed.
    assert_eq!((&*row.lanes, &*row.contents), ("native", "nop"));
    let json = HistoryState::table(&model).to_json();
    assert_eq!(json[2]["kind"], "simulation");
    assert_eq!(json[2]["recordings"], "1");
    assert_eq!(json[2]["failed"], serde_json::Value::Null);
    assert_eq!(json[1]["begun_at"], "2026-11-11T10:00:00.000Z");
}

// By hand: six runs of 10 to 60 ms that ended well, each after a start of 2 ms.
#[test]
fn a_recording_that_ends_says_once_what_it_shows() {
    let (_folder, mut model, mut context) = full((120, 40));
    model.screen = ScreenId::Live;
    assert!(conclusion::request_conclusion(&mut model).is_empty(), "nothing was recorded");
    let phase = SessionPhase::Ended { status: Status::Ok };
    model.snapshot =
        Arc::new(LiveSnapshot { phase, recording: Some(1), ..LiveSnapshot::default() });
    let mut effects = conclusion::request_conclusion(&mut model);
    let Some(Effect::Query(ScreenRequest::History(ask))) = effects.pop() else {
        panic!("nothing is asked")
    };
    let told = answer(&mut context, ask);
    update(&mut model, AppMessage::Response(ScreenResponse::History(Box::new(told))));
    let Some(Overlay::Popup { title, text, .. }) = &model.overlay else { panic!("not told") };
    assert_eq!(title, "recording 1: what it shows");
    assert!(text.starts_with("nop: native starts cold in 2.00 ms and runs for 35.0 ms."), "{text}");
    assert!(testing::text(&model).contains("native starts cold in 2.00 ms"));
    assert!(conclusion::request_conclusion(&mut model).is_empty(), "once");
    // A key with another meaning closes the overlay and still takes effect.
    press(&mut model, "4");
    assert_eq!((model.overlay.is_none(), model.screen), (true, ScreenId::History));
}

#[test]
fn an_answer_waits_until_nothing_is_in_its_way() {
    let (_folder, mut model, mut context) = full((120, 40));
    model.screen = ScreenId::Live;
    press(&mut model, "?");
    let phase = SessionPhase::Ended { status: Status::Ok };
    model.snapshot =
        Arc::new(LiveSnapshot { phase, recording: Some(1), ..LiveSnapshot::default() });
    assert!(conclusion::request_conclusion(&mut model).is_empty(), "help is being read");
    press(&mut model, "esc");
    let mut effects = conclusion::request_conclusion(&mut model);
    let Some(Effect::Query(ScreenRequest::History(ask))) = effects.pop() else {
        panic!("nothing is asked")
    };
    // Another screen is opened while the database is read.
    press(&mut model, "4");
    let told = answer(&mut context, ask);
    update(&mut model, AppMessage::Response(ScreenResponse::History(Box::new(told))));
    assert_eq!(model.overlay, None);
    press(&mut model, "1");
    let mut effects = conclusion::request_conclusion(&mut model);
    let Some(Effect::Query(ScreenRequest::History(ask))) = effects.pop() else {
        panic!("the answer is lost")
    };
    let told = answer(&mut context, ask);
    update(&mut model, AppMessage::Response(ScreenResponse::History(Box::new(told))));
    assert!(matches!(model.overlay, Some(Overlay::Popup { .. })));
    assert!(conclusion::request_conclusion(&mut model).is_empty(), "once");
}

#[test]
fn esc_shows_all_rows_again_before_it_closes_a_recording() {
    let (_folder, mut model, mut context) = full((140, 40));
    key(&mut model, &mut context, "enter");
    model.screen = ScreenId::History;
    HistoryState::set_filter(&mut model, "no such words".to_owned());
    assert!(testing::text(&model).contains("esc shows all again"));
    key(&mut model, &mut context, "esc");
    assert_eq!((numbers(&model).len(), model.opened), (3, Some(2)));
    key(&mut model, &mut context, "esc");
    assert_eq!(model.opened, None);
}

#[test]
fn enter_opens_a_recording_and_esc_closes_it() {
    let (_folder, mut model, mut context) = full((80, 24));
    key(&mut model, &mut context, "enter");
    assert_eq!((model.opened, model.screen), (Some(2), ScreenId::Bills));
    assert!(notice(&model).contains("recording 2 is open"), "{}", notice(&model));
    model.screen = ScreenId::History;
    assert!(testing::text(&model).contains("▶■"), "it is marked in the list");
    key(&mut model, &mut context, "esc");
    assert_eq!(model.opened, None);
    assert_eq!(notice(&model), "recording 2 is closed: bills and timeline wait for a recording");
}

#[test]
fn enter_on_a_simulation_shows_its_amounts() {
    let (_folder, mut model, mut context) = full((80, 24));
    key(&mut model, &mut context, "G");
    key(&mut model, &mut context, "enter");
    let Some(Overlay::Text { text, .. }) = &model.overlay else { panic!("nothing above") };
    // 0.03 + 0.01 of 6 invocations: 0.04 / 6 of a million is 6666.6667.
    assert!(text.contains("0.04") && text.contains("6666.6667"), "{text}");
    assert!(text.contains("cycles were not measured"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 76), "{text}");
}

#[test]
fn a_simulation_that_is_not_read_yet_is_shown_once_it_is() {
    let (_folder, mut model, mut context) = full((80, 24));
    let moved = press(&mut model, "G");
    let opened = press(&mut model, "enter");
    settle(&mut model, &mut context, moved);
    assert_eq!(model.overlay, None);
    model.screen = ScreenId::Live;
    settle(&mut model, &mut context, opened);
    assert_eq!(model.overlay, None, "the person is elsewhere");
    model.screen = ScreenId::History;
    key(&mut model, &mut context, "enter");
    assert!(matches!(model.overlay, Some(Overlay::Text { .. })));
}

#[test]
fn labels_are_written_and_read_again() {
    let (_folder, mut model, mut context) = full((80, 24));
    key(&mut model, &mut context, "down");
    key(&mut model, &mut context, "L");
    let Some(Overlay::Prompt { text, .. }) = &model.overlay else { panic!("nothing asked") };
    assert_eq!(text, "quiet machine", "the old one is there to be changed");
    key(&mut model, &mut context, "!");
    let effects = press(&mut model, "enter");
    settle(&mut model, &mut context, effects);
    assert_eq!(notice(&model), "recording 1 is `quiet machine!` now");
    assert_eq!(model.screens.history.selected_row().map(|row| &*row.label), Some("quiet machine!"));
}

#[test]
fn deleting_asks_twice_and_says_what_goes() {
    let (_folder, mut model, mut context) = full((80, 24));
    key(&mut model, &mut context, "down");
    key(&mut model, &mut context, "d");
    let Some(Overlay::Confirm { question, .. }) = &model.overlay else { panic!("not asked") };
    assert_eq!(
        question,
        "Delete recording 1 (`quiet machine`)? 1 recording, 7 invocations, 14 samples and 1 \
         simulation would go."
    );
    key(&mut model, &mut context, "y");
    assert!(matches!(model.overlay, Some(Overlay::Confirm { again: true, .. })));
    assert_eq!(numbers(&model).len(), 3, "nothing has gone yet");
    key(&mut model, &mut context, "y");
    assert_eq!(numbers(&model), ["2"], "its simulation went with it");
    assert_eq!(
        notice(&model),
        "deleted recording 1: 1 recording, 7 invocations, 14 samples and 1 simulation"
    );
    key(&mut model, &mut context, "d");
    key(&mut model, &mut context, "n");
    assert_eq!((numbers(&model), &*notice(&model)), (vec!["2".to_owned()], "nothing was deleted"));
}

#[test]
fn what_is_being_made_is_not_deleted() {
    let (folder, mut model, mut context) = full((80, 24));
    let to = Connection::open(folder.path().join("c.db")).expect("opened");
    recording(&to, 3, "running", None);
    key(&mut model, &mut context, "r");
    key(&mut model, &mut context, "g");
    assert_eq!(model.screens.history.selected_row().map(|row| &*row.number), Some("3"));
    // The database says that this program is making it.
    key(&mut model, &mut context, "d");
    let Some(Overlay::Text { title, text, .. }) = &model.overlay else { panic!("not said") };
    assert_eq!(title, "recording 3 stays");
    assert_eq!(text, "recording 3 is still being made: stop it first, or wait for its end");
    key(&mut model, &mut context, "esc");
    // The recording in view is refused too, without a look at the database.
    let mut snapshot = (*testing::full()).clone();
    snapshot.recording = Some(3);
    model.snapshot = Arc::new(snapshot);
    assert_eq!(press(&mut model, "d").len(), 0);
    assert!(notice(&model).contains("is being made"));
}

#[test]
fn a_locked_database_is_said_and_the_list_stays() {
    let (folder, mut model, mut context) = full((80, 24));
    let lock = Connection::open(folder.path().join("c.db")).expect("opened");
    lock.execute_batch("BEGIN IMMEDIATE").expect("locked");
    key(&mut model, &mut context, "d");
    let Some(Overlay::Text { text, .. }) = &model.overlay else { panic!("not said") };
    assert!(text.contains("another program holds its lock"), "{text}");
    assert_eq!(numbers(&model).len(), 3);
}

#[test]
fn the_marked_one_is_the_first_of_a_comparison() {
    let (_folder, mut model, mut context) = full((80, 24));
    key(&mut model, &mut context, "c");
    assert!(notice(&model).starts_with("mark the first of the two with a"), "{}", notice(&model));
    key(&mut model, &mut context, "down");
    key(&mut model, &mut context, "a");
    key(&mut model, &mut context, "c");
    assert!(notice(&model).contains("is the marked one"), "{}", notice(&model));
    key(&mut model, &mut context, "down");
    key(&mut model, &mut context, "c");
    assert!(notice(&model).contains("cannot be compared"), "{}", notice(&model));
    key(&mut model, &mut context, "g");
    key(&mut model, &mut context, "c");
    let Some(Overlay::Text { title, text, .. }) = &model.overlay else { panic!("not shown") };
    assert_eq!(title, "recording 2 against recording 1");
    assert!(text.contains("warning: the second is not complete: interrupted"), "{text}");
    // Runs of 10 to 60 ms against runs of 100 to 600.
    assert!(text.contains("35.0 ms") && text.contains("350 ms"), "{text}");
    assert!(text.contains("10.00x as much") && text.contains("99 % sure"), "{text}");
    assert!(text.contains("comparisons show a difference"), "{text}");
    insta::assert_snapshot!("compared", testing::text(&model));
}

#[test]
fn changes_are_never_skipped_and_reading_is() {
    let label = |text: &str| HistoryRequest::Label {
        item: HistoryItem::Recording(1),
        label: text.to_owned(),
    };
    assert!(!label("b").supersedes(&label("a")));
    let delete = HistoryRequest::Delete { items: vec![HistoryItem::Recording(1)] };
    assert!(!delete.supersedes(&delete.clone()));
    assert!(HistoryRequest::List { known: None }.supersedes(&HistoryRequest::List { known: None }));
}

#[test]
fn the_list_is_read_again_at_most_every_two_seconds_of_a_recording() {
    let (_folder, mut model, mut context) = full((80, 24));
    let second = 1_000_000_000;
    model.screens.history.refresh.took = Nanos(0);
    assert!(HistoryState::tick(&mut model).is_empty(), "nothing is recorded");
    model.snapshot = testing::full();
    let begun = HistoryState::tick(&mut model);
    assert_eq!(begun.len(), 1, "a recording began");
    assert!(HistoryState::tick(&mut model).is_empty(), "one question at a time");
    settle(&mut model, &mut context, begun);
    model.screens.history.refresh.took = Nanos(second / 2);
    model.now = Nanos(model.now.0 + 3 * second);
    assert!(HistoryState::tick(&mut model).is_empty(), "a slow reading is not repeated so soon");
    model.screens.history.refresh.took = Nanos(second / 10);
    assert_eq!(HistoryState::tick(&mut model).len(), 1);
}

#[test]
fn counts_of_what_is_over_are_kept_and_those_of_what_runs_are_not() {
    let (folder, mut model, mut context) = full((80, 24));
    let to = Connection::open(folder.path().join("c.db")).expect("opened");
    recording(&to, 3, "running", None);
    key(&mut model, &mut context, "r");
    runs(&to, 3, 1);
    // Simulates a wrong count: what is kept is not counted again.
    to.execute("DELETE FROM invocation WHERE cell_id = 1 AND sequence = 1", []).expect("gone");
    key(&mut model, &mut context, "r");
    let lists = model.screens.history.lists.as_ref().expect("read");
    let count = |number: &str| {
        lists.rows.iter().find(|row| row.number == number).map(|row| row.invocations)
    };
    assert_eq!((count("3"), count("1")), (Some(7), Some(7)));
}

#[test]
fn an_answer_for_another_item_is_not_shown() {
    let (_folder, mut model, mut context) = full((80, 24));
    let late = press(&mut model, "down");
    model.screens.history.cursor = 2;
    let first = late.into_iter().next().expect("asked");
    let Effect::Query(ScreenRequest::History(ask)) = first else { panic!("asked of the history") };
    let answer = answer(&mut context, ask);
    let more = update(&mut model, AppMessage::Response(ScreenResponse::History(Box::new(answer))));
    assert!(
        model
            .screens
            .history
            .detail
            .as_ref()
            .is_none_or(|it| it.row.item != HistoryItem::Recording(1))
    );
    assert_eq!(more.len(), 1, "what is selected now is asked for");
}

#[test]
fn lists_are_cut_at_the_newest_thousand_and_say_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.db");
    fill(&path);
    let to = Connection::open(&path).expect("opened");
    to.execute_batch(
        "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n LIMIT 1005)
         INSERT INTO recording (id, started_at, status, owner, plan, host)
         SELECT i, '2026-11-15T10:00:00.000Z', 'done', 'x', '{}', '{}' FROM n",
    )
    .expect("many");
    let (mut model, mut context) = model(&path, (80, 24));
    let effects = HistoryState::entered(&mut model);
    settle(&mut model, &mut context, effects);
    assert_eq!(numbers(&model).len(), 1_000);
    let text = testing::text(&model);
    // 1005, and the three of before.
    assert!(text.contains("newest 1000 of 1008"), "{text}");
}

#[test]
fn clicks_select_rows_and_give_the_keys_to_the_details() {
    let (_folder, mut model, mut context) = full((80, 24));
    // Tabs, the frame, the heading, then the rows.
    let effects = testing::click(&mut model, 5, 5);
    settle(&mut model, &mut context, effects);
    assert_eq!(model.screens.history.selected_row().map(|row| &*row.number), Some("s1"));
    testing::click(&mut model, 5, 20);
    assert!(model.screens.history.focus);
    key(&mut model, &mut context, "down");
    assert_eq!((model.screens.history.scroll, model.screens.history.cursor), (1, 2));
}

#[test]
fn pictures_of_everything() {
    for size in testing::SIZES {
        let (_folder, mut model, mut context) = full(size);
        key(&mut model, &mut context, "G");
        key(&mut model, &mut context, "a");
        model.opened = Some(2);
        let name = |what: &str| format!("{what}-{}x{}", size.0, size.1);
        model.notice = None;
        insta::assert_snapshot!(name("full"), picture(&mut model));
        key(&mut model, &mut context, "tab");
        insta::assert_snapshot!(name("details"), picture(&mut model));
        key(&mut model, &mut context, "tab");
        key(&mut model, &mut context, "up");
        insta::assert_snapshot!(name("simulation"), picture(&mut model));
        key(&mut model, &mut context, "enter");
        insta::assert_snapshot!(name("amounts"), picture(&mut model));
    }
}

#[test]
fn pictures_of_questions() {
    let (_folder, mut model, mut context) = full((80, 24));
    key(&mut model, &mut context, "G");
    key(&mut model, &mut context, "d");
    insta::assert_snapshot!("delete", picture(&mut model));
    key(&mut model, &mut context, "y");
    insta::assert_snapshot!("delete-again", picture(&mut model));
    let (_folder, mut model, mut context) = full((80, 24));
    key(&mut model, &mut context, "L");
    key(&mut model, &mut context, "x");
    insta::assert_snapshot!("label", picture(&mut model));
    let (_folder, mut model, mut context) = full((80, 24));
    key(&mut model, &mut context, "/");
    key(&mut model, &mut context, "z");
    insta::assert_snapshot!("filter-none", picture(&mut model));
}

#[test]
fn pictures_of_nothing_and_of_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    for size in testing::SIZES {
        let name = |what: &str| format!("{what}-{}x{}", size.0, size.1);
        let (mut model, mut context) = model(&folder.path().join("none.db"), size);
        model.settings = empty_settings();
        insta::assert_snapshot!(name("loading"), testing::text(&model));
        let effects = HistoryState::entered(&mut model);
        settle(&mut model, &mut context, effects);
        insta::assert_snapshot!(name("empty"), testing::text(&model));
        let reason = "cannot open the database /nonexistent/c.db: it is not an SQLite database; \
                      name another file with --db or CYCLOMETER_DB";
        let failed = HistoryResponse::List { result: Err(reason.to_owned()), took: Nanos(1) };
        HistoryState::answered(&mut model, failed);
        insta::assert_snapshot!(name("stale"), testing::text(&model));
        model.screens.history.lists = None;
        insta::assert_snapshot!(name("failing"), testing::text(&model));
    }
}

#[test]
fn what_failed_and_what_runs_has_its_colour_and_its_word() {
    let (_folder, mut model, _desk) = full((80, 24));
    model.theme = Theme::new(Palette::Terminal, false);
    let buffer = testing::buffer(&model);
    let line = |y: u16| (0..80).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    let text = line(3);
    let at = text.find("interrupted").map(|at| text[..at].chars().count()).expect("its word");
    let style = model.theme.style(StyleRole::Warn);
    assert_eq!(Some(buffer[(u16::try_from(at).expect("small"), 3)].fg), style.fg);
}

#[test]
fn every_size_can_be_drawn() {
    let (_folder, mut model, mut context) = full((80, 24));
    for (width, height) in [(60, 16), (61, 17), (139, 20), (140, 16), (300, 90)] {
        model.size = (width, height);
        let effects = HistoryState::tick(&mut model);
        settle(&mut model, &mut context, effects);
        testing::text(&model);
        key(&mut model, &mut context, "tab");
        key(&mut model, &mut context, "G");
        testing::text(&model);
    }
}

#[test]
fn a_trace_is_listed_with_its_period_and_what_does_not_apply_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.db");
    fill(&path);
    testing::write_trace(&path);
    let (mut model, mut context) = model(&path, (80, 24));
    let effects = HistoryState::entered(&mut model);
    settle(&mut model, &mut context, effects);
    let rows = &model.screens.history.lists.as_ref().expect("read").rows;
    let row = rows.iter().find(|row| row.is_trace).expect("a trace");
    assert_eq!((row.shown_status(), row.invocations, row.bad), ("trace", 403, None));
    let exported = HistoryState::table(&model).to_markdown();
    assert!(exported.contains("| trace "), "{exported}");
    for (_, key_name) in (0..rows.len()).zip(std::iter::repeat("down")) {
        if model.screens.history.selected_row().is_some_and(|row| row.is_trace) {
            break;
        }
        key(&mut model, &mut context, key_name);
    }
    for size in testing::SIZES {
        model.size = size;
        crate::frame::lay_out(&mut model);
        let effects = HistoryState::tick(&mut model);
        settle(&mut model, &mut context, effects);
        let name = format!("trace_{}x{}", size.0, size.1);
        let settings = Arc::clone(&model.settings);
        insta::assert_snapshot!(name, picture(&mut model));
        model.settings = settings;
    }
    key(&mut model, &mut context, "a");
    key(&mut model, &mut context, "up");
    key(&mut model, &mut context, "c");
    assert_eq!(
        notice(&model),
        "trace 5 has no runs that can be compared: a log has other work each time"
    );
}
