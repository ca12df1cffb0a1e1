//! Reading of a file of columns (Parquet), which is not divided into records but asked for rows.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use super::leftovers::LeftoverKind;
use super::reading::{FileReading, ReadMessage, Reading, Stop};
use super::sink::{FileHeader, SinkError};
use crate::input::{InputFile, ReadCounter, digest_content};
use crate::mapping::Mapping;
use crate::parquet_file::{ParquetRows, count_parquet_rows, read_parquet};

/// What is told of a file whose rows are being read.
struct FileProgress {
    /// Not sent before there are rows, since only then it is sure that the file can be read.
    header: Option<FileHeader>,
    counter: ReadCounter,
    bytes: u64,
    rows: u64,
}

impl Reading<'_> {
    /// Reads a file of columns; a line of its checkpoint is a row of the file.
    pub(super) fn read_column_file(
        &mut self,
        mut reading: FileReading,
        mut header: FileHeader,
        file: &InputFile,
        mapping: &Mapping,
    ) -> Result<(), Stop> {
        let goes_on = header.goes_on;
        let bytes = header.bytes.unwrap_or(0);
        let opened = open_columns(file).and_then(|opened| {
            let rows = count_parquet_rows(&opened).map_err(|error| error.to_string())?;
            Ok((opened, rows))
        });
        let (mut opened, rows) = match opened {
            Ok(opened) => opened,
            Err(reason) if goes_on => {
                return Err(SinkError(format!("cannot go on with {}: {reason}", file.path)).into());
            }
            Err(reason) => return self.leave_out(reading, header, &reason),
        };
        mapping.name().clone_into(&mut reading.checkpoint.format);
        mapping.name().clone_into(&mut header.format);
        let counter = ReadCounter::default();
        let mut progress = FileProgress { header: Some(header), counter, bytes, rows };
        if goes_on {
            self.begin_columns(&mut progress)?;
        }
        let from = reading.checkpoint.position.lines;
        let (mut names, mut stop) = (std::mem::take(&mut self.names), None);
        let settings = &self.plan.settings;
        let read = read_parquet(
            &opened,
            mapping,
            settings,
            file.stem(),
            from,
            &mut names,
            &mut |part: ParquetRows<'_>| match self.store_columns(&mut reading, &mut progress, part)
            {
                Ok(()) => ControlFlow::Continue(()),
                Err(why) => {
                    stop = Some(why);
                    ControlFlow::Break(())
                }
            },
        );
        self.names = names;
        if let Some(why) = stop {
            return Err(why);
        }
        let failure = read.err().map(|error| error.to_string());
        self.end_column_file(reading, progress, failure, &mut opened)
    }

    fn end_column_file(
        &mut self,
        mut reading: FileReading,
        mut progress: FileProgress,
        failure: Option<String>,
        opened: &mut File,
    ) -> Result<(), Stop> {
        match (failure, progress.header.take()) {
            (Some(reason), Some(mut header)) => {
                header.format.clear();
                reading.checkpoint.format.clear();
                return self.leave_out(reading, header, &reason);
            }
            (Some(reason), None) => {
                let row = reading.checkpoint.position.lines + 1;
                reading.leftovers.note(format!("the input breaks off: {reason}"), Some(row));
                return self.end_file(reading, None);
            }
            (None, header) => {
                progress.header = header;
                self.begin_columns(&mut progress)?;
            }
        }
        match digest_content(opened, progress.bytes, &self.cancel) {
            Ok(None) => Err(Stop::Cancelled),
            // The rows are there; the file is noticed by its size, beginning and end alone.
            content => self.end_file(reading, content.ok().flatten()),
        }
    }

    fn begin_columns(&self, progress: &mut FileProgress) -> Result<(), Stop> {
        match progress.header.take() {
            Some(header) => self.send(ReadMessage::Begin(header, progress.counter.clone())),
            None => Ok(()),
        }
    }

    /// Sends rows as a batch of their own, so that an import which goes on has the same batches.
    fn store_columns(
        &mut self,
        reading: &mut FileReading,
        progress: &mut FileProgress,
        part: ParquetRows<'_>,
    ) -> Result<(), Stop> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        self.begin_columns(progress)?;
        let ParquetRows { batch, names, first_row, next_row, others, rejects } = part;
        std::mem::swap(&mut reading.batch.rows, batch);
        let mut lines_of_others = others.iter().map(|it| it.0).peekable();
        let mut lines_of_rejects = rejects.iter().map(|it| it.row).peekable();
        let mut row = 0;
        for line in first_row..=next_row {
            let is_other = lines_of_others.next_if_eq(&line).is_some();
            if !is_other && lines_of_rejects.next_if_eq(&line).is_none() {
                reading.add_line(row, line);
                row += 1;
            }
        }
        for (line, kind) in others {
            reading.leftovers.count(LeftoverKind::Other, kind, *line);
        }
        for it in rejects {
            self.reject(reading, it.cause, it.row, it.excerpt.as_bytes())?;
        }
        let records = (next_row + 1).saturating_sub(first_row);
        reading.batch.records += records;
        reading.checkpoint.records += records;
        reading.checkpoint.position.lines = next_row;
        let share = u128::from(progress.bytes) * u128::from(next_row)
            / u128::from(progress.rows.max(next_row).max(1));
        progress.counter.set_bytes(u64::try_from(share).unwrap_or(progress.bytes));
        std::mem::swap(&mut self.names, names);
        let sent = self.send_batch(reading, None);
        std::mem::swap(&mut self.names, names);
        sent
    }
}

/// Opens a Parquet file, of which not only the end is looked at.
fn open_columns(file: &InputFile) -> Result<File, String> {
    let opened = file.open().map_err(|error| error.to_string())?;
    let pipe = "Parquet cannot be read from a pipe: its end says what it has; keep it in a file";
    let mut opened = opened.ok_or(pipe)?;
    if !opened.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err(pipe.to_owned());
    }
    let mut start = Vec::new();
    (&mut opened).take(4).read_to_end(&mut start).map_err(|error| error.to_string())?;
    opened.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    match start.as_slice() {
        b"PAR1" => Ok(opened),
        [] => Err("an empty file".to_owned()),
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd] => {
            Err("a compressed file, and the mapping is of Parquet: decompress it first".to_owned())
        }
        _ => Err("no Parquet file, and the mapping is of Parquet".to_owned()),
    }
}
