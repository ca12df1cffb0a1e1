//! Digest of rows, batch after batch: independent of the database and of where an import was cut.

use sha2::{Digest, Sha256};

use crate::batch::{CellLabel, RowBatch};
use crate::input::to_hexadecimal;
use crate::row::TraceRow;
use cyclometer_core::invocation::Status;
use cyclometer_core::meter::Meter;

/// Digest of all rows so far.
#[derive(Debug, Default)]
pub(super) struct RowDigest {
    so_far: String,
    bytes: Vec<u8>,
}

impl RowDigest {
    pub(super) fn from_stored(so_far: &str) -> Self {
        Self { so_far: so_far.to_owned(), bytes: Vec::new() }
    }

    /// Adds a batch with the names that are new in it; returns the digest of all so far.
    pub(super) fn add_batch(
        &mut self,
        cells: &[CellLabel],
        instances: &[String],
        rows: &RowBatch,
    ) -> &str {
        self.bytes.clear();
        for cell in cells {
            let region = cell.region.as_deref().unwrap_or("");
            let start = cell.start.label();
            for text in [&cell.platform, &cell.function, &cell.configuration, region, start] {
                self.add_text(text);
            }
        }
        for instance in instances {
            self.add_text(instance);
        }
        for row in rows.rows() {
            self.add_row(row);
        }
        let mut digest = Sha256::new();
        digest.update(self.so_far.as_bytes());
        digest.update(&self.bytes);
        self.so_far = to_hexadecimal(&digest.finalize());
        &self.so_far
    }

    fn add_text(&mut self, text: &str) {
        self.add_number(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn add_number(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn add_row(&mut self, row: &TraceRow) {
        self.bytes.extend_from_slice(&row.cell.0.to_le_bytes());
        self.bytes.extend_from_slice(&row.weight.to_le_bytes());
        self.bytes.push(match row.status {
            Status::Ok => 0,
            Status::Failed => 1,
            Status::Timeout => 2,
            Status::Interrupted => 3,
        });
        let phases = &row.usage.phases;
        let spans = [phases.create, phases.start, phases.run, phases.teardown, row.billed];
        let values = spans.into_iter().map(|span| span.map(|it| it.0));
        let time = row.started_at.map(i64::cast_unsigned);
        let instance = row.instance.map(|it| u64::from(it.0));
        let values = values.chain([time, instance]);
        let meters = Meter::ALL.iter().map(|meter| row.usage.get(*meter));
        // What is missing and what is 0 differ in the mask.
        let at = self.bytes.len();
        self.add_number(0);
        let mut mask = 0_u64;
        for (place, value) in values.chain(meters).enumerate() {
            if let Some(value) = value {
                mask |= 1 << (place % 64);
                self.add_number(value);
            }
        }
        if let Some(request) = &row.request {
            mask |= 1 << 63;
            self.bytes.extend_from_slice(&request.0);
        }
        self.bytes[at..at + 8].copy_from_slice(&mask.to_le_bytes());
    }
}
