//! Throttled time of invocations: the time for which CPU quotas around the
//! recorder held back the recorder and the processes in its control groups.

use std::sync::Arc;

use cyclometer_lanes::Outcome;
use cyclometer_meter::quota::ThrottleMeter;
use cyclometer_meter::{Meter, Provenances, Source};

/// Sets [`Meter::Throttled`] where the lane did not measure it itself: lanes
/// whose functions run elsewhere report it themselves.
pub(super) struct ThrottleWatch {
    meter: Result<ThrottleMeter, String>,
    /// Provenances of the lane, and the same with this meter added: lanes
    /// mostly return the same provenances for each invocation.
    sources: Option<(Arc<Provenances>, Arc<Provenances>)>,
}

impl ThrottleWatch {
    pub fn open() -> Self {
        Self { meter: ThrottleMeter::for_own_groups(), sources: None }
    }

    /// Starts counting from now on.
    pub(crate) fn restart_count(&mut self) {
        if let Ok(meter) = &mut self.meter {
            meter.take_throttled();
        }
    }

    /// Sets the throttled time since the last invocation or [`Self::restart_count`].
    pub(crate) fn set_throttled_time(&mut self, outcome: &mut Outcome) {
        // The usual case, and all that a short invocation should pay for.
        if let (Ok(meter), Some((from, with))) = (&mut self.meter, &self.sources)
            && Arc::ptr_eq(from, &outcome.provenances)
            && let Some(time) = meter.take_throttled()
        {
            outcome.usage.set(Meter::Throttled, time.0);
            outcome.provenances = Arc::clone(with);
            return;
        }
        let is_known = outcome.provenances.get(Meter::Throttled).is_some();
        // Without any source, nothing ran that could be held back.
        if is_known || outcome.provenances.iter().next().is_none() {
            return self.restart_count();
        }
        let value = self.meter.as_mut().ok().and_then(ThrottleMeter::take_throttled);
        outcome.usage.set(Meter::Throttled, value.map(|time| time.0));
        outcome.provenances = self.add_source(&outcome.provenances, value.is_some());
    }

    fn add_source(&mut self, lane: &Arc<Provenances>, is_known: bool) -> Arc<Provenances> {
        let mut all = (**lane).clone();
        match &self.meter {
            Ok(meter) if is_known => {
                all.set_source(Meter::Throttled, Source::Cgroup, meter.quota_note());
            }
            Ok(_) => all.set_missing(Meter::Throttled, "the control group can no longer be read"),
            Err(reason) => all.set_missing(Meter::Throttled, reason),
        }
        let all = Arc::new(all);
        if is_known {
            self.sources = Some((Arc::clone(lane), Arc::clone(&all)));
        }
        all
    }
}
