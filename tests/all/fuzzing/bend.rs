//! Inputs made from others: cut, doubled, mixed, and with strange things in them.

/// Makes inputs from a corpus, the same ones for the same seed.
pub struct Bender<'a> {
    state: u64,
    corpus: &'a [Vec<u8>],
    words: &'a [&'a str],
    longest: usize,
    made: Vec<u8>,
}

/// Numbers at which something overflows, ends, or is no number any more.
const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e400",
    "0.0000000000000000001",
    "nan",
];

/// Pieces that are strange anywhere.
const STRANGE: [&str; 12] = [
    "\0",
    "\u{1b}[31m",
    "\u{202e}",
    "\u{2028}",
    "\u{feff}",
    "\"",
    "'''",
    "[[",
    "]",
    "{",
    "\\u0000",
    "é",
];

impl<'a> Bender<'a> {
    pub fn new(seed: u64, corpus: &'a [Vec<u8>], words: &'a [&'a str], longest: usize) -> Self {
        Self { state: seed, corpus, words, longest, made: Vec::new() }
    }

    /// The next input.
    pub fn bend(&mut self) -> &[u8] {
        let from = self.below(self.corpus.len());
        self.made.clear();
        self.made.extend_from_slice(&self.corpus[from]);
        // Mostly a change or two: more seldom gets past the first check.
        let changes = 1 + self.below(4) * self.below(3);
        for _ in 0..changes {
            self.change();
        }
        self.made.truncate(self.longest);
        &self.made
    }

    fn change(&mut self) {
        let (at, end) = self.stretch(64);
        match self.below(11) {
            0 => self.flip(at),
            1 => drop(self.made.drain(at..end)),
            2 => self.insert(at, self.made[at..end].to_vec()),
            3 => {
                let word = self.word();
                drop(self.made.splice(at..end, word));
            }
            4 => {
                let word = self.word();
                self.insert(at, word);
            }
            5 => self.other_number(at),
            6 => self.made.truncate(at),
            7 => self.splice(at, end),
            8 => self.move_line(),
            9 => {
                let times = 1 + self.below(600);
                let piece = self.made[at..end.min(at + 16)].repeat(times);
                self.insert(at, piece);
            }
            _ => self.set(at),
        }
    }

    /// A place and one at or behind it.
    fn stretch(&mut self, longest: usize) -> (usize, usize) {
        let at = self.below(self.made.len() + 1);
        let length = self.below(longest.min(self.made.len() - at) + 1);
        (at, at + length)
    }

    fn insert(&mut self, at: usize, piece: Vec<u8>) {
        drop(self.made.splice(at..at, piece));
    }

    fn flip(&mut self, at: usize) {
        let bit = 1 << self.below(8);
        if let Some(byte) = self.made.get_mut(at) {
            *byte ^= bit;
        }
    }

    /// Four bytes become a number of a binary format.
    fn set(&mut self, at: usize) {
        let all = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0x0001_0000];
        let number = all[self.below(all.len())].to_le_bytes();
        for (byte, new) in self.made.iter_mut().skip(at).zip(number) {
            *byte = new;
        }
    }

    fn word(&mut self) -> Vec<u8> {
        let lists = [self.words, &NUMBERS, &STRANGE];
        let list = lists[self.below(lists.len())];
        if list.is_empty() { vec![0xff] } else { list[self.below(list.len())].into() }
    }

    /// The next digits become another number.
    fn other_number(&mut self, at: usize) {
        let digits = |byte: &u8| byte.is_ascii_digit();
        let Some(start) = self.made[at..].iter().position(digits).map(|it| at + it) else { return };
        let length = self.made[start..].iter().take_while(|it| digits(it)).count();
        let number = NUMBERS[self.below(NUMBERS.len())];
        drop(self.made.splice(start..start + length, number.bytes()));
    }

    /// A stretch becomes one of another input.
    fn splice(&mut self, at: usize, end: usize) {
        let other = &self.corpus[self.below(self.corpus.len())];
        let from = self.below(other.len() + 1);
        let to = from + self.below(other.len() - from + 1).min(512);
        drop(self.made.splice(at..end, other[from..to].iter().copied()));
    }

    /// A line goes to where another one is.
    fn move_line(&mut self) {
        let mut lines: Vec<Vec<u8>> =
            self.made.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if lines.len() > 1 {
            let line = lines.remove(self.below(lines.len()));
            lines.insert(self.below(lines.len() + 1), line);
            self.made = lines.concat();
        }
    }

    /// A number below `end`, by splitmix64; 0 if there is none.
    fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 1).unwrap_or(0) % end.max(1)
    }
}
