//! REPORT lines: `REPORT RequestId: ...`, then fields `Label: value unit`, parted by tabs, or by
//! blanks where a tool has replaced them.

use std::borrow::Cow;

use memchr::memchr;
use memchr::memmem::Finder;

use super::{Ending, LambdaReport};
use crate::exact_number::{parse_milliseconds, parse_scaled};
use crate::format::Reject;

/// How a report begins; `RequestID` in Yandex Cloud.
const BEGIN: &[u8] = b"REPORT RequestI";

/// Returns where the report of a line begins; tools write a time and more before it.
pub fn find_report(line: &[u8]) -> Option<usize> {
    if line.starts_with(BEGIN) {
        return Some(0);
    }
    // Every report has capitals that other text hardly has.
    let at = memchr(b'R', line)?;
    Finder::new(BEGIN).find(&line[at..]).map(|found| at + found)
}

/// Reads a report, from its `REPORT` on.
pub fn read_report(report: &[u8]) -> Result<LambdaReport<'_>, Reject> {
    let mut read = LambdaReport::default();
    let mut fields = Fields { rest: report.strip_prefix(b"REPORT ").unwrap_or(report) };
    let mut has_error_type = false;
    let mut status = None;
    while let Some(field) = fields.next_field() {
        match field.label {
            b"RequestId" => set_once(&mut read.request, field.text()?.map(Cow::Borrowed))?,
            b"RequestID" => {
                read.is_yandex = true;
                set_once(&mut read.request, field.text()?.map(Cow::Borrowed))?;
            }
            b"Duration" => set_once(&mut read.duration, Some(field.nanoseconds()?))?,
            b"Billed Duration" => set_once(&mut read.billed, Some(field.nanoseconds()?))?,
            b"Init Duration" | b"Function Init Duration" => {
                set_once(&mut read.init, Some(field.nanoseconds()?))?;
            }
            b"Restore Duration" => set_once(&mut read.restore, Some(field.nanoseconds()?))?,
            b"Billed Restore Duration" => {
                set_once(&mut read.billed_restore, Some(field.nanoseconds()?))?;
            }
            b"Memory Size" => set_once(&mut read.memory, Some(field.bytes()?))?,
            b"Max Memory Used" => set_once(&mut read.memory_peak, Some(field.bytes()?))?,
            b"Status" => set_once(&mut status, field.text()?)?,
            b"Error Type" => has_error_type = true,
            _ => {}
        }
    }
    read.ending = match status {
        Some(word) => Ending::from_word(word),
        None if has_error_type => Ending::Failed,
        None => Ending::Well,
    };
    Ok(read)
}

fn set_once<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), Reject> {
    if place.is_some() && value.is_some() {
        return Err(Reject::new("a field twice in one REPORT"));
    }
    *place = value.or(place.take());
    Ok(())
}

/// Names the kind of a line without a report.
pub fn name_line(line: &[u8]) -> &'static str {
    /// Longest prefix of a time and a log stream that tools write before a line.
    const REACH: usize = 200;
    let start = &line[..line.len().min(REACH)];
    let has = |text: &[u8]| memchr::memmem::find(start, text).is_some();
    if start.is_empty() {
        "empty line"
    } else if has(b"INIT_REPORT ") {
        "INIT_REPORT line"
    } else if has(b"INIT_START ") {
        "INIT_START line"
    } else if has(b"START RequestI") {
        "START line"
    } else if has(b"END RequestI") {
        "END line"
    } else if has(b"XRAY TraceId") {
        "XRAY line"
    } else if has(b"EXTENSION\t") || has(b"RESTORE_START ") || has(b"TELEMETRY\t") {
        "line of the platform"
    } else {
        "line of the function"
    }
}

/// Fields of a report.
struct Fields<'a> {
    rest: &'a [u8],
}

struct ReportField<'a> {
    label: &'a [u8],
    value: &'a [u8],
    unit: &'a [u8],
}

impl<'a> Fields<'a> {
    fn next_field(&mut self) -> Option<ReportField<'a>> {
        let colon = memchr(b':', self.rest)?;
        let label = &self.rest[..colon];
        let tab = label.iter().rposition(|byte| *byte == b'\t').map_or(0, |at| at + 1);
        let label = label[tab..].trim_ascii();
        let (value, rest) = split_word(&self.rest[colon + 1..]);
        let (unit, after) = split_word(rest);
        let has_unit = matches!(unit, b"ms" | b"MB" | b"s" | b"KB" | b"GB" | b"us");
        self.rest = if has_unit { after } else { rest };
        Some(ReportField { label, value, unit: if has_unit { unit } else { b"" } })
    }
}

/// Returns the next word, and what follows it.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let begin = text.iter().position(|byte| *byte != b' ').unwrap_or(text.len());
    let word = &text[begin..];
    let end = word.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    word.split_at(end.unwrap_or(word.len()))
}

impl<'a> ReportField<'a> {
    fn text(&self) -> Result<Option<&'a str>, Reject> {
        let text = std::str::from_utf8(self.value).map_err(|_| Reject::new("text not in UTF-8"))?;
        Ok((!text.is_empty()).then_some(text))
    }

    fn nanoseconds(&self) -> Result<u64, Reject> {
        let nanos = parse_milliseconds(self.value).filter(|_| self.unit == b"ms");
        nanos.ok_or(Reject::new("a duration that is no number of ms"))
    }

    /// Returns bytes: `MB` are MiB at this provider.
    fn bytes(&self) -> Result<u64, Reject> {
        let size = parse_scaled(self.value, 0).filter(|_| self.unit == b"MB");
        let bytes = size.and_then(|size| size.checked_mul(1 << 20));
        bytes.ok_or(Reject::new("a memory size that is no number of MB"))
    }
}
