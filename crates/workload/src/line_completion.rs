//! Completion of a line that names a function: paths, and names of images.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cyclometer_core::visible_text::is_hidden;

use crate::function_line::{IMAGE_PREFIX, expand_home};

/// Most entries of a folder that are looked at.
const MAX_ENTRIES: usize = 10_000;
/// Most candidates that are kept for being shown.
const MAX_CANDIDATES: usize = 100;

/// Completion of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineCompletion {
    /// Line as far as it is certain.
    pub line: String,
    /// Candidates for its last word, if there are several.
    pub candidates: Vec<String>,
}

/// Completes the last word of a line: the path of a file, or the name of an image after
/// `image:`. The first word is completed to folders and to files that can be a function.
#[must_use]
pub fn complete_function_line(line: &str, images: &[String]) -> LineCompletion {
    let start = find_last_word(line);
    let (before, last) = line.split_at(start);
    let unchanged = |candidates| LineCompletion { line: line.to_owned(), candidates };
    let Some(word) = unquote_word(last) else { return unchanged(Vec::new()) };
    let is_first = before.trim().is_empty();
    let (head, mut names) = match word.strip_prefix(IMAGE_PREFIX) {
        Some(part) if is_first => {
            let names = images.iter().filter(|it| it.starts_with(part)).cloned().collect();
            (IMAGE_PREFIX, names)
        }
        _ => {
            let split = word.rfind('/').map_or(0, |at| at + 1);
            let (folder, part) = word.split_at(split);
            (folder, list_matching_entries(folder, part, is_first))
        }
    };
    names.sort();
    let Some(shared) = find_shared_prefix(&names) else { return unchanged(Vec::new()) };
    let completed = format!("{head}{shared}");
    let Ok(quoted) = quote_path(&completed) else { return unchanged(Vec::new()) };
    let is_whole = names.len() == 1 && !completed.ends_with('/');
    // Text that names nothing more than before is left as it was written.
    let quoted = if completed == word { last.to_owned() } else { quoted };
    let line = format!("{before}{quoted}{}", if is_whole { " " } else { "" });
    if names.len() == 1 {
        names.clear();
    }
    names.truncate(MAX_CANDIDATES);
    LineCompletion { line, candidates: names }
}

/// Quotes a word for a shell, except a first `~/`.
fn quote_path(word: &str) -> Result<String, shlex::QuoteError> {
    match word.strip_prefix("~/") {
        Some("") => Ok(word.to_owned()),
        Some(rest) => Ok(format!("~/{}", shlex::try_quote(rest)?)),
        None => Ok(shlex::try_quote(word)?.into_owned()),
    }
}

/// Returns the position at which the last word begins.
fn find_last_word(line: &str) -> usize {
    let (mut start, mut quote, mut is_escaped) = (0, None, false);
    for (at, letter) in line.char_indices() {
        match (quote, letter) {
            _ if is_escaped => is_escaped = false,
            (None | Some('"'), '\\') => is_escaped = true,
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None, _) if letter.is_ascii_whitespace() => start = at + 1,
            _ => {}
        }
    }
    start
}

/// Returns the word without its quotes, of which the last may still be open.
fn unquote_word(word: &str) -> Option<String> {
    let closed = ["", "'", "\""].iter().find_map(|end| shlex::split(&format!("{word}{end}")));
    match closed?.as_slice() {
        [] => Some(String::new()),
        [only] => Some(only.clone()),
        _ => None,
    }
}

/// Lists the entries of a folder that begin with `part`, folders with a slash after them;
/// `can_run`: only those that can be a function. Hidden ones are listed when `part` begins with a
/// dot.
fn list_matching_entries(folder: &str, part: &str, can_run: bool) -> Vec<String> {
    let path = if folder.is_empty() { Path::new(".").to_owned() } else { expand_home(folder) };
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let mut names = Vec::new();
    for entry in entries.take(MAX_ENTRIES).flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_shown = !name.starts_with('.') || part.starts_with('.');
        if !name.starts_with(part) || !is_shown || name.contains(is_hidden) {
            continue;
        }
        // Links are followed: it is what they lead to that runs.
        let Ok(data) = std::fs::metadata(entry.path()) else { continue };
        let extension = Path::new(&name).extension();
        let is_module = extension.is_some_and(|it| it == "wasm" || it == "wat");
        if data.is_dir() {
            names.push(format!("{name}/"));
        } else if !can_run || is_module || data.permissions().mode() & 0o111 != 0 {
            names.push(name);
        }
    }
    names
}

/// Returns the longest text that all names begin with; `None` without names.
fn find_shared_prefix(names: &[String]) -> Option<&str> {
    let (first, others) = names.split_first()?;
    let mut length = first.len();
    for other in others {
        let same = first.bytes().zip(other.bytes()).take_while(|(one, two)| one == two).count();
        length = length.min(same);
    }
    while !first.is_char_boundary(length) {
        length -= 1;
    }
    Some(&first[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(line: &str) -> (String, Vec<String>) {
        let images = ["me/fn:1", "me/fn:2", "other"].map(str::to_owned);
        let LineCompletion { line, candidates } = complete_function_line(line, &images);
        (line, candidates)
    }

    #[test]
    fn paths_are_completed_as_far_as_they_are_certain() {
        let place = tempfile::tempdir().expect("a folder");
        let at = place.path().to_str().expect("plain");
        for name in ["fn-one.wasm", "fn-two.wat", "fn-notes.txt", "my fn.wasm", ".fn.wasm"] {
            std::fs::write(place.path().join(name), "").expect("written");
        }
        std::fs::create_dir(place.path().join("src")).expect("made");
        let (line, candidates) = complete(&format!("{at}/f"));
        assert_eq!(line, format!("{at}/fn-"));
        assert_eq!(candidates, ["fn-one.wasm", "fn-two.wat"], "a text cannot be a function");
        assert_eq!(complete(&format!("{at}/fn-o")).0, format!("{at}/fn-one.wasm "));
        assert_eq!(complete(&format!("{at}/s")).0, format!("{at}/src/"), "a folder goes on");
        let quoted = format!("'{at}/my fn.wasm' ");
        assert_eq!(complete(&format!("{at}/my\\ f")).0, quoted);
        assert_eq!(complete(&format!("'{at}/my f")).0, quoted, "an open quote");
        assert_eq!(complete(&format!("{at}/none")), (format!("{at}/none"), vec![]));
        // Arguments may be any file.
        assert_eq!(complete(&format!("sh {at}/fn-n")).0, format!("sh {at}/fn-notes.txt "));
    }

    #[test]
    fn names_of_images_are_completed_after_their_prefix() {
        assert_eq!(complete("image:o").0, "image:other ");
        let (line, candidates) = complete("image:m");
        assert_eq!((line.as_str(), candidates.len()), ("image:me/fn:", 2));
        assert_eq!(complete("image:x").0, "image:x");
    }
}
