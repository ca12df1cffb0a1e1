//! Bills of a part of a recording, at any moment of it.

use std::sync::Arc;

use super::open::{Store, StoreError};
use super::playback::RecordingPart;
use super::played_part::PlayedPart;
use cyclometer_core::invocation::Cancel;
use cyclometer_replay::{
    BillCheckpoints, CarriedBills, CheckpointBuilder, CheckpointRow, Contract, ReplaySummary,
};
use cyclometer_workload::Status;

/// Bills of a part at any moment.
#[derive(Debug)]
pub struct PartBills {
    /// Part that was read.
    pub key: RecordingPart,
    /// Ids of the models.
    pub models: Vec<String>,
    checkpoints: BillCheckpoints,
}

impl PartBills {
    /// Reads and bills a part; `carry` holds the bills of everything before it.
    ///
    /// # Errors
    /// Fails if the database cannot be read, or if it changed in the meantime.
    pub fn from_store(
        store: &Store,
        played: &PlayedPart,
        key: RecordingPart,
        models: &[String],
        contracts: &Arc<Vec<Contract>>,
        carry: &CarriedBills,
        cancel: &Cancel,
    ) -> Result<Self, StoreError> {
        let about = &played.about;
        // Sums are kept by cell, since a cell that only fails has no price, and since only
        // warm invocations of one cell share an instance.
        let keys = about.cells.iter().map(|cell| cell.key.clone());
        let mut builder = CheckpointBuilder::new(contracts, keys.collect(), carry);
        let again;
        let rows = if key == played.key {
            &played.rows
        } else {
            let found = store.playback_rows(&key)?;
            again = PlayedPart::from_rows(about.clone(), key, 0, &found).rows;
            &again
        };
        let mut next = rows.iter();
        store.playback_signals(&key, builder.required_signals(), |billed, present, values| {
            let Some(at) = next.next() else { return };
            let failed = matches!(at.status, Status::Failed | Status::Timeout);
            let (invocation, cell, offset) = (at.id, at.cell, at.offset);
            let row = CheckpointRow { invocation, cell, offset, billed, failed, present };
            builder.push_row(row, values);
        })?;
        if builder.count_rows() != rows.len() {
            let text = "the recording has changed while it was read";
            return Err(StoreError::NotFound(text.to_owned()));
        }
        if builder.needs_overlaps() {
            let tangles = store.overlap_groups(key.recording, key.newest)?;
            builder.tie_overlapping(tangles.iter().map(|tangle| &*tangle.invocations));
        }
        let checkpoints = builder.sum_checkpoints(cancel);
        Ok(Self { key, models: models.to_vec(), checkpoints })
    }

    /// Reads and bills a part, and the parts before it as far as `carries` does not have
    /// them: what each part starts from, which is returned with that of the next one.
    /// `afters` are the beginnings of the parts.
    ///
    /// # Errors
    /// Fails if the database cannot be read, or if it changed in the meantime.
    pub fn with_earlier_parts(
        store: &Store,
        played: &PlayedPart,
        models: &[String],
        contracts: &Arc<Vec<Contract>>,
        afters: &[(i64, i64)],
        mut carries: Vec<Arc<CarriedBills>>,
        cancel: &Cancel,
    ) -> Result<(Self, Vec<Arc<CarriedBills>>), StoreError> {
        let bill = |key: RecordingPart, carry: &CarriedBills| {
            Self::from_store(store, played, key, models, contracts, carry, cancel)
        };
        carries.truncate(played.part + 1);
        if carries.is_empty() {
            carries.push(Arc::default());
        }
        while carries.len() <= played.part {
            let part = carries.len() - 1;
            let after = afters.get(part).copied().unwrap_or((-1, 0));
            let before = bill(RecordingPart { after, ..played.key }, &carries[part])?;
            carries.push(Arc::new(before.carry_over()));
        }
        let bills = bill(played.key, &carries[played.part])?;
        carries.push(Arc::new(bills.carry_over()));
        Ok((bills, carries))
    }

    /// Returns the bills after `ended` invocations of the part had ended.
    #[must_use]
    pub fn bills_after(&self, ended: usize) -> ReplaySummary {
        self.checkpoints.bills_after(ended)
    }

    /// Returns the bills that the next part starts from.
    #[must_use]
    pub fn carry_over(&self) -> CarriedBills {
        self.checkpoints.carry_over()
    }

    /// Returns the number of invocations of the part.
    #[must_use]
    pub const fn count_invocations(&self) -> usize {
        self.checkpoints.count_invocations()
    }
}
