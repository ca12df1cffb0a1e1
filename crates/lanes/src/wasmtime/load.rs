//! Loads compiled modules that this program wrote itself.
#![expect(unsafe_code, reason = "wasmtime trusts what it loads; kept apart, to be read at once")]

use std::fs::File;
use std::os::fd::AsRawFd;

use wasmtime::component::Component;
use wasmtime::{Engine, Module};

/// Maps a module that [`Engine::precompile_module`] made, from a file in memory that nobody can
/// change any more.
///
/// # Errors
/// Fails when the file can still be changed, or was made by another version or setting.
pub(crate) fn load_compiled(engine: &Engine, module: File) -> wasmtime::Result<Module> {
    check_seals(&module)?;
    // SAFETY: the lane that started this worker wrote the file, from the output of its own compiler
    // process, or from an entry of a folder that this user owns and nobody else can write (see
    // `paths`), whose digest was right; it is in memory and sealed, so these are the bytes that
    // were checked. wasmtime checks version and settings.
    unsafe { Module::deserialize_open_file(engine, module) }
}

/// Like [`load_compiled`], for a component of [`Engine::precompile_component`].
///
/// # Errors
/// Fails when the file can still be changed, or was made by another version or setting.
pub(super) fn load_compiled_component(
    engine: &Engine,
    component: &File,
) -> wasmtime::Result<Component> {
    check_seals(component)?;
    // The library opens components by a path only.
    let path = format!("/proc/self/fd/{}", component.as_raw_fd());
    // SAFETY: as above. The path is that of the open file, which stays open until it is mapped.
    unsafe { Component::deserialize_file(engine, path) }
}

/// Checks that nobody can change the file any more.
fn check_seals(file: &File) -> wasmtime::Result<()> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    let seals = fcntl(file, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate);
    if !seals.is_ok_and(|seals| seals.contains(SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK)) {
        return Err(wasmtime::Error::msg("the compiled module is not sealed in memory"));
    }
    Ok(())
}
