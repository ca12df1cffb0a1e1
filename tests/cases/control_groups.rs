//! Quotas, memory and CPU time of families of processes.
