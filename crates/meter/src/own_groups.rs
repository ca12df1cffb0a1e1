//! Control groups that this process itself is in, as its mounts show them.
//!
//! Inside a container the path in `/proc/self/cgroup` and the mount may begin at different
//! groups: the mount determines where paths start.

use std::path::{Path, PathBuf};

use procfs::process::Process;

use super::cgroup::CgroupError;

/// Group of this process in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnGroup {
    /// Directory of the group.
    pub directory: PathBuf,
    /// Mount point of the hierarchy: the topmost visible group.
    pub mount: PathBuf,
}

impl OwnGroup {
    /// Iterates over the directories of the group and of all visible groups above it,
    /// innermost first.
    pub(crate) fn visible_levels(&self) -> impl Iterator<Item = &Path> {
        self.directory.ancestors().take_while(|level| level.starts_with(&self.mount))
    }

    /// Returns the name of the group in `directory`, as `/a/b`.
    #[must_use]
    pub(crate) fn group_name(&self, directory: &Path) -> String {
        let below = directory.strip_prefix(&self.mount).unwrap_or(directory);
        format!("/{}", below.display())
    }
}

/// Groups of this process, one per hierarchy; `None` where it is not mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnGroups {
    /// Group of the v1 controller `cpu`.
    pub cpu: Option<OwnGroup>,
    /// Group of the v1 controller `cpuacct`.
    pub cpuacct: Option<OwnGroup>,
    /// Group of the v1 controller `memory`.
    pub memory: Option<OwnGroup>,
    /// Group of the v1 controller `pids`.
    pub pids: Option<OwnGroup>,
    /// Group of the v2 hierarchy.
    pub unified: Option<OwnGroup>,
}

/// Mounted hierarchy.
struct Mount {
    is_v2: bool,
    /// Group that is mounted.
    root: String,
    point: PathBuf,
    controllers: Vec<String>,
}

impl OwnGroups {
    /// Finds the groups of this process.
    ///
    /// # Errors
    /// [`CgroupError::NotMounted`] when `/proc` cannot be read.
    pub fn for_this_process() -> Result<Self, CgroupError> {
        let process = Process::myself().map_err(|_| CgroupError::NotMounted)?;
        let mounts = process.mountinfo().map_err(|_| CgroupError::NotMounted)?;
        let mounts = mounts.into_iter().filter_map(|mount| {
            let is_v2 = mount.fs_type == "cgroup2";
            (is_v2 || mount.fs_type == "cgroup").then(|| Mount {
                is_v2,
                root: mount.root,
                point: mount.mount_point,
                controllers: mount.super_options.into_keys().collect(),
            })
        });
        let mounts: Vec<Mount> = mounts.collect();
        let paths = process.cgroups().map_err(|_| CgroupError::NotMounted)?;
        let paths: Vec<(Vec<String>, String)> =
            paths.into_iter().map(|group| (group.controllers, group.pathname)).collect();
        Ok(Self::from_mounts(&mounts, &paths))
    }

    /// Returns whether the number of processes in a group can be limited here.
    #[must_use]
    pub fn can_count_processes(&self) -> bool {
        let in_v2 = |group: &OwnGroup| {
            let offered = group.mount.join("cgroup.controllers");
            std::fs::read_to_string(offered)
                .is_ok_and(|text| text.split_whitespace().any(|name| name == "pids"))
        };
        self.pids.is_some() || self.unified.as_ref().is_some_and(in_v2)
    }

    fn from_mounts(mounts: &[Mount], paths: &[(Vec<String>, String)]) -> Self {
        let named = |name: &str| {
            let has = |controllers: &[String]| controllers.iter().any(|it| it == name);
            let (_, path) = paths.iter().find(|(controllers, _)| has(controllers))?;
            locate_group(
                mounts.iter().filter(|mount| !mount.is_v2 && has(&mount.controllers)),
                path,
            )
        };
        let unified =
            paths.iter().find(|(controllers, _)| controllers.iter().all(String::is_empty));
        Self {
            cpu: named("cpu"),
            cpuacct: named("cpuacct"),
            memory: named("memory"),
            pids: named("pids"),
            unified: unified.and_then(|(_, path)| {
                locate_group(mounts.iter().filter(|mount| mount.is_v2), path)
            }),
        }
    }
}

/// Finds `path` in the mount that shows most of the groups above it.
fn locate_group<'a>(mounts: impl Iterator<Item = &'a Mount>, path: &str) -> Option<OwnGroup> {
    let below = |mount: &Mount| Path::new(path).strip_prefix(&mount.root).ok().map(PathBuf::from);
    let mut outside = None;
    let mut found: Option<(usize, OwnGroup)> = None;
    for mount in mounts {
        let Some(relative) = below(mount) else {
            // The group is outside of the mounted part, whose topmost group is the nearest
            // visible one.
            outside.get_or_insert_with(|| OwnGroup {
                directory: mount.point.clone(),
                mount: mount.point.clone(),
            });
            continue;
        };
        // An empty path would leave a slash at the end.
        let directory = mount.point.components().chain(relative.components()).collect();
        let group = OwnGroup { directory, mount: mount.point.clone() };
        if found.as_ref().is_none_or(|(length, _)| mount.root.len() < *length) {
            found = Some((mount.root.len(), group));
        }
    }
    found.map(|(_, group)| group).or(outside)
}

/// Count of the processes of this process' own group that the kernel killed for lack of
/// memory, by whatever limit.
#[derive(Debug, Clone)]
pub struct OomKillCounter(PathBuf);

impl OomKillCounter {
    /// Finds the count of this process' own group; `None` where no memory controller
    /// reports it.
    #[must_use]
    pub fn for_this_process() -> Option<Self> {
        let OwnGroups { memory, unified, .. } = OwnGroups::for_this_process().ok()?;
        let file = match (memory, unified) {
            (Some(memory), _) => memory.directory.join("memory.oom_control"),
            (None, Some(unified)) => unified.directory.join("memory.events"),
            (None, None) => return None,
        };
        let count = Self(file);
        count.read_count().map(|_| count)
    }

    /// Reads the current count.
    #[must_use]
    pub fn read_count(&self) -> Option<u64> {
        kills_in(&std::fs::read_to_string(&self.0).ok()?)
    }
}

/// Parses the number of kills from the text of `memory.oom_control` or `memory.events`.
pub(super) fn kills_in(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// Returns whether this process sees all groups up to the root of the machine, which is not
/// so inside a cgroup namespace.
#[must_use]
pub fn sees_all_groups() -> bool {
    // PROC_CGROUP_INIT_INO of the kernel.
    const INITIAL: &str = "cgroup:[4026531835]";
    std::fs::read_link("/proc/self/ns/cgroup").is_ok_and(|link| link == Path::new(INITIAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(is_v2: bool, root: &str, point: &str, controllers: &[&str]) -> Mount {
        let controllers = controllers.iter().map(|&it| it.to_owned()).collect();
        Mount { is_v2, root: root.to_owned(), point: point.into(), controllers }
    }

    fn path(controllers: &[&str], path: &str) -> (Vec<String>, String) {
        (controllers.iter().map(|&it| it.to_owned()).collect(), path.to_owned())
    }

    fn levels(group: Option<&OwnGroup>) -> Vec<String> {
        let levels = group.into_iter().flat_map(OwnGroup::visible_levels);
        levels.map(|level| level.display().to_string()).collect()
    }

    #[test]
    fn kills_are_read_in_both_forms() {
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        let v2 = "low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n";
        assert_eq!((kills_in(v1), kills_in(v2), kills_in("")), (Some(3), Some(1), None));
    }

    #[test]
    fn groups_are_found_in_v1_with_controllers_that_share_a_mount() {
        let mounts = [
            mount(false, "/", "/c/cpu,cpuacct", &["rw", "cpu", "cpuacct"]),
            mount(false, "/", "/c/memory", &["rw", "memory"]),
            mount(true, "/", "/c/unified", &["rw"]),
        ];
        let paths = [path(&["cpu", "cpuacct"], "/a/b"), path(&["memory"], "/"), path(&[""], "/a")];
        let found = OwnGroups::from_mounts(&mounts, &paths);
        let all = ["/c/cpu,cpuacct/a/b", "/c/cpu,cpuacct/a", "/c/cpu,cpuacct"];
        assert_eq!(levels(found.cpu.as_ref()), all);
        assert_eq!(levels(found.memory.as_ref()), ["/c/memory"]);
        assert_eq!(levels(found.unified.as_ref()), ["/c/unified/a", "/c/unified"]);
        assert_eq!(found.pids, None);
    }

    #[test]
    fn a_container_sees_its_own_group_where_its_mount_starts() {
        // Docker on v1 without a namespace: the mount shows the container's group.
        let mounts = [mount(false, "/docker/ab", "/c/cpu", &["cpu"])];
        let found = OwnGroups::from_mounts(&mounts, &[path(&["cpu"], "/docker/ab")]);
        assert_eq!(levels(found.cpu.as_ref()), ["/c/cpu"]);
        // With a namespace everything is named from the container's group on.
        let mounts = [mount(true, "/", "/sys/fs/cgroup", &["rw"])];
        let found = OwnGroups::from_mounts(&mounts, &[path(&[], "/")]);
        assert_eq!(levels(found.unified.as_ref()), ["/sys/fs/cgroup"]);
        // A host's mount inside of a namespace.
        let mounts = [mount(true, "/..", "/sys/fs/cgroup", &["rw"])];
        let found = OwnGroups::from_mounts(&mounts, &[path(&[], "/")]);
        assert_eq!(levels(found.unified.as_ref()), ["/sys/fs/cgroup"]);
        // Two mounts: the one that shows more is chosen.
        let mounts =
            [mount(true, "/docker/ab", "/inner", &["rw"]), mount(true, "/", "/outer", &["rw"])];
        let found = OwnGroups::from_mounts(&mounts, &[path(&[], "/docker/ab")]);
        assert_eq!(levels(found.unified.as_ref()), ["/outer/docker/ab", "/outer/docker", "/outer"]);
    }
}
