//! Headers of 64-bit little-endian ELF files, which may come from anyone.

use elf::dynamic::{Dyn, DynamicTable};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::parse::ParseAt;
use elf::segment::{ProgramHeader, SegmentTable};

/// Size of the header of a file, in bytes.
pub(crate) const HEADER_SIZE: usize = 64;

/// Offset and size in the file of the table of segments, in bytes.
pub(crate) type SegmentTablePlace = (u64, usize);

/// Parses the header of a file; `None` for other files.
pub(crate) fn parse_header(bytes: &[u8; HEADER_SIZE]) -> Option<FileHeader<LittleEndian>> {
    let (ident, rest) = bytes.split_at(elf::abi::EI_NIDENT);
    let ident = parse_ident(ident).ok().filter(|(_, class, ..)| *class == Class::ELF64)?;
    FileHeader::parse_tail(ident, rest).ok()
}

/// Returns the place of the table of segments, of less than 4 MB; `None` if the header is damaged.
pub(crate) fn locate_segments(header: &FileHeader<LittleEndian>) -> Option<SegmentTablePlace> {
    let size = ProgramHeader::size_for(Class::ELF64);
    let is_sound = usize::from(header.e_phentsize) == size;
    is_sound.then(|| (header.e_phoff, size * usize::from(header.e_phnum)))
}

/// Parses a table of segments.
pub(crate) fn parse_segments(table: &[u8]) -> impl Iterator<Item = ProgramHeader> {
    SegmentTable::new(LittleEndian, Class::ELF64, table).iter()
}

/// Parses a dynamic section up to its end mark.
pub(crate) fn parse_dynamic_section(section: &[u8]) -> impl Iterator<Item = Dyn> {
    let entries = DynamicTable::new(LittleEndian, Class::ELF64, section).iter();
    entries.take_while(|entry| entry.d_tag != elf::abi::DT_NULL)
}
