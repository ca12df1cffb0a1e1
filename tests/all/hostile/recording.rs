//! Recorders that find the database locked, or descriptors scarce.
