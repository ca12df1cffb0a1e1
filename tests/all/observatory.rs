//! The observatory in a terminal: what its screens compare, name and explain.

use std::path::Path;

use crate::common::Place;
use crate::tui::pty::Tty;

const ARGS: [&str; 9] = [
    "live",
    "--workload",
    "nbody,nop",
    "--lane",
    "native,wasmtime",
    "--runs",
    "3",
    "--start",
    "both",
];

/// Starts the observatory on a database of its own, without an engine.
fn start(folder: &Path, args: &[&str], size: (u16, u16)) -> Tty {
    let (database, config) = (folder.join("c.db"), folder.join("config"));
    let nowhere = Path::new("unix:///nonexistent/docker.sock");
    let env =
        [("CYCLOMETER_DB", &*database), ("XDG_CONFIG_HOME", &*config), ("DOCKER_HOST", nowhere)];
    Tty::start(args, size, &env)
}

fn count(text: &str, words: &str) -> usize {
    text.matches(words).count()
}

#[test]
fn live_compares_one_named_workload_in_all_lanes_at_every_size() {
    let folder = Place::new();
    let mut tty = start(folder.path(), &ARGS, (120, 40));
    // While it runs, whatever runs: the tab, both titles, both cold headings.
    let shown = tty.until("headings of both lanes", |text| {
        text.contains("[nbody] nop") && count(text, "· nbody") == 2 && text.contains("bills of")
    });
    assert!(shown.contains("native · nbody") && shown.contains("wasmtime · nbody"), "{shown}");
    // Two workloads, three runs: cold in both lanes, warm in wasmtime.
    tty.shows("done 18");
    // The answer at the end lies over the screen until a key is pressed.
    tty.shows("what it shows");
    tty.press("\x1b");
    for size in [(80, 24), (200, 60), (120, 40)] {
        tty.resize(size.0, size.1);
        for name in ["nbody", "nop"] {
            let heading = format!("{name} cold 3");
            let shown = tty.until(&heading, |text| {
                count(text, &heading) == 2
                    && text.contains(&format!("bills of a million cold {name}"))
            });
            assert!(shown.contains(&format!("[{name}]")), "{shown}");
            assert!(shown.contains("for aws-lambda-x86"), "the tariff is named: {shown}");
            for part in ["used", "idle", "head-room", "rounding", "start-up", "fees", "unmeasured"]
            {
                assert!(shown.contains(part), "{part}: {shown}");
            }
            assert_eq!(count(&shown, "end│"), 2, "time marks below both charts: {shown}");
            tty.press("]");
        }
    }
    tty.press("q");
    assert_eq!(tty.ends().code(), Some(0));
}

#[test]
fn bills_and_help_explain_themselves() {
    let folder = Place::new();
    let mut tty = start(folder.path(), &ARGS, (120, 40));
    tty.shows("what it shows");
    tty.press("2");
    // The legend of the marks is drawn after the rows above it.
    let shown = tty.until("the table of bills", |text| {
        text.contains("mean bill of a million") && text.contains("+ monthly charges on top")
    });
    let first = shown.lines().find(|line| line.contains('▶')).expect("a selected row");
    assert!(!first.contains("shape-"), "{shown}");
    assert!(shown.contains("native") && shown.contains("wasmtime"), "{shown}");
    assert!(shown.contains("+ monthly charges on top") && shown.contains("? uncertain"), "{shown}");
    tty.press("G");
    tty.shows("nobody sells these:");
    tty.press("?");
    let shown = tty.shows("keys of the Bills screen");
    let place = |words: &str| shown.find(words);
    assert!(place("what is shown") < place("keys of the Bills screen"), "{shown}");
    tty.press("\x1b");
    tty.until("the screen below", |text| !text.contains("what is shown"));
    // A filter finds what a line says.
    tty.press("/");
    tty.press("hybrid");
    let shown = tty.until("hybrid models alone", |text| {
        text.contains(" hybrid ") && !text.contains(" coarse USD")
    });
    assert!(!shown.contains(" fine   USD"), "{shown}");
    tty.press("\r");
    tty.press("q");
    assert_eq!(tty.ends().code(), Some(0));
}

/// Text of a module that ends at once.
const MODULE: &str = "(module (memory (export \"memory\") 1) (func (export \"_start\")))";

#[test]
fn it_opens_on_a_function_of_ones_own() {
    let folder = Place::new();
    let path = folder.path().join("thumbnail.wat");
    std::fs::write(&path, MODULE).expect("written");
    let path = path.to_str().expect("plain").to_owned();
    let mut tty = start(folder.path(), &[&path, "--writable"], (80, 24));
    // Ten cold and ten warm ones, in the only usual lane that runs a module.
    tty.shows("done 20");
    let shown = tty.shows("what it shows");
    assert!(!shown.contains("nbody") && !shown.contains("native"), "{shown}");
    assert!(shown.contains("thumbnail cold 10"), "{shown}");
    assert!(shown.contains("[thumbnail]") && shown.contains("wasmtime · thumbnail"), "{shown}");
    assert!(
        shown.contains("one lane at a time · writable root"),
        "loosened rules are told: {shown}"
    );
    tty.press("q");
    assert_eq!(tty.ends().code(), Some(0));
}

#[test]
fn a_file_that_is_added_in_the_picker_is_recorded() {
    let folder = Place::new();
    let path = folder.path().join("thumbnail.wat");
    std::fs::write(&path, MODULE).expect("written");
    let mut tty = start(folder.path(), &["live", "--idle"], (120, 40));
    tty.shows("r records this");
    tty.press("a");
    tty.shows("add a function");
    tty.press(&format!("{}/no-such.wasm\r", folder.path().display()));
    tty.shows("No such file");
    tty.press("\x15");
    tty.until("an empty line", |text| text.contains("> _"));
    tty.press(&format!("{}/thumb\t", folder.path().display()));
    tty.shows("thumbnail.wat _");
    tty.press("\r");
    tty.shows("r records thumbnail in wasmtime");
    // Lanes that cannot run it, or cannot run here, say why and are not chosen.
    tty.press("n");
    let shown = tty.shows("lanes of the next recording");
    assert!(shown.contains("thumbnail has no program for a plain process"), "{shown}");
    assert_eq!(count(&shown, "[x]"), 1, "{shown}");
    tty.press(" ");
    tty.press("\r");
    tty.press("r");
    tty.shows("done 20");
    let shown = tty.shows("what it shows");
    assert!(shown.contains("[thumbnail]") && !shown.contains("nbody"), "{shown}");
    tty.press("q");
    assert_eq!(tty.ends().code(), Some(0));
}
