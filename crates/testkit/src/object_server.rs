//! An object store on loopback: plain HTTP with `PUT`, and as much of the S3 protocol and of Azure's Blob service as
//! clients need to put and get objects (path style, uploads in parts). It can be made to fail in the ways in which
//! stores fail.
//!
//! One thread per connection, one request per connection. Of S3 it checks no signatures; whether requests carried one
//! can be asked afterwards. Of the Blob service it does, and refuses what is not signed right.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::blob_service::{Signed, block_list, unescaped};
use crate::locked;

/// How requests go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectFault {
    /// Every request whose method and path begin so gets this status.
    Status(u16),
    /// It gets no answer, until the server is dropped.
    Silence,
    /// It gets the right head, then only so many bytes.
    Cut(usize),
}

/// A request that the server has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRequest {
    /// `GET`, `HEAD`, `PUT`, `POST` or `DELETE`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// Whether it carried an `Authorization` header, and to the Blob service the right one.
    pub authorized: bool,
}

#[derive(Default)]
struct Shared {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    /// By path and number or name of the part.
    parts: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    faults: Mutex<Vec<(String, String, ObjectFault)>>,
    requests: Mutex<Vec<ObjectRequest>>,
    stopped: AtomicBool,
    stop: (Mutex<bool>, Condvar),
}

/// The server; it ends when it is dropped.
pub struct ObjectServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl ObjectServer {
    /// Starts a server without objects.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Returns the base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns all objects by path.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        locked(&self.shared.objects).clone()
    }

    /// Changes the objects behind everybody's back.
    pub fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) {
        change(&mut locked(&self.shared.objects));
    }

    /// Lets every request of a method go wrong whose path contains a text, from now on.
    pub fn fail(&self, method: &str, path_contains: &str, fault: ObjectFault) {
        locked(&self.shared.faults).push((method.to_owned(), path_contains.to_owned(), fault));
    }

    /// Lets everything go well again.
    pub fn recover(&self) {
        locked(&self.shared.faults).clear();
    }

    /// Returns everything that was asked so far, in order.
    pub fn requests(&self) -> Vec<ObjectRequest> {
        locked(&self.shared.requests).clone()
    }
}

impl Drop for ObjectServer {
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

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        // Not joined: a connection thread ends with its connection or with `stop`. A client that goes away is
        // part of the tests.
        std::thread::spawn(move || drop(serve(stream, &shared)));
    }
}

/// What is asked: the head of a request and its body.
struct Asked {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    authorized: bool,
    body: Vec<u8>,
}

impl Asked {
    fn signed(&self) -> Signed<'_> {
        Signed { method: &self.method, path: &self.path, query: &self.query, headers: &self.headers }
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let Some(asked) = read_request(&mut stream)? else { return Ok(()) };
    let Asked { method, path, authorized, .. } = &asked;
    let request = ObjectRequest { method: method.clone(), path: path.clone(), authorized: *authorized };
    locked(&shared.requests).push(request);
    let fault = locked(&shared.faults)
        .iter()
        .find(|(of, part, _)| of == method && path.contains(part.as_str()))
        .map(|(_, _, fault)| fault.clone());
    let most = match fault {
        Some(ObjectFault::Status(status)) => {
            write_answer(&mut stream, status, b"refused", &asked, usize::MAX)?;
            return stream.shutdown(Shutdown::Write);
        }
        Some(ObjectFault::Silence) => {
            let mut stopped = locked(&shared.stop.0);
            while !*stopped {
                stopped = shared.stop.1.wait(stopped).unwrap_or_else(PoisonError::into_inner);
            }
            return Ok(());
        }
        Some(ObjectFault::Cut(most)) => most,
        None => usize::MAX,
    };
    let (status, body) = answer(&asked, shared);
    write_answer(&mut stream, status, &body, &asked, most)?;
    stream.shutdown(Shutdown::Write)
}

/// Does what is asked and returns status and body.
fn answer(asked: &Asked, shared: &Shared) -> (u16, Vec<u8>) {
    let part = |key: &str| {
        let value = asked.query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        value.map(str::to_owned)
    };
    let mut objects = locked(&shared.objects);
    let is_blob_request = asked.signed().is_blob_request();
    if is_blob_request && !asked.authorized {
        return (403, b"AuthenticationFailed".to_vec());
    }
    match asked.method.as_str() {
        "PUT" if is_blob_request => {
            let mut parts = locked(&shared.parts);
            match (part("comp").as_deref(), part("blockid").map(|id| unescaped(&id))) {
                (Some("block"), Some(id)) => {
                    parts.insert((asked.path.clone(), id), asked.body.clone());
                }
                (Some("blocklist"), _) => {
                    // In one step; what the list does not name is dropped.
                    let own: Vec<_> = parts.keys().filter(|(path, _)| *path == asked.path).cloned().collect();
                    let mut blocks: BTreeMap<String, Vec<u8>> = own
                        .into_iter()
                        .filter_map(|key| Some((key.1.clone(), parts.remove(&key)?)))
                        .collect();
                    let listed: Option<Vec<Vec<u8>>> =
                        block_list(&asked.body).iter().map(|id| blocks.remove(id)).collect();
                    let Some(listed) = listed else { return (400, b"InvalidBlockList".to_vec()) };
                    objects.insert(asked.path.clone(), listed.concat());
                }
                _ if asked.headers.get("x-ms-blob-type").is_none_or(|kind| kind != "BlockBlob") => {
                    return (400, b"MissingRequiredHeader".to_vec());
                }
                _ => drop(objects.insert(asked.path.clone(), asked.body.clone())),
            }
            (201, Vec::new())
        }
        "GET" | "HEAD" => {
            objects.get(&asked.path).map_or((404, b"absent".to_vec()), |body| (200, body.clone()))
        }
        "PUT" => {
            match part("partNumber").and_then(|number| number.parse::<u32>().ok()) {
                Some(number) => {
                    let key = (asked.path.clone(), format!("{number:08}"));
                    drop(locked(&shared.parts).insert(key, asked.body.clone()));
                }
                None => drop(objects.insert(asked.path.clone(), asked.body.clone())),
            }
            (200, Vec::new())
        }
        "POST" if asked.query.starts_with("uploads") => {
            let text =
                "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>";
            (200, text.into())
        }
        "POST" => {
            // In one step, as the protocol promises; the parts are numbered and so already sorted.
            let mut parts = locked(&shared.parts);
            let own: Vec<_> = parts.keys().filter(|(path, _)| *path == asked.path).cloned().collect();
            let whole = own.iter().filter_map(|key| parts.remove(key)).flatten().collect();
            objects.insert(asked.path.clone(), whole);
            let text =
                "<CompleteMultipartUploadResult><ETag>\"whole\"</ETag></CompleteMultipartUploadResult>";
            (200, text.into())
        }
        "DELETE" => {
            locked(&shared.parts).retain(|(path, _), _| *path != asked.path);
            (204, Vec::new())
        }
        _ => (405, Vec::new()),
    }
}

fn read_request(stream: &mut TcpStream) -> io::Result<Option<Asked>> {
    let mut bytes = Vec::new();
    let mut piece = [0u8; 64 * 1024];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            length => bytes.extend_from_slice(&piece[..length]),
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while body.len() < length {
        match stream.read(&mut piece)? {
            // The client went away in the middle: nothing has come, and nothing is kept.
            0 => return Ok(None),
            read => body.extend_from_slice(&piece[..read]),
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let authorized = headers.contains_key("authorization");
    let mut asked = Asked { method, path, query, headers, authorized, body };
    if asked.signed().is_blob_request() {
        asked.authorized = asked.signed().is_right();
    }
    Ok(Some(asked))
}

fn write_answer(
    stream: &mut TcpStream,
    status: u16,
    body: &[u8],
    asked: &Asked,
    most: usize,
) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} Test\r\nConnection: close\r\nContent-Length: {}\r\nETag: \"e\"\r\n\
         Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n",
        body.len()
    )?;
    if asked.method != "HEAD" {
        stream.write_all(&body[..body.len().min(most)])?;
    }
    stream.flush()
}
