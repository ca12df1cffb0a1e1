//! Text of others on the screens: nothing in it is obeyed by the terminal.

use std::os::unix::fs::PermissionsExt;

use super::Home;
use crate::common::{Place, fixture};

/// What sets a title, clears the screen, moves the cursor, turns the direction
/// of writing, and cannot be seen.
const PAYLOAD: &str = "Q\x1b]0;owned\x07\x1b[2J\x1b[5;5H\u{9b}2J\x1bPq\x1b\\\r\n\u{202e}\u{200b}\
    \u{ad}\u{2066}\u{feff}\u{e0041}\u{fe0f}e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}";

/// A database whose labels, names and reasons are the payload.
fn poison(home: &Home) {
    let place: Place = fixture::place();
    let connection = place.open();
    for (table, column) in [
        ("recording", "label"),
        ("recording", "owner"),
        ("lane", "name"),
        ("lane", "version"),
        ("lane", "note"),
        ("lane", "unavailable"),
        ("cell", "workload"),
        ("cell", "preset"),
        ("cell", "note"),
        ("invocation", "reason"),
        ("lane_meter", "note"),
        ("simulation", "label"),
        ("simulation_model", "model"),
        ("line_item", "charge"),
        ("line_item", "refused"),
        ("footprint", "name"),
    ] {
        let sql = format!("UPDATE OR IGNORE {table} SET {column} = COALESCE({column}, '') || ?1");
        connection.execute(&sql, [PAYLOAD]).expect("poisoned");
    }
    drop(connection);
    std::fs::copy(place.db(), home.database()).expect("copied");
}

/// Takes the sequences out that the program itself draws with; what is left is
/// text. Any other sequence fails.
fn text_of(written: &[u8]) -> String {
    let whole = std::str::from_utf8(written).expect("UTF-8 only, so no raw C1");
    let mut text = String::new();
    let mut rest = whole;
    while let Some(at) = rest.find('\x1b') {
        text.push_str(&rest[..at]);
        let sequence = rest[at + 1..].strip_prefix('[');
        let sequence = sequence.unwrap_or_else(|| {
            panic!("no CSI: {:?}", rest[at..].chars().take(20).collect::<String>())
        });
        let end = sequence.find(|it: char| ('@'..='~').contains(&it)).expect("whole");
        let (parameters, last) = (&sequence[..end], &sequence[end..=end]);
        // Colours, places and modes.
        assert!("mHhlJKuABCDG".contains(last), "{parameters}{last}");
        rest = &sequence[end + 1..];
    }
    text + rest
}

fn is_hidden(it: char) -> bool {
    matches!(it,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

#[test]
fn stored_text_moves_no_cursor_and_sets_no_title_on_any_screen() {
    let home = Home::new();
    poison(&home);
    let mut tty = home.start(&["live", "--idle"], (160, 50));
    tty.shows("r record");
    tty.press("4");
    tty.shows("\\x1b]0;owned\\x07");
    tty.press("\r");
    std::thread::sleep(std::time::Duration::from_millis(300));
    tty.press("j\r");
    std::thread::sleep(std::time::Duration::from_millis(300));
    for key in ["2", "3", "5", "1", "4"] {
        tty.press(key);
        tty.shows(&format!("[{key} "));
        std::thread::sleep(std::time::Duration::from_millis(500));
        tty.press("j");
        tty.press("\r");
        std::thread::sleep(std::time::Duration::from_millis(500));
        let written = tty.written();
        let text = text_of(&written);
        let bad = text.chars().find(|it| is_hidden(*it) && !matches!(it, '\r' | '\n'));
        assert_eq!(bad, None, "on screen {key}");
        assert!(!text.contains("\u{301}\u{301}\u{301}\u{301}\u{301}"), "on screen {key}");
        tty.press("\x1b");
        std::thread::sleep(std::time::Duration::from_millis(200));
        // The frame stands where it was: the first line has the tabs.
        let shown = tty.text();
        assert!(shown.lines().next().is_some_and(|line| line.contains("Live")), "{shown}");
    }
    tty.press("q");
    assert_eq!(tty.ends().code(), Some(0));
    tty.is_as_before();
}

/// A runtime that says the payload on standard error and fails.
fn speaking_runtime(home: &Home) {
    let folder = home.path().join("runtimes");
    std::fs::create_dir(&folder).expect("made");
    let program = folder.join("cyclometer-test-runtime");
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && { echo runtime 1.0; exit 0; }\n\
        cat \"${0%/*}/said\" >&2\nexit 3\n";
    std::fs::write(&program, script).expect("written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("executable");
    std::fs::write(folder.join("said"), PAYLOAD).expect("written");
    let profile = include_str!("../../data/profiles/sound.toml");
    std::fs::write(folder.join("speaks.toml"), profile).expect("written");
}

#[test]
fn messages_beside_the_bar_of_a_recording_are_harmless() {
    let home = Home::new();
    speaking_runtime(&home);
    let folder = home.path().join("runtimes");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let args = ["record", "--lane", "speaks", "--workload", "nop", "--runs", "2"];
    let more = [("CYCLOMETER_RUNTIMES", folder.as_path()), ("PATH", std::path::Path::new(&path))];
    let mut tty = home.start_with(&args, (160, 50), &more);
    assert_eq!(tty.ends().code(), Some(1), "all runs failed");
    tty.shows_at_the_end("\\x1b]0;owned\\x07");
    let text = text_of(&tty.written());
    let bad = text.chars().find(|it| is_hidden(*it) && !matches!(it, '\r' | '\n'));
    assert_eq!(bad, None, "{text:?}");
}
