//! Tests of unpacking, mostly with archives that nobody means well with.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use tar::{EntryType, Header};

use super::replicate::{FileSharing, replicate_root};
use super::unpack::{UnpackBounds, Unpacker};
use crate::Cancel;
use cyclometer_core::units::Bytes;

/// An archive, entry by entry, with names that its library would refuse.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn add(self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        self.add_with_mode(kind, name, link, content, 0o644)
    }

    fn add_with_mode(
        mut self,
        kind: EntryType,
        name: &str,
        link: &str,
        content: &[u8],
        mode: u32,
    ) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_uid(u64::from(nix::unistd::geteuid().as_raw()));
        header.set_gid(u64::from(nix::unistd::getegid().as_raw()));
        header.set_mtime(1_000_000_000);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.add(EntryType::Regular, name, "", content.as_bytes())
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Symlink, name, target, b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Link, name, target, b"")
    }

    /// Unpacks it into `root` of `place`.
    fn unpack(&self, place: &Path) -> Result<Bytes, String> {
        self.unpack_within(place, UnpackBounds::default())
    }

    fn unpack_within(&self, place: &Path, bounds: UnpackBounds) -> Result<Bytes, String> {
        let root = place.join("root");
        fs::create_dir_all(&root).expect("made");
        let mut unpacker = Unpacker::open(&root, bounds).expect("opened");
        unpacker.unpack_archive(&*self.0).map_err(|error| error.to_string())?;
        Ok(unpacker.content_size())
    }
}

/// Unpacks an archive that must be refused, and checks that nothing outside of the root changed.
fn refusal(archive: &Archive) -> String {
    let place = tempfile::tempdir().expect("a folder");
    fs::write(place.path().join("outside"), "mine").expect("written");
    let refused = archive.unpack(place.path()).expect_err("refused");
    let mut names: Vec<_> = fs::read_dir(place.path())
        .expect("there")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["outside", "root"], "{refused}");
    let outside = place.path().join("outside");
    assert_eq!(fs::read_to_string(&outside).expect("there"), "mine", "{refused}");
    assert_eq!(fs::metadata(&outside).expect("there").nlink(), 1, "{refused}");
    refused
}

#[test]
fn nothing_leads_out_of_the_root() {
    let new = Archive::default;
    let named = |archive: Archive, words: &str| {
        let refused = refusal(&archive);
        assert!(refused.contains(words), "{refused}");
    };
    named(new().file("../outside", "x"), "leads out of the root");
    named(new().file("a/../../outside", "x"), "leads out of the root");
    named(new().file("/tmp/cyclometer-test-absolute", "x"), "absolute");
    named(new().link("up", "..").file("up/outside", "x"), "over `up`, a symbolic link to ..");
    named(new().link("tmp", "/tmp").file("tmp/cyclometer-x", "x"), "a symbolic link to /tmp");
    // By way of a second link, and of a link in a folder.
    let twice = new().link("a", "b").link("b", "../").file("a/outside", "x");
    named(twice, "out of the root");
    let deep = new().add(EntryType::Directory, "d/", "", b"").link("d/up", "../..");
    named(deep.file("d/up/outside", "x"), "out of the root");
    named(new().hard_link("mine", "../outside"), "a hard link to");
    named(new().hard_link("mine", "/etc/passwd"), "a hard link to");
    named(new().link("up", "..").hard_link("mine", "up/outside"), "over `up`");
    named(new().link("up", "..").add(EntryType::Directory, "up/new/", "", b""), "over `up`");
    assert!(!Path::new("/tmp/cyclometer-test-absolute").exists());
}

#[test]
fn a_link_in_the_place_of_a_file_is_replaced_and_not_written_through() {
    let place = tempfile::tempdir().expect("a folder");
    fs::write(place.path().join("outside"), "mine").expect("written");
    let archive = Archive::default().link("file", "../outside").file("file", "theirs");
    archive.unpack(place.path()).expect("unpacked");
    assert_eq!(fs::read_to_string(place.path().join("outside")).expect("there"), "mine");
    assert_eq!(fs::read_to_string(place.path().join("root/file")).expect("there"), "theirs");
    // A hard link to a link is a link.
    let archive = Archive::default().link("a", "/etc/shadow").hard_link("b", "a").file("b", "x");
    archive.unpack(place.path()).expect("unpacked");
    assert!(fs::symlink_metadata(place.path().join("root/b")).expect("there").is_file());
}

#[test]
fn devices_and_unknown_kinds_are_refused_and_those_below_dev_left_out() {
    let device = |name: &str| Archive::default().add(EntryType::Block, name, "", b"");
    assert!(refusal(&device("disk")).contains("`disk`, a device"));
    assert!(refusal(&device("etc/../dev/x")).contains("leads out"));
    let socket = Archive::default().add(EntryType::new(b'9'), "x", "", b"");
    assert!(refusal(&socket).contains("kind"));
    let place = tempfile::tempdir().expect("a folder");
    device("dev/sda").unpack(place.path()).expect("unpacked");
    assert!(!place.path().join("root/dev/sda").exists());
}

/// The same block for ever, for a little longer than what is accepted.
struct Endless(Vec<u8>, u64);
impl std::io::Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let at = usize::try_from(self.1 % 512).expect("small");
        let size = buffer.len().min(512 - at);
        buffer[..size].copy_from_slice(&self.0[at..at + size]);
        self.1 += size as u64;
        assert!(self.1 <= 512 * 600_000, "it reads on");
        Ok(size)
    }
}

#[test]
fn what_a_root_may_take_is_bounded_and_said() {
    let place = tempfile::tempdir().expect("a folder");
    let bounds = UnpackBounds { bytes: Bytes(1000), entries: 1000 };
    let archive = Archive::default().file("a", &"x".repeat(600)).file("b", &"x".repeat(401));
    let refused = archive.unpack_within(place.path(), bounds).expect_err("too large");
    assert!(refused.contains("larger than 1000 B together"), "{refused}");
    let archive = Archive::default().file("a", &"x".repeat(600)).file("b", &"x".repeat(400));
    assert_eq!(archive.unpack_within(place.path(), bounds), Ok(Bytes(1000)));
    let many = (0..1001).fold(Archive::default(), |all, _| all.file("same", ""));
    let refused = many.unpack_within(place.path(), bounds).expect_err("too many");
    assert!(refused.contains("more than 1000 entries"), "{refused}");
    // A million entries: the bound of real archives ends them half way.
    let folder = Archive::default().add(EntryType::Char, "dev/null", "", b"");
    let root = place.path().join("root");
    let mut unpacker = Unpacker::open(&root, UnpackBounds::default()).expect("opened");
    let refused = unpacker.unpack_archive(Endless(folder.0, 0)).expect_err("too many");
    assert!(refused.to_string().contains("more than 500000 entries"), "{refused}");
}

#[test]
fn headers_of_any_size_are_not_held_in_memory() {
    let long = vec![b'x'; (1 << 20) + 1];
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let archive = Archive::default().add(kind, "@", "", &long);
        assert!(refusal(&archive).contains("larger than 1 MiB"));
    }
    let long = "d/".repeat(1500);
    let archive = Archive::default().add(EntryType::GNULongName, "@", "", long.as_bytes());
    assert!(refusal(&archive.file("x", "")).contains("a name of more than 2048 bytes"));
    let size = Archive::default().add(EntryType::XHeader, "@", "", b"19 size=9999999999\n");
    assert!(refusal(&size.file("x", "")).contains("larger than 8 GiB"));
}

#[test]
fn what_is_cut_off_is_no_root() {
    let whole = Archive::default().file("a", &"x".repeat(2000));
    for length in [100, 512, 600, 512 + 1999] {
        let cut = Archive(whole.0[..length].to_vec());
        refusal(&cut);
    }
    assert!(whole.unpack(tempfile::tempdir().expect("a folder").path()).is_ok());
    let mut damaged = whole.0.clone();
    damaged[150] ^= 1;
    assert!(refusal(&Archive(damaged)).contains("cannot be read"));
}

/// Returns an archive with everything that images have.
fn usual_archive() -> Archive {
    Archive::default()
        .add_with_mode(EntryType::Directory, "./bin/", "", b"", 0o555)
        .add_with_mode(EntryType::Regular, "bin/su", "", b"program", 0o6755)
        .hard_link("bin/sh", "bin/su")
        .link("lib", "usr/lib")
        .add(EntryType::Directory, "usr/lib/", "", b"")
        .file("lib/through", "a link that stays inside")
        .link("absolute", "/bin/sh")
        .add(EntryType::Fifo, "run/pipe", "", b"")
        .file("made/on/the/way", "")
        .add(EntryType::XHeader, "@", "", b"19 path=caf\xc3\xa9/long\n")
        .file("short", "named by an extended header")
}

#[test]
fn usual_roots_are_unpacked_and_replicated() {
    let place = tempfile::tempdir().expect("a folder");
    let root = place.path().join("root");
    usual_archive().unpack(place.path()).expect("unpacked");
    let check = |root: &Path| {
        let data = |name: &str| fs::symlink_metadata(root.join(name)).expect("there");
        assert_eq!(data("bin/su").mode() & 0o7777, 0o755, "no setuid");
        assert_eq!(data("bin/su").mtime(), 1_000_000_000);
        assert_eq!(data("bin").mode() & 0o7777, 0o755, "its owner can remove it");
        assert_eq!(fs::read_to_string(root.join("bin/sh")).expect("there"), "program");
        assert_eq!(fs::read_link(root.join("lib")).expect("a link"), Path::new("usr/lib"));
        assert!(data("usr/lib/through").is_file());
        assert_eq!(fs::read_link(root.join("absolute")).expect("a link"), Path::new("/bin/sh"));
        assert_eq!(data("run/pipe").mode() & libc::S_IFMT, libc::S_IFIFO);
        assert!(data("made/on/the/way").is_file() && data("caf\u{e9}/long").is_file());
    };
    check(&root);
    for (name, sharing) in [("linked", FileSharing::Linked), ("copied", FileSharing::Copied)] {
        let copy = place.path().join(name);
        replicate_root(&root, &copy, sharing, &Cancel::default()).expect("replicated");
        check(&copy);
        let inode = |root: &Path| fs::metadata(root.join("bin/su")).expect("there").ino();
        assert_eq!(inode(&root) == inode(&copy), sharing == FileSharing::Linked);
    }
    fs::write(place.path().join("copied/bin/su"), "changed").expect("written");
    fs::create_dir(place.path().join("linked/proc")).expect("made");
    assert_eq!(fs::read_to_string(root.join("bin/su")).expect("there"), "program");
    assert!(!root.join("proc").exists());
}

#[test]
fn later_entries_replace_earlier_ones() {
    let place = tempfile::tempdir().expect("a folder");
    let archive = Archive::default()
        .file("a/file", "x")
        .file("a", "a file in the place of a folder")
        .link("b", "nowhere")
        .add(EntryType::Directory, "b/", "", b"")
        .hard_link("a", "a");
    archive.unpack(place.path()).expect("unpacked");
    let root = place.path().join("root");
    assert!(fs::symlink_metadata(root.join("a")).expect("there").is_file());
    assert!(fs::symlink_metadata(root.join("b")).expect("there").is_dir());
    symlink("x", root.join("c")).expect("linked");
}
