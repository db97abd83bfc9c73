//! A source server that misbehaves on purpose: wrong status, cut bodies, silence, redirects, TLS.
//!
//! One thread per connection, one request per connection (`Connection: close`), HTTP/1.1. Each path has a
//! list of replies that are given in order; the last one is repeated. Everything that was asked is kept in
//! order, so that a test can say what a client did and did not ask.
//!
//! It is no general HTTP server: it reads a request head up to 16 KiB and ignores bodies.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::locked;

/// What a path answers once.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A file.
    File(FileReply),
    /// A status without content, for example 404 or 503.
    Status(u16),
    /// A status with a `Retry-After` of so many seconds.
    RetryAfter(u16, u32),
    /// The whole file's head, then only so many bytes, then the connection is cut.
    Cut {
        /// The file that is promised.
        file: FileReply,
        /// How many bytes of the body really come.
        after: usize,
    },
    /// A file in small pieces with pauses.
    Slow {
        /// The file.
        file: FileReply,
        /// Bytes per piece.
        piece: usize,
        /// Pause before each piece.
        pause: Duration,
    },
    /// The whole file's head, then only so many bytes, then nothing until the server is dropped.
    Stall {
        /// The file that is promised.
        file: FileReply,
        /// How many bytes of the body come.
        after: usize,
    },
    /// 302 to another place.
    Redirect(String),
    /// The request is read and never answered, until the server is dropped.
    Silence,
}

/// A file and how the server treats conditional requests for it.
#[derive(Clone, Debug)]
pub struct FileReply {
    /// The bytes.
    pub content: Vec<u8>,
    /// Sent as `ETag`, quotes included.
    pub etag: Option<String>,
    /// What happens to `Range`.
    pub ranges: RangeSupport,
}

/// What a server does with `Range` and `If-Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSupport {
    /// As RFC 9110 says.
    Right,
    /// Always the whole file.
    None,
    /// The range, also when `If-Range` names another version (several servers have this fault).
    IgnoresIfRange,
}

impl FileReply {
    /// Returns a well-served file with an entity tag made of its length and first bytes.
    pub fn new(content: impl Into<Vec<u8>>) -> Self {
        let content = content.into();
        let sum = content.iter().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        Self { etag: Some(format!("\"{}-{sum:x}\"", content.len())), content, ranges: RangeSupport::Right }
    }
}

impl Reply {
    /// Returns a well-served file.
    pub fn file(content: impl Into<Vec<u8>>) -> Self {
        Self::File(FileReply::new(content))
    }
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedRequest {
    /// Path and query, still percent-encoded.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
}

#[derive(Default)]
struct Shared {
    routes: Mutex<BTreeMap<String, Vec<Reply>>>,
    requests: Mutex<Vec<ReceivedRequest>>,
    stopped: AtomicBool,
    stop: (Mutex<bool>, Condvar),
}

/// A server on a free loopback port; stops when dropped.
pub struct SourceServer {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl SourceServer {
    /// Starts a server without TLS and without any file.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts a server with TLS.
    pub fn start_tls(config: Arc<ServerConfig>) -> Self {
        Self::start_with(Some(config))
    }

    fn start_with(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared, tls.as_ref())
        });
        Self { address, scheme, shared, acceptor: Some(acceptor) }
    }

    /// Sets the replies of a path such as `/zlib-1.2.13.tar.gz`; an unknown path answers 404.
    pub fn route(&self, path: &str, replies: impl IntoIterator<Item = Reply>) -> &Self {
        let mut replies: Vec<Reply> = replies.into_iter().collect();
        replies.reverse();
        locked(&self.shared.routes).insert(path.to_owned(), replies);
        self
    }

    /// Returns the base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.address.port())
    }

    /// Returns everything that was asked so far, in order.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        locked(&self.shared.requests).clone()
    }
}

impl Drop for SourceServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        *locked(&self.shared.stop.0) = true;
        self.shared.stop.1.notify_all();
        // Wakes the acceptor; it looks at `stopped` after each connection.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, tls: Option<&Arc<ServerConfig>>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let (shared, tls) = (Arc::clone(shared), tls.cloned());
        // Not joined: a connection thread ends with its connection or with `stop`.
        std::thread::spawn(move || {
            // A client that goes away is part of the tests.
            let _ = serve(stream, &shared, tls);
        });
    }
}

fn serve(stream: TcpStream, shared: &Shared, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    let socket = stream.try_clone()?;
    match tls {
        None => answer(stream, &socket, shared),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            answer(StreamOwned::new(connection, stream), &socket, shared)
        }
    }
}

fn answer(mut stream: impl Read + Write, socket: &TcpStream, shared: &Shared) -> io::Result<()> {
    let Some(request) = read_request(&mut stream)? else { return Ok(()) };
    let reply = next_reply(shared, &request.path);
    locked(&shared.requests).push(request.clone());
    match reply {
        Reply::Status(status) => write_head(&mut stream, status, &[("Content-Length", "0".to_owned())])?,
        Reply::RetryAfter(status, seconds) => {
            let headers = [("Content-Length", "0".to_owned()), ("Retry-After", seconds.to_string())];
            write_head(&mut stream, status, &headers)?;
        }
        Reply::Redirect(to) => {
            write_head(&mut stream, 302, &[("Content-Length", "0".to_owned()), ("Location", to)])?;
        }
        Reply::Silence => wait_for_stop(shared),
        Reply::File(file) => {
            let body = write_file_head(&mut stream, &request, &file)?;
            stream.write_all(&file.content[body..])?;
        }
        Reply::Cut { file, after } => write_beginning(&mut stream, &request, &file, after)?,
        Reply::Stall { file, after } => {
            write_beginning(&mut stream, &request, &file, after)?;
            wait_for_stop(shared);
        }
        Reply::Slow { file, piece, pause } => {
            let body = write_file_head(&mut stream, &request, &file)?;
            for bytes in file.content[body..].chunks(piece.max(1)) {
                std::thread::sleep(pause);
                stream.write_all(bytes)?;
                stream.flush()?;
            }
        }
    }
    stream.flush()?;
    socket.shutdown(Shutdown::Write)
}

/// Writes the head for a file and so many bytes of its body.
fn write_beginning(
    stream: &mut impl Write,
    request: &ReceivedRequest,
    file: &FileReply,
    length: usize,
) -> io::Result<()> {
    let body = write_file_head(stream, request, file)?;
    let end = (body + length).min(file.content.len());
    stream.write_all(&file.content[body..end])?;
    stream.flush()
}

fn wait_for_stop(shared: &Shared) {
    let mut stopped = locked(&shared.stop.0);
    while !*stopped {
        stopped = shared.stop.1.wait(stopped).unwrap_or_else(std::sync::PoisonError::into_inner);
    }
}

fn read_request(stream: &mut impl Read) -> io::Result<Option<ReceivedRequest>> {
    let mut head = Vec::new();
    let mut piece = [0u8; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut piece)?;
        if length == 0 || head.len() > 16 * 1024 {
            return Ok(None);
        }
        head.extend_from_slice(&piece[..length]);
    }
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.lines();
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or("/").to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Some(ReceivedRequest { path, headers }))
}

/// The replies are kept in reverse order, so that the next one is at the end.
fn next_reply(shared: &Shared, path: &str) -> Reply {
    let mut routes = locked(&shared.routes);
    match routes.get_mut(path) {
        None => Reply::Status(404),
        Some(replies) if replies.len() > 1 => replies.pop().unwrap_or(Reply::Status(404)),
        Some(replies) => replies.last().cloned().unwrap_or(Reply::Status(404)),
    }
}

/// Writes the head for a file; returns the offset at which the body starts.
fn write_file_head(
    stream: &mut impl Write,
    request: &ReceivedRequest,
    file: &FileReply,
) -> io::Result<usize> {
    let length = file.content.len();
    let same_version = match (request.headers.get("if-range"), &file.etag) {
        (None, _) => true,
        (Some(asked), Some(etag)) => asked == etag,
        (Some(_), None) => false,
    };
    let start = match file.ranges {
        RangeSupport::None => None,
        RangeSupport::Right if !same_version => None,
        RangeSupport::Right | RangeSupport::IgnoresIfRange => request
            .headers
            .get("range")
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok()),
    };
    let mut headers = vec![("Accept-Ranges", "bytes".to_owned())];
    headers.extend(file.etag.clone().map(|etag| ("ETag", etag)));
    match start {
        Some(start) if start >= length => {
            headers.push(("Content-Range", format!("bytes */{length}")));
            headers.push(("Content-Length", "0".to_owned()));
            write_head(stream, 416, &headers)?;
            Ok(length)
        }
        Some(start) => {
            headers.push(("Content-Range", format!("bytes {start}-{}/{length}", length - 1)));
            headers.push(("Content-Length", (length - start).to_string()));
            write_head(stream, 206, &headers)?;
            Ok(start)
        }
        None => {
            headers.push(("Content-Length", length.to_string()));
            write_head(stream, 200, &headers)?;
            Ok(0)
        }
    }
}

fn write_head(stream: &mut impl Write, status: u16, headers: &[(&str, String)]) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status} Test\r\nConnection: close\r\n")?;
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(stream, "\r\n")
}
