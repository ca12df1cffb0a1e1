//! What a module may do outside a plain start, and what is counted.
//!
//! Operators are counted by hand: one each, but nothing for `block`, `loop`,
//! `else`, `end`, `nop`, `drop`, `return` and `unreachable`, and one more for
//! each function that is entered (wasmtime's documented fuel). Folded text lists
//! operands first: `(i32.add (a) (b))` is three operators.

use std::process::Command;

use crate::common::{Place, Run, column, compile, numbers};

/// WASI functions that the modules below import.
const EXIT: &str = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
const CLOCK: &str = r#"(import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock (param i32 i64 i32) (result i32)))"#;

/// Writes a workload of one module with a limit of 16 MiB of memory.
fn write_module(place: &Place, name: &str, body: &str) {
    let wat = format!("(module {body})");
    place.write(&format!("w/{name}/m.wasm"), wat::parse_str(wat).expect("valid text"));
    let manifest = format!(
        "title = \"{name}\"\nstresses = \"nothing\"\nwasm = \"m.wasm\"\n[limits]\n\
         memory = \"16MiB\"\ntimeout = \"10s\"\n[preset.quick]\n"
    );
    place.write(&format!("w/{name}/workload.toml"), manifest);
}

/// Arguments that record workloads of the folder, twice in each cell.
fn arguments<'a>(folder: &'a str, names: &'a str, lanes: &'a str) -> Vec<&'a str> {
    let plan = ["--runs", "2", "--warmup", "0"];
    [&["record", "--workloads", folder, "--workload", names, "--lane", lanes][..], &plan].concat()
}

/// Records modules of the folder with a cache of their own.
fn record(place: &Place, names: &str, lanes: &str) -> Run {
    let folder = place.path().join("w");
    let args = arguments(folder.to_str().expect("UTF-8"), names, lanes);
    let cache = place.path().join("cache");
    Run::of(
        &place.command(&args).env("XDG_CACHE_HOME", cache).output().expect("the program starts"),
    )
}

/// What all invocations agree on: the one row of `columns`.
fn agreed(place: &Place, columns: &str, condition: &str) -> String {
    let sql = format!("SELECT DISTINCT {columns} FROM v_invocation WHERE {condition}");
    let rows = column(&place.open(), &sql);
    assert_eq!(rows.len(), 1, "{columns} where {condition}: {rows:?}");
    rows[0].clone()
}

/// Why `meter` is missing in a lane: all reasons that its invocations have.
fn reasons(place: &Place, lane: &str, meter: &str) -> Vec<String> {
    let sql = format!(
        "SELECT DISTINCT note FROM v_meter_source
         WHERE lane = '{lane}' AND meter = '{meter}' AND source IS NULL"
    );
    column(&place.open(), &sql)
}

#[test]
fn refused_growth_is_no_memory_and_leaves_the_limit_as_it_was() {
    let place = Place::new();
    // 21 requests beyond the memory's own maximum of two pages, then the page
    // that is there. Each refused one, if it counted, would take 6 MiB of 16.
    let ask = r"(local $i i32) (local.set $i (i32.const 20))
        (loop $l (drop (memory.grow (i32.const 100)))
            (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
        (drop (memory.grow (i32.const 47)))
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (call $exit (i32.const 9))))";
    let own = format!(r#"{EXIT} (memory (export "memory") 1 2) (func (export "_start") {ask})"#);
    write_module(&place, "own-maximum", &own);
    // Growth beyond the limit of 16 MiB, and then up to it exactly.
    let limit = format!(
        r#"{EXIT} (memory (export "memory") 1) (func (export "_start")
            (drop (memory.grow (i32.const 256))) (drop (memory.grow (i32.const -1)))
            (if (i32.eq (memory.grow (i32.const 255)) (i32.const -1))
                (then (call $exit (i32.const 9)))))"#
    );
    write_module(&place, "limit", &limit);
    let run = record(&place, "own-maximum,limit", "wasmtime,wasmtime:fuel,wasmtime:ondemand");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let figures = "linear_memory_bytes || ' ' || memory_grow_failed";
    assert_eq!(agreed(&place, figures, "workload = 'own-maximum'"), "131072 21");
    assert_eq!(agreed(&place, figures, "workload = 'limit'"), "16777216 2");
}

#[test]
fn memories_of_64_bits_and_several_of_them_share_one_limit() {
    let place = Place::new();
    // 2^48 pages are 2^64 bytes, the largest number is more: neither may wrap.
    let wide = format!(
        r#"{EXIT} (memory (export "memory") i64 1) (memory $b i64 1) (func (export "_start")
            (drop (memory.grow $b (i64.const 0x1000000000000))) (drop (memory.grow $b (i64.const -1)))
            (if (i64.eq (memory.grow $b (i64.const 100)) (i64.const -1)) (then (call $exit (i32.const 9))))
            (if (i64.ne (memory.grow 0 (i64.const 155)) (i64.const -1)) (then (call $exit (i32.const 8))))
            (if (i64.eq (memory.grow 0 (i64.const 154)) (i64.const -1)) (then (call $exit (i32.const 7)))))"#
    );
    write_module(&place, "wide", &wide);
    let run = record(&place, "wide", "wasmtime");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let figures = "linear_memory_bytes || ' ' || memory_grow_failed";
    assert_eq!(agreed(&place, figures, "1"), "16777216 3");
}

#[test]
fn a_module_that_outgrows_the_pool_runs_warm_as_it_runs_cold() {
    let place = Place::new();
    let start = r#"(func (export "_start"))"#;
    write_module(&place, "memories", &format!("{start} {}", "(memory 1) ".repeat(50)));
    write_module(&place, "tables", &format!("{start} {}", "(table 1 funcref) ".repeat(9)));
    // Each has an entry of 32 bytes or so in an instance: more than the 1 MiB
    // that is wasmtime's usual limit in a pool.
    let many = "(func) ".repeat(40_000);
    let elements = format!("(table 40001 funcref) (elem (i32.const 0) {})", {
        (0..40_000).map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
    });
    write_module(&place, "functions", &format!("{many} {start} {elements}"));
    let run = record(&place, "memories,tables,functions", "wasmtime");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let ended = column(
        &place.open(),
        "SELECT DISTINCT workload || ' ' || start || ' ' || status FROM v_invocation ORDER BY 1",
    );
    let wanted = ["functions", "memories", "tables"]
        .map(|name| [format!("{name} cold ok"), format!("{name} warm ok")]);
    assert_eq!(ended, wanted.concat());
    for (name, what) in
        [("memories", "50 memories, more than the 4"), ("tables", "9 tables, more than the 8")]
    {
        let told = format!(
            "{name} in wasmtime, warm: warm instances are mapped on demand, not pooled: it has {what} of a pool"
        );
        assert_eq!(run.stderr.matches(&told).count(), 1, "{told} in {}", run.stderr);
    }
    assert_eq!(run.stderr.matches("mapped on demand").count(), 2, "{}", run.stderr);
    // The variant that is about pools says who takes it.
    let run = record(&place, "memories", "wasmtime:pooling");
    let told = "memories fits into no pool: it has 50 memories, more than the 4 of a pool; \
                the lane wasmtime takes it";
    assert!(run.stderr.contains(told), "{}", run.stderr);
}

#[test]
fn each_error_of_a_cell_is_told_once_while_it_is_recorded_and_not_again_at_the_end() {
    let place = Place::new();
    // Whole, but not valid.
    write_module(&place, "drop", r#"(func (export "_start") (drop))"#);
    let run = record(&place, "drop", "wasmtime");
    assert_eq!(run.code, 1, "{}", run.stderr);
    let told: Vec<&str> = run.stderr.lines().filter(|it| it.contains("cannot prepare")).collect();
    let why = "cannot prepare drop: not a module that wasmtime compiles";
    assert_eq!(told.len(), 2, "{}", run.stderr);
    for (line, start) in told.iter().zip(["cold", "warm"]) {
        assert!(line.starts_with(&format!("failed: drop in wasmtime, {start}: {why}")), "{line}");
    }
    // What was recorded is told of in full.
    let shown = place.ok(&["history", "show"]).stderr;
    assert_eq!(shown.matches("cannot prepare").count(), 2, "{shown}");

    // Runs that fail, two in each cell, and a counting run that fails.
    write_module(&place, "trap", r#"(func (export "_start") unreachable)"#);
    let run = record(&place, "trap", "wasmtime");
    let said = |word: &str| run.stderr.lines().filter(|it| it.contains(word)).collect::<Vec<_>>();
    let notes = said("the counting run did not end well");
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes.iter().all(|note| note.starts_with("note: trap in wasmtime, ")), "{notes:?}");
    let failures: Vec<&str> =
        said("trap: wasm trap").into_iter().filter(|it| !it.contains("counting")).collect();
    let (last, first) = failures.split_last().expect("told");
    assert_eq!(first.len(), 2, "{failures:?}");
    assert!(first.iter().all(|it| it.starts_with("failed: ") && it.contains(" #1: ")), "{first:?}");
    // Only how often is new at the end.
    assert!(last.starts_with("4 x trap in wasmtime, cold; trap in wasmtime, warm: "), "{last}");
}

#[test]
fn an_operator_is_one_whatever_its_length_and_wherever_it_runs() {
    let place = Place::new();
    // Entry 1; fill, copy and init with three operands each 12; grow with its
    // operand 2: 15. The lengths are 60,000 bytes each.
    let bulk = r#"(memory (export "memory") 1) (data $d "abc") (func (export "_start") (local $n i32)
        (local.set $n (i32.const 60000))
        (memory.fill (i32.const 0) (i32.const 1) (local.get $n))
        (memory.copy (i32.const 8) (i32.const 0) (local.get $n))
        (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3))
        (drop (memory.grow (i32.const 1))))"#;
    // The two of `local.set` are more: 17.
    write_module(&place, "bulk", bulk);
    let table = r#"(memory (export "memory") 1) (table $t 1000 funcref) (elem $e func $f $f)
        (func $f) (func (export "_start")
        (table.fill $t (i32.const 0) (ref.func $f) (i32.const 900))
        (table.copy (i32.const 0) (i32.const 50) (i32.const 900))
        (table.init $e (i32.const 0) (i32.const 0) (i32.const 2))
        (drop (table.grow $t (ref.null func) (i32.const 100))))"#;
    // Entry 1, three operators of four 12, grow of three: 16.
    write_module(&place, "table", table);
    // The start section: entry, constant, set of a global; then `_start`: entry,
    // get, add: (1 + 2) + (1 + 3). The segment of the table is no operator.
    let section = r#"(memory (export "memory") 1) (global $g (mut i32) (i32.const 0))
        (table 2 funcref) (elem (i32.const 0) $first $first) (data (i32.const 0) "abc")
        (func $first (global.set $g (i32.const 5))) (start $first)
        (func (export "_start") (drop (i32.add (global.get $g) (i32.const 1))))"#;
    write_module(&place, "section", section);
    // No start section: segments and globals are put into place by code of
    // wasmtime's own, which differs from variant to variant. Entry and call and
    // entry: 3.
    let segments = r#"(memory (export "memory") 1) (global $g i32 (i32.const 7))
        (global $h i32 (i32.add (global.get $g) (i32.const 1)))
        (table 9 funcref) (elem (global.get $g) $f $f) (elem $p funcref (ref.func $f))
        (data (i32.const 0) "abc") (data (global.get $h) "def") (data (i32.const 99) "ghi")
        (func $f) (func (export "_start") (call $f))"#;
    write_module(&place, "segments", segments);
    let lanes = "wasmtime,wasmtime:fuel,wasmtime:winch+fuel,wasmtime:fuel+ondemand";
    let run = record(&place, "bulk,table,section", lanes);
    assert_eq!(run.code, 0, "{}", run.stderr);
    // Without copy on write that code copies the data too.
    let lanes = "wasmtime,wasmtime:fuel,wasmtime:fuel+ondemand,wasmtime:fuel+nocow";
    let run = record(&place, "segments", lanes);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for (name, operators) in [("bulk", "17"), ("table", "16"), ("section", "7"), ("segments", "3")]
    {
        let condition = format!("workload = '{name}'");
        assert_eq!(agreed(&place, "wasm_ops", &condition), operators, "{name}");
    }
}

#[test]
fn a_trap_never_counts_nothing_for_what_ran() {
    let place = Place::new();
    let burn = "(local $n i32) (local.set $n (i32.const 8000000))
        (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
    let body = |end: &str| {
        format!(
            r#"{EXIT} (memory (export "memory") 1) (table 1 funcref) (type $t (func))
            (func (export "_start") {burn} {end})"#
        )
    };
    // What fuel has stored before it happens is exact: entry 1, set 2, and five
    // operators 8,000,000 times; a constant and the call or indirect call more.
    write_module(&place, "panics", &body("unreachable"));
    write_module(&place, "nobody", &body("(call_indirect (type $t) (i32.const 0))"));
    write_module(&place, "leaves", &body("(call $exit (i32.const 3))"));
    // What it has in a register is lost: missing, with the reason.
    write_module(&place, "divides", &body("(drop (i32.div_s (i32.const 1) (i32.const 0)))"));
    write_module(&place, "outside", &body("(drop (i32.load (i32.const -8)))"));
    // As deep as the stack is: two operators a level, two in `_start`, and one
    // call more that finds no stack.
    let deep =
        r#"(memory (export "memory") 1) (func $f (call $f)) (func (export "_start") (call $f))"#;
    write_module(&place, "deep", deep);
    let lanes = "wasmtime,wasmtime:fuel,wasmtime:winch+fuel";
    let run = record(&place, "panics,nobody,leaves,divides,outside,deep", lanes);
    assert_ne!(run.code, 0, "all fail");
    let counted = |name: &str| {
        agreed(&place, "wasm_ops", &format!("workload = '{name}' AND lane LIKE '%fuel'"))
    };
    assert_eq!(counted("panics"), "40000003");
    for name in ["nobody", "leaves"] {
        assert_eq!(counted(name), "40000005", "{name}");
    }
    for name in ["divides", "outside"] {
        assert_eq!(counted(name), "NULL", "{name}");
    }
    let why = reasons(&place, "wasmtime:fuel", "wasm_ops");
    assert!(why.len() == 1 && why[0].starts_with("a trap comes"), "{why:?}");
    let levels = numbers(
        &place.open(),
        "SELECT wasm_ops FROM v_invocation WHERE workload = 'deep' AND lane LIKE '%fuel'",
    );
    assert!(levels.iter().all(|count| *count > 2_000 && count % 2 == 0), "{levels:?}");
    // Without fuel, runs that fail are not counted, and say so.
    assert_eq!(agreed(&place, "wasm_ops", "lane = 'wasmtime'"), "NULL");
    let why = reasons(&place, "wasmtime", "wasm_ops");
    assert!(why.iter().all(|it| it.contains("did not end well")), "{why:?}");
}

#[test]
fn operators_that_differ_from_run_to_run_are_not_passed_off_as_counted() {
    let place = Place::new();
    // Turns as often as the last six bits of the nanosecond say, times 1,000.
    let body = format!(
        r#"{CLOCK} (memory (export "memory") 1) (func (export "_start") (local $n i32)
        (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 0)))
        (local.set $n (i32.add (i32.const 1)
            (i32.mul (i32.const 1000) (i32.and (i32.load (i32.const 0)) (i32.const 63)))))
        (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))"#
    );
    write_module(&place, "clocked", &body);
    // Asks for the time, and does with it what it does anyway.
    let steady = format!(
        r#"{CLOCK} (memory (export "memory") 1) (func (export "_start")
        (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 0))))"#
    );
    write_module(&place, "steady", &steady);
    let run = record(&place, "clocked,steady", "wasmtime,wasmtime:fuel");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let plain = "lane = 'wasmtime' AND workload = ";
    assert_eq!(agreed(&place, "wasm_ops", &format!("{plain}'clocked'")), "NULL");
    let why = reasons(&place, "wasmtime", "wasm_ops");
    assert!(why.iter().all(|it| it.contains("clock_time_get") && it.contains("wasmtime:fuel")));
    assert_eq!(why.len(), 1, "{why:?}");
    // Entry, three operands, the call: 5.
    assert_eq!(agreed(&place, "wasm_ops", &format!("{plain}'steady'")), "5");
    let each = numbers(
        &place.open(),
        "SELECT wasm_ops FROM v_invocation WHERE lane = 'wasmtime:fuel' AND workload = 'clocked'",
    );
    assert!(each.len() == 4 && each.iter().any(|count| *count != each[0]), "{each:?}");
}

#[test]
fn what_ends_before_its_entry_has_no_run_and_no_invented_figures() {
    let place = Place::new();
    let quit = format!(
        r#"{EXIT} (memory (export "memory") 3) (func $leave (call $exit (i32.const 0)))
        (start $leave) (func (export "_start") unreachable)"#
    );
    write_module(&place, "quits", &quit);
    let broken =
        r#"(memory (export "memory") 3) (func $f unreachable) (start $f) (func (export "_start"))"#;
    write_module(&place, "broken", broken);
    // A function that the snapshot does not have.
    let unknown = r#"(import "wasi_snapshot_preview1" "fly" (func)) (func (export "_start"))"#;
    write_module(&place, "guest", unknown);
    write_module(&place, "reactor", r#"(func (export "_initialize"))"#);
    let foreign = r#"(import "env" "memory" (memory 1)) (func (export "_start"))"#;
    write_module(&place, "foreign", foreign);
    let run = record(&place, "quits,broken,guest,reactor,foreign", "wasmtime,wasmtime:fuel");
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("reactor exports no function `_start`"), "{}", run.stderr);
    assert!(run.stderr.contains("another host, which has env.memory"), "{}", run.stderr);
    let row = "status || ' ' || COALESCE(run_ns, '-') || ' ' || COALESCE(cpu_startup_ns, '-')
        || ' ' || COALESCE(memory_startup_bytes, '-') || ' ' || COALESCE(linear_memory_bytes, '-')";
    let of = |name: &str| agreed(&place, row, &format!("workload = '{name}' AND start_ns > 0"));
    assert_eq!(of("quits"), "ok - - - 196608", "an exit of the start section is an exit");
    assert_eq!(of("broken"), "failed - - - 196608");
    assert_eq!(of("guest"), "failed - - - -");
    let counted = |name: &str| {
        agreed(&place, "wasm_ops", &format!("workload = '{name}' AND lane = 'wasmtime:fuel'"))
    };
    // Entry, constant, call; and entry alone.
    assert_eq!([counted("quits"), counted("broken")], ["3", "1"]);
    let reason =
        |name: &str| agreed(&place, "reason", &format!("workload = '{name}' AND start = 'cold'"));
    assert!(reason("guest").contains("could not be started"), "{}", reason("guest"));
    assert!(reason("guest").contains("fly"), "{}", reason("guest"));
    let why = reasons(&place, "wasmtime", "cpu_startup");
    assert_eq!(why, ["the function was never entered"]);
}

#[test]
fn work_of_a_start_section_is_start_up_in_time_and_in_cpu_time() {
    let place = Place::new();
    let body = |section: &str| {
        format!(
            r#"(memory (export "memory") 1) (func $work (local $n i32) (local.set $n (i32.const 50000000))
            (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
            {section}"#
        )
    };
    write_module(&place, "early", &body(r#"(start $work) (func (export "_start"))"#));
    write_module(&place, "late", &body(r#"(func (export "_start") (call $work))"#));
    let run = record(&place, "early,late", "wasmtime,wasmtime:epoch,wasmtime:winch+ondemand");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let broken = |condition: &str| {
        let sql = format!(
            "SELECT lane || ' ' || start || ' ' || cpu_startup_ns || ' of ' || cpu_ns
             FROM v_invocation WHERE {condition}"
        );
        column(&place.open(), &sql)
    };
    let none: [&str; 0] = [];
    // Fifty million turns are most of either: CPU time before the first
    // instruction where they are in the start section, after it where not.
    assert_eq!(broken("cpu_startup_ns IS NULL OR cpu_startup_ns > cpu_ns"), none);
    assert_eq!(broken("workload = 'early' AND cpu_startup_ns < cpu_ns / 2"), none);
    assert_eq!(broken("workload = 'late' AND cpu_startup_ns > cpu_ns / 2"), none);
    assert_eq!(broken("workload = 'early' AND run_ns > start_ns"), none);
    assert_eq!(broken("workload = 'late' AND start_ns > run_ns"), none);
    assert_eq!(
        broken("memory_startup_bytes IS NULL OR memory_startup_bytes > memory_peak_bytes"),
        none
    );
}

#[test]
fn warm_functions_have_their_cpu_time_where_perf_is_denied() {
    let place = Place::new();
    let source = include_str!("programs/deny_perf.c");
    let Some(deny) = compile(&place, "deny_perf", source) else { return };
    for errno in [libc::EPERM, libc::EACCES, libc::ENOSYS] {
        let run = Command::new(&deny)
            .arg(errno.to_string())
            .arg(crate::common::PROGRAM)
            .args(["record", "--workload", "nbody", "--lane", "wasmtime", "--start", "warm"])
            .args(["--runs", "3", "--warmup", "1"])
            .env("CYCLOMETER_DB", place.db())
            .output()
            .expect("the program starts");
        let run = Run::of(&run);
        assert_eq!(run.code, 0, "errno {errno}: {}", run.stderr);
    }
    let connection = place.open();
    let total = numbers(&connection, "SELECT COUNT(*) FROM v_invocation");
    assert_eq!(total, [9]);
    // It only computes: on a CPU nearly all the time that it runs, never longer
    // than from request to teardown (a tenth is for what surrounds that).
    let sound = "SELECT COUNT(*) FROM v_invocation
        WHERE cpu_ns > 10 * cpu_startup_ns AND cpu_startup_ns > 0
            AND cpu_ns < 1.1 * (wall_ns + teardown_ns)
            AND page_faults IS NOT NULL AND context_switches IS NOT NULL AND ref_cycles > 0";
    assert_eq!(numbers(&connection, sound), total);
    // Its 670 million operators are five a cycle at best, of 5 GHz at best.
    let quickest = numbers(&connection, "SELECT MIN(cpu_ns) FROM v_invocation");
    assert!(quickest[0] > 670_000_000 / 5 / 5, "{quickest:?} ns");
    let sources = "SELECT DISTINCT meter || ' ' || source FROM v_meter_source
        WHERE meter IN ('cpu_time', 'cpu_startup', 'page_faults', 'ref_cycles') ORDER BY 1";
    assert_eq!(
        column(&connection, sources),
        ["cpu_startup clock", "cpu_time clock", "page_faults rusage", "ref_cycles estimate"]
    );
}
