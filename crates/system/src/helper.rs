//! Helper programs that this process runs, such as compilers.
//!
//! Helpers get their limits before they begin, and leave no process running, neither when
//! they are cancelled nor when this process is killed.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::sys;
use cyclometer_core::invocation::Cancel;

/// Most bytes of standard error that are kept of a helper; the rest is read and discarded.
const MAX_STDERR: usize = 64 << 10;
/// Pause between two checks whether a helper that closed its standard error has ended.
const PAUSE: Duration = Duration::from_millis(2);

/// Limits of a helper, and of each process that it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelperLimits {
    /// Seconds of CPU time.
    pub cpu: u64,
    /// Bytes of address space.
    pub memory: u64,
}

/// Exit status and messages of a helper.
#[derive(Debug, Clone)]
pub struct HelperEnd {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard error, up to 64 KiB.
    pub stderr: String,
}

/// Runs a helper to its end, with empty standard input and output. Returns `None` if it was
/// cancelled, in which case its whole process group is killed. When this process is killed,
/// so is that group.
///
/// # Errors
/// Returns an error when it cannot be started.
pub fn run_helper(
    command: &mut Command,
    limits: HelperLimits,
    cancel: &Cancel,
) -> io::Result<Option<HelperEnd>> {
    if cancel.is_cancelled() {
        return Ok(None);
    }
    sys::guard_command(command, limits);
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut group = HelperGroup(command.spawn()?);
    let mut errors = group.0.stderr.take();
    if let Some(errors) = &errors {
        fcntl(errors, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let mut said = Vec::new();
    loop {
        if cancel.is_cancelled() {
            return Ok(None);
        }
        // Checked before the last read, so that no message is lost.
        let ended = group.0.try_wait()?;
        if errors.as_mut().is_some_and(|errors| !read_available(errors, &mut said)) {
            errors = None;
        }
        if let Some(status) = ended {
            let said = String::from_utf8_lossy(&said).into_owned();
            return Ok(Some(HelperEnd { status, stderr: said }));
        }
        match &errors {
            Some(errors) => {
                let mut watched = [PollFd::new(errors.as_fd(), PollFlags::POLLIN)];
                // A signal may interrupt the wait: the loop checks for cancellation next.
                let _ = poll(&mut watched, PollTimeout::from(Cancel::POLL_MS));
            }
            None => std::thread::sleep(PAUSE),
        }
    }
}

/// Reads the available bytes without waiting; returns `false` at the end of the stream.
fn read_available(errors: &mut ChildStderr, said: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 8 << 10];
    // Bounded, so that cancellation is checked even if the helper writes without end.
    for _ in 0..64 {
        match errors.read(&mut buffer) {
            Ok(0) => return false,
            Ok(size) => {
                let room = MAX_STDERR.saturating_sub(said.len()).min(size);
                said.extend_from_slice(&buffer[..room]);
            }
            Err(error) => {
                return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
            }
        }
    }
    true
}

/// Process group led by a helper; killed on drop unless the helper has ended.
struct HelperGroup(Child);

impl Drop for HelperGroup {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        // The child was not reaped yet, so the number cannot have been reused.
        if let Ok(group) = i32::try_from(self.0.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HelperLimits = HelperLimits { cpu: 20, memory: 1 << 30 };

    fn run(script: &str) -> HelperEnd {
        let mut command = Command::new("sh");
        let ended = run_helper(command.args(["-c", script]), LIMITS, &Cancel::default());
        ended.expect("sh").expect("not cancelled")
    }

    #[test]
    fn limits_hold_for_a_helper_and_for_what_it_starts() {
        let ended = run("cat /proc/self/limits >&2; exit 3");
        let limit = |name: &str| {
            let line = ended.stderr.lines().find(|line| line.starts_with(name)).expect("a limit");
            line[name.len()..].split_whitespace().take(2).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(limit("Max cpu time"), "20 25");
        assert_eq!(limit("Max address space"), "1073741824 1073741824");
        assert_eq!(limit("Max core file size"), "0 0");
        // The limits of this process are unchanged.
        let own = crate::files::read_kernel_text("/proc/self/limits").expect("/proc");
        assert!(!own.lines().any(|line| line.contains(" 1073741824 ")), "{own}");
    }

    #[test]
    fn the_end_of_a_helper_is_told_as_it_was() {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(run("exit 0").status.code(), Some(0));
        assert_eq!(run("exit 255").status.code(), Some(255));
        // Per signal(7), 9 and 15 on every machine.
        assert_eq!(run("kill -9 $$").status.signal(), Some(9));
        assert_eq!(run("kill -15 $$").status.signal(), Some(15));
        let none = Command::new("/nonexistent/helper");
        let failed = run_helper(&mut { none }, LIMITS, &Cancel::default());
        assert_eq!(failed.expect_err("no such program").kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_a_helper_says_is_bounded_and_what_it_leaves_is_not_waited_for() {
        let ended = run("sleep 5 & head -c 1000000 /dev/zero | tr '\\0' x >&2");
        assert_eq!(ended.stderr.len(), MAX_STDERR);
    }

    #[test]
    fn a_cancelled_helper_goes_with_all_that_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let script = "sleep 600 & echo $! > \"$0.new\"; mv \"$0.new\" \"$0\"; wait";
        let cancel = Cancel::default();
        let theirs = cancel.clone();
        let there = file.clone();
        let stop = std::thread::spawn(move || {
            while !there.exists() {
                std::thread::sleep(PAUSE);
            }
            theirs.cancel();
        });
        let mut command = Command::new("sh");
        let ended = run_helper(command.args(["-c", script]).arg(&file), LIMITS, &cancel);
        stop.join().expect("stopped");
        assert!(ended.expect("sh").is_none());
        let pid = std::fs::read_to_string(&file).expect("written");
        // The new parent may not have reaped it yet.
        let is_running = || {
            let stat = crate::files::read_kernel_text(format!("/proc/{}/stat", pid.trim()));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        let begun = std::time::Instant::now();
        while is_running() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{pid} goes on");
            std::thread::sleep(PAUSE);
        }
    }
}
