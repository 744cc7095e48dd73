//! The breaker as concurrent callers share it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use rand::RngExt;
use tokio::sync::Notify;

use super::{Breaker, ErrorClass, Permission, TemporalError};

/// Stands before every call to Temporal.
#[derive(Debug)]
pub struct Gate {
    breaker: Mutex<Breaker>,
    closed: Notify,
}

impl Gate {
    /// Guards with this breaker.
    pub fn new(breaker: Breaker) -> Self {
        Self {
            breaker: Mutex::new(breaker),
            closed: Notify::new(),
        }
    }

    /// Asks for one call, whose end must be reported. False: not now.
    pub fn enter(&self) -> bool {
        !matches!(self.breaker().ask(Instant::now()), Permission::Refused(_))
    }

    /// When a call will be granted again; `None` while all are.
    pub fn reopens_at(&self) -> Option<Instant> {
        self.breaker().reopens_at()
    }

    /// Notes how a call ended. An answer that blames a ticket or an event is an answer too.
    pub fn report<T>(&self, result: &Result<T, TemporalError>) {
        match result {
            Err(e) if e.class == ErrorClass::Systemic => {
                let jitter = rand::rng().random_range(0.0..1.0);
                if self.breaker().failed(Instant::now(), jitter) {
                    tracing::warn!(error = %e, "Temporal cannot be used; delivery waits");
                }
            }
            _ => {
                if self.breaker().answered() {
                    tracing::info!("Temporal answers again; delivery goes on");
                    self.closed.notify_one();
                }
            }
        }
    }

    /// Resolves when an open breaker closes, or at once when it did since the last time. For one
    /// waiter.
    pub async fn closed(&self) {
        self.closed.notified().await;
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
