//! Opening a database for work: what an earlier recording left undone is put
//! right first.

use std::path::Path;

use super::access::is_writable;
use super::open::{Store, StoreError};
use super::patience::Patience;
use crate::clean;

impl Store {
    /// Opens the database as [`Store::open`] does, marks recordings that were
    /// cut off, and removes what they left behind; each of it is told in a line.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_recovered(path: &Path, tell: &mut dyn FnMut(String)) -> Result<Self, StoreError> {
        Self::open(path)?.recovered(tell)
    }

    /// Opens the database as [`Self::open_recovered`] does, and waits as
    /// [`Self::open_patiently`] does.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_recovered_patiently(
        path: &Path,
        patience: Patience,
        tell: &mut dyn FnMut(String),
    ) -> Result<Self, StoreError> {
        Self::open_patiently(path, patience)?.recovered(tell)
    }

    fn recovered(self, tell: &mut dyn FnMut(String)) -> Result<Self, StoreError> {
        let store = self;
        let recovered = store.recover()?;
        for cut in &recovered {
            tell(match cut.invocations {
                Some(invocations) => format!(
                    "recording {} was cut off; its {invocations} finished invocations are kept",
                    cut.recording
                ),
                None => format!(
                    "recording {} was cut off before an invocation had finished, and is not kept",
                    cut.recording
                ),
            });
        }
        if !recovered.is_empty() {
            clean::sweep(tell);
        }
        Ok(store)
    }

    /// Opens the database to read it: as [`Store::open_recovered`] where it may
    /// be written and nobody holds its lock for long, and as [`Store::open_reading`]
    /// elsewhere. It is not made.
    ///
    /// # Errors
    /// As [`Store::open_reading`].
    pub fn open_to_read(path: &Path, tell: &mut dyn FnMut(String)) -> Result<Self, StoreError> {
        if path.exists()
            && is_writable(path)
            && let Ok(store) = Self::open_within(path, Self::MOMENT)
            && let Ok(store) = store.recovered(tell)
        {
            store.connection.busy_timeout(Self::BUSY).map_err(StoreError::sql("set-up"))?;
            return Ok(store);
        }
        Self::open_reading(path)
    }
}
