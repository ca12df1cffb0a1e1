//! Explanations as text on a page of 80 columns.

use super::Explanation;
use super::figures::{Currency, TIED, amount, factor, metered, number};
use super::page::Page;
use super::steps;
use cyclometer_pricing::{
    Basis, ChargeTrace, Dimension, Exact, Input, Money, PartTrace, Policy, Pool, Position, Terms,
};

/// Indentation of the lines of a position.
const INDENT: usize = 4;

const STRETCHES: &str = "instance stretches";

impl Explanation<'_> {
    /// Renders the whole calculation; no line is longer than 80 characters.
    #[must_use]
    pub fn text(&self) -> String {
        let mut page = Page::default();
        self.head(&mut page);
        for position in &self.settlement.positions {
            if !position.quantity.is_zero() {
                page.gap();
                self.position(&mut page, position);
            }
        }
        page.gap();
        self.total(&mut page);
        self.left_out(&mut page);
        page.gap();
        for note in &self.notes {
            page.text(2, &format!("note: {note}"));
        }
        if let Some(note) = self.own_instances() {
            page.text(2, note);
        }
        if let Some(what) = self.model.uncertain() {
            page.text(2, &format!("uncertain: {what}"));
        }
        if page.has_cut() {
            page.text(2, "~: cut to 15 digits; --format json has them all");
        }
        page.finish()
    }

    fn currency(&self) -> Currency<'_> {
        Currency(self.model.currency())
    }

    fn head(&self, page: &mut Page) {
        let model = self.model;
        let until = model.effective_until().map(|day| format!(" until {day}")).unwrap_or_default();
        page.text(
            0,
            &format!(
                "{} ({}), from {}{until}, {}",
                model.name(),
                model.id(),
                model.effective_from(),
                model.currency()
            ),
        );
        match self.groups {
            [] => page.text(0, "no requests: what is billed by the period alone"),
            [_] => page.text(0, &self.group(0)),
            groups => {
                let sum = groups.iter().fold(Exact::default(), |sum, it| &sum + &it.requests);
                page.text(0, &format!("{} in {} groups", amount(&sum, "request"), groups.len()));
                for index in 0..groups.len() {
                    page.text(2, &format!("{}:{TIED}{}", index + 1, self.group(index)));
                }
            }
        }
        let given = self.given();
        if !given.is_empty() {
            page.text(0, &format!("with {}", given.join(", ")));
        }
    }

    /// Describes a group: its number of requests, and the usage of each of them.
    fn group(&self, index: usize) -> String {
        let Some(group) = self.groups.get(index) else { return String::new() };
        let mut parts = steps::usage(self.model, group);
        let own = group.terms.other_than(self.terms, self.model);
        let own = own.filter(says_something);
        parts.extend(
            own.map(|(input, value)| format!("{}{TIED}{}", input.name(), shown(input, value))),
        );
        let requests = amount(&group.requests, "request");
        let (text, of) = match &group.stretches {
            None => (requests, " of:"),
            Some((count, time)) => {
                let time = metered(&Exact::from(time.0), Dimension::Time);
                (format!("{requests} in {} of {time}", counted(count, STRETCHES)), "; each:")
            }
        };
        if parts.is_empty() { text } else { format!("{text}{of} {}", parts.join(", ")) }
    }

    /// Lists the terms that differ from the model's own.
    fn given(&self) -> Vec<String> {
        let mut given: Vec<String> = self
            .terms
            .changed(self.model)
            .filter(says_something)
            .map(|(input, value)| format!("{}{TIED}{}", input.name(), shown(input, value)))
            .collect();
        if self.terms.period() != Terms::of(self.model).period() {
            let days = metered(self.terms.period(), Dimension::Time);
            given.push(format!("a billing period of {days}"));
        }
        if !self.terms.free() {
            given.push("no free allowances".to_owned());
        }
        given
    }

    fn traces_of(&self, position: &Position) -> impl Iterator<Item = &ChargeTrace> {
        let pool = position.pool;
        self.traces.iter().filter(move |trace| trace.charge.pool() == pool)
    }

    fn position(&self, page: &mut Page, position: &Position) {
        let pool = &self.model.pools()[position.pool];
        let unit = pool.unit();
        page.text(2, &titled(pool.name(), unit, pool.name()));
        let all = self.traces_of(position).count();
        let shown: Vec<&ChargeTrace> =
            self.traces_of(position).filter(|trace| !trace.quantity.is_zero()).collect();
        for trace in &shown {
            if all == 1 && *trace.charge.weight() == Exact::from(1) {
                self.charge(page, INDENT, trace);
            } else {
                self.feeding(page, trace, pool);
            }
        }
        if shown.len() > 1 {
            page.row(INDENT, "together", "=", &amount(&position.quantity, unit));
        }
        Self::allowance(page, position, pool);
        self.price(page, position, pool);
    }

    /// Writes a charge of a pool, which counts it in a unit of its own.
    fn feeding(&self, page: &mut Page, trace: &ChargeTrace, pool: &Pool) {
        let charge = &trace.charge;
        page.text(INDENT, &titled(charge.name(), charge.unit(), pool.unit()));
        self.charge(page, INDENT + 2, trace);
        let weight = charge.weight();
        if *weight != Exact::from(1) || !alike(charge.unit(), pool.unit()) {
            let fed = &trace.quantity * weight;
            let left = format!("x{TIED}{}", factor(weight));
            page.row(INDENT + 2, &left, "=", &amount(&fed, pool.unit()));
        }
    }

    fn charge(&self, page: &mut Page, indent: usize, trace: &ChargeTrace) {
        let parts: Vec<&PartTrace> =
            trace.parts.iter().filter(|part| !part.quantity.is_zero()).collect();
        let several = self.groups.len() > 1 && trace.charge.basis() != Basis::Period;
        for (index, part) in parts.iter().enumerate() {
            let Some(group) = part.group.filter(|_| several) else {
                self.part(page, indent, trace, part);
                continue;
            };
            let title = format!("group {}", group + 1);
            if part.factors.iter().all(steps::is_one) {
                let sign = if index == 0 { "" } else { "+" };
                page.row(indent, &title, sign, &amount(&part.quantity, trace.charge.unit()));
            } else {
                page.text(indent, &title);
                self.part(page, indent + 2, trace, part);
            }
        }
        if parts.len() > 1 {
            page.row(indent, "groups together", "=", &amount(&trace.quantity, trace.charge.unit()));
        }
        for part in trace.parts.iter().filter(|_| several) {
            if let (Some(index), Some((switch, on))) = (part.group, &part.off) {
                let state = if *on { "off" } else { "on" };
                page.text(indent, &format!("nothing of group {}: {switch} is {state}", index + 1));
            }
        }
    }

    fn part(&self, page: &mut Page, indent: usize, trace: &ChargeTrace, part: &PartTrace) {
        let unit = trace.charge.unit();
        let stretches = trace.charge.basis() == Basis::Instance
            && part.group.is_some_and(|it| self.groups[it].stretches.is_some());
        let (each, times) = match trace.charge.basis() {
            Basis::Period => ("", None),
            _ if stretches => (" a stretch", Some(STRETCHES)),
            _ => (" a request", Some("requests")),
        };
        steps::factors(page, indent, &part.factors, (&part.each, unit, each));
        let nothing_shown = part.factors.iter().all(steps::is_one);
        match times {
            Some(what) if nothing_shown => {
                page.row(indent, what, "", &amount(&part.quantity, unit));
            }
            Some(what) if part.count != Exact::from(1) => {
                let left = format!("x{TIED}{}", counted(&part.count, what));
                page.row(indent, &left, "=", &amount(&part.quantity, unit));
            }
            None if part.factors.is_empty() => {
                page.row(indent, "flat", "", &amount(&part.quantity, unit));
            }
            _ => {
                let single = part.factors.len() == 1;
                if single && part.factors.iter().any(|factor| !alike(&factor.unit, unit)) {
                    page.row(indent, "counted as", "=", &amount(&part.quantity, unit));
                }
            }
        }
    }

    /// Writes free quantities and packages.
    pub(super) fn allowance(page: &mut Page, position: &Position, pool: &Pool) {
        let unit = pool.unit();
        if !position.free.is_zero() {
            let taken = amount(&position.free, unit);
            let more = pool.free().filter(|free| free.quantity != position.free);
            let taken = match more {
                Some(free) => format!("{taken} (of {})", number(&free.quantity)),
                None => taken,
            };
            page.row(INDENT, "free", "-", &taken);
            let left = &position.quantity - &position.free;
            page.row(INDENT, "to pay", "=", &amount(&left, unit));
        }
        let left = &position.quantity - &position.free;
        if let Some(package) = pool.package().filter(|_| left != position.billable) {
            let what = format!("up to a multiple of {}", number(package));
            page.row(INDENT, &what, "=", &amount(&position.billable, unit));
        }
    }

    pub(super) fn price(&self, page: &mut Page, position: &Position, pool: &Pool) {
        let printed = self.printed(position);
        let money = |money: &Money| self.currency().exact(money.as_exact());
        let final_row = |page: &mut Page, indent, left: &str, amount: &Money| match &printed {
            Some(printed) => page.row_to(indent, left, &money(amount), printed),
            None => page.row(indent, left, "=", &money(amount)),
        };
        let gross: Money = position.tiers.iter().map(|tier| &tier.amount).sum();
        let credit = !position.credit.is_zero();
        if let [tier] = &*position.tiers {
            let left = self.currency().times(tier.price.as_exact(), pool.per());
            if credit {
                page.row(INDENT, &left, "=", &money(&tier.amount));
            } else {
                final_row(page, INDENT, &left, &tier.amount);
            }
        } else {
            for (index, tier) in position.tiers.iter().enumerate() {
                let open = pool.tiers().get(index).is_some_and(|tier| tier.up_to.is_none());
                let which =
                    if open { "the rest" } else { ["next", "first"][usize::from(index == 0)] };
                page.row(INDENT, which, "", &amount(&tier.quantity, pool.unit()));
                let left = self.currency().times(tier.price.as_exact(), pool.per());
                page.row(INDENT + 2, &left, "=", &money(&tier.amount));
            }
            if credit {
                page.row(INDENT, "together", "=", &money(&gross));
            } else {
                final_row(page, INDENT, "together", &gross);
            }
        }
        if credit {
            self.credit(page, position, pool);
            final_row(page, INDENT, "to pay", &position.amount);
        }
    }

    /// Writes the allowance that is credited as money.
    fn credit(&self, page: &mut Page, position: &Position, pool: &Pool) {
        let Some(free) = pool.free() else { return };
        let Some(price) = &free.credit_price else { return };
        page.row(INDENT, "free, as money", "", &amount(&free.quantity, pool.unit()));
        let left = self.currency().times(price.as_exact(), pool.per());
        let worth = &free.quantity * price.as_exact();
        let worth = worth.over(pool.per()).unwrap_or_default();
        if worth == *position.credit.as_exact() {
            page.row(INDENT + 2, &left, "-", &self.currency().exact(&worth));
        } else {
            page.row(INDENT + 2, &left, "=", &self.currency().exact(&worth));
            page.row(
                INDENT,
                "no more than there is",
                "-",
                &self.currency().exact(position.credit.as_exact()),
            );
        }
    }

    /// Returns a position's amount as it is printed, where the policy rounds positions.
    fn printed(&self, position: &Position) -> Option<String> {
        let rounding = self.settlement.rounding;
        rounds_lines(rounding.policy)
            .then(|| self.currency().printed(&position.rounded, rounding.digits))
    }

    pub(super) fn total(&self, page: &mut Page) {
        let rounding = self.settlement.rounding;
        let counted: Vec<&Position> = self
            .settlement
            .positions
            .iter()
            .filter(|position| !position.rounded.is_zero() || !position.amount.is_zero())
            .collect();
        if counted.len() > 1 {
            for (index, position) in counted.iter().enumerate() {
                let amount = self
                    .printed(position)
                    .unwrap_or_else(|| self.currency().exact(position.amount.as_exact()));
                page.row(2, &position.name, ["+", ""][usize::from(index == 0)], &amount);
            }
        }
        let sums = !rounds_lines(rounding.policy) && rounding.policy != Policy::None;
        let sign = if counted.len() > 1 { "=" } else { "" };
        let (label, total) = if rounding.policy == Policy::None {
            (
                "total (not rounded)".to_owned(),
                self.currency().exact(self.settlement.total.as_exact()),
            )
        } else {
            let label = format!("total ({}, {} decimals)", rounding.policy.name(), rounding.digits);
            (label, self.currency().printed(&self.settlement.total, rounding.digits))
        };
        if sums {
            page.row_to(
                2,
                &label,
                &self.currency().exact(self.settlement.exact.as_exact()),
                &total,
            );
        } else {
            page.row(2, &label, sign, &total);
        }
    }

    /// Lists the charges without a quantity by name, so that none is forgotten.
    fn left_out(&self, page: &mut Page) {
        let mut nothing = Vec::new();
        let mut off: Vec<String> = Vec::new();
        for trace in self.traces.iter().filter(|trace| trace.quantity.is_zero()) {
            let name = trace.charge.name().replace(' ', &TIED.to_string());
            match trace.off() {
                None => nothing.push(name),
                Some((switch, on)) => {
                    let state = if on { "off" } else { "on" };
                    off.push(format!("{name} ({switch}{TIED}is{TIED}{state})"));
                }
            }
        }
        if !nothing.is_empty() {
            page.text(2, &format!("nothing of: {}", nothing.join(", ")));
        }
        if !off.is_empty() {
            page.text(2, &format!("switched off: {}", off.join(", ")));
        }
    }

    /// Returns a note that requests could have shared instances, where that would be
    /// cheaper.
    fn own_instances(&self) -> Option<&'static str> {
        let by_instance = |trace: &ChargeTrace| {
            trace.charge.basis() == Basis::Instance && !trace.quantity.is_zero()
        };
        let several = |requests: &Exact| *requests > Exact::from(1);
        let own = self.groups.iter().any(|it| it.stretches.is_none() && several(&it.requests));
        (own && self.traces.iter().any(by_instance)).then_some(
            "note: each request has an instance to itself; those at the same time would share \
             one: --instances N --instance-time T",
        )
    }
}

/// Returns a name with its unit, unless the unit is understood.
pub(super) fn titled(name: &str, unit: &str, understood: &str) -> String {
    if alike(unit, understood) || alike(unit, name) {
        return name.to_owned();
    }
    format!("{name}, {unit}")
}

/// Returns whether two units are equal apart from a plural.
pub(super) fn alike(one: &str, other: &str) -> bool {
    one.trim_end_matches('s') == other.trim_end_matches('s')
}

/// Formats a number of requests, or of stretches of instances.
fn counted(count: &Exact, what: &str) -> String {
    let one = *count == Exact::from(1);
    amount(count, if one { what.trim_end_matches("es") } else { what })
}

const fn rounds_lines(policy: Policy) -> bool {
    matches!(
        policy,
        Policy::LineHalfUp
            | Policy::LineHalfDown
            | Policy::LineHalfEven
            | Policy::LineUp
            | Policy::LineDown
    )
}

/// Returns whether a term is worth printing: zero is not, for an input without a default.
fn says_something((input, value): &(&Input, &Exact)) -> bool {
    !value.is_zero() || input.default().is_some()
}

fn shown(input: &Input, value: &Exact) -> String {
    match input.dimension() {
        Dimension::Number if input.shown(value) == value.to_plain_string() => number(value),
        Dimension::Number => input.shown(value),
        dimension => metered(value, dimension),
    }
}
