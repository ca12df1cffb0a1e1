//! Standard streams of a function in a worker: files that remember whether they were used, since
//! asking the system takes a large part of a short invocation.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime_wasi::cli::{InputFile, IsTerminal, OutputFile, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream};

/// The three standard streams.
pub(super) struct StandardStreams {
    pub(super) stdin: TrackedStream<InputFile>,
    pub(super) stdout: TrackedStream<OutputFile>,
    pub(super) stderr: TrackedStream<OutputFile>,
}

/// Stream of a function that notes when the function gets hold of it.
#[derive(Clone)]
pub(super) struct TrackedStream<T> {
    stream: T,
    file: Arc<File>,
    used: Arc<AtomicBool>,
}

/// File behind a [`TrackedStream`], as another descriptor of the same open file.
pub(super) struct TrackedFile {
    pub(super) file: Arc<File>,
    used: Arc<AtomicBool>,
}

impl StandardStreams {
    /// Takes descriptors 0, 1 and 2 of this process.
    ///
    /// # Errors
    /// Fails when there are too many descriptors.
    #[expect(clippy::disallowed_methods, reason = "the streams of the function, not ours")]
    pub(super) fn open() -> Result<Self, String> {
        Ok(Self {
            stdin: TrackedStream::new(std::io::stdin().as_fd(), InputFile::new)?,
            stdout: TrackedStream::new(std::io::stdout().as_fd(), OutputFile::new)?,
            stderr: TrackedStream::new(std::io::stderr().as_fd(), OutputFile::new)?,
        })
    }
}

impl<T> TrackedStream<T> {
    fn new(descriptor: BorrowedFd<'_>, open: fn(File) -> T) -> Result<Self, String> {
        let file = duplicate_descriptor(descriptor)?;
        let stream = open(duplicate_descriptor(descriptor)?);
        // Whoever had it before may have used it.
        Ok(Self { stream, file: Arc::new(file), used: Arc::new(AtomicBool::new(true)) })
    }

    /// Returns the file behind it, which tells whether the stream was used.
    pub(super) fn watch(&self) -> TrackedFile {
        TrackedFile { file: Arc::clone(&self.file), used: Arc::clone(&self.used) }
    }

    /// Returns the file behind it, to be written in the function's name.
    pub(super) fn file_to_write(&self) -> &File {
        self.note_use();
        &self.file
    }

    fn note_use(&self) {
        self.used.store(true, Ordering::Relaxed);
    }
}

impl TrackedFile {
    /// Returns whether a function got hold of the stream since the last call.
    pub(super) fn take_used(&self) -> bool {
        self.used.load(Ordering::Relaxed) && self.used.swap(false, Ordering::Relaxed)
    }
}

impl<T> IsTerminal for TrackedStream<T> {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl<T: StdinStream> StdinStream for TrackedStream<T> {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        self.note_use();
        self.stream.async_stream()
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        self.note_use();
        self.stream.p2_stream()
    }
}

impl<T: StdoutStream> StdoutStream for TrackedStream<T> {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        self.note_use();
        self.stream.async_stream()
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        self.note_use();
        self.stream.p2_stream()
    }
}

/// Duplicates a descriptor as another one of the same open file.
fn duplicate_descriptor(descriptor: BorrowedFd<'_>) -> Result<File, String> {
    descriptor.try_clone_to_owned().map(File::from).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_used_once_a_function_has_got_hold_of_it() {
        let file = cyclometer_workload::memory_file("stream").expect("made");
        let stream = TrackedStream::new(file.as_fd(), OutputFile::new).expect("opened");
        let watched = stream.watch();
        assert!(watched.take_used(), "what was before is not known");
        assert!(!watched.take_used() && !stream.is_terminal());
        let mut clone = Box::new(stream.clone()).p2_stream();
        assert!(watched.take_used() && !watched.take_used());
        clone.write("text".into()).expect("written");
        assert_eq!(watched.file.metadata().expect("open").len(), 4);
        drop(stream.async_stream());
        assert!(watched.take_used());
    }
}
