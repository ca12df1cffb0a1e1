//! Tests of keys, responses and the passage of time, with amounts computed by hand.

use super::fixture::{
    MIB, MS, RecordingScript, UsedResources, answer_all_requests, model_with_recording,
    open_bills_screen, open_loaded_screen, press_keys, select_model, worker_for_folder,
};
use super::queries::answer;
use super::*;
use crate::query_worker::QueryRequest;
use crate::screens::{ScreenRequest, ScreenResponse};
use crate::testing::{self, press};
use crate::update::{AppMessage, advance_to, update};

/// Returns the row of a model.
fn find_row<'a>(model: &'a Model, id: &str) -> &'a bill_table::ModelRow {
    let held = model.screens.bills.loaded.as_ref().expect("figures");
    held.table.rows.iter().find(|row| row.id == id).expect("a row")
}

fn exact_amount(model: &Model, id: &str, lane: usize) -> String {
    find_row(model, id).amount_in_lane(lane).expect("an amount").to_plain_string()
}

fn current_detail(model: &Model) -> &BillDetail {
    model.screens.bills.detail.as_ref().expect("a detail")
}

fn count_table_requests(effects: &[Effect]) -> usize {
    effects
        .iter()
        .filter(|it| matches!(it, Effect::Query(ScreenRequest::Bills(BillsRequest::Table { .. }))))
        .count()
}

#[test]
fn the_figures_are_those_of_the_hand() {
    let (_folder, mut context, mut model) = open_loaded_screen((200, 60));
    // 1 GiB x 0.12 s x 0.0000166667 + 0.0000002 = 0.000002200004 each.
    assert_eq!(exact_amount(&model, "aws-lambda-x86", 0), "2.200004");
    // 120,000,000 ticks x 0.0115 / 10^12.
    assert_eq!(exact_amount(&model, "per-cycle", 0), "1.38");
    // Two of 180 ms and two of 3 ms: 0.183 / 2 GB-s x 0.0000166667 + 0.0000002.
    assert_eq!(exact_amount(&model, "aws-lambda-x86", 1), "1.72500305");
    select_model(&mut model, "aws-lambda-x86");
    let told = current_detail(&model);
    // Half of 2.000004 is idle; of the other half a sixteenth is touched.
    let parts: Vec<&str> = told.parts.iter().map(|part| part.trim()).collect();
    assert_eq!(parts, ["0.0625", "1", "0.9375", "0", "0", "0.2", "0"]);
    assert!(told.comparisons.iter().any(|it| it.ends_with("per-cycle (fine): coarse 1.59x")));
    // 360,000 GB-s are free; 2,000,000 requests are not.
    press_keys(&mut model, &mut context, &["}", "}", "}", "}", "}"]);
    assert_eq!(exact_amount(&model, "aws-lambda-x86", 0), "0.4");
    // 720,000 - 400,000 GB-s x 0.0000166667 = 5.333344, and the requests.
    press_keys(&mut model, &mut context, &["]", "]", "]", "]", "]", "]"]);
    assert_eq!(
        model.screens.bills.loaded.as_ref().expect("figures").request.source.memory.map(|it| it.0),
        Some(2_048 * MIB)
    );
    assert_eq!(exact_amount(&model, "aws-lambda-x86", 0), "5.73");
    // Without nop: two of 180 ms at 2 GiB are 1,080,000 GB-s.
    press_keys(&mut model, &mut context, &["w"]);
    assert_eq!(model.screens.bills.workload.as_deref(), Some("nbody"));
    // 680,000 x 0.0000166667 = 11.333356.
    assert_eq!(exact_amount(&model, "aws-lambda-x86", 1), "11.73");
}

#[test]
fn what_is_missing_says_why() {
    let (_folder, mut context, mut model) = open_loaded_screen((80, 24));
    let reason = |model: &Model, id: &str, lane: usize| {
        find_row(model, id).cells[lane].price.clone().expect_err("missing")
    };
    assert!(reason(&model, "aws-lambda-x86", 2).starts_with("the lane could not run: no Docker"));
    assert!(reason(&model, "per-wasm-op", 0).starts_with("refused 4 of 4: `wasm_ops`"));
    assert!(reason(&model, "aws-fargate-arm", 0).starts_with("there are monthly charges only"));
    press_keys(&mut model, &mut context, &["t", "t"]);
    assert_eq!(reason(&model, "aws-lambda-x86", 0), "no warm start was recorded in native");
    // They come last in either direction of the order.
    for key in ["S", "S"] {
        press_keys(&mut model, &mut context, &[key]);
        let held = model.screens.bills.loaded.as_ref().expect("figures");
        let there = model
            .screens
            .bills
            .visible_rows
            .iter()
            .map(|at| held.table.rows[*at].amount_in_lane(0).is_some());
        let there: Vec<bool> = there.collect();
        assert!(there.is_sorted_by(|one, other| one >= other), "{there:?}");
    }
    // Enter shows the full reason.
    press_keys(&mut model, &mut context, &["enter"]);
    let text = "no warm start was recorded in native";
    assert!(matches!(&model.overlay, Some(Overlay::Text { text: shown, .. }) if shown == text));
}

#[test]
fn currencies_stand_apart_and_dollars_first() {
    let (_folder, mut context, mut model) = open_loaded_screen((80, 24));
    for reverse in [false, true] {
        let held = model.screens.bills.loaded.as_ref().expect("figures");
        let rows = model.screens.bills.visible_rows.iter().map(|at| &held.table.rows[*at]);
        let sold = rows.filter(|row| row.is_sold());
        let priced: Vec<_> = sold.filter_map(|row| Some((row, row.amount_in_lane(0)?))).collect();
        let mut currencies: Vec<&str> = priced.iter().map(|(row, _)| &*row.currency).collect();
        currencies.dedup();
        assert_eq!(currencies, ["USD", "CNY", "EUR"]);
        let dollars = priced.iter().filter(|(row, _)| row.currency == "USD");
        let amounts: Vec<_> = dollars.map(|(_, amount)| *amount).collect();
        assert!(amounts.len() > 20);
        assert!(amounts.is_sorted_by(|one, other| if reverse {
            one >= other
        } else {
            one <= other
        }));
        press_keys(&mut model, &mut context, &["S"]);
    }
}

#[test]
fn the_selection_stays_on_its_model() {
    let (_folder, mut context, mut model) = open_loaded_screen((80, 24));
    let chosen = |model: &Model| {
        let held = model.screens.bills.loaded.as_ref().expect("figures");
        held.table.rows[model.screens.bills.visible_rows[model.screens.bills.selected_row]]
            .id
            .clone()
    };
    press_keys(&mut model, &mut context, &["j", "j", "j"]);
    let id = chosen(&model);
    for key in ["s", "s", "S", "right", "s", "]", "}"] {
        press_keys(&mut model, &mut context, &[key]);
        assert_eq!(chosen(&model), id, "after {key}");
    }
    assert_eq!(model.screens.bills.selected_lane, 1);
    press_keys(&mut model, &mut context, &["right", "right", "right"]);
    assert_eq!(model.screens.bills.selected_lane, 2, "there is no further lane");
    // A filter hides it, and clearing the filter shows it again.
    press_keys(&mut model, &mut context, &["/", "n", "e", "a", "r", "enter"]);
    assert_eq!((chosen(&model), model.screens.bills.visible_rows.len()), ("near".to_owned(), 1));
    press_keys(&mut model, &mut context, &["esc"]);
    assert_eq!(chosen(&model), id);
    press_keys(&mut model, &mut context, &["esc"]);
    assert_eq!((model.screens.bills.memory, model.screens.bills.volume), (0, 0));
    press_keys(&mut model, &mut context, &["G"]);
    assert_eq!(model.screens.bills.selected_row, model.screens.bills.visible_rows.len() - 1);
    press_keys(&mut model, &mut context, &["g"]);
    assert_eq!(model.screens.bills.selected_row, 0);
}

#[test]
fn what_nobody_sells_stands_apart_and_is_never_first() {
    let (_folder, mut context, mut model) = open_loaded_screen((120, 40));
    for _ in 0..6 {
        let held = model.screens.bills.loaded.as_ref().expect("figures");
        let sold = |at: &usize| held.table.rows[*at].is_sold();
        assert!(sold(&model.screens.bills.visible_rows[0]));
        assert!(
            model.screens.bills.visible_rows.is_sorted_by_key(|at| !sold(at)),
            "behind what is sold"
        );
        let detail = current_detail(&model);
        assert!(detail.cheapest.iter().all(|line| !line[0].starts_with("shape-")));
        assert!(detail.comparisons.iter().all(|line| !line.contains(" shape-")), "{detail:?}");
        press_keys(&mut model, &mut context, &["S"]);
        press_keys(&mut model, &mut context, &["s"]);
    }
    press_keys(&mut model, &mut context, &["G"]);
    let shown = testing::text(&model);
    assert!(shown.contains("nobody sells these:"), "{shown}");
    assert!(current_detail(&model).about.iter().any(|line| line.contains("nobody sells it")));
}

#[test]
fn a_filter_matches_what_is_seen_in_a_line() {
    let (_folder, mut context, mut model) = open_loaded_screen((120, 40));
    let found = |model: &mut Model, words: &str| {
        BillsState::set_filter(model, words.to_owned());
        let held = model.screens.bills.loaded.as_ref().expect("figures");
        let rows = model.screens.bills.visible_rows.iter().map(|at| &held.table.rows[*at]);
        rows.map(|row| (row.id.clone(), row.granularity, row.currency.clone())).collect::<Vec<_>>()
    };
    let hybrid = found(&mut model, "hybrid");
    assert!(!hybrid.is_empty());
    assert!(
        hybrid.iter().all(|row| row.1 == cyclometer_pricing::Granularity::Hybrid),
        "{hybrid:?}"
    );
    let euros = found(&mut model, "eur");
    assert!(
        !euros.is_empty() && euros.iter().all(|row| row.2 == "EUR" || row.0.contains("eur")),
        "{euros:?}"
    );
    // The filter matches the id together with its mark.
    assert_eq!(found(&mut model, "aws-lambda-arm?").len(), 1);
    let amount = {
        BillsState::set_filter(&mut model, String::new());
        let row = find_row(&model, "aws-lambda-x86");
        row.cells[0].price.as_ref().expect("billed").text.trim().to_owned()
    };
    assert!(found(&mut model, &amount).iter().any(|row| row.0 == "aws-lambda-x86"));
    press_keys(&mut model, &mut context, &["esc"]);
}

#[test]
fn ids_are_whole_and_all_lanes_in_sight_at_120x40() {
    let (_folder, _desk, model) = open_loaded_screen((120, 40));
    let shown = testing::text(&model);
    let held = model.screens.bills.loaded.as_ref().expect("figures");
    let heads = shown.lines().find(|line| line.contains(" grain ")).expect("headings");
    assert!(held.table.lanes.iter().all(|lane| heads.contains(&lane.name)), "{shown}");
    assert!(shown.contains("google-cloud-functions-gen1") || !shown.contains('~'), "{shown}");
    for sign in ["+ monthly charges on top", "? uncertain", "- missing"] {
        assert!(shown.contains(sign), "marks are explained: {shown}");
    }
}

#[test]
fn words_are_searched_in_id_name_and_provider() {
    let (_folder, _desk, mut model) = open_loaded_screen((80, 24));
    BillsState::set_filter(&mut model, "amazon edge".to_owned());
    let held = model.screens.bills.loaded.as_ref().expect("figures");
    let found: Vec<&str> =
        model.screens.bills.visible_rows.iter().map(|at| &*held.table.rows[*at].id).collect();
    assert_eq!(found, ["aws-lambda-edge"]);
    BillsState::set_filter(&mut model, "nothing has this".to_owned());
    assert!(model.screens.bills.visible_rows.is_empty() && model.screens.bills.detail.is_none());
    assert!(testing::text(&model).contains("no model has all of: nothing has this"));
}

#[test]
fn sizes_and_volumes_end_where_they_end() {
    let mut model = model_with_recording((80, 24), 1);
    assert_eq!(count_table_requests(&press(&mut model, "2")), 1);
    assert_eq!(count_table_requests(&press(&mut model, "[")), 0, "what was measured is the least");
    for _ in 0..20 {
        press(&mut model, "]");
        press(&mut model, "}");
    }
    let wish = current_query(&model).expect("a recording");
    assert_eq!(wish.source.memory.map(|it| it.0), Some(10_240 * MIB));
    assert_eq!(wish.view.month, Some(1_000_000_000));
    assert_eq!(count_table_requests(&press(&mut model, "}")), 0);
    assert_eq!(count_table_requests(&press(&mut model, "{")), 1);
}

#[test]
fn only_the_models_of_the_live_view() {
    let (_folder, mut context, mut model) = open_loaded_screen((80, 24));
    model.screens.live.models.push("aws-lambda-x86-2014".to_owned());
    let effects = advance_to(&mut model, testing::NOW);
    answer_all_requests(&mut model, &mut context, effects);
    // The model is no longer valid, and is shown because it was chosen.
    assert!(find_row(&model, "aws-lambda-x86-2014").marks.starts_with('*'));
    press_keys(&mut model, &mut context, &["p"]);
    let held = model.screens.bills.loaded.as_ref().expect("figures");
    assert_eq!(held.table.rows.len(), 3);
    model.screens.live.models.clear();
    let effects = advance_to(&mut model, testing::NOW);
    answer_all_requests(&mut model, &mut context, effects);
    assert!(testing::text(&model).contains("the live view has no price models"));
    press_keys(&mut model, &mut context, &["p"]);
    assert!(model.screens.bills.error.is_none());
}

#[test]
fn another_view_needs_no_other_sums() {
    let (_folder, mut context, mut model) = open_loaded_screen((80, 24));
    let before = Arc::clone(&model.screens.bills.loaded.as_ref().expect("figures").replayed);
    press_keys(&mut model, &mut context, &["w", "t", "}", "}"]);
    let after = &model.screens.bills.loaded.as_ref().expect("figures").replayed;
    assert!(Arc::ptr_eq(&before, after));
    press_keys(&mut model, &mut context, &["]"]);
    assert!(!Arc::ptr_eq(&before, &model.screens.bills.loaded.as_ref().expect("figures").replayed));
}

#[test]
fn an_answer_that_is_out_of_date_is_ignored() {
    let (_folder, mut context, mut model) = open_loaded_screen((80, 24));
    let mut first = press(&mut model, "]");
    let mut second = press(&mut model, "]");
    let (
        Some(Effect::Query(ScreenRequest::Bills(first))),
        Some(Effect::Query(ScreenRequest::Bills(second))),
    ) = (first.pop(), second.pop())
    else {
        panic!("two questions");
    };
    assert!(second.supersedes(&first));
    let late = answer(&mut context, first);
    update(&mut model, AppMessage::Response(ScreenResponse::Bills(Box::new(late))));
    let memory =
        |model: &Model| model.screens.bills.loaded.as_ref().and_then(|it| it.request.source.memory);
    assert_eq!(memory(&model), None, "what was shown stays");
    let newest = answer(&mut context, second);
    update(&mut model, AppMessage::Response(ScreenResponse::Bills(Box::new(newest))));
    assert_eq!(memory(&model).map(|it| it.0), Some(256 * MIB));
    // The arithmetic of a cell that is no longer selected is ignored too.
    let effects = press(&mut model, "enter");
    press(&mut model, "down");
    answer_all_requests(&mut model, &mut context, effects);
    assert_eq!(model.overlay, None);
}

#[test]
fn a_recording_that_grows_is_asked_for_at_most_once_a_second() {
    let (_folder, mut context, mut model) = open_loaded_screen((80, 24));
    let recording = model.opened.take();
    let grow = |model: &mut Model, done: u64| {
        let snapshot =
            cyclometer_record::live::LiveSnapshot { recording, done, ..Default::default() };
        model.snapshot = Arc::new(snapshot);
    };
    let at = |ms: u64| Nanos(testing::NOW.0 + ms * MS);
    grow(&mut model, 1);
    // An immediate response is followed by a pause of one second.
    assert_eq!(count_table_requests(&advance_to(&mut model, at(999))), 0);
    let effects = advance_to(&mut model, at(1_000));
    assert_eq!(count_table_requests(&effects), 1);
    grow(&mut model, 2);
    assert_eq!(
        count_table_requests(&advance_to(&mut model, at(1_400))),
        0,
        "an answer is on its way"
    );
    drawing_tests::draw_in_all_sizes("recomputing", &mut model);
    model.size = (80, 24);
    model.now = at(1_500);
    answer_all_requests(&mut model, &mut context, effects);
    assert!(!testing::text(&model).contains("recomputing: "));
    // The computation took half a second: five times that is left for other work.
    assert_eq!(count_table_requests(&advance_to(&mut model, at(3_999))), 0);
    let effects = advance_to(&mut model, at(4_000));
    assert_eq!(count_table_requests(&effects), 1);
    model.now = at(4_000);
    answer_all_requests(&mut model, &mut context, effects);
    assert_eq!(count_table_requests(&advance_to(&mut model, at(60_000))), 0, "nothing is new");
}

#[test]
fn figures_of_another_recording_are_not_shown() {
    let (folder, mut context, mut model) = open_loaded_screen((80, 24));
    let mut other = RecordingScript::new();
    other.add_lane("native", None);
    let cell = other.add_cell("native", "nop", StartKind::Cold);
    let used = UsedResources {
        start_ms: 1,
        run_ms: 1,
        cpu_ms: 1,
        peak_mib: 1,
        allocated_mib: 128,
        ops: None,
    };
    other.add_invocation(cell, 1, used);
    let other = other.write(&folder.path().join("c.db"));
    press_keys(&mut model, &mut context, &["w", "w"]);
    assert_eq!(model.screens.bills.workload.as_deref(), Some("nop"));
    model.screens.bills.workload = Some("nbody".to_owned());
    model.opened = Some(other);
    let effects = press(&mut model, "2");
    assert!(model.screens.bills.loaded.is_none() && model.screens.bills.detail.is_none());
    answer_all_requests(&mut model, &mut context, effects);
    assert_eq!(model.screens.bills.workload, None, "it has no nbody");
    // 0.125 GB x 2 ms x 0.0000166667 + 0.0000002.
    assert_eq!(exact_amount(&model, "aws-lambda-x86", 0), "0.204166675");
}

#[test]
fn the_arithmetic_can_be_followed() {
    let (_folder, mut context, mut model) = open_loaded_screen((80, 24));
    select_model(&mut model, "aws-lambda-x86");
    press_keys(&mut model, &mut context, &["]", "}", "}", "}", "}", "}", "right", "enter"]);
    let Some(Overlay::Text { title, text, .. }) = &model.overlay else { panic!("a text") };
    assert_eq!(title, "aws-lambda-x86 in wasmtime");
    for line in [
        "nbody in wasmtime, cold; nop in wasmtime, warm: 4 invocations at list prices",
        "    0.125 GiB x 0.18 s              = 0.0225 GB-s",
        "    sum                             = 0.04575 GB-s",
        // 0.04575 x 0.0000166667 + 0.0000008.
        "  total                               $0.000001562501525",
        "  / 4 x 1,000,000                   = $0.39062538125",
        "  assumed: 128 MiB of memory, whatever was given",
        "    0.04575 GB-s / 4 x 3,000,000    = 34,312.5 GB-s",
        "    free                            - 34,312.5 GB-s (of 400,000)",
        "    free                            - 1,000,000 requests",
        "    x $0.20 / 1,000,000             = $0.40             -> $0.40",
        "  total (line_half_up, 2 decimals)    $0.40",
    ] {
        assert!(text.lines().any(|it| it.starts_with(line)), "{line} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    // A stand-in for a meter is mentioned.
    press(&mut model, "esc");
    select_model(&mut model, "per-cycle");
    press_keys(&mut model, &mut context, &["enter"]);
    let Some(Overlay::Text { text, .. }) = &model.overlay else { panic!("a text") };
    assert!(text.contains("note: ref_cycles (TSC ticks) instead of cycles (4 times)"), "{text}");
}

#[test]
fn programs_get_all_digits() {
    let (_folder, mut context, mut model) = open_loaded_screen((80, 24));
    press_keys(&mut model, &mut context, &["}", "}", "}", "}", "}"]);
    BillsState::set_filter(&mut model, "aws-lambda-x86".to_owned());
    let json = BillsState::table(&model).to_json();
    let rows = json.as_array().expect("rows");
    assert_eq!(rows.len(), 3, "a row a lane");
    for (key, value) in [
        ("model", "aws-lambda-x86"),
        ("lane", "native"),
        ("workload", "all"),
        ("start", "both"),
        ("currency", "USD"),
        ("total", "0.000008800016"),
        ("mean_per_million", "2.200004"),
        ("month_total", "0.4"),
        ("used", "0.0000002500005"),
        ("idle", "0.000004000008"),
        ("headroom", "0.0000037500075"),
        ("rounding", "0"),
        ("fees", "0.0000008"),
    ] {
        assert_eq!(rows[0][key], *value, "{key}");
    }
    assert_eq!(rows[0]["invocations"], 4);
    assert_eq!(rows[0]["month_requests"], 3_000_000);
    assert_eq!(rows[2]["total"], serde_json::Value::Null);
    assert!(rows[2]["note"].as_str().is_some_and(|it| it.contains("no Docker engine")));
    assert!(BillsState::table(&testing::model((80, 24))).is_empty());
}

#[test]
fn without_a_database_it_says_so_and_tries_again() {
    let folder = tempfile::tempdir().expect("a folder");
    // A folder is not a database.
    std::fs::create_dir(folder.path().join("c.db")).expect("a folder");
    let mut context = worker_for_folder(folder.path());
    let mut model = model_with_recording((80, 24), 1);
    open_bills_screen(&mut model, &mut context);
    let trouble = model.screens.bills.error.clone().expect("trouble");
    assert!(trouble.is_transient && trouble.message.contains("c.db"), "{trouble:?}");
    let at = |ms: u64| Nanos(testing::NOW.0 + ms * MS);
    assert_eq!(count_table_requests(&advance_to(&mut model, at(4_999))), 0);
    assert_eq!(count_table_requests(&advance_to(&mut model, at(5_000))), 1);
}

/// Returns the text that Enter shows.
fn read_explanation(model: &mut Model, context: &mut crate::query_worker::QueryContext) -> String {
    press_keys(model, context, &["enter"]);
    match model.overlay.take() {
        Some(Overlay::Text { text, .. }) => text,
        other => panic!("no text but {other:?}"),
    }
}

#[test]
fn requests_that_share_an_instance_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = RecordingScript::new();
    script.add_lane("wasmtime", None);
    let cell = script.add_cell("wasmtime", "nop", StartKind::Warm);
    let used = UsedResources {
        start_ms: 0,
        run_ms: 150,
        cpu_ms: 10,
        peak_mib: 1,
        allocated_mib: 128,
        ops: None,
    };
    for sequence in 1..=2 {
        // At nearly equal times, long after the beginning.
        script.at = 60_000 * MS;
        script.add_invocation(cell, sequence, used);
    }
    let recording = script.write(&folder.path().join("c.db"));
    let mut context = worker_for_folder(folder.path());
    let mut model = model_with_recording((80, 24), recording);
    open_bills_screen(&mut model, &mut context);
    select_model(&mut model, "google-cloud-run-instance");
    let text = read_explanation(&mut model, &mut context);
    // Shared, they are one span of 200 ms, else two: each 0.2 vCPU-s x 0.000018 + 0.025
    // GiB-s x 0.000002.
    assert!(text.contains("$0.0000073"), "{text}");
    assert!(
        text.contains("The table has 0.00000365 in all: there, requests that overlap"),
        "{text}"
    );
    select_model(&mut model, "aws-lambda-x86");
    let text = read_explanation(&mut model, &mut context);
    assert!(!text.contains("overlap"), "{text}");
}

#[test]
fn too_many_invocations_are_summed() {
    let (_folder, _desk, mut model) = open_loaded_screen((80, 24));
    select_model(&mut model, "aws-lambda-x86");
    let Some(Effect::Query(ScreenRequest::Bills(BillsRequest::Explain(cell)))) =
        press(&mut model, "enter").pop()
    else {
        panic!("a question");
    };
    let held = model.screens.bills.loaded.as_ref().expect("figures");
    let group = held.table.lanes[0].group.as_ref().expect("a group");
    let text = queries::format_sums(&cell, group);
    for line in [
        "  duration: 0.48 GB-s = 0.000008000016 USD",
        "  invocations: 4 request = 0.0000008 USD",
        "  total 0.000008800016 USD",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
    }
}
