//! Output limit for runtimes that `RLIMIT_FSIZE` cannot hold to it: those that forward a sandbox's
//! output through pipes, and keep its memory in files.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::super::Cancel;
use super::super::launcher::Stdio3;
use super::super::program_run::file_size;
use cyclometer_core::units::Bytes;

/// Time between two checks of the output's size.
const INTERVAL: Duration = Duration::from_millis(20);

/// Watches the size of an invocation's output while it runs.
pub(super) struct OutputWatch {
    cancel: Cancel,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl OutputWatch {
    /// Watches both streams of `files` until the value is dropped.
    ///
    /// # Errors
    /// Fails when there are too many descriptors or threads.
    pub fn start(files: &Stdio3, limit: Bytes, outer: &Cancel) -> io::Result<Self> {
        let streams = [files.stdout.try_clone()?, files.stderr.try_clone()?];
        let (cancel, ended) = (Cancel::default(), Arc::new(AtomicBool::new(false)));
        let (inner, outer, over) = (cancel.clone(), outer.clone(), Arc::clone(&ended));
        let look = move || {
            while !over.load(Ordering::Relaxed) {
                if outer.is_cancelled() || longest_stream(&streams) > limit.0 {
                    return inner.cancel();
                }
                std::thread::park_timeout(INTERVAL);
            }
        };
        let thread = std::thread::Builder::new().name("output".to_owned()).spawn(look)?;
        Ok(Self { cancel, ended, thread: Some(thread) })
    }

    /// Returns a token that is cancelled when there is too much output, or the recording is
    /// stopped.
    pub const fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

impl Drop for OutputWatch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread does not panic.
            let _ = thread.join();
        }
    }
}

fn longest_stream(streams: &[File]) -> u64 {
    streams.iter().map(file_size).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_workload::FunctionInput;

    #[test]
    fn too_much_output_on_either_stream_stops_the_invocation() {
        for errors in [false, true] {
            let files = Stdio3::with_input(&FunctionInput::default()).expect("memory files");
            let watch =
                OutputWatch::start(&files, Bytes(4096), &Cancel::default()).expect("a thread");
            let stream = if errors { &files.stderr } else { &files.stdout };
            stream.set_len(4096).expect("grown");
            std::thread::sleep(3 * INTERVAL);
            assert!(!watch.cancel().is_cancelled(), "the limit itself is no excess");
            stream.set_len(4097).expect("grown");
            let begun = std::time::Instant::now();
            while !watch.cancel().is_cancelled() {
                assert!(begun.elapsed() < Duration::from_secs(10), "not noticed");
                std::thread::sleep(INTERVAL);
            }
        }
    }

    #[test]
    fn stopping_the_recording_stops_the_invocation() {
        let files = Stdio3::with_input(&FunctionInput::default()).expect("memory files");
        let outer = Cancel::default();
        let watch = OutputWatch::start(&files, Bytes(4096), &outer).expect("a thread");
        outer.cancel();
        let begun = std::time::Instant::now();
        while !watch.cancel().is_cancelled() {
            assert!(begun.elapsed() < Duration::from_secs(10), "not noticed");
            std::thread::sleep(INTERVAL);
        }
    }
}
