//! Tests on recordings in real databases: keys, parts, responses.

use std::sync::Arc;

use ratatui::layout::Rect;

use super::fixture::*;
use super::layout::TimelineLayout;
use super::loading::request_missing;
use super::queries::answer;
use super::testing::MS;
use super::*;
use crate::action::Effect;
use crate::frame;
use crate::model::Model;
use crate::screens::ScreenRequest;
use crate::testing::{self as common, press};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::StartKind;
use cyclometer_record::Sink;
use cyclometer_store::PlayedPart;
use cyclometer_store::Store;

#[test]
fn a_recording_is_read_and_shown_at_its_end() {
    let place = record_three_lanes(Some(10));
    let model = open_screen(&place, (80, 24));
    let state = &model.screens.timeline;
    let played = state.played.as_ref().expect("read");
    assert_eq!((played.rows.len(), played.parts, position_ms(&model)), (13, 1, 640));
    assert_eq!(state.lane, 1, "where the newest is of");
    assert_eq!(state.detail.as_ref().expect("known").reason.as_deref(), Some("exit status 3"));
    assert_eq!(state.bills.as_ref().expect("known").ended, 13);
}

#[test]
fn keys_move_through_time() {
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (80, 24));
    press_and_settle(&mut model, "left");
    assert_eq!(position_ms(&model), 608, "a twentieth of 640 ms");
    press_and_settle(&mut model, "g");
    assert_eq!(position_ms(&model), 0);
    press_and_settle(&mut model, "left");
    assert_eq!(model.current_notice().expect("said").text, "this is the beginning");
    press_and_settle(&mut model, "n");
    assert_eq!(position_ms(&model), 260, "the first warm one of wasmtime");
}

#[test]
fn neighbours_are_of_the_selected_lane() {
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (80, 24));
    // Tab wraps around: wasmtime, docker, native.
    press_and_settle(&mut model, "tab");
    assert_eq!(model.screens.timeline.lane, 2);
    press_and_settle(&mut model, "p");
    assert_eq!(model.current_notice().expect("said").text, "docker has no earlier invocation");
    press_and_settle(&mut model, "tab");
    let ends: Vec<u64> = (0..3)
        .map(|_| {
            press_and_settle(&mut model, "p");
            position_ms(&model)
        })
        .collect();
    assert_eq!(ends, [250, 150, 50]);
    let played = model.screens.timeline.played.clone().expect("read");
    let under = played.invocation_at(0, model.screens.timeline.player.position()).expect("there");
    assert_eq!((under.sequence, under.cell), (5, 0), "the one that ended here, not the next");
    assert_eq!(model.screens.timeline.detail.as_ref().expect("known").sequence, 5);
}

#[test]
fn playing_goes_on_with_time_and_stops_at_the_end() {
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (80, 24));
    press_and_settle(&mut model, "space");
    assert_eq!((position_ms(&model), model.screens.timeline.player.is_playing()), (0, true));
    let tick = |model: &mut Model, ms: u64| {
        let now = Nanos(model.now.0 + ms * MS);
        let effects = crate::update::advance_to(model, now);
        answer_all_requests(model, effects);
    };
    tick(&mut model, 100);
    assert_eq!(position_ms(&model), 100);
    press_and_settle(&mut model, ">");
    tick(&mut model, 100);
    assert_eq!(position_ms(&model), 300, "twice as fast");
    assert_eq!(model.screens.timeline.bills.as_ref().expect("known").at, Nanos(300 * MS));
    tick(&mut model, 1_000);
    assert_eq!((position_ms(&model), model.screens.timeline.player.is_playing()), (640, false));
    let quiet = crate::update::advance_to(&mut model, Nanos(u64::MAX / 2));
    assert!(quiet.is_empty(), "nothing is left to be asked");
}

#[test]
fn one_question_of_a_kind_at_a_time_and_old_answers_do_no_harm() {
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (80, 24));
    let mut context = TimelineFixture::query_worker(&model);
    let first = press(&mut model, "g");
    assert_eq!(first.len(), 1, "bills; nothing is under the cursor but what is known");
    let second = press(&mut model, "G");
    assert!(second.is_empty(), "the worker is busy");
    let Some(Effect::Query(ScreenRequest::Timeline(ask))) = first.into_iter().next() else {
        panic!("a question")
    };
    let again = TimelineState::answered(&mut model, answer(&mut context, ask));
    assert_eq!(model.screens.timeline.bills.as_ref().expect("known").ended, 0, "and says so");
    assert_eq!(again.len(), 1, "those of the end are asked for now");
    answer_all_requests(&mut model, again);
    assert_eq!(model.screens.timeline.bills.as_ref().expect("known").ended, 13);
    // A part of a recording that is no longer open.
    model.opened = None;
    let effects = TimelineState::entered(&mut model);
    assert!(effects.is_empty() && model.screens.timeline.played.is_none());
    let played = PlayedPart::from_store(
        &Store::open(&place.database_path()).expect("opened"),
        1,
        0,
        (-1, 0),
        10,
    );
    let late = TimelineResponse::Loaded {
        recording: 1,
        part: 0,
        result: Ok(Arc::new(played.expect("read"))),
    };
    assert!(
        TimelineState::answered(&mut model, late).is_empty()
            && model.screens.timeline.played.is_none()
    );
}

#[test]
fn going_on_past_an_end_reads_the_next_part() {
    let place = record_three_lanes(None);
    let mut model = place.new_model((80, 24));
    model.screens.timeline.part_limit = Some(5);
    let effects = TimelineState::entered(&mut model);
    answer_all_requests(&mut model, effects);
    let part = |model: &Model| {
        let played = model.screens.timeline.played.as_ref().expect("read");
        (played.part, played.parts, position_ms(model))
    };
    assert_eq!(part(&model), (0, 3, 50));
    press_and_settle(&mut model, "right");
    assert_eq!(part(&model), (1, 3, 50));
    press_and_settle(&mut model, "G");
    assert_eq!(part(&model), (1, 3, 280), "three of the warm ones are in it");
    press_and_settle(&mut model, "G");
    press_and_settle(&mut model, "G");
    assert_eq!(part(&model), (2, 3, 640));
    press_and_settle(&mut model, "G");
    assert_eq!(model.current_notice().expect("said").text, "this is the end");
    let bills = model.screens.timeline.bills.clone().expect("known");
    let all: u64 = bills.lanes.iter().flatten().map(|it| it.invocations + it.unpriced).sum();
    assert_eq!(all, 13, "those of the parts before are in it");
    press_and_settle(&mut model, "g");
    press_and_settle(&mut model, "left");
    assert_eq!(part(&model), (1, 3, 280));
    assert_eq!(model.screens.timeline.bills.as_ref().expect("known").lanes, {
        let ledgers = read_all_checkpoints(&place, 5, &["aws-lambda-x86", "per-cycle"]);
        let (played, ledger) = &ledgers[1];
        BillsAtMoment::from_summary(&ledger.bills_after(5), played, 5, Nanos(280 * MS)).lanes
    });
}

#[test]
fn a_recording_that_grows_is_read_again_at_its_end_only() {
    let mut place = TimelineFixture::new(None);
    place.add_lane("native", None);
    let cell = place.add_cell("native", "nop", StartKind::Cold);
    place.add_invocation(cell, 1, 8);
    place.writer.as_mut().expect("open").flush_events().expect("written");
    let mut model = place.new_model((80, 24));
    let effects = TimelineState::entered(&mut model);
    answer_all_requests(&mut model, effects);
    assert_eq!(model.screens.timeline.played.as_ref().expect("read").rows.len(), 1);
    place.add_invocation(cell, 2, 8);
    place.writer.as_mut().expect("open").flush_events().expect("written");
    let mut snapshot =
        cyclometer_record::live::LiveSnapshot { recording: Some(1), done: 2, ..Default::default() };
    snapshot.phase = cyclometer_record::live::SessionPhase::Running;
    model.snapshot = Arc::new(snapshot);
    let soon = Nanos(model.now.0 + 1_000 * MS);
    let effects = crate::update::advance_to(&mut model, soon);
    assert!(effects.is_empty(), "at most every 2 s");
    let later = Nanos(model.now.0 + 1_000 * MS);
    let effects = crate::update::advance_to(&mut model, later);
    answer_all_requests(&mut model, effects);
    let rows = |model: &Model| model.screens.timeline.played.as_ref().expect("read").rows.len();
    assert_eq!(rows(&model), 2);
    assert!(model.screens.timeline.player.is_at_end(), "the end is followed");
    press_and_settle(&mut model, "g");
    let effects = crate::update::advance_to(&mut model, Nanos(later.0 * 2));
    assert!(effects.is_empty(), "it did not grow");
}

#[test]
fn two_invocations_are_compared_meter_by_meter() {
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (80, 24));
    press_and_settle(&mut model, "b");
    assert_eq!(model.current_notice().expect("said").text, "mark one invocation first: a");
    press_and_settle(&mut model, "p");
    // The first nbody of wasmtime: 148 ms.
    press_and_settle(&mut model, "a");
    press_and_settle(&mut model, "b");
    assert!(model.current_notice().expect("said").bad, "it is the marked one itself");
    press_and_settle(&mut model, "G");
    press_and_settle(&mut model, "b");
    let Some(TimelineOverlay::Invocations { answer: Some(Ok(pair)), .. }) =
        &model.screens.timeline.overlay
    else {
        panic!("an overlay")
    };
    let row = |name: &str| pair.rows.iter().find(|row| row.name == name).expect("there");
    assert_eq!(row("run").cells, ["148 ms", "198 ms", "+50.0 ms", "1.34x"]);
    assert_eq!(row("cpu_time").cells, ["74.0 ms", "99.0 ms", "+25.0 ms", "1.34x"]);
    assert_eq!(
        row("cycles").reason.as_deref(),
        Some(
            "a in wasmtime: this machine shows no hardware counters; b in wasmtime: this machine \
             shows no hardware counters"
        )
    );
    press_and_settle(&mut model, "esc");
    assert!(model.screens.timeline.overlay.is_none());
}

#[test]
fn two_lanes_are_compared_where_both_ran_the_same() {
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (80, 24));
    press_and_settle(&mut model, "o");
    let Some(TimelineOverlay::Lanes { what, answer: Some(Ok(spread)) }) =
        &model.screens.timeline.overlay
    else {
        panic!("an overlay")
    };
    assert_eq!((what.lanes, &*what.workload, what.start), ([1, 0], "nbody", StartKind::Cold));
    // One successful invocation of 148 ms, and two of 98 ms.
    assert_eq!([spread.lanes[0].count, spread.lanes[1].count], [1, 2]);
    assert_eq!(spread.lanes[0].times[2], Some([148 * MS; 3]));
    assert_eq!(spread.lanes[1].times[4], Some([49 * MS; 3]));
    assert_eq!((spread.span, spread.lanes[1].sampled), (150 * MS, 2));
    // After its end the curve stays constant.
    assert_eq!(spread.lanes[1].curve.last(), Some(&[49 * MS; 3]));
    press_and_settle(&mut model, "esc");
    press_and_settle(&mut model, "g");
    model.screens.timeline.lane = 1;
    model.screens.timeline.player.seek(Nanos(255 * MS));
    let effects = request_missing(&mut model);
    answer_all_requests(&mut model, effects);
    press_and_settle(&mut model, "o");
    assert_eq!(
        model.current_notice().expect("said").text,
        "no other lane ran what wasmtime nop warm #1 is of"
    );
}

#[test]
fn a_click_goes_to_its_moment_and_lane() {
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (80, 24));
    let body = frame::split_areas(Rect::new(0, 0, 80, 24)).body;
    let played = model.screens.timeline.played.clone().expect("read");
    let layout = TimelineLayout::new(body, &model, &played);
    let (_, first) = layout.tracks[0];
    // Columns 0 to 63 are 10 ms each.
    assert_eq!(layout.visible_axis(&model).width, 64);
    let x = first.x + layout.gutter;
    common::click(&mut model, x + 10, first.y);
    assert_eq!((position_ms(&model), model.screens.timeline.lane), (105, 0));
    common::click(&mut model, x + 30, layout.axis.y);
    assert_eq!((position_ms(&model), model.screens.timeline.lane), (305, 0));
    common::click(&mut model, 0, 0);
    assert_eq!(position_ms(&model), 305);
}

#[test]
fn the_table_has_what_had_ended() {
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (80, 24));
    let lines = |model: &Model| {
        let mut out = Vec::new();
        TimelineState::table(model)
            .print(cyclometer_report::Format::Csv, &mut out)
            .expect("written");
        String::from_utf8(out).expect("text").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&model).len(), 14);
    model.screens.timeline.player.seek(Nanos(10 * MS));
    let lines = lines(&model);
    assert_eq!(lines.len(), 2);
    assert_eq!(
        lines[0],
        "lane,workload,start,sequence,status,offset_ns,create_ns,start_ns,run_ns,cpu_ns,cycles,\
         ref_cycles,memory_peak_bytes"
    );
    assert_eq!(
        lines[1],
        "native,nop,cold,1,ok,0,1000000,1000000,8000000,4000000,,8000000,67108864"
    );
}

#[test]
fn a_database_that_is_gone_is_a_sentence() {
    let mut model = record_three_lanes(None).new_model((80, 24));
    let effects = TimelineState::entered(&mut model);
    answer_all_requests(&mut model, effects);
    assert!(model.screens.timeline.error.is_some());
    insta::assert_snapshot!("failing_80", without_path(&common::text(&model)));
}

fn requested_detail(effects: &[Effect]) -> Option<i64> {
    effects.iter().find_map(|effect| match effect {
        Effect::Query(ScreenRequest::Timeline(TimelineRequest::Detail { id })) => Some(*id),
        _ => None,
    })
}

#[test]
fn an_invocation_that_cannot_be_read_is_no_end_of_the_others() {
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (120, 40));
    model.screens.timeline.lane = 0;
    let effects = press(&mut model, "[");
    let failed = requested_detail(&effects).expect("it is read");
    let result = Err("the disk is on fire".to_owned());
    let effects =
        TimelineState::answered(&mut model, TimelineResponse::Detail { id: failed, result });
    assert_eq!(requested_detail(&effects), None, "not again and again");
    assert!(common::text(&model).contains("the disk is on fire"));
    let effects = press(&mut model, "[");
    let next = requested_detail(&effects).expect("others are read as before");
    assert_ne!(next, failed);
    answer_all_requests(&mut model, effects);
    assert!(!common::text(&model).contains("the disk is on fire"));
    let effects = press(&mut model, "]");
    assert_eq!(requested_detail(&effects), Some(failed), "it is tried again on return");
}

#[test]
fn bills_that_fail_for_some_models_are_computed_for_others() {
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (120, 40));
    let models = std::mem::take(&mut model.screens.live.models);
    assert!(models.len() > 1, "{models:?}");
    let requested = |effects: &[Effect]| {
        effects.iter().any(|it| {
            matches!(
                it,
                Effect::Query(ScreenRequest::Timeline(TimelineRequest::Checkpoints { .. }))
            )
        })
    };
    model.screens.live.models = models[..1].to_vec();
    assert!(requested(&TimelineState::entered(&mut model)));
    let key = model.screens.timeline.played.as_ref().expect("read").key;
    let reason = "the disk is on fire".to_owned();
    let failed = FailedBills { key, models: models[..1].to_vec(), reason };
    let effects =
        TimelineState::answered(&mut model, TimelineResponse::Checkpoints { result: Err(failed) });
    assert!(!requested(&effects), "not again and again");
    assert!(common::text(&model).contains("the disk is on fire"));
    model.screens.live.models = models[1..].to_vec();
    let effects = TimelineState::entered(&mut model);
    assert!(requested(&effects), "other models are billed");
    answer_all_requests(&mut model, effects);
    assert!(!common::text(&model).contains("the disk is on fire"));
}

#[test]
fn overlays_name_the_keys_that_close_them_as_they_are_bound() {
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (120, 40));
    let changes =
        [("back", "Z"), ("lanes-over", "O"), ("live", "V"), ("models", "M"), ("enter", "E")];
    let changes = changes.map(|(name, key)| (name.to_owned(), vec![key.to_owned()]));
    model.keymap = crate::keymap::Keymap::with_overrides(&changes.into()).expect("free keys");
    press_and_settle(&mut model, "O");
    let lanes = common::text(&model);
    assert!(lanes.contains("; O next lane, Z closes"), "{lanes}");
    press_and_settle(&mut model, "Z");
    press_and_settle(&mut model, "a");
    press_and_settle(&mut model, "[");
    let effects = press(&mut model, "b");
    let waiting = common::text(&model);
    assert!(waiting.contains("overlay; Z closes"), "{waiting}");
    answer_all_requests(&mut model, effects);
    let pair = common::text(&model);
    assert!(pair.contains("; Z closes"), "{pair}");
    press_and_settle(&mut model, "Z");
    press_and_settle(&mut model, "e");
    let choice = common::text(&model);
    assert!(choice.contains("E: this one   Z: none"), "{choice}");
    press_and_settle(&mut model, "Z");
    model.screens.live.models.clear();
    (model.screens.timeline.bills, model.screens.timeline.checkpoints) = (None, None);
    let unpriced = common::text(&model);
    assert!(unpriced.contains("on screen V, M chooses some"), "{unpriced}");
}
