//! What the engine is asked to make: a container with nothing but its limits.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};

use super::image::PROGRAM;
use crate::lane::Job;
use crate::units::Bytes;

/// Carries the identity of the process that made a container.
pub(super) const OWNER_LABEL: &str = "cyclometer.owner";
/// Carries the name of the machine whose process that is: an engine may serve
/// several, and only the owner's own machine can tell whether it still runs.
pub(super) const HOST_LABEL: &str = "cyclometer.host";

/// A user and a group that own nothing.
const NOBODY: &str = "65534:65534";
const MOST_PROCESSES: i64 = 64;

/// A container for one invocation.
pub(super) struct Spec<'a> {
    pub job: &'a Job,
    pub image: &'a str,
    pub labels: HashMap<String, String>,
    /// The OCI runtime; `None`: the engine's default.
    pub runtime: Option<&'a str>,
    /// The control group to put it under.
    pub cgroup_parent: Option<&'a str>,
}

impl Spec<'_> {
    /// As the engine's interface wants it.
    pub fn body(&self) -> ContainerCreateBody {
        let stdin = !self.job.preset.stdin.is_empty();
        ContainerCreateBody {
            image: Some(self.image.to_owned()),
            entrypoint: Some(vec![format!("/{PROGRAM}")]),
            cmd: Some(self.job.preset.args.clone()),
            user: Some(NOBODY.to_owned()),
            attach_stdin: Some(stdin),
            open_stdin: Some(stdin),
            // The function sees the end of its input when ours is written.
            stdin_once: Some(stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(false),
            labels: Some(self.labels.clone()),
            host_config: Some(self.host_config()),
            ..ContainerCreateBody::default()
        }
    }

    fn host_config(&self) -> HostConfig {
        let memory = clamped(self.job.limits.memory);
        HostConfig {
            cgroup_parent: self.cgroup_parent.map(str::to_owned),
            runtime: self.runtime.map(str::to_owned),
            memory: Some(memory),
            // Memory and swap together: as much as memory alone, so no swap.
            memory_swap: Some(memory),
            pids_limit: Some(MOST_PROCESSES),
            cpuset_cpus: self.job.cpu.map(|cpu| cpu.to_string()),
            network_mode: Some("none".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            readonly_rootfs: Some(true),
            // Output goes to the attached streams only: writing it to a log as
            // well would be paid for by the function's time.
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            ..HostConfig::default()
        }
    }
}

fn clamped(bytes: Bytes) -> i64 {
    i64::try_from(bytes.0).unwrap_or(i64::MAX)
}
