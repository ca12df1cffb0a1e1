//! Bills of a trace by calendar month: what an account would have been asked for, with the
//! allowances, tiers and fees of each month.

use std::num::NonZeroU64;

use std::collections::BTreeMap;

use super::table::{Cell, Column, Table};
use cyclometer_pricing::{ContractDetails, Exact, Money, PriceModel, RoundingPolicy, Settlement};
use cyclometer_replay::{Contract, GroupTotal, MonthlyBillError};
use cyclometer_store::CalendarReplay;

/// Significant digits of list prices in text; bills are shown as they are rounded.
const DIGITS: NonZeroU64 = NonZeroU64::MIN.saturating_add(5);

/// Nanoseconds of an hour.
const HOUR: u64 = 3_600_000_000_000;

/// Computes the bill of each month and model, all invocations of the month as one account's:
/// `hours` are the same invocations by hour, which commitments are used up by.
fn settle_month(
    months: &CalendarReplay,
    hours: Option<&CalendarReplay>,
    hour_totals: &BTreeMap<usize, GroupTotal>,
    (month, group): (usize, &GroupTotal),
    model: usize,
) -> Result<Settlement, MonthlyBillError> {
    let period = months.periods.get(month).ok_or(MonthlyBillError::NothingBilled)?;
    let count = (period.until - period.from).unsigned_abs() / HOUR;
    let length = &Exact::from(count) * &Exact::from(HOUR);
    let committed = months.summary.contract(model).and_then(|(model, _)| model.contract());
    let Some(hours) = hours.filter(|_| committed.is_some_and(ContractDetails::has_commitment))
    else {
        return months.summary.period_bill(group, model, length);
    };
    let mut of_month: Vec<Option<&GroupTotal>> =
        vec![None; usize::try_from(count).unwrap_or_default()];
    for (at, group) in hour_totals {
        let begin = hours.periods.get(*at).map(|hour| hour.from - period.from);
        let place = begin.and_then(|begin| u64::try_from(begin).ok()).map(|begin| begin / HOUR);
        let place = place.and_then(|place| usize::try_from(place).ok());
        if let Some(hour) = place.and_then(|place| of_month.get_mut(place)) {
            *hour = Some(group);
        }
    }
    months.summary.period_bill_by_hour(group, &of_month, model, length)
}

/// Returns whether a model was in force when a month began.
fn is_in_force(model: &PriceModel, month: &str) -> bool {
    let day = format!("{month}-01");
    model.effective_from() <= day.as_str()
        && model.effective_until().is_none_or(|end| day.as_str() < end)
}

/// Describes the lines of a bill as they are printed: `duration 1.20; requests 0.01`.
fn describe_lines(bill: &Settlement) -> String {
    let charged = bill.positions.iter().filter(|it| !it.quantity.is_zero());
    let positions = charged.map(|it| (&it.name, &it.rounded));
    let adjustments = bill.adjustments.iter().map(|it| (&it.name, &it.rounded));
    let lines = positions.chain(adjustments);
    let lines: Vec<String> =
        lines.map(|(name, amount)| format!("{name} {}", format_amount(bill, amount))).collect();
    lines.join("; ")
}

/// Formats an amount of a bill with the digits that the bill is rounded to, if it is rounded.
fn format_amount(bill: &Settlement, amount: &Money) -> String {
    match bill.rounding.policy {
        RoundingPolicy::None => amount.to_plain_string(),
        _ => amount.to_rounded_string(bill.rounding.digits),
    }
}

/// Returns whether a bill of these months needs to know the usage of each hour.
#[must_use]
pub fn needs_hours(contracts: &[Contract]) -> bool {
    let committed =
        |(model, _): &Contract| model.contract().is_some_and(ContractDetails::has_commitment);
    contracts.iter().any(committed)
}

/// Builds one row a month and model: all invocations of the month as one account's. `hours` are
/// the same invocations by hour, for models for which [`needs_hours`] says so. With `by_version`,
/// a month has only the models that were in force when it began, where any was.
#[must_use]
pub fn calendar_table(
    replay: &CalendarReplay,
    hours: Option<&CalendarReplay>,
    by_version: bool,
) -> Table {
    let hour_totals = hours.map(CalendarReplay::period_totals).unwrap_or_default();
    let mut table = Table::new(&[
        Column::text("month", "month"),
        Column::text("model", "model"),
        Column::number("invocations", "invocations"),
        Column::number("list price", "list_price"),
        Column::number("bill", "bill"),
        Column::hidden("bill_exact"),
        Column::text("currency", "currency"),
        Column::hidden("refused"),
        Column::hidden("lines"),
        Column::text("note", "note"),
    ]);
    for (period, group) in replay.period_totals() {
        let label = replay.periods.get(period).map_or("", |period| &period.label);
        let in_force = |at: usize| {
            replay.summary.contract(at).is_some_and(|(model, _)| is_in_force(model, label))
        };
        let models = replay.summary.models();
        let selects = by_version && (0..models.len()).any(in_force);
        for (at, info) in models.iter().enumerate().filter(|(at, _)| !selects || in_force(*at)) {
            let total = group.models.get(at);
            let bill = settle_month(replay, hours, &hour_totals, (period, &group), at);
            let note = bill.as_ref().err().map(ToString::to_string);
            let bill = bill.ok();
            let list: Option<&Money> = total.filter(|it| it.billed > 0).map(|it| &it.total);
            table.push(vec![
                Cell::text(label),
                Cell::text(&*info.id),
                Cell::optional_count(Some(group.invocations)),
                Cell::optional_money(list, DIGITS),
                Cell::optional(
                    bill.as_ref().map(|bill| {
                        (format_amount(bill, &bill.total), bill.total.to_plain_string())
                    }),
                ),
                Cell::optional_text(bill.as_ref().map(|bill| bill.exact.to_plain_string())),
                Cell::text(&*info.currency),
                Cell::new("", total.map_or(0, cyclometer_replay::ModelTotal::refusal_count)),
                Cell::optional_text(bill.as_ref().map(describe_lines)),
                Cell::optional_text(note),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_core::invocation::StartKind;
    use cyclometer_core::meter::Meter;
    use cyclometer_core::units::Nanos;
    use cyclometer_pricing::{PriceCatalog, Terms};
    use cyclometer_store::{
        CalendarUnit, FileProgress, ReplayPlan, Store, TraceInput, TraceWriter,
    };
    use cyclometer_trace::{CellLabel, RowBatch, TraceNames, TraceRow};

    /// 2025-05-12T20:00:00Z: `date -u -d 2025-05-12T20:00:00Z +%s`.
    const MAY: i64 = 1_747_080_000_000_000_000;

    /// Stores a trace of invocations of 1 s with 1 GiB: times, and how many there are.
    fn store_trace(store: Store, rows: &[(i64, u32)]) -> (Store, i64) {
        let mut names = TraceNames::default();
        let label = CellLabel {
            platform: "aws-lambda".into(),
            function: "resize".into(),
            configuration: "1024MB".into(),
            region: None,
            start: StartKind::Warm,
        };
        let cell = names.find_or_add_cell(&label).expect("a cell");
        let mut batch = RowBatch::default();
        for (at, weight) in rows {
            let mut row = TraceRow::new(cell, false);
            (row.started_at, row.weight) = (Some(*at), *weight);
            row.usage.phases.run = Some(Nanos(1_000_000_000));
            row.usage.set(Meter::Wall, 1_000_000_000);
            row.usage.set(Meter::MemoryAllocated, 1 << 30);
            batch.push(row);
        }
        let mut writer = TraceWriter::begin(store, None, "{}").expect("begun");
        let input = TraceInput {
            position: 0,
            path: "a".into(),
            format: "x".into(),
            bytes: None,
            identity: String::new(),
        };
        let file = writer.begin_file(&input).expect("a file");
        let progress = FileProgress { file, ..FileProgress::default() };
        writer.store_batch(&names, &batch, &progress).expect("stored");
        let trace = writer.recording();
        (writer.finish(&[]).expect("finished"), trace)
    }

    #[test]
    fn a_commitment_is_used_up_hour_by_hour() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("plan.toml");
        let text = "extends = \"aws-lambda-x86\"\nid = \"plan\"\nname = \"A plan\"\n\
            allowances = \"none\"\n[commitment]\nname = \"Plan\"\nper_hour = \"0.50\"\n\
            discount = \"17 %\"\ncovers = [\"duration\"]\n";
        std::fs::write(&file, text).expect("written");
        let mut catalog = PriceCatalog::with_builtin_models();
        catalog.add_path(&file).expect("a contract");
        let model = catalog.find_model("plan").expect("there");
        let store = Store::open(&folder.path().join("c.db")).expect("made");
        let (store, trace) = store_trace(store, &[(MAY, 72_000)]);
        let contract = (model.clone(), Terms::for_model(model));
        let plan = ReplayPlan::for_recordings(vec![trace], vec![contract]);
        assert!(needs_hours(&plan.contracts));
        let months = store.replay_by_period(&plan, CalendarUnit::Month).expect("months");
        let hours = store.replay_by_period(&plan, CalendarUnit::Hour).expect("hours");
        let (month, group) = months.period_totals().into_iter().next().expect("a month");
        let totals = hours.period_totals();
        let bill = settle_month(&months, Some(&hours), &totals, (month, &group), 0);
        // 72,000 GB-s x $0.0000166667 = $1.2000024 and 72,000 x $0.0000002 = $0.0144. In that hour
        // $0.50 / 0.83 = $0.6024... are covered; the other 743 hours of May cost $0.50 each:
        // 1.20 + 0.01 - 0.60 + 0.50 + 371.50 = 372.61.
        let bill = bill.expect("a bill");
        assert_eq!(bill.total.to_plain_string(), "372.61");
        assert_eq!(
            describe_lines(&bill),
            "duration 1.20; requests 0.01; Plan: duration covered -0.60; Plan: used 0.50; \
             Plan: unused 371.50"
        );
        // Spread over the month, all of it would be covered: 0.996001992 are used.
        // 1.20 + 0.01 - 1.20 + 1.00 + 371.00 = 372.01.
        let spread = settle_month(&months, None, &totals, (month, &group), 0);
        assert_eq!(spread.expect("a bill").total.to_plain_string(), "372.01");
    }
    #[test]
    fn what_is_rented_is_there_in_every_hour() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("plan.toml");
        let text = "extends = \"aws-lambda-x86\"\nid = \"plan\"\nname = \"A plan\"\n\
            allowances = \"none\"\n[commitment]\nname = \"Plan\"\nper_hour = \"0.50\"\n\
            discount = \"17 %\"\ncovers = [\"provisioned capacity\"]\n";
        std::fs::write(&file, text).expect("written");
        let mut catalog = PriceCatalog::with_builtin_models();
        catalog.add_path(&file).expect("a contract");
        let model = catalog.find_model("plan").expect("there");
        let mut terms = Terms::for_model(model);
        for (name, value) in [("provisioned_memory", "1 GiB"), ("provisioned_time", "744 h")] {
            let gb = model.gigabyte_convention();
            terms.set_input(model, name, value, gb).expect("an input");
        }
        let store = Store::open(&folder.path().join("c.db")).expect("made");
        let (store, trace) = store_trace(store, &[(MAY, 1)]);
        let plan = ReplayPlan::for_recordings(vec![trace], vec![(model.clone(), terms)]);
        let months = store.replay_by_period(&plan, CalendarUnit::Month).expect("months");
        let hours = store.replay_by_period(&plan, CalendarUnit::Hour).expect("hours");
        let (month, group) = months.period_totals().into_iter().next().expect("a month");
        let bill = settle_month(&months, Some(&hours), &hours.period_totals(), (month, &group), 0)
            .expect("a bill");
        // 744 h x 3600 s x $0.0000041667 = $11.16008928, all of it covered: $0.01245... an hour of
        // the $0.50, 744 times, are $9.2628...
        assert_eq!(
            describe_lines(&bill),
            "duration 0.00; requests 0.00; provisioned capacity 11.16; \
             Plan: provisioned capacity covered -11.16; Plan: used 9.26; Plan: unused 362.74"
        );
    }

    #[test]
    fn each_month_has_the_version_in_force() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("c.db")).expect("made");
        // 2025-07-31T23:59:59Z and 2025-08-01T00:00:00Z: `date -u -d ... +%s`.
        let august = 1_754_006_400_000_000_000;
        let (store, trace) = store_trace(store, &[(august - 1_000_000_000, 1), (august, 1)]);
        let catalog = PriceCatalog::with_builtin_models();
        let ids = crate::list_default_models(&store, &[trace], &catalog, true).expect("models");
        assert_eq!(ids, ["aws-lambda-x86-2020", "aws-lambda-x86"]);
        let first = crate::list_default_models(&store, &[trace], &catalog, false).expect("models");
        assert_eq!(first, ["aws-lambda-x86-2020"]);
        let contracts = ids.iter().map(|id| catalog.find_model(id).expect("there").clone());
        let contracts = contracts.map(|model| (model.clone(), Terms::for_model(&model)));
        let plan = ReplayPlan::for_recordings(vec![trace], contracts.collect());
        let months = store.replay_by_period(&plan, CalendarUnit::Month).expect("months");
        let rows = calendar_table(&months, None, true).to_json();
        let found: Vec<(&str, &str)> = rows
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| (row["month"].as_str().unwrap_or(""), row["model"].as_str().unwrap_or("")))
            .collect();
        assert_eq!(found, [("2025-07", "aws-lambda-x86-2020"), ("2025-08", "aws-lambda-x86")]);
        assert_eq!(
            calendar_table(&months, None, false).to_json().as_array().map(Vec::len),
            Some(4)
        );
    }
}
