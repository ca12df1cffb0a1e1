//! Requests to an engine, each on a connection of its own. Every response has a
//! maximal length: whatever listens there, it cannot fill this machine's memory.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use bollard::errors::Error as ApiError;
use bytes::Bytes as Buffer;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::endpoint::Endpoint;
use super::responses::{MOST_ANSWER, parse_error_message};

/// Longest response to a request that changes something, in bytes.
const MOST_REPLY: usize = 1 << 20;
/// Longest line of a stream of events, in bytes.
const MOST_LINE: usize = 64 << 10;
/// Bytes of a stream that are read at once.
const CHUNK_SIZE: usize = 64 << 10;

/// Address that requests go to, and the version of the interface that they use.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    target: TransportTarget,
    /// Version of the interface; `None`: the engine's own.
    version: Option<(usize, usize)>,
}

#[derive(Debug, Clone)]
enum TransportTarget {
    Socket(PathBuf),
    Port(String),
}

/// A connection to a socket or a port.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection that yields hardly more than a limited number of bytes: the read that
/// reaches the limit is the last.
struct BoundedConnection {
    connection: Box<dyn Wire>,
    limit: usize,
    left: usize,
}

impl AsyncRead for BoundedConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            let error = format!("its answer is longer than {} bytes", self.limit);
            return Poll::Ready(Err(io::Error::other(error)));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.connection).poll_read(context, buffer);
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        polled
    }
}

impl AsyncWrite for BoundedConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

impl Transport {
    /// Creates a transport for requests to the engine there.
    pub(crate) fn for_endpoint(endpoint: &Endpoint) -> Self {
        let target = match endpoint.socket_path() {
            Some(path) => TransportTarget::Socket(path.to_owned()),
            None => TransportTarget::Port(endpoint.host.trim_start_matches("tcp://").to_owned()),
        };
        Self { target, version: None }
    }

    /// Returns the version of the interface that requests are for, if any.
    pub const fn version(&self) -> Option<(usize, usize)> {
        self.version
    }

    /// Returns this transport with that version of the interface.
    #[must_use]
    pub(crate) fn with_version(self, version: (usize, usize)) -> Self {
        Self { version: Some(version), ..self }
    }

    async fn open_connection(&self) -> io::Result<Box<dyn Wire>> {
        Ok(match &self.target {
            TransportTarget::Socket(path) => Box::new(UnixStream::connect(path).await?),
            TransportTarget::Port(address) => {
                let stream = TcpStream::connect(address.as_str()).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }

    /// Sends a request whose response has at most `most` bytes.
    async fn send_request<B>(
        &self,
        request: Request<B>,
        most: usize,
    ) -> Result<Response<Incoming>, ApiError>
    where
        B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let wire = self.open_connection().await.map_err(|err| ApiError::IOError { err })?;
        let wire = TokioIo::new(BoundedConnection { connection: wire, limit: most, left: most });
        let (mut sender, connection) = hyper::client::conn::http1::handshake(wire).await?;
        tokio::spawn(connection.with_upgrades());
        Ok(sender.send_request(to_local_request(request)).await?)
    }

    /// Sends a request of the client library.
    pub(crate) async fn forward_request(
        self,
        request: bollard::BollardRequest,
    ) -> Result<Response<Incoming>, ApiError> {
        self.send_request(request, MOST_REPLY).await
    }

    /// Sends a request, and returns an error if the engine refuses it.
    async fn send_checked(
        &self,
        request: Request<Full<Buffer>>,
        most: usize,
    ) -> Result<Response<Incoming>, ApiError> {
        let response = self.send_request(request, most).await?;
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let body = Limited::new(response.into_body(), MOST_REPLY).collect().await;
        let message = match body.map(|body| parse_error_message(&body.to_bytes())) {
            Ok(text) if text.is_empty() => format!("it answered with status {status}"),
            Ok(text) => text,
            Err(_) => "its reasons are cut off, or longer than 1 MiB".to_owned(),
        };
        Err(ApiError::DockerResponseServerError { status_code: status.as_u16(), message })
    }

    fn build_request(&self, method: Method, path: &str, body: Buffer) -> Request<Full<Buffer>> {
        let version =
            self.version.map_or_else(String::new, |(major, minor)| format!("/v{major}.{minor}"));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        // An invalid path becomes the root, where there is nothing.
        *request.uri_mut() = format!("{version}{path}").parse().unwrap_or_default();
        request
    }

    /// Requests `path` and returns the whole body of the response.
    pub(crate) async fn get_body(&self, path: &str) -> Result<Buffer, ApiError> {
        let request = self.build_request(Method::GET, path, Buffer::new());
        let response = self.send_checked(request, MOST_ANSWER).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }

    /// Requests `path` and returns the lines of a response that goes on.
    pub(crate) async fn stream_lines(&self, path: &str) -> Result<LineStream, ApiError> {
        self.send_for_lines(Method::GET, path).await
    }

    /// Asks for what `path` names to be done, and returns the lines that tell of it.
    pub(crate) async fn post_for_lines(&self, path: &str) -> Result<LineStream, ApiError> {
        self.send_for_lines(Method::POST, path).await
    }

    async fn send_for_lines(&self, method: Method, path: &str) -> Result<LineStream, ApiError> {
        let request = self.build_request(method, path, Buffer::new());
        // Without a limit: a stream that ends is followed by a new one.
        let response = self.send_checked(request, usize::MAX).await?;
        Ok(LineStream { body: response.into_body(), pending: Vec::new(), skips: false })
    }

    /// Requests `path` and returns the body of a response of any length, to be read as it arrives.
    pub(crate) async fn stream_body(&self, path: &str) -> Result<BodyStream, ApiError> {
        let request = self.build_request(Method::GET, path, Buffer::new());
        let response = self.send_checked(request, usize::MAX).await?;
        Ok(BodyStream(response.into_body()))
    }

    /// Opens a connection for bytes in both directions, as the response to a request.
    pub(crate) async fn open_duplex(
        &self,
        path: &str,
        body: &'static str,
    ) -> Result<Duplex, ApiError> {
        let mut request =
            self.build_request(Method::POST, path, Buffer::from_static(body.as_bytes()));
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = self.send_checked(request, usize::MAX).await?;
        let upgraded = hyper::upgrade::on(response).await?;
        let (read, write) = tokio::io::split(TokioIo::new(upgraded));
        Ok(Duplex {
            read: ChunkReader { read, buffer: vec![0; CHUNK_SIZE] },
            write: Box::pin(write),
        })
    }
}

/// Rewrites a request as a server expects it: the client library's names a host, too.
fn to_local_request<B>(mut request: Request<B>) -> Request<B> {
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map(Into::into).unwrap_or_default();
    request.headers_mut().insert(HOST, HeaderValue::from_static("docker"));
    request
}

/// Percent-encodes the bytes that a query cannot hold.
pub(super) fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte);
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        use std::fmt::Write as _;
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Both directions of a connection.
pub(super) struct Duplex {
    pub read: ChunkReader,
    pub write: Pin<Box<dyn AsyncWrite + Send>>,
}

/// Chunks of bytes as they arrive, including the frames around them.
pub(super) struct ChunkReader {
    read: tokio::io::ReadHalf<TokioIo<Upgraded>>,
    buffer: Vec<u8>,
}

impl ChunkReader {
    /// Returns the next chunk; `None` at the end. Nothing is lost if the future is
    /// dropped before it completes.
    pub(crate) async fn next_chunk(&mut self) -> Option<io::Result<Buffer>> {
        match self.read.read(&mut self.buffer).await {
            Ok(0) => None,
            Ok(count) => Some(Ok(Buffer::copy_from_slice(&self.buffer[..count]))),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Body of a response as it arrives.
pub(super) struct BodyStream(Incoming);

impl BodyStream {
    /// Returns the next piece; `None` at the end. A body that is cut off is an error.
    pub(crate) async fn next_piece(&mut self) -> Result<Option<Buffer>, ApiError> {
        while let Some(frame) = self.0.frame().await {
            if let Ok(data) = frame?.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// Lines as they arrive. A line that is too long is left out.
pub(super) struct LineStream {
    body: Incoming,
    pending: Vec<u8>,
    skips: bool,
}

impl LineStream {
    /// Passes the next lines to `take`; returns `false` at the end.
    pub(crate) async fn pass_next_lines(&mut self, mut take: impl FnMut(&[u8])) -> bool {
        let Some(Ok(frame)) = self.body.frame().await else { return false };
        for part in frame.data_ref().map_or(&[][..], |data| data).split_inclusive(|b| *b == b'\n') {
            let has_room = self.pending.len() + part.len() <= MOST_LINE;
            if has_room && !self.skips {
                self.pending.extend_from_slice(part);
            } else {
                self.skips = true;
            }
            if part.ends_with(b"\n") {
                if !self.skips {
                    take(&self.pending);
                }
                self.skips = false;
                self.pending.clear();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        // RFC 3986: unreserved characters stay; a quote is 22, a brace 7B, 7D.
        assert_eq!(percent_encode("a/b:1@x-._~"), "a/b:1@x-._~");
        assert_eq!(percent_encode("{\"ä\"}?&=%"), "%7B%22%C3%A4%22%7D%3F%26%3D%25");
    }
}
