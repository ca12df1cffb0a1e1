//! Template of a contract, with the positions of the model that it extends.

use std::fmt::Write as _;

use crate::cli::CommandFailure;
use crate::pricing::{Charge, Pool, PriceModel, PricingError};

/// Returns a contract over `base` that changes nothing as it is: each key is there, switched off
/// by a `#`.
pub(super) fn write_contract(id: &str, base: &PriceModel) -> Result<String, CommandFailure> {
    let mut text = format!(
        "# A contract over {base}: what it says holds, everything else is the model's.\n\
         # A line that begins with # and no space is a key that is switched off.\n\
         #\n\
         # check it:  cyclometer pricing check FILE\n\
         # follow it: cyclometer --pricing FILE pricing explain {id} --example 1\n\n\
         extends = \"{base}\"\n\
         id = {quoted}\n\
         name = {name}\n\n",
        base = base.id(),
        quoted = toml::Value::from(id),
        name = toml::Value::from(format!("{}, our contract", base.name())),
    );
    text.push_str(HEAD_KEYS);
    write_prices(&mut text, base);
    write_period_keys(&mut text, base);
    match PriceModel::parse_with(&text, "the new file", std::slice::from_ref(base)) {
        Ok(_) => Ok(text),
        // Only the id can be invalid.
        Err(PricingError::Invalid { message, .. }) => Err(CommandFailure::usage(message)),
        Err(error) => Err(CommandFailure::usage(error)),
    }
}

const HEAD_KEYS: &str = r#"# Where the prices are of; shown with every bill.
#region = "eu-central-1"

# Length of a month: days, or a time.
#month = "730 h"

# Off all prices, tiers included. Allowances and tiers keep their quantities.
#discount = "12 %"

# Off the whole bill, before tax; never below 0. In the currency of the bill.
#credit = "100"

# The least that the bill comes to; with charges = ["..."] that these come to.
#minimum = "25"

# Last, on all of it.
#tax = { rate = "19 %", name = "VAT" }

"#;

/// Writes the keys that name positions.
fn write_prices(text: &mut String, base: &PriceModel) {
    text.push_str(
        "# Prices of your own, or of your region, in the currency of the model. What has tiers \
         gets all of\n# them.\n#[prices]\n",
    );
    let (money, priced): (Vec<&Pool>, Vec<&Pool>) =
        base.pools().iter().partition(|pool| base.is_counted_in_money(pool));
    for pool in priced {
        let tiers: Vec<String> = pool.tiers().iter().map(|tier| write_tier(pool, tier)).collect();
        let price = match pool.tiers() {
            [only] => format!("\"{}\"", only.price.to_plain_string()),
            _ => format!("[{}]", tiers.join(", ")),
        };
        let _ = writeln!(text, "#{} = {price}", toml::Value::from(pool.name()));
    }
    if !money.is_empty() {
        let _ = writeln!(
            text,
            "\n# Prices of charges that are added up in {} before they are billed.\n#[weights]",
            base.currency()
        );
        let is_in_money = |charge: &&Charge| {
            let pool = base.pools().get(charge.pool_index());
            pool.is_some_and(|pool| base.is_counted_in_money(pool))
        };
        for charge in base.charges().filter(is_in_money) {
            let weight = charge.list_rate();
            let shown = weight.to_fraction_string().unwrap_or_else(|| weight.to_plain_string());
            let _ = writeln!(text, "#{} = \"{shown}\"", toml::Value::from(charge.name()));
        }
    }
    text.push_str("\n# Off the prices of single positions; the discount in total comes on top.\n");
    text.push_str("#[discounts]\n");
    if let Some(first) = base.pools().first() {
        let _ = writeln!(text, "#{} = \"10 %\"", toml::Value::from(first.name()));
    }
    let free: Vec<&Pool> = base.pools().iter().filter(|it| it.allowance().is_some()).collect();
    if free.is_empty() {
        return;
    }
    text.push_str("\n# What of the monthly allowances others of your account have used up.\n");
    text.push_str("#[allowances_used]\n");
    for pool in free {
        let quantity = pool.allowance().map(|it| it.quantity.to_plain_string());
        let (name, unit) = (toml::Value::from(pool.name()), pool.unit());
        let _ = writeln!(text, "#{name} = \"{} {unit}\"", quantity.unwrap_or_default());
    }
}

fn write_tier(pool: &Pool, tier: &crate::pricing::Tier) -> String {
    let price = tier.price.to_plain_string();
    match &tier.up_to {
        Some(end) => format!("{{ up_to = \"{end} {}\", price = \"{price}\" }}", pool.unit()),
        None => format!("{{ price = \"{price}\" }}"),
    }
}

/// Writes the keys of tables that stand last: currency and commitment.
fn write_period_keys(text: &mut String, base: &PriceModel) {
    let currency = base.currency();
    let to = if currency == "EUR" { "USD" } else { "EUR" };
    let first = base.pools().first().map_or("", Pool::name);
    let _ = write!(
        text,
        "\n# All prices in another currency, at the rate of a day.\n\
         #[currency]\n\
         #code = \"{to}\"\n\
         #rate = \"0.8612\"\n\
         #per = \"{currency}\"\n\
         #date = 2026-11-01\n\
         #source = \"where the rate is from\"\n\n\
         # Spend that is committed to by the hour, in {currency}. measured_at says how the amount is\n\
         # counted: \"discounted_prices\" as AWS Savings Plans do, \"list_prices\" as commitments of\n\
         # Google Cloud do, which cost the amount less the discount.\n\
         #[commitment]\n\
         #name = \"Savings Plan\"\n\
         #per_hour = \"0.50\"\n\
         #measured_at = \"discounted_prices\"\n\
         #discount = \"17 %\"\n\
         #covers = [{}]\n\n\
         # Bills of yours, which `pricing check` computes: see docs/price-models.md.\n\
         # [[example]]\n",
        toml::Value::from(first)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::{builtin_models, find_builtin_model};

    #[test]
    fn the_template_changes_nothing_until_its_keys_are_switched_on() {
        for base in builtin_models().iter().filter(|it| it.contract().is_none()) {
            let Ok(text) = write_contract("ours", base) else { panic!("{}", base.id()) };
            let known = std::slice::from_ref(base);
            let model = PriceModel::parse_with(&text, "ours.toml", known).unwrap().remove(0);
            assert_eq!(model.pools(), base.pools());
            let on = |line: &str| {
                let key = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
                key.unwrap_or(line).to_owned()
            };
            let all: Vec<String> = text.lines().map(on).collect();
            let model = PriceModel::parse_with(&all.join("\n"), "ours.toml", known);
            let model = model.unwrap_or_else(|error| panic!("{error}\n{}", all.join("\n")));
            assert_eq!(model[0].contract().unwrap().period_terms().len(), 4);
        }
    }

    #[test]
    fn an_id_cannot_smuggle_keys_into_the_contract() {
        let base = find_builtin_model("aws-lambda-x86").unwrap();
        for id in ["", "Big", "x\"\ntax = \"1 %", "aws-lambda-x86"] {
            assert!(write_contract(id, base).is_err(), "{id:?}");
        }
    }
}
