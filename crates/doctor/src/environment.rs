//! Checks of the process environment: user, container, memory limit, open files.

use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};

use super::{HostCheckState, HostFinding};
use cyclometer_core::units::Bytes;
use cyclometer_meter::memory_limit::find_memory_limit;
use cyclometer_meter::own_groups::sees_all_groups;
use cyclometer_system::files::{Bound, into_text, read_regular};
use cyclometer_system::paths;

/// Size limit of the file that holds the name of a container manager.
const MANAGER: Bound = Bound::new("a name", 4 << 10);

/// Checks the user, and the limits that apply to everything this program starts.
#[must_use]
pub fn check_environment() -> Vec<HostFinding> {
    vec![
        check_user(),
        super::check_capabilities(),
        check_container(),
        check_memory_limit(),
        check_open_files(),
    ]
}

/// Reports the user and the home folder of this process.
fn check_user() -> HostFinding {
    let check = "user";
    let uid = nix::unistd::geteuid().as_raw();
    let name = paths::describe_user(uid);
    let inside = if paths::is_in_user_namespace() { ", in a user namespace" } else { "" };
    let from = |home: &Path| {
        let told = std::env::var_os("HOME").is_some_and(|it| Path::new(&it) == home);
        if told { "HOME" } else { "the user database" }
    };
    match paths::home_folder() {
        Some(home) => {
            let from = from(&home);
            HostFinding::ok(check, format!("{name}{inside}, home {} ({from})", home.display()))
        }
        None => HostFinding::new(
            check,
            HostCheckState::Warning,
            format!("{name}{inside}, without a home: {}", paths::NO_HOME),
            "set HOME, or XDG_CACHE_HOME, XDG_CONFIG_HOME and XDG_DATA_HOME",
        ),
    }
}

/// Checks whether this is a container, and names the evidence.
fn check_container() -> HostFinding {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match container_signs(Path::new("/"), &variable, has_pid_namespace()) {
        signs if signs.is_empty() => HostFinding::ok("container", "none"),
        signs => HostFinding::new(
            "container",
            HostCheckState::Warning,
            format!("yes: {}", signs.join(", ")),
            "what limits it from outside may not be visible here; counters need CAP_PERFMON \
             (--cap-add PERFMON), metered groups a /sys/fs/cgroup that can be written",
        ),
    }
}

/// Lists the evidence that this is a container, in the file system at `root`.
fn container_signs(
    root: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
    own_processes: bool,
) -> Vec<String> {
    let mut signs = Vec::new();
    for (file, engine) in [(".dockerenv", "Docker"), ("run/.containerenv", "Podman")] {
        if root.join(file).exists() {
            signs.push(format!("{engine} (/{file})"));
        }
    }
    if variable("KUBERNETES_SERVICE_HOST").is_some() {
        signs.push("Kubernetes (KUBERNETES_SERVICE_HOST)".to_owned());
    }
    let named = read_regular(&root.join("run/systemd/container"), MANAGER).and_then(into_text).ok();
    let named = named.or_else(|| variable("container"));
    if let Some(name) = named {
        let name = name.trim().escape_default();
        signs.push(format!("{name} (named by its manager)"));
    }
    if own_processes {
        signs.push("process numbers of its own (PID namespace)".to_owned());
    }
    signs
}

/// Returns whether processes have other numbers outside.
fn has_pid_namespace() -> bool {
    // PROC_PID_INIT_INO of the kernel.
    const INITIAL: &str = "pid:[4026531836]";
    std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link != Path::new(INITIAL))
}

/// Checks whether the control groups around this program limit memory.
fn check_memory_limit() -> HostFinding {
    let check = "memory limit";
    let beyond = if sees_all_groups() { "" } else { ", as far as this container sees" };
    let space = getrlimit(Resource::RLIMIT_AS).map_or(libc::RLIM_INFINITY, |(soft, _)| soft);
    if space != libc::RLIM_INFINITY {
        let found = format!("{} of address space (ulimit -v)", Bytes(space));
        let fix = "ulimit -v unlimited: wasmtime reserves far more addresses than it uses";
        return HostFinding::new(check, HostCheckState::Warning, found, fix);
    }
    match find_memory_limit() {
        Ok(None) => HostFinding::ok(check, format!("none{beyond}")),
        Ok(Some(limit)) => HostFinding::new(
            check,
            HostCheckState::Warning,
            format!("{limit}{beyond}: recorder and functions share it"),
            "raise it (memory.max, docker --memory, limits.memory, MemoryMax=), or record outside \
             of that group: the kernel kills what goes beyond it, the recorder perhaps first",
        ),
        Err(error) => HostFinding::new(check, HostCheckState::Missing, error.to_string(), ""),
    }
}

/// Reports how many files may be open: soft limit, and the hard limit it can be raised
/// to.
fn check_open_files() -> HostFinding {
    let check = "open files";
    let words = |limit: u64| match limit {
        libc::RLIM_INFINITY => "no limit".to_owned(),
        limit => limit.to_string(),
    };
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) => {
            HostFinding::ok(check, format!("{}, at most {}", words(soft), words(hard)))
        }
        Err(error) => HostFinding::new(check, HostCheckState::Missing, error.desc(), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_told_by_what_its_engine_leaves_in_it() {
        let place = tempfile::tempdir().expect("a folder");
        let root = place.path();
        let none = |_: &str| None;
        assert!(container_signs(root, &none, false).is_empty());
        std::fs::write(root.join(".dockerenv"), "").expect("written");
        std::fs::create_dir_all(root.join("run/systemd")).expect("made");
        std::fs::write(root.join("run/systemd/container"), "lxc\n").expect("written");
        let pod = |name: &str| (name == "KUBERNETES_SERVICE_HOST").then(|| "10.0.0.1".to_owned());
        let signs = container_signs(root, &pod, true);
        assert_eq!(
            signs,
            [
                "Docker (/.dockerenv)",
                "Kubernetes (KUBERNETES_SERVICE_HOST)",
                "lxc (named by its manager)",
                "process numbers of its own (PID namespace)",
            ]
        );
    }
}
