//! What a module may do outside a plain start, and what is counted.
