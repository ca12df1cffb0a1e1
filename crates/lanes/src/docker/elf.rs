//! Check whether a program can run in an image that holds nothing but itself.

use elf::abi::PT_INTERP;
use elf::segment::ProgramHeader;
use thiserror::Error;

use crate::elf_headers::{locate_segments, parse_header, parse_segments};

/// Reason why a program cannot run alone.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum NotStandalone {
    #[error("it is not a 64-bit little-endian ELF program (a script?)")]
    NotElf,
    #[error("its ELF header is damaged")]
    Damaged,
    #[error("it is linked dynamically and needs {0}")]
    Dynamic(String),
}

/// Checks that `program` is an ELF file that asks for no interpreter.
pub(crate) fn check_static(program: &[u8]) -> Result<(), NotStandalone> {
    // Magic, class 64-bit, little endian.
    if !program.starts_with(b"\x7fELF\x02\x01") {
        return Err(NotStandalone::NotElf);
    }
    let segments = find_segment_table(program).ok_or(NotStandalone::Damaged)?;
    match parse_segments(segments).find(|segment| segment.p_type == PT_INTERP) {
        Some(segment) => Err(NotStandalone::Dynamic(interpreter_name(program, &segment))),
        None => Ok(()),
    }
}

/// Returns the table of segments of a program, which has at least one.
fn find_segment_table(program: &[u8]) -> Option<&[u8]> {
    let header = parse_header(program.first_chunk()?)?;
    let (start, size) = locate_segments(&header)?;
    slice_at(program, start, size as u64).filter(|table| !table.is_empty())
}

/// Returns the name of the loader that a segment requests.
fn interpreter_name(program: &[u8], segment: &ProgramHeader) -> String {
    let text = slice_at(program, segment.p_offset, segment.p_filesz);
    text.filter(|text| text.len() < 4096).map_or_else(
        || "a loader".to_owned(),
        |text| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned(),
    )
}

fn slice_at(bytes: &[u8], start: u64, length: u64) -> Option<&[u8]> {
    let end = usize::try_from(start.checked_add(length)?).ok()?;
    bytes.get(usize::try_from(start).ok()?..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds an ELF file with one program header of `kind`, and an interpreter's name.
    fn elf(kind: u32) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[32..40].copy_from_slice(&64_u64.to_le_bytes());
        file[54..56].copy_from_slice(&56_u16.to_le_bytes());
        file[56..58].copy_from_slice(&1_u16.to_le_bytes());
        file[64..68].copy_from_slice(&kind.to_le_bytes());
        file[72..80].copy_from_slice(&120_u64.to_le_bytes());
        file[96..104].copy_from_slice(&7_u64.to_le_bytes());
        file.extend(b"/ld.so\0");
        file
    }

    #[test]
    fn an_interpreter_is_found_and_named() {
        assert_eq!(check_static(&elf(1)), Ok(()));
        assert_eq!(check_static(&elf(PT_INTERP)), Err(NotStandalone::Dynamic("/ld.so".to_owned())));
    }

    #[test]
    fn garbage_is_refused_without_harm() {
        assert_eq!(check_static(b""), Err(NotStandalone::NotElf));
        assert_eq!(check_static(b"#!/bin/sh\n"), Err(NotStandalone::NotElf));
        let whole = elf(1);
        for length in 6..64 + 56 {
            assert_eq!(check_static(&whole[..length]), Err(NotStandalone::Damaged), "{length}");
        }
        let mut far = elf(1);
        far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(check_static(&far), Err(NotStandalone::Damaged));
        let mut nowhere = elf(PT_INTERP);
        nowhere[72..80].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(check_static(&nowhere), Err(NotStandalone::Dynamic("a loader".to_owned())));
        for untouched in [6, 7] {
            let mut wild = elf(1);
            wild[untouched..].fill(0xff);
            assert_eq!(check_static(&wild), Err(NotStandalone::Damaged));
        }
        // A program may lie anywhere in memory.
        let shifted = [&[0], &*elf(1)].concat();
        assert_eq!(check_static(&shifted[1..]), Ok(()));
    }

    #[test]
    fn this_test_program_is_dynamic_or_static_but_sound() {
        let program = std::fs::read("/proc/self/exe").expect("a running program");
        assert!(!matches!(
            check_static(&program),
            Err(NotStandalone::NotElf | NotStandalone::Damaged)
        ));
    }
}
