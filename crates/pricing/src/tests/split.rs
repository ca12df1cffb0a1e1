//! Splits of bills, worked out by hand: milliseconds of charges that cost 1 per second.

use super::{HEAD, parse};
use crate::{Exact, Terms};
use cyclometer_core::meter::{Meter, Usage};
use cyclometer_core::units::Nanos;

const MS: u64 = 1_000_000;

fn wall(phases: &str) -> String {
    charge(&format!("[[charge.factor]]\nphases = {phases}\nunit = \"s\"\n"))
}

fn charge(factors: &str) -> String {
    format!("{HEAD}[[charge]]\nname = \"time\"\nprice = \"1\"\n{factors}")
}

/// Returns an invocation in milliseconds; `before` is the CPU time until its first instruction.
fn usage(start: u64, run: u64, cpu: u64, before: Option<u64>) -> Usage {
    let mut usage = Usage::new(true);
    usage.phases.start = (start > 0).then_some(Nanos(start * MS));
    usage.phases.run = Some(Nanos(run * MS));
    usage.set(Meter::CpuTime, cpu * MS);
    usage.set(Meter::CpuStartup, before.map(|it| it * MS));
    usage
}

/// Returns the parts that are not 0, in milliseconds.
fn parts(model: &str, usage: &Usage) -> Vec<(&'static str, String)> {
    let model = parse(model);
    let waste = model.waste_by_charge(usage, &Terms::for_model(&model)).unwrap();
    let [(_, waste)] = &waste[..] else { panic!("one charge") };
    let shown = waste.named_parts().into_iter().filter(|(_, part)| !part.is_zero());
    shown
        .map(|(name, part)| (name, (part.as_exact() * &Exact::from(1_000)).to_plain_string()))
        .collect()
}

fn same(model: &str, usage: &Usage, expected: &[(&str, &str)]) {
    let expected: Vec<_> =
        expected.iter().map(|(name, part)| (*name, (*part).to_owned())).collect();
    assert_eq!(parts(model, usage), expected);
}

/// Tests a container: 300 ms of start-up with 20 ms of CPU time in its control group, since the
/// engine works outside of it, and a run of 200 ms that worked for 160 of them. Subtracting the
/// wall time of the start-up from the CPU time left nothing used.
#[test]
fn cpu_time_of_the_run_is_told_by_cpu_time_of_the_start_up() {
    let cold = usage(300, 200, 180, Some(20));
    let model = wall("[\"start\", \"run\"]");
    same(&model, &cold, &[("used", "160"), ("idle", "40"), ("startup", "300")]);
    // Start-up that is not billed does not count as work of the run either.
    same(&wall("[\"run\"]"), &cold, &[("used", "160"), ("idle", "40")]);
    // Several CPUs at once work no longer than it runs.
    let many = usage(300, 200, 780, Some(20));
    same(&model, &many, &[("used", "200"), ("startup", "300")]);
}

#[test]
fn a_run_is_unmeasured_where_cpu_time_is_not_known_by_phase() {
    let cold = usage(300, 200, 180, None);
    let model = wall("[\"start\", \"run\"]");
    same(&model, &cold, &[("startup", "300"), ("unmeasured", "200")]);
    same(&wall("[\"run\"]"), &cold, &[("unmeasured", "200")]);
    let mut created = usage(0, 200, 180, None);
    created.phases.create = Some(Nanos(1));
    same(&model, &created, &[("unmeasured", "200")]);
    // Nothing came before: all CPU time belongs to the run.
    let warm = usage(0, 200, 180, None);
    same(&model, &warm, &[("used", "180"), ("idle", "20")]);
    // In a usage that was written by hand, 0 counts as measured.
    let mut zero = warm;
    (zero.phases.create, zero.phases.start) = (Some(Nanos(0)), Some(Nanos(0)));
    same(&model, &zero, &[("used", "180"), ("idle", "20")]);
}

/// Tests two CPUs for 100 ms: 200 ms, of which 150 worked, not 100 as if only one could.
#[test]
fn several_cpus_that_were_given_can_all_work() {
    let model = charge(
        "[[charge.factor]]\nmeter = \"vcpu_allocated\"\nunit = \"vCPU\"\n\
         [[charge.factor]]\nphases = [\"run\"]\nunit = \"s\"\n",
    );
    let mut two = usage(30, 100, 160, Some(10));
    two.set(Meter::VcpuAllocated, 2_000);
    same(&model, &two, &[("used", "150"), ("idle", "50")]);
    two.set(Meter::CpuStartup, None);
    same(&model, &two, &[("unmeasured", "200")]);
    // A quarter of a CPU was allocated, and a whole one worked.
    let mut quarter = usage(30, 100, 160, Some(10));
    quarter.set(Meter::VcpuAllocated, 250);
    same(&model, &quarter, &[("used", "25")]);
}

/// Tests 8 x 30 ms of CPU time: 240 ms, 230 more than elapsed. The 2 ms of the run explain 16 of
/// them; the rest belongs to the start-up. In the 10 ms that elapsed, a CPU worked for 2.
#[test]
fn what_cpu_time_adds_to_the_time_that_passed_is_split_too() {
    let model = charge(
        "[[charge.factor]]\nunit = \"s\"\n\
         max_of = [{ phases = [\"run\"] }, { meter = \"cpu_time\", times = \"8\" }]\n",
    );
    let cold = usage(70, 10, 30, Some(28));
    same(&model, &cold, &[("used", "18"), ("idle", "8"), ("startup", "214")]);
    same(&model, &usage(70, 10, 30, None), &[("unmeasured", "240")]);
    // All CPU time belongs to the run: 10 + 16 - 10 = 16 more, by 2 ms that worked.
    same(&model, &usage(0, 10, 2, None), &[("used", "8"), ("idle", "8")]);
}

/// Tests a quarter of a CPU for 200 + 600 ms, or the CPU time if that is more: of the 200 ms, a
/// quarter of the start is start-up, and CPUs worked in 60 of 150 ms.
#[test]
fn a_start_up_is_scaled_as_the_alternative_that_it_is_part_of() {
    let model = charge(
        "[[charge.factor]]\nunit = \"s\"\nmax_of = [\
         { phases = [\"start\", \"run\"], times = \"0.25\" }, { meter = \"cpu_time\" }]\n",
    );
    let cold = usage(200, 600, 100, Some(40));
    same(&model, &cold, &[("used", "60"), ("idle", "90"), ("startup", "50")]);
}
