//! What earlier counting runs gave, kept beside the compiled modules.
//!
//! Operators are deterministic in module, arguments, input and memory limit,
//! so one run is enough; another engine version may count otherwise.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::engine::VERSION;
use crate::lane::Job;
use crate::workload::hex;

/// Identifies all that the count depends on.
pub fn key(job: &Job) -> String {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(VERSION.as_bytes());
    part(job.workload.wasm.as_deref().unwrap_or(&[]));
    part(job.workload.name.as_bytes());
    for arg in &job.preset.args {
        part(arg.as_bytes());
    }
    part(&job.limits.memory.0.to_le_bytes());
    part(&job.preset.stdin.content());
    hex(&hasher.finalize())[..32].to_owned()
}

/// The count of an earlier run.
pub fn recall(cache: &Path, key: &str) -> Option<u64> {
    fs::read_to_string(cache.join(format!("{key}.ops"))).ok()?.trim().parse().ok()
}

/// Keeps a count. Failing to is no loss but time.
pub fn remember(cache: &Path, key: &str, ops: u64) {
    let partial = cache.join(format!("{key}.{}.partial", std::process::id()));
    if fs::write(&partial, format!("{ops}\n")).is_ok() {
        let _ = fs::rename(&partial, cache.join(format!("{key}.ops")));
    }
}
