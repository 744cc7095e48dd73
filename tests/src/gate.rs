//! A TCP gate between two parts: it can be shut in one direction, and tells what was asked.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What the gate lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// Everything.
    Open,
    /// Answers, but nothing more is asked.
    NoQuestions,
    /// What is asked, but no answer on connections on which an HTTP POST was asked: whoever asked
    /// waits.
    NoAnswersToPosts,
}

/// The gate; it ends when it is dropped.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    passage: watch::Sender<Passage>,
    asked: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Gate {
    /// Listens on a free port and forwards to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (passage, watched) = watch::channel(Passage::Open);
        let asked = Arc::<Mutex<Vec<u8>>>::default();
        let record = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (watched, record) = (watched.clone(), Arc::clone(&record));
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(target).await else {
                        return;
                    };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let posted = AtomicBool::new(false);
                    let note = |bytes: &[u8]| {
                        record
                            .lock()
                            .expect("no holder panicked")
                            .extend_from_slice(bytes);
                        posted.fetch_or(bytes.starts_with(b"POST "), Relaxed);
                    };
                    let asks = |now| now != Passage::NoQuestions;
                    let answers = |now| match now {
                        Passage::Open | Passage::NoQuestions => true,
                        Passage::NoAnswersToPosts => !posted.load(Relaxed),
                    };
                    let up = pass(from_client, to_server, watched.clone(), asks, note);
                    let down = pass(from_server, to_client, watched, answers, |_| {});
                    tokio::select! { () = up => {}, () = down => {} }
                });
            }
        });
        Self {
            address,
            passage,
            asked,
            task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that was let through towards the target, of all connections.
    pub fn asked(&self) -> String {
        let asked = self.asked.lock().expect("no holder panicked");
        String::from_utf8_lossy(&asked).into_owned()
    }

    /// Changes what it lets through; what is held back now comes through when it is opened.
    pub fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }
}

/// Passes bytes on while the passage is open in this direction.
async fn pass(
    from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut passage: watch::Receiver<Passage>,
    is_open: impl Fn(Passage) -> bool,
    note: impl Fn(&[u8]),
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        if from.readable().await.is_err() || passage.wait_for(|now| is_open(*now)).await.is_err() {
            return;
        }
        match from.try_read(&mut bytes) {
            Ok(0) => return,
            Ok(n) => {
                note(&bytes[..n]);
                if to.write_all(&bytes[..n]).await.is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}
