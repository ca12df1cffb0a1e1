//! What two recordings are compared by, and gates.
