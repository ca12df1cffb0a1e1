//! Time budgets for preparing a module, whatever is in it: compiling it to all forms that a lane
//! needs, and counting its operators for all of its presets.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use cyclometer_core::units::Nanos;

/// Longest time that a lane compiles a module for, all forms together.
pub(crate) const COMPILE_BUDGET: Nanos = Nanos(60_000_000_000);

/// Time spent, by workload.
type TimeSpent = HashMap<String, Nanos>;

/// Time that lanes that are open at the same time have spent on counting: they count the same
/// operators.
static SHARED_COUNTING: Mutex<Weak<Mutex<TimeSpent>>> = Mutex::new(Weak::new());

/// The budgets of one lane.
#[derive(Debug)]
pub(crate) struct TimeBudgets {
    compiling: TimeSpent,
    counting: Arc<Mutex<TimeSpent>>,
}

impl TimeBudgets {
    /// Opens full budgets for compiling; those for counting are as other open lanes left them.
    pub fn open() -> Self {
        let mut shared = SHARED_COUNTING.lock();
        let counting = shared.upgrade().unwrap_or_default();
        *shared = Arc::downgrade(&counting);
        Self { compiling: TimeSpent::default(), counting }
    }

    /// Returns the time left for compiling `workload`; `None` if there is none.
    pub(crate) fn left_for_compiling(&self, workload: &str) -> Option<Nanos> {
        time_left(&self.compiling, workload, COMPILE_BUDGET)
    }

    /// Takes `took` out of the time for compiling.
    pub(crate) fn spend_on_compiling(&mut self, workload: &str, took: Nanos) {
        spend_time(&mut self.compiling, workload, took);
    }

    /// Returns the time left for counting `workload` under a time limit of `limit`, which is its
    /// budget; `None` if there is none.
    pub(crate) fn left_for_counting(&self, workload: &str, limit: Nanos) -> Option<Nanos> {
        time_left(&self.counting.lock(), workload, limit)
    }

    /// Takes `took` out of the time for counting.
    pub(crate) fn spend_on_counting(&self, workload: &str, took: Nanos) {
        spend_time(&mut self.counting.lock(), workload, took);
    }
}

fn time_left(spent: &TimeSpent, workload: &str, budget: Nanos) -> Option<Nanos> {
    let spent = spent.get(workload).copied().unwrap_or_default();
    Some(budget.saturating_since(spent)).filter(|left| left.0 > 0)
}

fn spend_time(spent: &mut TimeSpent, workload: &str, took: Nanos) {
    let sum = spent.entry(workload.to_owned()).or_default();
    *sum = Nanos(sum.0.saturating_add(took.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_and_lanes_share_the_time_for_counting_a_module() {
        let (one, other) = (TimeBudgets::open(), TimeBudgets::open());
        let name = "presets_and_lanes_share";
        assert_eq!(one.left_for_counting(name, Nanos(10)), Some(Nanos(10)));
        one.spend_on_counting(name, Nanos(7));
        assert_eq!(other.left_for_counting(name, Nanos(10)), Some(Nanos(3)));
        // A preset with a longer limit has that as its budget, less the time spent.
        assert_eq!(other.left_for_counting(name, Nanos(20)), Some(Nanos(13)));
        other.spend_on_counting(name, Nanos(3));
        assert_eq!(one.left_for_counting(name, Nanos(10)), None);
        assert_eq!(one.left_for_counting("another module", Nanos(10)), Some(Nanos(10)));
        other.spend_on_counting(name, Nanos(u64::MAX));
        assert_eq!(one.left_for_counting(name, Nanos(u64::MAX)), None);
    }

    #[test]
    fn forms_of_a_module_share_the_time_for_compiling() {
        let mut budgets = TimeBudgets::open();
        budgets.spend_on_compiling("m", Nanos(COMPILE_BUDGET.0 - 1));
        assert_eq!(budgets.left_for_compiling("m"), Some(Nanos(1)));
        budgets.spend_on_compiling("m", Nanos(1));
        assert_eq!(budgets.left_for_compiling("m"), None);
        assert_eq!(budgets.left_for_compiling("n"), Some(COMPILE_BUDGET));
    }
}
