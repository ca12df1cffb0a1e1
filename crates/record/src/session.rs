//! A recording session: lanes are opened, the plan is laid out over them, and the
//! plan is run into a sink. Whoever records (commands, the observatory,
//! benchmarks) differs in what is shown, and in where events go.
//!
//! A sink that stores events needs the session's header first, so that it is made
//! between [`RecordingSession::open`] and [`RecordingSession::run`].

use thiserror::Error;

use super::plan::{Plan, PlanError, PlanRequest};
use super::recorder::{InvocationTally, OpenLane, Recorder, open_lanes};
use super::sampler::{Sampler, SamplerTap, Sampling};
use super::tax::{Metering, open_meterings};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{Cancel, LaneSpec};
use cyclometer_meter::host::Fingerprint;
use cyclometer_system::procfs::ProcessIdentity;
use cyclometer_workload::{Control, Event, RecordingHeader, Sink, SinkError};

/// Options of a recording session.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Lanes to open.
    pub lanes: SessionLanes,
    /// Request that the plan is made from.
    pub request: PlanRequest,
    /// Label of the recording.
    pub label: Option<String>,
    /// Time between two samples; `None`: no sampling, except as meterings say.
    pub sample_interval: Option<Nanos>,
    /// Further entry of the plan that the recording keeps, with its key.
    pub plan_entry: Option<(&'static str, serde_json::Value)>,
}

/// Lanes of a session.
#[derive(Debug, Clone)]
pub enum SessionLanes {
    /// Lanes as users name them.
    Named(Vec<LaneSpec>),
    /// Lanes that meter the same function in several ways, each with a sampling
    /// interval of its own.
    Metered(Vec<Metering>),
}

/// Receiver of what happens in a session and no sink is told.
pub trait SessionObserver {
    /// Called with the event of each lane, as soon as it is open or cannot run.
    fn lane_opened(&mut self, _event: &Event) {}

    /// Returns the callback for the samples of a lane, or for those of all lanes
    /// if none is named.
    fn sample_tap(&mut self, _lane: Option<&str>) -> Option<SamplerTap> {
        None
    }
}

impl SessionObserver for () {}

/// Reason why a session cannot be opened or run.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The identity of this process cannot be read.
    #[error("{0}")]
    Owner(String),
    /// The lanes need more open files than there may be.
    #[error(transparent)]
    Lanes(SinkError),
    /// A signal asked this process to end while lanes were opened.
    #[error("stopped before anything was recorded")]
    Interrupted,
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The fingerprint of the host has no text.
    #[error(transparent)]
    Host(#[from] serde_json::Error),
    /// The system gives no thread for a sampler.
    #[error(transparent)]
    Threads(std::io::Error),
    /// The sink accepts no more.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl SessionError {
    /// Returns whether none of the requested lanes can run here.
    #[must_use]
    pub const fn is_without_lanes(&self) -> bool {
        matches!(self, Self::Plan(PlanError::NothingToRecord(left_out)) if left_out.is_empty())
    }
}

/// Recording session whose lanes are open and whose plan is made.
pub struct RecordingSession {
    lanes: Vec<OpenLane>,
    plan: Plan,
    header: RecordingHeader,
    /// Events of the lanes, which wait for the sink.
    opened: Vec<Event>,
    /// Sampling interval of each lane, by its index, where they are not all the
    /// same.
    intervals: Option<Vec<Option<Nanos>>>,
}

impl SessionOptions {
    /// Creates options for lanes as users name them, without a label and without
    /// sampling.
    #[must_use]
    pub const fn for_lanes(lanes: Vec<LaneSpec>, request: PlanRequest) -> Self {
        Self {
            lanes: SessionLanes::Named(lanes),
            request,
            label: None,
            sample_interval: None,
            plan_entry: None,
        }
    }

    /// Returns the plan as the recording keeps it, as JSON.
    fn plan_text(&self) -> String {
        let mut plan = self.request.to_json(&self.lanes.list_names(), self.sample_interval);
        if let Some((key, value)) = &self.plan_entry {
            plan[*key] = value.clone();
        }
        plan.to_string()
    }
}

impl SessionLanes {
    fn list_names(&self) -> Vec<String> {
        match self {
            Self::Named(specs) => specs.iter().map(ToString::to_string).collect(),
            Self::Metered(meterings) => meterings.iter().map(Metering::lane_name).collect(),
        }
    }
}

/// Sink that keeps the events of lanes, and shows each to the observer.
struct LaneEvents<'a> {
    kept: Vec<Event>,
    observer: &'a mut dyn SessionObserver,
}

impl Sink for LaneEvents<'_> {
    fn send_event(&mut self, event: Event) -> Result<(), SinkError> {
        self.observer.lane_opened(&event);
        self.kept.push(event);
        Ok(())
    }

    fn flush_events(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

impl RecordingSession {
    /// Opens the lanes and lays out the plan. Lanes that cannot run are left out.
    ///
    /// # Errors
    /// Fails when there is nothing to record, or a signal asks this process to
    /// end meanwhile.
    pub fn open(
        options: &SessionOptions,
        observer: &mut dyn SessionObserver,
    ) -> Result<Self, SessionError> {
        let owner =
            ProcessIdentity::current().map_err(|error| SessionError::Owner(error.to_string()))?;
        let mut events = LaneEvents { kept: Vec::new(), observer };
        let (lanes, intervals) = match &options.lanes {
            SessionLanes::Named(specs) => {
                open_lanes(specs, &owner, &mut events).map(|lanes| (lanes, None))
            }
            SessionLanes::Metered(meterings) => open_meterings(meterings, &owner, &mut events)
                .map(|(lanes, intervals)| (lanes, Some(intervals))),
        }
        .map_err(SessionError::Lanes)?;
        if Cancel::for_process().is_cancelled() {
            return Err(SessionError::Interrupted);
        }
        let plan = Plan::new(&options.request, &lanes)?;
        let header = RecordingHeader {
            label: options.label.clone(),
            owner: owner.to_string(),
            plan: options.plan_text(),
            host: serde_json::to_string(&Fingerprint::for_this_host())?,
            sample_interval: options.sample_interval,
        };
        Ok(Self { lanes, plan, header, opened: events.kept, intervals })
    }

    /// Returns the plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns the facts that a sink stores before the first event.
    #[must_use]
    pub const fn header(&self) -> &RecordingHeader {
        &self.header
    }

    /// Sends the events of the lanes to `sink`, runs the plan to its end, or until
    /// it is stopped, and closes the lanes.
    ///
    /// # Errors
    /// Fails when there is no thread for a sampler, or the sink accepts no more.
    pub fn run(
        mut self,
        sink: &mut dyn Sink,
        control: impl Into<Control>,
        observer: &mut dyn SessionObserver,
    ) -> Result<InvocationTally, SessionError> {
        for event in std::mem::take(&mut self.opened) {
            sink.send_event(event)?;
        }
        let names: Vec<String> = self.lanes.iter().map(|open| open.name.clone()).collect();
        let sampling = match (self.intervals.take(), self.header.sample_interval) {
            (Some(intervals), _) => Some(Sampling::at_intervals(intervals)),
            (None, interval) => interval.map(|interval| {
                Sampling::from_factory(move |lane| {
                    let name = lane.and_then(|at| names.get(at)).map(String::as_str);
                    match observer.sample_tap(name) {
                        Some(tap) => Sampler::start_with_tap(interval, tap),
                        None => Sampler::start(interval),
                    }
                })
            }),
        };
        let recorder = Recorder::new(&mut self.lanes, &self.plan, sampling, control)
            .map_err(SessionError::Threads)?;
        Ok(recorder.run(sink)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::request;
    use std::sync::{Arc, Mutex};

    /// Lane that runs nowhere: no engine has that image.
    const ABSENT: &str = "docker@cyclometer-no-such-image:1";

    /// Observer that remembers what it is told.
    #[derive(Default)]
    struct Remembered {
        lanes: Vec<(String, bool)>,
        taps: Vec<Option<String>>,
        samples: Arc<Mutex<usize>>,
    }

    impl SessionObserver for Remembered {
        fn lane_opened(&mut self, event: &Event) {
            if let Event::Lane { name, unavailable, .. } = event {
                self.lanes.push((name.clone(), unavailable.is_none()));
            }
        }

        fn sample_tap(&mut self, lane: Option<&str>) -> Option<SamplerTap> {
            self.taps.push(lane.map(str::to_owned));
            let samples = Arc::clone(&self.samples);
            Some(Box::new(move |_| *samples.lock().expect("no panic") += 1))
        }
    }

    fn options(lanes: &[&str], request: PlanRequest) -> SessionOptions {
        let specs = lanes.iter().map(|name| name.parse().expect("a lane")).collect();
        SessionOptions::for_lanes(specs, request)
    }

    #[test]
    fn a_session_goes_from_lanes_to_the_end() {
        let options = SessionOptions {
            label: Some("mine".to_owned()),
            sample_interval: Some(Nanos(1_000_000)),
            plan_entry: Some(("paper", serde_json::json!({"part": "nop"}))),
            ..options(&["native", ABSENT], request(&["nbody"], 2))
        };
        let mut remembered = Remembered::default();
        let session = RecordingSession::open(&options, &mut remembered).expect("open");
        let lanes = [("native".to_owned(), true), (ABSENT.to_owned(), false)];
        assert_eq!(remembered.lanes, lanes);
        assert_eq!(session.plan().total_runs(), Some(2));
        let header = session.header().clone();
        assert_eq!(header.label.as_deref(), Some("mine"));
        assert_eq!(header.sample_interval, Some(Nanos(1_000_000)));
        let plan: serde_json::Value = serde_json::from_str(&header.plan).expect("JSON");
        assert_eq!(plan["lanes"], serde_json::json!(["native", ABSENT]));
        assert_eq!((&plan["paper"]["part"], &plan["runs"]), (&"nop".into(), &2.into()));
        let mut events: Vec<Event> = Vec::new();
        let tally = session.run(&mut events, Control::default(), &mut remembered).expect("run");
        assert_eq!((tally.ok, tally.interrupted), (2, false));
        let is_lane = |event: &Event| matches!(event, Event::Lane { .. });
        assert!(events[..2].iter().all(is_lane) && !events[2..].iter().any(is_lane));
        assert!(matches!(events.last(), Some(Event::Ended { .. })));
        assert_eq!(remembered.taps, [None], "one sampler serves all lanes");
        assert!(*remembered.samples.lock().expect("no panic") > 0);
    }

    #[test]
    fn lanes_with_meterings_are_sampled_as_those_say() {
        let metering = |label| super::super::tax::METERINGS.iter().find(|it| it.label == label);
        let meterings = [metering("plain"), metering("1ms")].map(|it| *it.expect("there"));
        let options = SessionOptions {
            lanes: SessionLanes::Metered(meterings.to_vec()),
            ..options(&[], request(&["nbody"], 1))
        };
        let session = RecordingSession::open(&options, &mut ()).expect("open");
        let names: Vec<&str> = session.lanes.iter().map(|open| open.name.as_str()).collect();
        assert_eq!(session.header().sample_interval, None);
        let sampled: Vec<bool> = names.iter().map(|name| name.ends_with("1ms")).collect();
        let mut events: Vec<Event> = Vec::new();
        session.run(&mut events, Control::default(), &mut ()).expect("run");
        for event in &events {
            let Event::Finished { cell, samples, .. } = event else { continue };
            assert_eq!(!samples.is_empty(), sampled[*cell], "cell {cell}");
        }
    }

    #[test]
    fn a_session_without_a_lane_says_so() {
        let none = options(&[ABSENT], request(&["nop"], 1));
        let error = RecordingSession::open(&none, &mut ()).err().expect("refused");
        assert!(error.is_without_lanes(), "{error}");
        let pinned = PlanRequest { race: true, cpu: Some(0), ..request(&["nop"], 1) };
        let error = RecordingSession::open(&options(&["native"], pinned), &mut ()).err();
        let error = error.expect("refused");
        assert!(!error.is_without_lanes() && error.to_string().contains("have a CPU each"));
    }
}
