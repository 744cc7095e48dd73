//! A TCP proxy in front of Postgres that counts what an application says to it.
//!
//! Round trips are counted on the wire rather than believed: each simple query and each `Sync` of
//! the extended protocol is one (PostgreSQL, Frontend/Backend Protocol). Connections are without
//! TLS, so the messages can be read.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// A message of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A simple query, which is answered.
    Query(String),
    /// A statement to prepare; answered at the next `Sync`.
    Prepare(String),
    /// The end of a group of messages, which is answered.
    Sync,
}

impl Message {
    /// Whether the application waits for an answer now.
    pub fn is_answered(&self) -> bool {
        !matches!(self, Self::Prepare(_))
    }

    /// The statement in it.
    pub fn statement(&self) -> Option<&str> {
        match self {
            Self::Query(text) | Self::Prepare(text) => Some(text),
            Self::Sync => None,
        }
    }
}

/// What was said over one connection, in order.
pub type Said = Vec<Message>;

/// The proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    said: Arc<Mutex<Vec<Said>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port and forwards to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let said = Arc::<Mutex<Vec<Said>>>::default();
        let record = Arc::clone(&said);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let record = Arc::clone(&record);
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(target).await else {
                        return;
                    };
                    // Small messages go at once: waiting for more would be slower than the network.
                    for side in [&client, &server] {
                        side.set_nodelay(true).expect("TCP has it");
                    }
                    let (from_client, mut to_client) = client.into_split();
                    let (mut from_server, to_server) = server.into_split();
                    let number = {
                        let mut connections = record.lock().expect("no holder panicked");
                        connections.push(Said::default());
                        connections.len() - 1
                    };
                    let up = forward(from_client, to_server, |message| {
                        record.lock().expect("no holder panicked")[number].push(message);
                    });
                    let down = tokio::io::copy(&mut from_server, &mut to_client);
                    // Either side may hang up first.
                    tokio::select! { _ = up => {}, _ = down => {} }
                });
            }
        });
        Self {
            address,
            said,
            task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was said since the last time that somebody asked, by connection; those that were
    /// silent are left out.
    pub fn take(&self) -> Vec<Said> {
        let mut connections = self.said.lock().expect("no holder panicked");
        let all = connections.iter_mut().map(std::mem::take);
        all.filter(|said| !said.is_empty()).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    record: impl Fn(Message),
) -> std::io::Result<()> {
    // Messages before the start-up are without a type; the one that is not a request for
    // encryption ends them.
    loop {
        let message = body(&mut from).await?;
        let code = message.get(..4).map(<[u8]>::to_vec).unwrap_or_default();
        to.write_all(&framed(None, &message)).await?;
        let encryption = [80_877_103_u32, 80_877_104].map(u32::to_be_bytes);
        if !encryption.iter().any(|known| code == known) {
            break;
        }
    }
    loop {
        let kind = from.read_u8().await?;
        let message = body(&mut from).await?;
        let said = match kind {
            b'Q' => Some(Message::Query(text(&message))),
            b'P' => {
                let name = message.iter().position(|b| *b == 0).unwrap_or_default();
                Some(Message::Prepare(text(&message[name + 1..])))
            }
            b'S' => Some(Message::Sync),
            _ => None,
        };
        said.into_iter().for_each(&record);
        to.write_all(&framed(Some(kind), &message)).await?;
    }
}

async fn body(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?.saturating_sub(4);
    let mut message = vec![0; length as usize];
    from.read_exact(&mut message).await?;
    Ok(message)
}

fn framed(kind: Option<u8>, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len() + 4).expect("it came with such a length");
    let mut bytes: Vec<u8> = kind.into_iter().collect();
    bytes.extend(length.to_be_bytes());
    bytes.extend(message);
    bytes
}

fn text(message: &[u8]) -> String {
    let end = message
        .iter()
        .position(|b| *b == 0)
        .unwrap_or(message.len());
    String::from_utf8_lossy(&message[..end]).into_owned()
}
