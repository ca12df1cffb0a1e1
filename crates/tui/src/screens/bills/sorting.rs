//! Sorting and filtering of the rows of the bills table.

use std::cmp::Ordering;

use super::bill_table::{BillTable, ModelRow};
use cyclometer_pricing::Granularity;

/// Sort key of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum BillSortKey {
    /// Amount in the selected lane.
    #[default]
    Price,
    /// Id of the model.
    Id,
    /// Granularity from coarse to fine, then the amount.
    Granularity,
}

impl BillSortKey {
    /// Returns the next sort key in turn.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::Price => Self::Id,
            Self::Id => Self::Granularity,
            Self::Granularity => Self::Price,
        }
    }

    /// Describes the order in words.
    #[must_use]
    pub fn describe(self, reverse: bool, lane: &str) -> String {
        match (self, reverse) {
            (Self::Price, false) => format!("by price in {lane}, USD first"),
            (Self::Price, true) => format!("dearest in {lane} first, USD first"),
            (Self::Id, false) => "by id".to_owned(),
            (Self::Id, true) => "by id, from z to a".to_owned(),
            (Self::Granularity, false) => "coarse first, then by price, USD first".to_owned(),
            (Self::Granularity, true) => "fine first, then by price, USD first".to_owned(),
        }
    }
}

/// Returns the sorted indices of the rows that contain all `words`. Models that nobody
/// sells come last in every order.
#[must_use]
pub(crate) fn sort_rows(
    figures: &BillTable,
    words: &str,
    (sort, reverse): (BillSortKey, bool),
    lane: usize,
) -> Vec<usize> {
    let mut order: Vec<usize> =
        (0..figures.rows.len()).filter(|at| figures.rows[*at].matches_filter(words)).collect();
    let turned = |it: Ordering| if reverse { it.reverse() } else { it };
    order.sort_by(|one, other| {
        let (one, other) = (&figures.rows[*one], &figures.rows[*other]);
        let by_id = one.id.cmp(&other.id);
        other.is_sold().cmp(&one.is_sold()).then_with(|| match sort {
            BillSortKey::Id => turned(by_id),
            BillSortKey::Price => compare_amounts(one, other, lane, reverse).then(by_id),
            BillSortKey::Granularity => turned(granularity_rank(one).cmp(&granularity_rank(other)))
                .then_with(|| compare_amounts(one, other, lane, false))
                .then(by_id),
        })
    });
    order
}

const fn granularity_rank(row: &ModelRow) -> u8 {
    match row.granularity {
        Granularity::Coarse => 0,
        Granularity::Hybrid => 1,
        Granularity::Fine => 2,
    }
}

/// Compares amounts: missing ones come last, and those of different currencies are
/// ordered by currency.
fn compare_amounts(one: &ModelRow, other: &ModelRow, lane: usize, reverse: bool) -> Ordering {
    let (first, second) = (one.amount_in_lane(lane), other.amount_in_lane(lane));
    let missing = first.is_none().cmp(&second.is_none());
    let currency = currency_sort_key(one).cmp(&currency_sort_key(other));
    let amounts = match (first, second) {
        (Some(first), Some(second)) if reverse => second.cmp(first),
        (Some(first), Some(second)) => first.cmp(second),
        _ => Ordering::Equal,
    };
    missing.then(currency).then(amounts)
}

/// Returns the sort key of the currency: US dollars first, since most models use them.
fn currency_sort_key(row: &ModelRow) -> (bool, &str) {
    (row.currency != "USD", &row.currency)
}
