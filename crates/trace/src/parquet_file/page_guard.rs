//! Checks of page headers before the library sees them: it allocates what a header claims.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

/// Largest page, decompressed: writers make pages of about 1 MiB.
pub(super) const MAX_PAGE_BYTES: u64 = 64 << 20;

/// Largest header of a page: its statistics may hold two values.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Deepest nesting of a header.
const MAX_DEPTH: u32 = 8;

/// Encodings whose blocks claim sizes that cannot be checked before they are decompressed.
const UNREAD_ENCODINGS: [(i64, &str); 2] =
    [(6, "DELTA_LENGTH_BYTE_ARRAY"), (7, "DELTA_BYTE_ARRAY")];

/// What is wrong with the pages of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PageProblem {
    /// They cannot be read, or are no pages.
    Broken,
    /// A page is larger than [`MAX_PAGE_BYTES`].
    TooLarge,
    /// A dictionary claims more values than it has bytes.
    Dictionary,
    /// An encoding that is not read.
    Encoding(&'static str),
}

/// Fields of a page header that matter.
#[derive(Debug, Default, Clone, Copy)]
struct Header {
    kind: i64,
    uncompressed: i64,
    compressed: i64,
    /// Values of a dictionary.
    dictionary_values: i64,
    /// Encoding of a page of data.
    encoding: i64,
}

/// Walks the pages of a column from `start` over `length` bytes, and returns the size of the
/// largest one.
pub(super) fn check_pages(file: &File, start: u64, length: u64) -> Result<u64, PageProblem> {
    let file = file.try_clone().map_err(|_| PageProblem::Broken)?;
    let end = start.checked_add(length).ok_or(PageProblem::Broken)?;
    let mut reader = BufReader::with_capacity(4_096, file);
    reader.seek(SeekFrom::Start(start)).map_err(|_| PageProblem::Broken)?;
    let (mut at, mut largest) = (start, 0);
    while at < end {
        let mut source = Source { reader: &mut reader, taken: 0, limit: MAX_HEADER_BYTES };
        let header = read_header(&mut source).ok_or(PageProblem::Broken)?;
        let sizes = [header.compressed, header.uncompressed].map(u64::try_from);
        let [Ok(compressed), Ok(uncompressed)] = sizes else { return Err(PageProblem::Broken) };
        if compressed > MAX_PAGE_BYTES || uncompressed > MAX_PAGE_BYTES {
            return Err(PageProblem::TooLarge);
        }
        let next = at.checked_add(source.taken).and_then(|it| it.checked_add(compressed));
        at = next.filter(|next| *next <= end).ok_or(PageProblem::Broken)?;
        // Each value of a dictionary takes a byte at least, but for a dictionary of bits.
        let is_dictionary = header.kind == 2;
        if is_dictionary && !(0..=header.uncompressed * 8).contains(&header.dictionary_values) {
            return Err(PageProblem::Dictionary);
        }
        let unread = UNREAD_ENCODINGS.iter().find(|(number, _)| *number == header.encoding);
        if let Some((_, name)) = unread.filter(|_| !is_dictionary) {
            return Err(PageProblem::Encoding(name));
        }
        largest = largest.max(uncompressed);
        let skip = i64::try_from(compressed).map_err(|_| PageProblem::Broken)?;
        reader.seek_relative(skip).map_err(|_| PageProblem::Broken)?;
    }
    Ok(largest)
}

/// Bytes of a header, of which there is a most.
struct Source<'a, R> {
    reader: &'a mut R,
    taken: u64,
    limit: u64,
}

impl<R: Read> Source<'_, R> {
    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.taken += 1;
        if self.taken > self.limit {
            return None;
        }
        self.reader.read_exact(&mut byte).ok()?;
        Some(byte[0])
    }

    fn skip(&mut self, bytes: u64) -> Option<()> {
        for _ in 0..bytes.min(self.limit + 1) {
            self.byte()?;
        }
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some(i64::try_from(value >> 1).ok()? ^ -i64::from(value & 1 == 1))
    }
}

/// Reads a header in Thrift's compact protocol.
fn read_header<R: Read>(source: &mut Source<'_, R>) -> Option<Header> {
    let mut header = Header { encoding: -1, ..Header::default() };
    read_struct(source, MAX_DEPTH, &mut |path, value| match path {
        [1] => header.kind = value,
        [2] => header.uncompressed = value,
        [3] => header.compressed = value,
        [7, 1] => header.dictionary_values = value,
        [5, 2] | [8, 4] => header.encoding = value,
        _ => {}
    })?;
    Some(header)
}

/// Reads a struct; integers are told with the numbers of their fields from outside to inside.
fn read_struct<R: Read>(
    source: &mut Source<'_, R>,
    depth: u32,
    tell: &mut dyn FnMut(&[i64], i64),
) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let mut id = 0_i64;
    loop {
        let head = source.byte()?;
        if head == 0 {
            return Some(());
        }
        id = match head >> 4 {
            0 => source.zigzag()?,
            delta => id + i64::from(delta),
        };
        match head & 0x0f {
            4..=6 => tell(&[id], source.zigzag()?),
            12 => read_struct(source, depth, &mut |path, value| {
                if let [inner] = path {
                    tell(&[id, *inner], value);
                }
            })?,
            kind => skip_value(source, kind, depth, true)?,
        }
    }
}

fn skip_value<R: Read>(
    source: &mut Source<'_, R>,
    kind: u8,
    depth: u32,
    in_struct: bool,
) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    match kind {
        // Truth values are in the head of a field, but have a byte in a list.
        1 | 2 if in_struct => Some(()),
        1..=3 => source.skip(1),
        4..=6 => source.varint().map(|_| ()),
        7 => source.skip(8),
        8 => {
            let length = source.varint()?;
            source.skip(length)
        }
        9 | 10 => {
            let head = source.byte()?;
            let size = match head >> 4 {
                15 => source.varint()?,
                size => u64::from(size),
            };
            for _ in 0..size {
                skip_value(source, head & 0x0f, depth, false)?;
            }
            Some(())
        }
        12 => read_struct(source, depth, &mut |_, _| {}),
        // Headers have no maps.
        _ => None,
    }
}
