//! Captured output of a container: standard output as a digest, and the end of
//! standard error for the reason of a failure.

use bytes::Bytes as Buffer;
use sha2::{Digest, Sha256};

use super::frames::{ContainerStream, FrameDecoder, InvalidFrame};
use cyclometer_core::units::Bytes;
use cyclometer_core::visible_text::summarize_end;
use cyclometer_workload::OutputDigest;

/// Bytes of output up to which it is hashed after the invocation, not during it, so
/// that hashing does not take a CPU from the function or from its engine.
const MOST_DEFERRED: u64 = 64 << 20;
/// Most chunks that wait to be hashed, however small they are.
const MOST_PIECES: usize = 64 << 10;
/// Bytes of standard error that are kept.
const TAIL_SIZE: usize = 4 << 10;

/// Captures both output streams.
#[derive(Debug, Default)]
pub(super) struct CapturedOutput {
    written: u64,
    pending: Vec<Buffer>,
    pending_bytes: u64,
    hasher: Sha256,
    /// First bytes of standard output.
    head: Vec<u8>,
    tail: Vec<u8>,
    /// Whether text before the tail was dropped.
    is_cut: bool,
    frames: FrameDecoder,
}

impl CapturedOutput {
    /// Decodes a chunk of output, with the frames in it.
    ///
    /// # Errors
    /// When the bytes are not frames.
    pub(crate) fn decode_chunk(&mut self, bytes: &Buffer) -> Result<(), InvalidFrame> {
        let mut frames = std::mem::take(&mut self.frames);
        let taken = frames.decode(bytes, |stream, range| match stream {
            ContainerStream::Output => self.push_stdout(bytes.slice(range)),
            ContainerStream::Errors => self.push_stderr(&bytes[range]),
            ContainerStream::Input => {}
        });
        self.frames = frames;
        taken
    }

    fn push_stdout(&mut self, message: Buffer) {
        let length = message.len() as u64;
        self.written = self.written.saturating_add(length);
        let missing = OutputDigest::HEAD.saturating_sub(self.head.len()).min(message.len());
        self.head.extend_from_slice(&message[..missing]);
        self.pending_bytes += length;
        self.pending.push(message);
        if self.pending_bytes > MOST_DEFERRED || self.pending.len() > MOST_PIECES {
            self.hash_pending();
        }
    }

    fn hash_pending(&mut self) {
        for piece in self.pending.drain(..) {
            self.hasher.update(&piece);
        }
        self.pending_bytes = 0;
    }

    fn push_stderr(&mut self, message: &[u8]) {
        self.tail.extend_from_slice(&message[message.len().saturating_sub(TAIL_SIZE)..]);
        let excess = self.tail.len().saturating_sub(TAIL_SIZE);
        self.is_cut |= excess > 0 || message.len() > TAIL_SIZE;
        self.tail.drain(..excess);
    }

    /// Returns the content of standard output, which is complete only as long as it is short.
    pub(crate) fn stdout_content(&self) -> Vec<u8> {
        self.pending.concat()
    }

    /// Returns whether standard output is longer than allowed.
    pub(crate) fn exceeds_limit(&self, limit: Bytes) -> bool {
        self.written > limit.0
    }

    /// Discards the content, since its digest will not be compared.
    pub(crate) fn discard_pending(&mut self) {
        self.pending = Vec::new();
        self.pending_bytes = 0;
    }

    /// Returns whether the output until now ends inside a frame.
    pub(crate) const fn is_inside_frame(&self) -> bool {
        self.frames.is_inside_frame()
    }

    /// Returns the digest of standard output.
    pub(crate) fn stdout_digest(&mut self) -> OutputDigest {
        self.hash_pending();
        OutputDigest::new(self.written, self.hasher.clone().finalize().into()).with_head(&self.head)
    }

    /// Returns the end of standard error on one line; `None` if nothing was written.
    pub(crate) fn stderr_tail(&self) -> Option<String> {
        let lines = self.tail.split(|byte| *byte == b'\n').enumerate();
        let lines: Vec<_> = lines
            .map(|(at, line)| summarize_end(line, self.is_cut && at == 0, TAIL_SIZE))
            .filter(|line| !line.is_empty())
            .collect();
        (!lines.is_empty()).then(|| lines.join(" | "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, content: &[u8]) -> Buffer {
        let length = u32::try_from(content.len()).expect("short").to_be_bytes();
        [&[stream, 0, 0, 0][..], &length, content].concat().into()
    }

    fn out(text: &str) -> Buffer {
        frame(1, text.as_bytes())
    }

    fn err(text: &str) -> Buffer {
        frame(2, text.as_bytes())
    }

    #[test]
    fn pieces_make_one_digest() {
        let mut output = CapturedOutput::default();
        for piece in [out("ab"), err("x"), out(""), out("c")] {
            output.decode_chunk(&piece).expect("a frame");
        }
        assert_eq!(output.stdout_digest(), OutputDigest::from_content(b"abc"));
        assert_eq!(output.stdout_digest().head(), Some(&b"abc"[..]));
        assert!(output.exceeds_limit(Bytes(2)) && !output.exceeds_limit(Bytes(3)));
    }

    #[test]
    fn long_output_is_hashed_on_the_way() {
        let mut output = CapturedOutput::default();
        let piece = frame(1, &vec![7; 1 << 20]);
        for _ in 0..66 {
            output.decode_chunk(&piece).expect("a frame");
        }
        assert!(output.pending_bytes <= MOST_DEFERRED);
        assert_eq!(output.stdout_digest(), OutputDigest::from_content(&vec![7; 66 << 20]));
    }

    #[test]
    fn the_end_of_standard_error_is_kept_clean() {
        let mut output = CapturedOutput::default();
        assert_eq!(output.stderr_tail(), None);
        output.decode_chunk(&err(&"x".repeat(TAIL_SIZE))).expect("a frame");
        output.decode_chunk(&err("\n\u{1b}[31mbad\u{7}\n\nend\n")).expect("a frame");
        let tail = output.stderr_tail().expect("something was written");
        assert!(tail.ends_with("x | \\x1b[31mbad\\x07 | end"), "{tail}");
        assert!(tail.len() <= TAIL_SIZE + 24);
    }

    #[test]
    fn a_broken_frame_is_noticed() {
        let mut output = CapturedOutput::default();
        output.decode_chunk(&out("abc").slice(..9)).expect("the begin of a frame");
        assert!(output.is_inside_frame());
        assert_eq!(
            CapturedOutput::default().decode_chunk(&Buffer::from_static(b"xyz")),
            Err(InvalidFrame)
        );
    }

    #[test]
    fn many_small_pieces_do_not_pile_up() {
        let mut output = CapturedOutput::default();
        for _ in 0..MOST_PIECES + 5 {
            output.decode_chunk(&out("a")).expect("a frame");
        }
        assert!(output.pending.len() <= MOST_PIECES);
        assert_eq!(
            output.stdout_digest(),
            OutputDigest::from_content(&vec![b'a'; MOST_PIECES + 5])
        );
    }
}
