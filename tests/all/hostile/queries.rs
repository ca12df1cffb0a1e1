//! Queries and price files that would take for ever.
