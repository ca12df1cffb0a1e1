//! The program in a real terminal, while three lanes record.

use std::path::Path;
use std::time::{Duration, Instant};

use super::pty::Tty;
use super::summary;

/// A loop in three lanes that need no engine; `docker` too, where one answers.
fn lanes() -> &'static str {
    if std::env::var_os("DOCKER_HOST").is_some() {
        "native,wasmtime,docker"
    } else {
        "native,wasmtime,wasmtime:fuel"
    }
}

fn start(database: &Path, size: (u16, u16)) -> Tty {
    let lanes = lanes();
    let args = ["live", "--workload", "nop,nbody,wait", "--lane", lanes, "--loop"];
    Tty::start(&args, size, &[("CYCLOMETER_DB", database)])
}

/// Looks every half millisecond.
fn until(tty: &Tty, wanted: impl Fn(&str) -> bool) -> Duration {
    let begun = Instant::now();
    while !wanted(&tty.text()) {
        assert!(begun.elapsed() < Duration::from_secs(30), "it shows\n{}", tty.text());
        std::thread::sleep(Duration::from_micros(500));
    }
    begun.elapsed()
}

/// From the start of the process to the first frame, and from a key to what it
/// asked for.
pub fn latency() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = Vec::new();
    for run in 0..20 {
        let begun = Instant::now();
        let mut tty = start(&folder.path().join(format!("{run}.db")), (200, 60));
        until(&tty, |text| text.contains("cyclometer"));
        first.push(begun.elapsed());
        tty.press("q");
        tty.ends();
    }
    println!("first frame: {} of 20 starts (bar: 100 ms)", summary(first));
    let mut tty = start(&folder.path().join("keys.db"), (200, 60));
    until(&tty, |text| text.contains("#3"));
    let mut keys = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        tty.press("?");
        until(&tty, |text| text.contains("what is shown"));
        keys.push(begun.elapsed());
        tty.press("\x1b");
        until(&tty, |text| !text.contains("what is shown"));
        std::thread::sleep(Duration::from_millis(37));
    }
    println!("key to screen, recording in {}: {} of 100 (bar: 33 ms)", lanes(), summary(keys));
    tty.press("q");
    tty.ends();
}

/// CPU time of the process alone, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    let fields: Vec<&str> = rest.split(' ').collect();
    let field = |at: usize| fields[at].parse::<u64>().expect("a number");
    // utime and stime are fields 14 and 15, of which two and the name are cut off.
    field(11) + field(12)
}

/// CPU that the process uses while it records and draws.
pub fn usage() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tty = start(&folder.path().join("use.db"), (200, 60));
    until(&tty, |text| text.contains("#3"));
    let (begun, before) = (Instant::now(), ticks(tty.id()));
    std::thread::sleep(Duration::from_secs(20));
    let used = ticks(tty.id()) - before;
    #[expect(clippy::cast_precision_loss, reason = "ticks of some seconds")]
    let share = used as f64 / begun.elapsed().as_secs_f64();
    println!("use while recording in {}: {share:.1} % of one CPU (bar: 5 %)", lanes());
    tty.press("q");
    tty.ends();
}
