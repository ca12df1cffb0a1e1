//! Removes what a crash left behind: containers and control groups whose owner
//! no longer runs.

use std::time::{Duration, Instant};

use super::answers::{ListedContainer, parse_containers};
use super::container::remove;
use super::engine::{Engine, EngineError, REQUEST};
use super::spec::OWNER_LABEL;
use super::stdio;
use super::transport::encoded;
use crate::meter::cgroup::Hierarchy;

/// Longest time that the containers of the dead may take.
const LONGEST: Duration = Duration::from_secs(20);

/// How much was left behind and is removed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Containers; `None` if no engine could be asked.
    pub containers: Option<usize>,
    /// Control groups; `None` if none are mounted.
    pub groups: Option<usize>,
}

/// Sweeps without a lane, for the recovery of a database. An engine that
/// cannot be reached is no error: there may be none.
#[must_use]
pub fn sweep_everything() -> Swept {
    let engine = Engine::connect().ok().map(|(engine, _)| engine);
    stdio::sweep();
    Swept { containers: engine.and_then(|engine| containers(&engine).ok()), groups: groups() }
}

/// Removes control groups. What is still in them is killed.
pub(super) fn groups() -> Option<usize> {
    Hierarchy::detect().ok().map(|hierarchy| hierarchy.sweep())
}

/// Name of this machine, as far as labels go.
pub(super) fn host_name() -> Option<String> {
    let name = crate::files::read_kernel_text("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Removes containers. Returns how many went.
pub(super) fn containers(engine: &Engine) -> Result<usize, EngineError> {
    let filter = encoded(&format!("{{\"label\":[\"{OWNER_LABEL}\"]}}"));
    let path = format!("/containers/json?all=true&filters={filter}");
    let host = host_name();
    let deadline = Instant::now() + LONGEST;
    engine.block_on(async {
        let listed = engine.get("list containers", REQUEST, None, &path, parse_containers).await?;
        let mut removed = 0;
        for container in listed.iter().filter(|container| is_orphan(container, host.as_deref())) {
            // What is left then is for the next time.
            if Instant::now() >= deadline {
                break;
            }
            removed += usize::from(remove(engine, &container.id, REQUEST, None).await?);
        }
        Ok(removed)
    })
}

/// Whether a container's owner belonged to this machine and is gone.
fn is_orphan(container: &ListedContainer, host: Option<&str>) -> bool {
    host.is_some()
        && container.labels.host.as_deref() == host
        && container.labels.owner().is_some_and(|owner| !owner.is_alive())
}

#[cfg(test)]
mod tests {
    use super::super::answers::Labels;
    use super::*;
    use crate::meter::procfs::ProcessIdentity;

    #[test]
    fn only_containers_of_the_dead_of_this_machine_are_orphans() {
        let me = ProcessIdentity::current().expect("/proc is mounted").to_string();
        let orphan = |owner: &str, host: &str| {
            let (owner, host) = (Some(owner.to_owned()), Some(host.to_owned()));
            let labels = Labels { owner, host, base: None };
            is_orphan(&ListedContainer { labels, ..ListedContainer::default() }, Some("here"))
        };
        assert!(orphan("1-2-nosuchboot", "here"));
        assert!(!orphan("1-2-nosuchboot", "elsewhere"), "only its own machine can tell");
        assert!(!orphan(&me, "here"), "its owner still runs");
        assert!(!orphan("nonsense", "here"), "not made by this program");
        assert!(!is_orphan(&ListedContainer::default(), Some("here")));
    }
}
