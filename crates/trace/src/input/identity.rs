//! Digests by which the same file is noticed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use cyclometer_core::invocation::Cancel;
use sha2::{Digest, Sha256};

/// Bytes at the beginning and at the end of a file that tell it from others.
const PART: usize = 64 << 10;

/// What is known of a file before it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileIdentity {
    /// Size in bytes; `None` for a pipe or a device.
    pub size: Option<u64>,
    /// Digest of size, beginning and end, in hexadecimal; empty for a pipe or a device.
    pub digest: String,
}

/// Identifies a file by its size, beginning and end.
///
/// # Errors
/// Returns the error of reading it.
pub fn identify_file(file: &File) -> io::Result<FileIdentity> {
    let status = file.metadata()?;
    if !status.is_file() {
        return Ok(FileIdentity { size: None, digest: String::new() });
    }
    let size = status.len();
    let mut digest = Sha256::new();
    digest.update(size.to_le_bytes());
    let mut part = vec![0; PART];
    for from in [0, size.saturating_sub(PART as u64)] {
        let mut known = 0;
        while known < PART {
            match file.read_at(&mut part[known..], from + known as u64)? {
                0 => break,
                count => known += count,
            }
        }
        digest.update(&part[..known]);
    }
    Ok(FileIdentity { size: Some(size), digest: to_hexadecimal(&digest.finalize()) })
}

/// Digests the first `size` bytes of a file; `None` if it was cancelled.
///
/// # Errors
/// Returns the error of reading it.
pub fn digest_content(file: &mut File, size: u64, cancel: &Cancel) -> io::Result<Option<String>> {
    file.seek(SeekFrom::Start(0))?;
    let mut digest = Sha256::new();
    let mut part = vec![0; 4 * PART];
    let mut rest = file.take(size);
    loop {
        if cancel.is_cancelled() {
            return Ok(None);
        }
        match rest.read(&mut part)? {
            0 => return Ok(Some(to_hexadecimal(&digest.finalize()))),
            count => digest.update(&part[..count]),
        }
    }
}

/// Writes bytes as hexadecimal digits.
pub(crate) fn to_hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}
