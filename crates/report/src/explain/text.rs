//! Explanations as text on a page of 80 columns.

use super::Explanation;
use super::contract::{write_adjustments, write_contract_head, write_price_steps};
use super::number_format::{
    CurrencyFormat, TIED, format_amount, format_factor, format_metered, format_number,
};
use super::page::TextPage;
use super::steps;
use cyclometer_pricing::{
    ChargeBasis, ChargeTrace, Dimension, Exact, ModelInput, Money, PartTrace, Pool, Position,
    RoundingPolicy, Terms,
};

/// Indentation of the lines of a position.
const INDENT: usize = 4;

const STRETCHES: &str = "instance stretches";

impl Explanation<'_> {
    /// Renders the whole calculation; no line is longer than 80 characters.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut page = TextPage::default();
        self.write_head(&mut page);
        for position in &self.settlement.positions {
            if !position.quantity.is_zero() {
                page.add_gap();
                self.write_position(&mut page, position);
            }
        }
        page.add_gap();
        self.write_total(&mut page);
        self.write_left_out(&mut page);
        page.add_gap();
        for note in &self.notes {
            page.add_text(2, &format!("note: {note}"));
        }
        if let Some(note) = self.own_instance_note() {
            page.add_text(2, note);
        }
        if let Some(what) = self.model.uncertainty_note() {
            page.add_text(2, &format!("uncertain: {what}"));
        }
        if page.has_cut() {
            page.add_text(2, "~: cut to 15 digits; --format json has them all");
        }
        page.into_text()
    }

    fn currency(&self) -> CurrencyFormat<'_> {
        CurrencyFormat(self.model.currency())
    }

    fn write_head(&self, page: &mut TextPage) {
        let model = self.model;
        let until = model.effective_until().map(|day| format!(" until {day}")).unwrap_or_default();
        page.add_text(
            0,
            &format!(
                "{} ({}), from {}{until}, {}",
                model.name(),
                model.id(),
                model.effective_from(),
                model.currency()
            ),
        );
        write_contract_head(page, model, self.other_period().as_deref());
        match self.groups {
            [] => page.add_text(0, "no requests: what is billed by the period alone"),
            [_] => page.add_text(0, &self.describe_group(0)),
            groups => {
                let sum = groups.iter().fold(Exact::default(), |sum, it| &sum + &it.requests);
                page.add_text(
                    0,
                    &format!("{} in {} groups", format_amount(&sum, "request"), groups.len()),
                );
                for index in 0..groups.len() {
                    page.add_text(
                        2,
                        &format!("{}:{TIED}{}", index + 1, self.describe_group(index)),
                    );
                }
            }
        }
        let given = self.list_changed_terms();
        if !given.is_empty() {
            page.add_text(0, &format!("with {}", given.join(", ")));
        }
    }

    /// Describes a group: its number of requests, and the usage of each of them.
    fn describe_group(&self, index: usize) -> String {
        let Some(group) = self.groups.get(index) else { return String::new() };
        let mut parts = steps::list_usage(self.model, group);
        let own = group.terms.inputs_differing_from(self.terms, self.model);
        let own = own.filter(is_worth_printing);
        parts.extend(
            own.map(|(input, value)| {
                format!("{}{TIED}{}", input.name(), format_input(input, value))
            }),
        );
        let requests = format_amount(&group.requests, "request");
        let (text, of) = match &group.instance_spans {
            None => (requests, " of:"),
            Some((count, time)) => {
                let time = format_metered(&Exact::from(time.0), Dimension::Time);
                (format!("{requests} in {} of {time}", format_count(count, STRETCHES)), "; each:")
            }
        };
        if parts.is_empty() { text } else { format!("{text}{of} {}", parts.join(", ")) }
    }

    /// Formats the length of the billed period, if it is not the model's month.
    fn other_period(&self) -> Option<String> {
        let is_other = self.terms.period() != Terms::for_model(self.model).period();
        is_other.then(|| format_metered(self.terms.period(), Dimension::Time))
    }

    /// Lists the terms that differ from the model's own.
    fn list_changed_terms(&self) -> Vec<String> {
        let mut given: Vec<String> = self
            .terms
            .changed_inputs(self.model)
            .filter(is_worth_printing)
            .map(|(input, value)| format!("{}{TIED}{}", input.name(), format_input(input, value)))
            .collect();
        given.extend(self.other_period().map(|days| format!("a billing period of {days}")));
        if !self.terms.applies_allowances() {
            given.push("no free allowances".to_owned());
        }
        given
    }

    fn traces_of(&self, position: &Position) -> impl Iterator<Item = &ChargeTrace> {
        let pool = position.pool;
        self.traces.iter().filter(move |trace| trace.charge.pool_index() == pool)
    }

    fn write_position(&self, page: &mut TextPage, position: &Position) {
        let pool = &self.model.pools()[position.pool];
        let unit = pool.unit();
        page.add_text(2, &title_with_unit(pool.name(), unit, pool.name()));
        let all = self.traces_of(position).count();
        let shown: Vec<&ChargeTrace> =
            self.traces_of(position).filter(|trace| !trace.quantity.is_zero()).collect();
        for trace in &shown {
            if all == 1 && *trace.charge.pool_weight() == Exact::from(1) {
                self.write_charge(page, INDENT, trace);
            } else {
                self.write_pooled_charge(page, trace, pool);
            }
        }
        if shown.len() > 1 {
            page.add_row(INDENT, "together", "=", &format_amount(&position.quantity, unit));
        }
        Self::write_allowance(page, position, pool);
        self.write_price(page, position, pool);
    }

    /// Writes a charge of a pool, which counts it in a unit of its own.
    fn write_pooled_charge(&self, page: &mut TextPage, trace: &ChargeTrace, pool: &Pool) {
        let charge = &trace.charge;
        page.add_text(INDENT, &title_with_unit(charge.name(), charge.unit(), pool.unit()));
        self.write_charge(page, INDENT + 2, trace);
        let weight = charge.pool_weight();
        if *weight != Exact::from(1) || !is_same_unit(charge.unit(), pool.unit()) {
            let fed = &trace.quantity * weight;
            let left = format!("x{TIED}{}", format_factor(weight));
            page.add_row(INDENT + 2, &left, "=", &format_amount(&fed, pool.unit()));
        }
    }

    fn write_charge(&self, page: &mut TextPage, indent: usize, trace: &ChargeTrace) {
        let parts: Vec<&PartTrace> =
            trace.parts.iter().filter(|part| !part.quantity.is_zero()).collect();
        let several = self.groups.len() > 1 && trace.charge.basis() != ChargeBasis::Period;
        for (index, part) in parts.iter().enumerate() {
            let Some(group) = part.group.filter(|_| several) else {
                self.write_part(page, indent, trace, part);
                continue;
            };
            let title = format!("group {}", group + 1);
            if part.factors.iter().all(steps::is_one) {
                let sign = if index == 0 { "" } else { "+" };
                page.add_row(
                    indent,
                    &title,
                    sign,
                    &format_amount(&part.quantity, trace.charge.unit()),
                );
            } else {
                page.add_text(indent, &title);
                self.write_part(page, indent + 2, trace, part);
            }
        }
        if parts.len() > 1 {
            page.add_row(
                indent,
                "groups together",
                "=",
                &format_amount(&trace.quantity, trace.charge.unit()),
            );
        }
        for part in trace.parts.iter().filter(|_| several) {
            if let (Some(index), Some((switch, on))) = (part.group, &part.disabled_by) {
                let state = if *on { "off" } else { "on" };
                page.add_text(
                    indent,
                    &format!("nothing of group {}: {switch} is {state}", index + 1),
                );
            }
        }
    }

    fn write_part(
        &self,
        page: &mut TextPage,
        indent: usize,
        trace: &ChargeTrace,
        part: &PartTrace,
    ) {
        let unit = trace.charge.unit();
        let stretches = trace.charge.basis() == ChargeBasis::Instance
            && part.group.is_some_and(|it| self.groups[it].instance_spans.is_some());
        let (each, times) = match trace.charge.basis() {
            ChargeBasis::Period => ("", None),
            _ if stretches => (" a stretch", Some(STRETCHES)),
            _ => (" a request", Some("requests")),
        };
        steps::write_factors(page, indent, &part.factors, (&part.quantity_each, unit, each));
        let nothing_shown = part.factors.iter().all(steps::is_one);
        match times {
            Some(what) if nothing_shown => {
                page.add_row(indent, what, "", &format_amount(&part.quantity, unit));
            }
            Some(what) if part.count != Exact::from(1) => {
                let left = format!("x{TIED}{}", format_count(&part.count, what));
                page.add_row(indent, &left, "=", &format_amount(&part.quantity, unit));
            }
            None if part.factors.is_empty() => {
                page.add_row(indent, "flat", "", &format_amount(&part.quantity, unit));
            }
            _ => {
                let single = part.factors.len() == 1;
                if single && part.factors.iter().any(|factor| !is_same_unit(&factor.unit, unit)) {
                    page.add_row(indent, "counted as", "=", &format_amount(&part.quantity, unit));
                }
            }
        }
    }

    /// Writes free quantities and packages.
    pub(super) fn write_allowance(page: &mut TextPage, position: &Position, pool: &Pool) {
        let unit = pool.unit();
        if !position.free.is_zero() {
            let taken = format_amount(&position.free, unit);
            let more = pool.allowance().filter(|free| free.quantity != position.free);
            let taken = match (more, pool.shares_allowance_of()) {
                (Some(free), _) => format!("{taken} (of {})", format_number(&free.quantity)),
                (None, Some(other)) => format!("{taken} (left of `{other}`)"),
                (None, None) => taken,
            };
            page.add_row(INDENT, "free", "-", &taken);
            let left = &position.quantity - &position.free;
            page.add_row(INDENT, "to pay", "=", &format_amount(&left, unit));
        }
        let left = &position.quantity - &position.free;
        if let Some(package) = pool.package_size().filter(|_| left != position.billable) {
            let what = format!("up to a multiple of {}", format_number(package));
            page.add_row(INDENT, &what, "=", &format_amount(&position.billable, unit));
        }
    }

    pub(super) fn write_price(&self, page: &mut TextPage, position: &Position, pool: &Pool) {
        write_price_steps(page, self.model, position.pool);
        let printed = self.printed_amount(position);
        let money = |money: &Money| self.currency().format_exact(money.as_exact());
        let final_row = |page: &mut TextPage, indent, left: &str, amount: &Money| match &printed {
            Some(printed) => page.add_printed_row(indent, left, &money(amount), printed),
            None => page.add_row(indent, left, "=", &money(amount)),
        };
        let gross: Money = position.tiers.iter().map(|tier| &tier.amount).sum();
        let credit = !position.credit.is_zero();
        if let [tier] = &*position.tiers {
            let left = self.currency().format_price(tier.price.as_exact(), pool.units_per_price());
            if credit {
                page.add_row(INDENT, &left, "=", &money(&tier.amount));
            } else {
                final_row(page, INDENT, &left, &tier.amount);
            }
        } else {
            for (index, tier) in position.tiers.iter().enumerate() {
                let open = pool.tiers().get(index).is_some_and(|tier| tier.up_to.is_none());
                let which =
                    if open { "the rest" } else { ["next", "first"][usize::from(index == 0)] };
                page.add_row(INDENT, which, "", &format_amount(&tier.quantity, pool.unit()));
                let left =
                    self.currency().format_price(tier.price.as_exact(), pool.units_per_price());
                page.add_row(INDENT + 2, &left, "=", &money(&tier.amount));
            }
            if credit {
                page.add_row(INDENT, "together", "=", &money(&gross));
            } else {
                final_row(page, INDENT, "together", &gross);
            }
        }
        if credit {
            self.write_credit(page, position, pool);
            final_row(page, INDENT, "to pay", &position.amount);
        }
    }

    /// Writes the allowance that is credited as money.
    fn write_credit(&self, page: &mut TextPage, position: &Position, pool: &Pool) {
        let Some(free) = pool.allowance() else { return };
        let Some(price) = &free.credit_price else { return };
        page.add_row(INDENT, "free, as money", "", &format_amount(&free.quantity, pool.unit()));
        let left = self.currency().format_price(price.as_exact(), pool.units_per_price());
        let worth = &free.quantity * price.as_exact();
        let worth = worth.checked_div(pool.units_per_price()).unwrap_or_default();
        if worth == *position.credit.as_exact() {
            page.add_row(INDENT + 2, &left, "-", &self.currency().format_exact(&worth));
        } else {
            page.add_row(INDENT + 2, &left, "=", &self.currency().format_exact(&worth));
            page.add_row(
                INDENT,
                "no more than there is",
                "-",
                &self.currency().format_exact(position.credit.as_exact()),
            );
        }
    }

    /// Returns a position's amount as it is printed, where the policy rounds positions.
    fn printed_amount(&self, position: &Position) -> Option<String> {
        let rounding = self.settlement.rounding;
        rounds_lines(rounding.policy)
            .then(|| self.currency().format_rounded(&position.rounded, rounding.digits))
    }

    pub(super) fn write_total(&self, page: &mut TextPage) {
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
                    .printed_amount(position)
                    .unwrap_or_else(|| self.currency().format_exact(position.amount.as_exact()));
                page.add_row(2, &position.name, ["+", ""][usize::from(index == 0)], &amount);
            }
        }
        if !self.settlement.adjustments.is_empty() {
            self.write_contract_lines(page, counted.len() > 1);
        }
        let sums = !rounds_lines(rounding.policy) && rounding.policy != RoundingPolicy::None;
        let adjusted = !self.settlement.adjustments.is_empty();
        let sign = if counted.len() > 1 || adjusted { "=" } else { "" };
        let (label, total) = if rounding.policy == RoundingPolicy::None {
            (
                "total (not rounded)".to_owned(),
                self.currency().format_exact(self.settlement.total.as_exact()),
            )
        } else {
            let label = format!("total ({}, {} decimals)", rounding.policy.name(), rounding.digits);
            (label, self.currency().format_rounded(&self.settlement.total, rounding.digits))
        };
        if sums {
            page.add_printed_row(
                2,
                &label,
                &self.currency().format_exact(self.settlement.exact.as_exact()),
                &total,
            );
        } else {
            page.add_row(2, &label, sign, &total);
        }
    }

    /// Writes the sum of the positions, and what the contract adds to it and takes off.
    fn write_contract_lines(&self, page: &mut TextPage, several: bool) {
        let rounding = self.settlement.rounding;
        let money = |amount: &Exact| {
            if rounds_lines(rounding.policy) {
                self.currency().format_rounded(&Money::from(amount.clone()), rounding.digits)
            } else {
                self.currency().format_exact(amount)
            }
        };
        let sign = if several { "=" } else { "" };
        page.add_row(2, "together", sign, &money(self.settlement.subtotal.as_exact()));
        write_adjustments(page, &self.settlement, |line| {
            money(&line.rounded.as_exact().without_sign())
        });
    }

    /// Lists the charges without a quantity by name, so that none is forgotten.
    fn write_left_out(&self, page: &mut TextPage) {
        let mut nothing = Vec::new();
        let mut off: Vec<String> = Vec::new();
        for trace in self.traces.iter().filter(|trace| trace.quantity.is_zero()) {
            let name = trace.charge.name().replace(' ', &TIED.to_string());
            match trace.disabling_switch() {
                None => nothing.push(name),
                Some((switch, on)) => {
                    let state = if on { "off" } else { "on" };
                    off.push(format!("{name} ({switch}{TIED}is{TIED}{state})"));
                }
            }
        }
        if !nothing.is_empty() {
            page.add_text(2, &format!("nothing of: {}", nothing.join(", ")));
        }
        if !off.is_empty() {
            page.add_text(2, &format!("switched off: {}", off.join(", ")));
        }
    }

    /// Returns a note that requests could have shared instances, where that would be
    /// cheaper.
    fn own_instance_note(&self) -> Option<&'static str> {
        let by_instance = |trace: &ChargeTrace| {
            trace.charge.basis() == ChargeBasis::Instance && !trace.quantity.is_zero()
        };
        let several = |requests: &Exact| *requests > Exact::from(1);
        let own = self.groups.iter().any(|it| it.instance_spans.is_none() && several(&it.requests));
        (own && self.traces.iter().any(by_instance)).then_some(
            "note: each request has an instance to itself; those at the same time would share \
             one: --instances N --instance-time T",
        )
    }
}

/// Returns a name with its unit, unless the unit is understood.
pub(super) fn title_with_unit(name: &str, unit: &str, understood: &str) -> String {
    if is_same_unit(unit, understood) || is_same_unit(unit, name) {
        return name.to_owned();
    }
    format!("{name}, {unit}")
}

/// Returns whether two units are equal apart from a plural.
pub(super) fn is_same_unit(one: &str, other: &str) -> bool {
    one.trim_end_matches('s') == other.trim_end_matches('s')
}

/// Formats a number of requests, or of stretches of instances.
fn format_count(count: &Exact, what: &str) -> String {
    let one = *count == Exact::from(1);
    format_amount(count, if one { what.trim_end_matches("es") } else { what })
}

const fn rounds_lines(policy: RoundingPolicy) -> bool {
    matches!(
        policy,
        RoundingPolicy::LineHalfUp
            | RoundingPolicy::LineHalfDown
            | RoundingPolicy::LineHalfEven
            | RoundingPolicy::LineUp
            | RoundingPolicy::LineDown
    )
}

/// Returns whether a term is worth printing: zero is not, for an input without a default.
fn is_worth_printing((input, value): &(&ModelInput, &Exact)) -> bool {
    !value.is_zero() || input.default_value().is_some()
}

fn format_input(input: &ModelInput, value: &Exact) -> String {
    match input.dimension() {
        Dimension::Number if input.format_value(value) == value.to_plain_string() => {
            format_number(value)
        }
        Dimension::Number => input.format_value(value),
        dimension => format_metered(value, dimension),
    }
}
