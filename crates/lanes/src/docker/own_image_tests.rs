//! Tests of users' images against a real engine, where there is one: made from a static busybox.

use bollard::body_full;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures_util::TryStreamExt;
use sha2::Digest;

use super::tests::{Bench, bench, gvisor, shown};
use super::*;
use crate::Status;
use cyclometer_core::units::Bytes;
use cyclometer_meter::Meter;
use cyclometer_workload::{EnvironmentVariable, FunctionInput, OutputDigest, SharedFolder};

const BUSYBOX: &str = "/usr/bin/busybox";
const REPOSITORY: &str = "cyclometer-test/own";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/srv/app:/bin/sh\n";
const GROUP: &str = "root:x:0:\nwheel:x:10:root,app\napp:x:1001:\nvideo:x:27:app\n";

/// A lane and a user's image, which is removed with this value.
struct OwnBench {
    bench: Bench,
    name: String,
}

impl OwnBench {
    /// Imports an image with busybox as its shell and with these lines of a Dockerfile.
    fn make(bench: Option<Bench>, tag: &str, changes: &[&str]) -> Option<Self> {
        let mut bench = bench?;
        let Ok(busybox) = std::fs::read(BUSYBOX) else {
            cyclometer_testkit::skip("no busybox");
            return None;
        };
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |name: &str, mode: u32, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(mode);
            archive.append_data(&mut header, name, content).expect("memory");
        };
        add("bin/busybox", 0o755, &busybox);
        add("etc/passwd", 0o644, PASSWD.as_bytes());
        add("etc/group", 0o644, GROUP.as_bytes());
        add("srv/app/note", 0o644, b"a note\n");
        add("srv/app/closed", 0o644, b"#!/bin/sh\n");
        add("srv/app/broken", 0o755, b"\x7fELF no program");
        add("srv/app/lost", 0o755, b"#!/no/interpreter\n");
        add("data/seed", 0o644, b"seed\n");
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o777);
        header.set_size(0);
        archive.append_data(&mut header, "srv/open", &[][..]).expect("memory");
        for name in ["sh", "id", "touch", "cat", "env", "pwd", "sleep", "dd", "kill", "mkdir"] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, format!("bin/{name}"), "busybox").expect("memory");
        }
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(REPOSITORY)
            .tag(tag)
            .changes(changes.iter().map(|&line| line.to_owned()).collect())
            .build();
        let body = Some(body_full(archive.into_inner().expect("memory").into()));
        let engine = &bench.lane.engine;
        let answers = engine.docker.create_image(Some(options), body, None);
        engine.block_on(answers.try_for_each(async |_| Ok(()))).expect("imported");
        let name = format!("{REPOSITORY}:{tag}");
        let image = Some(name.clone());
        let workload = Workload { image, ..Workload::without_forms(&format!("own-{tag}")) };
        bench.workload = Arc::new(workload);
        Some(Self { bench, name })
    }

    fn job(&self, args: &[&str]) -> Job {
        self.bench.job(args, FunctionInput::default())
    }

    /// Runs the job cold and warm.
    fn run_both(&mut self, job: &Job, check: impl Fn(&Outcome)) {
        for start in [StartKind::Cold, StartKind::Warm] {
            check(&self.bench.run(&Job { start, cell: 1, ..job.clone() }));
        }
        self.bench.lane.retire_all_containers();
        self.bench.lane.clear_leftovers();
    }

    fn prepare(&mut self, job: &Job) -> Result<Prepared, String> {
        self.bench.lane.prepare(job, &Cancel::default()).map_err(|error| error.to_string())
    }
}

impl Drop for OwnBench {
    fn drop(&mut self) {
        let lane = &mut self.bench.lane;
        let made = lane.images.values().map(|image| image.reference.clone());
        let names: Vec<_> = made.chain([self.name.clone()]).collect();
        lane.retire_all_containers();
        lane.clear_leftovers();
        for name in names {
            let options = RemoveImageOptionsBuilder::new().force(true).build();
            let engine = &lane.engine;
            let _ = engine.block_on(engine.docker.remove_image(&name, Some(options), None));
        }
    }
}

fn wrote(outcome: &Outcome, text: &str) {
    assert_eq!(outcome.status, Status::Ok, "{}", shown(outcome));
    assert_eq!(outcome.output, Some(OutputDigest::from_content(text.as_bytes())), "not {text:?}");
}

fn failed(outcome: &Outcome, parts: &[&str]) {
    assert_eq!(outcome.status, Status::Failed, "{}", shown(outcome));
    let reason = outcome.reason.as_deref().unwrap_or_default();
    for part in parts {
        assert!(reason.contains(part), "no {part:?} in {reason}");
    }
}

/// Checks the image's entrypoint, command, user, groups, folder and environment.
fn runs_as_its_author_wants_it(bench: Option<Bench>) {
    let changes = [
        r#"ENTRYPOINT ["sh","-c"]"#,
        r#"CMD ["id; pwd; cat note; env | busybox sort; cat /proc/self/status | busybox grep Cap"]"#,
        "ENV A=1 GREETING=hello",
        "USER app",
        "WORKDIR /srv/app",
        "HEALTHCHECK CMD touch /healthy",
    ];
    let Some(mut own) = OwnBench::make(bench, "author", &changes) else { return };
    // As `docker run` of the same image shows it, but for the host name, which is the container's.
    let job = own.job(&[]);
    let outcome = own.bench.run(&job);
    assert_eq!(outcome.status, Status::Ok, "{}", shown(&outcome));
    let line = "id -u; id -g; id -G; pwd; cat note; echo $A $GREETING $HOME $PATH; env | busybox \
                grep -c CYCLO; busybox grep Cap[PE] /proc/self/status";
    let expected = "1000\n1001\n1001 10 27\n/srv/app\na note\n1 hello /srv/app \
                    /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n0\n\
                    CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n";
    let mut job = own.job(&[line]);
    own.run_both(&job, |outcome| wrote(outcome, expected));
    // The preset's own words come after those of the image.
    let mut preset = (*own.job(&["pwd; echo $A $B $HOME; cat"]).preset).clone();
    let variable = |name: &str, value: &str| EnvironmentVariable {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    preset.env = vec![variable("A", "2"), variable("B", "x y")];
    preset.workdir = Some("/etc".to_owned());
    preset.stdin = FunctionInput::from_bytes(*b"input");
    job.preset = Arc::new(preset);
    job.rules.user = Some("4711:27".to_owned());
    own.run_both(&job, |outcome| wrote(outcome, "/etc\n2 x y /\ninput"));
    let code = own.job(&["exit 7"]);
    own.run_both(&code, |outcome| {
        assert_eq!((outcome.status, outcome.exit_code), (Status::Failed, Some(7)));
    });
}

#[test]
fn an_image_runs_as_its_author_wants_it() {
    runs_as_its_author_wants_it(bench(None));
}

#[test]
fn an_image_runs_as_its_author_wants_it_in_gvisor() {
    runs_as_its_author_wants_it(gvisor());
}

/// Checks that an image of root has no capabilities, and leaves nothing that stops the next one.
fn runs_as_root_without_capabilities(bench: Option<Bench>) {
    let changes = [r#"ENTRYPOINT ["sh","-c"]"#];
    let Some(mut own) = OwnBench::make(bench, "root", &changes) else { return };
    let line = "id -u; id -G; busybox grep Cap[PEB] /proc/self/status; busybox chown 1 /etc \
                2>/dev/null || echo no; busybox chmod 0 /.cyclometer/out";
    let job = own.job(&[line]);
    let none = "0000000000000000";
    let expected = format!("0\n0 10\nCapPrm:\t{none}\nCapEff:\t{none}\nCapBnd:\t{none}\nno\n");
    let notes = own.prepare(&job).expect("prepared").notes.join("\n");
    assert!(notes.contains("root inside its container, without capabilities"), "{notes}");
    assert!(notes.contains("as user 0:0 in /"), "{notes}");
    own.run_both(&job, |outcome| wrote(outcome, &expected));
    let warm = Job { start: StartKind::Warm, ..job.clone() };
    for _ in 0..2 {
        let outcome = own.bench.run(&warm);
        wrote(&outcome, &expected);
    }
    // It may kill its own starter in a warm container, which costs it its container.
    let kill = Job { start: StartKind::Warm, ..own.job(&["kill -9 $PPID; sleep 1; echo alive"]) };
    let outcome = own.bench.run(&kill);
    assert_eq!(outcome.status, Status::Failed, "{}", shown(&outcome));
    wrote(&own.bench.run(&warm), &expected);
}

/// Where the engine does not reach files of this machine, nothing of ours starts the function.
#[test]
fn an_image_runs_without_a_starter_too() {
    let changes = [r#"ENTRYPOINT ["sh","-c"]"#, "USER app", "WORKDIR /srv/app", "ENV A=1"];
    let Some(mut own) = OwnBench::make(bench(None), "streams", &changes) else { return };
    own.bench.lane.files = Err("a test says so".to_owned());
    let line = "id -u; id -G; pwd; echo $A $HOME; cat; busybox grep CapEff /proc/self/status";
    let mut job = own.bench.job(&[line], FunctionInput::from_bytes(*b"input\n"));
    let expected = |user: &str, rest: &str| {
        format!("{user}\n/srv/app\n1 {rest}\ninput\nCapEff:\t0000000000000000\n")
    };
    wrote(&own.bench.run(&job), &expected("1000\n1001 10 27", "/srv/app"));
    job.rules.user = Some("0".to_owned());
    wrote(&own.bench.run(&job), &expected("0\n0 10", "/root"));
    let missing = own.job(&[]);
    let missing = Job {
        preset: Arc::new(Preset { args: vec!["nosuch".to_owned()], ..(*missing.preset).clone() }),
        ..missing
    };
    failed(&own.bench.run(&missing), &["exit code 127"]);
    let dirs =
        vec![SharedFolder { host: "/tmp".into(), guest: "/data".to_owned(), is_read_only: true }];
    job.preset = Arc::new(Preset { dirs, ..(*job.preset).clone() });
    let told = own.prepare(&job).expect_err("refused");
    assert!(told.contains("--dir needs folders of this machine"), "{told}");
}

#[test]
fn an_image_of_root_has_no_capabilities() {
    runs_as_root_without_capabilities(bench(None));
}

#[test]
fn an_image_of_root_has_no_capabilities_in_gvisor() {
    runs_as_root_without_capabilities(gvisor());
}

#[test]
fn rules_hold_until_they_are_loosened() {
    let changes = [r#"ENTRYPOINT ["sh","-c"]"#, "VOLUME /data", "USER 0"];
    let Some(mut own) = OwnBench::make(bench(None), "rules", &changes) else { return };
    let touch = own.job(&["touch /x"]);
    own.run_both(&touch, |outcome| {
        failed(outcome, &["Read-only file system", "its root is read-only: `--writable`"]);
    });
    let volume = own.job(&["cat /data/seed || echo empty; touch /data/x || echo closed"]);
    own.run_both(&volume, |outcome| wrote(outcome, "empty\nclosed\n"));
    // Interfaces: the loopback alone.
    let network = own.job(&["busybox ls /sys/class/net; cat /proc/net/route | busybox wc -l"]);
    own.run_both(&network, |outcome| wrote(outcome, "lo\n1\n"));

    let mut loose =
        own.job(&["cat /data/seed; touch /data/x && busybox ls /x; touch /x && echo y"]);
    loose.rules.writable = true;
    let notes = own.prepare(&loose).expect("prepared").notes.join("\n");
    assert!(notes.contains("rules loosened: writable root"), "{notes}");
    let loose_cold = own.bench.run(&loose);
    wrote(&loose_cold, "seed\ny\n");
    wrote(&own.bench.run(&loose), "seed\ny\n");
    // Root could replace the starter itself.
    let mut warm = Job { start: StartKind::Warm, ..loose };
    let told = own.prepare(&warm).expect_err("refused");
    assert!(told.contains("could replace what measures it"), "{told}");
    // What a warm one writes, the next finds.
    warm.rules.user = Some("1000:0".to_owned());
    let line = "cat /data/seed; busybox ls /srv/open; touch /srv/open/x && echo y";
    let mut preset = (*warm.preset).clone();
    preset.args = vec![line.to_owned()];
    warm.preset = Arc::new(preset);
    wrote(&own.bench.run(&warm), "seed\ny\n");
    wrote(&own.bench.run(&warm), "seed\nx\ny\n");

    let mut network = own.job(&["busybox ls /sys/class/net"]);
    network.rules.network = true;
    match own.prepare(&network) {
        Ok(made) => assert!(made.notes.iter().any(|note| note.contains("loosened: network"))),
        Err(reason) => assert!(reason.contains("has no network `bridge`"), "{reason}"),
    }
}

#[test]
fn folders_of_this_machine_are_there_and_read_only_if_so_asked() {
    let changes = [r#"ENTRYPOINT ["sh","-c"]"#, "VOLUME /data", "USER app"];
    let Some(mut own) = OwnBench::make(bench(None), "dirs", &changes) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("in"), "from here\n").expect("written");
    std::os::unix::fs::chown(folder.path(), Some(1000), None).expect("root");
    let line = "cat /data/in /rw/in; touch /data/x 2>/dev/null || echo closed; touch /rw/y";
    let mut preset = (*own.job(&[line]).preset).clone();
    let share = |guest: &str, is_read_only| SharedFolder {
        host: folder.path().to_owned(),
        guest: guest.to_owned(),
        is_read_only,
    };
    preset.dirs = vec![share("/data", true), share("/rw", false)];
    let job = Job { preset: Arc::new(preset), ..own.job(&[]) };
    own.run_both(&job, |outcome| wrote(outcome, "from here\nfrom here\nclosed\n"));
    assert!(folder.path().join("y").exists() && !folder.path().join("x").exists());
}

#[test]
fn what_cannot_run_says_why() {
    let Some(mut own) = OwnBench::make(bench(None), "causes", &["USER app"]) else { return };
    let nothing = own.job(&[]);
    let told = own.prepare(&nothing).expect_err("refused");
    assert!(told.contains("names no entrypoint and no command"), "{told}");
    for (program, parts) in [
        ("nosuch", &["`nosuch` is not found in the PATH of image", "/usr/local/sbin:"][..]),
        ("/no/such", &["has no `/no/such`"]),
        ("/srv/app/closed", &["cannot be executed by user 1000:1001"]),
        ("/srv/app/broken", &["for another machine, or no program at all"]),
        ("/srv/app/lost", &["the interpreter that it names is not in the image"]),
        ("/srv", &["cannot be executed by user"]),
    ] {
        let job = own.job(&[program]);
        own.run_both(&job, |outcome| failed(outcome, parts));
    }
    let mut job = own.job(&["true"]);
    job.rules.user = Some("nosuch".to_owned());
    let told = own.prepare(&job).expect_err("refused");
    assert!(told.contains("/etc/passwd has no user `nosuch`"), "{told}");
}

#[test]
fn shells_and_daemons_of_an_image_are_kept_in() {
    let changes = [r#"ENTRYPOINT exec sh -c "$LINE""#, "EXPOSE 80", "ONBUILD RUN exit 1"];
    let Some(mut own) = OwnBench::make(bench(None), "daemons", &changes) else { return };
    let with_line = |own: &OwnBench, line: &str| {
        let mut preset = (*own.job(&[]).preset).clone();
        preset.env = vec![EnvironmentVariable { name: "LINE".to_owned(), value: line.to_owned() }];
        Job { preset: Arc::new(preset), ..own.job(&[]) }
    };
    let daemon = with_line(&own, "busybox setsid sleep 100 >/dev/null 2>&1 & echo started");
    own.run_both(&daemon, |outcome| {
        wrote(outcome, "started\n");
        assert!(outcome.reason.as_deref().is_some_and(|it| it.contains("left 1 process")));
    });
    // More than a program of this machine may have.
    let many = "i=0; while [ $i -lt 80 ]; do sleep 100 >/dev/null 2>&1 & i=$((i+1)); done; echo y";
    let many = with_line(&own, many);
    own.run_both(&many, |outcome| {
        wrote(outcome, "y\n");
        assert!(outcome.reason.as_deref().is_some_and(|it| it.contains("left 80 process")));
    });
    let mut server = with_line(&own, "exec sleep 100");
    server.limits.timeout = Nanos(300_000_000);
    own.run_both(&server, |outcome| {
        assert_eq!(outcome.status, Status::Timeout, "{}", shown(outcome));
        let reason = outcome.reason.as_deref().unwrap_or_default();
        assert!(reason.ends_with("80/tcp: a server does not end by itself"), "{reason}");
    });
    let flood = with_line(&own, "busybox yes");
    own.run_both(&flood, |outcome| failed(outcome, &["output limit of 1.00 MiB"]));
    // In its own memory, not in the page cache.
    let hog = with_line(&own, "dd if=/dev/zero of=/dev/null bs=300M count=1");
    own.run_both(&hog, |outcome| failed(outcome, &["limit of 64.0 MiB"]));
}

/// CPU time and memory against what the function itself reads of its control group.
#[test]
fn figures_are_those_of_the_control_group() {
    let changes = [r#"ENTRYPOINT ["sh","-c"]"#];
    let Some(mut own) = OwnBench::make(bench(None), "figures", &changes) else { return };
    if own.bench.lane.groups.is_err() {
        return cyclometer_testkit::skip("no control groups");
    }
    // Half a second of work, then the group's own account, on standard error.
    let line = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; \
                cat /sys/fs/cgroup/cpuacct/cpuacct.usage || \
                busybox awk '/usage_usec/{print $2*1000}' /sys/fs/cgroup/cpu.stat; exit 3";
    let job = own.job(&[&format!("({line}) 1>&2")]);
    let outcome = own.bench.run(&job);
    let reason = outcome.reason.clone().unwrap_or_default();
    let text = reason.rsplit(' ').next().unwrap_or_default();
    let inside: u64 = text.parse().unwrap_or_else(|_| panic!("no number in {reason}"));
    let cpu = outcome.usage.get(Meter::CpuTime).expect("metered");
    println!("inside {inside}, metered {cpu}");
    // What follows the reading: the end of the shell and of the starter.
    assert!(cpu >= inside * 99 / 100, "{cpu} < {inside}");
    assert!(cpu <= inside + inside / 50 + 20_000_000, "{cpu} > {inside}");
    let hog = own.job(&["dd if=/dev/zero of=/dev/null bs=32M count=1 2>/dev/null"]);
    let peak = own.bench.run(&hog).usage.get(Meter::MemoryPeak).expect("metered");
    assert!((32 << 20..40 << 20).contains(&peak), "{peak}");
}

#[test]
fn an_images_parts_are_its_own() {
    let Some(mut own) = OwnBench::make(bench(None), "parts", &[r#"CMD ["true"]"#]) else { return };
    let job = own.job(&[]);
    let made = own.prepare(&job).expect("prepared");
    let (id, config, size) = inspect_image(&own.name).expect("there");
    assert_eq!(made.footprint, size, "without our starter");
    let parts: Vec<_> = made.parts.iter().filter(|it| it.name.contains("layer")).collect();
    assert_eq!(parts.len(), 1, "{parts:?}");
    assert_eq!(
        (parts[0].name.clone(), Some(parts[0].bytes)),
        (format!("image {}, layer 1", own.name), size)
    );
    assert!(made.notes.iter().any(|note| note.contains(&id)), "{:?}", made.notes);
    assert_eq!(config.command, ["true"]);
    assert_eq!(own.prepare(&job).expect("there").took, None, "it is made once");
    assert!(size.is_some_and(|size| size > Bytes(1 << 20)));
}

/// Loads an image for that architecture, as `docker load` does.
fn load_foreign(engine: &Engine, name: &str, architecture: &str) {
    let layer = tar::Builder::new(Vec::new()).into_inner().expect("memory");
    let diff = cyclometer_workload::hex(&sha2::Sha256::digest(&layer));
    let config = format!(
        r#"{{"architecture":"{architecture}","os":"linux","config":{{"Cmd":["/x"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{diff}"]}}}}"#
    );
    let list =
        format!(r#"[{{"Config":"config.json","RepoTags":["{name}"],"Layers":["layer.tar"]}}]"#);
    let mut archive = tar::Builder::new(Vec::new());
    let files = [("config.json", config.as_bytes()), ("layer.tar", &layer)];
    for (name, content) in files.into_iter().chain([("manifest.json", list.as_bytes())]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content).expect("memory");
    }
    let body = body_full(archive.into_inner().expect("memory").into());
    let options = ImportImageOptionsBuilder::new().quiet(true).build();
    let answers = engine.docker.import_image(options, body, None);
    engine.block_on(answers.try_for_each(async |_| Ok(()))).expect("loaded");
}

#[test]
fn an_image_for_another_machine_is_refused_before_any_work() {
    let Some(bench) = bench(None) else { return };
    let machine = crate::image_config::machine_architecture();
    let other = if machine == "s390x" { "arm64" } else { "s390x" };
    let name = format!("{REPOSITORY}:foreign");
    load_foreign(&bench.lane.engine, &name, other);
    let told = format!(
        "image {name} is for {other}/linux, this machine is {machine}: pull or build it for \
         linux/{machine}"
    );
    let image = Some(name.clone());
    let workload = Workload { image, ..Workload::without_forms("x") };
    let refused = bench.lane.check_support(&workload).expect_err("refused");
    let checked = check_image(&name, &[]).expect_err("refused");
    let options = RemoveImageOptionsBuilder::new().force(true).build();
    let engine = &bench.lane.engine;
    engine.block_on(engine.docker.remove_image(&name, Some(options), None)).expect("removed");
    assert_eq!((refused.to_string(), checked.to_string()), (told.clone(), told));
}

#[test]
fn images_that_are_not_there_or_are_bases_are_refused() {
    let Some(own) = OwnBench::make(bench(None), "refused", &[r#"CMD ["true"]"#]) else { return };
    let check = |lane: &DockerLane, image: &str| {
        let image = Some(image.to_owned());
        let workload = Workload { image, ..Workload::without_forms("x") };
        lane.check_support(&workload).map_err(|error| error.to_string())
    };
    assert_eq!(check(&own.bench.lane, &own.name), Ok(()));
    let missing = "cyclometer-test/none:9";
    let told = format!("the engine has no image {missing}: `docker pull {missing}`, or --pull");
    assert_eq!(check(&own.bench.lane, missing), Err(told.clone()));
    assert_eq!(check_image(missing, &[]).expect_err("missing").to_string(), told);
    assert!(check(&own.bench.lane, "../info").is_err_and(|text| text.contains("is no name")));
    let owner = own.bench.lane.owner.clone();
    let based = DockerLane::open(None, Some(&own.name), &owner, None).expect("opened");
    let told = check(&based, &own.name).expect_err("refused");
    assert!(told.contains("runs a program of this machine on that image"), "{told}");
    assert!(based.describe().note.contains("the program is one of this machine"));
}

#[test]
fn programs_of_this_machine_have_a_user_a_folder_and_variables_too() {
    let Some(mut bench) = bench(None) else { return };
    let mut job = bench.job(&["who"], FunctionInput::default());
    job.rules.user = Some("4711:27".to_owned());
    for start in [StartKind::Cold, StartKind::Warm] {
        wrote(&bench.run(&Job { start, ..job.clone() }), "4711 27 -1\n");
    }
    job.rules.user = Some("app".to_owned());
    let told = bench.lane.prepare(&job, &Cancel::default()).expect_err("no such user").to_string();
    assert!(told.contains("/etc/passwd has no user `app`"), "{told}");
}
