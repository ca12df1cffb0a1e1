//! Specification of a container for the engine: a container with nothing but its limits.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType,
};

use super::image::{IMAGE_FOLDER, Image};
use super::starter_report::StarterToken;
use super::stdio::StandardFiles;
use crate::Job;
use cyclometer_core::units::Bytes;

/// Label with the identity of the process that made a container.
pub(super) const OWNER_LABEL: &str = "cyclometer.owner";
/// Label with the name of the machine of that process: an engine may serve several,
/// and only the owner's own machine can tell whether it still runs.
pub(super) const HOST_LABEL: &str = "cyclometer.host";

/// Label with the name of the base image of one of this program's images, empty for
/// none. An image without this label is never removed unasked.
pub(super) const BASE_LABEL: &str = "cyclometer.base";

/// A user that owns nothing, and its group of the same number.
const NOBODY: u32 = 65534;
/// User of the starter, which becomes the function's user, for which it needs these
/// rights, and kills what that user leaves running.
pub(super) const STARTER_USER: &str = "0:0";
const STARTER_CAPABILITIES: [&str; 3] = ["SETUID", "SETGID", "KILL"];
const MOST_PROCESSES: i64 = 64;
/// Most processes where a sandbox's own kernel runs in the container's control group,
/// since its threads count, too: gVisor alone has about 80.
const MOST_PROCESSES_WITH_KERNEL: i64 = 1024;
/// OCI runtimes whose containers share this machine's kernel.
const SHARED_KERNEL: [&str; 4] = ["runc", "crun", "youki", "railcar"];

/// Purpose of a container, and how its function gets its standard files.
#[derive(Clone, Copy)]
pub(super) enum ContainerRole<'a> {
    /// Runs one function through the starter, with files of this host.
    Files(&'a StandardFiles, &'a StarterToken),
    /// Runs one function by itself, with streams through the engine.
    Streams,
    /// Waits for later functions, with files of this host.
    Wait(&'a StandardFiles),
}

/// Specification of a container to create.
pub(super) struct ContainerSpec<'a> {
    pub job: &'a Job,
    pub image: &'a Image,
    pub role: ContainerRole<'a>,
    pub labels: HashMap<String, String>,
    /// OCI runtime; `None`: the engine's default.
    pub runtime: Option<&'a str>,
    /// Name of the runtime, also where it is the default.
    pub runtime_name: &'a str,
    /// Control group to put it under.
    pub cgroup_parent: Option<&'a str>,
}

impl ContainerSpec<'_> {
    /// Converts to the body of the engine's create request.
    pub(crate) fn to_create_body(&self) -> ContainerCreateBody {
        let (entrypoint, command) = match self.role {
            ContainerRole::Files(files, _) => {
                let mut command = starter_command(self.job, self.image, files);
                (command.remove(0), command)
            }
            ContainerRole::Wait(_) => (starter_path(), vec!["wait".to_owned()]),
            ContainerRole::Streams => (self.image.program.clone(), self.job.preset.args.clone()),
        };
        let stdin =
            matches!(self.role, ContainerRole::Streams) && !self.job.preset.stdin.is_empty();
        let attached = !matches!(self.role, ContainerRole::Wait(_));
        ContainerCreateBody {
            image: Some(self.image.reference.clone()),
            entrypoint: Some(vec![entrypoint]),
            cmd: Some(command),
            user: Some(self.user_and_group()),
            env: self.environment_variables(),
            working_dir: Some("/".to_owned()),
            attach_stdin: Some(stdin),
            open_stdin: Some(stdin),
            // The function sees the end of its input when ours is written.
            stdin_once: Some(stdin),
            attach_stdout: Some(attached),
            attach_stderr: Some(attached),
            tty: Some(false),
            labels: Some(self.labels.clone()),
            // A base image's own check would run beside the function.
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            host_config: Some(self.host_config()),
            ..ContainerCreateBody::default()
        }
    }

    const fn has_starter(&self) -> bool {
        matches!(self.role, ContainerRole::Files(..) | ContainerRole::Wait(_))
    }

    fn user_and_group(&self) -> String {
        if self.has_starter() { STARTER_USER.to_owned() } else { format!("{NOBODY}:{NOBODY}") }
    }

    fn environment_variables(&self) -> Option<Vec<String>> {
        let ContainerRole::Files(_, token) = self.role else { return None };
        Some(vec![token.to_env_variable()])
    }

    fn host_config(&self) -> HostConfig {
        let memory = to_clamped_i64(self.job.limits.memory);
        let mounts = match self.role {
            ContainerRole::Files(files, _) | ContainerRole::Wait(files) => {
                Some(files.bind_mounts())
            }
            ContainerRole::Streams => None,
        };
        let volumes = self.image.volumes.iter().map(|folder| unwritable_mount(folder));
        let mounts: Vec<_> = mounts.into_iter().flatten().chain(volumes).collect();
        let capabilities = self.has_starter().then(|| STARTER_CAPABILITIES.map(str::to_owned));
        HostConfig {
            mounts: Some(mounts),
            cgroup_parent: self.cgroup_parent.map(str::to_owned),
            runtime: self.runtime.map(str::to_owned),
            memory: Some(memory),
            // Memory and swap together: as much as memory alone, so no swap.
            memory_swap: Some(memory),
            pids_limit: Some(process_limit(self.runtime_name)),
            cpuset_cpus: self.job.cpu.map(|cpu| cpu.to_string()),
            network_mode: Some("none".to_owned()),
            // A namespace of its own: objects that others left belong to no function.
            ipc_mode: Some("private".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: capabilities.map(Vec::from),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            readonly_rootfs: Some(true),
            // The function's time would pay for writing to a log as well.
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            ..HostConfig::default()
        }
    }
}

/// Returns an empty folder that cannot be written, in place of a volume that the base
/// image requests, which would be a disk to fill, and a place to leave things for the
/// next function. Engines accept no volume that has no name and cannot be written.
fn unwritable_mount(folder: &str) -> Mount {
    Mount {
        typ: Some(MountType::TMPFS),
        target: Some(folder.to_owned()),
        read_only: Some(true),
        ..Mount::default()
    }
}

fn process_limit(runtime: &str) -> i64 {
    let shares = SHARED_KERNEL.contains(&runtime) || runtime.starts_with("io.containerd.runc.");
    if shares { MOST_PROCESSES } else { MOST_PROCESSES_WITH_KERNEL }
}

fn starter_path() -> String {
    format!("/{IMAGE_FOLDER}/starter")
}

/// Returns the command that runs a function of `image` with its files.
pub(super) fn starter_command(job: &Job, image: &Image, files: &StandardFiles) -> Vec<String> {
    let (limit, user) = (files.limit.0.to_string(), NOBODY.to_string());
    let own = [starter_path(), "run".to_owned(), limit, user, image.program.clone()];
    own.into_iter().chain(job.preset.args.iter().cloned()).collect()
}

fn to_clamped_i64(bytes: Bytes) -> i64 {
    i64::try_from(bytes.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_of_a_base_image_cannot_be_written() {
        let mount = unwritable_mount("/data");
        assert_eq!((mount.target.as_deref(), mount.read_only), (Some("/data"), Some(true)));
        assert_eq!(mount.typ, Some(MountType::TMPFS), "the engine refuses a volume without a name");
    }

    #[test]
    fn sandboxes_have_room_for_their_own_threads() {
        for (runtime, most) in [
            ("runc", 64),
            ("crun", 64),
            ("io.containerd.runc.v2", 64),
            ("runsc", 1024),
            ("kata", 1024),
        ] {
            assert_eq!(process_limit(runtime), most, "{runtime}");
        }
    }
}
