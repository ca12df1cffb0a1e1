//! The observatory: what a frame costs, how soon keys are answered, what it
//! uses while it watches, whether it disturbs what it watches, and whether a
//! day of events stays in memory.
//!
//! ```text
//! cargo bench --bench tui                 all of it, some minutes
//! cargo bench --bench tui -- frame        cost of a frame
//! cargo bench --bench tui -- latency      first frame, and from key to screen
//! cargo bench --bench tui -- use          CPU of the process at 10 frames a second
//! cargo bench --bench tui -- paired       the same recording with and without it
//! cargo bench --bench tui -- soak         ten million events
//! ```
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

#[path = "../../tests/all/tui/pty.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod pty;

mod paired;
mod watched;

use std::time::Duration;

use cyclometer::tui::bench::{Soak, measure_frames};

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|it| it == name);
    if runs("frame") {
        frame();
    }
    if runs("latency") {
        watched::latency();
    }
    if runs("use") {
        watched::usage();
    }
    if runs("paired") {
        paired::run();
    }
    if runs("soak") {
        soak();
    }
}

/// Median, 99th percentile and maximum.
fn summary(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    format!("median {:.3?}, p99 {:.3?}, max {:.3?}", at(50), at(99), at(100))
}

fn frame() {
    for size in [(80, 24), (200, 60)] {
        let times = measure_frames(size, 2_000);
        println!("frame {} x {}: {} of 2,000 (bar: 4 ms)", size.0, size.1, summary(times));
    }
}

/// Resident memory of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc");
    let pages: u64 = statm.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a number");
    pages * 4_096
}

fn soak() {
    let mut soak = Soak::new();
    let mut base = 0;
    for million in 1..=10_u64 {
        // In bursts, with the screen drawn between them.
        for _ in 0..100 {
            soak.send_events(10_000);
            soak.render_screen();
        }
        let counted = soak.wait_until_drained();
        assert_eq!(counted.sent, counted.shown + counted.dropped, "an event is unaccounted for");
        let now = resident();
        if million == 1 {
            base = now;
        }
        println!(
            "soak {million:>2} M events: {} shown, {} dropped and counted, {} resident",
            counted.shown,
            counted.dropped,
            cyclometer::units::Bytes(now)
        );
        assert!(now < base + (4 << 20), "memory grew from {base} to {now} bytes");
    }
}
