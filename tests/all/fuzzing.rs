//! Inputs from outside, bent at random: what `fuzz/` does for hours with coverage
//! to guide it, done here for seconds without. `CYCLOMETER_FUZZ_SECONDS` says how
//! many for each kind (1), `CYCLOMETER_FUZZ_SEED` where to begin.

mod bend;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cyclometer_testkit::cpu_time;

use crate::common::turns;
use crate::inputs::{INPUT_KINDS, InputKind};
use bend::Bender;

/// Most CPU time that one input may take: hundreds of times what it does, so that
/// only what does not end is found.
const PATIENCE: Duration = Duration::from_secs(20);

macro_rules! kinds {
    ($($kind:ident)*) => {
        $(#[test]
        fn $kind() {
            survive(stringify!($kind));
        })*

        #[test]
        fn every_kind_of_input_is_tried() {
            let tried = [$(stringify!($kind)),*];
            let all: Vec<&str> = INPUT_KINDS.iter().map(|kind| kind.name).collect();
            assert_eq!(all, tried);
        }
    };
}

kinds! {
    manifest profile price_model usage_file worker_report worker_line launcher_answer engine_reply
    database query mapping trace_lines
}

fn number(variable: &str, usual: u64) -> u64 {
    let given = std::env::var(variable).ok().map(|text| text.parse());
    given.map_or(usual, |number| number.unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// The corpus of a kind: its own, and what the repository has of it anyway.
fn corpus(kind: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = files_of(&root.join("fuzz/corpus").join(kind));
    match kind {
        "price_model" => files.extend(files_of(&root.join("pricing"))),
        "profile" => files.extend(files_of(&root.join("runtimes"))),
        "manifest" => {
            let folders = files_of(&root.join("workloads"));
            files.extend(folders.iter().map(|folder| folder.join("workload.toml")));
        }
        _ => {}
    }
    let inputs: Vec<_> = files.iter().filter_map(|file| std::fs::read(file).ok()).collect();
    assert!(!inputs.is_empty(), "{kind} has no corpus");
    inputs
}

/// What is in a folder, in the order of the names.
fn files_of(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

#[expect(clippy::print_stdout, reason = "with --nocapture it is told how many there were")]
fn survive(name: &str) {
    let _turn = turns::run_beside_others();
    let kind = INPUT_KINDS.iter().find(|kind| kind.name == name).expect("a kind");
    let corpus = corpus(name);
    for input in &corpus {
        try_one(kind, input);
    }
    let seed = number("CYCLOMETER_FUZZ_SEED", 20_261_128);
    let until = Instant::now() + Duration::from_secs(number("CYCLOMETER_FUZZ_SECONDS", 1));
    let mut bender = Bender::new(seed, &corpus, kind.words, kind.longest);
    let mut tried = corpus.len();
    while Instant::now() < until {
        try_one(kind, bender.bend());
        tried += 1;
    }
    println!("{name}: {tried} inputs survived, seed {seed}");
}

fn try_one(kind: &InputKind, input: &[u8]) {
    let began = cpu_time();
    let fine = catch_unwind(AssertUnwindSafe(|| (kind.survives)(input))).is_ok();
    let took = cpu_time().saturating_sub(began);
    if !fine || took > PATIENCE {
        let folder = std::env::temp_dir().join(format!("cyclometer-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for what was found");
        let kept = folder.join(kind.name);
        std::fs::write(&kept, input).expect("written");
        panic!("{}: {took:?}, panicked: {}; the input is in {}", kind.name, !fine, kept.display());
    }
}
