//! Parses usage given as NAME=VALUE, as on a command line: meters, phases and a model's inputs,
//! each with its unit.

use thiserror::Error;

use super::charge::{Factor, Measure, ModelInput, Multiplier};
use super::model::PriceModel;
use super::number::Exact;
use super::schema::{ChargeBasis, ModelInputKind};
use super::settle::UsageGroup;
use super::terms::Terms;
use super::unit::{Dimension, Phase};
use cyclometer_core::meter::{Meter, Phases, Usage};
use cyclometer_core::quantity::Decimal;
use cyclometer_core::suggest::find_nearest_name;
use cyclometer_core::units::Nanos;

const PHASES: [Phase; 4] = [Phase::Create, Phase::Start, Phase::Run, Phase::Teardown];

/// Accepted names that are neither a meter, a phase nor an input.
const OTHER_NAMES: [&str; 4] = ["requests", "instances", "instance_time", "cold"];

/// Error: a given name or value was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct UsageBuilderError(String);

type BuilderResult<T> = Result<T, UsageBuilderError>;

/// Builder of a group of identical invocations, one name and value at a time.
#[derive(Debug, Clone)]
pub struct UsageBuilder<'a> {
    model: &'a PriceModel,
    usage: Usage,
    terms: Terms,
    requests: Option<u64>,
    instances: Option<u64>,
    instance_time: Option<Nanos>,
    /// Whether this is one of several groups.
    is_group: bool,
    notes: Vec<String>,
}

impl<'a> UsageBuilder<'a> {
    /// Creates a builder with nothing set.
    #[must_use]
    pub const fn new(model: &'a PriceModel, terms: Terms) -> Self {
        Self {
            model,
            usage: Usage::new(false),
            terms,
            requests: None,
            instances: None,
            instance_time: None,
            is_group: false,
            notes: Vec::new(),
        }
    }

    /// Creates a builder for one of several groups, starting from what is set for all of them.
    #[must_use]
    pub fn new_group(&self) -> Self {
        Self { is_group: true, notes: Vec::new(), ..self.clone() }
    }

    /// Returns the terms set so far.
    #[must_use]
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Returns whether anything about invocations was set, rather than inputs only.
    #[must_use]
    pub fn has_usage(&self) -> bool {
        let counted = self.requests.is_some() || self.instances.is_some();
        counted
            || self.usage.phases != Phases::default()
            || Meter::ALL.iter().any(|meter| self.usage.get(*meter).is_some())
    }

    /// Returns notes on how the given values were interpreted.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Parses `NAME=VALUE`, or the bare name of a switch, and sets the value.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`UsageBuilder::set_value`].
    pub fn apply_assignment(&mut self, text: &str) -> BuilderResult<()> {
        match text.split_once('=') {
            Some((name, value)) => self.set_value(name.trim(), Some(value.trim())),
            None => self.set_value(text.trim(), None),
        }
    }

    /// Sets the meter, phase or input of that name to a value with its unit; a switch needs no
    /// value.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such name, with the nearest one, or if the value is not
    /// valid for it.
    pub fn set_value(&mut self, name: &str, value: Option<&str>) -> BuilderResult<()> {
        let inputs = self.model.inputs();
        let input = inputs.iter().position(|input| input.name() == name);
        let switch = input.is_some_and(|input| inputs[input].kind() == ModelInputKind::Switch);
        let value = match value {
            None if switch || name == "cold" => "on",
            None if self.is_known_name(name) => {
                return Err(UsageBuilderError(format!(
                    "`{name}` is no switch: write {name}=VALUE"
                )));
            }
            value => value.unwrap_or_default(),
        };
        if let Some(input) = input {
            return self.set_input(input, name, value);
        }
        if let Some(meter) = Meter::from_name(name) {
            let value = self.parse_whole(name, Dimension::for_meter(meter), value)?;
            self.usage.set(meter, value);
            return Ok(());
        }
        match name {
            "instances" | "instance_time" => self.set_instance_value(name, value)?,
            "create" => self.usage.phases.create = Some(self.parse_time(name, value)?),
            "start" => self.usage.phases.start = Some(self.parse_time(name, value)?),
            "run" => self.usage.phases.run = Some(self.parse_time(name, value)?),
            "teardown" => self.usage.phases.teardown = Some(self.parse_time(name, value)?),
            "requests" => {
                self.requests = Some(self.parse_whole(name, Dimension::Requests, value)?);
            }
            "cold" => {
                self.usage.cold = match value {
                    "on" | "yes" | "true" | "1" => true,
                    "off" | "no" | "false" | "0" => false,
                    _ => {
                        return Err(UsageBuilderError(format!(
                            "`cold` is on or off, not `{value}`"
                        )));
                    }
                }
            }
            _ => return Err(self.unknown_name_error(name)),
        }
        Ok(())
    }

    /// Sets the number (`instances`) or the length (`instance_time`) of the time spans in which
    /// instances serve, whatever inputs the model has.
    ///
    /// # Errors
    ///
    /// Returns an error if the value is not valid.
    pub fn set_instance_value(&mut self, name: &str, value: &str) -> BuilderResult<()> {
        if name == "instances" {
            self.instances = Some(self.parse_whole(name, Dimension::Number, value)?);
        } else {
            self.instance_time = Some(self.parse_time(name, value)?);
        }
        Ok(())
    }

    fn set_input(&mut self, input: usize, name: &str, value: &str) -> BuilderResult<()> {
        if self.is_group && self.is_period_only_input(input) {
            return Err(UsageBuilderError(format!(
                "`{name}` is billed once a period, not for a group of requests: give it with \
                 --set {name}={value}"
            )));
        }
        let dimension = self.model.inputs()[input].dimension();
        self.terms
            .set_input(self.model, name, value, self.model.gigabyte_convention())
            .map_err(|error| UsageBuilderError(error.to_string()))?;
        self.note_unit_meaning(dimension, value);
        Ok(())
    }

    /// Returns whether an input is read only by charges that are counted by period.
    fn is_period_only_input(&self, input: usize) -> bool {
        let reads = |factor: &Factor| {
            let times = matches!(factor.times, Multiplier::Input(index) if index == input);
            times || reads_input(&factor.measure, input)
        };
        let mut by = self.model.shared_charges().iter().filter(|charge| {
            let switch = charge.condition.is_some_and(|(index, _)| index == input);
            switch || charge.factors.iter().any(reads)
        });
        by.clone().next().is_some() && by.all(|charge| charge.basis == ChargeBasis::Period)
    }

    fn parse_time(&mut self, name: &str, value: &str) -> BuilderResult<Nanos> {
        self.parse_whole(name, Dimension::Time, value).map(Nanos)
    }

    fn parse_whole(&mut self, name: &str, dimension: Dimension, value: &str) -> BuilderResult<u64> {
        let whole = dimension.parse_whole(value, self.model.gigabyte_convention());
        let whole = whole.map_err(|error| UsageBuilderError(format!("`{name}`: {error}")))?;
        self.note_unit_meaning(dimension, value);
        Ok(whole)
    }

    /// Adds a note, once per unit, that the provider's MB is what others write MiB.
    fn note_unit_meaning(&mut self, dimension: Dimension, value: &str) {
        if !matches!(dimension, Dimension::Size | Dimension::SizeTime) {
            return;
        }
        let Ok((_, unit)) = Decimal::parse_prefix(value) else { return };
        let number = value.trim_end().strip_suffix(unit).unwrap_or(value);
        if let Some(meant) = self.model.gigabyte_convention().unit_meant_by(unit) {
            let who = self.model.provider().unwrap_or_else(|| self.model.name());
            let note = format!("{unit} as {who} writes it: {number} {meant}");
            let said = |other: &String| other.starts_with(&format!("{unit} as "));
            if !self.notes.iter().any(said) {
                self.notes.push(note);
            }
        }
    }

    fn is_known_name(&self, name: &str) -> bool {
        self.known_names().any(|known| known == name)
    }

    /// Iterates over all accepted names, those of the model's inputs first.
    fn known_names(&self) -> impl Iterator<Item = &'a str> {
        let inputs = self.model.inputs().iter().map(ModelInput::name);
        let meters = Meter::ALL.iter().map(|meter| meter.name());
        inputs.chain(PHASES.map(Phase::name)).chain(OTHER_NAMES).chain(meters)
    }

    fn unknown_name_error(&self, name: &str) -> UsageBuilderError {
        let shown: String = name.chars().take(64).collect();
        let model = self.model;
        let meters = model.used_meters().into_iter().map(|meter| -> &str { meter.name() });
        let mut read: Vec<&str> = meters.collect();
        read.extend(model.used_phases().into_iter().map(|phase| -> &str { phase.name() }));
        read.extend(model.inputs().iter().map(ModelInput::name));
        // `memroy` is near a word of `memory_allocated`, though not near the whole name.
        let by_word = || {
            let words = |name: &str| find_nearest_name(&shown, name.split('_')).is_some();
            read.iter().copied().find(|name| words(name))
        };
        let near = find_nearest_name(&shown, read.iter().copied())
            .or_else(by_word)
            .or_else(|| find_nearest_name(&shown, self.known_names()));
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it reads {}", read.join(", ")),
        };
        UsageBuilderError(format!(
            "there is no meter, phase or input of `{}` called `{shown}`: {hint}",
            model.id()
        ))
    }

    /// Builds the group of invocations described so far, with notes on assumptions.
    ///
    /// # Errors
    ///
    /// Returns an error if the given values contradict each other.
    pub fn build_group(&self) -> BuilderResult<(UsageGroup, Vec<String>)> {
        let (mut usage, mut notes) = (self.usage, self.notes.clone());
        complete_wall_and_run(self.model, &mut usage, &mut notes)?;
        let stretches = match (self.instances, self.instance_time) {
            (Some(count), Some(time)) => Some((Exact::from(count), time)),
            (None, None) => None,
            _ => {
                let text = "`instances` and `instance_time` belong together: so many stretches \
                            of an instance, of that length each";
                return Err(UsageBuilderError(text.to_owned()));
            }
        };
        let group = UsageGroup {
            requests: Exact::from(self.requests.unwrap_or(1)),
            usage,
            terms: self.terms.clone(),
            instance_spans: stretches,
        };
        Ok((group, notes))
    }
}

/// Returns whether a measure reads the input at index `input`.
fn reads_input(measure: &Measure, input: usize) -> bool {
    match measure {
        Measure::Input(index) => *index == input,
        Measure::Lookup { of: inner, .. } => reads_input(inner, input),
        Measure::MaxOf(several) => several.iter().any(|(measure, times)| {
            reads_input(measure, input)
                || matches!(times, Multiplier::Input(index) if *index == input)
        }),
        _ => false,
    }
}

/// Completes phases and wall time from each other: models bill phases, but users often know only
/// the total.
pub(super) fn complete_wall_and_run(
    model: &PriceModel,
    usage: &mut Usage,
    notes: &mut Vec<String>,
) -> BuilderResult<()> {
    let before = usage.phases.startup_time().map_or(0, |span| span.0);
    let run = usage.phases.run.map_or(0, |span| span.0);
    let Some(wall) = usage.get(Meter::Wall) else {
        if usage.phases.run.is_some() {
            usage.set(Meter::Wall, before.checked_add(run));
        }
        return Ok(());
    };
    let shown = |span: u64| Dimension::Time.format_value(&Exact::from(span));
    let Some(left) = wall.checked_sub(before).filter(|left| *left >= run) else {
        return Err(UsageBuilderError(format!(
            "`wall` is from the request to the end, so at least create + start + run: {} is \
             less than {}",
            shown(wall),
            shown(before.saturating_add(run))
        )));
    };
    if usage.phases.run.is_none() && !model.used_phases().is_empty() {
        usage.phases.run = Some(Nanos(left));
        let how = if before > 0 { " minus create and start" } else { "" };
        notes
            .push(format!("run is taken to be wall{how}, {}: the model bills phases", shown(left)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find_builtin_model;

    fn given(model: &str, said: &[&str]) -> BuilderResult<(UsageGroup, Vec<String>)> {
        let model = find_builtin_model(model).unwrap();
        let mut given = UsageBuilder::new(model, Terms::for_model(model));
        said.iter().try_for_each(|text| given.apply_assignment(text))?;
        given.build_group()
    }

    #[test]
    fn a_whole_is_made_of_its_phases_and_they_of_it() {
        let phases = |said: &[&str]| {
            let (group, notes) = given("aws-lambda-x86", said).unwrap();
            let phases = group.usage.phases;
            (group.usage.get(Meter::Wall), phases.start, phases.run, notes.len())
        };
        let ms = |count: u64| count * 1_000_000;
        let span = |count| Some(Nanos(ms(count)));
        assert_eq!(phases(&["wall=120ms"]), (Some(ms(120)), None, span(120), 1));
        let expected = (Some(ms(120)), span(20), span(90), 1);
        assert_eq!(phases(&["wall=120ms", "start=20ms", "create=10ms"]), expected);
        let expected = (Some(ms(30)), span(10), span(20), 0);
        assert_eq!(phases(&["run=20ms", "start=10ms"]), expected);
        // A total that is longer than its parts is kept as given.
        let expected = (Some(ms(50)), span(10), span(20), 0);
        assert_eq!(phases(&["run=20ms", "start=10ms", "wall=50ms"]), expected);
        assert!(given("aws-lambda-x86", &["wall=1ms", "run=2ms"]).is_err());
        // A model that bills no phase needs none.
        let (group, notes) = given("per-cpu-ms", &["wall=2ms", "cpu_time=1ms"]).unwrap();
        assert_eq!((group.usage.phases.run, notes.len()), (None, 0));
    }

    #[test]
    fn gigabytes_are_those_of_the_provider() {
        let memory = |model: &str, said: &str| {
            let (group, notes) = given(model, &[said]).unwrap();
            (group.usage.get(Meter::MemoryAllocated).unwrap(), notes)
        };
        let note = || vec!["MB as Amazon Web Services writes it: 1536 MiB".to_owned()];
        assert_eq!(memory("aws-lambda-x86", "memory_allocated=1536MB"), (1536 << 20, note()));
        assert_eq!(memory("aws-lambda-x86", "memory_allocated=1536MiB"), (1536 << 20, vec![]));
        let decimal = (1_536_000_000, Vec::new());
        assert_eq!(memory("cloudflare-durable-objects", "memory_allocated=1536MB"), decimal);
    }

    #[test]
    fn an_input_may_be_called_as_a_word_of_ours() {
        let model = find_builtin_model("aws-lambda-managed-instances").unwrap();
        let mut given = UsageBuilder::new(model, Terms::for_model(model));
        given.apply_assignment("instance_time=2000h").unwrap();
        assert!(!given.has_usage());
        let hours = Exact::from(2000 * 3_600_000_000_000);
        assert!(given.terms().changed_inputs(model).any(|(_, value)| *value == hours));
    }

    #[test]
    fn counts_of_inputs_are_counted_too() {
        let model = find_builtin_model("aws-lambda-x86").unwrap();
        let mut given = UsageBuilder::new(model, Terms::for_model(model));
        given.apply_assignment("durable_operations=4e6").unwrap();
        given.apply_assignment("provisioned").unwrap();
        let values: Vec<Exact> =
            given.terms().changed_inputs(model).map(|it| it.1.clone()).collect();
        assert_eq!(values, [Exact::from(1), Exact::from(4_000_000)]);
    }
}
