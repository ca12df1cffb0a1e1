//! Terminals that nobody reads any more: a connection without an answer, a
//! window that was stopped. Whoever writes to one waits for ever, and would
//! never hear that the program is to end.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{dup2_stderr, dup2_stdout};
use signal_hook::consts::SIGURG;
use signal_hook::flag;

use cyclometer_system::sys::interrupt_threads;

/// How long a terminal may take nothing before it counts as frozen.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Lets the program end although a terminal that it writes to is frozen: what
/// is still written to that goes nowhere. To be called when a signal has said
/// that the program is to end; once is enough.
pub fn let_go_of_frozen_terminals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let watcher = std::thread::Builder::new().name("frozen".to_owned());
        // Without a thread the program ends as soon as the terminal is read.
        let _ = watcher.spawn(|| {
            // A handler, so that this signal interrupts a write and does no more.
            let _ = flag::register(SIGURG, Arc::new(AtomicBool::new(false)));
            let mut taken = [Instant::now(); 2];
            loop {
                std::thread::sleep(LOOK);
                #[expect(clippy::disallowed_methods, reason = "nothing is written")]
                let outputs = (io::stdout(), io::stderr());
                look(outputs.0.as_fd(), &mut taken[0], dup2_stdout);
                look(outputs.1.as_fd(), &mut taken[1], dup2_stderr);
            }
        });
    });
}

/// Replaces an output by one that takes everything if it is a terminal that
/// has taken nothing since `taken` for too long.
fn look(
    output: BorrowedFd<'_>,
    taken: &mut Instant,
    replace: impl FnOnce(std::fs::File) -> nix::Result<()>,
) {
    if !output.is_terminal() || takes_more(output) {
        *taken = Instant::now();
    } else if taken.elapsed() > PATIENCE {
        let Ok(nowhere) = OpenOptions::new().write(true).open("/dev/null") else { return };
        if replace(nowhere).is_ok() {
            // Whatever write waits is begun again, and ends.
            interrupt_threads();
        }
    }
}

/// Whether a write would not wait, be it since it fails.
fn takes_more(output: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(output, PollFlags::POLLOUT)];
    poll(&mut polled, PollTimeout::ZERO) != Ok(0)
}
