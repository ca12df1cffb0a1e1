//! Cost of an invocation: price models as data, and exact bills computed from them.
//!
//! Pricing is pure: a [`PriceModel`] takes a [`Usage`](cyclometer_core::meter::Usage) and returns
//! a [`Bill`] or a [`Refusal`]; it takes the quantities of a month and returns a [`Settlement`].
//! It knows nothing of lanes, threads or the database. There is no binary floating point:
//! quantities, prices and amounts are fractions of any size ([`Exact`], [`Money`]), and nothing
//! is rounded before it is displayed or [settled](Rounding::round_total).
//!
//! A model is read in two steps: `schema` defines the shape of the TOML file and `resolve` checks
//! the rules between its values; both report the place of every problem. `docs/price-models.md`
//! describes the format.
//!
//! A bill in ten lines:
//!
//! ```
//! use cyclometer_pricing::meter::{Meter, Usage};
//! use cyclometer_pricing::units::Nanos;
//!
//! let mut usage = Usage::new(false); // a warm start
//! usage.phases.run = Some(Nanos(27_550_000)); // 27.55 ms: billed as 28 ms
//! usage.set(Meter::MemoryAllocated, 1 << 30);
//! let bill = cyclometer_pricing::find_builtin_model("aws-lambda-x86")?.bill(&usage)?;
//! // 1 GiB x 0.028 s x $0.0000166667, and $0.0000002 for the request.
//! assert_eq!(bill.total.to_plain_string(), "0.0000006666676");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod catalog;
mod charge;
pub mod compile;
mod contract;
mod error;
mod evaluate;
mod example;
mod json_schema;
mod memory_sizes;
mod model;
mod money;
mod number;
pub mod price_list;
mod resolve;
mod scalars;
mod schema;
mod settle;
#[doc(hidden)]
pub mod survival;
mod terms;
#[cfg(test)]
mod tests;
mod time_step;
mod toml_writer;
mod trace;
mod unit;
mod usage_builder;
mod usage_file;
mod waste;

/// Vocabulary of what is billed: meters, the usage of one invocation, and exact units.
pub use cyclometer_core::{meter, units};

pub use catalog::{
    PriceCatalog, PriceCatalogError, builtin_files, builtin_models, find_builtin_model,
    read_price_file, regional_files, regional_models,
};
pub use charge::{Charge, ModelInput, MonthlyAllowance, Pool, Tier};
pub use contract::file::is_contract;
pub use contract::{
    Adjustment, AdjustmentKind, Commitment, ContractDetails, MAX_DEPTH as MAX_CONTRACT_DEPTH,
    MeasuredAt, PriceStep, SetAsideExample,
};
pub use error::{KnownRegions, MAX_FILE_BYTES, PricingError, UnknownModel};
pub use evaluate::{Bill, FactorTrace, LineItem, Missing, Refusal, TraceStep};
pub use example::{Example, ExampleFailure, ExampleFigure, FigureDifference, PrintedFigure};
pub use json_schema::{contract_json_schema, json_schema};
pub use model::PriceModel;
pub use money::{Money, Rounding, RoundingPolicy};
pub use number::{DecimalError, Exact, RoundingDirection};
pub use schema::{ChargeBasis, Granularity, ModelInputKind, parse_period};
pub use settle::{Position, Settlement, Subtotal, TierLine, UsageGroup};
pub use terms::{Terms, TermsError};
pub use time_step::TimeStep;
pub use trace::{ChargeTrace, PartTrace};
pub use unit::{Dimension, Gigabyte, Phase};
pub use usage_builder::{UsageBuilder, UsageBuilderError};
pub use usage_file::gigabyte_note;
pub use waste::{ChargeWaste, Waste};
