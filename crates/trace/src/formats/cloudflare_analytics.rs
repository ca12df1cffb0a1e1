//! Cloudflare Workers: sums of the analytics by GraphQL, which stand for many invocations.

use cyclometer_core::invocation::Status;
use cyclometer_core::meter::{Meter, Source};

use crate::batch::{RowBatch, TraceNames};
use crate::format::{Detection, FormatMeter, Framing, RecordOutcome, Reject, TraceFormat};
use crate::formats::azure_requests::parse_weight;
use crate::reading::json_object::JsonObject;
use crate::reading::json_reader::{begins_like_json, contains_all, open_json_reader};
use crate::reading::quantity::{DURATION, UnitScale};
use crate::reading::row_maker::{RowMaker, RowNames};
use crate::reading::time_notation::parse_iso_time;

/// Groups of `workersInvocationsAdaptive`.
pub static CLOUDFLARE_ANALYTICS: TraceFormat = TraceFormat {
    name: "cloudflare-workers-analytics",
    platform: Some("cloudflare-workers"),
    about: "Cloudflare Workers: groups of workersInvocationsAdaptive with sums (estimates)",
    schema: "https://developers.cloudflare.com/analytics/graphql-api/tutorials/querying-workers-metrics/",
    framing: Framing::JsonValues { array_keys: &["workersInvocationsAdaptive"] },
    meters: &[
        FormatMeter {
            meter: Meter::CpuTime,
            source: Some(Source::Estimate),
            note: "sum.cpuTimeUs over sum.requests: the mean of a group, whose row stands for all \
                   its requests, and tariffs round the mean, not each; the data set is sampled",
        },
        FormatMeter {
            meter: Meter::Wall,
            source: None,
            note: "groups have quantiles of the wall time, which cannot be summed",
        },
        FormatMeter {
            meter: Meter::MemoryPeak,
            source: None,
            note: "the analytics have no memory",
        },
    ],
    detect: |start| {
        let found = contains_all(start, &["\"workersInvocationsAdaptive\""])
            || contains_all(start, &["\"cpuTimeUs\"", "\"requests\"", "\"sum\""]);
        if begins_like_json(start) && found { Detection::Certain } else { Detection::No }
    },
    open: |settings, file| open_json_reader("cloudflare-workers", settings, file, read_answer),
};

/// Reads a group, or the whole answer, in which the groups are deep inside.
fn read_answer(
    object: &JsonObject<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    if object.value("sum")?.is_some() || object.value("quantiles")?.is_some() {
        return read_group(object, maker, names, batch);
    }
    let viewer = object.object("data")?.object("viewer")?;
    let mut outcome = RecordOutcome::Other("answer without groups");
    for account in viewer.array("accounts")? {
        let account = JsonObject::parse(account.get().as_bytes())?;
        for group in account.array("workersInvocationsAdaptive")? {
            let group = JsonObject::parse(group.get().as_bytes())?;
            outcome = read_group(&group, maker, names, batch)?;
        }
    }
    Ok(outcome)
}

fn read_group(
    group: &JsonObject<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    let sum = group.object("sum")?;
    let cpu = sum.quantity("cpuTimeUs", UnitScale::MICROSECONDS, DURATION)?;
    let (Some(cpu), Some(requests)) = (cpu, sum.text("requests")?) else {
        return Err(Reject::new(
            "a group without sum.requests and sum.cpuTimeUs: quantiles alone \
            do not give a bill",
        ));
    };
    let requests = parse_weight(&requests)?;
    let dimensions = group.object("dimensions")?;
    let script = dimensions.text("scriptName")?;
    let function = script.as_deref();
    let mut row = maker.make_row(names, &RowNames { function, ..RowNames::default() })?;
    let time = dimensions.first_text(&[
        "datetime",
        "datetimeMinute",
        "datetimeFifteenMinutes",
        "datetimeHour",
    ])?;
    row.started_at = time.map(|text| parse_iso_time(&text, Some(0))).transpose()?;
    let half = u64::from(requests / 2);
    row.usage.set(Meter::CpuTime, cpu.saturating_add(half) / u64::from(requests));
    let status = dimensions.text("status")?;
    let failed = status.is_some_and(|status| status != "success");
    row.status = if failed { Status::Failed } else { Status::Ok };
    row.weight = requests;
    batch.push(row);
    Ok(RecordOutcome::Rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ImportSettings;
    use crate::testing::read_lines;

    #[test]
    fn a_group_is_a_row_of_its_mean_and_weight() {
        // Made by the tutorial's query; `cpuTimeUs` is a sum of the data set's schema, as its
        // introspection tells it.
        let text = concat!(
            r#"{"data":{"viewer":{"accounts":[{"workersInvocationsAdaptive":[{"dimensions":{"datetime":"2025-05-12T20:24:06Z","scriptName":"shop","status":"success"},"quantiles":{"cpuTimeP50":1001},"sum":{"errors":0,"requests":4,"cpuTimeUs":5002}}]}]}}}"#,
            "\n",
            r#"{"dimensions":{"scriptName":"shop"},"quantiles":{"cpuTimeP50":206,"cpuTimeP99":3856},"sum":{"errors":0,"requests":1903,"subrequests":0}}"#,
        );
        let input = read_lines(&CLOUDFLARE_ANALYTICS, &ImportSettings::default(), text);
        assert_eq!(input.rows.len(), 1);
        // 5,002 us over 4 requests are 1,250.5 us each.
        assert_eq!(input.rows[0].usage.get(Meter::CpuTime), Some(1_250_500));
        assert_eq!(input.rows[0].weight, 4);
        assert_eq!(input.rejects.len(), 1);
        assert!(input.rejects[0].1.0.contains("quantiles"));
    }
}
