//! A terminal for the program: a real pseudo-terminal, with an emulator behind
//! it that knows what a person would see.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::libc;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;

/// Longest wait for anything; a busy machine is no failure.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program in its terminal.
pub struct Tty {
    child: Child,
    master: File,
    slave: File,
    screen: Arc<Mutex<vt100::Parser>>,
    written: Arc<Mutex<Vec<u8>>>,
    before: Termios,
}

/// What a terminal can be left in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a terminal has that many switches")]
pub struct Modes {
    pub termios: Termios,
    pub alternate: bool,
    pub cursor_hidden: bool,
    pub paste: bool,
    pub mouse: bool,
}

impl Tty {
    /// Starts the program in a terminal of that size.
    pub fn start(args: &[&str], (columns, lines): (u16, u16), env: &[(&str, &Path)]) -> Self {
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a pseudo-terminal");
        let slave = File::from(pty.slave);
        let master = File::from(pty.master);
        let before = tcgetattr(&slave).expect("modes");
        let stdio = || Stdio::from(slave.try_clone().expect("a copy"));
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", env!("CARGO_BIN_EXE_cyclometer")])
            .args(args)
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8")
            .env("RUST_BACKTRACE", "0")
            .env_remove("LC_ALL")
            .env_remove("NO_COLOR")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio());
        for (name, value) in env {
            command.env(name, value);
        }
        let child = cyclometer_testkit::usual_signals(&mut command).spawn().expect("started");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(sized(lines), sized(columns), 0)));
        let (mut reader, seen) = (master.try_clone().expect("a copy"), Arc::clone(&screen));
        let written = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&written);
        std::thread::spawn(move || {
            let mut bytes = [0; 8_192];
            while let Ok(count) = reader.read(&mut bytes) {
                if count == 0 {
                    return;
                }
                kept.lock().expect("whole").extend_from_slice(&bytes[..count]);
                seen.lock().expect("whole").process(&bytes[..count]);
            }
        });
        Self { child, master, slave, screen, written, before }
    }

    /// What a person sees.
    pub fn text(&self) -> String {
        self.screen.lock().expect("whole").screen().contents()
    }

    /// Everything that the program has written so far.
    pub fn written(&self) -> Vec<u8> {
        self.written.lock().expect("whole").clone()
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("taken");
    }

    /// Waits until the screen is as wanted.
    pub fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let text = self.text();
            if wanted(&text) {
                return text;
            }
            let ended = self.child.try_wait().expect("asked");
            assert!(ended.is_none(), "it ended ({ended:?}) before {what}; it shows\n{text}");
            assert!(begun.elapsed() < PATIENCE, "no {what}; it shows\n{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for words on the screen.
    pub fn shows(&mut self, words: &str) -> String {
        self.until(&format!("`{words}`"), |text| text.contains(words))
    }

    /// Words that are there once it has ended.
    pub fn shows_at_the_end(&self, words: &str) {
        let begun = Instant::now();
        // Lines are broken where the terminal ends.
        let joined = || self.text().replace('\n', "");
        while !joined().contains(words) {
            assert!(begun.elapsed() < Duration::from_secs(5), "no `{words}` in\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether anything in sight has a colour.
    pub fn has_colours(&self) -> bool {
        let parser = self.screen.lock().expect("whole");
        let screen = parser.screen();
        let (lines, columns) = screen.size();
        let (lines, columns) = (lines.get(), columns.get());
        let plain = vt100::Color::Default;
        let cells = (0..lines).flat_map(|line| (0..columns).map(move |column| (line, column)));
        cells
            .filter_map(|(line, column)| screen.cell(line, column))
            .any(|cell| cell.fgcolor() != plain || cell.bgcolor() != plain)
    }

    /// Makes the terminal larger or smaller, as a person does.
    pub fn resize(&mut self, columns: u16, lines: u16) {
        self.screen.lock().expect("whole").screen_mut().set_size(sized(lines), sized(columns));
        let status = Command::new("stty")
            .args(["rows", &lines.to_string(), "columns", &columns.to_string()])
            .stdin(self.slave.try_clone().expect("a copy"))
            .status()
            .expect("stty");
        assert!(status.success(), "{lines} lines, {columns} columns");
    }

    /// The modes the terminal is in.
    pub fn modes(&self) -> Modes {
        let parser = self.screen.lock().expect("whole");
        let screen = parser.screen();
        Modes {
            termios: tcgetattr(self.slave.as_fd()).expect("modes"),
            alternate: screen.alternate_screen(),
            cursor_hidden: screen.hide_cursor(),
            paste: screen.bracketed_paste(),
            mouse: screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None,
        }
    }

    /// The terminal is as it was before the program came.
    pub fn is_as_before(&self) {
        let before = Modes {
            termios: self.before.clone(),
            alternate: false,
            cursor_hidden: false,
            paste: false,
            mouse: false,
        };
        let begun = Instant::now();
        // What was written last may still be on its way through the emulator.
        while self.modes() != before && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.modes(), before);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("sent");
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.id()).expect("a pid"))
    }

    /// The state of the process, as `/proc` has it: `T` is stopped.
    pub fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()));
        let stat = stat.unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('?')
    }

    /// Waits until it is in that state.
    pub fn reaches(&self, state: char) {
        let begun = Instant::now();
        while self.state() != state {
            assert!(begun.elapsed() < PATIENCE, "state {} instead of {state}", self.state());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end.
    pub fn ends(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("asked") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end; it shows\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit code that stands for an end by that signal.
pub fn code_of(signal: Signal) -> i32 {
    128 + signal as libc::c_int
}

fn sized(cells: u16) -> std::num::NonZero<u16> {
    std::num::NonZero::new(cells).expect("not empty")
}
