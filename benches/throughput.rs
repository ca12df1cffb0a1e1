//! What metering, recording and storing cost a warm invocation of `nop`, beside a bare loop of the
//! same store, instantiation and call in the same worker, with no meter read and nothing reported:
//! `cargo bench --bench throughput`. Each figure is the least of several turns that alternate, since
//! whatever else runs only ever adds; ratios are of one turn each.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

mod common;

use std::time::{Duration, Instant};

use cyclometer::lane::wasmtime::yardstick::Yardstick;
use cyclometer::lane::{Job, StartKind};
use cyclometer::record::{Event, SessionOptions, Sink, SinkError, Starts};
use cyclometer::units::Nanos;
use nix::time::ClockId;

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
    begun: Option<Moment>,
}

/// Clocks at one moment: the wall, this thread's CPU and this process'.
#[derive(Clone, Copy)]
struct Moment(Instant, Duration, Duration);

impl Moment {
    fn now() -> Self {
        let read = |clock| Duration::from(nix::time::clock_gettime(clock).expect("a clock"));
        let thread = read(ClockId::CLOCK_THREAD_CPUTIME_ID);
        Self(Instant::now(), thread, read(ClockId::CLOCK_PROCESS_CPUTIME_ID))
    }

    /// Returns the microseconds since for each invocation: that passed, of this thread's CPU and of
    /// all others of this process.
    fn micros_each(self) -> [f64; 3] {
        let now = Self::now();
        let (thread, all) = (now.1.saturating_sub(self.1), now.2.saturating_sub(self.2));
        [now.0 - self.0, thread, all.saturating_sub(thread)]
            .map(|span| span.as_secs_f64() * 1e6 / f64::from(RUNS))
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

impl<S: Sink> Sink for Timed<S> {
    fn send_event(&mut self, event: Event) -> Result<(), SinkError> {
        if let Event::Started { sequence: 1, .. } = event {
            self.begun = Some(Moment::now());
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

/// Steps from a bare loop to a recording, in the order of [`Turn::steps`].
const STEPS: [&str; 5] = [
    "bare loop: store, instantiate, call",
    "metered: and read, reported, received",
    "recorded: and scheduled, no database",
    "the same rows into SQLite, nothing invoked",
    "stored: invoked, metered and into SQLite",
];

/// CPU time of threads, in the order of [`Turn::cpu`].
const THREADS: [&str; 5] = [
    "CPU of the worker, bare loop",
    "CPU of the worker, metered",
    "CPU of the recorder's thread, no database",
    "CPU of the recorder's thread, stored",
    "CPU of the thread that stores",
];

/// Microseconds for an invocation in each of the [`STEPS`], and of the CPU of the [`THREADS`].
struct Turn {
    steps: [f64; STEPS.len()],
    cpu: [f64; THREADS.len()],
}

/// Records without a database.
fn record_nowhere(options: &SessionOptions) -> [f64; 3] {
    let session = common::open(options);
    let mut nowhere = Timed::new(Nowhere(0));
    common::record(session, &mut nowhere);
    assert_eq!(nowhere.sink.0, u64::from(RUNS));
    nowhere.begun.expect("begun").micros_each()
}

/// Stores the events of a recording that is over.
fn store_events(options: &SessionOptions, folder: &common::Scratch, turn: usize) -> [f64; 3] {
    let session = common::open(options);
    let path = folder.0.join(format!("rows{turn}.db"));
    let mut writer = common::writer(&path, session.header());
    let mut kept = Kept(Vec::new());
    common::record(session, &mut kept);
    let begun = Moment::now();
    for event in kept.0 {
        writer.send_event(event).expect("written");
    }
    drop(writer.finish().expect("written"));
    begun.micros_each()
}

/// Records into a database.
fn record_and_store(options: &SessionOptions, folder: &common::Scratch, turn: usize) -> [f64; 3] {
    let session = common::open(options);
    let path = folder.0.join(format!("all{turn}.db"));
    let mut writer = Timed::new(common::writer(&path, session.header()));
    common::record(session, &mut writer);
    drop(writer.sink.finish().expect("written"));
    writer.begun.expect("begun").micros_each()
}

fn time_turn(yardstick: &mut Yardstick, folder: &common::Scratch, turn: usize) -> Turn {
    let request = common::request("nop", "quick", Starts::Warm, RUNS);
    let options = common::options(&["wasmtime"], request);
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a second")]
    let micros = |took: Nanos| took.0 as f64 / 1e3 / f64::from(RUNS);
    let bare = yardstick.time_unmetered(RUNS).expect("run");
    let metered = yardstick.time_metered(RUNS).expect("run");
    let [worker_bare, worker_metered] =
        [bare, metered].map(|time| micros(time.worker_cpu.expect("told")));
    let recorded = record_nowhere(&options);
    let rows = store_events(&options, folder, turn);
    let stored = record_and_store(&options, folder, turn);
    Turn {
        steps: [micros(bare.wall), micros(metered.wall), recorded[0], rows[0], stored[0]],
        cpu: [worker_bare, worker_metered, recorded[1], stored[1], stored[2]],
    }
}

fn main() {
    common::set_up();
    let scratch = common::Scratch::new("throughput");
    let mut yardstick = start_yardstick("nop", "quick");
    let mut turns: Vec<Turn> = Vec::new();
    for turn in 0..TURNS {
        turns.push(time_turn(&mut yardstick, &scratch, turn));
    }
    println!("{TURNS} turns of {RUNS} invocations each");
    print_profile(&turns);
    print_accounts();
}

/// Starts a worker for one of the workloads.
fn start_yardstick(workload: &str, preset: &str) -> Yardstick {
    let request = common::request(workload, preset, Starts::Warm, RUNS);
    let workload = request.workloads.first().cloned().expect("a workload");
    let preset = workload.find_preset(preset).expect("a preset").clone();
    Yardstick::start(Job::new(0, workload, preset.into(), StartKind::Warm)).expect("a worker")
}

fn print_profile(turns: &[Turn]) {
    let least = |of: &dyn Fn(&Turn) -> f64| turns.iter().map(of).fold(f64::INFINITY, f64::min);
    let print = |what: &str, of: &dyn Fn(&Turn) -> f64, base: &dyn Fn(&Turn) -> f64| {
        let each = least(of);
        let mut ratios: Vec<f64> = turns.iter().map(|turn| of(turn) / base(turn)).collect();
        let median = common::median(&mut ratios);
        let (rate, ratio) = (1e6 / each, each / least(base));
        println!("{what:<44} {rate:>9.0} {each:>8.2} {ratio:>8.2} {median:>8.2}");
        ratio
    };
    println!("{:<44} {:>9} {:>8} {:>8} {:>8}", "", "/s", "us each", "x bare", "median");
    let wall: Vec<f64> = STEPS
        .iter()
        .enumerate()
        .map(|(step, what)| print(what, &|turn| turn.steps[step], &|turn| turn.steps[0]))
        .collect();
    let cpu: Vec<f64> = THREADS
        .iter()
        .enumerate()
        .map(|(place, what)| print(what, &|turn| turn.cpu[place], &|turn| turn.cpu[0]))
        .collect();
    let verdict = |met: bool| if met { "met" } else { "NOT MET" };
    println!(
        "target: metered in at most 2.00 x the bare loop, in time and in CPU: {}",
        verdict(wall[1] <= 2.0 && cpu[1] <= 2.0)
    );
    // 100,000 a second where the bare loop does 200,000.
    println!("target: stored in at most 2.00 x the bare loop: {}", verdict(wall[4] <= 2.0));
}

/// Compares what was metered with the kernel's account of the worker, for functions so long that
/// reporting does not count.
fn print_accounts() {
    const COUNT: u32 = 20;
    let mut yardstick = start_yardstick("nbody", "quick");
    let time = yardstick.time_metered(COUNT).expect("run");
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a second")]
    let millis = |span: Option<Nanos>| span.expect("told").0 as f64 / 1e6;
    let (metered, all) = (millis(time.metered_cpu), millis(time.worker_cpu));
    println!(
        "{COUNT} x nbody: {metered:.2} ms of CPU metered, {all:.2} ms in the scheduler's account of \
         the worker: {:.2} %",
        100.0 * metered / all
    );
}
