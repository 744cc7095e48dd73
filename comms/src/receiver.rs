//! A receiver of webhooks for one person's machine: `dispatch dev` starts it, so that messages go
//! their whole way without a provider.
//!
//! It does what a real one does: verifies the signature, remembers keys (those of earlier runs too)
//! and acts once on each. Its act is a line in a file, readable by its owner only, since messages
//! hold texts and addresses.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use contracts::{MessageId, comms::WebhookMessage};
use serde::{Deserialize, Serialize};
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Secret;

/// Where it takes messages.
pub const PATH: &str = "/messages";

/// Why a receiver cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// The file cannot be used.
    #[error("the file for messages cannot be used")]
    File(#[from] io::Error),
    /// The secret is not base64.
    #[error("the secret cannot be read")]
    Secret(#[from] standardwebhooks::WebhookError),
}

/// Takes messages.
pub struct Receiver {
    verifier: Webhook,
    kept: Mutex<Kept>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Kept {
    file: File,
    keys: BTreeSet<MessageId>,
}

/// What is remembered of an earlier line.
#[derive(Deserialize)]
struct Remembered {
    id: MessageId,
}

impl Receiver {
    /// Writes to this file, after what is there.
    pub fn open(path: &Path, secret: &Secret) -> Result<Self, ReceiverError> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let mut keys = BTreeSet::new();
        for line in BufReader::new(&file).lines() {
            // A line that a crash cut off is no message.
            if let Ok(Remembered { id }) = serde_json::from_str(&line?) {
                keys.insert(id);
            }
        }
        Ok(Self {
            verifier: Webhook::new(secret.expose())?,
            kept: Mutex::new(Kept { file, keys }),
        })
    }

    /// Takes messages until `stop`.
    pub async fn run(self, listener: TcpListener, stop: CancellationToken) {
        let routes = Router::new()
            .route(PATH, post(take))
            .with_state(Arc::new(self));
        let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = served.await {
            tracing::warn!(%error, "the receiver of messages ended");
        }
    }

    fn take(&self, headers: &HeaderMap, body: &[u8]) -> StatusCode {
        if self.verifier.verify(body, headers).is_err() {
            return StatusCode::UNAUTHORIZED;
        }
        let Ok(message) = serde_json::from_slice::<WebhookMessage>(body) else {
            return StatusCode::BAD_REQUEST;
        };
        match self.keep(&message) {
            Ok(()) => StatusCode::NO_CONTENT,
            Err(error) => {
                tracing::warn!(%error, "a message could not be kept");
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    fn keep(&self, message: &WebhookMessage) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.keys.contains(&message.id) {
            return Ok(());
        }
        let mut line = serde_json::to_vec(&Line(message))?;
        line.push(b'\n');
        kept.file.write_all(&line)?;
        kept.keys.insert(message.id);
        Ok(())
    }
}

async fn take(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    receiver.take(&headers, &body)
}

/// A line of the file: the message as it came.
#[derive(Serialize)]
#[serde(transparent)]
struct Line<'a>(&'a WebhookMessage);

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

    use chrono::Utc;
    use contracts::comms::Channel;

    use super::*;
    use crate::{
        Adapter, Endpoint, OnUnknown, Reply,
        webhook::tests::{SECRET, message},
    };

    fn endpoint(address: std::net::SocketAddr, secret: &str) -> Endpoint {
        Endpoint {
            name: "dev".parse().unwrap(),
            url: format!("http://{address}{PATH}").parse().unwrap(),
            secret: Secret::new(secret),
            channels: vec![Channel::Sms],
            tenants: Vec::new(),
            keyed: true,
            on_unknown: OnUnknown::GiveUp,
            timeout: Duration::from_secs(10),
            allow_http: false,
        }
    }

    /// The adapter and the receiver over real HTTP: what is signed by one is taken by the other,
    /// once.
    #[tokio::test]
    async fn a_message_is_kept_once_and_a_stranger_is_refused() {
        // As `main` does; a second time is no matter.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let path = std::env::temp_dir().join(format!("dispatch-comms-{}", uuid::Uuid::now_v7()));
        let status = |code| Reply::Status {
            code,
            retry_after: None,
        };
        // The second receiver stands for a restart.
        for _ in 0..2 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let receiver = Receiver::open(&path, &Secret::new(SECRET)).unwrap();
            let stop = CancellationToken::new();
            let running = tokio::spawn(receiver.run(listener, stop.clone()));
            let message = message(Utc::now());
            let ours = crate::Webhook::new(&endpoint(address, SECRET)).unwrap();
            assert_eq!(ours.send(&message).await, status(204));
            assert_eq!(ours.send(&message).await, status(204));
            let stranger = crate::Webhook::new(&endpoint(address, "whsec_AAAA")).unwrap();
            assert_eq!(stranger.send(&message).await, status(401));
            stop.cancel();
            running.await.unwrap();
            assert_eq!(ours.send(&message).await, Reply::NotSent("connect"));
        }
        let text = fs::read_to_string(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        fs::remove_file(&path).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert_eq!(mode & 0o777, 0o600);
    }
}
