//! OCI bundles: `config.json` and `rootfs/` with nothing but the program.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::super::Job;

/// Most processes that a function may have.
pub(super) const MAX_PROCESSES: u64 = 64;

/// Writes the bundle of `job` into `folder`.
pub(super) fn write_bundle(folder: &Path, job: &Job, program: &[u8]) -> io::Result<()> {
    let root = folder.join("rootfs");
    fs::create_dir_all(root.join("proc"))?;
    let path = root.join("function");
    // A running container may still hold the previous file.
    let _ = fs::remove_file(&path);
    fs::write(&path, program)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    write_config(folder, job, None)
}

/// Bytes by which the limit of the container's own control group is higher: the group around it has
/// the limit itself, and shows who ran against it.
const INNER_LIMIT_MARGIN: u64 = 1 << 20;

/// Writes the bundle's `config.json`; `group` is the path of the container's
/// control group, inside of one that limits memory.
pub(super) fn write_config(folder: &Path, job: &Job, group: Option<&str>) -> io::Result<()> {
    let user = nix::unistd::geteuid().as_raw();
    let mut config = build_config(job, user, nix::unistd::getegid().as_raw());
    if let Some(group) = group {
        config["linux"]["cgroupsPath"] = Value::from(group);
        let limit = job.limits.memory.0.saturating_add(INNER_LIMIT_MARGIN);
        config["linux"]["resources"]["memory"]["limit"] = Value::from(limit);
    }
    fs::write(folder.join("config.json"), config.to_string())
}

/// Builds the configuration: no network, no capabilities, no new privileges, a root that cannot be
/// written, few processes, and the memory that is billed.
fn build_config(job: &Job, user: u32, group: u32) -> Value {
    let args: Vec<&str> =
        std::iter::once("/function").chain(job.preset.args.iter().map(String::as_str)).collect();
    let mut namespaces: Vec<Value> =
        ["pid", "ipc", "uts", "mount", "network"].map(|kind| json!({ "type": kind })).to_vec();
    let mut linux = json!({
        "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        "resources": {
            "memory": { "limit": job.limits.memory.0 },
            "pids": { "limit": MAX_PROCESSES },
        },
    });
    if user != 0 {
        // An ordinary user may create the other namespaces only inside a user namespace.
        namespaces.push(json!({ "type": "user" }));
        let map = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
        linux["uidMappings"] = map(user);
        linux["gidMappings"] = map(group);
    }
    linux["namespaces"] = Value::from(namespaces);
    let none = json!([]);
    json!({
        "ociVersion": "1.0.2",
        "hostname": "function",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": none,
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": none, "effective": none, "permitted": none,
                "inheritable": none, "ambient": none,
            },
            // The runtime's own files may be larger than the output limit.
            "rlimits": [
                { "type": "RLIMIT_CORE", "hard": 0, "soft": 0 },
                { "type": "RLIMIT_FSIZE", "hard": job.limits.output.0, "soft": job.limits.output.0 },
            ],
        },
        "root": { "path": "rootfs", "readonly": true },
        // runc checks its own open files there before it starts the function.
        "mounts": [{
            "destination": "/proc", "type": "proc", "source": "proc",
            "options": ["nosuid", "noexec", "nodev"],
        }],
        "linux": linux,
    })
}
