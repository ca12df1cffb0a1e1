//! The files of an image, as an archive from the engine.

use std::collections::HashMap;
use std::io::{self, Read};
use std::time::Duration;

use bollard::query_parameters::CreateContainerOptionsBuilder;
use bytes::Bytes as Buffer;

use super::container::remove_container;
use super::container_spec::{HOST_LABEL, OWNER_LABEL};
use super::engine::{Engine, EngineError, REQUEST_TIMEOUT};
use super::image_files::scratch_body;
use super::leftover;
use super::transport::BodyStream;
use crate::{Cancel, LaneError};
use cyclometer_system::procfs::ProcessIdentity;

/// Longest wait for a piece of the archive: the engine may have to unpack layers first.
const PIECE_TIMEOUT: Duration = Duration::from_mins(1);

const ACTION: &str = "send the files of the image";

/// Passes the files of the image with that id to `unpack`, as a tar archive. For that, a container
/// is made that is never started, and removed. Nothing is fetched.
///
/// # Errors
/// [`LaneError::Unavailable`] with the engine's reason, or that of `unpack`.
pub(crate) fn export_image_root<T>(
    id: &str,
    cancel: &Cancel,
    unpack: impl FnOnce(&mut dyn Read) -> Result<T, String>,
) -> Result<T, LaneError> {
    let failed = |reason: String| {
        if cancel.is_cancelled() { LaneError::Cancelled } else { LaneError::Unavailable { reason } }
    };
    let (engine, _) = Engine::connect()?;
    let owner = ProcessIdentity::current().map_err(|error| failed(error.to_string()))?;
    let name = cyclometer_system::owner::new_name("root").map_err(|it| failed(it.to_string()))?;
    let created = engine.block_on(create_idle_container(&engine, id, &name, &owner, cancel));
    let result = match created {
        Ok(()) => export_container(&engine, &name, cancel, unpack),
        Err(error) => Err(error.to_string()),
    };
    // Also where it is not known whether there is one.
    let removed = engine.block_on(remove_container(&engine, &name, REQUEST_TIMEOUT, Some(cancel)));
    match (result, removed) {
        (Ok(done), Ok(_)) => Ok(done),
        (Ok(_), Err(error)) => Err(failed(error.to_string())),
        (Err(reason), _) => Err(failed(reason)),
    }
}

async fn create_idle_container(
    engine: &Engine,
    id: &str,
    name: &str,
    owner: &ProcessIdentity,
    cancel: &Cancel,
) -> Result<(), EngineError> {
    let host = leftover::host_name().map(|name| (HOST_LABEL.to_owned(), name));
    let labels: HashMap<String, String> =
        host.into_iter().chain([(OWNER_LABEL.to_owned(), owner.to_string())]).collect();
    let body = scratch_body(id, labels);
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    let request = engine.docker.create_container(Some(options), body);
    let action = "create a container of the image";
    engine.send_request(action, PIECE_TIMEOUT, Some(cancel), request).await.map(drop)
}

fn export_container<T>(
    engine: &Engine,
    name: &str,
    cancel: &Cancel,
    unpack: impl FnOnce(&mut dyn Read) -> Result<T, String>,
) -> Result<T, String> {
    let path = format!("/containers/{name}/export");
    let request = engine.transport.stream_body(&path);
    let opened = engine.block_on(engine.send_request(ACTION, PIECE_TIMEOUT, Some(cancel), request));
    let body = opened.map_err(|error| error.to_string())?;
    unpack(&mut ArchiveReader { engine, body, piece: Buffer::new(), cancel })
}

/// Reads an archive from the engine, piece by piece.
struct ArchiveReader<'a> {
    engine: &'a Engine,
    body: BodyStream,
    piece: Buffer,
    cancel: &'a Cancel,
}

impl Read for ArchiveReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other("stopped"));
            }
            let next = self.body.next_piece();
            let next = self.engine.send_request(ACTION, PIECE_TIMEOUT, Some(self.cancel), next);
            match self.engine.block_on(next).map_err(io::Error::other)? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let size = buffer.len().min(self.piece.len());
        let taken = self.piece.split_to(size);
        buffer[..size].copy_from_slice(&taken);
        Ok(size)
    }
}
