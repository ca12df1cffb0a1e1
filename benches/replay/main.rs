//! Replaying through five price models, against other programs over the same
//! rows in the same run: `cargo bench --bench replay [-- memory|sqlite [ROWS]]`.
//!
//! - `memory`: rows in memory, against `DuckDB` with one thread;
//! - `sqlite`: from a recording to the kept simulation, against `SQLite`'s own
//!   sums over the same file.
//!
//! Wrong sums end it with an error.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

#[path = "../common/mod.rs"]
mod common;
mod memory;
mod rows;
mod sqlite;

use cyclometer::pricing::compile::ModelSums;
use cyclometer::pricing::{Exact, PriceModel, Terms, find_builtin_model};

/// A charge, and how many of the benchmark's integers are one of its unit.
struct Position {
    model: &'static str,
    charge: &'static str,
    parts: u64,
}

/// In the order of the columns of `exact.sql`, after the count.
const POSITIONS: [Position; 6] = [
    Position { model: "aws-lambda-x86", charge: "duration", parts: 1_024_000 },
    Position { model: "google-cloud-functions", charge: "memory time", parts: 10_000 },
    Position { model: "google-cloud-functions", charge: "cpu time", parts: 100 },
    Position { model: "azure-consumption", charge: "observed memory", parts: 8_000 },
    Position { model: "per-cycle", charge: "cycles", parts: 1 },
    Position { model: "per-cpu-ms", charge: "CPU time", parts: 1_000_000 },
];

const MODELS: [&str; 5] =
    ["aws-lambda-x86", "google-cloud-functions", "azure-consumption", "per-cycle", "per-cpu-ms"];

fn models() -> Vec<(PriceModel, Terms)> {
    let own = |id: &&str| {
        let model = find_builtin_model(id).expect("it is built in").clone();
        let terms = Terms::for_model(&model);
        (model, terms)
    };
    MODELS.iter().map(own).collect()
}

/// Our sums in the order of [`POSITIONS`], after the count.
fn quantities(sums: &[ModelSums]) -> Vec<Exact> {
    let models = models();
    let billed = sums.iter().map(|model| model.billed).min().unwrap_or(0);
    let position = |position: &Position| {
        let index = MODELS.iter().position(|id| *id == position.model)?;
        let (model, terms) = &models[index];
        let charge = model.invocation_charges(terms).position(|it| it.name() == position.charge)?;
        Some(sums[index].charges[charge].quantity.clone())
    };
    let all = POSITIONS.iter().map(|it| position(it).expect("the model has it"));
    std::iter::once(Exact::from(billed)).chain(all).collect()
}

/// Integers of `exact.sql` as quantities of the charges.
fn in_units<'a>(integers: impl IntoIterator<Item = &'a str>) -> Vec<Exact> {
    let parts = std::iter::once(1).chain(POSITIONS.iter().map(|it| it.parts));
    let in_unit = |(text, parts): (&str, u64)| {
        let number: Exact = text.parse().expect("a whole number");
        number.checked_div(&Exact::from(parts)).expect("parts of a unit")
    };
    integers.into_iter().zip(parts).map(in_unit).collect()
}

/// Ends the benchmark unless both are the same.
fn same(what: &str, found: &[Exact], expected: &[Exact]) {
    if found != expected {
        println!("WRONG: {what}: {found:?} is not {expected:?}");
        std::process::exit(1);
    }
}

fn main() {
    // Cargo adds --bench.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let rows = |text: &str| text.parse().expect("how many rows");
    match arguments[..] {
        [] => {
            memory::run(memory::ROWS);
            sqlite::run(sqlite::ROWS);
        }
        ["memory"] => memory::run(memory::ROWS),
        ["memory", count] => memory::run(rows(count)),
        ["sqlite"] => sqlite::run(sqlite::ROWS),
        ["sqlite", count] => sqlite::run(rows(count)),
        ["sqlite-child", what, path, cores] => sqlite::child(what, path, cores),
        _ => panic!("memory or sqlite, and how many rows"),
    }
}
