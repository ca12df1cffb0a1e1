//! Form of a WebAssembly program: binary or text, module or component, and what it is to be
//! started by, as its own bytes say.

use std::sync::Arc;

use thiserror::Error;
use wasmparser::Parser;

use cyclometer_core::units::Bytes;
use cyclometer_core::visible_text::summarize_text;

/// Longest text of a module that is translated: a translator needs many times its size.
const MAX_TEXT: Bytes = Bytes(16 << 20);

/// Longest reason of an error, in characters.
const MAX_REASON: usize = 300;

/// Error of a file that is no WebAssembly that could run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name}: {reason}")]
pub struct WasmFormError {
    /// Name of the file, as the user wrote it.
    pub name: String,
    /// Reason in words, on one line.
    pub reason: String,
}

impl WasmFormError {
    fn new(name: &str, reason: impl AsRef<str>) -> Self {
        let name = summarize_text(name, MAX_REASON);
        Self { name, reason: summarize_text(reason.as_ref(), MAX_REASON) }
    }
}

/// Returns the binary form of a module or component, translated if `bytes` are its text (`.wat`).
/// `name` is for messages. Its sections are all there; what is in them is not checked.
///
/// # Errors
/// Returns an error when the bytes are no WebAssembly, with what they are instead.
pub fn load_wasm(bytes: &[u8], name: &str) -> Result<Arc<[u8]>, WasmFormError> {
    if bytes.starts_with(MAGIC) {
        check_sections(bytes, name)?;
        return Ok(Arc::from(bytes));
    }
    if wat::Detect::from_bytes(bytes) != wat::Detect::WasmText {
        return Err(WasmFormError::new(name, describe_foreign_file(bytes)));
    }
    if bytes.len() as u64 > MAX_TEXT.0 {
        let reason = format!("its text is larger than {MAX_TEXT}: translate it with `wat2wasm`");
        return Err(WasmFormError::new(name, reason));
    }
    let binary =
        wat::parse_bytes(bytes).map_err(|error| WasmFormError::new(name, place_error(&error)))?;
    check_sections(&binary, name)?;
    Ok(Arc::from(binary))
}

/// First bytes of every module and component.
const MAGIC: &[u8] = b"\0asm";

/// Describes a file that begins like no WebAssembly.
fn describe_foreign_file(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "the file is empty",
        _ if MAGIC.starts_with(bytes) => "the file is cut off: it holds less than a header",
        [0x7f, b'E', b'L', b'F', ..] => {
            "a program of this machine's kind (ELF), no WebAssembly: it is a native program"
        }
        [b'#', b'!', ..] => "a script, no WebAssembly: it is a native program",
        [0x1f, 0x8b, ..] => "compressed by gzip: unpack it first",
        [b'B', b'C', 0xc0, 0xde, ..] => "LLVM bitcode, no WebAssembly: link it first",
        _ if std::str::from_utf8(bytes).is_ok() => {
            "text, but no WebAssembly text, which begins with `(module` or `(component`"
        }
        _ => "no WebAssembly, which begins with the bytes 00 61 73 6d",
    }
}

/// Formats a translator's error on one line, with line and column.
fn place_error(error: &wat::Error) -> String {
    const PLACE: &str = "<anon>:";
    let text = error.to_string();
    let message = text.lines().next().unwrap_or_default();
    let message = message.split_once(" at <anon>").map_or(message, |(message, _)| message);
    let place = text.split_once(PLACE).and_then(|(_, place)| place.lines().next());
    match place.and_then(|place| place.split_once(':')) {
        Some((line, column)) => format!("line {line}, column {column}: {message}"),
        None => message.to_owned(),
    }
}

/// Checks version and layer, and that no section ends beyond the file.
fn check_sections(bytes: &[u8], name: &str) -> Result<(), WasmFormError> {
    if !Parser::is_core_wasm(bytes) && !Parser::is_component(bytes) {
        let reason = match bytes.get(4..8) {
            None => "the file is cut off: it holds less than a header".to_owned(),
            Some([version, _, layer @ (0 | 1), 0]) => {
                let what = if *layer == 0 { "a module" } else { "a component" };
                format!("{what} of version {version}, which is unknown: build it with newer tools")
            }
            Some(_) => "neither a module nor a component: its version is unknown".to_owned(),
        };
        return Err(WasmFormError::new(name, reason));
    }
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(_) => {}
            Err(error) => {
                let (message, offset) = (error.message(), error.offset());
                let reason = format!("cut off or damaged at byte {offset}: {message}");
                return Err(WasmFormError::new(name, reason));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(bytes: &[u8]) -> String {
        load_wasm(bytes, "fn.wasm").expect_err("refused").to_string()
    }

    #[test]
    fn text_becomes_a_binary_and_its_errors_keep_their_place() {
        let module = load_wasm(b"  ;; empty\n(module)", "fn.wat").expect("translated");
        assert_eq!(&*module, b"\0asm\x01\0\0\0");
        let component = load_wasm(b"(component)", "fn.wat").expect("translated");
        assert_eq!(&*component, b"\0asm\x0d\0\x01\0");
        assert_eq!(&*load_wasm(&module, "fn.wasm").expect("as it is"), &*module);
        let error = refuse(b"(module\n  (func (i32.add 1)))");
        assert!(error.starts_with("fn.wasm: line 2, column 18: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn files_of_other_kinds_are_told_by_name() {
        for (bytes, told) in [
            (&b""[..], "empty"),
            (b"\0as", "cut off"),
            (b"\0asm\x01\0", "cut off"),
            (b"\0asm\x02\0\0\0", "a module of version 2"),
            (b"\0asm\x0a\0\x01\0", "a component of version 10"),
            (b"\0asm\x01\0\0\x09", "version is unknown"),
            (b"\x7fELF\x02\x01\x01", "ELF"),
            (b"#!/bin/sh\n", "script"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"hello", "text, but no WebAssembly text"),
            (b"\xff\xfe\x00", "no WebAssembly"),
            // A section of 127 bytes, of which one is there.
            (b"\0asm\x01\0\0\0\x01\x7f\x00", "cut off or damaged at byte "),
        ] {
            let error = refuse(bytes);
            assert!(error.contains(told) && error.lines().count() == 1, "{error}");
        }
        let error = load_wasm(b"", "a\u{1b}[31m\n").expect_err("refused").to_string();
        assert!(error.chars().all(|it| !it.is_control()), "{error:?}");
    }

    #[test]
    fn deep_components_and_texts_are_taken_or_refused_and_crash_nothing() {
        let deep = |depth: usize| "(component ".repeat(depth) + &")".repeat(depth);
        assert!(load_wasm(deep(20).as_bytes(), "d.wat").is_ok());
        let error = refuse(deep(100_000).as_bytes());
        assert!(error.contains("line 1, column"), "{error}");
        // A thousand components in each other, in binary.
        let mut nested = b"\0asm\x0d\0\x01\0".to_vec();
        for _ in 0..1_000 {
            let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
            let mut size = nested.len();
            loop {
                let byte = u8::try_from(size & 0x7f).expect("seven bits");
                size >>= 7;
                outer.push(if size > 0 { byte | 0x80 } else { byte });
                if size == 0 {
                    break;
                }
            }
            outer.extend(&nested);
            nested = outer;
        }
        assert!(load_wasm(&nested, "deep.wasm").is_ok(), "framed as it should be");
    }
}
