//! What a way to a receiver has to do.

use std::{fmt, time::Duration};

use contracts::comms::WebhookMessage;
use futures::future::BoxFuture;

/// Brings one message to a receiver, once per call. It neither repeats nor judges.
pub trait Adapter: fmt::Debug + Send + Sync {
    /// Makes one try. The caller bounds its time.
    fn send<'a>(&'a self, message: &'a WebhookMessage) -> BoxFuture<'a, Reply>;
}

/// What a try met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The receiver answered.
    Status {
        /// The status code.
        code: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Nothing was sent: no connection came about.
    NotSent(&'static str),
    /// Something was sent, and no answer came.
    NoAnswer(&'static str),
}
