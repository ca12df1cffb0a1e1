//! Specification of a container for the engine: a container with nothing but its limits.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountBindOptions,
    MountType,
};

use super::image::{Image, starter_path};
use super::starter_report::StarterToken;
use super::stdio::StandardFiles;
use crate::Job;
use cyclometer_core::units::Bytes;
use cyclometer_workload::SharedFolder;

/// Label with the identity of the process that made a container.
pub(super) const OWNER_LABEL: &str = "cyclometer.owner";
/// Label with the name of the machine of that process: an engine may serve several,
/// and only the owner's own machine can tell whether it still runs.
pub(super) const HOST_LABEL: &str = "cyclometer.host";

/// Label with the name of the base image of one of this program's images, empty for
/// none. An image without this label is never removed unasked.
pub(super) const BASE_LABEL: &str = "cyclometer.base";

/// A user that owns nothing, and its group of the same number.
pub(super) const NOBODY: u32 = 65534;
/// User of the starter, which becomes the function's user, for which it needs these
/// rights, and kills what that user leaves running.
pub(super) const STARTER_USER: &str = "0:0";
const STARTER_CAPABILITIES: [&str; 3] = ["SETUID", "SETGID", "KILL"];
/// Capabilities that it needs in addition to take all of them from a function that is root.
const BOUNDING_CAPABILITY: &str = "SETPCAP";
/// The engine's default network.
pub(super) const NETWORK: &str = "bridge";
const MOST_PROCESSES: i64 = 64;
/// Most processes and threads of a user's image, whose runtimes start many: the JVM has some for
/// each CPU. As many as a native program may have.
const MOST_PROCESSES_OF_IMAGE: i64 = 512;
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
                let mut command = starter_command(self.image, files);
                (command.remove(0), command)
            }
            ContainerRole::Wait(_) => (starter_path(), vec!["wait".to_owned()]),
            ContainerRole::Streams => {
                let mut words = self.image.call.command.iter().cloned();
                (words.next().unwrap_or_default(), words.collect())
            }
        };
        let stdin =
            matches!(self.role, ContainerRole::Streams) && !self.job.preset.stdin.is_empty();
        let attached = !matches!(self.role, ContainerRole::Wait(_));
        ContainerCreateBody {
            image: Some(self.image.reference.clone()),
            entrypoint: Some(vec![entrypoint]),
            cmd: Some(command),
            user: Some(self.user_and_group()),
            env: Some(self.environment_variables()),
            working_dir: Some(self.image.call.workdir.clone()),
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
        if self.has_starter() { STARTER_USER } else { &self.image.call.user_text }.to_owned()
    }

    fn environment_variables(&self) -> Vec<String> {
        let mut variables = self.image.call.environment.clone();
        if let ContainerRole::Files(_, token) = self.role {
            variables.push(token.to_env_variable());
        }
        variables
    }

    /// Returns the mounts of standard files, of the preset's folders, and in place of volumes.
    fn mounts(&self) -> Vec<Mount> {
        let mut mounts = match self.role {
            ContainerRole::Files(files, _) | ContainerRole::Wait(files) => files.bind_mounts(),
            ContainerRole::Streams => Vec::new(),
        };
        mounts.extend(self.job.preset.dirs.iter().map(folder_mount));
        if !self.job.rules.writable {
            let is_taken = |folder: &str| {
                self.job.preset.dirs.iter().any(|dir| dir.guest.trim_end_matches('/') == folder)
            };
            let volumes = self.image.volumes.iter().map(|folder| folder.trim_end_matches('/'));
            mounts.extend(volumes.filter(|folder| !is_taken(folder)).map(unwritable_mount));
        }
        mounts
    }

    fn capabilities(&self) -> Option<Vec<String>> {
        let more = self.image.call.user.is_root().then_some(BOUNDING_CAPABILITY);
        self.has_starter()
            .then(|| STARTER_CAPABILITIES.into_iter().chain(more).map(str::to_owned).collect())
    }

    fn host_config(&self) -> HostConfig {
        let memory = to_clamped_i64(self.job.limits.memory);
        let network = if self.job.rules.network { NETWORK } else { "none" };
        HostConfig {
            mounts: Some(self.mounts()),
            cgroup_parent: self.cgroup_parent.map(str::to_owned),
            runtime: self.runtime.map(str::to_owned),
            memory: Some(memory),
            // Memory and swap together: as much as memory alone, so no swap.
            memory_swap: Some(memory),
            pids_limit: Some(process_limit(self.runtime_name, self.image.call.own.is_some())),
            cpuset_cpus: self.job.cpu.map(|cpu| cpu.to_string()),
            network_mode: Some(network.to_owned()),
            // A namespace of its own: objects that others left belong to no function.
            ipc_mode: Some("private".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: self.capabilities(),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            readonly_rootfs: Some(!self.job.rules.writable),
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

fn process_limit(runtime: &str, is_own_image: bool) -> i64 {
    let shares = SHARED_KERNEL.contains(&runtime) || runtime.starts_with("io.containerd.runc.");
    match (shares, is_own_image) {
        (false, _) => MOST_PROCESSES_WITH_KERNEL,
        (true, false) => MOST_PROCESSES,
        (true, true) => MOST_PROCESSES_OF_IMAGE,
    }
}

/// Returns the mount of a folder of this machine. Where it cannot be written, what is mounted below
/// it is not there: not every engine keeps that from being written.
fn folder_mount(folder: &SharedFolder) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(folder.host.display().to_string()),
        target: Some(folder.guest.clone()),
        read_only: Some(folder.is_read_only),
        bind_options: folder
            .is_read_only
            .then(|| MountBindOptions { non_recursive: Some(true), ..MountBindOptions::default() }),
        ..Mount::default()
    }
}

/// Returns the command that runs the function of `image` with its files.
pub(super) fn starter_command(image: &Image, files: &StandardFiles) -> Vec<String> {
    let user = &image.call.user;
    let groups: Vec<_> = user.groups.iter().map(ToString::to_string).collect();
    let user = format!("{user}:{}", groups.join(","));
    let own = [starter_path(), "run".to_owned(), files.limit.0.to_string(), user];
    own.into_iter().chain(image.call.command.iter().cloned()).collect()
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
            assert_eq!(process_limit(runtime, false), most, "{runtime}");
            let most = if most == 64 { 512 } else { most };
            assert_eq!(process_limit(runtime, true), most, "{runtime}");
        }
    }
}
