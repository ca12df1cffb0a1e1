//! Removes what a crash left behind: containers and control groups whose owner
//! no longer runs.

use std::collections::HashMap;

use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;

use super::container::remove;
use super::engine::{Engine, EngineError, REQUEST};
use super::spec::{HOST_LABEL, OWNER_LABEL};
use super::stdio;
use crate::meter::cgroup::Hierarchy;
use crate::meter::procfs::ProcessIdentity;

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
    let filters = HashMap::from([("label".to_owned(), vec![OWNER_LABEL.to_owned()])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let host = host_name();
    engine.block_on(async {
        let request = engine.docker.list_containers(Some(options));
        let listed = engine.ask("list containers", REQUEST, None, request).await?;
        let mut removed = 0;
        for container in listed.iter().filter(|container| is_orphan(container, host.as_deref())) {
            let Some(id) = &container.id else { continue };
            removed += usize::from(remove(engine, id, REQUEST).await?);
        }
        Ok(removed)
    })
}

/// Whether a container's owner belonged to this machine and is gone.
fn is_orphan(container: &ContainerSummary, host: Option<&str>) -> bool {
    let label = |name| container.labels.as_ref()?.get(name).map(String::as_str);
    let owner = label(OWNER_LABEL).and_then(|text| text.parse::<ProcessIdentity>().ok());
    host.is_some()
        && label(HOST_LABEL) == host
        && owner.is_some_and(|owner: ProcessIdentity| !owner.is_alive())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_containers_of_the_dead_of_this_machine_are_orphans() {
        let me = ProcessIdentity::current().expect("/proc is mounted").to_string();
        let orphan = |owner: &str, host: &str| {
            let labels = [(OWNER_LABEL, owner), (HOST_LABEL, host)];
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let labels = Some(HashMap::from(labels));
            is_orphan(&ContainerSummary { labels, ..ContainerSummary::default() }, Some("here"))
        };
        assert!(orphan("1-2-nosuchboot", "here"));
        assert!(!orphan("1-2-nosuchboot", "elsewhere"), "only its own machine can tell");
        assert!(!orphan(&me, "here"), "its owner still runs");
        assert!(!orphan("nonsense", "here"), "not made by this program");
        assert!(!is_orphan(&ContainerSummary::default(), Some("here")));
    }
}
