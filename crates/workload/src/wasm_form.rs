//! WebAssembly forms of functions: what the bytes of a file are.

use std::sync::Arc;

use thiserror::Error;

/// Error of a WebAssembly form.
#[derive(Debug, Error)]
pub enum WasmFormError {
    /// The bytes are none.
    #[error("this is no WebAssembly module")]
    NoModule,
}

/// Loads a module.
///
/// # Errors
/// Returns an error for bytes that are none.
pub fn load_wasm(bytes: Vec<u8>, _name: &str) -> Result<Arc<[u8]>, WasmFormError> {
    if bytes.starts_with(b"\0asm") { Ok(bytes.into()) } else { Err(WasmFormError::NoModule) }
}
