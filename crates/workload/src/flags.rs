// How workloads are compiled. Shared by `build.rs`, which cannot see the
// library, and `workloads build`, so that both give the same programs.

/// Flags that both targets share. `-ffp-contract=off`: a fused multiply-add on
/// one target only would give other digits there.
pub const COMMON: &[&str] = &["-std=c11", "-O3", "-ffp-contract=off"];

/// Flags that compile a source to a Wasm object.
pub const WASM_COMPILE: &[&str] = &["--target=wasm32-wasi", "-msimd128"];

/// Flags that link it. A step of its own, without `-O`: clang would run
/// whatever `wasm-opt` it finds, and the module would depend on that.
pub const WASM_LINK: &[&str] = &["--target=wasm32-wasi", "-Wl,--strip-all"];

/// Libraries, after the source.
pub const LIBRARIES: &[&str] = &["-lm"];
