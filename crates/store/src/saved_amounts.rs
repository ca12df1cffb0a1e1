//! Amounts of stored simulations: charges, settlements and waste, summed
//! exactly.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;

use super::open::{Store, StoreError};
use cyclometer_pricing::{DecimalError, Exact, Money};

/// Kind of amounts of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmountKind {
    /// List prices of the recorded invocations, by charge.
    Charges,
    /// Bill of a month, by position.
    Settlement,
    /// Parts of the bill that were used and not used.
    Waste,
}

/// Exact sum for a model, a lane, and a charge, position or part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmountSum {
    /// Id of the price model.
    pub model: String,
    /// Currency of the amount.
    pub currency: String,
    /// Name of the lane.
    pub lane: String,
    /// Name of the charge, position or part.
    pub item: String,
    /// The sum; `None` if the model refused all of it.
    pub amount: Option<Money>,
    /// Whether an amount in it has no finite decimal and is cut.
    pub cut: bool,
    /// Number of invocations that were billed, or of requests of the month.
    pub count: Money,
    /// Reason why the model refused, where it did.
    pub refused: Option<String>,
}

impl AmountKind {
    const fn query_sql(self) -> &'static str {
        match self {
            Self::Charges => {
                "SELECT model, currency, lane, charge, amount, exact, invocations, refused
                 FROM v_line_item WHERE simulation = ?1 ORDER BY model, lane, charge, cell"
            }
            Self::Settlement => {
                "SELECT model, currency, lane, position, amount, exact, requests, NULL
                 FROM v_settlement WHERE simulation = ?1 ORDER BY model, lane, position, cell"
            }
            Self::Waste => {
                "SELECT model, currency, lane, part, amount, exact, 0, NULL
                 FROM v_waste WHERE simulation = ?1 ORDER BY model, lane, part, cell"
            }
        }
    }
}

impl Store {
    /// Returns the options of a simulation, as JSON.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn simulation_options(&self, simulation: i64) -> Result<String, StoreError> {
        self.connection
            .query_row(
                "SELECT options FROM v_simulation WHERE simulation = ?1",
                [simulation],
                |row| row.get(0),
            )
            .optional()
            .map(Option::unwrap_or_default)
            .map_err(StoreError::for_action("read of the simulation"))
    }

    /// Returns the amounts of a simulation, summed over its cells as exact
    /// decimals, which `SQLite` cannot add.
    ///
    /// # Errors
    /// Fails when the database cannot be read, or holds an amount that is not a
    /// number.
    pub fn simulation_amounts(
        &self,
        simulation: i64,
        part: AmountKind,
    ) -> Result<Vec<AmountSum>, StoreError> {
        let failed = StoreError::for_action;
        let mut sums: BTreeMap<[String; 3], AmountSum> = BTreeMap::new();
        let mut statement =
            self.connection.prepare(part.query_sql()).map_err(failed("read of the amounts"))?;
        let mut rows = statement.query([simulation]).map_err(failed("read of the amounts"))?;
        while let Some(row) = rows.next().map_err(failed("read of the amounts"))? {
            let text = |at| row.get::<_, Option<String>>(at).map_err(failed("read of an amount"));
            let names = [text(0)?, text(2)?, text(3)?].map(Option::unwrap_or_default);
            let currency = text(1)?.unwrap_or_default();
            let sum = sums.entry(names.clone()).or_insert_with(|| {
                let [model, lane, of] = names;
                let (amount, count) = (None, Money::default());
                AmountSum {
                    model,
                    currency,
                    lane,
                    item: of,
                    amount,
                    cut: false,
                    count,
                    refused: None,
                }
            });
            if let Some(amount) = text(4)? {
                *sum.amount.get_or_insert_default() += &parse_signed_money(&amount)?;
            }
            sum.cut |= text(5)?.is_some();
            let count = match row.get_ref(6).map_err(failed("read of an amount"))? {
                rusqlite::types::ValueRef::Integer(count) => count.to_string(),
                other => other.as_str().unwrap_or("0").to_owned(),
            };
            sum.count += &parse_money(&count)?;
            sum.refused = sum.refused.take().or(text(7)?);
        }
        Ok(sums.into_values().collect())
    }
}

/// Parses a stored amount of a usage, which is 0 or more.
pub(super) fn parse_money(text: &str) -> Result<Money, StoreError> {
    text.parse::<Exact>().map(Money::from).map_err(|error| describe_bad_amount(text, &error))
}

/// Parses a stored amount of a bill; those that a contract takes off are below 0.
fn parse_signed_money(text: &str) -> Result<Money, StoreError> {
    Exact::parse_signed(text).map(Money::from).map_err(|error| describe_bad_amount(text, &error))
}

fn describe_bad_amount(text: &str, error: &DecimalError) -> StoreError {
    StoreError::NotFound(format!(
        "the database holds an amount that is none: `{text}` {error}; was it edited by hand?"
    ))
}
