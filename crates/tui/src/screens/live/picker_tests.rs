//! Tests of the picker: functions that are added, and what cannot run here.

use std::path::Path;
use std::sync::Arc;

use insta::assert_snapshot;

use crate::action::Effect;
use crate::model::Model;
use crate::overlay::Overlay;
use crate::query_worker::QueryContext;
use crate::screens::host::HostResponse;
use crate::screens::live::queries::answer;
use crate::screens::{ScreenRequest, ScreenResponse};
use crate::session::SessionCommand;
use crate::testing::{self, SIZES, press, text};
use crate::update::{AppMessage, update};
use cyclometer_core::units::Bytes;
use cyclometer_doctor::{AvailableLane, LaneAvailability};
use cyclometer_lanes::docker::EngineImage;
use cyclometer_lanes::{Cancel, LaneSpec, StartKind};
use cyclometer_workload::{CpuShare, CpuShareRule, SandboxRules};

const NO_ENGINE: &str = "no Docker engine answers at unix:///var/run/docker.sock (the default): \
    connection refused; start it with `systemctl start docker`, or name another with DOCKER_HOST";

/// Answers requests to the live screen by its worker, and drops those to others.
fn settle(model: &mut Model, effects: Vec<Effect>) {
    let mut open = effects;
    while let Some(effect) = open.pop() {
        let Effect::Query(ScreenRequest::Live(ask)) = effect else { continue };
        let mut context = QueryContext::new(Arc::clone(&model.settings), Cancel::default());
        let response = ScreenResponse::Live(Box::new(answer(&mut context, ask)));
        open.extend(update(model, AppMessage::Response(response)));
    }
}

/// Tells what opening a lane found.
fn open_lane(model: &mut Model, name: &str, about: Result<&str, &str>) {
    let about = about.map_err(str::to_owned).map(|version| AvailableLane {
        version: version.to_owned(),
        starts: vec![StartKind::Cold],
        note: String::new(),
    });
    let spec: LaneSpec = name.parse().expect("a lane");
    let finding = LaneAvailability { name: name.to_owned(), about };
    let response = ScreenResponse::Host(Box::new(HostResponse::Lane { spec, finding }));
    update(model, AppMessage::Response(response));
}

fn list_images(model: &mut Model, images: Result<&[&str], &str>) {
    let image = |name: &&str| EngineImage { name: (*name).to_owned(), size: Some(Bytes(12 << 20)) };
    let images = images.map(|names| names.iter().map(image).collect()).map_err(str::to_owned);
    let response = ScreenResponse::Host(Box::new(HostResponse::Images(images)));
    update(model, AppMessage::Response(response));
}

fn write_line(model: &mut Model, line: &str) {
    update(model, AppMessage::Paste(line.to_owned()));
}

/// Adds the function of a line as the user does.
fn add(model: &mut Model, line: &str) {
    let effects = press(model, "a");
    settle(model, effects);
    write_line(model, line);
    let effects = press(model, "enter");
    settle(model, effects);
}

fn module(place: &Path, name: &str) -> String {
    let path = place.join(name);
    std::fs::write(&path, "(module (func (export \"_start\")))").expect("written");
    path.display().to_string()
}

fn lanes(model: &Model) -> Vec<String> {
    model.screens.live.options.lanes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_function_that_is_added_is_chosen_with_the_lanes_that_run_it() {
    let place = tempfile::tempdir().expect("a folder");
    let mut model = testing::model((80, 24));
    add(&mut model, &format!("'{}' 3 'a b'", module(place.path(), "my fn.wat")));
    assert_eq!(model.overlay, None, "{}", text(&model));
    assert_eq!(model.screens.live.options.workloads, ["my fn"], "in the place of the examples");
    assert_eq!(lanes(&model), ["wasmtime"]);
    assert!(text(&model).contains("r records my fn in wasmtime"), "{}", text(&model));
    let preset = model.catalog.get("my fn").expect("there").presets.values().next();
    assert_eq!(preset.expect("one").args, ["3", "a b"]);
    // A second one stands beside it, and brings its lane.
    add(&mut model, "sh -c true");
    assert_eq!(model.screens.live.options.workloads, ["my fn", "sh"]);
    assert_eq!(lanes(&model), ["wasmtime", "native"]);
    let effects = press(&mut model, "r");
    let [Effect::Session(SessionCommand::Start(options, catalog))] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(options.workloads, ["my fn", "sh"]);
    assert!(catalog.get("sh").is_ok(), "the recording gets the catalog that has it");
}

#[test]
fn what_is_wrong_is_told_in_the_field_and_changes_nothing() {
    let mut model = testing::model((80, 24));
    let before = Arc::clone(&model.catalog);
    add(&mut model, "./no-such.wasm");
    let shown = text(&model);
    assert!(shown.contains("> ./no-such.wasm_"), "the line can be mended: {shown}");
    assert!(shown.contains("cannot read ./no-such.wasm: No such file"), "{shown}");
    assert!(Arc::ptr_eq(&model.catalog, &before));
    assert_eq!(model.screens.live.options, testing::wanted());
    press(&mut model, "backspace");
    assert!(!text(&model).contains("No such file"), "it is being written again");
    press(&mut model, "esc");
    assert_eq!(model.overlay, None);
}

#[test]
fn a_field_that_was_closed_chooses_nothing() {
    let mut model = testing::model((80, 24));
    press(&mut model, "a");
    write_line(&mut model, "sh");
    let effects = press(&mut model, "enter");
    assert!(text(&model).contains("reading it"), "{}", text(&model));
    press(&mut model, "x");
    press(&mut model, "esc");
    settle(&mut model, effects);
    assert_eq!(model.screens.live.options, testing::wanted());
    assert!(text(&model).contains("sh can be chosen now"), "{}", text(&model));
}

#[test]
fn functions_that_are_added_at_the_same_time_are_both_there() {
    let mut model = testing::model((80, 24));
    let mut effects = Vec::new();
    for line in ["sh", "true"] {
        press(&mut model, "a");
        write_line(&mut model, line);
        effects.extend(press(&mut model, "enter"));
        if line == "sh" {
            press(&mut model, "esc");
        }
    }
    // The worker answers in the order of the requests, of which it got both at once.
    effects.reverse();
    settle(&mut model, effects);
    assert!(model.catalog.get("sh").is_ok() && model.catalog.get("true").is_ok());
    assert_eq!(model.screens.live.options.workloads, ["true"], "the other field was closed");
    assert_eq!(model.overlay, None);
}

#[test]
fn an_image_that_cannot_be_added_leaves_the_plan_as_it_was() {
    let mut model = testing::model((80, 24));
    press(&mut model, "w");
    list_images(&mut model, Ok(&["-bad"]));
    press(&mut model, "G");
    press(&mut model, "space");
    let effects = press(&mut model, "enter");
    settle(&mut model, effects);
    assert_eq!(model.screens.live.options, testing::wanted());
    assert!(text(&model).contains("no name of an image"), "{}", text(&model));
}

#[test]
fn paths_are_completed_unless_the_line_has_changed() {
    let place = tempfile::tempdir().expect("a folder");
    let path = module(place.path(), "fn-one.wat");
    module(place.path(), "fn-two.wat");
    let mut model = testing::model((120, 40));
    press(&mut model, "a");
    write_line(&mut model, &format!("{}/f", place.path().display()));
    let effects = press(&mut model, "tab");
    settle(&mut model, effects);
    let shown = text(&model);
    assert!(shown.contains("fn-one.wat  fn-two.wat"), "{shown}");
    press(&mut model, "o");
    let effects = press(&mut model, "tab");
    press(&mut model, "x");
    settle(&mut model, effects);
    let Some(Overlay::Field(field)) = &model.overlay else { panic!("no field") };
    assert!(field.text.ends_with("/fn-ox"), "{}", field.text);
    press(&mut model, "backspace");
    let effects = press(&mut model, "tab");
    settle(&mut model, effects);
    let Some(Overlay::Field(field)) = &model.overlay else { panic!("no field") };
    assert_eq!(field.text, format!("{path} "));
}

#[test]
fn lanes_that_cannot_run_are_dim_and_never_chosen() {
    for (columns, lines) in SIZES.into_iter().chain([(120, 40), (60, 16)]) {
        let mut model = testing::model((columns, lines));
        open_lane(&mut model, "native", Ok("Linux process"));
        open_lane(&mut model, "docker", Err(NO_ENGINE));
        press(&mut model, "n");
        for _ in 0..cursor_of(&model, "docker") {
            press(&mut model, "down");
        }
        press(&mut model, "space");
        assert_snapshot!(format!("lanes_{columns}x{lines}"), text(&model));
        press(&mut model, "*");
        let Some(Overlay::Choice { items, .. }) = &model.overlay else { panic!("no choice") };
        let docker = items.iter().find(|item| item.name == "docker").expect("listed");
        assert!(!docker.on && items.iter().filter(|item| item.on).count() > 2);
        press(&mut model, "enter");
        assert!(!lanes(&model).contains(&"docker".to_owned()), "{:?}", lanes(&model));
    }
}

#[test]
fn a_click_turns_a_lane_on_or_off_and_one_that_cannot_run_says_why() {
    let mut model = testing::model((80, 24));
    open_lane(&mut model, "docker", Err(NO_ENGINE));
    press(&mut model, "n");
    let line_of = |model: &Model, name: &str| {
        let shown = text(model);
        let at = shown.lines().position(|line| line.contains(name)).expect(name);
        u16::try_from(at).expect("short")
    };
    let y = line_of(&model, "[x] native");
    testing::click(&mut model, 20, y);
    assert!(text(&model).contains("[ ] native"), "{}", text(&model));
    let y = line_of(&model, " -  docker");
    testing::click(&mut model, 20, y);
    assert!(text(&model).contains("connection refused; start it with"), "{}", text(&model));
    let (before, y) = (text(&model), line_of(&model, "space: on or off"));
    testing::click(&mut model, 20, y);
    testing::click(&mut model, 0, 0);
    assert_eq!(text(&model), before, "nothing else can be clicked");
}

/// Returns the position of an item in the choice that is open.
fn cursor_of(model: &Model, name: &str) -> usize {
    let Some(Overlay::Choice { items, .. }) = &model.overlay else { panic!("no choice") };
    items.iter().position(|item| item.name == name).expect(name)
}

#[test]
fn a_lane_that_runs_no_chosen_workload_says_so() {
    let place = tempfile::tempdir().expect("a folder");
    let mut model = testing::model((80, 24));
    add(&mut model, &module(place.path(), "fn.wat"));
    press(&mut model, "n");
    let shown = text(&model);
    assert!(shown.contains(" -  native") && shown.contains("fn has no program"), "{shown}");
    press(&mut model, "space");
    press(&mut model, "enter");
    assert_eq!(lanes(&model), ["wasmtime"]);
}

#[test]
fn a_lane_that_turns_out_not_to_run_is_turned_off_while_it_is_shown() {
    let mut model = testing::model((80, 24));
    press(&mut model, "n");
    press(&mut model, "down");
    let at = cursor_of(&model, "docker");
    let is_on = |model: &Model| {
        let Some(Overlay::Choice { items, .. }) = &model.overlay else { panic!("no choice") };
        items[at].on
    };
    assert!(is_on(&model), "nothing is known of it yet");
    open_lane(&mut model, "docker", Err(NO_ENGINE));
    assert!(!is_on(&model));
    let Some(Overlay::Choice { cursor, .. }) = &model.overlay else { panic!("no choice") };
    assert_eq!(*cursor, 1, "the cursor stays");
}

#[test]
fn workloads_are_listed_with_images_and_the_item_that_adds_one() {
    for (columns, lines) in SIZES.into_iter().chain([(120, 40), (60, 16)]) {
        let mut model = testing::model((columns, lines));
        press(&mut model, "w");
        list_images(&mut model, Ok(&["alpine:3", "me/fn:1"]));
        assert_snapshot!(format!("workloads_{columns}x{lines}"), text(&model));
        list_images(&mut model, Err(NO_ENGINE));
        press(&mut model, "G");
        assert_snapshot!(format!("no_images_{columns}x{lines}"), text(&model));
    }
}

#[test]
fn an_image_that_is_chosen_in_the_list_is_added() {
    let mut model = testing::model((80, 24));
    press(&mut model, "w");
    list_images(&mut model, Ok(&["alpine:3", "me/fn:1"]));
    // All workloads are turned on, and off again; all images would be too many.
    press(&mut model, "*");
    let Some(Overlay::Choice { items, .. }) = &model.overlay else { panic!("no list") };
    assert_eq!(items.iter().filter(|item| item.on).count(), 4);
    press(&mut model, "esc");
    press(&mut model, "w");
    press(&mut model, "G");
    press(&mut model, "space");
    let effects = press(&mut model, "enter");
    settle(&mut model, effects);
    assert_eq!(model.screens.live.options.workloads, ["nbody", "nop", "fn"]);
    assert_eq!(model.catalog.get("fn").expect("added").image.as_deref(), Some("me/fn:1"));
    assert_eq!(lanes(&model), ["native", "wasmtime", "docker"]);
}

#[test]
fn an_image_without_an_engine_is_in_the_list_but_is_not_recorded() {
    let mut model = testing::model((80, 24));
    for lane in LaneSpec::all_known().iter().filter(|lane| !matches!(lane, LaneSpec::Native)) {
        open_lane(&mut model, &lane.to_string(), Err(NO_ENGINE));
    }
    add(&mut model, "image:me/fn");
    let shown = text(&model);
    assert!(shown.contains("no lane that is chosen runs fn: docker: no Docker"), "{shown}");
    let effects = press(&mut model, "r");
    let starts = |effect: &Effect| matches!(effect, Effect::Session(_));
    assert!(!effects.iter().any(starts), "nothing starts that cannot run: {effects:?}");
    press(&mut model, "w");
    let shown = text(&model);
    assert!(shown.contains(" -  fn") && shown.contains("docker: no Docker engine"), "{shown}");
}

#[test]
fn the_list_can_be_left_for_adding_a_function_and_keeps_what_was_turned_on() {
    let mut model = testing::model((80, 24));
    press(&mut model, "w");
    press(&mut model, "space");
    for _ in 0..cursor_of(&model, "add a function ...") {
        press(&mut model, "down");
    }
    press(&mut model, "enter");
    write_line(&mut model, "sh");
    let effects = press(&mut model, "enter");
    settle(&mut model, effects);
    let Some(Overlay::Choice { items, .. }) = &model.overlay else { panic!("no list") };
    let on: Vec<&str> = items.iter().filter(|it| it.on).map(|it| &*it.name).collect();
    assert_eq!(on, ["memory-burst", "nbody", "nop", "sh"]);
    press(&mut model, "enter");
    assert_eq!(model.screens.live.options.workloads, ["memory-burst", "nbody", "nop", "sh"]);
}

#[test]
fn the_field_at_every_size() {
    for (columns, lines) in SIZES.into_iter().chain([(120, 40), (60, 16)]) {
        let mut model = testing::model((columns, lines));
        press(&mut model, "a");
        write_line(&mut model, "image:me/fn:1 --size 3");
        assert_snapshot!(format!("field_{columns}x{lines}"), text(&model));
        let effects = press(&mut model, "u");
        assert!(effects.is_empty());
        write_line(&mut model, "\u{1b}[2J 'open");
        let effects = press(&mut model, "enter");
        settle(&mut model, effects);
        assert_snapshot!(format!("field_failed_{columns}x{lines}"), text(&model));
    }
}

#[test]
fn loosened_rules_and_the_share_of_a_cpu_are_in_the_plan() {
    let mut model = testing::model((80, 24));
    model.screens.live.options.rules = SandboxRules { network: true, ..SandboxRules::default() };
    model.screens.live.options.cpu_share = Some(CpuShareRule::Fixed(CpuShare(500)));
    let first = |model: &Model| text(model).lines().nth(1).expect("a line").to_owned();
    assert!(first(&model).ends_with("one lane at a time · network, 0.5 CPU"), "{}", first(&model));
    model.size = (60, 16);
    assert!(first(&model).ends_with("10 runs · network, 0.5 CPU"), "{}", first(&model));
    // A recording that runs has its own.
    let mut snapshot = testing::full();
    Arc::make_mut(&mut snapshot).plan.conditions = "writable root".to_owned();
    model.snapshot = snapshot;
    model.size = (80, 24);
    assert!(first(&model).ends_with(" · writable root"), "{}", first(&model));
}
