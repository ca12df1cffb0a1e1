use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;

const SMALL: Bound = Bound::new("a small file", 10);

/// A folder `f` in a folder of the test's own.
fn folder() -> (tempfile::TempDir, Folder) {
    let place = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(place.path().join("f/sub")).expect("made");
    std::fs::write(place.path().join("f/a"), "inside").expect("written");
    std::fs::write(place.path().join("outside"), "outside").expect("written");
    let folder = Folder::open(&place.path().join("f"), Links::Beneath).expect("opened");
    (place, folder)
}

fn read(folder: &Folder, name: &str) -> Result<String, String> {
    let content = folder.read_text(Path::new(name), SMALL);
    content.map_err(|problem| problem.to_string())
}

#[test]
fn links_are_followed_as_long_as_they_stay_below() {
    let (place, folder) = folder();
    let link = |target: &str, name: &str| {
        symlink(target, place.path().join("f").join(name)).expect("linked");
    };
    for (target, name) in [
        ("a", "plain"),
        ("../a", "sub/up"),
        ("sub/../sub/up", "through"),
        (".", "self"),
        ("self/self/self/a", "often"),
    ] {
        link(target, name);
        // That one is a folder.
        if name != "self" {
            assert_eq!(read(&folder, name), Ok("inside".to_owned()), "{name}");
        }
    }
    let real = place.path().join("f/a");
    for (target, name) in [
        ("../outside", "out"),
        ("../f/a", "out-and-in"),
        (real.to_str().expect("UTF-8"), "absolute"),
        ("sub/../../outside", "far"),
        ("self/../outside", "by-self"),
    ] {
        link(target, name);
        let problem = read(&folder, name).expect_err(name);
        assert!(problem.contains("leads out of the folder"), "{name}: {problem}");
        assert!(problem.contains(target), "{name}: {problem}");
    }
    for name in ["../outside", "sub/../../outside", "/etc/hostname"] {
        let problem = read(&folder, name).expect_err(name);
        assert!(problem.contains("leads out of the folder"), "{name}: {problem}");
    }
    link("round", "about");
    link("about", "round");
    assert_eq!(read(&folder, "round"), Err("its symbolic links lead in a circle".to_owned()));
}

#[test]
fn an_open_folder_stays_the_one_that_was_opened() {
    let (place, folder) = folder();
    let at = |name: &str| place.path().join(name);
    std::fs::rename(at("f"), at("g")).expect("moved");
    std::fs::create_dir(at("f")).expect("made");
    std::fs::write(at("f/a"), "another").expect("written");
    assert_eq!(read(&folder, "a"), Ok("inside".to_owned()));
    folder.replace(Path::new("new"), b"x", 0o600).expect("written");
    assert!(at("g/new").exists() && !at("f/new").exists());
    // And so does a file.
    let file = folder.find_regular(Path::new("a")).expect("found");
    std::fs::remove_file(at("g/a")).expect("removed");
    symlink("/dev/zero", at("g/a")).expect("linked");
    assert_eq!(file.read(SMALL).expect("read"), b"inside");
}

#[test]
fn a_folder_that_is_swapped_for_a_link_all_the_time_is_never_left() {
    let (place, folder) = folder();
    let at = |name: &str| place.path().join(name);
    std::fs::write(at("f/sub/b"), "inside").expect("written");
    std::fs::create_dir(at("elsewhere")).expect("made");
    std::fs::write(at("elsewhere/b"), "outside").expect("written");
    symlink(at("elsewhere"), at("link")).expect("linked");
    let (link, sub) = (at("link"), at("f/sub"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
                let here = nix::fcntl::AT_FDCWD;
                nix::fcntl::renameat2(here, &link, here, &sub, flags).expect("swapped");
            }
        });
        let seen: Vec<_> = (0..2_000).map(|_| read(&folder, "sub/b")).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        seen
    });
    for content in seen {
        match content {
            Ok(content) => assert_eq!(content, "inside"),
            Err(problem) => assert!(problem.contains("leads out"), "{problem}"),
        }
    }
}

#[test]
fn no_more_is_read_than_the_bound_and_one_byte() {
    // Whatever the file said of its size.
    let mut taken = std::io::repeat(b'x').take(1 << 30);
    assert!(matches!(read_bounded(&mut taken, SMALL), Err(FileProblem::TooLarge(_))));
    assert_eq!((1 << 30) - taken.limit(), 11);
    assert_eq!(read_bounded(&b"0123456789"[..], SMALL).expect("it fits"), b"0123456789");
    let (place, folder) = folder();
    std::fs::write(place.path().join("f/b"), "01234567890").expect("written");
    let problem = read(&folder, "b").expect_err("refused");
    assert_eq!(problem, "it is larger than 10 B, the most that a small file may have");
    std::fs::write(place.path().join("f/b"), b"ab\xff").expect("written");
    assert_eq!(read(&folder, "b"), Err("it is no text: byte 3 is not UTF-8".to_owned()));
}

#[test]
fn what_is_written_is_whole_and_new() {
    let (place, folder) = folder();
    let at = |name: &str| place.path().join(name);
    symlink(at("outside"), at("f/link")).expect("linked");
    symlink(at("f"), at("f/sub/out")).expect("linked");
    folder.replace(Path::new("link"), b"new", 0o640).expect("written");
    assert_eq!(std::fs::read(at("outside")).expect("there"), b"outside");
    assert_eq!(std::fs::read(at("f/link")).expect("there"), b"new");
    let mode = std::fs::metadata(at("f/link")).expect("there").permissions().mode();
    assert_eq!(mode & 0o137, 0, "no more than was asked for");
    folder.replace(Path::new("sub/b"), b"new", 0o600).expect("written");
    assert!(folder.replace(Path::new("sub/out/c"), b"new", 0o600).is_err());
    assert!(folder.replace(Path::new("../c"), b"new", 0o600).is_err());
    assert!(folder.replace(Path::new("sub"), b"new", 0o600).is_err(), "a folder is no file");
    let names = folder.entries().expect("read");
    assert_eq!(names, ["a", "link", "sub"], "nothing is left of what failed");
}

#[test]
fn private_folders_are_new_and_go_with_their_process() {
    // Process ids are at most 4194304: nobody has this one.
    let base = std::env::temp_dir().canonicalize().expect("there");
    let dead = base.join("cyclometer-unit-4194999-aaaaaa");
    std::fs::create_dir_all(dead.join("x")).expect("made");
    let scratch = PrivateFolder::new("unit").expect("made");
    assert!(!dead.exists(), "what a dead process left is removed");
    let path = scratch.path().to_owned();
    let mode = std::fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    drop(scratch);
    assert!(!path.exists());
}
