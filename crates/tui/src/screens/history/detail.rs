//! Details of one recording or simulation, in lines of a given width.

use serde_json::Value;

use super::conclusion::conclusion_sentences;
use super::trace_detail::TraceDetail;
use crate::model::TuiSettings;
use crate::theme::StyleRole;
use crate::widgets::bar::format_percent;
use crate::widgets::text::wrap;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_report::comparison::{SHARED_COLUMNS, build_table_without_bills, list_footnotes};
use cyclometer_report::difference::NAME_COLUMNS;
use cyclometer_report::simulation_report::SimulationReport;
use cyclometer_report::stored_comparison::StoredComparison;
use cyclometer_report::{Cell, Column, Table, format_count, format_timestamp};
use cyclometer_store::{
    HistoryItem, MeterSource, RecordingDetails, RecordingSize, Store, StoreError,
};

/// Line of the details panel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetailLine {
    /// Meaning of the line.
    pub role: StyleRole,
    /// Text of the line.
    pub text: String,
}

/// Details of one item, as they were read.
#[derive(Debug)]
pub(crate) enum ItemDetail {
    /// A recording.
    Recording(Box<RecordingDetail>),
    /// A trace.
    Trace(Box<TraceDetail>),
    /// A simulation.
    Simulation(Box<SimulationReport>),
}

/// Details of a recording; of its runs only aggregates, since there may be
/// millions.
#[derive(Debug)]
pub(crate) struct RecordingDetail {
    about: RecordingDetails,
    size: RecordingSize,
    bad: u64,
    unavailable: Vec<(String, String)>,
    answers: Vec<String>,
    medians: Table,
    notes: Vec<String>,
    sources: Table,
}

impl ItemDetail {
    /// Reads the details of an item.
    ///
    /// # Errors
    /// Fails when the item does not exist, or the database cannot be read.
    pub(crate) fn read_item(
        store: &Store,
        settings: &TuiSettings,
        item: HistoryItem,
    ) -> Result<Self, StoreError> {
        Ok(match item {
            HistoryItem::Recording(id) if store.is_trace(id)? => {
                Self::Trace(Box::new(TraceDetail::read(store, id)?))
            }
            HistoryItem::Recording(id) => {
                let cells = store.cell_stats(id)?;
                Self::Recording(Box::new(RecordingDetail {
                    about: store.recording_details(id)?,
                    size: store.recording_size(id)?,
                    bad: cells.iter().map(|cell| cell.bad).sum(),
                    unavailable: store.unavailable_lanes(id)?,
                    answers: conclusion_sentences(store, settings, id)?,
                    medians: build_table_without_bills(&cells),
                    notes: list_footnotes(&cells, None),
                    sources: meter_source_table(&store.merged_meter_sources(id)?),
                }))
            }
            HistoryItem::Simulation(id) => {
                Self::Simulation(Box::new(SimulationReport::load(store, id)?))
            }
        })
    }

    /// Formats all details in lines of at most `width` columns.
    #[must_use]
    pub(crate) fn to_lines(&self, width: usize) -> Vec<DetailLine> {
        let mut page = DetailBuilder { width, lines: Vec::new() };
        match self {
            Self::Recording(it) => push_recording(&mut page, it),
            Self::Trace(it) => it.push_to(&mut page),
            Self::Simulation(it) => push_simulation(&mut page, it),
        }
        page.lines
    }
}

/// Builder of the lines of the details.
pub(super) struct DetailBuilder {
    pub(super) width: usize,
    pub(super) lines: Vec<DetailLine>,
}

impl DetailBuilder {
    pub(super) fn push_text(&mut self, role: StyleRole, text: &str) {
        for text in wrap(text, self.width) {
            self.lines.push(DetailLine { role, text });
        }
    }

    pub(super) fn push_title(&mut self, text: &str) {
        if !self.lines.is_empty() {
            self.lines.push(DetailLine { role: StyleRole::Text, text: String::new() });
        }
        self.push_text(StyleRole::Title, text);
    }

    /// Appends a label with its text beside it.
    pub(super) fn push_pair(&mut self, label: &str, text: &str) {
        const LABEL: usize = 10;
        let room = self.width.saturating_sub(LABEL).max(1);
        for (at, line) in wrap(text, room).into_iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            self.lines
                .push(DetailLine { role: StyleRole::Text, text: format!("{label:LABEL$}{line}") });
        }
    }

    pub(super) fn push_table(&mut self, table: &Table, shared: usize) {
        // Not wrapped again: a table that does not fit is cut when it is drawn.
        let text = table.render_within(self.width, shared);
        self.lines.extend(text.lines().enumerate().map(|(at, line)| DetailLine {
            role: if at == 0 { StyleRole::Dim } else { StyleRole::Text },
            text: line.to_owned(),
        }));
    }
}

fn push_recording(page: &mut DetailBuilder, it: &RecordingDetail) {
    let about = &it.about;
    let took = recording_duration(about).map_or_else(
        || "; when it ended is not known".to_owned(),
        |span| format!(", took {}", crate::frame::format_clock(span)),
    );
    let took = if about.status == "running" { String::new() } else { took };
    let begun = format_timestamp(&about.started_at);
    page.push_pair("status", &format!("{}; begun {begun} UTC{took}", about.status));
    if let Some(label) = &about.label {
        page.push_pair("label", label);
    }
    page.push_pair("plan", &plan_text(&about.plan));
    page.push_pair("host", &host_text(&about.host));
    page.push_pair("holds", &stored_counts_text(it));
    page.push_pair("sampler", &sampler_text(about));
    for (lane, reason) in &it.unavailable {
        page.push_text(StyleRole::Warn, &format!("lane {lane} could not run: {reason}"));
    }
    if it.medians.is_empty() {
        page.push_text(StyleRole::Dim, "it has no cells: nothing was run");
        return;
    }
    if !it.answers.is_empty() {
        page.push_title("what it shows");
        it.answers.iter().for_each(|answer| page.push_text(StyleRole::Text, answer));
    }
    page.push_title("its cells: times and counts are medians of what ended well");
    page.push_table(&it.medians, SHARED_COLUMNS);
    for note in &it.notes {
        page.push_text(StyleRole::Dim, note);
    }
    if !it.sources.is_empty() {
        page.push_title("where its figures come from");
        let text = it.sources.render_wrapped(page.width);
        for line in text.lines() {
            page.lines.push(DetailLine { role: StyleRole::Text, text: line.to_owned() });
        }
    }
}

fn stored_counts_text(it: &RecordingDetail) -> String {
    let failed = if it.bad > 0 { format!(" ({} failed)", it.bad) } else { String::new() };
    format!(
        "{}{failed}, {}, {}",
        format_count(it.size.invocations, "invocation"),
        format_count(it.size.samples, "sample"),
        format_count(it.size.simulations, "simulation")
    )
}

/// Returns how long a recording took, by wall-clock time.
pub(crate) fn recording_duration(about: &RecordingDetails) -> Option<Nanos> {
    let begun = humantime::parse_rfc3339(&about.started_at).ok()?;
    let ended = humantime::parse_rfc3339(about.ended_at.as_deref()?).ok()?;
    ended.duration_since(begun).ok().map(Nanos::from)
}

/// Describes the cost of the sampler and the samples it dropped.
pub fn sampler_text(about: &RecordingDetails) -> String {
    let Some(interval) = about.sample_interval_ns else {
        return "off".to_owned();
    };
    let mut text = format!("every {}", Nanos(interval.unsigned_abs()));
    if let Some(ticks) = about.sampler_ticks {
        text = format!("{text}, read {ticks} times");
    }
    if let Some(cpu) = about.sampler_cpu_ns {
        let cpu = Nanos(cpu.unsigned_abs());
        let share = recording_duration(about).and_then(|span| format_share(cpu, span));
        let share = share.map_or_else(String::new, |it| format!(", {it} of the time"));
        text = format!("{text}, {cpu} of CPU{share}");
    }
    if about.samples_dropped > 0 {
        text = format!("{text}; {} samples dropped", about.samples_dropped);
    }
    text
}

/// Formats a part of a time span as per cent.
pub fn format_share(part: Nanos, whole: Nanos) -> Option<String> {
    let ppm = (u128::from(part.0) * 1_000_000).checked_div(u128::from(whole.0))?;
    u64::try_from(ppm).ok().map(format_percent)
}

/// Describes the plan; fields that an older version did not store are left out.
fn plan_text(plan: &Value) -> String {
    let number = |key: &str| plan.get(key).and_then(Value::as_u64);
    let text = |key: &str| plan.get(key).and_then(Value::as_str);
    let names = |key: &str| {
        let names = plan.get(key)?.as_array()?.iter().filter_map(Value::as_str);
        Some(names.collect::<Vec<_>>().join(" "))
    };
    let parts = [
        match number("runs") {
            Some(runs) => {
                let runs = format_count(i64::try_from(runs).unwrap_or(i64::MAX), "run");
                Some(format!("{runs} of each cell"))
            }
            None => plan.is_object().then(|| "until stopped".to_owned()),
        }
        .filter(|_| plan.get("runs").is_some()),
        number("warmup").filter(|it| *it > 0).map(|it| format!("after {it} to warm up")),
        text("start").map(|it| match it {
            "both" => "cold and warm starts".to_owned(),
            one => format!("{one} starts"),
        }),
        text("preset").map(|it| format!("preset {it}")),
        number("memory_bytes").map(|it| format!("memory {}", Bytes(it))),
        number("timeout_ns").map(|it| format!("timeout {}", Nanos(it))),
        number("pin").map(|it| format!("on CPU {it}")),
        plan.get("race").and_then(Value::as_bool).filter(|it| *it).map(|_| "race".to_owned()),
        names("workloads").map(|it| format!("workloads {it}")),
        names("lanes").map(|it| format!("lanes {it}")),
    ];
    join_parts(parts)
}

/// Describes the host.
fn host_text(host: &Value) -> String {
    let text = |key: &str| host.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key: &str| host.get(key).and_then(Value::as_u64);
    let cpu = match (number("cpus"), text("cpu")) {
        (Some(cpus), Some(cpu)) => Some(format!("{cpus} x {cpu}")),
        (_, cpu) => cpu,
    };
    join_parts([
        text("hostname"),
        cpu,
        number("memory_bytes").map(|it| format!("{} of memory", Bytes(it))),
        text("os"),
        text("kernel").map(|it| format!("kernel {it}")),
        number("tsc_hz").map(|hz| format!("TSC {} MHz", hz / 1_000_000)),
        text("governor").map(|it| format!("governor {it}")),
        text("cyclometer").map(|it| format!("cyclometer {it}")),
    ])
}

fn join_parts<const N: usize>(parts: [Option<String>; N]) -> String {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "not kept".to_owned() } else { parts.join(", ") }
}

pub(super) fn meter_source_table(all: &[MeterSource]) -> Table {
    let mut table = Table::new(&[
        Column::text("lane", "lane"),
        Column::text("start", "start"),
        Column::text("meter", "meter"),
        Column::text("source", "source"),
        Column::text("note", "note"),
    ]);
    for it in all {
        table.push(vec![
            Cell::text(&*it.lane),
            Cell::text(it.start.label()),
            Cell::text(&*it.meter),
            Cell::optional_text(it.source.clone()),
            Cell::text(&*it.note),
        ]);
    }
    table
}

fn push_simulation(page: &mut DetailBuilder, it: &SimulationReport) {
    let info = &it.info;
    page.push_pair("made", &format!("{} UTC", format_timestamp(&info.created_at)));
    if let Some(label) = &info.label {
        page.push_pair("label", label);
    }
    let recordings = &info.recordings;
    page.push_pair(
        "of",
        &format!("recording {recordings}, {}", format_count(info.invocations, "invocation")),
    );
    let options: Value = serde_json::from_str(&it.options).unwrap_or(Value::Null);
    page.push_pair("asked for", &simulation_options_text(&options));
    for (at, (title, _, table)) in it.tables.iter().enumerate() {
        if !table.is_empty() {
            page.push_title(title);
            // Keeps the charge, position or part on each line, where there is one.
            page.push_table(table, if at == 0 { 2 } else { 3 });
        }
    }
    page.lines.push(DetailLine { role: StyleRole::Text, text: String::new() });
    let digits = Some("mean / M: mean bill of a million; amounts to 6 digits");
    for note in
        [it.cut_note(), digits, it.list_price_note(), it.earlier_rule_note()].into_iter().flatten()
    {
        page.push_text(StyleRole::Dim, note);
    }
    page.push_title("price models");
    page.push_table(&it.models, 1);
    let terms = options.get("terms").and_then(Value::as_object).into_iter().flatten();
    for (at, (model, terms)) in terms.enumerate() {
        if at == 0 {
            page.push_title("their terms");
        }
        page.push_text(
            StyleRole::Text,
            &format!("{model}: {}", terms.as_str().unwrap_or_default()),
        );
    }
}

/// Describes the options of a simulation, other than all of it at list prices.
fn simulation_options_text(options: &Value) -> String {
    let names = |key: &str| {
        let names: Vec<&str> =
            options.get(key)?.as_array()?.iter().filter_map(Value::as_str).collect();
        (!names.is_empty()).then(|| format!("only {key} {}", names.join(" ")))
    };
    let what_if = options.get("what_if").and_then(Value::as_object);
    let what_if = what_if.filter(|it| !it.is_empty()).map(|it| {
        let set: Vec<String> =
            it.iter().map(|(meter, value)| format!("{meter} = {value}")).collect();
        format!("what if {}", set.join(", "))
    });
    let month = options.get("per_month").and_then(Value::as_str);
    let parts = [
        names("lanes"),
        names("workloads"),
        options.get("start").and_then(Value::as_str).map(|start| format!("only {start} starts")),
        what_if,
        month.map(|requests| format!("a month of {requests} requests")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "all of it, at list prices".to_owned() } else { parts.join(", ") }
}

/// Formats an item as text of that width.
///
/// # Errors
/// Fails like [`ItemDetail::read_item`].
pub(crate) fn item_text(
    store: &Store,
    settings: &TuiSettings,
    item: HistoryItem,
    width: usize,
) -> Result<String, StoreError> {
    let lines = ItemDetail::read_item(store, settings, item)?.to_lines(width);
    Ok(lines.into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n"))
}

/// Formats a comparison as text of that width.
#[must_use]
pub(crate) fn comparison_text(it: &StoredComparison, width: usize) -> String {
    let mut lines = it.names.to_vec();
    lines.push(String::new());
    lines.extend(it.subjects.iter().map(|it| format!("what was run: {it}")));
    lines.extend(it.warnings.iter().map(|it| format!("warning: {it}")));
    lines.extend(it.largest.iter().cloned());
    if it.subjects.len() + it.warnings.len() + it.largest.len() > 0 {
        lines.push(String::new());
    }
    if it.difference.table.is_empty() {
        lines.push("neither of the two has anything to compare".to_owned());
    } else {
        lines.push(it.difference.table.render_grouped_within(width, NAME_COLUMNS));
        lines.push(String::new());
    }
    lines.extend(it.difference.notes.iter().chain(&it.conclusion).cloned());
    lines.join("\n")
}
