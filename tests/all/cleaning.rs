//! What the program leaves is listed with its size and can be removed; what is
//! in use stays. Notes about meters hold for all invocations.

use std::path::Path;

use serde_json::Value;

use super::common::engine::Engine;
use super::common::{Place, Run, column, numbers};

fn clean(place: &Place, args: &[&str], env: &[(&str, &Path)]) -> (i32, Vec<Value>) {
    let mut command = place.command(&["clean", "--format", "json"]);
    command.args(args).envs(env.iter().copied());
    let run = Run::of(&command.output().expect("run"));
    let rows = run.json().as_array().expect("a list").clone();
    (run.code, rows)
}

fn row<'a>(rows: &'a [Value], name: &str) -> Option<&'a Value> {
    rows.iter().find(|row| row["name"].as_str().is_some_and(|it| it.starts_with(name)))
}

#[test]
fn folders_of_the_dead_are_removed_and_those_of_the_living_stay() {
    let place = Place::new();
    let temporary = place.path().join("tmp");
    let mine = format!("cyclometer-lane-{}-0", std::process::id());
    // Process ids are at most 4194304: nobody has this one.
    for name in ["cyclometer-lane-4194999-0", mine.as_str(), "somebody-else"] {
        std::fs::create_dir_all(temporary.join(name)).expect("made");
    }
    std::fs::write(temporary.join("cyclometer-lane-4194999-0/big"), vec![1; 1 << 20]).expect("x");
    let env = [("TMPDIR", temporary.as_path())];
    let (code, mut rows) = clean(&place, &["--only", "folders"], &env);
    // Copies of databases may be elsewhere, and are those of other tests.
    rows.retain(|row| row["place"].as_str() == temporary.to_str());
    assert_eq!((code, rows.len()), (0, 2), "{rows:?}");
    let dead = row(&rows, "cyclometer-lane-4194999").expect("listed");
    assert_eq!(dead["state"], "can go");
    assert!(dead["size_bytes"].as_u64().is_some_and(|size| size >= 1 << 20), "{dead}");
    assert_eq!(row(&rows, &mine).expect("listed")["state"], "stays");
    assert!(temporary.join("cyclometer-lane-4194999-0").exists(), "listing removes nothing");
    let (code, _) = clean(&place, &["--only", "folders", "--remove"], &env);
    assert_eq!(code, 0);
    assert!(!temporary.join("cyclometer-lane-4194999-0").exists());
    assert!(temporary.join(mine).exists() && temporary.join("somebody-else").exists());
}

#[test]
fn compiled_code_is_listed_with_its_size_and_made_again_when_needed() {
    let place = Place::new();
    let cache = place.path().join("cache");
    let env = [("XDG_CACHE_HOME", cache.as_path())];
    let record = || {
        let args = ["record", "--workload", "nop", "--lane", "wasmtime", "--runs", "2"];
        let output = place.command(&args).envs(env).output().expect("run");
        assert_eq!(output.status.code(), Some(0));
    };
    record();
    let (_, rows) = clean(&place, &["--only", "caches"], &env);
    let modules = row(&rows, "wasmtime").expect("listed");
    assert!(modules["size_bytes"].as_u64().is_some_and(|size| size > 4_096), "{modules}");
    assert_eq!(clean(&place, &["--only", "caches", "--remove"], &env).0, 0);
    assert!(!cache.join("cyclometer/wasmtime").exists());
    record();
    assert_eq!(numbers(&place.open(), "SELECT COUNT(*) FROM recording"), [2], "the database stays");
}

#[test]
fn images_are_listed_with_their_sizes_and_removed() {
    let Some(engine) = Engine::start() else { return };
    let place = Place::new();
    let socket = format!("unix://{}", engine.socket().display());
    let env = [("DOCKER_HOST", Path::new(&socket))];
    let args = ["record", "--workload", "nop", "--lane", "docker", "--start", "cold"];
    let mut command = place.command(&args);
    let run = Run::of(&command.args(["--runs", "2"]).envs(env).output().expect("run"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let only = ["--only", "images,containers"];
    let (code, rows) = clean(&place, &only, &env);
    assert_eq!((code, rows.len()), (0, 1), "{rows:?}");
    assert!(rows[0]["name"].as_str().is_some_and(|name| name.starts_with("cyclometer/nop:")));
    assert!(rows[0]["size_bytes"].as_u64().is_some_and(|size| size > 1_000), "{rows:?}");
    let (code, rows) = clean(&place, &["--only", "images", "--remove"], &env);
    assert_eq!((code, &rows[0]["state"]), (0, &Value::from("removed")), "{rows:?}");
    assert_eq!(clean(&place, &only, &env).1.len(), 0);
}

#[test]
fn a_recording_of_hundreds_of_notes_with_ids_shows_one_row_a_meter() {
    let place = Place::new();
    let args = ["record", "--workload", "nop", "--lane", "native", "--start", "cold"];
    assert_eq!(place.run(&[&args[..], &["--runs", "2"]].concat()).code, 0);
    let connection = place.open();
    // As earlier versions kept them: a row for each invocation.
    for number in 0..300 {
        let note = format!(
            "cannot create /sys/fs/cgroup/memory/cyclometer-77-123456-ab12cd34-d{number}: denied"
        );
        connection
            .execute(
                "INSERT INTO lane_meter (lane_id, start, meter, source, note)
                 SELECT id, 'cold', 'memory_time', NULL, ?1 FROM lane",
                [note],
            )
            .expect("inserted");
    }
    let distinct = column(&connection, "SELECT COUNT(DISTINCT meter) FROM lane_meter");
    drop(connection);
    let shown = place.ok(&["history", "show", "latest"]);
    let lines = shown.stdout.lines().filter(|line| line.starts_with("native  cold")).count();
    // A long note goes on in lines of its own, which begin with spaces.
    assert_eq!(lines.to_string(), distinct[0], "{}", shown.stdout);
    assert!(!shown.stdout.contains("ab12cd34-d"), "{}", shown.stdout);
}
