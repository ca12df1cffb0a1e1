//! Memory that two processes share: words that are read and written atomically, so that whatever
//! the other process does to them is a value, and never undefined.
#![expect(unsafe_code, reason = "one mapping, in a file of its own")]

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Words in memory that is shared with another process.
#[derive(Debug)]
pub struct SharedWords {
    start: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: it owns the mapping, and gives out references to atomic words only.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Creates that many words, all 0, in a file in memory whose size nobody can change; returns the
    /// file as well, to be mapped in the other process.
    ///
    /// # Errors
    /// Fails when the system provides no memory for it.
    pub fn create(count: NonZeroUsize) -> io::Result<(Self, File)> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create("cyclometer-shared", flags)?);
        let size =
            count.get().checked_mul(size_of::<AtomicU64>()).ok_or(io::ErrorKind::OutOfMemory)?;
        file.set_len(size as u64).map_err(crate::sys::explain_file_size_limit)?;
        let seals = SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        Ok((Self::map(&file)?, file))
    }

    /// Maps the words that another process created; all pages are there at once, so that a later
    /// access is no page fault.
    ///
    /// # Errors
    /// Fails when the file could still become shorter, or cannot be mapped.
    pub fn map(file: &File) -> io::Result<Self> {
        let seals = fcntl(file, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate)?;
        if !seals.contains(SealFlag::F_SEAL_SHRINK) {
            return Err(io::Error::other("the shared memory is not sealed"));
        }
        let size = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let length = NonZeroUsize::new(size).ok_or(io::ErrorKind::UnexpectedEof)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing. The file
        // cannot become shorter, so that all of it stays accessible.
        let start = unsafe { mmap(None, length, access, flags, file, 0) }?;
        Ok(Self { start: start.cast(), count: size / size_of::<AtomicU64>() })
    }

    /// Returns the words.
    #[must_use]
    pub const fn as_words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is that long, aligned to pages, and lives as long as `self`; any
        // bytes are valid words, and atomic ones may change under a reference.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: `self` made the mapping, and nobody can have kept a reference into it.
        let _ = unsafe { munmap(self.start.cast(), self.count * size_of::<AtomicU64>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn both_sides_see_the_same_words() {
        let count = NonZeroUsize::new(1_024).expect("not 0");
        let (ours, file) = SharedWords::create(count).expect("made");
        let theirs = SharedWords::map(&file).expect("mapped");
        drop(file);
        assert_eq!((ours.as_words().len(), theirs.as_words().len()), (1_024, 1_024));
        ours.as_words()[1_023].store(7, Ordering::Release);
        assert_eq!(theirs.as_words()[1_023].load(Ordering::Acquire), 7);
        drop(ours);
        assert_eq!(theirs.as_words()[1_023].load(Ordering::Acquire), 7);
    }

    #[test]
    fn memory_that_could_become_shorter_is_not_mapped() {
        let (_, file) = SharedWords::create(NonZeroUsize::MIN).expect("made");
        assert!(file.set_len(0).is_err(), "sealed");
        let open = File::from(memfd_create("open", MFdFlags::MFD_CLOEXEC).expect("made"));
        open.set_len(4_096).expect("long");
        assert!(SharedWords::map(&open).is_err());
    }
}
