//! Resolution of variants: the file with some of its keys replaced.

use toml::Spanned;

use super::{ResolveResult, unknown_name};
use crate::error::SpannedProblem;
use crate::scalars::Price;
use crate::schema::{ChargeFile, InputFile, ModelFile, ModelVariantFile, PoolFile};

/// Entry of a file that is found by its name: a charge, pool or input.
trait NamedEntry {
    fn name(&self) -> &str;
}

impl NamedEntry for ChargeFile {
    fn name(&self) -> &str {
        &self.name.get_ref().0
    }
}

impl NamedEntry for PoolFile {
    fn name(&self) -> &str {
        &self.name.get_ref().0
    }
}

impl NamedEntry for InputFile {
    fn name(&self) -> &str {
        &self.name.get_ref().0
    }
}

/// Applies a variant to its base file and returns the resulting whole file.
pub(super) fn apply_variant(
    base: &ModelFile,
    variant: Spanned<ModelVariantFile>,
) -> ResolveResult<ModelFile> {
    let variant = variant.into_inner();
    let mut file = base.clone();
    file.id = variant.id;
    file.name = variant.name;
    file.provider = variant.provider.or(file.provider);
    file.currency = variant.currency.unwrap_or(file.currency);
    file.granularity = variant.granularity.unwrap_or(file.granularity);
    file.effective_from = variant.effective_from.unwrap_or(file.effective_from);
    file.effective_until = variant.effective_until.or(file.effective_until);
    // Another region is another tariff unless it says otherwise.
    file.tariff = variant.tariff;
    file.retrieved = variant.retrieved.unwrap_or(file.retrieved);
    file.source = variant.source.unwrap_or(file.source);
    file.uncertain = variant.uncertain.or(file.uncertain);
    file.rounding = variant.rounding.unwrap_or(file.rounding);
    file.digits = variant.digits.or(file.digits);
    file.gb = variant.gb.unwrap_or(file.gb);
    file.month_days = variant.month_days.or(file.month_days);
    let span = file.charge.span();
    let mut charges = file.charge.into_inner();
    for name in &variant.without {
        remove_named(name, &mut charges, &mut file.pool, &mut file.input)?;
    }
    replace_by_name(&mut file.input, variant.input);
    replace_by_name(&mut file.pool, variant.pool);
    replace_by_name(&mut charges, variant.charge);
    for (name, price) in variant.prices {
        replace_price(&name, &price, &mut charges, &mut file.pool)?;
    }
    file.charge = Spanned::new(span, charges);
    Ok(file)
}

fn replace_by_name<T: NamedEntry>(list: &mut Vec<Spanned<T>>, news: Vec<Spanned<T>>) {
    for new in news {
        match list.iter_mut().find(|old| old.get_ref().name() == new.get_ref().name()) {
            Some(old) => *old = new,
            None => list.push(new),
        }
    }
}

fn remove_named(
    name: &Spanned<String>,
    charges: &mut Vec<Spanned<ChargeFile>>,
    pools: &mut Vec<Spanned<PoolFile>>,
    inputs: &mut Vec<Spanned<InputFile>>,
) -> ResolveResult<()> {
    let before = charges.len() + pools.len() + inputs.len();
    let problem = {
        let known = charges.iter().map(|it| it.get_ref().name());
        let known = known.chain(pools.iter().map(|it| it.get_ref().name()));
        unknown_name(
            "charge, pool or input",
            name,
            known.chain(inputs.iter().map(|it| it.get_ref().name())),
        )
    };
    charges.retain(|it| it.get_ref().name() != name.get_ref());
    pools.retain(|it| it.get_ref().name() != name.get_ref());
    inputs.retain(|it| it.get_ref().name() != name.get_ref());
    if charges.len() + pools.len() + inputs.len() == before { Err(problem) } else { Ok(()) }
}

fn replace_price(
    name: &Spanned<String>,
    price: &Price,
    charges: &mut [Spanned<ChargeFile>],
    pools: &mut [Spanned<PoolFile>],
) -> ResolveResult<()> {
    let charge = charges.iter_mut().map(Spanned::get_mut).find(|it| it.name() == name.get_ref());
    let pool = pools.iter_mut().map(Spanned::get_mut).find(|it| it.name() == name.get_ref());
    // A charge may feed a pool of its own name: the price is then the pool's.
    let slot = match (charge, pool) {
        (_, Some(pool)) => &mut pool.price,
        (Some(charge), None) => &mut charge.price,
        (None, None) => {
            let known = charges.iter().map(|it| it.get_ref().name());
            let known = known.chain(pools.iter().map(|it| it.get_ref().name()));
            return Err(unknown_name("charge or pool", name, known));
        }
    };
    if slot.is_none() {
        let text = format!(
            "`{}` has no plain price: a variant replaces its tiers with a charge of its own",
            name.get_ref()
        );
        return Err(SpannedProblem::new(name.span(), text));
    }
    *slot = Some(price.clone());
    Ok(())
}
