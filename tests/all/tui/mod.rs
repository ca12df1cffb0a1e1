//! The observatory in a real terminal: driven by keys and signals, with real
//! lanes, and looked at as a person looks at it.

mod faults;
mod foreign_text;
pub mod pty;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::Place;
use nix::sys::signal::Signal;
use pty::{Tty, code_of};

/// A folder for the database and the files of one test.
struct Home(Place);

impl Home {
    fn new() -> Self {
        Self(Place::new())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn database(&self) -> PathBuf {
        self.path().join("c.db")
    }

    /// Starts the program on this folder, without a container engine.
    fn start(&self, args: &[&str], size: (u16, u16)) -> Tty {
        self.start_with(args, size, &[])
    }

    fn start_with(&self, args: &[&str], size: (u16, u16), more: &[(&str, &Path)]) -> Tty {
        let (database, config) = (self.database(), self.0.path().join("config"));
        let mut env: Vec<(&str, &Path)> = vec![
            ("CYCLOMETER_DB", &database),
            ("XDG_CONFIG_HOME", &config),
            ("DOCKER_HOST", Path::new("unix:///nonexistent/docker.sock")),
        ];
        env.extend_from_slice(more);
        Tty::start(args, size, &env)
    }

    /// What the program tells of the database afterwards.
    fn query(&self, sql: &str) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_cyclometer"))
            .args(["query", sql, "--format", "csv", "--db"])
            .arg(self.database())
            .output()
            .expect("run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().skip(1).collect::<Vec<_>>().join("\n")
    }

    fn is_whole(&self) {
        assert_eq!(self.query("PRAGMA integrity_check"), "ok");
    }
}

const SHORT: [&str; 7] =
    ["live", "--workload", "nop,wait", "--lane", "native,wasmtime", "--runs", "3"];
const LONG: [&str; 6] = ["live", "--workload", "nop,nbody", "--lane", "native,wasmtime", "--loop"];

#[test]
fn a_comparison_is_recorded_looked_at_and_left() {
    let home = Home::new();
    let mut tty = home.start(&SHORT, (80, 24));
    tty.shows("First run");
    tty.shows("done 18");
    // The answer lies over the screen until it is read.
    tty.shows("what it shows");
    tty.press("\x1b");
    tty.until("the screen below the answer", |text| !text.contains("what it shows"));
    // Every screen by its digit.
    tty.press("2");
    tty.shows("aws-lambda-x86");
    tty.press("3");
    tty.until("a timeline of both lanes", |text| {
        text.contains("native") && text.contains("wasmtime") && !text.contains("loading")
    });
    let end = tty.text();
    tty.press("\x1b[D\x1b[D");
    tty.until("an earlier moment", |text| text != end);
    tty.press(" ");
    tty.press("4");
    tty.shows("done");
    tty.press("/");
    tty.press("nothing-like-this");
    tty.until("an empty list", |text| !text.contains("nop wait"));
    tty.press("\x1b");
    tty.shows("nop wait");
    tty.press("5");
    tty.shows("TSC frequency");
    tty.resize(200, 60);
    tty.press("1");
    tty.shows("warm starts of it");
    tty.resize(30, 8);
    tty.shows("cyclometer needs");
    tty.resize(80, 24);
    tty.shows("bills of a million");
    tty.press("?");
    tty.shows("what is shown");
    tty.press("\x1b");
    // An escape right before a letter would be that letter with alt.
    tty.until("the screen below", |text| !text.contains("what is shown"));
    tty.press("q");
    assert_eq!(tty.ends().code(), Some(0));
    tty.is_as_before();
    tty.shows_at_the_end("recording 1: 18 invocations");
    assert_eq!(home.query("SELECT recording, status, invocations FROM v_recording"), "1,done,18");
    home.is_whole();
}

#[test]
fn a_key_right_behind_a_resize_is_not_lost() {
    let home = Home::new();
    let mut tty = home.start(&["live", "--idle"], (80, 24));
    tty.shows("r record");
    for turn in 0..20 {
        // Not escape: with a letter right behind it, it would be that with alt.
        let (key, wanted) = if turn % 2 == 0 { ("5", "r look again") } else { ("1", "r record") };
        tty.resize(80 + turn % 2, 24);
        tty.press(key);
        tty.shows(wanted);
    }
    tty.press("q");
    assert_eq!(tty.ends().code(), Some(0));
    tty.is_as_before();
}

#[test]
fn leaving_while_it_records_keeps_what_had_finished() {
    let home = Home::new();
    let mut tty = home.start(&LONG, (80, 24));
    tty.shows("#3");
    tty.press("q");
    assert_eq!(tty.ends().code(), Some(0));
    tty.is_as_before();
    let kept = home.query("SELECT status, invocations >= 2 FROM v_recording");
    assert_eq!(kept, "interrupted,1");
    home.is_whole();
}

#[test]
fn both_keys_that_leave_it_are_its_usual_end() {
    let home = Home::new();
    for key in ["q", "\u{3}"] {
        let mut tty = home.start(&["live", "--idle"], (80, 24));
        tty.shows("r record");
        tty.press(key);
        assert_eq!(tty.ends().code(), Some(0), "{key:?}");
        tty.is_as_before();
    }
}

#[test]
fn stopping_ends_after_the_invocation_in_flight() {
    let home = Home::new();
    let mut tty = home.start(&LONG, (80, 24));
    tty.shows("#3");
    tty.press("x");
    tty.shows("done");
    tty.press("q");
    assert_eq!(tty.ends().code(), Some(0));
    let bad = home.query("SELECT COUNT(*) FROM v_invocation WHERE status <> 'ok'");
    assert_eq!(bad, "0", "nothing was cut off");
    assert_eq!(home.query("SELECT status FROM v_recording"), "done");
}

#[test]
fn a_termination_gives_the_terminal_back_and_loses_nothing() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let home = Home::new();
        let mut tty = home.start(&LONG, (80, 24));
        tty.shows("#3");
        tty.signal(signal);
        assert_eq!(tty.ends().code(), Some(code_of(signal)), "{signal}");
        tty.is_as_before();
        assert_eq!(home.query("SELECT status FROM v_recording"), "interrupted");
        home.is_whole();
    }
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_told() {
    let home = Home::new();
    let mut tty = home.start_with(&LONG, (80, 24), &[("CYCLOMETER_PANIC", Path::new("draw"))]);
    let status = tty.ends();
    assert_eq!(status.code(), Some(101), "as panics end");
    tty.is_as_before();
    tty.shows_at_the_end("panicked at");
}

#[test]
fn a_panic_elsewhere_is_told_and_the_screen_goes_on() {
    let home = Home::new();
    let mut tty = home.start_with(&LONG, (80, 24), &[("CYCLOMETER_PANIC", Path::new("query"))]);
    tty.press("5");
    tty.shows("a defect in cyclometer: thread query-host");
    tty.press("1");
    tty.shows("bills of a million");
    tty.press("q");
    assert_eq!(tty.ends().code(), Some(0));
    tty.is_as_before();
    tty.shows_at_the_end("a defect in cyclometer");
}

#[test]
fn it_stops_and_goes_on_like_any_program() {
    for keys in [true, false] {
        let home = Home::new();
        let mut tty = home.start(&LONG, (80, 24));
        tty.shows("#3");
        if keys {
            tty.press("\x1a");
        } else {
            tty.signal(Signal::SIGTSTP);
        }
        tty.reaches('T');
        tty.is_as_before();
        tty.signal(Signal::SIGCONT);
        tty.until("the screen again", |text| text.contains("bills of a million"));
        assert!(tty.modes().alternate && tty.modes().cursor_hidden);
        tty.press("q");
        assert_eq!(tty.ends().code(), Some(0));
        tty.is_as_before();
        // What ran meanwhile is no measurement.
        let wrong = home
            .query("SELECT COUNT(*) FROM v_invocation WHERE status NOT IN ('ok', 'interrupted')");
        assert_eq!(wrong, "0");
    }
}

#[test]
fn without_a_terminal_it_points_to_record() {
    let output = Command::new(env!("CARGO_BIN_EXE_cyclometer")).output().expect("run");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("needs a terminal") && text.contains("cyclometer record"), "{text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn wrong_keys_and_names_are_told_before_the_terminal_is_taken() {
    let home = Home::new();
    let config = home.0.path().join("c.toml");
    std::fs::write(&config, "[keys]\nsort = [\"q\"]\n").expect("written");
    let mut tty = home.start(&["live", "--config", config.to_str().expect("text")], (80, 24));
    assert_eq!(tty.ends().code(), Some(2));
    tty.shows_at_the_end("bound to both `quit` and `sort`");
    let mut tty = home.start(&["live", "--workload", "nbdy"], (80, 24));
    assert_eq!(tty.ends().code(), Some(2));
    tty.shows_at_the_end("nbody");
}

#[test]
fn everything_works_without_colour_and_in_ascii() {
    let home = Home::new();
    let args = [&SHORT[..], &["--race"]].concat();
    let one = Path::new("1");
    let mut tty = home.start_with(&args, (80, 24), &[("NO_COLOR", one), ("LANG", Path::new("C"))]);
    tty.shows("done 18");
    for digit in ["1", "2", "3", "4", "5"] {
        tty.press(digit);
        let text = tty.shows(&format!("[{digit} "));
        assert!(text.is_ascii(), "{text}");
        assert!(!tty.has_colours(), "screen {digit}");
    }
    tty.press("q");
    assert_eq!(tty.ends().code(), Some(0));
}
