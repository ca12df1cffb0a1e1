//! CPU time and memory by phase in containers.
