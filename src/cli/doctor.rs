//! `doctor`: what can be measured here, and the fix for what cannot.

use std::process::ExitCode;

use procfs::process::Process;

use super::{Common, Outcome};
use crate::lane::docker;
use crate::lane::wasmtime::engine;
use crate::meter::cgroup::Hierarchy;
use crate::meter::host::{self, Fingerprint};
use crate::report::{Cell, Column, Table};
use crate::store::Store;
use crate::units::Bytes;

/// Rows of the table, in the order in which they are told.
struct Findings(Table);

/// Runs the command.
pub(super) fn run(common: &Common) -> Outcome {
    let mut findings = Findings(Table::new(&[
        Column::text("check", "check"),
        Column::text("state", "state"),
        Column::text("found", "found"),
        Column::text("fix", "fix"),
    ]));
    let machine = Fingerprint::take();
    findings.machine(&machine);
    findings.perf(&machine);
    findings.capabilities();
    findings.cgroups();
    findings.docker();
    findings.storage(common);
    common.print(&findings.0)?;
    Ok(ExitCode::SUCCESS)
}

impl Findings {
    fn add(&mut self, check: &str, state: &str, found: impl Into<String>, fix: impl Into<String>) {
        self.0.push(vec![Cell::text(check), Cell::text(state), Cell::text(found), Cell::text(fix)]);
    }

    fn machine(&mut self, machine: &Fingerprint) {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        let found = format!(
            "{} x {}, {} of memory, {}, kernel {}",
            machine.cpus.map_or_else(|| "?".to_owned(), |cpus| cpus.to_string()),
            text(&machine.cpu),
            machine.memory_bytes.map_or_else(|| "?".to_owned(), |size| Bytes(size).to_string()),
            text(&machine.os),
            text(&machine.kernel),
        );
        self.add("machine", "ok", found, "");
        match machine.tsc_hz {
            Some(hz) => {
                let mhz = format!(
                    "{}.{:03} MHz, calibrated against the raw clock",
                    hz / 1_000_000,
                    hz / 1_000 % 1_000
                );
                self.add("TSC frequency", "ok", mhz, "");
            }
            None => self.add("TSC frequency", "missing", "no time-stamp counter", ""),
        }
        match machine.governor.as_deref() {
            None => {
                self.add("frequency governor", "none", "no cpufreq here (a virtual machine?)", "");
            }
            Some("performance") => self.add("frequency governor", "ok", "performance", ""),
            Some(other) => self.add(
                "frequency governor",
                "warning",
                other,
                "cpupower frequency-set -g performance, for steadier figures",
            ),
        }
    }

    fn perf(&mut self, machine: &Fingerprint) {
        let paranoid = machine.perf_event_paranoid;
        match paranoid {
            None => self.add(
                "perf_event_paranoid",
                "missing",
                "no /proc/sys/kernel/perf_event_paranoid",
                "a kernel with CONFIG_PERF_EVENTS",
            ),
            Some(level) if level <= 1 => {
                self.add("perf_event_paranoid", "ok", level.to_string(), "");
            }
            Some(level) if nix::unistd::geteuid().is_root() => self.add(
                "perf_event_paranoid",
                "ok",
                format!("{level}; root is not bound by it"),
                "",
            ),
            Some(level) => {
                let what = if level == 2 { "kernel mode is not counted" } else { "no counters" };
                let fix = "sysctl kernel.perf_event_paranoid=1, or CAP_PERFMON";
                self.add("perf_event_paranoid", "warning", format!("{level}: {what}"), fix);
            }
        }
        for (meter, source, note) in host::perf_report() {
            if let Some(source) = source {
                let note = if note.is_empty() { String::new() } else { format!(": {note}") };
                self.add(&format!("meter {meter}"), "ok", format!("{source}{note}"), "");
            } else {
                let fix = host::perf_fix(meter, &note);
                self.add(&format!("meter {meter}"), "missing", note, fix);
            }
        }
        match host::read_cost() {
            Some(cost) => {
                let found = format!("{} for one counter, {} for all that open", cost.one, cost.all);
                self.add("cost of a counter read", "ok", found, "");
            }
            None => self.add("cost of a counter read", "missing", "no counter opens", ""),
        }
    }

    fn capabilities(&mut self) {
        // From linux/capability.h.
        const NAMES: [(u32, &str); 3] =
            [(21, "CAP_SYS_ADMIN"), (38, "CAP_PERFMON"), (19, "CAP_SYS_PTRACE")];
        let effective = Process::myself().and_then(|process| process.status());
        match effective {
            Ok(status) => {
                let has = |bit: u32| status.capeff >> bit & 1 == 1;
                let found: Vec<_> =
                    NAMES.iter().filter(|(bit, _)| has(*bit)).map(|(_, name)| *name).collect();
                let found =
                    if found.is_empty() { "none of interest".to_owned() } else { found.join(" ") };
                self.add("capabilities", "ok", found, "");
            }
            Err(error) => self.add("capabilities", "missing", error.to_string(), "mount /proc"),
        }
    }

    fn cgroups(&mut self) {
        match Hierarchy::detect() {
            Ok(hierarchy) => {
                let version = hierarchy.version().label();
                match hierarchy.probe() {
                    Ok(()) => {
                        self.add("cgroups", "ok", format!("{version}, groups can be made"), "");
                    }
                    Err(error) => self.add(
                        "cgroups",
                        "warning",
                        format!("{version}; {error}"),
                        "run as root: containers are metered through a group made for each",
                    ),
                }
            }
            Err(error) => {
                self.add("cgroups", "missing", error.to_string(), "mount a cgroup file system");
            }
        }
    }

    fn docker(&mut self) {
        match docker::inspect() {
            Ok(info) => {
                let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
                let found = format!(
                    "{} at {}, API {}, cgroup {} v{}, {}",
                    or(&info.version),
                    info.endpoint,
                    or(&info.api_version),
                    or(&info.cgroup_driver),
                    or(&info.cgroup_version),
                    or(&info.storage_driver),
                );
                self.add("docker", "ok", found, "");
                let default = or(&info.default_runtime);
                let found = format!("{}; default {default}", info.runtimes.join(" "));
                self.add("docker runtimes", "ok", found, "");
            }
            Err(error) => {
                // The reason ends with what to do.
                self.add("docker", "missing", error.to_string(), "");
            }
        }
    }

    fn storage(&mut self, common: &Common) {
        let path = common.db_path();
        match std::fs::metadata(&path).map(|data| Bytes(data.len())) {
            Err(_) => self.add("database", "ok", format!("{}, not made yet", path.display()), ""),
            Ok(size) => match Store::examine(&path) {
                Ok(()) => self.add("database", "ok", format!("{}, {size}", path.display()), ""),
                Err(error) => self.add("database", "unusable", error.to_string(), ""),
            },
        }
        match engine::cache_folder() {
            Ok(folder) => self.add("compiled modules", "ok", folder.display().to_string(), ""),
            Err(error) => self.add(
                "compiled modules",
                "missing",
                error.to_string(),
                "set XDG_CACHE_HOME to a folder of yours",
            ),
        }
        self.add("wasmtime", "ok", engine::VERSION, "");
    }
}
