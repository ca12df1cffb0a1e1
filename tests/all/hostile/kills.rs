//! Programs that are killed at any moment: nothing is lost, nothing is left.
