//! Opening a database for work: recordings that were cut off are repaired
//! first.

use std::path::Path;

use super::access::{Access, FileStamp, is_writable};
use super::busy_retry::RetryPolicy;
use super::open::{MIGRATIONS, Store, StoreError, check_schema_version, explain_open_error};

impl Store {
    /// Opens the database like [`Store::open`] and marks recordings that were
    /// cut off; each of them is reported in a line. `true` if there were some,
    /// so that the caller should remove what may be left of them.
    ///
    /// # Errors
    /// Like [`Store::open`].
    pub fn open_recovered(
        path: &Path,
        tell: &mut dyn FnMut(String),
    ) -> Result<(Self, bool), StoreError> {
        Self::open(path)?.report_recovered(tell)
    }

    /// Opens the database like [`Self::open_recovered`], and retries like
    /// `Self::open_with_retry`.
    ///
    /// # Errors
    /// Like [`Store::open`].
    pub fn open_recovered_with_retry(
        path: &Path,
        patience: RetryPolicy,
        tell: &mut dyn FnMut(String),
    ) -> Result<(Self, bool), StoreError> {
        Self::open_with_retry(path, patience)?.report_recovered(tell)
    }

    fn report_recovered(self, tell: &mut dyn FnMut(String)) -> Result<(Self, bool), StoreError> {
        let store = self;
        let recovered = store.recover_interrupted()?;
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
        Ok((store, !recovered.is_empty()))
    }

    /// Opens the database for reading: like [`Store::open_recovered`] where it
    /// may be written and nobody holds its lock for long, and like
    /// [`Store::open_read_only`] elsewhere. It is not created.
    ///
    /// # Errors
    /// Like [`Store::open_read_only`].
    pub fn open_to_read(
        path: &Path,
        tell: &mut dyn FnMut(String),
    ) -> Result<(Self, bool), StoreError> {
        if path.exists()
            && is_writable(path)
            && let Ok(store) = Self::open_with_timeout(path, Self::READER_TIMEOUT)
            && let Ok((store, was_cut_off)) = store.report_recovered(tell)
        {
            store
                .connection
                .busy_timeout(Self::BUSY_TIMEOUT)
                .map_err(StoreError::for_action("set-up"))?;
            return Ok((store, was_cut_off));
        }
        Self::open_read_only(path).map(|store| (store, false))
    }

    /// Opens the database over one connection that takes no lock and creates no
    /// file: for files that nobody writes.
    ///
    /// # Errors
    /// Like [`Store::open_reading`].
    #[doc(hidden)]
    pub fn open_frozen(path: &Path) -> Result<Self, StoreError> {
        let access = Access::Frozen(FileStamp::for_database(path));
        let connection =
            access.open_connection(path).map_err(|error| explain_open_error(path, &error))?;
        let version = check_schema_version(&connection, path)?;
        if version < MIGRATIONS.len() {
            // Migrated in a copy.
            return Store::open_read_only(path);
        }
        Ok(Store::read_only(connection, path, access))
    }
}
