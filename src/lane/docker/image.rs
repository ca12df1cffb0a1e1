//! Images: the static program and nothing else, imported without a registry.

use std::io;
use std::time::Duration;

use bollard::body_full;
use bollard::query_parameters::CreateImageOptionsBuilder;
use bytes::Bytes as Buffer;
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};

use super::elf::check_static;
use super::engine::{Engine, EngineError, REQUEST};
use crate::lane::{Cancel, LaneError};
use crate::units::Bytes;
use crate::workload::{Workload, hex};

/// The program's name inside the image.
pub(super) const PROGRAM: &str = "function";

/// Longest time for an import: it writes the program to the disk.
const IMPORT: Duration = Duration::from_mins(1);

/// An image that exists, and the program in it.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// Repository and tag.
    pub reference: String,
    /// Its size; `None` if the engine does not tell.
    pub size: Option<Bytes>,
}

/// The native program of `workload`, if it can run alone in an image.
pub(super) fn program(workload: &Workload) -> Result<Buffer, LaneError> {
    let unsupported = |reason| LaneError::Unsupported { reason };
    let name = &workload.name;
    let native = workload.native.as_ref().ok_or_else(|| {
        unsupported(format!(
            "workload `{name}` has no native program, which the docker lane needs; name one with \
             `native` in its workload.toml"
        ))
    })?;
    let bytes = native.bytes().map_err(|error| {
        unsupported(format!("the native program of workload `{name}` cannot be read: {error}"))
    })?;
    check_static(&bytes).map_err(|cause| {
        unsupported(format!(
            "the native program of workload `{name}` cannot run in an image of its own: {cause}; \
             link it with `-static`"
        ))
    })?;
    Ok(Buffer::from_owner(bytes))
}

/// `cyclometer/<workload>` and the tag that stands for the program's content.
pub(super) fn reference(workload: &str, program: &[u8]) -> (String, String) {
    let digest = hex(&Sha256::digest(program));
    (format!("cyclometer/{}", sanitise(workload)), digest[..12].to_owned())
}

/// A name that Docker takes: lower-case letters and digits, single dashes
/// between them.
fn sanitise(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_ascii_alphanumeric() {
            out.push(character.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.truncate(out.trim_end_matches('-').len());
    if out.is_empty() { "workload".to_owned() } else { out }
}

/// An archive with the program as its only file. The same program gives the
/// same archive.
fn archive(program: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    let mut builder = tar::Builder::new(Vec::with_capacity(program.len() + 2048));
    builder.append_data(&mut header, PROGRAM, program)?;
    builder.into_inner()
}

/// The image if the engine has it.
pub(super) async fn find(
    engine: &Engine,
    reference: &str,
    cancel: &Cancel,
) -> Result<Option<Image>, EngineError> {
    let request = engine.docker.inspect_image(reference);
    match engine.ask("look for the image", REQUEST, Some(cancel), request).await {
        Ok(found) => {
            let size = found.size.and_then(|size| u64::try_from(size).ok()).map(Bytes);
            Ok(Some(Image { reference: reference.to_owned(), size }))
        }
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the image from the program.
pub(super) async fn import(
    engine: &Engine,
    (repository, tag): &(String, String),
    program: &[u8],
    cancel: &Cancel,
) -> Result<(), EngineError> {
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(repository).tag(tag).build();
    let content = async {
        let content = archive(program)?;
        let body = Some(body_full(content.into()));
        engine.docker.create_image(Some(options), body, None).try_for_each(async |_| Ok(())).await
    };
    engine.ask("import the image", IMPORT, Some(cancel), content).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Native;
    use std::collections::BTreeMap;
    use std::io::Read;

    #[test]
    fn names_are_made_fit_for_docker() {
        let name = |name| reference(name, b"x").0;
        assert_eq!(name("cat-sync"), "cyclometer/cat-sync");
        assert_eq!(name("My Work__Load!"), "cyclometer/my-work-load");
        assert_eq!(name("--"), "cyclometer/workload");
        assert_eq!(name("größe"), "cyclometer/gr-e");
        assert_eq!(reference("a", b"").1, "e3b0c44298fc");
    }

    #[test]
    fn the_archive_holds_one_executable_and_is_reproducible() {
        let bytes = archive(b"program").expect("memory");
        assert_eq!(bytes, archive(b"program").expect("memory"));
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut entries = archive.entries().expect("readable");
        let mut entry = entries.next().expect("one").expect("readable");
        assert_eq!(entry.path().expect("a name").to_str(), Some(PROGRAM));
        assert_eq!(entry.header().mode().expect("a mode"), 0o755);
        let mut content = String::new();
        entry.read_to_string(&mut content).expect("readable");
        assert_eq!(content, "program");
        assert!(entries.next().is_none());
    }

    #[test]
    fn what_cannot_run_alone_is_refused_with_the_remedy() {
        let mut workload = Workload {
            name: "w".to_owned(),
            title: String::new(),
            stresses: String::new(),
            source: None,
            wasm: None,
            native: None,
            presets: BTreeMap::new(),
            folder: None,
        };
        let reason = |workload: &Workload| program(workload).expect_err("refused").to_string();
        assert!(reason(&workload).contains("no native program"));
        workload.native = Some(Native::Embedded(b"#!/bin/sh"));
        assert!(reason(&workload).contains("-static"));
        workload.native = Some(Native::File("/nonexistent".into()));
        assert!(reason(&workload).contains("No such file"));
    }
}
