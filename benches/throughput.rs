//! How many warm `nop` invocations a second are recorded with their usage into
//! `SQLite`, beside the same without a database and the same rows without a
//! worker: `cargo bench --bench throughput`.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

mod common;

use std::time::Instant;

use cyclometer::record::{Event, Sink, SinkError, Starts};

const RUNS: u32 = 200_000;

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

fn report(what: &str, runs: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = runs as f64 / seconds;
    println!("{what:<44} {rate:>9.0} /s  {:>6.2} us each", 1e6 / rate);
    rate
}

fn main() {
    common::set_up();
    let scratch = common::Scratch::new("throughput");
    let request = common::request("nop", "quick", Starts::Warm, RUNS);
    let options = common::options(&["wasmtime"], request);
    let runs = u64::from(RUNS);

    let session = common::open(&options);
    let mut nowhere = Nowhere(0);
    let begun = Instant::now();
    common::record(session, &mut nowhere);
    assert_eq!(nowhere.0, runs);
    report("invoked and metered, no database", runs, begun.elapsed().as_secs_f64());

    let session = common::open(&options);
    let mut writer = common::writer(&scratch.0.join("rows.db"), session.header());
    let mut kept = Kept(Vec::new());
    common::record(session, &mut kept);
    let begun = Instant::now();
    for event in kept.0 {
        writer.send_event(event).expect("written");
    }
    drop(writer.finish().expect("written"));
    report("the same rows into SQLite, nothing invoked", runs, begun.elapsed().as_secs_f64());

    let session = common::open(&options);
    let mut writer = common::writer(&scratch.0.join("all.db"), session.header());
    let begun = Instant::now();
    common::record(session, &mut writer);
    drop(writer.finish().expect("written"));
    let rate = report("recorded: invoked, metered and stored", runs, begun.elapsed().as_secs_f64());
    println!("target: at least 20,000 /s: {}", if rate >= 20_000.0 { "met" } else { "NOT MET" });
}
