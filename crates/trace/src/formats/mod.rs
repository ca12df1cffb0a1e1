//! Formats that can be imported, a file each.

mod azure_function_logs;
mod azure_requests;
mod azure_trace_2021;
mod cloud_run;
mod cloudflare_analytics;
mod cloudflare_trace;
pub(crate) mod csv_fields;
mod huawei_2025;
mod knative;
mod lambda;
mod lambda_json;
mod lambda_report;
mod logs_insights;
mod openwhisk;
mod otlp;
mod refused;
mod ubc_lambda;
mod vercel;

use crate::format::{Detection, TraceFormat};

/// Formats in the order in which they are tried.
pub static FORMATS: &[&TraceFormat] = &[
    &lambda_report::LAMBDA_REPORT,
    &azure_requests::AZURE_REQUESTS,
    &azure_requests::AZURE_REQUESTS_CSV,
    &azure_function_logs::AZURE_FUNCTION_LOGS,
    &cloudflare_trace::CLOUDFLARE_TRACE,
    &cloudflare_analytics::CLOUDFLARE_ANALYTICS,
    &vercel::VERCEL_LOG_DRAIN,
    &otlp::OTLP_SPANS,
    &openwhisk::OPENWHISK_ACTIVATIONS,
    &openwhisk::OPENWHISK_EVENTS,
    &knative::KNATIVE_REQUESTS,
    &azure_trace_2021::AZURE_TRACE_2021,
    &huawei_2025::HUAWEI_2025,
    &refused::AZURE_TRACE_2019,
    &refused::HUAWEI_2023,
    &refused::AZURE_METRICS,
    &refused::VERCEL_USAGE,
    &refused::PROMETHEUS_TEXT,
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

#[cfg(test)]
mod detection_tests;
