//! `pricing explain` through the program: what providers print, from what a
//! person would type.

use crate::common::{self, Place};
use cyclometer::pricing::Exact;
use serde_json::Value;

/// Arguments, and the total as it is printed: on the pricing pages of the
/// providers, in the golden files of infracost and the tests of firebase-tools
/// and icp-calculator, or, for Lambda@Edge and Alibaba, by hand.
const BILLS: &[(&str, &str)] = &[
    ("aws-lambda-x86-2014 --requests 3M --set run=1s --set memory_allocated=512MB", "18.74"),
    ("aws-lambda-x86-2014 --requests 30M --set run=200ms --set memory_allocated=128MB", "11.63"),
    (
        "aws-lambda-x86-2014 --group requests=25M,run=200ms,memory_allocated=128MB --group \
         requests=5M,run=500ms,memory_allocated=448MB --group \
         requests=2.5M,run=1s,memory_allocated=1024MB",
        "69.96",
    ),
    (
        "aws-lambda-x86-2020 --requests 60M --set run=28ms --set memory_allocated=1GB \
         --no-free",
        "40.00",
    ),
    ("aws-lambda-x86 --requests 3M --set wall=120ms --set memory_allocated=1536MB", "2.73"),
    (
        "aws-lambda-x86 --requests 6M --set wall=280ms --set memory_allocated=4096MB --set \
         tmp_storage=2048MB",
        "106.41",
    ),
    (
        "aws-lambda-x86 --set memory_allocated=1536MB --set provisioned_memory=1536MB --set \
         provisioned_concurrency=100 --set provisioned_time=8h --group \
         requests=500k,run=100ms,provisioned --group requests=2.5M,run=120ms",
        "19.96",
    ),
    (
        "aws-lambda-x86 --requests 7.44M --set run=2s --set memory_allocated=1024MB --set \
         snapstart_memory=1024MB --set snapstart_time=31day --set snapstart_restores=74400 \
         --no-free",
        "263.92",
    ),
    (
        "aws-lambda-x86 --requests 10M --set run=2s --set memory_allocated=1024MB --set \
         tenant_environments=200k --set tenant_memory=1024MB --no-free --rounding line_up",
        "368.74",
    ),
    (
        "aws-lambda-arm --requests 2M --set run=16s --set memory_allocated=1GB --set \
         durable_operations=4M --set durable_written=104GB --set durable_stored=52416GB-h",
        "490.46",
    ),
    (
        "aws-lambda-managed-instances --requests 100M --set instance_time=2000h --set \
         on_demand_price=0.1632 --set instance_price=0.0457",
        "160.36",
    ),
    (
        "aws-lambda-x86 --requests 30M --set run=1s --set memory_allocated=1024MB --set \
         sqs_epu_time=8000h --no-free",
        "580.00",
    ),
    (
        "aws-lambda-x86 --requests 300M --set run=0.2s --set memory_allocated=1024MB --set \
         kafka_epu_time=720h --no-free",
        "1193.20",
    ),
    (
        "aws-lambda-x86 --requests 100,000 --set run=350ms --set memory_allocated=128MB \
         --no-free",
        "0.09",
    ),
    (
        "aws-lambda-x86 --requests 100_000 --set run=350ms --set memory_allocated=512MB \
         --no-free",
        "0.31",
    ),
    (
        "aws-lambda-arm --requests 100k --set run=350ms --set memory_allocated=128MB \
         --no-free",
        "0.08",
    ),
    (
        "aws-lambda-arm --requests 100k --set run=350ms --set memory_allocated=512MB \
         --no-free",
        "0.25",
    ),
    (
        "aws-lambda-x86 --requests 6G --set run=1024ms --set memory_allocated=512MB --no-free",
        "52400.10",
    ),
    (
        "aws-lambda-x86 --requests 9B --set run=1024ms --set memory_allocated=1024MB \
         --no-free",
        "150040.20",
    ),
    (
        "aws-lambda-arm --requests 18.25G --set run=2048ms --set memory_allocated=2048MB \
         --no-free",
        "836008.16",
    ),
    ("azure-consumption --requests 3M --set run=1s --set memory_peak=512MB", "18.00"),
    (
        "azure-flex --requests 144k --instances 10 --instance-time 1h --set \
         memory_allocated=2048MB --no-free --rounding none",
        "1.9296",
    ),
    (
        "azure-consumption --requests 3540123 --set run=495ms --set memory_peak=490MB \
         --no-free",
        "14.73",
    ),
    ("google-cloud-functions --requests 10M --set run=300ms --set memory_allocated=128MB", "7.20"),
    (
        "google-cloud-functions --requests 10M --set run=240ms --set memory_allocated=256MB \
         --set egress=100GB --no-free",
        "29.88",
    ),
    (
        "google-cloud-run-tier2 --requests 500k --set run=3600ms --set \
         memory_allocated=512MiB --set vcpu_allocated=1vCPU --no-free",
        "63.83",
    ),
    (
        "google-cloud-run-instance-tier2 --requests 1M --instances 2 --instance-time 730h \
         --set memory_allocated=512MiB --no-free",
        "119.84",
    ),
    ("google-cloud-functions --set idle_time=30day --set idle_memory=256MB", "0.62"),
    ("cloudflare-workers --requests 15M --set cpu_time=7ms", "8.00"),
    ("cloudflare-workers --requests 3M --set cpu_time=7ms", "5.00"),
    ("cloudflare-workers-bundled --requests 100M", "50.00"),
    ("cloudflare-durable-objects --requests 1.5M --instances 1 --instance-time 1000000s", "5.15"),
    (
        "cloudflare-durable-objects --requests 100 --instances 100 --instance-time 30day \
         --set websocket_messages=259.2M",
        "419.30",
    ),
    ("digitalocean-functions --requests 1M --set run=100ms --set memory_allocated=128MiB", "0.00"),
    (
        "digitalocean-functions --requests 3.6M --set run=0.1s --set memory_allocated=0.25GiB",
        "0.00",
    ),
    (
        "digitalocean-functions --requests 15M --set run=200ms --set memory_allocated=512MB \
         --rounding sum_half_down",
        "26.08",
    ),
    ("digitalocean-functions --requests 15M --set run=200ms --set memory_allocated=512MB", "26.08"),
    ("scaleway-functions --requests 30M --set run=1s --set memory_allocated=128MB", "44.55"),
    (
        "vercel-fluid --set run=1h --set cpu_time=1h --set memory_allocated=2GB --no-free \
         --rounding sum_half_up --digits 3",
        "0.149",
    ),
    ("supabase-edge --requests 3.4M --set compute=15", "34.00"),
    ("internet-computer --set wasm_ops=1M --rounding sum_half_up --digits 9", "0.000007947"),
    (
        "internet-computer --set update_messages=0 --set wasm_ops=1G --rounding sum_half_up \
         --digits 6",
        "0.001325",
    ),
    ("internet-computer --set storage=1GiB --days 365 --rounding sum_half_up --digits 3", "5.305"),
    ("internet-computer --set canisters_created=1 --rounding sum_half_up --digits 3", "0.662"),
    (
        "internet-computer --set wasm_ops=0 --set update_messages=0 --set outcalls=1 --set \
         outcall_request=1MB --set outcall_response=2MB --rounding sum_half_up --digits 4",
        "0.0345",
    ),
    (
        "aws-lambda-microvm --set snapshot_read=28000GB --set snapshot_written=24000GB --set \
         snapshot_stored=29200GB-h --group \
         requests=2k,run=37.5min,cpu_time=2.5h,memory_peak=8GB --group \
         requests=2k,run=112.5min,cpu_time=112.5min,memory_peak=2GB",
        "1241.22",
    ),
    ("aws-lambda-edge --requests 10M --set run=10ms --set memory_allocated=128MB", "6.63"),
    (
        "aws-lambda-x86 --set run=20s --set memory_allocated=2048MB --set tmp_storage=2048MB \
         --no-free --rounding sum_half_up --digits 5",
        "0.00067",
    ),
    (
        "alibaba-function-compute --requests 10M --set run=500ms --set memory_allocated=2GB \
         --set vcpu_allocated=1vCPU --set disk=1GB",
        "136.50",
    ),
    ("huawei-functiongraph --requests 2.2M --set run=1ms --set memory_allocated=128MB", "0.24"),
];

fn exact(text: &str) -> Exact {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn explain(place: &Place, args: &str, more: &[&str]) -> common::Run {
    let args: Vec<&str> = ["pricing", "explain"]
        .into_iter()
        .chain(args.split_whitespace())
        .chain(more.iter().copied())
        .collect();
    place.run(&args)
}

#[test]
fn bills_that_providers_print_come_out() {
    let place = Place::new();
    assert!(BILLS.len() >= 30);
    for (args, total) in BILLS {
        let run = explain(&place, args, &["--format", "json"]);
        assert_eq!(run.code, 0, "{args}: {}", run.stderr);
        let found = run.json();
        let found = found["total"].as_str().expect("a string");
        assert_eq!(exact(found), exact(total), "{args}: {found}");
    }
}

#[test]
fn three_forms_say_the_same() {
    let place = Place::new();
    let args = "aws-lambda-x86 --requests 3M --set run=120ms --set memory_allocated=1536MB";
    let text = explain(&place, args, &[]);
    assert_eq!(text.code, 0, "{}", text.stderr);
    assert!(text.stdout.contains("x 3,000,000 requests            = 540,000 GB-s\n"));
    assert!(text.stdout.contains("total (line_half_up, 2 decimals)  = $2.73\n"), "{}", text.stdout);
    assert!(text.stdout.contains("note: MB as Amazon Web Services writes it: 1536 MiB\n"));
    assert_eq!(text.stderr, "");

    let json = explain(&place, args, &["--format", "json"]).json();
    assert_eq!(json["exact_total"], "2.733338");
    assert_eq!(json["model"]["id"], "aws-lambda-x86");
    assert_eq!(json["groups"][0]["run_ns"], 120_000_000);
    let duration = &json["positions"][0];
    assert_eq!((&duration["name"], &duration["billable"]), (&"duration".into(), &"140000".into()));

    let csv = explain(&place, args, &["--format", "csv"]);
    let duration = csv.stdout.lines().nth(1).expect("a row");
    assert_eq!(
        duration,
        "duration,GB-s,540000,400000,140000,0.0000166667,1,0,2.333338,2.33,USD,position,"
    );
    assert!(csv.stderr.contains("1536 MiB"), "{}", csv.stderr);
}

#[test]
fn a_file_of_groups_is_the_same_as_groups_on_the_command_line() {
    let place = Place::new();
    let file = place.write(
        "usage.toml",
        r#"
set = { provisioned_memory = "1536 MB", provisioned_concurrency = 1, provisioned_time = "8 h" }
[[usage]]
requests = 500_000
phases = { run = "100 ms" }
meters = { memory_allocated = "1536 MB" }
set = { provisioned = true }
[[usage]]
requests = 2_500_000
meters = { memory_allocated = "1536 MB", wall = "120 ms" }
"#,
    );
    let file = file.to_str().expect("text");
    // What is said on the command line holds rather than what the file says.
    let more = ["--usage", file, "--set", "provisioned_concurrency=100", "--format", "json"];
    let run = explain(&place, "aws-lambda-x86", &more);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(exact(run.json()["total"].as_str().expect("a string")), exact("19.96"));

    let file = place.write("bad.toml", "[[usage]]\nrequests = 1\nmeters = { wall = \"120\" }\n");
    let run = explain(&place, "aws-lambda-x86", &["--usage", file.to_str().expect("text")]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("bad.toml:3:19:"), "{}", run.stderr);
}

#[test]
fn what_is_missing_is_named_with_what_to_do() {
    let place = Place::new();
    let run = explain(&place, "aws-lambda-x86 --requests 3M", &[]);
    assert_eq!((run.code, &*run.stdout), (1, ""));
    assert!(run.stderr.contains("--set memory_allocated=128MB"), "{}", run.stderr);
    assert!(run.stderr.contains("--set run=100ms"), "{}", run.stderr);

    let run = explain(&place, "aws-lambda-x86 --set run=1s --set memory_allocated=20GB", &[]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("is above 10 GiB, the most on offer"), "{}", run.stderr);
}

#[test]
fn wrong_words_are_wrong_usage() {
    let place = Place::new();
    for (args, complaint) in [
        ("aws-lambda-x86", "aws-lambda-x86 reads: start, run, memory_allocated"),
        ("aws-lambda-x68 --requests 1", "did you mean `aws-lambda-x86`?"),
        ("aws-lambda-x86 --set runn=3ms", "did you mean `run`?"),
        ("aws-lambda-x86 --set memroy=3MB", "did you mean `memory_allocated`?"),
        ("aws-lambda-x86 --set tmp_storag=3MB", "did you mean `tmp_storage`?"),
        ("aws-lambda-x86 --set run=0.5ns", "no whole number: write 0 ns or 1 ns"),
        ("aws-lambda-x86 --set run", "`run` is no switch"),
        ("aws-lambda-x86 --set run=3", "time has a unit: write 3 with one of `ns`"),
        ("aws-lambda-x86 --set wall=3ms --set start=4ms", "3 ms is less than 4 ms"),
        ("aws-lambda-x86 --requests 3e-6", "no whole number: write 0 or 1"),
        ("aws-lambda-x86 --requests 1,5", "write 1.5, with a point"),
        ("aws-lambda-x86 --requests 1.5", "no whole number: write 1 or 2"),
        ("aws-lambda-x86 --group requests=3,000,000", "in --group a comma is between names"),
        ("aws-lambda-x86 --group provisioned_time=8h", "give it with --set provisioned_time=8h"),
        ("aws-lambda-x86 --group instances=3", "`instances` and `instance_time` belong together"),
        ("aws-lambda-x86 --example 99", "1  27.55 ms are billed as 28 ms"),
        ("aws-lambda-x86 --requests 1 --rounding half", "line_half_up"),
        ("aws-lambda-x86 --set run=1s --usage nowhere.toml", "--usage says what the requests used"),
        ("aws-lambda-x86 --usage nowhere.toml", "cannot read nowhere.toml"),
    ] {
        let run = explain(&place, args, &[]);
        assert_eq!((run.code, &*run.stdout), (2, ""), "{args}: {}", run.stderr);
        assert!(run.stderr.contains(complaint), "{args}: {}", run.stderr);
    }
}

#[test]
fn what_makes_no_difference_is_said() {
    let place = Place::new();
    let args = "cloudflare-workers --requests 1M --set cpu_time=7ms --set cycles=70.4M";
    let run = explain(&place, args, &["--format", "json"]);
    let notes = run.json()["notes"].clone();
    assert_eq!(notes, Value::from(vec!["makes no difference to this model: cycles"]));
}

#[test]
fn an_example_is_found_by_number_and_by_name() {
    let place = Place::new();
    for which in ["3", "INIT 1293.83"] {
        let run = explain(&place, "aws-lambda-x86 --example", &[which]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stdout.contains("INIT 1293.83 ms + 1049.63 ms are billed as 2344 ms"));
        assert!(run.stdout.contains("2,344 ms = 2.344 s"), "{}", run.stdout);
    }
}
