//! Steps in which a price model bills time.

use super::charge::Factor;
use super::model::PriceModel;
use super::terms::Terms;
use super::waste::FactorRole;
use cyclometer_core::units::Nanos;

/// Step and least duration in which time is billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeStep {
    /// Step that durations are rounded up to; 0: none.
    pub step: Nanos,
    /// Least duration that is billed; 0: none.
    pub least: Nanos,
}

impl PriceModel {
    /// Returns the largest step and least duration in which the charges of an invocation bill
    /// elapsed time; `None` where none does.
    #[must_use]
    pub fn time_step(&self) -> Option<TimeStep> {
        let terms = Terms::for_model(self);
        let is_time = |factor: &&Factor| FactorRole::for_factor(factor) == FactorRole::Time;
        let factors = self.invocation_charges(&terms).flat_map(|charge| &charge.factors);
        let steps = factors.filter(is_time).map(|factor| TimeStep {
            step: Nanos(factor.grid.to_u64().unwrap_or(0)),
            least: Nanos(factor.minimum.to_u64().unwrap_or(0)),
        });
        steps.reduce(|one, two| TimeStep {
            step: one.step.max(two.step),
            least: one.least.max(two.least),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find_builtin_model;

    #[test]
    fn steps_are_those_of_the_tariffs() {
        let step = |id: &str| find_builtin_model(id).expect("built in").time_step();
        let ms = |step: u64, least: u64| {
            Some(TimeStep { step: Nanos(step * 1_000_000), least: Nanos(least * 1_000_000) })
        };
        assert_eq!(step("aws-lambda-x86"), ms(1, 0));
        assert_eq!(step("aws-lambda-x86-2014"), ms(100, 0));
        assert_eq!(step("google-cloud-run"), ms(100, 0));
        assert_eq!(step("azure-flex"), ms(100, 1_000), "at least a second");
        assert_eq!(step("per-cycle"), None);
    }
}
