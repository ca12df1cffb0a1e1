//! Resolution of charges, pools, tiers and allowances.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use super::{ResolveResult, check_count, factor, input_position, limits, unknown_name};
use crate::charge::{Charge, Measure, ModelInput, MonthlyAllowance, Pool, Tier};
use crate::error::SpannedProblem;
use crate::number::Exact;
use crate::scalars::{Per, Price};
use crate::schema::{ChargeBasis, ChargeFile, ModelInputKind, PoolFile, TierFile};
use cyclometer_core::quantity::{Decimal, QuantityError};

/// Resolves the charges and their pools, in the order of the charges that feed them.
pub(super) fn resolve_charges(
    list: Spanned<Vec<Spanned<ChargeFile>>>,
    pools: Vec<Spanned<PoolFile>>,
    inputs: &[ModelInput],
) -> ResolveResult<(Vec<Pool>, Vec<Arc<Charge>>)> {
    check_count(list.get_ref().len(), 1, limits::CHARGES, "[[charge]]", list.span())?;
    let mut pools = PoolResolver::new(pools)?;
    let mut charges: Vec<Arc<Charge>> = Vec::new();
    for file in list.into_inner() {
        let name = &file.get_ref().name;
        if charges.iter().any(|other| other.name == name.get_ref().0) {
            let text = format!("there are two charges `{}`", name.get_ref().0);
            return Err(SpannedProblem::new(name.span(), text));
        }
        charges.push(Arc::new(resolve_charge(file, &mut pools, inputs)?));
    }
    Ok((pools.into_used_pools()?, charges))
}

/// Declared pools, and those that are in use.
struct PoolResolver {
    declared: Vec<(Range<usize>, Pool)>,
    used: Vec<Pool>,
    /// Positions that use up the allowance of another, with the name of that one.
    rests: Vec<(Arc<str>, Spanned<String>)>,
}

impl PoolResolver {
    fn new(files: Vec<Spanned<PoolFile>>) -> ResolveResult<Self> {
        let mut declared: Vec<(Range<usize>, Pool)> = Vec::new();
        let mut rests = Vec::new();
        for file in files {
            let span = file.span();
            let file = file.into_inner();
            let name = file.name;
            let at = name.span();
            let prices = PriceKeys {
                price: file.price,
                per: file.per,
                free: file.free,
                credit_price: file.credit_price,
                free_rest_of: file.free_rest_of,
                package: file.package,
                tier: file.tier,
            };
            rests.extend(prices.free_rest_of.clone().map(|rest| (name.get_ref().0.clone(), rest)));
            let pool = prices.into_pool(name.into_inner().0, file.unit.0, true, &span)?;
            if declared.iter().any(|(_, other)| other.name == pool.name) {
                return Err(SpannedProblem::new(
                    at,
                    format!("there are two pools `{}`", pool.name),
                ));
            }
            declared.push((at, pool));
        }
        Ok(Self { declared, used: Vec::new(), rests })
    }

    /// Returns the index of the declared pool with that name among those in use.
    fn use_declared_pool(&mut self, name: &Spanned<String>) -> ResolveResult<usize> {
        let at = self.used.iter().position(|pool| pool.shared && &*pool.name == name.get_ref());
        if let Some(at) = at {
            return Ok(at);
        }
        let found = self.declared.iter().find(|(_, pool)| &*pool.name == name.get_ref());
        let Some((_, pool)) = found else {
            return Err(unknown_name(
                "pool",
                name,
                self.declared.iter().map(|(_, pool)| pool.name()),
            ));
        };
        self.used.push(pool.clone());
        Ok(self.used.len() - 1)
    }

    fn add_own_pool(&mut self, pool: Pool, span: Range<usize>) -> ResolveResult<usize> {
        let taken = self.used.iter().chain(self.declared.iter().map(|(_, pool)| pool));
        if taken.into_iter().any(|other| other.name == pool.name) {
            let text = format!("a pool and a charge are both called `{}`", pool.name);
            return Err(SpannedProblem::new(span, text));
        }
        self.used.push(pool);
        Ok(self.used.len() - 1)
    }

    fn into_used_pools(self) -> ResolveResult<Vec<Pool>> {
        for (name, other) in &self.rests {
            self.check_shared_allowance(name, other)?;
        }
        let unused =
            self.declared.iter().find(|(_, pool)| !self.used.iter().any(|it| it.name == pool.name));
        match unused {
            Some((span, pool)) => {
                let text = format!("no charge feeds the pool `{}`", pool.name);
                Err(SpannedProblem::new(span.clone(), text))
            }
            None => Ok(self.used),
        }
    }
}

impl PoolResolver {
    /// Checks that a position of this name may use up what `other` leaves of its allowance.
    fn check_shared_allowance(&self, name: &str, other: &Spanned<String>) -> ResolveResult<()> {
        let find = |name: &str| self.used.iter().find(|pool| &*pool.name == name);
        // A pool that no charge feeds is complained of elsewhere.
        let Some(own) = find(name) else { return Ok(()) };
        let others = self.used.iter().filter(|pool| &*pool.name != name);
        let Some(pool) = find(other.get_ref()).filter(|pool| &*pool.name != name) else {
            return Err(unknown_name("other position", other, others.map(Pool::name)));
        };
        let text = match &pool.free {
            None => format!("`{}` has no allowance that it could leave", pool.name),
            Some(free) if free.credit_price.is_some() => {
                format!("the allowance of `{}` is money: its rest is no quantity", pool.name)
            }
            Some(_) if pool.unit != own.unit => format!(
                "the allowance of `{}` is in {}, and this position in {}",
                pool.name, pool.unit, own.unit
            ),
            Some(_) => return Ok(()),
        };
        Err(SpannedProblem::new(other.span(), text))
    }
}

fn resolve_charge(
    file: Spanned<ChargeFile>,
    pools: &mut PoolResolver,
    inputs: &[ModelInput],
) -> ResolveResult<Charge> {
    let span = file.span();
    let mut file = file.into_inner();
    let basis = file.basis.unwrap_or(ChargeBasis::Request);
    let least = usize::from(basis != ChargeBasis::Period);
    check_count(file.factor.len(), least, limits::FACTORS, "[[charge.factor]]", span.clone())?;
    let mut factors = Vec::new();
    for written in std::mem::take(&mut file.factor) {
        let at = written.span();
        let factor = factor::resolve_factor(written, inputs)?;
        check_basis(&factor.measure, basis, at)?;
        factors.push(factor);
    }
    let units: Vec<&str> = factors.iter().map(|factor| &**factor.billed_unit()).collect();
    let unit = match (file.unit.take(), units.as_slice()) {
        (Some(label), _) => label.0,
        (None, []) => "month".into(),
        (None, units) => units.join("-").into(),
    };
    let condition = resolve_condition(&file, inputs)?;
    let name = file.name.get_ref().0.clone();
    let (pool, weight) = resolve_pool(file, &unit, pools, &span)?;
    let rate = &weight * &pools.used[pool].list_rate();
    Ok(Charge { name, unit, basis, pool, weight, rate, condition, factors })
}

/// Checks that a charge by period measures only what is the same for all invocations, and that
/// other charges do not use the period.
fn check_basis(measure: &Measure, basis: ChargeBasis, span: Range<usize>) -> ResolveResult<()> {
    let by_period = matches!(measure, Measure::Period | Measure::Month);
    let text = match basis {
        ChargeBasis::Period if !measure.is_constant() || matches!(measure, Measure::Requests) => {
            "a charge by period has inputs and `period` for factors: nothing that is measured"
        }
        ChargeBasis::Request | ChargeBasis::Instance if by_period => {
            "the length of the period is for charges with basis = \"period\""
        }
        _ => return Ok(()),
    };
    Err(SpannedProblem::new(span, text))
}

fn resolve_condition(
    file: &ChargeFile,
    inputs: &[ModelInput],
) -> ResolveResult<Option<(usize, bool)>> {
    let (name, on) = match (&file.when, &file.unless) {
        (None, None) => return Ok(None),
        (Some(name), None) => (name, true),
        (None, Some(name)) => (name, false),
        (Some(_), Some(unless)) => {
            return Err(SpannedProblem::new(
                unless.span(),
                "a charge has `when` or `unless`, not both",
            ));
        }
    };
    let position = input_position(inputs, name)?;
    if inputs[position].kind != ModelInputKind::Switch {
        let text = format!("`{}` is no switch: only switches are on or off", name.get_ref());
        return Err(SpannedProblem::new(name.span(), text));
    }
    Ok(Some((position, on)))
}

/// Resolves the pool that the charge feeds, and its weight.
fn resolve_pool(
    file: ChargeFile,
    unit: &Arc<str>,
    pools: &mut PoolResolver,
    span: &Range<usize>,
) -> ResolveResult<(usize, Exact)> {
    let prices = PriceKeys {
        price: file.price,
        per: file.per,
        free: file.free,
        credit_price: file.credit_price,
        free_rest_of: file.free_rest_of,
        package: file.package,
        tier: file.tier,
    };
    let Some(name) = file.pool else {
        if let Some(weight) = file.weight {
            return Err(SpannedProblem::new(
                weight.span(),
                "a weight is for charges with a `pool`",
            ));
        }
        let at = file.name.span();
        let rest = prices.free_rest_of.clone();
        pools.rests.extend(rest.map(|rest| (file.name.get_ref().0.clone(), rest)));
        let pool = prices.into_pool(file.name.into_inner().0, Arc::clone(unit), false, span)?;
        return Ok((pools.add_own_pool(pool, at)?, Exact::from(1)));
    };
    if !prices.is_empty() {
        let text = "a charge with a `pool` has no prices of its own: they are the pool's";
        return Err(SpannedProblem::new(name.span(), text));
    }
    let weight = file.weight.map_or(Exact::from(1), |weight| weight.into_inner().0);
    Ok((pools.use_declared_pool(&name)?, weight))
}

/// Price keys that charges and pools have in common.
struct PriceKeys {
    price: Option<Price>,
    per: Option<Spanned<Per>>,
    free: Option<Spanned<String>>,
    credit_price: Option<Spanned<Price>>,
    free_rest_of: Option<Spanned<String>>,
    package: Option<Spanned<String>>,
    tier: Vec<Spanned<TierFile>>,
}

impl PriceKeys {
    const fn is_empty(&self) -> bool {
        self.price.is_none()
            && self.per.is_none()
            && self.free.is_none()
            && self.credit_price.is_none()
            && self.free_rest_of.is_none()
            && self.package.is_none()
            && self.tier.is_empty()
    }

    fn into_pool(
        self,
        name: Arc<str>,
        unit: Arc<str>,
        shared: bool,
        span: &Range<usize>,
    ) -> ResolveResult<Pool> {
        let tiers = match (self.price, self.tier) {
            (Some(price), tiers) if tiers.is_empty() => {
                vec![Tier { up_to: None, price: price.into_money() }]
            }
            (None, tiers) if !tiers.is_empty() => resolve_tiers(tiers, &unit)?,
            _ => {
                let text = format!(
                    "`{name}` has a `price` or [[tier]]s, one of the two (a charge may have a \
                     `pool` instead)"
                );
                return Err(SpannedProblem::new(span.clone(), text));
            }
        };
        if let (Some(rest), Some(_)) = (&self.free_rest_of, &self.free) {
            let text = "a position has `free` or `free_rest_of`, not both";
            return Err(SpannedProblem::new(rest.span(), text));
        }
        let free = resolve_allowance(self.free, self.credit_price, &unit)?;
        let rest_of = self.free_rest_of.map(|name| name.into_inner().into());
        let package = self.package.map(|text| resolve_package(&text, &unit)).transpose()?;
        let per = self.per.map_or(Exact::from(1), |per| per.into_inner().0);
        Ok(Pool { name, unit, tiers, per, free, rest_of, package, shared })
    }
}

pub(crate) fn resolve_tiers(files: Vec<Spanned<TierFile>>, unit: &str) -> ResolveResult<Vec<Tier>> {
    let last = files.len() - 1;
    let mut tiers: Vec<Tier> = Vec::with_capacity(files.len());
    for (index, file) in files.into_iter().enumerate() {
        let span = file.span();
        let file = file.into_inner();
        let up_to = match (&file.up_to, index == last) {
            (None, true) => None,
            (Some(text), false) => Some((parse_in_unit(text, unit)?, text.span())),
            (None, false) => {
                return Err(SpannedProblem::new(span, "only the last tier has no `up_to`"));
            }
            (Some(text), true) => {
                let text = (text.span(), "the last tier has no `up_to`: what is beyond it?");
                return Err(SpannedProblem::new(text.0, text.1));
            }
        };
        let before = tiers.last().and_then(|tier| tier.up_to.as_ref());
        if let (Some(before), Some((end, span))) = (before, &up_to)
            && end <= before
        {
            let text = format!("tiers ascend: this one ends at {end}, the one before at {before}");
            return Err(SpannedProblem::new(span.clone(), text));
        }
        tiers.push(Tier { up_to: up_to.map(|(end, _)| end), price: file.price.into_money() });
    }
    Ok(tiers)
}

fn resolve_package(text: &Spanned<String>, unit: &str) -> ResolveResult<Exact> {
    let package = parse_in_unit(text, unit)?;
    if package.is_zero() {
        return Err(SpannedProblem::new(text.span(), "a package holds more than 0"));
    }
    Ok(package)
}

fn resolve_allowance(
    text: Option<Spanned<String>>,
    credit_price: Option<Spanned<Price>>,
    unit: &str,
) -> ResolveResult<Option<MonthlyAllowance>> {
    match (text, credit_price) {
        (Some(text), credit) => Ok(Some(MonthlyAllowance {
            quantity: parse_in_unit(&text, unit)?,
            credit_price: credit.map(|price| price.into_inner().into_money()),
        })),
        (None, Some(price)) => Err(SpannedProblem::new(
            price.span(),
            "`credit_price` is what `free` is worth: it has none",
        )),
        (None, None) => Ok(None),
    }
}

/// Parses `400000 GB-s` where the unit must be `unit`, in singular or plural.
pub(crate) fn parse_in_unit(text: &Spanned<String>, unit: &str) -> ResolveResult<Exact> {
    let problem = |message: String| SpannedProblem::new(text.span(), message);
    let read = |error: QuantityError| problem(error.to_string());
    let fits = |given: &str| given == unit || given.strip_suffix('s') == Some(unit);
    let (number, given) = Decimal::parse_prefix(text.get_ref()).map_err(read)?;
    if fits(given) {
        return Ok(Exact::from(&number));
    }
    // 400k GB-s, unless the unit itself is such a letter.
    let (number, given) = Decimal::parse_count_prefix(text.get_ref()).map_err(read)?;
    if fits(given) {
        return Ok(Exact::from(&number));
    }
    Err(problem(format!("`{given}` is not the unit of this position: write a number and `{unit}`")))
}
