//! What the program made can be listed and removed.
