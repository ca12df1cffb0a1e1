//! Answers at the end, and what the help says.
