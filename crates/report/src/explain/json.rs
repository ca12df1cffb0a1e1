//! Explanations as JSON: every number exact, as a string.

use serde_json::{Map, Value, json};

use super::{BillExplanation, Explanation};
use cyclometer_core::meter::Meter;
use cyclometer_pricing::{
    Basis, ChargeTrace, Dimension, Exact, FactorTrace, Money, PartTrace, Phase, Position,
    PriceModel, Rounding, Terms, UsageGroup, Waste,
};

impl Explanation<'_> {
    /// Returns the whole calculation as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut object = Object::default();
        object.set("model", model(self.model));
        object.set("terms", terms(self.model, self.terms));
        object.set("rounding", rounding(self.settlement.rounding));
        object.set("notes", self.notes.clone());
        let groups = self.groups.iter().map(|it| group(self.model, it));
        object.set("groups", groups.collect::<Vec<_>>());
        let charges = self.traces.iter().map(|trace| self.charge_json(trace));
        object.set("charges", charges.collect::<Vec<_>>());
        let positions =
            self.settlement.positions.iter().map(|position| self.position_json(position));
        object.set("positions", positions.collect::<Vec<_>>());
        object.money("total", &self.settlement.total);
        object.money("exact_total", &self.settlement.exact);
        object.value()
    }

    fn charge_json(&self, trace: &ChargeTrace) -> Value {
        let mut object = charge(self.model, trace);
        let parts = trace.parts.iter().map(|it| part(trace, it));
        object.set("parts", parts.collect::<Vec<_>>());
        object.value()
    }

    fn position_json(&self, position: &Position) -> Value {
        let pool = &self.model.pools()[position.pool];
        let mut object = Object::default();
        object.set("name", &*position.name);
        object.set("unit", &*position.unit);
        object.exact("quantity", &position.quantity);
        object.exact("free", &position.free);
        if let Some(free) = pool.free() {
            object.exact("allowance", &free.quantity);
            if let Some(price) = &free.credit_price {
                object.money("credit_price", price);
            }
        }
        if let Some(package) = pool.package() {
            object.exact("package", package);
        }
        object.exact("billable", &position.billable);
        object.exact("per", pool.per());
        let tiers = position.tiers.iter().map(|tier| {
            let mut object = Object::default();
            object.exact("quantity", &tier.quantity);
            object.money("price", &tier.price);
            object.money("amount", &tier.amount);
            object.value()
        });
        object.set("tiers", tiers.collect::<Vec<_>>());
        let from = position.from.iter().map(|sum| {
            let mut object = Object::default();
            object.set("charge", sum.charge.name());
            object.exact("quantity", &sum.quantity);
            object.exact("weight", sum.charge.weight());
            object.exact("adds", &(&sum.quantity * sum.charge.weight()));
            object.value()
        });
        object.set("from", from.collect::<Vec<_>>());
        object.money("credit", &position.credit);
        object.money("amount", &position.amount);
        object.money("rounded", &position.rounded);
        object.value()
    }
}

impl BillExplanation<'_> {
    /// Returns the whole calculation as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut object = Object::default();
        object.set("model", model(self.model));
        object.set("terms", terms(self.model, &self.group.terms));
        object.set("usage", group(self.model, &self.group));
        let lines = self.lines.iter().map(|line| {
            let mut object = charge(self.model, &line.trace);
            let factors = line.trace.parts.iter().flat_map(|part| &part.factors).map(factor);
            object.set("factors", factors.collect::<Vec<_>>());
            object.exact("list_rate", line.trace.charge.rate());
            object.money("amount", &line.amount);
            object.set("decomposition", waste(&line.waste));
            object.value()
        });
        object.set("lines", lines.collect::<Vec<_>>());
        object.money("total", &self.total);
        object.set("decomposition", waste(&self.waste));
        let reasons = self.waste.parts().into_iter().filter(|(_, part)| !part.is_zero());
        let reasons = reasons.map(|(name, _)| {
            (name.to_owned(), Value::from(self.reason(name).replace('\u{a0}', " ")))
        });
        object.set("reasons", Value::Object(reasons.collect()));
        object.value()
    }
}

/// A JSON object in which numbers are exact.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Sets a decimal, and beside it the fraction where no finite decimal is exact.
    fn exact(&mut self, key: &str, value: &Exact) {
        self.set(key, value.to_plain_string());
        if let Some(fraction) = value.fraction() {
            self.set(&format!("{key}_fraction"), fraction);
        }
    }

    fn money(&mut self, key: &str, value: &Money) {
        self.exact(key, value.as_exact());
    }

    fn value(self) -> Value {
        Value::Object(self.0)
    }
}

fn model(model: &PriceModel) -> Value {
    json!({
        "id": model.id(),
        "name": model.name(),
        "provider": model.provider(),
        "currency": model.currency(),
        "granularity": model.granularity().name(),
        "effective_from": model.effective_from(),
        "effective_until": model.effective_until(),
        "source": model.source(),
        "retrieved": model.retrieved(),
        "uncertain": model.uncertain(),
    })
}

fn terms(model: &PriceModel, terms: &Terms) -> Value {
    let mut object = Object::default();
    object.exact("period_ns", terms.period());
    object.set("free", terms.free());
    let changed = terms
        .changed(model)
        .map(|(input, value)| (input.name().to_owned(), Value::from(value.to_plain_string())));
    object.set("inputs", Value::Object(changed.collect()));
    object.value()
}

fn rounding(rounding: Rounding) -> Value {
    json!({ "policy": rounding.policy.name(), "digits": rounding.digits })
}

fn group(model: &PriceModel, group: &UsageGroup) -> Value {
    let mut object = Object::default();
    object.exact("requests", &group.requests);
    object.set("cold", group.usage.cold);
    for phase in [Phase::Create, Phase::Start, Phase::Run, Phase::Teardown] {
        if let Some(span) = phase.of(&group.usage.phases) {
            object.set(&format!("{phase}_ns"), span.0);
        }
    }
    let meters = Meter::ALL
        .iter()
        .filter_map(|meter| Some((meter.name().to_owned(), Value::from(group.usage.get(*meter)?))));
    object.set("meters", Value::Object(meters.collect()));
    let inputs = group
        .terms
        .changed(model)
        .map(|(input, value)| (input.name().to_owned(), Value::from(value.to_plain_string())));
    object.set("inputs", Value::Object(inputs.collect()));
    if let Some((count, time)) = &group.stretches {
        object.exact("instances", count);
        object.set("instance_time_ns", time.0);
    }
    object.value()
}

fn charge(model: &PriceModel, trace: &ChargeTrace) -> Object {
    let charge = &trace.charge;
    let mut object = Object::default();
    object.set("name", charge.name());
    object.set("unit", charge.unit());
    object.set(
        "basis",
        match charge.basis() {
            Basis::Request => "request",
            Basis::Instance => "instance",
            Basis::Period => "period",
        },
    );
    object.set("position", model.pools()[charge.pool()].name());
    object.exact("weight", charge.weight());
    object.exact("quantity", &trace.quantity);
    object
}

fn part(trace: &ChargeTrace, part: &PartTrace) -> Value {
    let mut object = Object::default();
    if let Some(group) = part.group {
        object.set("group", group + 1);
    }
    if let Some((switch, on)) = &part.off {
        let state = if *on { "off" } else { "on" };
        object.set("switched_off", format!("{switch} is {state}"));
    }
    object.set("factors", part.factors.iter().map(factor).collect::<Vec<_>>());
    object.exact("each", &part.each);
    object.exact("count", &part.count);
    object.exact("quantity", &part.quantity);
    object.set("unit", trace.charge.unit());
    object.value()
}

fn factor(factor: &FactorTrace) -> Value {
    let mut object = Object::default();
    object.set("unit", &*factor.unit);
    object.exact("billed", &factor.billed);
    object.set("note", factor.note.as_deref());
    let steps = factor.steps.iter().map(|step| {
        let mut object = Object::default();
        object.set("what", &*step.what);
        object.set("read", step.read);
        object.exact("value", &step.value);
        object.set(
            "unit",
            match step.dimension {
                Dimension::Number => step.unit.as_deref().unwrap_or(&factor.unit),
                dimension => dimension.units().first().map_or("", |(unit, _)| unit),
            },
        );
        object.value()
    });
    object.set("steps", steps.collect::<Vec<_>>());
    object.value()
}

fn waste(waste: &Waste<Money>) -> Value {
    let mut object = Object::default();
    for (name, part) in waste.parts() {
        object.money(name, part);
    }
    object.value()
}
