//! Footprint of a function in a container: the layers of its image, and the programs
//! that run it.

use std::path::PathBuf;

use super::engine::{Engine, EngineInfo, REQUEST_TIMEOUT};
use super::image::Image;
use super::responses::parse_layer_sizes;
use super::transport::percent_encode;
use crate::{Cancel, FootprintPart, PartKind};
use cyclometer_core::units::Bytes;

/// Folders of programs that the engine may use, beside this process' own path.
const PROGRAM_FOLDERS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Collects the parts of the footprint, as far as they can be found.
pub(super) fn collect_parts(
    engine: &Engine,
    info: &EngineInfo,
    runtime: &str,
    image: &Image,
    base: Option<&Image>,
    cancel: &Cancel,
) -> Vec<FootprintPart> {
    let mut parts = Vec::new();
    let mut add = |name: String, kind: PartKind, bytes: Option<Bytes>| {
        parts.extend(bytes.map(|bytes| FootprintPart { name, kind, bytes }));
    };
    let is_own = image.call.own.is_some();
    let kind = if is_own { "image" } else { "base image" };
    let below = match base {
        Some(base) => {
            for (at, size) in fetch_layer_sizes(engine, base, cancel).into_iter().enumerate() {
                let name = format!("{kind} {}, layer {}", base.reference, at + 1);
                add(name, PartKind::Function, Some(size));
            }
            base.size
        }
        None => Some(Bytes(0)),
    };
    let own = image.size.zip(below).map(|(all, below)| Bytes(all.0.saturating_sub(below.0)));
    if !is_own {
        add("program layer".to_owned(), PartKind::Function, own);
    }
    if info.reason_if_remote().is_none() {
        for (what, program) in list_programs(info, runtime) {
            if let Some(path) = find_program(&program) {
                let size = std::fs::metadata(&path).ok().map(|data| Bytes(data.len()));
                add(format!("{what} {}", path.display()), PartKind::Runtime, size);
            }
        }
    }
    parts
}

/// Returns the sizes of an image's layers that are not empty, from the lowest up.
fn fetch_layer_sizes(engine: &Engine, image: &Image, cancel: &Cancel) -> Vec<Bytes> {
    const ACTION: &str = "tell an image's layers";
    let path = format!("/images/{}/history", percent_encode(&image.id));
    let asked =
        engine.fetch_parsed(ACTION, REQUEST_TIMEOUT, Some(cancel), &path, parse_layer_sizes);
    engine.block_on(asked).unwrap_or_default()
}

/// Lists the programs between a request and a function.
fn list_programs(info: &EngineInfo, runtime: &str) -> Vec<(&'static str, String)> {
    let mut programs = vec![("engine", "dockerd".to_owned()), ("engine", "containerd".to_owned())];
    if let Some(shim) = shim_program(runtime) {
        programs.push(("shim", shim));
    } else {
        programs.push(("shim", "containerd-shim-runc-v2".to_owned()));
        let path = info.paths.get(runtime).filter(|path| !path.is_empty());
        programs.push(("runtime", path.map_or(runtime, String::as_str).to_owned()));
    }
    programs
}

/// Returns the shim of a runtime that containerd knows by itself, as a path or as
/// `io.containerd.NAME.VERSION`; `None` for runc and other runtimes.
fn shim_program(runtime: &str) -> Option<String> {
    if runtime.starts_with('/') {
        return Some(runtime.to_owned());
    }
    let (name, version) = runtime.strip_prefix("io.containerd.")?.rsplit_once('.')?;
    (name != "runc").then(|| format!("containerd-shim-{name}-{version}"))
}

/// Finds the file of a program, by name or path.
fn find_program(program: &str) -> Option<PathBuf> {
    if program.starts_with('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    let own = std::env::var_os("PATH").unwrap_or_default();
    let own: Vec<PathBuf> = std::env::split_paths(&own).collect();
    let folders = own.into_iter().chain(PROGRAM_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shims_are_named_after_their_runtime() {
        let name = |runtime| shim_program(runtime).unwrap_or_default();
        assert_eq!(name("io.containerd.wasmtime.v1"), "containerd-shim-wasmtime-v1");
        assert_eq!(name("io.containerd.kata.v2"), "containerd-shim-kata-v2");
        assert_eq!(name("/opt/bin/shim"), "/opt/bin/shim");
        assert_eq!((name("runc"), name("io.containerd.runc.v2")), (String::new(), String::new()));
    }

    #[test]
    fn programs_are_found_by_name_and_by_path() {
        assert!(find_program("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find_program("/bin/sh"), Some(PathBuf::from("/bin/sh")));
        assert_eq!((find_program("/no/such"), find_program("no-such-program")), (None, None));
    }
}
