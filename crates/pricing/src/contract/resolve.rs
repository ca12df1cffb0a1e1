//! Resolution of a contract: the model that it extends with its prices, discounts and terms.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use toml::Spanned;

use super::file::{
    AllowanceKey, ContractFile, CurrencyFile, Named, Percent, PriceChange, RegionFile, RegionKey,
    region_model_id,
};
use super::period_terms::set_period_terms;
use super::{Commitment, ContractDetails, MAX_DEPTH, PriceStep, format_percent};
use crate::charge::{Charge, MonthlyAllowance, Pool, Tier};
use crate::error::SpannedProblem;
use crate::model::{PriceModel, hex_digest};
use crate::money::Money;
use crate::number::Exact;
use crate::resolve::{
    ResolveResult, attach_example, check_bill_cost, check_count, check_distinct, limits,
    parse_in_unit, resolve_digits, resolve_tiers, unknown_name,
};
use crate::scalars::{Label, Ratio};
use crate::unit::Dimension;

/// Regions that one file may have.
const MAX_REGIONS: usize = 64;

/// Models that a contract may extend.
pub(crate) trait BaseModels {
    /// Returns the model of that id.
    ///
    /// # Errors
    ///
    /// Returns a description of what there is instead.
    fn find_base(&self, id: &str) -> Result<PriceModel, String>;
}

impl BaseModels for [PriceModel] {
    fn find_base(&self, id: &str) -> Result<PriceModel, String> {
        let regional = || {
            let of_these = |model: &&PriceModel| {
                let base = model.contract().map(ContractDetails::base);
                base.is_some_and(|base| self.contains(base))
            };
            crate::catalog::find_regional_model(id).filter(of_these)
        };
        let found = self.iter().find(|model| model.id() == id).or_else(regional);
        found.cloned().ok_or_else(|| crate::catalog::unknown_model(id, self.iter()).to_string())
    }
}

/// Models that a contract may extend, without the regional ones, which may not have been read yet.
pub(crate) struct TheseModels<'a>(pub &'a [PriceModel]);

impl BaseModels for TheseModels<'_> {
    fn find_base(&self, id: &str) -> Result<PriceModel, String> {
        let found = self.0.iter().find(|model| model.id() == id);
        found.cloned().ok_or_else(|| format!("there is no price model `{id}`"))
    }
}

/// Resolves all models of a contract file: one, or one for each of its regions.
pub(crate) fn models_from_contract(
    mut file: ContractFile,
    text: &str,
    origin: &str,
    known: &(impl BaseModels + ?Sized),
) -> ResolveResult<Vec<PriceModel>> {
    let base = find_base(&file, origin, known)?;
    let examples = std::mem::take(&mut file.example);
    if examples.len() > limits::EXAMPLES {
        let text = format!("more than {} examples", limits::EXAMPLES);
        return Err(SpannedProblem::new(0..0, text));
    }
    let mut region_note = None;
    let region = file.region.take().map(|region| (region.span(), region.into_inner()));
    let regions = match region {
        None => vec![None],
        Some((span, RegionKey::Name(label))) => {
            region_note = check_region(&label.0, span, &file, &base)?;
            vec![Some(single_region(label))]
        }
        Some((_, RegionKey::List(list))) => {
            let span = file.id.span();
            check_count(list.len(), 1, MAX_REGIONS, "[[region]]", span)?;
            list.into_iter().map(|region| Some(region.into_inner())).collect()
        }
    };
    let complete: Arc<str> = complete_text(text, &file, &base).into();
    let origin = Origin { text: text.into(), complete, name: origin.into(), base, region_note };
    let mut models = Vec::new();
    let mut spans = Vec::new();
    for region in regions {
        spans.push(identity_spans(&file, region.as_ref()));
        let model = resolve_one(&file, region.as_ref(), &origin)?;
        if model.id() == file.extends.get_ref() {
            return Err(SpannedProblem::new(file.extends.span(), extends_itself(model.id())));
        }
        models.push(model);
    }
    check_distinct(&models, &spans)?;
    for written in examples {
        attach_example(written, &mut models)?;
    }
    Ok(models)
}

struct Origin {
    text: Arc<str>,
    complete: Arc<str>,
    name: Arc<str>,
    base: Arc<PriceModel>,
    region_note: Option<String>,
}

pub(super) type Span = std::ops::Range<usize>;

fn identity_spans(file: &ContractFile, region: Option<&RegionFile>) -> (Span, Span) {
    let id = region.and_then(|it| it.id.as_ref()).map_or(file.id.span(), Spanned::span);
    let from = region.and_then(|it| it.effective_from.as_ref()).or(file.effective_from.as_ref());
    (id.clone(), from.map_or(id, Spanned::span))
}

/// Returns a region that is only a label.
fn single_region(label: Label) -> RegionFile {
    RegionFile {
        region: Spanned::new(0..0, label),
        id: None,
        name: None,
        source: None,
        retrieved: None,
        effective_from: None,
        effective_until: None,
        uncertain: None,
        prices: BTreeMap::new(),
        weights: BTreeMap::new(),
    }
}

/// Checks that the prices of a contract with a single region are of that region, as far as can be
/// known; returns what is to be said about those that are the extended model's.
///
/// No shipped file has a single region: those are read before the regional models.
fn check_region(
    label: &str,
    span: Span,
    file: &ContractFile,
    base: &PriceModel,
) -> ResolveResult<Option<String>> {
    if base.contract().and_then(ContractDetails::region) == Some(label) {
        return Ok(None);
    }
    let has_own = !file.prices.is_empty() || !file.weights.is_empty();
    // What was stored with its base is read as it was written.
    if !has_own
        && file.base.is_none()
        && let Some(shipped) = crate::catalog::find_region_of(base, label)
    {
        let text = format!(
            "the prices of `{}` are not those of {label}: write extends = \"{}\", or your own \
             [prices]",
            base.id(),
            shipped.id()
        );
        return Err(SpannedProblem::new(span, text));
    }
    if !has_own {
        return Ok(Some(format!("all prices are those of {}, not of {label}", base.id())));
    }
    let is_own = |pool: usize| {
        let named = |name: &str| file.prices.keys().any(|key| key.get_ref() == name);
        let weighted = |name: &str| file.weights.keys().any(|key| key.get_ref() == name);
        let mut charges = base.charges.iter().filter(|charge| charge.pool == pool);
        named(&base.pools[pool].name) || charges.any(|charge| weighted(&charge.name))
    };
    let others = (0..base.pools.len()).filter(|pool| !is_own(*pool));
    let others: Vec<&str> = others.map(|pool| &*base.pools[pool].name).collect();
    Ok((!others.is_empty())
        .then(|| format!("as in {}, not of {label}: {}", base.id(), others.join(", "))))
}

fn extends_itself(id: &str) -> String {
    format!("`{id}` cannot extend itself: write the id of another model")
}

/// Finds the extended model: among those that the file carries, or else among the known ones.
fn find_base(
    file: &ContractFile,
    origin: &str,
    known: &(impl BaseModels + ?Sized),
) -> ResolveResult<Arc<PriceModel>> {
    let id = file.extends.get_ref();
    let problem = |text: String| SpannedProblem::new(file.extends.span(), text);
    let found = match &file.base {
        None => known.find_base(id),
        Some(written) => {
            let list = written.get_ref();
            check_count(list.len(), 1, MAX_DEPTH, "[[base]]", written.span())?;
            let mut carried: Vec<PriceModel> = Vec::new();
            for base in list.iter().rev() {
                let read = PriceModel::parse_over(&base.text, origin, &TheseModels(&carried));
                let read = read.map_err(|error| problem(format!("a carried file: {error}")))?;
                carried.extend(read);
            }
            TheseModels(&carried).find_base(id)
        }
    };
    // A file of regions has no model of its own id.
    let own = *id == file.id.get_ref().0
        && !matches!(file.region.as_ref().map(Spanned::get_ref), Some(RegionKey::List(_)));
    if own {
        return Err(problem(extends_itself(id)));
    }
    let base = found.map_err(problem)?;
    let depth = base.contract().map_or(0, |contract| contract.depth);
    if depth >= MAX_DEPTH {
        return Err(problem(format!(
            "`{id}` is the last of {MAX_DEPTH} contracts over each other, the most there may be: \
             extend one of those below it"
        )));
    }
    Ok(Arc::new(base))
}

/// Builds the text of the contract with all files that it builds on.
fn complete_text(text: &str, file: &ContractFile, base: &PriceModel) -> String {
    let mut complete = text.to_owned();
    if file.base.is_some() {
        return complete;
    }
    let mut next = Some(base);
    while let Some(model) = next {
        let quoted = toml::Value::from(model.source_text());
        // Writing to a string cannot fail.
        let _ = write!(complete, "\n[[base]]\ntext = {quoted}\n");
        next = model.contract().map(ContractDetails::base);
    }
    complete
}

/// Resolves the contract for one region.
fn resolve_one(
    file: &ContractFile,
    region: Option<&RegionFile>,
    origin: &Origin,
) -> ResolveResult<PriceModel> {
    let mut model = (*origin.base).clone();
    model.examples.clear();
    model.text = Arc::clone(&origin.text);
    model.digest = hex_digest(&origin.complete).into();
    model.origin = Arc::clone(&origin.name);
    let base = origin.base.contract();
    let label = region.map(|it| Arc::clone(&it.region.get_ref().0));
    set_identity(&mut model, file, region)?;
    let mut steps = Steps::new(&model);
    steps.other.extend(origin.region_note.clone());
    if let Some(month) = &file.month {
        set_month(&mut model, month.get_ref().0.clone());
        steps.other.push(format!("a month of {}", Dimension::Time.format_value(&model.month)));
    }
    let what = label.as_deref().map_or_else(|| "contract".to_owned(), |it| format!("region {it}"));
    steps.replace_prices(&mut model, &file.prices, "contract")?;
    if let Some(region) = region {
        steps.replace_prices(&mut model, &region.prices, &what)?;
    }
    let mut charges: Vec<Charge> = model.charges.iter().map(|it| (**it).clone()).collect();
    steps.replace_weights(&model, &mut charges, &file.weights)?;
    if let Some(region) = region {
        steps.replace_weights(&model, &mut charges, &region.weights)?;
    }
    let factors = steps.discount(&mut model, file)?;
    let rate = steps.convert(&mut model, file.currency.as_ref())?;
    steps.set_allowances(&mut model, file)?;
    for charge in &mut charges {
        charge.rate = &charge.weight * &model.pools[charge.pool].list_rate();
    }
    model.charges = charges.into_iter().map(Arc::new).collect();
    check_bill_cost(&model.charges, file.extends.span())?;
    let total = file.discount.as_ref().map_or_else(|| Exact::from(1), Percent::remainder);
    let scale = Scale { factors, total, rate };
    let mut details = ContractDetails {
        base: Arc::clone(&origin.base),
        region: label.or_else(|| base.and_then(|it| it.region.clone())),
        depth: base.map_or(0, |it| it.depth) + 1,
        price_steps: steps.prices,
        other_steps: steps.other,
        commitment: base.and_then(|it| scale.inherit_commitment(it.commitment.as_ref())),
        minimum: base.and_then(|it| it.minimum.clone()),
        credit: base.and_then(|it| it.credit.clone()),
        tax: base.and_then(|it| it.tax.clone()),
        complete_text: Arc::clone(&origin.complete),
    };
    scale.convert_inherited(&mut details);
    set_period_terms(&mut details, &model, file, &scale)?;
    model.contract = Some(Arc::new(details));
    check_line_names(&model, file)?;
    Ok(model)
}

fn set_identity(
    model: &mut PriceModel,
    file: &ContractFile,
    region: Option<&RegionFile>,
) -> ResolveResult<()> {
    let identity = &mut model.identity;
    let written = &file.id.get_ref().0;
    let label = region.filter(|it| it.region.span() != (0..0)).map(|it| &*it.region.get_ref().0);
    identity.id = match (region.and_then(|it| it.id.as_ref()), label) {
        (Some(id), _) => id.get_ref().0.clone(),
        (None, Some(label)) => region_id(written, label, region)?,
        (None, None) => written.clone(),
    };
    identity.name = match (region.and_then(|it| it.name.as_ref()), label) {
        (Some(name), _) => Arc::clone(&name.0),
        (None, Some(label)) => format!("{}, {label}", file.name.0).into(),
        (None, None) => Arc::clone(&file.name.0),
    };
    let pick = |own: fn(&RegionFile) -> Option<&Label>, all: Option<&Label>| {
        region.and_then(own).or(all).map(|label| Arc::clone(&label.0))
    };
    if let Some(source) = pick(|it| it.source.as_ref(), file.source.as_ref()) {
        identity.source = source;
    }
    identity.uncertain = pick(|it| it.uncertain.as_ref(), file.uncertain.as_ref())
        .or_else(|| identity.uncertain.take());
    if let Some(day) = region.and_then(|it| it.retrieved.as_ref()).or(file.retrieved.as_ref()) {
        identity.retrieved.clone_from(&day.0);
    }
    let from = region.and_then(|it| it.effective_from.as_ref()).or(file.effective_from.as_ref());
    let until = region.and_then(|it| it.effective_until.as_ref()).or(file.effective_until.as_ref());
    if let Some(day) = from {
        identity.effective_from.clone_from(&day.get_ref().0);
    }
    if let Some(day) = until {
        identity.effective_until = Some(day.get_ref().0.clone());
    }
    if let Some(span) = until.or(from).map(Spanned::span)
        && identity.effective_until.as_ref().is_some_and(|end| *end <= identity.effective_from)
    {
        let text = "`effective_until` is the first day it no longer holds: after `effective_from`";
        return Err(SpannedProblem::new(span, text));
    }
    identity.tariff = match &file.tariff {
        Some(tariff) => tariff.0.clone(),
        None => identity.id.clone(),
    };
    if let Some(policy) = file.rounding {
        model.rounding.policy = policy;
    }
    if let Some(digits) = resolve_digits(file.digits.as_ref())? {
        model.rounding.digits = digits;
    }
    Ok(())
}

/// Builds the id of a region's model from the file's id and the region.
fn region_id(id: &str, label: &str, region: Option<&RegionFile>) -> ResolveResult<String> {
    let whole = region_model_id(id, label);
    crate::scalars::Id::try_from(whole).map(|id| id.0).map_err(|error| {
        let span = region.map_or(0..0, |it| it.region.span());
        SpannedProblem::new(span, format!("{error}: give this region an `id` of its own"))
    })
}

fn set_month(model: &mut PriceModel, month: Exact) {
    for input in model.inputs.iter_mut().filter(|input| input.follows_period) {
        input.default = Some(month.clone());
    }
    model.month = month;
}

/// The steps of a contract, applied to the model and noted.
struct Steps {
    prices: Vec<Vec<PriceStep>>,
    other: Vec<String>,
}

/// Factors by which a contract changes what is billed.
pub(super) struct Scale {
    /// What the contract's discounts and its currency leave of a list price, by pool.
    factors: Vec<Exact>,
    /// What the discount in total leaves.
    pub(super) total: Exact,
    /// Units of the contract's currency for one of the extended model's.
    pub(super) rate: Exact,
}

impl Steps {
    fn new(model: &PriceModel) -> Self {
        Self { prices: vec![Vec::new(); model.pools.len()], other: Vec::new() }
    }

    fn note_price(&mut self, model: &PriceModel, pool: usize, name: &str, factor: Option<Exact>) {
        let tier = model.pools[pool].tiers.first();
        let price = tier.map(|tier| tier.price.clone()).unwrap_or_default();
        let currency = model.currency().into();
        self.prices[pool].push(PriceStep { name: name.into(), factor, price, currency });
    }

    fn replace_prices(
        &mut self,
        model: &mut PriceModel,
        prices: &Named<PriceChange>,
        what: &str,
    ) -> ResolveResult<()> {
        for (name, change) in prices {
            let pool = find_pool(model, name)?;
            if is_money(model, pool) {
                let price = match change.get_ref() {
                    PriceChange::Plain(price) => price.value.to_plain_string(),
                    PriceChange::Tiers(_) => "...".to_owned(),
                };
                return Err(SpannedProblem::new(change.span(), write_weights(model, pool, &price)));
            }
            let before = &model.pools[pool].tiers;
            let tiers = match change.get_ref() {
                PriceChange::Plain(_) if before.len() > 1 => {
                    let text = format!(
                        "`{}` has {} tiers: write all of them, such as [{{ up_to = \"{} {}\", \
                         price = \"{}\" }}, {{ price = \"...\" }}]",
                        name.get_ref(),
                        before.len(),
                        before[0].up_to.clone().unwrap_or_default(),
                        model.pools[pool].unit(),
                        before[0].price
                    );
                    return Err(SpannedProblem::new(change.span(), text));
                }
                PriceChange::Plain(price) => {
                    vec![Tier { up_to: None, price: price.clone().into_money() }]
                }
                PriceChange::Tiers(list) => {
                    check_count(list.len(), 1, limits::ROWS, "tiers", change.span())?;
                    resolve_tiers(list.clone(), model.pools[pool].unit())?
                }
            };
            model.pools[pool].tiers = tiers;
            self.note_price(model, pool, what, None);
        }
        Ok(())
    }

    fn replace_weights(
        &mut self,
        model: &PriceModel,
        charges: &mut [Charge],
        weights: &BTreeMap<Spanned<String>, Spanned<Ratio>>,
    ) -> ResolveResult<()> {
        for (name, weight) in weights {
            let found = charges.iter().position(|charge| &*charge.name == name.get_ref());
            let Some(at) = found else {
                return Err(unknown_name("charge", name, charges.iter().map(Charge::name)));
            };
            if !model.pools[charges[at].pool].shared {
                let text = format!(
                    "`{0}` feeds no pool and has no weight: write [prices] {1} = \"...\"",
                    name.get_ref(),
                    toml::Value::from(name.get_ref().as_str())
                );
                return Err(SpannedProblem::new(name.span(), text));
            }
            let shown = weight.get_ref().0.to_fraction_string();
            let shown = shown.unwrap_or_else(|| weight.get_ref().0.to_plain_string());
            self.other.push(format!("a weight of {shown} for {}", name.get_ref()));
            charges[at].weight = weight.get_ref().0.clone();
        }
        Ok(())
    }

    /// Applies the discounts; returns what they leave of the list price of each pool.
    fn discount(
        &mut self,
        model: &mut PriceModel,
        file: &ContractFile,
    ) -> ResolveResult<Vec<Exact>> {
        let mut factors = vec![Exact::from(1); model.pools.len()];
        let mut apply = |model: &mut PriceModel, pool: usize, percent: &Percent, what: &str| {
            let left = percent.remainder();
            scale_pool(&mut model.pools[pool], &left);
            factors[pool] = &factors[pool] * &left;
            let name = format!("{what} {}", format_percent(&percent.0));
            self.note_price(model, pool, &name, Some(left));
        };
        for (name, percent) in &file.discounts {
            let pool = find_pool(model, name)?;
            let what = format!("discount on {}", name.get_ref());
            apply(model, pool, percent.get_ref(), &what);
        }
        if let Some(percent) = &file.discount {
            for pool in 0..model.pools.len() {
                apply(model, pool, percent, "discount");
            }
        }
        Ok(factors)
    }

    /// Converts all prices to the currency of the bill; returns the rate.
    fn convert(
        &mut self,
        model: &mut PriceModel,
        currency: Option<&Spanned<CurrencyFile>>,
    ) -> ResolveResult<Exact> {
        let Some(file) = currency.map(Spanned::get_ref) else { return Ok(Exact::from(1)) };
        if file.per.get_ref().0 != model.currency() {
            let text = format!(
                "the prices are in {}: write the rate per {0}, not per {}",
                model.currency(),
                file.per.get_ref().0
            );
            return Err(SpannedProblem::new(file.per.span(), text));
        }
        if file.code.get_ref().0 == model.currency() {
            let text = format!("the prices are in {} already", model.currency());
            return Err(SpannedProblem::new(file.code.span(), text));
        }
        let rate = file.rate.get_ref().value.clone();
        if rate.is_zero() {
            return Err(SpannedProblem::new(file.rate.span(), "a rate is more than 0"));
        }
        model.identity.currency.clone_from(&file.code.get_ref().0);
        let name = format!("{} per {}", file.code.get_ref().0, file.per.get_ref().0);
        for pool in 0..model.pools.len() {
            scale_pool(&mut model.pools[pool], &rate);
            self.note_price(model, pool, &name, Some(rate.clone()));
        }
        self.other.push(format!(
            "{} {name}, of {}: {}",
            rate.to_plain_string(),
            file.date.0,
            file.source.0
        ));
        Ok(rate)
    }

    fn set_allowances(&mut self, model: &mut PriceModel, file: &ContractFile) -> ResolveResult<()> {
        if let Some(written) = &file.allowances {
            match written.get_ref() {
                AllowanceKey::All(text) if text == "none" => {
                    model.pools.iter_mut().for_each(|pool| pool.free = None);
                    self.other.push("no monthly allowances".to_owned());
                }
                AllowanceKey::All(_) => {
                    let text = "allowances are \"none\", or a table of them by name";
                    return Err(SpannedProblem::new(written.span(), text));
                }
                AllowanceKey::ByName(names) => {
                    for (name, text) in names {
                        self.set_allowance(model, name, text)?;
                    }
                }
            }
        }
        for (name, written) in &file.allowances_used {
            let pool = find_pool(model, name)?;
            let used = parse_in_unit(written, model.pools[pool].unit())?;
            let unit = Arc::clone(&model.pools[pool].unit);
            let Some(free) = &mut model.pools[pool].free else {
                let text = format!("`{}` has no allowance that could be used", name.get_ref());
                return Err(SpannedProblem::new(name.span(), text));
            };
            if used > free.quantity {
                let all = &free.quantity;
                let text =
                    format!("the allowance of `{}` is {all} {unit}: write no more", name.get_ref());
                return Err(SpannedProblem::new(written.span(), text));
            }
            free.quantity = &free.quantity - &used;
            self.other.push(format!(
                "{used} {unit} of the allowance of {} used elsewhere",
                name.get_ref()
            ));
        }
        Ok(())
    }

    fn set_allowance(
        &mut self,
        model: &mut PriceModel,
        name: &Spanned<String>,
        text: &Spanned<String>,
    ) -> ResolveResult<()> {
        let at = find_pool(model, name)?;
        let pool = &mut model.pools[at];
        pool.rest_of = None;
        if text.get_ref() == "none" {
            pool.free = None;
            self.other.push(format!("no allowance of {}", name.get_ref()));
            return Ok(());
        }
        let quantity = parse_in_unit(text, &pool.unit)?;
        self.other.push(format!("an allowance of {quantity} {} of {}", pool.unit, name.get_ref()));
        let credit_price = pool.free.take().and_then(|free| free.credit_price);
        pool.free = Some(MonthlyAllowance { quantity, credit_price });
        Ok(())
    }
}

/// Returns whether the quantity of a pool is an amount of money: the prices are the weights of the
/// charges that feed it, and its own price is 1.
pub(super) fn is_money(model: &PriceModel, pool: usize) -> bool {
    model.is_counted_in_money(&model.pools[pool])
}

/// Says what to write instead of a price of a pool whose quantity is money.
fn write_weights(model: &PriceModel, pool: usize, price: &str) -> String {
    let names = model.charges.iter().filter(|charge| charge.pool == pool);
    let names = names.map(|charge| toml::Value::from(&*charge.name).to_string());
    let weights: Vec<String> = names.map(|name| format!("{name} = \"{price}\"")).collect();
    let pool = &model.pools[pool];
    format!(
        "`{}` is counted in {}, by the prices of its charges: write those, as far as they are \
         yours, [weights] {}",
        pool.name,
        pool.unit,
        weights.join(", ")
    )
}

/// Finds the pool of that name: a position of the bill.
pub(super) fn find_pool(model: &PriceModel, name: &Spanned<String>) -> ResolveResult<usize> {
    if let Some(at) = model.pools.iter().position(|pool| &*pool.name == name.get_ref()) {
        return Ok(at);
    }
    if let Some(charge) = model.charges.iter().find(|it| &*it.name == name.get_ref()) {
        let pool = &model.pools[charge.pool].name;
        let text = format!(
            "`{}` is paid for as a part of `{pool}`: write `{pool}`, or its weight under [weights]",
            name.get_ref()
        );
        return Err(SpannedProblem::new(name.span(), text));
    }
    Err(unknown_name("charge or pool", name, model.pools.iter().map(Pool::name)))
}

/// Multiplies all prices of a pool, and what its allowance is worth as money: the allowance
/// covers as much as before.
fn scale_pool(pool: &mut Pool, by: &Exact) {
    for tier in &mut pool.tiers {
        tier.price = Money::new(tier.price.as_exact() * by);
    }
    if let Some(price) = pool.free.as_mut().and_then(|free| free.credit_price.as_mut()) {
        *price = Money::new(price.as_exact() * by);
    }
}

impl Scale {
    /// Returns the commitment of the extended contract under this one's discounts and currency.
    fn inherit_commitment(&self, commitment: Option<&Commitment>) -> Option<Commitment> {
        let mut commitment = commitment?.clone();
        commitment.conversion = &commitment.conversion * &self.rate;
        for covered in &mut commitment.covered {
            covered.billed = &covered.billed * &self.billed_share(covered.pool);
        }
        Some(commitment)
    }

    /// Converts the amounts of the extended contract to this one's currency.
    fn convert_inherited(&self, details: &mut ContractDetails) {
        let amounts = details.minimum.iter_mut().map(|it| &mut it.amount);
        for amount in amounts.chain(details.credit.iter_mut().map(|it| &mut it.amount)) {
            *amount = Money::new(amount.as_exact() * &self.rate);
        }
    }

    /// Returns the price on the bill over the price before this file's discounts.
    pub(super) fn billed_share(&self, pool: usize) -> Exact {
        self.factors.get(pool).map_or_else(Exact::default, |factor| factor * &self.rate)
    }
}

/// Checks that every line of the bill has a name of its own.
fn check_line_names(model: &PriceModel, file: &ContractFile) -> ResolveResult<()> {
    let mut names = model.adjustment_names();
    names.extend(model.pools.iter().map(|it| Arc::clone(&it.name)));
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(SpannedProblem::new(
            file.id.span(),
            format!(
                "two lines of the bill would be called `{}`: give the commitment, minimum, credit \
                 or tax another `name`",
                pair[0]
            ),
        )),
    }
}
