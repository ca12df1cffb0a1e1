//! Programs that are killed at any moment: nothing is lost, nothing is left.
//!
//! `CYCLOMETER_KILLS=1000 cargo test --test all hostile::kills -- --nocapture`
//! kills recordings 1,000 times over all lanes that are here, and commands that
//! write 200 times; `CYCLOMETER_KILL_SEED` repeats a run's choices.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cyclometer::lane::{self, LaneSpec, docker};
use cyclometer::procfs::ProcessIdentity;
use cyclometer_testkit::skip;
use rusqlite::Connection;

use super::super::common::{PROGRAM, Place, Run, column, numbers};

/// Kills of recordings where nobody says how many.
const USUAL: u64 = 20;
/// Time for the children of a killed process to end.
const GRACE: Duration = Duration::from_secs(10);

/// Numbers that look random and come again with their seed: `SplitMix64`.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        let at = self.below(all.len() as u64);
        all[usize::try_from(at).expect("small")]
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).expect("short");
        Duration::from_micros(self.below(micros))
    }
}

/// What a run of this test came to.
#[derive(Default)]
struct Tally {
    kills: BTreeMap<String, u64>,
    told: usize,
    lost: usize,
    /// Before the next command, which is to remove it.
    at_once: usize,
    left: usize,
    faults: Vec<String>,
}

impl Tally {
    fn fault(&mut self, what: &str, about: &str) {
        self.faults.push(format!("{about}: {what}"));
        let _ = writeln!(std::io::stderr(), "  ! {about}: {what}");
    }
}

/// A process that is to be killed, and what it started by then.
struct Victim {
    child: Child,
    /// The start of all names that it gives, in either spelling.
    names: [String; 2],
}

impl Victim {
    fn start(command: &mut Command) -> Self {
        let child = command.spawn().expect("the program starts");
        let pid = i32::try_from(child.id()).expect("a pid");
        let ticks = procfs::process::Process::new(pid).and_then(|process| process.stat());
        let ticks = ticks.expect("it was just started").starttime;
        let name = format!("cyclometer-{pid}-{ticks}-");
        Self { child, names: [name.replace('-', "_"), name] }
    }

    /// Kills it, without a word to anybody else; what it had started and is not
    /// gone in time, and whether it had ended before.
    fn kill(&mut self) -> (Vec<i32>, bool) {
        let mut family = Vec::new();
        descend(self.child.id(), &mut family);
        let early = self.child.try_wait().expect("asked").is_some();
        let _ = self.child.kill();
        let _ = self.child.wait();
        let begun = Instant::now();
        loop {
            family.retain(|(pid, began)| is_running(*pid, *began));
            if family.is_empty() || begun.elapsed() > GRACE {
                return (family.into_iter().map(|(pid, _)| pid).collect(), early);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All that bears its name now.
    fn leavings(&self, places: &[PathBuf], engine: bool) -> Vec<String> {
        let mut found = Vec::new();
        for place in places {
            search(place, 6, &self.names, &mut found);
        }
        if engine {
            let listed = Command::new("docker")
                .args(["ps", "-a", "--format", "{{.Names}}"])
                .output()
                .expect("the engine answered before");
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            let ours = |name: &&str| self.names.iter().any(|ours| name.contains(ours.as_str()));
            found.extend(listed.lines().filter(ours).map(|name| format!("container {name}")));
        }
        found
    }
}

/// Ids and start times of everything below a process.
fn descend(pid: u32, family: &mut Vec<(i32, u64)>) {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|word| word.parse::<i32>().ok()) {
            if let Ok(stat) = procfs::process::Process::new(child).and_then(|it| it.stat()) {
                family.push((child, stat.starttime));
                descend(child.unsigned_abs(), family);
            }
        }
    }
}

fn is_running(pid: i32, began: u64) -> bool {
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat());
    stat.is_ok_and(|stat| stat.starttime == began && stat.state != 'Z')
}

fn search(folder: &Path, depth: usize, names: &[String; 2], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if names.iter().any(|ours| name.contains(ours.as_str())) {
            found.push(entry.path().display().to_string());
        } else if depth > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            search(&entry.path(), depth - 1, names, found);
        }
    }
}

/// What a recording says of an invocation that ended: workload, lane, start and
/// sequence in a line of its own.
fn told(stderr: &str) -> Vec<[String; 4]> {
    let whole = stderr.rfind('\n').map_or("", |end| &stderr[..end]);
    let of_line = |line: &str| {
        let (_, rest) = line.strip_prefix('[')?.split_once("] ")?;
        let (workload, rest) = rest.split_once(" in ")?;
        let (lane, rest) = rest.split_once(", ")?;
        let (start, rest) = rest.split_once(" #")?;
        let (sequence, _) = rest.split_once(':')?;
        Some([workload, lane, start, sequence].map(str::to_owned))
    };
    whole.lines().filter_map(of_line).collect()
}

/// A place for one run of this test, with folders of its own.
struct Scene {
    place: Place,
    engine: bool,
    tally: Tally,
    dice: Dice,
}

impl Scene {
    fn new(seed: u64, engine: bool) -> Self {
        let place = Place::new();
        fs::create_dir(place.path().join("tmp")).expect("made");
        Self { place, engine, tally: Tally::default(), dice: Dice(seed) }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command(args);
        for (variable, folder) in
            [("TMPDIR", "tmp"), ("XDG_CACHE_HOME", "cache"), ("XDG_CONFIG_HOME", "config")]
        {
            command.env(variable, self.place.path().join(folder));
        }
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        Run::of(&self.command(args).output().expect("the program starts"))
    }

    /// Where names of this program may be left.
    fn places(&self) -> Vec<PathBuf> {
        let own = ["tmp", "cache"].map(|name| self.place.path().join(name));
        let shared = ["/sys/fs/cgroup", "/dev/shm", "/tmp"].map(PathBuf::from);
        own.into_iter().chain(shared).collect()
    }

    /// Opens the database, which is to be sound; `None`: there is none yet.
    fn database(&mut self, about: &str) -> Option<Connection> {
        let path = self.place.db();
        if fs::metadata(&path).map_or(0, |data| data.len()) == 0 {
            return None;
        }
        let connection = Connection::open(path).expect("a database");
        for (pragma, good) in [
            ("SELECT integrity_check FROM pragma_integrity_check", &["ok"][..]),
            ("SELECT \"table\" FROM pragma_foreign_key_check", &[]),
        ] {
            let found = column(&connection, pragma);
            if found != good {
                self.tally.fault(&format!("{pragma}: {found:?}"), about);
            }
        }
        Some(connection)
    }

    /// Whether all that was told is kept.
    fn look_for_lost(&mut self, stderr: &str, about: &str) {
        let told = told(stderr);
        self.tally.told += told.len();
        if told.is_empty() {
            let _ = self.database(about);
            return;
        }
        let Some(connection) = self.database(about) else {
            self.tally.lost += told.len();
            return self.tally.fault("told, and there is no database", about);
        };
        let sql = "SELECT workload || '|' || lane || '|' || start || '|' || sequence
                   FROM v_invocation WHERE recording = (SELECT MAX(recording) FROM v_recording)";
        let kept: std::collections::BTreeSet<String> =
            column(&connection, sql).into_iter().collect();
        let lost: Vec<_> = told.iter().filter(|it| !kept.contains(&it.join("|"))).collect();
        if let Some(first) = lost.first() {
            self.tally.lost += lost.len();
            let what = format!("{} of {} told are lost, such as {first:?}", lost.len(), told.len());
            self.tally.fault(&what, about);
        }
    }

    /// One recording that is killed, and the next, which puts all right.
    fn kill_recording(&mut self, lane: &str, starts: bool, number: u64) {
        let slow = lane.contains("docker") || lane.contains("runsc");
        let workload =
            self.dice.one_of(&["nop", "nop", "nbody", "wait", "memory-burst", "nop,nbody"]);
        let delay = self.dice.up_to(Duration::from_millis(if slow { 3_000 } else { 1_500 }));
        let delay = delay + Duration::from_millis(20);
        let seed = number.to_string();
        let mut args = vec!["record", "--workload", workload, "--lane", lane];
        args.extend(["--runs", "100000", "--seed", &seed]);
        if starts && self.dice.below(3) == 0 {
            args.extend(["--start", self.dice.one_of(&["cold", "warm"])]);
        }
        if self.dice.below(3) == 0 {
            args.extend(["--sample-interval", "1ms"]);
        }
        if self.dice.below(10) == 0 {
            // What is compiled is compiled again.
            let _ = fs::remove_dir_all(self.place.path().join("cache"));
        }
        let about = format!("kill {number}, {lane}, {workload}, after {delay:?}");
        let path = self.place.path().join("stderr");
        let file = fs::File::create(&path).expect("made");
        let mut command = self.command(&args);
        let mut victim = Victim::start(command.stdout(Stdio::null()).stderr(file));
        std::thread::sleep(delay);
        let (left, early) = victim.kill();
        *self.tally.kills.entry(lane.to_owned()).or_default() += 1;
        let stderr = fs::read_to_string(path).expect("there");
        if early {
            self.tally.fault(&format!("it ended by itself: {stderr}"), &about);
        }
        if !left.is_empty() {
            self.tally.left += left.len();
            self.tally.fault(&format!("processes are left: {left:?}"), &about);
        }
        self.look_for_lost(&stderr, &about);
        self.tally.at_once += victim.leavings(&self.places(), self.engine).len();
        let next = ["record", "--workload", "nop", "--lane", "native", "--runs", "1"];
        let next = self.run(&[&next[..], &["--warmup", "0"]].concat());
        if next.code != 0 {
            let what = format!("the next recording: status {}: {}", next.code, next.stderr);
            self.tally.fault(&what, &about);
        }
        self.look_for_left(&victim, &about);
        if let Some(connection) = self.database(&about) {
            let running = "SELECT COUNT(*) FROM v_recording WHERE status = 'running'";
            if numbers(&connection, running) != [0] {
                self.tally.fault("a recording is still `running`", &about);
            }
        }
    }

    fn look_for_left(&mut self, victim: &Victim, about: &str) {
        let left = victim.leavings(&self.places(), self.engine);
        if !left.is_empty() {
            self.tally.left += left.len();
            self.tally.fault(&format!("left behind: {left:?}"), about);
        }
    }

    /// A command that writes, killed at any moment of what it takes.
    fn kill_writing(&mut self, kind: &str, number: u64) {
        let about = format!("kill {number} of {kind}");
        let id = self.a_recording();
        let file = self.place.path().join(format!("model-{number}.toml"));
        let file = file.display().to_string();
        let words = format!("label {number}");
        let args: Vec<&str> = match kind {
            "record" => vec!["record", "--workload", "nop", "--lane", "native", "--runs", "100000"],
            "replay" => vec!["replay", &id],
            "history label" => vec!["history", "label", &id, &words],
            "history delete" => vec!["history", "delete", "--yes", &id],
            "history delete --compact" => vec!["history", "delete", "--yes", "--compact", &id],
            "clean" => {
                vec!["clean", "--remove", "--only", "groups,memory,folders,unfinished,caches"]
            }
            "query" => vec!["query", "--saved", "clock"],
            _ => vec!["pricing", "new", "my-cloud", "--file", &file],
        };
        let before = self.kept(&about);
        let most =
            if kind == "record" { Duration::from_secs(1) } else { Duration::from_millis(250) };
        let delay = self.dice.up_to(most);
        let path = self.place.path().join("stderr");
        let output = fs::File::create(&path).expect("made");
        let mut command = self.command(&args);
        let mut victim = Victim::start(command.stdout(Stdio::null()).stderr(output));
        std::thread::sleep(delay);
        let (left, _) = victim.kill();
        *self.tally.kills.entry(kind.to_owned()).or_default() += 1;
        if !left.is_empty() {
            self.tally.left += left.len();
            self.tally.fault(&format!("processes are left: {left:?}"), &about);
        }
        let stderr = fs::read_to_string(path).expect("there");
        if kind == "record" {
            self.look_for_lost(&stderr, &about);
        }
        let next = ["record", "--workload", "nop", "--lane", "native", "--runs", "3"];
        let next = self.run(&[&next[..], &["--warmup", "0"]].concat());
        if next.code != 0 {
            let what = format!("the next recording: status {}: {}", next.code, next.stderr);
            self.tally.fault(&what, &about);
        }
        self.look_for_left(&victim, &about);
        self.look_at_kept(&before, kind.contains("delete").then_some(&id), &about);
        let text = fs::read_to_string(&file).unwrap_or_default();
        if Path::new(&file).exists() && self.run(&["pricing", "check", &file]).code != 0 {
            self.tally.lost += 1;
            self.tally.fault(&format!("half a price file of {} bytes", text.len()), &about);
        }
    }

    /// A recording that is there.
    fn a_recording(&mut self) -> String {
        let all = self.database("choice").map(|connection| {
            column(&connection, "SELECT recording FROM v_recording ORDER BY recording")
        });
        let all: Vec<String> = all.unwrap_or_default();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        if all.is_empty() { "latest".to_owned() } else { self.dice.one_of(&all).to_owned() }
    }

    /// Invocations by recording, and the rows of every simulation.
    fn kept(&mut self, about: &str) -> BTreeMap<String, i64> {
        let Some(connection) = self.database(about) else { return BTreeMap::new() };
        let rows = column(
            &connection,
            "SELECT recording || ' ' || COUNT(*) FROM v_invocation GROUP BY recording",
        );
        let split = |row: &String| {
            let (id, count) = row.split_once(' ').expect("two");
            (id.to_owned(), count.parse().expect("a number"))
        };
        rows.iter().map(split).collect()
    }

    fn look_at_kept(&mut self, before: &BTreeMap<String, i64>, gone: Option<&String>, about: &str) {
        let after = self.kept(about);
        for (id, count) in before {
            let now = after.get(id);
            // A recording is deleted whole or not at all.
            let may_go = gone == Some(id) && now.is_none();
            if now != Some(count) && !may_go {
                self.tally.lost += 1;
                self.tally.fault(&format!("recording {id} had {count}, now {now:?}"), about);
            }
        }
        let Some(connection) = self.database(about) else { return };
        let halves = "SELECT COUNT(*) FROM simulation WHERE id NOT IN (SELECT simulation_id FROM simulation_model)";
        if numbers(&connection, halves) != [0] {
            self.tally.fault("a simulation without its models", about);
        }
    }
}

/// Lanes that this machine has, and whether each has warm starts.
fn lanes() -> Vec<(String, bool)> {
    let owner = ProcessIdentity::current().expect("/proc is mounted");
    let runtimes = docker::inspect_engine().map_or_else(|_| Vec::new(), |info| info.runtimes);
    let variants = runtimes.iter().filter(|name| !name.contains("containerd"));
    let variants = variants.map(|name| format!("docker:{name}"));
    let mut names: Vec<String> = LaneSpec::all_known().iter().map(ToString::to_string).collect();
    names.extend(variants);
    let is_here = |name: &String| {
        let spec: LaneSpec = name.parse().ok()?;
        let mut lane = lane::open_lane(&spec, &owner).ok()?;
        let starts = lane.start_kinds().len() > 1;
        lane.close();
        // Its start alone takes longer than what is waited for here.
        (!name.starts_with("qemu")).then(|| (name.clone(), starts))
    };
    names.iter().filter_map(is_here).collect()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}

#[test]
fn kill_9_at_any_moment_loses_nothing_and_leaves_nothing() {
    let count = number("CYCLOMETER_KILLS").unwrap_or(USUAL);
    let seed = number("CYCLOMETER_KILL_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        u64::from(now.expect("after 1970").subsec_nanos())
    });
    let lanes = lanes();
    let engine = lanes.iter().any(|(name, _)| name.starts_with("docker"))
        && Command::new("docker").arg("ps").output().is_ok_and(|output| output.status.success());
    if !engine {
        skip("no Docker engine and client: no containers are killed");
    }
    let mut scene = Scene::new(seed, engine);
    let _ = writeln!(std::io::stderr(), "{count} kills of {PROGRAM}, seed {seed}");
    // Every lane in turn, in an order of its own, so that few kills reach many.
    let mut order: Vec<usize> = Vec::new();
    for kill in 0..count {
        if order.is_empty() {
            order = (0..lanes.len()).collect();
            for at in (1..order.len()).rev() {
                let other = usize::try_from(scene.dice.below(at as u64 + 1)).expect("small");
                order.swap(at, other);
            }
        }
        let (lane, starts) = &lanes[order.pop().expect("filled")];
        scene.kill_recording(lane, *starts, kill);
        if kill % 50 == 49 {
            let faults = scene.tally.faults.len();
            let _ = writeln!(std::io::stderr(), "{} kills, {faults} faults", kill + 1);
        }
    }
    let kinds = [
        "record",
        "replay",
        "history label",
        "history delete",
        "history delete --compact",
        "clean",
        "query",
        "pricing new",
    ];
    let writing = (count / 5).max(kinds.len() as u64);
    for kill in 0..writing {
        let kind = kinds[usize::try_from(kill).expect("small") % kinds.len()];
        scene.kill_writing(kind, kill);
    }
    let Tally { kills, told, lost, at_once, left, faults } = &scene.tally;
    let mut summary = String::new();
    for (name, kills) in kills {
        let _ = write!(summary, "{name} {kills}, ");
    }
    let _ = writeln!(
        std::io::stderr(),
        "{} kills ({summary}told {told} invocations): {lost} lost, {at_once} \
         things left at once, {left} left by the next command, {} faults, seed {seed}",
        kills.values().sum::<u64>(),
        faults.len()
    );
    assert!(faults.is_empty(), "seed {seed}: {faults:#?}");
}
