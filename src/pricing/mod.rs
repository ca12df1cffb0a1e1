//! What an invocation costs: price models as data, and exact bills from them.
//!
//! Pricing is pure: a [`PriceModel`] takes a [`Usage`](crate::meter::Usage)
//! and gives a [`Bill`] or a [`Refusal`]. It knows nothing of lanes, threads
//! or the database. There is no binary floating point: quantities, prices and
//! amounts are decimals of any size ([`Exact`], [`Money`]), dividing is done
//! by exact reciprocals, and nothing is rounded before it is displayed or
//! [settled](Rounding::settle).
//!
//! A model is read in two steps: `schema` has the shape of the TOML file and
//! `resolve` the rules between its values, both with the place of every
//! complaint. `docs/price-models.md` describes the format.

mod bill;
mod error;
mod example;
mod model;
mod money;
mod number;
mod resolve;
mod schema;
#[cfg(test)]
mod tests;
mod unit;

use std::sync::LazyLock;

pub use bill::{Bill, Charge, LineItem, Missing, Refusal};
pub use error::{MAX_FILE_BYTES, PricingError, UnknownModel};
pub use example::{Example, ExampleFailure};
pub use model::PriceModel;
pub use money::{Money, Rounding};
pub use number::{DecimalError, Exact};
pub use schema::Granularity;
pub use unit::Phase;

/// The price models that the program carries: name and text.
const SHIPPED: &[(&str, &str)] = &[
    ("pricing/aws-lambda-x86.toml", include_str!("../../pricing/aws-lambda-x86.toml")),
    ("pricing/per-cycle.toml", include_str!("../../pricing/per-cycle.toml")),
];

/// A shipped file that is not accepted would be missing from this list: a unit
/// test holds that none is.
static BUILTIN: LazyLock<Vec<PriceModel>> = LazyLock::new(|| {
    SHIPPED.iter().filter_map(|(origin, text)| PriceModel::parse(text, origin).ok()).collect()
});

/// The price models that the program carries, coarse ones first.
#[must_use]
pub fn builtin() -> &'static [PriceModel] {
    &BUILTIN
}

/// The built-in price model of that id.
///
/// # Errors
///
/// If there is none: with the id that looks most like it, and all there are.
pub fn find(id: &str) -> Result<&'static PriceModel, UnknownModel> {
    let ids = || builtin().iter().map(PriceModel::id);
    builtin().iter().find(|model| model.id() == id).ok_or_else(|| UnknownModel {
        id: id.chars().take(64).collect(),
        nearest: crate::suggest::nearest(id, ids()),
        known: ids().collect::<Vec<_>>().join(", "),
    })
}
