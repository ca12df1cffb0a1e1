//! Checks of the host: what can be measured, the fix for what cannot, and which lanes
//! run. `doctor` and `lanes` print them, and the host screen shows them.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod storage;
mod surroundings;

use std::path::Path;

use procfs::process::Process;

use cyclometer_core::units::Bytes;
use cyclometer_lanes::{LaneSpec, StartKind, docker};
use cyclometer_meter::cgroup::Hierarchy;
use cyclometer_meter::function_group::FunctionGroup;
use cyclometer_meter::host::{self, Fingerprint};
use cyclometer_meter::own_groups::sees_all_groups;
use cyclometer_meter::perf::has_seccomp_filter;
use cyclometer_meter::quota;
use cyclometer_report::{Cell, Column, Table};
use cyclometer_system::procfs::ProcessIdentity;

pub use storage::storage;
pub use surroundings::surroundings;

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
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

impl State {
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
pub struct Finding {
    /// The subject of the check.
    pub check: String,
    /// Result of the check.
    pub state: State,
    /// Description of what was found.
    pub found: String,
    /// Advice; empty if there is nothing to do.
    pub fix: String,
}

/// Availability of a lane on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneFinding {
    /// Name of the lane.
    pub name: String,
    /// Description of the lane, or why it cannot run and how to fix that.
    pub about: Result<LaneAbout, String>,
}

/// Description of a lane that runs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneAbout {
    /// Runtime and version.
    pub version: String,
    /// Kinds of start that the lane has.
    pub starts: Vec<StartKind>,
    /// Remark on the lane.
    pub note: String,
}

impl Finding {
    fn new(
        check: impl Into<String>,
        state: State,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { check: check.into(), state, found: found.into(), fix: fix.into() }
    }

    fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, State::Ok, found, "")
    }
}

/// Runs all checks of `doctor`; without a database, `database` is the reason why there is
/// none.
#[must_use]
pub fn examine(database: Result<&Path, &str>) -> Vec<Finding> {
    let print = Fingerprint::take();
    let mut findings = machine(&print);
    findings.extend(perf(print.perf_event_paranoid));
    findings.push(cost());
    findings.extend(surroundings());
    findings.extend(control_groups(&print));
    findings.extend(containers().0);
    findings.extend(storage(database));
    findings
}

/// Builds the table of findings.
#[must_use]
pub fn table(findings: &[Finding]) -> Table {
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
pub fn machine(print: &Fingerprint) -> Vec<Finding> {
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
            Finding::ok("TSC frequency", format!("{mhz}, calibrated against the raw clock"))
        }
        None => Finding::new("TSC frequency", State::Missing, "no time-stamp counter", ""),
    };
    let governor = "frequency governor";
    let governor = match print.governor.as_deref() {
        None => Finding::new(governor, State::Absent, "no cpufreq here (a virtual machine?)", ""),
        Some("performance") => Finding::ok(governor, "performance"),
        Some(other) => Finding::new(
            governor,
            State::Warning,
            other,
            "cpupower frequency-set -g performance, for steadier figures",
        ),
    };
    vec![Finding::ok("machine", found), tsc, governor]
}

/// Checks the counters of perf; one finding a meter.
#[must_use]
pub fn perf(paranoid: Option<i32>) -> Vec<Finding> {
    let mut findings = vec![permission(paranoid)];
    if has_seccomp_filter() {
        let found = "a seccomp filter is in force, as in most containers";
        findings.push(Finding::new("seccomp", State::Warning, found, ""));
    }
    findings.extend(counters(host::perf_report()));
    findings
}

/// Returns a finding for each available counter, and one for all counters that are
/// missing for the same reason.
fn counters(reports: Vec<host::CounterReport>) -> Vec<Finding> {
    let (there, missing): (Vec<_>, Vec<_>) =
        reports.into_iter().partition(|report| report.source.is_some());
    let mut findings: Vec<Finding> = there
        .into_iter()
        .filter_map(|host::CounterReport { meter, source, note, .. }| {
            let note = if note.is_empty() { String::new() } else { format!(": {note}") };
            Some(Finding::ok(format!("meter {meter}"), format!("{}{note}", source?)))
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
        [one] => Finding::new(format!("meter {one}"), State::Missing, reason, fix),
        several => {
            let found = format!("{}: {reason}", several.join(", "));
            Finding::new(format!("{} meters", several.len()), State::Missing, found, fix)
        }
    }));
    findings
}

fn permission(paranoid: Option<i32>) -> Finding {
    let check = "perf_event_paranoid";
    match paranoid {
        None => Finding::new(
            check,
            State::Missing,
            "no /proc/sys/kernel/perf_event_paranoid",
            "a kernel with CONFIG_PERF_EVENTS",
        ),
        Some(level) if level <= 1 => Finding::ok(check, level.to_string()),
        Some(level) if nix::unistd::geteuid().is_root() => {
            Finding::ok(check, format!("{level}; root is not bound by it"))
        }
        Some(level) => {
            let what = if level == 2 { "kernel mode is not counted" } else { "no counters" };
            let fix = "sysctl kernel.perf_event_paranoid=1, or CAP_PERFMON";
            Finding::new(check, State::Warning, format!("{level}: {what}"), fix)
        }
    }
}

/// Measures the cost of reading counters; takes some milliseconds of a CPU.
#[must_use]
pub fn cost() -> Finding {
    let check = "cost of a counter read";
    match host::read_cost() {
        Some(cost) => {
            let found = format!("{} for one counter, {} for all that open", cost.one, cost.all);
            Finding::ok(check, found)
        }
        None => Finding::new(check, State::Missing, "no counter opens", ""),
    }
}

/// Checks the capabilities of this process that metering uses.
#[must_use]
pub fn capabilities() -> Finding {
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
            Finding::ok("capabilities", found)
        }
        Err(error) => {
            Finding::new("capabilities", State::Missing, error.to_string(), "mount /proc")
        }
    }
}

/// Checks whether control groups can be created.
#[must_use]
pub fn cgroups() -> Finding {
    match Hierarchy::detect() {
        Ok(hierarchy) => {
            let version = hierarchy.version().label();
            match hierarchy.probe() {
                Ok(()) => Finding::ok("cgroups", format!("{version}, groups can be made")),
                Err(error) => Finding::new(
                    "cgroups",
                    State::Warning,
                    format!("{version}; {error}"),
                    format!(
                        "{}: containers are metered through a group made for each",
                        to_make_groups()
                    ),
                ),
            }
        }
        Err(error) => {
            let fix = "mount a cgroup file system";
            Finding::new("cgroups", State::Missing, error.to_string(), fix)
        }
    }
}

/// Checks control groups: which can be created, and what those around this program limit.
#[must_use]
pub fn control_groups(print: &Fingerprint) -> Vec<Finding> {
    let mut findings = vec![cgroups(), function_group(), process_fence(), cpu_quota()];
    findings.extend(cpus_allowed(print));
    findings.extend(priority());
    findings
}

/// Checks whether a CPU quota of the control groups around this program throttles it.
#[must_use]
pub fn cpu_quota() -> Finding {
    let check = "CPU quota";
    let beyond = if sees_all_groups() { "" } else { ", as far as this container sees" };
    match quota::find_cpu_quota() {
        Ok(None) => Finding::ok(check, format!("none{beyond}")),
        Ok(Some(quota)) => Finding::new(
            check,
            State::Warning,
            format!("{quota}{beyond}: what runs longer than its share of a period is throttled"),
            "raise it (cpu.max, docker --cpus, limits.cpu, CPUQuota=), or record outside of that \
             group: times and bills are too high otherwise",
        ),
        Err(error) => Finding::new(check, State::Missing, error.to_string(), ""),
    }
}

/// Reports CPUs that this program may not run on, if there are any.
fn cpus_allowed(print: &Fingerprint) -> Option<Finding> {
    let (allowed, all) = (print.cpus_allowed?, print.cpus?);
    (allowed < all).then(|| {
        let found = format!("{allowed} of {all}, by affinity or cpuset");
        Finding::new("CPUs allowed", State::Warning, found, "lanes share them with the recorder")
    })
}

/// Reports a priority below the default, which functions inherit.
fn priority() -> Option<Finding> {
    let nice = Process::myself().and_then(|process| process.stat()).ok()?.nice;
    (nice > 0).then(|| {
        let found = format!("nice {nice}: other work comes first, and functions wait");
        Finding::new("priority", State::Warning, found, "run it without nice")
    })
}

/// Checks whether functions of process lanes get a control group of their own.
#[must_use]
pub fn function_group() -> Finding {
    let check = "group for functions";
    match FunctionGroup::create() {
        Ok(_) => Finding::ok(
            check,
            "native and command lanes: one memory limit and peak for all processes of a function",
        ),
        Err(error) => Finding::new(
            check,
            State::Warning,
            error.to_string(),
            format!(
                "{}: without one shared memory escapes the limit, and the peak of several \
                 processes is missing",
                to_make_groups()
            ),
        ),
    }
}

/// Returns what this user lacks to create control groups.
fn to_make_groups() -> &'static str {
    if nix::unistd::geteuid().is_root() {
        "root is not enough here: in a container, it takes a /sys/fs/cgroup that can be written \
         (docker run --cgroupns host -v /sys/fs/cgroup:/sys/fs/cgroup)"
    } else {
        "run as root, or with systemd-run --user --scope -p Delegate=yes"
    }
}

/// Describes how functions of process lanes are isolated from other processes.
#[must_use]
pub fn process_fence() -> Finding {
    let check = "process fence";
    match cyclometer_lanes::describe_process_fence() {
        Ok((fence, true)) => Finding::ok(check, fence),
        Ok((fence, false)) => Finding::new(
            check,
            State::Warning,
            fence,
            "needs CAP_SYS_ADMIN (root outside of a container, or --cap-add SYS_ADMIN), or user \
             namespaces (user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns, \
             the seccomp profile of a container)",
        ),
        Err(reason) => Finding::new(check, State::Warning, reason, ""),
    }
}

/// Checks the Docker engine, and returns a lane for each of its OCI runtimes.
#[must_use]
pub fn containers() -> (Vec<Finding>, Vec<LaneSpec>) {
    let info = match docker::inspect() {
        Ok(info) => info,
        // The error message ends with advice.
        Err(error) => {
            let finding = Finding::new("docker", State::Missing, error.to_string(), "");
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
    (vec![Finding::ok("docker", engine), Finding::ok("docker runtimes", runtimes)], lanes)
}

/// Returns the named lanes and one for each OCI runtime that an engine offers.
#[must_use]
pub fn lanes() -> Vec<LaneSpec> {
    let mut specs = LaneSpec::all();
    specs.extend(containers().1);
    specs
}

/// Opens a lane and closes it again.
#[must_use]
pub fn try_lane(spec: &LaneSpec, owner: &ProcessIdentity) -> LaneFinding {
    let about = match cyclometer_lanes::open(spec, owner) {
        Ok(mut lane) => {
            let about = lane.describe();
            let starts = lane.starts().to_vec();
            lane.close();
            Ok(LaneAbout { version: about.version, starts, note: about.note })
        }
        Err(error) => Err(error.to_string()),
    };
    LaneFinding { name: spec.to_string(), about }
}

/// Builds the table of lanes.
#[must_use]
pub fn lane_table(lanes: Vec<LaneFinding>) -> Table {
    let mut table = Table::new(&[
        Column::text("lane", "lane"),
        Column::text("state", "state"),
        Column::text("version", "version"),
        Column::text("starts", "starts"),
        Column::text("note", "note"),
    ]);
    for LaneFinding { name, about } in lanes {
        table.push(match about {
            Ok(about) => {
                let starts = about.starts();
                let cells = [name, "available".to_owned(), about.version, starts, about.note];
                cells.map(Cell::text).to_vec()
            }
            Err(reason) => vec![
                Cell::text(name),
                Cell::text("unavailable"),
                Cell::maybe::<String>(None),
                Cell::maybe::<String>(None),
                Cell::text(reason),
            ],
        });
    }
    table
}

impl LaneAbout {
    /// Returns the kinds of start, separated by commas.
    #[must_use]
    pub fn starts(&self) -> String {
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
        let told: Vec<_> = machine(&print())
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
        let states: Vec<_> = machine(&bare).iter().map(|it| it.state).collect();
        assert_eq!(states, [State::Ok, State::Missing, State::Absent]);
    }

    #[test]
    fn a_kernel_without_perf_says_which_kernel_has_it() {
        let finding = permission(None);
        assert_eq!(finding.state, State::Missing);
        assert!(finding.fix.contains("CONFIG_PERF_EVENTS"));
        assert_eq!(permission(Some(1)), Finding::ok("perf_event_paranoid", "1"));
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
        let found = counters(vec![
            report(Meter::CpuTime, Some(Source::PerfSoftware), "", ""),
            report(Meter::Cycles, None, "no PMU", "another machine"),
            report(Meter::Migrations, None, "denied", "ask root"),
            report(Meter::Instructions, None, "no PMU", "another machine"),
        ]);
        assert_eq!(
            found,
            [
                Finding::ok("meter cpu_time", "perf:sw"),
                Finding::new(
                    "2 meters",
                    State::Missing,
                    "cycles, instructions: no PMU",
                    "another machine"
                ),
                Finding::new("meter migrations", State::Missing, "denied", "ask root"),
            ]
        );
    }
}
