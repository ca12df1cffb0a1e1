//! An engine of a test's own, which answers as it is told: well, or wrong in one
//! place. It makes no containers.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Requests of a recording to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Version,
    Info,
    Containers,
    Events,
    Image,
    Layers,
    Import,
    Create,
    Attach,
    Start,
    Wait,
    State,
    Kill,
    Remove,
    CreateCommand,
    StartCommand,
    Command,
    Other,
}

/// Wrong answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request is taken, and nothing comes.
    Silent,
    /// A part of the header, and then nothing.
    HalfHeader,
    /// A header that does not end.
    EndlessHeader,
    /// A body that does not end.
    EndlessBody,
    /// A body that comes a byte at a time.
    Drip,
    /// No HTTP.
    Foreign,
    /// An answer that sends the client elsewhere.
    Redirect,
    /// Chunks without lengths.
    BadChunks,
    /// The connection is closed at once.
    Close,
    /// It is closed inside the body.
    CloseMidway,
    /// Status 500, and 100 MB of reasons.
    LongRefusal,
    /// Status 404.
    Missing,
    /// This status and body.
    Answer(u16, &'static str),
    /// So many times `{},` in a list.
    Crowd(usize),
    /// So many brackets.
    Nested(usize),
    /// These bytes on an open connection, which stays so.
    Bytes(&'static [u8]),
    /// These, and then zeros for ever.
    BytesAndZeros(&'static [u8]),
    /// These again and again.
    Repeated(&'static [u8]),
    /// These, and the end.
    BytesAndEnd(&'static [u8]),
}

/// The engine, until it is dropped: then its socket is gone.
pub struct FakeEngine {
    folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
    _listener: Option<UnixListener>,
}

const OPEN: &str = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n\
                    Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

impl FakeEngine {
    /// One that answers these requests wrongly. `here`: it says that it runs on
    /// this machine, so that functions get files of it.
    pub fn start(faults: &[(Ask, Fault)], here: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("e.sock")).expect("a socket");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, faults) = (Arc::clone(&asked), faults.to_vec());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, faults) = (Arc::clone(&log), faults.clone());
                std::thread::spawn(move || serve(stream, &log, &faults, here));
            }
        });
        Self { folder, asked, _listener: None }
    }

    /// One that never accepts a connection.
    pub fn deaf() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("e.sock")).expect("a socket");
        Self { folder, asked: Arc::default(), _listener: Some(listener) }
    }

    /// For `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("e.sock").display())
    }

    /// The first lines of all requests until now.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(mut stream: UnixStream, log: &Mutex<Vec<String>>, faults: &[(Ask, Fault)], here: bool) {
    let Some(line) = read_request(&mut stream) else { return };
    log.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
    let ask = kind_of(&line);
    // Whoever asked may be gone.
    let _ = match faults.iter().find(|(which, _)| *which == ask) {
        Some((_, fault)) => answer_wrongly(&mut stream, ask, *fault),
        None => answer_well(&mut stream, ask, here),
    };
}

/// Reads a request with its body; returns its first line.
fn read_request(stream: &mut UnixStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|it| it.lines().next());
    let mut body = vec![0; length.and_then(|it| it.trim().parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    head.lines().next().map(str::to_owned)
}

/// The kind of a request, by its first line in lower case.
pub fn kind_of(line: &str) -> Ask {
    let path = line.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let is = |end: &str| path.ends_with(end);
    let images = path.contains("/images/");
    match line {
        _ if is("/version") => Ask::Version,
        _ if is("/info") => Ask::Info,
        _ if is("/events") => Ask::Events,
        _ if is("/containers/json") => Ask::Containers,
        _ if is("/images/create") => Ask::Import,
        _ if images && is("/json") => Ask::Image,
        _ if images && is("/history") => Ask::Layers,
        _ if is("/containers/create") => Ask::Create,
        _ if is("/attach") => Ask::Attach,
        _ if path.contains("/exec/") && is("/start") => Ask::StartCommand,
        _ if path.contains("/exec/") => Ask::Command,
        _ if is("/exec") => Ask::CreateCommand,
        _ if is("/start") => Ask::Start,
        _ if is("/wait") => Ask::Wait,
        _ if is("/kill") => Ask::Kill,
        _ if is("/json") => Ask::State,
        _ if line.starts_with("delete") => Ask::Remove,
        _ => Ask::Other,
    }
}

fn send(stream: &mut UnixStream, status: u16, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn answer_well(stream: &mut UnixStream, ask: Ask, here: bool) -> std::io::Result<()> {
    let kernel = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        if here { text.trim().to_owned() } else { "elsewhere".to_owned() }
    };
    let id = "0a".repeat(32);
    match ask {
        Ask::Version => send(stream, 200, r#"{"Version":"20.10.24","ApiVersion":"1.41"}"#),
        Ask::Info => {
            let (host, release) = (kernel("hostname"), kernel("osrelease"));
            let body = format!(
                r#"{{"ServerVersion":"20.10.24","Runtimes":{{"runc":{{"path":"runc"}}}},
                "DefaultRuntime":"runc","Name":"{host}","KernelVersion":"{release}"}}"#
            );
            send(stream, 200, &body)
        }
        Ask::Containers | Ask::Layers => send(stream, 200, "[]"),
        Ask::Image => send(stream, 200, &format!(r#"{{"Id":"sha256:{id}","Size":1000}}"#)),
        Ask::Create | Ask::CreateCommand => {
            send(stream, 201, &format!(r#"{{"Id":"{id}","Warnings":[]}}"#))
        }
        Ask::Attach | Ask::StartCommand => {
            stream.write_all(OPEN.as_bytes())?;
            std::thread::sleep(Duration::from_millis(100));
            Ok(())
        }
        Ask::Wait => {
            std::thread::sleep(Duration::from_millis(100));
            send(stream, 200, r#"{"StatusCode":0}"#)
        }
        Ask::Events => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            hold(stream)
        }
        Ask::State => send(stream, 200, r#"{"State":{"OOMKilled":false}}"#),
        Ask::Command => send(stream, 200, r#"{"Running":false,"ExitCode":0}"#),
        Ask::Import => send(stream, 200, r#"{"status":"done"}"#),
        Ask::Start | Ask::Kill | Ask::Remove | Ask::Other => {
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        }
    }
}

/// Keeps a connection until the other side closes it.
fn hold(stream: &mut UnixStream) -> std::io::Result<()> {
    while stream.read(&mut [0; 64])? > 0 {}
    Ok(())
}

fn answer_wrongly(stream: &mut UnixStream, ask: Ask, fault: Fault) -> std::io::Result<()> {
    let ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    if let Fault::Bytes(_) | Fault::BytesAndZeros(_) | Fault::Repeated(_) | Fault::BytesAndEnd(_) =
        fault
    {
        let is_open = matches!(ask, Ask::Attach | Ask::StartCommand);
        let head = if is_open { OPEN.to_owned() } else { format!("{ok}\r\n") };
        stream.write_all(head.as_bytes())?;
    }
    match fault {
        Fault::Silent => hold(stream),
        Fault::HalfHeader => write!(stream, "HTTP/1.1 200 OK\r\nContent-Le").and(hold(stream)),
        Fault::EndlessHeader => {
            stream.write_all(ok.as_bytes())?;
            for n in 0_u64.. {
                write!(stream, "X-{n}: {}\r\n", "a".repeat(1000))?;
            }
            Ok(())
        }
        Fault::EndlessBody => {
            write!(stream, "{ok}\r\n{{\"a\":\"")?;
            repeat(stream, &[b'a'; 4096])
        }
        Fault::Drip => {
            write!(stream, "{ok}Content-Length: 100000\r\n\r\n")?;
            loop {
                stream.write_all(b" ")?;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Fault::Foreign => write!(stream, "SSH-2.0-OpenSSH_9.2\r\n").and(hold(stream)),
        Fault::Redirect => {
            write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"
            )
        }
        Fault::BadChunks => write!(stream, "{ok}Transfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n")
            .and(hold(stream)),
        Fault::Close => Ok(()),
        Fault::CloseMidway => write!(stream, "{ok}Content-Length: 100\r\n\r\n{{\"Version\":"),
        Fault::LongRefusal => {
            write!(stream, "HTTP/1.1 500 No\r\nContent-Length: 104857600\r\n\r\n")?;
            for _ in 0..25_600 {
                stream.write_all(&[b'\x1b'; 4096])?;
            }
            Ok(())
        }
        Fault::Missing => send(stream, 404, r#"{"message":"No such thing"}"#),
        Fault::Answer(status, body) => send(stream, status, body),
        Fault::Crowd(count) => send(stream, 200, &format!("[{}{{}}]", "{},".repeat(count))),
        Fault::Nested(count) => send(stream, 200, &"[".repeat(count)),
        Fault::Bytes(bytes) => stream.write_all(bytes).and(hold(stream)),
        Fault::BytesAndEnd(bytes) => stream.write_all(bytes),
        Fault::BytesAndZeros(bytes) => {
            stream.write_all(bytes).and_then(|()| repeat(stream, &[0; 4096]))
        }
        Fault::Repeated(bytes) => repeat(stream, bytes),
    }
}

fn repeat(stream: &mut UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    loop {
        stream.write_all(bytes)?;
    }
}
