//! Workloads with a manifest: from the first line to a recording.

use super::text;
use crate::common::{Place, column};

const GOOD: &str = "title = \"t\"\nstresses = \"s\"\nnative = \"fn\"\n[preset.quick]\n";

fn add_script(place: &Place, folder: &str, manifest: &str) {
    let script = place.write(&format!("{folder}/fn"), "#!/bin/sh\necho fine\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("executable");
    place.write(&format!("{folder}/workload.toml"), manifest);
}

#[test]
fn one_broken_manifest_hides_no_other() {
    let place = Place::new();
    add_script(&place, "mine/good", GOOD);
    add_script(&place, "mine/broken", "title = 3\n");
    add_script(&place, "mine/nbody", "colour = 3\n");
    let mine = place.path().join("mine");
    let list = place.ok(&["--workloads", text(&mine), "workloads", "list"]);
    assert!(list.stdout.contains("good") && list.stdout.contains("mandelbrot"), "{}", list.stdout);
    assert!(list.stderr.contains("workload `broken` is left out"), "{}", list.stderr);
    // What was named is what is run, and nothing in its place.
    let named = place.run(&["--workloads", text(&mine), "record", "--workload", "nbody"]);
    assert_eq!(named.code, 2, "{}", named.stderr);
    assert!(named.stderr.contains("workload `nbody` cannot be loaded"), "{}", named.stderr);
    let one = place.run(&["--workloads", text(&mine.join("broken")), "record"]);
    assert_eq!(one.code, 2, "{}", one.stderr);
    place.ok(&["--workloads", text(&mine), "record", "--runs", "1", "--lane", "native"]);
    assert_eq!(column(&place.open(), "SELECT DISTINCT workload FROM v_invocation"), ["good"]);
}

#[test]
fn workloads_of_the_environment_are_always_there() {
    let place = Place::new();
    add_script(&place, "always/first", GOOD);
    let run = |folder: &str, args: &[&str]| {
        let mut command = place.command(args);
        let output = command.env("CYCLOMETER_WORKLOADS", folder).output().expect("it starts");
        crate::common::Run::of(&output)
    };
    let always = place.path().join("always");
    let list = run(text(&always), &["workloads", "list"]);
    assert!(list.code == 0 && list.stdout.contains("first"), "{}", list.stderr);
    let absent = run("/no/such/folder", &["workloads", "list"]);
    assert!(absent.code == 0 && absent.stderr.contains("/no/such/folder"), "{}", absent.stderr);
    // They are known, and not what runs by itself.
    let recorded =
        run(text(&always), &["record", "--runs", "1", "--lane", "native", "--warmup", "0"]);
    assert_eq!(recorded.code, 0, "{}", recorded.stderr);
    let workloads = column(&place.open(), "SELECT DISTINCT workload FROM v_invocation");
    assert!(!workloads.contains(&"first".to_owned()) && workloads.len() == 4, "{workloads:?}");
}

#[test]
fn a_new_workload_is_checked_and_recorded_by_the_commands_that_it_names() {
    let place = Place::new();
    let script = place.write("tool", "#!/bin/sh\necho \"$@\"\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("executable");
    let run = |args: &[&str]| {
        let output = place.command(args).current_dir(place.path()).output().expect("it starts");
        crate::common::Run::of(&output)
    };
    let new = run(&["workloads", "new", "mine", "--native", "tool"]);
    assert_eq!(new.code, 0, "{}", new.stderr);
    let again = run(&["workloads", "new", "mine", "--native", "tool"]);
    assert!(again.code == 1 && again.stderr.contains("left alone"), "{}", again.stderr);
    let checked = run(&["workloads", "check", "--workloads", "mine", "--lane", "native"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    let by_path = run(&["record", "./mine", "--lane", "native", "--runs", "1"]);
    assert_eq!(by_path.code, 0, "{}", by_path.stderr);
    let by_name = run(&["record", "--workload", "./mine", "--lane", "native", "--runs", "1"]);
    assert_eq!(by_name.code, 0, "{}", by_name.stderr);
    assert_eq!(column(&place.open(), "SELECT DISTINCT workload FROM v_invocation"), ["mine"]);
    for bad in ["", ".", "../x", "a/b", "a\u{1b}b"] {
        let refused = run(&["workloads", "new", bad, "--native", "tool"]);
        assert_eq!(refused.code, 2, "{bad:?}: {}", refused.stderr);
    }
}
