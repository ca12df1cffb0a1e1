//! Responses of the launcher, by byte offset; both sides are compiled together.

use super::MAGIC;

/// Kind of a launcher's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageKind {
    /// The launcher runs, behind this fence.
    Hello,
    /// A program was started, or could not be.
    Started,
    /// The program has ended.
    Ended,
}

impl MessageKind {
    const ALL: [Self; 3] = [Self::Hello, Self::Started, Self::Ended];

    const fn message_size(self) -> usize {
        match self {
            Self::Hello => 16,
            Self::Started => 56,
            Self::Ended => LauncherMessage::LONGEST,
        }
    }
}

/// A message with a valid length and head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LauncherMessage {
    kind: MessageKind,
    bytes: [u8; Self::LONGEST],
}

impl LauncherMessage {
    /// Size of the longest message in bytes.
    pub const LONGEST: usize = 104;

    /// Accepts a message with exactly the length of its kind.
    pub(crate) fn decode(message: &[u8]) -> Option<Self> {
        let word = |at: usize| message.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let kind = *MessageKind::ALL.get(usize::try_from(word(4)?).ok()?)?;
        if word(0)? != MAGIC || message.len() != kind.message_size() {
            return None;
        }
        let mut bytes = [0; Self::LONGEST];
        bytes[..message.len()].copy_from_slice(message);
        Some(Self { kind, bytes })
    }

    pub const fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Returns the number of the request that this message answers.
    pub(crate) fn request_number(&self) -> u64 {
        self.u64_at(8)
    }

    fn bytes_at<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[at..at + N]);
        array
    }

    pub(crate) fn u32_at(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.bytes_at(at))
    }

    pub(crate) fn i32_at(&self, at: usize) -> i32 {
        i32::from_ne_bytes(self.bytes_at(at))
    }

    pub(crate) fn u64_at(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.bytes_at(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u32, size: usize) -> Vec<u8> {
        let mut bytes = [MAGIC.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.resize(size, 0);
        bytes
    }

    #[test]
    fn only_whole_messages_of_a_known_kind_are_answers() {
        // Sizes of the structures in launcher.c, by hand: 4 words; 6 words and 4 double words; 6
        // words and 10 double words.
        for (kind, size) in [(0, 16), (1, 6 * 4 + 4 * 8), (2, 6 * 4 + 10 * 8)] {
            assert!(LauncherMessage::decode(&message(kind, size)).is_some(), "{kind}");
            for wrong in [0, 4, 7, 8, size - 1, size + 1] {
                let mut bytes = message(kind, wrong.max(8));
                bytes.truncate(wrong);
                assert_eq!(LauncherMessage::decode(&bytes), None, "kind {kind} of {wrong} bytes");
            }
            let mut foreign = message(kind, size);
            foreign[0] ^= 1;
            assert_eq!(LauncherMessage::decode(&foreign), None);
        }
        assert_eq!(LauncherMessage::decode(&message(3, 104)), None);
        assert_eq!(LauncherMessage::decode(&message(u32::MAX, 104)), None);
    }
}
