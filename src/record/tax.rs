//! What metering itself costs: the same functions metered in several ways,
//! interleaved, as one recording. Its lanes are named `native/plain`,
//! `native/10ms`, `wasmtime/fuel` and so on.

use super::event::{Event, Sink, SinkError};
use super::recorder::OpenLane;
use crate::lane::{self, Cancel, Lane, LaneError, LaneSpec};
use crate::meter::host;
use crate::meter::procfs::ProcessIdentity;
use crate::units::Nanos;

/// A way to meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metering {
    /// What it is compared within: the lane that people name.
    pub base: &'static str,
    /// Its own name.
    pub word: &'static str,
    /// The lane that runs it.
    lane: &'static str,
    /// Whether perf counts.
    counters: bool,
    /// Time between two samples of memory, and of the counters where they are on.
    every: Option<Nanos>,
}

/// The word of what all others are compared with: no counters, no samples.
pub const PLAIN: &str = "plain";

/// What metering there is, the plain one of each lane first. Samples are taken
/// with the counters on, as `record` takes them.
pub const METERINGS: [Metering; 12] = [
    Metering::of("native", PLAIN, "native", false, 0),
    Metering::of("native", "counters", "native", true, 0),
    Metering::of("native", "100ms", "native", true, 100),
    Metering::of("native", "10ms", "native", true, 10),
    Metering::of("native", "1ms", "native", true, 1),
    Metering::of("wasmtime", PLAIN, "wasmtime", false, 0),
    Metering::of("wasmtime", "counters", "wasmtime", true, 0),
    Metering::of("wasmtime", "100ms", "wasmtime", true, 100),
    Metering::of("wasmtime", "10ms", "wasmtime", true, 10),
    Metering::of("wasmtime", "1ms", "wasmtime", true, 1),
    Metering::of("wasmtime", "fuel", "wasmtime:fuel", false, 0),
    Metering::of("wasmtime", "epoch", "wasmtime:epoch", false, 0),
];

impl Metering {
    const fn of(
        base: &'static str,
        word: &'static str,
        lane: &'static str,
        counters: bool,
        millis: u64,
    ) -> Self {
        let every = if millis == 0 { None } else { Some(Nanos(millis * 1_000_000)) };
        Self { base, word, lane, counters, every }
    }

    /// The name of its lane in the recording.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.base, self.word)
    }

    /// What it does, in words.
    #[must_use]
    pub fn note(&self) -> String {
        let counters = if self.counters { "counted by perf" } else { "no counters" };
        let samples = match self.every {
            Some(span) => format!("sampled every {span}"),
            None => "no samples".to_owned(),
        };
        format!("{}: {counters}, {samples}", self.lane)
    }

    fn open(&self, owner: &ProcessIdentity) -> Result<Box<dyn Lane>, LaneError> {
        let unavailable = |reason: String| LaneError::Unavailable { reason };
        if self.counters && host::read_cost().is_none() {
            return Err(unavailable(
                "no perf counter opens here: `cyclometer doctor` says why".to_owned(),
            ));
        }
        let spec: LaneSpec = self.lane.parse().map_err(|error| unavailable(format!("{error}")))?;
        let mut lane = lane::open(&spec, owner)?;
        lane.count(self.counters)?;
        Ok(lane)
    }
}

/// Opens a lane for each of `meterings`, telling `sink` of each; those that
/// cannot run are left out. With the lanes come their intervals, for
/// [`super::Sampling::each`].
///
/// # Errors
/// When the sink takes no more.
pub fn open_meterings(
    meterings: &[Metering],
    owner: &ProcessIdentity,
    sink: &mut dyn Sink,
) -> Result<(Vec<OpenLane>, Vec<Option<Nanos>>), SinkError> {
    let (mut lanes, mut intervals) = (Vec::new(), Vec::new());
    for metering in meterings {
        if Cancel::of_process().is_cancelled() {
            break;
        }
        let name = metering.name();
        let (version, unavailable) = match metering.open(owner) {
            Ok(lane) => {
                let version = lane.describe().version;
                lanes.push(OpenLane { name: name.clone(), lane });
                intervals.push(metering.every);
                (version, None)
            }
            Err(error) => (String::new(), Some(error.to_string())),
        };
        sink.send(Event::Lane { name, version, note: metering.note(), unavailable })?;
    }
    Ok((lanes, intervals))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metering_has_a_plain_one_before_it_and_a_lane() {
        let mut names = std::collections::BTreeSet::new();
        for (at, metering) in METERINGS.iter().enumerate() {
            let before = &METERINGS[..=at];
            assert!(before.iter().any(|it| it.base == metering.base && it.word == PLAIN));
            assert!(metering.lane.parse::<LaneSpec>().is_ok(), "{}", metering.lane);
            assert!(names.insert(metering.name()));
            assert!(metering.word != PLAIN || (!metering.counters && metering.every.is_none()));
        }
        assert_eq!(METERINGS[3].note(), "native: counted by perf, sampled every 10.0 ms");
    }
}
