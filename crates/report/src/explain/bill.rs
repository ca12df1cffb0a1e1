//! Explanation of the bill of one invocation at the list price: every step, and what each
//! part pays for.

use super::contract::{describe_period_terms, write_contract_head, write_price_steps};
use super::number_format::{CurrencyFormat, TIED, format_amount, format_factor, format_metered};
use super::page::TextPage;
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
    let wastes = model.waste_by_charge(usage, terms)?;
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
        instance_spans: None,
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
    pub fn to_text(&self) -> String {
        let mut page = TextPage::default();
        let model = self.model;
        let from = model.effective_from();
        page.add_text(
            0,
            &format!("{} ({}), from {from}, {}", model.name(), model.id(), model.currency()),
        );
        write_contract_head(&mut page, model, None);
        let used = steps::list_usage(model, &self.group).join(", ");
        let of = if used.is_empty() { String::new() } else { format!(": {used}") };
        page.add_text(0, &format!("one invocation at the list price{of}"));
        for line in self.lines.iter().filter(|line| !line.trace.quantity.is_zero()) {
            page.add_gap();
            self.write_line(&mut page, line);
        }
        page.add_gap();
        page.add_row(2, "total", "", &self.format_money(&self.total));
        if let Some(text) = model.contract().and_then(describe_period_terms) {
            page.add_text(2, &text);
        }
        self.write_decomposition(&mut page);
        if let Some(what) = model.uncertainty_note() {
            page.add_gap();
            page.add_text(2, &format!("uncertain: {what}"));
        }
        if page.has_cut() {
            page.add_text(2, "~: cut to 15 digits; --format json has them all");
        }
        page.into_text()
    }

    fn format_money(&self, money: &Money) -> String {
        CurrencyFormat(self.model.currency()).format_exact(money.as_exact())
    }

    fn write_line(&self, page: &mut TextPage, line: &BillLine) {
        let charge = &line.trace.charge;
        let pool = &self.model.pools()[charge.pool_index()];
        page.add_text(2, &format!("{}, {}", charge.name(), charge.unit()));
        for part in &line.trace.parts {
            steps::write_factors(
                page,
                INDENT,
                &part.factors,
                (&part.quantity_each, charge.unit(), ""),
            );
            if part.factors.iter().all(steps::is_one) {
                page.add_row(
                    INDENT,
                    "the request",
                    "",
                    &format_amount(&part.quantity_each, charge.unit()),
                );
            }
        }
        let weight = charge.pool_weight();
        if *weight != Exact::from(1) {
            let fed = &line.trace.quantity * weight;
            page.add_row(
                INDENT,
                &format!("x{TIED}{}", format_factor(weight)),
                "=",
                &format_amount(&fed, pool.unit()),
            );
        }
        write_price_steps(page, self.model, charge.pool_index());
        let price = pool.tiers().first().map(|tier| tier.price.as_exact());
        let left = CurrencyFormat(self.model.currency())
            .format_price(price.unwrap_or(&Exact::default()), pool.units_per_price());
        page.add_row(INDENT, &left, "=", &self.format_money(&line.amount));
    }

    fn write_decomposition(&self, page: &mut TextPage) {
        if self.total.is_zero() {
            return;
        }
        page.add_gap();
        page.add_text(2, "what it is for");
        for (name, part) in self.waste.named_parts() {
            if part.is_zero() {
                continue;
            }
            let share = part.as_exact().checked_div(self.total.as_exact()).unwrap_or_default();
            let percent = (&share * &Exact::from(100)).to_rounded_string(1);
            page.add_row(
                INDENT,
                name,
                "",
                &format!("{} ({percent}{TIED}%)", self.format_money(part)),
            );
            page.add_text(INDENT + 2, &self.explain_part(name));
        }
    }

    /// Explains in one line why a part exists.
    pub(super) fn explain_part(&self, part: &str) -> String {
        match part {
            "used" => self.explain_used(),
            "idle" => {
                let billed = self.billed_time_of(|waste| &waste.idle).unwrap_or_default();
                format!("{billed} billed, {}", self.describe_run_cpu())
            }
            "headroom" => format!(
                "{} allocated, {} touched",
                self.format_meter(Meter::MemoryAllocated),
                self.format_meter(Meter::MemoryPeak)
            ),
            "rounding" => self.explain_rounding(),
            "startup" => {
                let phases = [Phase::Create, Phase::Start].into_iter().filter_map(|phase| {
                    let span = phase.duration_in(&self.group.usage.phases)?;
                    let read = self.model.used_phases().contains(&phase);
                    let time = format_metered(&Exact::from(span.0), Dimension::Time);
                    read.then(|| format!("{phase} {time}"))
                });
                let mut told: Vec<String> = phases.collect();
                if told.is_empty() {
                    told.push(format!("{} of CPU", self.format_meter(Meter::CpuStartup)));
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
                        usage.get(Meter::CpuTime).is_some() && usage.run_cpu_time().is_none()
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
    fn describe_run_cpu(&self) -> String {
        let usage = &self.group.usage;
        match usage.run_cpu_time() {
            Some(cpu) if usage.get(Meter::CpuStartup).is_some() => {
                let cpu = format_metered(&Exact::from(cpu.0), Dimension::Time);
                format!("{cpu} of CPU after the start-up")
            }
            _ => format!("{} of CPU", self.format_meter(Meter::CpuTime)),
        }
    }

    fn explain_used(&self) -> String {
        let usage = &self.group.usage;
        let used = |line: &&BillLine| !line.waste.used.is_zero();
        let last = |factor: &FactorTrace| format_amount(&factor.billed, &factor.unit);
        if let Some(line) = self.lines.iter().find(used)
            && self.billed_time_of(|waste| &waste.used).is_none()
        {
            let factors = line.trace.parts.iter().flat_map(|part| &part.factors);
            let factors: Vec<String> = factors.map(last).collect();
            return format!("{}: {}", line.trace.charge.name(), factors.join(" x "));
        }
        let cpu = self.describe_run_cpu();
        if usage.get(Meter::MemoryPeak).is_none() {
            return cpu;
        }
        format!("{cpu}, {} of memory touched", self.format_meter(Meter::MemoryPeak))
    }

    /// Describes the first step onto a grid or a minimum that adds something.
    fn explain_rounding(&self) -> String {
        let lines = self.lines.iter().filter(|line| !line.waste.rounding.is_zero());
        let mut said: Vec<String> = Vec::new();
        for factor in lines.flat_map(|line| line.trace.parts.iter().flat_map(|it| &it.factors)) {
            for pair in factor.steps.windows(2) {
                let [before, after] = pair else { continue };
                let grid = after.description.starts_with("up to the")
                    || after.description.starts_with("at least");
                let text = format!(
                    "{} is billed as {}",
                    format_metered(&before.value, before.dimension),
                    format_metered(&after.value, after.dimension)
                );
                if grid && !said.contains(&text) {
                    said.push(text);
                }
            }
        }
        if said.is_empty() { "steps of a table".to_owned() } else { said.join(", ") }
    }

    /// Returns the billed time of the first charge with a non-zero `part`.
    fn billed_time_of(&self, part: impl Fn(&Waste<Money>) -> &Money) -> Option<String> {
        let line = self.lines.iter().find(|line| !part(&line.waste).is_zero())?;
        let factors = line.trace.parts.iter().flat_map(|part| &part.factors);
        let wall = |factor: &&FactorTrace| {
            let time = factor.steps.last().is_some_and(|step| step.dimension == Dimension::Time);
            let phases = factor.steps.iter().any(|step| {
                step.is_measured
                    && step.description.split(" + ").any(|word| word == "wall" || is_phase(word))
            });
            time && phases
        };
        let step = factors.filter(wall).find_map(|factor| factor.steps.last())?;
        Some(format_metered(&step.value, Dimension::Time))
    }

    fn format_meter(&self, meter: Meter) -> String {
        self.group.usage.get(meter).map_or_else(
            || "an unknown amount".to_owned(),
            |value| format_metered(&Exact::from(value), Dimension::for_meter(meter)),
        )
    }
}

fn is_phase(word: &str) -> bool {
    [Phase::Create, Phase::Start, Phase::Run, Phase::Teardown].iter().any(|it| it.name() == word)
}
