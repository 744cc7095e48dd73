//! A TCP proxy in front of Postgres that counts round trips: the server ends each one with
//! `ReadyForQuery`.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// A running proxy; ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    counts: Arc<Mutex<Vec<Arc<AtomicU64>>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Passes everything on to this port of our own machine. TLS must be off: it reads along.
    pub async fn start(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let counts: Arc<Mutex<Vec<Arc<AtomicU64>>>> = Arc::default();
        let shared = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let count = Arc::new(AtomicU64::new(0));
                shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(Arc::clone(&count));
                tokio::spawn(pass(client, port, count));
            }
        });
        Ok(Self {
            address,
            counts,
            task,
        })
    }

    /// Round trips so far of each connection, in the order in which they were opened.
    pub fn round_trips(&self) -> Vec<u64> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|c| c.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A broken connection is for its two ends to notice.
async fn pass(client: TcpStream, port: u16, count: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(answers(from_server, to_client, count));
    let _ = copy(&mut from_client, &mut to_server).await;
    let _ = to_server.shutdown().await;
    let _ = answers.await;
}

/// Every message of the server is a type byte and a length that counts itself.
async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    count: Arc<AtomicU64>,
) -> std::io::Result<()> {
    let mut message = Vec::new();
    loop {
        let kind = from.read_u8().await?;
        let length = from.read_u32().await?;
        message.clear();
        message.push(kind);
        message.extend_from_slice(&length.to_be_bytes());
        let rest = u64::from(length.saturating_sub(4));
        (&mut from).take(rest).read_to_end(&mut message).await?;
        if kind == b'Z' {
            count.fetch_add(1, Ordering::Relaxed);
        }
        to.write_all(&message).await?;
    }
}
