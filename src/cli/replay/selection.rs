//! Selection of a replay: which recordings, which models, under which terms.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::super::{CommandFailure, history};
use crate::lane::StartKind;
use crate::meter::Meter;
use crate::pricing::{self, Dimension, Exact, Gigabyte, PriceCatalog, Terms};
use crate::quantity::parse_whole_number;
use crate::replay::{Contract, WhatIf};
use crate::store::{RecordingRef, Store};
use crate::suggest::find_nearest_name;

/// Options that select invocations and models.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SelectionOptions {
    /// Price models, by id; `all`, or `current` for those valid today [default:
    /// aws-lambda-x86,per-cycle; of a trace, its platform's of that time]
    #[arg(long, value_delimiter = ',', value_name = "ID,ID")]
    pub model: Vec<String>,
    /// Only these lanes
    #[arg(long, value_delimiter = ',', value_name = "LANE,LANE")]
    pub lane: Vec<String>,
    /// Only these workloads
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    pub workload: Vec<String>,
    /// Only cold or only warm invocations
    #[arg(long, value_name = "cold|warm", value_parser = start_parser())]
    pub start: Option<StartKind>,
    /// All recordings started since then: 2026-11-21, 2026-11-21T10:00, or 7d or 2h ago
    #[arg(long, value_name = "WHEN", conflicts_with = "recordings")]
    pub since: Option<String>,
}

/// Options that set the terms of the models.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TermOptions {
    /// Assume that this much memory had been allocated; `sweep` finds the cheapest size
    #[arg(long, value_name = "SIZE|sweep")]
    memory: Option<String>,
    /// Assume this value of a meter, or set an input of the models: NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Length of a month: days, or a time such as 730h [default: the model's own]
    #[arg(long, value_name = "DAYS|TIME", value_parser = pricing::parse_period)]
    days: Option<Exact>,
    /// Leave monthly allowances out
    #[arg(long)]
    no_free: bool,
}

/// Returns the parser of a kind of start, which lists both words.
fn start_parser() -> impl TypedValueParser<Value = StartKind> {
    PossibleValuesParser::new(StartKind::ALL.map(StartKind::label))
        .try_map(|text| text.parse::<StartKind>())
}

impl SelectionOptions {
    /// Returns whether models were named, rather than all models of some kind.
    pub(super) fn names_models(&self) -> bool {
        !self.model.iter().any(|id| matches!(id.as_str(), "all" | "current"))
    }
}

pub(in crate::cli) use crate::report::answer::{HEADLINE_MODELS, headline_contracts};

/// Returns the models with these ids, under the selected terms.
pub(in crate::cli) fn select_contracts(
    catalog: &PriceCatalog,
    ids: &[String],
    options: &TermOptions,
) -> Result<Vec<Contract>, CommandFailure> {
    let mut contracts: Vec<Contract> = Vec::new();
    for id in ids {
        let id = id.as_str();
        let found = match id {
            "all" => catalog.models().iter().collect(),
            "current" => {
                let ended = |it: &&pricing::PriceModel| it.effective_until().is_none();
                catalog.models().iter().filter(ended).collect()
            }
            id => vec![catalog.find_model(id).map_err(|error| {
                super::super::path_hint(error, id, "price model", ["--model", "--pricing"])
            })?],
        };
        for model in found {
            if !contracts.iter().any(|(other, _)| other.id() == model.id()) {
                contracts.push((model.clone(), Terms::for_model(model)));
            }
        }
    }
    options.apply_to(&mut contracts)?;
    Ok(contracts)
}

impl TermOptions {
    /// Returns whether memory sizes are to be tried out.
    pub(super) fn is_sweep(&self) -> bool {
        self.memory.as_deref() == Some("sweep")
    }

    /// Returns the name and value of each `--set`.
    fn parse_sets(&self) -> Result<Vec<(&str, &str)>, CommandFailure> {
        let pair = |text: &'_ String| {
            let bad = || CommandFailure::usage(format!("`--set {text}`: write NAME=VALUE"));
            text.split_once('=').ok_or_else(bad).map(|_| ())
        };
        self.set.iter().try_for_each(pair)?;
        let pairs = self.set.iter().filter_map(|text| text.split_once('='));
        Ok(pairs.map(|(name, value)| (name.trim(), value.trim())).collect())
    }

    /// Applies inputs, days and allowances to all models that have them.
    pub(super) fn apply_to(&self, contracts: &mut [Contract]) -> Result<(), CommandFailure> {
        for (name, value) in self.parse_sets()? {
            if Meter::from_name(name).is_some() {
                continue;
            }
            let mut known = false;
            for (model, terms) in contracts.iter_mut() {
                if model.inputs().iter().any(|input| input.name() == name) {
                    known = true;
                    terms
                        .set_input(model, name, value, model.gigabyte_convention())
                        .map_err(CommandFailure::usage)?;
                }
            }
            if !known {
                return Err(CommandFailure::usage(unknown_input_message(name, contracts)));
            }
        }
        for (_, terms) in contracts.iter_mut() {
            if let Some(days) = &self.days {
                terms.set_period(days.clone());
            }
            if self.no_free {
                terms.exclude_allowances();
            }
        }
        Ok(())
    }

    /// Returns the meters that are assumed rather than read.
    pub(super) fn what_if(&self, contracts: &[Contract]) -> Result<WhatIf, CommandFailure> {
        let mut assumed = Vec::new();
        if let Some(size) = self.memory.as_deref().filter(|size| *size != "sweep") {
            assumed.push((
                Meter::MemoryAllocated,
                parse_meter_value(Meter::MemoryAllocated, size, contracts)?,
            ));
        }
        for (name, text) in self.parse_sets()? {
            if let Some(meter) = Meter::from_name(name) {
                assumed.push((meter, parse_meter_value(meter, text, contracts)?));
            }
        }
        Ok(WhatIf(assumed))
    }
}

/// Parses the value of a meter. MB must not mean two things: where a model means MiB by
/// it, the size has to be written as MiB or GiB.
fn parse_meter_value(
    meter: Meter,
    text: &str,
    contracts: &[Contract],
) -> Result<u64, CommandFailure> {
    let dimension = Dimension::for_meter(meter);
    let read = |gb| dimension.parse_whole(text, gb).map_err(CommandFailure::usage);
    let (decimal, binary) = (read(Gigabyte::Decimal)?, read(Gigabyte::Binary)?);
    let differs =
        contracts.iter().any(|(model, _)| model.gigabyte_convention() == Gigabyte::Binary);
    if decimal != binary && differs {
        return Err(CommandFailure::usage(format!(
            "`{text}`: providers mean different things by it; write MiB or GiB"
        )));
    }
    Ok(decimal)
}

fn unknown_input_message(name: &str, contracts: &[Contract]) -> String {
    let inputs = contracts.iter().flat_map(|(model, _)| model.inputs());
    let inputs = inputs.map(pricing::ModelInput::name);
    let meters = Meter::ALL.iter().map(|meter| meter.name());
    match find_nearest_name(name, inputs.chain(meters)) {
        Some(near) => format!("no model here has an input `{name}`: did you mean `{near}`?"),
        None => format!(
            "no model here has an input `{name}`, and it is no meter: `cyclometer pricing show \
             MODEL` lists the inputs of a model"
        ),
    }
}

/// Returns the recordings that were named, or those begun since a moment.
pub(in crate::cli) fn select_recordings(
    store: &Store,
    names: &[String],
    choice: &SelectionOptions,
) -> Result<Vec<i64>, CommandFailure> {
    if let Some(since) = &choice.since {
        let since = history::since(since).map_err(CommandFailure::usage)?;
        let found = store.recordings_since(&since).map_err(CommandFailure::failed)?;
        if found.is_empty() {
            return Err(CommandFailure::failed(format!("no recording began since {since}")));
        }
        return Ok(found);
    }
    let latest = ["latest".to_owned()];
    let names = if names.is_empty() { &latest[..] } else { names };
    let mut numbers = Vec::new();
    for name in names {
        let reference: RecordingRef = name.parse().map_err(CommandFailure::Usage)?;
        let label = matches!(reference, RecordingRef::Label(_));
        let number = store.find_recording(reference).map_err(|error| {
            if label { CommandFailure::usage(error) } else { CommandFailure::failed(error) }
        })?;
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

/// Parses a number of requests, at least one: `3000000`, `3_000_000`, `3e6` or `3M`.
pub(in crate::cli) fn parse_request_count(text: &str) -> Result<Exact, CommandFailure> {
    let count: u64 = parse_whole_number(text).map_err(CommandFailure::usage)?;
    if count == 0 {
        return Err(CommandFailure::usage(format!("`{text}`: write 1 request or more")));
    }
    Ok(Exact::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_written_in_many_ways() {
        for text in ["3000000", "3_000_000", "3,000,000", "3M", "3000k", "0.003G", "3e6"] {
            assert_eq!(parse_request_count(text).ok(), Some(Exact::from(3_000_000)), "{text}");
        }
        for text in ["", "M", "0", "-1", "1.5", "1,5", "0,500", "3 m", "3e-6"] {
            assert!(parse_request_count(text).is_err(), "{text}");
        }
    }
}
