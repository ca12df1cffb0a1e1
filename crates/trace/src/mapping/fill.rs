//! Filling of rows with the values of a record's columns.

use std::borrow::Cow;

use cyclometer_core::invocation::Status;
use cyclometer_core::meter::Meter;
use cyclometer_core::units::Nanos;

use crate::batch::{RowBatch, TraceNames};
use crate::format::{ImportSettings, RecordOutcome, Reject};
use crate::mapping::numbers::NumberNotation;
use crate::mapping::units::Target;
use crate::reading::quantity::{COUNT, DURATION, NumberCauses, UnitScale, parse_quantity};
use crate::reading::row_maker::{RowMaker, RowNames};
use crate::reading::time_notation::TimeNotation;
use crate::row::{RequestId, TraceRow};

/// Values of the columns of a mapping, in their order; `None` where a record has none.
pub(crate) type Values<'a> = Vec<Option<Cow<'a, str>>>;

/// What to do with the columns.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub function: Option<Name>,
    pub region: Option<Name>,
    pub instance: Option<Name>,
    pub request: Option<Name>,
    pub started: Option<TimeColumn>,
    pub ended: Option<TimeColumn>,
    pub status: Option<StatusColumn>,
    pub cold: Option<ValueColumn>,
    pub only: Option<ValueColumn>,
    pub weight: Option<usize>,
    pub meters: Vec<MeterColumn>,
}

/// Name of a column, or the same for all rows.
#[derive(Debug, Clone)]
pub(super) enum Name {
    Column(usize),
    Value(String),
}

/// Time of a column.
#[derive(Debug, Clone)]
pub(super) struct TimeColumn {
    pub column: usize,
    pub notation: TimeNotation,
    pub zone_minutes: Option<i32>,
}

/// End state of a column.
#[derive(Debug, Clone)]
pub(super) struct StatusColumn {
    pub column: usize,
    pub ok: Vec<String>,
    pub failed: Vec<String>,
    pub timeout: Vec<String>,
}

/// Values of a column that matter.
#[derive(Debug, Clone)]
pub(super) struct ValueColumn {
    pub column: usize,
    pub values: Vec<String>,
}

/// Meter of a column, or the same for all rows.
#[derive(Debug, Clone)]
pub(super) struct MeterColumn {
    pub target: Target,
    pub origin: Origin,
}

/// Where a meter's value is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    Value(u64),
    Column { column: usize, scale: UnitScale, notation: NumberNotation, causes: NumberCauses },
}

/// Filler of rows for one input.
pub(crate) struct Filler {
    plan: Plan,
    maker: RowMaker,
}

impl Filler {
    pub(super) fn new(plan: Plan, platform: &str, settings: &ImportSettings, file: &str) -> Self {
        Self { plan, maker: RowMaker::new(platform, settings, file) }
    }

    /// Pushes the row of a record's values.
    ///
    /// # Errors
    ///
    /// Rejects a value that is not as the mapping says, and a record without any meter.
    pub fn push_row(
        &mut self,
        values: &Values<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        let plan = &self.plan;
        if let Some(only) = &plan.only
            && !only.matches(values)
        {
            return Ok(RecordOutcome::Other("row that the mapping leaves out (`only`)"));
        }
        let mut measured = TraceRow::new(crate::batch::CellId(0), false);
        let mut found = false;
        for meter in &plan.meters {
            let value = meter.read(values)?;
            found |= value.is_some() && matches!(meter.origin, Origin::Column { .. });
            put_value(&mut measured, meter.target, value);
        }
        if !found {
            return Err(Reject::new("a record without any meter of the mapping"));
        }
        let phases = measured.usage.phases;
        let cold = match &plan.cold {
            Some(cold) => cold.matches(values),
            None => phases.start.is_some_and(|span| span.0 > 0),
        };
        let given = RowNames {
            function: find_name(plan.function.as_ref(), values),
            region: find_name(plan.region.as_ref(), values),
            memory: measured.usage.get(Meter::MemoryAllocated),
            vcpu_milli: measured.usage.get(Meter::VcpuAllocated),
            cold,
            ..RowNames::default()
        };
        let mut row = self.maker.make_row(names, &given)?;
        copy_usage(&measured, &mut row)?;
        self.fill_fields(&mut row, values, names)?;
        batch.push(row);
        Ok(RecordOutcome::Rows)
    }

    fn fill_fields(
        &self,
        row: &mut TraceRow,
        values: &Values<'_>,
        names: &mut TraceNames,
    ) -> Result<(), Reject> {
        let plan = &self.plan;
        let zone = self.maker.zone_minutes();
        let started = plan.started.as_ref().map(|time| time.read(values, zone)).transpose()?;
        let ended = plan.ended.as_ref().map(|time| time.read(values, zone)).transpose()?;
        let wall = row.usage.get(Meter::Wall);
        row.started_at = match (started.flatten(), ended.flatten(), wall) {
            (None, Some(ended), Some(wall)) => {
                let start = i64::try_from(wall).ok().and_then(|wall| ended.checked_sub(wall));
                let start = start.filter(|start| *start >= 0);
                Some(start.ok_or(Reject::new("a duration that began before 1970"))?)
            }
            (Some(started), Some(ended), _) if ended < started => {
                return Err(Reject::new("an end before its start"));
            }
            (started, _, _) => started,
        };
        if let Some(status) = &plan.status {
            row.status = status.read(values)?;
        }
        if let Some(column) = plan.weight
            && let Some(text) = value_at(values, column)
        {
            row.weight = parse_whole_weight(text)?;
        }
        row.request = find_name(plan.request.as_ref(), values).map(RequestId::from_text);
        let instance = find_name(plan.instance.as_ref(), values);
        row.instance = instance.map(|name| names.find_or_add_instance(name)).transpose()?;
        Ok(())
    }
}

fn parse_whole_weight(text: &str) -> Result<u32, Reject> {
    let weight = parse_quantity(text.as_bytes(), UnitScale::ONE, COUNT)?;
    let weight = u32::try_from(weight).ok().filter(|_| !text.contains('.'));
    match weight {
        Some(0) => Err(Reject::new("a row that stands for no invocation")),
        Some(weight) => Ok(weight),
        None => Err(Reject::new("a weight that is no whole number below 2^32")),
    }
}

fn value_at<'a>(values: &'a Values<'_>, column: usize) -> Option<&'a str> {
    values.get(column)?.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

fn find_name<'a>(name: Option<&'a Name>, values: &'a Values<'_>) -> Option<&'a str> {
    match name? {
        Name::Column(column) => value_at(values, *column),
        Name::Value(value) => Some(value),
    }
}

fn put_value(row: &mut TraceRow, target: Target, value: Option<u64>) {
    let phases = &mut row.usage.phases;
    let span = value.map(Nanos);
    match target {
        Target::Create => phases.create = span,
        Target::Start => phases.start = span,
        Target::Run => phases.run = span,
        Target::Teardown => phases.teardown = span,
        Target::Billed => row.billed = span,
        Target::Meter(meter) => row.usage.set(meter, value),
    }
}

/// Copies what was measured; wall is the sum of the phases where it is not told.
fn copy_usage(measured: &TraceRow, row: &mut TraceRow) -> Result<(), Reject> {
    for meter in Meter::ALL {
        if let Some(value) = measured.usage.get(*meter) {
            row.usage.set(*meter, value);
        }
    }
    let phases = measured.usage.phases;
    row.usage.phases = phases;
    row.billed = measured.billed;
    if row.usage.get(Meter::Wall).is_none()
        && let Some(run) = phases.run
    {
        let before = phases.startup_time().map_or(0, |span| span.0);
        let wall = run.0.checked_add(before).filter(|wall| i64::try_from(*wall).is_ok());
        row.usage.set(Meter::Wall, wall.ok_or(Reject::new(DURATION.range))?);
    }
    Ok(())
}

impl MeterColumn {
    fn read(&self, values: &Values<'_>) -> Result<Option<u64>, Reject> {
        match self.origin {
            Origin::Value(value) => Ok(Some(value)),
            Origin::Column { column, scale, notation, causes } => {
                let Some(text) = value_at(values, column) else { return Ok(None) };
                let plain = notation.to_plain(text, causes.number)?;
                parse_quantity(plain.as_bytes(), scale, causes).map(Some)
            }
        }
    }
}

impl TimeColumn {
    fn read(&self, values: &Values<'_>, zone: Option<i32>) -> Result<Option<i64>, Reject> {
        let Some(text) = value_at(values, self.column) else { return Ok(None) };
        self.notation.parse_time(text, self.zone_minutes.or(zone)).map(Some)
    }
}

impl ValueColumn {
    fn matches(&self, values: &Values<'_>) -> bool {
        value_at(values, self.column).is_some_and(|text| is_listed(&self.values, text))
    }
}

impl StatusColumn {
    fn read(&self, values: &Values<'_>) -> Result<Status, Reject> {
        let text = value_at(values, self.column).unwrap_or_default();
        if is_listed(&self.timeout, text) {
            return Ok(Status::Timeout);
        }
        if is_listed(&self.failed, text) {
            return Ok(Status::Failed);
        }
        if self.ok.is_empty() || is_listed(&self.ok, text) {
            return Ok(Status::Ok);
        }
        Err(Reject::new("a status that the mapping does not list"))
    }
}

/// Returns whether a text is one of these, or begins with one that ends in `*`.
fn is_listed(list: &[String], text: &str) -> bool {
    list.iter().any(|value| match value.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => value == text,
    })
}
