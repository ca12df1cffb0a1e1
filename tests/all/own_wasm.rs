//! WebAssembly of the user's own: components, exports that are called, proposals, and what a
//! function is given of its surroundings.

use std::path::{Path, PathBuf};
use std::process::Command;

use cyclometer_testkit::skip;

use crate::common::{Place, Run, column, numbers};

/// A component whose `run` is that of a module; `more` stands before it.
fn component(more: &str, module: &str, import: &str) -> String {
    format!(
        r#"(component {more}
            (core module $m {module})
            (core instance $i (instantiate $m {import}))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $out (export "run" (func $run)))
            (export "wasi:cli/run@0.2.3" (instance $out)))"#
    )
}

/// Records a program of the folder as the user would, with a cache of its own.
fn record(place: &Place, file: &str, more: &[&str]) -> Run {
    let lanes: &[&str] = if more.contains(&"--lane") { &[] } else { &["--lane", "wasmtime"] };
    let plan = ["record", file, "--start", "both", "--runs", "2", "--warmup", "0"];
    let mut command = place.command(&[&plan[..], lanes, more].concat());
    command.env("XDG_CACHE_HOME", place.path().join("cache")).current_dir(place.path());
    Run::of(&command.output().expect("the program starts"))
}

/// What all invocations agree on.
fn agreed(place: &Place, columns: &str) -> String {
    let rows = column(&place.open(), &format!("SELECT DISTINCT {columns} FROM v_invocation"));
    assert_eq!(rows.len(), 1, "{columns}: {rows:?}");
    rows[0].clone()
}

/// Writes a workload of one program and one call, with its expected output.
fn write_call(place: &Place, text: &str, call: &str, output: &str) {
    place.write("w/m.wasm", wat::parse_str(text).expect("valid text"));
    let manifest = format!(
        "title = \"a call\"\nstresses = \"nothing\"\nwasm = \"m.wasm\"\n[preset.quick]\n{call}\n\
         expected = {{ text = {output:?} }}\n"
    );
    place.write("w/workload.toml", manifest);
}

#[test]
fn components_run_in_every_variant_and_their_result_is_their_exit_code() {
    for (code, lanes) in [
        (
            0,
            "wasmtime,wasmtime:fuel,wasmtime:epoch,wasmtime:pooling,wasmtime:ondemand,wasmtime:nocow,wasmtime:winch",
        ),
        (1, "wasmtime"),
    ] {
        let place = Place::new();
        let body = format!(r#"(func (export "run") (result i32) (i32.const {code}))"#);
        place.write("c.wat", component("", &body, ""));
        let run = record(&place, "c.wat", &["--lane", lanes]);
        assert_eq!(run.code, code, "{}", run.stderr);
        assert_eq!(agreed(&place, "exit_code"), code.to_string());
        let ends = column(&place.open(), "SELECT DISTINCT status FROM v_invocation");
        assert_eq!(ends, [if code == 0 { "ok" } else { "failed" }]);
        if code == 0 {
            // Entry, constant.
            assert_eq!(agreed(&place, "wasm_ops"), "2");
            assert!(run.stderr.contains("a component of WASI 0.2"), "{}", run.stderr);
        }
    }
}

#[test]
fn exits_of_components_are_exits_and_traps_are_traps() {
    let imports = r#"(import "wasi:cli/exit@0.2.3"
            (instance $exit (export "exit" (func (param "status" (result))))))
        (core func $leave (canon lower (func $exit "exit")))
        (core instance $host (export "exit" (func $leave)))"#;
    let module = |status: i32| {
        format!(
            r#"(import "host" "exit" (func $exit (param i32)))
            (func (export "run") (result i32) (call $exit (i32.const {status})) unreachable)"#
        )
    };
    for status in [0, 1] {
        let place = Place::new();
        let text = component(imports, &module(status), r#"(with "host" (instance $host))"#);
        place.write("c.wat", text);
        record(&place, "c.wat", &[]);
        assert_eq!(agreed(&place, "exit_code"), status.to_string());
    }
    let place = Place::new();
    let coded = imports
        .replace(
            r#""exit" (func (param "status" (result)))"#,
            r#""exit-with-code" (func (param "status-code" u8))"#,
        )
        .replace(r#"$exit "exit")"#, r#"$exit "exit-with-code")"#);
    place.write("c.wat", component(&coded, &module(200), r#"(with "host" (instance $host))"#));
    record(&place, "c.wat", &[]);
    assert_eq!(agreed(&place, "exit_code"), "200");
    let place = Place::new();
    place.write("c.wat", component("", r#"(func (export "run") (result i32) unreachable)"#, ""));
    let run = record(&place, "c.wat", &[]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(agreed(&place, "reason").starts_with("trap: "), "{}", agreed(&place, "reason"));
}

#[test]
fn the_memory_limit_is_that_of_all_memories_of_a_component() {
    let place = Place::new();
    // Twice 150 pages, 18.75 MiB, of 16.
    let module = r#"(memory 150) (func (export "run") (result i32) (i32.const 0))"#;
    let other = "(core module $o (memory 150)) (core instance (instantiate $o))";
    place.write("c.wat", component(other, module, ""));
    record(&place, "c.wat", &["--memory", "16MiB"]);
    let reason = agreed(&place, "reason");
    assert!(reason.starts_with("out of memory: its memory limit of 16.0 MiB"), "{reason}");
    let place = Place::new();
    place.write("c.wat", component(other, module, ""));
    assert_eq!(record(&place, "c.wat", &["--memory", "32MiB"]).code, 0);
    assert_eq!(agreed(&place, "linear_memory_bytes"), (300 * 65_536).to_string());
}

#[test]
fn an_export_is_called_and_its_results_are_the_output() {
    let add = r#"(module (func (export "add") (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1))))"#;
    let place = Place::new();
    place.write("add.wat", add);
    let run = record(&place, "add.wat", &["--invoke", "add", "2", "3"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    // Entry, two operands, the sum.
    assert_eq!(agreed(&place, "wasm_ops"), "4");
    for (call, output) in [
        ("invoke = \"add\"\nargs = [\"2\", \"3\"]", "5\n"),
        ("invoke = \"add\"\nargs = [\"0xffffffff\", \"-1\"]", "-2\n"),
    ] {
        let place = Place::new();
        write_call(&place, add, call, output);
        let run = record(&place, "w", &["--lane", "wasmtime,wasmtime:winch"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(agreed(&place, "status"), "ok");
    }
    let place = Place::new();
    let two = r#"(module (func (export "two") (param f64 i64) (result f32 f64 i64)
        (f32.demote_f64 (local.get 0)) (local.get 0) (local.get 1)))"#;
    write_call(&place, two, "invoke = \"two\"\nargs = [\"-0.1\", \"7\"]", "-0.1\n-0.1\n7\n");
    assert_eq!(record(&place, "w", &[]).code, 0);
    // What is not expected is told.
    let place = Place::new();
    write_call(&place, add, "invoke = \"add\"\nargs = [\"2\", \"3\"]", "6\n");
    assert_eq!(record(&place, "w", &[]).code, 1);
    assert!(agreed(&place, "reason").starts_with("wrong output: "));
}

#[test]
fn a_reactor_is_initialised_once_for_each_instance_before_its_function_runs() {
    let place = Place::new();
    let text = r#"(module (global $n (mut i32) (i32.const 40))
        (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 1))))
        (func (export "next") (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))"#;
    write_call(&place, text, "invoke = \"next\"", "42\n");
    let run = record(&place, "w", &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(agreed(&place, "status"), "ok");
    // Each entry, and four operators; and one that reads the result.
    assert_eq!(agreed(&place, "wasm_ops"), "11");
}

#[test]
fn calls_that_cannot_be_made_are_refused_before_any_work() {
    let add = r#"(module (func (export "add") (param i32 i32) (result i32) (i32.const 0)))"#;
    for (call, told) in [
        (&["--invoke", "add", "2"][..], "`add` takes 2 parameters (i32, i32), but one was given"),
        (&["--invoke", "add", "2", "x"], "parameter 2 of `add` is of type i32: not `x`"),
        (&["--invoke", "ad", "2", "3"], "it exports no function `ad`; did you mean `add`?"),
        (&[], "it exports add"),
    ] {
        let place = Place::new();
        place.write("add.wat", add);
        let run = record(&place, "add.wat", call);
        assert_eq!(run.code, 2, "{call:?}: {}", run.stderr);
        assert!(run.stderr.contains(told), "{call:?}: {}", run.stderr);
    }
}

#[test]
fn programs_for_other_hosts_are_refused_by_name() {
    for (text, told) in [
        (
            r#"(module (import "env" "foo" (func)) (func (export "_start")))"#.to_owned(),
            "built for another host, which has env.foo",
        ),
        ("(component)".to_owned(), "without wasi:cli/run"),
        (
            r#"(module (import "wasi" "thread-spawn" (func (param i32) (result i32)))
                (func (export "_start")))"#
                .to_owned(),
            "wasi.thread-spawn",
        ),
        (
            r#"(component (instance $i)
                (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#
                .to_owned(),
            "comes later",
        ),
        ("(module\n  (func (i32.add 1)))".to_owned(), "line 2, column 18"),
    ] {
        let place = Place::new();
        place.write("f.wat", text);
        let run = record(&place, "f.wat", &[]);
        assert_eq!(run.code, 2, "{}", run.stderr);
        assert!(run.stderr.contains(told), "{}", run.stderr);
    }
}

/// Programs that need a proposal, with the name by which it is told.
const PROPOSALS: [(&str, &str); 9] = [
    (
        "tail calls",
        r#"(func $f (param i32) (if (i32.eqz (local.get 0)) (then (return)))
            (return_call $f (i32.sub (local.get 0) (i32.const 1))))
        (func (export "_start") (call $f (i32.const 1000000)))"#,
    ),
    (
        "exceptions",
        r#"(tag $e (param i32)) (func (export "_start")
            (block $h (result i32) (try_table (catch $e $h) (throw $e (i32.const 7))) unreachable)
            (if (i32.ne (i32.const 7)) (then unreachable)))"#,
    ),
    (
        "GC",
        r#"(type $s (struct (field i32))) (func (export "_start") (local $n i32)
            (loop $l
                (drop (struct.new $s (local.get $n)))
                (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
                    (i32.const 200000)))))"#,
    ),
    (
        "memory64",
        r#"(memory i64 1) (func (export "_start") (i64.store (i64.const 8) (i64.const 1)))"#,
    ),
    ("multiple memories", r#"(memory 1) (memory 1) (func (export "_start"))"#),
    (
        "threads",
        r#"(memory 1 2 shared) (func (export "_start")
            (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1))))"#,
    ),
    (
        "function references",
        r#"(type $f (func)) (func $g) (elem declare func $g)
        (func (export "_start") (call_ref $f (ref.func $g)))"#,
    ),
    (
        "relaxed SIMD",
        r#"(func (export "_start") (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0)
            (v128.const i64x2 0 0))))"#,
    ),
    (
        "wide arithmetic",
        r#"(func (export "_start") (i64.mul_wide_u (i64.const 3) (i64.const 4)) drop drop)"#,
    ),
];

#[test]
fn proposals_are_there_for_programs_that_need_them_and_are_told() {
    for (name, body) in PROPOSALS {
        let place = Place::new();
        place.write("f.wat", format!("(module {body})"));
        let run = record(&place, "f.wat", &[]);
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
        assert_eq!(agreed(&place, "status"), "ok", "{name}");
        assert!(run.stderr.contains(&format!("uses {name}")), "{name}: {}", run.stderr);
    }
    // Objects count as memory, and the limit holds for them.
    let place = Place::new();
    let hoard = r#"(module (type $s (array (mut i64))) (type $l (struct (field (ref null $l)) (field (ref $s))))
        (func (export "_start") (local $l (ref null $l))
            (loop $more (local.set $l (struct.new $l (local.get $l) (array.new_default $s (i32.const 100000))))
                (br $more))))"#;
    place.write("f.wat", hoard);
    record(&place, "f.wat", &["--memory", "16MiB", "--timeout", "10s"]);
    let ends = column(&place.open(), "SELECT DISTINCT status || ': ' || reason FROM v_invocation");
    assert!(ends.iter().all(|end| end.starts_with("failed: trap: ")), "{ends:?}");
    let most = numbers(&place.open(), "SELECT MAX(linear_memory_bytes) FROM v_invocation");
    assert!(most[0] > 0 && most[0] <= 16 << 20, "{most:?}");
    // Winch has no tail calls.
    let place = Place::new();
    place.write("f.wat", format!("(module {})", PROPOSALS[0].1));
    let run = record(&place, "f.wat", &["--lane", "wasmtime:winch"]);
    assert!(run.code != 0 && run.stderr.contains("Winch"), "{}", run.stderr);
}

/// A program that says what it was given.
const SURVEY: &str = r#"
use std::io::Read;

fn main() {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).unwrap();
    let args: Vec<String> = std::env::args().skip(1).collect();
    println!("args {args:?} input {input:?} colour {:?}", std::env::var("COLOUR"));
    if let Some(folder) = args.first().filter(|it| it.starts_with('/')) {
        println!("read {:?}", std::fs::read_to_string(format!("{folder}/there")).unwrap());
        println!("write {}", std::fs::write(format!("{folder}/made"), "x").is_ok());
        println!("outside {}", std::fs::read_to_string(format!("{folder}/../secret")).is_ok());
    }
    let mut sum = 0_u64;
    for n in 0..100_000_u64 {
        sum = sum.wrapping_mul(31).wrapping_add(n ^ sum >> 7);
    }
    eprintln!("done");
    println!("{sum}");
    std::process::exit(if args.len() == 3 { 1 } else { 0 });
}
"#;

/// Compiles the survey for `target`; `None`, said aloud, where Rust does not have it.
fn compile_survey(place: &Place, target: &str) -> Option<PathBuf> {
    let source = place.write("survey.rs", SURVEY);
    let program = place.path().join(if target.is_empty() {
        "survey".to_owned()
    } else {
        format!("survey-{target}.wasm")
    });
    let mut command = Command::new("rustc");
    command.args(["-O", "--edition", "2021", "-o"]).arg(&program).arg(&source);
    if !target.is_empty() {
        command.args(["--target", target]);
    }
    let output = command.output();
    let why = match output {
        Ok(output) if output.status.success() => return Some(program),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    let required = std::env::var("CYCLOMETER_REQUIRE_RUNTIMES").unwrap_or_default();
    assert!(!required.split(',').any(|it| it == "wasip2"), "wasip2 is required here: {why}");
    skip(&format!("no Rust for {target}: {}", why.lines().next().unwrap_or_default()));
    None
}

/// Runs the native twin, and returns its output.
fn survey_natively(program: &Path, args: &[&str]) -> (Vec<u8>, Option<i32>) {
    let mut command = Command::new(program);
    command.args(args).env_remove("COLOUR").stdin(std::process::Stdio::null());
    let output = command.output().expect("it starts");
    (output.stdout, output.status.code())
}

#[test]
fn a_component_of_rust_does_what_its_native_twin_does() {
    let place = Place::new();
    let (Some(component), Some(module), Some(native)) = (
        compile_survey(&place, "wasm32-wasip2"),
        compile_survey(&place, "wasm32-wasip1"),
        compile_survey(&place, ""),
    ) else {
        return;
    };
    let of = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let mut counted = Vec::new();
    for program in [&component, &module] {
        let place = Place::new();
        let (output, code) = survey_natively(&native, &["a", "b c"]);
        assert_eq!(code, Some(0));
        place.write("w/m.wasm", std::fs::read(program).expect("read"));
        let manifest = format!(
            "title = \"t\"\nstresses = \"s\"\nwasm = \"m.wasm\"\n[preset.quick]\nargs = [\"a\", \
             \"b c\"]\nexpected = {{ text = {:?} }}\n",
            String::from_utf8(output).expect("text")
        );
        place.write("w/workload.toml", manifest);
        for _ in 0..2 {
            let run = record(&place, "w", &[]);
            assert_eq!(run.code, 0, "{}", run.stderr);
            std::fs::remove_dir_all(place.path().join("cache")).expect("removed");
        }
        // Both recordings counted anew, and both starts have the same.
        let count = agreed(&place, "wasm_ops");
        assert!(count.parse::<u64>().is_ok_and(|it| it > 100_000), "{count}");
        counted.push(count);
    }
    // Exit codes.
    for program in [&component, &module] {
        let place = Place::new();
        let run = record(&place, &of(program), &["--", "1", "2", "3"]);
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert_eq!(agreed(&place, "exit_code"), "1");
    }
    assert_eq!(survey_natively(&native, &["1", "2", "3"]).1, Some(1));
}

#[test]
fn folders_and_environment_reach_modules_and_components_as_they_were_given() {
    let place = Place::new();
    let (Some(component), Some(module), Some(native)) = (
        compile_survey(&place, "wasm32-wasip2"),
        compile_survey(&place, "wasm32-wasip1"),
        compile_survey(&place, ""),
    ) else {
        return;
    };
    let (output, _) = survey_natively(&native, &[]);
    let output = String::from_utf8(output).expect("text");
    let sum = output.lines().last().expect("a sum");
    for program in [component, module] {
        for (mode, writes) in [(":ro", "false"), ("", "true")] {
            let place = Place::new();
            place.write("w/data/there", "here I am");
            place.write("w/secret", "told");
            place.write("w/m.wasm", std::fs::read(&program).expect("read"));
            let output = format!(
                "args [\"/box\"] input \"\" colour Ok(\"blue = green\")\nread \"here I am\"\n\
                 write {writes}\noutside false\n{sum}\n"
            );
            let manifest = format!(
                "title = \"t\"\nstresses = \"s\"\nwasm = \"m.wasm\"\n[preset.quick]\n\
                 args = [\"/box\"]\nenv = {{ COLOUR = \"blue = green\" }}\n\
                 dirs = [\"data:/box{mode}\"]\nexpected = {{ text = {output:?} }}\n"
            );
            place.write("w/workload.toml", manifest);
            let run = record(&place, "w", &[]);
            assert_eq!(run.code, 0, "{}", run.stderr);
            assert_eq!(agreed(&place, "status"), "ok");
            let made = place.path().join("w/data/made").exists();
            assert_eq!(made.to_string(), writes, "{mode}");
        }
        // Without them there is nothing.
        let place = Place::new();
        place.write("m.wasm", std::fs::read(&program).expect("read"));
        let run = record(&place, "m.wasm", &["--", "/tmp"]);
        assert_eq!(run.code, 1, "{}", run.stderr);
    }
}
