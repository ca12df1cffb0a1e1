//! Recordings of the table's rows in one lane each, and what is checked of them.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cyclometer_testkit::skip;

use super::functions::good_module;
use super::{BOMBS, BURST_IN_GVISOR, Ends, MODULES, PROGRAMS};
use crate::common::{PROGRAM, Place, Run, compile, docker, processes};

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Process,
    Container,
    Bundle,
    Engine,
    CommandLine,
    Interpreter,
    JavaScript,
}

/// Limits of every function, as the manifest writes them.
const LIMITS: &str = "[limits]\nmemory = \"64MiB\"\noutput = \"1MiB\"\n";

/// Time limit of functions that never end, and of all others, which have ended
/// long before, however busy the machine is.
const SHORT: &str = "1500ms";
const LONG: &str = "10s";

/// Longest time of one invocation: the longer limit, and what starting and ending
/// a sandbox takes on a busy machine.
const MOST_NS: i64 = 40_000_000_000;

/// Longest time of a whole recording.
const RECORDING: Duration = Duration::from_mins(4);

/// One well-behaved function for so many attacks.
const ATTACKS_A_GOOD_ONE: usize = 4;

/// Opens a descriptor that functions must not see, enters the guard if there is
/// one, and becomes the recorder.
const ENTER: &str =
    "exec 7<\"$0\" 8>&7; [ -z \"$GUARD\" ] || echo $$ > \"$GUARD\" || exit 1; exec \"$@\"";

/// A function of a recording.
struct Function {
    name: String,
    ends: Ends,
    /// The line of its manifest that says what to run, and its arguments.
    form: &'static str,
    content: Content,
    arguments: Vec<String>,
}

/// What a function is made of.
enum Content {
    Program(PathBuf),
    Module(Vec<u8>),
}

/// What came of an invocation.
struct Came {
    workload: String,
    start: String,
    status: String,
    reason: String,
    wall: Option<i64>,
}

pub fn run_programs(family: Family, lanes: &[&str]) {
    let place = Place::new();
    let Some(program) = compile_attack(&place) else { return };
    let Some(fixture) = Fixture::new(&place) else { return };
    let functions = || {
        let rows = PROGRAMS.iter().filter(|row| !row.ends(family).is_empty());
        let attacks = rows.map(|row| {
            fixture.program(&program, row.name(), row.mode, row.arguments, row.ends(family))
        });
        let attacks: Vec<Function> = attacks.collect();
        with_good_ones(attacks, |name| fixture.program(&program, name, "good", &[], super::FINE))
    };
    let wrong =
        available(lanes).into_iter().flat_map(|lane| fixture.judge(lane, &functions(), None));
    insist_on_none(&wrong.collect::<Vec<_>>());
}

pub fn run_modules(family: Family, lanes: &[&str]) {
    let place = Place::new();
    let Some(fixture) = Fixture::new(&place) else { return };
    let module = |name: String, ends: Ends, content: Vec<u8>| Function {
        name,
        ends,
        form: "wasm",
        content: Content::Module(content),
        arguments: vec![fixture.token.clone()],
    };
    let functions = || {
        let rows = MODULES.iter().filter(|row| !row.ends(family).is_empty());
        let attacks = rows.map(|row| module(row.name(), row.ends(family), row.binary())).collect();
        with_good_ones(attacks, |name| module(name, super::FINE, good_module()))
    };
    let wrong =
        available(lanes).into_iter().flat_map(|lane| fixture.judge(lane, &functions(), None));
    insist_on_none(&wrong.collect::<Vec<_>>());
}

pub fn run_bombs() {
    let place = Place::new();
    let Some(guard) = Guard::new() else { return };
    let Some(program) = compile_attack(&place) else { return };
    let Some(fixture) = Fixture::new(&place) else { return };
    let columns = [
        (Family::Process, "native"),
        (Family::Container, "docker"),
        (Family::Container, "docker:runsc"),
        (Family::Bundle, "runc"),
        (Family::Bundle, "runsc"),
    ];
    let mut wrong = Vec::new();
    for (family, lane) in columns {
        for lane in available(&[lane]) {
            let attacks = BOMBS.iter().map(|row| {
                let ends = if lane.ends_with("runsc") { BURST_IN_GVISOR } else { row.ends(family) };
                fixture.program(&program, row.name(), row.mode, row.arguments, ends)
            });
            let functions = with_good_ones(attacks.collect(), |name| {
                fixture.program(&program, name, "good", &[], super::FINE)
            });
            wrong.extend(fixture.judge(lane, &functions, Some(&guard)));
        }
    }
    insist_on_none(&wrong);
}

fn insist_on_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} cells are wrong:\n  {}", wrong.len(), wrong.join("\n  "));
}

fn compile_attack(place: &Place) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/programs/attack.c");
    compile(place, "attack", &fs::read_to_string(path).expect("a program"))
}

/// Adds well-behaved functions among the attacks.
fn with_good_ones(mut all: Vec<Function>, good: impl Fn(String) -> Function) -> Vec<Function> {
    let count = all.len().div_ceil(ATTACKS_A_GOOD_ONE);
    all.extend((0..count).map(|number| good(format!("good-{number}"))));
    all
}

/// Those of `lanes` that this machine has; says of the others what they lack.
fn available<'a>(lanes: &[&'a str]) -> Vec<&'a str> {
    static LANES: OnceLock<serde_json::Value> = OnceLock::new();
    let all = LANES.get_or_init(|| Place::new().ok(&["lanes", "--format", "json"]).json());
    let find = |name: &str| all.as_array()?.iter().find(|lane| lane["lane"] == name);
    // Control groups of version 1 beside those of version 2, which some runtimes refuse.
    let is_hybrid = std::path::Path::new("/sys/fs/cgroup/unified").is_dir();
    let is_there = |name: &&&str| match find(name) {
        Some(_) if **name == "crun" && is_hybrid => {
            skip("attacks in crun: it takes control groups of version 1 or 2, not of both");
            false
        }
        Some(lane) if lane["state"] == "available" => true,
        found => {
            let why = found.map_or("it is not known here".to_owned(), |it| it["note"].to_string());
            skip(&format!("attacks in {name}: {why}"));
            false
        }
    };
    lanes.iter().filter(is_there).copied().collect()
}

/// What attacks reach for.
struct Fixture<'a> {
    place: &'a Place,
    /// Stands in the command line of every function.
    token: String,
    secret: PathBuf,
    listener: TcpListener,
}

impl<'a> Fixture<'a> {
    fn new(place: &'a Place) -> Option<Self> {
        let name = place.path().file_name()?.to_str()?.trim_start_matches('.');
        let listener = TcpListener::bind("127.0.0.1:0")
            .map_err(|error| skip(&format!("no listener on 127.0.0.1: {error}")))
            .ok()?;
        let token = format!("attack-{name}");
        let secret = place.write("secret", "a secret of the caller");
        Some(Self { place, token, secret, listener })
    }

    fn program(
        &self,
        program: &Path,
        name: String,
        mode: &str,
        arguments: &[&str],
        ends: Ends,
    ) -> Function {
        let port = self.listener.local_addr().expect("bound").port();
        let socket = std::env::var("DOCKER_HOST").unwrap_or_default();
        let socket = socket.strip_prefix("unix://").unwrap_or("/var/run/docker.sock");
        let fill = |text: &&str| {
            text.replace("{secret}", &self.secret.display().to_string())
                .replace("{file}", &self.place.path().join("written").display().to_string())
                .replace("{port}", &port.to_string())
                .replace("{socket}", socket)
        };
        let own = [mode.to_owned(), self.token.clone()];
        Function {
            name,
            ends,
            form: "native",
            content: Content::Program(program.to_owned()),
            arguments: own.into_iter().chain(arguments.iter().map(fill)).collect(),
        }
    }

    /// Records `functions` in `lane`; all that is wrong with what came.
    fn judge(&self, lane: &str, functions: &[Function], guard: Option<&Guard>) -> Vec<String> {
        let folder = self.place.path().join(format!("w-{}", lane.replace(':', "-")));
        for function in functions {
            write_workload(&folder, function);
        }
        let names: Vec<&str> = functions.iter().map(|it| it.name.as_str()).collect();
        let database = folder.with_extension("db");
        let (run, pid) = self.record(lane, &folder, &names.join(","), &database, guard);
        let came = outcomes(&database);
        let mut wrong: Vec<String> = Vec::new();
        for function in functions {
            let mine: Vec<&Came> = came.iter().filter(|it| it.workload == function.name).collect();
            if mine.is_empty() {
                wrong.push(format!("{}: nothing was recorded", function.name));
            }
            let unheld = mine.into_iter().filter_map(|it| it.complaint(function.ends));
            wrong.extend(unheld);
        }
        wrong.extend(self.leftovers(pid));
        for (name, sign) in [("ESC", '\u{1b}'), ("CSI", '\u{9b}'), ("bidi override", '\u{202e}')] {
            if run.stdout.contains(sign) || run.stderr.contains(sign) {
                wrong.push(format!("{name} of a function reached the terminal"));
            }
        }
        wrong.into_iter().map(|what| format!("{lane}: {what}")).collect()
    }

    /// Runs the recorder to its end, with a descriptor of the caller open.
    fn record(
        &self,
        lane: &str,
        folder: &Path,
        names: &str,
        database: &Path,
        guard: Option<&Guard>,
    ) -> (Run, u32) {
        let runs = if matches!(lane, "native" | "wasmtime") { "2" } else { "1" };
        let output = |ending: &str| folder.with_extension(ending);
        let create = |ending| fs::File::create(output(ending)).expect("created");
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", ENTER])
            .arg(&self.secret)
            .args([PROGRAM, "record", "--lane", lane, "--runs", runs, "--warmup", "0"])
            .args(["--seed", "11", "--workload", names, "--workloads"])
            .arg(folder)
            .env("CYCLOMETER_DB", database)
            .env("XDG_CACHE_HOME", self.place.path().join("cache"))
            .stdin(Stdio::null())
            .stdout(create("out"))
            .stderr(create("err"));
        if let Some(guard) = guard {
            command.env("GUARD", guard.folder.join("cgroup.procs"));
        }
        let mut child = command.spawn().expect("the program starts");
        let begun = Instant::now();
        let code = loop {
            if let Some(status) = child.try_wait().expect("waited for") {
                break status.code().unwrap_or(-1);
            }
            if begun.elapsed() > RECORDING {
                child.kill().expect("killed");
                child.wait().expect("ended");
                let said = fs::read_to_string(output("err")).unwrap_or_default();
                panic!("{lane}: no end of the recording within {RECORDING:?}: {said}");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let read = |ending| fs::read(output(ending)).expect("read");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (Run { code, stdout: text(read("out")), stderr: text(read("err")) }, child.id())
    }

    /// What a recording of process `pid` left behind.
    fn leftovers(&self, pid: u32) -> Vec<String> {
        let mut all: Vec<String> = processes(&self.token)
            .into_iter()
            .map(|left| format!("process {left} is left behind"))
            .collect();
        let ours = [format!("cyclometer-{pid}-"), format!("cyclometer_{pid}_")];
        for controller in ["memory", "pids", "cpuacct", "cpu", "freezer", "unified", ""] {
            let root = Path::new("/sys/fs/cgroup").join(controller);
            let groups = folders_below(&root, if controller.is_empty() { 1 } else { 5 });
            let left = groups.iter().filter(|group| {
                let name = group.file_name().unwrap_or_default().to_string_lossy();
                ours.iter().any(|start| name.starts_with(start.as_str()))
            });
            all.extend(left.map(|group| format!("control group {} is left", group.display())));
        }
        all.extend(containers(pid).into_iter().map(|id| format!("container {id} is left behind")));
        all
    }
}

/// Folders below `root`, `depth` levels down.
fn folders_below(root: &Path, depth: usize) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let folders = entries.filter(|it| it.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut all: Vec<PathBuf> = folders.map(|folder| folder.path()).collect();
    if depth > 0 {
        let below: Vec<PathBuf> =
            all.iter().flat_map(|folder| folders_below(folder, depth - 1)).collect();
        all.extend(below);
    }
    all
}

/// Containers that process `pid` made and did not remove.
fn containers(pid: u32) -> Vec<String> {
    static ENGINE: OnceLock<bool> = OnceLock::new();
    if !ENGINE.get_or_init(docker) {
        return Vec::new();
    }
    let format = "{{.ID}} {{.Label \"cyclometer.owner\"}}";
    let list = Command::new("docker").args(["ps", "--all", "--format", format]).output();
    let Ok(list) = list else { return Vec::new() };
    let text = String::from_utf8_lossy(&list.stdout).into_owned();
    let ours = format!(" {pid}-");
    text.lines().filter(|line| line.contains(&ours)).map(str::to_owned).collect()
}

fn write_workload(folder: &Path, function: &Function) {
    let Function { name, form, content, arguments, ends } = function;
    let folder = folder.join(name);
    fs::create_dir_all(&folder).expect("made");
    match content {
        Content::Program(program) => {
            fs::copy(program, folder.join("function")).map(drop).expect("copied");
        }
        Content::Module(module) => fs::write(folder.join("function"), module).expect("written"),
    }
    let timeout = if ends.iter().any(|(status, _)| *status == "timeout") { SHORT } else { LONG };
    let arguments: Vec<String> = arguments.iter().map(|it| format!("{it:?}")).collect();
    let manifest = format!(
        "title = \"{name}\"\nstresses = \"its lane\"\n{form} = \"function\"\n{LIMITS}\
         timeout = \"{timeout}\"\n[preset.quick]\nargs = [{}]\n",
        arguments.join(", ")
    );
    fs::write(folder.join("workload.toml"), manifest).expect("written");
}

fn outcomes(database: &Path) -> Vec<Came> {
    let connection = rusqlite::Connection::open(database).expect("a database");
    let sql = "SELECT workload, start, status, COALESCE(reason, ''), wall_ns FROM v_invocation";
    let mut statement = connection.prepare(sql).expect("valid SQL");
    let rows = statement.query_map([], |row| {
        Ok(Came {
            workload: row.get(0)?,
            start: row.get(1)?,
            status: row.get(2)?,
            reason: row.get(3)?,
            wall: row.get(4)?,
        })
    });
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

impl Came {
    /// What is wrong with it, if anything.
    fn complaint(&self, wanted: Ends) -> Option<String> {
        let Self { workload, start, status, reason, wall } = self;
        let has = |piece: &str| match piece.strip_prefix('^') {
            Some(beginning) => reason.starts_with(beginning),
            None => reason.contains(piece),
        };
        let is_told = wanted.iter().any(|(word, piece)| status == word && has(piece));
        let in_time = wall.is_none_or(|wall| wall < MOST_NS);
        let took = wall.map_or(0, |wall| wall / 1_000_000);
        (!is_told || !in_time).then(|| {
            format!("{workload}, {start}: {status}: {reason:.300} ({took} ms), but not {wanted:?}")
        })
    }
}

/// A limit of processes around everything that a test starts, so that a bomb that
/// escapes its lane's own fence takes the test and not the machine.
struct Guard {
    folder: PathBuf,
}

impl Guard {
    /// Processes and threads of recorder, engine's clients and bombs.
    const MOST: &'static str = "1500";

    fn new() -> Option<Self> {
        let name = format!("cyclometer-test-{}", std::process::id());
        let parents = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
        let make = |parent: &&str| {
            let folder = Path::new(parent).join(&name);
            fs::create_dir(&folder).ok()?;
            let limited = fs::write(folder.join("pids.max"), Self::MOST);
            let guard = Self { folder };
            limited.is_ok().then_some(guard)
        };
        let guard = parents.iter().find_map(make);
        if guard.is_none() {
            skip("bombs need a control group with a limit of processes around them");
        }
        guard
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        for _ in 0..50 {
            let inside = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
            for pid in inside.lines().filter_map(|line| line.parse().ok()) {
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
