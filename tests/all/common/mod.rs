//! What the tests of the program share: running it, and reading what it stored.

pub mod engine;
pub mod fake_engine;
pub mod fixture;
pub mod turns;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rusqlite::Connection;

use turns::Turn;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_cyclometer");

/// A folder with a database of its own, and a turn beside other tests.
pub struct Place {
    folder: tempfile::TempDir,
    _turn: Turn<'static>,
}

/// What a run of the program gave.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Self {
        let turn = turns::run_beside_others();
        Self { folder: tempfile::tempdir().expect("a folder"), _turn: turn }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn db(&self) -> PathBuf {
        self.folder.path().join("c.db")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(args).env("CYCLOMETER_DB", self.db()).stdin(Stdio::null());
        cyclometer_testkit::usual_signals(&mut command);
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Run {
        Run::of(&self.command(args).output().expect("the program starts"))
    }

    /// Runs it and insists on success.
    pub fn ok(&self, args: &[&str]) -> Run {
        let run = self.run(args);
        assert_eq!(run.code, 0, "{args:?} failed: {}", run.stderr);
        run
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
    }

    /// Opens the database, which must be sound.
    pub fn open(&self) -> Connection {
        let connection = Connection::open(self.db()).expect("a database");
        let verdict: String =
            connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
        assert_eq!(verdict, "ok");
        connection
    }

    /// Writes a file below the folder.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, content).expect("written");
        path
    }
}

impl Run {
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).expect("JSON on standard output")
    }
}

/// The whole of one column as text, one value a row, `NULL` for none.
pub fn column(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).expect("valid SQL");
    let rows = statement.query_map([], |row| {
        Ok(match row.get_ref(0)? {
            rusqlite::types::ValueRef::Null => "NULL".to_owned(),
            rusqlite::types::ValueRef::Integer(value) => value.to_string(),
            rusqlite::types::ValueRef::Real(value) => value.to_string(),
            other => other.as_str().expect("text").to_owned(),
        })
    });
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

/// Numbers of one column; NULL is an error.
pub fn numbers(connection: &Connection, sql: &str) -> Vec<i64> {
    let mut statement = connection.prepare(sql).expect("valid SQL");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("a number, not NULL")).collect()
}

/// Whether a Docker engine answers; says so if the test has to be skipped.
pub fn docker() -> bool {
    match cyclometer::lane::docker::inspect_engine() {
        Ok(_) => true,
        Err(error) => {
            cyclometer_testkit::skip(&format!("the Docker part: {error}"));
            false
        }
    }
}

/// Compiles a C program; `None`, said aloud, without a compiler.
pub fn compile(place: &Place, name: &str, source: &str) -> Option<PathBuf> {
    let code = place.write(&format!("{name}.c"), source);
    let program = place.path().join(name);
    let output =
        Command::new("cc").args(["-O1", "-static", "-o"]).arg(&program).arg(&code).output();
    match output {
        Ok(output) if output.status.success() => Some(program),
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            cyclometer_testkit::skip(&format!("no C compiler: {error}"));
            None
        }
    }
}

/// Processes whose command line contains `word`, by id.
pub fn processes(word: &str) -> Vec<i32> {
    let all = procfs::process::all_processes().expect("/proc");
    all.flatten()
        .filter(|process| process.cmdline().is_ok_and(|line| line.join(" ").contains(word)))
        .map(|process| process.pid)
        .collect()
}
