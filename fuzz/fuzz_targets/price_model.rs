//! Any text as a price file: see `cyclometer::testing::price_model_survives`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| cyclometer::testing::price_model_survives(text));
