//! One budget for all linear memories of an instance, and one for its tables.
//!
//! wasmtime asks before it grows a memory and reports only failures, so growth is accounted when it
//! is allowed and taken back when it fails after all. Growth beyond a memory's own maximum is
//! refused here already: it never happens, and must not use up the budget.

use wasmtime::ResourceLimiter;

use super::engine::MAX_TABLE;

/// Accounts the growth that happened and refuses growth over the limit.
#[derive(Debug, Default)]
pub(crate) struct MemoryLimiter {
    memory: GrowthBudget,
    table: GrowthBudget,
}

/// Used part of a limit.
#[derive(Debug, Default)]
struct GrowthBudget {
    limit: u64,
    used: u64,
    /// Growth that was allowed last, in case that it fails.
    last: u64,
    /// Number of requests that were refused, or failed.
    refused: u64,
}

impl MemoryLimiter {
    /// Allows `bytes` of linear memory in all, and [`MAX_TABLE`] elements of
    /// tables.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let budget = |limit| GrowthBudget { limit, ..GrowthBudget::default() };
        Self { memory: budget(bytes), table: budget(MAX_TABLE as u64) }
    }

    /// Returns the size of all linear memories, in bytes.
    #[must_use]
    pub const fn memory_bytes(&self) -> u64 {
        self.memory.used
    }

    /// Returns the number of requests for more memory that were refused or failed.
    #[must_use]
    pub(crate) const fn refused_growth(&self) -> u64 {
        self.memory.refused
    }
}

impl GrowthBudget {
    /// Takes growth from `current` to `desired` out of the budget, or refuses it.
    fn take_growth(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        let growth = desired.saturating_sub(current) as u64;
        let allowed = maximum.is_none_or(|maximum| desired <= maximum);
        let total = self.used.checked_add(growth).filter(|total| allowed && *total <= self.limit);
        match total {
            Some(total) => (self.used, self.last) = (total, growth),
            None => self.refused = self.refused.saturating_add(1),
        }
        total.is_some()
    }

    /// Gives back what was taken last, since the growth did not happen.
    fn give_back(&mut self) {
        self.used = self.used.saturating_sub(std::mem::take(&mut self.last));
        self.refused = self.refused.saturating_add(1);
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.memory.take_growth(current, desired, maximum))
    }

    /// Follows a growth that `memory_growing` allowed. (wasmtime also calls it without asking
    /// first, but only for memories of one-byte pages: the engine's configuration switches that
    /// proposal off.)
    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.give_back();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.table.take_growth(current, desired, maximum))
    }

    /// Follows growth that overflows, for which `table_growing` was not asked: there is nothing to
    /// give back. Growth that was allowed does not fail.
    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 64 << 10;

    fn failed() -> wasmtime::Error {
        wasmtime::Error::msg("no memory")
    }

    fn grows(
        limiter: &mut MemoryLimiter,
        current: usize,
        desired: usize,
        most: Option<usize>,
    ) -> bool {
        limiter.memory_growing(current, desired, most).expect("no trap")
    }

    #[test]
    fn growth_beyond_a_memorys_own_maximum_uses_up_nothing() {
        let mut limiter = MemoryLimiter::new(4 * PAGE as u64);
        assert!(grows(&mut limiter, 0, PAGE, Some(2 * PAGE)));
        for _ in 0..20 {
            assert!(!grows(&mut limiter, PAGE, 101 * PAGE, Some(2 * PAGE)));
        }
        assert!(grows(&mut limiter, PAGE, 2 * PAGE, Some(2 * PAGE)), "the page that is there");
        assert_eq!((limiter.memory_bytes(), limiter.refused_growth()), (2 * PAGE as u64, 20));
    }

    #[test]
    fn growth_that_failed_after_all_is_given_back_once() {
        let mut limiter = MemoryLimiter::new(4 * PAGE as u64);
        assert!(grows(&mut limiter, 0, PAGE, None));
        assert!(grows(&mut limiter, PAGE, 4 * PAGE, None));
        limiter.memory_grow_failed(failed()).expect("no trap");
        assert_eq!((limiter.memory_bytes(), limiter.refused_growth()), (PAGE as u64, 1));
        // A second report of the same growth takes nothing from others.
        limiter.memory_grow_failed(failed()).expect("no trap");
        assert_eq!((limiter.memory_bytes(), limiter.refused_growth()), (PAGE as u64, 2));
    }

    #[test]
    fn several_memories_share_one_limit_and_sums_do_not_wrap() {
        let mut limiter = MemoryLimiter::new(u64::MAX);
        assert!(grows(&mut limiter, 0, usize::MAX - PAGE, None));
        // 2^64 - 1 page and two pages more would be a page.
        assert!(!grows(&mut limiter, 0, 2 * PAGE, None));
        assert_eq!(limiter.memory_bytes(), (usize::MAX - PAGE) as u64);
        let mut limiter = MemoryLimiter::new(3 * PAGE as u64);
        assert!(grows(&mut limiter, 0, 2 * PAGE, None));
        assert!(!grows(&mut limiter, 0, 2 * PAGE, None), "another memory");
        assert!(grows(&mut limiter, 0, PAGE, None));
    }

    #[test]
    fn tables_share_one_limit() {
        let mut limiter = MemoryLimiter::new(0);
        let half = MAX_TABLE / 2;
        assert!(limiter.table_growing(0, half, None).expect("no trap"));
        assert!(!limiter.table_growing(0, half + 1, None).expect("no trap"), "another table");
        // Growth of a 64-bit table that overflows is reported without a question.
        limiter.table_grow_failed(failed()).expect("no trap");
        assert!(limiter.table_growing(half, MAX_TABLE, None).expect("no trap"));
        assert!(!limiter.table_growing(0, 1, None).expect("no trap"), "nothing was given back");
        assert_eq!(limiter.refused_growth(), 0, "of memories");
    }
}
