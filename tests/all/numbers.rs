//! Quantities that are read from arguments and files, and the bills they make.

use super::common::{Place, Run};

/// Runs the program with settings of its own.
fn run(place: &Place, args: &[&str]) -> Run {
    let mut command = place.command(args);
    command.env("XDG_CONFIG_HOME", place.path().join("config"));
    Run::of(&command.output().expect("the program starts"))
}

/// Words of one line, run as `pricing explain`.
fn explain(place: &Place, line: &str) -> Run {
    let mut args = vec!["pricing", "explain"];
    args.extend(line.split_whitespace());
    run(place, &args)
}

/// The total of a bill, as printed.
fn total(place: &Place, line: &str) -> String {
    let run = explain(place, &format!("{line} --format json"));
    assert_eq!(run.code, 0, "{line}: {}", run.stderr);
    run.json()["total"].as_str().expect("a total").to_owned()
}

/// The error of a wrong argument, which is a usage error with nothing on stdout.
fn refused(place: &Place, line: &str) -> String {
    let run = explain(place, line);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{line}: {}", run.stderr);
    run.stderr
}

#[test]
fn an_exponent_is_part_of_the_number_wherever_one_is_read() {
    let place = Place::new();
    // 4,000,000 x $8 / 1,000,000, at the price of a durable operation.
    for number in ["4e6", "4M", "4000000", "4_000_000", "4,000,000"] {
        let line = format!("aws-lambda-x86 --set durable_operations={number}");
        assert_eq!(total(&place, &line), "32", "{number}");
    }
    // The page's example: $91.40 + $48.96, without its requests.
    let instances = "aws-lambda-managed-instances --set instance_time=2000h --set instance_price=";
    for number in ["4.57e-2", "0.0457", "0.045_7"] {
        assert_eq!(total(&place, &format!("{instances}{number}")), "140.36", "{number}");
    }
    // 2,000 x 1 s x 128 MB / 1000 = 256 GB-s, which the page bills as a million:
    // the same as 2000 stretches written out.
    let objects = "cloudflare-durable-objects --requests 1e6 --instance-time 1h --instances ";
    assert_eq!(total(&place, &format!("{objects}2e3")), total(&place, &format!("{objects}2000")));
    assert_ne!(total(&place, &format!("{objects}2e3")), total(&place, &format!("{objects}2")));
}

#[test]
fn what_is_not_understood_in_full_says_what_to_write() {
    let place = Place::new();
    for (number, advice) in [
        ("0,0457", "write 0.0457, with a point"),
        ("4bananas", "write 4 alone"),
        ("1.2.3", "more than one point"),
        ("4.000.000", "write 4000000"),
        ("NaN", "write digits"),
        ("inf", "write digits"),
        ("1e999999999", "an exponent is -30 to 30"),
        ("-1", "write 0 or more"),
        ("", "write a number"),
    ] {
        for option in [
            "aws-lambda-managed-instances --set instance_price=",
            "aws-lambda-x86 --set durable_operations=",
            "aws-lambda-x86 --set run=1s --set memory_allocated=1GB --set requests=",
            "per-cycle --set cycles=",
        ] {
            let error = refused(&place, &format!("{option}{number}"));
            assert!(error.contains(advice), "{option}{number}: {error}");
        }
    }
    let comma = "aws-lambda-managed-instances --set instance_price=1,769";
    assert!(refused(&place, comma).contains("write 1769 or 1.769"));
    // There is no half of a request, so here the comma can only group.
    let requests = "aws-lambda-edge --set run=1s --set memory_allocated=128MB --requests ";
    assert_eq!(
        total(&place, &format!("{requests}100,000")),
        total(&place, &format!("{requests}1e5"))
    );
    let sizes = "aws-lambda-x86 --set run=1s --set memory_allocated=";
    // 1.7 x 1024 = 1740.8 MiB.
    assert!(refused(&place, &format!("{sizes}1.7GB")).contains("write 1740 MiB or 1741 MiB"));
    assert!(refused(&place, &format!("{sizes}128mb")).contains("`MB` (1000000 bytes) or `MiB`"));
    // Lambda writes KB for 1024 bytes; 131072 KB are 128 MiB.
    assert_eq!(
        total(&place, &format!("{sizes}131072KB")),
        total(&place, &format!("{sizes}128MiB"))
    );
    let decimal = "cloudflare-durable-objects --set run=1s --set memory_allocated=128KB";
    assert!(refused(&place, decimal).contains("`kB` (1000 bytes) or `KiB` (1024 bytes)"));
}

#[test]
fn options_of_recording_and_replay_read_the_same_numbers() {
    let place = Place::new();
    for (args, advice) in [
        (&["record", "--runs", "1,5"][..], "write 1.5, with a point"),
        (&["record", "--runs", "0"], "write 1 or more"),
        (&["record", "--timeout", "1,5s"], "write 1.5, with a point"),
        (&["record", "--timeout", "5"], "write 10ms, 1.5s or 2min"),
        (&["record", "--memory", "512M"], "`MB` (1000000 bytes) or `MiB` (1048576 bytes)"),
        (&["record", "--until", "1,5%"], "write 1.5, with a point"),
        (&["record", "--until", "nan%"], "write digits"),
        (&["record", "--sample-interval", "1 sec"], "use `ns`, `us`, `ms`"),
        (&["replay", "--days", "1 fortnight"], "or none for days"),
        (&["history", "list", "--limit", "1.5"], "write a whole number"),
        (&["history", "compare", "1", "2", "--confidence", "99,5"], "write 99.5, with a point"),
        (&["query", "--limit", "1e99", "SELECT 1"], "an exponent is -30 to 30"),
    ] {
        let run = run(&place, args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(advice), "{args:?}: {}", run.stderr);
    }
}

const TARIFF: &str = r#"id = "nimbus"
name = "Nimbus"
currency = "USD"
granularity = "coarse"
effective_from = 2026-01-01
retrieved = 2026-01-01
source = "by hand"
rounding = "none"
gb = "binary"

[[input]]
name = "operations"
kind = "count"
default = "0"
about = "operations"

[[charge]]
name = "operations"
basis = "period"
price = "1"
[[charge.factor]]
input = "operations"
unit = "operations"

[[charge]]
name = "memory"
price = "1"
[[charge.factor]]
meter = "memory_allocated"
unit = "MiB"

[[example]]
name = "1536 MB"
source = "by hand: this provider's MB are MiB"
quantities = { memory = "1536", operations = "4000000" }
set = { operations = "4e6" }
[[example.usage]]
requests = "1"
meters = { memory_allocated = "1536 MB" }
"#;

#[test]
fn files_and_arguments_mean_the_same_by_one_text() {
    let place = Place::new();
    let file = place.write("config/cyclometer/pricing/nimbus.toml", TARIFF);
    let checked = run(&place, &["pricing", "check", &file.display().to_string()]);
    assert!(checked.stderr.contains("1 models, 1 examples: 1 pass"), "{}", checked.stderr);
    for count in ["\"4,000,000\"", "\"4e6\"", "\"4 M\"", "4_000_000"] {
        let usage = format!(
            "set = {{ operations = {count} }}\n[[usage]]\nrequests = 1\nmeters = {{ \
             memory_allocated = \"1536 MB\" }}\n"
        );
        let usage = place.write("usage.toml", usage).display().to_string();
        // 4,000,000 operations and 1536 MiB at $1 each.
        assert_eq!(total(&place, &format!("nimbus --usage {usage}")), "4001536", "{count}");
    }
    let usage = place.write("usage.toml", "set = { operations = 0.5 }\n").display().to_string();
    let error = refused(&place, &format!("nimbus --usage {usage}"));
    assert!(error.contains("in quotes a number and its unit"), "{error}");
    for (from, to, advice) in [
        ("default = \"0\"", "default = \"0,5\"", "write 0.5, with a point"),
        ("default = \"0\"", "default = \"4 bananas\"", "write 4 alone"),
        ("requests = \"1\"", "requests = \"1,5\"", "write 1.5, with a point"),
        ("requests = \"1\"", "requests = 1.5", "a whole number such as"),
        ("price = \"1\"", "price = \"0,02\"", "write 0.02, with a point"),
    ] {
        let broken = place.write("broken.toml", TARIFF.replacen(from, to, 1)).display().to_string();
        let checked = run(&place, &["pricing", "check", &broken]);
        assert_eq!(checked.code, 1, "{to}: {}", checked.stderr);
        assert!(checked.stderr.contains(advice), "{to}: {}", checked.stderr);
    }
}

#[test]
fn providers_rules_hold_on_the_command_line() {
    let place = Place::new();
    for (line, expected) in [
        // The page's example 2 of provisioned concurrency, with the free tier on.
        (
            "aws-lambda-x86 --requests 2M --set run=280ms --set memory_allocated=4096MB --set \
             provisioned --set provisioned_memory=4096MB --set provisioned_concurrency=7 --set \
             provisioned_time=24h",
            "32.26",
        ),
        // 1.769 x 0.18 = 0.31842, and 0.0000006 for the one invocation.
        (
            "vercel-legacy --set run=1h --set memory_allocated=1769MB --no-free --rounding none",
            "0.3184206",
        ),
        // 90,305,037,184 / 1,024,000 x 0.000016 + 6.500012 x 0.20, as its author adds.
        (
            "azure-consumption --set executions=6500012 --set \
             execution_units=90305037184MB-ms --no-free",
            "2.71",
        ),
        // 2 s x 0.25 x 0.0000276944 + 2 s x 0.5 x 0.0000036667.
        (
            "aws-lambda-microvm --set run=1.5s --set cpu_time=1ms --set memory_peak=1MB --set \
             baseline_vcpu=0.25 --set baseline_memory=0.5GB --rounding none",
            "0.0000175139",
        ),
        // A minute: 1 / 60 x (0.03238 + 2 x 0.00356) = 0.00065833...
        ("aws-fargate-arm --set task_time=1s --rounding sum_half_up --digits 8", "0.00065833"),
        // Inputs alone, for as long as the period: 30, 31 days and 730 h.
        ("aws-fargate-arm", "28.44"),
        ("aws-fargate-arm --days 31", "29.39"),
        ("aws-fargate-arm --days 730h", "28.84"),
        // 34 / 13 x 5,000,000 / (755 x 10^9) = 0.0000173204...
        (
            "internet-computer --set wasm_ops=0 --set nodes=34 --rounding sum_half_up --digits 9",
            "0.00001732",
        ),
    ] {
        assert_eq!(total(&place, line), expected, "{line}");
    }
}

#[test]
fn a_share_of_a_cpu_is_not_printed_as_memory() {
    let place = Place::new();
    let text = explain(&place, "shape-aws-1769 --set run=1s --set memory_allocated=1769MiB").stdout;
    assert!(text.contains("= 1 vCPU") && !text.contains("1 MiB x"), "{text}");
}

#[test]
fn examples_that_round_as_they_like_are_counted_apart() {
    let place = Place::new();
    let file = place.write("nimbus.toml", TARIFF).display().to_string();
    let checked = run(&place, &["pricing", "check", &file]);
    assert!(!checked.stderr.contains("rounding of their own"), "{}", checked.stderr);
    let own = TARIFF.replace("[[example]]\n", "[[example]]\nrounding = \"line_up\"\n");
    let file = place.write("nimbus.toml", own).display().to_string();
    let checked = run(&place, &["pricing", "check", &file]);
    assert!(checked.stderr.contains("1 bring a rounding of their own"), "{}", checked.stderr);
}
