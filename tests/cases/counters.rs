//! Counters of hybrid CPUs, and where there are none.
