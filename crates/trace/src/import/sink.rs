//! What an import is stored by.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::batch::{CellLabel, RowBatch};
use crate::framing::InputPosition;

use super::leftovers::Leftover;

/// Reason why an import cannot go on, with what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SinkError(pub String);

/// File whose rows follow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileHeader {
    /// Position among the files, from 0.
    pub position: usize,
    /// Path as it is shown.
    pub path: String,
    /// Name of its format; empty for a file that is left out, with the reason in the leftovers of
    /// its only batch.
    pub format: String,
    /// Size in bytes; `None` for standard input.
    pub bytes: Option<u64>,
    /// Digest by which the same file is noticed.
    pub identity: String,
    /// Whether the file was begun before, and goes on.
    pub goes_on: bool,
}

/// How far a file was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCheckpoint {
    /// Position in the file.
    pub position: InputPosition,
    /// Format of the file.
    pub format: String,
    /// Records before.
    pub records: u64,
    /// Rows before.
    pub rows: u64,
    /// State of the format's reader.
    pub reader: Option<String>,
    /// Time of the last row that had one.
    pub last_time: Option<i64>,
    /// Bytes of the rejects file, and records in it.
    pub rejects: (u64, u64),
}

/// Rows that are stored together, and how far their file was read after them.
#[derive(Debug, Default)]
pub struct ImportBatch {
    /// Position of the file.
    pub file: usize,
    /// Rows.
    pub rows: RowBatch,
    /// Line of each row's record.
    pub lines: Vec<u64>,
    /// Records of this batch.
    pub records: u64,
    /// Cells that are new.
    pub new_cells: Vec<CellLabel>,
    /// Instances that are new.
    pub new_instances: Vec<String>,
    /// Records of the file so far that gave no row.
    pub leftovers: Vec<Leftover>,
    /// How far the file was read.
    pub checkpoint: FileCheckpoint,
    /// Whether the file was read to its end.
    pub ends_file: bool,
    /// Digest of the file's content, if it was read from beginning to end at once.
    pub content: Option<String>,
    /// Digest of all rows so far, in hexadecimal.
    pub digest: String,
}

impl ImportBatch {
    /// Empties the batch; the memory stays.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.lines.clear();
        self.new_cells.clear();
        self.new_instances.clear();
        self.leftovers.clear();
        self.records = 0;
        self.ends_file = false;
        self.content = None;
    }
}

/// Store of an import.
pub trait TraceSink {
    /// Begins a file.
    ///
    /// # Errors
    /// Returns why it cannot be stored.
    fn begin_file(&mut self, header: &FileHeader) -> Result<(), SinkError>;

    /// Stores a batch; it is safe with the next commit, which the sink may do by itself.
    ///
    /// # Errors
    /// Returns why it cannot be stored.
    fn store_batch(&mut self, batch: &ImportBatch) -> Result<(), SinkError>;

    /// Makes safe what was stored.
    ///
    /// # Errors
    /// Returns why it cannot be.
    fn commit(&mut self) -> Result<(), SinkError>;
}
