//! Apache `OpenWhisk`: records of activations, and the events of its metrics.

use cyclometer_core::invocation::Status;
use cyclometer_core::meter::{Meter, Source};
use cyclometer_core::units::Nanos;

use crate::batch::{RowBatch, TraceNames};
use crate::format::{Detection, FormatMeter, Framing, RecordOutcome, Reject, TraceFormat};
use crate::formats::azure_function_logs::start_before;
use crate::reading::json_object::JsonObject;
use crate::reading::json_reader::{begins_like_json, contains_all, open_json_reader};
use crate::reading::quantity::{DURATION, SIZE, UnitScale};
use crate::reading::row_maker::{RowMaker, RowNames};
use crate::reading::time_notation::parse_epoch;
use crate::row::RequestId;

const PLATFORM: &str = "openwhisk";

const METERS: &[FormatMeter] = &[
    FormatMeter {
        meter: Meter::Wall,
        source: Some(Source::Log),
        note: "duration in whole ms, which includes initTime: the rest is the run; waitTime is \
               left out",
    },
    FormatMeter {
        meter: Meter::MemoryAllocated,
        source: Some(Source::Log),
        note: "limits.memory or memory, whose MB are MiB",
    },
    FormatMeter {
        meter: Meter::MemoryPeak,
        source: None,
        note: "activations have no memory that was used",
    },
    FormatMeter { meter: Meter::CpuTime, source: None, note: "activations have no CPU time" },
];

/// Records of activations, of the database or of `wsk activation list --full`.
pub static OPENWHISK_ACTIVATIONS: TraceFormat = TraceFormat {
    name: "openwhisk-activations",
    platform: Some(PLATFORM),
    about: "Apache OpenWhisk: activation records (CouchDB, `wsk activation list --full`)",
    schema: "https://github.com/apache/openwhisk/blob/master/docs/annotations.md",
    framing: Framing::JsonValues { array_keys: &["rows", "docs"] },
    meters: METERS,
    detect: |start| {
        let found = contains_all(start, &["\"activationId\"", "\"annotations\""]);
        if begins_like_json(start) && found { Detection::Certain } else { Detection::No }
    },
    open: |settings, file| open_json_reader(PLATFORM, settings, file, read_activation),
};

/// Events of the topic `events`.
pub static OPENWHISK_EVENTS: TraceFormat = TraceFormat {
    name: "openwhisk-events",
    platform: Some(PLATFORM),
    about: "Apache OpenWhisk: events of its metrics (Kafka topic `events`)",
    schema: "https://github.com/apache/openwhisk/blob/master/docs/metrics.md",
    framing: Framing::JsonValues { array_keys: &[] },
    meters: METERS,
    detect: |start| {
        let found = contains_all(start, &["\"eventType\"", "\"body\"", "\"namespace\""]);
        if begins_like_json(start) && found { Detection::Certain } else { Detection::No }
    },
    open: |settings, file| open_json_reader(PLATFORM, settings, file, read_event),
};

/// What both kinds of record have.
struct Activation {
    function: Option<String>,
    duration: u64,
    start_up: Option<u64>,
    memory: Option<u64>,
}

impl Activation {
    fn make_row(
        &self,
        maker: &mut RowMaker,
        names: &mut TraceNames,
    ) -> Result<crate::row::TraceRow, Reject> {
        let start_up = self.start_up.filter(|span| *span > 0);
        let run = self.duration.checked_sub(start_up.unwrap_or(0));
        let run = run.ok_or(Reject::new("an initTime that is longer than its duration"))?;
        let mut row = maker.make_row(
            names,
            &RowNames {
                function: self.function.as_deref(),
                memory: self.memory,
                cold: start_up.is_some(),
                ..RowNames::default()
            },
        )?;
        row.usage.set(Meter::Wall, self.duration);
        row.usage.phases.start = start_up.map(Nanos);
        row.usage.phases.run = Some(Nanos(run));
        Ok(row)
    }
}

fn read_activation(
    object: &JsonObject<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    // A row of a CouchDB view has the record within.
    let inner = object.object("doc")?;
    let record = if inner.fields().is_empty() { object } else { &inner };
    let Some(id) = record.text("activationId")? else {
        return Ok(RecordOutcome::Other("document that is no activation"));
    };
    let mut annotations = Annotations::default();
    for annotation in record.array("annotations")? {
        annotations.add(&JsonObject::parse(annotation.get().as_bytes())?)?;
    }
    if annotations.is_sequence {
        return Ok(RecordOutcome::Other("sequence, whose actions have records of their own"));
    }
    let milliseconds = UnitScale::MILLISECONDS;
    let start = record.text("start")?.ok_or(Reject::new("no start"))?;
    let start = parse_epoch(start.as_bytes(), milliseconds)?;
    let duration = match record.quantity("duration", milliseconds, DURATION)? {
        Some(duration) => duration,
        // Records of triggers have none, nor an end.
        None if record.text("end")?.is_none_or(|end| end == "0") => {
            return Ok(RecordOutcome::Other("activation without a duration: a trigger"));
        }
        None => {
            let end = record.text("end")?.unwrap_or_default();
            let span = parse_epoch(end.as_bytes(), milliseconds)? - start;
            u64::try_from(span).map_err(|_| Reject::new(DURATION.negative))?
        }
    };
    let function = match annotations.path {
        Some(path) => Some(path),
        None => record.text("name")?.map(std::borrow::Cow::into_owned),
    };
    let (start_up, memory) = (annotations.start_up, annotations.memory);
    let mut row = Activation { function, duration, start_up, memory }.make_row(maker, names)?;
    row.started_at = Some(start);
    row.status = match record.object("response")?.first_text(&["statusCode", "status"])? {
        _ if annotations.timeout => Status::Timeout,
        None => Status::Ok,
        Some(state) if matches!(state.as_ref(), "0" | "success") => Status::Ok,
        Some(_) => Status::Failed,
    };
    row.request = Some(RequestId::from_text(&id));
    batch.push(row);
    Ok(RecordOutcome::Rows)
}

/// Annotations that matter here.
#[derive(Default)]
struct Annotations {
    path: Option<String>,
    start_up: Option<u64>,
    memory: Option<u64>,
    timeout: bool,
    is_sequence: bool,
}

impl Annotations {
    fn add(&mut self, annotation: &JsonObject<'_>) -> Result<(), Reject> {
        match annotation.text("key")?.as_deref() {
            Some("path") => {
                self.path = annotation.text("value")?.map(std::borrow::Cow::into_owned);
            }
            Some("kind") => {
                self.is_sequence = annotation.text("value")?.as_deref() == Some("sequence");
            }
            Some("initTime") => {
                self.start_up = annotation.quantity("value", UnitScale::MILLISECONDS, DURATION)?;
            }
            Some("timeout") => self.timeout = annotation.flag("value")? == Some(true),
            Some("limits") => {
                let limits = annotation.object("value")?;
                self.memory = limits.quantity("memory", UnitScale::MEBIBYTES, SIZE)?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn read_event(
    event: &JsonObject<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    if event.text("eventType")?.as_deref() != Some("Activation") {
        return Ok(RecordOutcome::Other("event that is no activation"));
    }
    let body = event.object("body")?;
    if body.text("kind")?.as_deref() == Some("sequence") {
        return Ok(RecordOutcome::Other("sequence, whose actions have records of their own"));
    }
    let milliseconds = UnitScale::MILLISECONDS;
    let duration = body.quantity("duration", milliseconds, DURATION)?;
    let duration = duration.ok_or(Reject::new("no duration"))?;
    let start_up = body.quantity("initTime", milliseconds, DURATION)?;
    let memory = body.quantity("memory", UnitScale::MEBIBYTES, SIZE)?;
    let function = body.text("name")?.map(std::borrow::Cow::into_owned);
    let mut row = Activation { function, duration, start_up, memory }.make_row(maker, names)?;
    let told = event.text("timestamp")?;
    let told = told.map(|text| parse_epoch(text.as_bytes(), milliseconds)).transpose()?;
    row.started_at = start_before(told, duration)?;
    let failed = body.text("statusCode")?.is_some_and(|code| code != "0");
    row.status = if failed { Status::Failed } else { Status::Ok };
    row.request = body.text("activationId")?.map(|id| RequestId::from_text(&id));
    batch.push(row);
    Ok(RecordOutcome::Rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ImportSettings;
    use crate::testing::read_lines;

    #[test]
    fn an_activations_duration_includes_its_start() {
        // Made by OpenWhisk's documents on activations and annotations.
        let text = concat!(
            r#"{"id":"guest/1","doc":{"activationId":"96a2638fc40f463da2638fc40f363daf","annotations":[{"key":"path","value":"guest/resize"},{"key":"waitTime","value":55},{"key":"kind","value":"nodejs:14"},{"key":"timeout","value":false},{"key":"limits","value":{"concurrency":1,"logs":10,"memory":256,"timeout":60000}},{"key":"initTime","value":110}],"duration":122,"end":1526569018360,"name":"resize","namespace":"guest","response":{"statusCode":0},"start":1526569018238}}"#,
            "\n",
            r#"{"activationId":"06a2638fc40f463da2638fc40f363daf","annotations":[{"key":"kind","value":"sequence"}],"duration":500,"start":1526569018238,"end":1526569018738}"#,
            "\n",
            r#"{"activationId":"16a2638fc40f463da2638fc40f363daf","annotations":[{"key":"timeout","value":true}],"name":"warm","duration":60001,"start":1526569018238,"end":1526569078239,"response":{"status":"action developer error"}}"#,
            "\n",
            r#"{"activationId":"26a2638fc40f463da2638fc40f363daf","annotations":[{"key":"initTime","value":123}],"duration":122,"start":1526569018238}"#,
        );
        assert_eq!((OPENWHISK_ACTIVATIONS.detect)(text.as_bytes()), Detection::Certain);
        let input = read_lines(&OPENWHISK_ACTIVATIONS, &ImportSettings::default(), text);
        let [cold, warm] = &input.rows[..] else { panic!("{:?}", input.rejects) };
        // 122 ms, of which 110 are the start: 12 are left.
        assert_eq!(cold.usage.phases.run, Some(Nanos(12_000_000)));
        assert_eq!(cold.usage.phases.start, Some(Nanos(110_000_000)));
        assert_eq!(cold.usage.get(Meter::Wall), Some(122_000_000));
        assert_eq!(cold.usage.get(Meter::MemoryAllocated), Some(256 << 20));
        assert_eq!(cold.started_at, Some(1_526_569_018_238_000_000));
        assert!(cold.usage.cold && !warm.usage.cold);
        assert_eq!(warm.status, Status::Timeout);
        assert_eq!(input.names.cells()[0].function, "guest/resize");
        assert_eq!(input.others.len(), 1);
        assert_eq!(input.rejects.len(), 1);
    }

    #[test]
    fn events_are_read_as_documented() {
        // The two events of docs/metrics.md (Apache-2.0).
        let text = concat!(
            r#"{"body":{"statusCode":0,"duration":3,"name":"whisk.system/invokerHealthTestAction0","waitTime":583915671,"conductor":false,"kind":"nodejs:6","initTime":0,"memory": 256, "causedBy": false},"eventType":"Activation","source":"invoker0","subject":"whisk.system","timestamp":1524476122676,"userId":"d0888ad5-5a92-435e-888a-d55a92935e54","namespace":"whisk.system"}"#,
            "\n",
            r#"{"body":{"metricName":"ConcurrentInvocations","metricValue":1},"eventType":"Metric","source":"controller0","subject":"guest","timestamp":1524476104419,"userId":"23bc46b1-71f6-4ed5-8c54-816aa4f8c502","namespace":"guest"}"#,
        );
        assert_eq!((OPENWHISK_EVENTS.detect)(text.as_bytes()), Detection::Certain);
        let input = read_lines(&OPENWHISK_EVENTS, &ImportSettings::default(), text);
        let [row] = &input.rows[..] else { panic!("{:?}", input.rejects) };
        assert_eq!(row.usage.get(Meter::Wall), Some(3_000_000));
        assert_eq!(row.usage.phases.start, None, "an initTime of 0 is no start");
        assert_eq!(row.started_at, Some(1_524_476_122_673_000_000));
        assert_eq!(input.others, ["event that is no activation"]);
    }
}
