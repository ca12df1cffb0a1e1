//! Plan of the [decomposition](super::super::waste) in columns: the same definition, as sums of
//! products.

use std::sync::Arc;

use super::batch::Signal;
use super::op::Op;
use super::plan::{
    FactorPlan, PlanFailure, PlanResult, PlannedValue, Planner, ScaledSum, fraction_parts,
};
use crate::charge::{Factor, Measure, Multiplier};
use crate::number::Exact;
use crate::unit::Phase;
use crate::waste::{self, FactorRole, Waste};
use cyclometer_core::meter::Meter;

/// Plan for splitting the quantity of a charge.
#[derive(Debug, Clone)]
pub(super) enum SplitPlan {
    /// The whole quantity is a fee.
    Fee,
    /// The charge is on what was used; `raw` is the sum before its grid.
    Used { raw: ScaledSum },
    /// The charge is on time.
    Time(Box<TimeSplit>),
}

/// Sums of a charge on time: before grids (`raw`), until the first instruction (`startup`), of
/// runs whose CPU time is not known (`unknown`), while a CPU worked (`busy`), and of memory that
/// was touched meanwhile (`touched`).
#[derive(Debug, Clone)]
pub(super) struct TimeSplit {
    raw: ScaledSum,
    startup: ScaledSum,
    unknown: Option<ScaledSum>,
    busy: Option<ScaledSum>,
    touched: Option<ScaledSum>,
}

impl SplitPlan {
    /// Returns the indices of the sums that the plan reads.
    pub(super) fn sum_indices(&self) -> Vec<usize> {
        match self {
            Self::Fee => Vec::new(),
            Self::Used { raw } => vec![raw.sum],
            Self::Time(split) => {
                let TimeSplit { raw, startup, unknown, busy, touched } = &**split;
                let few = [unknown.as_ref(), busy.as_ref(), touched.as_ref()];
                let terms = [Some(raw), Some(startup)].into_iter().chain(few);
                terms.flatten().map(|term| term.sum).collect()
            }
        }
    }

    /// Computes the parts from the sums over all rows.
    pub(super) fn collect_waste(
        &self,
        billed: &Exact,
        sum: impl Fn(&ScaledSum) -> Exact,
    ) -> Waste<Exact> {
        let mut waste = Waste::default();
        match self {
            Self::Fee => waste.fees = billed.clone(),
            Self::Used { raw } => {
                waste.used = sum(raw);
                waste.rounding = billed - &waste.used;
            }
            Self::Time(split) => {
                let TimeSplit { raw, startup, unknown, busy, touched } = &**split;
                let raw = sum(raw);
                waste.rounding = billed - &raw;
                waste.startup = sum(startup);
                let unknown = unknown.as_ref().map(&sum).unwrap_or_default();
                let running = &(&raw - &waste.startup) - &unknown;
                waste.unmeasured = unknown;
                match (busy.as_ref().map(&sum), touched.as_ref().map(&sum)) {
                    (None, _) => waste.unmeasured += &running,
                    (Some(busy), None) => {
                        waste.idle = &running - &busy;
                        waste.unmeasured += &busy;
                    }
                    (Some(busy), Some(touched)) => {
                        waste.idle = &running - &busy;
                        waste.headroom = &busy - &touched;
                        waste.used = touched;
                    }
                }
            }
        }
        waste
    }
}

/// A product of columns under construction.
#[derive(Clone)]
struct ColumnProduct {
    columns: Vec<usize>,
    scale: Exact,
}

impl ColumnProduct {
    fn identity() -> Self {
        Self { columns: Vec::new(), scale: Exact::from(1) }
    }

    fn with_column(&self, column: usize, scale: &Exact) -> Self {
        let mut product = self.clone();
        product.columns.push(column);
        product.scale = &product.scale * scale;
        product
    }

    /// Multiplies by a factor's value, in the factor's unit.
    fn multiply_value(&mut self, value: &PlannedValue, size: &Exact) {
        let scale = match value {
            PlannedValue::Column { at, per } => {
                self.columns.push(*at);
                Exact::from(*per).reciprocal().unwrap_or_default()
            }
            PlannedValue::Constant(value) => value.clone(),
        };
        self.scale = (&self.scale * &scale).checked_div(size).unwrap_or_default();
    }
}

type FactorSlot<'a> = Option<(&'a Factor, &'a PlannedValue)>;

impl Planner<'_> {
    pub(super) fn plan_split(
        &mut self,
        factors: &[(&Factor, FactorPlan)],
    ) -> PlanResult<SplitPlan> {
        let mut others = ColumnProduct::identity();
        let (mut time, mut memory, mut cpu): (FactorSlot<'_>, FactorSlot<'_>, FactorSlot<'_>) =
            (None, None, None);
        let mut used = false;
        for (factor, plan) in factors {
            let slot = match FactorRole::for_factor(factor) {
                FactorRole::Time => &mut time,
                FactorRole::Memory => &mut memory,
                FactorRole::Cpu => &mut cpu,
                role => {
                    used |= role == FactorRole::Used;
                    others.multiply_value(&plan.raw, &factor.size);
                    continue;
                }
            };
            match slot {
                None => *slot = Some((factor, &plan.raw)),
                Some(_) => others.multiply_value(&plan.raw, &factor.size),
            }
        }
        let mut with_memory = others.clone();
        if let Some((factor, value)) = memory {
            with_memory.multiply_value(value, &factor.size);
        }
        let mut each = with_memory.clone();
        if let Some((factor, value)) = cpu {
            each.multiply_value(value, &factor.size);
        }
        let Some((factor, value)) = time else {
            let raw = self.add_term(each);
            return Ok(if used { SplitPlan::Used { raw } } else { SplitPlan::Fee });
        };
        let clock = self.plan_time_parts(factor, value)?;
        let raw = self.add_term(each.with_column(clock.time, &clock.scale));
        let startup = self.add_term(each.with_column(clock.startup, &clock.scale));
        let Some(worked) = &clock.worked else {
            let split = TimeSplit { raw, startup, unknown: None, busy: None, touched: None };
            return Ok(SplitPlan::Time(Box::new(split)));
        };
        let unknown = worked.unknown.map(|at| self.add_term(each.with_column(at, &clock.scale)));
        let (column, scale) = match cpu {
            Some((factor, value)) => self.plan_worked_share(factor, value, &clock, worked.cpu)?,
            None => (worked.time, clock.scale.clone()),
        };
        let touched = self.plan_touched_memory(&others, &with_memory, memory)?;
        let touched = touched.map(|product| self.add_term(product.with_column(column, &scale)));
        let busy = Some(self.add_term(with_memory.with_column(column, &scale)));
        Ok(SplitPlan::Time(Box::new(TimeSplit { raw, startup, unknown, busy, touched })))
    }

    fn add_term(&mut self, product: ColumnProduct) -> ScaledSum {
        ScaledSum { sum: self.shared.intern_sum(product.columns), scale: product.scale }
    }

    /// Plans the product with memory as far as it was touched; `None`: not measured.
    fn plan_touched_memory(
        &mut self,
        others: &ColumnProduct,
        with_memory: &ColumnProduct,
        memory: FactorSlot<'_>,
    ) -> PlanResult<Option<ColumnProduct>> {
        let Some((factor, value)) = memory else { return Ok(Some(with_memory.clone())) };
        let peak = Signal::Meter(Meter::MemoryPeak);
        if !self.present.contains(peak) {
            return Ok(None);
        }
        let (at, per) = self.column_and_denominator(value)?;
        // memory = column / (per x size), peak / memory_size: over one denominator.
        let unit = &Exact::from(per) * &factor.size;
        let (up, down) =
            fraction_parts(&unit.checked_div(&waste::memory_size(factor)).unwrap_or_default())?;
        let peak = self.shared.columns.intern_op(Op::Read(peak));
        let (peak, given) = (self.multiply_column(peak, up), self.multiply_column(at, down));
        let least = self.shared.columns.intern_op(Op::Min(peak, given));
        let whole = &unit * &Exact::from(down);
        Ok(Some(others.with_column(least, &whole.reciprocal().unwrap_or_default())))
    }

    /// Plans a share of CPUs x the time for which it was allocated, as far as CPUs worked in it.
    fn plan_worked_share(
        &mut self,
        factor: &Factor,
        value: &PlannedValue,
        clock: &TimePartsPlan,
        cpu: usize,
    ) -> PlanResult<(usize, Exact)> {
        let (share, per) = self.column_and_denominator(value)?;
        let running = self.shared.columns.intern_op(Op::Sub(clock.time, clock.startup));
        let given = self.shared.columns.intern_op(Op::Product(share, running));
        let unit = &Exact::from(per) * &factor.size;
        let one =
            (&unit * &Exact::from(1000)).checked_div(&waste::cpu_size(factor)).unwrap_or_default();
        let worked = self.multiply_column(cpu, one.to_u64().ok_or(PlanFailure::NotInColumns)?);
        let least = self.shared.columns.intern_op(Op::Min(given, worked));
        Ok((least, clock.scale.checked_div(&unit).unwrap_or_default()))
    }

    fn column_and_denominator(&mut self, value: &PlannedValue) -> PlanResult<(usize, u64)> {
        let per = match value {
            PlannedValue::Column { at, per } => return Ok((*at, *per)),
            PlannedValue::Constant(value) => fraction_parts(value)?.1,
        };
        Ok((self.column_over_denominator(value, per)?, per))
    }

    /// Plans time, start-up and work as columns over one denominator.
    fn plan_time_parts(
        &mut self,
        factor: &Factor,
        value: &PlannedValue,
    ) -> PlanResult<TimePartsPlan> {
        let (time, per) = self.column_and_denominator(value)?;
        let by = self.resolve_multiplier(&factor.times)?;
        let (before, passed) = self.plan_elapsed_time(factor, time, per, &by)?;
        let startup = self.shared.columns.intern_op(Op::Min(before, passed));
        let scale = (&Exact::from(per) * &factor.size).reciprocal().unwrap_or_default();
        let Some(cpu) = self.plan_cpu_of_run() else {
            return Ok(TimePartsPlan { time, startup, worked: None, scale });
        };
        // Metered nanoseconds x this are columns of the same denominator.
        let whole = |by: &Exact| (by * &Exact::from(per)).to_u64().ok_or(PlanFailure::NotInColumns);
        let mut clock = self.plan_cpu_work(cpu, whole(&by)?, [startup, passed]);
        if passed == time {
            self.add_unknown_time(&mut clock, cpu, time, startup);
            return Ok(TimePartsPlan { time, startup, worked: Some(clock), scale });
        }
        let added = self.shared.columns.intern_op(Op::Sub(time, passed));
        let of_run = match waste::added_by_cpu(&factor.measure) {
            Some(several) => {
                let mut most = Exact::default();
                for times in several {
                    most = most.max(self.resolve_multiplier(times)?);
                }
                let at = self.multiply_column(cpu.known, whole(&(&most * &by))?);
                self.shared.columns.intern_op(Op::Min(added, at))
            }
            None => self.mask_known_rows(added, cpu),
        };
        clock.time = self.shared.columns.intern_op(Op::Add(clock.time, of_run));
        clock.cpu = self.shared.columns.intern_op(Op::Add(clock.cpu, of_run));
        // The rest belongs to the start-up, where that is known.
        let added = self.mask_known_rows(added, cpu);
        let beyond = self.shared.columns.intern_op(Op::Sub(added, of_run));
        let startup = self.shared.columns.intern_op(Op::Add(startup, beyond));
        self.add_unknown_time(&mut clock, cpu, time, startup);
        Ok(TimePartsPlan { time, startup, worked: Some(clock), scale })
    }

    /// Plans the CPU time of the run; 0 in rows where it is not known. `None`: not known in any
    /// row.
    fn plan_cpu_of_run(&mut self) -> Option<RunCpuColumns> {
        let [cpu, before] = [Meter::CpuTime, Meter::CpuStartup].map(Signal::Meter);
        if !self.present.contains(cpu) {
            return None;
        }
        let cpu = self.shared.columns.intern_op(Op::Read(cpu));
        if self.present.contains(before) {
            let before = self.shared.columns.intern_op(Op::Read(before));
            let known = self.shared.columns.intern_op(Op::Sub(cpu, before));
            return Some(RunCpuColumns { known, is_known: None });
        }
        let Some(span) = self.sum_measured_phases(&[Phase::Create, Phase::Start]) else {
            return Some(RunCpuColumns { known: cpu, is_known: None });
        };
        let some = self.shared.columns.intern_op(Op::Rank(span, Arc::from([0])));
        let none = self.shared.columns.intern_op(Op::Pick(some, Arc::from([1, 0])));
        let known = self.shared.columns.intern_op(Op::Product(none, cpu));
        Some(RunCpuColumns { known, is_known: Some([some, none]) })
    }

    /// Returns the column where the CPU time of the run is known, and 0 elsewhere.
    fn mask_known_rows(&mut self, at: usize, cpu: RunCpuColumns) -> usize {
        match cpu.is_known {
            Some([_, known]) => self.shared.columns.intern_op(Op::Product(known, at)),
            None => at,
        }
    }

    fn plan_cpu_work(
        &mut self,
        cpu: RunCpuColumns,
        whole: u64,
        [startup, passed]: [usize; 2],
    ) -> CpuWorkPlan {
        let cpu = self.multiply_column(cpu.known, whole);
        let run = self.shared.columns.intern_op(Op::Sub(passed, startup));
        let time = self.shared.columns.intern_op(Op::Min(cpu, run));
        CpuWorkPlan { time, cpu, unknown: None }
    }

    /// Plans the rest of the time where the CPU time of the run is not known.
    fn add_unknown_time(
        &mut self,
        worked: &mut CpuWorkPlan,
        cpu: RunCpuColumns,
        time: usize,
        startup: usize,
    ) {
        worked.unknown = cpu.is_known.map(|[unknown, _]| {
            let running = self.shared.columns.intern_op(Op::Sub(time, startup));
            self.shared.columns.intern_op(Op::Product(unknown, running))
        });
    }

    /// Plans the sum of those phases that were measured; `None`: none was.
    fn sum_measured_phases(&mut self, phases: &[Phase]) -> Option<usize> {
        let mut sum = None;
        for phase in phases {
            if self.present.contains(Signal::Phase(*phase)) {
                let read = self.shared.columns.intern_op(Op::Read(Signal::Phase(*phase)));
                sum = Some(match sum {
                    Some(sum) => self.shared.columns.intern_op(Op::Add(sum, read)),
                    None => read,
                });
            }
        }
        sum
    }

    /// Plans the part of a measure that is before the first instruction.
    fn plan_startup_time(&mut self, measure: &Measure, whole: u64) -> usize {
        match self.sum_measured_phases(&waste::startup_phases(measure)) {
            Some(at) => self.multiply_column(at, whole),
            None => self.shared.columns.intern_op(Op::Const(0)),
        }
    }

    /// Plans the elapsed time, without the amount that an alternative such as 8 x CPU time adds,
    /// and its part before the first instruction; returns the latter first.
    fn plan_elapsed_time(
        &mut self,
        factor: &Factor,
        time: usize,
        per: u64,
        by: &Exact,
    ) -> PlanResult<(usize, usize)> {
        let whole = |by: &Exact| (by * &Exact::from(per)).to_u64().ok_or(PlanFailure::NotInColumns);
        let Measure::MaxOf(several) = &factor.measure else {
            return Ok((self.plan_startup_time(&factor.measure, whole(by)?), time));
        };
        let (mut first, mut longest) = (None, None);
        for (measure, times) in several.iter().filter(|(measure, _)| waste::is_wall_time(measure)) {
            let own = whole(&(&self.resolve_multiplier(times)? * by))?;
            let before = self.plan_startup_time(measure, own);
            let read = self.plan_wall_measure(measure)?;
            let read = self.multiply_column(read, own);
            first = Some(self.max_column(first, before));
            longest = Some(self.max_column(longest, read));
        }
        let (Some(first), Some(longest)) = (first, longest) else {
            let nothing = self.shared.columns.intern_op(Op::Const(0));
            return Ok((nothing, nothing));
        };
        Ok((first, self.shared.columns.intern_op(Op::Min(longest, time))))
    }

    fn max_column(&mut self, longest: Option<usize>, at: usize) -> usize {
        match longest {
            Some(longest) => self.shared.columns.intern_op(Op::Max(longest, at)),
            None => at,
        }
    }

    fn plan_wall_measure(&mut self, measure: &Measure) -> PlanResult<usize> {
        let phases: Vec<Phase> = match measure {
            Measure::Phases(phases) => phases.to_vec(),
            Measure::Meter(meter) => {
                return Ok(self.shared.columns.intern_op(Op::Read(Signal::Meter(*meter))));
            }
            _ => return Err(PlanFailure::NotInColumns),
        };
        let mut sum = self.shared.columns.intern_op(Op::Const(0));
        for phase in phases.into_iter().filter(|it| self.present.contains(Signal::Phase(*it))) {
            let read = self.shared.columns.intern_op(Op::Read(Signal::Phase(phase)));
            sum = self.shared.columns.intern_op(Op::Add(sum, read));
        }
        Ok(sum)
    }

    fn resolve_multiplier(&self, times: &Multiplier) -> PlanResult<Exact> {
        let usage = cyclometer_core::meter::Usage::new(false);
        let scene =
            crate::evaluate::EvalContext { model: self.model, usage: &usage, terms: self.terms };
        Ok(scene.resolve_multiplier(times)?)
    }
}

/// Columns of a time factor; value = column x scale, in the factor's unit.
struct TimePartsPlan {
    time: usize,
    startup: usize,
    /// Work of CPUs; `None`: not measured in any row.
    worked: Option<CpuWorkPlan>,
    scale: Exact,
}

/// Work of CPUs after the first instruction.
struct CpuWorkPlan {
    /// Time in which a CPU worked.
    time: usize,
    /// CPU time on all CPUs.
    cpu: usize,
    /// Time of rows where the CPU time is not known; `None`: known in all rows.
    unknown: Option<usize>,
}

/// Columns of the CPU time of the run.
#[derive(Clone, Copy)]
struct RunCpuColumns {
    /// CPU time; 0 in rows where it is not known.
    known: usize,
    /// Columns that are 1 where it is not known, and where it is known; `None`: it is known in
    /// all rows.
    is_known: Option<[usize; 2]>,
}
