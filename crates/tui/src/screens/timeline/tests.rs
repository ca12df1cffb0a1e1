//! Tests on recordings in real databases: keys, parts, responses.

use std::sync::Arc;

use ratatui::layout::{Position, Rect};

use super::layout::Layout;
use super::reading::next;
use super::recording::Played;
use super::testing::MS;
use super::*;
use crate::action::Effect;
use crate::frame;
use crate::model::Model;
use crate::testing::{self as common, press};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::StartKind;
use cyclometer_record::Sink;
use cyclometer_store::Store;

use super::fixture::*;

#[test]
fn a_recording_is_read_and_shown_at_its_end() {
    let place = story(Some(10));
    let model = open(&place, (80, 24));
    let state = &model.timeline;
    let played = state.played.as_ref().expect("read");
    assert_eq!((played.rows.len(), played.parts, position(&model)), (13, 1, 640));
    assert_eq!(state.lane, 1, "where the newest is of");
    assert_eq!(state.detail.as_ref().expect("known").reason.as_deref(), Some("exit status 3"));
    assert_eq!(state.bills.as_ref().expect("known").ended, 13);
}

#[test]
fn keys_move_through_time() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    key(&mut model, "left");
    assert_eq!(position(&model), 608, "a twentieth of 640 ms");
    key(&mut model, "g");
    assert_eq!(position(&model), 0);
    key(&mut model, "left");
    assert_eq!(model.notice().expect("said").text, "this is the beginning");
    key(&mut model, "n");
    assert_eq!(position(&model), 260, "the first warm one of wasmtime");
}

#[test]
fn neighbours_are_of_the_selected_lane() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    // Tab wraps around: wasmtime, docker, native.
    key(&mut model, "tab");
    assert_eq!(model.timeline.lane, 2);
    key(&mut model, "p");
    assert_eq!(model.notice().expect("said").text, "docker has no earlier invocation");
    key(&mut model, "tab");
    let ends: Vec<u64> = (0..3)
        .map(|_| {
            key(&mut model, "p");
            position(&model)
        })
        .collect();
    assert_eq!(ends, [250, 150, 50]);
    let played = model.timeline.played.clone().expect("read");
    let under = played.under(0, model.timeline.player.position()).expect("there");
    assert_eq!((under.sequence, under.cell), (5, 0), "the one that ended here, not the next");
    assert_eq!(model.timeline.detail.as_ref().expect("known").sequence, 5);
}

#[test]
fn playing_goes_on_with_time_and_stops_at_the_end() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    key(&mut model, "space");
    assert_eq!((position(&model), model.timeline.player.playing()), (0, true));
    let tick = |model: &mut Model, ms: u64| {
        let now = Nanos(model.now.0 + ms * MS);
        let effects = crate::update::tick(model, now);
        settle(model, effects);
    };
    tick(&mut model, 100);
    assert_eq!(position(&model), 100);
    key(&mut model, ">");
    tick(&mut model, 100);
    assert_eq!(position(&model), 300, "twice as fast");
    assert_eq!(model.timeline.bills.as_ref().expect("known").at, Nanos(300 * MS));
    tick(&mut model, 1_000);
    assert_eq!((position(&model), model.timeline.player.playing()), (640, false));
    let quiet = crate::update::tick(&mut model, Nanos(u64::MAX / 2));
    assert!(quiet.is_empty(), "nothing is left to be asked");
}

#[test]
fn one_question_of_a_kind_at_a_time_and_old_answers_do_no_harm() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    let mut desk = Place::desk(&model);
    let first = press(&mut model, "g");
    assert_eq!(first.len(), 1, "bills; nothing is under the cursor but what is known");
    let second = press(&mut model, "G");
    assert!(second.is_empty(), "the desk is busy");
    let Some(Effect::Timeline(ask)) = first.into_iter().next() else { panic!("a question") };
    let again = answered(&mut model, answer(&mut desk, ask));
    assert_eq!(model.timeline.bills.as_ref().expect("known").ended, 0, "and says so");
    assert_eq!(again.len(), 1, "those of the end are asked for now");
    settle(&mut model, again);
    assert_eq!(model.timeline.bills.as_ref().expect("known").ended, 13);
    // A part of a recording that is no longer open.
    model.opened = None;
    let effects = entered(&mut model);
    assert!(effects.is_empty() && model.timeline.played.is_none());
    let played = Played::read(&Store::open(&place.path()).expect("opened"), 1, 0, (-1, 0), 10);
    let late =
        Answer::Loaded { recording: 1, part: 0, result: Ok(Arc::new(played.expect("read"))) };
    assert!(answered(&mut model, late).is_empty() && model.timeline.played.is_none());
}

#[test]
fn going_on_past_an_end_reads_the_next_part() {
    let place = story(None);
    let mut model = place.model((80, 24));
    model.timeline.limit = Some(5);
    let effects = entered(&mut model);
    settle(&mut model, effects);
    let part = |model: &Model| {
        let played = model.timeline.played.as_ref().expect("read");
        (played.part, played.parts, position(model))
    };
    assert_eq!(part(&model), (0, 3, 50));
    key(&mut model, "right");
    assert_eq!(part(&model), (1, 3, 50));
    key(&mut model, "G");
    assert_eq!(part(&model), (1, 3, 280), "three of the warm ones are in it");
    key(&mut model, "G");
    key(&mut model, "G");
    assert_eq!(part(&model), (2, 3, 640));
    key(&mut model, "G");
    assert_eq!(model.notice().expect("said").text, "this is the end");
    let bills = model.timeline.bills.clone().expect("known");
    let all: u64 = bills.lanes.iter().flatten().map(|it| it.invocations + it.unpriced).sum();
    assert_eq!(all, 13, "those of the parts before are in it");
    key(&mut model, "g");
    key(&mut model, "left");
    assert_eq!(part(&model), (1, 3, 280));
    assert_eq!(model.timeline.bills.as_ref().expect("known").lanes, {
        let ledgers = ledgers(&place, 5, &["aws-lambda-x86", "per-cycle"]);
        let (played, ledger) = &ledgers[1];
        BillsAt::of(&ledger.at(5), played, 5, Nanos(280 * MS)).lanes
    });
}

#[test]
fn a_recording_that_grows_is_read_again_at_its_end_only() {
    let mut place = Place::new(None);
    place.lane("native", None);
    let cell = place.cell("native", "nop", StartKind::Cold);
    place.ran(cell, 1, 8);
    place.writer.as_mut().expect("open").settle().expect("written");
    let mut model = place.model((80, 24));
    let effects = entered(&mut model);
    settle(&mut model, effects);
    assert_eq!(model.timeline.played.as_ref().expect("read").rows.len(), 1);
    place.ran(cell, 2, 8);
    place.writer.as_mut().expect("open").settle().expect("written");
    let mut snapshot = crate::live::Snapshot { recording: Some(1), done: 2, ..Default::default() };
    snapshot.phase = crate::live::Phase::Running;
    model.snapshot = Arc::new(snapshot);
    let soon = Nanos(model.now.0 + 1_000 * MS);
    let effects = crate::update::tick(&mut model, soon);
    assert!(effects.is_empty(), "at most every 2 s");
    let later = Nanos(model.now.0 + 1_000 * MS);
    let effects = crate::update::tick(&mut model, later);
    settle(&mut model, effects);
    let rows = |model: &Model| model.timeline.played.as_ref().expect("read").rows.len();
    assert_eq!(rows(&model), 2);
    assert!(model.timeline.player.at_end(), "the end is followed");
    key(&mut model, "g");
    let effects = crate::update::tick(&mut model, Nanos(later.0 * 2));
    assert!(effects.is_empty(), "it did not grow");
}

#[test]
fn two_invocations_are_compared_meter_by_meter() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    key(&mut model, "b");
    assert_eq!(model.notice().expect("said").text, "mark one invocation first: a");
    key(&mut model, "p");
    // The first nbody of wasmtime: 148 ms.
    key(&mut model, "a");
    key(&mut model, "b");
    assert!(model.notice().expect("said").bad, "it is the marked one itself");
    key(&mut model, "G");
    key(&mut model, "b");
    let Some(Over::Pair { answer: Some(Ok(pair)), .. }) = &model.timeline.over else {
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
    key(&mut model, "esc");
    assert!(model.timeline.over.is_none());
}

#[test]
fn two_lanes_are_compared_where_both_ran_the_same() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    key(&mut model, "o");
    let Some(Over::Lanes { what, answer: Some(Ok(spread)) }) = &model.timeline.over else {
        panic!("an overlay")
    };
    assert_eq!((what.lanes, &*what.workload, &*what.start), ([1, 0], "nbody", "cold"));
    // One successful invocation of 148 ms, and two of 98 ms.
    assert_eq!([spread.lanes[0].count, spread.lanes[1].count], [1, 2]);
    assert_eq!(spread.lanes[0].times[2], Some([148 * MS; 3]));
    assert_eq!(spread.lanes[1].times[4], Some([49 * MS; 3]));
    assert_eq!((spread.span, spread.lanes[1].sampled), (150 * MS, 2));
    // After its end the curve stays constant.
    assert_eq!(spread.lanes[1].curve.last(), Some(&[49 * MS; 3]));
    key(&mut model, "esc");
    key(&mut model, "g");
    model.timeline.lane = 1;
    model.timeline.player.seek(Nanos(255 * MS));
    let effects = next(&mut model);
    settle(&mut model, effects);
    key(&mut model, "o");
    assert_eq!(
        model.notice().expect("said").text,
        "no other lane ran what wasmtime nop warm #1 is of"
    );
}

#[test]
fn a_click_goes_to_its_moment_and_lane() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    let body = frame::parts(Rect::new(0, 0, 80, 24)).body;
    let played = model.timeline.played.clone().expect("read");
    let layout = Layout::new(body, &model, &played);
    let (_, first) = layout.tracks[0];
    // Columns 0 to 63 are 10 ms each.
    assert_eq!(layout.in_sight(&model).width, 64);
    let x = first.x + layout.gutter;
    click(&mut model, body, Position::new(x + 10, first.y));
    assert_eq!((position(&model), model.timeline.lane), (105, 0));
    click(&mut model, body, Position::new(x + 30, layout.axis.y));
    assert_eq!((position(&model), model.timeline.lane), (305, 0));
    click(&mut model, body, Position::new(0, 0));
    assert_eq!(position(&model), 305);
}

#[test]
fn the_table_has_what_had_ended() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    let lines = |model: &Model| {
        let mut out = Vec::new();
        table(model).print(cyclometer_report::Format::Csv, &mut out).expect("written");
        String::from_utf8(out).expect("text").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&model).len(), 14);
    model.timeline.player.seek(Nanos(10 * MS));
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
    let mut model = story(None).model((80, 24));
    let effects = entered(&mut model);
    settle(&mut model, effects);
    assert!(model.timeline.error.is_some());
    insta::assert_snapshot!("failing_80", without_path(&common::text(&model)));
}
