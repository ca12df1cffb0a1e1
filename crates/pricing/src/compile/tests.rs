//! Comparison of the compiled form with the definition.

use proptest::prelude::*;

use super::execution::ROWS_PER_BLOCK;
use super::*;
use crate::evaluate::EvalContext;
use crate::number::Exact;
use crate::{builtin_models, waste};
use cyclometer_core::meter::{Phases, Usage};
use cyclometer_core::units::Nanos;

fn program(with_split: bool) -> PricingProgram {
    let models = builtin_models().iter().map(|model| (model.clone(), Terms::for_model(model)));
    PricingProgram::new(models.collect(), with_split, None)
}

/// Evaluates the definition row by row.
fn reference(program: &PricingProgram, rows: &[Usage]) -> Vec<ModelSums> {
    let model_sums = |(model, terms): &(PriceModel, Terms)| {
        let charges: Vec<_> = model.invocation_charges(terms).collect();
        let mut sums = ModelSums::default();
        sums.charges.resize_with(charges.len(), ChargeSum::default);
        for usage in rows {
            let scene = EvalContext { model, usage, terms };
            let lines: Result<Vec<_>, _> = charges
                .iter()
                .map(|charge| {
                    Ok((scene.billed_quantity(charge)?, waste::split_charge(&scene, charge)?))
                })
                .collect();
            match lines {
                Err(refusal) => *sums.refused.entry(refusal).or_default() += 1,
                Ok(lines) => {
                    sums.billed += 1;
                    for (sum, ((quantity, note), parts)) in sums.charges.iter_mut().zip(lines) {
                        sum.quantity += &quantity;
                        sum.waste += &parts;
                        if let Some(note) = note {
                            *sums.notes.entry(note).or_default() += 1;
                        }
                    }
                }
            }
        }
        sums
    };
    program.models().iter().map(model_sums).collect()
}

/// Runs the rows in batches, as a replay does.
fn compiled(program: &mut PricingProgram, rows: &[Usage]) -> Vec<ModelSums> {
    let mut batches: HashMap<SignalSet, UsageBatch> = HashMap::new();
    for usage in rows {
        let present = program.required_signals().measured_in(usage);
        batches.entry(present).or_insert_with(|| UsageBatch::new(present)).push_usage(usage);
    }
    let mut sums = Sums::default();
    for batch in batches.values() {
        // In two halves, so that merging is part of it.
        let mut own = Sums::default();
        program.run_batch(batch, &mut own);
        sums.merge(&own);
    }
    assert_eq!(sums.row_count(), rows.len() as u64);
    sums.model_sums(program)
}

/// Strategy for values as they are measured, many of them where a step of a grid, a minimum or a
/// row of a table ends.
fn measured() -> impl Strategy<Value = u64> {
    let step = prop_oneof![
        Just(1_000_000_u64),
        Just(5_000_000),
        Just(100_000_000),
        Just(1 << 20),
        Just(1 << 26),
        Just(1 << 27),
    ];
    let edge = (step, 0_u64..30, -1_i64..=1)
        .prop_map(|(step, count, off)| (step * count).saturating_add_signed(off));
    prop_oneof![
        4 => 0_u64..1_000_000_000,
        2 => 0_u64..20_000_000_000,
        4 => edge,
        1 => Just(0),
        1 => (0_u64..40).prop_map(|bits| 1 << bits),
    ]
}

/// Strategy for any value, many of them where 32, 62, 63 and 64 bits end.
fn value() -> impl Strategy<Value = Option<u64>> {
    let end = prop_oneof![Just(1_u64 << 32), Just(1 << 62), Just(1 << 63), Just(u64::MAX)];
    let edge = (end, 0_u64..3).prop_map(|(end, off)| end.saturating_add(1).saturating_sub(off));
    let sizes = prop_oneof![8 => measured(), 1 => edge, 1 => any::<u64>()];
    prop_oneof![5 => sizes.prop_map(Some), 1 => Just(None)]
}

fn usage() -> impl Strategy<Value = Usage> {
    usage_of(value().boxed())
}

fn usage_of(value: BoxedStrategy<Option<u64>>) -> impl Strategy<Value = Usage> {
    let meters = proptest::collection::vec(value.clone(), Meter::COUNT);
    let phases = proptest::collection::vec(value, 4);
    (meters, phases, 1_u64..5_000).prop_map(|(meters, phases, mib)| {
        let mut usage = Usage::new(false);
        for (meter, value) in Meter::ALL.iter().zip(meters) {
            usage.set(*meter, value);
        }
        if usage.get(Meter::MemoryAllocated).is_some_and(|bytes| bytes % 3 > 0) {
            usage.set(Meter::MemoryAllocated, mib << 20);
        }
        let time = |at: usize| phases.get(at).copied().flatten().map(Nanos);
        usage.phases = Phases {
            create: time(0),
            start: time(1),
            run: time(2),
            teardown: time(3),
            ..Phases::default()
        };
        usage
    })
}

fn check(rows: &[Usage]) {
    let mut program = program(true);
    let expected = reference(&program, rows);
    let found = compiled(&mut program, rows);
    for ((expected, found), (model, _)) in expected.iter().zip(&found).zip(program.models()) {
        assert_eq!(found, expected, "{}", model.id());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn it_gives_what_the_definition_gives(rows in proptest::collection::vec(usage(), 1..40)) {
        check(&rows);
    }

    /// Rows are computed in columns: nothing is missing, and nothing exceeds 64 bits.
    #[test]
    fn it_does_so_for_ordinary_rows(
        rows in proptest::collection::vec(usage_of(measured().prop_map(Some).boxed()), 1..40),
    ) {
        check(&rows);
    }

    /// CPU time is not known by phase, and some rows have no start-up.
    #[test]
    fn it_does_so_where_cpu_time_is_not_known_by_phase(
        rows in proptest::collection::vec(usage_of(measured().prop_map(Some).boxed()), 1..20),
        starts in proptest::collection::vec(0_u8..4, 20),
    ) {
        let unknown = |(mut usage, start): (Usage, u8)| {
            usage.set(Meter::CpuStartup, None);
            let span = [None, Some(Nanos(0)), Some(Nanos(1)), usage.phases.start];
            usage.phases.start = span[usize::from(start)];
            usage.phases.create = usage.phases.create.filter(|_| start == 2).map(|_| Nanos(0));
            usage
        };
        let rows: Vec<Usage> = rows.into_iter().zip(starts).map(unknown).collect();
        check(&rows);
    }

    #[test]
    fn parts_add_up_to_the_bill(usage in usage()) {
        for model in builtin_models() {
            let terms = Terms::for_model(model);
            let scene = EvalContext { model, usage: &usage, terms: &terms };
            for charge in model.invocation_charges(&terms) {
                let (Ok((quantity, _)), Ok(parts)) = (scene.billed_quantity(charge), waste::split_charge(&scene, charge)) else {
                    continue;
                };
                let sum = parts.named_parts().into_iter().fold(Exact::default(), |sum, (_, part)| &sum + part);
                prop_assert_eq!(&sum, &quantity, "{} {}", model.id(), charge.name());
                for (name, part) in parts.named_parts() {
                    prop_assert!(*part >= Exact::default(), "{} {} {name}: {part}", model.id(), charge.name());
                }
            }
        }
    }
}

fn ordinary() -> Usage {
    let mut usage = Usage::new(false);
    for meter in Meter::ALL {
        usage.set(*meter, 1_000_000);
    }
    usage.set(Meter::MemoryAllocated, 128 << 20);
    usage.set(Meter::VcpuAllocated, 1_000);
    usage.phases.start = Some(Nanos(2_000_000));
    usage.phases.run = Some(Nanos(60_000_000));
    usage
}

/// Most rows of a recording must not need the definition, which is a thousand times slower.
#[test]
fn ordinary_rows_run_in_columns() {
    let mut program = program(true);
    let usage = ordinary();
    let plan = program.plan_for_signals(program.required_signals().measured_in(&usage));
    for (plan, (model, _)) in plan.models.iter().zip(&program.models) {
        assert!(!matches!(plan, ModelPlan::RowByRow), "{}", model.id());
    }
    // Rows of old recordings must not need it either: their CPU time is not known by phase.
    let mut old = usage;
    old.set(Meter::CpuStartup, None);
    let mut sums = Sums::default();
    program.run_batch(&one_batch(&program, &[old, old]), &mut sums);
    assert!(sums.all_in_columns());
}

/// Tests batches of more than one block of rows, with all lengths of the last block.
#[test]
fn long_batches_are_summed_to_their_end() {
    let mut usages: Vec<Usage> = Vec::new();
    for at in 0..7_u64 {
        let mut usage = ordinary();
        for (index, meter) in Meter::ALL.iter().enumerate() {
            usage.set(*meter, 1_000_000 + (1 << index) * at);
        }
        usage.set(Meter::MemoryAllocated, (at * 37 + 1) << 20);
        usage.set(Meter::VcpuAllocated, 1_000);
        usage.phases.run = Some(Nanos(100_000_000 * at + at / 2));
        usages.push(usage);
    }
    let mut program = program(true);
    for len in [ROWS_PER_BLOCK - 1, ROWS_PER_BLOCK, ROWS_PER_BLOCK + 1, 2 * ROWS_PER_BLOCK + 3] {
        let rows: Vec<Usage> = usages.iter().cycle().take(len).copied().collect();
        let mut sums = Sums::default();
        program.run_batch(&one_batch(&program, &rows), &mut sums);
        let found = sums.model_sums(&program);
        assert!(sums.all_in_columns(), "or this shows nothing");
        // Rows repeat, so their sums are multiples of those of the seven rows.
        let whole = reference(&program, &usages);
        let rest = reference(&program, &rows[len - len % usages.len()..]);
        for (index, found) in found.iter().enumerate() {
            let mut sum = rest[index].clone();
            (0..len / usages.len()).for_each(|_| sum.merge(&whole[index]));
            assert_eq!(*found, sum, "{len} rows, {}", program.models()[index].0.id());
        }
    }
}

fn one_batch(program: &PricingProgram, rows: &[Usage]) -> UsageBatch {
    let mut batch = UsageBatch::new(program.required_signals().measured_in(&rows[0]));
    for usage in rows {
        batch.push_usage(usage);
    }
    batch
}

#[test]
fn a_batch_without_rows_adds_nothing() {
    let mut program = program(true);
    let mut sums = Sums::default();
    program.run_batch(&UsageBatch::new(program.required_signals()), &mut sums);
    program.run_batch(&UsageBatch::from_columns([]), &mut sums);
    assert_eq!(sums.row_count(), 0);
    for model in sums.model_sums(&program) {
        assert_eq!(model.billed, 0);
        assert!(model.charges.iter().all(|charge| *charge == ChargeSum::default()));
    }
}

/// Tests the largest values that still are computed in columns, and the smallest that are not.
#[test]
fn values_at_the_end_of_64_bits() {
    let values = [(1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, u64::MAX];
    for value in values {
        let mut usage = Usage::new(false);
        for meter in Meter::ALL {
            usage.set(*meter, value);
        }
        usage.phases.run = Some(Nanos(value));
        check(&[usage]);
        usage.set(Meter::MemoryAllocated, 128 << 20);
        usage.set(Meter::VcpuAllocated, 1_000);
        check(&[usage, usage]);
        usage.phases.start = Some(Nanos(value));
        check(&[usage]);
    }
}
