//! A server on loopback that says what it is told to say, byte for byte.
//!
//! It knows no HTTP beyond the length of a request. An [`Answer`] is a list of pieces, each written
//! on its own; the answers are given one after the other, one to each request, and the server then
//! stops. Nothing here waits for a clock, except that a test which would hang fails after a minute.
#![allow(dead_code, reason = "not every test uses all of it")]

pub(crate) mod crowd;
pub(crate) mod recorded;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long the server waits for a test before it takes it for hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is said to one request.
pub(crate) struct Answer {
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) then: Then,
    /// Permissions to say the pieces behind the first, one each; empty if none is needed. When the
    /// sender is gone, all are given.
    gate: Option<Receiver<()>>,
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Then {
    /// It is closed.
    Close,
    /// The next request is read from it, if one comes.
    Keep,
    /// It stays open and silent until the client closes it, which ends the server.
    Hold,
}

impl Answer {
    /// The bytes in one piece; the connection is closed after them.
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Answer {
            pieces: vec![bytes.into()],
            then: Then::Close,
            gate: None,
        }
    }

    /// The head of a stream of events, then the events with this data, each a piece of its own; the
    /// head goes with the first.
    pub(crate) fn events<'a>(data: impl IntoIterator<Item = &'a str>) -> Self {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        let events = data.into_iter().map(|data| format!("data: {data}\n\n"));
        let mut answer = Answer::new(head);
        answer.pieces.extend(events.map(String::into_bytes));
        let head = answer.pieces.remove(0);
        match answer.pieces.first_mut() {
            Some(first) => drop(first.splice(..0, head)),
            None => answer.pieces.push(head),
        }
        answer
    }

    /// The same answer, whose pieces behind the first are each said when something is sent.
    pub(crate) fn gated(mut self) -> (Self, Sender<()>) {
        let (open, gate) = channel();
        self.gate = Some(gate);
        (self, open)
    }

    /// A whole answer with this status, further header lines and body.
    pub(crate) fn with_status(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        Answer::new(format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ))
    }

    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// The same bytes in pieces that end at these places.
    pub(crate) fn cut(self, places: impl IntoIterator<Item = usize>) -> Self {
        let bytes = self.pieces.concat();
        let mut pieces = Vec::new();
        let mut begin = 0;
        for end in places.into_iter().chain([bytes.len()]) {
            pieces.push(bytes[begin..end].to_vec());
            begin = end;
        }
        Answer { pieces, ..self }
    }
}

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The request line and the header lines.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Counts connections from 1.
    pub(crate) connection: usize,
}

/// The running server.
pub(crate) struct Loopback {
    port: u16,
    seen: Receiver<Seen>,
    thread: JoinHandle<()>,
}

impl Loopback {
    /// A server that gives these answers.
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers: Vec<Answer> = answers.into_iter().collect();
        let (sender, seen) = channel();
        let thread = thread::spawn(move || serve(&listener, answers, &sender));
        Loopback { port, seen, thread }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The next request, waiting for it.
    pub(crate) fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }

    /// All requests, when every answer has been given.
    pub(crate) fn finish(self) -> Vec<Seen> {
        self.thread.join().unwrap();
        self.seen.iter().collect()
    }
}

/// An address at which nobody listens, and nobody will while this is there: its port is taken by the
/// end of a connection.
pub(crate) struct Nobody {
    taken: TcpStream,
    /// The other end of it.
    _listener: TcpListener,
}

impl Nobody {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Nobody {
            taken,
            _listener: listener,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.taken.local_addr().unwrap())
    }
}

fn serve(listener: &TcpListener, answers: Vec<Answer>, sender: &Sender<Seen>) {
    let mut connections = 0;
    let mut kept: Option<BufReader<TcpStream>> = None;
    for answer in answers {
        let request = kept.as_mut().and_then(read_request);
        let (head, body) = request.unwrap_or_else(|| {
            loop {
                let (stream, _) = listener.accept().unwrap();
                stream.set_nodelay(true).unwrap();
                connections += 1;
                if let Some(request) = read_request(kept.insert(BufReader::new(stream))) {
                    return request;
                }
            }
        });
        let _ = sender.send(Seen {
            head,
            body,
            connection: connections,
        });
        let stream = kept.as_mut().unwrap().get_mut();
        for (index, piece) in answer.pieces.iter().enumerate() {
            if let (Some(gate), 1..) = (&answer.gate, index) {
                let permission = gate.recv_timeout(PATIENCE);
                assert_ne!(permission, Err(RecvTimeoutError::Timeout), "the test hangs");
            }
            // A client that has gone away is no concern of the server.
            let _ = stream.write_all(piece);
        }
        match answer.then {
            Then::Keep => {}
            Then::Close => kept = None,
            Then::Hold => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let waiting = stream.read(&mut [0]).map_err(|error| error.kind());
                assert!(
                    !matches!(waiting, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)),
                    "the client does not close the connection"
                );
                kept = None;
            }
        }
    }
}

/// A request, or `None` if the connection ends before one came.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match reader.read_line(&mut head) {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = lengths
        .next()
        .map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}
