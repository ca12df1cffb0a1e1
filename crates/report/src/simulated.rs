//! Report of a stored simulation: its options and its amounts.

use super::table::{Cell, Column, Table};
use super::words::moment;
use cyclometer_pricing::{Exact, Money};
use cyclometer_store::{Amounts, Part, SimulationInfo, Store, StoreError, UsedModel};

/// Significant digits of an amount in text; programs get all digits.
const DIGITS: std::num::NonZeroU64 = std::num::NonZeroU64::MIN.saturating_add(5);

/// Content of `history show` for a simulation.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// The simulation.
    pub info: SimulationInfo,
    /// Options of the simulation, as JSON.
    pub options: String,
    /// Price models of the simulation.
    pub models: Table,
    /// Tables of amounts: title, key, rows.
    pub tables: [(&'static str, &'static str, Table); 4],
    /// Whether an amount has no finite decimal and is cut.
    cut: bool,
    /// Whether the simulation has neither a month's bill nor a split into used and not
    /// used.
    plain: bool,
    /// Whether the bills were split by a rule that did not know CPU time by phase.
    by_earlier_rule: bool,
}

impl Simulated {
    /// Loads a simulation.
    ///
    /// # Errors
    /// Returns an error if there is none, or the database cannot be read.
    pub fn read(store: &Store, simulation: i64) -> Result<Self, StoreError> {
        let info = store.simulation(simulation)?;
        let options = store.simulation_options(simulation)?;
        let used = store.used_models(simulation)?;
        let amounts = |part| store.amounts(simulation, part);
        let parts = [amounts(Part::Charges)?, amounts(Part::Settlement)?, amounts(Part::Waste)?];
        Ok(Self {
            info,
            options,
            models: models(&used),
            tables: [
                ("list price of the recorded invocations", "totals", totals(&parts[0], &used)),
                ("charges", "charges", listed("charge", &parts[0])),
                ("the month", "settlement", listed("position", &parts[1])),
                ("what of it was used", "waste", listed("part", &parts[2])),
            ],
            cut: parts.iter().flatten().any(|it| it.cut),
            plain: parts[1].is_empty() && parts[2].is_empty(),
            by_earlier_rule: !parts[2].is_empty() && !store.is_split_by_todays_rule(simulation)?,
        })
    }

    /// Returns a note on sums, if an amount has no finite decimal.
    #[must_use]
    pub fn cut(&self) -> Option<&'static str> {
        self.cut.then_some(
            "an amount among these has no finite decimal: sums are cut, exact to 30 places",
        )
    }

    /// Returns a note if the simulation holds nothing but list prices.
    #[must_use]
    pub fn plain(&self) -> Option<&'static str> {
        self.plain.then_some(
            "this simulation has neither a month's bill nor a split into used and not used",
        )
    }

    /// Returns a note if the bills were split by a rule that no longer holds.
    #[must_use]
    pub fn by_earlier_rule(&self) -> Option<&'static str> {
        self.by_earlier_rule.then_some(
            "what of it was used was told by an earlier version, which took start-up time for CPU \
             time: idle and used are not to be trusted; replay the recording anew",
        )
    }

    /// Returns the lines that identify the simulation, with its options.
    #[must_use]
    pub fn heading(&self) -> Vec<String> {
        let info = &self.info;
        let label = info.label.as_ref().map_or_else(String::new, |label| format!(", {label}"));
        let mut lines = vec![format!(
            "simulation {} of recording {}, made {} UTC{label}: {} invocations",
            info.id,
            info.recordings,
            moment(&info.created_at),
            info.invocations
        )];
        // A simulation without options needs no line for them.
        if !matches!(self.options.as_str(), "" | "{}") {
            lines.push(format!("options: {}", self.options));
        }
        lines
    }
}

fn models(used: &[UsedModel]) -> Table {
    let mut table = Table::new(&[
        Column::text("price model", "model"),
        Column::text("granularity", "granularity"),
        Column::text("currency", "currency"),
        Column::hidden("digest"),
    ]);
    for it in used {
        let texts = [&it.model, &it.granularity, &it.currency, &it.digest];
        table.push(texts.map(Cell::text).to_vec());
    }
    table
}

/// Builds the sum of all charges, by model and lane; a model without charges for single
/// invocations is listed with the reason.
fn totals(charges: &[Amounts], used: &[UsedModel]) -> Table {
    let mut table = Table::new(&[
        Column::text("model", "model"),
        Column::text("lane", "lane"),
        Column::number("billed", "invocations"),
        Column::number("total", "total"),
        Column::number("mean / M", "mean_per_million"),
        Column::text("currency", "currency"),
        Column::text("refused", "refused"),
    ]);
    for group in charges.chunk_by(|one, two| (&one.model, &one.lane) == (&two.model, &two.lane)) {
        let first = &group[0];
        let billed = group.iter().any(|it| it.amount.is_some());
        let total: Money = group.iter().filter_map(|it| it.amount.as_ref()).sum();
        // Each charge counts the same invocations.
        let count = &first.count;
        let mean = total.times(1_000_000).ratio(count, 12).filter(|_| billed);
        let shown = billed.then(|| (total.significant(DIGITS), total.to_plain_string()));
        let refused = group.iter().find_map(|it| it.refused.clone());
        table.push(vec![
            Cell::text(&*first.model),
            Cell::text(&*first.lane),
            counted("charge", count),
            Cell::maybe(shown),
            Cell::maybe(mean.map(|it| (it.rounded(4), it.to_plain_string()))),
            Cell::text(&*first.currency),
            Cell::maybe(refused.map(|it| (it.clone(), it))),
        ]);
    }
    let has_items = |model: &str| charges.iter().any(|it| it.model == model);
    for it in used.iter().filter(|it| !has_items(&it.model)) {
        let none = || Cell::maybe::<u64>(None);
        let why = "no charge for single invocations: --per-month bills monthly ones";
        table.push(vec![
            Cell::text(&*it.model),
            Cell::text(""),
            none(),
            none(),
            none(),
            Cell::text(&*it.currency),
            Cell::text(why),
        ]);
    }
    table
}

/// Builds a row for each amount, with its share of the model's sum in the lane.
fn listed(of: &'static str, amounts: &[Amounts]) -> Table {
    let mut table = Table::new(&[
        Column::text("model", "model"),
        Column::text("lane", "lane"),
        Column::text(of, of),
        match of {
            "position" => Column::number("requests", "requests"),
            _ => Column::hidden("invocations"),
        },
        Column::number("amount", "amount"),
        Column::number("share", "share"),
        Column::text("currency", "currency"),
    ]);
    for group in amounts.chunk_by(|one, two| (&one.model, &one.lane) == (&two.model, &two.lane)) {
        let total: Money = group.iter().filter_map(|it| it.amount.as_ref()).sum();
        for it in group {
            let amount = it.amount.as_ref();
            let share = amount.and_then(|amount| amount.ratio(&total, 6));
            let percent = |share: &Exact| format!("{} %", hundredfold(share));
            table.push(vec![
                Cell::text(&*it.model),
                Cell::text(&*it.lane),
                Cell::text(&*it.of),
                counted(of, &it.count),
                Cell::maybe(amount.map(|it| (it.significant(DIGITS), it.to_plain_string()))),
                Cell::maybe(share.map(|it| (percent(&it), it.to_plain_string()))),
                Cell::text(&*it.currency),
            ]);
        }
    }
    table
}

/// Returns the cell of a count: invocations are a number, but the requests of a month
/// need not fit one.
fn counted(of: &str, count: &Money) -> Cell {
    let text = count.to_plain_string();
    match text.parse::<u64>() {
        Ok(number) if of != "position" => Cell::new(text, number),
        _ => Cell::text(text),
    }
}

/// Formats a share in per cent, to one digit after the point.
fn hundredfold(share: &Exact) -> String {
    (share * &Exact::from(100)).rounded(1)
}
