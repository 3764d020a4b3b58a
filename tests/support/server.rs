//! A small HTTP server for tests, with all the bad manners that a network can have.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a path answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A page of a media type.
    Page(&'static str, Vec<u8>),
    /// A file of which parts can be had.
    File(Vec<u8>),
    /// A file that comes whole, whatever part was asked for.
    WholeFile(Vec<u8>),
    /// A file of which always other parts come.
    WrongPart(Vec<u8>),
    /// Only a status.
    Status(u16),
    /// A status so many times, then another answer.
    First(u32, u16, Box<Reply>),
    /// Somewhere else.
    Redirect(String),
    /// Less than was promised.
    Cut(Vec<u8>, usize),
    /// No answer at all.
    Silence,
    /// A byte now and then, for ever.
    Drip,
    /// As much as is taken.
    Endless,
}

type Routes = Arc<Mutex<BTreeMap<String, Reply>>>;

/// A server that lives as long as the test.
pub(crate) struct Server {
    /// `http://127.0.0.1:PORT`.
    pub(crate) address: String,
    routes: Routes,
    hits: Arc<Mutex<HashMap<String, u32>>>,
}

impl Server {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { address, routes: Routes::default(), hits: Arc::default() };
        let (routes, hits) = (server.routes.clone(), server.hits.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (routes, hits) = (routes.clone(), hits.clone());
                std::thread::spawn(move || serve(&stream, &routes, &hits));
            }
        });
        server
    }

    /// Sets the answer of a path, and gives its address.
    pub(crate) fn put(&self, path: &str, reply: Reply) -> String {
        self.routes.lock().unwrap().insert(path.to_owned(), reply);
        format!("{}{path}", self.address)
    }

    /// How often a path was asked for.
    pub(crate) fn hits(&self, path: &str) -> u32 {
        self.hits.lock().unwrap().get(path).copied().unwrap_or(0)
    }
}

fn serve(stream: &TcpStream, routes: &Routes, hits: &Mutex<HashMap<String, u32>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let path = line.split_whitespace().nth(1)?.to_owned();
        let mut range = None;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("range: bytes=") {
                range = Some(value.trim().to_owned());
            }
        }
        let count = {
            let mut hits = hits.lock().ok()?;
            let count = hits.entry(path.clone()).or_default();
            *count += 1;
            *count
        };
        let reply = routes.lock().ok()?.get(&path).cloned().unwrap_or(Reply::Status(404));
        answer(stream, reply, range.as_deref(), count)?;
    }
}

/// Gives none where the connection ends with the answer.
fn answer(mut stream: &TcpStream, reply: Reply, range: Option<&str>, count: u32) -> Option<()> {
    let head = |status: &str, length: usize, more: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n")
    };
    let mut send = |head: String, body: &[u8]| -> Option<()> {
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body).ok()
    };
    match reply {
        Reply::Page(kind, bytes) => send(head("200 OK", bytes.len(), &format!("Content-Type: {kind}\r\n")), &bytes),
        Reply::File(bytes) => {
            let total = bytes.len();
            let Some(range) = range else { return send(head("200 OK", total, ""), &bytes) };
            let (from, to) = range.split_once('-')?;
            let (from, to) = if from.is_empty() {
                (total.saturating_sub(to.parse().ok()?), total)
            } else {
                (from.parse().ok()?, (to.parse::<usize>().ok()? + 1).min(total))
            };
            let more = format!("Content-Range: bytes {from}-{}/{total}\r\n", to - 1);
            send(head("206 Partial Content", to - from, &more), bytes.get(from..to)?)
        }
        Reply::WholeFile(bytes) => send(head("200 OK", bytes.len(), ""), &bytes),
        Reply::WrongPart(bytes) => {
            let more = format!("Content-Range: bytes 0-9/{}\r\n", bytes.len());
            send(head("206 Partial Content", 10, &more), bytes.get(..10)?)
        }
        Reply::Status(status) => send(head(&format!("{status} X"), 0, ""), b""),
        Reply::First(times, status, _) if count <= times => send(head(&format!("{status} X"), 0, ""), b""),
        Reply::First(_, _, then) => answer(stream, *then, range, count),
        Reply::Redirect(to) => send(head("302 Found", 0, &format!("Location: {to}\r\n")), b""),
        Reply::Cut(bytes, promised) => {
            send(head("200 OK", promised, ""), &bytes)?;
            let _ = stream.shutdown(std::net::Shutdown::Both);
            None
        }
        Reply::Silence => {
            std::thread::sleep(Duration::from_secs(30));
            None
        }
        Reply::Drip => {
            send(head("200 OK", 1_000_000, ""), b"")?;
            loop {
                stream.write_all(b"x").ok()?;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Reply::Endless => {
            send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(), b"")?;
            loop {
                stream.write_all(&[b'x'; 4096]).ok()?;
            }
        }
    }
}

/// A wheel: a ZIP archive whose files are stored as they are.
pub(crate) fn wheel(files: &[(&str, &str)]) -> Vec<u8> {
    let (mut out, mut table) = (Vec::new(), Vec::new());
    for (name, text) in files {
        let mut crc = flate2::Crc::new();
        crc.update(text.as_bytes());
        let size = u32::try_from(text.len()).unwrap().to_le_bytes();
        let length = u16::try_from(name.len()).unwrap().to_le_bytes();
        let offset = u32::try_from(out.len()).unwrap().to_le_bytes();
        let common = [&[0u8; 6][..], &crc.sum().to_le_bytes(), &size, &size, &length, &[0; 2]].concat();
        out.extend([b"PK\x03\x04\x14\0\0\0", common.as_slice(), name.as_bytes(), text.as_bytes()].concat());
        table.extend([b"PK\x01\x02\x14\0\x14\0\0\0", common.as_slice(), &[0; 10], &offset, name.as_bytes()].concat());
    }
    let count = u16::try_from(files.len()).unwrap().to_le_bytes();
    let (begin, length) = (u32::try_from(out.len()).unwrap(), u32::try_from(table.len()).unwrap());
    out.extend(&table);
    out.extend(
        [b"PK\x05\x06\0\0\0\0", &count[..], &count, &length.to_le_bytes(), &begin.to_le_bytes(), &[0; 2]].concat(),
    );
    out
}
