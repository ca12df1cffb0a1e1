//! Tests of the live screen: how it is drawn, and what keys do in it.

use insta::assert_snapshot;
use ratatui::style::Color;

use super::*;
use crate::overlay::Overlay;
use crate::testing::{self, SIZES, Story, press, text};
use crate::theme::{Palette, Theme};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{Sample, Status};
use cyclometer_meter::Meter;
use cyclometer_record::Event;
use cyclometer_record::live::FeedItem as Fed;

/// Compares the screen at every size with its snapshot, named after the state.
fn drawn(name: &str, change: impl Fn(&mut Model)) {
    for (columns, lines) in SIZES {
        let mut model = testing::model((columns, lines));
        change(&mut model);
        assert_snapshot!(format!("{name}_{columns}x{lines}"), text(&model));
    }
}

#[test]
fn empty() {
    drawn("empty", |_| {});
}

#[test]
fn opening() {
    drawn("opening", |model| {
        model.screens.live.first = true;
        let mut snapshot = LiveSnapshot::clone(&Story::new().snapshot());
        snapshot.phase = SessionPhase::Opening;
        snapshot.lanes.clear();
        snapshot.cells.clear();
        snapshot.bills = None;
        model.snapshot = Arc::new(snapshot);
    });
}

#[test]
fn partial() {
    drawn("partial", |model| {
        let mut story = Story::new();
        story.ran(0, 1, 1);
        story.ran(1, 1, 3);
        model.snapshot = story.snapshot();
    });
}

#[test]
fn full() {
    drawn("full", |model| model.snapshot = testing::full());
}

#[test]
fn failing() {
    drawn("failing", |model| {
        let mut story = Story::new();
        story.ran(0, 1, 1);
        story.failed(1, 1, "wrong output: expected 12 bytes, but it wrote 1 GiB and was stopped");
        story.take(Fed::Storage(StorageState::Waiting {
            reason: "another program holds its lock; wait for it to end".to_owned(),
            since: cyclometer_core::units::Nanos(testing::NOW.0 - 7_000_000_000),
        }));
        story.take(Fed::Event(Box::new(cyclometer_record::Event::Prepared {
            cell: 3,
            result: Err("cannot prepare nbody: it is not a program for this machine".to_owned()),
        })));
        model.screens.live.workload = Some("nbody".to_owned());
        model.snapshot = story.snapshot();
    });
}

#[test]
fn over() {
    drawn("over", |model| {
        let mut story = Story::new();
        (1..=10).for_each(|sequence| story.ran(0, sequence, 1));
        story.ended(Status::Interrupted);
        model.screens.live.per_million = true;
        model.snapshot = story.snapshot();
    });
}

#[test]
fn the_detail_of_a_lane_says_why_meters_are_missing() {
    let mut model = testing::model((80, 24));
    model.snapshot = testing::full();
    press(&mut model, "enter");
    let Some(Overlay::Text { title, text: shown, .. }) = &model.overlay else { panic!("a text") };
    assert_eq!(title, "native");
    assert!(
        shown.contains("cycles                     -  this machine shows no hardware counters")
    );
    assert!(shown.contains("ref_cycles            11.0 M  perf:msr/tsc"), "{shown}");
    assert_snapshot!("detail_80x24", text(&model));
}

#[test]
fn a_meter_nobody_read_is_a_dash_and_never_0() {
    let mut story = Story::new();
    // Four seconds, up to now.
    for sequence in 1..=16 {
        let missing = [Meter::CpuTime, Meter::RefCycles, Meter::MemoryPeak];
        story.ran_without(0, sequence, 250, &missing);
    }
    for size in [(80, 24), (200, 60)] {
        let mut model = testing::model(size);
        model.snapshot = story.snapshot();
        let shown = text(&model);
        let lanes = shown.split("bills").next().expect("lanes");
        assert!(lanes.contains("last cold -"), "{shown}");
        assert!(lanes.contains("?│"), "the chart says that it is not known: {shown}");
        assert!(lanes.contains("mem - of"), "{shown}");
        assert!(!lanes.contains('░'), "{shown}");
    }
}

/// Returns the lines of every lane, side by side.
fn lanes(model: &Model) -> Vec<Vec<String>> {
    let shown = text(model);
    let mut lanes: Vec<Vec<String>> = Vec::new();
    for line in shown.lines().filter(|line| line.starts_with(['│', '┌'])) {
        if line.contains("bills") || line.contains("sums of") {
            break;
        }
        let inner = line.trim_start_matches(['│', '┌']).trim_end_matches(['│', '┐']);
        let parts = inner.split(if line.starts_with('│') { "││" } else { "┐┌" });
        for (at, part) in parts.enumerate() {
            if lanes.len() <= at {
                lanes.push(Vec::new());
            }
            lanes[at].push(part.trim().to_owned());
        }
    }
    lanes
}

#[test]
fn all_lanes_show_one_workload_whatever_runs() {
    let mut story = Story::new();
    // Each lane has run another workload last: nop in native, nbody in wasmtime.
    story.ran(3, 1, 100);
    story.ran(0, 1, 1);
    story.ran(1, 1, 1);
    story.ran(4, 1, 200);
    for size in [(80, 24), (120, 40), (200, 60)] {
        let mut model = testing::model(size);
        model.snapshot = story.snapshot();
        for (name, other, native, wasmtime) in
            [("nop", "nbody", "1.00 ms", "1.00 ms"), ("nbody", "nop", "100 ms", "200 ms")]
        {
            let lanes = lanes(&model);
            let has =
                |lane: usize, words: &str| lanes[lane].iter().any(|line| line.contains(words));
            assert!(has(0, &format!("{name} cold 1")) && has(1, &format!("{name} cold 1")));
            assert!(!has(0, &format!("{other} ")) && !has(1, &format!("{other} ")), "{lanes:?}");
            assert!(has(0, native) && has(1, wasmtime), "{lanes:?}");
            assert!(text(&model).contains(&format!("bills of a million cold {name}")));
            press(&mut model, "]");
        }
    }
}

#[test]
fn rows_stand_side_by_side_and_charts_have_one_range() {
    for size in [(80, 24), (120, 40), (200, 60)] {
        let mut model = testing::model(size);
        model.snapshot = testing::full();
        press(&mut model, "]");
        let lanes = lanes(&model);
        let named = |lane: usize, name: &str| {
            lanes[lane].iter().position(|line| line.starts_with(name)).expect("there")
        };
        for name in ["last", "p50", "p95", "mem"] {
            assert_eq!(named(0, name), named(1, name), "{name}: {lanes:?}");
        }
        // native ran once for what wasmtime ran twice, cold and warm.
        let axis = |lane: usize| {
            let drawn = lanes[lane].iter();
            drawn.filter(|line| line.contains('│') || line.ends_with("now")).map(|line| {
                line.chars().take_while(|it| !"▁▂▃▄▅▆▇█ ".contains(*it)).collect::<String>()
            })
        };
        assert!(axis(0).eq(axis(1)), "{lanes:?}");
        assert!(axis(0).count() >= 2, "{lanes:?}");
    }
}

#[test]
fn warm_ups_have_figures_that_are_dimmed() {
    let mut model = testing::model((80, 24));
    model.theme = Theme::new(Palette::Terminal, false);
    let mut story = Story::new();
    story.warmed_up(0, 40);
    model.snapshot = story.snapshot();
    let shown = text(&model);
    assert!(shown.contains("nop cold warm-up") && shown.contains("40.0 ms"), "{shown}");
    let y = shown.lines().position(|line| line.contains("40.0 ms")).expect("there");
    let line = shown.lines().nth(y).expect("there");
    let x = line.split("40.0").next().expect("before").chars().count();
    let place = (u16::try_from(x).expect("narrow"), u16::try_from(y).expect("short"));
    assert_eq!(testing::buffer(&model)[place].fg, Color::DarkGray);
    assert_eq!(model.snapshot.done, 0, "nothing is recorded");
    assert!(model.snapshot.bills.as_ref().is_none_or(|bills| bills.groups().count() == 0));
    story.ran(0, 1, 7);
    model.snapshot = story.snapshot();
    let shown = text(&model);
    assert!(!shown.contains("warm-up") && !shown.contains("40.0 ms"), "{shown}");
}

#[test]
fn the_lane_that_runs_is_named_where_others_wait() {
    let mut story = Story::new();
    story.take(Fed::Event(Box::new(Event::Started { cell: 3, sequence: 2, count: 1 })));
    let mut model = testing::model((120, 40));
    model.snapshot = story.snapshot();
    let shown = text(&model);
    assert!(shown.contains("one lane at a time: native runs nbody cold #2"), "{shown}");
    assert!(shown.contains("● nbody cold #2") && shown.contains("○ waits: native runs"), "{shown}");
    assert!(lanes(&model)[0].iter().any(|line| line.starts_with("nop cold")), "{shown}");
}

#[test]
fn bills_are_of_a_million_and_sums_say_what_they_are_of() {
    let mut model = testing::model((80, 24));
    model.snapshot = testing::full();
    // Ten of nop: 3 to 12 ms, together 75 ms, which is 7.5 ms of 128 MiB at
    // $0.0000166667 a GB-second for a million: $0.015625... and $0.20.
    let shown = text(&model);
    assert!(shown.contains("bills of a million cold nop"), "{shown}");
    assert!(shown.contains("0.2156"), "{shown}");
    assert!(shown.contains("for aws-lambda-x86"), "the breakdown names its tariff: {shown}");
    for part in bar_names() {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    press(&mut model, "u");
    let shown = text(&model);
    assert!(shown.contains("sums of the cold nop so far"), "{shown}");
    // A millionth of ten times that.
    assert!(shown.contains("0.000002156"), "{shown}");
}

fn bar_names() -> [&'static str; 7] {
    crate::widgets::bar::NAMES
}

#[test]
fn a_failure_is_told_once_with_its_count_and_has_no_price() {
    let mut story = Story::new();
    for sequence in 1..=3 {
        story.failed(0, sequence, "exit code 7");
        story.ran(1, sequence, 1);
        story.failed(3, sequence, "exit code 7");
    }
    let snapshot = story.snapshot();
    let said: Vec<String> = snapshot.log.iter().map(ToString::to_string).collect();
    let told: Vec<&String> = said.iter().filter(|line| line.contains("exit code 7")).collect();
    assert_eq!(told, ["nop in native, cold: exit code 7 (6 x, also in another cell)"]);
    let mut model = testing::model((80, 24));
    model.snapshot = snapshot;
    let shown = text(&model);
    let bill = shown.lines().find(|line| line.contains("aws-lambda-x86 USD")).expect("a bill");
    let amounts: Vec<&str> = bill.split_whitespace().skip(3).collect();
    assert_eq!(amounts[0], "-", "nothing that ended well, no price: {shown}");
    assert_ne!(amounts[1], "-", "{shown}");
    assert!(shown.contains("3 failed: exit code 7"), "{shown}");
}

#[test]
fn nothing_is_a_third_empty_in_a_large_terminal() {
    let mut model = testing::model((200, 60));
    let mut story = Story::new();
    for sequence in 1..=10 {
        (0..6).for_each(|cell| story.ran(cell, sequence, 5 + u64::from(sequence)));
    }
    let mut snapshot = LiveSnapshot::clone(&story.snapshot());
    snapshot.began = Some(Nanos(testing::NOW.0 - 4_000_000_000));
    model.snapshot = Arc::new(snapshot);
    let lanes = lanes(&model);
    let native = &lanes[0];
    let empty = native.iter().filter(|line| line.is_empty()).count();
    assert!(empty * 3 < native.len(), "{}", text(&model));
    assert!(!native.last().expect("lines").is_empty(), "to the last line: {}", text(&model));
}

#[test]
fn what_runs_without_samples_is_not_idle() {
    let mut story = Story::new();
    story.ran(0, 1, 1);
    story.take(Fed::Event(Box::new(Event::Started { cell: 0, sequence: 2, count: 1 })));
    let sampled = |ago: u64| Fed::Sample {
        lane: Some("native".into()),
        sample: Sample {
            at: Nanos(testing::NOW.0 - ago * 1_000_000),
            meter: Meter::CpuTime,
            value: 5,
        },
    };
    let mut model = testing::model((80, 24));
    model.screens.live.zoom = Some(0);
    story.take(sampled(2_000));
    model.snapshot = story.snapshot();
    let shown = text(&model);
    assert!(shown.contains("????│"), "two seconds without a sample: {shown}");
    story.take(sampled(0));
    model.snapshot = story.snapshot();
    assert!(!text(&model).contains("????│"), "{}", text(&model));
}

#[test]
fn a_frozen_view_stays_while_events_go_on() {
    let mut model = testing::model((80, 24));
    let mut story = Story::new();
    story.ran(0, 1, 1);
    model.snapshot = story.snapshot();
    press(&mut model, "space");
    let frozen = model.snapshot.events;
    story.ran(0, 2, 50);
    model.snapshot = story.snapshot();
    let shown = text(&model);
    let behind = model.snapshot.events - frozen;
    // Started and finished.
    assert_eq!(behind, 2);
    assert!(shown.contains("frozen, 2 events behind; space goes on"), "{shown}");
    assert!(!shown.contains("50.0 ms"), "{shown}");
    press(&mut model, "space");
    assert!(text(&model).contains("50.0 ms"));
}

#[test]
fn keys_choose_what_is_shown_and_recorded() {
    let mut model = testing::model((80, 24));
    model.snapshot = testing::full();
    assert!(text(&model).contains("[nop] nbody "), "the first of the plan: {}", text(&model));
    press(&mut model, "]");
    assert!(text(&model).contains(" nop [nbody]"), "{}", text(&model));
    press(&mut model, "]");
    assert_eq!(
        model.screens.live.workload.as_deref(),
        Some("nop"),
        "after the last comes the first"
    );
    press(&mut model, "[");
    assert_eq!(model.screens.live.workload.as_deref(), Some("nbody"));
    press(&mut model, "t");
    assert_eq!(model.screens.live.start, Some(StartKind::Cold));
    press(&mut model, "right");
    assert_eq!(model.screens.live.lane, 1);
    press(&mut model, "o");
    press(&mut model, "c");
    assert!(model.screens.live.options.until_stopped && model.screens.live.options.race);
    assert!(text(&model).contains("next recording: until stopped, race"));
    // A recording is under way now.
    assert!(press(&mut model, "r").is_empty());
    assert!(text(&model).contains("stop it first"));
    assert!(matches!(press(&mut model, "x")[..], [Effect::Session(SessionCommand::Stop)]));
    press(&mut model, "w");
    press(&mut model, "space");
    press(&mut model, "enter");
    assert_eq!(model.screens.live.options.workloads, ["memory-burst", "nbody", "nop"]);
    let effects = press(&mut model, "esc");
    assert!(effects.is_empty() && model.screens.live.start.is_none());
}

#[test]
fn a_recording_starts_when_none_runs() {
    let mut model = testing::model((80, 24));
    model.opened = Some(3);
    assert!(press(&mut model, "x").is_empty(), "there is nothing to stop");
    let effects = press(&mut model, "r");
    let [Effect::Session(SessionCommand::Start(wanted, _))] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(**wanted, testing::wanted());
    assert_eq!(model.opened, None, "bills and timeline follow the new one");
}

#[test]
fn a_click_selects_a_lane() {
    let mut model = testing::model((80, 24));
    model.snapshot = testing::full();
    testing::click(&mut model, 40, 8);
    assert_eq!(model.screens.live.lane, 1);
    testing::click(&mut model, 40, 20);
    assert_eq!(model.screens.live.lane, 1, "bills are no lanes");
}

#[test]
fn colours_mean_what_they_say() {
    let mut model = testing::model((80, 24));
    model.theme = Theme::new(Palette::Terminal, false);
    model.snapshot = testing::full();
    let buffer = testing::buffer(&model);
    let find = |words: &str| {
        let lines: Vec<String> = text(&model).lines().map(str::to_owned).collect();
        let y = lines.iter().position(|line| line.contains(words)).expect("there");
        let x = lines[y].split(words).next().expect("before").chars().count();
        (u16::try_from(x).expect("narrow"), u16::try_from(y).expect("short"))
    };
    assert_eq!(buffer[find("0.2156")].fg, Color::Magenta, "coarse");
    assert_eq!(buffer[find("cannot run here")].fg, Color::Yellow);
    assert_eq!(buffer[find("rec 60/60")].fg, Color::Green);
}

#[test]
fn many_lanes_scroll() {
    let mut model = testing::model((80, 24));
    let names = ["native", "wasmtime", "wasmtime:fuel", "docker", "docker:runsc"];
    model.screens.live.options.lanes =
        names.iter().map(|name| name.parse().expect("a lane")).collect();
    let first = text(&model);
    assert!(first.contains("native · nop (+2)") && !first.contains("runsc"), "{first}");
    for _ in 0..4 {
        model.screens.live.lane += 1;
    }
    let last = text(&model);
    assert!(last.contains("docker:runsc") && !last.contains("native"), "{last}");
}
