//! Control groups made for one invocation: v1, v2, and v1 with a v2 hierarchy
//! beside it ("hybrid").
//!
//! A container's own cgroup goes away with it. Its parent, made here before
//! the container starts, keeps the kernel's totals: CPU time and peak memory
//! of everything inside, the container runtime's own start-up included.

mod leftover;
mod memory_watch;

pub use leftover::GroupLeftover;
pub use memory_watch::MemoryWatch;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use procfs::process::Process;
use thiserror::Error;

use super::own_groups::OwnGroup;
use super::quota::CpuLimit;
use cyclometer_core::cpu_quota::CpuQuota;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_system::owner;
use cyclometer_system::procfs::ProcessIdentity;

/// Error of using a control group.
#[derive(Debug, Error)]
pub enum CgroupError {
    /// No cgroup file system is mounted.
    #[error("no cgroup file system is mounted (looked in /proc/self/mounts)")]
    NotMounted,
    /// The share of CPUs is larger than a quota around this process.
    #[error(
        "a CPU quota of {0} around cyclometer is smaller than the share: raise it, or ask for less"
    )]
    SmallerQuota(CpuQuota),
    /// A directory could not be made or removed, or a file could not be read.
    #[error("cannot {action} {}: {source}; control groups need root, or a delegated subtree", path.display())]
    Io {
        /// Action that was tried.
        action: &'static str,
        /// Path of the directory or file.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
}

/// Layout in which this machine mounts its control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupVersion {
    /// Only v1 controllers.
    V1,
    /// v1 controllers, and an empty v2 hierarchy beside them.
    Hybrid,
    /// The unified hierarchy.
    V2,
}

impl CgroupVersion {
    /// Returns the name that is shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Hybrid => "hybrid (v1 with v2 beside it)",
            Self::V2 => "v2",
        }
    }
}

/// Naming scheme of a container engine for the groups of containers: paths or systemd
/// slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Parents are paths.
    Cgroupfs,
    /// Parents are slices.
    Systemd,
}

/// Mount points of the control group hierarchies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    cpu: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    memory: Option<PathBuf>,
    perf_event: Option<PathBuf>,
    unified: Option<PathBuf>,
    /// Every cgroup mount: engines create the parent group in all of them.
    all: Vec<PathBuf>,
}

impl Hierarchy {
    /// Finds the mounts of this machine.
    ///
    /// # Errors
    /// [`CgroupError::NotMounted`] when there are none.
    pub fn detect() -> Result<Self, CgroupError> {
        let mounts = Process::myself().and_then(|process| process.mountinfo());
        let mounts = mounts.map_err(|_| CgroupError::NotMounted)?;
        Self::from_mounts(mounts.into_iter().map(|mount| {
            (mount.fs_type, mount.mount_point, mount.super_options.into_keys().collect())
        }))
    }

    fn from_mounts(
        mounts: impl Iterator<Item = (String, PathBuf, Vec<String>)>,
    ) -> Result<Self, CgroupError> {
        let mut found = Self {
            cpu: None,
            cpuacct: None,
            memory: None,
            perf_event: None,
            unified: None,
            all: Vec::new(),
        };
        for (kind, path, options) in mounts {
            if kind == "cgroup" || kind == "cgroup2" {
                found.all.push(path.clone());
            }
            let has = |name: &str| options.iter().any(|option| option == name);
            if kind == "cgroup2" {
                found.unified.get_or_insert(path);
            } else if kind == "cgroup" {
                for (name, slot) in [
                    ("cpu", &mut found.cpu),
                    ("cpuacct", &mut found.cpuacct),
                    ("memory", &mut found.memory),
                    ("perf_event", &mut found.perf_event),
                ] {
                    if has(name) {
                        slot.get_or_insert(path.clone());
                    }
                }
            }
        }
        let none = found.cpuacct.is_none() && found.memory.is_none() && found.unified.is_none();
        if none { Err(CgroupError::NotMounted) } else { Ok(found) }
    }

    /// Returns the layout of the hierarchy.
    #[must_use]
    pub const fn version(&self) -> CgroupVersion {
        match (&self.unified, &self.cpuacct, &self.memory) {
            (Some(_), None, None) => CgroupVersion::V2,
            (Some(_), _, _) => CgroupVersion::Hybrid,
            (None, _, _) => CgroupVersion::V1,
        }
    }

    /// Returns the roots that are read from, each once.
    fn accounting_roots(&self) -> Vec<&Path> {
        let Self { cpu: _, cpuacct, memory, perf_event, unified, all: _ } = self;
        let mut roots: Vec<&Path> = [cpuacct, memory, perf_event, unified]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
            .collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// Checks that a group can be made here; the error says what was tried.
    ///
    /// # Errors
    /// Fails like [`InvocationGroup::create`].
    pub fn check_can_create(&self) -> Result<(), CgroupError> {
        let owner = ProcessIdentity::current().map_err(|_| CgroupError::NotMounted)?;
        InvocationGroup::create(self, &owner, "probe", Driver::Cgroupfs).map(drop)
    }
}

/// Control group for one invocation, removed on drop.
#[derive(Debug)]
pub struct InvocationGroup {
    hierarchy: Hierarchy,
    relative: PathBuf,
    parent_name: String,
    driver: Driver,
    /// Whether systemd has a CPU quota of the slice to forget.
    is_known_to_systemd: AtomicBool,
    /// Open file of a v2 peak that was reset: only this file shows the new peak.
    peak: Mutex<Option<File>>,
}

impl InvocationGroup {
    /// Creates the group in every hierarchy that is read from.
    ///
    /// # Errors
    /// Returns an error when a directory cannot be made; nothing is left behind then.
    pub fn create(
        hierarchy: &Hierarchy,
        owner: &ProcessIdentity,
        tag: &str,
        driver: Driver,
    ) -> Result<Self, CgroupError> {
        let (relative, parent_name) = group_names(owner, tag, driver);
        let group = Self {
            hierarchy: hierarchy.clone(),
            relative,
            parent_name,
            driver,
            is_known_to_systemd: AtomicBool::new(false),
            peak: Mutex::default(),
        };
        if let Some(root) = &hierarchy.unified {
            // A v2 group has `memory.peak` and full `cpu.stat` only when its
            // parent hands the controllers down. Fails harmlessly on hybrid.
            for controller in ["+cpu", "+memory", "+pids"] {
                let _ = fs::write(root.join("cgroup.subtree_control"), controller);
            }
        }
        for root in hierarchy.accounting_roots() {
            let path = root.join(&group.relative);
            fs::create_dir_all(&path).map_err(|source| CgroupError::Io {
                action: "create",
                path,
                source,
            })?;
        }
        Ok(group)
    }

    /// Returns the name that a container engine takes as the cgroup parent.
    #[must_use]
    pub fn parent_name(&self) -> &str {
        &self.parent_name
    }

    /// Opens the directory that perf needs to count this group.
    ///
    /// # Errors
    /// Returns an error when no hierarchy carries perf events, or it cannot be opened.
    pub fn perf_directory(&self) -> Result<File, CgroupError> {
        let Hierarchy { perf_event, unified, .. } = &self.hierarchy;
        let root = perf_event.as_ref().or(unified.as_ref()).ok_or(CgroupError::NotMounted)?;
        let path = root.join(&self.relative);
        File::open(&path).map_err(|source| CgroupError::Io { action: "open", path, source })
    }

    fn read_file(&self, root: Option<&PathBuf>, name: &str) -> Option<String> {
        fs::read_to_string(root?.join(&self.relative).join(name)).ok()
    }

    /// Returns the group in the hierarchy with the CPU controller, whose quotas hold for
    /// it, if that is mounted.
    pub(super) fn cpu_group(&self) -> Option<OwnGroup> {
        let Hierarchy { cpu, unified, .. } = &self.hierarchy;
        let mount = cpu.as_ref().or(unified.as_ref())?.clone();
        Some(OwnGroup { directory: mount.join(&self.relative), mount })
    }

    /// Limits the CPU time of everything that will run inside.
    ///
    /// # Errors
    /// Returns an error when there is no CPU controller, or the kernel or systemd refuses.
    pub fn limit_cpu(&self, limit: CpuLimit) -> Result<(), CgroupError> {
        let group = self.cpu_group().ok_or(CgroupError::NotMounted)?;
        let path = group.directory.clone();
        let failed = |action| move |source| CgroupError::Io { action, path, source };
        fs::create_dir_all(&group.directory).map_err(failed("create"))?;
        CpuLimit::write_to(Some(limit), &group.directory)?;
        if self.driver == Driver::Systemd {
            // It sets what it knows of a slice when the first container in it starts.
            self.tell_systemd(limit).map_err(|source| CgroupError::Io {
                action: "tell systemd the CPU quota of",
                path: group.directory,
                source,
            })?;
            self.is_known_to_systemd.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes the limit a property of the slice, until [`Drop`].
    fn tell_systemd(&self, limit: CpuLimit) -> io::Result<()> {
        let thousandths = limit.quota_us * 1_000 / limit.period_us;
        let quota = format!("CPUQuota={}.{}%", thousandths / 10, thousandths % 10);
        let period = format!("CPUQuotaPeriodSec={}us", limit.period_us);
        let args = ["set-property", "--runtime", self.parent_name.as_str(), &quota, &period];
        let status = Command::new("systemctl").args(args).stderr(Stdio::null()).status()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other("systemctl set-property failed"))
        }
    }

    /// Returns whether the limit is still the group's: an engine may set its own.
    #[must_use]
    pub fn has_cpu_limit(&self, limit: CpuLimit) -> bool {
        self.cpu_group().is_some_and(|group| limit.is_set_in(&group.directory))
    }

    /// Returns the CPU time of everything that ran inside.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Nanos> {
        if let Some(text) = self.read_file(self.hierarchy.cpuacct.as_ref(), "cpuacct.usage") {
            return text.trim().parse().ok().map(Nanos);
        }
        self.cpu_stat("usage_usec")
    }

    /// Returns the CPU time in user and in kernel mode; the split is the kernel's estimate.
    #[must_use]
    pub fn cpu_split(&self) -> Option<(Nanos, Nanos)> {
        let root = self.hierarchy.cpuacct.as_ref();
        let user =
            self.read_file(root, "cpuacct.usage_user").and_then(|text| text.trim().parse().ok());
        let system =
            self.read_file(root, "cpuacct.usage_sys").and_then(|text| text.trim().parse().ok());
        match (user, system) {
            (Some(user), Some(system)) => Some((Nanos(user), Nanos(system))),
            _ => Some((self.cpu_stat("user_usec")?, self.cpu_stat("system_usec")?)),
        }
    }

    fn cpu_stat(&self, key: &str) -> Option<Nanos> {
        let text = self.read_file(self.hierarchy.unified.as_ref(), "cpu.stat")?;
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
        line.trim().parse::<u64>().ok().map(|micros| Nanos(micros * 1_000))
    }

    /// Returns the peak of memory use since the group was made or the peak was reset, page
    /// cache and kernel memory included.
    #[must_use]
    pub fn memory_peak(&self) -> Option<Bytes> {
        let own = self.peak.lock();
        if let Some(file) = &*own {
            let mut text = [0; 32];
            let size = file.read_at(&mut text, 0).ok()?;
            let text = std::str::from_utf8(text.get(..size)?).ok()?;
            return text.trim().parse().ok().map(Bytes);
        }
        self.read_memory("memory.max_usage_in_bytes", "memory.peak")
    }

    /// Resets the peak of memory to the current use.
    ///
    /// # Errors
    /// Returns an error when the kernel cannot reset it, with the reason.
    pub fn reset_memory_peak(&self) -> Result<(), String> {
        if let Some(root) = &self.hierarchy.memory {
            let path = root.join(&self.relative).join("memory.max_usage_in_bytes");
            return fs::write(&path, "0").map_err(|error| {
                format!("the peak of earlier invocations cannot be reset: {error}")
            });
        }
        let Some(root) = &self.hierarchy.unified else { return Ok(()) };
        let mut own = self.peak.lock();
        let path = root.join(&self.relative).join("memory.peak");
        let reset = || {
            let file = match own.take() {
                Some(file) => file,
                None => File::options().read(true).write(true).open(path)?,
            };
            // Any text resets the peak, for this open file only.
            file.write_at(b"0", 0).map(|_| file)
        };
        *own = Some(reset().map_err(|error| {
            format!("the peak of earlier invocations cannot be reset (before Linux 6.12): {error}")
        })?);
        Ok(())
    }

    /// Returns the memory in use now.
    #[must_use]
    pub fn memory_current(&self) -> Option<Bytes> {
        self.read_memory("memory.usage_in_bytes", "memory.current")
    }

    fn read_memory(&self, v1: &str, v2: &str) -> Option<Bytes> {
        let text = self
            .read_file(self.hierarchy.memory.as_ref(), v1)
            .or_else(|| self.read_file(self.hierarchy.unified.as_ref(), v2))?;
        text.trim().parse().ok().map(Bytes)
    }
}

impl Drop for InvocationGroup {
    fn drop(&mut self) {
        if self.driver == Driver::Systemd {
            // An empty slice stays active, so one per invocation would pile up. Where there is no
            // systemctl, there is no slice either.
            let stop = ["stop", "--quiet", self.parent_name.as_str()];
            let _ = Command::new("systemctl").args(stop).stderr(Stdio::null()).status();
            if self.is_known_to_systemd.load(Ordering::Relaxed) {
                let forget = ["revert", self.parent_name.as_str()];
                let _ = Command::new("systemctl").args(forget).stderr(Stdio::null()).status();
            }
        }
        for root in &self.hierarchy.all {
            // A leftover is removed at the next start.
            let _ = remove_group_tree(&root.join(&self.relative), false);
        }
    }
}

/// Returns the directory below the root, and the name that an engine expects for it.
pub(super) fn group_names(owner: &ProcessIdentity, tag: &str, driver: Driver) -> (PathBuf, String) {
    let name = owner::name_for(owner, tag);
    match driver {
        Driver::Cgroupfs => (PathBuf::from(&name), format!("/{name}")),
        Driver::Systemd => {
            // systemd reads `a-b.slice` as b inside a: dashes would nest.
            let slice = format!("{}.slice", name.replace('-', "_"));
            (PathBuf::from(&slice), slice)
        }
    }
}

/// Removes a group and those inside it, deepest first. Removal is retried for a moment
/// while processes are still leaving.
pub(super) fn remove_group_tree(path: &Path, kill: bool) -> io::Result<()> {
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group_tree(&entry.path(), kill)?;
        }
    }
    for _ in 0..50 {
        if kill {
            kill_all(path);
        }
        match fs::remove_dir(path) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                std::thread::sleep(Duration::from_millis(2));
            }
            other => return other,
        }
    }
    fs::remove_dir(path)
}

/// Kills all processes in a group: at once where the kernel can, else one by one, without a
/// chance to start more.
fn kill_all(path: &Path) {
    // Each file exists where its controller does, and is never created.
    let set = |name: &str, value: &[u8]| {
        let file = File::options().write(true).open(path.join(name));
        file.and_then(|file| file.write_at(value, 0))
    };
    if set("cgroup.kill", b"1").is_ok() {
        return;
    }
    let _ = set("pids.max", b"0");
    let inside = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    // 0 stands for a process of an invisible namespace, and for `kill` would mean this
    // process' own group.
    let inside = inside.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0);
    for pid in inside {
        let pid = nix::unistd::Pid::from_raw(pid);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    // Frozen processes do not die.
    let _ = set("freezer.state", b"THAWED");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, path: &str, options: &[&str]) -> (String, PathBuf, Vec<String>) {
        (kind.into(), path.into(), options.iter().map(|&option| option.into()).collect())
    }

    #[test]
    fn the_three_layouts_are_told_apart() {
        let v1 =
            [mount("cgroup", "/c/cpu", &["cpu", "cpuacct"]), mount("cgroup", "/c/m", &["memory"])];
        let v2 = [mount("cgroup2", "/c", &["rw"])];
        let both = [v1[0].clone(), v1[1].clone(), mount("cgroup2", "/c/unified", &[])];
        for (mounts, version) in [
            (v1.to_vec(), CgroupVersion::V1),
            (v2.to_vec(), CgroupVersion::V2),
            (both.to_vec(), CgroupVersion::Hybrid),
        ] {
            let found = Hierarchy::from_mounts(mounts.into_iter()).expect("mounted");
            assert_eq!(found.version(), version);
        }
        assert!(Hierarchy::from_mounts([mount("tmpfs", "/c", &[])].into_iter()).is_err());
    }

    #[test]
    fn names_for_both_drivers_carry_the_owner() {
        let owner: ProcessIdentity = "12-34-ab".parse().expect("an identity");
        let (path, parent) = group_names(&owner, "7", Driver::Cgroupfs);
        assert_eq!(path, Path::new("cyclometer-12-34-ab-7"));
        assert_eq!(parent, "/cyclometer-12-34-ab-7");
        let found = |name: &str| owner::Owner::from_name(name);
        assert_eq!(found("cyclometer-12-34-ab-7"), Some(owner::Owner::Process(owner.clone())));
        assert_eq!(found("cyclometer_12_34_ab_7.slice"), found("cyclometer-12-34-ab-7"));
        let (path, parent) = group_names(&owner, "7", Driver::Systemd);
        assert_eq!(path, Path::new("cyclometer_12_34_ab_7.slice"));
        assert_eq!(parent, "cyclometer_12_34_ab_7.slice");
    }

    #[test]
    fn figures_of_a_v2_group_are_read() {
        // A folder stands for the mount: the test covers which files are read, and their units.
        let mount = tempfile::tempdir().expect("a folder");
        let root = mount.path().to_path_buf();
        let hierarchy = Hierarchy {
            cpu: None,
            cpuacct: None,
            memory: None,
            perf_event: None,
            unified: Some(root.clone()),
            all: vec![root.clone()],
        };
        assert_eq!(hierarchy.version(), CgroupVersion::V2);
        let owner: ProcessIdentity = "12-34-ab".parse().expect("an identity");
        let group =
            InvocationGroup::create(&hierarchy, &owner, "7", Driver::Cgroupfs).expect("made");
        assert_eq!((group.cpu_time(), group.memory_peak()), (None, None), "nothing is no 0");
        let folder = root.join("cyclometer-12-34-ab-7");
        let stat = "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 0\n";
        fs::write(folder.join("cpu.stat"), stat).expect("written");
        fs::write(folder.join("memory.peak"), "4096\n").expect("written");
        fs::write(folder.join("memory.current"), "1024\n").expect("written");
        assert_eq!(group.cpu_time(), Some(Nanos(1_500_000)));
        assert_eq!(group.cpu_split(), Some((Nanos(1_000_000), Nanos(500_000))));
        assert_eq!(group.memory_peak(), Some(Bytes(4096)));
        assert_eq!(group.memory_current(), Some(Bytes(1024)));
        assert!(group.perf_directory().is_ok());
    }

    #[test]
    fn cpu_is_limited_where_the_controller_is() {
        let mount = tempfile::tempdir().expect("a folder");
        let (cpu, accounting) = (mount.path().join("cpu"), mount.path().join("cpuacct"));
        let hierarchy = Hierarchy {
            cpu: Some(cpu.clone()),
            cpuacct: Some(accounting.clone()),
            memory: None,
            perf_event: None,
            unified: None,
            all: vec![cpu.clone(), accounting],
        };
        let owner: ProcessIdentity = "12-34-ab".parse().expect("an identity");
        let group =
            InvocationGroup::create(&hierarchy, &owner, "8", Driver::Cgroupfs).expect("made");
        let folder = cpu.join("cyclometer-12-34-ab-8");
        assert!(!folder.exists(), "nothing is made there without a limit");
        // The kernel makes the files with the folder.
        fs::create_dir_all(&folder).expect("made");
        for file in ["cpu.cfs_quota_us", "cpu.cfs_period_us"] {
            fs::write(folder.join(file), "-1").expect("written");
        }
        let limit = CpuLimit::from_thousandths(250);
        group.limit_cpu(limit).expect("set");
        assert_eq!(fs::read_to_string(folder.join("cpu.cfs_quota_us")).expect("there"), "5000");
        assert!(group.has_cpu_limit(limit));
        fs::write(folder.join("cpu.cfs_quota_us"), "-1").expect("an engine's own");
        assert!(!group.has_cpu_limit(limit));
        fs::remove_dir_all(&folder).expect("a folder has no files of the kernel");
    }

    #[test]
    fn a_group_counts_starts_empty_and_goes_away() {
        let Ok(hierarchy) = Hierarchy::detect() else {
            return cyclometer_testkit::skip("no cgroup file system");
        };
        let owner = ProcessIdentity::current().expect("/proc is mounted");
        let group = match InvocationGroup::create(&hierarchy, &owner, "test", Driver::Cgroupfs) {
            Ok(group) => group,
            Err(error) => return cyclometer_testkit::skip(&error.to_string()),
        };
        assert_eq!(group.cpu_time(), Some(Nanos(0)));
        let paths: Vec<_> = hierarchy
            .accounting_roots()
            .into_iter()
            .map(|root| root.join(&group.relative))
            .collect();
        assert!(!paths.is_empty());
        assert!(paths.iter().all(|path| path.is_dir()));
        drop(group);
        assert!(paths.iter().all(|path| !path.exists()));
    }
}
