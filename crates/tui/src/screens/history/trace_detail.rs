//! Details of a trace: the period that it covers, its files, what could not be read of them, and
//! where its figures come from.

use super::detail::{DetailBuilder, DetailLine, meter_source_table, recording_duration};
use crate::theme::StyleRole;
use cyclometer_core::quantity::separate_thousands;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_report::{Cell, Column, Table, format_count, format_timestamp};
use cyclometer_store::{
    RecordingCounts, RecordingDetails, Store, StoreError, TraceContents, TraceLeftover,
};

/// Most rows whose failures are counted: each has to be read for it.
const MOST_COUNTED: i64 = 1_000_000;

/// Characters of a digest that are shown.
const DIGEST: usize = 12;

/// Details of a trace, as they were read.
#[derive(Debug)]
pub(crate) struct TraceDetail {
    about: RecordingDetails,
    overview: TraceContents,
    rows: i64,
    /// Counts of the rows; `None`: there are too many.
    counts: Option<RecordingCounts>,
    sources: Table,
}

impl TraceDetail {
    /// Reads the details of a trace.
    ///
    /// # Errors
    /// Fails when there is none of that number, or the database cannot be read.
    pub(super) fn read(store: &Store, recording: i64) -> Result<Self, StoreError> {
        let rows = store.imported_rows(recording)?;
        let counts = (rows <= MOST_COUNTED).then(|| store.count_invocations(recording));
        Ok(Self {
            about: store.recording_details(recording)?,
            overview: store.trace_contents(recording)?,
            rows,
            counts: counts.transpose()?,
            sources: meter_source_table(&store.merged_meter_sources(recording)?),
        })
    }

    /// Appends all lines.
    pub(super) fn push_to(&self, page: &mut DetailBuilder) {
        let Self { about, overview, .. } = self;
        page.push_pair("period", &self.period_text());
        if let Some(label) = &about.label {
            page.push_pair("label", label);
        }
        page.push_pair("holds", &self.counts_text());
        let is_lost = |it: &&TraceLeftover| it.kind == "rejected";
        let lost: i64 = overview.leftovers.iter().filter(is_lost).map(|it| it.records).sum();
        if lost > 0 {
            let text = format!("{} cannot be read", format_count(lost, "record"));
            page.push_text(StyleRole::Warn, &format!("{text}, and are in no figure: see below"));
        }
        if !overview.regions.is_empty() {
            page.push_pair("regions", &overview.regions.join(", "));
        }
        page.push_text(
            StyleRole::Dim,
            "a log has no samples over time and no host: timeline and comparisons of runs are of \
             recordings",
        );
        page.push_title("functions with the most invocations");
        page.push_table(&self.busiest_table(), 0);
        page.push_title("its files");
        page.push_table(&self.file_table(), 1);
        let more = overview.file_count - i64::try_from(overview.files.len()).unwrap_or(0);
        if more > 0 {
            page.push_text(StyleRole::Dim, &format!("and {}", format_count(more, "more file")));
        }
        page.push_title("what was not read of them");
        if overview.leftovers.is_empty() {
            page.push_text(StyleRole::Text, "nothing: every record is an invocation");
        } else {
            let named = overview.file_count > 1;
            page.push_table(&leftover_table(&overview.leftovers, named), 0);
        }
        if !self.sources.is_empty() {
            page.push_title("where its figures come from");
            let text = self.sources.render_wrapped(page.width);
            for line in text.lines() {
                page.lines.push(DetailLine { role: StyleRole::Text, text: line.to_owned() });
            }
        }
    }

    fn period_text(&self) -> String {
        if !self.overview.has_times {
            let imported = format_timestamp(&self.about.started_at);
            return format!("not known, its log has no times; imported {imported} UTC");
        }
        let begun = format_timestamp(&self.about.started_at);
        let ended = self.about.ended_at.as_deref().map_or_else(String::new, format_timestamp);
        let length = recording_duration(&self.about).map_or_else(String::new, format_length);
        format!("{begun} to {ended} UTC{length}")
    }

    fn counts_text(&self) -> String {
        let count = |count: i64, name: &str| {
            let noun = format_count(count, name);
            let noun = noun.split_once(' ').map_or("", |(_, noun)| noun).to_owned();
            format!("{} {noun}", separate_thousands(&count.to_string()))
        };
        let failed = match &self.counts {
            Some(counts) if counts.bad > 0 => format!(" ({} failed)", counts.bad),
            Some(_) => " (none failed)".to_owned(),
            None => " (too many to count failures here)".to_owned(),
        };
        let overview = &self.overview;
        let mut parts = vec![
            format!("{}{failed}", count(self.rows, "row")),
            count(overview.function_count, "function"),
            count(overview.cell_count, "cell"),
        ];
        if overview.instance_count > 0 {
            parts.push(count(overview.instance_count, "instance"));
        }
        parts.join(", ")
    }

    fn busiest_table(&self) -> Table {
        let mut table = Table::new(&[
            Column::text("function", "function"),
            Column::text("platform", "platform"),
            Column::number("rows", "rows"),
        ]);
        for it in &self.overview.busiest {
            table.push(vec![
                Cell::text(&*it.function),
                Cell::text(&*it.platform),
                Cell::new(separate_thousands(&it.rows.to_string()), it.rows),
            ]);
        }
        table
    }

    fn file_table(&self) -> Table {
        let mut table = Table::new(&[
            Column::text("file", "file"),
            Column::text("format", "format"),
            Column::number("size", "bytes"),
            Column::number("records", "records"),
            Column::number("rows", "rows"),
            Column::text("digest", "digest"),
        ]);
        for file in &self.overview.files {
            let size = file.bytes.map(Bytes);
            table.push(vec![
                Cell::text(&*file.path),
                Cell::text(&*file.format),
                Cell::optional_size(size),
                Cell::new(separate_thousands(&file.records.to_string()), file.records),
                Cell::new(separate_thousands(&file.rows.to_string()), file.rows),
                Cell::text(file.digest.chars().take(DIGEST).collect::<String>()),
            ]);
        }
        table
    }
}

/// Formats the length of a period: `, 15.0 days`.
fn format_length(length: Nanos) -> String {
    const HOUR: u64 = 3_600 * 1_000_000_000;
    let tenths = |unit: u64| {
        let tenths = length.0 / (unit / 10);
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match length.0 {
        short if short < 2 * HOUR => format!(", {length}"),
        hours if hours < 48 * HOUR => format!(", {} hours", tenths(HOUR)),
        _ => format!(", {} days", tenths(24 * HOUR)),
    }
}

/// Lists what gave no row, with the name of the file if there are several.
fn leftover_table(all: &[TraceLeftover], named: bool) -> Table {
    let mut table = Table::new(&[
        Column::text("what", "kind"),
        Column::number("records", "records"),
        Column::text("cause", "cause"),
        Column::text("first lines", "first_lines"),
        if named { Column::text("of", "file") } else { Column::hidden("file") },
    ]);
    for it in all {
        let kind = if it.kind == "other" { "no invocation" } else { &it.kind };
        let lines = it.first_lines.trim_matches(['[', ']']).replace(',', ", ");
        table.push(vec![
            Cell::text(kind),
            Cell::new(separate_thousands(&it.records.to_string()), it.records),
            Cell::text(&*it.cause),
            Cell::text(lines),
            Cell::text(&*it.path),
        ]);
    }
    table
}
