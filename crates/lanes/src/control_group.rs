//! Control group of a launcher's programs: the meters that come from it, and the verdicts that it
//! explains.

use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit};
use parking_lot::Mutex;

use super::launcher::Launcher;
use cyclometer_core::units::Bytes;
use cyclometer_meter::function_group::{FunctionGroup, GroupUsage};
use cyclometer_meter::own_groups::OwnGroups;
use cyclometer_meter::{Meter, Provenances, Source};

/// Reason why the peak of several processes is not known without a control group.
pub(super) const ONLY_LARGEST: &str = "it had several processes: without a control group the kernel tells the peak of the largest \
     only";

/// A control group that holds a launcher.
pub(super) struct LauncherGroup {
    group: Mutex<Arc<FunctionGroup>>,
    /// Whether the group limits the number of processes.
    is_limited: bool,
}

impl LauncherGroup {
    /// Puts a launcher into a group of its own.
    ///
    /// # Errors
    /// The reason why there is none.
    pub(crate) fn for_launcher(launcher: &mut Launcher) -> Result<Self, String> {
        let (group, is_limited) = create_group(launcher)?;
        launcher.survive_out_of_memory();
        Ok(Self { group: Mutex::new(Arc::new(group)), is_limited })
    }

    /// Returns whether the group limits the number of processes to [`max_processes`].
    pub(crate) const fn limits_processes(&self) -> bool {
        self.is_limited
    }

    /// Returns the group that the launcher is in.
    pub(crate) fn current_group(&self) -> Arc<FunctionGroup> {
        Arc::clone(&self.group.lock())
    }

    /// Replaces the group where earlier runs left memory in it: files in memory that they did not
    /// remove, or pages of programs that they read.
    pub(crate) fn replace_if_used_up(&self, launcher: &Launcher) {
        let mut current = self.group.lock();
        if current.is_used_up()
            && let Ok((group, _)) = create_group(launcher)
        {
            *current = Arc::new(group);
        }
    }
}

/// Creates a group for a launcher; returns it with whether it limits processes.
fn create_group(launcher: &Launcher) -> Result<(FunctionGroup, bool), String> {
    let group = FunctionGroup::create().map_err(|error| error.to_string())?;
    let is_limited = group.limit_processes(max_processes()).is_ok();
    group.add_process(launcher.pid()).map_err(|error| error.to_string())?;
    Ok((group, is_limited))
}

/// Returns the most processes and threads of one lane at one time: more than a function on this
/// machine can use, and few enough for the machine.
pub(super) fn max_processes() -> u64 {
    const LEAST: u64 = 512;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    LEAST.max(16 * cpus as u64)
}

/// Limiter of a function's processes, beside its launcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InnerProcessLimit {
    /// Nothing else limits them.
    Unlimited,
    /// A runtime that creates its own control groups, about which no more is known.
    Runtime,
    /// The container's own control group, with a limit for programs and one for images.
    Container {
        /// Most processes of a program that is alone in its container.
        program: u64,
        /// Most processes of an image.
        image: u64,
    },
    /// The kernel of a virtual machine.
    Machine,
}

impl InnerProcessLimit {
    /// Describes the limit; `has_controller` is whether this machine can count the processes of a
    /// control group.
    fn describe(self, has_controller: bool) -> Option<String> {
        match self {
            Self::Container { program, image } if has_controller => Some(format!(
                "at most {program} processes and threads in the container, {image} in one of an \
                 image (its own control group)"
            )),
            Self::Machine => {
                Some("processes of functions are those of a machine of its own".to_owned())
            }
            Self::Runtime => {
                Some("no limit of processes but the runtime's own, if it has one".to_owned())
            }
            Self::Container { .. } | Self::Unlimited => None,
        }
    }
}

/// Limits the number of processes of a launcher by its group, or else for its user. Returns a
/// description of the limit.
pub(super) fn limit_processes(
    launcher: &mut Launcher,
    group: Option<&LauncherGroup>,
    inside: InnerProcessLimit,
) -> String {
    let most = max_processes();
    if group.is_some_and(LauncherGroup::limits_processes) {
        return format!("at most {most} processes and threads (control group)");
    }
    let told =
        inside.describe(OwnGroups::for_this_process().is_ok_and(|own| own.can_count_processes()));
    if nix::unistd::geteuid().is_root() {
        return told.unwrap_or_else(|| {
            "no limit of processes: that needs the pids controller of control groups".to_owned()
        });
    }
    // In a user namespace they are counted apart from the user's other processes.
    let is_apart = launcher.fence().is_user_namespace() && counts_in_namespaces();
    let others = if is_apart { 0 } else { count_own_threads() };
    let hard = getrlimit(Resource::RLIMIT_NPROC).map_or(u64::MAX, |(_, hard)| hard);
    let (limit, text) = choose_limit(most, others, hard);
    launcher.limit_processes(limit);
    text
}

/// Chooses the `RLIMIT_NPROC` of a function beside so many others that are counted with it, and
/// describes it. A hard limit that is lower already cannot be raised, and holds.
fn choose_limit(most: u64, others: u64, hard: u64) -> (u64, String) {
    let wanted = others + most;
    if hard < wanted {
        let text = format!(
            "at most {hard} processes and threads of this user, the recorder's included \
             (RLIMIT_NPROC, as it was)"
        );
        return (hard, text);
    }
    (wanted, format!("at most {most} processes and threads (RLIMIT_NPROC)"))
}

/// Returns whether the kernel counts a user's processes in each user namespace: since Linux 5.14.
fn counts_in_namespaces() -> bool {
    let version = procfs::KernelVersion::current();
    version.is_ok_and(|version| (version.major, version.minor) >= (5, 14))
}

/// Counts the threads that this user has now.
fn count_own_threads() -> u64 {
    let user = nix::unistd::getuid().as_raw();
    let processes = procfs::process::all_processes().into_iter().flatten().flatten();
    let own = processes.filter(|process| process.uid().is_ok_and(|owner| owner == user));
    own.filter_map(|process| process.stat().ok())
        .map(|it| it.num_threads.max(0).unsigned_abs())
        .sum()
}

/// Memory that a group may hold beyond the resident set of its only process without its being the
/// function's: memory is charged in batches of pages, and some is left by the launcher and earlier
/// runs.
pub(super) const GROUP_MARGIN: Bytes = Bytes(3 << 20);

/// Note on what the figures of a group include.
pub(super) const GROUP_MEMORY_NOTE: &str = "of all its processes together: private and shared memory, files in memory (output included), \
     page cache and kernel memory, charged in batches of pages";

/// Sets the sources of memory peak and level; `Err` is the reason why they do not come from a
/// group.
pub(super) fn set_sources(group: Result<(), &String>, all: &mut Provenances) {
    let alone = "peak resident set of its only process; never below the launcher's, under 1 MiB";
    match group {
        Ok(()) => {
            let note =
                format!("{alone}; its control group held no more than {GROUP_MARGIN} besides");
            all.set_source(Meter::MemoryPeak, Source::Rusage, note);
        }
        Err(reason) => {
            let why = if reason.is_empty() { "" } else { "; no control group: " };
            all.set_source(Meter::MemoryPeak, Source::Rusage, format!("{alone}{why}{reason}"));
        }
    }
    set_level_source(group.is_ok(), all);
}

/// Sets the source of [`memory_level`].
pub(super) fn set_level_source(is_grouped: bool, all: &mut Provenances) {
    let level = "in samples only; resident set of the first process";
    let note = if is_grouped {
        format!("{level}, or what its control group holds where that is {GROUP_MARGIN} more")
    } else {
        level.to_owned()
    };
    all.set_source(Meter::MemoryRss, Source::Procfs, note);
}

/// Returns the memory in use now: that of the process, or of its group where that holds clearly
/// more, without page cache. What a group holds is not used where its page cache is unknown.
pub(super) fn memory_level(resident: Bytes, group: &FunctionGroup) -> Bytes {
    let is_more = |held: &Bytes| held.0 > resident.0 + GROUP_MARGIN.0;
    group
        .memory_now()
        .filter(is_more)
        .and_then(|held| Some(Bytes(held.0.saturating_sub(group.page_cache()?.0))))
        .filter(is_more)
        .unwrap_or(resident)
}

/// Returns why processes were killed for want of memory, if any were.
pub(super) fn out_of_memory(group: Option<&GroupUsage>, limit: Bytes) -> Option<String> {
    let group = group.filter(|group| group.killed > 0)?;
    let killed = match group.killed {
        1 => "the kernel killed it".to_owned(),
        many => format!("the kernel killed {many} of its processes"),
    };
    Some(if group.at_limit {
        format!("out of memory: over its memory limit of {limit}, so that {killed}")
    } else {
        format!(
            "out of memory: {killed} within its limit of {limit}, because memory outside it ran out"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hard_limit_of_processes_that_is_lower_already_is_kept() {
        let (limit, text) = choose_limit(512, 30, 20);
        assert_eq!(limit, 20, "an ordinary user can set no higher one");
        assert!(text.starts_with("at most 20 processes and threads of this user"), "{text}");
        // 30 that exist and 512 more.
        let (limit, text) = choose_limit(512, 30, 542);
        assert_eq!(
            (limit, text.as_str()),
            (542, "at most 512 processes and threads (RLIMIT_NPROC)")
        );
        assert_eq!(choose_limit(512, 30, 541).0, 541);
        assert_eq!(choose_limit(512, 0, u64::MAX).0, 512);
    }

    #[test]
    fn who_limits_processes_is_told() {
        let inside = InnerProcessLimit::Container { program: 64, image: 512 };
        let container = inside.describe(true).expect("told");
        assert!(container.starts_with("at most 64 processes and threads in the container"));
        assert_eq!(inside.describe(false), None, "nothing to count them with");
        assert_eq!(InnerProcessLimit::Unlimited.describe(true), None);
        assert!(
            InnerProcessLimit::Machine
                .describe(false)
                .is_some_and(|text| !text.contains("no limit"))
        );
    }
}
