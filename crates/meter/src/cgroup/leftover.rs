//! Leftover control groups of this program, anywhere below the mounts.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Hierarchy, remove_group_tree};
use cyclometer_system::owner::Owner;

/// Number of levels of groups that are searched.
const DEPTH: usize = 12;

/// Control group that this program made, in all hierarchies that have it.
#[derive(Debug, Clone)]
pub struct GroupLeftover {
    relative: PathBuf,
    owner: Owner,
    /// Folders of the group, one per hierarchy.
    folders: Vec<PathBuf>,
}

impl GroupLeftover {
    /// Returns the path of the group below the mounts.
    #[must_use]
    pub fn name(&self) -> String {
        self.relative.display().to_string()
    }

    /// Returns the mounts that have the group, separated by blanks.
    #[must_use]
    pub fn mount_points(&self) -> String {
        let depth = self.relative.components().count();
        let mounts = self.folders.iter().filter_map(|folder| folder.ancestors().nth(depth));
        mounts.map(|mount| mount.display().to_string()).collect::<Vec<_>>().join(" ")
    }

    /// Returns whether any part of it still exists.
    #[must_use]
    pub fn still_exists(&self) -> bool {
        self.folders.iter().any(|folder| folder.exists())
    }

    /// Returns the reason why the group must stay, if it is in use.
    #[must_use]
    pub fn in_use_reason(&self) -> Option<String> {
        let user = nix::unistd::geteuid().as_raw();
        let foreign = self
            .folders
            .iter()
            .any(|folder| fs::metadata(folder).is_ok_and(|data| data.uid() != user));
        let owner = self.owner.in_use_reason(None);
        owner.or_else(|| foreign.then(|| "it belongs to another user".to_owned()))
    }

    /// Removes the group from all hierarchies; processes in it are killed.
    ///
    /// # Errors
    /// Returns the reason why it could not be removed, as a message for users.
    pub fn remove_everywhere(&self) -> Result<(), String> {
        // Checked again, as it may be in use since it was listed. Process ids are reused,
        // identities are not.
        if let Some(reason) = self.in_use_reason() {
            return Err(reason);
        }
        let mut failed = None;
        for folder in &self.folders {
            if let Err(error) = remove_group_tree(folder, true)
                && folder.exists()
            {
                failed = Some(format!("cannot remove {}: {error}", folder.display()));
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

impl Hierarchy {
    /// Finds all control groups that this program made, whether or not their owners run.
    #[must_use]
    pub fn find_leftovers(&self) -> Vec<GroupLeftover> {
        let mut found = BTreeMap::new();
        for root in &self.all {
            search_groups(root, root, DEPTH, &mut found);
        }
        found.into_values().collect()
    }
}

fn search_groups(
    root: &Path,
    folder: &Path,
    depth: usize,
    found: &mut BTreeMap<PathBuf, GroupLeftover>,
) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        let owner = Owner::from_name(&entry.file_name().to_string_lossy());
        match owner.filter(|owner| matches!(owner, Owner::Process(_))) {
            Some(owner) => {
                let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
                let group = found.entry(relative.clone()).or_insert_with(|| GroupLeftover {
                    relative,
                    owner,
                    folders: Vec::new(),
                });
                // Two controllers of one mount share one folder.
                if !group.folders.contains(&path) {
                    group.folders.push(path);
                }
            }
            None if depth > 1 => search_groups(root, &path, depth - 1, found),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_system::procfs::ProcessIdentity;

    #[test]
    fn groups_are_found_in_every_hierarchy_and_at_every_level() {
        let mounts = tempfile::tempdir().expect("a folder");
        let at = |name: &str| mounts.path().join(name);
        let me = ProcessIdentity::current().expect("/proc");
        let dead = "cyclometer-1-2-nosuchboot-d7";
        for path in [
            format!("cpu/{dead}/inner"),
            format!("memory/{dead}"),
            format!("unified/user.slice/{dead}"),
            format!("memory/cyclometer-{me}-d1"),
            // A runtime without an engine names its groups after the container.
            format!("memory/libpod-{dead}"),
            "memory/cyclometer-own".to_owned(),
        ] {
            fs::create_dir_all(at(&path)).expect("made");
        }
        let hierarchy = Hierarchy {
            cpu: None,
            cpuacct: None,
            memory: None,
            perf_event: None,
            unified: None,
            all: ["cpu", "memory", "unified"].map(at).into(),
        };
        let mut found = hierarchy.find_leftovers();
        found.sort_by_key(GroupLeftover::name);
        let about: Vec<_> =
            found.iter().map(|it| (it.name(), it.in_use_reason().is_some())).collect();
        let wanted = [
            (dead.to_owned(), false),
            (format!("cyclometer-{me}-d1"), true),
            (format!("libpod-{dead}"), false),
            (format!("user.slice/{dead}"), false),
        ];
        assert_eq!(about, wanted);
        let places = format!("{} {}", at("cpu").display(), at("memory").display());
        assert_eq!(found[0].mount_points(), places);
        found[0].remove_everywhere().expect("removed");
        assert!(!at(&format!("cpu/{dead}")).exists() && !at(&format!("memory/{dead}")).exists());
        assert!(
            found[1].remove_everywhere().is_err()
                && at(&format!("memory/cyclometer-{me}-d1")).exists()
        );
    }
}
