//! Finds, measures and removes everything that this program has left behind on this machine and in
//! container engines.
//!
//! Nothing that a running process uses is touched, nothing of other users or other machines, and
//! never a database.

mod folders;
mod running_processes;
mod sweep;

pub(crate) use folders::remove_path_and_mounts as remove_path;
pub use sweep::sweep_leftovers;

use std::fmt;

use crate::docker::leftover as engine;
use cyclometer_core::units::Bytes;
use cyclometer_meter::cgroup::{GroupLeftover, Hierarchy};

/// Kind of thing that was left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum LeftoverKind {
    /// Images of workloads in a container engine.
    Images,
    /// Containers whose recorder is gone.
    Containers,
    /// Control groups whose recorder is gone.
    Groups,
    /// Folders in memory with the standard files of containers.
    Memory,
    /// Folders for temporary files: OCI bundles, copies of databases.
    Folders,
    /// Files and roots of caches that were never completed.
    Unfinished,
    /// Compiled code, and the files of images.
    Caches,
}

impl LeftoverKind {
    /// All kinds, in the order of their listing.
    pub const ALL: [Self; 7] = [
        Self::Images,
        Self::Containers,
        Self::Groups,
        Self::Memory,
        Self::Folders,
        Self::Unfinished,
        Self::Caches,
    ];

    /// Returns the word for one thing of this kind.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Images => "image",
            Self::Containers => "container",
            Self::Groups => "control group",
            Self::Memory => "files in memory",
            Self::Folders => "temporary folder",
            Self::Unfinished => "unfinished file",
            Self::Caches => "cache",
        }
    }
}

impl fmt::Display for LeftoverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// One thing that was left behind.
#[derive(Debug, Clone)]
pub struct LeftoverItem {
    /// Kind of the thing.
    pub kind: LeftoverKind,
    /// Name of the thing.
    pub name: String,
    /// Address of the engine, or the folder.
    pub place: String,
    /// Size on the disk; `None`: not known.
    pub size: Option<Bytes>,
    /// Reason why it must stay; `None`: it can be removed.
    pub in_use: Option<String>,
    handle: RemovalHandle,
}

/// Handle by which a leftover is removed.
#[derive(Debug, Clone)]
enum RemovalHandle {
    Engine(engine::LeftoverHandle),
    Group(GroupLeftover),
    Path(std::path::PathBuf),
}

/// Result of a search for leftovers.
#[derive(Debug, Clone, Default)]
pub struct FoundLeftovers {
    /// Leftovers, grouped by kind.
    pub leftovers: Vec<LeftoverItem>,
    /// Reasons why places could not be searched.
    pub problems: Vec<String>,
}

/// Returns why another process may need images of this engine, if so.
pub(crate) fn find_engine_user(endpoint: &crate::docker::Endpoint) -> Option<String> {
    running_processes::find_engine_user(endpoint)
}

/// Finds leftovers of these kinds, without changing anything.
#[must_use]
pub fn find_leftovers(kinds: &[LeftoverKind]) -> FoundLeftovers {
    let mut found = FoundLeftovers::default();
    let wants = |kind: LeftoverKind| kinds.contains(&kind);
    if wants(LeftoverKind::Images) || wants(LeftoverKind::Containers) {
        found.search_engines(kinds);
    }
    if wants(LeftoverKind::Groups) {
        found.search_control_groups();
    }
    if wants(LeftoverKind::Memory) {
        found.leftovers.extend(folders::find_memory_folders());
    }
    if wants(LeftoverKind::Folders) {
        found.leftovers.extend(folders::find_temporary_folders());
    }
    if wants(LeftoverKind::Unfinished) {
        found.leftovers.extend(folders::find_unfinished_files());
    }
    if wants(LeftoverKind::Caches) {
        found
            .leftovers
            .extend(folders::find_cache_folders(running_processes::find_cache_user().as_deref()));
    }
    for leftover in &mut found.leftovers {
        if let RemovalHandle::Path(path) = &leftover.handle {
            leftover.size = Some(folders::disk_size(path));
        }
    }
    found.leftovers.sort_by(|a, b| (a.kind, &a.place, &a.name).cmp(&(b.kind, &b.place, &b.name)));
    found
}

impl FoundLeftovers {
    fn search_engines(&mut self, kinds: &[LeftoverKind]) {
        let (endpoints, problems) = engine::searched_endpoints();
        self.problems.extend(problems);
        for endpoint in endpoints {
            let users = running_processes::find_engine_user(&endpoint);
            match engine::list_leftovers(&endpoint, kinds.contains(&LeftoverKind::Images)) {
                Ok(items) => {
                    let items = items.into_iter().map(|mut it| {
                        // Between two containers only the processes show that images are in use.
                        it.in_use = it.in_use.or(users.clone().filter(|_| it.is_image));
                        LeftoverItem::from_engine(it)
                    });
                    self.leftovers.extend(items.filter(|it| kinds.contains(&it.kind)));
                }
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    fn search_control_groups(&mut self) {
        self.leftovers.extend(find_control_groups());
    }
}

fn find_control_groups() -> Vec<LeftoverItem> {
    let Ok(hierarchy) = Hierarchy::detect() else { return Vec::new() };
    let groups = hierarchy.find_leftovers().into_iter().map(|group| LeftoverItem {
        kind: LeftoverKind::Groups,
        name: group.name(),
        place: group.mount_points(),
        size: None,
        in_use: group.in_use_reason(),
        handle: RemovalHandle::Group(group),
    });
    groups.collect()
}

impl LeftoverItem {
    fn from_engine(it: engine::EngineLeftover) -> Self {
        Self {
            kind: if it.is_image { LeftoverKind::Images } else { LeftoverKind::Containers },
            name: it.name,
            place: it.handle.host().to_owned(),
            size: it.size,
            in_use: it.in_use,
            handle: RemovalHandle::Engine(it.handle),
        }
    }

    /// Removes the leftover.
    ///
    /// # Errors
    /// The reason why it could not be removed, in words.
    pub fn remove(&self) -> Result<(), String> {
        match &self.handle {
            RemovalHandle::Engine(handle) => engine::remove_leftover(handle),
            RemovalHandle::Group(group) => group.remove_everywhere(),
            RemovalHandle::Path(path) => folders::remove_path_and_mounts(path),
        }
    }
}
