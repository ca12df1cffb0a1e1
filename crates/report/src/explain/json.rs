//! Explanations as JSON: every number exact, as a string.

use serde_json::{Map, Value, json};

use super::{BillExplanation, Explanation};
use cyclometer_core::meter::Meter;
use cyclometer_pricing::{
    Adjustment, ChargeBasis, ChargeTrace, ContractDetails, Dimension, Exact, FactorTrace, Money,
    PartTrace, Phase, Position, PriceModel, Rounding, Terms, UsageGroup, Waste,
};

impl Explanation<'_> {
    /// Returns the whole calculation as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = ExactObject::default();
        object.set("model", model_json(self.model));
        object.set("terms", terms_json(self.model, self.terms));
        object.set("rounding", rounding_json(self.settlement.rounding));
        object.set("notes", self.notes.clone());
        let groups = self.groups.iter().map(|it| group_json(self.model, it));
        object.set("groups", groups.collect::<Vec<_>>());
        let charges = self.traces.iter().map(|trace| self.charge_json(trace));
        object.set("charges", charges.collect::<Vec<_>>());
        let positions =
            self.settlement.positions.iter().map(|position| self.position_json(position));
        object.set("positions", positions.collect::<Vec<_>>());
        object.set_money("subtotal", &self.settlement.subtotal);
        let lines = self.settlement.adjustments.iter().map(adjustment_json);
        object.set("adjustments", lines.collect::<Vec<_>>());
        object.set_money("total", &self.settlement.total);
        object.set_money("exact_total", &self.settlement.exact);
        object.into_value()
    }

    fn charge_json(&self, trace: &ChargeTrace) -> Value {
        let mut object = charge_object(self.model, trace);
        let parts = trace.parts.iter().map(|it| part_json(trace, it));
        object.set("parts", parts.collect::<Vec<_>>());
        object.into_value()
    }

    fn position_json(&self, position: &Position) -> Value {
        let pool = &self.model.pools()[position.pool];
        let mut object = ExactObject::default();
        object.set("name", &*position.name);
        object.set("unit", &*position.unit);
        object.set_exact("quantity", &position.quantity);
        object.set_exact("free", &position.free);
        if let Some(free) = pool.allowance() {
            object.set_exact("allowance", &free.quantity);
            if let Some(price) = &free.credit_price {
                object.set_money("credit_price", price);
            }
        }
        if let Some(other) = pool.shares_allowance_of() {
            object.set("free_rest_of", other);
        }
        if let Some(package) = pool.package_size() {
            object.set_exact("package", package);
        }
        object.set_exact("billable", &position.billable);
        object.set_exact("per", pool.units_per_price());
        let tiers = position.tiers.iter().map(|tier| {
            let mut object = ExactObject::default();
            object.set_exact("quantity", &tier.quantity);
            object.set_money("price", &tier.price);
            object.set_money("amount", &tier.amount);
            object.into_value()
        });
        object.set("tiers", tiers.collect::<Vec<_>>());
        let from = position.subtotals.iter().map(|sum| {
            let mut object = ExactObject::default();
            object.set("charge", sum.charge.name());
            object.set_exact("quantity", &sum.quantity);
            object.set_exact("weight", sum.charge.pool_weight());
            object.set_exact("adds", &(&sum.quantity * sum.charge.pool_weight()));
            object.into_value()
        });
        object.set("from", from.collect::<Vec<_>>());
        object.set_money("credit", &position.credit);
        object.set_money("amount", &position.amount);
        object.set_money("rounded", &position.rounded);
        object.into_value()
    }
}

impl BillExplanation<'_> {
    /// Returns the whole calculation as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = ExactObject::default();
        object.set("model", model_json(self.model));
        object.set("terms", terms_json(self.model, &self.group.terms));
        object.set("usage", group_json(self.model, &self.group));
        let lines = self.lines.iter().map(|line| {
            let mut object = charge_object(self.model, &line.trace);
            let factors = line.trace.parts.iter().flat_map(|part| &part.factors).map(factor_json);
            object.set("factors", factors.collect::<Vec<_>>());
            object.set_exact("list_rate", line.trace.charge.list_rate());
            object.set_money("amount", &line.amount);
            object.set("decomposition", waste_json(&line.waste));
            object.into_value()
        });
        object.set("lines", lines.collect::<Vec<_>>());
        object.set_money("total", &self.total);
        object.set("decomposition", waste_json(&self.waste));
        let reasons = self.waste.named_parts().into_iter().filter(|(_, part)| !part.is_zero());
        let reasons = reasons.map(|(name, _)| {
            (name.to_owned(), Value::from(self.explain_part(name).replace('\u{a0}', " ")))
        });
        object.set("reasons", Value::Object(reasons.collect()));
        object.into_value()
    }
}

/// A JSON object in which numbers are exact.
#[derive(Default)]
struct ExactObject(Map<String, Value>);

impl ExactObject {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Sets a decimal, and beside it the fraction where no finite decimal is exact.
    fn set_exact(&mut self, key: &str, value: &Exact) {
        self.set(key, value.to_plain_string());
        if let Some(fraction) = value.to_fraction_string() {
            self.set(&format!("{key}_fraction"), fraction);
        }
    }

    fn set_money(&mut self, key: &str, value: &Money) {
        self.set_exact(key, value.as_exact());
    }

    fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

fn model_json(model: &PriceModel) -> Value {
    json!({
        "id": model.id(),
        "name": model.name(),
        "provider": model.provider(),
        "currency": model.currency(),
        "granularity": model.granularity().name(),
        "effective_from": model.effective_from(),
        "effective_until": model.effective_until(),
        "source": model.source(),
        "retrieved": model.retrieved_on(),
        "uncertain": model.uncertainty_note(),
        "contract": model.contract().map(|contract| contract_json(model, contract)),
    })
}

fn contract_json(model: &PriceModel, contract: &ContractDetails) -> Value {
    let prices = model.pools().iter().enumerate().map(|(index, pool)| {
        let steps = contract.price_steps(index).iter().map(|step| {
            let mut object = ExactObject::default();
            object.set("step", &*step.name);
            match &step.factor {
                Some(factor) => object.set_exact("factor", factor),
                None => object.set("factor", Value::Null),
            }
            object.set_money("price", &step.price);
            object.set("currency", &*step.currency);
            object.into_value()
        });
        json!({ "position": pool.name(), "steps": steps.collect::<Vec<_>>() })
    });
    json!({
        "extends": contract.base_ids(),
        "region": contract.region(),
        "prices": prices.collect::<Vec<_>>(),
        "other_changes": contract.other_steps(),
        "of_a_whole_bill": contract.period_terms(),
    })
}

fn adjustment_json(line: &Adjustment) -> Value {
    let mut object = ExactObject::default();
    object.set("kind", line.kind.name());
    object.set("name", &*line.name);
    object.set_money("basis", &line.basis);
    match &line.rate {
        Some(rate) => object.set_exact("rate", rate),
        None => object.set("rate", Value::Null),
    }
    object.set_money("amount", &line.amount);
    object.set_money("rounded", &line.rounded);
    object.set("note", &*line.note);
    object.into_value()
}

fn terms_json(model: &PriceModel, terms: &Terms) -> Value {
    let mut object = ExactObject::default();
    object.set_exact("period_ns", terms.period());
    object.set("free", terms.applies_allowances());
    let changed = terms
        .changed_inputs(model)
        .map(|(input, value)| (input.name().to_owned(), Value::from(value.to_plain_string())));
    object.set("inputs", Value::Object(changed.collect()));
    object.into_value()
}

fn rounding_json(rounding: Rounding) -> Value {
    json!({ "policy": rounding.policy.name(), "digits": rounding.digits })
}

fn group_json(model: &PriceModel, group: &UsageGroup) -> Value {
    let mut object = ExactObject::default();
    object.set_exact("requests", &group.requests);
    object.set("cold", group.usage.cold);
    for phase in [Phase::Create, Phase::Start, Phase::Run, Phase::Teardown] {
        if let Some(span) = phase.duration_in(&group.usage.phases) {
            object.set(&format!("{phase}_ns"), span.0);
        }
    }
    let meters = Meter::ALL
        .iter()
        .filter_map(|meter| Some((meter.name().to_owned(), Value::from(group.usage.get(*meter)?))));
    object.set("meters", Value::Object(meters.collect()));
    let inputs = group
        .terms
        .changed_inputs(model)
        .map(|(input, value)| (input.name().to_owned(), Value::from(value.to_plain_string())));
    object.set("inputs", Value::Object(inputs.collect()));
    if let Some((count, time)) = &group.instance_spans {
        object.set_exact("instances", count);
        object.set("instance_time_ns", time.0);
    }
    object.into_value()
}

fn charge_object(model: &PriceModel, trace: &ChargeTrace) -> ExactObject {
    let charge = &trace.charge;
    let mut object = ExactObject::default();
    object.set("name", charge.name());
    object.set("unit", charge.unit());
    object.set(
        "basis",
        match charge.basis() {
            ChargeBasis::Request => "request",
            ChargeBasis::Instance => "instance",
            ChargeBasis::Period => "period",
        },
    );
    object.set("position", model.pools()[charge.pool_index()].name());
    object.set_exact("weight", charge.pool_weight());
    object.set_exact("quantity", &trace.quantity);
    object
}

fn part_json(trace: &ChargeTrace, part: &PartTrace) -> Value {
    let mut object = ExactObject::default();
    if let Some(group) = part.group {
        object.set("group", group + 1);
    }
    if let Some((switch, on)) = &part.disabled_by {
        let state = if *on { "off" } else { "on" };
        object.set("switched_off", format!("{switch} is {state}"));
    }
    object.set("factors", part.factors.iter().map(factor_json).collect::<Vec<_>>());
    object.set_exact("each", &part.quantity_each);
    object.set_exact("count", &part.count);
    object.set_exact("quantity", &part.quantity);
    object.set("unit", trace.charge.unit());
    object.into_value()
}

fn factor_json(factor: &FactorTrace) -> Value {
    let mut object = ExactObject::default();
    object.set("unit", &*factor.unit);
    object.set_exact("billed", &factor.billed);
    object.set("note", factor.note.as_deref());
    let steps = factor.steps.iter().map(|step| {
        let mut object = ExactObject::default();
        object.set("what", &*step.description);
        object.set("read", step.is_measured);
        object.set_exact("value", &step.value);
        object.set(
            "unit",
            match step.dimension {
                Dimension::Number => step.unit.as_deref().unwrap_or(&factor.unit),
                dimension => dimension.units().first().map_or("", |(unit, _)| unit),
            },
        );
        object.into_value()
    });
    object.set("steps", steps.collect::<Vec<_>>());
    object.into_value()
}

fn waste_json(waste: &Waste<Money>) -> Value {
    let mut object = ExactObject::default();
    for (name, part) in waste.named_parts() {
        object.set_money(name, part);
    }
    object.into_value()
}
