// Compiler flags of workloads. Shared by `build.rs`, which cannot use the library, and
// `workloads build`, so that both produce the same programs.

/// Flags for both targets. `-ffp-contract=off`: a fused multiply-add on one target only
/// would give different digits there.
pub const COMMON: &[&str] = &["-std=c11", "-O3", "-ffp-contract=off"];

/// Flags that compile a source to a Wasm object.
pub(crate) const WASM_COMPILE: &[&str] = &["--target=wasm32-wasi", "-msimd128"];

/// Flags that link the Wasm object. Linking is a separate step without `-O`: otherwise
/// clang would run any `wasm-opt` that it finds, and the module would depend on its
/// version.
pub(crate) const WASM_LINK: &[&str] = &["--target=wasm32-wasi", "-Wl,--strip-all"];

/// Libraries, which follow the source on the command line.
pub const LIBRARIES: &[&str] = &["-lm"];
