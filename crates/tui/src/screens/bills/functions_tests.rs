//! Tests of the view by functions.

use super::fixture::{
    answer_all_requests, model_with_recording, open_bills_screen, press_keys, three_lane_script,
    worker_for_folder,
};
use super::functions::{BillsRows, selected_function, shown_functions};
use super::*;
use crate::testing::{self, press};
use cyclometer_report::savings::Grouping;

/// Returns the screen with a trace loaded.
fn open_trace(size: (u16, u16)) -> (tempfile::TempDir, crate::query_worker::QueryContext, Model) {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = testing::write_trace(&folder.path().join("c.db"));
    let mut context = worker_for_folder(folder.path());
    let mut model = model_with_recording(size, trace);
    open_bills_screen(&mut model, &mut context);
    (folder, context, model)
}

fn selected_name(model: &Model) -> String {
    selected_function(model).map(|(_, function)| function.key.function.clone()).unwrap_or_default()
}

#[test]
fn a_trace_shows_its_functions_and_what_could_be_saved() {
    let (_folder, mut context, mut model) = open_trace((80, 24));
    for size in [(80, 24), (120, 40), (200, 60)] {
        model.size = size;
        let name = format!("trace_{}x{}", size.0, size.1);
        insta::assert_snapshot!(name, testing::text(&model));
    }
    // 2 x 400 x 900 s x 10 GB x 0.0000166667 USD: half of it at 5 GB, as 4000 MiB and 20 % fit.
    let (report, function) = selected_function(&model).expect("a function");
    assert_eq!(&*function.key.function, "thumbnail");
    let saving = function.saving().expect("a saving").to_plain_string();
    assert_eq!(saving, "60.00012");
    assert_eq!(report.functions.len(), 3);
    press_keys(&mut model, &mut context, &["enter"]);
    let Some(Overlay::Text { text, .. }) = &model.overlay else { panic!("an overlay") };
    assert!(text.contains("moving `thumbnail` from 10240 MiB to 5120 MiB"), "{text}");
    press(&mut model, "esc");
    press_keys(&mut model, &mut context, &["G"]);
    press_keys(&mut model, &mut context, &["]"]);
    let notice = model.current_notice().map(|notice| notice.text.clone());
    assert_eq!(notice.as_deref(), Some("that key is for the view by price model: f goes there"));
}

#[test]
fn functions_sort_and_filter_and_the_view_changes() {
    let (_folder, mut context, mut model) = open_trace((120, 40));
    press_keys(&mut model, &mut context, &["s", "s", "g"]);
    assert_eq!(selected_name(&model), "api", "by name");
    press_keys(&mut model, &mut context, &["S", "g"]);
    assert_eq!(selected_name(&model), "thumbnail");
    press_keys(&mut model, &mut context, &["/", "e", "t", "l", "enter"]);
    assert_eq!(model.screens.bills.functions.visible.len(), 1);
    let text = testing::text(&model);
    assert!(text.contains("no peak of memory in the log: no advice on memory"), "{text}");
    press_keys(&mut model, &mut context, &["esc", "f"]);
    let held = shown_functions(&model).expect("cells");
    assert_eq!(held.report.grouping, Grouping::Cell);
    insta::assert_snapshot!("trace_by_cell_120x40", testing::text(&model));
    press_keys(&mut model, &mut context, &["f"]);
    assert_eq!(model.screens.bills.functions.rows_for(Some(5)), BillsRows::Models);
    assert!(model.screens.bills.loaded.is_some(), "price models of a trace");
    let text = testing::text(&model);
    assert!(text.contains("aws-lambda-x86"), "{text}");
}

#[test]
fn a_recording_shows_price_models_until_asked_for_functions() {
    let folder = tempfile::tempdir().expect("a folder");
    let recording = three_lane_script().write(&folder.path().join("c.db"));
    let mut context = worker_for_folder(folder.path());
    let mut model = model_with_recording((120, 40), recording);
    open_bills_screen(&mut model, &mut context);
    assert_eq!(model.screens.bills.functions.rows_for(Some(recording)), BillsRows::Models);
    let effects = press(&mut model, "f");
    answer_all_requests(&mut model, &mut context, effects);
    insta::assert_snapshot!("recording_by_function_120x40", testing::text(&model));
    // Another recording begins with what suits it.
    let trace = testing::write_trace(&folder.path().join("d.db"));
    assert_eq!(model.screens.bills.functions.rows_for(Some(trace)), BillsRows::Models);
}

#[test]
fn a_click_selects_a_function_and_no_size_is_too_small() {
    let (_folder, _context, mut model) = open_trace((80, 24));
    let area = model.screens.bills.layout.table;
    testing::click(&mut model, area.x + 4, area.y + 3);
    assert_eq!(model.screens.bills.functions.cursor, 1);
    for width in [1, 10, 59, 60, 79, 80, 119, 139, 140, 250] {
        for height in [1, 3, 15, 16, 23, 24, 40, 70] {
            model.size = (width, height);
            testing::buffer(&model);
        }
    }
}
