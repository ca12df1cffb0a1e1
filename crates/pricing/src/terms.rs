//! Terms of a bill: values of inputs, length of the period, and whether allowances apply.

use thiserror::Error;

use super::charge::ModelInput;
use super::model::PriceModel;
use super::number::Exact;
use super::schema::ModelInputKind;
use super::unit::Gigabyte;
use cyclometer_core::suggest::find_nearest_name;

/// Default of an input that is as long as the billing period.
pub(super) const PERIOD: &str = "period";

/// Length of a day in nanoseconds.
pub(super) const DAY: u64 = 86_400_000_000_000;

/// Terms under which a bill is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Value of each input of the model, in the model's order.
    pub(super) inputs: Vec<Option<Exact>>,
    /// Length of the billing period, in nanoseconds.
    pub(super) period: Exact,
    /// Indices of inputs that are as long as the period, since they were not given another value.
    follow_period: Vec<usize>,
    /// Whether monthly allowances apply.
    pub(super) free: bool,
}

/// Error from setting the value of an input.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TermsError {
    /// The model has no such input.
    #[error("`{model}` has no input `{name}`{}", hint(nearest.as_deref(), known))]
    Unknown {
        /// Id of the model.
        model: String,
        /// Requested name.
        name: String,
        /// Most similar known name.
        nearest: Option<String>,
        /// All known names, as a readable list.
        known: String,
    },
    /// The value is not valid for the input.
    #[error("`{name}`: {message}")]
    Value {
        /// Name of the input.
        name: String,
        /// Description of what is wrong, and of what would be accepted.
        message: String,
    },
}

fn hint(nearest: Option<&str>, known: &str) -> String {
    match (nearest, known) {
        (Some(near), _) => format!(": did you mean `{near}`?"),
        (None, "") => ": it has none".to_owned(),
        (None, known) => format!(": it has {known}"),
    }
}

impl Terms {
    /// Creates the default terms of a model: the defaults of its inputs, its month, with
    /// allowances.
    #[must_use]
    pub fn for_model(model: &PriceModel) -> Self {
        Self {
            inputs: model.inputs().iter().map(|input| input.default.clone()).collect(),
            period: model.default_period().clone(),
            follow_period: (0..model.inputs().len())
                .filter(|position| model.inputs()[*position].follows_period)
                .collect(),
            free: true,
        }
    }

    /// Sets an input to a value written by a user: `2 GiB`, `8h`, `on`; `gb` is what the writer
    /// means by MB and GB.
    ///
    /// # Errors
    ///
    /// Returns an error if the model has no such input, or if the value is not valid for it.
    pub fn set_input(
        &mut self,
        model: &PriceModel,
        name: &str,
        text: &str,
        gb: Gigabyte,
    ) -> Result<(), TermsError> {
        let unknown = || {
            let names = || model.inputs().iter().map(ModelInput::name);
            TermsError::Unknown {
                model: model.id().to_owned(),
                name: name.chars().take(64).collect(),
                nearest: find_nearest_name(name, names()).map(str::to_owned),
                known: names().collect::<Vec<_>>().join(", "),
            }
        };
        let position = model.inputs().iter().position(|input| &*input.name == name);
        let position = position.ok_or_else(unknown)?;
        let input = &model.inputs()[position];
        let value = parse_input_value(input, text, gb)
            .map_err(|message| TermsError::Value { name: name.to_owned(), message })?;
        if let Some(slot) = self.inputs.get_mut(position) {
            *slot = Some(value);
        }
        self.follow_period.retain(|it| *it != position);
        Ok(())
    }

    /// Sets the length of the billing period, in nanoseconds, and with it the inputs that follow
    /// it.
    pub fn set_period(&mut self, period: Exact) {
        for position in &self.follow_period {
            if let Some(slot) = self.inputs.get_mut(*position) {
                *slot = Some(period.clone());
            }
        }
        self.period = period;
    }

    /// Excludes monthly allowances.
    pub fn exclude_allowances(&mut self) {
        self.free = false;
    }

    /// Returns whether monthly allowances apply.
    #[must_use]
    pub const fn applies_allowances(&self) -> bool {
        self.free
    }

    /// Returns whether an input is as long as the period, since it was not given a value.
    pub(super) fn follows_period(&self, position: usize) -> bool {
        self.follow_period.contains(&position)
    }

    pub(super) fn input_value(&self, position: usize) -> Option<&Exact> {
        self.inputs.get(position)?.as_ref()
    }

    pub(super) fn is_on(&self, position: usize) -> bool {
        self.input_value(position).is_some_and(|value| !value.is_zero())
    }

    /// Describes everything that a bill depends on, in a text that differs whenever a term does.
    #[must_use]
    pub fn describe(&self, model: &PriceModel) -> String {
        let inputs = model.inputs().iter().zip(&self.inputs).map(|(input, value)| {
            let value = value.as_ref().map_or_else(|| "-".to_owned(), |it| input.format_value(it));
            format!("{} {value}", input.name())
        });
        let free = if self.free { "allowances" } else { "no allowances" };
        let period = super::unit::Dimension::Time.format_value(&self.period);
        let contract = model.contract().map(|contract| {
            let over = format!("contract over {}", contract.base_ids().join(" over "));
            std::iter::once(over).chain(contract.period_terms())
        });
        [free.to_owned(), format!("period {period}")]
            .into_iter()
            .chain(inputs)
            .chain(contract.into_iter().flatten())
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Returns the inputs whose value is not the model's default, with that value.
    pub fn changed_inputs<'a>(
        &'a self,
        model: &'a PriceModel,
    ) -> impl Iterator<Item = (&'a ModelInput, &'a Exact)> {
        let pairs = model.inputs().iter().zip(&self.inputs);
        pairs.filter_map(|(input, value)| {
            let value = value.as_ref()?;
            (input.default.as_ref() != Some(value)).then_some((input, value))
        })
    }
}

/// Parses a value of an input, in its metered unit.
pub(super) fn parse_input_value(
    input: &ModelInput,
    text: &str,
    gb: Gigabyte,
) -> Result<Exact, String> {
    if input.kind != ModelInputKind::Switch {
        let read = input.dimension().parse_quantity(text, gb);
        return read.map_err(|error| error.to_string());
    }
    match text {
        "on" | "yes" | "true" | "1" => Ok(Exact::from(1)),
        "off" | "no" | "false" | "0" => Ok(Exact::default()),
        _ => Err(format!("`{text}` is neither `on` nor `off`")),
    }
}
