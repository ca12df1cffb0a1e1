//! Signals, as programs find them that a person starts.
#![expect(unsafe_code, reason = "a child is set up between fork and exec")]

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Lets a command start with the default answer to all signals that are sent to
/// it in tests: what is ignored where the tests were started, under `nohup` or in
/// the background of a shell, would be ignored by it too.
pub fn usual_signals(command: &mut Command) -> &mut Command {
    const SENT: [Signal; 6] = [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGTSTP,
        Signal::SIGCHLD,
    ];
    let set_up = || {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        for signal in SENT {
            // SAFETY: sets no handler.
            unsafe { sigaction(signal, &default) }?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes nothing but system calls.
    unsafe { command.pre_exec(set_up) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_here_is_not_ignored_by_a_child() {
        // As `nohup` does: SIGHUP is 1 (signal(7)), so the lowest bit of the mask.
        let script = "trap '' HUP INT; exec \"$0\" --exact --nocapture --ignored \
                      signals::tests::prints_what_a_child_ignores";
        let own = std::env::current_exe().expect("this test");
        let output = Command::new("sh").args(["-c", script]).arg(own).output().expect("sh");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mask = |name: &str| {
            let (_, rest) = text.split_once(name).unwrap_or_else(|| panic!("{text}"));
            let word = rest.split_whitespace().next().expect("a mask");
            u64::from_str_radix(word, 16).expect("hexadecimal") & 0b11
        };
        assert_eq!(mask("without SigIgn:"), 0b11, "{text}");
        assert_eq!(mask("with SigIgn:"), 0, "{text}");
    }

    #[test]
    #[ignore = "started by the other test, with signals ignored"]
    fn prints_what_a_child_ignores() {
        for name in ["without", "with"] {
            let mut command = Command::new("grep");
            command.args(["SigIgn", "/proc/self/status"]);
            if name == "with" {
                usual_signals(&mut command);
            }
            let output = command.output().expect("grep");
            println!("{name} {}", String::from_utf8_lossy(&output.stdout));
        }
    }
}
