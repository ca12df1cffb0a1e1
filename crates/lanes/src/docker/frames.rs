//! Decoder for the frames around a container's output: one byte for the stream, three
//! unused ones, four for the length, and the content.

/// Streams of a container, as frames name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContainerStream {
    /// Standard input, which is never sent back.
    Input,
    /// Standard output.
    Output,
    /// Standard error.
    Errors,
}

/// Error: the bytes are not frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its stream is none of a container: it has no valid frame")]
pub(crate) struct InvalidFrame;

const HEADER_SIZE: usize = 8;

/// Decodes frames as their bytes arrive, in chunks of any length. It buffers no more
/// than a header, whatever length a frame claims to have.
#[derive(Debug, Clone, Default)]
pub(crate) struct FrameDecoder {
    header: [u8; HEADER_SIZE],
    /// Number of header bytes that have arrived; all of them inside a frame.
    header_bytes: usize,
    /// Number of content bytes that the frame still lacks.
    content_left: usize,
}

impl FrameDecoder {
    /// Passes the content of each frame in `bytes` to `take`: its stream, and its
    /// range in `bytes`.
    ///
    /// # Errors
    /// When the bytes are not frames. What came before was passed on.
    pub(crate) fn decode(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(ContainerStream, std::ops::Range<usize>),
    ) -> Result<(), InvalidFrame> {
        let mut at = 0;
        while at < bytes.len() {
            if self.header_bytes < HEADER_SIZE {
                self.header[self.header_bytes] = bytes[at];
                self.header_bytes += 1;
                at += 1;
                // Checked before the header is complete, which may take forever.
                self.current_stream()?;
                if self.header_bytes == HEADER_SIZE {
                    let [.., a, b, c, d] = self.header;
                    self.content_left = u32::from_be_bytes([a, b, c, d]) as usize;
                    self.end_if_empty();
                }
                continue;
            }
            let length = self.content_left.min(bytes.len() - at);
            take(self.current_stream()?, at..at + length);
            at += length;
            self.content_left -= length;
            self.end_if_empty();
        }
        Ok(())
    }

    fn end_if_empty(&mut self) {
        if self.content_left == 0 {
            self.header_bytes = 0;
        }
    }

    const fn current_stream(&self) -> Result<ContainerStream, InvalidFrame> {
        match self.header[0] {
            0 => Ok(ContainerStream::Input),
            1 => Ok(ContainerStream::Output),
            2 => Ok(ContainerStream::Errors),
            _ => Err(InvalidFrame),
        }
    }

    /// Returns whether the bytes until now end inside a frame.
    #[must_use]
    pub(crate) const fn is_inside_frame(&self) -> bool {
        self.header_bytes > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(stream: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).expect("short").to_be_bytes();
        [&[stream, 0, 0, 0][..], &length, content].concat()
    }

    /// Decodes `bytes` in chunks of `piece` bytes.
    fn decoded(bytes: &[u8], piece: usize) -> (Result<(), InvalidFrame>, Vec<u8>, bool) {
        let (mut decoder, mut output) = (FrameDecoder::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            let taken = decoder.decode(piece, |stream, range| {
                if stream == ContainerStream::Output {
                    output.extend_from_slice(&piece[range]);
                }
            });
            if taken.is_err() {
                return (taken, output, decoder.is_inside_frame());
            }
        }
        (Ok(()), output, decoder.is_inside_frame())
    }

    #[test]
    fn frames_are_put_together_however_they_are_cut() {
        let bytes = [frame(1, b"abc"), frame(2, b"error"), frame(1, b""), frame(1, b"de")].concat();
        for piece in 1..=bytes.len() {
            assert_eq!(decoded(&bytes, piece), (Ok(()), b"abcde".to_vec(), false), "{piece}");
        }
        for end in 1..bytes.len() {
            let (result, output, _) = decoded(&bytes[..end], 3);
            assert!(result.is_ok() && b"abcde".starts_with(&output), "{end}");
        }
        assert!(decoded(&bytes[..5], 1).2, "inside a header");
        assert!(decoded(&bytes[..9], 9).2, "inside a frame");
    }

    #[test]
    fn a_length_of_four_gigabytes_takes_no_memory() {
        let mut decoder = FrameDecoder::default();
        decoder.decode(&[1, 0, 0, 0, 255, 255, 255, 255], |_, _| {}).expect("a header");
        let mut seen = 0;
        for _ in 0..1000 {
            decoder.decode(&[7; 4096], |_, range| seen += range.len()).expect("content");
        }
        assert_eq!((seen, decoder.is_inside_frame()), (4_096_000, true));
    }

    #[test]
    fn a_stream_that_is_none_is_noticed_at_once() {
        assert_eq!(FrameDecoder::default().decode(b"HTTP", |_, _| {}), Err(InvalidFrame));
        assert_eq!(decoded(&[frame(1, b"ab"), b"x".to_vec()].concat(), 4).0, Err(InvalidFrame));
    }

    proptest! {
        #[test]
        fn any_bytes_give_the_same_in_one_piece_and_in_many(
            bytes in proptest::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..200),
            piece in 1_usize..9,
        ) {
            prop_assert_eq!(decoded(&bytes, piece), decoded(&bytes, usize::MAX));
        }
    }
}
