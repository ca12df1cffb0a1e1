use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;

const SMALL: Bound = Bound::new("a small file", 10);

/// Creates a folder `f` in a temporary folder.
fn folder() -> (tempfile::TempDir, Folder) {
    let place = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(place.path().join("f/sub")).expect("made");
    std::fs::write(place.path().join("f/a"), "inside").expect("written");
    std::fs::write(place.path().join("outside"), "outside").expect("written");
    let folder = Folder::open(&place.path().join("f"), LinkPolicy::Beneath).expect("opened");
    (place, folder)
}

fn read(folder: &Folder, name: &str) -> Result<String, String> {
    let content = folder.read_text_file(Path::new(name), SMALL);
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
        // `self` is a folder.
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
    folder.replace_file(Path::new("new"), b"x", 0o600).expect("written");
    assert!(at("g/new").exists() && !at("f/new").exists());
    // A file keeps its identity, too.
    let file = folder.find_regular(Path::new("a")).expect("found");
    std::fs::remove_file(at("g/a")).expect("removed");
    symlink("/dev/zero", at("g/a")).expect("linked");
    assert_eq!(file.read_content(SMALL).expect("read"), b"inside");
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
    // The bound holds whatever size the file reports.
    let mut taken = std::io::repeat(b'x').take(1 << 30);
    assert!(matches!(read_bounded(&mut taken, SMALL), Err(FileError::TooLarge(_))));
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
    folder.replace_file(Path::new("link"), b"new", 0o640).expect("written");
    assert_eq!(std::fs::read(at("outside")).expect("there"), b"outside");
    assert_eq!(std::fs::read(at("f/link")).expect("there"), b"new");
    let mode = std::fs::metadata(at("f/link")).expect("there").permissions().mode();
    assert_eq!(mode & 0o137, 0, "no more than was asked for");
    folder.replace_file(Path::new("sub/b"), b"new", 0o600).expect("written");
    assert!(folder.replace_file(Path::new("sub/out/c"), b"new", 0o600).is_err());
    assert!(folder.replace_file(Path::new("../c"), b"new", 0o600).is_err());
    assert!(folder.replace_file(Path::new("sub"), b"new", 0o600).is_err(), "a folder is no file");
    let names = folder.entry_names().expect("read");
    assert_eq!(names, ["a", "link", "sub"], "nothing is left of what failed");
}

#[test]
fn private_folders_are_new_and_go_with_their_process() {
    let base = std::env::temp_dir().canonicalize().expect("there");
    // The name is from another boot, so the process id means nothing.
    let dead = base.join(format!("cyclometer-{}-2-nosuchboot-unit0-aaaaaa", std::process::id()));
    std::fs::create_dir_all(dead.join("x")).expect("made");
    let scratch = PrivateFolder::new("unit").expect("made");
    assert!(!dead.exists(), "what a dead process left is removed");
    let path = scratch.path().to_owned();
    let mode = std::fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    let name = path.file_name().expect("a name").to_string_lossy();
    let owner = crate::owner::Owner::from_name(&name).expect("as all names of ours");
    assert!(owner.in_use_reason(None).is_some(), "{name}");
    let other = PrivateFolder::new("unit").expect("made");
    assert!(path.exists() && other.path() != path, "the living keep theirs");
    drop(scratch);
    assert!(!path.exists());
}

/// Bind mount that is removed when the value is dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    /// Mounts `what` on `at`; `None`, and a skipped test, where this user cannot mount.
    fn new(what: &Path, at: &'a Path) -> Option<Self> {
        use nix::mount::{MsFlags, mount};
        let mounted = mount(Some(what), at, None::<&str>, MsFlags::MS_BIND, None::<&str>);
        if let Err(error) = mounted {
            cyclometer_testkit::skip(&format!("nothing can be mounted: {error}"));
            return None;
        }
        Some(Self(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_tree_is_removed_and_what_links_lead_to_stays() {
    let place = tempfile::tempdir().expect("a folder");
    let (kept, tree) = (place.path().join("kept"), place.path().join("tree"));
    std::fs::create_dir_all(tree.join("a/b")).expect("made");
    std::fs::create_dir(&kept).expect("made");
    for file in [kept.join("file"), tree.join("file"), tree.join("a/b/file")] {
        std::fs::write(file, "x").expect("written");
    }
    symlink(&kept, tree.join("a/link")).expect("linked");
    remove_tree(&tree).expect("removed");
    assert!(!tree.exists() && kept.join("file").exists());
    symlink(&kept, &tree).expect("linked");
    remove_tree(&tree).expect("removed");
    assert!(tree.symlink_metadata().is_err() && kept.join("file").exists());
    let gone = remove_tree(&tree).expect_err("not there");
    assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn what_is_mounted_on_a_folder_or_in_it_is_not_removed() {
    for at in ["tree", "tree/a/b"] {
        // A mount of the same file system has the device number of the tree.
        let place = tempfile::tempdir().expect("a folder");
        let (kept, tree) = (place.path().join("kept"), place.path().join("tree"));
        std::fs::create_dir_all(tree.join("a/b")).expect("made");
        std::fs::create_dir(&kept).expect("made");
        std::fs::write(kept.join("file"), "x").expect("written");
        let at = place.path().join(at);
        let Some(mounted) = Mounted::new(&kept, &at) else { return };
        let told = remove_tree(&tree).expect_err("in use").to_string();
        assert!(kept.join("file").exists(), "{told}");
        let wanted = format!("something is mounted on {0}: `umount {0}`", at.display());
        assert!(told.starts_with(&wanted), "{told}");
        drop(mounted);
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists() && kept.join("file").exists());
    }
}
