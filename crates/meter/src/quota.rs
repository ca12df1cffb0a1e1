//! CPU quotas around this process, and the time for which they throttled it.
//!
//! A container's `--cpus`, a Kubernetes limit or a systemd `CPUQuota=` lets a
//! control group run for so long in each period and then holds it until the
//! next: wall time passes that no function used, and bills count it. Groups lie
//! inside of each other, and the tightest quota holds.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::cgroup::{CgroupError, InvocationGroup};
use super::function_group::FunctionGroup;
use super::own_groups::{OwnGroup, OwnGroups};
pub use cyclometer_core::cpu_quota::CpuQuota;
use cyclometer_core::units::Nanos;

/// Usual period of the limits that are set here, in microseconds.
///
/// The kernel and Docker use 100 ms unless told otherwise. That lets a function run for a whole
/// quota before anything holds it back: with 0.07 CPUs, one of 5 ms would never be, and its share
/// would not show. No provider documents its period; that of AWS Lambda, seen from inside of its
/// functions, is 20 ms. A shorter one costs accuracy: the kernel checks at its ticks, 1 to 10 ms apart, and takes what
/// was used beyond a quota off the next ones.
const PERIOD_US: u64 = 20_000;

/// Least quota, and longest period, that the kernel takes, in microseconds.
const LEAST_QUOTA_US: u64 = 1_000;
const LONGEST_PERIOD_US: u64 = 1_000_000;

/// Limit of the CPU time of a control group, as it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuLimit {
    /// Microseconds of CPU time in each period.
    pub quota_us: u64,
    /// Microseconds from one period to the next.
    pub period_us: u64,
}

impl CpuLimit {
    /// Returns the limit to so many thousandths of a CPU: exact, in periods of 20 ms, or longer
    /// ones for shares whose quota the kernel would not take (below 0.05).
    #[must_use]
    pub const fn from_thousandths(thousandths: u32) -> Self {
        let share = thousandths as u64;
        let quota_us = share * PERIOD_US / 1_000;
        if quota_us >= LEAST_QUOTA_US || share == 0 {
            return Self { quota_us, period_us: PERIOD_US };
        }
        // Up to the next whole millisecond, so that the quota is a whole microsecond.
        let period_us = (LEAST_QUOTA_US * 1_000).div_ceil(share).next_multiple_of(1_000);
        let longest = period_us > LONGEST_PERIOD_US;
        let period_us = if longest { LONGEST_PERIOD_US } else { period_us };
        Self { quota_us: share * period_us / 1_000, period_us }
    }

    /// Returns whether the quota of an outer group is smaller.
    fn exceeds(&self, outer: &CpuQuota) -> bool {
        let Self { quota_us, period_us } = *self;
        outer.is_tighter(&CpuQuota { group: String::new(), quota_us, period_us })
    }

    /// Sets the limit in the group at `directory`.
    pub(super) fn write_to(limit: Option<Self>, directory: &Path) -> Result<(), CgroupError> {
        let set = |name: &str, value: &str| {
            let path = directory.join(name);
            // Files of the kernel exist, and are never created.
            let opened = File::options().write(true).truncate(true).open(&path);
            let written =
                opened.and_then(|file| io::Write::write_all(&mut &file, value.as_bytes()));
            let action = "set the CPU quota in";
            written.map_err(|source| CgroupError::Io { action, path, source })
        };
        if directory.join("cpu.max").exists() {
            return match limit {
                Some(Self { quota_us, period_us }) => {
                    set("cpu.max", &format!("{quota_us} {period_us}"))
                }
                None => set("cpu.max", "max"),
            };
        }
        // A quota that does not fit a new period is refused: it goes first.
        set("cpu.cfs_quota_us", "-1")?;
        let Some(Self { quota_us, period_us }) = limit else { return Ok(()) };
        set("cpu.cfs_period_us", &period_us.to_string())?;
        set("cpu.cfs_quota_us", &quota_us.to_string())
    }

    /// Returns whether the group at `directory` has this limit.
    pub(super) fn is_set_in(&self, directory: &Path) -> bool {
        read_quota(directory) == Some((self.quota_us, self.period_us))
    }
}

impl std::fmt::Display for CpuLimit {
    /// Writes `10 ms in each 20 ms`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let span = |micros: u64| Nanos(micros.saturating_mul(1_000));
        write!(f, "{} in each {}", span(self.quota_us), span(self.period_us))
    }
}

/// Checks that no quota of `parent` or above it is smaller than `limit`, which then could not be
/// used up.
pub(super) fn check_outer_quotas(limit: CpuLimit, parent: &OwnGroup) -> Result<(), CgroupError> {
    match tightest_quota(parent) {
        Some(outer) if limit.exceeds(&outer) => Err(CgroupError::SmallerQuota(outer)),
        _ => Ok(()),
    }
}

/// Finds the tightest quota that holds for this process; `None` when no group
/// that can be seen has one.
///
/// # Errors
/// Returns an error when control groups cannot be read, so that the quota is unknown.
pub fn find_cpu_quota() -> Result<Option<CpuQuota>, CgroupError> {
    let groups = OwnGroups::for_this_process()?;
    let group = cpu_group(&groups).ok_or(CgroupError::NotMounted)?;
    Ok(tightest_quota(group))
}

/// Returns the group with the CPU controller, whose quota holds: in v1 it is in one
/// hierarchy only.
const fn cpu_group(groups: &OwnGroups) -> Option<&OwnGroup> {
    match &groups.cpu {
        Some(group) => Some(group),
        None => groups.unified.as_ref(),
    }
}

fn tightest_quota(group: &OwnGroup) -> Option<CpuQuota> {
    let mut tightest: Option<CpuQuota> = None;
    for level in group.visible_levels() {
        let Some((quota_us, period_us)) = read_quota(level) else { continue };
        let quota = CpuQuota { group: group.group_name(level), quota_us, period_us };
        if tightest.as_ref().is_none_or(|other| quota.is_tighter(other)) {
            tightest = Some(quota);
        }
    }
    tightest
}

/// Reads quota and period of the group in `directory`, if it has a quota.
fn read_quota(directory: &Path) -> Option<(u64, u64)> {
    let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
    let (quota, period) = if let Some(text) = read("cpu.max") {
        let (quota, period) = text.trim().split_once(' ')?;
        (quota.parse().ok()?, period.parse().ok()?)
    } else {
        // No quota is -1, which is no `u64`.
        let quota = read("cpu.cfs_quota_us")?.trim().parse().ok()?;
        (quota, read("cpu.cfs_period_us")?.trim().parse().ok()?)
    };
    (period > 0).then_some((quota, period))
}

/// Meter of the time for which quotas throttled the processes of a group.
#[derive(Debug)]
pub struct ThrottleMeter {
    /// `cpu.stat` of each group with a quota, and its last value in nanoseconds.
    levels: Vec<(File, u64)>,
    quota: Option<CpuQuota>,
}

impl ThrottleMeter {
    /// Opens the meter of this process' own groups.
    ///
    /// # Errors
    /// Returns the reason why the throttled time is unknown.
    pub fn for_own_groups() -> Result<Self, String> {
        let groups = OwnGroups::for_this_process().map_err(|error| error.to_string())?;
        let group = cpu_group(&groups).ok_or("no hierarchy with the CPU controller is mounted")?;
        Self::for_levels(group).map_err(|error| error.to_string())
    }

    /// Opens the meter of a group that was made for a container. The engine gives
    /// containers no quota of their own: only a quota of the group or of one above it can
    /// throttle them.
    ///
    /// # Errors
    /// Returns the reason why the throttled time is unknown.
    pub fn for_group(group: &InvocationGroup) -> Result<Self, String> {
        let group = group.cpu_group().ok_or("no hierarchy with the CPU controller is mounted")?;
        Self::for_levels(&group).map_err(|error| error.to_string())
    }

    /// Opens the meter of a group of functions whose CPU is limited.
    ///
    /// # Errors
    /// Returns the reason why the throttled time is unknown.
    pub fn for_function_group(group: &FunctionGroup) -> Result<Self, String> {
        let group = group.limited_group().ok_or("its CPU is not limited")?;
        Self::for_levels(group).map_err(|error| error.to_string())
    }

    fn for_levels(group: &OwnGroup) -> Result<Self, CgroupError> {
        let mut levels = Vec::new();
        for level in group.visible_levels().filter(|level| read_quota(level).is_some()) {
            let path = level.join("cpu.stat");
            let file = File::open(&path).map_err(|source| CgroupError::Io {
                action: "open",
                path: path.clone(),
                source,
            })?;
            let now = read_throttled(&file).ok_or_else(|| CgroupError::Io {
                action: "find the throttled time in",
                path,
                source: std::io::ErrorKind::InvalidData.into(),
            })?;
            levels.push((file, now));
        }
        Ok(Self { levels, quota: tightest_quota(group) })
    }

    /// Returns the tightest quota, if there is one.
    #[must_use]
    pub const fn quota(&self) -> Option<&CpuQuota> {
        self.quota.as_ref()
    }

    /// Returns the time throttled since the last call, or since the meter was opened: that
    /// of the group that was throttled longest, summed over CPUs. 0 without a quota, which
    /// costs no system call.
    pub fn take_throttled(&mut self) -> Option<Nanos> {
        let mut longest = 0;
        for (file, last) in &mut self.levels {
            let now = read_throttled(file)?;
            longest = longest.max(now.saturating_sub(*last));
            *last = now;
        }
        Some(Nanos(longest))
    }

    /// Returns whether more than one group has a quota.
    #[must_use]
    pub const fn has_several_quotas(&self) -> bool {
        self.levels.len() > 1
    }

    /// Returns a note on the meaning of the value, and on the group that it belongs to.
    #[must_use]
    pub fn quota_note(&self) -> String {
        let beyond = if super::own_groups::sees_all_groups() {
            ""
        } else {
            "; quotas above this namespace of control groups cannot be seen"
        };
        match &self.quota {
            Some(quota) => format!(
                "a CPU quota of {quota}: time for which it held back processes of that group, \
                 summed over CPUs{beyond}"
            ),
            None => format!("no CPU quota holds here{beyond}"),
        }
    }
}

/// Reads the throttled time in nanoseconds from `cpu.stat`, which has nanoseconds in v1 and
/// microseconds in v2.
fn read_throttled(file: &File) -> Option<u64> {
    let mut text = [0; 1024];
    let size = file.read_at(&mut text, 0).ok()?;
    parse_throttled(std::str::from_utf8(text.get(..size)?).ok()?)
}

fn parse_throttled(text: &str) -> Option<u64> {
    text.lines().find_map(|line| match line.split_once(' ')? {
        ("throttled_time", value) => value.trim().parse().ok(),
        ("throttled_usec", value) => value.trim().parse::<u64>().ok()?.checked_mul(1_000),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(path).expect("a folder");
        for (name, content) in files {
            fs::write(path.join(name), content).expect("written");
        }
    }

    #[test]
    fn the_tightest_quota_up_the_tree_counts() {
        let mount = tempfile::tempdir().expect("a folder");
        let root = mount.path();
        let group = OwnGroup { directory: root.join("pod/box"), mount: root.to_owned() };
        // v2: 1.5 CPUs outside of 2 CPUs.
        write(root, &[("cpu.max", "max 100000\n")]);
        write(&root.join("pod"), &[("cpu.max", "75000 50000\n"), ("cpu.stat", "")]);
        write(&root.join("pod/box"), &[("cpu.max", "200000 100000\n")]);
        let quota = tightest_quota(&group).expect("a quota");
        assert_eq!(quota.to_string(), "1.5 CPUs (cgroup /pod)");
        assert_eq!(quota.milli_cpus(), 1_500);
        // v1, with one that has none.
        for level in ["pod", "pod/box"] {
            fs::remove_file(root.join(level).join("cpu.max")).expect("removed");
        }
        let none = [("cpu.cfs_quota_us", "-1\n"), ("cpu.cfs_period_us", "100000\n")];
        write(&root.join("pod"), &none);
        let own = [("cpu.cfs_quota_us", "20000\n"), ("cpu.cfs_period_us", "100000\n")];
        write(&root.join("pod/box"), &own);
        let quota = tightest_quota(&group).expect("a quota");
        assert_eq!(quota.to_string(), "0.2 CPUs (cgroup /pod/box)");
        write(&root.join("pod/box"), &none);
        assert_eq!(tightest_quota(&group), None);
    }

    #[test]
    fn shares_become_exact_quotas_that_the_kernel_takes() {
        for (thousandths, quota_us, period_us) in [
            (500, 10_000, 20_000),
            (2_000, 40_000, 20_000),
            (5_789, 115_780, 20_000),
            // 7.2 % of 20 ms.
            (72, 1_440, 20_000),
            (50, 1_000, 20_000),
            // 1 ms is 49 thousandths of 20.41 ms: of 21 ms they are 1.029 ms.
            (49, 1_029, 21_000),
            (10, 1_000, 100_000),
            (1, 1_000, 1_000_000),
        ] {
            let limit = CpuLimit::from_thousandths(thousandths);
            assert_eq!((limit.quota_us, limit.period_us), (quota_us, period_us), "{thousandths}");
            assert_eq!(limit.quota_us * 1_000, u64::from(thousandths) * limit.period_us, "exact");
        }
        let text = CpuLimit::from_thousandths(500).to_string();
        assert_eq!(text, "10.0 ms in each 20.0 ms");
    }

    #[test]
    fn limits_are_written_in_the_files_of_either_version() {
        let mount = tempfile::tempdir().expect("a folder");
        let root = mount.path();
        let read = |name: &str| fs::read_to_string(root.join(name)).expect("there");
        let half = CpuLimit::from_thousandths(500);
        write(root, &[("cpu.cfs_quota_us", "-1\n"), ("cpu.cfs_period_us", "100000\n")]);
        CpuLimit::write_to(Some(half), root).expect("set");
        assert_eq!((&*read("cpu.cfs_quota_us"), &*read("cpu.cfs_period_us")), ("10000", "20000"));
        assert!(half.is_set_in(root));
        CpuLimit::write_to(None, root).expect("set");
        assert_eq!(read("cpu.cfs_quota_us"), "-1");
        write(root, &[("cpu.max", "max 100000\n")]);
        CpuLimit::write_to(Some(half), root).expect("set");
        assert_eq!(read("cpu.max"), "10000 20000");
        assert!(half.is_set_in(root));
        CpuLimit::write_to(None, root).expect("set");
        assert_eq!(read("cpu.max"), "max");
        assert!(!half.is_set_in(root));
        // Without the controller there are no such files, and none is made.
        let empty = tempfile::tempdir().expect("a folder");
        let error = CpuLimit::write_to(Some(half), empty.path()).expect_err("no controller");
        assert!(error.to_string().starts_with("cannot set the CPU quota in "), "{error}");
        assert_eq!(fs::read_dir(empty.path()).expect("there").count(), 0);
    }

    #[test]
    fn a_share_beyond_an_outer_quota_is_refused() {
        let mount = tempfile::tempdir().expect("a folder");
        let root = mount.path();
        let group = OwnGroup { directory: root.join("pod"), mount: root.to_owned() };
        // 0.4 CPUs.
        write(&root.join("pod"), &[("cpu.max", "40000 100000\n")]);
        for (thousandths, fits) in [(399, true), (400, true), (401, false), (2_000, false)] {
            let limit = CpuLimit::from_thousandths(thousandths);
            assert_eq!(check_outer_quotas(limit, &group).is_ok(), fits, "{thousandths}");
        }
        let error = check_outer_quotas(CpuLimit::from_thousandths(500), &group);
        let text = error.expect_err("refused").to_string();
        assert!(text.contains("a CPU quota of 0.4 CPUs (cgroup /pod)"), "{text}");
    }

    #[test]
    fn throttled_time_is_in_nanoseconds_whatever_the_version() {
        // Texts from Documentation/scheduler/sched-bwc.rst and cgroup-v2.rst.
        let v1 = "nr_periods 9\nnr_throttled 7\nthrottled_time 406000123\nnr_bursts 0\n";
        assert_eq!(parse_throttled(v1), Some(406_000_123));
        let v2 = "usage_usec 5\nuser_usec 3\nnr_periods 9\nnr_throttled 7\nthrottled_usec 406\n";
        assert_eq!(parse_throttled(v2), Some(406_000));
        assert_eq!(parse_throttled("usage_usec 5\n"), None, "missing is no 0");
    }

    #[test]
    fn only_the_time_since_the_last_look_is_told() {
        let mount = tempfile::tempdir().expect("a folder");
        let root = mount.path().to_owned();
        let group = OwnGroup { directory: root.join("box"), mount: root.clone() };
        write(&root, &[("cpu.max", "max 100000")]);
        let stat = |time: u64| format!("nr_throttled 1\nthrottled_usec {time}\n");
        let limited = [("cpu.max", "20000 100000"), ("cpu.stat", &*stat(50))];
        write(&root.join("box"), &limited);
        let mut meter = ThrottleMeter::for_levels(&group).expect("opened");
        assert_eq!(
            meter.take_throttled(),
            Some(Nanos(0)),
            "what was before is not of this recording"
        );
        fs::write(root.join("box/cpu.stat"), stat(80)).expect("written");
        assert_eq!(
            (meter.take_throttled(), meter.take_throttled()),
            (Some(Nanos(30_000)), Some(Nanos(0)))
        );
        assert!(meter.quota_note().starts_with("a CPU quota of 0.2 CPUs (cgroup /box)"));
        // A quota without a count of its throttling is unknown, not 0.
        fs::write(root.join("box/cpu.stat"), "usage_usec 1\n").expect("written");
        assert_eq!(meter.take_throttled(), None);
        assert!(ThrottleMeter::for_levels(&group).is_err());
    }
}
