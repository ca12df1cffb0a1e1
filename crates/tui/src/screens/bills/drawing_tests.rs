//! Snapshot tests of the screen in all sizes and states.

use super::fixture::{Script, Used, desk_of, full, go, keys, opened, script, select};
use super::*;
use crate::testing::{self, press};
use cyclometer_record::Event;

#[test]
fn a_click_selects_what_is_drawn_there() {
    for size in [(80, 24), (200, 60), (60, 16)] {
        let (_folder, _desk, mut model) = full(size);
        let area = crate::frame::parts(Rect::new(0, 0, size.0, size.1)).body;
        let mut hits = 0;
        for y in area.y..area.bottom() {
            for x in (area.x..area.right()).step_by(3) {
                click(&mut model, area, Position::new(x, y));
                let (row, lane) = (model.bills.row, model.bills.lane);
                let Some((Some(_), Some(_))) = draw::hit(&model, area, Position::new(x, y)) else {
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
    use crate::theme::{Palette, Role, Theme};
    let (_folder, _desk, mut model) = full((200, 60));
    model.theme = Theme::new(Palette::Terminal, false);
    select(&mut model, "per-cpu-ms");
    let buffer = testing::buffer(&model);
    let style = |role: Role| model.theme.style(role).fg.expect("a colour");
    let line = |id: &str| {
        let starts = |y: &u16| {
            let text: String = (0..60).map(|x| buffer[(x, *y)].symbol()).collect();
            text.contains(&format!(" {id} "))
        };
        (0..60).find(starts).expect("in sight")
    };
    let y = line("aws-lambda-x86");
    assert_eq!(buffer[(3, y)].fg, style(Role::Coarse));
    assert_eq!(buffer[(3, line("shape-cloudflare"))].fg, style(Role::Fine));
    let color = |sign: &str| {
        let x = (60..118).find(|x| buffer[(*x, y)].symbol() == sign).expect("in the bar");
        buffer[(x, y)].fg
    };
    assert_eq!(color("·"), style(Role::Part(1)));
    assert_eq!(color("="), style(Role::Part(5)));
}

#[test]
fn no_size_is_too_small_and_nothing_is_drawn_over_the_frame() {
    let (_folder, mut desk, mut model) = full((80, 24));
    for keys_of in [&["]"][..], &["}"], &["G", "right"], &["/", "x", "enter"]] {
        keys(&mut model, &mut desk, keys_of);
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
    let mut model = opened((80, 24), 7);
    press(&mut model, "2");
    assert!(!testing::text(&model).contains("computing"), "it may take no time at all");
    model.now = Nanos(testing::NOW.0 + 301_000_000);
    draw_in_all_sizes("loading", &mut model);
    // There are lanes, but no invocation ran to its end.
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = script();
    script.events.retain(|event| !matches!(event, Event::Finished { .. }));
    let recording = script.write(&folder.path().join("c.db"));
    let mut model = opened((80, 24), recording);
    go(&mut model, &mut desk_of(folder.path()));
    draw_in_all_sizes("failing", &mut model);
}

#[test]
fn figures_in_all_sizes() {
    let (_folder, mut desk, mut model) = full((80, 24));
    select(&mut model, "aws-lambda-x86");
    draw_in_all_sizes("full", &mut model);
    model.size = (60, 16);
    insta::assert_snapshot!("full_60x16", testing::text(&model));
    // The month with 128 MiB assumed, which peaks of 201 MiB do not fit.
    keys(&mut model, &mut desk, &["]", "}", "}", "}", "}", "}", "right", "w"]);
    draw_in_all_sizes("month", &mut model);
    keys(&mut model, &mut desk, &["enter"]);
    draw_in_all_sizes("explained", &mut model);
    press(&mut model, "esc");
    keys(&mut model, &mut desk, &["right"]);
    draw_in_all_sizes("missing", &mut model);
    keys(&mut model, &mut desk, &["left", "esc", "s", "s", "/", "g", "o", "o", "g", "l", "e"]);
    draw_in_all_sizes("filtered", &mut model);
}

#[test]
fn more_lanes_than_fit_scroll() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = Script::new();
    let used =
        Used { start_ms: 2, run_ms: 100, cpu_ms: 80, peak_mib: 20, allocated_mib: 128, ops: None };
    for at in 0..9 {
        let lane = format!("docker:runtime-{at}");
        script.lane(&lane, None);
        let cell = script.cell(&lane, "nop", StartKind::Cold);
        script.ran(cell, 1, Used { run_ms: 100 + at, ..used });
    }
    let recording = script.write(&folder.path().join("c.db"));
    let mut desk = desk_of(folder.path());
    let mut model = opened((80, 24), recording);
    go(&mut model, &mut desk);
    keys(&mut model, &mut desk, &["right", "right", "right", "right", "right"]);
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
