//! A server for many clients at once: one thread, whatever it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use smol::channel::{Receiver, Sender, unbounded};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};

/// The running server. What a client sends is told, and its answer is up to the test.
pub(crate) struct Crowd {
    port: u16,
    arrived: Receiver<Asked>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// A request that waits for its answer.
pub(crate) struct Asked {
    pub(crate) body: Vec<u8>,
    say: Sender<Vec<u8>>,
    /// Closed when the client has closed its connection, or all was said.
    gone: Receiver<()>,
}

impl Asked {
    /// Sends these bytes. They come to the client in the order in which they are said.
    pub(crate) fn say(&self, bytes: impl Into<Vec<u8>>) {
        let _ = self.say.try_send(bytes.into());
    }

    /// Waits until the client has closed the connection.
    pub(crate) fn wait_until_gone(&self) {
        assert!(self.gone.recv_blocking().is_err());
    }
}

impl Crowd {
    pub(crate) fn new() -> Self {
        let (sender, arrived) = unbounded();
        let (told, port) = std::sync::mpsc::channel();
        let (now, most) = (Arc::default(), Arc::default());
        let crowd = (Arc::clone(&now), Arc::clone(&most));
        thread::spawn(move || {
            let executor = smol::LocalExecutor::new();
            let serve = async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(listener.local_addr().unwrap().port()).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let task = serve(stream, sender.clone(), crowd.clone());
                    executor.spawn(task).detach();
                }
            };
            smol::block_on(executor.run(serve));
        });
        Crowd {
            port: port.recv().unwrap(),
            arrived,
            now,
            most,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The next request, waiting for it.
    pub(crate) fn next(&self) -> Asked {
        self.arrived.recv_blocking().unwrap()
    }

    /// How many requests were waiting for the rest of their answers at once, at most.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// How many do now.
    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }
}

type Counts = (Arc<AtomicUsize>, Arc<AtomicUsize>);

/// One connection, for one request: the answer ends when nobody can say anything any more.
async fn serve(mut stream: TcpStream, sender: Sender<Asked>, (now, most): Counts) {
    let Some(body) = request(&mut stream).await else {
        return;
    };
    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    let (say, said) = unbounded::<Vec<u8>>();
    let (here, gone) = unbounded();
    let asked = Asked { body, say, gone };
    let mut reader = stream.clone();
    if sender.send(asked).await.is_ok() {
        let answer = async {
            while let Ok(bytes) = said.recv().await {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        let closed = async {
            let _ = reader.read(&mut [0]).await;
        };
        smol::future::or(answer, closed).await;
    }
    now.fetch_sub(1, Ordering::SeqCst);
    drop(here);
}

async fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece).await.ok()?;
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&piece[..read]);
        let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1)?;
        let length: usize = length.lines().next()?.parse().ok()?;
        if bytes.len() >= end + 4 + length {
            return Some(bytes[end + 4..].to_vec());
        }
    }
}
