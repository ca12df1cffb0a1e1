//! Signals that end a command, and the exit status for each of them.
//!
//! The first one stops cleanly. A second Ctrl-C ends at once; SIGTERM and
//! SIGHUP never do, since a terminal that goes away often sends several.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::CommandFailure;
use crate::frozen_terminals::detach_frozen_terminals;
use crate::lane::Cancel;
use crate::record::Control;
use crate::sys;
use crate::threads::start_thread;

/// The latest signal meant to end this process; 0 if there was none.
static RECEIVED: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// Returns the exit status of an interrupted command: 128 plus the number of the signal,
/// so 130 for Ctrl-C, 143 for SIGTERM and 129 for SIGHUP.
pub(super) fn interrupted_status() -> ExitCode {
    ExitCode::from(u8::try_from(interrupted_number()).unwrap_or(130))
}

/// Returns the exit status of an interrupted command as a number.
pub(super) fn interrupted_number() -> i32 {
    let signal = RECEIVED.load(Ordering::SeqCst);
    i32::try_from(128 + signal).ok().filter(|_| signal > 0).unwrap_or(130)
}

/// Returns whether a signal meant to end this process was received.
pub(super) fn is_interrupted() -> bool {
    RECEIVED.load(Ordering::SeqCst) > 0
}

/// Returns a token that Ctrl-C, SIGTERM or SIGHUP cancels. A second Ctrl-C ends the
/// process at once.
///
/// # Errors
/// Returns an error if the system accepts no signal handler.
pub(super) fn cancel_on_signals() -> Result<Cancel, CommandFailure> {
    let stopped = Arc::new(AtomicBool::new(false));
    flag::register_conditional_default(SIGINT, Arc::clone(&stopped)).map_err(signal_failure)?;
    for signal in ending_signals() {
        remember_signal(signal)?;
        flag::register(signal, Arc::clone(&stopped)).map_err(signal_failure)?;
    }
    end_on_frozen_terminals()?;
    Ok(Cancel::from_flag(stopped))
}

/// Returns a control that finishes after the running invocation on the first Ctrl-C, and
/// stops cleanly on the second one, on SIGTERM or on SIGHUP. A further Ctrl-C ends the
/// process at once.
///
/// # Errors
/// Returns an error if the system accepts no signal handler or starts no thread.
pub(super) fn finish_on_signals() -> Result<Control, CommandFailure> {
    let stopped = Arc::new(AtomicBool::new(false));
    flag::register_conditional_default(SIGINT, Arc::clone(&stopped)).map_err(signal_failure)?;
    for signal in ending_signals() {
        remember_signal(signal)?;
        if signal != SIGINT {
            flag::register(signal, Arc::clone(&stopped)).map_err(signal_failure)?;
        }
    }
    end_on_frozen_terminals()?;
    let (mut interrupts, written) = UnixStream::pair().map_err(signal_failure)?;
    signal_hook::low_level::pipe::register(SIGINT, written).map_err(signal_failure)?;
    let control = Control::from(Cancel::from_flag(stopped));
    let theirs = control.clone();
    start_thread("signals", move || {
        // One byte a signal; the thread ends with the program.
        let mut byte = [0];
        while interrupts.read_exact(&mut byte).is_ok() {
            if theirs.is_over() { theirs.stop_now() } else { theirs.finish_after_current() }
        }
    })
    .map_err(CommandFailure::failed)?;
    Ok(control)
}

/// Makes sure that a signal ends the program even while it waits for a terminal that
/// nobody reads.
fn end_on_frozen_terminals() -> Result<(), CommandFailure> {
    let (mut endings, written) = UnixStream::pair().map_err(signal_failure)?;
    for signal in ending_signals() {
        let written = written.try_clone().map_err(signal_failure)?;
        signal_hook::low_level::pipe::register(signal, written).map_err(signal_failure)?;
    }
    start_thread("endings", move || {
        if endings.read_exact(&mut [0]).is_ok() {
            detach_frozen_terminals();
        }
        // The pipe stays open to the end: signals go on writing to it.
        std::mem::forget(endings);
    })
    .map_err(CommandFailure::failed)?;
    Ok(())
}

/// Converts the error of a signal handler that could not be installed.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn signal_failure(error: std::io::Error) -> CommandFailure {
    CommandFailure::Failed(format!("cannot listen to signals: {error}"))
}

fn remember_signal(signal: i32) -> Result<(), CommandFailure> {
    let number = usize::try_from(signal).unwrap_or_default();
    flag::register_usize(signal, Arc::clone(&RECEIVED), number).map_err(signal_failure)?;
    flag::register(signal, Cancel::for_process().shared_flag()).map_err(signal_failure)?;
    Ok(())
}

/// Returns the signals that end a command. Under `nohup`, SIGHUP is not one of them.
fn ending_signals() -> Vec<i32> {
    let all = [SIGINT, SIGTERM, SIGHUP];
    all.into_iter().filter(|signal| *signal != SIGHUP || !sys::ignores_hangup()).collect()
}
