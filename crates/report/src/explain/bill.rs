//! Explanation of the bill of one invocation at the list price: every step, and what each
//! part pays for.

use super::figures::{Currency, TIED, amount, factor, metered};
use super::page::Page;
use super::steps;
use cyclometer_core::meter::{Meter, Usage};
use cyclometer_pricing::{
    ChargeTrace, Dimension, Exact, FactorTrace, Money, Phase, PriceModel, Refusal, Terms,
    UsageGroup, Waste,
};

const INDENT: usize = 4;

/// The bill of one invocation with all its parts.
#[derive(Debug, Clone)]
pub struct BillExplanation<'a> {
    pub(super) model: &'a PriceModel,
    pub(super) group: UsageGroup,
    pub(super) lines: Vec<BillLine>,
    pub(super) total: Money,
    pub(super) waste: Waste<Money>,
}

/// A line of the bill.
#[derive(Debug, Clone)]
pub(super) struct BillLine {
    pub trace: ChargeTrace,
    pub amount: Money,
    pub waste: Waste<Money>,
}

/// Bills one invocation at list prices, keeps every step, and splits each line by what it
/// pays for.
///
/// # Errors
///
/// Returns a refusal that names what the model needs and nobody measured.
pub fn explain_bill<'a>(
    model: &'a PriceModel,
    usage: &Usage,
    terms: &Terms,
) -> Result<BillExplanation<'a>, Refusal> {
    let bill = model.bill_under(usage, terms)?;
    let traces = model.invocation_traces(usage, terms)?;
    let wastes = model.waste(usage, terms)?;
    let mut waste = Waste::<Money>::default();
    let mut lines = Vec::new();
    // All three are in the order of the charges that count.
    for ((line, trace), (_, own)) in bill.lines.into_iter().zip(traces).zip(wastes) {
        waste += &own;
        lines.push(BillLine { trace, amount: line.amount, waste: own });
    }
    let group = UsageGroup {
        requests: Exact::from(1),
        usage: *usage,
        terms: terms.clone(),
        stretches: None,
    };
    Ok(BillExplanation { model, group, lines, total: bill.total, waste })
}

impl BillExplanation<'_> {
    /// Returns the exact total.
    #[must_use]
    pub const fn total(&self) -> &Money {
        &self.total
    }

    /// Returns the split of the total into used and wasted parts.
    #[must_use]
    pub const fn waste(&self) -> &Waste<Money> {
        &self.waste
    }

    /// Renders the whole calculation; no line is longer than 80 characters.
    #[must_use]
    pub fn text(&self) -> String {
        let mut page = Page::default();
        let model = self.model;
        let from = model.effective_from();
        page.text(
            0,
            &format!("{} ({}), from {from}, {}", model.name(), model.id(), model.currency()),
        );
        let used = steps::usage(model, &self.group).join(", ");
        let of = if used.is_empty() { String::new() } else { format!(": {used}") };
        page.text(0, &format!("one invocation at the list price{of}"));
        for line in self.lines.iter().filter(|line| !line.trace.quantity.is_zero()) {
            page.gap();
            self.line(&mut page, line);
        }
        page.gap();
        page.row(2, "total", "", &self.money(&self.total));
        self.decomposition(&mut page);
        if let Some(what) = model.uncertain() {
            page.gap();
            page.text(2, &format!("uncertain: {what}"));
        }
        if page.has_cut() {
            page.text(2, "~: cut to 15 digits; --format json has them all");
        }
        page.finish()
    }

    fn money(&self, money: &Money) -> String {
        Currency(self.model.currency()).exact(money.as_exact())
    }

    fn line(&self, page: &mut Page, line: &BillLine) {
        let charge = &line.trace.charge;
        let pool = &self.model.pools()[charge.pool()];
        page.text(2, &format!("{}, {}", charge.name(), charge.unit()));
        for part in &line.trace.parts {
            steps::factors(page, INDENT, &part.factors, (&part.each, charge.unit(), ""));
            if part.factors.iter().all(steps::is_one) {
                page.row(INDENT, "the request", "", &amount(&part.each, charge.unit()));
            }
        }
        let weight = charge.weight();
        if *weight != Exact::from(1) {
            let fed = &line.trace.quantity * weight;
            page.row(
                INDENT,
                &format!("x{TIED}{}", factor(weight)),
                "=",
                &amount(&fed, pool.unit()),
            );
        }
        let price = pool.tiers().first().map(|tier| tier.price.as_exact());
        let left =
            Currency(self.model.currency()).times(price.unwrap_or(&Exact::default()), pool.per());
        page.row(INDENT, &left, "=", &self.money(&line.amount));
    }

    fn decomposition(&self, page: &mut Page) {
        if self.total.is_zero() {
            return;
        }
        page.gap();
        page.text(2, "what it is for");
        for (name, part) in self.waste.parts() {
            if part.is_zero() {
                continue;
            }
            let share = part.as_exact().over(self.total.as_exact()).unwrap_or_default();
            let percent = (&share * &Exact::from(100)).rounded(1);
            page.row(INDENT, name, "", &format!("{} ({percent}{TIED}%)", self.money(part)));
            page.text(INDENT + 2, &self.reason(name));
        }
    }

    /// Explains in one line why a part exists.
    pub(super) fn reason(&self, part: &str) -> String {
        match part {
            "used" => self.used(),
            "idle" => {
                let billed = self.time_of(|waste| &waste.idle).unwrap_or_default();
                format!("{billed} billed, {}", self.cpu_of_run())
            }
            "headroom" => format!(
                "{} allocated, {} touched",
                self.metered(Meter::MemoryAllocated),
                self.metered(Meter::MemoryPeak)
            ),
            "rounding" => self.rounding(),
            "startup" => {
                let phases = [Phase::Create, Phase::Start].into_iter().filter_map(|phase| {
                    let span = phase.of(&self.group.usage.phases)?;
                    let read = self.model.phases().contains(&phase);
                    let time = metered(&Exact::from(span.0), Dimension::Time);
                    read.then(|| format!("{phase} {time}"))
                });
                let mut told: Vec<String> = phases.collect();
                if told.is_empty() {
                    told.push(format!("{} of CPU", self.metered(Meter::CpuStartup)));
                }
                format!("until the first instruction: {}", told.join(", "))
            }
            "fees" => {
                let fees = self.lines.iter().filter(|line| !line.waste.fees.is_zero());
                let names: Vec<&str> = fees.map(|line| line.trace.charge.name()).collect();
                format!("whatever it does: {}", names.join(", "))
            }
            _ => {
                let usage = &self.group.usage;
                let is_missing = |meter: &Meter| match meter {
                    // Where there is no CPU time, its parts do not matter.
                    Meter::CpuStartup => {
                        usage.get(Meter::CpuTime).is_some() && usage.cpu_of_run().is_none()
                    }
                    meter => usage.get(*meter).is_none(),
                };
                let missing = [Meter::CpuTime, Meter::CpuStartup, Meter::MemoryPeak]
                    .into_iter()
                    .filter(is_missing);
                let names: Vec<&str> = missing.map(Meter::name).collect();
                format!("used or not? not measured: {}", names.join(", "))
            }
        }
    }

    /// Describes the CPU time of the run.
    fn cpu_of_run(&self) -> String {
        let usage = &self.group.usage;
        match usage.cpu_of_run() {
            Some(cpu) if usage.get(Meter::CpuStartup).is_some() => {
                let cpu = metered(&Exact::from(cpu.0), Dimension::Time);
                format!("{cpu} of CPU after the start-up")
            }
            _ => format!("{} of CPU", self.metered(Meter::CpuTime)),
        }
    }

    fn used(&self) -> String {
        let usage = &self.group.usage;
        let used = |line: &&BillLine| !line.waste.used.is_zero();
        let last = |factor: &FactorTrace| amount(&factor.billed, &factor.unit);
        if let Some(line) = self.lines.iter().find(used)
            && self.time_of(|waste| &waste.used).is_none()
        {
            let factors = line.trace.parts.iter().flat_map(|part| &part.factors);
            let factors: Vec<String> = factors.map(last).collect();
            return format!("{}: {}", line.trace.charge.name(), factors.join(" x "));
        }
        let cpu = self.cpu_of_run();
        if usage.get(Meter::MemoryPeak).is_none() {
            return cpu;
        }
        format!("{cpu}, {} of memory touched", self.metered(Meter::MemoryPeak))
    }

    /// Describes the first step onto a grid or a minimum that adds something.
    fn rounding(&self) -> String {
        let lines = self.lines.iter().filter(|line| !line.waste.rounding.is_zero());
        let mut said: Vec<String> = Vec::new();
        for factor in lines.flat_map(|line| line.trace.parts.iter().flat_map(|it| &it.factors)) {
            for pair in factor.steps.windows(2) {
                let [before, after] = pair else { continue };
                let grid =
                    after.what.starts_with("up to the") || after.what.starts_with("at least");
                let text = format!(
                    "{} is billed as {}",
                    metered(&before.value, before.dimension),
                    metered(&after.value, after.dimension)
                );
                if grid && !said.contains(&text) {
                    said.push(text);
                }
            }
        }
        if said.is_empty() { "steps of a table".to_owned() } else { said.join(", ") }
    }

    /// Returns the billed time of the first charge with a non-zero `part`.
    fn time_of(&self, part: impl Fn(&Waste<Money>) -> &Money) -> Option<String> {
        let line = self.lines.iter().find(|line| !part(&line.waste).is_zero())?;
        let factors = line.trace.parts.iter().flat_map(|part| &part.factors);
        let wall = |factor: &&FactorTrace| {
            let time = factor.steps.last().is_some_and(|step| step.dimension == Dimension::Time);
            let phases = factor.steps.iter().any(|step| {
                step.read && step.what.split(" + ").any(|word| word == "wall" || is_phase(word))
            });
            time && phases
        };
        let step = factors.filter(wall).find_map(|factor| factor.steps.last())?;
        Some(metered(&step.value, Dimension::Time))
    }

    fn metered(&self, meter: Meter) -> String {
        self.group.usage.get(meter).map_or_else(
            || "an unknown amount".to_owned(),
            |value| metered(&Exact::from(value), Dimension::of(meter)),
        )
    }
}

fn is_phase(word: &str) -> bool {
    [Phase::Create, Phase::Start, Phase::Run, Phase::Teardown].iter().any(|it| it.name() == word)
}
