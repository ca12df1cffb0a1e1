//! Size of everything that must be shipped to run a function in a runtime: its program, the shared
//! libraries that it links, and further files that the profile names.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use elf::abi::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRTAB, PT_DYNAMIC, PT_LOAD};
use elf::dynamic::Dyn;
use elf::segment::ProgramHeader;

use crate::elf_headers::{
    HEADER_SIZE, locate_segments, parse_dynamic_section, parse_header, parse_segments,
};
use crate::profile::Profile;
use cyclometer_core::units::Bytes;
use cyclometer_system::files::RegularFile;

/// Description `measure_runtime` what [`measure_runtime`] counts.
pub(super) const COUNTED: &str = "runtime with the libraries it links, and what it runs";

/// Folders that the loader searches after those that a program names.
const LIBRARY_FOLDERS: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// Most libraries that are followed.
const MAX_LIBRARIES: usize = 256;

/// Size of the runtime, and remarks on files that could not be counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Footprint {
    pub size: Bytes,
    pub remarks: Vec<String>,
}

/// Computes the footprint of a runtime, without the function itself.
pub(super) fn measure_runtime(
    profile: &Profile,
    program: &Path,
    script: Option<&Path>,
) -> Footprint {
    let mut footprint = Footprint::default();
    let mut seen = BTreeSet::new();
    add_program(program, &mut footprint, &mut seen);
    for file in profile.footprint.iter().map(PathBuf::as_path).chain(script) {
        add_file(file, &mut footprint, &mut seen);
    }
    footprint
}

/// Counts a file once, whatever its name; returns whether it is new.
fn add_file(path: &Path, footprint: &mut Footprint, seen: &mut BTreeSet<PathBuf>) -> bool {
    let size = path.canonicalize().and_then(|path| Ok((std::fs::metadata(&path)?.len(), path)));
    match size {
        Ok((size, path)) => {
            let new = seen.insert(path);
            if new {
                footprint.size.0 += size;
            }
            new
        }
        Err(error) => {
            footprint.remarks.push(format!("not in the footprint: {}: {error}", path.display()));
            false
        }
    }
}

fn add_program(program: &Path, footprint: &mut Footprint, seen: &mut BTreeSet<PathBuf>) {
    let mut left = vec![program.to_owned()];
    while let Some(file) = left.pop() {
        if seen.len() > MAX_LIBRARIES || !add_file(&file, footprint, seen) {
            continue;
        }
        match read_library_links(&file) {
            Ok(Some(links)) => {
                for name in &links.needed {
                    match links.find_library(name) {
                        Some(path) => left.push(path),
                        None => footprint.remarks.push(format!(
                            "not in the footprint: library {name} of {} was not found",
                            file.display()
                        )),
                    }
                }
            }
            Ok(None) => footprint.remarks.push(format!(
                "{} is no ELF program (a script?): what it starts is not in the footprint",
                file.display()
            )),
            Err(error) => footprint
                .remarks
                .push(format!("libraries of {} not counted: {error}", file.display())),
        }
    }
}

/// Libraries and search path that an ELF file names for the loader.
#[derive(Debug, Default, PartialEq, Eq)]
struct LibraryLinks {
    needed: Vec<String>,
    folders: Vec<PathBuf>,
}

impl LibraryLinks {
    fn find_library(&self, name: &str) -> Option<PathBuf> {
        let all = self.folders.iter().map(PathBuf::as_path).chain(LIBRARY_FOLDERS.map(Path::new));
        all.map(|folder| folder.join(name)).find(|path| path.is_file())
    }
}

/// Longest dynamic section that is read, in bytes.
const MAX_DYNAMIC: u64 = 64 << 10;

/// Reads the libraries of a 64-bit little-endian ELF file; `None` for other files.
fn read_library_links(path: &Path) -> io::Result<Option<LibraryLinks>> {
    let file = RegularFile::from_path(path)?.open_for_reading()?;
    let mut start = [0; HEADER_SIZE];
    let header = file.read_exact_at(&mut start, 0).ok().and_then(|()| parse_header(&start));
    let Some(header) = header else { return Ok(None) };
    let table = locate_segments(&header);
    let (offset, size) = table.ok_or_else(|| io::Error::other("its ELF header is damaged"))?;
    let segments: Vec<_> = parse_segments(&read_bytes_at(&file, offset, size)?).collect();
    let Some(dynamic) = segments.iter().find(|it| it.p_type == PT_DYNAMIC) else {
        return Ok(Some(LibraryLinks::default()));
    };
    let size = usize::try_from(dynamic.p_filesz.min(MAX_DYNAMIC)).unwrap_or(0);
    let section = read_bytes_at(&file, dynamic.p_offset, size)?;
    let entries: Vec<_> = parse_dynamic_section(&section).collect();
    let strings = entries.iter().find(|it| it.d_tag == DT_STRTAB).map(Dyn::d_ptr);
    let strings = strings.and_then(|address| file_offset_of(&segments, address));
    let Some(strings) = strings else { return Ok(Some(LibraryLinks::default())) };
    let mut links = LibraryLinks::default();
    for entry in entries {
        let text = || read_text_at(&file, strings.saturating_add(entry.d_val()));
        match entry.d_tag {
            DT_NEEDED => links.needed.push(text()?),
            DT_RPATH | DT_RUNPATH => links.folders.extend(split_search_path(&text()?, path)),
            _ => {}
        }
    }
    Ok(Some(links))
}

fn read_bytes_at(file: &File, offset: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// Returns the offset in the file of that address.
fn file_offset_of(segments: &[ProgramHeader], address: u64) -> Option<u64> {
    segments.iter().filter(|it| it.p_type == PT_LOAD).find_map(|it| {
        let inside = address.checked_sub(it.p_vaddr).filter(|inside| *inside < it.p_filesz)?;
        it.p_offset.checked_add(inside)
    })
}

/// Splits a search path into its folders; `$ORIGIN` stands for the file's own folder.
fn split_search_path(text: &str, of: &Path) -> Vec<PathBuf> {
    let origin = of.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
    let origin = origin.unwrap_or_default().display().to_string();
    let folders = text.split(':').filter(|folder| !folder.is_empty());
    folders
        .map(|folder| folder.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin).into())
        .collect()
}

fn read_text_at(file: &File, offset: u64) -> io::Result<String> {
    let mut buffer = [0; 512];
    let size = file.read_at(&mut buffer, offset)?;
    let end = buffer[..size].iter().position(|byte| *byte == 0);
    let end = end.ok_or_else(|| io::Error::other("its string table is damaged"))?;
    Ok(String::from_utf8_lossy(&buffer[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_that_the_loader_loads() {
        // `ldd` is an independent source: it asks the loader itself.
        let program = Path::new("/bin/ls");
        let Ok(output) = std::process::Command::new("ldd").arg(program).output() else {
            return cyclometer_testkit::skip("no ldd");
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let libraries = text.lines().filter_map(|line| {
            let path = line.split_whitespace().find(|word| word.starts_with('/'))?;
            Path::new(path).canonicalize().ok()
        });
        let mut expected: BTreeSet<PathBuf> = libraries.collect();
        expected.insert(program.canonicalize().expect("there"));
        let mut footprint = Footprint::default();
        let mut seen = BTreeSet::new();
        add_program(program, &mut footprint, &mut seen);
        assert_eq!(seen, expected);
        let sizes = expected.iter().map(|path| std::fs::metadata(path).expect("there").len());
        assert_eq!(footprint.size, Bytes(sizes.sum()));
        assert!(footprint.remarks.is_empty(), "{:?}", footprint.remarks);
    }

    #[test]
    fn scripts_and_missing_files_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("run");
        std::fs::write(&script, "#!/bin/sh\n").expect("written");
        let mut footprint = Footprint::default();
        let mut seen = BTreeSet::new();
        add_program(&script, &mut footprint, &mut seen);
        add_file(&folder.path().join("none"), &mut footprint, &mut seen);
        assert_eq!(footprint.size, Bytes(10));
        assert!(footprint.remarks[0].contains("is no ELF program"), "{:?}", footprint.remarks);
        assert!(footprint.remarks[1].contains("none: No such file"), "{:?}", footprint.remarks);
    }

    #[test]
    fn damaged_files_do_no_harm() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("elf");
        let whole = std::fs::read("/bin/ls").expect("a program");
        for length in [0, 6, 63, 64, 100, 300] {
            std::fs::write(&path, &whole[..length]).expect("written");
            let _ = read_library_links(&path);
        }
        let mut wild = whole[..4096].to_vec();
        wild[7..].fill(0xff);
        std::fs::write(&path, wild).expect("written");
        assert!(read_library_links(&path).is_err());
    }
}
