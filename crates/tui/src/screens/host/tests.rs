//! Tests of the host screen, with findings made by hand.

use std::sync::Arc;

use super::check_rows::{RowStatus, visible_rows};
use super::queries::answer;
use super::*;
use crate::query_worker::{QueryContext, QueryRequest as _};
use crate::screens::{ScreenId, ScreenRequest, ScreenResponse};
use crate::testing::{self, press};
use crate::theme::{Palette, StyleRole, Theme};
use crate::update::{AppMessage, advance_to, update};
use cyclometer_doctor::AvailableLane;
use cyclometer_lanes::{Cancel, StartKind, Status};
use cyclometer_record::SamplerReport;

fn finding(check: &str, state: Found, found: &str, fix: &str) -> HostFinding {
    HostFinding { check: check.to_owned(), state, found: found.to_owned(), fix: fix.to_owned() }
}

const NO_ENGINE: &str = "no Docker engine answers at unix:///var/run/docker.sock (the default): \
    connection refused; start it with `systemctl start docker`, or name another with DOCKER_HOST";

/// Returns the findings of a group on a machine without counters.
fn found(part: CheckGroup) -> Vec<HostFinding> {
    let ok = |check, found| finding(check, Found::Ok, found, "");
    match part {
        CheckGroup::Machine => vec![
            ok("machine", "2 x Some CPU, 4.00 GiB of memory, Some Linux 12, kernel 6.1"),
            ok("TSC frequency", "2900.012 MHz, calibrated against the raw clock"),
            finding(
                "frequency governor",
                Found::Warning,
                "powersave",
                "cpupower frequency-set -g performance, for steadier figures",
            ),
            ok("capabilities", "CAP_SYS_ADMIN CAP_PERFMON"),
            ok("cgroups", "hybrid (v1 with v2 beside it), groups can be made"),
        ],
        CheckGroup::Meters => vec![
            finding(
                "meter cycles",
                Found::Missing,
                "this machine shows no hardware counters",
                "a machine, or a kind of virtual machine, that exposes the PMU",
            ),
            ok("meter ref_cycles", "perf:msr/tsc"),
            ok("meter cpu_time", "perf:sw: of the thread and its children"),
        ],
        CheckGroup::Cost => {
            vec![ok("cost of a counter read", "1.20 us for one counter, 4.00 us for all that open")]
        }
        CheckGroup::Containers => vec![finding("docker", Found::Missing, NO_ENGINE, "")],
        CheckGroup::Storage => vec![
            ok("database", "/home/someone/c.db, 3.00 MiB"),
            ok("in the database", "12 recordings, 3 simulations, 64.0 KiB free for more"),
            ok("compiled modules", "/home/someone/.cache/cyclometer"),
            ok("wasmtime", "48.0.2"),
        ],
        CheckGroup::Sampler => {
            vec![ok("sampler", "recording 6: every 10.0 ms, read 90 times, 1.00 ms of CPU")]
        }
    }
}

/// Responds to requests as that machine does, until there are none.
fn settle(model: &mut Model, effects: Vec<Effect>) -> Vec<HostRequest> {
    let mut asked = Vec::new();
    let mut open = effects;
    while let Some(effect) = open.pop() {
        let Effect::Query(ScreenRequest::Host(ask)) = effect else { panic!("asked elsewhere") };
        asked.push(ask.clone());
        let answer = match ask {
            HostRequest::Look(part) => {
                HostResponse::Found { part, findings: found(part), runtimes: Vec::new() }
            }
            HostRequest::Lane(spec) => {
                let about = AvailableLane {
                    version: "Linux process".to_owned(),
                    starts: vec![StartKind::Cold, StartKind::Warm],
                    note: "opened by hand".to_owned(),
                };
                let finding = LaneAvailability { name: spec.to_string(), about: Ok(about) };
                HostResponse::Lane { spec, finding }
            }
            HostRequest::Support(_) | HostRequest::Images => panic!("the picker asks this"),
        };
        open.extend(update(model, AppMessage::Response(ScreenResponse::Host(Box::new(answer)))));
    }
    asked
}

fn model(size: (u16, u16)) -> Model {
    let mut model = testing::model(size);
    model.screen = ScreenId::Host;
    model
}

fn row(model: &Model, check: &str) -> check_rows::HostRow {
    visible_rows(model).into_iter().find(|row| row.check == check).expect("a line")
}

#[test]
fn quick_parts_come_first_one_at_a_time_and_an_engine_that_hangs_last() {
    let mut model = model((80, 24));
    let effects = HostState::entered(&mut model);
    assert_eq!(effects.len(), 1);
    assert!(testing::text(&model).contains("looking"));
    assert!(advance_to(&mut model, testing::NOW).is_empty(), "one question at a time");
    let asked = settle(&mut model, effects);
    assert_eq!(asked.first(), Some(&HostRequest::Look(CheckGroup::Machine)));
    assert_eq!(asked.last(), Some(&HostRequest::Look(CheckGroup::Containers)));
    let opened: Vec<String> = asked
        .iter()
        .filter_map(
            |ask| if let HostRequest::Lane(spec) = ask { Some(spec.to_string()) } else { None },
        )
        .collect();
    let own: Vec<String> = LaneSpec::all_known()
        .iter()
        .map(ToString::to_string)
        .filter(|name| name != "docker")
        .collect();
    assert_eq!(opened, own, "without an engine no docker");
    assert_eq!(row(&model, "engine").mark, RowStatus::Known(Found::Missing));
    assert_eq!(row(&model, "docker").found, NO_ENGINE);
    assert!(!visible_rows(&model).iter().any(|row| row.mark == RowStatus::Looking));
}

#[test]
fn runtimes_of_the_engine_are_opened_too_and_known_to_the_live_screen() {
    let mut model = model((80, 24));
    let _ = HostState::entered(&mut model);
    let runsc = LaneSpec::Docker { runtime: Some("runsc".to_owned()), base: None };
    model.screens.host.queue.clear();
    model.screens.host.pending = Some(HostRequest::Look(CheckGroup::Containers));
    let engine = vec![finding("docker", Found::Ok, "29.0 at /var/run/docker.sock", "")];
    let answer = HostResponse::Found {
        part: CheckGroup::Containers,
        findings: engine,
        runtimes: vec![runsc.clone()],
    };
    let effects = HostState::answered(&mut model, answer);
    assert!(
        matches!(&effects[..], [Effect::Query(ScreenRequest::Host(HostRequest::Lane(spec)))] if *spec == runsc)
    );
    assert_eq!(model.screens.host.runtimes(), [runsc]);
    assert_eq!(row(&model, "docker:runsc").mark, RowStatus::Looking);
}

#[test]
fn nothing_is_opened_or_timed_while_something_is_recorded() {
    let mut model = model((80, 24));
    model.snapshot = testing::full();
    let effects = HostState::entered(&mut model);
    let asked = settle(&mut model, effects);
    assert!(
        !asked
            .iter()
            .any(|ask| matches!(ask, HostRequest::Lane(_) | HostRequest::Look(CheckGroup::Cost)))
    );
    // Lanes that the recording knows come first, the others later.
    assert_eq!(row(&model, "wasmtime").found, "wasmtime 48.0.2; cold, warm");
    assert!(row(&model, "docker").found.contains("docker.sock"));
    assert_eq!(row(&model, "wasmtime:fuel").mark, RowStatus::Later);
    assert_eq!(row(&model, "cost of a counter read").mark, RowStatus::Later);
    assert!(row(&model, "sampler").found.contains("recording 7: its cost is known when"));

    let mut story = testing::Story::new();
    story.ended(Status::Ok);
    model.snapshot = story.snapshot();
    let effects = advance_to(&mut model, testing::NOW);
    let asked = settle(&mut model, effects);
    assert!(asked.contains(&HostRequest::Look(CheckGroup::Cost)), "{asked:?}");
    assert!(
        asked.contains(&HostRequest::Lane("wasmtime:fuel".parse().expect("a lane"))),
        "{asked:?}"
    );
    assert!(
        !asked.contains(&HostRequest::Lane(LaneSpec::Native)),
        "the recording opened it already"
    );
}

#[test]
fn the_sampler_is_told_as_a_share_of_the_recording() {
    let mut story = testing::Story::new();
    story.ended(Status::Ok);
    let mut snapshot = (*story.snapshot()).clone();
    // The recording took 60 s: 150 ms are 0.25 %.
    snapshot.sampler = Some(SamplerReport {
        interval: Nanos(10_000_000),
        ticks: 5_900,
        cpu: Nanos(150_000_000),
        dropped: 0,
    });
    snapshot.dropped = 12;
    let mut model = model((80, 24));
    model.snapshot = Arc::new(snapshot.clone());
    assert_eq!(
        row(&model, "sampler").found,
        "recording 7: every 10.0 ms, read 5900 times, 150 ms of CPU, 0.3% of the time"
    );
    assert_eq!(row(&model, "sampler").mark, RowStatus::Known(Found::Ok));
    assert_eq!(
        row(&model, "events not shown").found,
        "12 events came too fast to be shown; they are in the database"
    );
    assert_eq!(row(&model, "events not shown").mark, RowStatus::Known(Found::Warning));
    assert_eq!(row(&model, "samples not shown").found, "none");
    snapshot.sampler = snapshot.sampler.map(|it| SamplerReport { dropped: 3, ..it });
    model.snapshot = Arc::new(snapshot);
    assert_eq!(row(&model, "sampler").mark, RowStatus::Known(Found::Warning));
    assert!(row(&model, "sampler").found.ends_with("3 samples dropped"));
}

#[test]
fn looking_again_opens_what_the_recording_opened() {
    let mut story = testing::Story::new();
    story.ended(Status::Ok);
    let mut model = model((80, 24));
    model.snapshot = story.snapshot();
    let effects = HostState::entered(&mut model);
    let asked = settle(&mut model, effects);
    assert!(!asked.contains(&HostRequest::Lane(LaneSpec::Native)));
    let effects = press(&mut model, "r");
    let asked = settle(&mut model, effects);
    assert!(asked.contains(&HostRequest::Lane(LaneSpec::Native)));
    assert!(row(&model, "native").found.ends_with("opened by hand"));
}

#[test]
fn filters_keep_lines_with_all_words_and_enter_shows_one_in_full() {
    let mut model = model((80, 24));
    let effects = HostState::entered(&mut model);
    settle(&mut model, effects);
    let all = visible_rows(&model).len();
    for key in ["/", "m", "i", "s", "s", "i", "n", "g", " ", "h", "a", "r", "d"] {
        press(&mut model, key);
    }
    assert_eq!(
        visible_rows(&model).iter().map(|row| &*row.check).collect::<Vec<_>>(),
        ["meter cycles"]
    );
    press(&mut model, "enter");
    press(&mut model, "enter");
    let Some(Overlay::Text { text, .. }) = &model.overlay else { panic!("not shown") };
    assert!(text.contains("what to do: a machine, or a kind of virtual machine"), "{text}");
    press(&mut model, "esc");
    press(&mut model, "esc");
    assert_eq!(visible_rows(&model).len(), all);
    assert_eq!(HostState::table(&model).to_json().as_array().map(Vec::len), Some(all));
}

#[test]
fn long_reasons_can_be_read_in_full() {
    let mut model = model((80, 24));
    let effects = HostState::entered(&mut model);
    settle(&mut model, effects);
    model.screens.host.cursor =
        visible_rows(&model).iter().position(|row| row.check == "docker").expect("a line");
    let text = testing::text(&model);
    // The list cuts the text; the panel below shows its end.
    let words: Vec<&str> = text.split(|it: char| it.is_whitespace() || it == '│').collect();
    assert!(words.contains(&"DOCKER_HOST"), "{text}");
}

#[test]
fn a_page_is_as_long_as_the_last_frame_showed_it() {
    let mut model = model((80, 24));
    let effects = HostState::entered(&mut model);
    settle(&mut model, effects);
    crate::frame::lay_out(&mut model);
    // The terminal has grown, but the user has not seen it yet.
    model.size = (80, 60);
    HostState::apply_action(&mut model, UserAction::PageDown);
    // Of 22 lines a third is for the selected row; of the others the frame takes two,
    // and two are shown again.
    assert_eq!(model.screens.host.cursor, 22 - 7 - 2 - 2);
    update(&mut model, AppMessage::Resize(80, 60));
    HostState::apply_action(&mut model, UserAction::First);
    HostState::apply_action(&mut model, UserAction::PageDown);
    // The selected row never gets more than nine lines.
    assert_eq!(model.screens.host.cursor, 58 - 9 - 2 - 2);
}

#[test]
fn clicks_select_lines_and_not_headings() {
    let mut model = model((80, 24));
    let effects = HostState::entered(&mut model);
    settle(&mut model, effects);
    // Tabs, the frame, a heading, then the lines.
    testing::click(&mut model, 5, 5);
    assert_eq!(visible_rows(&model)[model.screens.host.cursor].check, "frequency governor");
    testing::click(&mut model, 5, 2);
    assert_eq!(visible_rows(&model)[model.screens.host.cursor].check, "frequency governor");
}

#[test]
fn states_have_a_sign_a_word_and_a_colour() {
    let mut model = model((80, 24));
    let effects = HostState::entered(&mut model);
    settle(&mut model, effects);
    model.theme = Theme::new(Palette::Terminal, true);
    let buffer = testing::buffer(&model);
    let line = |y: u16| (0..80).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    assert!(line(5).contains("! warning"), "{}", line(5));
    assert_eq!(Some(buffer[(2, 5)].fg), model.theme.style(StyleRole::Warn).fg);
    assert!(line(4).contains("+ ok"), "{}", line(4));
}

#[test]
fn questions_of_other_parts_are_not_replaced() {
    let look = HostRequest::Look(CheckGroup::Machine);
    assert!(look.supersedes(&HostRequest::Look(CheckGroup::Machine)));
    assert!(!look.supersedes(&HostRequest::Look(CheckGroup::Cost)));
    assert!(!look.supersedes(&HostRequest::Lane(LaneSpec::Native)));
}

#[test]
fn this_machine_answers() {
    let model = testing::model((80, 24));
    let mut context = QueryContext::new(Arc::clone(&model.settings), Cancel::default());
    for part in [CheckGroup::Machine, CheckGroup::Storage, CheckGroup::Meters, CheckGroup::Sampler]
    {
        let HostResponse::Found { part: answered, findings, .. } =
            answer(&mut context, HostRequest::Look(part))
        else {
            panic!("something else")
        };
        assert_eq!(answered, part);
        assert!(!findings.is_empty());
    }
}

#[test]
fn pictures() {
    for size in testing::SIZES {
        let name = |what: &str| format!("{what}-{}x{}", size.0, size.1);
        let mut model = model(size);
        let effects = HostState::entered(&mut model);
        insta::assert_snapshot!(name("loading"), testing::text(&model));
        settle(&mut model, effects);
        insta::assert_snapshot!(name("full"), testing::text(&model));
        model.screens.host.cursor =
            visible_rows(&model).iter().position(|row| row.check == "docker").expect("a line");
        insta::assert_snapshot!(name("docker"), testing::text(&model));
        press(&mut model, "G");
        insta::assert_snapshot!(name("end"), testing::text(&model));
        HostState::set_filter(&mut model, "nothing".to_owned());
        insta::assert_snapshot!(name("filter-none"), testing::text(&model));

        let mut model = self::model(size);
        model.snapshot = testing::full();
        let effects = HostState::entered(&mut model);
        settle(&mut model, effects);
        insta::assert_snapshot!(name("recording"), testing::text(&model));
    }
    let mut model = model((60, 16));
    let effects = HostState::entered(&mut model);
    settle(&mut model, effects);
    model.theme = Theme::new(Palette::Mono, true);
    insta::assert_snapshot!("ascii-60x16", testing::text(&model));
}

/// Returns the lane, the question or the check of a request.
fn asked(effects: &[Effect]) -> HostRequest {
    let [Effect::Query(ScreenRequest::Host(ask))] = effects else { panic!("{effects:?}") };
    ask.clone()
}

#[test]
fn the_picker_asks_each_lane_once_and_no_lane_of_an_engine_that_is_not_there() {
    let mut model = testing::model((80, 24));
    let workloads: Vec<_> = model.catalog.iter().cloned().collect();
    let mut effects = request_for_picker(&mut model, &workloads);
    let mut lanes = Vec::new();
    while !effects.is_empty() {
        let answer = match asked(&effects) {
            HostRequest::Support(question) => {
                lanes.push(question.spec.to_string());
                let about = if question.spec == LaneSpec::Native {
                    Err("a test".to_owned())
                } else {
                    Ok(AvailableLane {
                        version: String::new(),
                        starts: Vec::new(),
                        note: String::new(),
                    })
                };
                let finding = LaneAvailability { name: question.spec.to_string(), about };
                let refusals = question
                    .workloads
                    .iter()
                    .map(|it| (it.name == "nop").then(|| "nop does not fit".to_owned()));
                let refusals = if finding.about.is_ok() { refusals.collect() } else { Vec::new() };
                HostResponse::Support { question, finding, refusals }
            }
            HostRequest::Look(part) => {
                HostResponse::Found { part, findings: found(part), runtimes: Vec::new() }
            }
            other => panic!("{other:?}"),
        };
        let response = ScreenResponse::Host(Box::new(answer));
        effects = update(&mut model, AppMessage::Response(response));
    }
    assert!(lanes.contains(&"native".to_owned()) && lanes.contains(&"runc".to_owned()));
    assert!(!lanes.contains(&"docker".to_owned()), "there is no engine: {lanes:?}");
    assert_eq!(model.screens.host.images(), Some(&Err(NO_ENGINE.to_owned())));
    assert_eq!(find_known_lane(&model, "docker"), Some(Err(NO_ENGINE.to_owned())));
    let nop = model.catalog.get("nop").expect("there").clone();
    let said = |model: &Model, lane: &str| {
        model.screens.host.find_answer(lane, &nop).map(|answer| answer.refusal.clone())
    };
    assert_eq!(said(&model, "wasmtime"), Some(Some("nop does not fit".to_owned())));
    assert_eq!(said(&model, "native"), None, "a lane that did not open said nothing");
    // The next time only those are opened that may run by now.
    let effects = request_for_picker(&mut model, &workloads);
    let HostRequest::Support(question) = asked(&effects) else { panic!("{effects:?}") };
    assert_eq!(question.spec, LaneSpec::Native);
}

#[test]
fn the_picker_opens_no_lane_while_something_is_recorded() {
    let mut model = testing::model((80, 24));
    model.snapshot = testing::full();
    let workloads: Vec<_> = model.catalog.iter().cloned().collect();
    let effects = request_for_picker(&mut model, &workloads);
    assert_eq!(asked(&effects), HostRequest::Look(CheckGroup::Containers));
}
