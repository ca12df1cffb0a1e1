//! Snapshot tests of the screen in all sizes and states.

use super::fixture::{
    RecordingScript, UsedResources, model_with_recording, open_bills_screen, open_loaded_screen,
    press_keys, select_model, three_lane_script, worker_for_folder,
};
use super::*;
use crate::testing::{self, press};
use cyclometer_record::Event;

#[test]
fn a_click_selects_what_is_drawn_there() {
    for size in [(80, 24), (200, 60), (60, 16)] {
        let (_folder, _desk, mut model) = open_loaded_screen(size);
        let area = crate::frame::split_areas(Rect::new(0, 0, size.0, size.1)).body;
        let mut hits = 0;
        for y in area.y..area.bottom() {
            for x in (area.x..area.right()).step_by(3) {
                testing::click(&mut model, x, y);
                let (row, lane) =
                    (model.screens.bills.selected_row, model.screens.bills.selected_lane);
                let Some((Some(_), Some(_))) = draw::cell_at_position(
                    &model,
                    &BillsState::lay_out(&model, area),
                    Position::new(x, y),
                ) else {
                    continue;
                };
                hits += 1;
                // The pointer stands in front of the cell that was hit.
                let buffer = testing::buffer(&model);
                let pointer = (area.x..area.right()).find(|x| buffer[(*x, y)].symbol() == "▶");
                if let Some(pointer) = pointer {
                    assert!(pointer <= x && x <= pointer + 16, "{x} at {pointer}, {row} {lane}");
                }
            }
        }
        assert!(hits > 10, "{size:?}: {hits}");
    }
}

#[test]
fn parts_and_kinds_have_their_colours() {
    use crate::theme::{Palette, StyleRole, Theme};
    // High enough for all models.
    let (_folder, _desk, mut model) = open_loaded_screen((200, 140));
    model.theme = Theme::new(Palette::Terminal, false);
    select_model(&mut model, "per-cpu-ms");
    let buffer = testing::buffer(&model);
    let style = |role: StyleRole| model.theme.style(role).fg.expect("a colour");
    let line = |id: &str| {
        let starts = |y: &u16| {
            let text: String = (0..60).map(|x| buffer[(x, *y)].symbol()).collect();
            text.contains(&format!(" {id} "))
        };
        (0..buffer.area.height).find(starts).expect("in sight")
    };
    let y = line("aws-lambda-x86");
    assert_eq!(buffer[(3, y)].fg, style(StyleRole::Coarse));
    assert_eq!(buffer[(3, line("shape-cloudflare"))].fg, style(StyleRole::Fine));
    let color = |sign: &str| {
        let x = (60..118).find(|x| buffer[(*x, y)].symbol() == sign).expect("in the bar");
        buffer[(x, y)].fg
    };
    assert_eq!(color("·"), style(StyleRole::Part(1)));
    assert_eq!(color("="), style(StyleRole::Part(5)));
}

#[test]
fn no_size_is_too_small_and_nothing_is_drawn_over_the_frame() {
    let (_folder, mut context, mut model) = open_loaded_screen((80, 24));
    for keys_of in [&["]"][..], &["}"], &["G", "right"], &["/", "x", "enter"]] {
        press_keys(&mut model, &mut context, keys_of);
        for width in [1, 10, 59, 60, 61, 79, 80, 99, 119, 120, 121, 160, 250] {
            for height in [1, 3, 15, 16, 17, 23, 24, 31, 40, 70] {
                model.size = (width, height);
                let buffer = testing::buffer(&model);
                if width < 60 || height < 16 {
                    continue;
                }
                let last = buffer[(width - 1, height - 2)].symbol();
                assert_eq!(last, "┘", "{width} x {height}");
            }
        }
    }
}

/// Takes snapshots of a state in all sizes.
pub(super) fn draw_in_all_sizes(name: &str, model: &mut Model) {
    for size in testing::SIZES {
        model.size = size;
        let name = format!("{name}_{}x{}", size.0, size.1);
        insta::assert_snapshot!(name, testing::text(model));
    }
}

#[test]
fn states_in_which_there_are_no_figures() {
    let mut model = testing::model((80, 24));
    assert!(press(&mut model, "2").is_empty());
    draw_in_all_sizes("empty", &mut model);
    let mut model = model_with_recording((80, 24), 7);
    press(&mut model, "2");
    assert!(!testing::text(&model).contains("computing"), "it may take no time at all");
    model.now = Nanos(testing::NOW.0 + 301_000_000);
    draw_in_all_sizes("loading", &mut model);
    // There are lanes, but no invocation ran to its end.
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = three_lane_script();
    script.events.retain(|event| !matches!(event, Event::Finished { .. }));
    let recording = script.write(&folder.path().join("c.db"));
    let mut model = model_with_recording((80, 24), recording);
    open_bills_screen(&mut model, &mut worker_for_folder(folder.path()));
    draw_in_all_sizes("failing", &mut model);
}

#[test]
fn figures_in_all_sizes() {
    let (_folder, mut context, mut model) = open_loaded_screen((80, 24));
    select_model(&mut model, "aws-lambda-x86");
    draw_in_all_sizes("full", &mut model);
    model.size = (60, 16);
    insta::assert_snapshot!("full_60x16", testing::text(&model));
    // The month with 128 MiB assumed, which peaks of 201 MiB do not fit.
    press_keys(&mut model, &mut context, &["]", "}", "}", "}", "}", "}", "right", "w"]);
    draw_in_all_sizes("month", &mut model);
    press_keys(&mut model, &mut context, &["enter"]);
    draw_in_all_sizes("explained", &mut model);
    press(&mut model, "esc");
    press_keys(&mut model, &mut context, &["right"]);
    draw_in_all_sizes("missing", &mut model);
    press_keys(
        &mut model,
        &mut context,
        &["left", "esc", "s", "s", "/", "g", "o", "o", "g", "l", "e"],
    );
    draw_in_all_sizes("filtered", &mut model);
}

#[test]
fn more_lanes_than_fit_scroll() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = RecordingScript::new();
    let used = UsedResources {
        start_ms: 2,
        run_ms: 100,
        cpu_ms: 80,
        peak_mib: 20,
        allocated_mib: 128,
        ops: None,
    };
    for at in 0..9 {
        let lane = format!("docker:runtime-{at}");
        script.add_lane(&lane, None);
        let cell = script.add_cell(&lane, "nop", StartKind::Cold);
        script.add_invocation(cell, 1, UsedResources { run_ms: 100 + at, ..used });
    }
    let recording = script.write(&folder.path().join("c.db"));
    let mut context = worker_for_folder(folder.path());
    let mut model = model_with_recording((80, 24), recording);
    open_bills_screen(&mut model, &mut context);
    press_keys(&mut model, &mut context, &["right", "right", "right", "right", "right"]);
    draw_in_all_sizes("lanes", &mut model);
    for size in [(60, 16), (80, 24)] {
        model.size = size;
        let text = testing::text(&model);
        assert!(text.contains(" of 9, left right"), "how to see the others is not cut: {text}");
    }
    model.theme = crate::theme::Theme::new(crate::theme::Palette::Mono, true);
    model.size = (80, 24);
    let text = testing::text(&model);
    assert!(text.is_ascii(), "{text}");
}
