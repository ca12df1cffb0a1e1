//! Compiled form of price models: for rows in [`UsageBatch`]es, it computes each model's quantities
//! and their decomposition as sums of products of columns, without inspecting single rows for
//! what is the same in all of them.
//!
//! `evaluate` and `waste` are the definition; this module does the same in integers of 64 bits, a
//! block of rows at a time, and exactly: every column has a bound, and where a bound or a
//! constant does not fit, the rows are evaluated by the definition one by one.

mod batch;
mod execution;
mod grid;
mod op;
mod plan;
#[cfg(test)]
mod tests;
mod waste_plan;

use std::collections::HashMap;
use std::sync::Arc;

pub use batch::{Signal, SignalSet, UsageBatch};
pub use execution::{ChargeSum, ModelSums, Sums};

use op::Op;
use plan::{ModelPlan, Planner, SharedColumns};

use super::charge::StandIn;
use super::model::PriceModel;
use super::schema::ChargeBasis;
use super::terms::Terms;
use super::unit::Phase;
use cyclometer_core::meter::Meter;

/// Compiled price models, each under its terms.
#[derive(Debug)]
pub struct PricingProgram {
    models: Vec<(PriceModel, Terms)>,
    with_split: bool,
    basis: Option<ChargeBasis>,
    signals: SignalSet,
    plans: HashMap<SignalSet, Arc<ColumnPlan>>,
}

/// Plan for rows that have the same signals measured.
#[derive(Debug)]
struct ColumnPlan {
    ops: Vec<Op>,
    /// Columns that are multiplied and summed, one list per sum.
    sums: Vec<Vec<usize>>,
    models: Vec<ModelPlan>,
}

impl PricingProgram {
    /// Compiles `models`; with `with_split`, bills are decomposed too. Rows are the units that
    /// charges of `basis` are counted by, or those of all charges if it is `None`: the quantities
    /// of other charges are 0.
    #[must_use]
    pub fn new(
        models: Vec<(PriceModel, Terms)>,
        with_split: bool,
        basis: Option<ChargeBasis>,
    ) -> Self {
        let mut signals = SignalSet::default();
        for (model, terms) in &models {
            signals = signals.union(signals_read_by(model, terms, with_split));
        }
        Self { models, with_split, basis, signals, plans: HashMap::new() }
    }

    /// Returns the columns that the program reads where they are measured.
    #[must_use]
    pub const fn required_signals(&self) -> SignalSet {
        self.signals
    }

    /// Returns the models, in order.
    #[must_use]
    pub fn models(&self) -> &[(PriceModel, Terms)] {
        &self.models
    }

    fn plan_for_signals(&mut self, present: SignalSet) -> Arc<ColumnPlan> {
        if let Some(plan) = self.plans.get(&present) {
            return Arc::clone(plan);
        }
        let mut shared = SharedColumns::default();
        let models = self.models.iter().map(|(model, terms)| {
            let limits = Vec::new();
            let basis = self.basis;
            Planner { model, terms, present, basis, shared: &mut shared, limits }
                .plan_model(self.with_split)
        });
        let models = models.collect();
        let SharedColumns { columns, sums } = shared;
        let plan = Arc::new(ColumnPlan { ops: columns.into_ops(), sums, models });
        self.plans.insert(present, Arc::clone(&plan));
        plan
    }
}

/// Returns all signals of a usage that a model may read.
fn signals_read_by(model: &PriceModel, terms: &Terms, with_split: bool) -> SignalSet {
    let mut signals = SignalSet::default();
    for charge in model.invocation_charges(terms) {
        for factor in &charge.factors {
            factor.measure.for_each_meter(&mut |meter| signals.insert(Signal::Meter(meter)));
            factor.measure.for_each_phase(&mut |phase| signals.insert(Signal::Phase(phase)));
            for fallback in &factor.fallbacks {
                if let StandIn::Meter(meter) = &fallback.stand_in {
                    signals.insert(Signal::Meter(*meter));
                }
            }
        }
    }
    if with_split {
        // Whether the CPU time is that of the run alone depends on the phases before it, billed
        // or not.
        for meter in [Meter::CpuTime, Meter::CpuStartup, Meter::MemoryPeak] {
            signals.insert(Signal::Meter(meter));
        }
        for phase in [Phase::Create, Phase::Start] {
            signals.insert(Signal::Phase(phase));
        }
    }
    signals
}
