//! Key of a cell: one workload with one preset in one lane, started in one way.

use std::fmt;
use std::sync::Arc;

use crate::invocation::StartKind;

/// Key of a cell, by which recordings are compared and bills are summed. Keys are ordered
/// by lane, workload, preset and start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellKey {
    /// Name of the lane.
    pub lane: Arc<str>,
    /// Name of the workload.
    pub workload: Arc<str>,
    /// Name of the workload's preset.
    pub preset: Arc<str>,
    /// Kind of start.
    pub start: StartKind,
}

impl CellKey {
    /// Creates the key of a workload and its preset in a lane.
    #[must_use]
    pub fn new(lane: &str, workload: &str, preset: &str, start: StartKind) -> Self {
        Self { lane: lane.into(), workload: workload.into(), preset: preset.into(), start }
    }

    /// Returns workload, preset, lane and start, in the order of tables that compare cells.
    #[must_use]
    pub fn names(&self) -> [&str; 4] {
        [&self.workload, &self.preset, &self.lane, self.start.label()]
    }
}

impl fmt::Display for CellKey {
    /// Writes the name of the cell in sentences: `nbody in docker, cold`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}, {}", self.workload, self.lane, self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_named_in_sentences_and_in_tables() {
        let key = CellKey::new("docker", "nbody", "quick", StartKind::Cold);
        assert_eq!(key.to_string(), "nbody in docker, cold");
        assert_eq!(key.names(), ["nbody", "quick", "docker", "cold"]);
    }

    #[test]
    fn cold_comes_before_warm_as_in_the_alphabet() {
        let [cold, warm] = StartKind::ALL.map(|start| CellKey::new("a", "b", "c", start));
        assert!(cold < warm && cold.start.label() < warm.start.label());
        assert_eq!("cold".parse(), Ok(StartKind::Cold));
        assert_eq!("warm".parse(), Ok(StartKind::Warm));
        let wrong = "hot".parse::<StartKind>().expect_err("no kind of start").to_string();
        assert_eq!(wrong, "`hot` is neither `cold` nor `warm`");
    }
}
