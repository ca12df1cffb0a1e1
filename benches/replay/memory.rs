//! Rows in memory: the compiled models against `DuckDB`.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use cyclometer::meter::Meter;
use cyclometer::pricing::compile::{PricingProgram, Signal, Sums, UsageBatch};
use cyclometer::pricing::{Exact, Phase};

use super::rows::{Random, Row};
use super::{common, in_units, models, quantities, same};

pub const ROWS: usize = 10_000_000;

/// Each side as often as the other, in turns.
const ROUNDS: usize = 9;

/// Rows that are also summed in Python, slowly.
const CHECKED: usize = 1_000;

const NAMES: [&str; 7] = ["start_ns", "run_ns", "cpu_ns", "memory", "peak", "cycles", "ref_cycles"];

const SIGNALS: [Signal; 7] = [
    Signal::Phase(Phase::Start),
    Signal::Phase(Phase::Run),
    Signal::Meter(Meter::CpuTime),
    Signal::Meter(Meter::MemoryAllocated),
    Signal::Meter(Meter::MemoryPeak),
    Signal::Meter(Meter::Cycles),
    Signal::Meter(Meter::RefCycles),
];

fn columns(rows: usize) -> [Vec<u64>; 7] {
    let mut columns = std::array::from_fn(|_| Vec::with_capacity(rows));
    let mut random = Random(1);
    for _ in 0..rows {
        let Row { start, run, cpu, memory, peak, cycles, ref_cycles } = Row::random(&mut random);
        let values = [start, run, cpu, memory, peak, cycles, ref_cycles];
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
    columns
}

fn write(columns: &[Vec<u64>], path: &Path) {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).expect("a file"));
    for value in columns.iter().flatten() {
        file.write_all(&value.to_le_bytes()).expect("space for the rows");
    }
    file.flush().expect("space for the rows");
}

/// The process that has `DuckDB` in it.
struct Duck {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    version: String,
}

impl Duck {
    /// `None`, with the reason printed, where there is none.
    fn start(path: &Path, rows: usize) -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/replay/sums.py");
        let child = Command::new("python3")
            .arg(script)
            .arg(path)
            .arg(rows.to_string())
            .args(NAMES)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            println!("skipped: DuckDB: there is no python3; then: pip install duckdb numpy");
            return None;
        };
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut duck = Self { child, input, output, version: String::new() };
        let greeting = duck.line();
        let Some(version) = greeting.strip_prefix("ready ") else {
            println!("{greeting}");
            return None;
        };
        version.clone_into(&mut duck.version);
        Some(duck)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    }

    fn ask(&mut self, question: &str) -> String {
        writeln!(self.input, "{question}").expect("it listens");
        self.line()
    }

    /// Seconds and sums.
    fn run(&mut self, kind: &str) -> (f64, Vec<String>) {
        let answer = self.ask(kind);
        let mut words = answer.split(' ');
        let seconds = words.next().and_then(|it| it.parse().ok()).expect("seconds");
        (seconds, words.map(str::to_owned).collect())
    }
}

impl Drop for Duck {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ours over the same rows: seconds and quantities.
fn ours(program: &mut PricingProgram, batch: &UsageBatch) -> (f64, Vec<Exact>) {
    let begun = Instant::now();
    let mut sums = Sums::default();
    program.run_batch(batch, &mut sums);
    let models = sums.model_sums(program);
    (begun.elapsed().as_secs_f64(), quantities(&models))
}

/// Both sides against plain fractions, over rows few enough for them.
fn check(duck: &mut Duck, program: &mut PricingProgram, columns: &[Vec<u64>; 7]) {
    let count = CHECKED.min(columns[0].len());
    let expected: Vec<Exact> = duck
        .ask(&format!("fractions {count}"))
        .split(' ')
        .map(|it| it.parse().expect("a fraction"))
        .collect();
    let theirs = duck.ask(&format!("first {count}"));
    same("DuckDB and plain fractions", &in_units(theirs.split(' ')), &expected);
    let first = columns.each_ref().map(|column| column[..count].to_vec());
    let (_, found) = ours(program, &UsageBatch::from_columns(SIGNALS.into_iter().zip(first)));
    same("the compiled models and plain fractions", &found, &expected);
    println!("the first {count} rows: both are what plain fractions give");
}

/// Whether floating point came near the integers.
fn near(double: &[String], exact: &[String]) -> f64 {
    let number = |text: &String| text.parse::<f64>().expect("a number");
    let error = |(double, exact)| (number(double) / number(exact) - 1.0).abs();
    double.iter().zip(exact).map(error).fold(0.0, f64::max)
}

#[derive(Default)]
struct Times {
    double: Vec<f64>,
    exact: Vec<f64>,
    ours: Vec<f64>,
    split: Vec<f64>,
}

pub fn run(rows: usize) {
    println!("five models over {rows} rows in memory, one thread each");
    let scratch = common::Scratch::new("replay-memory");
    let path = scratch.0.join("columns");
    let columns = columns(rows);
    write(&columns, &path);
    let mut duck = Duck::start(&path, rows);
    let _ = std::fs::remove_file(&path);
    let mut program = PricingProgram::new(models(), false, None);
    let mut with_split = PricingProgram::new(models(), true, None);
    if let Some(duck) = &mut duck {
        check(duck, &mut program, &columns);
    }
    let begun = Instant::now();
    let batch = UsageBatch::from_columns(SIGNALS.into_iter().zip(columns));
    let bounds = begun.elapsed().as_secs_f64();

    let mut times = Times::default();
    let mut error = 0.0_f64;
    for _ in 0..ROUNDS {
        let (seconds, found) = ours(&mut program, &batch);
        times.ours.push(seconds);
        let (seconds, split) = ours(&mut with_split, &batch);
        times.split.push(seconds);
        same("decomposed and not", &split, &found);
        let Some(duck) = &mut duck else { continue };
        let (seconds, double) = duck.run("double");
        times.double.push(seconds);
        let (seconds, exact) = duck.run("exact");
        times.exact.push(seconds);
        same("the compiled models and DuckDB", &found, &in_units(exact.iter().map(String::as_str)));
        error = error.max(near(&double, &exact));
    }
    report(rows, times, duck.as_ref(), error);
    println!("bounds of the columns, once, as the batch is made: {:.0} ms", bounds * 1e3);
}

fn report(rows: usize, mut times: Times, duck: Option<&Duck>, error: f64) {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = |seconds: f64| rows as f64 / seconds / 1e6;
    let line = |what: &str, times: &mut Vec<f64>, exactness: &str| {
        let median = common::median(times);
        let best = times.first().copied().unwrap_or(f64::NAN);
        println!(
            "{what:<32} {:>7.1} M rows/s, median {:>6.1}  {exactness}",
            rate(best),
            rate(median)
        );
        (best, median)
    };
    let mine = line("cyclometer", &mut times.ours, "exact");
    line("cyclometer, bills decomposed", &mut times.split, "exact");
    let Some(duck) = duck else { return };
    let name = format!("DuckDB {}, ", duck.version);
    let exact = line(&format!("{name}integers"), &mut times.exact, "exact, the same sums");
    let how = format!("within {:.0e}", error.max(f64::EPSILON));
    let double = line(&format!("{name}DOUBLE"), &mut times.double, &how);
    if error > 1e-9 {
        println!("WRONG: DuckDB's sums in floating point are off by {error}");
        std::process::exit(1);
    }
    let ratio = exact.0.min(double.0) / mine.0;
    let median = exact.1.min(double.1) / mine.1;
    println!(
        "against the faster of the two: {ratio:.2}x (medians {median:.2}x); target: at least 2x: {}",
        if ratio.min(median) >= 2.0 { "met" } else { "NOT MET" }
    );
}
