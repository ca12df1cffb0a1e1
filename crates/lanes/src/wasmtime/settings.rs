//! Variants of the lane: one setting of wasmtime changed, to see what it costs or saves.
//! `wasmtime:winch+fuel` changes two.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wasmtime::{Config, InstanceAllocationStrategy, Strategy};

use super::counting;
use super::engine::{Purpose, pool};

/// Compiler that turns WebAssembly into machine code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compiler {
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
pub struct Settings {
    /// Compiler that is used.
    pub compiler: Compiler,
    /// Whether it counts operators while it runs.
    pub fuel: bool,
    /// Whether it checks its deadline at every loop and call.
    pub epoch: bool,
    /// Origin of memories.
    pub allocation: Allocation,
    /// Whether it maps a memory's initial contents instead of copying them.
    pub copy_on_write: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            compiler: Compiler::Cranelift,
            fuel: false,
            epoch: false,
            allocation: Allocation::Fitting,
            copy_on_write: true,
        }
    }
}

/// Words of variants, in the order in which they are written.
const WORDS: [&str; 6] = ["winch", "fuel", "epoch", "pooling", "ondemand", "nocow"];

impl Settings {
    /// Iterates over the plain lane and every variant that changes one setting.
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::default())
            .chain(WORDS.iter().filter_map(|word| Self::default().with(word)))
    }

    /// Returns the settings of counting runs, whatever the lane: operators are the module's, not
    /// the compiler's.
    #[must_use]
    pub fn counting() -> Self {
        Self { fuel: true, ..Self::default() }
    }

    /// Parses the variant of that name; the plain lane's is empty.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        if text.is_empty() { Some(Self::default()) } else { text.parse().ok() }
    }

    /// Returns the words of the settings that are not the default.
    #[must_use]
    pub fn words(&self) -> Vec<&'static str> {
        let set = [
            self.compiler == Compiler::Winch,
            self.fuel,
            self.epoch,
            self.allocation == Allocation::Pooling,
            self.allocation == Allocation::OnDemand,
            !self.copy_on_write,
        ];
        WORDS.into_iter().zip(set).filter_map(|(word, set)| set.then_some(word)).collect()
    }

    /// Changes one more setting; `None` if there is no such word, or it is set.
    fn with(mut self, word: &str) -> Option<Self> {
        let before = self;
        match word {
            "winch" => self.compiler = Compiler::Winch,
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
    pub fn compiled(self) -> Self {
        Self { allocation: Allocation::Fitting, ..self }
    }

    /// Returns the engine's configuration.
    #[must_use]
    pub fn config(&self, purpose: Purpose) -> Config {
        let mut config = Config::new();
        config
            .memory_init_cow(self.copy_on_write)
            .consume_fuel(self.fuel)
            .epoch_interruption(self.epoch)
            // The limiter relies on pages of 64 KiB.
            .wasm_custom_page_sizes(false)
            .wasm_backtrace_max_frames(None);
        if self.fuel {
            config.operator_cost(counting::operator_cost());
        }
        match self.compiler {
            Compiler::Cranelift if purpose == Purpose::Compile => {
                config.strategy(Strategy::Cranelift);
            }
            Compiler::Cranelift => {
                config.enable_compiler(false);
            }
            // An engine without a compiler loads no code of Winch's: wasmtime
            // knows its calling convention by the compiler only.
            Compiler::Winch => {
                config.strategy(Strategy::Winch);
            }
        }
        let pools = match self.allocation {
            Allocation::Fitting => purpose == Purpose::Warm,
            Allocation::Pooling => purpose != Purpose::Compile,
            Allocation::OnDemand => false,
        };
        if pools {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        }
        config
    }

    /// Returns a note for readers of this variant's figures.
    #[must_use]
    pub fn note(&self) -> String {
        let mut parts = Vec::new();
        if self.compiler == Compiler::Winch {
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

impl fmt::Display for Settings {
    /// Writes the words, joined by `+`; nothing for the plain lane.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.words().join("+"))
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::named(&text).ok_or_else(|| D::Error::custom(format!("no variant `{text}`")))
    }
}

impl FromStr for Settings {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.split('+').try_fold(Self::default(), Self::with).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_parsing_in_any_order() {
        for text in ["winch", "winch+fuel+epoch+ondemand+nocow", "pooling+nocow"] {
            assert_eq!(text.parse::<Settings>().map(|it| it.to_string()), Ok(text.to_owned()));
        }
        let parsed = "nocow+fuel".parse::<Settings>().map(|it| it.to_string());
        assert_eq!(parsed, Ok("fuel+nocow".to_owned()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["", "fuel+", "fuel+fuel", "pooling+ondemand", "fast", "Fuel"] {
            assert!(text.parse::<Settings>().is_err(), "{text}");
        }
    }

    #[test]
    fn all_are_the_plain_lane_and_each_word_once() {
        let names: Vec<String> = Settings::all().map(|it| it.to_string()).collect();
        assert_eq!(names, ["", "winch", "fuel", "epoch", "pooling", "ondemand", "nocow"]);
    }
}
