//! One invocation that was measured elsewhere.

use cyclometer_core::invocation::Status;
use cyclometer_core::meter::Usage;
use cyclometer_core::units::Nanos;
use sha2::{Digest, Sha256};

use crate::batch::{CellId, InstanceId};

/// Identity of a request, by which duplicates are found: its UUID, or 16 bytes of the SHA-256
/// of another text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// Creates the identity from the text of a log, in which UUIDs have 32 hexadecimal digits and
    /// perhaps dashes.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self::from_uuid(text.as_bytes()).unwrap_or_else(|| {
            let digest = Sha256::digest(text.as_bytes());
            let mut id = [0; 16];
            id.copy_from_slice(&digest[..16]);
            Self(id)
        })
    }

    fn from_uuid(text: &[u8]) -> Option<Self> {
        let dashed = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text[*at] == b'-');
        if !dashed && text.len() != 32 {
            return None;
        }
        let mut id = [0_u8; 16];
        let mut digits = 0;
        for byte in text.iter().filter(|byte| **byte != b'-') {
            let digit = char::from(*byte).to_digit(16)?;
            let place = id.get_mut(digits / 2)?;
            *place = (*place << 4) | u8::try_from(digit).ok()?;
            digits += 1;
        }
        (digits == 32).then_some(Self(id))
    }
}

/// Row of a trace: one invocation, or `weight` invocations of a sampled log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceRow {
    /// Cell that the invocation belongs to.
    pub cell: CellId,
    /// Start of the invocation, in nanoseconds since 1970 UTC; `None` if the log has no time.
    pub started_at: Option<i64>,
    /// End state.
    pub status: Status,
    /// Values of all meters and phases that the log has.
    pub usage: Usage,
    /// Time that the provider says it billed, in nanoseconds.
    pub billed: Option<Nanos>,
    /// Identity of the request; `None` if the log has none.
    pub request: Option<RequestId>,
    /// Instance that served it; `None` if the log does not say.
    pub instance: Option<InstanceId>,
    /// Number of invocations that the row stands for in a sampled log; 1 elsewhere.
    pub weight: u32,
}

impl TraceRow {
    /// Creates a row that ended well, with its usage still empty.
    #[must_use]
    pub const fn new(cell: CellId, cold: bool) -> Self {
        Self {
            cell,
            started_at: None,
            status: Status::Ok,
            usage: Usage::new(cold),
            billed: None,
            request: None,
            instance: None,
            weight: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_keep_their_digits_and_other_names_are_hashed() {
        let id = RequestId::from_text("94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc");
        assert_eq!(id.0[..3], [0x94, 0xf4, 0xa2]);
        assert_eq!(id, RequestId::from_text("94F4A28ADBE341149F2B0B3AE40F4DBC"));
        // SHA-256 of `abc` begins with ba7816bf (FIPS 180).
        assert_eq!(RequestId::from_text("abc").0[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_ne!(
            RequestId::from_text("94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbg"),
            RequestId::from_text("94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbh")
        );
    }
}
