//! Clean-up that every command that runs functions performs before it starts: removes what killed
//! processes of this program have left behind, in whatever lane, and reports it.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::{LeftoverItem, LeftoverKind, RemovalHandle, find_control_groups, folders};
use crate::docker::leftover as engine;

/// Longest wait for the engine in use to list its containers. Where it does not answer, lanes
/// without containers need not wait for it.
const LIST_TIMEOUT: Duration = Duration::from_secs(3);

/// Removes leftovers of owners that no longer run, and reports each removal in one line. Images and
/// compiled code stay: the next recording needs them.
pub fn sweep_leftovers(tell: &mut dyn FnMut(String)) {
    let mut removed: BTreeMap<LeftoverKind, usize> = BTreeMap::new();
    // Containers first: groups cannot go before them.
    for look in [
        find_containers,
        find_control_groups,
        folders::find_memory_folders,
        folders::find_temporary_folders,
        folders::find_unfinished_files,
    ] {
        for leftover in look().iter().filter(|leftover| leftover.in_use.is_none()) {
            match leftover.remove() {
                Ok(()) => *removed.entry(leftover.kind).or_default() += 1,
                // Another process may have been faster.
                Err(reason) if leftover.still_exists() => tell(format!(
                    "{} {} was left behind and stays: {reason}",
                    leftover.kind, leftover.name
                )),
                Err(_) => {}
            }
        }
    }
    if !removed.is_empty() {
        tell(format!(
            "removed what killed processes had left behind: {}",
            format_removed(&removed)
        ));
    }
}

fn format_removed(removed: &BTreeMap<LeftoverKind, usize>) -> String {
    let items = removed.iter().map(|(kind, count)| match count {
        1 => format!("1 {kind}"),
        many => format!("{many} x {kind}"),
    });
    items.collect::<Vec<_>>().join(", ")
}

/// Lists the containers of the engine in use; none where it does not answer.
fn find_containers() -> Vec<LeftoverItem> {
    let (answer, listed) = sync_channel(1);
    let asked = std::thread::Builder::new().name("sweep".to_owned()).spawn(move || {
        let found = engine::endpoint_in_use()
            .and_then(|endpoint| engine::list_leftovers(&endpoint, false).ok());
        // The receiver may have stopped waiting.
        let _ = answer.send(found.unwrap_or_default());
    });
    if asked.is_err() {
        return Vec::new();
    }
    let found = listed.recv_timeout(LIST_TIMEOUT).unwrap_or_default();
    found.into_iter().map(LeftoverItem::from_engine).collect()
}

impl LeftoverItem {
    fn still_exists(&self) -> bool {
        match &self.handle {
            RemovalHandle::Path(path) => path.symlink_metadata().is_ok(),
            RemovalHandle::Group(group) => group.still_exists(),
            RemovalHandle::Engine(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_is_listed_by_kind() {
        let removed = BTreeMap::from([(LeftoverKind::Groups, 2), (LeftoverKind::Containers, 1)]);
        assert_eq!(format_removed(&removed), "1 container, 2 x control group");
    }

    #[test]
    fn folders_of_the_dead_are_removed_and_those_of_the_living_stay() {
        let make = |name: &str| {
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(path.join("rootfs")).expect("made");
            path
        };
        // Another boot than this one.
        let dead = make(&format!("cyclometer-{}-2-nosuchboot-sweep0", std::process::id()));
        let alive = make(&cyclometer_system::owner::new_name("sweep").expect("/proc"));
        // Another process may be faster, so what is reported is tested elsewhere.
        sweep_leftovers(&mut |_| {});
        assert!(!dead.exists() && alive.exists());
        std::fs::remove_dir_all(alive).expect("removed");
    }
}
