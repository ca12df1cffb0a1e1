//! The functions of the table, and the columns that they have.

use super::Ends;
use super::lanes::Family;

/// A mode of `programs/attack.c`.
pub struct Attack {
    pub mode: &'static str,
    pub arguments: &'static [&'static str],
    ends: [Ends; 3],
}

impl Attack {
    pub const fn of(
        mode: &'static str,
        arguments: &'static [&'static str],
        process: Ends,
        container: Ends,
        bundle: Ends,
    ) -> Self {
        Self { mode, arguments, ends: [process, container, bundle] }
    }

    /// Name of its workload.
    pub fn name(&self) -> String {
        let code = if self.mode == "exit" { self.arguments.concat() } else { String::new() };
        format!("attack-{}{code}", self.mode)
    }

    pub fn ends(&self, family: Family) -> Ends {
        match family {
            Family::Process => self.ends[0],
            Family::Container => self.ends[1],
            _ => self.ends[2],
        }
    }
}

/// A module in text.
pub struct Module {
    name: &'static str,
    ends: [Ends; 4],
}

impl Module {
    pub const fn of(
        name: &'static str,
        engine: Ends,
        command_line: Ends,
        interpreter: Ends,
        javascript: Ends,
    ) -> Self {
        Self { name, ends: [engine, command_line, interpreter, javascript] }
    }

    pub fn name(&self) -> String {
        format!("attack-{}", self.name)
    }

    pub fn ends(&self, family: Family) -> Ends {
        match family {
            Family::Engine => self.ends[0],
            Family::CommandLine => self.ends[1],
            Family::Interpreter => self.ends[2],
            _ => self.ends[3],
        }
    }

    /// The module, as bytes.
    pub fn binary(&self) -> Vec<u8> {
        let code = self.name.strip_prefix("exit-");
        let body = code.map_or_else(|| body(self.name).to_owned(), exit);
        assemble(&body)
    }
}

/// A module that writes `good` and ends well.
pub fn good_module() -> Vec<u8> {
    assemble(
        r#"(memory (export "memory") 1) (data (i32.const 0) "\10\00\00\00\05\00\00\00\00\00\00\00\00\00\00\00good\0a")
        (func (export "_start")
            (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable)))"#,
    )
}

fn assemble(body: &str) -> Vec<u8> {
    let imports = [
        ("proc_exit", "$exit (param i32)"),
        ("fd_write", "$write (param i32 i32 i32 i32) (result i32)"),
        ("random_get", "$random (param i32 i32) (result i32)"),
        ("poll_oneoff", "$poll (param i32 i32 i32 i32) (result i32)"),
        ("fd_fdstat_get", "$stat (param i32 i32) (result i32)"),
        ("path_open", "$open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)"),
    ];
    // Runtimes refuse modules that import what they lack: only what is called.
    let used = imports.into_iter().filter(|(_, func)| {
        let name = func.split(' ').next().unwrap_or_default();
        body.contains(&format!("(call {name} "))
    });
    let import =
        |(name, func)| format!(r#"(import "wasi_snapshot_preview1" "{name}" (func {func}))"#);
    let imports: String = used.map(import).collect();
    wat::parse_str(format!("(module {imports} {body})")).expect("valid text")
}

fn exit(code: &str) -> String {
    format!(
        r#"(memory (export "memory") 1) (func (export "_start") (call $exit (i32.const {code})))"#
    )
}

/// What came through ends with 9, what was refused with 0.
fn body(name: &str) -> &'static str {
    match name {
        "loop" => r#"(memory (export "memory") 1) (func (export "_start") (loop $l (br $l)))"#,
        "start-loop" => {
            r#"(memory (export "memory") 1) (func $s (loop $l (br $l))) (start $s)
            (func (export "_start"))"#
        }
        // What it adds keeps engines from making a loop of it.
        "recursion" => {
            r#"(memory (export "memory") 1) (func $f (param i32) (result i32)
                (i32.add (call $f (i32.add (local.get 0) (i32.const 1))) (i32.load (i32.const 0))))
            (func (export "_start") (drop (call $f (i32.const 0))))"#
        }
        "unreachable" => r#"(memory (export "memory") 1) (func (export "_start") unreachable)"#,
        // 1 MiB at a time, written to, up to 768.
        "grow" => {
            r#"(memory (export "memory") 1) (func (export "_start") (local $at i32) (local $n i32)
                (loop $l
                    (local.set $at (i32.mul (memory.size) (i32.const 65536)))
                    (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (return)))
                    (memory.fill (local.get $at) (i32.const 1) (i32.const 1048576))
                    (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
                        (i32.const 768))))
                (call $exit (i32.const 9)))"#
        }
        // 1 GiB.
        "declared" => r#"(memory (export "memory") 16384) (func (export "_start"))"#,
        // A million elements at a time, written to, up to a hundred.
        "tables" => {
            r#"(memory (export "memory") 1) (table $t 0 funcref) (elem declare func $f) (func $f)
            (func (export "_start") (local $n i32)
                (loop $l
                    (if (i32.eq (table.grow $t (ref.func $f) (i32.const 1000000)) (i32.const -1))
                        (then (return)))
                    (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
                        (i32.const 100))))
                (call $exit (i32.const 9)))"#
        }
        other => call(other),
    }
}

/// What reaches for something by calls of the host.
fn call(name: &str) -> &'static str {
    match name {
        "stdout" => flood_of("1"),
        "stderr" => flood_of("2"),
        // 2^32 - 1 pieces.
        "iovecs" => {
            r#"(memory (export "memory") 1) (func (export "_start")
                (if (call $write (i32.const 1) (i32.const 16) (i32.const -1) (i32.const 8))
                    (then (call $exit (i32.const 3)))))"#
        }
        // 4 GiB less a byte, into 64 KiB.
        "random" => {
            r#"(memory (export "memory") 1) (func (export "_start")
                (if (call $random (i32.const 0) (i32.const -1)) (then (call $exit (i32.const 3)))
                    (else (call $exit (i32.const 9)))))"#
        }
        // One clock, monotonic (1), for 2^60 ns, 36 years.
        "sleep" => {
            r#"(memory (export "memory") 1) (data (i32.const 16) "\01\00\00\00\00\00\00\00\00\00\00\00\00\00\00\10")
            (func (export "_start") (drop (call $poll (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 512))))"#
        }
        // 8 is EBADF.
        "descriptors" => {
            r#"(memory (export "memory") 1) (func (export "_start") (local $n i32)
                (local.set $n (i32.const 3))
                (loop $l
                    (if (i32.ne (call $stat (local.get $n) (i32.const 64)) (i32.const 8))
                        (then (call $exit (i32.const 9))))
                    (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
                        (i32.const 64)))))"#
        }
        // Any folder that it was handed: 3 to 15.
        "files" => {
            r#"(memory (export "memory") 1) (data (i32.const 0) "etc/passwd")
            (func (export "_start") (local $n i32) (local.set $n (i32.const 3))
                (loop $l
                    (if (i32.eqz (call $open (local.get $n) (i32.const 0) (i32.const 0)
                            (i32.const 10) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0)
                            (i32.const 64)))
                        (then (call $exit (i32.const 9))))
                    (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
                        (i32.const 16)))))"#
        }
        // Erases the screen, sets a title, a C1 introducer, a bidi override.
        "escape" => {
            r#"(memory (export "memory") 1) (data (i32.const 0)
                "\10\00\00\00\17\00\00\00\00\00\00\00\00\00\00\00\1b[2J\1b]0;t\07\c2\9b31m\e2\80\ae=1+1\0a")
            (func (export "_start")
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
                (call $exit (i32.const 1)))"#
        }
        other => panic!("no module `{other}`"),
    }
}

/// 64 KiB at a time, up to 48 MiB.
fn flood_of(descriptor: &str) -> &'static str {
    macro_rules! flood {
        ($file:literal) => {
            concat!(
                r#"(memory (export "memory") 2) (data (i32.const 0) "\10\00\00\00\00\00\01\00")
                (func (export "_start") (local $n i32) (loop $l
                    (if (call $write (i32.const "#,
                $file,
                r#") (i32.const 0) (i32.const 1) (i32.const 8)) (then (call $exit (i32.const 3))))
                    (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
                        (i32.const 768)))))"#
            )
        };
    }
    if descriptor == "1" { flood!("1") } else { flood!("2") }
}
