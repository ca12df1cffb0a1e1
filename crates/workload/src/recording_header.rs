//! Facts about a recording that are known before it starts.

use cyclometer_core::units::Nanos;

/// Facts about a recording that are known before it starts.
#[derive(Debug, Clone)]
pub struct RecordingHeader {
    /// Label that the user gave it.
    pub label: Option<String>,
    /// Identity of this process.
    pub owner: String,
    /// Plan of the recording, as JSON.
    pub plan: String,
    /// Fingerprint of the host, as JSON.
    pub host: String,
    /// Time between two samples; `None` without sampling.
    pub sample_interval: Option<Nanos>,
}
