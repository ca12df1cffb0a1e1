//! What all logs of AWS Lambda have in common: a report of each invocation, as text or as JSON,
//! and the row that it becomes.

pub(super) mod json_records;
pub(super) mod report_text;

use std::borrow::Cow;

use cyclometer_core::invocation::{StartKind, Status};
use cyclometer_core::meter::{Meter, Source};
use cyclometer_core::units::Nanos;

use crate::batch::{CellId, CellLabel, RowBatch, TraceNames, memory_configuration};
use crate::format::{FormatMeter, ImportSettings, RecordOutcome, Reject};
use crate::row::{RequestId, TraceRow};

/// Platform of AWS Lambda.
pub(super) const AWS: &str = "aws-lambda";
/// Platform of Yandex Cloud Functions, whose reports are written alike.
pub(super) const YANDEX: &str = "yandex-cloud";

/// Meters of reports without CPU time.
pub(super) const REPORT_METERS: &[FormatMeter] = &[
    FormatMeter {
        meter: Meter::Wall,
        source: Some(Source::Log),
        note: "duration plus INIT or restoring; a log has the end of an invocation, its start is \
               computed back from there",
    },
    FormatMeter {
        meter: Meter::MemoryAllocated,
        source: Some(Source::Log),
        note: "memory size, whose MB are MiB",
    },
    FormatMeter {
        meter: Meter::MemoryPeak,
        source: Some(Source::Log),
        note: "most memory used, whose MB are MiB, of the whole sandbox since it was made",
    },
    FormatMeter {
        meter: Meter::CpuTime,
        source: None,
        note: "reports have no CPU time: Lambda Insights has it",
    },
];

/// Report of one invocation, in nanoseconds and bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LambdaReport<'a> {
    pub request: Option<Cow<'a, str>>,
    pub duration: Option<u64>,
    pub billed: Option<u64>,
    pub init: Option<u64>,
    pub restore: Option<u64>,
    pub billed_restore: Option<u64>,
    pub memory: Option<u64>,
    pub memory_peak: Option<u64>,
    pub cpu: Option<u64>,
    pub cpu_user: Option<u64>,
    pub cpu_system: Option<u64>,
    /// Whether the sandbox was made for it, where the log says so itself.
    pub cold: Option<bool>,
    pub ending: Ending,
    /// Function that the report names itself.
    pub function: Option<Cow<'a, str>>,
    pub is_yandex: bool,
}

/// How an invocation ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Ending {
    #[default]
    Well,
    Failed,
    TimedOut,
}

impl Ending {
    /// Returns the ending that a log calls `word`: `success`, `error`, `failure`, `timeout`.
    pub fn from_word(word: &str) -> Self {
        match word {
            "success" | "ok" => Self::Well,
            "timeout" => Self::TimedOut,
            _ => Self::Failed,
        }
    }
}

/// What a log says around a report.
#[derive(Debug, Clone, Default)]
pub(super) struct ReportPlace<'a> {
    pub function: Option<Cow<'a, str>>,
    pub instance: Option<Cow<'a, str>>,
    /// When the report was written, at the end of the invocation.
    pub ended_at: Option<i64>,
    /// When the invocation was asked for, if the log has that instead.
    pub started_at: Option<i64>,
}

/// Record of a log.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub(super) enum LambdaMessage<'a> {
    Report(LambdaReport<'a>, Option<i64>),
    Other(&'static str),
}

/// Maker of rows from reports.
#[derive(Debug)]
pub(super) struct LambdaRows {
    function: String,
    region: Option<String>,
    memory: Option<u64>,
    zone: Option<i32>,
    last: Option<LastCell>,
}

/// Cell of the last row, with what it is found by.
#[derive(Debug)]
struct LastCell {
    is_yandex: bool,
    function: Option<String>,
    memory: Option<u64>,
    start: StartKind,
    cell: CellId,
}

impl LambdaRows {
    pub fn new(settings: &ImportSettings, file: &str) -> Self {
        Self {
            function: settings.function.clone().unwrap_or_else(|| file.to_owned()),
            region: settings.region.clone(),
            memory: settings.memory,
            zone: settings.zone_minutes,
            last: None,
        }
    }

    /// Returns the offset of times without a zone.
    pub const fn zone_minutes(&self) -> Option<i32> {
        self.zone
    }

    /// Adds the row of a report.
    pub fn push_report(
        &mut self,
        report: &LambdaReport<'_>,
        place: &ReportPlace<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        let duration = report.duration.ok_or(Reject::new("no Duration"))?;
        let memory = report.memory.or(self.memory);
        let memory = memory.ok_or(Reject::new("no Memory Size, and no --memory is given"))?;
        if memory == 0 {
            return Err(Reject::new("a memory size of 0"));
        }
        let was_made = [report.init, report.restore, report.billed_restore];
        let cold = report.cold.unwrap_or(was_made.iter().any(Option::is_some));
        let cell = self.find_cell(report, place, memory, cold, names)?;
        let mut row = TraceRow::new(cell, cold);
        let (create, start) = find_startup(report);
        row.usage.phases.create = create.map(Nanos);
        row.usage.phases.start = start.map(Nanos);
        row.usage.phases.run = Some(Nanos(duration));
        let wall = [create, start, Some(duration)].into_iter().flatten();
        let wall = wall.fold(0, u64::saturating_add);
        row.usage.set(Meter::Wall, wall);
        row.usage.set(Meter::MemoryAllocated, memory);
        row.usage.set(Meter::MemoryPeak, report.memory_peak);
        row.usage.set(Meter::CpuTime, report.cpu);
        row.usage.set(Meter::CpuUser, report.cpu_user);
        row.usage.set(Meter::CpuSystem, report.cpu_system);
        row.billed = report.billed.map(Nanos);
        row.status = match report.ending {
            Ending::Well => Status::Ok,
            Ending::Failed => Status::Failed,
            Ending::TimedOut => Status::Timeout,
        };
        row.request = report.request.as_deref().map(RequestId::from_text);
        let instance = place.instance.as_deref();
        row.instance = instance.map(|name| names.find_or_add_instance(name)).transpose()?;
        row.started_at = place.started_at.or_else(|| {
            let ended = place.ended_at?;
            i64::try_from(wall).ok().map(|wall| ended.saturating_sub(wall).max(0))
        });
        batch.push(row);
        Ok(RecordOutcome::Rows)
    }

    fn find_cell(
        &mut self,
        report: &LambdaReport<'_>,
        place: &ReportPlace<'_>,
        memory: u64,
        cold: bool,
        names: &mut TraceNames,
    ) -> Result<CellId, Reject> {
        let start = if cold { StartKind::Cold } else { StartKind::Warm };
        let function = report.function.as_deref().or(place.function.as_deref());
        let function = function.filter(|name| !name.is_empty());
        if let Some(last) = &self.last
            && last.memory == Some(memory)
            && last.start == start
            && last.is_yandex == report.is_yandex
            && last.function.as_deref() == function
        {
            return Ok(last.cell);
        }
        let platform = if report.is_yandex { YANDEX } else { AWS };
        let cell = names.find_or_add_cell(&CellLabel {
            platform: platform.to_owned(),
            function: function.unwrap_or(&self.function).to_owned(),
            configuration: memory_configuration(Some(memory)),
            region: self.region.clone(),
            start,
        })?;
        self.last = Some(LastCell {
            is_yandex: report.is_yandex,
            function: function.map(str::to_owned),
            memory: Some(memory),
            start,
            cell,
        });
        Ok(cell)
    }
}

/// Returns what comes before the first instruction of the function: the part that is never
/// billed, and INIT or the billed part of restoring a snapshot.
fn find_startup(report: &LambdaReport<'_>) -> (Option<u64>, Option<u64>) {
    let restored = report.billed_restore.or(report.restore.map(|_| 0));
    let start = match (report.init, restored) {
        (None, None) => None,
        (init, restored) => Some(init.unwrap_or(0).saturating_add(restored.unwrap_or(0))),
    };
    let create = report.restore.map(|all| all.saturating_sub(report.billed_restore.unwrap_or(0)));
    (create, start)
}

/// Returns the function that a log group is of: `/aws/lambda/NAME`, with or without an account
/// and a colon before it.
pub(super) fn function_of_group(group: &str) -> Option<&str> {
    let at = group.find("/aws/lambda/")?;
    let name = &group[at + "/aws/lambda/".len()..];
    (!name.is_empty()).then_some(name)
}

/// Returns the function that a log stream names: `2025/05/12/NAME[$LATEST]0123abcd`. In a log
/// group of one function the name is left out.
pub(super) fn function_of_stream(stream: &str) -> Option<&str> {
    let (before, _) = stream.split_once('[')?;
    let name = before.rsplit('/').next()?;
    (!name.is_empty()).then_some(name)
}

/// Reads a message of a log, which is text or JSON.
pub(super) fn read_message(text: &str) -> Result<LambdaMessage<'_>, Reject> {
    let text = text.trim();
    if text.starts_with('{') {
        return json_records::read_json_message(text);
    }
    match report_text::find_report(text.as_bytes()) {
        Some(at) => {
            let report = report_text::read_report(&text.as_bytes()[at..])?;
            Ok(LambdaMessage::Report(report, None))
        }
        None => Ok(LambdaMessage::Other(report_text::name_line(text.as_bytes()))),
    }
}
