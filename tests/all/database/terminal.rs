//! A terminal that goes away while the program runs in it.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

/// Longest wait for anything; a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The program in a pseudo-terminal of which this is the other end.
pub struct Window {
    pub child: Child,
    /// `None`: it was closed.
    master: Option<File>,
}

impl Window {
    /// Starts `command` as the leader of a session in a new terminal, which is
    /// its standard input, output and error.
    pub fn open(command: &Command) -> Self {
        // Not `openpty`: children would inherit this end, and keep it open.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).expect("a pseudo-terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let name = ptsname_r(&master).expect("a name");
        let mut options = File::options();
        options.read(true).write(true).custom_flags(libc::O_NOCTTY);
        let slave = options.open(name).expect("opened");
        let sized = Command::new("stty")
            .args(["rows", "30", "columns", "100"])
            .stdin(slave.try_clone().expect("a copy"))
            .status();
        assert!(sized.is_ok_and(|status| status.success()), "stty");
        let master = File::from(OwnedFd::from(master));
        let stdio = || Stdio::from(slave.try_clone().expect("a copy"));
        let mut leader = Command::new("setsid");
        leader.arg("--ctty").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => leader.env(name, value),
                None => leader.env_remove(name),
            };
        }
        leader.env("TERM", "xterm-256color").stdin(stdio()).stdout(stdio()).stderr(stdio());
        let child = cyclometer_testkit::usual_signals(&mut leader).spawn().expect("started");
        Self { child, master: Some(master) }
    }

    /// Reads what is shown, so that the program never waits for a reader, until
    /// `wanted` holds.
    pub fn until(&mut self, what: &str, wanted: impl Fn() -> bool) {
        let begun = Instant::now();
        while !wanted() {
            assert!(begun.elapsed() < PATIENCE, "no {what}");
            let ended = self.child.try_wait().expect("asked");
            assert!(ended.is_none(), "it ended ({ended:?}) before {what}");
            self.read();
        }
    }

    fn read(&mut self) {
        let Some(master) = &mut self.master else {
            return std::thread::sleep(Duration::from_millis(50));
        };
        let mut ready = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        let some = poll(&mut ready, PollTimeout::from(50_u16)).is_ok_and(|count| count > 0);
        let mut bytes = [0; 8_192];
        if some && master.read(&mut bytes).is_err() {
            // Its other end is closed.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Closes the window, as a person does, or a lost connection.
    pub fn close(&mut self) {
        self.master = None;
    }

    /// Waits for the end of the program.
    pub fn ends(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("asked") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            self.read();
        }
    }

    /// What is left of it: processes of its session, control groups, files in
    /// memory.
    pub fn remains(&self) -> Vec<String> {
        let leader = i32::try_from(self.child.id()).expect("a pid");
        let own = format!("cyclometer-{leader}-");
        let processes = procfs::process::all_processes().expect("/proc").flatten();
        let mut found: Vec<String> = processes
            .filter_map(|process| process.stat().ok())
            .filter(|stat| stat.session == leader && !matches!(stat.state, 'Z' | 'X'))
            .map(|stat| format!("process {} ({})", stat.pid, stat.comm))
            .collect();
        for root in ["/dev/shm", "/sys/fs/cgroup"] {
            search(std::path::Path::new(root), &own, 3, &mut found);
        }
        found
    }
}

fn search(folder: &std::path::Path, prefix: &str, depth: u32, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path().display().to_string());
        } else if depth > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            search(&entry.path(), prefix, depth - 1, found);
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
