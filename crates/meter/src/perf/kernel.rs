//! Interface to the kernel's perf subsystem, which tests can replace by a fake one.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use perf_event::{Builder, Counter, CounterData, GroupData, ReadFormat};

use super::event::PerfEvent;
use super::refusal::PerfPrivileges;
use cyclometer_core::units::Nanos;

/// Target that a set of counters watches.
#[derive(Debug, Clone, Copy)]
pub enum CounterTarget<'a> {
    /// The next program that the process with this id starts: counting is
    /// switched on by exec in that child and its children. Good for one child.
    Children(u32),
    /// The calling thread, from now on.
    ThisThread,
    /// Any thread of the process with this id from now on: late attachment.
    Process(u32),
    /// All tasks in the control group whose directory this is.
    Cgroup(&'a File),
}

/// Request for one counter.
#[derive(Debug, Clone, Copy)]
pub(super) struct CounterRequest<'a> {
    pub event: PerfEvent,
    /// Type number of the core PMU that counts a hardware event; `None` leaves the choice
    /// to the kernel, which takes one of them on a CPU with several.
    pub core_pmu: Option<u32>,
    pub target: CounterTarget<'a>,
    /// The only CPU on which it counts, as control groups need it.
    pub cpu: Option<usize>,
    /// Whether kernel mode is counted.
    pub kernel_mode: bool,
}

/// Count, with the times that show whether it is complete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RawCount {
    pub count: u64,
    /// Nanoseconds in which it should have counted.
    pub enabled: u64,
    /// Nanoseconds in which it did count.
    pub running: u64,
}

/// PMU of CPU cores: one on most machines, one per kind of core on hybrid CPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CorePmu {
    /// Name in sysfs, such as `cpu_atom`.
    pub name: String,
    /// Type number for `perf_event_open`.
    pub number: u32,
    /// CPUs that have it; empty for all.
    pub cpus: Vec<usize>,
}

/// Open counter.
pub(super) trait CounterHandle: Send {
    fn read_count(&mut self) -> io::Result<RawCount>;
}

/// Group of open counters that are read by one call.
pub(super) trait GroupHandle: Send {
    /// Reads the counts, in the order in which they were requested.
    fn read_counts(&mut self) -> io::Result<Vec<RawCount>>;
}

/// Perf subsystem of a kernel.
pub(super) trait Kernel: Send + Sync {
    fn open_counter(&self, request: &CounterRequest<'_>) -> io::Result<Box<dyn CounterHandle>>;

    /// Opens counters of the calling thread as one group.
    fn open_group(&self, requests: &[CounterRequest<'_>]) -> io::Result<Box<dyn GroupHandle>>;

    /// Returns the PMUs of the cores, in the order of their names.
    fn core_pmus(&self) -> Vec<CorePmu>;

    fn online_cpus(&self) -> io::Result<Vec<usize>>;

    /// Returns the privileges of this process, to explain a refusal.
    fn read_privileges(&self) -> PerfPrivileges;
}

/// Kernel that this process runs on.
pub(super) struct SystemKernel;

impl Kernel for SystemKernel {
    fn open_counter(&self, request: &CounterRequest<'_>) -> io::Result<Box<dyn CounterHandle>> {
        Ok(Box::new(request.prepare_builder()?.build()?))
    }

    fn open_group(&self, requests: &[CounterRequest<'_>]) -> io::Result<Box<dyn GroupHandle>> {
        let format =
            ReadFormat::GROUP | ReadFormat::TOTAL_TIME_ENABLED | ReadFormat::TOTAL_TIME_RUNNING;
        let (first, rest) = requests
            .split_first()
            .ok_or_else(|| io::Error::other("a group needs at least one counter"))?;
        let mut leader = first.prepare_builder()?.read_format(format).build()?;
        let mut members = Vec::with_capacity(rest.len());
        for request in rest {
            members.push(request.prepare_builder()?.build_with_group(&mut leader)?);
        }
        members.insert(0, leader);
        Ok(Box::new(SystemGroup(members)))
    }

    fn core_pmus(&self) -> Vec<CorePmu> {
        read_core_pmus(Path::new("/sys/bus/event_source/devices"))
    }

    fn online_cpus(&self) -> io::Result<Vec<usize>> {
        let text = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
        parse_cpu_list(&text)
            .ok_or_else(|| io::Error::other(format!("unreadable CPU list `{text}`")))
    }

    fn read_privileges(&self) -> PerfPrivileges {
        PerfPrivileges::for_this_process()
    }
}

impl<'a> CounterRequest<'a> {
    fn prepare_builder(&self) -> io::Result<Builder<'a>> {
        let mut builder = self.event.prepare_builder()?;
        if let Some(number) = self.core_pmu {
            // The kernel takes the PMU of a generic event from the upper half.
            builder.attrs_mut().config |= u64::from(number) << 32;
        }
        builder.exclude_kernel(!self.kernel_mode).exclude_hv(!self.kernel_mode);
        match self.target {
            CounterTarget::Children(pid) => {
                builder.observe_pid(to_signed_pid(pid)?).inherit(true).enable_on_exec(true)
            }
            CounterTarget::Process(pid) => {
                builder.observe_pid(to_signed_pid(pid)?).inherit(true).enabled(true)
            }
            CounterTarget::ThisThread => builder.observe_self().enabled(true),
            CounterTarget::Cgroup(directory) => builder.observe_cgroup(directory).enabled(true),
        };
        if let Some(cpu) = self.cpu {
            builder.one_cpu(cpu);
        }
        Ok(builder)
    }
}

fn to_signed_pid(pid: u32) -> io::Result<i32> {
    i32::try_from(pid).map_err(io::Error::other)
}

impl CounterHandle for Counter {
    fn read_count(&mut self) -> io::Result<RawCount> {
        let data = self.read_full()?;
        // Both times are in the read format of every counter built here.
        let nanos = |field: fn(&CounterData) -> Option<Duration>| {
            field(&data).map_or(0, |span| Nanos::from(span).0)
        };
        Ok(RawCount {
            count: data.count(),
            enabled: nanos(CounterData::time_enabled),
            running: nanos(CounterData::time_running),
        })
    }
}

/// Counters of one group, its leader first.
struct SystemGroup(Vec<Counter>);

impl GroupHandle for SystemGroup {
    fn read_counts(&mut self) -> io::Result<Vec<RawCount>> {
        let lost = || io::Error::other("a counter is not in what was read of its group");
        let leader = self.0.first_mut().ok_or_else(lost)?;
        let group: GroupData = leader.read_group()?;
        let nanos = |span: Option<Duration>| span.map(|span| Nanos::from(span).0);
        let enabled = nanos(group.time_enabled()).ok_or_else(lost)?;
        let running = nanos(group.time_running()).ok_or_else(lost)?;
        let count = |counter: &Counter| {
            let entry = group.get(counter).ok_or_else(lost)?;
            Ok(RawCount { count: entry.value(), enabled, running })
        };
        self.0.iter().map(count).collect()
    }
}

/// Reads the PMUs of cores from a sysfs folder: the one called `cpu`, and those that name
/// the CPUs they belong to. PMUs outside of cores have a `cpumask` instead.
pub(super) fn read_core_pmus(folder: &Path) -> Vec<CorePmu> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let read = |entry: io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        let cpus = std::fs::read_to_string(entry.path().join("cpus")).ok();
        if cpus.is_none() && name != "cpu" {
            return None;
        }
        let cpus = match cpus {
            Some(text) => parse_cpu_list(&text)?,
            None => Vec::new(),
        };
        let number = std::fs::read_to_string(entry.path().join("type")).ok()?;
        Some(CorePmu { name, number: number.trim().parse().ok()?, cpus })
    };
    let mut pmus: Vec<CorePmu> = entries.filter_map(read).collect();
    pmus.sort_by(|one, other| one.name.cmp(&other.name));
    pmus
}

/// Parses sysfs' list format, `0-3,6`.
fn parse_cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpu_list("0-3,6\n"), Some(vec![0, 1, 2, 3, 6]));
        assert_eq!(parse_cpu_list("0"), Some(vec![0]));
        assert_eq!(parse_cpu_list("x"), None);
    }

    #[test]
    fn core_pmus_are_told_from_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |pmu: &str, files: &[(&str, &str)]| {
            let path = folder.path().join(pmu);
            std::fs::create_dir(&path).expect("made");
            for (name, content) in files {
                std::fs::write(path.join(name), content).expect("written");
            }
        };
        write("msr", &[("type", "10\n")]);
        write("uncore_imc", &[("type", "20\n"), ("cpumask", "0\n")]);
        write("cpu_atom", &[("type", "8\n"), ("cpus", "2-3\n")]);
        write("cpu_core", &[("type", "4\n"), ("cpus", "0-1\n")]);
        let pmu = |name: &str, number, cpus: [usize; 2]| CorePmu {
            name: name.to_owned(),
            number,
            cpus: cpus.to_vec(),
        };
        let found = read_core_pmus(folder.path());
        assert_eq!(found, [pmu("cpu_atom", 8, [2, 3]), pmu("cpu_core", 4, [0, 1])]);
        assert_eq!(read_core_pmus(Path::new("/nonexistent")), []);
    }
}
