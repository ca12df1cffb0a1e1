//! Bills of a trace by calendar month: what an account would have been asked for, with the
//! allowances, tiers and fees of each month.

use std::num::NonZeroU64;

use super::table::{Cell, Column, Table};
use cyclometer_pricing::{Exact, Money};
use cyclometer_store::CalendarReplay;

/// Significant digits of list prices in text; bills are shown as they are rounded.
const DIGITS: NonZeroU64 = NonZeroU64::MIN.saturating_add(5);

/// Builds one row a month and model: all invocations of the month as one account's.
#[must_use]
pub fn calendar_table(replay: &CalendarReplay) -> Table {
    let mut table = Table::new(&[
        Column::text("month", "month"),
        Column::text("model", "model"),
        Column::number("invocations", "invocations"),
        Column::number("list price", "list_price"),
        Column::number("bill", "bill"),
        Column::hidden("bill_exact"),
        Column::text("", "currency"),
        Column::hidden("refused"),
        Column::text("note", "note"),
    ]);
    for (period, group) in replay.period_totals() {
        let label = replay.periods.get(period).map_or("", |period| &period.label);
        for (at, info) in replay.summary.models().iter().enumerate() {
            let total = group.models.get(at);
            let billed = Exact::from(total.map_or(0, |total| total.billed));
            let bill = replay.summary.monthly_bill(&group, at, &billed);
            let note = bill.as_ref().err().map(ToString::to_string);
            let bill = bill.ok();
            let list: Option<&Money> = total.filter(|it| it.billed > 0).map(|it| &it.total);
            table.push(vec![
                Cell::text(label),
                Cell::text(&*info.id),
                Cell::optional_count(Some(group.invocations)),
                Cell::optional_money(list, DIGITS),
                Cell::optional(bill.as_ref().map(|bill| {
                    let text = bill.total.to_plain_string();
                    (text.clone(), text)
                })),
                Cell::optional_text(bill.as_ref().map(|bill| bill.exact.to_plain_string())),
                Cell::text(&*info.currency),
                Cell::new("", total.map_or(0, cyclometer_replay::ModelTotal::refusal_count)),
                Cell::optional_text(note),
            ]);
        }
    }
    table
}
