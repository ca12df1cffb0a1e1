//! Terminal: taken over, and restored as it was whatever happens.
#![expect(
    clippy::disallowed_methods,
    reason = "what is drawn is escaped by widgets::text and by clear_hidden"
)]

use std::io::{self, Stdout, Write};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, execute};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;

/// Whether the terminal is taken over now; checked when it is restored.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Terminal while it is taken over.
pub(crate) struct TerminalGuard {
    /// Terminal to draw on. Never dropped: ratatui would show the cursor, which
    /// [`restore`] has done, and panic where the terminal is gone.
    pub terminal: ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>,
}

impl TerminalGuard {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// Fails when the terminal cannot be configured.
    pub(crate) fn take_over(mouse: bool) -> io::Result<Self> {
        enter_screen(mouse)?;
        match Terminal::new(CrosstermBackend::new(io::stdout())) {
            Ok(terminal) => Ok(Self { terminal: ManuallyDrop::new(terminal) }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Takes the terminal over again after it was restored.
    ///
    /// # Errors
    /// Fails when the terminal cannot be configured.
    pub(crate) fn take_over_again(&mut self, mouse: bool) -> io::Result<()> {
        enter_screen(mouse)?;
        self.force_redraw()
    }

    /// Forgets what the terminal is believed to show: the next frame is drawn
    /// whole. `Terminal::clear` is not used, since it asks the terminal for the
    /// position of the cursor, and the thread that reads keys would swallow the
    /// response.
    ///
    /// # Errors
    /// Fails when the terminal accepts no more output.
    pub(crate) fn force_redraw(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        restore();
    }
}

fn enter_screen(mouse: bool) -> io::Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
    set_mouse(mouse)
}

/// Captures the mouse, or leaves it to the terminal.
///
/// # Errors
/// Fails when the terminal accepts no more output.
pub(crate) fn set_mouse(on: bool) -> io::Result<()> {
    if on {
        execute!(io::stdout(), EnableMouseCapture)
    } else {
        execute!(io::stdout(), DisableMouseCapture)
    }
}

/// Restores the terminal as it was; harmless if that has happened already.
pub fn restore() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // Each is tried by itself: where one fails the others are still worth trying.
    let mut out = io::stdout();
    let _ = execute!(out, DisableMouseCapture, DisableBracketedPaste);
    let _ = execute!(out, cursor::Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
    let _ = out.flush();
}

/// Returns whether an error means that the terminal is gone: its window was
/// closed, its connection was lost.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    let codes = [libc::EIO, libc::ENXIO, libc::ENODEV, libc::EPIPE, libc::EBADF, libc::ENOTTY];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Panics on purpose where a test of a debug build asks for it, so that the
/// handling of panics can be tested.
pub(crate) fn panic_for_tests(place: &str) {
    #[cfg(debug_assertions)]
    {
        let asked = std::env::var_os("CYCLOMETER_PANIC");
        assert!(asked.as_deref() != Some(place.as_ref()), "as the environment asks");
    }
    #[cfg(not(debug_assertions))]
    let _ = place;
}
