//! Handover of the compiled module to a worker: as a file in memory that was written once and
//! sealed, over the socket between lane and worker. The bytes that are executed are those that were
//! checked, whatever happens to a file on the disk.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};

use super::program::ProgramFacts;
use cyclometer_core::units::Bytes;
use cyclometer_system::sys::explain_file_size_limit;

/// A compiled module in memory, which nobody can change.
#[derive(Debug)]
pub(crate) struct CompiledModule {
    file: File,
    size: Bytes,
    facts: ProgramFacts,
}

impl CompiledModule {
    /// Copies a compiler's output into sealed memory.
    ///
    /// # Errors
    /// Fails when the system provides no memory for it.
    pub fn new(code: &[u8], facts: ProgramFacts) -> io::Result<Self> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut file = File::from(memfd_create("cyclometer-module", flags)?);
        file.write_all(code).map_err(explain_file_size_limit)?;
        let seals = SealFlag::F_SEAL_WRITE
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        Ok(Self { file, size: Bytes(code.len() as u64), facts })
    }

    /// Returns the size of the compiled module.
    pub const fn size(&self) -> Bytes {
        self.size
    }

    /// Returns what is known of the program.
    pub const fn facts(&self) -> &ProgramFacts {
        &self.facts
    }

    /// Returns a pair of sockets that preserve message boundaries, the lane's end first; the module
    /// is queued for the worker's end.
    pub(crate) fn open_socket_pair(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        send_descriptor(&ours, self.file.as_fd())?;
        Ok((ours, theirs))
    }
}

/// Queues a descriptor for the other end of a socket.
pub(super) fn send_descriptor(socket: &OwnedFd, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let descriptors = [descriptor.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&descriptors)];
    let word = [IoSlice::new(b"m")];
    sendmsg::<()>(socket.as_raw_fd(), &word, &control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives the module that is queued in the worker's end of [`CompiledModule::open_socket_pair`].
///
/// # Errors
/// Fails when there is none.
pub(crate) fn receive_module(socket: &OwnedFd) -> io::Result<File> {
    cyclometer_system::sys::receive_descriptor(socket).map(File::from)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::wasmtime::proposals::Proposals;

    #[test]
    fn what_is_handed_over_cannot_be_changed_by_anybody() {
        let module = b"\0asm\x01\0\0\0";
        let facts = ProgramFacts::collect(module, "m", Proposals::default()).expect("whole");
        let compiled = CompiledModule::new(b"code", facts).expect("made");
        let (ours, theirs) = compiled.open_socket_pair().expect("made");
        let mut taken = receive_module(&theirs).expect("sent");
        let mut content = Vec::new();
        io::Seek::rewind(&mut taken).expect("rewound");
        taken.read_to_end(&mut content).expect("read");
        assert_eq!(content, b"code");
        assert!((&compiled.file).write_all(b"x").is_err() && taken.set_len(1).is_err());
        drop(ours);
        assert!(receive_module(&theirs).is_err(), "there is one only");
    }

    #[test]
    fn what_can_still_be_changed_is_not_executed() {
        let engine = wasmtime::Engine::default();
        let file = cyclometer_workload::memory_file("open").expect("made");
        let error = crate::wasmtime::load::load_compiled(&engine, file).expect_err("refused");
        assert!(error.to_string().contains("not sealed"), "{error}");
    }
}
