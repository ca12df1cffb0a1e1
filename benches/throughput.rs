//! What metering, recording and storing cost a warm invocation of `nop`, beside a bare loop of the
//! same store, instantiation and call in the same worker, with no meter read and nothing reported:
//! `cargo bench --bench throughput`. Each figure is the least of several turns that alternate, since
//! whatever else runs only ever adds; ratios are of one turn each.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

mod common;

use std::time::Instant;

use cyclometer::lane::Job;
use cyclometer::lane::StartKind;
use cyclometer::lane::wasmtime::yardstick::Yardstick;
use cyclometer::record::{Event, SessionOptions, Sink, SinkError, Starts};

/// Invocations of one turn.
const RUNS: u32 = 50_000;
const TURNS: usize = 7;

/// Counts events and drops them.
struct Nowhere(u64);

impl Sink for Nowhere {
    fn send_event(&mut self, event: Event) -> Result<(), SinkError> {
        self.0 += u64::from(matches!(event, Event::Finished { .. }));
        Ok(())
    }

    fn flush_events(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Passes events on, and notes when the first invocation was requested: lanes are prepared before.
struct Timed<S> {
    sink: S,
    begun: Option<Instant>,
}

impl<S: Sink> Sink for Timed<S> {
    fn send_event(&mut self, event: Event) -> Result<(), SinkError> {
        if let Event::Started { sequence: 1, .. } = event {
            self.begun = Some(Instant::now());
        }
        self.sink.send_event(event)
    }

    fn flush_events(&mut self) -> Result<(), SinkError> {
        self.sink.flush_events()
    }
}

impl<S> Timed<S> {
    const fn new(sink: S) -> Self {
        Self { sink, begun: None }
    }
}

/// Keeps everything, in the order in which it came.
struct Kept(Vec<Event>);

impl Sink for Kept {
    fn send_event(&mut self, event: Event) -> Result<(), SinkError> {
        self.0.push(event);
        Ok(())
    }

    fn flush_events(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Steps from a bare loop to a recording, in the order of [`Turn`].
const STEPS: [&str; 5] = [
    "bare loop: store, instantiate, call",
    "metered: and read, reported, received",
    "recorded: and scheduled, no database",
    "the same rows into SQLite, nothing invoked",
    "stored: invoked, metered and into SQLite",
];

/// Microseconds for an invocation in each of the [`STEPS`].
type Turn = [f64; STEPS.len()];

fn micros_each(begun: Option<Instant>) -> f64 {
    begun.expect("begun").elapsed().as_secs_f64() * 1e6 / f64::from(RUNS)
}

/// Records without a database.
fn record_nowhere(options: &SessionOptions) -> f64 {
    let session = common::open(options);
    let mut nowhere = Timed::new(Nowhere(0));
    common::record(session, &mut nowhere);
    assert_eq!(nowhere.sink.0, u64::from(RUNS));
    micros_each(nowhere.begun)
}

/// Stores the events of a recording that is over.
fn store_events(options: &SessionOptions, folder: &common::Scratch, turn: usize) -> f64 {
    let session = common::open(options);
    let path = folder.0.join(format!("rows{turn}.db"));
    let mut writer = common::writer(&path, session.header());
    let mut kept = Kept(Vec::new());
    common::record(session, &mut kept);
    let begun = Some(Instant::now());
    for event in kept.0 {
        writer.send_event(event).expect("written");
    }
    drop(writer.finish().expect("written"));
    micros_each(begun)
}

/// Records into a database.
fn record_and_store(options: &SessionOptions, folder: &common::Scratch, turn: usize) -> f64 {
    let session = common::open(options);
    let path = folder.0.join(format!("all{turn}.db"));
    let mut writer = Timed::new(common::writer(&path, session.header()));
    common::record(session, &mut writer);
    drop(writer.sink.finish().expect("written"));
    micros_each(writer.begun)
}

fn time_turn(yardstick: &mut Yardstick, folder: &common::Scratch, turn: usize) -> Turn {
    let request = common::request("nop", "quick", Starts::Warm, RUNS);
    let options = common::options(&["wasmtime"], request);
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a second")]
    let micros = |took: cyclometer::units::Nanos| took.0 as f64 / 1e3 / f64::from(RUNS);
    [
        micros(yardstick.time_unmetered(RUNS).expect("run")),
        micros(yardstick.time_metered(RUNS).expect("run")),
        record_nowhere(&options),
        store_events(&options, folder, turn),
        record_and_store(&options, folder, turn),
    ]
}

fn main() {
    common::set_up();
    let scratch = common::Scratch::new("throughput");
    let request = common::request("nop", "quick", Starts::Warm, RUNS);
    let workload = request.workloads.first().cloned().expect("a workload");
    let preset = workload.find_preset("quick").expect("a preset").clone();
    let job = Job::new(0, workload, preset.into(), StartKind::Warm);
    let mut yardstick = Yardstick::start(job).expect("a worker");
    let mut turns: Vec<Turn> = Vec::new();
    for turn in 0..TURNS {
        turns.push(time_turn(&mut yardstick, &scratch, turn));
    }
    let least = |step: usize| turns.iter().map(|turn| turn[step]).fold(f64::INFINITY, f64::min);
    println!("{TURNS} turns of {RUNS} invocations each");
    println!("{:<44} {:>9} {:>8} {:>8} {:>16}", "", "/s", "us each", "x bare", "x bare, median");
    for (step, what) in STEPS.iter().enumerate() {
        let each = least(step);
        let mut ratios: Vec<f64> = turns.iter().map(|turn| turn[step] / turn[0]).collect();
        println!(
            "{what:<44} {:>9.0} {each:>8.2} {:>8.2} {:>16.2}",
            1e6 / each,
            each / least(0),
            common::median(&mut ratios)
        );
    }
    let verdict = |met: bool| if met { "met" } else { "NOT MET" };
    let [metered, stored] = [1, 4].map(|step| least(step) / least(0));
    println!("target: metered in at most 2.00 x the bare loop: {}", verdict(metered <= 2.0));
    // 100,000 a second where the bare loop does 200,000.
    println!("target: stored in at most 2.00 x the bare loop: {}", verdict(stored <= 2.0));
}
