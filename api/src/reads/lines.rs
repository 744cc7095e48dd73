//! Answers that are longer than a page: lines that a task writes while the caller reads.
//!
//! The task is the one that holds what it reads with. It ends with its time, with the process, with its
//! reader, and with the credential that asked ([`ReadRequest::still_known`](super::ReadRequest)), and never
//! waits to tell anybody so: a body whose writer went away before it said that all is written breaks
//! off, and nobody takes it for a whole one.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use contracts::ErrorCode;
use futures::stream;
use http::header;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Failure, ReadRequest};
use crate::endpoint::NDJSON;

/// How long one may take, its reader included: who reads more slowly is cut off.
pub(super) const LONGEST: Duration = Duration::from_secs(15 * 60);

/// For how long it may not be known whether the caller may read on: meanwhile nothing is handed on.
const UNKNOWN: Duration = Duration::from_secs(30);
/// How soon it is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Why lines broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("who reads may not read on: {0}")]
    Refused(ErrorCode),
    #[error("nobody reads on")]
    Left,
    #[error("it was read too slowly")]
    Slow,
    #[error("the process was asked to stop")]
    Stopped,
    #[error("a row cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure.code())
    }
}

/// Whether the caller may read on: where nobody knows that right now, it is asked again for a while.
pub(super) async fn still_known(request: &ReadRequest) -> Result<(), Broken> {
    let begun = Instant::now();
    loop {
        match request.still_known().await {
            Err(failure)
                if failure.code() == ErrorCode::Unavailable && begun.elapsed() < UNKNOWN =>
            {
                sleep(AGAIN).await;
            }
            known => return Ok(known?),
        }
    }
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct Lines {
    parts: mpsc::Sender<Bytes>,
    whole: Arc<AtomicBool>,
}

/// Both ends. One part waits for its reader, and one for that.
pub(super) fn lines() -> (Lines, Response) {
    let (sender, receiver) = mpsc::channel(1);
    let whole = Arc::new(AtomicBool::new(false));
    let lines = Lines {
        parts: sender,
        whole: Arc::clone(&whole),
    };
    let body = stream::try_unfold((receiver, whole), |(mut parts, whole)| async move {
        match parts.recv().await {
            Some(part) => Ok(Some((part, (parts, whole)))),
            None if whole.load(Ordering::Acquire) => Ok(None),
            // The status is sent: what is left is to end the body where nobody takes it for the end.
            None => Err(io::Error::other("the answer broke off")),
        }
    });
    let head = [(header::CONTENT_TYPE, NDJSON)];
    (lines, (head, Body::from_stream(body)).into_response())
}

impl Lines {
    /// Room for a part. What is read once it is there does not grow old before it is handed on.
    pub(super) async fn room(&self) -> Result<Room<'_>, Broken> {
        let room = self.parts.reserve().await;
        room.map(Room).map_err(|_| Broken::Left)
    }

    /// Ends the body: all of it was written, or it broke off, which the log tells.
    pub(super) fn end(self, written: Result<(), Broken>) {
        match written {
            Ok(()) => self.whole.store(true, Ordering::Release),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "an export broke off");
            }
        }
    }
}

/// Room for one part.
#[derive(Debug)]
pub(super) struct Room<'a>(mpsc::Permit<'a, Bytes>);

impl Room<'_> {
    /// Hands a part on.
    pub(super) fn send(self, part: Bytes) {
        self.0.send(part);
    }
}

/// What writes, within its time and the process's.
pub(super) async fn within(
    stopping: &CancellationToken,
    writing: impl Future<Output = Result<(), Broken>>,
) -> Result<(), Broken> {
    tokio::select! {
        written = timeout(LONGEST, writing) => written.unwrap_or(Err(Broken::Slow)),
        () = stopping.cancelled() => Err(Broken::Stopped),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn read(response: Response) -> Result<Bytes, axum::Error> {
        to_bytes(response.into_body(), usize::MAX).await
    }

    #[tokio::test]
    async fn what_was_written_whole_ends_and_nothing_else_does() {
        for (written, whole) in [(Ok(()), true), (Err(Broken::Stopped), false)] {
            let (lines, response) = lines();
            let writer = tokio::spawn(async move {
                for line in ["1\n", "2\n"] {
                    lines.room().await.unwrap().send(line.into());
                }
                lines.end(written);
            });
            let body = read(response).await;
            writer.await.unwrap();
            assert_eq!(body.ok(), whole.then(|| "1\n2\n".into()));
        }
        let (lines, response) = lines();
        lines.room().await.unwrap().send("1\n".into());
        // As when the writer panics.
        drop(lines);
        assert!(read(response).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_writes_longer_than_they_may() {
        let (lines, response) = lines();
        let for_ever = async {
            loop {
                lines.room().await?.send("line\n".into());
            }
        };
        let going = CancellationToken::new();
        let ended = within(&going, for_ever).await;
        assert!(matches!(ended, Err(Broken::Slow)), "{ended:?}");
        going.cancel();
        let ended = within(&going, std::future::pending()).await;
        assert!(matches!(ended, Err(Broken::Stopped)), "{ended:?}");
        drop(response);
        let ended = lines.room().await;
        assert!(matches!(ended, Err(Broken::Left)), "{ended:?}");
    }
}
