//! The metering tax, which is the cost of metering itself: the same functions
//! metered in several ways, interleaved, as one recording. Its lanes are named
//! `native/plain`, `native/10ms`, `wasmtime/fuel` and so on.

pub use cyclometer_workload::metering::{METERINGS, Metering, PLAIN};
use cyclometer_workload::{Event, Sink, SinkError};

use super::recorder::OpenLane;
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{Cancel, Lane, LaneError, LaneSpec};
use cyclometer_meter::host;
use cyclometer_system::procfs::ProcessIdentity;

/// Opens the lane of a metering.
fn open_metering_lane(
    metering: &Metering,
    owner: &ProcessIdentity,
) -> Result<Box<dyn Lane>, LaneError> {
    let unavailable = |reason: String| LaneError::Unavailable { reason };
    if metering.counters && host::read_cost().is_none() {
        return Err(unavailable(
            "no perf counter opens here: `cyclometer doctor` says why".to_owned(),
        ));
    }
    let spec: LaneSpec = metering.lane.parse().map_err(|error| unavailable(format!("{error}")))?;
    let mut lane = cyclometer_lanes::open_lane(&spec, owner)?;
    lane.set_counters_enabled(metering.counters)?;
    Ok(lane)
}

/// Opens a lane for each of `meterings` and sends an event for each to `sink`;
/// those that cannot run are left out. Returns the lanes with their sampling
/// intervals, for [`super::Sampling::at_intervals`].
///
/// # Errors
/// Fails when the sink accepts no more.
pub(crate) fn open_meterings(
    meterings: &[Metering],
    owner: &ProcessIdentity,
    sink: &mut dyn Sink,
) -> Result<(Vec<OpenLane>, Vec<Option<Nanos>>), SinkError> {
    let (mut lanes, mut intervals) = (Vec::new(), Vec::new());
    for metering in meterings {
        if Cancel::for_process().is_cancelled() {
            break;
        }
        let name = metering.lane_name();
        let (version, unavailable) = match open_metering_lane(metering, owner) {
            Ok(lane) => {
                let version = lane.describe().version;
                lanes.push(OpenLane { name: name.clone(), lane });
                intervals.push(metering.sample_interval);
                (version, None)
            }
            Err(error) => (String::new(), Some(error.to_string())),
        };
        sink.send_event(Event::Lane { name, version, note: metering.lane_note(), unavailable })?;
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
            assert!(before.iter().any(|it| it.base == metering.base && it.label == PLAIN));
            assert!(metering.lane.parse::<LaneSpec>().is_ok(), "{}", metering.lane);
            assert!(names.insert(metering.lane_name()));
            assert!(
                metering.label != PLAIN
                    || (!metering.counters && metering.sample_interval.is_none())
            );
        }
        assert_eq!(METERINGS[3].lane_note(), "native: counted by perf, sampled every 10.0 ms");
    }
}
