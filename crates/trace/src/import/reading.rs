//! The thread that reads: from files to batches.

use std::sync::mpsc::{Receiver, SyncSender};

use cyclometer_core::invocation::Cancel;

use super::digest::RowDigest;
use super::leftovers::{LeftoverKind, Leftovers};
use super::rejects_file::RejectsFile;
use super::sink::{FileCheckpoint, FileHeader, ImportBatch, SinkError};
use super::{ImportEnd, ImportPlan, InputFormat, ResumePoint, is_full};
use crate::batch::TraceNames;
use crate::format::{Record, RecordOutcome, RecordReader, Reject};
use crate::formats::{detect_format, find_format};
use crate::framing::{Frame, Framer, InputBuffer, InputPosition};
use crate::input::{FileIdentity, InputFile, InputStream, ReadCounter, refuse_content};

/// First bytes of a file by which its format is detected.
const DETECTED: usize = 64 << 10;

/// Span by which the clock of a log goes back that is worth a remark: lines of several instances
/// overlap by less.
const CLOCK_BACK: i64 = 3_600_000_000_000;

/// Span by which it goes forward that is.
const CLOCK_FORWARD: i64 = 30 * 86_400_000_000_000;

/// Beginning of a Parquet file: its mark, and the first field of what follows in it.
const PARQUET_START: &[u8] = b"PAR1\x15";

/// Message to the thread that stores.
pub(super) enum ReadMessage {
    Begin(FileHeader, ReadCounter),
    Batch(Box<ImportBatch>),
}

/// Reason to stop reading.
pub(super) enum Stop {
    Cancelled,
    Failed(SinkError),
    /// The thread that stores is gone, and says why.
    Unheard,
}

impl From<SinkError> for Stop {
    fn from(error: SinkError) -> Self {
        Self::Failed(error)
    }
}

/// State of the thread.
pub(super) struct Reading<'a> {
    pub(super) plan: &'a ImportPlan,
    pub(super) names: TraceNames,
    /// Names that were sent.
    sent: (usize, usize),
    digest: RowDigest,
    rejects: RejectsFile,
    from: (usize, Option<FileCheckpoint>, Leftovers),
    sender: SyncSender<ReadMessage>,
    returned: Receiver<Box<ImportBatch>>,
    pub(super) cancel: Cancel,
}

/// State of reading one file.
pub(super) struct FileReading {
    position: usize,
    path: String,
    pub(super) leftovers: Leftovers,
    pub(super) checkpoint: FileCheckpoint,
    pub(super) batch: Box<ImportBatch>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        plan: &'a ImportPlan,
        resume: ResumePoint,
        sender: SyncSender<ReadMessage>,
        returned: Receiver<Box<ImportBatch>>,
        cancel: &Cancel,
    ) -> Result<Self, SinkError> {
        let ResumePoint { file, checkpoint, leftovers, names, digest, rejects } = resume;
        let rejects = RejectsFile::resume(&plan.rejects, rejects)?;
        let sent = (names.cells().len(), names.instances().len());
        Ok(Self {
            plan,
            sent,
            names,
            digest: RowDigest::from_stored(&digest),
            rejects,
            from: (file, checkpoint, Leftovers::from_stored(leftovers)),
            sender,
            returned,
            cancel: cancel.clone(),
        })
    }

    pub(super) fn read_all(mut self) -> Result<ImportEnd, SinkError> {
        let (first, mut checkpoint, mut leftovers) =
            (self.from.0, self.from.1.take(), std::mem::take(&mut self.from.2));
        let files = self.plan.files.iter().enumerate().skip(first);
        for (position, (file, identity)) in files {
            let read = self.read_file(
                position,
                file,
                identity,
                checkpoint.take(),
                std::mem::take(&mut leftovers),
            );
            match read {
                Ok(()) => {}
                Err(Stop::Cancelled) => return Ok(ImportEnd::Cancelled),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Unheard) => break,
            }
        }
        Ok(ImportEnd::Complete)
    }

    fn read_file(
        &mut self,
        position: usize,
        file: &InputFile,
        identity: &FileIdentity,
        checkpoint: Option<FileCheckpoint>,
        leftovers: Leftovers,
    ) -> Result<(), Stop> {
        let goes_on = checkpoint.is_some();
        let checkpoint = checkpoint.unwrap_or_default();
        let mut header = FileHeader {
            position,
            path: file.path.clone(),
            format: String::new(),
            bytes: identity.size,
            identity: identity.digest.clone(),
            goes_on,
        };
        let mut batch = self.returned.try_recv().unwrap_or_default();
        batch.clear();
        let path = file.path.clone();
        let mut reading = FileReading { position, path, leftovers, checkpoint, batch };
        if let Some(mapping) = self.plan.format.as_ref().and_then(|it| it.columns.clone()) {
            return self.read_column_file(reading, header, file, &mapping);
        }
        let opened = self.open_stream(file, identity, &reading.checkpoint);
        let (format, stream, counter) = match opened {
            Ok(opened) => opened,
            // A file that goes on was of a format before: a reason to stop, not to leave it out.
            Err(reason) if goes_on => {
                return Err(SinkError(format!("cannot go on with {}: {reason}", file.path)).into());
            }
            Err(reason) => return self.leave_out(reading, header, &reason),
        };
        header.format.clone_from(&format.name);
        reading.checkpoint.format.clone_from(&format.name);
        self.send(ReadMessage::Begin(header, counter.clone()))?;
        let mut framer = Framer::new(stream, format.framing, reading.checkpoint.position);
        let mut reader = (format.open)(&self.plan.settings, file.stem());
        if let Some(state) = &reading.checkpoint.reader {
            reader.restore_state(state);
        }
        self.read_records(&mut reading, &mut framer, reader.as_mut())?;
        if self.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        reading.checkpoint.reader = reader.save_state();
        if let Some(failure) = framer.failure() {
            let line = reading.checkpoint.position.lines;
            reading.leftovers.note(format!("the input breaks off: {failure}"), Some(line));
            return self.end_file(reading, None);
        }
        self.end_file(reading, counter.digest())
    }

    /// Ends a file that is not read, with the reason.
    pub(super) fn leave_out(
        &mut self,
        mut reading: FileReading,
        header: FileHeader,
        reason: &str,
    ) -> Result<(), Stop> {
        self.send(ReadMessage::Begin(header, ReadCounter::default()))?;
        reading.leftovers.note(format!("left out: {reason}"), None);
        self.end_file(reading, None)
    }

    /// Opens a file where it goes on, and finds its format.
    fn open_stream(
        &self,
        file: &InputFile,
        identity: &FileIdentity,
        checkpoint: &FileCheckpoint,
    ) -> Result<(InputFormat, InputBuffer<InputStream>, ReadCounter), String> {
        let InputPosition { byte, lines, .. } = checkpoint.position;
        let opened = file.open().map_err(|error| error.to_string())?;
        let source = opened.map(|opened| (opened, identity.size));
        let stream =
            InputStream::open(source, byte, &self.cancel).map_err(|error| error.to_string())?;
        let counter = stream.counter();
        let mut buffer = InputBuffer::new(stream).at_position(byte, lines);
        if byte == 0 {
            buffer.fill_to(DETECTED);
            if let Some(reason) = refuse_content(buffer.unread()) {
                return Err(buffer.failure().unwrap_or(reason).to_owned());
            }
            if buffer.unread().starts_with(PARQUET_START) {
                return Err("a Parquet file: say with --map or --mapping which columns are what \
                            (`cyclometer import new` prints a mapping to fill in)"
                    .to_owned());
            }
        }
        let format = match (&self.plan.format, find_format(&checkpoint.format)) {
            (Some(format), _) => format.clone(),
            (None, Some(format)) => format.into(),
            (None, None) => {
                let start = buffer.unread();
                let start = &start[..start.len().min(DETECTED)];
                detect_format(start).ok_or("of no known format: name one with --from")?.into()
            }
        };
        Ok((format, buffer, counter))
    }

    fn read_records(
        &mut self,
        reading: &mut FileReading,
        framer: &mut Framer<InputStream>,
        reader: &mut dyn RecordReader,
    ) -> Result<(), Stop> {
        while let Some(frame) = framer.next_frame() {
            reading.checkpoint.records += 1;
            reading.batch.records += 1;
            match frame {
                Frame::Record(record) => self.read_record(reading, reader, &record)?,
                Frame::Broken { cause, line, start } => {
                    self.reject(reading, cause, line, start)?;
                }
            }
            if is_full(reading.batch.records, &reading.batch.rows) {
                if self.cancel.is_cancelled() {
                    return Err(Stop::Cancelled);
                }
                reading.checkpoint.position = framer.position();
                reading.checkpoint.reader = reader.save_state();
                self.send_batch(reading, None)?;
            }
        }
        reading.checkpoint.position = framer.position();
        Ok(())
    }

    fn read_record(
        &mut self,
        reading: &mut FileReading,
        reader: &mut dyn RecordReader,
        record: &Record<'_>,
    ) -> Result<(), SinkError> {
        let rows = &mut reading.batch.rows;
        let before = rows.len();
        rows.begin_record();
        let read = reader.read_record(record, &mut self.names, rows).and_then(|outcome| {
            rows.check_record()?;
            match outcome {
                RecordOutcome::Rows if memchr::memchr(0, record.bytes).is_some() => {
                    Err(Reject::new("a NUL byte"))
                }
                outcome => Ok(outcome),
            }
        });
        let parts = reading.batch.rows.take_rejected_parts();
        if read.is_ok() {
            for cause in parts {
                self.reject(reading, cause, record.line, record.bytes)?;
            }
        }
        let rows = &mut reading.batch.rows;
        match read {
            Ok(RecordOutcome::Rows) => {
                (before..reading.batch.rows.len())
                    .for_each(|row| reading.add_line(row, record.line));
                Ok(())
            }
            Ok(RecordOutcome::Other(kind)) => {
                rows.remove_record();
                reading.leftovers.count(LeftoverKind::Other, kind, record.line);
                Ok(())
            }
            Err(cause) => {
                rows.remove_record();
                self.reject(reading, cause, record.line, record.bytes)
            }
        }
    }

    pub(super) fn reject(
        &mut self,
        reading: &mut FileReading,
        cause: Reject,
        line: u64,
        record: &[u8],
    ) -> Result<(), SinkError> {
        reading.leftovers.count(LeftoverKind::Rejected, cause.0, line);
        self.rejects.write_record(&reading.path, line, cause.0, record)
    }

    pub(super) fn end_file(
        &mut self,
        mut reading: FileReading,
        content: Option<String>,
    ) -> Result<(), Stop> {
        reading.batch.ends_file = true;
        self.send_batch(&mut reading, content)
    }

    /// Sends a batch, and begins the next one.
    pub(super) fn send_batch(
        &mut self,
        reading: &mut FileReading,
        content: Option<String>,
    ) -> Result<(), Stop> {
        self.rejects.flush()?;
        reading.checkpoint.rows += reading.batch.rows.len() as u64;
        reading.checkpoint.rejects = self.rejects.extent();
        let batch = &mut reading.batch;
        batch.file = reading.position;
        let (cells, instances) = (self.names.cells(), self.names.instances());
        batch.new_cells.extend_from_slice(&cells[self.sent.0..]);
        batch.new_instances.extend_from_slice(&instances[self.sent.1..]);
        self.sent = (cells.len(), instances.len());
        batch.leftovers.extend_from_slice(reading.leftovers.all());
        batch.checkpoint = reading.checkpoint.clone();
        batch.content = content;
        let digest =
            self.digest.add_batch(&batch.new_cells, &batch.new_instances, &batch.rows).to_owned();
        batch.digest = digest;
        let mut next = self.returned.try_recv().unwrap_or_default();
        next.clear();
        let full = std::mem::replace(batch, next);
        self.send(ReadMessage::Batch(full))
    }

    pub(super) fn send(&self, message: ReadMessage) -> Result<(), Stop> {
        self.sender.send(message).map_err(|_| Stop::Unheard)
    }
}

impl FileReading {
    /// Remembers the line of a row, and looks at its time.
    pub(super) fn add_line(&mut self, row: usize, line: u64) {
        self.batch.lines.push(line);
        let time = self.batch.rows.rows().get(row).and_then(|it| it.started_at);
        let Some(time) = time else {
            let cause =
                "no time in it: where others have one, it stands at that of a row beside it";
            self.leftovers.count(LeftoverKind::Note, cause, line);
            return;
        };
        if let Some(last) = self.checkpoint.last_time {
            if time < last.saturating_sub(CLOCK_BACK) {
                let cause = "the clock goes back by more than an hour";
                self.leftovers.count(LeftoverKind::Note, cause, line);
            } else if time > last.saturating_add(CLOCK_FORWARD) {
                let cause = "the clock goes forward by more than 30 days";
                self.leftovers.count(LeftoverKind::Note, cause, line);
            }
        }
        self.checkpoint.last_time = Some(time);
    }
}
