//! `replay` through the program itself: on recordings whose values are chosen,
//! so that bills can be computed by hand.

use crate::common::{Place, numbers};
use serde_json::Value;

/// A database with one recording: 4 cold runs of `f` in the lane `native`
/// (120 ms, 60 ms of CPU, 64 MiB of 1 GiB touched), and 4 warm ones in `wasm`
/// (1 ms, all of it CPU, no cycles).
fn place() -> Place {
    let place = Place::new();
    drop(cyclometer::store::Store::open(&place.db()).expect("an empty database"));
    let connection = place.open();
    connection
        .execute_batch(
            "INSERT INTO recording (id, started_at, status, owner, plan, host)
                VALUES (1, '2026-11-21T10:00:00.000Z', 'done', '', '{}', '{}');
             INSERT INTO lane (id, recording_id, name) VALUES (1, 1, 'native'), (2, 1, 'wasm');
             INSERT INTO cell (id, recording_id, lane_id, workload, preset, start)
                VALUES (1, 1, 1, 'f', 'small', 'cold'), (2, 1, 2, 'f', 'small', 'warm');
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 4)
             INSERT INTO invocation (cell_id, sequence, status, offset_ns, run_ns, wall_ns, cpu_ns,
                cycles, memory_peak_bytes, memory_allocated_bytes)
             SELECT 1, i, 'ok', i * 1000000000, 120000000, 120000000, 60000000, 150000000,
                64 * 1048576, 1024 * 1048576 FROM n
             UNION ALL
             SELECT 2, i, 'ok', i * 1000000000, 1000000, 1000000, 1000000, NULL,
                64 * 1048576, 1024 * 1048576 FROM n;",
        )
        .expect("a recording");
    place
}

fn row<'a>(rows: &'a Value, pairs: &[(&str, &str)]) -> &'a Value {
    let found = rows
        .as_array()
        .expect("rows")
        .iter()
        .find(|row| pairs.iter().all(|(key, value)| row[*key].as_str() == Some(*value)));
    found.unwrap_or_else(|| panic!("no {pairs:?} in {rows:#}"))
}

#[test]
fn every_model_fits_a_terminal_and_the_extremes_are_named() {
    let place = place();
    let run = place.ok(&["replay", "--model", "all"]);
    let wide: Vec<&str> = run.stdout.lines().filter(|it| it.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    for word in ["aws-lambda-x86 ", "cheapest on offer: ", "dearest on offer: ", "most wasteful: "]
    {
        assert!(run.stdout.contains(word), "{word} in {}", run.stdout);
    }
    assert!(run.stdout.lines().count() > 50, "{}", run.stdout);
}

#[test]
fn what_nobody_sells_stands_below_what_somebody_does() {
    let place = place();
    let run = place.ok(&["replay", "--model", "all"]);
    let line = |word: &str| {
        let found = run.stdout.lines().position(|it| it.starts_with(word));
        found.unwrap_or_else(|| panic!("no {word} in {}", run.stdout))
    };
    let apart = line("nobody sells these:");
    assert!(line("aws-lambda-x86 ") < apart && line("aws-lambda-microvm") < apart);
    for made_up in ["shape-aws ", "shape-cloudflare", "per-cpu-ms"] {
        assert!(line(made_up) > apart, "{made_up} in {}", run.stdout);
    }
}

#[test]
fn the_most_wasteful_is_that_of_the_column_and_nothing_is_not_wasteful() {
    let place = place();
    place.open().execute("UPDATE invocation SET cpu_ns = cpu_ns + 500000", []).expect("CPU time");
    // Workers round CPU time up; Supabase bills the month and the request only.
    let models = "supabase-edge,cloudflare-workers";
    let run = place.ok(&["replay", "--model", models, "--per-month", "1"]);
    assert!(run.stdout.contains("most wasteful: cloudflare-workers"), "{}", run.stdout);
    assert!(run.stdout.contains("a month of 1 invocation;"), "{}", run.stdout);
    let run = place.ok(&["replay", "--model", "supabase-edge", "--per-month", "1"]);
    assert!(!run.stdout.contains("most wasteful"), "{}", run.stdout);
}

#[test]
fn a_sweep_tells_of_a_model_as_a_whole_only_if_no_cell_of_it_has_a_row() {
    let place = place();
    // Below 128 MiB nothing is cheaper on Lambda; 1 GiB in the other lane is dear.
    let small = "UPDATE invocation SET memory_allocated_bytes = 67108864 WHERE cell_id = 2";
    place.open().execute(small, []).expect("a small function");
    let run = place.ok(&["replay", "--memory", "sweep", "--model", "aws-lambda-x86,per-cpu-ms"]);
    assert!(run.stdout.lines().any(|it| it.starts_with("aws-lambda-x86 ")), "{}", run.stdout);
    let told = "the peak allows: aws-lambda-x86 (f in wasm, warm), per-cpu-ms";
    let said = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(told), "{}", run.stdout);
}

#[test]
fn waste_is_what_the_hand_computes() {
    let place = place();
    let args = ["replay", "--waste", "--model", "aws-lambda-x86", "--format", "json"];
    let rows = place.ok(&args).json();
    let cold = row(&rows, &[("lane", "native")]);
    // 4 x 0.12 GB-s x 0.0000166667 = 0.000008000016, half of it waiting; of the
    // other half a sixteenth of the memory is touched; 4 x 0.0000002 of fees.
    for (part, amount) in [
        ("total", "0.000008800016"),
        ("idle", "0.000004000008"),
        ("used", "0.0000002500005"),
        ("headroom", "0.0000037500075"),
        ("rounding", "0"),
        ("startup", "0"),
        ("fees", "0.0000008"),
        ("unmeasured", "0"),
    ] {
        assert_eq!(cold[part], *amount, "{part}");
    }
}

#[test]
fn a_share_of_cpus_is_billed_where_cpus_have_a_price_and_nowhere_else() {
    let place = place();
    let bills = || {
        let models = "google-cloud-run,aws-lambda-x86";
        let run = place.ok(&["replay", "--model", models, "--lane", "native", "--format", "json"]);
        let told = run.stderr.contains("functions had whole CPUs");
        let rows = run.json();
        let total = |model| row(&rows, &[("model", model)])["list_total"].clone();
        (total("google-cloud-run"), total("aws-lambda-x86"), told)
    };
    // 120 ms count as 200: 4 x 0.2 s x (1 vCPU x 0.000024 + 1 GiB x 0.0000025), 4 x 0.0000004.
    let (cloud_run, lambda, told) = bills();
    assert_eq!((cloud_run.as_str(), told), (Some("0.0000228"), true));
    assert_eq!(lambda, "0.000008800016");
    let half = "UPDATE invocation SET vcpu_allocated_milli = 500 WHERE cell_id = 1;
        INSERT INTO lane_meter (lane_id, start, meter, source, note)
            VALUES (1, 'cold', 'vcpu_allocated', 'plan', 'a share')";
    place.open().execute_batch(half).expect("a share");
    // 4 x 0.2 s x (0.5 vCPU x 0.000024 + 1 GiB x 0.0000025), 4 x 0.0000004.
    let (cloud_run, same, told) = bills();
    assert_eq!((cloud_run.as_str(), told), (Some("0.0000132"), false));
    assert_eq!(same, lambda, "Lambda's price has the CPU in that of memory");
}

#[test]
fn a_month_has_allowances_and_is_stored_with_its_positions() {
    let place = place();
    let model = ["replay", "--model", "aws-lambda-x86", "--per-month", "10M", "--format", "json"];
    let rows = place.ok(&model).json();
    // 10 M x 0.12 GB-s - 400,000 = 800,000 x 0.0000166667 = 13.33336; 9 x 0.20.
    assert_eq!(row(&rows, &[("lane", "native")])["month_total"], "15.13");
    let connection = place.open();
    let billable: String = connection
        .query_row(
            "SELECT billable FROM v_settlement WHERE lane = 'native' AND position = 'duration'",
            [],
            |row| row.get(0),
        )
        .expect("a settlement");
    assert_eq!(billable, "800000");
    let free = [&model[..], &["--no-free"]].concat();
    let rows = place.ok(&free).json();
    assert_eq!(row(&rows, &[("lane", "native")])["month_total"], "22");
}

#[test]
fn what_if_and_filters_make_simulations_of_their_own() {
    let place = place();
    let bill = |more: &[&str]| {
        let args = [&["replay", "--model", "aws-lambda-x86", "--format", "json"], more].concat();
        place.ok(&args).json()
    };
    let all = bill(&[]);
    let invocations = |rows: &Value| -> u64 {
        rows.as_array().expect("rows").iter().filter_map(|row| row["invocations"].as_u64()).sum()
    };
    assert_eq!(invocations(&all), 8);
    let one = bill(&["--lane", "native"]);
    assert_eq!(row(&one, &[("lane", "native")])["list_total"], "0.000008800016");
    // A quarter of the memory: a quarter of 0.000008000016, and the requests.
    let quarter = bill(&["--lane", "native", "--memory", "256MiB"]);
    assert_eq!(row(&quarter, &[("lane", "native")])["list_total"], "0.000002800004");
    assert_eq!(bill(&["--start", "warm"]), bill(&["--lane", "wasm"]));
    // The two warm ones differ by their filter; the same again is not stored.
    bill(&["--lane", "native"]);
    assert_eq!(numbers(&place.open(), "SELECT COUNT(*) FROM simulation"), [5]);
}

#[test]
fn a_sweep_finds_the_smallest_size_that_the_peak_allows() {
    let place = place();
    let args = ["replay", "--memory", "sweep", "--model", "aws-lambda-x86", "--format", "json"];
    let rows = place.ok(&args).json();
    let cold = row(&rows, &[("lane", "native")]);
    // The peak is 64 MiB, and Lambda bills 128 MiB at least: 64 costs the same.
    assert_eq!(cold["best_memory_bytes"], 64 << 20);
    // An eighth of 2.000004 a million, and 0.20.
    assert_eq!(cold["cost_now"], "2.200004");
    assert_eq!(cold["cost_best"], "0.4500005");
    assert_eq!(numbers(&place.open(), "SELECT COUNT(*) FROM simulation"), [0]);
}

#[test]
fn a_break_even_price_keeps_the_revenue() {
    let place = place();
    let rows = place.ok(&["replay", "--break-even", "--format", "json"]).json();
    // By CPU time: 4 x 60 ms and 4 x 1 ms pay 0.000008800016 and 4 x (0.0000000166667
    // + 0.0000002); 240 of 244 ms are the first's.
    let cold = row(&rows, &[("fine_model", "per-cpu-ms"), ("lane", "native")]);
    let coarse = 0.000_008_800_016_f64;
    let other = 4.0 * (0.000_000_016_666_7 + 0.000_000_2);
    let expected = (coarse + other) * 240.0 / 244.0 / coarse;
    let ratio: f64 = cold["ratio"].as_str().expect("a ratio").parse().expect("a number");
    assert!((ratio - expected).abs() < 1e-6, "{ratio} and {expected}");
    assert_eq!((&cold["more"], &cold["invocations"]), (&4.into(), &4.into()));
    // No cycles in `wasm`, so only `native` is compared by cycles.
    let by_cycles = row(&rows, &[("fine_model", "per-cycle"), ("lane", "native")]);
    assert_eq!(by_cycles["ratio"], "1");
}

#[test]
fn a_cell_and_an_invocation_are_explained() {
    let place = place();
    let cell = place.ok(&["replay", "--explain", "native/cold", "--model", "aws-lambda-x86"]);
    for shown in ["1 GiB x 0.12 s", "= 0.48 GB-s", "= $0.000008000016", "$0.000008800016"] {
        assert!(cell.stdout.contains(shown), "{shown} in\n{}", cell.stdout);
    }
    let one = place.ok(&["replay", "--explain", "1", "--model", "aws-lambda-x86"]);
    for shown in ["120 ms = 0.12 s", "$0.000002200004", "idle", "headroom"] {
        assert!(one.stdout.contains(shown), "{shown} in\n{}", one.stdout);
    }
    let wrong = place.run(&["replay", "--explain", "natve"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("did you mean `native`?"), "{}", wrong.stderr);
    assert_eq!(place.run(&["replay", "--explain", "99"]).code, 1);
}

#[test]
fn a_model_that_is_named_and_refuses_shows_in_the_exit_status() {
    let place = place();
    let run = place.run(&["replay", "--model", "aws-lambda-x86,per-wasm-op"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stdout.contains("`wasm_ops` was not measured"), "{}", run.stdout);
}

#[test]
fn wrong_arguments_say_what_would_be_right() {
    let place = place();
    for (args, hint) in [
        (&["--model", "aws-lambda-x68"][..], "did you mean `aws-lambda-x86`?"),
        (&["--set", "tmp_storag=1GiB"], "did you mean `tmp_storage`?"),
        (&["--set", "tmp_storage"], "write NAME=VALUE"),
        (&["--memory", "256MB"], "write MiB or GiB"),
        (&["--per-month", "many"], "write digits, such as 4000000"),
        (&["--start", "hot"], "cold, warm"),
        (&["--since", "yesterday"], "yesterday"),
        (&["--days", "400"], "1 to 366 days"),
    ] {
        let run = place.run(&[&["replay"], args].concat());
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(hint), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn bills_of_invocations_can_be_left_out_or_asked_for() {
    let place = place();
    let count = || numbers(&place.open(), "SELECT COUNT(*) FROM bill")[0];
    place.ok(&["replay", "--model", "aws-lambda-x86", "--bills", "none"]);
    assert_eq!(count(), 0);
    place.ok(&["replay", "--model", "aws-lambda-x86", "--bills", "all"]);
    assert_eq!(count(), 8);
}

/// A contract over AWS Lambda: 50 % off, at least $25, and 19 % of tax.
const CONTRACT: &str = "extends = \"aws-lambda-x86\"\nid = \"ours\"\nname = \"Ours\"\n\
                        discount = \"50 %\"\nminimum = \"25\"\ntax = { rate = \"19 %\", name = \"VAT\" }\n";

#[test]
fn a_contract_is_a_model_of_a_replay() {
    let place = place();
    let file = place.write("ours.toml", CONTRACT).display().to_string();
    let run = |more: &[&str]| {
        let mut args = vec!["--pricing", &file, "replay", "--model", "ours", "--lane", "native"];
        args.extend_from_slice(more);
        place.ok(&args)
    };
    // 1 GiB x 0.12 s x 0.0000166667 x 0.5 + 0.0000001 = 0.000001100002, four times.
    let list = run(&["--format", "json"]);
    let rows = list.json();
    let total = row(&rows, &[("model", "ours"), ("lane", "native")])["list_total"].clone();
    assert_eq!(total, "0.000004400008", "{rows:#}");
    assert!(
        list.stderr.contains("ours: list prices are without minimum of 25, VAT of 19 %"),
        "{}",
        list.stderr
    );
    // 10 million: 1,200,000 - 400,000 GB-s are 6.66668, 9 million requests 0.90; 25 x 1.19.
    let month = run(&["--per-month", "10M", "--format", "json"]);
    let rows = month.json();
    let price = row(&rows, &[("model", "ours"), ("lane", "native")]);
    assert_eq!(price["month_total"], "29.75", "{price:#}");
    // The lines are stored, and the text is enough to compute it again.
    let connection = place.open();
    let mut lines = connection
        .prepare("SELECT position, amount FROM settlement ORDER BY position")
        .expect("stored");
    let lines: Vec<(String, String)> = lines
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("rows")
        .map(|row| row.expect("a row"))
        .collect();
    let named = |name: &str| lines.iter().find(|line| line.0 == name).map(|line| &*line.1);
    assert_eq!(named("minimum"), Some("17.43332"), "{lines:?}");
    assert_eq!(named("VAT"), Some("4.75"), "{lines:?}");
    let text: String = connection
        .query_row("SELECT text FROM simulation_model ORDER BY simulation_id LIMIT 1", [], |row| {
            row.get(0)
        })
        .expect("a text");
    let again = cyclometer::pricing::PriceModel::parse_complete(&text, "stored").expect("complete");
    assert_eq!(again[0].id(), "ours");
    // Another contract of that id is another simulation.
    place.write("ours.toml", CONTRACT.replace("50 %", "40 %"));
    let other = run(&["--per-month", "10M", "--format", "json"]);
    assert!(!other.stderr.contains("was stored before"), "{}", other.stderr);
}
