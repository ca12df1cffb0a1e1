//! Files in all the forms in which they come.

use std::io::{Read, Write};

use super::*;
use cyclometer_core::invocation::Cancel;
use flate2::Compression;
use flate2::write::GzEncoder;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn read(path: &Path, from: u64) -> (Vec<u8>, Option<String>, ReadCounter) {
    let file = open_user_file(path).expect("there");
    let size = identify_file(&file).expect("read").size;
    let mut stream =
        InputStream::open(Some((file, size)), from, &Cancel::default()).expect("opened");
    let mut content = Vec::new();
    let failure = stream.read_to_end(&mut content).err().map(|error| error.to_string());
    (content, failure, stream.counter())
}

#[test]
fn compressed_files_are_known_by_their_first_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = b"one\ntwo\nthree\n";
    let zstd = zstd::encode_all(&text[..], 1).expect("encoded");
    let members = [gzip(b"one\n"), gzip(b"two\nthree\n")].concat();
    let frames = [zstd::encode_all(&text[..4], 1), zstd::encode_all(&text[4..], 1)];
    let frames = frames.map(|it| it.expect("encoded")).concat();
    for (name, content) in
        [("a.log", text.to_vec()), ("b", members), ("c.txt", zstd), ("d.gz", frames)]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, &content).expect("written");
        let (found, failure, counter) = read(&path, 0);
        assert_eq!((found.as_slice(), failure), (&text[..], None), "{name}");
        assert_eq!(counter.bytes(), content.len() as u64, "{name}");
        let mut file = open_user_file(&path).expect("there");
        let whole = digest_content(&mut file, content.len() as u64, &Cancel::default());
        assert_eq!(counter.digest(), whole.expect("read"), "{name}");
        assert_eq!(read(&path, 4).0, &text[4..], "{name}");
    }
}

#[test]
fn a_truncated_file_gives_what_it_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let text: Vec<u8> =
        (0..200_000_u32).flat_map(|it| format!("line {it}\n").into_bytes()).collect();
    let zstd = zstd::encode_all(&text[..], 1).expect("encoded");
    for content in [gzip(&text), zstd] {
        let path = folder.path().join("x");
        std::fs::write(&path, &content[..content.len() / 2]).expect("written");
        let (found, failure, _) = read(&path, 0);
        assert!(text.starts_with(&found) && found.len() > 100_000, "{} bytes", found.len());
        assert!(failure.is_some());
    }
}

#[test]
fn a_folder_is_read_by_name_and_no_link_is_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("logs");
    for (name, content) in [("b.log", "b"), ("a/2.log", "2"), ("a/1.log", "1"), ("c.log", "c")] {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, content).expect("written");
    }
    std::os::unix::fs::symlink("/etc/passwd", root.join("d.log")).expect("linked");
    std::os::unix::fs::symlink("..", root.join("a/up")).expect("linked");
    let list = list_inputs(std::slice::from_ref(&root)).expect("read");
    let names: Vec<_> = list.files.iter().map(InputFile::stem).collect();
    assert_eq!(names, ["b", "c", "1", "2"]);
    let skipped: Vec<_> = list.skipped.iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(skipped, ["a symbolic link", "a symbolic link"]);
    let mut text = String::new();
    let file = list.files[2].open().expect("opened").expect("a file");
    { file }.read_to_string(&mut text).expect("read");
    assert_eq!(text, "1");
    // A file that becomes a link leads nowhere.
    std::fs::remove_file(root.join("c.log")).expect("removed");
    std::os::unix::fs::symlink("/etc/passwd", root.join("c.log")).expect("linked");
    assert!(list.files[1].open().is_err());
}

#[test]
fn identity_is_size_beginning_and_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let digest = |content: &[u8]| {
        let path = folder.path().join("x");
        std::fs::write(&path, content).expect("written");
        identify_file(&open_user_file(&path).expect("there")).expect("read").digest
    };
    let mut content = vec![b'a'; 300_000];
    let first = digest(&content);
    assert_eq!(digest(&content), first);
    *content.last_mut().expect("a byte") = b'b';
    assert_ne!(digest(&content), first);
    assert_ne!(digest(&vec![b'a'; 299_999]), first);
}
