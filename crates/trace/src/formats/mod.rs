//! Formats that can be imported, a file each.

mod cloud_run;
pub(crate) mod csv_fields;
mod lambda;
mod lambda_json;
mod lambda_report;
mod logs_insights;
mod ubc_lambda;

use crate::format::{Detection, TraceFormat};

/// Formats in the order in which they are tried.
pub static FORMATS: &[&TraceFormat] = &[
    &lambda_report::LAMBDA_REPORT,
    &lambda_json::CLOUDWATCH_JSON,
    &lambda_json::LAMBDA_PLATFORM,
    &lambda_json::LAMBDA_INSIGHTS,
    &logs_insights::INSIGHTS_CSV,
    &logs_insights::INSIGHTS_JSON,
    &ubc_lambda::UBC_LAMBDA,
    &cloud_run::CLOUD_RUN_REQUESTS,
];

/// Returns the format called `name`, if there is one.
#[must_use]
pub fn find_format(name: &str) -> Option<&'static TraceFormat> {
    FORMATS.iter().copied().find(|format| format.name == name)
}

/// Returns the format that an input is most likely of, by its first bytes.
#[must_use]
pub fn detect_format(start: &[u8]) -> Option<&'static TraceFormat> {
    let mut best: Option<(Detection, &'static TraceFormat)> = None;
    for format in FORMATS.iter().copied() {
        let detection = (format.detect)(start);
        if detection > best.map_or(Detection::No, |(found, _)| found) {
            best = Some((detection, format));
        }
    }
    best.map(|(_, format)| format)
}
