//! See `INPUT_KINDS` in `tests/inputs/kinds.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cyclometer_fuzz::survive("mapping", bytes));
