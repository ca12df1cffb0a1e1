//! Form of a WebAssembly program: binary or text, module or component, and what it is to be
//! started by, as its own bytes say.

use std::sync::Arc;

use thiserror::Error;
use wasmparser::{
    ComponentExternalKind, ComponentInstance, ExternalKind, Instance, MemoryType, Parser, Payload,
};

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
    pub(crate) fn new(name: &str, reason: impl AsRef<str>) -> Self {
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
        payload.map_err(|error| WasmFormError::new(name, place_damage(&error)))?;
    }
    Ok(())
}

/// Kind of a WebAssembly program: what it is started by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WasmKind {
    /// Module with an export `_start`.
    Command,
    /// Module with an export `_initialize`, which precedes calls of its other functions.
    Reactor,
    /// Module with neither.
    Library,
    /// Component that exports `wasi:cli/run`.
    CommandComponent,
    /// Component that exports a handler of `wasi:http`.
    HttpComponent,
    /// Any other component.
    OtherComponent,
}

impl WasmKind {
    /// Returns whether it is a component, not a module.
    #[must_use]
    pub const fn is_component(self) -> bool {
        matches!(self, Self::CommandComponent | Self::HttpComponent | Self::OtherComponent)
    }
}

/// Most names of exports or imports that are kept, for messages.
const MAX_NAMES: usize = 100;

/// Facts that the sections of a program tell. In a component, those of all of its modules count.
#[derive(Debug, Clone)]
pub struct WasmForm {
    /// Kind of its start.
    pub kind: WasmKind,
    /// Names of the first exported functions, in a component of everything exported.
    pub exports: Vec<String>,
    /// Whether instantiating it runs code of its own.
    pub has_start: bool,
    /// Number of memories that it defines.
    pub memories: usize,
    /// Number of tables that it defines.
    pub tables: usize,
    /// Number of instances of modules; `None`: a component is instantiated more than once, so that
    /// all of these numbers may be higher.
    pub instances: Option<usize>,
    /// Highest size of all shared memories together; `None` without one.
    pub shared_memory: Option<Bytes>,
}

/// Describes a binary module or component by its sections.
///
/// # Errors
/// Returns an error when a section cannot be read.
pub fn inspect_wasm(binary: &[u8], name: &str) -> Result<WasmForm, WasmFormError> {
    let damaged = |error: wasmparser::Error| WasmFormError::new(name, place_damage(&error));
    let mut scan = FormScan::new(Parser::is_component(binary));
    for payload in Parser::new(0).parse_all(binary) {
        payload.and_then(|payload| scan.read_payload(payload)).map_err(damaged)?;
    }
    Ok(scan.into_form())
}

/// Calls `visit` with module and name of each import; a component's have no second name.
///
/// # Errors
/// Returns an error when a section cannot be read.
pub fn visit_imports(
    binary: &[u8],
    name: &str,
    visit: &mut dyn FnMut(&str, &str),
) -> Result<(), WasmFormError> {
    let damaged = |error: wasmparser::Error| WasmFormError::new(name, place_damage(&error));
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(binary) {
        match payload.map_err(damaged)? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ImportSection(section) if depth == 1 => {
                for import in section.into_imports() {
                    let import = import.map_err(damaged)?;
                    visit(import.module, import.name);
                }
            }
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    visit(import.map_err(damaged)?.name.name, "");
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Formats a parser's error.
pub(crate) fn place_damage(error: &wasmparser::Error) -> String {
    format!("cut off or damaged at byte {}: {}", error.offset(), error.message())
}

/// Facts about a program that were found so far.
struct FormScan {
    kind: WasmKind,
    /// Number of programs that the present place is inside of, itself included.
    depth: usize,
    exports: Vec<String>,
    has_start: bool,
    memories: usize,
    tables: usize,
    instances: usize,
    components: usize,
    component_instances: usize,
    shared_pages: Option<u64>,
}

impl FormScan {
    fn new(is_component: bool) -> Self {
        Self {
            kind: if is_component { WasmKind::OtherComponent } else { WasmKind::Library },
            depth: 0,
            exports: Vec::new(),
            has_start: false,
            memories: 0,
            tables: 0,
            instances: 0,
            components: 0,
            component_instances: 0,
            shared_pages: None,
        }
    }

    fn read_payload(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::Version { .. } => self.depth += 1,
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::StartSection { .. } => self.has_start = true,
            Payload::TableSection(section) => self.tables += section.count() as usize,
            Payload::MemorySection(section) => {
                for memory in section {
                    self.add_memory(memory?);
                }
            }
            Payload::ExportSection(section) if !self.kind.is_component() => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        self.kind = match (export.name, self.kind) {
                            ("_start", _) => WasmKind::Command,
                            ("_initialize", WasmKind::Library) => WasmKind::Reactor,
                            (_, kind) => kind,
                        };
                        self.keep_export(export.name);
                    }
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    let is_new = matches!(instance?, Instance::Instantiate { .. });
                    self.instances += usize::from(is_new);
                }
            }
            Payload::ComponentSection { .. } => self.components += 1,
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    let is_new = matches!(instance?, ComponentInstance::Instantiate { .. });
                    self.component_instances += usize::from(is_new);
                }
            }
            Payload::ComponentExportSection(section) if self.depth == 1 => {
                for export in section {
                    let export = export?;
                    let name = export.name.name;
                    if export.kind == ComponentExternalKind::Instance {
                        self.kind = match self.kind {
                            _ if name.starts_with("wasi:cli/run@0.2.") => {
                                WasmKind::CommandComponent
                            }
                            WasmKind::OtherComponent if name.starts_with("wasi:http/") => {
                                WasmKind::HttpComponent
                            }
                            kind => kind,
                        };
                    }
                    self.keep_export(name);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add_memory(&mut self, memory: MemoryType) {
        self.memories += 1;
        if memory.shared {
            let most = memory.maximum.unwrap_or(u64::MAX);
            self.shared_pages = Some(self.shared_pages.unwrap_or(0).saturating_add(most));
        }
    }

    fn keep_export(&mut self, name: &str) {
        if self.exports.len() < MAX_NAMES {
            self.exports.push(summarize_text(name, MAX_NAMES));
        }
    }

    fn into_form(self) -> WasmForm {
        let instances = if self.kind.is_component() { self.instances } else { 1 };
        WasmForm {
            kind: self.kind,
            exports: self.exports,
            has_start: self.has_start,
            memories: self.memories,
            tables: self.tables,
            instances: (self.component_instances <= self.components).then_some(instances),
            shared_memory: self.shared_pages.map(|pages| Bytes(pages.saturating_mul(64 << 10))),
        }
    }
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

    fn inspect(text: &str) -> WasmForm {
        inspect_wasm(&load_wasm(text.as_bytes(), "t").expect("valid"), "t").expect("whole")
    }

    #[test]
    fn kinds_are_told_by_what_is_exported() {
        let kind = |text: &str| inspect(text).kind;
        assert_eq!(kind(r#"(module (func (export "_start")))"#), WasmKind::Command);
        assert_eq!(kind(r#"(module (func (export "_initialize")))"#), WasmKind::Reactor);
        assert_eq!(kind(r#"(module (func (export "add")))"#), WasmKind::Library);
        // A global of that name is no function.
        let global = r#"(module (global (export "_start") i32 (i32.const 0)))"#;
        assert_eq!(kind(global), WasmKind::Library);
        let exports =
            |name: &str| format!(r#"(component (instance $i) (export "{name}" (instance $i)))"#);
        assert_eq!(kind(&exports("wasi:cli/run@0.2.3")), WasmKind::CommandComponent);
        assert_eq!(kind(&exports("wasi:cli/run@0.3.0")), WasmKind::OtherComponent);
        assert_eq!(kind(&exports("wasi:http/incoming-handler@0.2.3")), WasmKind::HttpComponent);
        assert_eq!(kind("(component)"), WasmKind::OtherComponent);
        // Of a component inside, nothing is exported.
        let inner = format!("(component {})", exports("wasi:cli/run@0.2.3"));
        assert_eq!(kind(&inner), WasmKind::OtherComponent);
    }

    #[test]
    fn sections_of_all_modules_are_added_up() {
        let form = inspect(
            "(component
               (core module $m (memory 1) (memory 2 3 shared) (table 1 funcref) (func $f) (start $f))
               (core instance (instantiate $m)) (core instance (instantiate $m)))",
        );
        assert_eq!((form.memories, form.tables, form.instances), (2, 1, Some(2)));
        assert!(form.has_start);
        assert_eq!(form.shared_memory, Some(Bytes(3 * 65_536)));
        let form = inspect(
            "(component (component $c) (instance (instantiate $c)) (instance (instantiate $c)))",
        );
        assert_eq!(form.instances, None);
        let form = inspect("(module (memory 1 2))");
        assert_eq!((form.memories, form.instances, form.shared_memory), (1, Some(1), None));
    }

    #[test]
    fn imports_are_those_of_the_program_itself() {
        let list = |text: &str| {
            let mut all = Vec::new();
            let binary = load_wasm(text.as_bytes(), "t").expect("valid");
            visit_imports(&binary, "t", &mut |module, name| all.push(format!("{module} {name}")))
                .expect("whole");
            all
        };
        assert_eq!(list(r#"(module (import "env" "foo" (func)))"#), ["env foo"]);
        let component = r#"(component (import "wasi:cli/exit@0.2.0" (instance))
            (core module (import "inner" "x" (func))))"#;
        assert_eq!(list(component), ["wasi:cli/exit@0.2.0 "]);
    }
}
