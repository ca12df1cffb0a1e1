//! Shares of CPUs: limits that the kernel enforces on a control group, and the time for which they
//! held its processes back.

use cyclometer_core::units::Nanos;
use cyclometer_meter::cgroup::InvocationGroup;
use cyclometer_meter::function_group::FunctionGroup;
use cyclometer_meter::quota::{CpuLimit, ThrottleMeter};
use cyclometer_meter::{Meter, Provenances, Source, Usage};
use cyclometer_workload::CpuShare;

/// Remedy where functions have no control group in which CPU can be limited, beside what the
/// reason says.
pub(super) const REMEDY: &str = "or leave the CPU share out";

/// Returns the limit that enforces a share.
pub(super) const fn limit_for(share: CpuShare) -> CpuLimit {
    CpuLimit::from_thousandths(share.0)
}

/// Sets or removes the limit of a group.
///
/// # Errors
/// The reason why the share cannot be enforced, and what to do.
pub(super) fn set_share(
    group: Result<&FunctionGroup, &str>,
    share: Option<CpuShare>,
) -> Result<(), String> {
    match (group, share) {
        (Ok(group), share) => {
            let limited = group.limit_cpu(share.map(limit_for));
            limited.map_err(|error| format!("no CPU share can be enforced: {error}"))
        }
        (Err(reason), Some(_)) => {
            Err(format!("no CPU share can be enforced without a control group: {reason}; {REMEDY}"))
        }
        (Err(_), None) => Ok(()),
    }
}

/// Meter of the share of one group.
#[derive(Debug)]
pub(super) struct ShareMeter {
    share: CpuShare,
    throttle: Result<ThrottleMeter, String>,
}

/// Share that held for an invocation, and the time for which it held processes back.
#[derive(Debug, Clone)]
pub(super) struct ShareUsage {
    pub share: CpuShare,
    /// Time throttled, or why it is not known.
    pub throttled: Result<Nanos, String>,
    /// Whether a quota further out may be what throttled them.
    pub has_outer_quotas: bool,
}

impl ShareMeter {
    /// Opens the meter of a group of functions that has that share.
    pub(crate) fn for_function(group: &FunctionGroup, share: CpuShare) -> Self {
        Self { share, throttle: ThrottleMeter::for_function_group(group) }
    }

    /// Opens the meter of a group around a container that has that share.
    pub(crate) fn for_container(group: &InvocationGroup, share: CpuShare) -> Self {
        Self { share, throttle: ThrottleMeter::for_group(group) }
    }

    /// Starts to count from now on.
    pub(crate) fn restart(&mut self) {
        if let Ok(throttle) = &mut self.throttle {
            throttle.take_throttled();
        }
    }

    /// Returns the usage since the meter was opened or restarted, or this was last called.
    pub(crate) fn take_usage(&mut self) -> ShareUsage {
        let gone = || "the control group can no longer be read".to_owned();
        let throttled = match &mut self.throttle {
            Ok(throttle) => throttle.take_throttled().ok_or_else(gone),
            Err(reason) => Err(reason.clone()),
        };
        let has_outer_quotas = self.throttle.as_ref().is_ok_and(ThrottleMeter::has_several_quotas);
        ShareUsage { share: self.share, throttled, has_outer_quotas }
    }
}

impl ShareUsage {
    /// Sets the values.
    pub(crate) fn fill_usage(&self, usage: &mut Usage) {
        usage.set(Meter::VcpuAllocated, u64::from(self.share.0));
        usage.set(Meter::Throttled, self.throttled.as_ref().ok().map(|time| time.0));
    }

    /// Sets the sources; `scope` says what is under the share.
    pub(crate) fn set_sources(&self, scope: &str, all: &mut Provenances) {
        set_share_source(self.share, scope, all);
        match &self.throttled {
            Ok(_) => {
                let outer = if self.has_outer_quotas {
                    ", or a quota around its group if that is longer"
                } else {
                    ""
                };
                let note = format!(
                    "time for which its CPU share held back processes{outer}, summed over CPUs, as \
                     the kernel counts it"
                );
                all.set_source(Meter::Throttled, Source::Cgroup, note);
            }
            Err(reason) => all.set_missing(Meter::Throttled, reason),
        }
    }
}

/// Sets the source of the share itself.
pub(super) fn set_share_source(share: CpuShare, scope: &str, all: &mut Provenances) {
    let note = format!(
        "its CPU share of {share}, enforced as {} of a control group that holds {scope}; what is \
         left of a period when an invocation begins is its too",
        limit_for(share)
    );
    all.set_source(Meter::VcpuAllocated, Source::Plan, note);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Cancel, Job, Lane, NativeLane, NoSampling, StartKind, Status};
    use cyclometer_meter::own_groups::OwnGroups;
    use cyclometer_system::procfs::ProcessIdentity;
    use cyclometer_workload::Catalog;

    #[test]
    fn without_a_group_a_share_is_refused_and_its_absence_is_not() {
        assert_eq!(set_share(Err("read-only"), None), Ok(()));
        let error = set_share(Err("read-only"), Some(CpuShare(500))).expect_err("refused");
        assert!(error.contains("without a control group: read-only; or leave the CPU"), "{error}");
    }

    /// Returns what the kernel says that the groups of this process were throttled, by their names.
    fn kernels_throttled_time() -> Option<u64> {
        let own = OwnGroups::for_this_process().ok()?;
        let cpu = own.cpu.or(own.unified)?;
        let owner = ProcessIdentity::current().ok()?.to_string();
        let folders = std::fs::read_dir(&cpu.directory).ok()?.flatten();
        let ours = folders.filter(|it| it.file_name().to_string_lossy().contains(&owner));
        let times = ours.filter_map(|folder| {
            let text = std::fs::read_to_string(folder.path().join("cpu.stat")).ok()?;
            text.lines().find_map(|line| match line.split_once(' ')? {
                ("throttled_time", time) => time.parse::<u64>().ok(),
                ("throttled_usec", time) => time.parse::<u64>().ok().map(|micros| micros * 1_000),
                _ => None,
            })
        });
        Some(times.sum())
    }

    /// Runs a computation with a fifth of a CPU: however busy the machine is, it gets no more, and
    /// the time for which it was held back is the kernel's.
    #[test]
    fn a_native_function_has_its_share_and_no_more() {
        let mut lane = NativeLane::open().expect("processes can be started");
        let share = CpuShare(200);
        if let Err(error) = lane.check_cpu_share(share) {
            return cyclometer_testkit::skip(&error.to_string());
        }
        let catalog = Catalog::load_builtin().expect("valid");
        let workload = Arc::clone(catalog.get("nbody").expect("there"));
        let preset = Arc::new(workload.find_preset("quick").expect("there").clone());
        let whole = Job::new(0, workload, preset, StartKind::Cold);
        let shared = Job { cpu_share: Some(share), ..whole.clone() };
        let cancel = Cancel::default();
        lane.prepare(&shared, &cancel).expect("prepared");
        let mut outcomes = Vec::new();
        // The group is made by the first; whole CPUs come back after the share.
        let mut kernel = Vec::new();
        for job in [&shared, &shared, &whole] {
            kernel.push(kernels_throttled_time().expect("readable"));
            lane.invoke(job, 1, &mut NoSampling, &cancel, &mut |it| outcomes.push(it));
        }
        kernel.push(kernels_throttled_time().expect("readable"));
        assert!(outcomes.iter().all(|it| it.status == Status::Ok), "{outcomes:?}");
        let of = |at: usize, meter| outcomes[at].usage.get(meter);
        for at in [0, 1] {
            assert_eq!(of(at, Meter::VcpuAllocated), Some(200));
            let (cpu, wall) = (of(at, Meter::CpuTime), of(at, Meter::Wall));
            let (cpu, wall) = (cpu.expect("counted"), wall.expect("timed"));
            // A fifth of the time; a quota at the start, and ticks of two CPUs.
            assert!(cpu <= wall / 5 + 16_000_000, "{cpu} ns in {wall} ns");
            let source = outcomes[at].provenances.get(Meter::Throttled).expect("told");
            assert_eq!(source.source, Some(Source::Cgroup));
        }
        assert_eq!(of(1, Meter::Throttled), Some(kernel[2] - kernel[1]), "{kernel:?}");
        assert_eq!((of(2, Meter::VcpuAllocated), kernel[3] - kernel[2]), (None, 0));
        let told = outcomes[2].provenances.get(Meter::VcpuAllocated).expect("told");
        assert_eq!(told.note, crate::NO_CPU_LIMIT);
    }

    #[test]
    fn a_share_and_its_throttling_have_sources() {
        let usage =
            |throttled| ShareUsage { share: CpuShare(72), throttled, has_outer_quotas: false };
        let known = usage(Ok(Nanos(5)));
        let (mut values, mut all) = (Usage::new(true), Provenances::default());
        known.fill_usage(&mut values);
        known.set_sources("the function", &mut all);
        assert_eq!(values.get(Meter::VcpuAllocated), Some(72));
        assert_eq!(values.get(Meter::Throttled), Some(5));
        let share = all.get(Meter::VcpuAllocated).expect("told");
        assert_eq!(share.source, Some(Source::Plan));
        let begin = "its CPU share of 0.072, enforced as 1.44 ms in each 20.0 ms of a control group \
                     that holds the function;";
        assert!(share.note.starts_with(begin), "{}", share.note);
        assert_eq!(all.get(Meter::Throttled).expect("told").source, Some(Source::Cgroup));
        // What is not known is not 0.
        let unknown = usage(Err("gone".to_owned()));
        unknown.fill_usage(&mut values);
        unknown.set_sources("the function", &mut all);
        assert_eq!(values.get(Meter::Throttled), None);
        let missing = all.get(Meter::Throttled).expect("told");
        assert_eq!((missing.source, missing.note.as_str()), (None, "gone"));
    }
}
