//! OCI bundles: `config.json`, and `rootfs/` with nothing but the program, or the files of an image.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::super::control_group::InnerProcessLimit;
use super::container_settings::{ContainerSettings, HOST_NAME};
use cyclometer_core::units::Bytes;
use cyclometer_workload::{Limits, SharedFolder};

/// Most processes that a program may have.
const MAX_PROCESSES: u64 = 64;

/// Most processes and threads of an image, whose runtimes start many.
const MAX_PROCESSES_OF_IMAGE: u64 = 512;

/// Limits of the processes in a container.
pub(super) const PROCESS_LIMITS: InnerProcessLimit =
    InnerProcessLimit::Container { program: MAX_PROCESSES, image: MAX_PROCESSES_OF_IMAGE };

/// Returns the most processes that a container may have.
pub(super) const fn max_processes(settings: &ContainerSettings) -> u64 {
    if settings.is_image { MAX_PROCESSES_OF_IMAGE } else { MAX_PROCESSES }
}

/// Writes the root of a bundle that holds one program.
pub(super) fn write_program_root(root: &Path, program: &[u8]) -> io::Result<()> {
    fs::create_dir_all(root.join("proc"))?;
    let path = root.join("function");
    // A running container may still hold the previous file.
    let _ = fs::remove_file(&path);
    fs::write(&path, program)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
}

/// Bytes by which the limit of the container's own control group is higher: the group around it has
/// the limit itself, and shows who ran against it.
const INNER_LIMIT_MARGIN: u64 = 1 << 20;

/// Writes the bundle's `config.json`; `group` is the path of the container's
/// control group, inside of one that limits memory.
pub(super) fn write_config(
    folder: &Path,
    settings: &ContainerSettings,
    limits: Limits,
    group: Option<&str>,
) -> io::Result<()> {
    let user = nix::unistd::geteuid().as_raw();
    let mut config = build_config(settings, limits, user, nix::unistd::getegid().as_raw());
    if let Some(group) = group {
        config["linux"]["cgroupsPath"] = Value::from(group);
        let limit = limits.memory.0.saturating_add(INNER_LIMIT_MARGIN);
        config["linux"]["resources"]["memory"]["limit"] = Value::from(limit);
    }
    let path = folder.join("config.json");
    fs::write(&path, config.to_string())?;
    // Variables may be secrets.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
}

/// Builds the configuration: no network, no capabilities, no new privileges, a root that cannot be
/// written, few processes, and the memory that is billed, unless a rule is loosened.
fn build_config(settings: &ContainerSettings, limits: Limits, user: u32, group: u32) -> Value {
    let is_rootless = user != 0;
    let kinds = ["pid", "ipc", "uts", "mount", "network"];
    let kinds = kinds.into_iter().filter(|kind| *kind != "network" || !settings.has_network);
    let mut namespaces: Vec<Value> = kinds.map(|kind| json!({ "type": kind })).collect();
    let mut linux = json!({
        "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        "resources": {
            "memory": { "limit": limits.memory.0 },
            "pids": { "limit": max_processes(settings) },
        },
    });
    if is_rootless {
        // An ordinary user may create the other namespaces only inside a user namespace.
        namespaces.push(json!({ "type": "user" }));
        let map = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
        linux["uidMappings"] = map(user);
        linux["gidMappings"] = map(group);
    }
    linux["namespaces"] = Value::from(namespaces);
    let none = json!([]);
    let environment: Vec<String> = settings.environment.iter().map(ToString::to_string).collect();
    json!({
        "ociVersion": "1.0.2",
        "hostname": HOST_NAME,
        "process": {
            "terminal": false,
            "user": build_user(settings),
            "args": settings.args,
            "env": environment,
            "cwd": settings.workdir,
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": none, "effective": none, "permitted": none,
                "inheritable": none, "ambient": none,
            },
            // The runtime's own files may be larger than the output limit.
            "rlimits": [
                { "type": "RLIMIT_CORE", "hard": 0, "soft": 0 },
                { "type": "RLIMIT_FSIZE", "hard": limits.output.0, "soft": limits.output.0 },
            ],
        },
        "root": { "path": "rootfs", "readonly": !settings.is_writable },
        "mounts": build_mounts(settings, limits.memory, is_rootless),
        "linux": linux,
    })
}

fn build_user(settings: &ContainerSettings) -> Value {
    let user = &settings.user;
    let mut value = json!({ "uid": user.uid, "gid": user.gid });
    if !user.groups.is_empty() {
        value["additionalGids"] = json!(user.groups);
    }
    value
}

/// Builds the mounts: `/proc`, for images everything that engines give them, and folders of this
/// machine.
fn build_mounts(settings: &ContainerSettings, memory: Bytes, is_rootless: bool) -> Vec<Value> {
    // runc checks its own open files there before it starts the function.
    let mut mounts = vec![build_mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])];
    if settings.is_image {
        mounts.extend(build_image_mounts(memory, is_rootless));
    }
    if settings.has_network {
        // Names are resolved as on this machine.
        let files = ["/etc/resolv.conf", "/etc/hosts"];
        let files = files.into_iter().filter(|file| Path::new(file).is_file());
        let options = ["bind", "ro", "nosuid", "nodev"];
        mounts.extend(files.map(|file| build_mount(file, "bind", file, &options)));
    }
    mounts.extend(settings.folders.iter().map(build_folder_mount));
    mounts
}

/// Builds the mounts that images expect, with the options that engines set. What is written to
/// those in memory counts as the function's memory.
fn build_image_mounts(memory: Bytes, is_rootless: bool) -> Vec<Value> {
    let shared_memory = format!("size={}", memory.0.min(64 << 20));
    let mut terminals = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if !is_rootless {
        // The group of terminals, which an ordinary user cannot give.
        terminals.push("gid=5");
    }
    let devices = ["nosuid", "strictatime", "mode=755", "size=65536k"];
    let shared = ["nosuid", "noexec", "nodev", "mode=1777", &shared_memory];
    let mut mounts = vec![
        build_mount("/dev", "tmpfs", "tmpfs", &devices),
        build_mount("/dev/pts", "devpts", "devpts", &terminals),
        build_mount("/dev/shm", "tmpfs", "shm", &shared),
        build_mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    if !is_rootless {
        let read_only = ["nosuid", "noexec", "nodev", "ro"];
        mounts.push(build_mount("/sys", "sysfs", "sysfs", &read_only));
        // Interpreters read the limits of memory and CPU there.
        mounts.push(build_mount("/sys/fs/cgroup", "cgroup", "cgroup", &read_only));
    }
    mounts
}

fn build_folder_mount(folder: &SharedFolder) -> Value {
    // What is mounted below a folder could be written, whatever the folder says.
    let options = if folder.is_read_only { ["bind", "ro"] } else { ["rbind", "rw"] };
    let host = folder.host.to_string_lossy();
    build_mount(&folder.guest, "bind", &host, &[&options[..], &["nosuid", "nodev"]].concat())
}

fn build_mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}
