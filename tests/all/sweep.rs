//! Sweeps over memory sizes, through the program itself.

use crate::common::{Place, column, turns};
use cyclometer::meter::{function_group::FunctionGroup, quota::CpuLimit};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// Returns why functions cannot be held to a CPU share here, if they cannot.
fn why_no_share() -> Option<String> {
    let limit = CpuLimit::from_thousandths(500);
    let limited = FunctionGroup::create().and_then(|group| group.limit_cpu(Some(limit)));
    limited.err().map(|error| error.to_string())
}

/// Returns the rows of a sweep as JSON, by size in MiB.
fn rows(json: &Value) -> Vec<(u64, Value)> {
    let rows = json.as_array().expect("rows").iter();
    rows.map(|row| (row["memory_bytes"].as_u64().expect("a size") / MIB, row.clone())).collect()
}

/// Returns the runs of a function: wall, CPU, and what AWS bills, in nanoseconds.
fn runs(place: &Place, workload: &str) -> Vec<[f64; 3]> {
    let sql = format!(
        "SELECT wall_ns || ' ' || cpu_ns || ' ' || (COALESCE(start_ns, 0) + run_ns)
         FROM v_invocation WHERE workload = '{workload}' AND status = 'ok'"
    );
    let parse = |text: String| {
        let mut figures = text.split(' ').map(|it| it.parse().expect("a figure"));
        std::array::from_fn(|_| figures.next().expect("three figures"))
    };
    column(&place.open(), &sql).into_iter().map(parse).collect()
}

/// Computes the cost of a million runs on AWS Lambda, in dollars.
fn lambda_cost(mib: u32, runs: &[[f64; 3]]) -> f64 {
    let seconds: f64 = runs.iter().map(|[.., billed]| (billed / 1e6).ceil() / 1e3).sum();
    let count = f64::from(u32::try_from(runs.len()).expect("few"));
    f64::from(mib) / 1_024.0 * seconds / count * 16.666_7 + 0.2
}

/// Returns the size that a sweep chose.
fn chosen(rows: &[(u64, Value)], strategy: &str) -> u64 {
    rows.iter().find(|(_, row)| row[strategy] == "chosen").expect("a choice").0
}

#[test]
fn a_function_that_computes_gets_faster_as_its_share_says_and_one_that_waits_only_dearer() {
    let _alone = turns::run_alone();
    if let Some(reason) = why_no_share() {
        eprintln!("skipped: no CPU share can be enforced: {reason}");
        return;
    }
    let place = Place::new();
    let sweep = |args: &[&str]| {
        let usual = ["--lane", "native", "--runs", "3", "--model", "aws-lambda-x86", "--format"];
        place.ok(&[&["sweep", "--workload"], args, &usual, &["json"]].concat())
    };
    // A second of CPU time, with a quarter and half of a CPU: 442 / 1769 and 885 / 1769.
    let computing =
        sweep(&["nbody", "--preset", "second", "--memory", "442MiB,885MiB", "--warmup", "0"]);
    let computing = rows(&computing.json());
    assert_eq!(
        (&computing[0].1["cpu_share"], &computing[1].1["cpu_share"]),
        (&0.25.into(), &0.5.into())
    );
    let mut figures = Vec::new();
    for ((mib, row), share) in computing.iter().zip([0.25, 0.5]) {
        let runs = runs(&place, &format!("nbody@{mib}MiB"));
        assert_eq!(runs.len(), 3);
        // The least disturbed run: on a busy machine a function gets less than its share.
        let of_share = runs.iter().map(|[wall, cpu, _]| wall * share / cpu);
        let best = of_share.fold(f64::INFINITY, f64::min);
        let is_busy = best > 1.05 && is_machine_busy();
        if is_busy {
            eprintln!("skipped: the machine is busy: {best:.3} of the time at {share} CPUs");
        }
        assert!(is_busy || (0.95..=1.05).contains(&best), "{best:.3} of the time at {share} CPUs");
        let cost: f64 =
            row["cost_per_million"].as_str().expect("a cost").parse().expect("a number");
        let by_hand = lambda_cost(u32::try_from(*mib).expect("small"), &runs);
        assert!((cost - by_hand).abs() < 1e-6 * by_hand, "{cost} and by hand {by_hand}");
        figures.push((*mib, cost, row["wall_p50_ns"].as_f64().expect("a median")));
    }
    let is_faster = figures[1].2 < 0.7 * figures[0].2;
    assert!(is_faster || is_machine_busy(), "twice the share: {figures:?}");
    // The choices, by hand from the same figures.
    let least = |of: &dyn Fn(&(u64, f64, f64)) -> f64| {
        figures.iter().min_by(|one, other| of(one).total_cmp(&of(other))).expect("two").0
    };
    let most = |of: fn(&(u64, f64, f64)) -> f64| figures.iter().map(of).fold(0.0, f64::max);
    let (dearest, slowest) = (most(|it| it.1), most(|it| it.2));
    assert_eq!(chosen(&computing, "cheapest"), least(&|it| it.1));
    assert_eq!(chosen(&computing, "fastest"), least(&|it| it.2));
    let score = |it: &(u64, f64, f64)| 0.5 * it.1 / dearest + 0.5 * it.2 / slowest;
    assert_eq!(chosen(&computing, "balanced"), least(&score));

    let waiting = rows(&sweep(&["wait", "--memory", "885MiB,1769MiB"]).json());
    let wall = |at: usize| waiting[at].1["wall_p50_ns"].as_f64().expect("a median");
    assert!((wall(0) / wall(1) - 1.0).abs() < 0.25, "{} ns and {} ns", wall(0), wall(1));
    let cost = |at: usize| -> f64 {
        waiting[at].1["cost_per_million"].as_str().expect("a cost").parse().expect("a number")
    };
    let ratio = (cost(1) - 0.2) / (cost(0) - 0.2);
    assert!((1.6..2.4).contains(&ratio), "twice the memory: {ratio}");
    assert_eq!(chosen(&waiting, "cheapest"), 885);
}

/// Returns whether more processes want to run than there are CPUs.
fn is_machine_busy() -> bool {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0.0);
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    load > f64::from(u32::try_from(cpus).unwrap_or(1))
}

#[test]
fn a_sweep_is_kept_drawn_and_shown_again() {
    let place = Place::new();
    let svg = place.path().join("fn.svg");
    let svg = svg.to_str().expect("UTF-8");
    let sweep = [
        "sweep",
        "--workload",
        "memory-burst",
        "--lane",
        "native",
        "--memory",
        "6MiB,512MiB,1GiB",
        "--cpu-by-memory",
        "none",
        "--runs",
        "6",
        "--seed",
        "5",
        "--present",
        "1GiB",
    ];
    let first = place.run(&[&sweep[..], &["--svg", svg, "--format", "csv"]].concat());
    // Six MiB are too little: a row with its reason, and the exit status of failures.
    assert_eq!(first.code, 3, "{}", first.stderr);
    assert!(first.stderr.contains("6 MiB: all 3 runs failed: "), "{}", first.stderr);
    assert!(first.stderr.contains("functions had whole CPUs at every size"), "{}", first.stderr);
    let drawn = std::fs::read_to_string(svg).expect("the chart");
    assert!(drawn.starts_with("<svg ") && drawn.contains("memory-burst by memory size"));
    let again = place.ok(&["sweep", "--show", "latest", "--format", "csv"]);
    assert_eq!(first.stdout, again.stdout);
    let stored = column(&place.open(), "SELECT label || ' ' || (plan ->> 'seed') FROM recording");
    assert_eq!(stored, ["sweep memory-burst 5"]);
    let names = "SELECT DISTINCT workload FROM v_invocation ORDER BY cell";
    assert_eq!(
        column(&place.open(), names),
        ["memory-burst@6MiB", "memory-burst@512MiB", "memory-burst@1024MiB"]
    );
    // Other tariffs and head-rooms need no new runs; what `replay` prints is the same.
    let shown =
        |args: &[&str]| place.ok(&[&["sweep", "--show", "1", "--format", "json"], args].concat());
    let rows = rows(&shown(&["--model", "per-cycle,aws-lambda-x86", "--head-room", "900%"]).json());
    assert_eq!(rows.len(), 6);
    assert!(rows.iter().all(|(_, row)| row["can_be_recommended"] == false), "{rows:?}");
    let replayed =
        place.ok(&["replay", "1", "--model", "aws-lambda-x86", "--format", "json"]).json();
    let cost = rows[4].1["cost_per_million"].as_str().expect("a cost").to_owned();
    let replayed = replayed.to_string();
    assert!(replayed.contains(&cost[..8.min(cost.len())]), "{cost} in {replayed}");
    let text = place.ok(&["sweep", "--show", "1"]).stdout;
    assert!(text.contains("memory-burst, native, cold") && text.contains("C cheapest"), "{text}");
    assert!(text.contains("aws-lambda-x86: cheapest 512 MiB"), "{text}");
    let markdown = place.ok(&["sweep", "--show", "1", "--format", "markdown"]).stdout;
    assert!(markdown.starts_with("| memory | CPUs | runs |"), "{markdown}");
    // A file that is there is left alone, before anything is measured.
    let run = place.run(&[&sweep[..], &["--svg", svg]].concat());
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("exists and is left alone"), "{}", run.stderr);
    assert_eq!(column(&place.open(), "SELECT COUNT(*) || '' FROM recording"), ["1"]);
}

#[test]
fn a_command_of_ones_own_is_swept_and_called_by_its_own_name() {
    let place = Place::new();
    let sweep = ["sweep", "--memory", "64MiB,128MiB", "--cpu-by-memory", "none", "--runs", "6"];
    // $0 is the name by which the shell was called.
    let command = ["--format", "jsonl", "--", "sh", "-c", "test $0 = sh"];
    let run = place.ok(&[&sweep[..], &command].concat());
    assert_eq!(run.stdout.lines().count(), 6, "two sizes, three tariffs: {}", run.stdout);
    let names = "SELECT DISTINCT workload FROM v_invocation ORDER BY cell";
    assert_eq!(column(&place.open(), names), ["sh@64MiB", "sh@128MiB"]);
}

#[test]
fn what_cannot_be_swept_is_refused_before_any_work() {
    let place = Place::new();
    place.ok(&["record", "--workload", "nop", "--lane", "native", "--runs", "1"]);
    let sweep = ["sweep", "--workload", "nop", "--lane", "native"];
    for (args, code, reason) in [
        (&["sweep"][..], 2, "a sweep measures one function: name it"),
        (&["sweep", "--show", "latest"], 1, "recording 1 is no sweep"),
        (&[&sweep[..], &["--head-room", "-5%"]].concat(), 2, "head-room"),
        (&[&sweep[..], &["--memory", "128"]].concat(), 2, "has a unit"),
        (&[&sweep[..], &["--memory-from", "per-cycle"]].concat(), 2, "knows no sizes"),
        (&[&sweep[..], &["--model", "aws-lamda-x86"]].concat(), 2, "aws-lambda-x86"),
        (&[&sweep[..], &["--cpus", "0"]].concat(), 2, "is no number of CPUs"),
        (&[&sweep[..], &["--cpus", "100000"]].concat(), 2, "no size can be measured: a share of"),
        (&[&sweep[..], &["--cpus", "1", "--cpu-by-memory", "aws"]].concat(), 2, "cannot be used"),
        (&[&sweep[..], &["--start", "warm"]].concat(), 2, "has no warm start"),
    ] {
        let run = place.run(args);
        assert_eq!(run.code, code, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(reason), "{args:?}: {}", run.stderr);
    }
    assert_eq!(column(&place.open(), "SELECT COUNT(*) || '' FROM recording"), ["1"]);
}
