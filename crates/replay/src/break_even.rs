//! Break-even: the fine price at which revenue equals that of a coarse model,
//! and who pays more or less under it.
//!
//! Both passes see the same rows: those that both models bill. The price is
//! exact, and so is who pays more. How much more is a ratio for people, kept as
//! a double for each row.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CellKey, Contract};
use cyclometer_core::meter::Usage;
use cyclometer_pricing::{Exact, Money};

/// Totals of the first pass over all rows.
#[derive(Debug, Clone, Default)]
pub struct Revenue {
    /// Rows that both models bill.
    pub rows: u64,
    /// Revenue of the coarse model for these rows.
    pub coarse: Money,
    /// Quantity that they used, in the unit of the fine model.
    pub quantity: Exact,
}

/// Result of the second pass: how many rows pay more or less, and how much.
#[derive(Debug, Clone, Default)]
pub struct PriceShift {
    /// Rows that pay more under the fine price.
    pub more: u64,
    /// Rows that pay less.
    pub less: u64,
    /// Rows that pay the same.
    pub same: u64,
    /// Revenue of the coarse model.
    pub coarse: Money,
    /// Revenue at the fine price.
    pub fine: Money,
    /// Ratio of the fine to the coarse price of each row.
    ratios: Vec<f64>,
}

/// Returns the cost of one row under the coarse model and its quantity under
/// the fine one; `None` if one of them refuses it.
fn price_both(coarse: &Contract, fine: &Contract, usage: &Usage) -> Option<(Money, Exact)> {
    let bill = coarse.0.bill_under(usage, &coarse.1).ok()?;
    let used = fine.0.bill_under(usage, &fine.1).ok()?;
    let quantity = used.lines.first().map(|line| line.quantity.clone())?;
    Some((bill.total, quantity))
}

impl Revenue {
    /// Adds a row, unless one of the models refuses it.
    pub fn add_row(&mut self, coarse: &Contract, fine: &Contract, usage: &Usage) {
        if let Some((amount, quantity)) = price_both(coarse, fine, usage) {
            self.rows += 1;
            self.coarse += &amount;
            self.quantity += &quantity;
        }
    }

    /// Returns the price of one unit at which the fine model takes as much;
    /// `None` if nothing was used.
    #[must_use]
    pub(crate) fn break_even_price(&self) -> Option<Exact> {
        self.coarse.as_exact().checked_div(&self.quantity)
    }
}

impl PriceShift {
    /// Adds a row at the break-even price of a unit.
    pub fn add_row(&mut self, coarse: &Contract, fine: &Contract, price: &Exact, usage: &Usage) {
        let Some((amount, quantity)) = price_both(coarse, fine, usage) else { return };
        let own = Money::from(&quantity * price);
        match own.cmp(&amount) {
            std::cmp::Ordering::Greater => self.more += 1,
            std::cmp::Ordering::Less => self.less += 1,
            std::cmp::Ordering::Equal => self.same += 1,
        }
        if let Some(ratio) = own.ratio_to(&amount, 9) {
            self.ratios.push(ratio.to_plain_string().parse().unwrap_or(f64::NAN));
        }
        self.coarse += &amount;
        self.fine += &own;
    }

    /// Returns the number of rows.
    #[must_use]
    pub const fn count_rows(&self) -> u64 {
        self.more + self.less + self.same
    }

    /// Returns the ratio of fine to coarse revenue over all rows, to six digits
    /// after the point.
    #[must_use]
    pub fn fine_to_coarse(&self) -> Option<Exact> {
        self.fine.ratio_to(&self.coarse, 6)
    }

    /// Returns a quantile of the ratios of the rows, by linear interpolation
    /// between the two nearest, as for every other percentile that is shown.
    #[must_use]
    pub fn ratio_quantile(&mut self, share: f64) -> Option<f64> {
        self.ratios.sort_unstable_by(f64::total_cmp);
        cyclometer_stats::percentile(&self.ratios, share)
    }

    /// Adds the rows of `other`.
    pub fn merge(&mut self, other: &Self) {
        let Self { more, less, same, coarse, fine, ratios } = other;
        self.more += more;
        self.less += less;
        self.same += same;
        self.coarse += coarse;
        self.fine += fine;
        self.ratios.extend_from_slice(ratios);
    }
}

/// Break-even of one coarse and one fine model.
#[derive(Debug, Clone)]
pub struct BreakEven {
    /// Id of the coarse model.
    pub coarse: String,
    /// Id of the fine model.
    pub fine: String,
    /// Currency of both.
    pub currency: String,
    /// Unit of the fine model, such as `cycle`.
    pub unit: Arc<str>,
    /// Number of units that the fine model's own price is for.
    pub per: Exact,
    /// Own price of the fine model for that many units.
    pub own: Exact,
    /// Price of one unit at which revenue is the same.
    pub price: Exact,
    /// Totals of the first pass.
    pub revenue: Revenue,
    /// Results of the second pass, by group.
    pub groups: BTreeMap<CellKey, PriceShift>,
}

impl BreakEven {
    /// Starts the second pass at the price that follows from `revenue`; `None`
    /// if the models cannot be compared or nothing was used.
    #[must_use]
    pub fn from_revenue(coarse: &Contract, fine: &Contract, revenue: Revenue) -> Option<Self> {
        let price = revenue.break_even_price()?;
        let charge = fine.0.invocation_charges(&fine.1).next()?;
        let pool = fine.0.pools().get(charge.pool_index())?;
        Some(Self {
            coarse: coarse.0.id().to_owned(),
            fine: fine.0.id().to_owned(),
            currency: coarse.0.currency().to_owned(),
            unit: charge.unit().into(),
            per: pool.units_per_price().clone(),
            own: charge.list_rate() * pool.units_per_price(),
            price,
            revenue,
            groups: BTreeMap::new(),
        })
    }

    /// Adds a row of the second pass.
    pub fn add_row(&mut self, coarse: &Contract, fine: &Contract, key: &CellKey, usage: &Usage) {
        let price = self.price.clone();
        self.groups.entry(key.clone()).or_default().add_row(coarse, fine, &price, usage);
    }

    /// Returns the result over all groups together.
    #[must_use]
    pub fn total_shift(&self) -> PriceShift {
        let mut all = PriceShift::default();
        self.groups.values().for_each(|shift| all.merge(shift));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_core::invocation::StartKind;
    use cyclometer_core::meter::Meter;
    use cyclometer_core::units::Nanos;
    use cyclometer_pricing::{Terms, find_builtin_model};

    fn contract(id: &str) -> Contract {
        let model = find_builtin_model(id).unwrap();
        (model.clone(), Terms::for_model(model))
    }

    fn usage(run_ms: u64, cycles: u64) -> Usage {
        let mut usage = Usage::new(false);
        usage.phases.run = Some(Nanos(run_ms * 1_000_000));
        usage.set(Meter::MemoryAllocated, 1 << 30);
        usage.set(Meter::Cycles, cycles);
        usage
    }

    #[test]
    fn revenue_is_the_same_and_who_pays_more_is_told() {
        let (coarse, fine) = (contract("aws-lambda-x86"), contract("per-cycle"));
        // 12 ms and 24 ms at 1 GiB: 0.0000002000004 + 0.0000002, and twice the
        // first; 1 and 3 x 10^9 cycles.
        let rows = [usage(12, 1_000_000_000), usage(24, 3_000_000_000)];
        let mut revenue = Revenue::default();
        for row in &rows {
            revenue.add_row(&coarse, &fine, row);
        }
        assert_eq!(revenue.coarse.to_plain_string(), "0.0000010000012");
        let mut found = BreakEven::from_revenue(&coarse, &fine, revenue).unwrap();
        // 0.0000010000012 / 4 x 10^9 cycles.
        assert_eq!(found.price.to_plain_string(), "0.0000000000000002500003");
        let key = |lane: &str| CellKey::new(lane, "w", "p", StartKind::Warm);
        found.add_row(&coarse, &fine, &key("a"), &rows[0]);
        found.add_row(&coarse, &fine, &key("b"), &rows[1]);
        let mut all = found.total_shift();
        assert_eq!(all.fine, all.coarse);
        assert_eq!((all.more, all.less, all.same), (1, 1, 0));
        // 0.0000002500003 / 0.0000004000004 = 0.625000125...
        let ratio = found.groups[&key("a")].fine_to_coarse().unwrap();
        assert_eq!(ratio.to_plain_string(), "0.625");
        assert!(all.ratio_quantile(0.0).unwrap() < 1.0 && all.ratio_quantile(1.0).unwrap() > 1.0);
    }

    // numpy.quantile of 1, 2, 4, 8, 16 and 100 (method "linear") gives 1.25, 6
    // and 79: one row in six that pays far more is seen in the 95th percentile,
    // and the median of an even number is no single row.
    #[test]
    fn few_rows_have_the_quantiles_of_the_tables() {
        let ratios = vec![100.0, 16.0, 8.0, 4.0, 2.0, 1.0];
        let mut shift = PriceShift { ratios, ..PriceShift::default() };
        for (share, expected) in [(0.05, 1.25), (0.5, 6.0), (0.95, 79.0)] {
            let found = shift.ratio_quantile(share).unwrap();
            assert!((found - expected).abs() < 1e-9, "{share}: {found}");
        }
    }

    #[test]
    fn unused_has_no_price() {
        let (coarse, fine) = (contract("aws-lambda-x86"), contract("per-cycle"));
        let mut revenue = Revenue::default();
        revenue.add_row(&coarse, &fine, &usage(1, 0));
        assert!(BreakEven::from_revenue(&coarse, &fine, revenue).is_none());
    }
}
