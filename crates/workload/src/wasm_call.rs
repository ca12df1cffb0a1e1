//! Call of a function that a module exports, with parameters given as text.

use serde::{Deserialize, Serialize};
use wasmparser::{
    CompositeInnerType, ExternalKind, FuncType, FunctionSectionReader, ImportSectionReader, Parser,
    Payload, TypeRef, TypeSectionReader, ValType,
};

use cyclometer_core::suggest::format_suggestion;
use cyclometer_core::visible_text::summarize_text;

use crate::wasm_form::{WasmForm, WasmFormError, inspect_wasm, place_damage};

/// A number as WebAssembly has it. Floats are kept as bits, so that no bit is lost on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WasmNumber {
    /// 32 bits.
    I32(i32),
    /// 64 bits.
    I64(i64),
    /// Bits of a single-precision number.
    F32(u32),
    /// Bits of a double-precision number.
    F64(u64),
}

impl std::fmt::Display for WasmNumber {
    /// Writes it in decimal: integers with a sign, floats with as many digits as they need.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::I32(value) => value.fmt(f),
            Self::I64(value) => value.fmt(f),
            Self::F32(bits) => f32::from_bits(*bits).fmt(f),
            Self::F64(bits) => f64::from_bits(*bits).fmt(f),
        }
    }
}

/// A call of an exported function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportCall {
    /// Name of the export.
    pub export: String,
    /// Parameters of the call.
    pub parameters: Vec<WasmNumber>,
}

/// Reads the parameters of the function that `binary` exports as `export`, by its signature:
/// integers in decimal, with or without a sign, or hexadecimal after `0x`; floats in decimal.
///
/// # Errors
/// Returns an error when there is no such function, it takes or returns what is no number, or
/// `args` are not its parameters.
pub fn parse_call(
    binary: &[u8],
    name: &str,
    export: &str,
    args: &[String],
) -> Result<ExportCall, WasmFormError> {
    let shown = summarize_text(export, 100);
    let failed = |reason: String| WasmFormError::new(name, reason);
    let form = inspect_wasm(binary, name)?;
    if form.kind.is_component() {
        return Err(failed(format!(
            "`{shown}` cannot be called: functions of components are not called yet, only those \
             of modules"
        )));
    }
    let signature = find_signature(binary, export)
        .map_err(|error| failed(place_damage(&error)))?
        .ok_or_else(|| failed(describe_missing_export(&shown, &form)))?;
    let others = signature.params().iter().chain(signature.results());
    if let Some(other) = others.clone().find(|it| !is_number(**it)) {
        return Err(failed(format!(
            "`{shown}` cannot be called: it takes or returns {other}, which is no number"
        )));
    }
    let wanted = signature.params();
    if wanted.len() != args.len() {
        let kinds: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        let takes = match kinds.len() {
            0 => "no parameters".to_owned(),
            1 => format!("one parameter ({})", kinds[0]),
            count => format!("{count} parameters ({})", kinds.join(", ")),
        };
        let given = match args.len() {
            0 => "none was".to_owned(),
            1 => "one was".to_owned(),
            count => format!("{count} were"),
        };
        return Err(failed(format!("`{shown}` takes {takes}, but {given} given")));
    }
    let parameters = wanted.iter().zip(args).enumerate().map(|(index, (kind, text))| {
        parse_number(*kind, text).ok_or_else(|| {
            let text = summarize_text(text, 40);
            failed(format!("parameter {} of `{shown}` is of type {kind}: not `{text}`", index + 1))
        })
    });
    Ok(ExportCall { export: export.to_owned(), parameters: parameters.collect::<Result<_, _>>()? })
}

fn describe_missing_export(shown: &str, form: &WasmForm) -> String {
    if form.exports.is_empty() {
        return format!("it exports no function, so there is no `{shown}` to call");
    }
    let names = form.exports.iter().take(10).map(String::as_str);
    let near = format_suggestion(shown, form.exports.iter().map(String::as_str));
    if near.contains("did you mean") {
        return format!("it exports no function `{shown}`{near}");
    }
    let more = if form.exports.len() > 10 { ", ..." } else { "" };
    let names: Vec<&str> = names.collect();
    format!("it exports no function `{shown}`; there are {}{more}", names.join(", "))
}

const fn is_number(kind: ValType) -> bool {
    matches!(kind, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64)
}

/// Parses a number of that type; `None` if the text is none, or it does not fit.
fn parse_number(kind: ValType, text: &str) -> Option<WasmNumber> {
    match kind {
        ValType::I32 => {
            let value = parse_integer(text)?;
            let signed = i32::try_from(value).ok();
            let unsigned = u32::try_from(value).ok().map(u32::cast_signed);
            signed.or(unsigned).map(WasmNumber::I32)
        }
        ValType::I64 => {
            let value = parse_integer(text)?;
            let signed = i64::try_from(value).ok();
            let unsigned = u64::try_from(value).ok().map(u64::cast_signed);
            signed.or(unsigned).map(WasmNumber::I64)
        }
        ValType::F32 => {
            let value: f32 = text.parse().ok()?;
            is_as_written(f64::from(value), text).then_some(WasmNumber::F32(value.to_bits()))
        }
        ValType::F64 => {
            let value: f64 = text.parse().ok()?;
            is_as_written(value, text).then_some(WasmNumber::F64(value.to_bits()))
        }
        _ => None,
    }
}

/// Returns whether a number is infinite only because the text says so.
fn is_as_written(value: f64, text: &str) -> bool {
    !value.is_infinite() || text.to_ascii_lowercase().contains("inf")
}

fn parse_integer(text: &str) -> Option<i128> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    // Without a second sign, which Rust would take.
    let (digits, radix) = hex.map_or((digits, 10), |hex| (hex, 16));
    let value = digits.starts_with(|it: char| it.is_digit(radix)).then_some(digits)?;
    let value = i128::from(u64::from_str_radix(value, radix).ok()?);
    Some(if is_negative { -value } else { value })
}

/// Finds the signature of an exported function; `None` if there is no such function.
fn find_signature(binary: &[u8], export: &str) -> wasmparser::Result<Option<FuncType>> {
    let mut sections = SignatureSections::default();
    for payload in Parser::new(0).parse_all(binary) {
        match payload? {
            Payload::TypeSection(section) => sections.types = Some(section),
            Payload::ImportSection(section) => sections.imports = Some(section),
            Payload::FunctionSection(section) => sections.functions = Some(section),
            Payload::ExportSection(section) => {
                for found in section {
                    let found = found?;
                    if found.kind == ExternalKind::Func && found.name == export {
                        return sections.find_type(found.index);
                    }
                }
            }
            Payload::CodeSectionStart { .. } => break,
            _ => {}
        }
    }
    Ok(None)
}

/// Sections that say which signature a function has.
#[derive(Default)]
struct SignatureSections<'a> {
    types: Option<TypeSectionReader<'a>>,
    imports: Option<ImportSectionReader<'a>>,
    functions: Option<FunctionSectionReader<'a>>,
}

impl SignatureSections<'_> {
    /// Finds the type of the function of that index: imported ones come first.
    fn find_type(&self, function: u32) -> wasmparser::Result<Option<FuncType>> {
        let mut before = 0;
        for import in self.imports.clone().into_iter().flat_map(ImportSectionReader::into_imports) {
            if let TypeRef::Func(index) | TypeRef::FuncExact(index) = import?.ty {
                if before == function {
                    return self.type_at(index);
                }
                before += 1;
            }
        }
        let own = (function - before) as usize;
        match self.functions.clone().into_iter().flatten().nth(own) {
            Some(index) => self.type_at(index?),
            None => Ok(None),
        }
    }

    fn type_at(&self, wanted: u32) -> wasmparser::Result<Option<FuncType>> {
        let mut index = 0;
        for group in self.types.clone().into_iter().flatten() {
            for kind in group?.into_types() {
                if index == wanted {
                    return Ok(match kind.composite_type.inner {
                        CompositeInnerType::Func(signature) => Some(signature),
                        _ => None,
                    });
                }
                index += 1;
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(text: &str, export: &str, args: &[&str]) -> Result<Vec<WasmNumber>, String> {
        let binary = wat::parse_str(text).expect("valid text");
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let parsed = parse_call(&binary, "m.wasm", export, &args);
        parsed.map(|it| it.parameters).map_err(|error| error.to_string())
    }

    const ALL: &str = r#"(module
        (type (struct)) (type $a (func (param i32 i64 f32 f64) (result i32)))
        (import "env" "other" (func (param i32)))
        (func (param f64)) (func (export "all") (type $a) i32.const 0)
        (func (export "simd") (param v128)))"#;

    #[test]
    fn parameters_are_read_by_the_signature() {
        use WasmNumber::{F32, F64, I32, I64};
        let good = call(ALL, "all", &["-2147483648", "0x8000000000000000", "-0.1", "1e308"]);
        let want = [I32(i32::MIN), I64(i64::MIN), F32(0xbdcc_cccd), F64(0x7fe1_ccf3_85eb_c8a0)];
        assert_eq!(good, Ok(want.to_vec()));
        let good = call(ALL, "all", &["4294967295", "18446744073709551615", "inf", "NaN"]);
        let want = [I32(-1), I64(-1), F32(0x7f80_0000), F64(0x7ff8_0000_0000_0000)];
        assert_eq!(good, Ok(want.to_vec()));
        assert_eq!(call(ALL, "all", &["-0x10", "0", "0", "0"]).map(|it| it[0]), Ok(I32(-16)));
    }

    #[test]
    fn what_are_no_parameters_is_refused_with_the_reason() {
        for (args, told) in [
            (&["1", "2"][..], "takes 4 parameters (i32, i64, f32, f64), but 2 were given"),
            (
                &["4294967296", "0", "0", "0"],
                "parameter 1 of `all` is of type i32: not `4294967296`",
            ),
            (&["-2147483649", "0", "0", "0"], "parameter 1"),
            (&["0", "1.5", "0", "0"], "parameter 2"),
            (&["+-1", "0", "0", "0"], "parameter 1"),
            (&["0x-1", "0", "0", "0"], "parameter 1"),
            (&["0x", "0", "0", "0"], "parameter 1"),
            (&["", "0", "0", "0"], "parameter 1"),
            (&["0", "0", "x", "0"], "parameter 3"),
            (&["0", "0", "1e39", "0"], "parameter 3"),
            (&["0", "0", "0", "1e309"], "parameter 4"),
        ] {
            let error = call(ALL, "all", args).expect_err("refused");
            assert!(error.starts_with("m.wasm: ") && error.contains(told), "{error}");
        }
        let error = call(ALL, "simd", &["1"]).expect_err("refused");
        assert!(error.contains("v128, which is no number"), "{error}");
        let error = call(ALL, "al", &[]).expect_err("refused");
        assert!(error.contains("no function `al`"), "{error}");
        let error = call(ALL, "all\u{1b}[31m\n", &[]).expect_err("refused");
        assert!(error.chars().all(|it| !it.is_control()), "{error:?}");
        let error = call("(component)", "run", &[]).expect_err("refused");
        assert!(error.contains("components are not called yet"), "{error}");
    }

    #[test]
    fn imported_functions_that_are_exported_again_have_their_signature() {
        let text = r#"(module (import "e" "g" (global i32)) (import "e" "f" (func $f (param i64)))
            (export "f" (func $f)))"#;
        assert_eq!(call(text, "f", &["7"]), Ok(vec![WasmNumber::I64(7)]));
    }

    #[test]
    fn numbers_are_written_so_that_they_can_be_read_back() {
        let text = |it: WasmNumber| it.to_string();
        assert_eq!(text(WasmNumber::I32(-5)), "-5");
        assert_eq!(text(WasmNumber::F32(0xbdcc_cccd)), "-0.1");
        assert_eq!(text(WasmNumber::F64(0x3ff0_0000_0000_0000)), "1");
        assert_eq!(text(WasmNumber::F64(0x7ff8_0000_0000_0000)), "NaN");
    }
}
