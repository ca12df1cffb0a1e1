//! Variants of the lane: one setting of wasmtime changed, to see what it costs or saves.
//! `wasmtime:winch+fuel` changes two.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wasmtime::{Config, InstanceAllocationStrategy, Strategy};

use super::engine::{EnginePurpose, pooling_config};
use super::operator_counts;
use super::program::EngineNeeds;

/// Compiler that turns WebAssembly into machine code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WasmCompiler {
    /// The optimising compiler.
    #[default]
    Cranelift,
    /// The baseline compiler: one pass, fast to compile, slow to run.
    Winch,
}

/// Origin of instances' memories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Allocation {
    /// Warm instances come from a pool, unless the module outgrows it; a cold one, the only one of
    /// its process, is mapped on demand.
    #[default]
    Fitting,
    /// All instances, cold ones too, come from a pool laid out beforehand.
    Pooling,
    /// Memories are mapped and unmapped for each instance, warm ones too.
    OnDemand,
}

/// Settings of a wasmtime lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WasmtimeSettings {
    /// Compiler that is used.
    pub compiler: WasmCompiler,
    /// Whether it counts operators while it runs.
    pub fuel: bool,
    /// Whether it checks its deadline at every loop and call.
    pub epoch: bool,
    /// Origin of memories.
    pub allocation: Allocation,
    /// Whether it maps a memory's initial contents instead of copying them.
    pub copy_on_write: bool,
}

impl Default for WasmtimeSettings {
    fn default() -> Self {
        Self {
            compiler: WasmCompiler::Cranelift,
            fuel: false,
            epoch: false,
            allocation: Allocation::Fitting,
            copy_on_write: true,
        }
    }
}

/// Words of variants, in the order in which they are written.
const VARIANT_WORDS: [&str; 6] = ["winch", "fuel", "epoch", "pooling", "ondemand", "nocow"];

impl WasmtimeSettings {
    /// Iterates over the plain lane and every variant that changes one setting.
    pub(crate) fn all_variants() -> impl Iterator<Item = Self> {
        std::iter::once(Self::default())
            .chain(VARIANT_WORDS.iter().filter_map(|word| Self::default().with_word(word)))
    }

    /// Returns the settings of counting runs, whatever the lane: operators are the module's, not
    /// the compiler's.
    #[must_use]
    pub(crate) fn for_counting() -> Self {
        Self { fuel: true, ..Self::default() }
    }

    /// Parses the variant of that name; the plain lane's is empty.
    #[must_use]
    pub fn from_name(text: &str) -> Option<Self> {
        if text.is_empty() { Some(Self::default()) } else { text.parse().ok() }
    }

    /// Returns the words of the settings that are not the default.
    #[must_use]
    pub fn variant_words(&self) -> Vec<&'static str> {
        let set = [
            self.compiler == WasmCompiler::Winch,
            self.fuel,
            self.epoch,
            self.allocation == Allocation::Pooling,
            self.allocation == Allocation::OnDemand,
            !self.copy_on_write,
        ];
        VARIANT_WORDS.into_iter().zip(set).filter_map(|(word, set)| set.then_some(word)).collect()
    }

    /// Changes one more setting; `None` if there is no such word, or it is set.
    fn with_word(mut self, word: &str) -> Option<Self> {
        let before = self;
        match word {
            "winch" => self.compiler = WasmCompiler::Winch,
            "fuel" => self.fuel = true,
            "epoch" => self.epoch = true,
            "pooling" if self.allocation == Allocation::Fitting => {
                self.allocation = Allocation::Pooling;
            }
            "ondemand" if self.allocation == Allocation::Fitting => {
                self.allocation = Allocation::OnDemand;
            }
            "nocow" => self.copy_on_write = false,
            _ => return None,
        }
        (self != before).then_some(self)
    }

    /// Returns the part of these settings that the compiled form of a module depends on.
    #[must_use]
    pub(crate) fn for_compilation(self) -> Self {
        Self { allocation: Allocation::Fitting, ..self }
    }

    /// Returns the engine's configuration.
    #[must_use]
    pub(crate) fn engine_config(self, purpose: EnginePurpose, needs: EngineNeeds) -> Config {
        let mut config = Config::new();
        needs.proposals.configure(&mut config);
        config
            .memory_init_cow(self.copy_on_write)
            .consume_fuel(self.fuel)
            .epoch_interruption(self.epoch)
            // The limiter relies on pages of 64 KiB.
            .wasm_custom_page_sizes(false)
            .wasm_backtrace_max_frames(None);
        if self.fuel {
            config.operator_cost(operator_counts::operator_cost());
        }
        match self.compiler {
            WasmCompiler::Cranelift if purpose == EnginePurpose::Compile => {
                config.strategy(Strategy::Cranelift);
            }
            WasmCompiler::Cranelift => {
                config.enable_compiler(false);
            }
            // An engine without a compiler loads no code of Winch's: wasmtime
            // knows its calling convention by the compiler only.
            WasmCompiler::Winch => {
                config.strategy(Strategy::Winch);
            }
        }
        let pools = match self.allocation {
            Allocation::Fitting => purpose == EnginePurpose::Warm,
            Allocation::Pooling => purpose != EnginePurpose::Compile,
            Allocation::OnDemand => false,
        };
        if pools {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling_config(needs)));
        }
        config
    }

    /// Returns a note for readers of this variant's figures.
    #[must_use]
    pub(crate) fn figures_note(self) -> String {
        let mut parts = Vec::new();
        if self.compiler == WasmCompiler::Winch {
            parts.push("compiled by Winch: faster to compile, slower to run; a cold start sets the compiler up");
        }
        if self.fuel {
            parts.push("counts fuel in every run: its times show what counting costs");
        } else {
            parts.push("timed without fuel; operators come from a separate counting run");
        }
        if self.epoch {
            parts
                .push("checks its deadline at every loop and call: its times show what that costs");
        }
        match self.allocation {
            Allocation::Fitting => {}
            Allocation::Pooling => parts.push("cold instances come from a pool too"),
            Allocation::OnDemand => parts.push("warm instances are mapped on demand, not pooled"),
        }
        if !self.copy_on_write {
            parts.push("memories are initialised by copying, not by mapping");
        }
        parts.join("; ")
    }
}

impl fmt::Display for WasmtimeSettings {
    /// Writes the words, joined by `+`; nothing for the plain lane.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.variant_words().join("+"))
    }
}

impl Serialize for WasmtimeSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WasmtimeSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_name(&text).ok_or_else(|| D::Error::custom(format!("no variant `{text}`")))
    }
}

impl FromStr for WasmtimeSettings {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.split('+').try_fold(Self::default(), Self::with_word).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_parsing_in_any_order() {
        for text in ["winch", "winch+fuel+epoch+ondemand+nocow", "pooling+nocow"] {
            assert_eq!(
                text.parse::<WasmtimeSettings>().map(|it| it.to_string()),
                Ok(text.to_owned())
            );
        }
        let parsed = "nocow+fuel".parse::<WasmtimeSettings>().map(|it| it.to_string());
        assert_eq!(parsed, Ok("fuel+nocow".to_owned()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["", "fuel+", "fuel+fuel", "pooling+ondemand", "fast", "Fuel"] {
            assert!(text.parse::<WasmtimeSettings>().is_err(), "{text}");
        }
    }

    #[test]
    fn all_are_the_plain_lane_and_each_word_once() {
        let names: Vec<String> =
            WasmtimeSettings::all_variants().map(|it| it.to_string()).collect();
        assert_eq!(names, ["", "winch", "fuel", "epoch", "pooling", "ondemand", "nocow"]);
    }
}
