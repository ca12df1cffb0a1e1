//! Tests of images that a real engine has, run from their unpacked roots by runtimes without an
//! engine, where both are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::body_full;
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder};
use futures_util::TryStreamExt;

use super::tests::{Bench, bench};
use crate::profile::ProfileCatalog;
use crate::{CommandLane, Job, Lane, NoSampling, Outcome, StartKind, Status};
use cyclometer_core::invocation::Cancel;
use cyclometer_workload::{
    EnvironmentVariable, Limits, OutputDigest, Preset, SandboxRules, SharedFolder, Workload,
};

const IMAGE: &str = "cyclometer-test/function:1";
const BUSYBOX: &str = "/usr/bin/busybox";

/// The image in the engine, and its root in the cache; both go with the value.
struct TestImage {
    bench: Bench,
    root: PathBuf,
}

impl TestImage {
    /// Makes the image as a person would: a static shell, and a user of its own.
    fn import() -> Option<Self> {
        let bench = bench(None)?;
        let Ok(busybox) = std::fs::read(BUSYBOX) else {
            cyclometer_testkit::skip(&format!("no {BUSYBOX}"));
            return None;
        };
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |name: &str, content: &[u8], mode: u32, user: u64| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(mode);
            header.set_uid(user);
            header.set_gid(user);
            header.set_mtime(1_000_000_000);
            archive.append_data(&mut header, name, content).expect("memory");
        };
        add("bin/busybox", &busybox, 0o4755, 0);
        add("etc/passwd", b"root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\n", 0o644, 0);
        add("etc/group", b"app:x:1001:\naudio:x:29:app\n", 0o644, 0);
        add("srv/mine", b"a file of the user", 0o600, 1000);
        let body = Some(body_full(archive.into_inner().expect("memory").into()));
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo("cyclometer-test/function")
            .tag("1")
            .changes(
                [
                    r#"ENTRYPOINT ["/bin/busybox","sh","-c"]"#,
                    r#"CMD ["echo the command of the image"]"#,
                    "ENV GREETING=\"a  greeting\"",
                    "USER app",
                    "WORKDIR /srv/made",
                ]
                .map(str::to_owned)
                .to_vec(),
            )
            .build();
        let engine = &bench.lane.engine;
        let answers = engine.docker.create_image(Some(options), body, None);
        engine.block_on(answers.try_for_each(async |_| Ok(()))).expect("imported");
        let (id, ..) = super::inspect_image(IMAGE).expect("there");
        let cache = crate::cache::cache_root().expect("a cache");
        let root = cache.join(format!("images/{}.root1", id.trim_start_matches("sha256:")));
        Some(Self { bench, root })
    }

    /// Returns a job that runs a script in the image.
    fn job(&self, script: &str) -> Job {
        let workload = Workload { image: Some(IMAGE.to_owned()), ..Workload::without_forms("fn") };
        let limits: Limits =
            self.bench.job(&[], cyclometer_workload::FunctionInput::default()).limits;
        let args = if script.is_empty() { Vec::new() } else { vec![script.to_owned()] };
        let preset = Preset { args, limits, ..Preset::with_defaults("test") };
        Job::new(1, Arc::new(workload), Arc::new(preset), StartKind::Cold)
    }
}

impl Drop for TestImage {
    fn drop(&mut self) {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        let engine = &self.bench.lane.engine;
        let removed = engine.block_on(engine.docker.remove_image(IMAGE, Some(options), None));
        let _ = cyclometer_system::files::remove_tree(&self.root);
        if !std::thread::panicking() {
            removed.expect("removed");
        }
    }
}

/// Returns the lanes of these runtimes, of those that are installed and run here.
fn open_lanes(names: &[&str]) -> Vec<(String, CommandLane)> {
    let catalog = ProfileCatalog::builtin();
    let lane = |name: &&str| match CommandLane::open(catalog.get(name).expect("shipped")) {
        Ok(lane) => Some(((*name).to_owned(), lane)),
        Err(error) => {
            eprintln!("skipped: {name}: {error}");
            None
        }
    };
    names.iter().filter_map(lane).collect()
}

/// Runs a job once; `None` where this runtime runs nothing on this machine.
fn run(name: &str, lane: &mut CommandLane, job: &Job) -> Option<(Outcome, Vec<String>)> {
    let prepared = lane.prepare(job, &Cancel::default());
    let prepared = prepared.unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut outcomes = Vec::new();
    lane.invoke(job, 1, &mut NoSampling, &Cancel::default(), &mut |it| outcomes.push(it));
    let outcome = outcomes.pop().expect("one outcome");
    println!("{name}: {}", super::tests::shown(&outcome));
    if outcome.reason.as_ref().is_some_and(|reason| reason.contains("known: ")) {
        eprintln!("skipped: {name}: {:?}", outcome.reason);
        return None;
    }
    Some((outcome, prepared.notes))
}

/// Checks that nothing but the kept root is in the cache of images.
fn assert_nothing_is_left(root: &Path, content: &[(PathBuf, u64)]) {
    assert_eq!(list_files(root), content, "the kept root has changed");
    let folder = root.parent().expect("a folder");
    let ours = std::process::id().to_string();
    let left: Vec<_> = std::fs::read_dir(folder)
        .expect("there")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("partial-") && name.contains(&ours))
        .collect();
    assert_eq!(left, [""; 0], "something was left behind");
}

/// Lists everything in a folder with its size.
fn list_files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("there") {
        let entry = entry.expect("an entry");
        let data = entry.metadata().expect("there");
        all.push((entry.path(), if data.is_dir() { 0 } else { data.len() }));
        if data.is_dir() {
            all.extend(list_files(&entry.path()));
        }
    }
    all.sort();
    all
}

/// Scripts, and what they print in the image. What is in quotes is short enough to be shown whole.
const INTROSPECTIONS: [(&str, &str); 8] = [
    ("echo \"$GREETING|$MORE|$HOME|$HOSTNAME\"", "a  greeting|x=1 \"2\"|/srv|function\n"),
    ("id -u; id -g; id -G; pwd", "1000\n1001\n1001 29\n/srv/made\n"),
    ("cat /srv/mine; stat -c %u:%a /srv/mine /bin/busybox", "a file of the user1000:600\n0:755\n"),
    ("(echo x > /srv/mine) 2>/dev/null || echo read-only", "read-only\n"),
    ("(echo x > /bin/new) 2>/dev/null || echo read-only", "read-only\n"),
    (
        "echo x > /dev/null && cd /proc/1 && echo there && test -d /dev/shm && echo shm",
        "there\nshm\n",
    ),
    ("grep CapEff /proc/self/status", "CapEff:\t0000000000000000\n"),
    ("ls /sys/class/net | grep -v '^lo$' | wc -l", "0\n"),
];

#[test]
fn an_image_runs_as_it_wants_from_its_unpacked_root() {
    let Some(image) = TestImage::import() else { return };
    let mut content = None;
    for (name, mut lane) in open_lanes(&["runc", "crun", "podman", "podman:runc", "runsc"]) {
        let root = image.root.join("rootfs");
        for (script, expected) in INTROSPECTIONS {
            let mut job = image.job(&format!("{USE_BUSYBOX}{script}"));
            let value = "x=1 \"2\"".to_owned();
            let more = EnvironmentVariable { name: "MORE".to_owned(), value };
            Arc::make_mut(&mut job.preset).env = vec![more];
            let Some((outcome, notes)) = run(&name, &mut lane, &job) else { break };
            assert!(root.join("bin/busybox").is_file(), "it is kept");
            content.get_or_insert_with(|| list_files(&root));
            let said = "image cyclometer-test/function:1 runs /bin/busybox sh -c ";
            assert!(notes.len() == 1 && notes[0].starts_with(said), "{name}: {notes:?}");
            assert!(notes[0].ends_with(" as user 1000:1001 in /srv/made"), "{name}: {notes:?}");
            let written = outcome.output.expect("read").to_string();
            let expected = OutputDigest::from_content(expected.as_bytes()).to_string();
            assert_eq!((outcome.status, written), (Status::Ok, expected), "{name}: {script}");
        }
        let Some((outcome, _)) = run(&name, &mut lane, &image.job("exit 7")) else { continue };
        assert_eq!((outcome.status, outcome.exit_code), (Status::Failed, Some(7)), "{name}");
        let (outcome, _) =
            run(&name, &mut lane, &image.job("echo > /srv/mine")).expect("it ran before");
        let reason = outcome.reason.expect("a reason");
        assert!(reason.ends_with("its root is read-only: `--writable` allows writing"), "{reason}");
        let (outcome, _) = run(&name, &mut lane, &image.job("")).expect("it ran before");
        let command = OutputDigest::from_content(b"the command of the image\n");
        assert_eq!((outcome.status, outcome.output), (Status::Ok, Some(command)), "{name}");
        lane.close();
        drop(lane);
        assert_nothing_is_left(&root, content.as_ref().expect("it ran"));
    }
}

/// Makes a shell find the tools that are in its own program.
const USE_BUSYBOX: &str = "for i in id pwd cat stat grep ls wc test; do alias $i=\"busybox $i\"; done; \
    PATH=/bin; ";

#[test]
fn rules_are_loosened_where_it_is_said_and_nothing_remains() {
    let Some(image) = TestImage::import() else { return };
    let shared = tempfile::tempdir().expect("a folder");
    std::fs::write(shared.path().join("file"), "of this machine\n").expect("written");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(shared.path(), open).expect("set");
    let folder = |guest: &str, is_read_only| SharedFolder {
        host: shared.path().to_owned(),
        guest: guest.to_owned(),
        is_read_only,
    };
    let dirs = vec![folder("/data/in", true), folder("/out", false)];
    let rules = |network, writable, user: Option<&str>| SandboxRules {
        network,
        writable,
        user: user.map(str::to_owned),
    };
    let strict = rules(false, false, None);
    let cases = [
        (
            &strict,
            "cat /data/in/file; (echo x > /data/in/x) 2>/dev/null || echo no",
            "of this machine\nno\n",
        ),
        (&strict, "echo written > /out/new; cat /data/in/new; pwd", "written\n/srv/made\n"),
        (
            &rules(false, false, Some("0")),
            "id -u; grep CapEff /proc/self/status",
            "0\nCapEff:\t0000000000000000\n",
        ),
        (&rules(false, false, Some("audio:7")), "", ""),
        (&rules(false, false, Some("app:7")), "id -u; id -g", "1000\n7\n"),
        (
            &rules(false, true, Some("0")),
            "test -e /new; echo $?; echo x > /new; cat /new",
            "1\nx\n",
        ),
        (
            &rules(false, true, None),
            "test -e /srv/made/new && echo before; echo x > /srv/mine; cat /srv/mine",
            "x\n",
        ),
        (
            &rules(true, false, None),
            "test $(ls /sys/class/net | wc -l) -gt 1 && echo network",
            "network\n",
        ),
    ];
    let mut content = None;
    for (name, mut lane) in open_lanes(&["runc", "crun", "podman:runc", "runsc"]) {
        let root = image.root.join("rootfs");
        for (rules, script, expected) in &cases {
            let mut job = image.job(&format!("{USE_BUSYBOX}{script}"));
            Arc::make_mut(&mut job.preset).dirs.clone_from(&dirs);
            job.rules = (*rules).clone();
            if script.is_empty() {
                let refused = lane.prepare(&job, &Cancel::default()).expect_err("no such user");
                assert!(
                    refused.to_string().contains("/etc/passwd has no user `audio`"),
                    "{refused}"
                );
                continue;
            }
            if rules.network && name == "runsc" {
                let refused = lane.prepare(&job, &Cancel::default()).expect_err("no network");
                assert!(refused.to_string().contains("takes the network away"), "{refused}");
                continue;
            }
            // Twice: what the first has written must not be there for the second.
            for _ in 0..2 {
                let Some((outcome, notes)) = run(&name, &mut lane, &job) else { break };
                content.get_or_insert_with(|| list_files(&root));
                // The first says what the image runs.
                assert_eq!(notes.len(), 1 + usize::from(rules.network), "{name}: {notes:?}");
                let written = outcome.output.expect("read").to_string();
                let expected = OutputDigest::from_content(expected.as_bytes()).to_string();
                assert_eq!((outcome.status, written), (Status::Ok, expected), "{name}: {script}");
            }
        }
        drop(lane);
        if let Some(content) = &content {
            assert_nothing_is_left(&root, content);
        }
    }
}

#[test]
fn an_image_that_nobody_has_is_not_fetched() {
    let Some(image) = TestImage::import() else { return };
    for (name, mut lane) in open_lanes(&["runc"]) {
        let mut job = image.job("");
        Arc::make_mut(&mut job.workload).image = Some("cyclometer-test/none:9".to_owned());
        let refused = lane.prepare(&job, &Cancel::default()).expect_err("refused").to_string();
        assert!(refused.contains("no image cyclometer-test/none:9"), "{name}: {refused}");
    }
}

#[test]
fn a_native_program_gets_variables_folders_and_a_user_in_a_bundle_too() {
    let Some(bench) = bench(None) else { return };
    let shared = tempfile::tempdir().expect("a folder");
    std::fs::write(shared.path().join("file"), "of this machine\n").expect("written");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(shared.path(), open).expect("set");
    let host = shared.path().to_owned();
    let dirs = vec![SharedFolder { host, guest: "/data/in".to_owned(), is_read_only: true }];
    let run_with = |name: &str, lane: &mut CommandLane, args: &[&str], rules: SandboxRules| {
        let mut job = bench.job(args, cyclometer_workload::FunctionInput::default());
        let preset = Arc::make_mut(&mut job.preset);
        preset.dirs.clone_from(&dirs);
        preset.workdir = Some("/data/in".to_owned());
        preset.env =
            vec![EnvironmentVariable { name: "HOME".to_owned(), value: "of its own".to_owned() }];
        job.rules = rules;
        let (outcome, _) = run(name, lane, &job)?;
        Some((outcome.status, outcome.output.expect("read").to_string()))
    };
    let ok =
        |text: &str| Some((Status::Ok, OutputDigest::from_content(text.as_bytes()).to_string()));
    for (name, mut lane) in open_lanes(&["runc", "podman:runc", "runsc"]) {
        let mut run = |args: &[&str], rules| run_with(&name, &mut lane, args, rules);
        let strict = SandboxRules::default();
        assert_eq!(run(&["show", "file"], strict.clone()), ok("of this machine\n"), "{name}");
        assert_eq!(run(&["who"], strict.clone()), ok("0 0 -1\n"), "{name}");
        let user = |text: &str| SandboxRules { user: Some(text.to_owned()), ..strict.clone() };
        assert_eq!(run(&["who"], user("12:34")), ok("12 34 -1\n"), "{name}");
        let writable = SandboxRules { writable: true, ..strict.clone() };
        assert_eq!(run(&["who"], writable), ok("0 0 3\n"), "{name}");
        if name == "runc" {
            let environment = run(&["show", "/proc/self/environ"], strict.clone());
            assert_eq!(environment, ok("HOME=of its own\0"));
        }
        let mut job = bench.job(&["who"], cyclometer_workload::FunctionInput::default());
        job.rules = user("app");
        let refused = lane.prepare(&job, &Cancel::default()).expect_err("no such user");
        assert!(refused.to_string().contains("give numbers"), "{refused}");
    }
}
