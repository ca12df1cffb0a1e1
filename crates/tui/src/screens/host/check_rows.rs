//! Rows of the host screen: findings of the checks, and what the live view
//! knows by itself.

use std::sync::Arc;

use super::queries::CheckGroup;
use crate::model::Model;
use crate::screens::history::format_share;
use cyclometer_doctor::{AvailableLane, HostCheckState, HostFinding};
use cyclometer_lanes::{LaneSpec, StartKind};
use cyclometer_record::live::{LaneView, LiveSnapshot};

/// Heading, with rows below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HostSection {
    /// Host machine.
    Machine,
    /// Meters and their sources.
    Meters,
    /// Lanes.
    Lanes,
    /// Cost of measuring, and losses on the way.
    Sampler,
    /// Database and files.
    Storage,
    /// Lanes of other runtimes, which have a profile.
    Runtimes,
}

impl HostSection {
    /// All sections, in order.
    pub const ALL: [Self; 6] =
        [Self::Machine, Self::Meters, Self::Lanes, Self::Sampler, Self::Storage, Self::Runtimes];

    /// Returns the heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Meters => "meters and their sources",
            Self::Lanes => "lanes",
            Self::Sampler => "cost of measuring",
            Self::Storage => "database and files",
            Self::Runtimes => "lanes of other runtimes",
        }
    }
}

/// Progress of the check behind a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowStatus {
    /// The check was made.
    Known(HostCheckState),
    /// The check will be made soon.
    Looking,
    /// The check will be made after the recording.
    Later,
}

impl RowStatus {
    /// Returns the word that is shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Known(state) => state.label(),
            Self::Looking => "looking",
            Self::Later => "later",
        }
    }
}

/// Row of the host screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostRow {
    /// Section of the row.
    pub section: HostSection,
    /// Name of the check.
    pub check: String,
    /// Progress of the check.
    pub mark: RowStatus,
    /// Finding of the check.
    pub found: String,
    /// Remedy for a problem.
    pub fix: String,
}

impl HostRow {
    fn new(section: HostSection, check: &str, mark: RowStatus, found: impl Into<String>) -> Self {
        let (check, found) = (check.to_owned(), found.into());
        Self { section, check, mark, found, fix: String::new() }
    }

    fn from_finding(section: HostSection, finding: &HostFinding) -> Self {
        Self {
            section,
            check: finding.check.clone(),
            mark: RowStatus::Known(finding.state),
            found: finding.found.clone(),
            fix: finding.fix.clone(),
        }
    }

    fn matches_words(&self, words: &[&str]) -> bool {
        if words.is_empty() {
            return true;
        }
        let parts = [self.section.title(), &self.check, self.mark.label(), &self.found, &self.fix]
            .join(" ");
        let text = parts.to_lowercase();
        words.iter().all(|word| text.contains(word))
    }
}

/// Returns all rows that contain the words of the filter.
pub(crate) fn visible_rows(model: &Model) -> Vec<HostRow> {
    let mut rows = Vec::new();
    push_group_rows(model, CheckGroup::Machine, HostSection::Machine, &mut rows);
    push_group_rows(model, CheckGroup::Meters, HostSection::Meters, &mut rows);
    push_group_rows(model, CheckGroup::Containers, HostSection::Lanes, &mut rows);
    let (others, own): (Vec<HostRow>, Vec<HostRow>) =
        lane_rows(model).into_iter().partition(|row| row.section == HostSection::Runtimes);
    rows.extend(own);
    rows.push(sampler_row(model));
    push_group_rows(model, CheckGroup::Cost, HostSection::Sampler, &mut rows);
    rows.extend(dropped_rows(&model.snapshot));
    push_group_rows(model, CheckGroup::Storage, HostSection::Storage, &mut rows);
    rows.extend(others);
    let words: Vec<&str> = model.screens.host.filter_words.split_whitespace().collect();
    rows.retain(|row| row.matches_words(&words));
    rows
}

/// Appends the findings of a group, or a row that says that they are pending.
fn push_group_rows(model: &Model, part: CheckGroup, section: HostSection, rows: &mut Vec<HostRow>) {
    if let Some(findings) = model.screens.host.found.get(&part) {
        rows.extend(findings.iter().map(|finding| HostRow::from_finding(section, finding)));
        // The lane is called `docker` too.
        if part == CheckGroup::Containers {
            let engine = rows.iter_mut().filter(|row| row.section == section);
            engine.for_each(|row| row.check = row.check.replace("docker", "engine"));
        }
        return;
    }
    let name = match part {
        CheckGroup::Machine => "machine",
        CheckGroup::Meters => "meters",
        CheckGroup::Containers => "engine",
        CheckGroup::Cost => "cost of a counter read",
        CheckGroup::Storage => "database",
        CheckGroup::Sampler => "sampler",
    };
    rows.push(pending_row(model, section, name, part == CheckGroup::Cost));
}

/// Returns a row for a check that is pending; `idle`: it can only be made while
/// nothing is recorded.
fn pending_row(model: &Model, section: HostSection, check: &str, idle: bool) -> HostRow {
    if idle && model.snapshot.phase.is_active() {
        let text = "looked at once the recording is over: it could disturb what is measured";
        return HostRow::new(section, check, RowStatus::Later, text);
    }
    HostRow::new(section, check, RowStatus::Looking, "")
}

/// Returns a row for every known lane. What a recording knows of a lane is
/// newer than checks made before it.
fn lane_rows(model: &Model) -> Vec<HostRow> {
    let mut names: Vec<String> = LaneSpec::all_known().iter().map(ToString::to_string).collect();
    let more = model.screens.host.runtimes.iter().map(ToString::to_string);
    for name in more.chain(model.snapshot.lanes.iter().map(|lane| lane.name.to_string())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.iter().map(|name| lane_row(model, name)).collect()
}

fn lane_row(model: &Model, name: &str) -> HostRow {
    let other = matches!(name.parse(), Ok(LaneSpec::Command { .. }));
    let section = if other { HostSection::Runtimes } else { HostSection::Lanes };
    let Some(about) = find_known_lane(model, name) else {
        return pending_row(model, section, name, true);
    };
    match about {
        Ok(about) => {
            let starts = about.start_labels();
            let parts = [about.version, starts, about.note];
            let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            HostRow::new(section, name, RowStatus::Known(HostCheckState::Ok), parts.join("; "))
        }
        // The reason ends with the remedy.
        Err(reason) => {
            let state = if other { HostCheckState::Absent } else { HostCheckState::Missing };
            HostRow::new(section, name, RowStatus::Known(state), reason)
        }
    }
}

/// Returns the newest that is known of a lane: its description, or the reason why it cannot run;
/// `None`: nothing yet. What a recording knows is newer than checks made before it.
pub(crate) fn find_known_lane(model: &Model, name: &str) -> Option<Result<AvailableLane, String>> {
    let recorded = recorded_lane(&model.snapshot, name);
    let looked = model.screens.host.lanes.iter().find(|(_, finding)| finding.name == name);
    let newer = looked.filter(|(at, _)| {
        !model.snapshot.phase.is_active() && model.snapshot.ended.is_none_or(|ended| *at >= ended)
    });
    match (newer, recorded, looked) {
        (Some((_, finding)), _, _) | (None, None, Some((_, finding))) => {
            Some(finding.about.clone())
        }
        (None, recorded, _) => recorded,
    }
}

/// Returns what the live view knows of a lane that was opened for its recording.
fn recorded_lane(snapshot: &LiveSnapshot, name: &str) -> Option<Result<AvailableLane, String>> {
    let at = snapshot.lanes.iter().position(|lane| &*lane.name == name)?;
    let LaneView { version, note, unavailable, .. } = &snapshot.lanes[at];
    if let Some(reason) = unavailable {
        return Some(Err(reason.to_string()));
    }
    let has = |start: &StartKind| {
        snapshot.cells.iter().any(|cell| cell.lane == at && cell.start == *start)
    };
    let starts = [StartKind::Cold, StartKind::Warm].into_iter().filter(has).collect();
    Some(Ok(AvailableLane { version: version.to_string(), starts, note: note.to_string() }))
}

/// Returns the cost of the sampler: of the recording shown, or of the newest
/// one stored.
fn sampler_row(model: &Model) -> HostRow {
    let (section, check) = (HostSection::Sampler, "sampler");
    let snapshot = &model.snapshot;
    let number = snapshot.recording.map_or_else(String::new, |it| format!("recording {it}: "));
    if snapshot.phase.is_active() {
        let text = format!("{number}its cost is known when the recording ends");
        return HostRow::new(section, check, RowStatus::Later, text);
    }
    let Some(report) = snapshot.sampler else {
        let mut rows = Vec::new();
        push_group_rows(model, CheckGroup::Sampler, section, &mut rows);
        return rows.swap_remove(0);
    };
    let span =
        snapshot.began.zip(snapshot.ended).map(|(began, ended)| ended.saturating_since(began));
    let share = span.and_then(|span| format_share(report.cpu, span));
    let share = share.map_or_else(String::new, |it| format!(", {it} of the time"));
    let mut text = format!(
        "{number}every {}, read {} times, {} of CPU{share}",
        report.interval, report.ticks, report.cpu
    );
    let mut mark = RowStatus::Known(HostCheckState::Ok);
    if report.dropped > 0 {
        text = format!("{text}; {} samples dropped", report.dropped);
        mark = RowStatus::Known(HostCheckState::Warning);
    }
    HostRow::new(section, check, mark, text)
}

/// Returns the counts of events and samples that came too fast to be shown.
fn dropped_rows(snapshot: &Arc<LiveSnapshot>) -> [HostRow; 2] {
    let row = |check, count: u64, what: &str, lost: &str| {
        let (state, text) = if count == 0 {
            (HostCheckState::Ok, "none".to_owned())
        } else {
            (HostCheckState::Warning, format!("{count} {what} came too fast to be shown; {lost}"))
        };
        HostRow::new(HostSection::Sampler, check, RowStatus::Known(state), text)
    };
    [
        row("events not shown", snapshot.dropped, "events", "they are in the database"),
        row(
            "samples not shown",
            snapshot.samples_dropped,
            "samples",
            "charts lack them, the database has them",
        ),
    ]
}
