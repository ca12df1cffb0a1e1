//! File of the records that cannot be read.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cyclometer_core::visible_text::{escape_bytes, escape_json};
use serde_json::json;

use super::sink::SinkError;

/// Most records that are written; further ones are counted only.
pub const MAX_WRITTEN: u64 = 1_000_000;

/// Bytes of a record that are written.
const MAX_SHOWN: usize = 256;

/// File of rejected records, which is made with the first of them.
#[derive(Debug)]
pub(super) struct RejectsFile {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    bytes: u64,
    records: u64,
}

impl RejectsFile {
    /// Goes on behind the records of before; what was written after them belongs to batches that
    /// were not stored.
    pub(super) fn resume(path: &Path, (bytes, records): (u64, u64)) -> Result<Self, SinkError> {
        let mut rejects = Self { path: path.to_owned(), file: None, bytes, records };
        if bytes > 0 {
            rejects.open_file().map_err(|error| rejects.explain(&error))?;
        }
        Ok(rejects)
    }

    /// Returns the bytes of the file, and the records in it.
    pub(super) const fn extent(&self) -> (u64, u64) {
        (self.bytes, self.records)
    }

    pub(super) fn write_record(
        &mut self,
        path: &str,
        line: u64,
        cause: &str,
        record: &[u8],
    ) -> Result<(), SinkError> {
        if self.records == MAX_WRITTEN {
            return Ok(());
        }
        let shown = &record[..record.len().min(MAX_SHOWN)];
        let cut = record.len() > MAX_SHOWN;
        let entry = json!({
            "file": path,
            "line": line,
            "cause": cause,
            "record": escape_bytes(shown).trim_end(),
            "cut": cut,
        });
        let text = format!("{}\n", escape_json(&entry.to_string()));
        self.write_text(&text).map_err(|error| self.explain(&error))?;
        self.records += 1;
        Ok(())
    }

    fn write_text(&mut self, text: &str) -> io::Result<()> {
        if self.file.is_none() {
            self.open_file()?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(text.as_bytes())?;
        }
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Makes sure that everything is in the file.
    pub(super) fn flush(&mut self) -> Result<(), SinkError> {
        let flushed = self.file.as_mut().map_or(Ok(()), Write::flush);
        flushed.map_err(|error| self.explain(&error))
    }

    fn open_file(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(&self.path)?;
        if file.metadata()?.is_file() {
            file.set_len(self.bytes)?;
            file.seek(SeekFrom::Start(self.bytes))?;
        }
        self.file = Some(BufWriter::new(file));
        Ok(())
    }

    fn explain(&self, error: &io::Error) -> SinkError {
        SinkError(format!(
            "cannot write the rejected records to {}: {error}; name another file with --rejects",
            self.path.display()
        ))
    }
}
