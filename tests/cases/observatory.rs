//! The live screen and the bills screen.
