//! Container images, made here of what this machine has: nothing is pulled.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{compile_rust, refuse, text, value};
use crate::common::{self, Place, column};

/// An image of the engine, which is removed with this value.
pub(super) struct TestImage(pub String);

impl Drop for TestImage {
    fn drop(&mut self) {
        let quiet = Command::new("docker").args(["image", "rm", "--force", &self.0]).output();
        drop(quiet);
    }
}

impl TestImage {
    /// Imports the files of `root` as an image with these lines of a Dockerfile; `None`, said
    /// aloud, without an engine.
    pub(super) fn import(root: &Path, name: &str, changes: &[&str]) -> Option<Self> {
        if !common::docker() {
            return None;
        }
        let name = format!("cyclometer-test/{name}:{}", std::process::id());
        let mut tar = Command::new("tar")
            .args(["--owner=0", "--group=0", "-C"])
            .arg(root)
            .args(["-c", "."])
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar starts");
        let mut import = Command::new("docker");
        import.arg("import");
        for change in changes {
            import.args(["--change", change]);
        }
        let made = import.args(["-", &name]).stdin(tar.stdout.take().expect("a pipe")).output();
        let made = made.expect("docker starts");
        assert!(tar.wait().expect("ends").success() && made.status.success(), "{made:?}");
        Some(Self(name))
    }
}

/// The root of an image with a static busybox and links for its commands.
pub(super) fn busybox_root(place: &Place) -> Option<std::path::PathBuf> {
    let busybox = Path::new("/usr/bin/busybox");
    if !busybox.exists() {
        cyclometer_testkit::skip_unless_required("busybox", "no static busybox");
        return None;
    }
    let root = place.path().join("root");
    std::fs::create_dir_all(root.join("bin")).expect("made");
    std::fs::copy(busybox, root.join("bin/busybox")).expect("copied");
    for name in ["sh", "echo", "id", "sleep", "touch", "cat", "dd"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("linked");
    }
    Some(root)
}

#[test]
fn an_image_runs_its_own_entrypoint_with_its_command_or_ours() {
    let place = Place::new();
    let Some(root) = busybox_root(&place) else { return };
    let changes = [
        r#"ENTRYPOINT ["sh", "-c", "echo $GREETING $* $(id -u):$(id -g) $PWD", "fn"]"#,
        r#"CMD ["from", "image"]"#,
        "ENV GREETING=hello PATH=/bin",
        "USER 1000:1001",
        "WORKDIR /bin",
    ];
    let Some(image) = TestImage::import(&root, "entry", &changes) else { return };
    let check = |args: &[&str], expected: &str| {
        let base = ["workloads", "check", "--image", &image.0, "--format", "json"];
        let run = place.ok(&[&base[..], args].concat());
        let digest = cyclometer::workload::OutputDigest::from_content(expected.as_bytes()).sha256;
        for row in run.json().as_array().expect("rows") {
            assert_eq!(row["sha256"], cyclometer::workload::hex(&digest), "{row}");
        }
        run.json().as_array().expect("rows").len()
    };
    assert_eq!(check(&[], "hello from image 1000:1001 /bin\n"), 2, "cold and warm");
    check(&["--", "ours"], "hello ours 1000:1001 /bin\n");
    check(&["--env", "GREETING=bye", "--", "x"], "bye x 1000:1001 /bin\n");
    check(&["--user", "7:8", "--workdir", "/", "--", "x"], "hello x 7:8 /\n");
}

#[test]
fn three_forms_of_one_function_end_in_one_comparison() {
    let place = Place::new();
    let Some(component) = compile_rust(&place, Some("wasm32-wasip2")) else { return };
    let Some(native) = compile_rust(&place, None) else { return };
    let root = place.path().join("root");
    std::fs::create_dir_all(&root).expect("made");
    std::fs::copy(&native, root.join("sum")).expect("copied");
    let Some(image) = TestImage::import(&root, "sum", &[r#"ENTRYPOINT ["/sum"]"#]) else { return };
    let run = place.ok(&[
        "record",
        "--runs",
        "5",
        "--name",
        "sum",
        "--native",
        text(&native),
        "--wasm",
        text(&component),
        "--image",
        &image.0,
        "--",
        "2",
        "3",
    ]);
    let lanes = column(&place.open(), "SELECT DISTINCT lane FROM v_invocation ORDER BY 1");
    assert_eq!(lanes, ["docker", "native", "wasmtime"]);
    assert!(run.stderr.contains("so lanes were compared by it"), "{}", run.stderr);
    let sentence = run.stdout.lines().find(|line| line.starts_with("sum: ")).expect("a sentence");
    assert!(sentence.contains("starts"), "{sentence}");
}

/// Copies this machine's python, with the libraries that it is linked with.
fn python_root(place: &Place) -> Option<std::path::PathBuf> {
    let python = Path::new("/usr/bin/python3").canonicalize().ok()?;
    let version = python.file_name()?.to_str()?.to_owned();
    let library = Path::new("/usr/lib").join(&version);
    if !library.is_dir() {
        cyclometer_testkit::skip("no python of the system");
        return None;
    }
    let linked = Command::new("ldd").arg(&python).output().ok()?;
    let linked = String::from_utf8(linked.stdout).ok()?;
    let files = linked.split_whitespace().filter(|word| word.starts_with('/'));
    let root = place.path().join("python");
    let copy = |from: &Path| {
        let to = root.join(from.strip_prefix("/").expect("absolute"));
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        std::fs::copy(from, to).expect("copied");
    };
    files.map(Path::new).chain([python.as_path()]).for_each(copy);
    let wanted = ["encodings", "collections", "importlib", "re", "json"];
    for entry in std::fs::read_dir(&library).expect("readable").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.extension().is_some_and(|it| it == "py") {
            copy(&path);
        } else if wanted.iter().any(|it| name == **it) {
            let files = std::fs::read_dir(&path).expect("readable").flatten();
            files.map(|it| it.path()).filter(|it| it.is_file()).for_each(|it| copy(&it));
        }
    }
    Some(root)
}

#[test]
fn a_python_script_in_an_image_runs_and_its_processor_time_is_the_kernels() {
    let place = Place::new();
    let Some(root) = python_root(&place) else { return };
    // It tells the CPU time that the kernel has for it, in milliseconds.
    let script = "import json, sys, time\n\
                  total = sum(i * i for i in range(400000))\n\
                  sys.stderr.write(str(time.process_time()))\n\
                  print(json.dumps({'total': total, 'args': sys.argv[1:]}))\n";
    std::fs::create_dir_all(root.join("srv")).expect("made");
    std::fs::write(root.join("srv/fn.py"), script).expect("written");
    let python = Path::new("/usr/bin/python3").canonicalize().expect("there");
    let entry = format!(r#"ENTRYPOINT ["{}", "-S", "-B", "/srv/fn.py"]"#, python.display());
    let changes = [entry.as_str(), "ENV PYTHONHOME=/usr", "USER 65534:65534"];
    let Some(image) = TestImage::import(&root, "python", &changes) else { return };
    let args = ["--image", &image.0, "--memory", "256MiB"];
    let run = place
        .ok(&[&["record", "--runs", "3", "--start", "cold"][..], &args, &["--", "x"]].concat());
    assert!(run.stderr.contains("\"args\\\": [\\\"x\\\"]"), "{}", run.stderr);
    // A hundred times more than starting an empty container takes.
    for cpu in value(&place, "cpu_ns") {
        assert!((20_000_000..5_000_000_000).contains(&cpu), "{cpu}");
    }
}

#[test]
fn rules_hold_unless_they_are_loosened_by_name() {
    let place = Place::new();
    let Some(root) = busybox_root(&place) else { return };
    let entry = r#"ENTRYPOINT ["/bin/sh", "-c", "touch /made && echo made"]"#;
    let Some(image) = TestImage::import(&root, "writes", &[entry]) else { return };
    let record = ["record", "--runs", "1", "--warmup", "0", "--start", "cold", "--image", &image.0];
    let strict = place.run(&record);
    assert_eq!(strict.code, 1, "{}", strict.stderr);
    assert!(strict.stderr.contains("--writable"), "{}", strict.stderr);
    let loose = place.ok(&[&record[..], &["--writable"]].concat());
    assert!(loose.stderr.contains("loosened: writable root"), "{}", loose.stderr);
    let kept = column(&place.open(), "SELECT settings FROM v_subject WHERE recording = 2");
    assert!(kept[0].contains("\"loosened\":\"writable root\""), "{kept:?}");
}

#[test]
fn what_is_wrong_with_an_image_is_known_before_any_work() {
    let place = Place::new();
    let Some(root) = busybox_root(&place) else { return };
    let Some(empty) = TestImage::import(&root, "nothing", &[]) else { return };
    refuse(&place, &["record", "--image", &empty.0], &["entrypoint", "after `--`"]);
    refuse(
        &place,
        &["record", "--image", "cyclometer-test/no-such:1"],
        &["cyclometer-test/no-such:1", "--pull"],
    );
    refuse(&place, &["record", "--image", "a b"], &["is no name of an image"]);
    place.ok(&["record", "--image", &empty.0, "--runs", "1", "--", "/bin/echo", "hello"]);
    assert!(!place.open().is_autocommit() || place.db().exists());
}
