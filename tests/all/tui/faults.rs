//! What goes wrong while the screen is on: each is told in its place, the rest
//! goes on, and nothing that had finished is lost.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::Connection;

use super::Home;
use super::pty::Tty;
use crate::common::engine::Engine;

/// A number at the end of the first word that begins like this, as in `rec 12`.
fn after(text: &str, word: &str) -> Option<u64> {
    let (_, rest) = text.split_once(word)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Waits until more than that many invocations were recorded.
fn goes_past(tty: &mut Tty, count: u64) -> u64 {
    let text =
        tty.until("more invocations", |text| after(text, " rec ").is_some_and(|done| done > count));
    after(&text, " rec ").expect("a number")
}

/// Everything that was told on the way out is in the database, once.
fn is_complete(home: &Home, tty: &mut Tty) {
    tty.press("q");
    assert_eq!(tty.ends().code(), Some(0));
    tty.is_as_before();
    home.is_whole();
    // Cells are numbered without gaps: nothing that had finished is missing.
    let gaps = home.query(
        "SELECT COUNT(*) FROM (SELECT COUNT(*) AS n, MAX(sequence) AS last FROM v_invocation
         GROUP BY cell HAVING n <> last)",
    );
    assert_eq!(gaps, "0");
}

#[test]
fn a_locked_database_is_told_and_recording_goes_on_afterwards() {
    let home = Home::new();
    let args = ["live", "--workload", "nop,wait", "--lane", "native,wasmtime", "--loop"];
    let mut tty = home.start(&args, (120, 30));
    let before = goes_past(&mut tty, 8);
    let other = Connection::open(home.database()).expect("opened");
    other.busy_timeout(Duration::from_secs(30)).expect("set");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    tty.shows("database waits");
    tty.shows("locked by another process since");
    // Everything else goes on: other screens are drawn and read.
    tty.press("2");
    tty.shows("aws-lambda-x86");
    tty.press("5");
    tty.shows("TSC frequency");
    tty.press("1");
    other.execute_batch("ROLLBACK").expect("unlocked");
    goes_past(&mut tty, before + 8);
    assert!(!tty.text().contains("database waits"));
    is_complete(&home, &mut tty);
}

#[test]
fn a_full_disk_is_told_and_recording_goes_on_when_there_is_room() {
    let home = Home::new();
    let mount = home.path().join("small");
    std::fs::create_dir(&mount).expect("made");
    let Some(_mounted) = Mounted::at(&mount) else { return };
    let database = mount.join("c.db");
    let ballast = mount.join("ballast");
    let args = [
        "live",
        "--db",
        database.to_str().expect("text"),
        "--workload",
        "nop",
        "--lane",
        "native,wasmtime",
        "--loop",
    ];
    let mut tty = home.start(&args, (120, 30));
    goes_past(&mut tty, 20);
    // As much as there is.
    let full = std::process::Command::new("dd")
        .args(["if=/dev/zero", "bs=4096"])
        .arg(format!("of={}", ballast.display()))
        .output();
    assert!(full.is_ok_and(|output| !output.status.success()), "it fills up");
    tty.shows("database waits");
    tty.shows("the disk is full");
    let before = after(&tty.text(), "database waits ").expect("a number");
    std::fs::remove_file(&ballast).expect("removed");
    goes_past(&mut tty, before + 20);
    tty.press("q");
    assert_eq!(tty.ends().code(), Some(0));
    tty.is_as_before();
    let connection = Connection::open(&database).expect("opened");
    let one =
        |sql: &str| -> String { connection.query_row(sql, [], |row| row.get(0)).expect("a row") };
    assert_eq!(one("PRAGMA integrity_check"), "ok");
    let gaps = one(
        "SELECT COUNT(*) || '' FROM (SELECT COUNT(*) AS n, MAX(sequence) AS last FROM v_invocation
         GROUP BY cell HAVING n <> last)",
    );
    assert_eq!(gaps, "0");
}

/// A file system of 2 MiB.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn at(path: &'a Path) -> Option<Self> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(path)
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(path));
        }
        cyclometer_testkit::skip("a small file system cannot be mounted here");
        None
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").args(["-l"]).arg(self.0).status();
    }
}

#[test]
fn an_engine_that_dies_is_told_in_its_lane_and_the_others_go_on() {
    let Some(mut engine) = Engine::start() else { return };
    let home = Home::new();
    let socket = format!("unix://{}", engine.socket().display());
    let args = ["live", "--workload", "wait", "--lane", "native,docker", "--loop"];
    let mut tty = home.start_with(&args, (120, 30), &[("DOCKER_HOST", Path::new(&socket))]);
    tty.shows("wait cold #2");
    let before = goes_past(&mut tty, 3);
    engine.kill();
    tty.shows("the newest failed");
    goes_past(&mut tty, before + 6);
    is_complete(&home, &mut tty);
    let failed = home
        .query("SELECT lane FROM v_invocation WHERE status = 'failed' GROUP BY lane ORDER BY lane");
    assert_eq!(failed, "docker", "only its own lane");
}

#[test]
fn a_flood_of_output_is_told_in_its_lane_and_the_screen_stays_whole() {
    let home = Home::new();
    let folder = home.path().join("w/flood");
    std::fs::create_dir_all(&folder).expect("made");
    let code = folder.join("flood.c");
    // Escape sequences, which a terminal would obey.
    let source = "#include <unistd.h>\nint main(void) { for (;;)
        if (write(1, \"\\033[2J\\033[31mFLOOD\", 14) < 0 || write(2, \"\\033cFLOOD\", 7) < 0) return 1; }";
    std::fs::write(&code, source).expect("written");
    let built = std::process::Command::new("cc")
        .args(["-O1", "-static", "-o"])
        .arg(folder.join("p"))
        .arg(&code)
        .status();
    if !built.is_ok_and(|status| status.success()) {
        return cyclometer_testkit::skip("no C compiler");
    }
    let manifest = "title = \"flood\"\nstresses = \"output\"\nnative = \"p\"\n[limits]\n\
                    output = \"4MiB\"\n[preset.quick]\n";
    std::fs::write(folder.join("workload.toml"), manifest).expect("written");
    let folder = home.path().join("w");
    let args = [
        "live",
        "--workloads",
        folder.to_str().expect("text"),
        "--workload",
        "flood,wait",
        "--lane",
        "native,wasmtime",
        "--loop",
    ];
    let mut tty = home.start(&args, (120, 30));
    tty.shows("output limit of 4.00 MiB");
    let before = goes_past(&mut tty, 4);
    goes_past(&mut tty, before + 6);
    let text = tty.text();
    assert!(!text.contains("FLOOD"), "{text}");
    assert!(text.contains("bills of a million") && text.contains("[1 Live]"), "{text}");
    is_complete(&home, &mut tty);
    let ok = home
        .query("SELECT COUNT(*) > 2 FROM v_invocation WHERE workload = 'wait' AND status = 'ok'");
    assert_eq!(ok, "1");
}

#[test]
fn a_terminal_that_nobody_reads_does_not_keep_a_program_from_ending() {
    let live = ["live", "--workload", "nop", "--lane", "native", "--loop"];
    let record = ["record", "--workload", "nop", "--lane", "native", "--runs", "20000"];
    for args in [&live[..], &record[..]] {
        let home = Home::new();
        let (mut child, terminal) = starts_unread(&home, args);
        // Until it was full for a while.
        let (begun, mut room) = (Instant::now(), Instant::now());
        while room.elapsed() < Duration::from_secs(1) {
            assert!(child.try_wait().expect("asked").is_none(), "{args:?} ended");
            assert!(begun.elapsed() < Duration::from_secs(50), "{args:?}: it never fills");
            let mut slave = [PollFd::new(terminal.slave.as_fd(), PollFlags::POLLOUT)];
            if poll(&mut slave, PollTimeout::ZERO) != Ok(0) {
                room = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        kill(Pid::from_raw(child.id().try_into().expect("a pid")), Signal::SIGTERM).expect("sent");
        let begun = Instant::now();
        let ended = loop {
            if let Some(status) = child.try_wait().expect("asked") {
                break status;
            }
            if begun.elapsed() > Duration::from_secs(40) {
                child.kill().expect("killed");
                panic!("{args:?} waits for its terminal");
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        assert_eq!(ended.code(), Some(super::code_of(Signal::SIGTERM)), "{args:?}");
        let kept = "SELECT status, ended_at IS NOT NULL, invocations > 0 FROM v_recording";
        assert_eq!(home.query(kept), "interrupted,1,1", "{args:?}");
        home.is_whole();
    }
}

/// Starts the program in a terminal that takes only what fits in its buffers.
fn starts_unread(home: &Home, args: &[&str]) -> (Child, OpenptyResult) {
    let size = Winsize { ws_row: 60, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).expect("a pseudo-terminal");
    let stdio = || Stdio::from(pty.slave.try_clone().expect("a copy"));
    let mut command = Command::new("setsid");
    command
        .args(["--ctty", env!("CARGO_BIN_EXE_cyclometer")])
        .args(args)
        .env("TERM", "xterm-256color")
        .env("CYCLOMETER_DB", home.database())
        .env("XDG_CONFIG_HOME", home.path().join("config"))
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .stdin(stdio())
        .stdout(stdio())
        .stderr(stdio());
    let child = cyclometer_testkit::usual_signals(&mut command).spawn().expect("started");
    (child, pty)
}
