//! Rows of the host screen: findings of the checks, and what the live view
//! knows by itself.

use std::sync::Arc;

use super::work::Part;
use crate::live::{LaneView, Snapshot};
use crate::model::Model;
use crate::screens::history::share;
use cyclometer_doctor::{Finding, LaneAbout, State};
use cyclometer_lanes::{LaneSpec, StartKind};

/// Heading, with rows below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
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

impl Section {
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
pub enum Mark {
    /// The check was made.
    Known(State),
    /// The check will be made soon.
    Looking,
    /// The check will be made after the recording.
    Later,
}

impl Mark {
    /// Returns the word that is shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Known(state) => state.label(),
            Self::Looking => "looking",
            Self::Later => "later",
        }
    }
}

/// Row of the host screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Section of the row.
    pub section: Section,
    /// Name of the check.
    pub check: String,
    /// Progress of the check.
    pub mark: Mark,
    /// Finding of the check.
    pub found: String,
    /// Remedy for a problem.
    pub fix: String,
}

impl Row {
    fn new(section: Section, check: &str, mark: Mark, found: impl Into<String>) -> Self {
        let (check, found) = (check.to_owned(), found.into());
        Self { section, check, mark, found, fix: String::new() }
    }

    fn of(section: Section, finding: &Finding) -> Self {
        Self {
            section,
            check: finding.check.clone(),
            mark: Mark::Known(finding.state),
            found: finding.found.clone(),
            fix: finding.fix.clone(),
        }
    }

    fn has(&self, words: &[&str]) -> bool {
        if words.is_empty() {
            return true;
        }
        let parts =
            [self.section.title(), &self.check, self.mark.word(), &self.found, &self.fix].join(" ");
        let text = parts.to_lowercase();
        words.iter().all(|word| text.contains(word))
    }
}

/// Returns all rows that contain the words of the filter.
pub fn rows(model: &Model) -> Vec<Row> {
    let mut rows = Vec::new();
    part(model, Part::Machine, Section::Machine, &mut rows);
    part(model, Part::Meters, Section::Meters, &mut rows);
    part(model, Part::Containers, Section::Lanes, &mut rows);
    let (others, own): (Vec<Row>, Vec<Row>) =
        lanes(model).into_iter().partition(|row| row.section == Section::Runtimes);
    rows.extend(own);
    rows.push(sampler(model));
    part(model, Part::Cost, Section::Sampler, &mut rows);
    rows.extend(dropped(&model.snapshot));
    part(model, Part::Storage, Section::Storage, &mut rows);
    rows.extend(others);
    let words: Vec<&str> = model.host.words.split_whitespace().collect();
    rows.retain(|row| row.has(&words));
    rows
}

/// Appends the findings of a group, or a row that says that they are pending.
fn part(model: &Model, part: Part, section: Section, rows: &mut Vec<Row>) {
    if let Some(findings) = model.host.found.get(&part) {
        rows.extend(findings.iter().map(|finding| Row::of(section, finding)));
        // The lane is called `docker` too.
        if part == Part::Containers {
            let engine = rows.iter_mut().filter(|row| row.section == section);
            engine.for_each(|row| row.check = row.check.replace("docker", "engine"));
        }
        return;
    }
    let name = match part {
        Part::Machine => "machine",
        Part::Meters => "meters",
        Part::Containers => "engine",
        Part::Cost => "cost of a counter read",
        Part::Storage => "database",
        Part::Sampler => "sampler",
    };
    rows.push(waiting(model, section, name, part == Part::Cost));
}

/// Returns a row for a check that is pending; `idle`: it can only be made while
/// nothing is recorded.
fn waiting(model: &Model, section: Section, check: &str, idle: bool) -> Row {
    if idle && model.snapshot.phase.is_active() {
        let text = "looked at once the recording is over: it could disturb what is measured";
        return Row::new(section, check, Mark::Later, text);
    }
    Row::new(section, check, Mark::Looking, "")
}

/// Returns a row for every known lane. What a recording knows of a lane is
/// newer than checks made before it.
fn lanes(model: &Model) -> Vec<Row> {
    let mut names: Vec<String> = LaneSpec::all().iter().map(ToString::to_string).collect();
    let more = model.host.runtimes.iter().map(ToString::to_string);
    for name in more.chain(model.snapshot.lanes.iter().map(|lane| lane.name.to_string())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.iter().map(|name| lane(model, name)).collect()
}

fn lane(model: &Model, name: &str) -> Row {
    let other = matches!(name.parse(), Ok(LaneSpec::Command { .. }));
    let section = if other { Section::Runtimes } else { Section::Lanes };
    let recorded = recorded_lane(&model.snapshot, name);
    let looked = model.host.lanes.iter().find(|(_, finding)| finding.name == name);
    let newer = looked.filter(|(at, _)| {
        !model.snapshot.phase.is_active() && model.snapshot.ended.is_none_or(|ended| *at >= ended)
    });
    let about = match (newer, recorded, looked) {
        (Some((_, finding)), _, _) | (None, None, Some((_, finding))) => finding.about.clone(),
        (None, Some(about), _) => about,
        (None, None, None) => return waiting(model, section, name, true),
    };
    match about {
        Ok(about) => {
            let starts = about.starts();
            let parts = [about.version, starts, about.note];
            let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            Row::new(section, name, Mark::Known(State::Ok), parts.join("; "))
        }
        // The reason ends with the remedy.
        Err(reason) => {
            let state = if other { State::Absent } else { State::Missing };
            Row::new(section, name, Mark::Known(state), reason)
        }
    }
}

/// Returns what the live view knows of a lane that was opened for its recording.
fn recorded_lane(snapshot: &Snapshot, name: &str) -> Option<Result<LaneAbout, String>> {
    let at = snapshot.lanes.iter().position(|lane| &*lane.name == name)?;
    let LaneView { version, note, unavailable, .. } = &snapshot.lanes[at];
    if let Some(reason) = unavailable {
        return Some(Err(reason.to_string()));
    }
    let has = |start: &StartKind| {
        snapshot.cells.iter().any(|cell| cell.lane == at && cell.start == *start)
    };
    let starts = [StartKind::Cold, StartKind::Warm].into_iter().filter(has).collect();
    Some(Ok(LaneAbout { version: version.to_string(), starts, note: note.to_string() }))
}

/// Returns the cost of the sampler: of the recording shown, or of the newest
/// one stored.
fn sampler(model: &Model) -> Row {
    let (section, check) = (Section::Sampler, "sampler");
    let snapshot = &model.snapshot;
    let number = snapshot.recording.map_or_else(String::new, |it| format!("recording {it}: "));
    if snapshot.phase.is_active() {
        let text = format!("{number}its cost is known when the recording ends");
        return Row::new(section, check, Mark::Later, text);
    }
    let Some(report) = snapshot.sampler else {
        let mut rows = Vec::new();
        part(model, Part::Sampler, section, &mut rows);
        return rows.swap_remove(0);
    };
    let span = snapshot.began.zip(snapshot.ended).map(|(began, ended)| ended.since(began));
    let share = span.and_then(|span| share(report.cpu, span));
    let share = share.map_or_else(String::new, |it| format!(", {it} of the time"));
    let mut text = format!(
        "{number}every {}, read {} times, {} of CPU{share}",
        report.interval, report.ticks, report.cpu
    );
    let mut mark = Mark::Known(State::Ok);
    if report.dropped > 0 {
        text = format!("{text}; {} samples dropped", report.dropped);
        mark = Mark::Known(State::Warning);
    }
    Row::new(section, check, mark, text)
}

/// Returns the counts of events and samples that came too fast to be shown.
fn dropped(snapshot: &Arc<Snapshot>) -> [Row; 2] {
    let row = |check, count: u64, what: &str, lost: &str| {
        let (state, text) = if count == 0 {
            (State::Ok, "none".to_owned())
        } else {
            (State::Warning, format!("{count} {what} came too fast to be shown; {lost}"))
        };
        Row::new(Section::Sampler, check, Mark::Known(state), text)
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
