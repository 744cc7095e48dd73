//! Tells workflows what changed besides their tickets: a turned kill switch, another stage, another
//! bundle.
//!
//! What it sends is the request to take a snapshot, as the reconciler does: the workflow reads the
//! truth of that moment and needs no order. dispatch-api refuses what a switch stops from the commit
//! of its engagement on; this makes workflows stop asking, and wake those that may act again.
//!
//! Like the pump it is woken by `NOTIFY`, and looks on a timer, which alone is the guarantee. It works
//! page by page and takes the most urgent event anew after each: a kill switch does not wait behind
//! a bundle that concerns everybody. Any relay tells any ticket; leases keep two from telling the same
//! page.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use rand::RngExt;
use sqlx::PgPool;
use store::{
    control::{self, ControlEvent},
    outbox,
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    bounded::bounded,
    delivery::{Destination, Sending, TemporalError},
    epoch::Epoch,
    reconcile::dress,
    suspects::Key,
    temporal::TicketSignal,
    with_causes,
};

/// Tickets told between two looks for something more urgent.
const PAGE: u32 = 100;
/// Tickets told at once.
const CONCURRENCY: usize = 6;
/// Far above what a page takes.
const LEASE: Duration = Duration::from_secs(60);
/// Tries for a workflow that cannot take a signal now; the others go on meanwhile.
const TRIES: u32 = 5;
const TRY_PAUSE: Duration = Duration::from_millis(200);
/// After the database refused, or Temporal could not be used.
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);
/// How long letting go may take at the end.
const RELEASE_BOUND: Duration = Duration::from_secs(1);

/// Tells, until it is stopped.
#[derive(Debug)]
pub(crate) struct Teller {
    pub(crate) pool: PgPool,
    pub(crate) sending: Arc<Sending>,
    pub(crate) epoch: Arc<Epoch>,
    /// Who we are, in leases.
    pub(crate) worker: Uuid,
    /// It looks at least this often.
    pub(crate) poll: Duration,
}

/// Why a page was not told; it is taken up again.
#[derive(Debug, thiserror::Error)]
enum PageError {
    /// The breaker is open.
    #[error("no call to Temporal is granted now")]
    Refused,
    /// Temporal cannot be used.
    #[error(transparent)]
    Temporal(TemporalError),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Teller {
    /// Tells what waits: when woken, and on a jittered timer.
    pub(crate) async fn run(self, wake: Arc<Notify>, stop: CancellationToken) {
        loop {
            let pause = match stop.run_until_cancelled(self.page()).await {
                None => break,
                // There may be more.
                Some(Ok(true)) => Duration::ZERO,
                Some(Ok(false)) => self.poll.mul_f64(rand::rng().random_range(0.8..1.0)),
                Some(Err(error)) => {
                    tracing::warn!(
                        error = with_causes(&error),
                        "workflows could not be told yet of what changed"
                    );
                    self.let_go().await;
                    TROUBLE_PAUSE
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = wake.notified() => {}
                () = stop.cancelled() => break,
            }
        }
        self.let_go().await;
    }

    async fn let_go(&self) {
        let released = timeout(RELEASE_BOUND, control::release(&self.pool, self.worker));
        if !matches!(released.await, Ok(Ok(()))) {
            tracing::warn!("a control event could not be given back; its lease ends by itself");
        }
    }

    /// Tells one page of the most urgent event; false when none waits.
    async fn page(&self) -> Result<bool, PageError> {
        let claimed = bounded(control::claim(&self.pool, self.worker, LEASE)).await?;
        let Some(event) = claimed else {
            return Ok(false);
        };
        let page = match &self.sending.destination {
            // The log is where it goes.
            Destination::Log => Vec::new(),
            Destination::Temporal { .. } => {
                bounded(control::concerned(&self.pool, &event, PAGE)).await?
            }
        };
        let told = self.tell_all(&event, &page).await?;
        let last = page.last().copied();
        bounded(control::told(&self.pool, &event, self.worker, told, last)).await?;
        self.sending.metrics.told(told);
        if last.is_none() {
            tracing::info!(event = event.id, kind = %event.kind, "workflows know what changed");
        }
        Ok(true)
    }

    /// Answers how many were told. A ticket's own trouble is logged; anything else ends the page.
    async fn tell_all(&self, event: &ControlEvent, page: &[Key]) -> Result<u32, PageError> {
        let mut telling = stream::iter(page.iter().copied())
            .map(|key| self.tell(event, key))
            .buffer_unordered(CONCURRENCY);
        let mut told = 0;
        while let Some(one) = telling.next().await {
            told += u32::from(one?);
        }
        Ok(told)
    }

    /// Tells one workflow, starting it if none runs. False when it could not take a signal: it hears
    /// with its next event, and until then dispatch-api refuses what it must not do.
    async fn tell(&self, event: &ControlEvent, key: Key) -> Result<bool, PageError> {
        for _ in 0..TRIES {
            match self.signal(event, key).await {
                Ok(()) => return Ok(true),
                Err(PageError::Temporal(error)) if !error.is_systemic() => {
                    tracing::debug!(ticket = %key.1, %error, "not told yet");
                    self.sending.metrics.failed(error.class);
                }
                Err(error) => return Err(error),
            }
            sleep(TRY_PAUSE).await;
        }
        tracing::warn!(ticket = %key.1, event = event.id, "its workflow could not be told");
        Ok(false)
    }

    async fn signal(&self, event: &ControlEvent, key: Key) -> Result<(), PageError> {
        let Destination::Temporal {
            temporal,
            time_skipping,
        } = &self.sending.destination
        else {
            return Ok(());
        };
        let head = bounded(outbox::ticket_head(&self.pool, key.0, key.1)).await?;
        let intent = format!("control {}", event.command_id);
        let signal = TicketSignal::resync(key.0, key.1, self.epoch.get(), &intent);
        if !self.sending.gate.enter() {
            return Err(PageError::Refused);
        }
        let dress = head.as_ref().and_then(dress);
        let sent = temporal
            .signal_with_start(&signal, dress.as_ref(), *time_skipping)
            .await;
        self.sending.gate.report(&sent);
        sent.map(drop).map_err(PageError::Temporal)
    }
}
