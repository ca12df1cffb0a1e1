//! Counts of the records that gave no row, and of what is to be told of those that did.

use std::borrow::Cow;

/// First lines that are kept of each cause.
const FIRST_LINES: usize = 5;

/// Kind of what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeftoverKind {
    /// No invocation, as the format foresees.
    Other,
    /// It cannot be read.
    Rejected,
    /// A request that is there already.
    Duplicate,
    /// It was read, with a remark.
    Note,
}

impl LeftoverKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Rejected, Self::Duplicate, Self::Note, Self::Other];

    /// Returns the word that is stored.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Rejected => "rejected",
            Self::Duplicate => "duplicate",
            Self::Note => "note",
        }
    }

    /// Returns the kind with a stored word.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == label)
    }
}

/// Records of one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Kind.
    pub kind: LeftoverKind,
    /// Cause, or the kind of a record that is no invocation.
    pub cause: Cow<'static, str>,
    /// Number of records.
    pub records: u64,
    /// Numbers of the first lines.
    pub first_lines: Vec<u64>,
}

/// Leftovers of a file.
#[derive(Debug, Clone, Default)]
pub struct Leftovers(Vec<Leftover>);

impl Leftovers {
    /// Goes on counting.
    #[must_use]
    pub const fn from_stored(stored: Vec<Leftover>) -> Self {
        Self(stored)
    }

    /// Counts a record.
    pub fn count(&mut self, kind: LeftoverKind, cause: &'static str, line: u64) {
        // There are few causes, and most of a log's lines are of one.
        let found = self.0.iter().position(|it| it.kind == kind && it.cause == cause);
        let at = found.unwrap_or_else(|| {
            let cause = Cow::Borrowed(cause);
            self.0.push(Leftover { kind, cause, records: 0, first_lines: Vec::new() });
            self.0.len() - 1
        });
        let entry = &mut self.0[at];
        entry.records += 1;
        if entry.first_lines.len() < FIRST_LINES {
            entry.first_lines.push(line);
        }
    }

    /// Adds a remark on the whole file.
    pub fn note(&mut self, text: String, line: Option<u64>) {
        let first_lines = line.into_iter().collect();
        let cause = Cow::Owned(text);
        self.0.push(Leftover { kind: LeftoverKind::Note, cause, records: 1, first_lines });
    }

    /// Returns all causes.
    #[must_use]
    pub fn all(&self) -> &[Leftover] {
        &self.0
    }
}
