//! Requests to a warm worker, and the worker's word that there are reports: messages of the socket.
//! The reports themselves are in the ring.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use super::protocol::WasmWorkerReport;
use super::report_ring::ReportWriter;
use cyclometer_core::units::Nanos;

/// Request to a warm worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WarmRequest {
    /// To invoke the function that often, and report each invocation.
    Invoke(u32),
    /// To invoke the function that often without any metering, and tell how long it took in all: the
    /// yardstick of what metering costs.
    InvokeUnmetered(u32),
    /// To go on: there is room in the ring again.
    Continue,
}

impl WarmRequest {
    const SIZE: usize = 8;

    fn encode(self) -> [u8; Self::SIZE] {
        let (kind, count) = match self {
            Self::Invoke(count) => (0_u32, count),
            Self::InvokeUnmetered(count) => (1, count),
            Self::Continue => (2, 0),
        };
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..].copy_from_slice(&count.to_ne_bytes());
        bytes
    }

    fn decode(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let [a, b, c, d, rest @ ..] = bytes;
        let count = u32::from_ne_bytes(rest);
        match u32::from_ne_bytes([a, b, c, d]) {
            0 => Some(Self::Invoke(count)),
            1 => Some(Self::InvokeUnmetered(count)),
            2 => Some(Self::Continue),
            _ => None,
        }
    }

    /// Sends the request.
    ///
    /// # Errors
    /// Fails when the worker is gone.
    pub(super) fn send(self, socket: &OwnedFd) -> io::Result<()> {
        send(socket.as_raw_fd(), &self.encode(), MsgFlags::MSG_NOSIGNAL)?;
        Ok(())
    }

    /// Waits for the next request; `None` if the lane has hung up.
    ///
    /// # Errors
    /// Fails when the socket cannot be read.
    pub(super) fn receive(socket: &OwnedFd) -> io::Result<Option<Self>> {
        let mut bytes = [0; Self::SIZE];
        loop {
            return match recv(socket.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
                Ok(Self::SIZE) => Ok(Self::decode(bytes)),
                Ok(_) => Ok(None),
                Err(Errno::EINTR) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }
}

/// Word of a worker to its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkerSignal {
    /// There are reports in the ring.
    Reports,
    /// The ring is full: the worker waits for [`WarmRequest::Continue`].
    Full,
}

impl WorkerSignal {
    const fn encode(self) -> [u8; 1] {
        match self {
            Self::Reports => *b"r",
            Self::Full => *b"f",
        }
    }

    /// Receives a signal that is there; `None` if the worker is gone, or sends something else.
    pub(super) fn receive(socket: &OwnedFd) -> Option<Self> {
        let mut bytes = [0; 2];
        match (recv(socket.as_raw_fd(), &mut bytes, MsgFlags::empty()), bytes[0]) {
            (Ok(1), b'r') => Some(Self::Reports),
            (Ok(1), b'f') => Some(Self::Full),
            _ => None,
        }
    }
}

/// Most reports that wait in the ring without a word to the lane.
const MAX_UNTOLD: u32 = 64;

/// Longest time that reports wait for another one before the lane is told.
const MAX_DELAY: Nanos = Nanos(1_000_000);

/// The worker's end of the ring, and of the socket.
pub(super) struct ReportSender<'a> {
    socket: &'a OwnedFd,
    ring: ReportWriter,
    untold: u32,
    told_at: Nanos,
}

impl<'a> ReportSender<'a> {
    /// Creates a sender of reports.
    pub(super) const fn new(socket: &'a OwnedFd, ring: ReportWriter) -> Self {
        Self { socket, ring, untold: 0, told_at: Nanos(0) }
    }

    /// Sends a report, and tells a lane that waits of it and those before: if it is the last of its
    /// request, if they are many, or if the last word was long ago. A lane that waits looks into the
    /// ring from time to time, too.
    ///
    /// # Errors
    /// Fails when the lane has hung up.
    pub(super) fn send_report(
        &mut self,
        report: &WasmWorkerReport,
        is_last: bool,
    ) -> io::Result<()> {
        while !self.ring.append_report(report) {
            send(self.socket.as_raw_fd(), &WorkerSignal::Full.encode(), MsgFlags::MSG_NOSIGNAL)?;
            if WarmRequest::receive(self.socket)? != Some(WarmRequest::Continue) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        self.untold += 1;
        let is_late = report.dropped.saturating_since(self.told_at) >= MAX_DELAY;
        let is_due = is_last || is_late || self.untold >= MAX_UNTOLD;
        if is_due && self.ring.take_signal_request() {
            (self.untold, self.told_at) = (0, report.dropped);
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            match send(self.socket.as_raw_fd(), &WorkerSignal::Reports.encode(), flags) {
                // Signals that the lane has not taken yet are as good.
                Ok(_) | Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
