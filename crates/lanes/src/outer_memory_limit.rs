//! Outer memory limit of a runtime that holds its function to the memory limit by itself, as
//! WebAssembly engines do: bounds the whole process, whatever goes wrong inside of it.
//!
//! It is a memory control group where one can be created, which counts memory in use. Elsewhere it
//! is `RLIMIT_DATA`, which counts private memory that can be written, and so not the address space
//! that engines reserve (`RLIMIT_AS` would count that).

use super::launcher::{EndCause, ProgramEnd};
use super::program_run::Runner;
use cyclometer_core::units::Bytes;
use cyclometer_meter::function_group::GroupUsage;

/// Memory limit of a process that runs a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OuterMemoryLimit {
    /// Limit of the function.
    pub function: Bytes,
    /// Memory that the runtime may use besides.
    pub allowance: Bytes,
}

/// Texts by which runtimes report that they got no memory: Rust's allocator, C's, V8,
/// `JavaScriptCore`.
const OUT_OF_MEMORY_TEXTS: [&str; 5] = [
    "memory allocation of",
    "Cannot allocate memory",
    "out of memory",
    "Out of memory",
    "std::bad_alloc",
];

impl OuterMemoryLimit {
    /// Returns the memory limit of the whole process.
    pub const fn total(&self) -> Bytes {
        Bytes(self.function.0.saturating_add(self.allowance.0))
    }

    /// Returns the `RLIMIT_DATA` of a process that `runner` starts: set only where there is no
    /// control group.
    pub fn data_limit(&self, runner: &Runner) -> Option<Bytes> {
        runner.group().is_err().then(|| self.total())
    }

    /// Explains that the process hit the limit, if it did: `group` is the account of its control
    /// group, `said` the process' own last message.
    pub(crate) fn explain_hit(
        &self,
        group: Option<&GroupUsage>,
        ended: &ProgramEnd,
        said: &str,
    ) -> Option<String> {
        if ended.why != EndCause::ByItself {
            return None;
        }
        let parts =
            format!("{} of the function and {} for its runtime", self.function, self.allowance);
        let reason = match group {
            Some(group) if group.killed > 0 && group.at_limit => {
                format!("out of memory: over the wall of its memory control group, {parts}")
            }
            Some(group) if group.killed > 0 => {
                format!(
                    "out of memory: the kernel killed it within its wall of {parts}, because memory outside it ran out"
                )
            }
            None if ended.status != 0 && has_complaint(said) => {
                format!("out of memory: at the wall of RLIMIT_DATA, {parts}")
            }
            _ => return None,
        };
        Some(if said.is_empty() { reason } else { format!("{reason}: {said}") })
    }
}

/// Returns whether a process reports that it got no memory.
pub(super) fn has_complaint(said: &str) -> bool {
    OUT_OF_MEMORY_TEXTS.iter().any(|words| said.contains(words))
}

/// Describes the limit around what `runner` starts, for a lane's description.
pub(super) fn describe_limit(runner: &Runner, allowance: &str) -> String {
    match runner.group() {
        Ok(_) => format!(
            "the process may use {allowance} more than the memory limit (memory control group)"
        ),
        Err(reason) => {
            let why = if reason.is_empty() { "" } else { ": " };
            format!(
                "the process may use {allowance} of private memory more than the memory limit \
                 (RLIMIT_DATA; no control group{why}{reason})"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: i32, why: EndCause) -> ProgramEnd {
        ProgramEnd::for_test(status, why)
    }

    fn killed(killed: u64, at_limit: bool) -> GroupUsage {
        let peak = Ok(Bytes(0));
        GroupUsage {
            cpu: None,
            split: None,
            peak,
            page_cache: Bytes(0),
            killed,
            at_limit,
            refused: 0,
        }
    }

    const WALL: OuterMemoryLimit =
        OuterMemoryLimit { function: Bytes(16 << 20), allowance: Bytes(64 << 20) };

    #[test]
    fn what_ran_into_the_wall_says_so_with_its_name() {
        let told = |group: Option<&GroupUsage>, status, why, said| {
            WALL.explain_hit(group, &ended(status, why), said)
        };
        let by_group = told(Some(&killed(1, true)), 9, EndCause::ByItself, "");
        assert_eq!(
            by_group.as_deref(),
            Some(
                "out of memory: over the wall of its memory control group, 16.0 MiB of the function \
                 and 64.0 MiB for its runtime"
            )
        );
        let outside = told(Some(&killed(1, false)), 9, EndCause::ByItself, "").expect("told");
        assert!(outside.contains("because memory outside it ran out"), "{outside}");
        let abort = told(None, 6, EndCause::ByItself, "memory allocation of 5 bytes failed");
        assert!(
            abort.is_some_and(|it| it.starts_with("out of memory: at the wall of RLIMIT_DATA"))
        );
    }

    #[test]
    fn what_ended_otherwise_did_not_run_into_the_wall() {
        let none = [
            WALL.explain_hit(
                Some(&killed(0, true)),
                &ended(9, EndCause::ByItself),
                "memory allocation of 5",
            ),
            WALL.explain_hit(Some(&killed(1, true)), &ended(9, EndCause::Timeout), ""),
            WALL.explain_hit(None, &ended(0, EndCause::ByItself), "out of memory"),
            WALL.explain_hit(None, &ended(9, EndCause::ByItself), ""),
        ];
        assert_eq!(none, [None, None, None, None]);
    }

    #[test]
    fn a_wall_beyond_all_numbers_is_the_largest() {
        let wall = OuterMemoryLimit { function: Bytes(u64::MAX), allowance: Bytes(1) };
        assert_eq!(wall.total(), Bytes(u64::MAX));
    }
}
