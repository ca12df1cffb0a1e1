//! Finds, measures and removes everything that this program has left behind on this machine and in
//! container engines.
//!
//! Nothing that a running process uses is touched, nothing of other users or other machines, and
//! never a database.

mod files;
mod sweep;
mod users;

pub(crate) use files::remove as remove_path;
pub use sweep::sweep;

use std::fmt;

use crate::docker::leftover as engine;
use cyclometer_core::units::Bytes;
use cyclometer_meter::cgroup::{GroupLeftover, Hierarchy};

/// Kind of thing that was left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Kind {
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
    /// Cache files that were never completed.
    Unfinished,
    /// Compiled code.
    Caches,
}

impl Kind {
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
            Self::Caches => "compiled code",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// One thing that was left behind.
#[derive(Debug, Clone)]
pub struct Leftover {
    /// Kind of the thing.
    pub kind: Kind,
    /// Name of the thing.
    pub name: String,
    /// Address of the engine, or the folder.
    pub place: String,
    /// Size on the disk; `None`: not known.
    pub size: Option<Bytes>,
    /// Reason why it must stay; `None`: it can be removed.
    pub in_use: Option<String>,
    handle: Handle,
}

/// Handle by which a leftover is removed.
#[derive(Debug, Clone)]
enum Handle {
    Engine(engine::Handle),
    Group(GroupLeftover),
    Path(std::path::PathBuf),
}

/// Result of a search for leftovers.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Leftovers, grouped by kind.
    pub leftovers: Vec<Leftover>,
    /// Reasons why places could not be searched.
    pub problems: Vec<String>,
}

/// Returns why another process may need images of this engine, if so.
pub(crate) fn engine_user(endpoint: &crate::docker::Endpoint) -> Option<String> {
    users::of_engine(endpoint)
}

/// Finds leftovers of these kinds, without changing anything.
#[must_use]
pub fn find_leftovers(kinds: &[Kind]) -> Found {
    let mut found = Found::default();
    let wants = |kind: Kind| kinds.contains(&kind);
    if wants(Kind::Images) || wants(Kind::Containers) {
        found.look_in_engines(kinds);
    }
    if wants(Kind::Groups) {
        found.look_for_groups();
    }
    if wants(Kind::Memory) {
        found.leftovers.extend(files::in_memory());
    }
    if wants(Kind::Folders) {
        found.leftovers.extend(files::temporary());
    }
    if wants(Kind::Unfinished) {
        found.leftovers.extend(files::unfinished());
    }
    if wants(Kind::Caches) {
        found.leftovers.extend(files::caches(users::of_cache().as_deref()));
    }
    for leftover in &mut found.leftovers {
        if let Handle::Path(path) = &leftover.handle {
            leftover.size = Some(files::size_of(path));
        }
    }
    found.leftovers.sort_by(|a, b| (a.kind, &a.place, &a.name).cmp(&(b.kind, &b.place, &b.name)));
    found
}

impl Found {
    fn look_in_engines(&mut self, kinds: &[Kind]) {
        let (endpoints, problems) = engine::endpoints();
        self.problems.extend(problems);
        for endpoint in endpoints {
            let users = users::of_engine(&endpoint);
            match engine::list(&endpoint, kinds.contains(&Kind::Images)) {
                Ok(items) => {
                    let items = items.into_iter().map(|mut it| {
                        // Between two containers only the processes show that images are in use.
                        it.in_use = it.in_use.or(users.clone().filter(|_| it.is_image));
                        Leftover::of_engine(it)
                    });
                    self.leftovers.extend(items.filter(|it| kinds.contains(&it.kind)));
                }
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    fn look_for_groups(&mut self) {
        self.leftovers.extend(groups());
    }
}

fn groups() -> Vec<Leftover> {
    let Ok(hierarchy) = Hierarchy::detect() else { return Vec::new() };
    let groups = hierarchy.leftovers().into_iter().map(|group| Leftover {
        kind: Kind::Groups,
        name: group.name(),
        place: group.places(),
        size: None,
        in_use: group.in_use(),
        handle: Handle::Group(group),
    });
    groups.collect()
}

impl Leftover {
    fn of_engine(it: engine::EngineLeftover) -> Self {
        Self {
            kind: if it.is_image { Kind::Images } else { Kind::Containers },
            name: it.name,
            place: it.handle.host().to_owned(),
            size: it.size,
            in_use: it.in_use,
            handle: Handle::Engine(it.handle),
        }
    }

    /// Removes the leftover.
    ///
    /// # Errors
    /// The reason why it could not be removed, in words.
    pub fn remove(&self) -> Result<(), String> {
        match &self.handle {
            Handle::Engine(handle) => engine::remove(handle),
            Handle::Group(group) => group.remove(),
            Handle::Path(path) => files::remove(path),
        }
    }
}
