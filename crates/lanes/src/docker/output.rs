//! Captured output of a container: standard output as a digest, and the end of
//! standard error for the reason of a failure.

use bytes::Bytes as Buffer;
use sha2::{Digest, Sha256};

use super::frames::{FrameDecoder, NoFrame, Stream};
use cyclometer_core::units::Bytes;
use cyclometer_core::visible_text::summarize_end;
use cyclometer_workload::OutputDigest;

/// Bytes of output up to which it is hashed after the invocation, not during it, so
/// that hashing does not take a CPU from the function or from its engine.
const DEFERRED: u64 = 64 << 20;
/// Most chunks that wait to be hashed, however small they are.
const MOST_PIECES: usize = 64 << 10;
/// Bytes of standard error that are kept.
const TAIL: usize = 4 << 10;

/// Captures both output streams.
#[derive(Debug, Default)]
pub(super) struct Output {
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

impl Output {
    /// Decodes a chunk of output, with the frames in it.
    ///
    /// # Errors
    /// When the bytes are not frames.
    pub fn take(&mut self, bytes: &Buffer) -> Result<(), NoFrame> {
        let mut frames = std::mem::take(&mut self.frames);
        let taken = frames.decode(bytes, |stream, range| match stream {
            Stream::Output => self.stdout(bytes.slice(range)),
            Stream::Errors => self.stderr(&bytes[range]),
            Stream::Input => {}
        });
        self.frames = frames;
        taken
    }

    fn stdout(&mut self, message: Buffer) {
        let length = message.len() as u64;
        self.written = self.written.saturating_add(length);
        let missing = OutputDigest::HEAD.saturating_sub(self.head.len()).min(message.len());
        self.head.extend_from_slice(&message[..missing]);
        self.pending_bytes += length;
        self.pending.push(message);
        if self.pending_bytes > DEFERRED || self.pending.len() > MOST_PIECES {
            self.hash();
        }
    }

    fn hash(&mut self) {
        for piece in self.pending.drain(..) {
            self.hasher.update(&piece);
        }
        self.pending_bytes = 0;
    }

    fn stderr(&mut self, message: &[u8]) {
        self.tail.extend_from_slice(&message[message.len().saturating_sub(TAIL)..]);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.is_cut |= excess > 0 || message.len() > TAIL;
        self.tail.drain(..excess);
    }

    /// Returns the content of standard output, which is complete only as long as it is short.
    pub fn content(&self) -> Vec<u8> {
        self.pending.concat()
    }

    /// Returns whether standard output is longer than allowed.
    pub fn exceeds(&self, limit: Bytes) -> bool {
        self.written > limit.0
    }

    /// Discards the content, since its digest will not be compared.
    pub fn discard(&mut self) {
        self.pending = Vec::new();
        self.pending_bytes = 0;
    }

    /// Returns whether the output until now ends inside a frame.
    pub const fn is_inside_frame(&self) -> bool {
        self.frames.is_inside()
    }

    /// Returns the digest of standard output.
    pub fn digest(&mut self) -> OutputDigest {
        self.hash();
        OutputDigest::new(self.written, self.hasher.clone().finalize().into()).beginning(&self.head)
    }

    /// Returns the end of standard error on one line; `None` if nothing was written.
    pub fn tail(&self) -> Option<String> {
        let lines = self.tail.split(|byte| *byte == b'\n').enumerate();
        let lines: Vec<_> = lines
            .map(|(at, line)| summarize_end(line, self.is_cut && at == 0, TAIL))
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
        let mut output = Output::default();
        for piece in [out("ab"), err("x"), out(""), out("c")] {
            output.take(&piece).expect("a frame");
        }
        assert_eq!(output.digest(), OutputDigest::of(b"abc"));
        assert_eq!(output.digest().head(), Some(&b"abc"[..]));
        assert!(output.exceeds(Bytes(2)) && !output.exceeds(Bytes(3)));
    }

    #[test]
    fn long_output_is_hashed_on_the_way() {
        let mut output = Output::default();
        let piece = frame(1, &vec![7; 1 << 20]);
        for _ in 0..66 {
            output.take(&piece).expect("a frame");
        }
        assert!(output.pending_bytes <= DEFERRED);
        assert_eq!(output.digest(), OutputDigest::of(&vec![7; 66 << 20]));
    }

    #[test]
    fn the_end_of_standard_error_is_kept_clean() {
        let mut output = Output::default();
        assert_eq!(output.tail(), None);
        output.take(&err(&"x".repeat(TAIL))).expect("a frame");
        output.take(&err("\n\u{1b}[31mbad\u{7}\n\nend\n")).expect("a frame");
        let tail = output.tail().expect("something was written");
        assert!(tail.ends_with("x | \\x1b[31mbad\\x07 | end"), "{tail}");
        assert!(tail.len() <= TAIL + 24);
    }

    #[test]
    fn a_broken_frame_is_noticed() {
        let mut output = Output::default();
        output.take(&out("abc").slice(..9)).expect("the begin of a frame");
        assert!(output.is_inside_frame());
        assert_eq!(Output::default().take(&Buffer::from_static(b"xyz")), Err(NoFrame));
    }

    #[test]
    fn many_small_pieces_do_not_pile_up() {
        let mut output = Output::default();
        for _ in 0..MOST_PIECES + 5 {
            output.take(&out("a")).expect("a frame");
        }
        assert!(output.pending.len() <= MOST_PIECES);
        assert_eq!(output.digest(), OutputDigest::of(&vec![b'a'; MOST_PIECES + 5]));
    }
}
