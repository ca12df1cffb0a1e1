//! Frozen terminals, which nobody reads any more: a connection that does not
//! respond, a window that was stopped. A thread that writes to one blocks for
//! ever, and would never notice that the program is to end.

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

/// Time without progress after which a terminal counts as frozen.
const FROZEN_AFTER: Duration = Duration::from_secs(2);
/// Interval between two looks at the terminals.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Lets the program end although a terminal that it writes to is frozen:
/// further output to that terminal is discarded. Call it when a signal has
/// asked the program to end; once is enough.
pub fn detach_frozen_terminals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let watcher = std::thread::Builder::new().name("frozen".to_owned());
        // Without this thread the program ends as soon as the terminal is read
        // again.
        let _ = watcher.spawn(|| {
            // Installs a handler, so that this signal interrupts a write and
            // does nothing else.
            let _ = flag::register(SIGURG, Arc::new(AtomicBool::new(false)));
            let mut taken = [Instant::now(); 2];
            loop {
                std::thread::sleep(POLL_INTERVAL);
                #[expect(clippy::disallowed_methods, reason = "nothing is written")]
                let outputs = (io::stdout(), io::stderr());
                detach_if_frozen(outputs.0.as_fd(), &mut taken[0], dup2_stdout);
                detach_if_frozen(outputs.1.as_fd(), &mut taken[1], dup2_stderr);
            }
        });
    });
}

/// Redirects an output to `/dev/null` if it is a terminal that has accepted
/// nothing since `taken` for too long.
fn detach_if_frozen(
    output: BorrowedFd<'_>,
    taken: &mut Instant,
    replace: impl FnOnce(std::fs::File) -> nix::Result<()>,
) {
    if !output.is_terminal() || accepts_output(output) {
        *taken = Instant::now();
    } else if taken.elapsed() > FROZEN_AFTER {
        let Ok(nowhere) = OpenOptions::new().write(true).open("/dev/null") else { return };
        if replace(nowhere).is_ok() {
            // A blocked write is restarted and then succeeds.
            interrupt_threads();
        }
    }
}

/// Returns whether a write would not block, even if only because it would fail.
fn accepts_output(output: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(output, PollFlags::POLLOUT)];
    poll(&mut polled, PollTimeout::ZERO) != Ok(0)
}
