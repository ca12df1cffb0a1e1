//! List of recordings and simulations: reading, sorting, filtering.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::widgets::text::display_width;
use cyclometer_core::units::Bytes;
use cyclometer_report::{Cell, Column, Table, format_timestamp, shorten_list};
use cyclometer_store::{
    HistoryFilter, HistoryItem, RecordingCounts, RecordingSummary, SimulationInfo, Store,
    StoreError,
};

/// Highest number of items listed.
pub const LIMIT: u32 = 1_000;

/// Word that a simulation shows in place of a status.
const SIMULATED: &str = "simulated";

/// Word that a trace shows in place of a status.
const TRACE: &str = "trace";

/// Most bytes of the names of a trace that a filter looks at.
const LONGEST_SEARCH_TEXT: usize = 64 << 10;

/// Row of a recording or a simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HistoryRow {
    /// Item of the row.
    pub item: HistoryItem,
    /// Number as shown: `12` or `s12`.
    pub number: String,
    /// Moment of the start, in UTC, RFC 3339.
    pub begun: String,
    /// Label that the user gave.
    pub label: String,
    /// Status that it ended with.
    pub status: String,
    /// Number of invocations.
    pub invocations: i64,
    /// Number of those that failed; a simulation has none of its own.
    pub bad: Option<i64>,
    /// Lanes, or the recordings that were simulated.
    pub lanes: String,
    /// Workloads, or price models.
    pub contents: String,
    /// Whether it is a trace.
    pub is_trace: bool,
    /// Recording that the row stands under.
    pub under: Option<HistoryItem>,
    /// Everything that is visible of the row, in lower case, for the filter.
    search_text: String,
}

/// Widest texts of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HistoryWidths {
    /// Width of numbers.
    pub number: usize,
    /// Width of states.
    pub status: usize,
    /// Width of counts of invocations.
    pub runs: usize,
    /// Width of labels.
    pub label: usize,
    /// Width of lanes.
    pub lanes: usize,
    /// Width of workloads and models.
    pub contents: usize,
}

/// List as it was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct HistoryList {
    /// Rows, newest first.
    pub rows: Vec<HistoryRow>,
    /// Widths of the columns.
    pub widths: HistoryWidths,
    /// Number of all recordings in the database.
    pub recordings: i64,
    /// Number of all simulations in the database.
    pub simulations: i64,
    /// Size of the database file.
    pub size: Option<Bytes>,
    /// Unused bytes in that file.
    pub free: Option<Bytes>,
}

/// Sort key of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum HistorySort {
    /// Moment of the start.
    #[default]
    Begun,
    /// Label.
    Label,
    /// Status.
    Status,
    /// Number of invocations.
    Invocations,
    /// Number of failed invocations.
    Failed,
    /// Lanes.
    Lanes,
    /// Workloads or models.
    Contents,
}

impl HistorySort {
    /// Returns the key of the next column.
    #[must_use]
    pub(crate) const fn next_key(self) -> Self {
        match self {
            Self::Begun => Self::Label,
            Self::Label => Self::Status,
            Self::Status => Self::Invocations,
            Self::Invocations => Self::Failed,
            Self::Failed => Self::Lanes,
            Self::Lanes => Self::Contents,
            Self::Contents => Self::Begun,
        }
    }

    /// Returns the name of the key.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begun => "time",
            Self::Label => "label",
            Self::Status => "status",
            Self::Invocations => "invocations",
            Self::Failed => "failures",
            Self::Lanes => "lanes",
            Self::Contents => "workloads and models",
        }
    }

    /// Compares two rows: numbers and times begin with the largest, words with
    /// A; rows without a label come last.
    fn compare_rows(self, one: &HistoryRow, two: &HistoryRow) -> Ordering {
        let words = |one: &str, two: &str| one.to_lowercase().cmp(&two.to_lowercase());
        match self {
            Self::Begun => two.begun.cmp(&one.begun),
            Self::Label => one
                .label
                .is_empty()
                .cmp(&two.label.is_empty())
                .then_with(|| words(&one.label, &two.label)),
            Self::Status => one.shown_status().cmp(two.shown_status()),
            Self::Invocations => two.invocations.cmp(&one.invocations),
            Self::Failed => two.bad.cmp(&one.bad),
            Self::Lanes => words(&one.lanes, &two.lanes),
            Self::Contents => words(&one.contents, &two.contents),
        }
    }
}

impl HistoryRow {
    fn from_recording(head: RecordingSummary, invocations: i64, bad: Option<i64>) -> Self {
        let names = if head.is_trace { shorten_list(&head.workloads) } else { String::new() };
        let row = Self {
            item: HistoryItem::Recording(head.id),
            number: head.id.to_string(),
            begun: head.started_at,
            label: head.label.unwrap_or_default(),
            status: head.status,
            invocations,
            bad,
            lanes: head.lanes,
            contents: head.workloads,
            is_trace: head.is_trace,
            under: None,
            search_text: String::new(),
        };
        let mut row = row.with_search_text();
        if row.is_trace {
            // A trace may have more functions than a list should carry around.
            row.search_text.truncate(row.search_text.floor_char_boundary(LONGEST_SEARCH_TEXT));
            row.contents = names;
        }
        row
    }

    fn from_simulation(info: SimulationInfo) -> Self {
        // A simulation of several recordings stands under the first.
        let first =
            info.recordings.split(|it: char| !it.is_ascii_digit()).find(|it| !it.is_empty());
        let under = first.and_then(|id| id.parse().ok()).map(HistoryItem::Recording);
        Self {
            item: HistoryItem::Simulation(info.id),
            number: format!("s{}", info.id),
            begun: info.created_at,
            label: info.label.unwrap_or_default(),
            status: SIMULATED.to_owned(),
            invocations: info.invocations,
            bad: None,
            lanes: format!("of {}", info.recordings),
            contents: info.models,
            is_trace: false,
            under,
            search_text: String::new(),
        }
        .with_search_text()
    }

    fn with_search_text(mut self) -> Self {
        let begun: String = format_timestamp(&self.begun).chars().take(16).collect();
        let counts = format!("{} {}", self.invocations, self.bad.unwrap_or(0));
        let texts = [
            &*self.number,
            &begun,
            &self.label,
            self.shown_status(),
            &counts,
            &self.lanes,
            &self.contents,
        ];
        let parts = texts.join(" ");
        self.search_text = parts.to_lowercase();
        self
    }

    /// Returns whether the recording is still running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.status == "running"
    }

    /// Returns the status as it is shown: that of a trace, which is always whole, is its kind.
    #[must_use]
    pub(crate) fn shown_status(&self) -> &str {
        if self.is_trace { TRACE } else { &self.status }
    }

    /// Returns the kind and number of the item.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        match self.item {
            HistoryItem::Recording(id) if self.is_trace => format!("{TRACE} {id}"),
            item => item.to_string(),
        }
    }

    /// Returns the name of the item in a sentence.
    #[must_use]
    pub fn title(&self) -> String {
        if self.label.is_empty() {
            self.name()
        } else {
            format!("{} (`{}`)", self.name(), self.label)
        }
    }

    /// Returns workloads or models, shortened to fit a line.
    #[must_use]
    pub(crate) fn short_contents(&self) -> String {
        shorten_list(&self.contents)
    }
}

impl HistoryWidths {
    fn for_rows(rows: &[HistoryRow]) -> Self {
        let widest = |text: fn(&HistoryRow) -> usize| rows.iter().map(text).max().unwrap_or(0);
        Self {
            number: widest(|row| row.number.len()),
            status: widest(|row| row.shown_status().len()),
            runs: widest(|row| row.invocations.to_string().len()),
            label: widest(|row| display_width(&row.label)),
            lanes: widest(|row| display_width(&row.lanes)),
            contents: widest(|row| display_width(&row.short_contents())),
        }
    }
}

impl HistoryList {
    /// Reads the newest recordings and simulations. Counts of what is over are
    /// taken from `known`.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub(crate) fn read_newest(store: &Store, known: Option<&Self>) -> Result<Self, StoreError> {
        let (recordings, simulations) = store.count_items()?;
        let mut rows = Vec::new();
        for head in store.newest_recordings(LIMIT)? {
            if head.is_trace {
                // Millions of rows are not counted for a list.
                let imported = store.imported_rows(head.id)?;
                rows.push(HistoryRow::from_recording(head, imported, None));
                continue;
            }
            let before = known.and_then(|lists| lists.known_tally(&head));
            let tally = before.map_or_else(|| store.count_invocations(head.id), Ok)?;
            rows.push(HistoryRow::from_recording(head, tally.invocations, Some(tally.bad)));
        }
        let newest = HistoryFilter { limit: Some(LIMIT), ..HistoryFilter::default() };
        rows.extend(store.list_simulations(&newest)?.into_iter().map(HistoryRow::from_simulation));
        // Stable: at the same moment, recordings come before simulations of them.
        rows.sort_by(|one, two| two.begun.cmp(&one.begun));
        rows.truncate(LIMIT as usize);
        let size = std::fs::metadata(store.path()).ok().map(|file| Bytes(file.len()));
        let free = store.free_bytes().ok().map(Bytes);
        let widths = HistoryWidths::for_rows(&rows);
        Ok(Self { rows, widths, recordings, simulations, size, free })
    }

    /// Returns the counts of a recording that had ended when they were read.
    fn known_tally(&self, head: &RecordingSummary) -> Option<RecordingCounts> {
        let before = self.rows.iter().find(|row| row.item == HistoryItem::Recording(head.id))?;
        let same = before.begun == head.started_at && before.status == head.status;
        (same && !before.is_running()).then(|| RecordingCounts {
            invocations: before.invocations,
            bad: before.bad.unwrap_or(0),
        })
    }

    /// Returns the number of items that the list leaves out.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        let all = (self.recordings + self.simulations).unsigned_abs();
        all.saturating_sub(self.rows.len() as u64)
    }

    /// Returns whether the list has simulations of a recording.
    #[must_use]
    pub(crate) fn has_simulations(&self, item: HistoryItem) -> bool {
        self.rows.iter().any(|row| row.under == Some(item))
    }

    /// Returns the positions of the rows that are shown, in order: recordings,
    /// and simulations under those that are `unfolded`. With words, only rows
    /// that contain them all, and the recordings of such simulations.
    #[must_use]
    pub(crate) fn visible_rows(
        &self,
        words: &str,
        (sort, reverse): (HistorySort, bool),
        unfolded: &BTreeSet<HistoryItem>,
    ) -> Vec<usize> {
        let wanted: Vec<&str> = words.split_whitespace().collect();
        let fits = |row: &HistoryRow| wanted.iter().all(|word| row.search_text.contains(word));
        let listed: BTreeSet<HistoryItem> = self.rows.iter().map(|row| row.item).collect();
        let mut above: Vec<usize> = Vec::new();
        let mut below: BTreeMap<HistoryItem, Vec<usize>> = BTreeMap::new();
        for (at, row) in self.rows.iter().enumerate() {
            match row.under.filter(|item| listed.contains(item)) {
                Some(item) => below.entry(item).or_default().push(at),
                None => above.push(at),
            }
        }
        let in_order = |places: &mut Vec<usize>| {
            places.sort_by(|one, two| {
                let order = sort.compare_rows(&self.rows[*one], &self.rows[*two]);
                if reverse { order.reverse() } else { order }
            });
        };
        in_order(&mut above);
        let mut places = Vec::new();
        for at in above {
            let row = &self.rows[at];
            let mut children = below.remove(&row.item).unwrap_or_default();
            let own = fits(row);
            // A filter shows its matches, folded or not.
            let is_open = unfolded.contains(&row.item) || !wanted.is_empty();
            children.retain(|child| is_open && fits(&self.rows[*child]));
            in_order(&mut children);
            if own || !children.is_empty() {
                places.push(at);
                places.append(&mut children);
            }
        }
        places
    }

    /// Returns the rows at these positions as a table, for an export.
    #[must_use]
    pub(crate) fn to_table(&self, places: &[usize]) -> Table {
        let mut table = Table::new(&[
            Column::text("kind", "kind"),
            Column::number("number", "number"),
            Column::text("begun (UTC)", "begun_at"),
            Column::text("label", "label"),
            Column::text("status", "status"),
            Column::number("invocations", "invocations"),
            Column::number("failed", "failed"),
            Column::text("lanes", "lanes"),
            Column::text("workloads", "workloads"),
            Column::text("of recordings", "recordings"),
            Column::text("price models", "models"),
        ]);
        for row in places.iter().filter_map(|at| self.rows.get(*at)) {
            table.push(row.to_cells());
        }
        table
    }
}

impl HistoryRow {
    fn to_cells(&self) -> Vec<Cell> {
        let text = |text: &str| Cell::optional(Some((text.to_owned(), text)));
        let none = || Cell::optional::<String>(None);
        let (kind, number, rest) = match self.item {
            HistoryItem::Recording(id) => {
                let kind = if self.is_trace { TRACE } else { "recording" };
                (kind, id, [text(&self.lanes), text(&self.contents), none(), none()])
            }
            HistoryItem::Simulation(id) => {
                let of = self.lanes.strip_prefix("of ").unwrap_or_default();
                ("simulation", id, [none(), none(), text(of), text(&self.contents)])
            }
        };
        let label = (!self.label.is_empty()).then(|| (self.label.clone(), self.label.clone()));
        let mut cells = vec![
            Cell::text(kind),
            Cell::new(&self.number, number),
            Cell::new(format_timestamp(&self.begun), self.begun.clone()),
            Cell::optional(label),
            Cell::text(&*self.status),
            Cell::new(self.invocations, self.invocations),
            Cell::optional(self.bad.map(|bad| (bad.to_string(), bad))),
        ];
        cells.extend(rest);
        cells
    }
}
