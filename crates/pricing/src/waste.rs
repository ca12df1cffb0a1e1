//! Waste in a bill: every charge split into parts that add up to it.
//!
//! A charge on time x allocated resources is split into these parts:
//!
//! ```text
//! rounding    what grids and minimums add
//! startup     the time until the first instruction, as far as it is billed
//! idle        the rest of the time in which no CPU worked for the function
//! headroom    memory that was allocated and never touched, while a CPU worked
//! used        memory that was touched, while a CPU worked
//! unmeasured  what cannot be told apart, since a meter is missing
//! ```
//!
//! A CPU worked in the run for the [CPU time of the run](Usage::run_cpu_time): the CPU time of the
//! invocation without that spent before the first instruction. Where this is not known, all of
//! the running time is `unmeasured`: the length of a start-up says nothing about the CPU time in
//! it, since others (a container engine) work meanwhile. Memory is the peak of the invocation,
//! including its start-up. Charges on what was used are `used` except for their rounding,
//! whenever it was used; charges on neither time nor use are `fees`.
//!
//! Where a factor is the larger of the elapsed time and a multiple of the CPU time, the amount
//! added by the CPU time is `used` as far as the CPU time of the run explains it, and `startup`
//! beyond.

use std::ops::AddAssign;
use std::sync::Arc;

use super::charge::{Charge, Factor, Measure, Multiplier};
use super::evaluate::{EvalContext, FactorValue, Refusal, refuse_charge};
use super::model::PriceModel;
use super::money::Money;
use super::number::Exact;
use super::terms::Terms;
use super::unit::{Dimension, Phase};
use cyclometer_core::meter::{Meter, Usage};

/// Parts of a bill, or of a quantity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waste<T> {
    /// Part for work that was done.
    pub used: T,
    /// Part for time spent waiting.
    pub idle: T,
    /// Part for memory that was allocated and never touched.
    pub headroom: T,
    /// Part added by grids and minimums.
    pub rounding: T,
    /// Part for cold starts, as far as they are billed.
    pub startup: T,
    /// Part for requests and the like, whatever they do.
    pub fees: T,
    /// Part that cannot be classified, since a meter is missing: CPU time, its part before the
    /// first instruction, or memory.
    pub unmeasured: T,
}

impl<T> Waste<T> {
    /// Returns the parts with their names, in display order.
    pub fn named_parts(&self) -> [(&'static str, &T); 7] {
        let Self { used, idle, headroom, rounding, startup, fees, unmeasured } = self;
        [
            ("used", used),
            ("idle", idle),
            ("headroom", headroom),
            ("rounding", rounding),
            ("startup", startup),
            ("fees", fees),
            ("unmeasured", unmeasured),
        ]
    }

    fn zip_with<U, V>(&self, other: &Waste<U>, mut each: impl FnMut(&T, &U) -> V) -> Waste<V> {
        Waste {
            used: each(&self.used, &other.used),
            idle: each(&self.idle, &other.idle),
            headroom: each(&self.headroom, &other.headroom),
            rounding: each(&self.rounding, &other.rounding),
            startup: each(&self.startup, &other.startup),
            fees: each(&self.fees, &other.fees),
            unmeasured: each(&self.unmeasured, &other.unmeasured),
        }
    }
}

impl Waste<Exact> {
    /// Returns the cost of the quantities at that price per unit.
    #[must_use]
    pub fn priced_at(&self, rate: &Exact) -> Waste<Money> {
        self.zip_with(self, |part, _| Money::new(part * rate))
    }
}

impl Waste<Money> {
    /// Returns the sum of all parts: the bill.
    #[must_use]
    pub fn total(&self) -> Money {
        self.named_parts().into_iter().map(|(_, part)| part).sum()
    }

    /// Scales the split to another total, such as the rest of the bill after an allowance: every
    /// part in proportion.
    #[must_use]
    pub fn scaled_to(&self, total: &Money) -> Self {
        let share = total.as_exact().checked_div(self.total().as_exact()).unwrap_or_default();
        self.zip_with(self, |part, _| Money::new(part.as_exact() * &share))
    }

    /// Returns the share of the whole, from 0 to 1, for work that was never done: idle time,
    /// head-room, rounding and start-up.
    #[must_use]
    pub fn wasted_share(&self) -> Option<Exact> {
        let Self { used: _, idle, headroom, rounding, startup, fees: _, unmeasured: _ } = self;
        let wasted: Money = [idle, headroom, rounding, startup].into_iter().sum();
        wasted.as_exact().checked_div(self.total().as_exact())
    }
}

impl AddAssign<&Self> for Waste<Exact> {
    fn add_assign(&mut self, other: &Self) {
        *self = self.zip_with(other, |one, other| one + other);
    }
}

impl AddAssign<&Self> for Waste<Money> {
    fn add_assign(&mut self, other: &Self) {
        *self = self.zip_with(other, |one, other| one.clone() + other.clone());
    }
}

/// Role of a factor when a charge is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FactorRole {
    /// Elapsed time.
    Time,
    /// Allocated memory.
    Memory,
    /// Allocated share of CPUs.
    Cpu,
    /// Resource that was used.
    Used,
    /// A price for something else, or a constant.
    Neutral,
}

impl FactorRole {
    pub(super) fn for_factor(factor: &Factor) -> Self {
        Self::for_measure(&factor.measure, &factor.unit)
    }

    fn for_measure(measure: &Measure, unit: &str) -> Self {
        match measure {
            Measure::Phases(_) | Measure::Meter(Meter::Wall) => Self::Time,
            Measure::Meter(Meter::MemoryAllocated) => Self::Memory,
            Measure::Meter(Meter::VcpuAllocated) => Self::Cpu,
            // Observed memory, over time, is no head-room; alone it is used.
            Measure::Meter(Meter::MemoryPeak) => Self::Neutral,
            Measure::Meter(_) => Self::Used,
            Measure::Lookup { of, .. } if matches!(**of, Measure::Meter(_)) => {
                if Dimension::CpuShare.size_of_unit(unit).is_ok() {
                    Self::Cpu
                } else if Dimension::Size.size_of_unit(unit).is_ok() {
                    Self::Memory
                } else {
                    Self::Neutral
                }
            }
            Measure::MaxOf(several) => {
                let roles = several.iter().map(|(measure, _)| Self::for_measure(measure, unit));
                let mut rest = Self::Neutral;
                for role in roles {
                    match role {
                        Self::Time => return Self::Time,
                        Self::Neutral => {}
                        other => rest = other,
                    }
                }
                rest
            }
            _ => Self::Neutral,
        }
    }
}

/// Returns whether an alternative of `max_of` is elapsed time, rather than CPU time.
pub(super) fn is_wall_time(measure: &Measure) -> bool {
    matches!(measure, Measure::Phases(_) | Measure::Meter(Meter::Wall))
}

/// Returns the multiples of CPU time among the alternatives of `max_of`; `None` where something
/// other than CPU time may add to the elapsed time.
pub(super) fn added_by_cpu(measure: &Measure) -> Option<Vec<&Multiplier>> {
    let Measure::MaxOf(several) = measure else { return None };
    let others = several.iter().filter(|(measure, _)| !is_wall_time(measure));
    others
        .map(|(measure, times)| matches!(measure, Measure::Meter(Meter::CpuTime)).then_some(times))
        .collect()
}

/// Returns the phases before the function's first instruction, as far as a measure includes them.
pub(super) fn startup_phases(measure: &Measure) -> Vec<Phase> {
    let mut phases = Vec::new();
    measure.for_each_phase(&mut |phase| phases.push(phase));
    let mut wall = false;
    measure.for_each_meter(&mut |meter| wall |= meter == Meter::Wall);
    if wall {
        phases.extend([Phase::Create, Phase::Start]);
    }
    phases.retain(|phase| matches!(phase, Phase::Create | Phase::Start));
    phases.sort_unstable();
    phases.dedup();
    phases
}

/// Returns the metered units of memory in one unit of the factor.
pub(super) fn memory_size(factor: &Factor) -> Exact {
    match factor.measure {
        Measure::Lookup { .. } => {
            Exact::from(Dimension::Size.size_of_unit(&factor.unit).unwrap_or(1))
        }
        _ => factor.size.clone(),
    }
}

/// Returns the thousandths of a CPU in one unit of the factor.
pub(super) fn cpu_size(factor: &Factor) -> Exact {
    match factor.measure {
        Measure::Lookup { .. } => {
            Exact::from(Dimension::CpuShare.size_of_unit(&factor.unit).unwrap_or(1))
        }
        _ => factor.size.clone(),
    }
}

/// A charge and the split of its part of a bill.
pub type ChargeWaste = (Arc<Charge>, Waste<Money>);

impl PriceModel {
    /// Splits one invocation's bill at list prices, charge by charge.
    ///
    /// # Errors
    ///
    /// Returns a refusal that names what the model needs and was not measured.
    pub fn waste_by_charge(
        &self,
        usage: &Usage,
        terms: &Terms,
    ) -> Result<Vec<ChargeWaste>, Refusal> {
        let scene = EvalContext { model: self, usage, terms };
        let priced = |charge: &Arc<Charge>| {
            Ok((Arc::clone(charge), split_charge(&scene, charge)?.priced_at(charge.list_rate())))
        };
        self.invocation_charges(terms).map(priced).collect()
    }
}

/// Factors of a charge, grouped by their roles; quantities before grids.
struct FactorsByRole<'a> {
    billed: Exact,
    /// Product of all factors other than those below.
    others: Exact,
    time: Option<(&'a Factor, Exact)>,
    memory: Option<(&'a Factor, Exact)>,
    cpu: Option<(&'a Factor, Exact)>,
    used: bool,
}

/// Splits the quantity of a charge for one usage.
pub(super) fn split_charge(
    scene: &EvalContext<'_>,
    charge: &Charge,
) -> Result<Waste<Exact>, Refusal> {
    let failed = |missing| refuse_charge(charge, missing);
    if !scene.charge_applies(charge) {
        return Ok(Waste::default());
    }
    let one = || Exact::from(1);
    let mut shape = FactorsByRole {
        billed: one(),
        others: one(),
        time: None,
        memory: None,
        cpu: None,
        used: false,
    };
    for factor in &charge.factors {
        let reading = scene.evaluate_factor(factor, None).map_err(failed)?;
        shape.add_factor(factor, &reading);
    }
    shape.into_waste(scene).map_err(failed)
}

impl<'a> FactorsByRole<'a> {
    fn add_factor(&mut self, factor: &'a Factor, reading: &FactorValue) {
        let in_units = |value: &Exact| value.checked_div(&factor.size).unwrap_or_default();
        self.billed = &self.billed * &in_units(&reading.billed);
        let raw = in_units(&reading.raw);
        let slot = match FactorRole::for_factor(factor) {
            FactorRole::Time => &mut self.time,
            FactorRole::Memory => &mut self.memory,
            FactorRole::Cpu => &mut self.cpu,
            role => {
                self.used |= role == FactorRole::Used;
                self.others = &self.others * &raw;
                return;
            }
        };
        match slot {
            None => *slot = Some((factor, raw)),
            // A second factor of the same role is a plain multiplier.
            Some(_) => self.others = &self.others * &raw,
        }
    }

    fn into_waste(self, scene: &EvalContext<'_>) -> Result<Waste<Exact>, super::evaluate::Missing> {
        let one = || Exact::from(1);
        let allocated = |slot: &Option<(&Factor, Exact)>| {
            slot.as_ref().map_or_else(one, |(_, raw)| raw.clone())
        };
        let memory = allocated(&self.memory);
        let cpu = allocated(&self.cpu);
        let Some((time_factor, time)) = &self.time else {
            let raw = &(&self.others * &memory) * &cpu;
            let mut waste = Waste { rounding: &self.billed - &raw, ..Waste::default() };
            if self.used {
                waste.used = raw;
            } else {
                // No time and no use: the grid is part of the fee.
                waste.rounding = Exact::default();
                waste.fees = self.billed;
            }
            return Ok(waste);
        };
        let clock = TimeParts::from_usage(scene, time_factor, time)?;
        let each = &(&self.others * &memory) * &cpu;
        let raw = &each * time;
        let mut waste = Waste {
            rounding: &self.billed - &raw,
            startup: &each * &clock.startup,
            ..Waste::default()
        };
        let running = time - &clock.startup;
        let Some(worked) = &clock.worked else {
            waste.unmeasured = &each * &running;
            return Ok(waste);
        };
        let without_cpu = &self.others * &memory;
        let busy = match &self.cpu {
            // Share x time, as far as CPUs worked in it: several of them, if several were
            // allocated.
            Some((factor, share)) => {
                let one_cpu = Exact::from(1000).checked_div(&cpu_size(factor)).unwrap_or_default();
                &without_cpu * &(share * &running).min(&worked.cpu * &one_cpu)
            }
            None => &without_cpu * &worked.time,
        };
        waste.idle = &(&each * &running) - &busy;
        let touched = match &self.memory {
            None => one(),
            Some((factor, memory)) => {
                let Some(peak) = scene.usage.get(Meter::MemoryPeak) else {
                    waste.unmeasured = busy;
                    return Ok(waste);
                };
                let peak = Exact::from(peak).checked_div(&memory_size(factor)).unwrap_or_default();
                // Share of the allocated memory that was touched.
                peak.min(memory.clone()).checked_div(memory).unwrap_or_default()
            }
        };
        waste.used = &busy * &touched;
        waste.headroom = &busy - &waste.used;
        Ok(waste)
    }
}

/// Parts of a time factor, in the factor's unit.
struct TimeParts {
    startup: Exact,
    /// Work of CPUs; `None`: not measured.
    worked: Option<CpuWork>,
}

/// Work of CPUs in the rest of the time.
struct CpuWork {
    /// Time in which a CPU worked.
    time: Exact,
    /// CPU time on all CPUs.
    cpu: Exact,
}

impl TimeParts {
    fn from_usage(
        scene: &EvalContext<'_>,
        factor: &Factor,
        time: &Exact,
    ) -> Result<Self, super::evaluate::Missing> {
        let by = scene.resolve_multiplier(&factor.times)?;
        let scale = |value: &Exact| (value * &by).checked_div(&factor.size).unwrap_or_default();
        let before = |measure: &Measure| {
            let phases = startup_phases(measure);
            let spans = phases.iter().filter_map(|phase| phase.duration_in(&scene.usage.phases));
            Exact::from_integer(spans.map(|it| u128::from(it.0)).sum::<u128>())
        };
        // Elapsed time: without the amount that 8 x CPU time adds to it.
        let (before, passed) = match &factor.measure {
            Measure::MaxOf(several) => {
                let (mut first, mut longest) = (Exact::default(), Exact::default());
                for (measure, times) in several.iter().filter(|(measure, _)| is_wall_time(measure))
                {
                    let own = scene.resolve_multiplier(times)?;
                    first = first.max(&before(measure) * &own);
                    longest = longest.max(&scene.measure_value(measure)? * &own);
                }
                (scale(&first), scale(&longest).min(time.clone()))
            }
            measure => (scale(&before(measure)), time.clone()),
        };
        let startup = before.min(passed.clone());
        let Some(cpu) = scene.usage.run_cpu_time() else {
            return Ok(Self { startup, worked: None });
        };
        let cpu = Exact::from(cpu.0);
        let added = time - &passed;
        let of_run = match added_by_cpu(&factor.measure) {
            Some(several) => {
                let mut most = Exact::default();
                for times in several {
                    most = most.max(scene.resolve_multiplier(times)?);
                }
                added.clone().min(scale(&(&cpu * &most)))
            }
            None => added.clone(),
        };
        let cpu = scale(&cpu);
        let time = &cpu.clone().min(&passed - &startup) + &of_run;
        let worked = CpuWork { time, cpu: &cpu + &of_run };
        Ok(Self { startup: &startup + &(&added - &of_run), worked: Some(worked) })
    }
}
