//! What sampling at 10 ms adds to a native workload of about a second, paired
//! with the same lane with sampling off: `cargo bench --bench perturbation`.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

mod common;

use cyclometer::meter::Meter;
use cyclometer::record::{Event, PlanRequest, SessionOptions, Starts};
use cyclometer::units::Nanos;

const PAIRS: usize = 21;

/// Wall and CPU time of one run in nanoseconds.
fn once(interval: Option<Nanos>) -> (f64, f64) {
    let request = PlanRequest { warmup: 0, ..common::request("nbody", "second", Starts::Cold, 1) };
    let options =
        SessionOptions { sample_interval: interval, ..common::options(&["native"], request) };
    let mut events: Vec<Event> = Vec::new();
    common::record(common::open(&options), &mut events);
    let usage = events.iter().find_map(|event| match event {
        Event::Finished { outcome, .. } => Some(outcome.usage),
        _ => None,
    });
    let usage = usage.expect("one run");
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of about a second")]
    let get = |meter| usage.get(meter).expect("measured") as f64;
    (get(Meter::Wall), get(Meter::CpuTime))
}

fn main() {
    common::set_up();
    once(None);
    let (mut wall, mut cpu, mut base) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        // The order alternates, so that drift helps neither side.
        let sampled = Some(Nanos(10_000_000));
        let (with, without) = if pair % 2 == 0 {
            let with = once(sampled);
            (with, once(None))
        } else {
            let without = once(None);
            (once(sampled), without)
        };
        wall.push(with.0 / without.0);
        cpu.push(with.1 / without.1);
        base.push(without.0);
    }
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    let quartiles = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        (values[PAIRS / 4], values[PAIRS * 3 / 4])
    };
    println!("{PAIRS} pairs, {:.0} ms each without sampling", common::median(&mut base) / 1e6);
    for (what, ratios) in [("wall", &mut wall), ("cpu", &mut cpu)] {
        let (low, high) = quartiles(ratios);
        println!(
            "sampling at 10 ms adds {:+.3} % {what} (median; quartiles {:+.3} to {:+.3} %)",
            percent(common::median(ratios)),
            percent(low),
            percent(high)
        );
    }
    let met = percent(common::median(&mut wall)) < 1.0 && percent(common::median(&mut cpu)) < 1.0;
    println!("target: less than 1 %: {}", if met { "met" } else { "NOT MET" });
}
