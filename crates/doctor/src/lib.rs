//! Checks of the host: what can be measured, the fix for what cannot, and which lanes
//! run. `doctor` and `lanes` print them, and the host screen shows them.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod environment;
mod storage;

use std::path::Path;

use procfs::process::Process;

use cyclometer_core::units::Bytes;
use cyclometer_lanes::{LaneSpec, StartKind, docker};
use cyclometer_meter::cgroup::Hierarchy;
use cyclometer_meter::function_group::FunctionGroup;
use cyclometer_meter::host::{self, Fingerprint};
use cyclometer_meter::own_groups::sees_all_groups;
use cyclometer_meter::perf::has_seccomp_filter;
use cyclometer_meter::quota::{self, CpuLimit};
use cyclometer_report::{Cell, Column, Table};
use cyclometer_system::procfs::ProcessIdentity;

pub use environment::check_environment;
pub use storage::check_storage;

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostCheckState {
    /// It is present.
    Ok,
    /// It is present, but less than it could be.
    Warning,
    /// It is not present, and nothing is lost by that.
    Absent,
    /// It is not present.
    Missing,
    /// It is present but cannot be used.
    Unusable,
}

impl HostCheckState {
    /// Returns the word that is shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Absent => "none",
            Self::Missing => "missing",
            Self::Unusable => "unusable",
        }
    }
}

/// One line of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFinding {
    /// The subject of the check.
    pub check: String,
    /// Result of the check.
    pub state: HostCheckState,
    /// Description of what was found.
    pub found: String,
    /// Advice; empty if there is nothing to do.
    pub fix: String,
}

/// Availability of a lane on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneAvailability {
    /// Name of the lane.
    pub name: String,
    /// Description of the lane, or why it cannot run and how to fix that.
    pub about: Result<AvailableLane, String>,
}

/// Description of a lane that runs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvailableLane {
    /// Runtime and version.
    pub version: String,
    /// Kinds of start that the lane has.
    pub starts: Vec<StartKind>,
    /// Remark on the lane.
    pub note: String,
}

impl HostFinding {
    fn new(
        check: impl Into<String>,
        state: HostCheckState,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { check: check.into(), state, found: found.into(), fix: fix.into() }
    }

    fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, HostCheckState::Ok, found, "")
    }
}

/// Runs all checks of `doctor`; without a database, `database` is the reason why there is
/// none.
#[must_use]
pub fn run_checks(database: Result<&Path, &str>) -> Vec<HostFinding> {
    let print = Fingerprint::for_this_host();
    let mut findings = check_machine(&print);
    findings.extend(check_perf(print.perf_event_paranoid));
    findings.push(check_counter_cost());
    findings.extend(check_environment());
    findings.extend(check_control_groups(&print));
    findings.extend(check_containers().0);
    findings.extend(check_storage(database));
    findings
}

/// Builds the table of findings.
#[must_use]
pub fn findings_table(findings: &[HostFinding]) -> Table {
    let mut table = Table::new(&[
        Column::text("check", "check"),
        Column::text("state", "state"),
        Column::text("found", "found"),
        Column::text("fix", "fix"),
    ]);
    for it in findings {
        let cells = [&*it.check, it.state.label(), &*it.found, &*it.fix];
        table.push(cells.map(Cell::text).to_vec());
    }
    table
}

/// Checks CPU, memory, kernel and clocks.
#[must_use]
pub fn check_machine(print: &Fingerprint) -> Vec<HostFinding> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let found = format!(
        "{} x {}, {} of memory, {}, kernel {}",
        print.cpus.map_or_else(|| "?".to_owned(), |cpus| cpus.to_string()),
        text(&print.cpu),
        print.memory_bytes.map_or_else(|| "?".to_owned(), |size| Bytes(size).to_string()),
        text(&print.os),
        text(&print.kernel),
    );
    let tsc = match print.tsc_hz {
        Some(hz) => {
            let mhz = format!("{}.{:03} MHz", hz / 1_000_000, hz / 1_000 % 1_000);
            HostFinding::ok("TSC frequency", format!("{mhz}, calibrated against the raw clock"))
        }
        None => {
            HostFinding::new("TSC frequency", HostCheckState::Missing, "no time-stamp counter", "")
        }
    };
    let governor = "frequency governor";
    let governor = match print.governor.as_deref() {
        None => HostFinding::new(
            governor,
            HostCheckState::Absent,
            "no cpufreq here (a virtual machine?)",
            "",
        ),
        Some("performance") => HostFinding::ok(governor, "performance"),
        Some(other) => HostFinding::new(
            governor,
            HostCheckState::Warning,
            other,
            "cpupower frequency-set -g performance, for steadier figures",
        ),
    };
    vec![HostFinding::ok("machine", found), tsc, governor]
}

/// Checks the counters of perf; one finding a meter.
#[must_use]
pub fn check_perf(paranoid: Option<i32>) -> Vec<HostFinding> {
    let mut findings = vec![check_perf_permission(paranoid)];
    if has_seccomp_filter() {
        let found = "a seccomp filter is in force, as in most containers";
        findings.push(HostFinding::new("seccomp", HostCheckState::Warning, found, ""));
    }
    findings.extend(counter_findings(host::perf_report()));
    findings
}

/// Returns a finding for each available counter, and one for all counters that are
/// missing for the same reason.
fn counter_findings(reports: Vec<host::CounterReport>) -> Vec<HostFinding> {
    let (there, missing): (Vec<_>, Vec<_>) =
        reports.into_iter().partition(|report| report.source.is_some());
    let mut findings: Vec<HostFinding> = there
        .into_iter()
        .filter_map(|host::CounterReport { meter, source, note, .. }| {
            let note = if note.is_empty() { String::new() } else { format!(": {note}") };
            Some(HostFinding::ok(format!("meter {meter}"), format!("{}{note}", source?)))
        })
        .collect();
    let mut causes: Vec<(String, String, Vec<&'static str>)> = Vec::new();
    for host::CounterReport { meter, note, remedy, .. } in missing {
        match causes.iter_mut().find(|(reason, fix, _)| *reason == note && *fix == remedy) {
            Some((_, _, meters)) => meters.push(meter.name()),
            None => causes.push((note, remedy, vec![meter.name()])),
        }
    }
    findings.extend(causes.into_iter().map(|(reason, fix, meters)| match &*meters {
        [one] => HostFinding::new(format!("meter {one}"), HostCheckState::Missing, reason, fix),
        several => {
            let found = format!("{}: {reason}", several.join(", "));
            HostFinding::new(
                format!("{} meters", several.len()),
                HostCheckState::Missing,
                found,
                fix,
            )
        }
    }));
    findings
}

fn check_perf_permission(paranoid: Option<i32>) -> HostFinding {
    let check = "perf_event_paranoid";
    match paranoid {
        None => HostFinding::new(
            check,
            HostCheckState::Missing,
            "no /proc/sys/kernel/perf_event_paranoid",
            "a kernel with CONFIG_PERF_EVENTS",
        ),
        Some(level) if level <= 1 => HostFinding::ok(check, level.to_string()),
        Some(level) if nix::unistd::geteuid().is_root() => {
            HostFinding::ok(check, format!("{level}; root is not bound by it"))
        }
        Some(level) => {
            let what = if level == 2 { "kernel mode is not counted" } else { "no counters" };
            let fix = "sysctl kernel.perf_event_paranoid=1, or CAP_PERFMON";
            HostFinding::new(check, HostCheckState::Warning, format!("{level}: {what}"), fix)
        }
    }
}

/// Measures the cost of reading counters; takes some milliseconds of a CPU.
#[must_use]
pub fn check_counter_cost() -> HostFinding {
    let check = "cost of a counter read";
    match host::read_cost() {
        Some(cost) => {
            let found = format!("{} for one counter, {} for all that open", cost.one, cost.all);
            HostFinding::ok(check, found)
        }
        None => HostFinding::new(check, HostCheckState::Missing, "no counter opens", ""),
    }
}

/// Checks the capabilities of this process that metering uses.
#[must_use]
pub(crate) fn check_capabilities() -> HostFinding {
    // From linux/capability.h.
    const NAMES: [(u32, &str); 3] =
        [(21, "CAP_SYS_ADMIN"), (38, "CAP_PERFMON"), (19, "CAP_SYS_PTRACE")];
    match Process::myself().and_then(|process| process.status()) {
        Ok(status) => {
            let has = |bit: u32| status.capeff >> bit & 1 == 1;
            let found: Vec<_> =
                NAMES.iter().filter(|(bit, _)| has(*bit)).map(|(_, name)| *name).collect();
            let found =
                if found.is_empty() { "none of interest".to_owned() } else { found.join(" ") };
            HostFinding::ok("capabilities", found)
        }
        Err(error) => HostFinding::new(
            "capabilities",
            HostCheckState::Missing,
            error.to_string(),
            "mount /proc",
        ),
    }
}

/// Checks whether control groups can be created.
#[must_use]
pub(crate) fn check_cgroups() -> HostFinding {
    match Hierarchy::detect() {
        Ok(hierarchy) => {
            let version = hierarchy.version().label();
            match hierarchy.check_can_create() {
                Ok(()) => HostFinding::ok("cgroups", format!("{version}, groups can be made")),
                Err(error) => HostFinding::new(
                    "cgroups",
                    HostCheckState::Warning,
                    format!("{version}; {error}"),
                    format!(
                        "{}: containers are metered through a group made for each",
                        group_creation_advice()
                    ),
                ),
            }
        }
        Err(error) => {
            let fix = "mount a cgroup file system";
            HostFinding::new("cgroups", HostCheckState::Missing, error.to_string(), fix)
        }
    }
}

/// Checks control groups: which can be created, and what those around this program limit.
#[must_use]
pub fn check_control_groups(print: &Fingerprint) -> Vec<HostFinding> {
    let mut findings = vec![
        check_cgroups(),
        check_function_group(),
        check_cpu_share(),
        check_process_fence(),
        check_cpu_quota(),
    ];
    findings.extend(check_allowed_cpus(print));
    findings.extend(check_priority());
    findings
}

/// Checks whether a CPU quota of the control groups around this program throttles it.
#[must_use]
pub(crate) fn check_cpu_quota() -> HostFinding {
    let check = "CPU quota";
    let beyond = if sees_all_groups() { "" } else { ", as far as this container sees" };
    match quota::find_cpu_quota() {
        Ok(None) => HostFinding::ok(check, format!("none{beyond}")),
        Ok(Some(quota)) => HostFinding::new(
            check,
            HostCheckState::Warning,
            format!("{quota}{beyond}: what runs longer than its share of a period is throttled"),
            "raise it (cpu.max, docker --cpus, limits.cpu, CPUQuota=), or record outside of that \
             group: times and bills are too high otherwise",
        ),
        Err(error) => HostFinding::new(check, HostCheckState::Missing, error.to_string(), ""),
    }
}

/// Reports CPUs that this program may not run on, if there are any.
fn check_allowed_cpus(print: &Fingerprint) -> Option<HostFinding> {
    let (allowed, all) = (print.cpus_allowed?, print.cpus?);
    (allowed < all).then(|| {
        let found = format!("{allowed} of {all}, by affinity or cpuset");
        HostFinding::new(
            "CPUs allowed",
            HostCheckState::Warning,
            found,
            "lanes share them with the recorder",
        )
    })
}

/// Reports a priority below the default, which functions inherit.
fn check_priority() -> Option<HostFinding> {
    let nice = Process::myself().and_then(|process| process.stat()).ok()?.nice;
    (nice > 0).then(|| {
        let found = format!("nice {nice}: other work comes first, and functions wait");
        HostFinding::new("priority", HostCheckState::Warning, found, "run it without nice")
    })
}

/// Checks whether functions of process lanes get a control group of their own.
#[must_use]
pub(crate) fn check_function_group() -> HostFinding {
    let check = "group for functions";
    match FunctionGroup::create() {
        Ok(_) => HostFinding::ok(
            check,
            "native and command lanes: one memory limit and peak for all processes of a function",
        ),
        Err(error) => HostFinding::new(
            check,
            HostCheckState::Warning,
            error.to_string(),
            format!(
                "{}: without one shared memory escapes the limit, and the peak of several \
                 processes is missing",
                group_creation_advice()
            ),
        ),
    }
}

/// Checks whether functions of process lanes can be held to a share of CPUs, by holding a group to
/// one.
#[must_use]
pub(crate) fn check_cpu_share() -> HostFinding {
    let check = "CPU shares";
    // A twentieth, so that a quota around this program does not matter.
    let limit = CpuLimit::from_thousandths(50);
    match FunctionGroup::create().and_then(|group| group.limit_cpu(Some(limit))) {
        Ok(()) => HostFinding::ok(
            check,
            "--cpus and --cpu-by-memory can be enforced in native, wasmtime and command lanes",
        ),
        Err(error) => HostFinding::new(
            check,
            HostCheckState::Warning,
            error.to_string(),
            format!(
                "{}: lanes that need it refuse --cpus and --cpu-by-memory",
                group_creation_advice()
            ),
        ),
    }
}

/// Returns what this user lacks to create control groups.
fn group_creation_advice() -> &'static str {
    if nix::unistd::geteuid().is_root() {
        "root is not enough here: in a container, it takes a /sys/fs/cgroup that can be written \
         (docker run --cgroupns host -v /sys/fs/cgroup:/sys/fs/cgroup)"
    } else {
        "run as root, or with systemd-run --user --scope -p Delegate=yes"
    }
}

/// Describes how functions of process lanes are isolated from other processes.
#[must_use]
pub(crate) fn check_process_fence() -> HostFinding {
    let check = "process fence";
    match cyclometer_lanes::describe_process_fence() {
        Ok((fence, true)) => HostFinding::ok(check, fence),
        Ok((fence, false)) => HostFinding::new(
            check,
            HostCheckState::Warning,
            fence,
            "needs CAP_SYS_ADMIN (root outside of a container, or --cap-add SYS_ADMIN), or user \
             namespaces (user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns, \
             the seccomp profile of a container)",
        ),
        Err(reason) => HostFinding::new(check, HostCheckState::Warning, reason, ""),
    }
}

/// Checks the Docker engine, and returns a lane for each of its OCI runtimes.
#[must_use]
pub fn check_containers() -> (Vec<HostFinding>, Vec<LaneSpec>) {
    let info = match docker::inspect_engine() {
        Ok(info) => info,
        // The error message ends with advice.
        Err(error) => {
            let finding =
                HostFinding::new("docker", HostCheckState::Missing, error.to_string(), "");
            return (vec![finding], Vec::new());
        }
    };
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
    let engine = format!(
        "{} at {}, API {}, cgroup {} v{}, {}",
        or(&info.version),
        info.endpoint,
        or(&info.api_version),
        or(&info.cgroup_driver),
        or(&info.cgroup_version),
        or(&info.storage_driver),
    );
    let runtimes = format!("{}; default {}", info.runtimes.join(" "), or(&info.default_runtime));
    // Short names only: the shims that containerd lists are the same runtimes.
    let short = info.runtimes.into_iter().filter(|name| !name.starts_with("io.containerd."));
    let lanes = short.map(|name| LaneSpec::Docker { runtime: Some(name), base: None }).collect();
    (vec![HostFinding::ok("docker", engine), HostFinding::ok("docker runtimes", runtimes)], lanes)
}

/// Returns the named lanes and one for each OCI runtime that an engine offers.
#[must_use]
pub fn list_lanes() -> Vec<LaneSpec> {
    let mut specs = LaneSpec::all_known();
    specs.extend(check_containers().1);
    specs
}

/// Opens a lane and closes it again.
#[must_use]
pub fn try_lane(spec: &LaneSpec, owner: &ProcessIdentity) -> LaneAvailability {
    let about = match cyclometer_lanes::open_lane(spec, owner) {
        Ok(mut lane) => {
            let about = lane.describe();
            let starts = lane.start_kinds().to_vec();
            lane.close();
            Ok(AvailableLane { version: about.version, starts, note: about.note })
        }
        Err(error) => Err(error.to_string()),
    };
    LaneAvailability { name: spec.to_string(), about }
}

/// Builds the table of lanes.
#[must_use]
pub fn lane_table(lanes: Vec<LaneAvailability>) -> Table {
    let mut table = Table::new(&[
        Column::text("lane", "lane"),
        Column::text("state", "state"),
        Column::text("version", "version"),
        Column::text("starts", "starts"),
        Column::text("note", "note"),
    ]);
    for LaneAvailability { name, about } in lanes {
        table.push(match about {
            Ok(about) => {
                let starts = about.start_labels();
                let cells = [name, "available".to_owned(), about.version, starts, about.note];
                cells.map(Cell::text).to_vec()
            }
            Err(reason) => vec![
                Cell::text(name),
                Cell::text("unavailable"),
                Cell::optional::<String>(None),
                Cell::optional::<String>(None),
                Cell::text(reason),
            ],
        });
    }
    table
}

impl AvailableLane {
    /// Returns the kinds of start, separated by commas.
    #[must_use]
    pub fn start_labels(&self) -> String {
        let starts: Vec<_> = self.starts.iter().map(|start| start.label()).collect();
        starts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print() -> Fingerprint {
        Fingerprint {
            hostname: None,
            cpu: Some("Some CPU".to_owned()),
            cpus: Some(2),
            memory_bytes: Some(4 << 30),
            kernel: Some("6.1".to_owned()),
            os: None,
            arch: "x86_64".to_owned(),
            tsc_hz: Some(2_900_012_345),
            cgroups: None,
            perf_event_paranoid: None,
            governor: Some("powersave".to_owned()),
            cyclometer: "0".to_owned(),
            clock: None,
            cpu_quota: None,
            cpus_allowed: Some(2),
        }
    }

    #[test]
    fn the_machine_is_told_with_what_to_do() {
        let told: Vec<_> = check_machine(&print())
            .into_iter()
            .map(|it| format!("{} {} {} {}", it.check, it.state.label(), it.found, it.fix))
            .collect();
        assert_eq!(
            told,
            [
                "machine ok 2 x Some CPU, 4.00 GiB of memory, unknown, kernel 6.1 ",
                "TSC frequency ok 2900.012 MHz, calibrated against the raw clock ",
                "frequency governor warning powersave cpupower frequency-set -g performance, for \
                 steadier figures",
            ]
        );
        let bare = Fingerprint { tsc_hz: None, governor: None, ..print() };
        let states: Vec<_> = check_machine(&bare).iter().map(|it| it.state).collect();
        assert_eq!(states, [HostCheckState::Ok, HostCheckState::Missing, HostCheckState::Absent]);
    }

    #[test]
    fn a_kernel_without_perf_says_which_kernel_has_it() {
        let finding = check_perf_permission(None);
        assert_eq!(finding.state, HostCheckState::Missing);
        assert!(finding.fix.contains("CONFIG_PERF_EVENTS"));
        assert_eq!(check_perf_permission(Some(1)), HostFinding::ok("perf_event_paranoid", "1"));
    }

    #[test]
    fn counters_that_are_missing_for_one_reason_are_told_once() {
        use cyclometer_meter::{Meter, Source};
        let report = |meter, source, note: &str, remedy: &str| host::CounterReport {
            meter,
            source,
            note: note.to_owned(),
            remedy: remedy.to_owned(),
        };
        let found = counter_findings(vec![
            report(Meter::CpuTime, Some(Source::PerfSoftware), "", ""),
            report(Meter::Cycles, None, "no PMU", "another machine"),
            report(Meter::Migrations, None, "denied", "ask root"),
            report(Meter::Instructions, None, "no PMU", "another machine"),
        ]);
        assert_eq!(
            found,
            [
                HostFinding::ok("meter cpu_time", "perf:sw"),
                HostFinding::new(
                    "2 meters",
                    HostCheckState::Missing,
                    "cycles, instructions: no PMU",
                    "another machine"
                ),
                HostFinding::new("meter migrations", HostCheckState::Missing, "denied", "ask root"),
            ]
        );
    }
}
