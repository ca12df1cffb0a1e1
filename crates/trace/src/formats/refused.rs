//! Files that are known and hold no invocations: each record is rejected with the reason.

use crate::batch::{RowBatch, TraceNames};
use crate::format::{Detection, Framing, Record, RecordOutcome, RecordReader, Reject, TraceFormat};
use crate::reading::csv_reader::has_columns;
use crate::reading::json_reader::{begins_like_json, contains_all};

/// Reader that rejects everything.
struct Refusal(Reject);

impl RecordReader for Refusal {
    fn read_record(
        &mut self,
        record: &Record<'_>,
        _names: &mut TraceNames,
        _batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        if record.bytes.trim_ascii().is_empty() {
            return Ok(RecordOutcome::Other("empty line"));
        }
        Err(self.0)
    }
}

/// Returns the detection of what was found.
const fn certain_if(found: bool) -> Detection {
    if found { Detection::Certain } else { Detection::No }
}

/// Counts a minute, percentiles of averages, and memory of whole apps.
pub static AZURE_TRACE_2019: TraceFormat = TraceFormat {
    name: "azure-trace-2019",
    platform: Some("azure-functions"),
    about: "Azure Functions Trace 2019: refused, it has counts a minute and no invocations",
    schema: "https://github.com/Azure/AzurePublicDataset/blob/master/AzureFunctionsDataset2019.md",
    framing: Framing::Csv,
    meters: &[],
    detect: |start| certain_if(has_columns(start, &["HashOwner", "HashApp"])),
    open: |_, _| {
        Box::new(Refusal(Reject::new(
            "counts a minute or percentiles of the Azure trace of 2019, which has no invocations: \
             the trace of 2021 has them",
        )))
    },
};

/// Requests a minute by function.
pub static HUAWEI_2023: TraceFormat = TraceFormat {
    name: "huawei-trace-2023",
    platform: Some("huawei-functiongraph"),
    about: "Huawei traces of 2023: refused, they have requests a minute and no invocations",
    schema: "https://github.com/sir-lab/data-release/blob/main/README_data_release_2023.md",
    framing: Framing::Csv,
    meters: &[],
    detect: |start| certain_if(has_columns(start, &["day", "time", "0", "1"])),
    open: |_, _| {
        Box::new(Refusal(Reject::new(
            "requests or averages a minute of the Huawei traces of 2023, which have no \
             invocations: the request tables of 2025 have them",
        )))
    },
};

/// Sums of executions by interval, which a price model takes as they are.
pub static AZURE_METRICS: TraceFormat = TraceFormat {
    name: "azure-metrics",
    platform: Some("azure-functions"),
    about: "Azure Functions metrics by interval: refused, the model azure-consumption takes the sums",
    schema: "https://learn.microsoft.com/azure/azure-functions/functions-consumption-costs",
    framing: Framing::JsonValues { array_keys: &["value", "records"] },
    meters: &[],
    detect: |start| {
        let found = contains_all(start, &["FunctionExecutionUnits"])
            || contains_all(start, &["FunctionExecutionCount"]);
        certain_if(begins_like_json(start) && found)
    },
    // On the provider's grid already: mean units of made-up invocations would be rounded again.
    open: |_, _| {
        Box::new(Refusal(Reject::new(
            "sums of FunctionExecutionCount or FunctionExecutionUnits, which are no invocations \
             and are rounded already: add them up and bill them by `cyclometer pricing explain \
             azure-consumption --set executions=N --set 'execution_units=N MB-ms'`",
        )))
    },
};

/// Charges by day, of Vercel's API in the format of FOCUS.
pub static VERCEL_USAGE: TraceFormat = TraceFormat {
    name: "vercel-charges",
    platform: Some("vercel"),
    about: "Vercel charges by day (FOCUS): refused, they are a bill and no invocations",
    schema: "https://vercel.com/docs/rest-api/billing",
    framing: Framing::JsonValues { array_keys: &[] },
    meters: &[],
    detect: |start| {
        let found = contains_all(start, &["\"BilledCost\"", "Vercel"]);
        certain_if(begins_like_json(start) && found)
    },
    open: |_, _| {
        Box::new(Refusal(Reject::new(
            "charges of Vercel by day, which are a bill and no invocations: log drains have REPORT \
             lines on older projects",
        )))
    },
};

/// Histograms of Prometheus, such as those of `OpenFaaS` and Knative.
pub static PROMETHEUS_TEXT: TraceFormat = TraceFormat {
    name: "prometheus-histograms",
    platform: None,
    about: "Prometheus histograms (OpenFaaS, Knative): refused, they have buckets and no invocations",
    schema: "https://docs.openfaas.com/architecture/metrics/",
    framing: Framing::Lines,
    meters: &[],
    detect: |start| {
        let found = contains_all(start, &["# TYPE ", " histogram"])
            || contains_all(start, &["gateway_functions_seconds"]);
        certain_if(!begins_like_json(start) && found)
    },
    open: |_, _| {
        Box::new(Refusal(Reject::new(
            "metrics of Prometheus: the buckets of a histogram are no invocations",
        )))
    },
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ImportSettings;
    use crate::testing::read_lines;

    #[test]
    fn aggregates_are_recognised_and_refused_by_their_names() {
        for (format, text) in [
            (&AZURE_TRACE_2019, "HashOwner,HashApp,HashFunction,Trigger,1,2\na,b,c,http,0,3\n"),
            (&AZURE_TRACE_2019, "HashOwner,HashApp,SampleCount,AverageAllocatedMb\na,b,1,2\n"),
            (&HUAWEI_2023, "day,time,0,1,2\n0,0,1,2,3\n"),
            (
                &AZURE_METRICS,
                r#"{"name":{"value":"FunctionExecutionUnits"},"timeseries":[{"data":[{"total":793294592.0}]}]}"#,
            ),
            (
                &VERCEL_USAGE,
                r#"{"BilledCost":1.5,"ServiceName":"Active CPU","ServiceProviderName":"Vercel"}"#,
            ),
            (
                &PROMETHEUS_TEXT,
                "# TYPE gateway_functions_seconds histogram\ngateway_functions_seconds_sum 1\n",
            ),
        ] {
            let name = super::super::detect_format(text.as_bytes()).map(|it| it.name);
            assert_eq!(name, Some(format.name), "{text}");
            let input = read_lines(format, &ImportSettings::default(), text);
            assert!(input.rows.is_empty());
            assert_eq!(input.rejects.len(), text.lines().count());
        }
    }
}
