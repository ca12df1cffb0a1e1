//! The compiled form against the definition.

use proptest::prelude::*;

use super::*;
use crate::meter::{Phases, Usage};
use crate::pricing::evaluate::Scene;
use crate::pricing::number::Exact;
use crate::pricing::{builtin, waste};
use crate::units::Nanos;

fn program(with_split: bool) -> Program {
    let models = builtin().iter().map(|model| (model.clone(), Terms::of(model)));
    Program::new(models.collect(), with_split, None)
}

/// The definition, row by row.
fn reference(program: &Program, rows: &[Usage]) -> Vec<ModelSums> {
    let model_sums = |(model, terms): &(PriceModel, Terms)| {
        let charges: Vec<_> = model.counted(terms).collect();
        let mut sums = ModelSums::default();
        sums.charges.resize_with(charges.len(), ChargeSum::default);
        for usage in rows {
            let scene = Scene { model, usage, terms };
            let lines: Result<Vec<_>, _> = charges
                .iter()
                .map(|charge| Ok((scene.quantity(charge)?, waste::split(&scene, charge)?)))
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

/// Rows in batches, as a replay makes them.
fn compiled(program: &mut Program, rows: &[Usage]) -> Vec<ModelSums> {
    let mut batches: HashMap<Signals, Batch> = HashMap::new();
    for usage in rows {
        let present = program.signals().of(usage);
        batches.entry(present).or_insert_with(|| Batch::new(present)).push_usage(usage);
    }
    let mut sums = Sums::default();
    for batch in batches.values() {
        // In two halves, so that merging is part of it.
        let mut own = Sums::default();
        program.run(batch, &mut own);
        sums.merge(&own);
    }
    assert_eq!(sums.rows(), rows.len() as u64);
    sums.models(program)
}

fn value() -> impl Strategy<Value = Option<u64>> {
    let sizes = prop_oneof![
        4 => 0_u64..1_000_000_000,
        2 => 0_u64..20_000_000_000,
        1 => Just(0),
        1 => (0_u64..40).prop_map(|bits| 1 << bits),
        1 => any::<u64>(),
    ];
    prop_oneof![5 => sizes.prop_map(Some), 1 => Just(None)]
}

fn usage() -> impl Strategy<Value = Usage> {
    let meters = proptest::collection::vec(value(), Meter::COUNT);
    let phases = proptest::collection::vec(value(), 4);
    (meters, phases, 1_u64..5_000).prop_map(|(meters, phases, mib)| {
        let mut usage = Usage::new(false);
        for (meter, value) in Meter::ALL.iter().zip(meters) {
            usage.set(*meter, value);
        }
        if usage.get(Meter::MemoryAllocated).is_some_and(|bytes| bytes % 3 > 0) {
            usage.set(Meter::MemoryAllocated, mib << 20);
        }
        let time = |at: usize| phases.get(at).copied().flatten().map(Nanos);
        usage.phases = Phases { create: time(0), start: time(1), run: time(2), teardown: time(3) };
        usage
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn it_gives_what_the_definition_gives(rows in proptest::collection::vec(usage(), 1..40)) {
        let mut program = program(true);
        let expected = reference(&program, &rows);
        let found = compiled(&mut program, &rows);
        for ((expected, found), (model, _)) in expected.iter().zip(&found).zip(program.models()) {
            prop_assert_eq!(found, expected, "{}", model.id());
        }
    }

    #[test]
    fn parts_add_up_to_the_bill(usage in usage()) {
        for model in builtin() {
            let terms = Terms::of(model);
            let scene = Scene { model, usage: &usage, terms: &terms };
            for charge in model.counted(&terms) {
                let (Ok((quantity, _)), Ok(parts)) = (scene.quantity(charge), waste::split(&scene, charge)) else {
                    continue;
                };
                let sum = parts.parts().into_iter().fold(Exact::default(), |sum, (_, part)| &sum + part);
                prop_assert_eq!(&sum, &quantity, "{} {}", model.id(), charge.name());
                for (name, part) in parts.parts() {
                    prop_assert!(*part >= Exact::default(), "{} {} {name}: {part}", model.id(), charge.name());
                }
            }
        }
    }
}

/// Most rows of a recording must not need the definition: it is a thousand
/// times slower.
#[test]
fn ordinary_rows_run_in_columns() {
    let mut program = program(true);
    let mut usage = Usage::new(false);
    for meter in Meter::ALL {
        usage.set(*meter, 1_000_000);
    }
    usage.set(Meter::MemoryAllocated, 128 << 20);
    usage.set(Meter::VcpuAllocated, 1_000);
    usage.phases.start = Some(Nanos(2_000_000));
    usage.phases.run = Some(Nanos(60_000_000));
    let plan = program.plan(program.signals().of(&usage));
    for (plan, (model, _)) in plan.models.iter().zip(&program.models) {
        assert!(!matches!(plan, ModelPlan::Slow), "{}", model.id());
    }
}
