//! Limits of what a recording may be asked for, with the parsers of its
//! options.

use std::ops::RangeInclusive;

use cyclometer_core::quantity::parse_whole_number;
use cyclometer_core::units::{Nanos, UnitError};
use cyclometer_workload::check_range;
pub use cyclometer_workload::{parse_memory_limit as memory, parse_time_limit as timeout};

/// Workloads of a recording that names none: a start, a computation, idle time
/// and head-room.
pub const DEMO: [&str; 4] = ["nbody", "nop", "wait", "memory-burst"];
/// Range of the time between two samples.
const INTERVAL: RangeInclusive<Nanos> = Nanos(1_000_000)..=Nanos(3_600_000_000_000);
/// Most recorded runs of a cell, and most rows of a list.
const MOST: u32 = 1_000_000_000;
/// Most runs of a cell that are not recorded.
pub(crate) const MOST_WARMUP: u32 = 1_000_000;

/// Parses the time between two samples: 1ms to 1h, or `off` for none.
///
/// # Errors
/// Returns a message when the text is not a time, or the time is too short.
pub fn parse_interval(text: &str) -> Result<Option<Nanos>, String> {
    if text == "off" {
        return Ok(None);
    }
    let span: Nanos = text.parse().map_err(|error: UnitError| error.to_string())?;
    check_range(span, &INTERVAL, "1ms to 1h, or `off`").map(Some)
}

/// Parses a number of runs or rows, which is at least 1: `1000` or `1e3`.
///
/// # Errors
/// Returns a message when the text is not a whole number, or is 0.
pub fn at_least_one(text: &str) -> Result<u32, String> {
    match parse_whole_number(text) {
        Ok(0) => Err(format!("`{text}`: write 1 or more")),
        Ok(number) if number > MOST => Err(format!("`{text}`: write 1 to {MOST}")),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

/// Parses a number of runs that are not recorded: 0 to 1,000,000.
///
/// # Errors
/// Returns a message when the text is not a whole number, or the number is
/// larger.
pub fn parse_warmup(text: &str) -> Result<u32, String> {
    match parse_whole_number(text) {
        Ok(number) if number > MOST_WARMUP => Err(format!("`{text}`: write 0 to {MOST_WARMUP}")),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}
