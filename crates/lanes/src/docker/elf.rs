//! Check whether a program can run in an image that holds nothing but itself.

use thiserror::Error;

/// Reason why a program cannot run alone.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum NotStandalone {
    #[error("it is not a 64-bit little-endian ELF program (a script?)")]
    NotElf,
    #[error("its ELF header is damaged")]
    Damaged,
    #[error("it is linked dynamically and needs {0}")]
    Dynamic(String),
}

/// Offsets of the 64-bit ELF header and program headers, after the System V
/// ABI, chapter 4 and 5.
mod offset {
    pub const PROGRAM_HEADERS: usize = 32;
    pub const ENTRY_SIZE: usize = 54;
    pub const ENTRIES: usize = 56;
    pub const FILE_POSITION: usize = 8;
    pub const FILE_SIZE: usize = 32;
}

/// Size of the smallest program header that holds the fields read here, in bytes.
const SMALLEST_ENTRY: usize = 56;
const PT_INTERP: u32 = 3;

/// Checks that `program` is an ELF file that asks for no interpreter.
pub(super) fn check_static(program: &[u8]) -> Result<(), NotStandalone> {
    // Magic, class 64-bit, little endian.
    if !program.starts_with(b"\x7fELF\x02\x01") {
        return Err(NotStandalone::NotElf);
    }
    let table = read_offset(program, offset::PROGRAM_HEADERS).ok_or(NotStandalone::Damaged)?;
    let size = usize::from(read_u16(program, offset::ENTRY_SIZE).ok_or(NotStandalone::Damaged)?);
    let entries = usize::from(read_u16(program, offset::ENTRIES).ok_or(NotStandalone::Damaged)?);
    if entries == 0 || size < SMALLEST_ENTRY {
        return Err(NotStandalone::Damaged);
    }
    for index in 0..entries {
        let start = table.checked_add(index * size).ok_or(NotStandalone::Damaged)?;
        let entry = slice_at(program, start, size).ok_or(NotStandalone::Damaged)?;
        if array_at(entry, 0).map(u32::from_le_bytes) == Some(PT_INTERP) {
            return Err(NotStandalone::Dynamic(interpreter_name(program, entry)));
        }
    }
    Ok(())
}

/// Returns the name of the loader that a program header requests.
fn interpreter_name(program: &[u8], entry: &[u8]) -> String {
    let text = read_offset(entry, offset::FILE_POSITION)
        .zip(read_offset(entry, offset::FILE_SIZE))
        .and_then(|(start, length)| slice_at(program, start, length))
        .filter(|text| text.len() < 4096);
    text.map_or_else(
        || "a loader".to_owned(),
        |text| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned(),
    )
}

fn slice_at(bytes: &[u8], start: usize, length: usize) -> Option<&[u8]> {
    bytes.get(start..start.checked_add(length)?)
}

fn array_at<const N: usize>(bytes: &[u8], start: usize) -> Option<[u8; N]> {
    slice_at(bytes, start, N)?.try_into().ok()
}

fn read_offset(bytes: &[u8], start: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(array_at(bytes, start)?)).ok()
}

fn read_u16(bytes: &[u8], start: usize) -> Option<u16> {
    array_at(bytes, start).map(u16::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds an ELF file with one program header of `kind`, and an interpreter's name.
    fn elf(kind: u32) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
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
        let mut wild = elf(1);
        for byte in &mut wild[6..] {
            *byte = 0xff;
        }
        assert_eq!(check_static(&wild), Err(NotStandalone::Damaged));
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
