//! Access to the time-stamp counter.
#![expect(unsafe_code, reason = "one CPU instruction, in a file of its own")]

/// Reads the time-stamp counter; `None` where the CPU has none that we can read.
#[must_use]
pub fn read_tsc() -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 CPU has RDTSC, and Linux leaves it to user mode.
        Some(unsafe { core::arch::x86_64::_rdtsc() })
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}
