//! Counts of operators, made in separate runs, and kept for later ones.
//!
//! An operator counts one wherever it is executed, a start section included, except `block`,
//! `loop`, `else`, `end`, `nop`, `drop`, `return` and `unreachable`, which count nothing. Entering
//! a function counts one more. Operators on whole ranges (`memory.copy`, `memory.fill`,
//! `memory.init`, those of tables) count one whatever their length; `memory.grow` counts one. Work
//! inside functions of the host is not counted, calling them is.
//!
//! Operators are deterministic in module, arguments, input and memory limit, so one run is enough,
//! unless the module imports functions whose results vary: then it is counted several times. The
//! counts are kept beside the compiled modules; another engine version may count differently.

use std::os::unix::ffi::OsStrExt;

use sha2::{Digest, Sha256};
use wasmtime::{OperatorCost, VariableOperatorCost};

use super::engine::VERSION;
use super::protocol::VARYING;
use crate::Job;
use crate::cache::Cache;
use cyclometer_meter::{Provenance, Source};
use cyclometer_workload::{Preset, hex};

/// Changes with the meaning of a count, so that older ones are not used.
const COUNT_VERSION: &str = "operators 3";

/// Number of counting runs of a module whose counts may vary.
pub(crate) const COUNTING_RUNS: u32 = 3;

/// Counts that differ by more than one in this many are no estimate of each other.
const TOLERANCE: u64 = 100;

/// Returns costs by which one unit of fuel is one operator: nothing is charged by the byte or
/// element.
#[must_use]
pub(crate) fn operator_cost() -> OperatorCost {
    let variable = VariableOperatorCost {
        memory_copy_per_byte: 0,
        memory_fill_per_byte: 0,
        memory_init_per_byte: 0,
        memory_grow_per_page: 0,
        table_copy_per_element: 0,
        table_fill_per_element: 0,
        table_init_per_element: 0,
        table_grow_per_element: 0,
        array_copy_per_element: 0,
        array_fill_per_element: 0,
        array_new_data_per_element: 0,
        array_init_data_per_element: 0,
        array_new_elem_per_element: 0,
        array_init_elem_per_element: 0,
        array_new_default_per_element: 0,
        array_new_per_element: 0,
    };
    OperatorCost { variable, ..OperatorCost::new() }
}

/// Meaning of all counts, for a note.
pub(crate) const UNIT_NOTE: &str = "block, loop, end, drop and the like count 0, entering a function 1 more, \
                        bulk operators 1 whatever their length; start section included, \
                        work of the host not";

/// Result of the counting runs of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OperatorCounts {
    /// Least count of all runs.
    pub least: u64,
    /// Highest count of all runs.
    pub most: u64,
    /// Number of runs.
    pub runs: u32,
    /// Causes of varying results, a bit for each of [`VARYING`].
    pub varying: u64,
}

impl OperatorCounts {
    /// Returns the operators of a run; `None` where runs differ too much to say.
    #[must_use]
    pub const fn operators(&self) -> Option<u64> {
        let middle = self.least + (self.most - self.least) / 2;
        if self.most - self.least <= middle / TOLERANCE { Some(middle) } else { None }
    }

    /// Returns the source of a run's operators, or why they are not known.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        let Self { least, most, runs, .. } = self;
        let imports = self.varying_import_names();
        let exact = least == most;
        let (source, how) = match (self.operators(), exact) {
            (Some(_), true) if *runs == 1 => {
                (Some(Source::Fuel), "from one separate counting run".to_owned())
            }
            (Some(_), true) => (
                Some(Source::Fuel),
                format!("from {runs} separate counting runs, all alike, though it uses {imports}"),
            ),
            (Some(_), false) => (
                Some(Source::Estimate),
                format!(
                    "middle of {runs} counting runs, which gave {least} to {most}: it uses {imports}"
                ),
            ),
            (None, _) => (
                None,
                format!(
                    "they differ from run to run ({least} to {most} in {runs} counting runs): it \
                     uses {imports}; the lane wasmtime:fuel counts every run"
                ),
            ),
        };
        let note = if source.is_some() { fuel_note(&how) } else { how };
        Provenance { source, note, user_only: false }
    }

    /// Lists what makes results vary.
    fn varying_import_names(&self) -> String {
        let named = |(position, name): (usize, &'static str)| {
            (self.varying >> position & 1 == 1).then_some(name.trim_end_matches('/'))
        };
        VARYING.into_iter().enumerate().filter_map(named).collect::<Vec<_>>().join(", ")
    }
}

/// Formats the note of a count that was made in that way.
pub(crate) fn fuel_note(how: &str) -> String {
    format!("wasmtime {VERSION}, {how}; {UNIT_NOTE}")
}

/// Returns a key for everything that the count depends on.
pub(crate) fn count_key(job: &Job) -> String {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(COUNT_VERSION.as_bytes());
    part(VERSION.as_bytes());
    part(job.workload.wasm.as_deref().unwrap_or(&[]));
    part(job.workload.function_name().as_bytes());
    let Preset { invoke, env, dirs, workdir, .. } = &*job.preset;
    for text in [invoke, workdir] {
        part(&[u8::from(text.is_some())]);
        part(text.as_deref().unwrap_or_default().as_bytes());
    }
    part(&(env.len() as u64).to_le_bytes());
    for variable in env {
        part(variable.to_string().as_bytes());
    }
    part(&(dirs.len() as u64).to_le_bytes());
    for folder in dirs {
        part(folder.host.as_os_str().as_bytes());
        part(folder.guest.as_bytes());
        part(&[u8::from(folder.is_read_only)]);
    }
    part(&[u8::from(job.rules.network)]);
    part(&(job.preset.args.len() as u64).to_le_bytes());
    for arg in &job.preset.args {
        part(arg.as_bytes());
    }
    part(&job.limits.memory.0.to_le_bytes());
    part(&job.preset.stdin.content());
    hex(&hasher.finalize())[..32].to_owned()
}

/// Loads the count of earlier runs.
pub(crate) fn load_count(cache: &Cache, key: &str) -> Option<OperatorCounts> {
    parse_count(&String::from_utf8(cache.read_entry(&format!("{key}.ops"))?).ok()?)
}

fn parse_count(text: &str) -> Option<OperatorCounts> {
    let mut words = text.split_whitespace();
    let mut next = || words.next()?.parse::<u64>().ok();
    let (least, most, runs, varying) = (next()?, next()?, next()?, next()?);
    let runs = u32::try_from(runs).ok()?;
    (least <= most && runs > 0).then_some(OperatorCounts { least, most, runs, varying })
}

/// Stores a count. A failure costs nothing but time.
pub(crate) fn store_count(cache: &Cache, key: &str, counted: OperatorCounts) {
    let OperatorCounts { least, most, runs, varying } = counted;
    let text = format!("{least} {most} {runs} {varying}\n");
    cache.store_entry(&format!("{key}.ops"), text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(least: u64, most: u64) -> OperatorCounts {
        OperatorCounts { least, most, runs: COUNTING_RUNS, varying: 0b1000 }
    }

    #[test]
    fn counts_that_differ_are_an_estimate_or_missing_and_never_passed_off_as_counted() {
        let told = |it: OperatorCounts| (it.operators(), it.provenance().source);
        assert_eq!(told(counted(500, 500)), (Some(500), Some(Source::Fuel)));
        assert_eq!(told(counted(1_000, 1_008)), (Some(1_004), Some(Source::Estimate)));
        assert_eq!(told(counted(1_000, 1_100)), (None, None));
        assert_eq!(told(counted(0, u64::MAX)), (None, None));
        let why = counted(1_000, 1_100).provenance().note;
        assert!(why.contains("1000 to 1100") && why.contains("random_get"), "{why}");
    }

    #[test]
    fn kept_counts_survive_and_damaged_ones_are_counted_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::in_folder(folder.path());
        store_count(&cache, "k", counted(3, 4));
        assert_eq!(load_count(&cache, "k"), Some(counted(3, 4)));
        std::fs::write(folder.path().join("k.ops"), "3 4 1 0\n").expect("written");
        assert_eq!(load_count(&cache, "k"), None, "not as it was kept");
        for text in ["", "5", "4 3 1 0", "1 2 0 0", "1 2 x 0"] {
            assert_eq!(parse_count(text), None, "{text}");
        }
    }
}
