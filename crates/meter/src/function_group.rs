//! Control group for the functions of one lane that run as processes of this machine: one
//! memory limit for a whole family of processes and its shared mappings, one peak, and the
//! CPU time of all descendants.
//!
//! The launcher of the lane enters it once, and all processes that it starts are created
//! inside: moving each function into it would add some milliseconds to the start (the
//! kernel waits for a grace period of its own). The group lies inside of this process' own
//! group, whose limits keep holding.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::cgroup::{CgroupError, Driver, group_names, remove_group_tree};
use super::own_groups::{OwnGroup, OwnGroups, kills_in};
use super::quota::{CpuLimit, check_outer_quotas};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_system::procfs::ProcessIdentity;

/// Most memory that earlier invocations may leave in the group, such as pages of files,
/// before the next one gets a new group.
const LEFT_OVER: Bytes = Bytes(2 << 20);

/// Most time that killed processes may take to leave the group.
const KILLING: Duration = Duration::from_secs(3);

/// Slack between a limit and a peak that hit it: memory is charged in batches of pages.
const BATCHES: u64 = 1 << 20;

/// Version of the files that hold a group's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CgroupFiles {
    V1,
    V2,
}

/// Parent groups in which function groups are made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ParentGroups {
    memory: (CgroupFiles, PathBuf),
    /// Group for the accounting of CPU time; `None` if it is not mounted or not ours.
    cpu: Option<(CgroupFiles, PathBuf)>,
    /// Group for the limit of the number of processes.
    pids: Option<PathBuf>,
    /// Group with the CPU controller, which limits CPU time.
    quota: Option<OwnGroup>,
}

/// Control group for one function at a time, removed on drop.
#[derive(Debug)]
pub struct FunctionGroup {
    memory: (CgroupFiles, PathBuf),
    cpu: Option<(CgroupFiles, PathBuf)>,
    pids: Option<PathBuf>,
    /// Group in which one is made when CPU is first to be limited, and its name there: a group
    /// with the CPU controller gets its turns as a whole, so that it is no group for nothing.
    quota_parent: Option<(OwnGroup, PathBuf)>,
    /// Group that limits CPU.
    quota: OnceLock<OwnGroup>,
    cpu_limit: Mutex<Option<CpuLimit>>,
    /// File that counts how often the kernel refused a process over the limit.
    refusals: Option<File>,
    /// Count of `refusals` at the last reading.
    refused: AtomicU64,
    limit: Mutex<Option<Bytes>>,
    /// Open file of a v2 peak that was reset: only this file shows the new peak.
    peak: Mutex<Option<File>>,
    /// Whether it has served an invocation.
    served: AtomicBool,
    /// Whether the kernel can reset the peak.
    resets: AtomicBool,
}

/// Figures of a group before an invocation; by default, those of a new group.
#[derive(Debug, Clone, Default)]
pub struct GroupBaseline {
    cpu: Option<Nanos>,
    split: Option<(Nanos, Nanos)>,
    killed: Option<u64>,
    /// Reason why the peak includes earlier invocations, if it does.
    stale_peak: Option<String>,
}

/// Usage of an invocation, as accounted by its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupUsage {
    /// CPU time of all descendants.
    pub cpu: Option<Nanos>,
    /// CPU time in user and in kernel mode, in whole ticks of the kernel.
    pub split: Option<(Nanos, Nanos)>,
    /// Peak of memory, or the reason why it is unknown.
    pub peak: Result<Bytes, String>,
    /// Page cache in the group at the end, for files that it was the first to read.
    pub page_cache: Bytes,
    /// Number of processes that the kernel killed for lack of memory.
    pub killed: u64,
    /// Whether they hit the limit of this group.
    pub at_limit: bool,
    /// Number of processes and threads that the kernel refused over the group's limit.
    pub refused: u64,
}

impl FunctionGroup {
    /// Creates a group inside of this process' own, or beside it where only that is
    /// possible.
    ///
    /// # Errors
    /// Returns the reason why none can be made here; nothing is left behind then.
    pub fn create() -> Result<Self, CgroupError> {
        Self::create_in(&ParentGroups::from_own_groups(&OwnGroups::for_this_process()?)?)
    }

    fn create_in(parents: &ParentGroups) -> Result<Self, CgroupError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let owner = ProcessIdentity::current().map_err(|_| CgroupError::NotMounted)?;
        let tag = format!("f{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (name, _) = group_names(&owner, &tag, Driver::Cgroupfs);
        let mut group = Self {
            memory: (parents.memory.0, parents.memory.1.join(&name)),
            cpu: None,
            pids: None,
            quota_parent: parents.quota.clone().map(|parent| (parent, name.clone())),
            quota: OnceLock::new(),
            cpu_limit: Mutex::default(),
            refusals: None,
            refused: AtomicU64::new(0),
            limit: Mutex::default(),
            peak: Mutex::default(),
            served: AtomicBool::new(false),
            resets: AtomicBool::new(true),
        };
        make_directory(&group.memory.1)?;
        // In v2 one directory has all controllers; in v1 the others are optional.
        let make_also = |parent: &PathBuf| {
            let path = parent.join(&name);
            (path == group.memory.1 || make_directory(&path).is_ok()).then_some(path)
        };
        let cpu = parents.cpu.as_ref();
        let cpu = cpu.and_then(|(files, parent)| Some((*files, make_also(parent)?)));
        let same =
            |parent: &PathBuf| cpu.as_ref().is_some_and(|(_, path)| path.parent() == Some(parent));
        let pids = parents.pids.as_ref().and_then(|parent| {
            if same(parent) { Some(parent.join(&name)) } else { make_also(parent) }
        });
        (group.cpu, group.pids) = (cpu, pids);
        let refusals = group.pids.as_ref().map(|path| File::open(path.join("pids.events")));
        group.refusals = refusals.and_then(Result::ok);
        Ok(group)
    }

    /// Returns the directories of the group, each once.
    fn group_directories(&self) -> Vec<&Path> {
        let mut all: Vec<&Path> = vec![&self.memory.1];
        all.extend(self.cpu.iter().map(|(_, path)| path.as_path()));
        all.extend(self.pids.as_deref());
        all.extend(self.quota.get().map(|group| group.directory.as_path()));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Moves a process into the group; processes that it starts from then on are in it,
    /// too.
    ///
    /// # Errors
    /// Returns an error when the kernel refuses.
    pub fn add_process(&self, pid: u32) -> Result<(), CgroupError> {
        for directory in self.group_directories() {
            let path = directory.join("cgroup.procs");
            fs::write(&path, pid.to_string()).map_err(|source| CgroupError::Io {
                action: "enter",
                path,
                source,
            })?;
        }
        Ok(())
    }

    /// Sets the limit of all memory in the group, swap included; `None` removes it.
    ///
    /// # Errors
    /// Returns an error when the kernel refuses.
    pub fn limit_memory(&self, limit: Option<Bytes>) -> Result<(), CgroupError> {
        let mut known = self.limit.lock();
        if *known == limit {
            return Ok(());
        }
        let (files, directory) = &self.memory;
        let none = if *files == CgroupFiles::V1 { "-1" } else { "max" };
        let text = limit.map_or_else(|| none.to_owned(), |limit| limit.0.to_string());
        let set = |name: &str, value: &str| {
            let path = directory.join(name);
            let action = "set the memory limit in";
            fs::write(&path, value).map_err(|source| CgroupError::Io { action, path, source })
        };
        match files {
            CgroupFiles::V1 => {
                // Memory and swap together are never below memory alone. Not
                // every kernel accounts for swap.
                let _ = set("memory.memsw.limit_in_bytes", "-1");
                set("memory.limit_in_bytes", &text)?;
                let _ = set("memory.memsw.limit_in_bytes", &text);
            }
            CgroupFiles::V2 => {
                set("memory.max", &text)?;
                let _ = set("memory.swap.max", if limit.is_some() { "0" } else { "max" });
            }
        }
        *known = limit;
        Ok(())
    }

    /// Sets the limit of CPU time; `None` removes it. Everything in the group is under it, the
    /// launcher included.
    ///
    /// # Errors
    /// Returns an error when there is no CPU controller here, a quota around this process is
    /// smaller, or the kernel refuses.
    pub fn limit_cpu(&self, limit: Option<CpuLimit>) -> Result<(), CgroupError> {
        let mut known = self.cpu_limit.lock();
        if *known == limit {
            return Ok(());
        }
        let (parent, _) = self.quota_parent.as_ref().ok_or(CgroupError::NotMounted)?;
        if let Some(limit) = limit {
            check_outer_quotas(limit, parent)?;
        }
        let group = match self.quota.get() {
            Some(group) => group,
            None => self.make_limited_group()?,
        };
        CpuLimit::write_to(limit, &group.directory)?;
        *known = limit;
        Ok(())
    }

    /// Makes the group that limits CPU, and moves there what is in this one.
    fn make_limited_group(&self) -> Result<&OwnGroup, CgroupError> {
        let (parent, name) = self.quota_parent.as_ref().ok_or(CgroupError::NotMounted)?;
        let directory = parent.directory.join(name);
        if self.memory.0 == CgroupFiles::V2 {
            hand_down_cpu(&parent.directory, &directory)?;
        }
        // It is one of those that exist where the CPU controller is not in a hierarchy of its own.
        if !self.group_directories().contains(&directory.as_path()) {
            make_directory(&directory)?;
        }
        let group = OwnGroup { directory, mount: parent.mount.clone() };
        let group = self.quota.get_or_init(|| group);
        for pid in processes_in(&self.memory.1) {
            let path = group.directory.join("cgroup.procs");
            fs::write(&path, pid.to_string()).map_err(|source| CgroupError::Io {
                action: "enter",
                path,
                source,
            })?;
        }
        Ok(group)
    }

    /// Returns the group that limits CPU, if there is one.
    pub(super) fn limited_group(&self) -> Option<&OwnGroup> {
        self.quota.get()
    }

    /// Sets the limit of processes and threads in the group, the launcher included.
    ///
    /// # Errors
    /// Returns an error when the kernel refuses, or does not count processes of groups.
    pub fn limit_processes(&self, most: u64) -> Result<(), CgroupError> {
        let directory = self.pids.as_ref().ok_or(CgroupError::NotMounted)?;
        let (action, path) = ("set the limit of processes in", directory.join("pids.max"));
        fs::write(&path, most.to_string()).map_err(|source| CgroupError::Io {
            action,
            path,
            source,
        })
    }

    /// Returns how many processes and threads the kernel refused since the last call.
    fn take_refused(&self) -> u64 {
        let mut text = [0; 64];
        let now = self.refusals.as_ref().and_then(|file| {
            let size = file.read_at(&mut text, 0).ok()?;
            let text = std::str::from_utf8(text.get(..size)?).ok()?;
            text.lines().find_map(|line| line.strip_prefix("max ")?.trim().parse().ok())
        });
        let Some(now) = now else { return 0 };
        u64::saturating_sub(now, self.refused.swap(now, Ordering::Relaxed))
    }

    /// Kills all processes in the group, however fast they fork, since first the limit of
    /// processes is set to 0. The group cannot be used afterwards. Returns whether it is
    /// empty.
    #[must_use]
    pub(crate) fn kill_all(&self) -> bool {
        let until = Instant::now() + KILLING;
        if let Some(pids) = &self.pids {
            let _ = fs::write(pids.join("pids.max"), "0");
        }
        let directories = self.group_directories();
        for directory in &directories {
            // Only in v2, since Linux 5.14.
            let kill = directory.join("cgroup.kill");
            if kill.exists() {
                let _ = fs::write(kill, "1");
            }
        }
        loop {
            let mut left: Vec<i32> = directories.iter().flat_map(|it| processes_in(it)).collect();
            left.sort_unstable();
            left.dedup();
            if left.is_empty() || Instant::now() >= until {
                return left.is_empty();
            }
            for pid in left {
                let process = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Returns whether the next invocation would not have a peak of its own, since earlier
    /// ones left much memory in the group or the kernel cannot reset the peak.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        let is_stale = self.served.load(Ordering::Relaxed) && !self.resets.load(Ordering::Relaxed);
        is_stale || self.memory_now().is_none_or(|left| left > LEFT_OVER)
    }

    /// Starts an invocation: resets the peak and returns the current figures.
    #[must_use]
    pub fn take_baseline(&self) -> GroupBaseline {
        let is_first = !self.served.swap(true, Ordering::Relaxed);
        let reset = self.reset_memory_peak();
        self.resets.store(reset.is_ok(), Ordering::Relaxed);
        GroupBaseline {
            cpu: self.cpu_time(),
            split: self.cpu_split(),
            killed: self.oom_kill_count(),
            stale_peak: reset.err().filter(|_| !is_first),
        }
    }

    /// Returns the usage since `baseline`.
    #[must_use]
    pub fn usage_since(&self, baseline: &GroupBaseline) -> GroupUsage {
        let peak = self.memory_peak();
        let since = |(now, before): ((Nanos, Nanos), (Nanos, Nanos))| {
            (now.0.saturating_since(before.0), now.1.saturating_since(before.1))
        };
        let killed =
            self.oom_kill_count().map(|now| now.saturating_sub(baseline.killed.unwrap_or(0)));
        let limit = *self.limit.lock();
        GroupUsage {
            cpu: self
                .cpu_time()
                .zip(baseline.cpu)
                .map(|(now, before)| now.saturating_since(before)),
            split: self.cpu_split().zip(baseline.split).map(since),
            killed: killed.unwrap_or(0),
            refused: self.take_refused(),
            page_cache: self.page_cache().unwrap_or(Bytes(0)),
            at_limit: limit
                .zip(peak)
                .is_some_and(|(limit, peak)| peak.0.saturating_add(BATCHES) >= limit.0),
            peak: match &baseline.stale_peak {
                Some(reason) => Err(reason.clone()),
                None => peak.ok_or_else(|| "this kernel keeps no peak for a group".to_owned()),
            },
        }
    }

    /// Returns the CPU time of everything that ever ran inside.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Nanos> {
        let cpu = self.cpu.as_ref()?;
        let text = read_figure(cpu, "cpuacct.usage", "cpu.stat")?;
        match cpu.0 {
            CgroupFiles::V1 => text.trim().parse().ok().map(Nanos),
            CgroupFiles::V2 => parse_micros(&text, "usage_usec"),
        }
    }

    fn cpu_split(&self) -> Option<(Nanos, Nanos)> {
        let cpu = self.cpu.as_ref()?;
        if cpu.0 == CgroupFiles::V2 {
            let text = read_figure(cpu, "", "cpu.stat")?;
            return Some((parse_micros(&text, "user_usec")?, parse_micros(&text, "system_usec")?));
        }
        let of = |name| read_figure(cpu, name, "")?.trim().parse().ok().map(Nanos);
        Some((of("cpuacct.usage_user")?, of("cpuacct.usage_sys")?))
    }

    /// Returns the memory in use now, page cache and kernel memory included.
    #[must_use]
    pub fn memory_now(&self) -> Option<Bytes> {
        let text = read_figure(&self.memory, "memory.usage_in_bytes", "memory.current")?;
        text.trim().parse().ok().map(Bytes)
    }

    fn memory_peak(&self) -> Option<Bytes> {
        if let Some(file) = &*self.peak.lock() {
            let mut text = [0; 32];
            let size = file.read_at(&mut text, 0).ok()?;
            return std::str::from_utf8(text.get(..size)?).ok()?.trim().parse().ok().map(Bytes);
        }
        let text = read_figure(&self.memory, "memory.max_usage_in_bytes", "memory.peak")?;
        text.trim().parse().ok().map(Bytes)
    }

    fn reset_memory_peak(&self) -> Result<(), String> {
        let failed = |hint: &str, error: &io::Error| {
            format!("the peak of earlier invocations cannot be reset{hint}: {error}")
        };
        let (files, directory) = &self.memory;
        if *files == CgroupFiles::V1 {
            let path = directory.join("memory.max_usage_in_bytes");
            return fs::write(path, "0").map_err(|error| failed("", &error));
        }
        let mut own = self.peak.lock();
        let mut reset = || {
            let file = match own.take() {
                Some(file) => file,
                None => {
                    File::options().read(true).write(true).open(directory.join("memory.peak"))?
                }
            };
            // Any text resets the peak, for this open file only.
            file.write_at(b"0", 0).map(|_| file)
        };
        *own = Some(reset().map_err(|error| failed(" (before Linux 6.12)", &error))?);
        Ok(())
    }

    /// Returns the page cache, without files in memory file systems.
    #[must_use]
    pub fn page_cache(&self) -> Option<Bytes> {
        let text = read_figure(&self.memory, "memory.stat", "memory.stat")?;
        let find = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
            value.trim().parse::<u64>().ok()
        };
        // Both figures include files in memory, which `shmem` counts.
        let all = find(if self.memory.0 == CgroupFiles::V1 { "cache" } else { "file" })?;
        Some(Bytes(all.saturating_sub(find("shmem")?)))
    }

    /// Returns the number of processes that the kernel has killed for lack of memory.
    fn oom_kill_count(&self) -> Option<u64> {
        let text = read_figure(&self.memory, "memory.oom_control", "memory.events")?;
        kills_in(&text)
    }
}

impl Drop for FunctionGroup {
    fn drop(&mut self) {
        // The launcher is gone, so remaining processes belong to nobody.
        if self.group_directories().iter().any(|directory| !processes_in(directory).is_empty()) {
            let _ = self.kill_all();
        }
        for directory in self.group_directories() {
            // A leftover is removed at the next start.
            let _ = remove_group_tree(directory, false);
        }
    }
}

impl ParentGroups {
    fn from_own_groups(own: &OwnGroups) -> Result<Self, CgroupError> {
        if let Some(memory) = &own.memory {
            return Ok(Self {
                memory: (CgroupFiles::V1, memory.directory.clone()),
                cpu: own.cpuacct.as_ref().map(|group| (CgroupFiles::V1, group.directory.clone())),
                pids: own.pids.as_ref().map(|group| group.directory.clone()),
                quota: own.cpu.clone(),
            });
        }
        let unified = own.unified.as_ref().ok_or(CgroupError::NotMounted)?;
        let parent = find_v2_parent(unified)?;
        Ok(Self {
            memory: (CgroupFiles::V2, parent.clone()),
            cpu: Some((CgroupFiles::V2, parent.clone())),
            pids: has_word(&parent, "cgroup.subtree_control", "pids").then(|| parent.clone()),
            quota: Some(OwnGroup { directory: parent, mount: unified.mount.clone() }),
        })
    }
}

/// Finds the nearest group that delegates the memory controller: in v2 a group other than
/// the root that has processes cannot. Groups that limit this process are not left.
fn find_v2_parent(own: &OwnGroup) -> Result<PathBuf, CgroupError> {
    let mut last = None;
    for level in own.visible_levels() {
        match hand_down_memory(level) {
            Ok(()) => return Ok(level.to_owned()),
            Err(error) => last = Some(error),
        }
        if let Some(limit) = find_limit(level) {
            return Err(CgroupError::Io {
                action: "make a group for functions without leaving the limits in",
                path: level.join(limit),
                source: io::ErrorKind::ResourceBusy.into(),
            });
        }
    }
    Err(last.unwrap_or(CgroupError::NotMounted))
}

fn hand_down_memory(level: &Path) -> Result<(), CgroupError> {
    const CONTROL: &str = "cgroup.subtree_control";
    let path = level.join(CONTROL);
    if has_word(level, CONTROL, "memory") {
        if !has_word(level, CONTROL, "pids") {
            let _ = fs::write(&path, "+pids");
        }
        return Ok(());
    }
    // The pids controller is useful, but not required.
    let handed = fs::write(&path, "+memory");
    let _ = fs::write(&path, "+pids");
    handed.map_err(|source| CgroupError::Io {
        action: "hand the memory controller down in",
        path,
        source,
    })
}

/// Hands the CPU controller down to the groups in `parent`, unless the one in `group` has it.
fn hand_down_cpu(parent: &Path, group: &Path) -> Result<(), CgroupError> {
    if group.join("cpu.max").exists() {
        return Ok(());
    }
    let path = parent.join("cgroup.subtree_control");
    fs::write(&path, "+cpu").map_err(|source| CgroupError::Io {
        action: "hand the CPU controller down in",
        path,
        source,
    })
}

/// Returns the file of the first limit that the group in `level` sets.
fn find_limit(level: &Path) -> Option<&'static str> {
    ["cpu.max", "memory.max", "memory.high", "pids.max", "cpuset.cpus"].into_iter().find(|name| {
        fs::read_to_string(level.join(name))
            .is_ok_and(|text| !text.trim().is_empty() && !text.starts_with("max"))
    })
}

fn has_word(level: &Path, file: &str, word: &str) -> bool {
    fs::read_to_string(level.join(file))
        .is_ok_and(|text| text.split_whitespace().any(|found| found == word))
}

fn make_directory(path: &Path) -> Result<(), CgroupError> {
    let action = "create";
    fs::create_dir(path).map_err(|source| CgroupError::Io { action, path: path.to_owned(), source })
}

/// Returns the processes in the group at `directory`. Processes of other namespaces have no
/// number here.
fn processes_in(directory: &Path) -> Vec<i32> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().parse().ok()).filter(|pid| *pid > 0).collect()
}

fn read_figure((files, directory): &(CgroupFiles, PathBuf), v1: &str, v2: &str) -> Option<String> {
    let name = if *files == CgroupFiles::V1 { v1 } else { v2 };
    fs::read_to_string(directory.join(name)).ok()
}

fn parse_micros(text: &str, key: &str) -> Option<Nanos> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    value.trim().parse::<u64>().ok()?.checked_mul(1_000).map(Nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::ThrottleMeter;

    fn write(path: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(path).expect("a folder");
        for (name, content) in files {
            fs::write(path.join(name), content).expect("written");
        }
    }

    fn own(root: &Path, group: &str) -> OwnGroup {
        OwnGroup { directory: root.join(group), mount: root.to_owned() }
    }

    /// Folders stand for a v2 tree, in which a group with processes refuses to delegate
    /// controllers: the test covers where the group is made.
    #[test]
    fn a_v2_group_is_made_where_memory_is_handed_down_and_no_limit_is_left() {
        let mount = tempfile::tempdir().expect("a folder");
        let root = mount.path();
        let control = "cgroup.subtree_control";
        write(root, &[(control, "cpu memory pids\n")]);
        write(&root.join("user"), &[(control, "memory pids\n")]);
        write(&root.join("user/app"), &[("cpu.max", "max 100000\n"), ("memory.max", "max\n")]);
        // Writing to a folder fails, as the kernel's refusal does.
        fs::create_dir(root.join("user/app").join(control)).expect("made");
        let found = find_v2_parent(&own(root, "user/app")).expect("beside the own group");
        assert_eq!(found, root.join("user"));
        assert!(
            ParentGroups::from_own_groups(&OwnGroups {
                unified: Some(own(root, "user")),
                ..OwnGroups::default()
            })
            .is_ok_and(|it| it.pids.is_some() && it.memory == (CgroupFiles::V2, root.join("user")))
        );
        for (limit, value) in [("cpu.max", "20000 100000\n"), ("memory.max", "1000000\n")] {
            write(&root.join("user/app"), &[(limit, value)]);
            let error = find_v2_parent(&own(root, "user/app")).expect_err("would leave a limit");
            assert!(error.to_string().contains(limit), "{error}");
            write(&root.join("user/app"), &[(limit, "max\n")]);
        }
    }

    #[test]
    fn figures_of_a_v2_group_are_read_as_differences() {
        let mount = tempfile::tempdir().expect("a folder");
        let parent = mount.path().to_owned();
        let parents = ParentGroups {
            memory: (CgroupFiles::V2, parent.clone()),
            cpu: Some((CgroupFiles::V2, parent.clone())),
            pids: None,
            quota: None,
        };
        let group = FunctionGroup::create_in(&parents).expect("made");
        let folder = group.memory.1.clone();
        let stat = |factor: u64| {
            let [all, user, system] = [1500, 1000, 500].map(|part| part * factor);
            format!("usage_usec {all}\nuser_usec {user}\nsystem_usec {system}\n")
        };
        write(&folder, &[("cpu.stat", &stat(1)), ("memory.peak", "0"), ("memory.max", "max")]);
        write(&folder, &[("memory.events", "low 0\noom 3\noom_kill 1\n")]);
        write(&folder, &[("memory.current", "4096\n"), ("memory.stat", "file 9000\nshmem 1000\n")]);
        let before = group.take_baseline();
        group.limit_memory(Some(Bytes(64 << 20))).expect("set");
        assert_eq!(fs::read_to_string(folder.join("memory.max")).expect("there"), "67108864");
        write(&folder, &[("cpu.stat", &stat(3)), ("memory.events", "oom 4\noom_kill 2\n")]);
        write(&folder, &[("memory.peak", "67100000\n")]);
        let used = group.usage_since(&before);
        assert_eq!(used.cpu, Some(Nanos(3_000_000)));
        assert_eq!(used.split, Some((Nanos(2_000_000), Nanos(1_000_000))));
        assert_eq!((used.peak, used.page_cache), (Ok(Bytes(67_100_000)), Bytes(8_000)));
        assert_eq!((used.killed, used.at_limit), (1, true), "one more, at the limit");
        assert!(!group.is_used_up());
        write(&folder, &[("memory.current", "9000000\n")]);
        assert!(group.is_used_up(), "9 MB of earlier invocations are in it");
        fs::remove_dir_all(&folder).expect("a folder has no files of the kernel");
    }

    #[test]
    fn cpu_is_limited_in_v2_once_the_controller_is_handed_down() {
        let mount = tempfile::tempdir().expect("a folder");
        let root = mount.path().to_owned();
        write(&root, &[("cgroup.subtree_control", "")]);
        let parents = ParentGroups {
            memory: (CgroupFiles::V2, root.clone()),
            cpu: Some((CgroupFiles::V2, root.clone())),
            pids: None,
            quota: Some(own(&root, "")),
        };
        let group = FunctionGroup::create_in(&parents).expect("made");
        let folder = group.memory.1.clone();
        write(&folder, &[("cgroup.procs", "")]);
        let half = CpuLimit::from_thousandths(500);
        // Here no kernel makes the files of the controller.
        let error = group.limit_cpu(Some(half)).expect_err("no file");
        assert!(error.to_string().contains("CPU quota"), "{error}");
        let control = fs::read_to_string(root.join("cgroup.subtree_control")).expect("there");
        assert_eq!(control, "+cpu");
        write(&folder, &[("cpu.max", "max 100000\n"), ("cpu.stat", "throttled_usec 5\n")]);
        group.limit_cpu(Some(half)).expect("set");
        let now = || fs::read_to_string(folder.join("cpu.max")).expect("there");
        assert_eq!(now(), "10000 20000");
        let mut throttle = ThrottleMeter::for_function_group(&group).expect("opened");
        write(&folder, &[("cpu.stat", "throttled_usec 12\n")]);
        assert_eq!(throttle.take_throttled(), Some(Nanos(7_000)));
        group.limit_cpu(None).expect("removed");
        assert_eq!(now(), "max");
        // A smaller quota further out is not left out of account.
        write(&root, &[("cpu.max", "20000 100000\n")]);
        let error = group.limit_cpu(Some(half)).expect_err("refused");
        assert!(error.to_string().contains("0.2 CPUs"), "{error}");
        fs::remove_dir_all(&folder).expect("a folder has no files of the kernel");
    }

    /// Spins for 300 ms of CPU time in half a CPU, however busy the machine is.
    #[test]
    fn a_limited_group_gets_no_more_than_its_share_and_says_what_it_was_held_back() {
        let group = match FunctionGroup::create() {
            Ok(group) => group,
            Err(error) => return cyclometer_testkit::skip(&error.to_string()),
        };
        let limit = CpuLimit::from_thousandths(500);
        let mut shell = std::process::Command::new("/bin/sh")
            .args(["-c", "read go; while :; do :; done"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("a program to put into it");
        group.add_process(shell.id()).expect("entered");
        // What is in the group already is under the limit, too.
        if let Err(error) = group.limit_cpu(Some(limit)) {
            shell.kill().expect("killed");
            shell.wait().expect("ended");
            return cyclometer_testkit::skip(&error.to_string());
        }
        let directory = group.limited_group().expect("limited").directory.clone();
        let mut meter = ThrottleMeter::for_function_group(&group).expect("opened");
        let before = group.cpu_time().expect("counted");
        let begun = Instant::now();
        drop(shell.stdin.take());
        let used = loop {
            std::thread::sleep(Duration::from_millis(10));
            let used = group.cpu_time().expect("counted").saturating_since(before);
            if used >= Nanos(300_000_000) {
                break used;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "it does not run");
        };
        let wall = Nanos::from(begun.elapsed());
        shell.kill().expect("killed");
        shell.wait().expect("ended");
        // Half the time, one quota at the start, and two CPUs that check at their ticks.
        assert!(used.0 <= wall.0 / 2 + 30_000_000, "{used} in {wall}");
        let stat = fs::read_to_string(directory.join("cpu.stat")).expect("the kernel's own");
        let kernel = ["throttled_time ", "throttled_usec "].iter().find_map(|key| {
            let value: u64 = stat.lines().find_map(|it| it.strip_prefix(key))?.parse().ok()?;
            Some(if key.contains("usec") { value * 1_000 } else { value })
        });
        assert_eq!(meter.take_throttled(), kernel.map(Nanos));
        drop(group);
        assert!(!directory.exists());
    }

    #[test]
    fn a_peak_that_cannot_be_reset_serves_one_invocation() {
        let mount = tempfile::tempdir().expect("a folder");
        let parent = mount.path().to_owned();
        let parents =
            ParentGroups { memory: (CgroupFiles::V2, parent), cpu: None, pids: None, quota: None };
        let group = FunctionGroup::create_in(&parents).expect("made");
        let folder = group.memory.1.clone();
        write(&folder, &[("memory.current", "4096\n")]);
        // Before Linux 6.12 the file accepts no writes; here it is a folder.
        fs::create_dir(folder.join("memory.peak")).expect("made");
        assert!(!group.is_used_up());
        let first = group.usage_since(&group.take_baseline());
        assert_eq!(first.peak, Err("this kernel keeps no peak for a group".to_owned()));
        assert!(group.is_used_up(), "the next needs another");
        let second = group.usage_since(&group.take_baseline());
        assert!(second.peak.is_err_and(|why| why.contains("cannot be reset")));
        fs::remove_dir_all(&folder).expect("a folder has no files of the kernel");
    }

    #[test]
    fn what_is_started_in_a_group_is_accounted_for() {
        let group = match FunctionGroup::create() {
            Ok(group) => group,
            Err(error) => return cyclometer_testkit::skip(&error.to_string()),
        };
        let before = group.take_baseline();
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("30")
            .spawn()
            .expect("a program to put into it");
        group.add_process(child.id()).expect("entered");
        let directory = group.memory.1.clone();
        let inside = fs::read_to_string(directory.join("cgroup.procs")).expect("its processes");
        assert_eq!(inside.trim(), child.id().to_string());
        child.kill().expect("killed");
        child.wait().expect("ended");
        let used = group.usage_since(&before);
        assert_eq!((used.killed, used.at_limit), (0, false), "not because memory ran out");
        drop(group);
        assert!(!directory.exists());
    }
}
