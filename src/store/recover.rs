//! Opening a database for work: what an earlier recording left undone is put
//! right first.

use std::path::Path;

use super::access::is_writable;
use super::open::{Store, StoreError};
use crate::clean;

impl Store {
    /// Opens the database as [`Store::open`] does, marks recordings that were
    /// cut off, and removes what they left behind; each of it is told in a line.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_recovered(path: &Path, tell: &mut dyn FnMut(String)) -> Result<Self, StoreError> {
        let store = Self::open(path)?;
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
    /// be written and nobody holds its lock, and as [`Store::open_reading`]
    /// elsewhere. It is not made.
    ///
    /// # Errors
    /// As [`Store::open_reading`].
    pub fn open_to_read(path: &Path, tell: &mut dyn FnMut(String)) -> Result<Self, StoreError> {
        if path.exists()
            && is_writable(path)
            && let Ok(store) = Self::open_recovered(path, tell)
        {
            return Ok(store);
        }
        Self::open_reading(path)
    }
}
