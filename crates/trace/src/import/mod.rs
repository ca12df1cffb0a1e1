//! Import of files: read, framed and parsed on one thread, and stored on the caller's.
//!
//! Rows go to a [`TraceSink`] in batches of a fixed number of records. Each batch says how far its
//! file was read, so that an import which was stopped in any way goes on from the last batch that
//! was stored; its digest is then the same as that of an import which was never stopped.

mod columns;
mod digest;
mod leftovers;
mod reading;
mod rejects_file;
mod sink;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use cyclometer_core::invocation::Cancel;
use cyclometer_core::meter::{Meter, Provenance};
use cyclometer_system::threads::start_thread_within;

use crate::batch::{RowBatch, TraceNames};
use crate::format::{FormatMeter, Framing, ImportSettings, RecordReader, TraceFormat};
use crate::input::{FileIdentity, InputFile, ReadCounter};
use crate::mapping::Mapping;

pub use leftovers::{Leftover, LeftoverKind, Leftovers};
pub use rejects_file::MAX_WRITTEN as MAX_WRITTEN_REJECTS;
pub use sink::{FileCheckpoint, FileHeader, ImportBatch, SinkError, TraceSink};

use reading::{ReadMessage, Reading};

/// Batches that wait to be stored.
const QUEUE: usize = 4;

/// Longest time without a batch before what is stored is committed.
const IDLE: Duration = Duration::from_millis(500);

/// Opens a reader for an input, by its name without folder and endings.
type OpenReader = dyn Fn(&ImportSettings, &str) -> Box<dyn RecordReader> + Send + Sync;

/// Format by which files are read: one of the program's, or one that a user describes.
#[derive(Clone)]
pub struct InputFormat {
    /// Name.
    pub name: String,
    /// Division into records.
    pub framing: Framing,
    /// Platform; `None` if the records say.
    pub platform: Option<String>,
    /// Meters that it has, infers or lacks.
    pub meters: Vec<(Meter, Provenance)>,
    /// Opens a reader for an input.
    pub open: Arc<OpenReader>,
    /// Mapping of a file of columns, which is read by that alone.
    pub columns: Option<Arc<Mapping>>,
}

impl From<&'static TraceFormat> for InputFormat {
    fn from(format: &'static TraceFormat) -> Self {
        Self {
            name: format.name.to_owned(),
            framing: format.framing,
            platform: format.platform.map(ToOwned::to_owned),
            meters: format.meters.iter().map(to_provenance).collect(),
            open: Arc::new(format.open),
            columns: None,
        }
    }
}

impl From<Mapping> for InputFormat {
    fn from(mapping: Mapping) -> Self {
        Self {
            name: mapping.name().to_owned(),
            framing: mapping.framing(),
            platform: Some(mapping.platform().to_owned()),
            meters: mapping.meters().to_vec(),
            columns: (mapping.framing() == Framing::Columns).then(|| Arc::new(mapping.clone())),
            open: Arc::new(move |settings, file| mapping.open(settings, file)),
        }
    }
}

fn to_provenance(meter: &FormatMeter) -> (Meter, Provenance) {
    let provenance = match meter.source {
        Some(source) => Provenance::from_source(source, meter.note),
        None => Provenance::missing(meter.note),
    };
    (meter.meter, provenance)
}

impl std::fmt::Debug for InputFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InputFormat").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What an import reads, and how.
#[derive(Debug)]
pub struct ImportPlan {
    /// Files in their order, with what identifies them.
    pub files: Vec<(InputFile, FileIdentity)>,
    /// Settings of the user.
    pub settings: ImportSettings,
    /// Format of all files; `None`: each is of the format that its beginning tells.
    pub format: Option<InputFormat>,
    /// File that gets the records that cannot be read.
    pub rejects: PathBuf,
}

/// Where an import goes on.
#[derive(Debug, Default)]
pub struct ResumePoint {
    /// Position of the file.
    pub file: usize,
    /// How far it was read; `None`: not at all.
    pub checkpoint: Option<FileCheckpoint>,
    /// Records of the file before that gave no row.
    pub leftovers: Vec<Leftover>,
    /// Names that the rows before refer to.
    pub names: TraceNames,
    /// Digest of the rows before.
    pub digest: String,
    /// Bytes of the rejects file, and records in it.
    pub rejects: (u64, u64),
}

/// Progress of an import.
#[derive(Debug, Clone, Default)]
pub struct ImportProgress {
    /// Path of the file that is read.
    pub path: String,
    /// Rows stored by this process.
    pub rows: u64,
    /// Records read by this process.
    pub records: u64,
    /// Bytes of the files before.
    pub bytes_before: u64,
    /// Counter of the bytes of the file that is read.
    pub counter: Option<ReadCounter>,
}

impl ImportProgress {
    /// Returns the bytes that were read of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes_before + self.counter.as_ref().map_or(0, ReadCounter::bytes)
    }
}

/// End of an import that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportEnd {
    /// All files were read to their ends.
    Complete,
    /// It was cancelled; what was read is stored.
    Cancelled,
}

/// Reads all files of a plan into a sink. `tell` is called after each batch.
///
/// # Errors
/// Returns the first error of the sink, or that the rejects file cannot be written.
pub fn run_import(
    plan: &ImportPlan,
    resume: ResumePoint,
    sink: &mut dyn TraceSink,
    cancel: &Cancel,
    tell: &mut dyn FnMut(&ImportProgress),
) -> Result<ImportEnd, SinkError> {
    let (sender, receiver) = sync_channel(QUEUE);
    // Batches that were stored go back, with their memory.
    let (give_back, returned) = sync_channel::<Box<ImportBatch>>(QUEUE + 2);
    std::thread::scope(|scope| {
        let reading = Reading::new(plan, resume, sender, returned, cancel)?;
        let reader = start_thread_within(scope, "import", move || reading.read_all());
        let reader = reader.map_err(|error| SinkError(error.to_string()))?;
        let mut progress = ImportProgress::default();
        let stored = (|| {
            loop {
                match receiver.recv_timeout(IDLE) {
                    Ok(message) => {
                        if let Some(batch) = store_message(message, sink, &mut progress)? {
                            // Should the thread be gone, the memory goes too.
                            let _ = give_back.try_send(batch);
                        }
                        tell(&progress);
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        sink.commit()?;
                        tell(&progress);
                    }
                    Err(RecvTimeoutError::Disconnected) => return sink.commit(),
                }
            }
        })();
        // A thread that waits to send ends with this.
        drop(receiver);
        let read = reader.join().map_err(|_| SinkError("the reading thread panicked".to_owned()));
        stored?;
        read?
    })
}

fn store_message(
    message: ReadMessage,
    sink: &mut dyn TraceSink,
    progress: &mut ImportProgress,
) -> Result<Option<Box<ImportBatch>>, SinkError> {
    match message {
        ReadMessage::Begin(header, counter) => {
            progress.path.clone_from(&header.path);
            progress.bytes_before = progress.bytes();
            progress.counter = Some(counter);
            sink.begin_file(&header)?;
            Ok(None)
        }
        ReadMessage::Batch(batch) => {
            sink.store_batch(&batch)?;
            progress.rows += batch.rows.len() as u64;
            progress.records += batch.records;
            Ok(Some(batch))
        }
    }
}

/// Returns whether a batch has as many rows as are stored at once.
fn is_full(records: u64, rows: &RowBatch) -> bool {
    records >= BATCH_RECORDS || rows.len() >= BATCH_ROWS
}

/// Records of a batch: few enough that its rows stay in the cache of a core.
const BATCH_RECORDS: u64 = 2_048;

/// Rows after which a batch ends, where a record gives many.
const BATCH_ROWS: usize = 8_192;
