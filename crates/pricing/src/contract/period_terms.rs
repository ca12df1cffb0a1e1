//! Resolution of what only the bill of a whole period has: commitment, minimum, credit and tax.

use std::sync::Arc;

use toml::Spanned;

use super::file::{
    CommitmentFile, ContractFile, CreditFile, MeasuredAt, MinimumFile, ShortOr, TaxFile,
};
use super::resolve::{Scale, Span, find_pool, is_money};
use super::{Commitment, ContractDetails, CoveredPool, Minimum, NamedAmount, Tax};
use crate::error::SpannedProblem;
use crate::model::PriceModel;
use crate::number::Exact;
use crate::resolve::{ResolveResult, check_count, limits};

/// Sets what only the bill of a period has, where the file has it.
pub(super) fn set_period_terms(
    details: &mut ContractDetails,
    model: &PriceModel,
    file: &ContractFile,
    scale: &Scale,
) -> ResolveResult<()> {
    if let Some(written) = &file.commitment {
        details.commitment = Some(resolve_commitment(written, model, details, scale)?);
    }
    if let Some(written) = &file.minimum {
        let MinimumFile { amount, name, charges } = match written.get_ref() {
            ShortOr::Short(amount) => {
                MinimumFile { amount: amount.clone(), name: None, charges: None }
            }
            ShortOr::Table(table) => table.clone(),
        };
        if charges.as_ref().is_some_and(Vec::is_empty) {
            let text = "a minimum of no charges is never reached: name some, or leave `charges` \
                        out for the whole bill";
            return Err(SpannedProblem::new(written.span(), text));
        }
        let find = |names: Vec<Spanned<String>>| {
            names.iter().map(|name| find_pool(model, name)).collect::<ResolveResult<Vec<_>>>()
        };
        details.minimum = Some(Minimum {
            name: name.map_or_else(|| "minimum".into(), |label| label.0),
            amount: amount.into_money(),
            pools: charges.map(find).transpose()?,
        });
    }
    if let Some(written) = &file.credit {
        let CreditFile { amount, name } = match written.get_ref() {
            ShortOr::Short(amount) => CreditFile { amount: amount.clone(), name: None },
            ShortOr::Table(table) => table.clone(),
        };
        let name = name.map_or_else(|| "credit".into(), |label| label.0);
        details.credit = Some(NamedAmount { name, amount: amount.into_money() });
    }
    if let Some(written) = &file.tax {
        let TaxFile { rate, name } = match written.get_ref() {
            ShortOr::Short(rate) => TaxFile { rate: rate.clone(), name: None },
            ShortOr::Table(table) => table.clone(),
        };
        details.tax =
            Some(Tax { name: name.map_or_else(|| "tax".into(), |it| it.0), rate: rate.0 });
    }
    Ok(())
}

/// Resolves a commitment. Its amount and its rates are of the prices before this file's other
/// discounts, in the currency of the extended model.
fn resolve_commitment(
    written: &Spanned<CommitmentFile>,
    model: &PriceModel,
    details: &ContractDetails,
    scale: &Scale,
) -> ResolveResult<Commitment> {
    let file = written.get_ref();
    let measured_at = file.measured_at.unwrap_or(MeasuredAt::DiscountedPrices);
    let mut covered: Vec<(CoveredPool, Exact)> = Vec::new();
    for name in covered_names(file, written.span())? {
        let pool = find_pool(model, name)?;
        if covered.iter().any(|(other, _)| other.pool == pool) {
            let text = format!("`{}` is covered twice", name.get_ref());
            return Err(SpannedProblem::new(name.span(), text));
        }
        if let (Some(price), true) = (file.rates.get(name), is_money(model, pool)) {
            let text = format!(
                "`{0}` is counted in {1}, by the prices of its charges: write what they cost less, \
                 discounts = {{ {2} = \"17 %\" }}",
                name.get_ref(),
                model.pools[pool].unit,
                toml::Value::from(name.get_ref().as_str())
            );
            return Err(SpannedProblem::new(price.span(), text));
        }
        let list = list_price(model, details, pool);
        let rate = commitment_rate(file, name, &list)?;
        let unit_price = list.checked_div(&model.pools[pool].per).unwrap_or_default();
        let price = &unit_price * &rate;
        covered.push((CoveredPool { pool, rate, billed: scale.billed_share(pool) }, price));
    }
    // The highest discount first, and of equal ones the lowest price.
    covered.sort_by(|(one, low), (other, high)| (&one.rate, low).cmp(&(&other.rate, high)));
    let first = covered.first().map(|(it, _)| it.rate.clone());
    if measured_at == MeasuredAt::ListPrices
        && covered.iter().any(|(it, _)| Some(&it.rate) != first.as_ref())
    {
        let text = "what is measured at list prices has one `discount`: the amount is paid less \
                    that";
        return Err(SpannedProblem::new(written.span(), text));
    }
    if file.per_hour.get_ref().value.is_zero() {
        let text = "a commitment is of more than 0 an hour";
        return Err(SpannedProblem::new(file.per_hour.span(), text));
    }
    let conversion = if file.discounted { &scale.rate * &scale.total } else { scale.rate.clone() };
    Ok(Commitment {
        name: file.name.as_ref().map_or_else(|| "commitment".into(), |it| Arc::clone(&it.0)),
        per_hour: file.per_hour.get_ref().clone().into_money(),
        measured_at,
        covered: covered.into_iter().map(|(it, _)| it).collect(),
        conversion,
        currency: details.base.currency().into(),
    })
}

/// Returns the names of what a commitment covers: `covers`, or those that have a rate.
fn covered_names(file: &CommitmentFile, span: Span) -> ResolveResult<Vec<&Spanned<String>>> {
    if let Some(covers) = &file.covers {
        let names: Vec<&Spanned<String>> = covers.get_ref().iter().collect();
        check_count(names.len(), 1, limits::CHARGES, "names", covers.span())?;
        let listed = |name: &Spanned<String>| names.iter().any(|it| it.get_ref() == name.get_ref());
        let given = file.discounts.keys().chain(file.rates.keys());
        if let Some(name) = given.into_iter().find(|name| !listed(name)) {
            let text = format!("`{}` has a rate and is not among `covers`", name.get_ref());
            return Err(SpannedProblem::new(name.span(), text));
        }
        return Ok(names);
    }
    let names: Vec<&Spanned<String>> = file.discounts.keys().chain(file.rates.keys()).collect();
    if names.is_empty() {
        let text = "what does it cover? Write covers = [\"duration\"], with the names of charges";
        return Err(SpannedProblem::new(span, text));
    }
    Ok(names)
}

/// Returns the first tier's price before this file's discounts, in the extended model's currency.
fn list_price(model: &PriceModel, details: &ContractDetails, pool: usize) -> Exact {
    let steps = details.price_steps.get(pool).map_or(&[][..], Vec::as_slice);
    let replaced = steps.iter().rev().find(|step| step.factor.is_none());
    let own = || {
        let base = details.base.pools().get(pool).and_then(|it| it.tiers().first());
        base.map(|tier| tier.price.as_exact().clone()).unwrap_or_default()
    };
    debug_assert!(pool < model.pools.len());
    replaced.map_or_else(own, |step| step.price.as_exact().clone())
}

/// Returns the discounted price of a position over its list price.
fn commitment_rate(
    file: &CommitmentFile,
    name: &Spanned<String>,
    list: &Exact,
) -> ResolveResult<Exact> {
    if let (Some(price), true) = (file.rates.get(name), file.discounts.contains_key(name)) {
        let text = format!("`{}` has a rate and a discount: write one of them", name.get_ref());
        return Err(SpannedProblem::new(price.span(), text));
    }
    if let Some(price) = file.rates.get(name) {
        let rate = price.get_ref().value.checked_div(list);
        return match rate {
            Some(rate) if rate <= Exact::from(1) => Ok(rate),
            Some(_) => Err(SpannedProblem::new(
                price.span(),
                format!("a rate is no more than the list price, {}", list.to_plain_string()),
            )),
            None => Err(SpannedProblem::new(price.span(), "what is free has no rate")),
        };
    }
    let percent = file.discounts.get(name).or(file.discount.as_ref());
    let percent = percent.ok_or_else(|| {
        let text = format!(
            "how much less does `{}` cost? Write discount = \"17 %\", or its price under \
             [commitment.rates]",
            name.get_ref()
        );
        SpannedProblem::new(name.span(), text)
    })?;
    Ok(percent.get_ref().remainder())
}
