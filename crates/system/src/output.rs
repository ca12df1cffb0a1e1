//! Standard output and standard error. All text is written through this module, which
//! escapes control characters in file names, labels, and the output of functions and
//! engines: see [`visible_text`].
//!
//! Clippy forbids `std::io::stdout` and `std::io::stderr` elsewhere; code that needs a
//! descriptor or the terminal itself carries an explicit exception.
//!
//! [`visible_text`]: cyclometer_core::visible_text
#![expect(clippy::disallowed_methods, reason = "this is where they are called")]

use std::borrow::Cow;
use std::io::{self, IsTerminal, StdoutLock, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use cyclometer_core::visible_text::{VisibleWriter, escape_json, escape_line, escape_lines};

/// Locked standard output that accepts visible text only.
pub(crate) type TextOutput = VisibleWriter<StdoutLock<'static>>;

/// Returns standard output, for results. JSON must be escaped before, by [`json_text`] or a
/// row writer: escapes for people are not valid in JSON.
#[must_use]
pub fn text_output() -> TextOutput {
    VisibleWriter::new(io::stdout().lock())
}

/// Returns whether standard output goes to a terminal.
#[must_use]
pub fn is_terminal_output() -> bool {
    io::stdout().is_terminal()
}

/// Returns whether standard output goes to a device, such as a terminal that may be gone.
#[must_use]
pub fn is_device_output() -> bool {
    let kind = nix::sys::stat::fstat(io::stdout()).map_or(0, |status| status.st_mode);
    kind & libc::S_IFMT == libc::S_IFCHR
}

/// Writes a message to standard error. Lines after the first are indented if they are not
/// already, so that quoted text cannot imitate a message of this program.
pub fn write_message(message: &str) {
    // A closed standard error is no reason to stop.
    let _ = writeln!(io::stderr(), "{}", message_text(message));
}

/// Flushes all messages to standard error.
pub fn flush_messages() {
    let _ = io::stderr().flush();
}

fn message_text(message: &str) -> Cow<'_, str> {
    let visible = escape_lines(message);
    if !visible.contains('\n') {
        return visible;
    }
    let mut lines = visible.split('\n');
    let mut text = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        let indent = if line.is_empty() || line.starts_with(' ') { "" } else { "  " };
        text.extend(["\n", indent, line]);
    }
    text.into()
}

/// Formats a value as JSON, with hidden characters as JSON escapes; on indented lines if
/// `indented`.
#[must_use]
pub fn json_text(value: &Value, indented: bool) -> String {
    let text = if indented { format!("{value:#}") } else { value.to_string() };
    match escape_json(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(escaped) => escaped,
    }
}

/// Progress bar on standard error, with messages beside it.
#[derive(Debug, Clone)]
pub struct MessageBar(ProgressBar);

impl MessageBar {
    /// Creates a bar of `total` steps; `None` if standard error is no terminal.
    #[must_use]
    pub fn on_terminal(total: Option<u64>, template: &str) -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Some(Self(bar))
    }

    /// Moves the bar to `step`.
    pub fn set_position(&self, step: u64) {
        self.0.set_position(step);
    }

    /// Replaces the text beside the bar.
    pub fn set_message(&self, text: &str) {
        self.0.set_message(escape_line(text).into_owned());
    }

    /// Replaces the text in front of the message.
    pub fn set_prefix(&self, text: &str) {
        self.0.set_prefix(escape_line(text).into_owned());
    }

    /// Writes a message above the bar.
    pub fn write_message(&self, message: &str) {
        self.0.println(message_text(message));
    }

    /// Returns whether the bar was removed.
    #[must_use]
    pub fn is_cleared(&self) -> bool {
        self.0.is_finished()
    }

    /// Removes the bar.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_begin_a_line_of_ours() {
        assert_eq!(message_text("error: a\nnote: b"), "error: a\n  note: b");
        assert_eq!(message_text("a\n\n  b\n"), "a\n\n  b\n");
        assert_eq!(message_text("a\x1b]0;b\x07\u{202e}"), "a\\x1b]0;b\\x07\\u{202e}");
    }

    #[test]
    fn json_is_the_same_value_without_hidden_characters() {
        let value = serde_json::json!({ "a": "\u{202e}\x1b" });
        assert_eq!(json_text(&value, false), "{\"a\":\"\\u202e\\u001b\"}");
        assert_eq!(json_text(&value, true), "{\n  \"a\": \"\\u202e\\u001b\"\n}");
    }
}
