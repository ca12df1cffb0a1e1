//! Report of a stored simulation: its options and its amounts.

use super::table::{Cell, Column, Table};
use super::text_format::{format_percent, format_timestamp};
use cyclometer_pricing::{Exact, Money};
use cyclometer_store::{AmountKind, AmountSum, SimulationInfo, Store, StoreError, UsedModel};

/// Significant digits of an amount in text; programs get all digits.
const DIGITS: std::num::NonZeroU64 = std::num::NonZeroU64::MIN.saturating_add(5);

/// Content of `history show` for a simulation.
#[derive(Debug, Clone)]
pub struct SimulationReport {
    /// The simulation.
    pub info: SimulationInfo,
    /// Options of the simulation, as JSON.
    pub options: String,
    /// Price models of the simulation.
    pub models: Table,
    /// Tables of amounts: title, key, rows.
    pub tables: [(&'static str, &'static str, Table); 4],
    /// Names of the recordings.
    of: String,
    /// Whether an amount has no finite decimal and is cut.
    cut: bool,
    /// Whether the simulation has neither a month's bill nor a split into used and not
    /// used.
    plain: bool,
    /// Whether the bills were split by a rule that did not know CPU time by phase.
    by_earlier_rule: bool,
}

impl SimulationReport {
    /// Loads a simulation.
    ///
    /// # Errors
    /// Returns an error if there is none, or the database cannot be read.
    pub fn load(store: &Store, simulation: i64) -> Result<Self, StoreError> {
        let info = store.simulation_info(simulation)?;
        let options = store.simulation_options(simulation)?;
        let used = store.used_models(simulation)?;
        let amounts = |part| store.simulation_amounts(simulation, part);
        let parts = [
            amounts(AmountKind::Charges)?,
            amounts(AmountKind::Settlement)?,
            amounts(AmountKind::Waste)?,
        ];
        Ok(Self {
            of: store.name_recordings(&info.recording_numbers())?,
            info,
            options,
            models: model_table(&used),
            tables: [
                ("list price of the recorded invocations", "totals", total_table(&parts[0], &used)),
                ("charges", "charges", amount_table("charge", &parts[0])),
                ("the month", "settlement", amount_table("position", &parts[1])),
                ("what of it was used", "waste", amount_table("part", &parts[2])),
            ],
            cut: parts.iter().flatten().any(|it| it.cut),
            plain: parts[1].is_empty() && parts[2].is_empty(),
            by_earlier_rule: !parts[2].is_empty() && !store.is_split_by_current_rule(simulation)?,
        })
    }

    /// Returns a note on sums, if an amount has no finite decimal.
    #[must_use]
    pub fn cut_note(&self) -> Option<&'static str> {
        self.cut.then_some(
            "an amount among these has no finite decimal: sums are cut, exact to 30 places",
        )
    }

    /// Returns a note if the simulation holds nothing but list prices.
    #[must_use]
    pub fn list_price_note(&self) -> Option<&'static str> {
        self.plain.then_some(
            "this simulation has neither a month's bill nor a split into used and not used",
        )
    }

    /// Returns a note if the bills were split by a rule that no longer holds.
    #[must_use]
    pub fn earlier_rule_note(&self) -> Option<&'static str> {
        self.by_earlier_rule.then_some(
            "what of it was used was told by an earlier version, which took start-up time for CPU \
             time: idle and used are not to be trusted; replay the recording anew",
        )
    }

    /// Returns the lines that identify the simulation, with its options.
    #[must_use]
    pub fn heading_lines(&self) -> Vec<String> {
        let info = &self.info;
        let label = info.label.as_ref().map_or_else(String::new, |label| format!(", {label}"));
        let mut lines = vec![format!(
            "simulation {} of {}, made {} UTC{label}: {} invocations",
            info.id,
            self.of,
            format_timestamp(&info.created_at),
            info.invocations
        )];
        // A simulation without options needs no line for them.
        if !matches!(self.options.as_str(), "" | "{}") {
            lines.push(format!("options: {}", self.options));
        }
        lines
    }
}

fn model_table(used: &[UsedModel]) -> Table {
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
fn total_table(charges: &[AmountSum], used: &[UsedModel]) -> Table {
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
        let mean = total.multiplied_by(1_000_000).ratio_to(count, 12).filter(|_| billed);
        let refused = group.iter().find_map(|it| it.refused.clone());
        table.push(vec![
            Cell::text(&*first.model),
            Cell::text(&*first.lane),
            count_cell("charge", count),
            Cell::optional_money(billed.then_some(&total), DIGITS),
            Cell::optional_mean_bill(mean.as_ref()),
            Cell::text(&*first.currency),
            Cell::optional_text(refused),
        ]);
    }
    let has_items = |model: &str| charges.iter().any(|it| it.model == model);
    for it in used.iter().filter(|it| !has_items(&it.model)) {
        let none = || Cell::optional::<u64>(None);
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
fn amount_table(of: &'static str, amounts: &[AmountSum]) -> Table {
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
            let share = amount.and_then(|amount| amount.ratio_to(&total, 6));
            let percent = |share: &Exact| format!("{} %", format_percent(share, 1));
            table.push(vec![
                Cell::text(&*it.model),
                Cell::text(&*it.lane),
                Cell::text(&*it.item),
                count_cell(of, &it.count),
                Cell::optional_money(amount, DIGITS),
                Cell::optional(share.map(|it| (percent(&it), it.to_plain_string()))),
                Cell::text(&*it.currency),
            ]);
        }
    }
    table
}

/// Returns the cell of a count: invocations are a number, but the requests of a month
/// need not fit one.
fn count_cell(of: &str, count: &Money) -> Cell {
    let text = count.to_plain_string();
    match text.parse::<u64>() {
        Ok(number) if of != "position" => Cell::new(text, number),
        _ => Cell::text(text),
    }
}
