//! What people may ask for, and why not less.

use crate::quantity::whole_number;
use crate::units::{Bytes, Nanos, UnitError};

/// Workloads of a recording that names none: a start, a computation, idle
/// time and head-room.
pub const DEMO: [&str; 4] = ["nbody", "nop", "wait", "memory-burst"];
/// Docker's own minimum.
const LEAST_MEMORY: Bytes = Bytes(6 << 20);
const LEAST_INTERVAL: Nanos = Nanos(1_000_000);

/// Time between two samples; `off` is none.
///
/// # Errors
/// When it is no time, or too short, in words.
pub fn interval(text: &str) -> Result<Option<Nanos>, String> {
    if text == "off" {
        return Ok(None);
    }
    let span: Nanos = text.parse().map_err(|error: UnitError| error.to_string())?;
    if span < LEAST_INTERVAL {
        return Err(format!("{span} is less than {LEAST_INTERVAL}; or give `off`"));
    }
    Ok(Some(span))
}

/// Memory that a function is given.
///
/// # Errors
/// When it is no size, or too little, in words.
pub fn memory(text: &str) -> Result<Bytes, String> {
    let size: Bytes = text.parse().map_err(|error: UnitError| error.to_string())?;
    if size < LEAST_MEMORY {
        return Err(format!("{size} is less than {LEAST_MEMORY}, which containers need"));
    }
    Ok(size)
}

/// Longest time of one invocation.
///
/// # Errors
/// When it is no time, or none at all, in words.
pub fn timeout(text: &str) -> Result<Nanos, String> {
    match text.parse() {
        Ok(Nanos(0)) => Err("a function needs some time".to_owned()),
        Ok(span) => Ok(span),
        Err(error) => Err(error.to_string()),
    }
}

/// Number of runs or rows, of which there is at least one: `1000` or `1e3`.
///
/// # Errors
/// When it is no whole number, or 0, in words.
pub fn at_least_one(text: &str) -> Result<u32, String> {
    match whole_number(text) {
        Ok(0) => Err(format!("`{text}`: write 1 or more")),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}
