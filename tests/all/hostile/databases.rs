//! Names of databases that mean something else to `SQLite`: a name is that of a
//! file, and what is checked is what is opened.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::super::common::{PROGRAM, Place, Run};

/// Runs the program in the folder of `place`.
fn run_there(place: &Place, args: &[&str]) -> Run {
    let mut command = place.command(args);
    Run::of(&command.current_dir(place.path()).output().expect("the program starts"))
}

/// Records one invocation in the database of that name.
fn record_in(place: &Place, name: &str) -> Run {
    run_there(
        place,
        &[
            "--db",
            name,
            "record",
            "--workload",
            "nop",
            "--lane",
            "native",
            "--start",
            "cold",
            "--runs",
            "1",
            "--warmup",
            "0",
        ],
    )
}

/// Everything in a folder, sorted.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("listed").flatten();
    let mut names: Vec<_> =
        entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_database_named_like_a_uri_is_a_private_file_of_that_name() {
    for name in ["file:q.db", ":memory:", "file:x?mode=memory", "file:%2e%2e?vfs=unix"] {
        let place = Place::new();
        let run = record_in(&place, name);
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
        assert_eq!(names_in(place.path()), [name], "and no other file");
        let data = place.path().join(name).metadata().expect("there");
        assert_eq!(data.permissions().mode() & 0o777, 0o600, "{name}");
        // Every other way in: an option, the variable, a second database.
        for args in [
            &["--db", name, "history"][..],
            &["--db", name, "history", "show", "1"],
            &["--db", name, "query", "SELECT COUNT(*) FROM v_invocation"],
            &["--db", name, "replay", "1"],
            &["--db", name, "history", "label", "1", "x"],
        ] {
            let run = run_there(&place, args);
            assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
        }
        let mut command = std::process::Command::new(PROGRAM);
        command.args(["history", "--format", "json"]).env("CYCLOMETER_DB", name);
        let run = Run::of(&command.current_dir(place.path()).output().expect("started"));
        assert!(run.stdout.contains("\"x\""), "{name}: {} {}", run.stdout, run.stderr);
        let run = run_there(
            &place,
            &[
                "record",
                "--workload",
                "nop",
                "--lane",
                "native",
                "--start",
                "cold",
                "--runs",
                "2",
                "--against",
                name,
            ],
        );
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
    }
}

#[test]
fn a_link_of_somebody_else_is_not_followed_whatever_its_name_is_made_to_look_like() {
    if !nix::unistd::geteuid().is_root() {
        cyclometer_testkit::skip("only root can make a link for somebody else");
        return;
    }
    let place = Place::new();
    let target = place.path().join("tt.db");
    let link = place.path().join("z.db");
    symlink(&target, &link).expect("made");
    std::os::unix::fs::lchown(&link, Some(65534), Some(65534)).expect("given away");
    let plain = record_in(&place, link.to_str().expect("text"));
    assert!(plain.stderr.contains("it is a link that belongs to"), "{}", plain.stderr);
    for name in [
        format!("file:{}", link.display()),
        format!("file://{}", link.display()),
        "file:z.db".to_owned(),
        "file:%7a.db".to_owned(),
    ] {
        record_in(&place, &name);
        assert!(!target.exists(), "{name} wrote through the link");
    }
}
