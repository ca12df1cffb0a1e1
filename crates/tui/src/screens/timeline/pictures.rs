//! Snapshot tests of the timeline screen.

use ratatui::layout::Rect;
use rusqlite::Connection;

use super::layout::TimelineLayout;
use super::loading::request_missing;
use super::testing::MS;
use super::*;
use crate::frame;
use crate::screens::ScreenId;
use crate::testing::{self as common, press};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::StartKind;

use super::fixture::*;

#[test]
fn screen_states_are_drawn() {
    for size in common::SIZES {
        let name = |what: &str| format!("{what}_{}", size.0);
        let mut model = common::model(size);
        model.screen = ScreenId::Timeline;
        insta::assert_snapshot!(name("empty"), common::text(&model));
        let place = record_three_lanes(Some(10));
        let mut model = place.new_model(size);
        let effects = TimelineState::entered(&mut model);
        insta::assert_snapshot!(name("loading"), common::text(&model));
        answer_all_requests(&mut model, effects);
        insta::assert_snapshot!(name("end"), common::text(&model));
        model.screens.timeline.player.seek(Nanos(340 * MS));
        insta::assert_snapshot!(name("seeking"), common::text(&model));
        let effects = request_missing(&mut model);
        answer_all_requests(&mut model, effects);
        insta::assert_snapshot!(name("middle"), common::text(&model));
        press_and_settle(&mut model, "p");
        press_and_settle(&mut model, "]");
        press_and_settle(&mut model, "a");
        press_and_settle(&mut model, "tab");
        press_and_settle(&mut model, "tab");
        press_and_settle(&mut model, "b");
        model.notice = None;
        insta::assert_snapshot!(name("pair"), common::text(&model));
        press_and_settle(&mut model, "esc");
        press_and_settle(&mut model, "o");
        insta::assert_snapshot!(name("lanes"), common::text(&model));
        press_and_settle(&mut model, "esc");
        press_and_settle(&mut model, "enter");
        insta::assert_snapshot!(name("enter"), common::text(&model));
    }
}

#[test]
fn pictures_without_samples_and_of_many() {
    for size in common::SIZES {
        let name = |what: &str| format!("{what}_{}", size.0);
        let place = record_three_lanes(None);
        let mut model = open_screen(&place, size);
        insta::assert_snapshot!(name("unsampled"), common::text(&model));
        press_and_settle(&mut model, "o");
        insta::assert_snapshot!(name("unsampled_lanes"), common::text(&model));
        let mut place = TimelineFixture::new(Some(10));
        place.add_lane("native", None);
        let cell = place.add_cell("native", "nop", StartKind::Cold);
        for sequence in 0..3_000_u64 {
            let number = u32::try_from(sequence).expect("small");
            let failed = (sequence == 2_000).then_some("exit status 1");
            let gap = if sequence % 300 == 0 { sequence } else { 0 };
            place.add_invocation_at(place.at + gap, cell, number, 1 + sequence % 5, failed);
        }
        place.finish_recording();
        let mut model = open_screen(&place, size);
        model.theme = crate::theme::Theme::new(crate::theme::Palette::Mono, true);
        insta::assert_snapshot!(name("many_ascii"), common::text(&model));
        let mut place = TimelineFixture::new(Some(10));
        place.add_lane("docker", Some("no Docker engine answers"));
        place.finish_recording();
        let model = open_screen(&place, size);
        insta::assert_snapshot!(name("nothing_ran"), common::text(&model));
    }
}

#[test]
fn nothing_panics_at_any_size() {
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (80, 24));
    for over in ["", "o", "b"] {
        if over == "b" {
            press_and_settle(&mut model, "a");
            press_and_settle(&mut model, "p");
        }
        if !over.is_empty() {
            press_and_settle(&mut model, over);
        }
        for width in (1..100).step_by(9).chain([60, 61, 200, 300]) {
            for height in (1..40).step_by(3).chain([16, 24, 100]) {
                model.size = (width, height);
                common::text(&model);
                request_missing(&mut model);
                common::text(&model);
            }
        }
        press_and_settle(&mut model, "esc");
    }
}

#[test]
fn colours_say_what_signs_say_too() {
    use crate::theme::{Palette, Theme};
    use ratatui::style::Color;
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (80, 24));
    model.theme = Theme::new(Palette::Terminal, false);
    let played = model.screens.timeline.played.clone().expect("read");
    let body = frame::split_areas(Rect::new(0, 0, 80, 24)).body;
    let layout = TimelineLayout::new(body, &model, &played);
    let x = layout.axis.x + layout.gutter;
    let (_, wasmtime) = layout.tracks[1];
    model.screens.timeline.player.seek(Nanos(600 * MS));
    let buffer = common::buffer(&model);
    let cell = &buffer[(x + 30, wasmtime.y)];
    assert_eq!((cell.symbol(), cell.fg), ("━", Color::Green), "the colour of the second lane");
    let later = &buffer[(x + 62, wasmtime.y)];
    assert_eq!((later.symbol(), later.fg), ("·", Color::DarkGray), "still to come");
    let cursor = &buffer[(x + 60, wasmtime.y)];
    assert_eq!((cursor.symbol(), cursor.fg), ("│", Color::Cyan));
}

#[test]
fn memory_and_ceilings_have_round_edges() {
    // Samples of 98 ms reach 9 x 3 MiB, those of 198 ms 19 x 3: 57 MiB.
    let place = record_three_lanes(Some(10));
    let model = open_screen(&place, (200, 60));
    let text = common::text(&model);
    assert!(text.contains("mem 57.0 MiB"), "{text}");
    assert!(text.contains("top 128 MiB"), "of what is allocated: {text}");
}

#[test]
fn the_smallest_terminal_has_all_three_panels() {
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (60, 16));
    insta::assert_snapshot!("end_60", common::text(&model));
    press_and_settle(&mut model, "o");
    insta::assert_snapshot!("lanes_60", common::text(&model));
}

#[test]
fn what_came_late_into_an_earlier_part_is_not_lost() {
    let place = record_three_lanes(None);
    let mut model = place.new_model((80, 24));
    model.screens.timeline.part_limit = Some(5);
    let effects = TimelineState::entered(&mut model);
    answer_all_requests(&mut model, effects);
    let effects = press(&mut model, "right");
    // Meanwhile another invocation was recorded that ended at 4 ms, in the first part.
    let connection = Connection::open(place.database_path()).expect("opened");
    let late = "INSERT INTO invocation (cell_id, sequence, status, offset_ns, wall_ns)
                VALUES (1, 9, 'ok', 1000000, 3000000)";
    connection.execute_batch(late).expect("inserted");
    answer_all_requests(&mut model, effects);
    let played = model.screens.timeline.played.clone().expect("read");
    assert_eq!((played.part, played.rows[0].sequence), (0, 9), "from the start again");
    press_and_settle(&mut model, "G");
    press_and_settle(&mut model, "G");
    press_and_settle(&mut model, "G");
    press_and_settle(&mut model, "G");
    press_and_settle(&mut model, "G");
    let bills = model.screens.timeline.bills.clone().expect("known");
    let all: u64 = bills.lanes.iter().flatten().map(|it| it.invocations + it.unpriced).sum();
    assert_eq!((all, position_ms(&model)), (14, 640));
}
