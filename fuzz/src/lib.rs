//! What all fuzz targets share.

#[path = "../../tests/inputs/mod.rs"]
pub mod inputs;

use inputs::INPUT_KINDS;

/// Puts bytes through what reads inputs of that kind.
///
/// # Panics
/// If they do harm, or if there is no such kind.
pub fn survive(kind: &str, bytes: &[u8]) {
    let kind = INPUT_KINDS.iter().find(|it| it.name == kind).expect("a kind of input");
    (kind.survives)(bytes);
}
