//! Memory sizes of functions that a price model knows.

use super::charge::{Factor, Measure};
use super::model::PriceModel;
use super::number::Exact;
use super::terms::Terms;
use cyclometer_core::meter::Meter;
use cyclometer_core::units::Bytes;

impl PriceModel {
    /// Returns the memory sizes that the model has a price for: those of its table, or those of
    /// `usual` that lie within its limits, on its grid. Empty where it does not charge for the
    /// memory that a function is given.
    #[must_use]
    pub fn memory_sizes(&self, usual: &[Bytes]) -> Vec<Bytes> {
        let terms = Terms::for_model(self);
        let factors: Vec<&Factor> = self
            .invocation_charges(&terms)
            .flat_map(|charge| &charge.factors)
            .filter(|factor| match &factor.measure {
                Measure::Meter(meter) => *meter == Meter::MemoryAllocated,
                Measure::Lookup { of, .. } => **of == Measure::Meter(Meter::MemoryAllocated),
                _ => false,
            })
            .collect();
        let tables = factors.iter().filter_map(|factor| match &factor.measure {
            Measure::Lookup { rows, .. } => Some(rows),
            _ => None,
        });
        let mut sizes: Vec<Bytes> = tables
            .flat_map(|rows| rows.iter().filter_map(|row| row.up_to.to_u64()))
            .map(Bytes)
            .collect();
        if sizes.is_empty() && !factors.is_empty() {
            let fits = |size: &&Bytes| factors.iter().all(|factor| has_size(factor, **size));
            sizes = usual.iter().filter(fits).copied().collect();
        }
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }
}

/// Returns whether a factor bills a size as it is, neither rounded up nor refused.
fn has_size(factor: &Factor, size: Bytes) -> bool {
    let size = Exact::from(size.0);
    let is_on_grid = factor.grid.is_zero() || size == size.up_to_multiple(&factor.grid);
    let is_allowed = factor.limit.as_ref().is_none_or(|limit| size <= *limit);
    is_on_grid && is_allowed && size >= factor.minimum
}

#[cfg(test)]
mod tests {
    use crate::find_builtin_model;
    use cyclometer_core::units::Bytes;

    const MIB: u64 = 1 << 20;

    fn sizes(id: &str, usual: &[u64]) -> Vec<u64> {
        let usual: Vec<Bytes> = usual.iter().map(|mib| Bytes(mib * MIB)).collect();
        let model = find_builtin_model(id).expect("built in");
        model.memory_sizes(&usual).into_iter().map(|size| size.0 / MIB).collect()
    }

    #[test]
    fn sizes_are_those_of_the_table_or_those_within_the_limits() {
        assert_eq!(sizes("azure-flex", &[128]), [512, 2_048, 4_096]);
        let google = [128, 256, 512, 1_024, 2_048, 4_096, 8_192];
        assert_eq!(sizes("google-cloud-functions", &[1]), google);
        assert_eq!(
            sizes("aws-lambda-x86", &[10_241, 10_240, 1_769, 128, 127]),
            [128, 1_769, 10_240]
        );
        assert!(sizes("per-cycle", &[128]).is_empty());
    }
}
