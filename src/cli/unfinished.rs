//! Imports that were not finished: how each goes on, or is removed.

use serde_json::Value;

use super::{CommandFailure, say};
use crate::report::format_count;
use crate::store::{Store, UnfinishedImport};

/// Tells of traces that are not listed, since they are not whole yet.
pub(super) fn say_unfinished_imports(store: &Store) -> Result<(), CommandFailure> {
    for it in store.list_unfinished_imports().map_err(CommandFailure::failed)? {
        say(&describe_unfinished(&it));
    }
    Ok(())
}

/// Says how an import that was not finished goes on, and how it is removed.
pub(super) fn describe_unfinished(it: &UnfinishedImport) -> String {
    let trace = it.recording;
    if let Some(process) = it.process {
        return format!("note: process {process} is importing trace {trace}");
    }
    let plan: Value = serde_json::from_str(&it.plan).unwrap_or_default();
    let rows = format_count(it.rows, "row");
    let command = match plan["import"]["command"].as_str() {
        Some(command) => format!("`{command}`"),
        None => "its own command".to_owned(),
    };
    format!(
        "note: the import of trace {trace} was not finished, {rows} are stored: {command} goes on \
         with it, `cyclometer import --discard {trace}` removes it"
    )
}

/// Writes the command line of this process as a shell takes it; `None` if it is no text, or has a
/// line break.
pub(super) fn describe_own_command() -> Option<String> {
    let words = std::env::args_os().skip(1).map(|word| word.into_string().ok());
    let words: Option<Vec<String>> = words.collect();
    quote_command(&words?)
}

fn quote_command(words: &[String]) -> Option<String> {
    let is_plain = |text: &str| {
        let plain = |it: char| it.is_ascii_alphanumeric() || "-_./:=,@%+".contains(it);
        !text.is_empty() && text.chars().all(plain)
    };
    let mut command = "cyclometer".to_owned();
    for word in words {
        if word.chars().any(char::is_control) {
            return None;
        }
        command.push(' ');
        if is_plain(word) {
            command.push_str(word);
        } else {
            command.push('\'');
            command.push_str(&word.replace('\'', "'\\''"));
            command.push('\'');
        }
    }
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_written_as_a_shell_takes_it() {
        let quote = |words: &[&str]| {
            quote_command(&words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            quote(&["import", "a b.log", "--map", "x=run:ms", "it's", ""]).as_deref(),
            Some("cyclometer import 'a b.log' --map x=run:ms 'it'\\''s' ''")
        );
        assert_eq!(quote(&["import", "a\nb"]), None);
    }
}
