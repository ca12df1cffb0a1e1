//! Picker of the live screen: what is recorded next, and in which lanes. What cannot run here is
//! shown with its reason, and cannot be chosen.

use std::sync::Arc;

use super::queries::{AddRequest, AddedFunctions, LiveRequest, LiveResponse};
use super::{LiveDialog, LiveState};
use crate::action::{Effect, UserAction};
use crate::choice::ChoiceItem;
use crate::field::{Field, FieldState};
use crate::model::Model;
use crate::overlay::{DialogPurpose, Overlay};
use crate::screens::{ListedScreen, ScreenDialog, host};
use crate::session::SessionCommand;
use cyclometer_lanes::LaneSpec;
use cyclometer_lanes::docker::EngineImage;
use cyclometer_workload::function_line::IMAGE_PREFIX;
use cyclometer_workload::{Workload, find_common_preset};

/// Explanation of what can be written to add a function.
const ABOUT: &str = "A module, component, program, script or folder with a workload.toml, by its \
    path; or image:NAME, which the engine has. Arguments follow, as in a shell; of a module also \
    --invoke EXPORT ARG ...";

/// Name of the item that adds a function.
const ADD: &str = "add a function ...";

/// Opens the choice of workloads.
pub(crate) fn choose_workloads(model: &mut Model) -> Vec<Effect> {
    let chosen = model.screens.live.options.workloads.clone();
    open_workloads(model, &chosen)
}

fn open_workloads(model: &mut Model, chosen: &[String]) -> Vec<Effect> {
    let items = workload_items(model, chosen);
    let title = "workloads of the next recording";
    model.overlay = Some(multiple_choice(title, items, LiveDialog::Workloads));
    let all: Vec<Arc<Workload>> = model.catalog.iter().cloned().collect();
    host::request_for_picker(model, &all)
}

/// Opens the choice of lanes.
pub(crate) fn choose_lanes(model: &mut Model) -> Vec<Effect> {
    let chosen: Vec<String> =
        model.screens.live.options.lanes.iter().map(ToString::to_string).collect();
    let items = lane_items(model, &chosen);
    model.overlay = Some(multiple_choice("lanes of the next recording", items, LiveDialog::Lanes));
    look_again(model)
}

/// Looks again whether the lanes run what is chosen: an image may have been built, or an engine
/// started.
pub(crate) fn look_again(model: &mut Model) -> Vec<Effect> {
    let workloads = find_chosen_workloads(model);
    host::request_for_picker(model, &workloads)
}

/// Opens the choice of price models.
pub(crate) fn choose_models(model: &mut Model) {
    let item = |it: &cyclometer_pricing::PriceModel| ChoiceItem {
        name: it.id().to_owned(),
        note: it.name().to_owned(),
        on: model.screens.live.models.iter().any(|id| id == it.id()),
        ..ChoiceItem::default()
    };
    let items = model.settings.prices.models().iter().map(item).collect();
    model.overlay =
        Some(multiple_choice("models whose bills are shown", items, LiveDialog::Models));
}

fn multiple_choice(title: &str, items: Vec<ChoiceItem>, purpose: LiveDialog) -> Overlay {
    Overlay::Choice {
        title: title.to_owned(),
        items,
        cursor: 0,
        single: false,
        purpose: LiveState::purpose(purpose),
    }
}

/// Refreshes the choice that is open by what is known now; what was turned on stays so, unless it
/// cannot run.
pub(crate) fn refresh_picker(model: &mut Model) {
    let Some(Overlay::Choice { items, cursor, purpose, .. }) = &model.overlay else { return };
    let DialogPurpose::Screen(ScreenDialog::Live(dialog)) = purpose else { return };
    let on = items.iter().filter(|item| item.on).map(|item| item.name.clone());
    let on: Vec<String> = on.collect();
    let here = items.get(*cursor).map(|item| item.name.clone()).unwrap_or_default();
    let fresh = match dialog {
        LiveDialog::Workloads => workload_items(model, &on),
        LiveDialog::Lanes => lane_items(model, &on),
        LiveDialog::Models | LiveDialog::AddFunction | LiveDialog::AddToChoice => return,
    };
    if let Some(Overlay::Choice { items, cursor, .. }) = &mut model.overlay {
        let last = fresh.len().saturating_sub(1);
        let same = fresh.iter().position(|item| item.name == here);
        (*cursor, *items) = (same.unwrap_or_else(|| (*cursor).min(last)), fresh);
    }
}

/// Returns the lanes to choose from.
fn known_lanes(model: &Model) -> Vec<LaneSpec> {
    let mut specs = LaneSpec::all_known();
    let more = model.screens.host.runtimes();
    for spec in more.into_iter().chain(model.screens.live.options.lanes.iter().cloned()) {
        if !specs.contains(&spec) {
            specs.push(spec);
        }
    }
    specs
}

/// Returns the workloads of the next recording that there are.
fn find_chosen_workloads(model: &Model) -> Vec<Arc<Workload>> {
    let names = model.screens.live.options.workloads.iter();
    names.filter_map(|name| model.catalog.get(name).ok()).cloned().collect()
}

/// Returns the reason why a lane cannot run a workload here, as far as it is known.
fn find_refusal(model: &Model, spec: &LaneSpec, workload: &Arc<Workload>) -> Option<String> {
    let name = spec.to_string();
    if let Some(Err(reason)) = host::find_known_lane(model, &name) {
        return Some(reason);
    }
    let answer = || model.screens.host.find_answer(&name, workload)?.refusal.clone();
    spec.check_form(workload).err().or_else(answer)
}

/// Returns the items of the lanes; `on`: names of those that are chosen, if they can be.
fn lane_items(model: &Model, on: &[String]) -> Vec<ChoiceItem> {
    let workloads = find_chosen_workloads(model);
    let item = |spec: LaneSpec| {
        let name = spec.to_string();
        let about = host::find_known_lane(model, &name);
        let (refusal, note) = match about {
            Some(Err(reason)) => (Some(reason), String::new()),
            about => describe_support(
                model,
                &spec,
                &workloads,
                about
                    .map_or_else(String::new, |it| it.map(|lane| lane.version).unwrap_or_default()),
            ),
        };
        let on = refusal.is_none() && on.contains(&name);
        ChoiceItem { name, note, on, refusal, ..ChoiceItem::default() }
    };
    known_lanes(model).into_iter().map(item).collect()
}

/// Returns the reason why a lane runs none of the workloads, and the note on it otherwise: its
/// version, and those that it does not run.
fn describe_support(
    model: &Model,
    spec: &LaneSpec,
    workloads: &[Arc<Workload>],
    version: String,
) -> (Option<String>, String) {
    let refused: Vec<(&str, String)> = workloads
        .iter()
        .filter_map(|it| Some((it.name.as_str(), find_refusal(model, spec, it)?)))
        .collect();
    if !refused.is_empty() && refused.len() == workloads.len() {
        let reasons: Vec<String> = refused.into_iter().map(|(_, reason)| reason).collect();
        return (Some(reasons.join("; ")), String::new());
    }
    let names: Vec<&str> = refused.iter().map(|(name, _)| *name).collect();
    let without = if names.is_empty() { None } else { Some(format!("not {}", names.join(", "))) };
    let parts = [Some(version).filter(|text| !text.is_empty()), without];
    (None, parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

/// Returns the items of the workloads, the item that adds one, and the images of the engine; `on`:
/// names of those that are chosen, if they can be.
fn workload_items(model: &Model, on: &[String]) -> Vec<ChoiceItem> {
    let lanes = known_lanes(model);
    let is_on = |name: &String| on.contains(name);
    let mut items: Vec<ChoiceItem> = model
        .catalog
        .iter()
        .map(|workload| {
            let refusal = match model.catalog.get(&workload.name) {
                Ok(_) => find_workload_refusal(model, &lanes, workload),
                Err(error) => Some(error.to_string()),
            };
            let name = workload.name.clone();
            let on = refusal.is_none() && is_on(&name);
            // A function that was added is known by its file or image.
            let note = if workload.folder.is_none() && !workload.is_builtin() {
                workload.title.clone()
            } else {
                workload.stresses.clone()
            };
            ChoiceItem { name, note, on, refusal, ..ChoiceItem::default() }
        })
        .collect();
    for (name, reason) in model.catalog.broken_workloads() {
        if !items.iter().any(|item| item.name == *name) {
            let (name, refusal) = (name.clone(), Some(reason.clone()));
            items.push(ChoiceItem { name, refusal, ..ChoiceItem::default() });
        }
    }
    let note = "a file, a folder or an image".to_owned();
    items.push(ChoiceItem { name: ADD.to_owned(), note, opens: true, ..ChoiceItem::default() });
    let is_new = |image: &&EngineImage| {
        !model.catalog.iter().any(|it| it.image.as_ref() == Some(&image.name))
    };
    match model.screens.host.images() {
        None => {}
        Some(Ok(images)) => items.extend(images.iter().filter(is_new).map(|image| {
            let name = format!("{IMAGE_PREFIX}{}", image.name);
            let note = image.size.map_or_else(String::new, |size| size.to_string());
            ChoiceItem { on: is_on(&name), name, note, alone: true, ..ChoiceItem::default() }
        })),
        Some(Err(reason)) => items.push(ChoiceItem {
            name: "images".to_owned(),
            refusal: Some(format!("no engine: {reason}")),
            ..ChoiceItem::default()
        }),
    }
    items
}

/// Returns the reason why no lane can run a workload here.
fn find_workload_refusal(
    model: &Model,
    lanes: &[LaneSpec],
    workload: &Arc<Workload>,
) -> Option<String> {
    let mut reason = None;
    // The reason of a usual lane of its form says most.
    for spec in LaneSpec::lanes_for(workload).iter().chain(lanes) {
        let refusal = find_refusal(model, spec, workload)?;
        reason.get_or_insert_with(|| format!("{spec}: {refusal}"));
    }
    reason
}

/// Opens the field that adds a function.
pub(crate) fn open_field(model: &mut Model, dialog: LiveDialog) -> Vec<Effect> {
    let purpose = LiveState::wrap_dialog(dialog);
    model.overlay = Some(Overlay::Field(Field::new("add a function", ABOUT, purpose)));
    // Images are completed, and lanes that cannot run are not chosen.
    let all: Vec<Arc<Workload>> = model.catalog.iter().cloned().collect();
    host::request_for_picker(model, &all)
}

/// Returns the effect that reads the functions of these lines.
pub(crate) fn add_functions(model: &mut Model, lines: Vec<String>) -> Vec<Effect> {
    model.screens.live.newest_request += 1;
    vec![LiveState::query(LiveRequest::Add(AddRequest {
        serial: model.screens.live.newest_request,
        lines,
        preset: model.screens.live.options.preset.clone(),
        images: model.screens.host.image_names(),
        catalog: Arc::clone(&model.catalog),
    }))]
}

/// Returns the effect that completes a line.
pub(crate) fn complete_line(model: &Model, line: &str) -> Vec<Effect> {
    let images = model.screens.host.image_names();
    vec![LiveState::query(LiveRequest::Complete { line: line.to_owned(), images })]
}

/// Handles a response of the worker.
pub(crate) fn handle_response(model: &mut Model, response: LiveResponse) -> Vec<Effect> {
    match response {
        LiveResponse::Added { request, added } => return handle_added(model, request, added),
        LiveResponse::Completed { asked, completion } => {
            let no_engine = match model.screens.host.images() {
                Some(Err(reason)) if asked.starts_with(IMAGE_PREFIX) => {
                    Some(format!("no engine: {reason}"))
                }
                _ => None,
            };
            // Whoever wrote on meanwhile does not want it any more.
            if let Some(Overlay::Field(field)) = &mut model.overlay
                && field.text == asked
                && field.state != FieldState::Busy
            {
                let is_same = completion.line == asked;
                field.text = completion.line;
                field.state = match no_engine {
                    Some(reason) => FieldState::Failed(reason),
                    None if is_same && completion.candidates.is_empty() => {
                        FieldState::Failed("nothing that could stand here begins so".to_owned())
                    }
                    None => FieldState::Candidates(completion.candidates),
                };
            }
        }
    }
    Vec::new()
}

/// Returns the field that awaits the answer to this request, with its dialog.
fn waiting_field(model: &mut Model, serial: u64) -> Option<(&mut Field, LiveDialog)> {
    let is_newest = model.screens.live.newest_request == serial;
    match &mut model.overlay {
        Some(Overlay::Field(field)) if is_newest && field.state == FieldState::Busy => {
            match field.purpose {
                ScreenDialog::Live(dialog) => Some((field, dialog)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Keeps functions that were added, and chooses them.
fn handle_added(
    model: &mut Model,
    request: AddRequest,
    added: Result<AddedFunctions, String>,
) -> Vec<Effect> {
    let serial = request.serial;
    let AddedFunctions { catalog, names } = match added {
        // Others were added meanwhile, which this catalog lacks.
        Ok(_) if !Arc::ptr_eq(&request.catalog, &model.catalog) => {
            let catalog = Arc::clone(&model.catalog);
            return vec![LiveState::query(LiveRequest::Add(AddRequest { catalog, ..request }))];
        }
        Ok(added) => added,
        Err(reason) => {
            match waiting_field(model, serial) {
                Some((field, _)) => field.state = FieldState::Failed(reason),
                None => model.notify_error(reason),
            }
            return Vec::new();
        }
    };
    model.catalog = catalog;
    if let Some((_, beside)) = model.screens.live.chosen_images.take_if(|(it, _)| *it == serial) {
        return choose_added(model, beside, &names);
    }
    match waiting_field(model, serial).map(|(_, dialog)| dialog) {
        Some(LiveDialog::AddToChoice) => {
            let mut chosen = std::mem::take(&mut model.screens.live.chosen_before);
            chosen.extend(names);
            open_workloads(model, &chosen)
        }
        Some(_) => {
            model.overlay = None;
            // Functions of the user's own take the place of the examples, and stand beside others.
            let catalog = Arc::clone(&model.catalog);
            let mut beside = model.screens.live.options.workloads.clone();
            beside.retain(|name| catalog.get(name).is_ok_and(|it| !it.is_builtin()));
            choose_added(model, beside, &names)
        }
        None => {
            // The field was closed: nobody waits for it any more.
            model.notify(format!("{} can be chosen now", names.join(", ")));
            Vec::new()
        }
    }
}

/// Chooses functions that were added, and lanes that run them.
fn choose_added(model: &mut Model, beside: Vec<String>, names: &[String]) -> Vec<Effect> {
    let mut chosen = beside;
    for name in names {
        if !chosen.contains(name) {
            chosen.push(name.clone());
        }
    }
    // It is what whoever added it wants to see.
    model.screens.live.workload = names.first().cloned();
    apply_workloads(model, chosen, names)
}

/// Sets the workloads of the next recording; images among them are added first.
pub(crate) fn set_workloads(model: &mut Model, names: &[String]) -> Vec<Effect> {
    if names.is_empty() {
        model.notify_error("at least one workload is needed; as before");
        return Vec::new();
    }
    let is_image =
        |name: &&String| name.starts_with(IMAGE_PREFIX) && model.catalog.get(name).is_err();
    let (images, others): (Vec<&String>, Vec<&String>) = names.iter().partition(is_image);
    let lines: Vec<String> = images.into_iter().cloned().collect();
    let others: Vec<String> = others.into_iter().cloned().collect();
    if lines.is_empty() {
        return apply_workloads(model, others, &[]);
    }
    let effects = add_functions(model, lines);
    model.screens.live.chosen_images = Some((model.screens.live.newest_request, others));
    effects
}

/// Sets the workloads of the next recording, a preset that all have, and lanes that run them.
fn apply_workloads(model: &mut Model, names: Vec<String>, added: &[String]) -> Vec<Effect> {
    let found: Result<Vec<Arc<Workload>>, _> =
        names.iter().map(|name| model.catalog.get(name).cloned()).collect();
    let workloads = match found {
        Ok(workloads) => workloads,
        Err(error) => {
            model.notify_error(error.to_string());
            return Vec::new();
        }
    };
    let Some(preset) = find_common_preset(&workloads, &model.screens.live.options.preset) else {
        model.notify_error("these workloads have no preset in common; as before");
        return Vec::new();
    };
    let options = &mut model.screens.live.options;
    (options.workloads, options.preset) = (names, preset);
    match fit_lanes(model, &workloads, added) {
        Ok(lanes) => {
            let key = model.keymap.key_for(UserAction::Start, model.screen).unwrap_or_default();
            let names = model.screens.live.options.workloads.join(", ");
            let lanes: Vec<String> = lanes.iter().map(ToString::to_string).collect();
            model.notify(format!("{key} records {names} in {}", lanes.join(", ")));
        }
        Err(reason) => model.notify_error(reason),
    }
    Vec::new()
}

/// Leaves lanes out that run none of the workloads, and chooses usual ones for those that run in
/// none, and for those that were added; returns the lanes.
fn fit_lanes(
    model: &mut Model,
    workloads: &[Arc<Workload>],
    added: &[String],
) -> Result<Vec<LaneSpec>, String> {
    let runs = |spec: &LaneSpec, it: &Arc<Workload>| find_refusal(model, spec, it).is_none();
    let mut lanes = model.screens.live.options.lanes.clone();
    lanes.retain(|spec| workloads.iter().any(|it| runs(spec, it)));
    for workload in workloads {
        if added.contains(&workload.name) || !lanes.iter().any(|spec| runs(spec, workload)) {
            for spec in LaneSpec::lanes_for(workload) {
                if !lanes.contains(&spec) && runs(&spec, workload) {
                    lanes.push(spec);
                }
            }
        }
    }
    if lanes.is_empty() {
        return Err(find_start_refusal(model).unwrap_or_else(|| "no lane runs it".to_owned()));
    }
    model.screens.live.options.lanes.clone_from(&lanes);
    Ok(lanes)
}

/// Returns the reason why no lane of the next recording can run any of its workloads.
pub(crate) fn find_start_refusal(model: &Model) -> Option<String> {
    let workloads = find_chosen_workloads(model);
    let mut reason = None;
    for workload in &workloads {
        let usual = LaneSpec::lanes_for(workload);
        for spec in &model.screens.live.options.lanes {
            find_refusal(model, spec, workload)?;
        }
        for spec in usual.iter().chain(&model.screens.live.options.lanes) {
            if let Some(refusal) = find_refusal(model, spec, workload) {
                reason.get_or_insert_with(|| {
                    format!("no lane that is chosen runs {}: {spec}: {refusal}", workload.name)
                });
            }
        }
    }
    reason
}

/// Sets the lanes of the next recording.
pub(crate) fn set_lanes(model: &mut Model, names: &[String]) -> Vec<Effect> {
    let lanes: Vec<LaneSpec> = names.iter().filter_map(|name| name.parse().ok()).collect();
    if lanes.is_empty() {
        model.notify_error("at least one lane is needed; as before");
    } else {
        model.screens.live.options.lanes = lanes;
        model.notify("r records in these");
    }
    Vec::new()
}

/// Sets the price models whose bills are shown.
pub(crate) fn set_models(model: &mut Model, ids: &[String]) -> Vec<Effect> {
    if ids.is_empty() {
        model.notify_error("at least one model is needed; as before");
        return Vec::new();
    }
    model.screens.live.models = ids.to_vec();
    vec![Effect::Session(SessionCommand::Models(ids.to_vec()))]
}

#[cfg(test)]
#[path = "picker_tests.rs"]
mod tests;
