//! Comparison of the billing shapes of "Demystifying Serverless Costs on Public Platforms" with
//! rows that were computed from the paper's formulas elsewhere: `tests/data/README.md` describes
//! how.

use crate::{Exact, Terms, find_builtin_model};
use cyclometer_core::meter::{Meter, Usage};
use cyclometer_core::units::Nanos;

const ROWS: &str = include_str!("../../../../tests/data/eurosys26-rows.csv");
const SHAPES: [&str; 5] = ["huawei", "aws", "gcp", "azure", "cloudflare"];

fn exact(text: &str) -> Exact {
    text.parse().unwrap()
}

/// Returns a decimal times a unit, rounded to the nearest whole number.
fn whole(text: &str, unit: u64) -> u64 {
    let value = &exact(text) * &Exact::from(unit);
    value.round_to(0, crate::RoundingDirection::HalfUp).to_u64().unwrap()
}

fn usage(field: &dyn Fn(&str) -> String) -> Usage {
    let mut usage = Usage::new(false);
    let run = whole(&field("duration_s"), 1_000_000_000);
    usage.phases.run = Some(Nanos(run));
    let cpu = &exact(&field("cpu_cores")) * &Exact::from(run);
    usage.set(Meter::CpuTime, whole(&cpu.to_plain_string(), 1));
    usage.set(Meter::VcpuAllocated, whole(&field("vcpu_allocated_milli"), 1));
    usage.set(Meter::MemoryAllocated, whole(&field("memory_allocated_mb"), 1 << 20));
    usage.set(Meter::MemoryPeak, whole(&field("memory_used_mb"), 1 << 20));
    usage
}

#[test]
fn shapes_bill_what_the_papers_formulas_bill() {
    let mut reader = csv::Reader::from_reader(ROWS.as_bytes());
    let names = reader.headers().unwrap().clone();
    let mut compared = 0;
    for record in reader.records() {
        let record = record.unwrap();
        let field = |name: &str| {
            let at = names.iter().position(|known| known == name);
            at.and_then(|at| record.get(at)).unwrap_or_else(|| panic!("no {name}")).to_owned()
        };
        let usage = usage(&field);
        for shape in SHAPES {
            let model = find_builtin_model(&format!("shape-{shape}")).unwrap();
            let bill = model.bill_under(&usage, &Terms::for_model(model)).unwrap();
            for (charge, column) in [("vCPU time", "vcpu_s"), ("memory", "gb_s")] {
                let billed = bill.lines.iter().find(|line| line.charge.name() == charge);
                let billed = billed.map(|line| line.quantity.clone()).unwrap_or_default();
                let expected = exact(&field(&format!("{shape}_{column}")));
                assert_eq!(billed, expected, "{shape} {charge} of {}", field("row"));
                compared += 1;
            }
        }
    }
    assert!(compared >= 100, "{compared} figures compared");
}
