//! Folders and files of others: links, pipes, devices, limits.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Place, Run};

/// An empty module: the magic number and the version, after the WebAssembly
/// specification.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const MANIFEST: &str = "title = \"t\"\nstresses = \"s\"\nwasm = \"m.wasm\"\n[preset.quick]\n";
/// A waiting program is ended after this time, and the test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs the program to its end; it is killed if that does not come. What it
/// writes is little.
fn ended(place: &Place, args: &[&str]) -> Run {
    let mut command = place.command(args);
    command.env("XDG_CONFIG_HOME", place.path().join("config"));
    // A device that is read to its end would take all memory before the time is up.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -v 8000000; exec \"$0\" \"$@\""]).arg(command.get_program());
    limited.args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            limited.env(name, value);
        }
    }
    ended_command(limited)
}

fn ended_command(mut command: Command) -> Run {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let begun = Instant::now();
    while child.try_wait().expect("waited").is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill().expect("killed");
            panic!("{command:?} has no end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Run::of(&child.wait_with_output().expect("its output"))
}

/// A file of others that this program reads, and the command that reads it.
struct Role {
    name: &'static str,
    file: &'static str,
    args: &'static [&'static str],
    /// What cannot be read is left out; the others go on.
    left_out: bool,
}

const ROLES: [Role; 8] = [
    left_out("a manifest", "w/a/workload.toml", &["workloads", "list", "--workloads", "w"]),
    left_out("a module", "w/a/m.wasm", &["workloads", "list", "--workloads", "w"]),
    left_out("a program", "w/a/program", &["workloads", "list", "--workloads", "w"]),
    role("an input", "w/a/in.txt", &["workloads", "list", "--workloads", "w/a"]),
    role("an output", "w/a/out.txt", &["workloads", "list", "--workloads", "w/a"]),
    left_out("prices", "prices/p.toml", &["pricing", "list", "--pricing", "prices"]),
    left_out("a profile", "run/r.toml", &["lanes", "--runtimes", "run"]),
    left_out("a script", "run/s.js", &["lanes", "--runtimes", "run"]),
];

const fn role(name: &'static str, file: &'static str, args: &'static [&'static str]) -> Role {
    Role { name, file, args, left_out: false }
}

const fn left_out(name: &'static str, file: &'static str, args: &'static [&'static str]) -> Role {
    Role { name, file, args, left_out: true }
}

/// Folders in which every file is as it should be.
fn sound() -> Place {
    let place = Place::new();
    let manifest = "title = \"t\"\nstresses = \"s\"\nwasm = \"m.wasm\"\nnative = \"program\"\n\
                    [preset.quick]\nstdin = { file = \"in.txt\" }\nexpected = { file = \"out.txt\" }\n";
    place.write("w/a/workload.toml", manifest);
    place.write("w/a/m.wasm", MODULE);
    for name in ["program", "in.txt", "out.txt"] {
        place.write(&format!("w/a/{name}"), "x");
    }
    let file = place.path().join("prices/p.toml").display().to_string();
    std::fs::create_dir(place.path().join("prices")).expect("made");
    place.ok(&["pricing", "new", "own-prices", "--file", &file]);
    let profile = include_str!("../../data/profiles/sound.toml");
    place.write("run/r.toml", format!("script = \"s.js\"\n{profile}"));
    place.write("run/s.js", "1");
    place
}

impl Role {
    /// Runs the command in the place's folder.
    fn run(&self, place: &Place) -> Run {
        let folders = ["w", "w/a", "prices", "run"];
        let at = |arg: &&str| {
            let is_folder = folders.contains(arg);
            if is_folder { place.path().join(arg).display().to_string() } else { (*arg).to_owned() }
        };
        let args: Vec<String> = self.args.iter().map(at).collect();
        ended(place, &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Insists that the file is refused, by name and with these words.
    fn refused(&self, place: &Place, words: &[&str]) {
        let run = self.run(place);
        let what = self.name;
        let told = if self.left_out { run.stderr.contains("left out") } else { run.code == 2 };
        assert!(told, "{what}: exit {} {}", run.code, run.stderr);
        let name = Path::new(self.file).file_name().and_then(|it| it.to_str()).expect("a name");
        for word in words.iter().chain([&name]) {
            assert!(run.stderr.contains(word), "{what}: no `{word}` in {}", run.stderr);
        }
    }
}

#[test]
fn files_that_are_as_they_should_be_are_read() {
    let place = sound();
    for role in &ROLES {
        let run = role.run(&place);
        assert_eq!(run.code, 0, "{}: {}", role.name, run.stderr);
        assert!(!run.stderr.contains("left out"), "{}: {}", role.name, run.stderr);
    }
}

#[test]
fn a_link_out_of_a_folder_is_refused_by_name() {
    for role in &ROLES {
        let place = sound();
        let path = place.path().join(role.file);
        // What it leads to is as it should be: only the place is not.
        let outside = place.path().join("outside");
        std::fs::rename(&path, &outside).expect("moved");
        symlink(&outside, &path).expect("linked");
        role.refused(&place, &["symbolic link", "leads out of the folder", "outside"]);
        std::fs::remove_file(&path).expect("removed");
        let up = "../".repeat(Path::new(role.file).components().count() - 1);
        symlink(format!("{up}outside"), &path).expect("linked");
        role.refused(&place, &["symbolic link", "leads out of the folder", "outside"]);
    }
}

#[test]
fn a_folder_by_link_from_elsewhere_is_no_workload_of_this_one() {
    let place = sound();
    place.write("else/workload.toml", MANIFEST);
    place.write("else/m.wasm", MODULE);
    symlink("../else", place.path().join("w/b")).expect("linked");
    // A link without a workload behind it is nobody's matter.
    symlink("/nowhere", place.path().join("w/c")).expect("linked");
    let run = ROLES[0].run(&place);
    let told = run.stderr.contains("w/b") && run.stderr.contains("leads out of the folder");
    assert!(run.code == 0 && told, "{}", run.stderr);
    assert!(run.stderr.contains("workload `b` is left out"), "{}", run.stderr);
    std::fs::remove_file(place.path().join("w/b")).expect("removed");
    assert_eq!(ROLES[0].run(&place).code, 0);
}

#[test]
fn a_link_that_stays_inside_its_folder_is_followed() {
    for role in &ROLES {
        let place = sound();
        let path = place.path().join(role.file);
        let beside = path.with_file_name("beside");
        std::fs::rename(&path, &beside).expect("moved");
        symlink("beside", &path).expect("linked");
        let run = role.run(&place);
        assert!(run.code == 0 && !run.stderr.contains("left out"), "{}: {}", role.name, run.stderr);
    }
    // A folder may be named by a link.
    let place = sound();
    symlink("w", place.path().join("by-link")).expect("linked");
    let folder = place.path().join("by-link").display().to_string();
    assert_eq!(ended(&place, &["workloads", "list", "--workloads", &folder]).code, 0);
}

#[test]
fn links_of_ones_own_configuration_lead_anywhere() {
    let place = sound();
    std::fs::create_dir_all(place.path().join("config/cyclometer/pricing")).expect("made");
    let link = place.path().join("config/cyclometer/pricing/kept.toml");
    symlink(place.path().join("prices/p.toml"), link).expect("linked");
    let run = ended(&place, &["pricing", "list"]);
    assert!(run.code == 0 && run.stdout.contains("own-prices"), "{}", run.stderr);
}

#[test]
fn pipes_sockets_and_devices_are_told_and_nobody_waits_for_them() {
    for role in &ROLES {
        let place = sound();
        let path = place.path().join(role.file);
        let replace = |make: &dyn Fn(&Path)| {
            let _ = std::fs::remove_file(&path);
            make(&path);
        };
        replace(&|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO"));
        role.refused(&place, &["a FIFO", "only regular files"]);
        replace(&|path| drop(UnixListener::bind(path).expect("a socket")));
        role.refused(&place, &["a socket", "only regular files"]);
        replace(&|path| std::fs::create_dir(path).expect("a folder"));
        role.refused(&place, &["a folder", "only regular files"]);
        std::fs::remove_dir(&path).expect("removed");
        symlink("/dev/zero", &path).expect("linked");
        role.refused(&place, &["/dev/zero", "leads out of the folder"]);
        replace(&|path| symlink(path.file_name().expect("a name"), path).expect("linked"));
        role.refused(&place, &["in a circle"]);
    }
}

#[test]
fn files_beyond_their_bound_are_not_read() {
    for role in &ROLES {
        let place = sound();
        // Sparse: it takes no room on the disk.
        let file = std::fs::OpenOptions::new().write(true).open(place.path().join(role.file));
        file.expect("there").set_len(1 << 40).expect("grown");
        let begun = Instant::now();
        // Of a program, only what runs it reads the content.
        if role.name == "a program" {
            let folder = place.path().join("w").display().to_string();
            let mut args = vec!["workloads", "check", "--workloads", &folder, "--workload", "a"];
            args.extend(["--lane", "docker"]);
            if crate::common::docker() {
                let run = ended(&place, &args);
                assert!(run.stderr.contains("larger than 256 MiB"), "{}", run.stderr);
            }
            continue;
        }
        role.refused(&place, &["it is larger than", "the most that"]);
        assert!(begun.elapsed() < PATIENCE);
    }
}

#[test]
fn a_configuration_that_is_a_pipe_or_a_device_is_told() {
    let place = Place::new();
    let folder = place.path().join("config/cyclometer");
    std::fs::create_dir_all(&folder).expect("made");
    let path = folder.join("pricing/p.toml");
    std::fs::create_dir(folder.join("pricing")).expect("made");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let run = ended(&place, &["pricing", "list"]);
    assert!(run.code == 0 && run.stderr.contains("a FIFO"), "{}", run.stderr);
    assert!(run.stderr.contains("left out"), "{}", run.stderr);
    std::fs::remove_file(&path).expect("removed");
    symlink("/dev/zero", &path).expect("linked");
    let run = ended(&place, &["pricing", "list"]);
    assert!(run.stderr.contains("is not read: "), "{}", run.stderr);
}

#[test]
fn a_file_that_a_person_names_may_be_a_pipe_but_has_its_bound() {
    let place = sound();
    let fifo = place.path().join("pipe");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let prices = std::fs::read(place.path().join("prices/p.toml")).expect("there");
    let name = fifo.to_str().expect("UTF-8").to_owned();
    for args in [&["pricing", "check", &name][..], &["pricing", "list", "--pricing", &name]] {
        let (fifo, prices) = (fifo.clone(), prices.clone());
        let writer = std::thread::spawn(move || std::fs::write(fifo, prices));
        let run = ended(&place, args);
        assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
        writer.join().expect("ended").expect("written");
    }
    for args in [
        &["pricing", "check", "/dev/zero"][..],
        &["pricing", "explain", "aws-lambda-x86", "--usage", "/dev/zero"],
        &["pricing", "list", "--pricing", "/dev/zero"],
        &["lanes", "check", "/dev/zero"],
    ] {
        let run = ended(&place, args);
        assert!(run.code == 1 || run.code == 2, "{args:?}: {} {}", run.code, run.stderr);
        assert!(run.stderr.contains("larger than 64.0 KiB"), "{args:?}: {}", run.stderr);
    }
    // Standard input, by its own name.
    for (args, file) in
        [(&["pricing", "check", "-"][..], "prices/p.toml"), (&["query", "-"], "/dev/zero")]
    {
        let mut command = place.command(args);
        let input = std::fs::File::open(place.path().join(file)).expect("opened");
        let output = command.stdin(input).output().expect("it ends");
        let run = Run::of(&output);
        match file {
            "/dev/zero" => {
                assert!(run.stderr.contains("the most that a query may have"), "{}", run.stderr);
            }
            _ => assert_eq!(run.code, 0, "{}", run.stderr),
        }
    }
}

#[test]
fn a_wait_for_a_pipe_ends_with_ctrl_c() {
    let place = Place::new();
    let fifo = place.path().join("pipe");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let name = fifo.to_str().expect("UTF-8");
    for args in [&["pricing", "check", name][..], &["record", "--pricing", name]] {
        let mut child = place.spawn(args);
        std::thread::sleep(Duration::from_millis(500));
        assert!(child.try_wait().expect("waited").is_none(), "it waits for the pipe");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("sent");
        let begun = Instant::now();
        while child.try_wait().expect("waited").is_none() {
            if begun.elapsed() > PATIENCE {
                child.kill().expect("killed");
                panic!("{args:?} does not end");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn folders_with_too_many_entries_are_told() {
    let place = sound();
    for number in 0..10_001 {
        std::fs::File::create(place.path().join(format!("w/f{number}"))).expect("made");
        std::fs::File::create(place.path().join(format!("prices/f{number}"))).expect("made");
    }
    let told = "it has more than 10000 entries";
    for (command, option, folder) in
        [("workloads", "--workloads", "w"), ("pricing", "--pricing", "prices")]
    {
        let folder = place.path().join(folder).display().to_string();
        let run = ended(&place, &[command, "list", option, &folder]);
        assert!(run.code == 2 && run.stderr.contains(told), "{}", run.stderr);
    }
    let place = Place::new();
    for number in 0..1_001 {
        place.write(&format!("w/f{number}/workload.toml"), MANIFEST);
        place.write(&format!("w/f{number}/m.wasm"), MODULE);
    }
    let run = ROLES[0].run(&place);
    assert!(run.code == 2 && run.stderr.contains("more than 1000 workloads"), "{}", run.stderr);
}

#[test]
fn names_of_files_stay_on_their_line() {
    let place = Place::new();
    place.write("w/a\u{1b}[2J\nerror: b/workload.toml", MANIFEST);
    place.write("w/a\u{1b}[2J\nerror: b/m.wasm", MODULE);
    place.write("p/a\u{1b}[2J\nerror: b.toml", "id = 1\n");
    place.write("r/a\u{1b}[2J\nerror: b.toml", "id = 1\n");
    for (args, folder) in [
        (["workloads", "list", "--workloads"], "w"),
        (["pricing", "list", "--pricing"], "p"),
        (["pricing", "list", "--runtimes"], "r"),
    ] {
        let folder = place.path().join(folder).display().to_string();
        let run = ended(&place, &[&args[..], &[&folder]].concat());
        assert!(run.stderr.contains("a\\u{1b}[2J\\nerror: b"), "{args:?}: {}", run.stderr);
        assert!(!run.stderr.contains('\u{1b}') && !run.stdout.contains('\u{1b}'));
        assert!(!run.stderr.contains("\nerror: b"), "{args:?}: {}", run.stderr);
    }
    // What is no text cannot be named by an option.
    let place = Place::new();
    let folder = place.path().join(OsStr::from_bytes(b"w/\xff\xfe"));
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::write(folder.join("workload.toml"), MANIFEST).expect("written");
    std::fs::write(folder.join("m.wasm"), MODULE).expect("written");
    let run = ROLES[0].run(&place);
    assert!(
        run.code == 2 && run.stderr.contains("\\xff\\xfe: a workload is named"),
        "{}",
        run.stderr
    );
}

/// What is said of a manifest with that text.
fn manifest(text: &str) -> Run {
    let place = Place::new();
    place.write("w/a/workload.toml", text);
    place.write("w/a/m.wasm", MODULE);
    let list = ["workloads", "list", "--workloads"];
    let folder = place.path().join("w/a").display().to_string();
    ended(&place, &[&list[..], &[&folder]].concat())
}

#[test]
fn no_limit_is_zero_or_absurd_and_none_is_a_word() {
    for (limit, range) in [
        ("timeout = \"0s\"", "1ms to 7days, or `none` for 7days"),
        ("timeout = \"1us\"", "1ms to 7days"),
        ("timeout = \"8days\"", "1ms to 7days"),
        ("timeout = \"1000000000000000000s\"", "1ms to 7days"),
        ("memory = \"0B\"", "6MiB to 1TiB"),
        ("memory = \"1TB\"", ""),
        ("memory = \"2TiB\"", "6MiB to 1TiB"),
        ("memory = \"none\"", "6MiB to 1TiB"),
        ("output = \"0B\"", "1B to 1GiB"),
        ("output = \"2GiB\"", "1B to 1GiB"),
        ("output = \"none\"", "1B to 1GiB"),
        ("timeout = \"none\"", ""),
    ] {
        for text in [
            format!("{MANIFEST}limits = {{ {limit} }}\n"),
            MANIFEST.replace("[preset", &format!("[limits]\n{limit}\n[preset")),
        ] {
            let run = manifest(&text);
            let key = limit.split(' ').next().expect("a key");
            if range.is_empty() {
                assert_eq!(run.code, 0, "{limit}: {}", run.stderr);
            } else {
                let told = run.code == 2 && run.stderr.contains(range) && run.stderr.contains(key);
                assert!(told, "{limit}: {}", run.stderr);
            }
        }
    }
    let place = Place::new();
    for (option, value, range) in [
        ("--timeout", "0s", "1ms to 7days"),
        ("--timeout", "99999days", "1ms to 7days"),
        ("--memory", "0B", "6MiB to 1TiB"),
        ("--memory", "16777215TiB", "6MiB to 1TiB"),
        ("--memory", "none", "6MiB to 1TiB"),
        ("--sample-interval", "0s", "1ms to 1h, or `off`"),
        ("--sample-interval", "2h", "1ms to 1h, or `off`"),
        ("--runs", "0", "1 or more"),
        ("--runs", "4000000000", "1 to 1000000000"),
        ("--warmup", "4000000000", "0 to 1000000"),
    ] {
        let run = place.run(&["record", "--workload", "nop", option, value]);
        assert_eq!(run.code, 2, "{option} {value}: {}", run.stderr);
        assert!(run.stderr.contains(range), "{option} {value}: {}", run.stderr);
    }
}

#[test]
fn lists_of_a_manifest_are_bounded() {
    let presets: Vec<String> = (0..65).map(|number| format!("[preset.p{number}]\n")).collect();
    let presets = presets.concat();
    let large = format!("{}# {}\n", MANIFEST, "x".repeat(100 << 20));
    let many = format!("{MANIFEST}args = [{}]\n", "\"\",".repeat(1_001));
    let long = format!("{MANIFEST}args = [\"{}\"]\n", "x".repeat(56 << 10));
    let name = format!("{MANIFEST}[preset.{}]\n", "x".repeat(65));
    let title = MANIFEST.replace("\"t\"", &format!("\"{}\"", "x".repeat(601)));
    for (text, word) in [
        (large, "larger than 256 KiB"),
        (format!("{MANIFEST}{presets}"), "66 presets are more than 64"),
        (many, "1001 are more than 1000"),
        (long, "more than 56.0 KiB: give it on `stdin`"),
        (name, "a preset's name is 1 to 64 bytes"),
        (title, "more than 600 characters"),
        (MANIFEST.replace("\"t\"", "\"a\\u001b[2J\""), "control character"),
        (format!("{MANIFEST}[preset.quick]\n"), "duplicate key"),
        (format!("{MANIFEST}args = []\nargs = []\n"), "duplicate key"),
    ] {
        let run = manifest(&text);
        assert!(run.code == 2 && run.stderr.contains(word), "no `{word}` in {}", run.stderr);
        assert!(run.stderr.len() < 2_000, "{} bytes of message", run.stderr.len());
    }
}

#[test]
fn lists_in_lists_in_lists_end_no_program() {
    let place = sound();
    // As deep as fits each file's bound, and more.
    let deep = |depth: usize| format!("x = {}{}\n", "[".repeat(depth), "]".repeat(depth));
    let is_toml = |role: &&Role| Path::new(role.file).extension() == Some(OsStr::new("toml"));
    for role in ROLES.iter().filter(is_toml) {
        for depth in [30_000, 100_000] {
            place.write(role.file, deep(depth));
            let run = role.run(&place);
            let told = if role.left_out { run.code == 0 } else { run.code == 2 };
            assert!(told, "{}: exit {} {}", role.name, run.code, run.stderr);
            assert!(run.stderr.contains(role.file), "{}: {}", role.name, run.stderr);
        }
    }
    let usage = place.write("usage.toml", deep(30_000)).display().to_string();
    let run = ended(&place, &["pricing", "explain", "aws-lambda-x86", "--usage", &usage]);
    assert!(run.code == 2 && run.stderr.contains("usage.toml"), "{} {}", run.code, run.stderr);
}

/// Whether there is a compiler for `workloads build`; says so if not.
fn has_clang() -> bool {
    let clang = ["clang-14", "clang", "clang-19", "clang-17"]
        .iter()
        .any(|name| Command::new(name).arg("--version").output().is_ok());
    if !clang {
        cyclometer_testkit::skip("no clang for `workloads build`");
    }
    clang
}

/// A workload that is built to a native program.
fn buildable(place: &Place) {
    place.write("w/a/a.c", "#include \"a.h\"\nint main(void) { return ZERO; }\n");
    place.write("w/a/a.h", "#define ZERO 0\n");
    let text =
        "title = \"t\"\nstresses = \"s\"\nsource = \"a.c\"\nnative = \"a\"\n[preset.quick]\n";
    place.write("w/a/workload.toml", text);
}

#[test]
fn building_replaces_a_link_and_not_what_it_leads_to() {
    if !has_clang() {
        return;
    }
    let place = Place::new();
    buildable(&place);
    let victim = place.write("victim", "precious");
    symlink(&victim, place.path().join("w/a/a")).expect("linked");
    let folder = place.path().join("w").display().to_string();
    let run = ended(&place, &["workloads", "build", "--workloads", &folder]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(std::fs::read_to_string(&victim).expect("there"), "precious");
    let built = place.path().join("w/a/a").symlink_metadata().expect("there");
    assert!(built.file_type().is_file(), "it is the program itself");
    let names: Vec<_> = std::fs::read_dir(place.path().join("w/a")).expect("read").collect();
    assert_eq!(names.len(), 4, "nothing is left beside it: {names:?}");
}

#[test]
fn building_uses_no_scratch_folder_of_others() {
    if !has_clang() {
        return;
    }
    let place = Place::new();
    buildable(&place);
    let victim = place.write("victim", "precious");
    let scratch = place.path().join("tmp");
    std::fs::create_dir(&scratch).expect("made");
    // Whoever knows the next process id could have made a folder for it.
    let script = "mkdir $TMPDIR/cyclometer-build-$$; ln -s \"$1\" $TMPDIR/cyclometer-build-$$/made
                  exec \"$2\" workloads build --workloads \"$3\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(&victim).arg(crate::common::PROGRAM);
    command.arg(place.path().join("w")).env("TMPDIR", &scratch);
    let run = ended_command(command);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(std::fs::read_to_string(&victim).expect("there"), "precious");
    let left = std::fs::read_dir(&scratch).expect("read").count();
    assert_eq!(left, 1, "only the folder of the other");
}

#[test]
fn a_source_that_never_ends_ends_the_build() {
    if !has_clang() {
        return;
    }
    let place = Place::new();
    buildable(&place);
    let path = place.path().join("w/a/a.c");
    std::fs::remove_file(&path).expect("removed");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let folder = place.path().join("w").display().to_string();
    let run = ended(&place, &["workloads", "build", "--workloads", &folder]);
    assert!(run.code == 1 && run.stderr.contains("a FIFO"), "{}", run.stderr);
}

#[test]
fn manual_pages_are_written_through_no_link() {
    let place = Place::new();
    let victim = place.write("victim", "precious");
    let folder = place.path().join("man1");
    std::fs::create_dir(&folder).expect("made");
    symlink(&victim, folder.join("cyclometer.1")).expect("linked");
    place.ok(&["man", "--into", folder.to_str().expect("UTF-8")]);
    assert_eq!(std::fs::read_to_string(&victim).expect("there"), "precious");
    let page = std::fs::read_to_string(folder.join("cyclometer.1")).expect("there");
    assert!(page.contains(".TH cyclometer"), "the page itself");
}

#[test]
fn a_new_price_file_is_written_through_no_link() {
    let place = Place::new();
    let link = place.path().join("new.toml");
    symlink(place.path().join("victim"), &link).expect("linked");
    let run = place.run(&["pricing", "new", "mine", "--file", link.to_str().expect("UTF-8")]);
    assert!(run.code == 1 && run.stderr.contains("is left alone"), "{}", run.stderr);
    assert!(!place.path().join("victim").exists());
}
