//! A container engine of a test's own.

use std::process::{Command, Stdio};

/// A private engine that a test may kill, if this machine can run one.
pub struct Engine {
    folder: tempfile::TempDir,
    process: std::process::Child,
}

impl Engine {
    /// Starts it; `None`, said aloud, where that cannot be.
    pub fn start() -> Option<Self> {
        if !super::docker() {
            return None;
        }
        if !nix::unistd::geteuid().is_root() {
            cyclometer_testkit::skip("a private dockerd needs root");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("daemon.json"), "{}").expect("written");
        let process = Command::new("dockerd")
            .args(["--iptables=false", "--bridge=none"])
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("-p")
            .arg(at("pid"))
            .arg("--config-file")
            .arg(at("daemon.json"))
            .arg("-H")
            .arg(format!("unix://{}", at("docker.sock").display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = match process {
            Ok(process) => process,
            Err(error) => {
                cyclometer_testkit::skip(&format!("dockerd cannot be started: {error}"));
                return None;
            }
        };
        let engine = Self { folder, process };
        for _ in 0..150 {
            if std::os::unix::net::UnixStream::connect(engine.socket()).is_ok() {
                return Some(engine);
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        cyclometer_testkit::skip("a second dockerd did not come up in 15 s");
        None
    }

    /// Where it listens.
    pub fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// Kills it, as if its machine had fallen over.
    pub fn kill(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("reaped");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id()).expect("a pid");
        let pid = nix::unistd::Pid::from_raw(pid);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.process.wait();
        // Its containerd outlives a killed engine.
        for pid in super::processes(&self.folder.path().display().to_string()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = Command::new("sh")
            .arg("-c")
            .arg(format!(
                "umount $(mount | awk '{{print $3}}' | grep '^{}') 2>/dev/null",
                self.folder.path().display()
            ))
            .status();
    }
}
