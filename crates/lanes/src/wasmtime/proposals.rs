//! Proposals beyond WebAssembly 2.0 that a program needs. Those that change how an engine runs are
//! switched on for programs that need them only: all others are compiled and run as without them.

use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Validator, WasmFeatures};
use wasmtime::Config;

/// Proposals that a program needs, as bits in the order of [`PROPOSALS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposals(u16);

/// Proposal with its name, in the order in which they are named. What comes first is given up
/// first where a program could do with one of two.
const PROPOSALS: [(&str, WasmFeatures); 11] = [
    ("GC", WasmFeatures::GC),
    ("externref", WasmFeatures::GC_TYPES),
    ("exceptions", WasmFeatures::EXCEPTIONS),
    ("function references", WasmFeatures::FUNCTION_REFERENCES),
    ("threads", WasmFeatures::THREADS),
    ("tail calls", WasmFeatures::TAIL_CALL),
    ("multiple memories", WasmFeatures::MULTI_MEMORY),
    ("memory64", WasmFeatures::MEMORY64),
    ("extended constant expressions", WasmFeatures::EXTENDED_CONST),
    ("relaxed SIMD", WasmFeatures::RELAXED_SIMD),
    ("wide arithmetic", WasmFeatures::WIDE_ARITHMETIC),
];

const GC: u16 = 1;
const EXTERNREF: u16 = 1 << 1;
const EXCEPTIONS: u16 = 1 << 2;
const FUNCTION_REFERENCES: u16 = 1 << 3;
const THREADS: u16 = 1 << 4;
const WIDE_ARITHMETIC: u16 = 1 << 10;
const ALL: u16 = (1 << PROPOSALS.len()) - 1;

impl Proposals {
    /// Finds a smallest set with which `program` is valid. One that is valid with none gets none.
    ///
    /// # Errors
    /// Returns the validator's error when it is not valid with all of them.
    pub fn find_needed(program: &[u8]) -> Result<Self, String> {
        if Self::default().validate(program).is_ok() {
            return Ok(Self::default());
        }
        let mut needed = Self(ALL);
        needed.validate(program).map_err(|error| error.to_string())?;
        for bit in 0..PROPOSALS.len() {
            let fewer = Self(needed.0 & !(1 << bit));
            if fewer.validate(program).is_ok() {
                needed = fewer;
            }
        }
        Ok(needed)
    }

    fn validate(self, program: &[u8]) -> wasmparser::Result<()> {
        // WebAssembly 2.0 has `externref`, which needs a heap of objects that it counts on.
        let mut features = WasmFeatures::WASM2 & !WasmFeatures::GC_TYPES;
        for (_, feature) in self.needed() {
            features |= *feature;
        }
        if Parser::is_component(program) {
            features |= WasmFeatures::COMPONENT_MODEL;
        }
        Validator::new_with_features(features).validate_all(program).map(drop)
    }

    fn needed(self) -> impl Iterator<Item = &'static (&'static str, WasmFeatures)> {
        let is_set = move |bit: &usize| self.0 >> *bit & 1 == 1;
        PROPOSALS.iter().enumerate().filter(move |(bit, _)| is_set(bit)).map(|(_, it)| it)
    }

    /// Returns a note that names them; `None` if there are none.
    #[must_use]
    pub fn describe(self) -> Option<String> {
        let names: Vec<&str> = self.needed().map(|(name, _)| *name).collect();
        (!names.is_empty()).then(|| format!("uses {}", names.join(", ")))
    }

    const fn has_any(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// Switches on what costs something, or is off by default. The rest is always on.
    pub fn configure(self, config: &mut Config) {
        let needs_heap = self.has_any(GC | EXTERNREF | EXCEPTIONS);
        config
            .gc_support(needs_heap)
            .wasm_features(WasmFeatures::GC, self.has_any(GC))
            .wasm_features(WasmFeatures::EXCEPTIONS, self.has_any(EXCEPTIONS))
            .wasm_features(WasmFeatures::THREADS, self.has_any(THREADS))
            .wasm_features(WasmFeatures::WIDE_ARITHMETIC, self.has_any(WIDE_ARITHMETIC))
            .shared_memory(self.has_any(THREADS));
        if self.has_any(GC | FUNCTION_REFERENCES) {
            config.wasm_features(WasmFeatures::FUNCTION_REFERENCES, true);
        }
    }

    /// Returns whether objects need a heap of their own.
    #[must_use]
    pub const fn needs_heap(self) -> bool {
        self.has_any(GC | EXTERNREF | EXCEPTIONS)
    }

    /// Returns the bits, for a file.
    #[must_use]
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// Returns the set of these bits; `None` if one means nothing.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Option<Self> {
        if bits & !ALL == 0 { Some(Self(bits)) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(text: &str) -> String {
        let program = wat::parse_str(text).expect("valid text");
        let needed = Proposals::find_needed(&program).expect("valid program");
        needed.describe().unwrap_or_default()
    }

    #[test]
    fn programs_get_what_they_need_and_no_more() {
        for (text, expected) in [
            ("(module (memory 1) (func (result i32) i32.const 1))", ""),
            ("(module (func (param v128)) (table 1 funcref))", ""),
            ("(component (core module (func)))", ""),
            ("(module (func return_call 0))", "uses tail calls"),
            ("(module (memory 1) (memory 1))", "uses multiple memories"),
            ("(module (memory i64 1))", "uses memory64"),
            ("(module (memory 1 2 shared))", "uses threads"),
            ("(module (tag) (func (throw 0)))", "uses exceptions"),
            ("(module (func (param externref)))", "uses externref"),
            (
                "(module (global i32 (i32.add (i32.const 1) (i32.const 2))))",
                "uses extended constant expressions",
            ),
            (
                "(module (func (param v128 v128) (result v128)
                   (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))",
                "uses relaxed SIMD",
            ),
            (
                "(module (func (param i64 i64) (result i64 i64)
                   (i64.mul_wide_u (local.get 0) (local.get 1))))",
                "uses wide arithmetic",
            ),
            (
                "(module (type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0))))",
                "uses function references",
            ),
            (
                "(component (core module (memory i64 1)) (core module (func return_call 0)))",
                "uses tail calls, memory64",
            ),
        ] {
            assert_eq!(uses(text), expected, "{text}");
        }
        let gc = uses(
            "(module (type $s (struct (field i32))) (func (drop (struct.new $s (i32.const 1)))))",
        );
        assert!(gc.starts_with("uses GC"), "{gc}");
    }

    #[test]
    fn what_no_proposal_makes_valid_is_an_error() {
        let bad = wat::parse_str("(module (func (result i32)))").expect("text");
        let error = Proposals::find_needed(&bad).expect_err("invalid");
        assert!(error.contains("type mismatch"), "{error}");
        let pages = wat::parse_str("(module (memory 1 (pagesize 1)))").expect("text");
        let error = Proposals::find_needed(&pages).expect_err("refused");
        assert!(error.contains("custom page sizes"), "{error}");
        assert!(Proposals::find_needed(b"\0asm").is_err());
    }

    #[test]
    fn sets_survive_as_bits() {
        assert_eq!(Proposals::from_bits(5).map(Proposals::to_bits), Some(5));
        assert_eq!(Proposals::from_bits(1 << 11), None);
        // The constants say where each stands.
        for (bits, feature) in [
            (GC, WasmFeatures::GC),
            (EXTERNREF, WasmFeatures::GC_TYPES),
            (EXCEPTIONS, WasmFeatures::EXCEPTIONS),
            (FUNCTION_REFERENCES, WasmFeatures::FUNCTION_REFERENCES),
            (THREADS, WasmFeatures::THREADS),
            (WIDE_ARITHMETIC, WasmFeatures::WIDE_ARITHMETIC),
        ] {
            assert_eq!(Proposals(bits).needed().map(|it| it.1).collect::<Vec<_>>(), [feature]);
        }
    }
}
