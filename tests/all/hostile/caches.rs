//! Compiled code and databases that are kept: whose they are, whether they heal,
//! and who can read them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cyclometer_testkit::skip;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::common::{PROGRAM, Place, Run, column};

/// Variables that name folders.
const FOLDERS: [&str; 5] = [
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "CYCLOMETER_RUNTIMES",
];

/// A module that ends well, and one whose effect can be seen: exit status 66.
const CALM: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
const EVIL: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 66))))"#;

/// Between the content of an entry and its digest.
const MARK: &[u8] = b"\ncyclometer keeps 1\n";

/// The program with that home, and no other folder named.
fn at_home(place: &Place, home: &Path, args: &[&str]) -> Command {
    let mut command = place.command(args);
    for name in FOLDERS {
        command.env_remove(name);
    }
    command.env("HOME", home);
    command
}

fn run(command: &mut Command) -> Run {
    Run::of(&command.output().expect("the program starts"))
}

fn mode(path: &Path) -> u32 {
    let data = fs::symlink_metadata(path);
    let data = data.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    data.permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
}

/// Gives a path and all below it to `nobody`.
fn give_away(path: &Path) {
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).expect("read").for_each(|entry| give_away(&entry.expect("read").path()));
    }
    lchown(path, Some(65_534), Some(65_534)).expect("given away");
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skip("only root can give files to others");
    }
    is_root
}

/// Writes the two modules as workloads.
fn write_modules(place: &Place) {
    for (name, text) in [("calm", CALM), ("evil", EVIL)] {
        place.write(&format!("w/{name}/m.wasm"), wat::parse_str(text).expect("valid text"));
        let manifest = format!(
            "title = \"{name}\"\nstresses = \"nothing\"\nwasm = \"m.wasm\"\n[limits]\n\
             memory = \"16MiB\"\ntimeout = \"20s\"\n[preset.quick]\n"
        );
        place.write(&format!("w/{name}/workload.toml"), manifest);
    }
}

/// Records a module once, cold, with a cache below that folder.
fn record(place: &Place, cache: &Path, workload: &str) -> Run {
    run(recording(place, workload).env("XDG_CACHE_HOME", cache))
}

fn recording(place: &Place, workload: &str) -> Command {
    let folder = place.path().join("w");
    let folder = folder.to_str().expect("UTF-8");
    let plan = ["--lane", "wasmtime", "--start", "cold", "--runs", "1", "--warmup", "0"];
    let args = [&["record", "--workloads", folder, "--workload", workload][..], &plan].concat();
    at_home(place, &place.path().join("home"), &args)
}

/// Where compiled modules are kept below a folder for caches.
fn modules_in(cache: &Path) -> PathBuf {
    cache.join("cyclometer/wasmtime")
}

/// The kept code of a module of the usual kind. Its name begins with the module's digest.
fn entry_of(cache: &Path, text: &str) -> PathBuf {
    let digest = Sha256::digest(wat::parse_str(text).expect("valid text"));
    let digest: Vec<String> = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let digest = digest.concat();
    let mut entries = fs::read_dir(modules_in(cache)).expect("a cache").flatten();
    let found = entries.find(|entry| {
        let name = entry.file_name().into_string().expect("UTF-8");
        name.starts_with(&digest) && name.contains("-plain-")
    });
    found.expect("kept").path()
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("UTF-8")
}

/// An entry under another name, with the digest that belongs to that: anybody can
/// make one.
fn forge(entry: &[u8], name: &str) -> Vec<u8> {
    let Some(code) = entry[..entry.len() - 32].strip_suffix(MARK) else {
        return entry.to_vec();
    };
    let mut hasher = Sha256::new();
    hasher.update((name.len() as u64).to_le_bytes());
    hasher.update(name);
    hasher.update(code);
    [code, MARK, &hasher.finalize()].concat()
}

/// A forged entry: the name of the calm module's code, and the evil one's code.
struct Planted {
    name: String,
    content: Vec<u8>,
}

impl Planted {
    /// Made by the program itself.
    fn new(place: &Place) -> Self {
        write_modules(place);
        let cache = place.path().join("honest");
        assert_eq!(record(place, &cache, "calm").code, 0);
        assert_eq!(record(place, &cache, "evil").code, 1, "it ends with 66");
        let name = name_of(&entry_of(&cache, CALM)).to_owned();
        let content = forge(&fs::read(entry_of(&cache, EVIL)).expect("read"), &name);
        Self { name, content }
    }

    /// Puts it into a cache below that folder.
    fn put(&self, cache: &Path) -> PathBuf {
        let folder = modules_in(cache);
        fs::create_dir_all(&folder).expect("made");
        let path = folder.join(&self.name);
        fs::write(&path, &self.content).expect("written");
        path
    }
}

/// Nothing planted is executed, nothing is kept there, and that is said, once.
fn assert_refused(case: &str, run: &Run, planted: &Path, before: &[u8]) {
    assert_eq!(run.code, 0, "{case}: {}", run.stderr);
    let told = run.stderr.matches("nothing that is compiled is kept").count();
    assert_eq!(told, 1, "{case}: {}", run.stderr);
    assert_eq!(fs::read(planted).expect("read"), before, "{case}: it was written");
    let folder = planted.parent().expect("a folder");
    assert_eq!(fs::read_dir(folder).expect("read").count(), 1, "{case}: something was kept");
}

#[test]
fn code_in_a_folder_that_others_can_write_is_not_executed() {
    let place = Place::new();
    let planted = Planted::new(&place);
    // A forged entry is as good as a true one: what tells them apart is the folder.
    let own = place.path().join("own");
    planted.put(&own);
    assert_eq!(record(&place, &own, "calm").code, 1, "the forged entry is not like a true one");
    for (mode, part) in [(0o777, ""), (0o770, "cyclometer"), (0o1777, "cyclometer/wasmtime")] {
        let cache = place.path().join(format!("open-{mode:o}"));
        let path = planted.put(&cache);
        set_mode(&cache.join(part), mode);
        let run = record(&place, &cache, "calm");
        assert_refused(&format!("mode {mode:o}"), &run, &path, &planted.content);
    }
    // The folder itself is ours alone, and what it lies in is not.
    let outer = place.path().join("outer");
    let path = planted.put(&outer.join("inner"));
    set_mode(&outer, 0o777);
    let run = record(&place, &outer.join("inner"), "calm");
    assert_refused("a folder above", &run, &path, &planted.content);
    symlink(outer.join("inner"), place.path().join("link")).expect("linked");
    let run = record(&place, &place.path().join("link"), "calm");
    assert_refused("through a link of ours", &run, &path, &planted.content);
}

#[test]
fn code_that_another_user_planted_is_not_executed() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let planted = Planted::new(&place);
    let at = |name: &str| place.path().join(name);
    let theirs = planted.put(&at("xdg"));
    give_away(&at("xdg"));
    let run_of = record(&place, &at("xdg"), "calm");
    assert_refused("XDG_CACHE_HOME of another", &run_of, &theirs, &planted.content);

    let theirs = planted.put(&at("their-home/.cache"));
    give_away(&at("their-home"));
    let run_of = run(recording(&place, "calm").env("HOME", at("their-home")));
    assert_refused("HOME of another", &run_of, &theirs, &planted.content);

    // Everything in it is root's, and its owner can put another in its place.
    let path = planted.put(&at("parent/cache"));
    lchown(at("parent"), Some(65_534), None).expect("given away");
    let run_of = record(&place, &at("parent/cache"), "calm");
    assert_refused("a folder above of another", &run_of, &path, &planted.content);

    // As in /tmp: the link of another, to a folder that is root's.
    let path = planted.put(&at("roots"));
    fs::create_dir(at("sticky")).expect("made");
    set_mode(&at("sticky"), 0o1777);
    symlink(at("roots"), at("sticky/link")).expect("linked");
    lchown(at("sticky/link"), Some(65_534), None).expect("given away");
    let run_of = record(&place, &at("sticky/link"), "calm");
    assert_refused("a link of another", &run_of, &path, &planted.content);

    // A file of another in a folder of ours, as it may have been left.
    let own = at("mine");
    let path = planted.put(&own);
    lchown(&path, Some(65_534), None).expect("given away");
    assert_eq!(record(&place, &own, "calm").code, 0);
    assert_ne!(fs::read(&path).expect("read"), planted.content, "it is replaced");
}

#[test]
fn a_name_in_the_folder_for_temporary_files_is_never_guessed() {
    let place = Place::new();
    let planted = Planted::new(&place);
    // Where earlier versions kept code and rows of a user without a home.
    let uid = nix::unistd::geteuid();
    let path = planted.put(&place.path().join(format!("tmp/cyclometer-{uid}")));
    let mut command = at_home(&place, Path::new(""), &["doctor", "--format", "json"]);
    command.env_remove("HOME").env_remove("CYCLOMETER_DB").env("TMPDIR", place.path().join("tmp"));
    let rows = run(&mut command).json();
    let tmp = place.path().join("tmp").display().to_string();
    for check in ["compiled code", "database"] {
        let row = finding(&rows, check);
        assert!(!row["found"].as_str().is_some_and(|it| it.contains(&tmp)), "{row}");
    }
    assert_eq!(fs::read(path).expect("read"), planted.content);
}

fn finding<'a>(rows: &'a Value, check: &str) -> &'a Value {
    let mut rows = rows.as_array().expect("rows").iter();
    rows.find(|row| row["check"] == check).unwrap_or_else(|| panic!("no line `{check}`"))
}

#[test]
fn an_entry_that_is_not_whole_is_compiled_again_and_replaced() {
    let place = Place::new();
    write_modules(&place);
    let cache = place.path().join("cache");
    assert_eq!(record(&place, &cache, "calm").code, 0);
    assert_eq!(record(&place, &cache, "evil").code, 1);
    let path = entry_of(&cache, CALM);
    let whole = fs::read(&path).expect("read");
    let evil = fs::read(entry_of(&cache, EVIL)).expect("read");
    let mut bent = whole.clone();
    bent[whole.len() / 2] ^= 1;
    let damaged: [(&str, &[u8]); 6] = [
        ("empty", b""),
        ("cut off", &whole[..whole.len() / 2]),
        ("without its last byte", &whole[..whole.len() - 1]),
        ("a bit changed", &bent),
        ("of another module", &evil),
        ("something else", b"\x7fELF"),
    ];
    for (case, content) in damaged {
        fs::write(&path, content).expect("written");
        let run = record(&place, &cache, "calm");
        assert_eq!(run.code, 0, "{case}: {}", run.stderr);
        assert!(run.stderr.contains("prepared calm"), "{case}: not compiled: {}", run.stderr);
        assert_eq!(fs::read(&path).expect("read"), whole, "{case}: not replaced");
    }
    let in_the_way: [(&str, &dyn Fn()); 3] = [
        ("a folder", &|| fs::create_dir_all(path.join("deep")).expect("made")),
        ("a link", &|| symlink("/etc/hostname", &path).expect("linked")),
        ("a pipe", &|| {
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
        }),
    ];
    for (case, make) in in_the_way {
        fs::remove_file(&path).expect("removed");
        make();
        assert_eq!(record(&place, &cache, "calm").code, 0, "{case}");
        assert_eq!(fs::read(&path).expect("read"), whole, "{case}: not replaced");
    }
    let run = record(&place, &cache, "calm");
    assert!(!run.stderr.contains("prepared calm"), "what is whole is used: {}", run.stderr);
}

#[test]
fn a_count_that_was_tampered_with_is_counted_again() {
    let place = Place::new();
    write_modules(&place);
    let cache = place.path().join("cache");
    assert_eq!(record(&place, &cache, "calm").code, 0);
    let ops = |path: &PathBuf| path.extension().is_some_and(|it| it == "ops");
    let mut entries = fs::read_dir(modules_in(&cache)).expect("read").flatten().map(|it| it.path());
    let path = entries.find(ops).expect("a count is kept");
    fs::write(&path, "777 777 1 0\n").expect("written");
    assert_eq!(record(&place, &cache, "calm").code, 0);
    let counts = column(&place.open(), "SELECT DISTINCT wasm_ops FROM v_invocation");
    // Entering the one function, which is empty.
    assert_eq!(counts, ["1"]);
}

#[test]
fn code_of_other_versions_goes_and_what_was_being_written_too() {
    let place = Place::new();
    write_modules(&place);
    let cache = place.path().join("cache");
    assert_eq!(record(&place, &cache, "calm").code, 0);
    let kept = entry_of(&cache, CALM);
    let old = format!("{}-0.0.1-plain-0123456789abcdef.cwasm", "ab".repeat(16));
    // Nobody has that process number, and nobody that boot.
    let partial = "partial-cyclometer-4194999-1-nosuchboot-keep0-x.cwasm";
    for name in [&*old, partial] {
        fs::write(modules_in(&cache).join(name), "x").expect("written");
    }
    assert_eq!(record(&place, &cache, "calm").code, 0);
    assert!(kept.exists());
    assert!(!modules_in(&cache).join(old).exists() && !modules_in(&cache).join(partial).exists());
}

/// A runtime whose compile step writes a word, and which runs nothing else.
fn write_runtime(place: &Place) -> PathBuf {
    let script = "#!/bin/sh\n\
        case $1 in\n\
        --version) echo fake 1.0 ;;\n\
        compile) echo compiled >\"$3\" ;;\n\
        run) read -r word <\"$2\" && [ \"$word\" = compiled ] || exit 66 ;;\n\
        esac\n";
    let program = place.write("bin/fake", script);
    set_mode(&program, 0o755);
    let profile = format!(
        "title = \"Fake\"\ntakes = \"module\"\ninstall = \"nothing\"\nmemory = \"none\"\n\
         [program]\nnames = [\"{}\"]\nversion = [\"--version\"]\nafter = \"fake \"\n\
         [compile]\nargs = [\"compile\", \"{{module}}\", \"{{artifact}}\"]\nextension = \"bin\"\n\
         [cold]\nargs = [\"run\", \"{{artifact}}\", \"{{args...}}\"]\n",
        program.display()
    );
    place.write("profiles/fake.toml", profile)
}

#[test]
fn what_a_runtime_compiled_heals_and_is_kept_only_where_others_cannot_write() {
    let place = Place::new();
    write_modules(&place);
    let profile = write_runtime(&place);
    let workloads = place.path().join("w");
    let record = |cache: &Path| {
        let args = ["record", "--workload", "calm", "--lane", "fake", "--runs", "1"];
        let mut command = at_home(&place, &place.path().join("home"), &args);
        command.args(["--warmup", "0", "--workloads"]).arg(&workloads);
        run(command.arg("--runtimes").arg(&profile).env("XDG_CACHE_HOME", cache))
    };
    let artifact = |cache: &Path| {
        let all = fs::read_dir(cache.join("cyclometer/runtimes")).into_iter().flatten().flatten();
        all.map(|it| it.path()).find(|path| path.extension().is_some_and(|it| it == "bin"))
    };
    let cache = place.path().join("cache");
    let first = record(&cache);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let path = artifact(&cache).expect("kept");
    assert_eq!(mode(&path), 0o600);
    for content in ["", "comp", "other\n"] {
        fs::write(&path, content).expect("written");
        let run = record(&cache);
        assert_eq!(run.code, 0, "{content:?}: {}", run.stderr);
        assert_eq!(fs::read(&path).expect("read"), b"compiled\n", "{content:?}");
    }
    let again = record(&cache);
    assert!(!again.stderr.contains("prepared calm"), "what is whole is used: {}", again.stderr);

    let open = place.path().join("open");
    fs::create_dir_all(open.join("cyclometer/runtimes")).expect("made");
    set_mode(&open, 0o777);
    let run = record(&open);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("nothing that is compiled is kept"), "{}", run.stderr);
    assert_eq!(artifact(&open), None);
}

#[test]
fn profiles_and_prices_that_others_can_write_are_not_read() {
    let place = Place::new();
    let profile = fs::read(write_runtime(&place)).expect("read");
    let home = place.path().join("home");
    let own = place.write("home/.config/cyclometer/runtimes/fake.toml", profile);
    let lanes = || run(&mut at_home(&place, &home, &["lanes", "--format", "json"]));
    assert!(lanes().stdout.contains("\"fake\""), "profiles of one's own are read");
    for (path, open, usual) in [(own.clone(), 0o666, 0o644), (home.join(".config"), 0o777, 0o755)] {
        set_mode(&path, open);
        let run = lanes();
        assert!(!run.stdout.contains("\"fake\""), "{}", path.display());
        assert!(run.stderr.contains("can be written by others"), "{}", run.stderr);
        set_mode(&path, usual);
    }
    place.write("home/.config/cyclometer/pricing/a.toml", "no price model");
    let prices = || run(&mut at_home(&place, &home, &["pricing", "list"]));
    assert!(prices().stderr.contains("(this file is left out)"), "prices of one's own are read");
    set_mode(&home, 0o777);
    let open = prices();
    assert_eq!(open.code, 0, "{}", open.stderr);
    assert!(open.stderr.contains("pricing is not read: "), "{}", open.stderr);
}

#[test]
fn relative_folders_in_the_environment_are_ignored() {
    let place = Place::new();
    let here = place.path().join("here");
    fs::create_dir(&here).expect("made");
    for args in [&["doctor", "--format", "json"][..], &["history"], &["lanes"]] {
        let mut command = at_home(&place, Path::new("rel"), args);
        command.env_remove("CYCLOMETER_DB").current_dir(&here).env("TMPDIR", "rel");
        for name in &FOLDERS[..4] {
            command.env(name, "rel");
        }
        let run = run(&mut command);
        assert!(!run.stdout.contains("rel/"), "{args:?}: {}", run.stdout);
        assert_eq!(fs::read_dir(&here).expect("read").count(), 0, "{args:?} wrote there");
    }
}

/// Runs a recording into the usual database of that home.
fn record_usual(place: &Place, home: &Path) -> Run {
    let args = ["record", "--workload", "nop", "--lane", "native", "--runs", "1", "--warmup", "0"];
    run(at_home(place, home, &args).env_remove("CYCLOMETER_DB"))
}

#[test]
fn the_usual_database_is_where_others_can_put_nothing() {
    let place = Place::new();
    let at = |name: &str| place.path().join(name);
    let refused = |home: &str, told: &str| {
        let run = record_usual(&place, &at(home));
        assert_eq!(run.code, 1, "{home}: {}", run.stderr);
        assert!(run.stderr.contains(told) && run.stderr.contains("--db"), "{home}: {}", run.stderr);
        let reading = run_history(&place, &at(home));
        assert!(reading.code != 0 && reading.stderr.contains(told), "{home}: {}", reading.stderr);
    };
    fs::create_dir_all(at("open/.local/share/cyclometer")).expect("made");
    set_mode(&at("open/.local"), 0o777);
    refused("open", ".local: everybody can write it (mode 0777)");

    // A link of one's own is followed, to where nobody else can put anything.
    fs::create_dir_all(at("linked/.local/share/cyclometer")).expect("made");
    let file = at("linked/.local/share/cyclometer/cyclometer.db");
    symlink(at("elsewhere.db"), &file).expect("linked");
    assert_eq!(record_usual(&place, &at("linked")).code, 0);
    assert_eq!(mode(&at("elsewhere.db")), 0o600);
    fs::create_dir(at("sticky")).expect("made");
    set_mode(&at("sticky"), 0o1777);
    fs::remove_file(&file).expect("removed");
    symlink(at("sticky/x.db"), &file).expect("linked");
    refused("linked", "sticky: everybody can write it");
    assert!(!at("sticky/x.db").exists());

    if !is_root() {
        return;
    }
    fs::remove_file(&file).expect("removed");
    symlink(at("target.db"), &file).expect("linked");
    lchown(&file, Some(65_534), None).expect("given away");
    refused("linked", "this link belongs to");
    assert!(!at("target.db").exists(), "it was made where the link of another leads");
    fs::create_dir_all(at("theirs/.local/share")).expect("made");
    give_away(&at("theirs"));
    refused("theirs", "neither this user nor root");
    assert!(!at("theirs/.local/share/cyclometer").exists());
}

fn run_history(place: &Place, home: &Path) -> Run {
    run(at_home(place, home, &["history"]).env_remove("CYCLOMETER_DB"))
}

#[test]
fn a_named_database_takes_nothing_from_what_another_put_beside_it() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    place.ok(&["record", "--workload", "nop", "--lane", "native", "--runs", "1"]);
    let log = place.path().join("c.db-wal");
    fs::write(&log, "rows of another").expect("written");
    give_away(&log);
    for args in [&["history"][..], &["replay", "latest"]] {
        let run = place.run(args);
        assert_eq!(run.code, 1, "{args:?}: {}", run.stdout);
        assert!(run.stderr.contains("c.db-wal beside it belongs to"), "{}", run.stderr);
    }
    fs::remove_file(log).expect("removed");
    place.ok(&["history"]);
    let link = place.path().join("link.db");
    symlink(place.path().join("target.db"), &link).expect("linked");
    give_away(&link);
    let args = ["record", "--workload", "nop", "--lane", "native", "--runs", "1"];
    let run = run(place.command(&args).env("CYCLOMETER_DB", &link));
    assert!(run.code == 1 && run.stderr.contains("a link that belongs to"), "{}", run.stderr);
    assert!(!place.path().join("target.db").exists());
}

#[test]
fn database_log_and_caches_are_for_their_user_alone_whatever_the_umask() {
    for umask in ["000", "022", "777"] {
        let place = Place::new();
        let home = place.path().join("home");
        fs::create_dir(&home).expect("made");
        let mut command = Command::new("/bin/sh");
        for name in FOLDERS {
            command.env_remove(name);
        }
        command.env_remove("CYCLOMETER_DB").env("HOME", &home).args([
            "-c",
            "umask $0; exec \"$@\"",
            umask,
            PROGRAM,
            "record",
            "--workload",
            "nop",
            "--lane",
            "native,wasmtime",
            "--start",
            "cold",
            "--until-stopped",
        ]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        cyclometer_testkit::usual_signals(&mut command);
        let mut child = command.spawn().expect("it starts");
        let database = home.join(".local/share/cyclometer/cyclometer.db");
        let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", database.display()));
        let deadline = Instant::now() + Duration::from_mins(2);
        let modules = home.join(".cache/cyclometer/wasmtime");
        let is_kept = || fs::read_dir(&modules).is_ok_and(|mut it| it.next().is_some());
        while !(beside("-wal").exists() && beside("-shm").exists() && is_kept()) {
            let early = child.try_wait().expect("asked");
            assert!(early.is_none() && Instant::now() < deadline, "umask {umask}: {early:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let files = ["", "-wal", "-shm"].map(|suffix| mode(&beside(suffix)));
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("sent");
        child.wait().expect("it ends");
        assert_eq!(files, [0o600; 3], "umask {umask}");
        for folder in [".local", ".local/share", ".local/share/cyclometer", ".cache"] {
            assert_eq!(mode(&home.join(folder)), 0o700, "umask {umask}: {folder}");
        }
        assert_eq!(mode(&modules), 0o700, "umask {umask}");
        for entry in fs::read_dir(&modules).expect("read").flatten() {
            assert_eq!(mode(&entry.path()), 0o600, "umask {umask}: {entry:?}");
        }
    }
}

#[test]
fn a_database_that_others_can_read_stays_so_and_doctor_says_it() {
    let place = Place::new();
    place.ok(&["record", "--workload", "nop", "--lane", "native", "--runs", "1"]);
    set_mode(&place.db(), 0o644);
    place.ok(&["record", "--workload", "nop", "--lane", "native", "--runs", "1"]);
    assert_eq!(mode(&place.db()), 0o644);
    let rows = place.ok(&["doctor", "--format", "json"]).json();
    let row = finding(&rows, "rights of the database");
    assert_eq!(row["state"], "warning");
    assert!(row["found"].as_str().is_some_and(|it| it.contains("others can read it")), "{row}");
}

#[test]
fn doctor_says_who_runs_and_what_there_is() {
    let place = Place::new();
    let home = place.path().join("home");
    let told = |cache: &Path| {
        let mut command = at_home(&place, &home, &["doctor", "--format", "json"]);
        run(command.env("XDG_CACHE_HOME", cache)).json()
    };
    let cache = place.path().join("cache");
    let rows = told(&cache);
    let found = |check: &str| finding(&rows, check)["found"].as_str().expect("text").to_owned();
    assert!(found("user").contains(&format!("({})", nix::unistd::geteuid())), "{}", found("user"));
    assert!(found("user").contains(&format!("home {} (HOME)", home.display())));
    assert!(found("compiled code").starts_with(&format!("kept in {}", cache.display())));
    assert!(!cache.exists(), "looking makes nothing");
    for check in
        ["capabilities", "container", "memory limit", "open files", "process fence", "database"]
    {
        assert!(!found(check).is_empty(), "{check}");
    }
    fs::create_dir(&cache).expect("made");
    set_mode(&cache, 0o777);
    let rows = told(&cache);
    let row = finding(&rows, "compiled code");
    assert_eq!(row["state"], "warning");
    let found = row["found"].as_str().expect("text");
    assert!(found.contains("not kept") && found.contains("everybody can write it"), "{row}");
}
