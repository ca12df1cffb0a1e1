//! Plan of the [decomposition](super::super::waste) in columns: the same definition, as sums of
//! products.

use std::sync::Arc;

use super::batch::Signal;
use super::op::Op;
use super::plan::{FactorPlan, Planned, Planner, Stop, Term, Value, parts};
use crate::charge::{Factor, Measure, Times};
use crate::number::Exact;
use crate::unit::Phase;
use crate::waste::{self, Role, Waste};
use cyclometer_core::meter::Meter;

/// Plan for splitting the quantity of a charge.
#[derive(Debug, Clone)]
pub(super) enum SplitPlan {
    /// The whole quantity is a fee.
    Fee,
    /// The charge is on what was used; `raw` is the sum before its grid.
    Used { raw: Term },
    /// The charge is on time.
    Time(Box<TimeSplit>),
}

/// Sums of a charge on time: before grids (`raw`), until the first instruction (`startup`), of
/// runs whose CPU time is not known (`unknown`), while a CPU worked (`busy`), and of memory that
/// was touched meanwhile (`touched`).
#[derive(Debug, Clone)]
pub(super) struct TimeSplit {
    raw: Term,
    startup: Term,
    unknown: Option<Term>,
    busy: Option<Term>,
    touched: Option<Term>,
}

impl SplitPlan {
    /// Returns the indices of the sums that the plan reads.
    pub(super) fn sums(&self) -> Vec<usize> {
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
    pub(super) fn read(&self, billed: &Exact, sum: impl Fn(&Term) -> Exact) -> Waste<Exact> {
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
struct Product {
    columns: Vec<usize>,
    scale: Exact,
}

impl Product {
    fn one() -> Self {
        Self { columns: Vec::new(), scale: Exact::from(1) }
    }

    fn with(&self, column: usize, scale: &Exact) -> Self {
        let mut product = self.clone();
        product.columns.push(column);
        product.scale = &product.scale * scale;
        product
    }

    /// Multiplies by a factor's value, in the factor's unit.
    fn times(&mut self, value: &Value, size: &Exact) {
        let scale = match value {
            Value::Column { at, per } => {
                self.columns.push(*at);
                Exact::from(*per).reciprocal().unwrap_or_default()
            }
            Value::Constant(value) => value.clone(),
        };
        self.scale = (&self.scale * &scale).over(size).unwrap_or_default();
    }
}

type Slot<'a> = Option<(&'a Factor, &'a Value)>;

impl Planner<'_> {
    pub(super) fn split(&mut self, factors: &[(&Factor, FactorPlan)]) -> Planned<SplitPlan> {
        let mut others = Product::one();
        let (mut time, mut memory, mut cpu): (Slot<'_>, Slot<'_>, Slot<'_>) = (None, None, None);
        let mut used = false;
        for (factor, plan) in factors {
            let slot = match Role::of(factor) {
                Role::Time => &mut time,
                Role::Memory => &mut memory,
                Role::Cpu => &mut cpu,
                role => {
                    used |= role == Role::Used;
                    others.times(&plan.raw, &factor.size);
                    continue;
                }
            };
            match slot {
                None => *slot = Some((factor, &plan.raw)),
                Some(_) => others.times(&plan.raw, &factor.size),
            }
        }
        let mut with_memory = others.clone();
        if let Some((factor, value)) = memory {
            with_memory.times(value, &factor.size);
        }
        let mut each = with_memory.clone();
        if let Some((factor, value)) = cpu {
            each.times(value, &factor.size);
        }
        let Some((factor, value)) = time else {
            let raw = self.term(each);
            return Ok(if used { SplitPlan::Used { raw } } else { SplitPlan::Fee });
        };
        let clock = self.clock(factor, value)?;
        let raw = self.term(each.with(clock.time, &clock.scale));
        let startup = self.term(each.with(clock.startup, &clock.scale));
        let Some(worked) = &clock.worked else {
            let split = TimeSplit { raw, startup, unknown: None, busy: None, touched: None };
            return Ok(SplitPlan::Time(Box::new(split)));
        };
        let unknown = worked.unknown.map(|at| self.term(each.with(at, &clock.scale)));
        let (column, scale) = match cpu {
            Some((factor, value)) => self.worked_share(factor, value, &clock, worked.cpu)?,
            None => (worked.time, clock.scale.clone()),
        };
        let touched = self.touched(&others, &with_memory, memory)?;
        let touched = touched.map(|product| self.term(product.with(column, &scale)));
        let busy = Some(self.term(with_memory.with(column, &scale)));
        Ok(SplitPlan::Time(Box::new(TimeSplit { raw, startup, unknown, busy, touched })))
    }

    fn term(&mut self, product: Product) -> Term {
        Term { sum: self.shared.sum(product.columns), scale: product.scale }
    }

    /// Plans the product with memory as far as it was touched; `None`: not measured.
    fn touched(
        &mut self,
        others: &Product,
        with_memory: &Product,
        memory: Slot<'_>,
    ) -> Planned<Option<Product>> {
        let Some((factor, value)) = memory else { return Ok(Some(with_memory.clone())) };
        let peak = Signal::Meter(Meter::MemoryPeak);
        if !self.present.has(peak) {
            return Ok(None);
        }
        let (at, per) = self.column(value)?;
        // memory = column / (per x size), peak / memory_size: over one denominator.
        let unit = &Exact::from(per) * &factor.size;
        let (up, down) = parts(&unit.over(&waste::memory_size(factor)).unwrap_or_default())?;
        let peak = self.shared.columns.add(Op::Read(peak));
        let (peak, given) = (self.by(peak, up), self.by(at, down));
        let least = self.shared.columns.add(Op::Min(peak, given));
        let whole = &unit * &Exact::from(down);
        Ok(Some(others.with(least, &whole.reciprocal().unwrap_or_default())))
    }

    /// Plans a share of CPUs x the time for which it was allocated, as far as CPUs worked in it.
    fn worked_share(
        &mut self,
        factor: &Factor,
        value: &Value,
        clock: &ClockPlan,
        cpu: usize,
    ) -> Planned<(usize, Exact)> {
        let (share, per) = self.column(value)?;
        let running = self.shared.columns.add(Op::Sub(clock.time, clock.startup));
        let given = self.shared.columns.add(Op::Product(share, running));
        let unit = &Exact::from(per) * &factor.size;
        let one = (&unit * &Exact::from(1000)).over(&waste::cpu_size(factor)).unwrap_or_default();
        let worked = self.by(cpu, one.to_u64().ok_or(Stop::Slow)?);
        let least = self.shared.columns.add(Op::Min(given, worked));
        Ok((least, clock.scale.over(&unit).unwrap_or_default()))
    }

    fn column(&mut self, value: &Value) -> Planned<(usize, u64)> {
        let per = match value {
            Value::Column { at, per } => return Ok((*at, *per)),
            Value::Constant(value) => parts(value)?.1,
        };
        Ok((self.over(value, per)?, per))
    }

    /// Plans time, start-up and work as columns over one denominator.
    fn clock(&mut self, factor: &Factor, value: &Value) -> Planned<ClockPlan> {
        let (time, per) = self.column(value)?;
        let by = self.multiplier(&factor.times)?;
        let (before, passed) = self.passed(factor, time, per, &by)?;
        let startup = self.shared.columns.add(Op::Min(before, passed));
        let scale = (&Exact::from(per) * &factor.size).reciprocal().unwrap_or_default();
        let Some(cpu) = self.cpu_of_run() else {
            return Ok(ClockPlan { time, startup, worked: None, scale });
        };
        // Metered nanoseconds x this are columns of the same denominator.
        let whole = |by: &Exact| (by * &Exact::from(per)).to_u64().ok_or(Stop::Slow);
        let mut clock = self.worked(cpu, whole(&by)?, [startup, passed]);
        if passed == time {
            self.unknown(&mut clock, cpu, time, startup);
            return Ok(ClockPlan { time, startup, worked: Some(clock), scale });
        }
        let added = self.shared.columns.add(Op::Sub(time, passed));
        let of_run = match waste::added_by_cpu(&factor.measure) {
            Some(several) => {
                let mut most = Exact::default();
                for times in several {
                    most = most.max(self.multiplier(times)?);
                }
                let at = self.by(cpu.known, whole(&(&most * &by))?);
                self.shared.columns.add(Op::Min(added, at))
            }
            None => self.known(added, cpu),
        };
        clock.time = self.shared.columns.add(Op::Add(clock.time, of_run));
        clock.cpu = self.shared.columns.add(Op::Add(clock.cpu, of_run));
        // The rest belongs to the start-up, where that is known.
        let added = self.known(added, cpu);
        let beyond = self.shared.columns.add(Op::Sub(added, of_run));
        let startup = self.shared.columns.add(Op::Add(startup, beyond));
        self.unknown(&mut clock, cpu, time, startup);
        Ok(ClockPlan { time, startup, worked: Some(clock), scale })
    }

    /// Plans the CPU time of the run; 0 in rows where it is not known. `None`: not known in any
    /// row.
    fn cpu_of_run(&mut self) -> Option<Cpu> {
        let [cpu, before] = [Meter::CpuTime, Meter::CpuStartup].map(Signal::Meter);
        if !self.present.has(cpu) {
            return None;
        }
        let cpu = self.shared.columns.add(Op::Read(cpu));
        if self.present.has(before) {
            let before = self.shared.columns.add(Op::Read(before));
            let known = self.shared.columns.add(Op::Sub(cpu, before));
            return Some(Cpu { known, is_known: None });
        }
        let Some(span) = self.spans(&[Phase::Create, Phase::Start]) else {
            return Some(Cpu { known: cpu, is_known: None });
        };
        let some = self.shared.columns.add(Op::Rank(span, Arc::from([0])));
        let none = self.shared.columns.add(Op::Pick(some, Arc::from([1, 0])));
        let known = self.shared.columns.add(Op::Product(none, cpu));
        Some(Cpu { known, is_known: Some([some, none]) })
    }

    /// Returns the column where the CPU time of the run is known, and 0 elsewhere.
    fn known(&mut self, at: usize, cpu: Cpu) -> usize {
        match cpu.is_known {
            Some([_, known]) => self.shared.columns.add(Op::Product(known, at)),
            None => at,
        }
    }

    fn worked(&mut self, cpu: Cpu, whole: u64, [startup, passed]: [usize; 2]) -> WorkedPlan {
        let cpu = self.by(cpu.known, whole);
        let run = self.shared.columns.add(Op::Sub(passed, startup));
        let time = self.shared.columns.add(Op::Min(cpu, run));
        WorkedPlan { time, cpu, unknown: None }
    }

    /// Plans the rest of the time where the CPU time of the run is not known.
    fn unknown(&mut self, worked: &mut WorkedPlan, cpu: Cpu, time: usize, startup: usize) {
        worked.unknown = cpu.is_known.map(|[unknown, _]| {
            let running = self.shared.columns.add(Op::Sub(time, startup));
            self.shared.columns.add(Op::Product(unknown, running))
        });
    }

    /// Plans the sum of those phases that were measured; `None`: none was.
    fn spans(&mut self, phases: &[Phase]) -> Option<usize> {
        let mut sum = None;
        for phase in phases {
            if self.present.has(Signal::Phase(*phase)) {
                let read = self.shared.columns.add(Op::Read(Signal::Phase(*phase)));
                sum = Some(match sum {
                    Some(sum) => self.shared.columns.add(Op::Add(sum, read)),
                    None => read,
                });
            }
        }
        sum
    }

    /// Plans the part of a measure that is before the first instruction.
    fn before(&mut self, measure: &Measure, whole: u64) -> usize {
        match self.spans(&waste::startup_phases(measure)) {
            Some(at) => self.by(at, whole),
            None => self.shared.columns.add(Op::Const(0)),
        }
    }

    /// Plans the elapsed time, without the amount that an alternative such as 8 x CPU time adds,
    /// and its part before the first instruction; returns the latter first.
    fn passed(
        &mut self,
        factor: &Factor,
        time: usize,
        per: u64,
        by: &Exact,
    ) -> Planned<(usize, usize)> {
        let whole = |by: &Exact| (by * &Exact::from(per)).to_u64().ok_or(Stop::Slow);
        let Measure::MaxOf(several) = &factor.measure else {
            return Ok((self.before(&factor.measure, whole(by)?), time));
        };
        let (mut first, mut longest) = (None, None);
        for (measure, times) in several.iter().filter(|(measure, _)| waste::is_wall(measure)) {
            let own = whole(&(&self.multiplier(times)? * by))?;
            let before = self.before(measure, own);
            let read = self.plain(measure)?;
            let read = self.by(read, own);
            first = Some(self.longer(first, before));
            longest = Some(self.longer(longest, read));
        }
        let (Some(first), Some(longest)) = (first, longest) else {
            let nothing = self.shared.columns.add(Op::Const(0));
            return Ok((nothing, nothing));
        };
        Ok((first, self.shared.columns.add(Op::Min(longest, time))))
    }

    fn longer(&mut self, longest: Option<usize>, at: usize) -> usize {
        match longest {
            Some(longest) => self.shared.columns.add(Op::Max(longest, at)),
            None => at,
        }
    }

    fn plain(&mut self, measure: &Measure) -> Planned<usize> {
        let phases: Vec<Phase> = match measure {
            Measure::Phases(phases) => phases.to_vec(),
            Measure::Meter(meter) => {
                return Ok(self.shared.columns.add(Op::Read(Signal::Meter(*meter))));
            }
            _ => return Err(Stop::Slow),
        };
        let mut sum = self.shared.columns.add(Op::Const(0));
        for phase in phases.into_iter().filter(|it| self.present.has(Signal::Phase(*it))) {
            let read = self.shared.columns.add(Op::Read(Signal::Phase(phase)));
            sum = self.shared.columns.add(Op::Add(sum, read));
        }
        Ok(sum)
    }

    fn multiplier(&self, times: &Times) -> Planned<Exact> {
        let usage = cyclometer_core::meter::Usage::new(false);
        let scene = crate::evaluate::Scene { model: self.model, usage: &usage, terms: self.terms };
        Ok(scene.multiplier(times)?)
    }
}

/// Columns of a time factor; value = column x scale, in the factor's unit.
struct ClockPlan {
    time: usize,
    startup: usize,
    /// Work of CPUs; `None`: not measured in any row.
    worked: Option<WorkedPlan>,
    scale: Exact,
}

/// Work of CPUs after the first instruction.
struct WorkedPlan {
    /// Time in which a CPU worked.
    time: usize,
    /// CPU time on all CPUs.
    cpu: usize,
    /// Time of rows where the CPU time is not known; `None`: known in all rows.
    unknown: Option<usize>,
}

/// Columns of the CPU time of the run.
#[derive(Clone, Copy)]
struct Cpu {
    /// CPU time; 0 in rows where it is not known.
    known: usize,
    /// Columns that are 1 where it is not known, and where it is known; `None`: it is known in
    /// all rows.
    is_known: Option<[usize; 2]>,
}
