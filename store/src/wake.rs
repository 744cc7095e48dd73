//! Tells the relays that there is something to deliver.
//!
//! `NOTIFY` takes a database-wide lock until its transaction is durable; inside commands it costs
//! most of their throughput. So a command only raises a flag after its commit, and one task sends
//! one `NOTIFY` for all flags raised in the meantime, from its own connection. The relays' poll is
//! the guarantee; a wake that gets lost costs latency only.

use std::{sync::Arc, time::Duration};

use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::Error;

/// The channel that relays listen on.
pub const OUTBOX_CHANNEL: &str = "dispatch_outbox";

/// Two notifications are at least this far apart.
const PAUSE: Duration = Duration::from_millis(5);

/// How long a failed connection is left alone.
const RECONNECT: Duration = Duration::from_secs(1);

/// Raises the flag. Cheap to clone; the task ends with the last clone.
#[derive(Debug, Clone)]
pub struct OutboxWaker {
    flag: Arc<Notify>,
    _task: Arc<AbortOnDrop>,
}

impl OutboxWaker {
    /// Starts the task on the current runtime; it connects when the first flag is raised.
    pub fn start(options: PgConnectOptions) -> Self {
        Self::with(WakeChannel {
            options,
            connection: None,
        })
    }

    /// Something was committed.
    pub fn wake(&self) {
        self.flag.notify_one();
    }

    fn with(mut channel: impl Notifier) -> Self {
        let flag = Arc::new(Notify::new());
        let raised = Arc::clone(&flag);
        let task = tokio::spawn(async move {
            loop {
                raised.notified().await;
                let sent_at = Instant::now();
                let pause = match channel.notify().await {
                    Ok(()) => PAUSE,
                    Err(error) => {
                        tracing::warn!(%error, "relays could not be woken; they poll");
                        RECONNECT
                    }
                };
                sleep_until(sent_at + pause).await;
            }
        });
        Self {
            flag,
            _task: Arc::new(AbortOnDrop(task)),
        }
    }
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

trait Notifier: Send + 'static {
    fn notify(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
}

struct WakeChannel {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl Notifier for WakeChannel {
    async fn notify(&mut self) -> Result<(), Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        sqlx::query("select pg_notify($1, '')")
            .bind(OUTBOX_CHANNEL)
            .execute(&mut connection)
            .await?;
        // Put back only after success: a broken one is made anew next time.
        self.connection = Some(connection);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    struct Counter(mpsc::UnboundedSender<Instant>);

    impl Notifier for Counter {
        async fn notify(&mut self) -> Result<(), Error> {
            // The test may be over already.
            let _ = self.0.send(Instant::now());
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_one_notification_and_a_late_wake_is_not_lost() {
        let (sender, mut sent) = mpsc::unbounded_channel();
        let waker = OutboxWaker::with(Counter(sender));
        for _ in 0..1000 {
            waker.wake();
        }
        let first = sent.recv().await.unwrap();
        // Raised during the pause: sent after it, once.
        waker.wake();
        waker.wake();
        let second = sent.recv().await.unwrap();
        assert!(second - first >= PAUSE, "{:?}", second - first);
        let more = tokio::time::timeout(10 * PAUSE, sent.recv()).await;
        assert!(more.is_err(), "nothing was raised since");
        waker.wake();
        assert!(sent.recv().await.is_some());
    }

    #[tokio::test]
    async fn the_task_ends_with_the_last_clone() {
        let (sender, mut sent) = mpsc::unbounded_channel();
        let waker = OutboxWaker::with(Counter(sender));
        let clone = waker.clone();
        drop(waker);
        clone.wake();
        assert!(sent.recv().await.is_some());
        drop(clone);
        assert!(sent.recv().await.is_none());
    }
}
