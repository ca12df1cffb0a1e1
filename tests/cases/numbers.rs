//! Quantities that are read from arguments and files.
