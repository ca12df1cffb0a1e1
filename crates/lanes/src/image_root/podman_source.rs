//! Images that podman has, for machines without an engine: its command is asked for them. Nothing
//! is fetched.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::Cancel;
use crate::docker::responses::{is_path_safe_id, sanitize_engine_text};
use crate::image_config::ImageConfig;
use cyclometer_core::units::Bytes;
use cyclometer_workload::memory_file;

/// Longest wait for podman to say or write something.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// Most bytes of what podman says about an image.
const MAX_ANSWER: u64 = 4 << 20;

/// Most bytes that are shown of an error.
const MAX_ERROR: u64 = 500;

/// An image that podman has.
#[derive(Debug)]
pub(super) struct PodmanImage {
    pub id: String,
    pub config: ImageConfig,
    pub size: Option<Bytes>,
}

/// Asks podman for an image; `None`: there is no podman.
///
/// # Errors
/// Returns the message of podman, or that there is none.
pub(super) fn find_image(reference: &str, cancel: &Cancel) -> Result<Option<PodmanImage>, String> {
    // What begins with a dash would be an option.
    if reference.starts_with('-') {
        return Err("no name of an image".to_owned());
    }
    let arguments = ["image", "inspect", "--format", "json", reference];
    let answer = match PodmanCall::start(&arguments, cancel) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("podman cannot be started: {error}")),
        Ok(call) => call.read_answer()?,
    };
    let unlike = |error: String| format!("podman's answer is not understood: {error}");
    let all: Vec<Value> =
        serde_json::from_slice(&answer).map_err(|error| unlike(error.to_string()))?;
    let image = all.into_iter().next().ok_or_else(|| unlike("it is empty".to_owned()))?;
    let id = image.get("Id").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !is_path_safe_id(&id) {
        return Err(unlike(format!("`{}` is no id", sanitize_engine_text(&id))));
    }
    let size = image.get("Size").and_then(Value::as_u64).map(Bytes);
    let config = ImageConfig::parse(reference, image.to_string().as_bytes());
    Ok(Some(PodmanImage { id, config: config.map_err(|it| unlike(it.to_string()))?, size }))
}

/// Passes the files of the image with that id to `unpack`, as a tar archive. For that, a container
/// is made that is never started, and removed.
///
/// # Errors
/// Returns the message of podman, or the error of `unpack`.
pub(super) fn export_image<T>(
    id: &str,
    cancel: &Cancel,
    unpack: impl FnOnce(&mut dyn Read) -> Result<T, String>,
) -> Result<T, String> {
    let name = cyclometer_system::owner::new_name("root").map_err(|error| error.to_string())?;
    let create =
        ["create", "--pull", "never", "--network", "none", "--name", &name, id, "/never-started"];
    let created = start_call(&create, cancel).and_then(PodmanCall::read_answer);
    let result = created.and_then(|_| {
        let mut export = start_call(&["export", &name], cancel)?;
        // An archive that podman did not finish is none, whatever it looks like.
        unpack(&mut export).and_then(|done| export.finish().map(|()| done))
    });
    // Also after a request to stop, and where it is not known whether there is one.
    let never = Cancel::default();
    let removed = start_call(&["rm", "--force", "--ignore", &name], &never);
    removed.and_then(PodmanCall::read_answer).and(result)
}

fn start_call<'a>(arguments: &[&str], cancel: &'a Cancel) -> Result<PodmanCall<'a>, String> {
    let call = PodmanCall::start(arguments, cancel);
    call.map_err(|error| format!("podman cannot be started: {error}"))
}

/// A command of podman that runs; it is killed when the value is dropped.
struct PodmanCall<'a> {
    process: Child,
    output: ChildStdout,
    errors: File,
    cancel: &'a Cancel,
    has_ended: bool,
}

impl<'a> PodmanCall<'a> {
    fn start(arguments: &[&str], cancel: &'a Cancel) -> io::Result<Self> {
        let errors = memory_file("cyclometer-podman")?;
        let mut process = Command::new("podman")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone()?)
            .process_group(0)
            .spawn()?;
        let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { process, output, errors, cancel, has_ended: false })
    }

    /// Reads everything that it says, to its end.
    fn read_answer(mut self) -> Result<Vec<u8>, String> {
        let mut answer = Vec::new();
        let read = self.by_ref().take(MAX_ANSWER + 1).read_to_end(&mut answer);
        read.map_err(|error| format!("podman: {error}"))?;
        if answer.len() as u64 > MAX_ANSWER {
            return Err("podman says too much".to_owned());
        }
        self.finish()?;
        Ok(answer)
    }

    /// Waits for its end, and checks that it succeeded.
    fn finish(mut self) -> Result<(), String> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let status = loop {
            match self.process.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline && !self.cancel.is_cancelled() => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Ok(None) => return Err("podman does not end".to_owned()),
                Err(error) => return Err(format!("podman: {error}")),
            }
        };
        self.has_ended = true;
        if status.success() {
            return Ok(());
        }
        let mut said = Vec::new();
        let read = self
            .errors
            .rewind()
            .and_then(|()| (&self.errors).take(MAX_ERROR).read_to_end(&mut said));
        let said = read.map_or_else(
            |error| error.to_string(),
            |_| sanitize_engine_text(String::from_utf8_lossy(&said).trim()),
        );
        Err(format!("podman: {said}"))
    }
}

impl Read for PodmanCall<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other("stopped"));
            }
            let mut watched = [PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
            // A signal may interrupt the wait: the loop checks for cancellation next.
            if poll(&mut watched, PollTimeout::from(Cancel::POLL_MS)).is_ok_and(|ready| ready > 0) {
                return self.output.read(buffer);
            }
            if Instant::now() >= deadline {
                return Err(io::Error::other("it wrote nothing for a minute"));
            }
        }
    }
}

impl Drop for PodmanCall<'_> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        // It was not reaped yet, so the number cannot have been reused.
        if let Ok(group) = i32::try_from(self.process.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::super::unpack::{UnpackBounds, Unpacker};
    use super::*;

    const IMAGE: &str = "localhost/cyclometer-test/podman:1";

    /// Makes an image in podman; `false` after saying why there is none.
    fn import_image(folder: &std::path::Path) -> bool {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o755);
        archive.append_data(&mut header, "bin/run", &b"#!run"[..]).expect("memory");
        let path = folder.join("image.tar");
        std::fs::write(&path, archive.into_inner().expect("memory")).expect("written");
        let changes = ["--change", "ENTRYPOINT [\"/bin/run\"]", "--change", "ENV A=1"];
        let mut command = Command::new("podman");
        match command.arg("import").args(changes).arg(&path).arg(IMAGE).output() {
            Ok(made) if made.status.success() => true,
            made => {
                cyclometer_testkit::skip(&format!("podman imports no image: {made:?}"));
                false
            }
        }
    }

    #[test]
    fn an_image_that_podman_has_is_found_and_unpacked() {
        let folder = tempfile::tempdir().expect("a folder");
        if !import_image(folder.path()) {
            return;
        }
        let cancel = Cancel::default();
        let image = find_image(IMAGE, &cancel).expect("an answer").expect("there");
        assert_eq!(image.config.command_line(&[]), Ok(vec!["/bin/run".to_owned()]));
        assert!(image.config.environment.iter().any(|it| it.to_string() == "A=1"));
        let root = folder.path().join("root");
        std::fs::create_dir(&root).expect("made");
        let unpacked = export_image(&image.id, &cancel, |archive| {
            let mut unpacker = Unpacker::open(&root, UnpackBounds::default()).expect("opened");
            unpacker.unpack_archive(archive).map_err(|error| error.to_string())
        });
        assert_eq!(unpacked, Ok(()));
        assert_eq!(std::fs::read(root.join("bin/run")).expect("there"), b"#!run");
        // What podman refuses is told in its words; nothing is fetched.
        let refused = find_image("localhost/cyclometer-test/none:1", &cancel).expect_err("none");
        assert!(refused.starts_with("podman: "), "{refused}");
        assert!(find_image("--all", &cancel).is_err());
        let unread = export_image(&image.id, &cancel, |_| Err::<(), _>("stopped early".to_owned()));
        assert_eq!(unread, Err("stopped early".to_owned()));
        let call = start_call(&["rmi", "--force", IMAGE], &cancel).expect("podman");
        call.read_answer().expect("removed");
        let left = start_call(&["ps", "--all", "--format", "{{.Names}}"], &cancel).expect("podman");
        let left = String::from_utf8(left.read_answer().expect("a list")).expect("text");
        let ours = format!("cyclometer-{}-", std::process::id());
        assert!(!left.contains(&ours), "{left}");
    }
}
