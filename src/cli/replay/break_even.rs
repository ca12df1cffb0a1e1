//! `replay --break-even`: the fine price at which revenue is the same.

use std::process::ExitCode;

use crate::cli::{Common, Failure, Outcome, say};
use crate::pricing::{Exact, Granularity, Terms};
use crate::replay::break_even::{BreakEven, Revenue, Shift};
use crate::replay::{Contract, Key};
use crate::report::{Cell, Column, Format, Table};
use crate::store::{ReplayError, ReplayPlan, Store, StoreError};

/// The fine prices that are looked for unless models are named.
const FINE: [&str; 3] = ["per-cycle", "per-cpu-ms", "per-wasm-op"];

/// Runs the command.
pub(super) fn run(common: &Common, store: &Store, plan: &ReplayPlan) -> Outcome {
    let (coarse, fine) = pairs(common, plan)?;
    let mut pairs: Vec<(&Contract, &Contract)> = Vec::new();
    for coarse in &coarse {
        let same = |fine: &&Contract| fine.0.currency() == coarse.0.currency();
        pairs.extend(fine.iter().filter(same).map(|fine| (coarse, fine)));
    }
    let mut revenues = vec![Revenue::default(); pairs.len()];
    pass(store, plan, |_, usage| {
        for ((coarse, fine), revenue) in pairs.iter().zip(&mut revenues) {
            revenue.add(coarse, fine, usage);
        }
    })?;
    let mut found: Vec<(&Contract, &Contract, BreakEven)> = Vec::new();
    for ((coarse, fine), revenue) in pairs.into_iter().zip(revenues) {
        let rows = revenue.rows;
        match BreakEven::new(coarse, fine, revenue) {
            Some(it) => found.push((coarse, fine, it)),
            None => say(&format!(
                "{} and {}: no price, since {rows} invocations are billed by both and used \
                 nothing of it",
                coarse.0.id(),
                fine.0.id()
            )),
        }
    }
    pass(store, plan, |key, usage| {
        for (coarse, fine, it) in &mut found {
            it.add(coarse, fine, key, usage);
        }
    })?;
    let found: Vec<BreakEven> = found.into_iter().map(|(_, _, it)| it).collect();
    print(common, &found)
}

/// Coarse models, and fine ones: those of the plan, or the usual ones.
fn pairs(common: &Common, plan: &ReplayPlan) -> Result<(Vec<Contract>, Vec<Contract>), Failure> {
    let is_fine = |it: &&Contract| it.0.granularity() == Granularity::Fine;
    let coarse: Vec<Contract> = plan.contracts.iter().filter(|it| !is_fine(it)).cloned().collect();
    let catalog = common.price_catalog()?;
    let mut fine = Vec::new();
    for id in FINE {
        let model = catalog.find(id).map_err(Failure::failed)?;
        fine.push((model.clone(), Terms::of(model)));
    }
    if coarse.is_empty() {
        return Err(Failure::usage(
            "--break-even compares with a coarse model: name one with --model",
        ));
    }
    Ok((coarse, fine))
}

fn pass(
    store: &Store,
    plan: &ReplayPlan,
    mut each: impl FnMut(&Key, &crate::meter::Usage),
) -> Result<(), Failure> {
    let mut rows = 0_u64;
    let read = store.each_invocation(&plan.selection, |row| {
        rows += 1;
        each(&row.key, &plan.what_if.apply(row.usage));
        Ok::<(), StoreError>(())
    });
    read.map_err(Failure::failed)?;
    if rows == 0 {
        return Err(Failure::failed(ReplayError::Empty("this selection".to_owned())));
    }
    Ok(())
}

fn print(common: &Common, found: &[BreakEven]) -> Outcome {
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
    ]);
    for it in found {
        prices.push(price_row(it));
        for (key, shift) in &it.groups {
            groups.push(group_row(it, key, &mut shift.clone()));
        }
    }
    if common.format == Format::Table {
        common.print(&prices)?;
        println_blank()?;
        common.print(&groups)?;
        say("price: at which all invocations together pay what the coarse model takes, in USD");
        say("fine/coarse: what a group then pays, against what it pays now; p5 to p95 of its runs");
    } else {
        common.print(&groups)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn println_blank() -> Result<(), Failure> {
    use std::io::Write;
    writeln!(std::io::stdout())?;
    Ok(())
}

fn price_row(it: &BreakEven) -> Vec<Cell> {
    let mut all = it.overall();
    let price = &it.price * &it.per;
    let shown = |value: &Exact| value.significant(std::num::NonZeroU64::MIN.saturating_add(3));
    let unit = format!("for {} {}", crate::report::grouped(&it.per), it.unit);
    vec![
        Cell::text(it.coarse.as_str()),
        Cell::text(it.fine.as_str()),
        Cell::new(shown(&price), price.to_plain_string()),
        Cell::text(unit),
        Cell::text(it.price.to_plain_string()),
        Cell::new(shown(&it.own), it.own.to_plain_string()),
        Cell::new(percent(all.more, all.rows()), all.more),
        Cell::new(percent(all.less, all.rows()), all.less),
        Cell::new(all.same, all.same),
        ratio(all.quantile(50)),
    ]
}

fn group_row(it: &BreakEven, key: &Key, shift: &mut Shift) -> Vec<Cell> {
    let whole = shift.ratio().map(|it| (format!("{}x", it.rounded(2)), it.to_plain_string()));
    vec![
        Cell::text(it.fine.as_str()),
        Cell::text(it.coarse.as_str()),
        Cell::text(&*key.workload),
        Cell::text(&*key.lane),
        Cell::text(&*key.start),
        Cell::text(&*key.preset),
        Cell::new(shift.rows(), shift.rows()),
        Cell::new(percent(shift.more, shift.rows()), shift.more),
        Cell::maybe(whole),
        ratio(shift.quantile(5)),
        ratio(shift.quantile(50)),
        ratio(shift.quantile(95)),
    ]
}

fn ratio(value: Option<f64>) -> Cell {
    Cell::maybe(value.map(|it| (format!("{it:.2}x"), it)))
}

fn percent(part: u64, whole: u64) -> String {
    let share = Exact::from(part.saturating_mul(100)).over(&Exact::from(whole));
    share.map_or_else(|| "-".to_owned(), |share| format!("{} %", share.rounded(0)))
}
