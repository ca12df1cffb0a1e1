//! Billed time of instances: the union of overlapping requests on one instance.
//!
//! Some providers bill an instance for as long as it serves at least one
//! request. Warm invocations of a cell share an instance; a cold one has its
//! own. Requests that overlap become one span, from the start of the first to
//! the end of the last, with the CPU time of all and the largest peak.

use super::{PendingBatches, SignalValues};
use cyclometer_core::meter::Meter;
use cyclometer_core::units::Nanos;
use cyclometer_pricing::Phase;
use cyclometer_pricing::compile::{PricingProgram, Signal, SignalSet};

/// Collects the requests of an instance into spans; holds the one that has not
/// ended yet.
#[derive(Debug)]
pub(super) struct InstanceSpans {
    cold: bool,
    open: Option<InstanceSpan>,
}

/// Span of time in which an instance served at least one request.
#[derive(Debug, Clone)]
pub(super) struct InstanceSpan {
    from: u64,
    to: u64,
    present: SignalSet,
    values: SignalValues,
}

const CREATE: Signal = Signal::Phase(Phase::Create);
const START: Signal = Signal::Phase(Phase::Start);
const RUN: Signal = Signal::Phase(Phase::Run);

/// Meters that add up over the requests of a span. The others are levels, or
/// belong to the first request, as start-up does: that of others happens while
/// the instance serves the first.
const SUMMED_METERS: [Meter; 6] = [
    Meter::CpuTime,
    Meter::CpuUser,
    Meter::CpuSystem,
    Meter::Cycles,
    Meter::RefCycles,
    Meter::WasmOps,
];

impl InstanceSpans {
    /// Signals from which the start and end of a request are computed.
    pub(super) const SIGNALS: [Signal; 3] = [CREATE, START, RUN];

    pub(super) const fn new(cold: bool) -> Self {
        Self { cold, open: None }
    }

    /// Adds a request; rows come in the order of their requests. Returns the
    /// span that this request ends, if any.
    pub(super) fn add_request(
        &mut self,
        offset: Nanos,
        present: SignalSet,
        values: &SignalValues,
    ) -> Option<InstanceSpan> {
        let span = |signal: Signal| {
            if present.contains(signal) { values[signal.column_index()] } else { 0 }
        };
        // An instance exists once it was created.
        let from = offset.0.saturating_add(span(CREATE));
        let to = from.saturating_add(span(START)).saturating_add(span(RUN));
        let next = InstanceSpan { from, to, present, values: *values };
        if self.cold {
            return Some(next);
        }
        match &mut self.open {
            Some(open) if from < open.to && present == open.present => {
                open.extend_with(&next);
                None
            }
            open => open.replace(next),
        }
    }

    /// Returns the span that has not ended yet.
    pub(super) const fn open_span(&self) -> Option<&InstanceSpan> {
        self.open.as_ref()
    }

    pub(super) fn close_span(&mut self) -> Option<InstanceSpan> {
        self.open.take()
    }
}

impl InstanceSpan {
    fn extend_with(&mut self, other: &Self) {
        self.to = self.to.max(other.to);
        let startup =
            if self.present.contains(START) { self.values[START.column_index()] } else { 0 };
        self.values[RUN.column_index()] = (self.to - self.from).saturating_sub(startup);
        self.present.insert(RUN);
        let peak = Signal::Meter(Meter::MemoryPeak).column_index();
        self.values[peak] = self.values[peak].max(other.values[peak]);
        for meter in SUMMED_METERS {
            let at = Signal::Meter(meter).column_index();
            self.values[at] = self.values[at].saturating_add(other.values[at]);
        }
    }

    pub(super) fn push_to(&self, lot: &mut PendingBatches, program: &mut PricingProgram) {
        let present = self.present.intersection(program.required_signals());
        lot.push_row(program, present, |signal| self.values[signal.column_index()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(start: Option<u64>, run: u64, cpu: u64) -> (SignalSet, SignalValues) {
        let mut present: SignalSet = [RUN, Signal::Meter(Meter::CpuTime)].into_iter().collect();
        let mut values = [0; Signal::COUNT];
        values[RUN.column_index()] = run;
        values[Signal::Meter(Meter::CpuTime).column_index()] = cpu;
        if let Some(start) = start {
            present.insert(START);
            values[START.column_index()] = start;
        }
        (present, values)
    }

    fn lengths(cold: bool, rows: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut stretches = InstanceSpans::new(cold);
        let mut done = Vec::new();
        for (offset, run) in rows {
            let (present, values) = row(None, *run, 10);
            done.extend(stretches.add_request(Nanos(*offset), present, &values));
        }
        done.extend(stretches.close_span());
        let cpu = Signal::Meter(Meter::CpuTime).column_index();
        done.iter().map(|it| (it.values[RUN.column_index()], it.values[cpu])).collect()
    }

    #[test]
    fn overlapping_requests_share_an_instance() {
        // 0-100 and 50-120 overlap, 120-130 only touches, 300-310 is apart.
        let rows = [(0, 100), (50, 70), (120, 10), (300, 10)];
        assert_eq!(lengths(false, &rows), [(120, 20), (10, 10), (10, 10)]);
        // One inside another adds nothing.
        assert_eq!(lengths(false, &[(0, 100), (20, 10), (90, 20)]), [(110, 30)]);
    }

    #[test]
    fn cold_ones_have_their_own() {
        assert_eq!(lengths(true, &[(0, 100), (50, 70)]), [(100, 10), (70, 10)]);
    }

    #[test]
    fn the_start_of_the_first_stays_apart() {
        let mut stretches = InstanceSpans::new(false);
        let (present, values) = row(Some(30), 70, 1);
        assert!(stretches.add_request(Nanos(0), present, &values).is_none());
        assert!(stretches.add_request(Nanos(50), present, &values).is_none());
        let whole = stretches.close_span().unwrap();
        // 0-100 and 50-150: 30 to start, 120 to run.
        assert_eq!(
            (whole.values[START.column_index()], whole.values[RUN.column_index()]),
            (30, 120)
        );
    }
}
