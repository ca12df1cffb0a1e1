//! The bytes of an input, decompressed.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cyclometer_core::invocation::Cancel;
use flate2::bufread::MultiGzDecoder;
use nix::poll::{PollFd, PollFlags, poll};
use sha2::{Digest, Sha256};

/// Bytes that are read at once from a compressed file.
const CHUNK: usize = 256 << 10;

/// Largest window of a zstd frame, as a power of two: 128 MiB, what `zstd` itself takes.
const ZSTD_WINDOW: u32 = 27;

/// Bytes of an input, decompressed.
pub struct InputStream {
    source: Box<dyn Read + Send>,
    counter: ReadCounter,
}

/// Counter of the bytes that were read of a file, as it lies on the disk, and their digest.
#[derive(Debug, Clone, Default)]
pub struct ReadCounter(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    bytes: AtomicU64,
    /// `None`: the file is not read from its beginning.
    digest: Mutex<Option<Sha256>>,
}

impl ReadCounter {
    /// Returns the bytes that were read so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Sets the bytes that were read so far, where they are not read one after the other.
    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.0.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Returns the digest of all bytes, if they were all read.
    #[must_use]
    pub fn digest(&self) -> Option<String> {
        let digest = self.0.digest.lock().unwrap_or_else(PoisonError::into_inner).take();
        digest.map(|it| super::identity::to_hexadecimal(&it.finalize()))
    }
}

/// Source whose bytes are counted, and which ends with an error when it is cancelled.
struct CountedSource<R> {
    source: R,
    counter: ReadCounter,
    cancel: Cancel,
}

impl<R: Read> Read for CountedSource<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        let count = self.source.read(out)?;
        self.counter.0.bytes.fetch_add(count as u64, Ordering::Relaxed);
        let mut digest = self.counter.0.digest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = digest.as_mut() {
            digest.update(&out[..count]);
        }
        Ok(count)
    }
}

/// Pipe, which is waited for only until it is cancelled.
struct Pipe {
    file: File,
    cancel: Cancel,
}

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !wait_for_bytes(self.file.as_fd())? {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other("cancelled"));
            }
        }
        self.file.read(out)
    }
}

/// Waits a moment; returns whether reading would not wait.
fn wait_for_bytes(handle: BorrowedFd<'_>) -> io::Result<bool> {
    let mut polled = [PollFd::new(handle, PollFlags::POLLIN)];
    match poll(&mut polled, Cancel::POLL_MS) {
        Ok(ready) => Ok(ready > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl InputStream {
    /// Opens a file of `size` bytes, or standard input, from a byte of the decompressed content
    /// on. What is appended to the file meanwhile is not read. It ends with an error soon after it
    /// is cancelled.
    ///
    /// # Errors
    /// Returns an error when the file cannot be read, or ends before that byte.
    pub fn open(file: Option<(File, Option<u64>)>, from: u64, cancel: &Cancel) -> io::Result<Self> {
        let counter = ReadCounter::default();
        let (mut file, size) = match file {
            Some((file, Some(size))) => (file, size),
            // A pipe has no size, and is read from where it is.
            other => {
                let file = match other {
                    Some((file, _)) => file,
                    None => File::from(io::stdin().as_fd().try_clone_to_owned()?),
                };
                let source = Pipe { file, cancel: cancel.clone() };
                let (counter, cancel) = (counter.clone(), cancel.clone());
                let source = CountedSource { source, counter: counter.clone(), cancel };
                return Self::decompress(source, counter, from);
            }
        };
        let mut start = [0; 4];
        let known = read_start(&mut file, &mut start)?;
        let is_plain = Compression::from_start(&start[..known]) == Compression::None;
        let skipped = if is_plain { from } else { 0 };
        file.seek(SeekFrom::Start(skipped))?;
        counter.0.bytes.store(skipped, Ordering::Relaxed);
        if from == 0 {
            *counter.0.digest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Sha256::new());
        }
        let source = file.take(size.saturating_sub(skipped));
        let source = CountedSource { source, counter: counter.clone(), cancel: cancel.clone() };
        if is_plain {
            return Ok(Self { source: Box::new(source), counter });
        }
        Self::decompress(source, counter, from)
    }

    fn decompress(
        mut source: impl Read + Send + 'static,
        counter: ReadCounter,
        from: u64,
    ) -> io::Result<Self> {
        let mut start = [0; 4];
        let known = read_start(&mut source, &mut start)?;
        let compression = Compression::from_start(&start[..known]);
        let whole = Cursor::new(start[..known].to_vec()).chain(source);
        let mut source: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(whole),
            Compression::Gzip => {
                Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK, whole)))
            }
            Compression::Zstd => {
                let buffered = BufReader::with_capacity(CHUNK, whole);
                let mut decoder = zstd::Decoder::with_buffer(buffered)?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Box::new(decoder)
            }
        };
        let skipped = io::copy(&mut source.by_ref().take(from), &mut io::sink())?;
        if skipped < from {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than before"));
        }
        Ok(Self { source, counter })
    }

    /// Returns the counter of the bytes read.
    #[must_use]
    pub fn counter(&self) -> ReadCounter {
        self.counter.clone()
    }
}

impl Read for InputStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.source.read(out)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    fn from_start(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Reads the first bytes; returns how many there are.
fn read_start(source: &mut impl Read, start: &mut [u8]) -> io::Result<usize> {
    let mut known = 0;
    while known < start.len() {
        match source.read(&mut start[known..]) {
            Ok(0) => break,
            Ok(count) => known += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(known)
}
