//! `replay --break-even`: finds the fine price at which revenue is the same as under a
//! coarse model.

use std::process::ExitCode;

use crate::cli::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::output::text_output;
use crate::pricing::{Exact, Granularity, Terms};
use crate::replay::break_even::{BreakEven, PriceShift, Revenue};
use crate::replay::{CellKey, Contract};
use crate::report::{Cell, Column, Table};
use crate::store::{ReplayError, ReplayPlan, Store, StoreError};

/// Default fine models.
const FINE: [&str; 3] = ["per-cycle", "per-cpu-ms", "per-wasm-op"];

/// Runs the command.
pub(super) fn run(
    common: &CommonOptions,
    store: &Store,
    plan: &ReplayPlan,
    named: bool,
) -> CommandOutcome {
    let (coarse, fine) = choose_models(common, plan, named)?;
    let all = || coarse.iter().flat_map(|coarse| fine.iter().map(move |fine| (coarse, fine)));
    let mut left_out: Vec<UncomparedPair> = Vec::new();
    for (coarse, fine) in all() {
        left_out.extend(
            incomparable_reason(coarse, fine)
                .map(|why| UncomparedPair::for_pair(coarse, fine, why)),
        );
    }
    let pairs: Vec<(&Contract, &Contract)> =
        all().filter(|(coarse, fine)| incomparable_reason(coarse, fine).is_none()).collect();
    // The time until a failure is not the price of the function.
    let failed: Vec<CellKey> = store
        .replay_without_saving(plan)
        .map_err(CommandFailure::failed)?
        .groups()
        .filter(|(_, group)| group.only_failed())
        .map(|(key, _)| key.clone())
        .collect();
    for key in &failed {
        say(&format!("{key}: left out: all failed"));
    }
    let mut revenues = vec![Revenue::default(); pairs.len()];
    for_each_usage(store, plan, |key, usage| {
        if failed.contains(key) {
            return;
        }
        for ((coarse, fine), revenue) in pairs.iter().zip(&mut revenues) {
            revenue.add_row(coarse, fine, usage);
        }
    })?;
    let mut found: Vec<(&Contract, &Contract, BreakEven)> = Vec::new();
    for ((coarse, fine), revenue) in pairs.into_iter().zip(revenues) {
        let rows = revenue.rows;
        if let Some(it) = BreakEven::from_revenue(coarse, fine, revenue) {
            found.push((coarse, fine, it));
        } else {
            let why = match rows {
                0 => "no invocation is billed by both".to_owned(),
                _ => format!("{rows} invocations are billed by both and used nothing of it"),
            };
            left_out.push(UncomparedPair::for_pair(coarse, fine, why));
        }
    }
    for_each_usage(store, plan, |key, usage| {
        if failed.contains(key) {
            return;
        }
        for (coarse, fine, it) in &mut found {
            it.add_row(coarse, fine, key, usage);
        }
    })?;
    let found: Vec<BreakEven> = found.into_iter().map(|(_, _, it)| it).collect();
    print_tables(common, &found, &left_out)?;
    let missing = named && !left_out.is_empty();
    Ok(if missing { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

/// A pair of models without a break-even price, with the reason.
struct UncomparedPair {
    coarse: String,
    fine: String,
    why: String,
}

impl UncomparedPair {
    fn for_pair(coarse: &Contract, fine: &Contract, why: impl Into<String>) -> Self {
        let (coarse, fine) = (coarse.0.id().to_owned(), fine.0.id().to_owned());
        Self { coarse, fine, why: why.into() }
    }
}

/// Returns why two models can have no break-even price, whatever was recorded.
fn incomparable_reason(coarse: &Contract, fine: &Contract) -> Option<String> {
    if coarse.0.currency() != fine.0.currency() {
        return Some(format!("one is in {}, one in {}", coarse.0.currency(), fine.0.currency()));
    }
    let charges = fine.0.invocation_charges(&fine.1).count();
    (charges != 1).then(|| format!("{} has {charges} charges, not one price", fine.0.id()))
}

/// Returns the coarse models, and the fine ones: those that were named, or the default
/// ones.
fn choose_models(
    common: &CommonOptions,
    plan: &ReplayPlan,
    named: bool,
) -> Result<(Vec<Contract>, Vec<Contract>), CommandFailure> {
    let is_fine = |it: &&Contract| it.0.granularity() == Granularity::Fine;
    let coarse: Vec<Contract> = plan.contracts.iter().filter(|it| !is_fine(it)).cloned().collect();
    let catalog = common.price_catalog()?;
    let mut fine: Vec<Contract> =
        plan.contracts.iter().filter(|it| named && is_fine(it)).cloned().collect();
    if fine.is_empty() {
        for id in FINE {
            let model = catalog.find_model(id).map_err(CommandFailure::failed)?;
            fine.push((model.clone(), Terms::for_model(model)));
        }
    }
    if coarse.is_empty() {
        return Err(CommandFailure::usage(
            "--break-even compares with a coarse model: name one with --model",
        ));
    }
    Ok((coarse, fine))
}

fn for_each_usage(
    store: &Store,
    plan: &ReplayPlan,
    mut each: impl FnMut(&CellKey, &crate::meter::Usage),
) -> Result<(), CommandFailure> {
    let mut rows = 0_u64;
    let read = store.for_each_invocation(&plan.selection, |row| {
        rows += 1;
        each(&row.key, &plan.what_if.apply_to(row.usage));
        Ok::<(), StoreError>(())
    });
    read.map_err(CommandFailure::failed)?;
    if rows == 0 {
        return Err(CommandFailure::failed(ReplayError::Empty("this selection".to_owned())));
    }
    Ok(())
}

fn print_tables(
    common: &CommonOptions,
    found: &[BreakEven],
    left_out: &[UncomparedPair],
) -> Result<(), CommandFailure> {
    let mut prices = Table::new(&[
        Column::text("revenue of", "coarse_model"),
        Column::text("by", "fine_model"),
        Column::number("price", "price"),
        Column::text("", "unit"),
        Column::hidden("price_of_one"),
        Column::number("its own", "own_price"),
        Column::number("pay more", "more"),
        Column::number("less", "less"),
        Column::hidden("same"),
        Column::number("median", "ratio_p50"),
    ]);
    let mut groups = Table::new(&[
        Column::text("by", "fine_model"),
        Column::hidden("coarse_model"),
        Column::text("workload", "workload"),
        Column::text("lane", "lane"),
        Column::text("start", "start"),
        Column::hidden("preset"),
        Column::number("runs", "invocations"),
        Column::number("pay more", "more"),
        Column::number("fine/coarse", "ratio"),
        Column::number("p5", "ratio_p5"),
        Column::number("p50", "ratio_p50"),
        Column::number("p95", "ratio_p95"),
        Column::hidden("note"),
    ]);
    for it in found {
        prices.push(price_row(it));
        for (key, shift) in &it.groups {
            groups.push(group_row(it, key, &mut shift.clone()));
        }
    }
    if !common.format.is_for_people() {
        for it in left_out {
            let mut row: Vec<Cell> = vec![Cell::text(&*it.fine), Cell::text(&*it.coarse)];
            row.extend((0..10).map(|_| Cell::optional::<u64>(None)));
            row.push(Cell::text(&*it.why));
            groups.push(row);
        }
    }
    if common.format.is_for_people() {
        common.print_table(&prices)?;
        print_blank_line()?;
        common.print_table(&groups)?;
        let without =
            left_out.iter().map(|it| format!("{} by {}: no price: {}", it.coarse, it.fine, it.why));
        common.print_lines(&without.collect::<Vec<_>>())?;
        say("price: at which all invocations together pay what the coarse model takes, in USD");
        say("fine/coarse: what a group then pays, against what it pays now; p5 to p95 of its runs");
    } else {
        common.print_table(&groups)?;
    }
    Ok(())
}

fn print_blank_line() -> Result<(), CommandFailure> {
    use std::io::Write;
    writeln!(text_output())?;
    Ok(())
}

fn price_row(it: &BreakEven) -> Vec<Cell> {
    let mut all = it.total_shift();
    let price = &it.price * &it.per;
    let shown =
        |value: &Exact| value.to_significant_string(std::num::NonZeroU64::MIN.saturating_add(3));
    let unit = format!("for {} {}", crate::report::format_thousands(&it.per), it.unit);
    vec![
        Cell::text(it.coarse.as_str()),
        Cell::text(it.fine.as_str()),
        Cell::new(shown(&price), price.to_plain_string()),
        Cell::text(unit),
        Cell::text(it.price.to_plain_string()),
        Cell::new(shown(&it.own), it.own.to_plain_string()),
        Cell::new(format_percent(all.more, all.count_rows()), all.more),
        Cell::new(format_percent(all.less, all.count_rows()), all.less),
        Cell::new(all.same, all.same),
        ratio_cell(all.ratio_quantile(0.5)),
    ]
}

fn group_row(it: &BreakEven, key: &CellKey, shift: &mut PriceShift) -> Vec<Cell> {
    let whole = shift
        .fine_to_coarse()
        .map(|it| (format!("{}x", it.to_rounded_string(2)), it.to_plain_string()));
    vec![
        Cell::text(it.fine.as_str()),
        Cell::text(it.coarse.as_str()),
        Cell::text(&*key.workload),
        Cell::text(&*key.lane),
        Cell::text(key.start.label()),
        Cell::text(&*key.preset),
        Cell::new(shift.count_rows(), shift.count_rows()),
        Cell::new(format_percent(shift.more, shift.count_rows()), shift.more),
        Cell::optional(whole),
        ratio_cell(shift.ratio_quantile(0.05)),
        ratio_cell(shift.ratio_quantile(0.5)),
        ratio_cell(shift.ratio_quantile(0.95)),
        Cell::text(""),
    ]
}

fn ratio_cell(value: Option<f64>) -> Cell {
    Cell::optional(value.map(|it| (format!("{it:.2}x"), it)))
}

fn format_percent(part: u64, whole: u64) -> String {
    let share = Exact::from(part.saturating_mul(100)).checked_div(&Exact::from(whole));
    share.map_or_else(|| "-".to_owned(), |share| format!("{} %", share.to_rounded_string(0)))
}
