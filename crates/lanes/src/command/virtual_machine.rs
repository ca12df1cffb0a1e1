//! Virtual machines: an archive that a Linux kernel unpacks and runs, and the output that comes
//! back over the serial line.
//!
//! The archive holds the workload's native program, its arguments and input, and `init.c`, which
//! runs the program and sends its output in frames: a marker, a kind, a length, and that many
//! bytes. One line thus carries standard output, standard error and the exit status apart, whatever
//! the bytes are.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

use super::super::Job;
use super::super::launcher::Stdio3;
use super::super::program_run::one_line;
use cyclometer_system::sys::explain_file_size_limit;
use cyclometer_workload::memory_file;

/// First program of the machine, compiled by `build.rs`.
const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// Start of a frame; kind and length follow.
const MARKER: [u8; 4] = *b"\x01cyc";

/// Size of a frame's header in bytes: marker, kind, and the length as 32 little-endian bits.
const HEADER: usize = 9;

/// Writes the archive of `job`, in the kernel's `newc` variant of cpio.
pub(super) fn write_initramfs(path: &Path, job: &Job, program: &[u8]) -> io::Result<()> {
    let mut args = Vec::new();
    for arg in std::iter::once("/function").chain(job.preset.args.iter().map(String::as_str)) {
        args.extend_from_slice(arg.as_bytes());
        args.push(0);
    }
    let mut archive = BufWriter::new(File::create(path)?);
    let mut number = 0;
    let mut add = |name: &str, mode: u32, content: &[u8]| {
        number += 1;
        write_entry(&mut archive, number, name, mode, content)
    };
    add("dev", 0o040_755, &[])?;
    add("init", 0o100_755, INIT)?;
    add("function", 0o100_755, program)?;
    add("args", 0o100_644, &args)?;
    add("stdin", 0o100_644, &job.preset.stdin.content())?;
    add("TRAILER!!!", 0, &[])?;
    archive.flush()
}

/// Writes one file, after the kernel's
/// `Documentation/driver-api/early-userspace/buffer-format.rst`.
fn write_entry(
    archive: &mut impl Write,
    number: u32,
    name: &str,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let size = u32::try_from(content.len()).map_err(io::Error::other)?;
    let length = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
    // Number, mode, user, group, links, time, size, four device numbers, name length, checksum.
    let fields = [number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, length, 0];
    write!(archive, "070701")?;
    for field in fields {
        write!(archive, "{field:08x}")?;
    }
    archive.write_all(name.as_bytes())?;
    // The header has 110 bytes; name and content end at multiples of four.
    archive.write_all(&[0; 4][..=padding_to_four(110 + name.len() + 1)])?;
    archive.write_all(content)?;
    archive.write_all(&[0; 4][..padding_to_four(content.len())])
}

const fn padding_to_four(size: usize) -> usize {
    size.wrapping_neg() % 4
}

/// Splits the bytes of the serial line into streams, in place; returns the function's wait status.
///
/// # Errors
/// Fails with the machine's last output when it ended without reporting a status.
pub(super) fn unpack_output(files: &mut Stdio3) -> Result<i32, String> {
    let mut bytes = Vec::new();
    let read = files.stdout.rewind().and_then(|()| files.stdout.read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot read what the machine sent: {error}"))?;
    let parts = split_frames(&bytes);
    let keep = |content: &[u8]| {
        let mut file = memory_file("cyclometer-machine")?;
        file.write_all(content).map_err(explain_file_size_limit)?;
        Ok(file)
    };
    let kept = keep(&parts.stdout).and_then(|stdout| Ok((stdout, keep(&parts.stderr)?)));
    let (stdout, stderr) = kept.map_err(|error: io::Error| error.to_string())?;
    files.stdout = stdout;
    if parts.status.is_some() {
        files.stderr = stderr;
    }
    parts.status.ok_or_else(|| {
        let said = one_line(&String::from_utf8_lossy(&parts.rest));
        let start = said.char_indices().rev().nth(400).map_or(0, |(at, _)| at);
        format!("the machine ended without telling how its function ended: {}", &said[start..])
    })
}

#[derive(Debug, Default, PartialEq, Eq)]
struct MachineOutput {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    status: Option<i32>,
    /// Bytes outside of frames: messages of the firmware and the kernel.
    rest: Vec<u8>,
}

fn split_frames(mut bytes: &[u8]) -> MachineOutput {
    let mut parts = MachineOutput::default();
    while !bytes.is_empty() {
        let Some((kind, content, after)) = split_frame(bytes) else {
            parts.rest.push(bytes[0]);
            bytes = &bytes[1..];
            continue;
        };
        match kind {
            b'o' => parts.stdout.extend_from_slice(content),
            b'e' => parts.stderr.extend_from_slice(content),
            _ => parts.status = content.try_into().ok().map(i32::from_le_bytes),
        }
        bytes = after;
    }
    parts
}

/// Splits the frame at the start of `bytes` off, if it is complete: kind, content, rest.
fn split_frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let rest = bytes.strip_prefix(&MARKER)?;
    let (kind, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (content, after) = rest.split_at_checked(length)?;
    debug_assert_eq!(bytes.len(), HEADER + length + after.len());
    matches!(kind, b'o' | b'e' | b'x').then_some((*kind, content, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).expect("short").to_le_bytes();
        [&MARKER[..], &[kind], &length, content].concat()
    }

    #[test]
    fn frames_are_taken_apart_and_noise_is_kept_aside() {
        let nested = framed(b'o', b"not a frame of ours");
        let line = [
            b"[    0.1] kernel\r\n".to_vec(),
            framed(b'o', b"a\0b"),
            framed(b'e', b"oops"),
            framed(b'o', &nested),
            framed(b'x', &(7_i32 << 8).to_le_bytes()),
        ]
        .concat();
        let parts = split_frames(&line);
        assert_eq!(parts.stdout, [b"a\0b".to_vec(), nested].concat());
        assert_eq!((&*parts.stderr, parts.status), (&b"oops"[..], Some(7 << 8)));
        assert_eq!(parts.rest, b"[    0.1] kernel\r\n");
    }

    #[test]
    fn what_was_cut_off_has_no_status() {
        let line = framed(b'x', &[0; 4]);
        for length in 0..line.len() {
            assert_eq!(split_frames(&line[..length]).status, None, "{length}");
        }
        assert_eq!(split_frames(&framed(b'x', b"abc")).status, None);
        let mut long = framed(b'o', b"x");
        long[5..9].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(split_frames(&long).stdout, b"");
    }

    #[test]
    fn names_and_contents_end_at_multiples_of_four() {
        for (size, expected) in [(0, 0), (1, 3), (2, 2), (3, 1), (4, 0), (115, 1)] {
            assert_eq!(padding_to_four(size), expected);
        }
    }
}
