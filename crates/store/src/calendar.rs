//! Replays of traces by the calendar: the bill of a month has its own allowances, and a commitment
//! is used up hour by hour.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::params_from_iter;
use time::{Date, Month, OffsetDateTime, Time};

use super::invocation_scan::{self, RecordedUsage, rows_in_order};
use super::open::{Store, StoreError};
use super::simulation::{ReplayError, ReplayPlan};
use cyclometer_replay::{CellKey, GroupTotal, ReplaySummary, replay_source};

/// Nanoseconds of an hour.
const HOUR: i64 = 3_600_000_000_000;

/// Separates the label of a period from the preset in the keys of a replay.
const SEPARATOR: char = '\u{1f}';

/// Length of the periods that invocations are summed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalendarUnit {
    /// Calendar month, UTC.
    Month,
    /// Hour, UTC.
    Hour,
}

/// Month or hour of the calendar, UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarPeriod {
    /// Name: `2025-05`, or `2025-05-12T20` for an hour.
    pub label: String,
    /// Start, in nanoseconds since 1970 UTC.
    pub from: i64,
    /// End, which does not belong to it.
    pub until: i64,
}

/// Sums of a replay by period.
#[derive(Debug, Clone)]
pub struct CalendarReplay {
    /// Periods in which there are invocations or between those, in order.
    pub periods: Vec<CalendarPeriod>,
    /// Sums, whose presets begin with the period: see [`Self::period_groups`].
    pub summary: ReplaySummary,
}

impl CalendarReplay {
    /// Returns the sums of each period and cell, by the position of the period.
    #[must_use]
    pub fn period_groups(&self) -> BTreeMap<(usize, CellKey), GroupTotal> {
        self.summary.group_by(|key| {
            let (label, preset) = key.preset.split_once(SEPARATOR).unwrap_or(("", &key.preset));
            let period = self.periods.partition_point(|period| *period.label < *label);
            (period, CellKey { preset: preset.into(), ..key.clone() })
        })
    }

    /// Returns the sums of each period, over all cells.
    #[must_use]
    pub fn period_totals(&self) -> BTreeMap<usize, GroupTotal> {
        self.summary.group_by(|key| {
            let label = key.preset.split(SEPARATOR).next().unwrap_or_default();
            self.periods.partition_point(|period| *period.label < *label)
        })
    }
}

/// Division of the rows of a scan by the time at which they started.
#[derive(Debug, Clone)]
pub(super) struct PeriodSplit(Arc<Vec<CalendarPeriod>>);

impl PeriodSplit {
    /// Returns the position of the period of a time; those before the first belong to it, and
    /// those after the last to that.
    pub(super) fn find_period(&self, time: i64) -> usize {
        let after = self.0.partition_point(|period| period.until <= time);
        after.min(self.0.len().saturating_sub(1))
    }

    /// Returns the key of a cell in a period.
    pub(super) fn split_key(&self, key: &CellKey, period: usize) -> CellKey {
        let label = self.0.get(period).map_or("", |period| &period.label);
        CellKey { preset: format!("{label}{SEPARATOR}{}", key.preset).into(), ..key.clone() }
    }
}

impl Store {
    /// Returns the months or hours from the first invocation of some traces to the last.
    ///
    /// # Errors
    /// Fails when the invocations have no time in the calendar, as those of recordings and of logs
    /// without times, or the database cannot be read.
    pub fn calendar_periods(
        &self,
        recordings: &[i64],
        length: CalendarUnit,
    ) -> Result<Vec<CalendarPeriod>, StoreError> {
        let marks: Vec<String> = (1..=recordings.len()).map(|at| format!("?{at}")).collect();
        let of_cell = format!("recording_id IN ({}) AND importing = 0", marks.join(", "));
        let sql = format!(
            "SELECT MIN(i.offset_ns), MAX(i.offset_ns),
                (SELECT MIN(offset_base_ns) FROM cell WHERE {of_cell}
                    AND EXISTS (SELECT 1 FROM invocation WHERE cell_id = cell.id))
             FROM invocation i NOT INDEXED WHERE {}",
            rows_in_order(&of_cell)
        );
        let found = self.connection.query_row(&sql, params_from_iter(recordings), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        });
        let found: (Option<i64>, Option<i64>, Option<i64>) =
            found.map_err(StoreError::for_action("search for the time of the invocations"))?;
        let (Some(first), Some(last), Some(base)) = found else { return Ok(Vec::new()) };
        if base == 0 {
            return Err(StoreError::NotFound(
                "the invocations have no date: months are those of imported logs with times; \
                 --per-month says how many requests a month has"
                    .to_owned(),
            ));
        }
        let periods = match length {
            CalendarUnit::Month => list_months(first.max(base), last),
            CalendarUnit::Hour => list_hours(first.max(base), last),
        };
        periods.ok_or_else(|| {
            StoreError::NotFound("the times of the trace span more than 100 years".to_owned())
        })
    }

    /// Replays traces by calendar month or hour, in one pass, without storing anything.
    ///
    /// # Errors
    /// Fails like [`Self::calendar_periods`] and [`Self::replay_without_saving`].
    pub fn replay_by_period(
        &self,
        plan: &ReplayPlan,
        length: CalendarUnit,
    ) -> Result<CalendarReplay, ReplayError> {
        let periods = self.calendar_periods(&plan.selection.recordings, length)?;
        let cells = invocation_scan::select_cells(&self.connection, &plan.selection)?;
        let range = invocation_scan::invocation_range(&self.connection, &cells)?;
        let Some(range) = range.filter(|_| !periods.is_empty()) else {
            return Err(ReplayError::Empty(self.name_recordings(&plan.selection.recordings)?));
        };
        let split = PeriodSplit(Arc::new(periods.clone()));
        let mut source = RecordedUsage::new(&self.connection, &cells, range).split_by(split);
        let summary = replay_source(&mut source, &plan.contracts, &plan.what_if)?;
        Ok(CalendarReplay { periods, summary })
    }
}

fn list_hours(first: i64, last: i64) -> Option<Vec<CalendarPeriod>> {
    let from = first - first.rem_euclid(HOUR);
    let count = (last - from) / HOUR + 1;
    if count > 100 * 366 * 24 {
        return None;
    }
    (0..count)
        .map(|hour| {
            let from = from + hour * HOUR;
            let time = OffsetDateTime::from_unix_timestamp_nanos(from.into()).ok()?;
            let label = format!("{}T{:02}", time.date(), time.hour());
            Some(CalendarPeriod { label, from, until: from + HOUR })
        })
        .collect()
}

fn list_months(first: i64, last: i64) -> Option<Vec<CalendarPeriod>> {
    let date = OffsetDateTime::from_unix_timestamp_nanos(first.into()).ok()?.date();
    let (mut year, mut month) = (date.year(), date.month());
    let mut periods = Vec::new();
    loop {
        let (next_year, next_month) = match month {
            Month::December => (year + 1, Month::January),
            _ => (year, month.next()),
        };
        let (from, until) = (start_of_month(year, month)?, start_of_month(next_year, next_month)?);
        let label = format!("{year:04}-{:02}", u8::from(month));
        periods.push(CalendarPeriod { label, from, until });
        if last < until {
            return Some(periods);
        }
        if periods.len() > 1_200 {
            return None;
        }
        (year, month) = (next_year, next_month);
    }
}

/// Returns the start of a month, in nanoseconds since 1970 UTC.
fn start_of_month(year: i32, month: Month) -> Option<i64> {
    let date = Date::from_calendar_date(year, month, 1).ok()?;
    i64::try_from(date.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileProgress, TraceInput, TraceWriter};
    use cyclometer_core::invocation::{StartKind, Status};
    use cyclometer_core::meter::Meter;
    use cyclometer_core::units::Nanos;
    use cyclometer_trace::{CellLabel, RowBatch, TraceNames, TraceRow};

    /// Stores a trace of one function with rows of a time, a status and a weight.
    fn store_trace(store: Store, rows: &[(i64, Status, u32)]) -> (Store, i64) {
        let mut names = TraceNames::default();
        let label = CellLabel {
            platform: "aws-lambda".into(),
            function: "resize".into(),
            configuration: "1024MB".into(),
            region: None,
            start: StartKind::Warm,
        };
        let cell = names.find_or_add_cell(&label).expect("a cell");
        let mut batch = RowBatch::default();
        for (at, status, weight) in rows {
            let mut row = TraceRow::new(cell, false);
            row.started_at = Some(*at);
            (row.status, row.weight) = (*status, *weight);
            row.usage.phases.run = Some(Nanos(1_000_000_000));
            row.usage.set(Meter::Wall, 1_000_000_000);
            row.usage.set(Meter::MemoryAllocated, 1 << 30);
            batch.push(row);
        }
        let mut writer = TraceWriter::begin(store, None, "{}").expect("begun");
        let input = TraceInput {
            position: 0,
            path: "a".into(),
            format: "x".into(),
            bytes: None,
            identity: String::new(),
        };
        let file = writer.begin_file(&input).expect("a file");
        let progress = FileProgress { file, ..FileProgress::default() };
        writer.store_batch(&names, &batch, &progress).expect("stored");
        let trace = writer.recording();
        (writer.finish(&[]).expect("finished"), trace)
    }

    #[test]
    fn each_month_has_its_own_sums_with_failures_and_weights() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("c.db")).expect("made");
        let new_year = 1_735_689_600_000_000_000;
        let rows = [
            (new_year - 1, Status::Ok, 1),
            (new_year, Status::Failed, 3),
            (new_year + HOUR, Status::Failed, 1),
        ];
        let (store, trace) = store_trace(store, &rows);
        let model = cyclometer_pricing::find_builtin_model("aws-lambda-x86").expect("there");
        let terms = cyclometer_pricing::Terms::for_model(model);
        let plan = ReplayPlan::for_recordings(vec![trace], vec![(model.clone(), terms)]);
        let replay = store.replay_by_period(&plan, CalendarUnit::Month).expect("replayed");
        let totals = replay.period_totals();
        let sums: Vec<_> = totals.iter().map(|(at, group)| (*at, group.models[0].billed)).collect();
        assert_eq!(sums, [(0, 1), (1, 4)]);
        // 4 s of 1 GiB.
        assert_eq!(totals[&1].models[0].charges[0].quantity, cyclometer_pricing::Exact::from(4));
        let groups = replay.period_groups();
        let first = groups.keys().next().expect("a group");
        assert_eq!((first.0, &*first.1.preset), (0, "1024MB"));
        let hours = store.replay_by_period(&plan, CalendarUnit::Hour).expect("replayed");
        let labels: Vec<_> = hours.periods.iter().map(|period| &*period.label).collect();
        assert_eq!(labels, ["2024-12-31T23", "2025-01-01T00", "2025-01-01T01"]);
        assert_eq!(hours.period_totals().len(), 3);
        // Without the calendar, all of it is billed as well.
        let whole = store.replay_without_saving(&plan).expect("replayed");
        assert_eq!(whole.overall_group().models[0].billed, 5);
    }

    #[test]
    fn months_and_hours_meet_without_gaps() {
        // `date -u -d 2024-12-31T23:59:59.5Z +%s` is 1735689599.
        let first = 1_735_689_599_500_000_000;
        let months = list_months(first, first + 1_000_000_000).expect("two months");
        let labels: Vec<&str> = months.iter().map(|period| &*period.label).collect();
        assert_eq!(labels, ["2024-12", "2025-01"]);
        assert_eq!(months[0].until, 1_735_689_600_000_000_000);
        assert_eq!(months[0].until, months[1].from);
        // January has 31 days.
        assert_eq!((months[1].until - months[1].from) / HOUR, 744);
        let hours = list_hours(first, first + 1_000_000_000).expect("two hours");
        let labels: Vec<&str> = hours.iter().map(|period| &*period.label).collect();
        assert_eq!(labels, ["2024-12-31T23", "2025-01-01T00"]);
        let split = PeriodSplit(Arc::new(months));
        assert_eq!(split.find_period(first), 0);
        assert_eq!(split.find_period(first + 500_000_000), 1);
        assert_eq!(split.find_period(0), 0);
        assert_eq!(split.find_period(i64::MAX), 1);
    }
}
