//! The loop: look for pending events, send them, mark them.
//!
//! It looks when it was woken, when something was delivered (more may have come meanwhile), when a
//! waiting ticket is due, and on a jittered timer, which alone is the guarantee. Signals run side by
//! side, one per ticket. Marking comes strictly after sending: a crash in between sends again, and
//! the workflow ignores what it has.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use contracts::ids::*;
use rand::RngExt;
use sqlx::PgPool;
use store::{
    failpoint,
    outbox::{self, ClaimLimits, PendingTicket},
};
use tokio::{
    sync::{Notify, Semaphore},
    task::{Id, JoinError, JoinSet},
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Backoff, Batch, ErrorClass, Gate, MAX_EVENTS, TemporalError,
    tickets::{Key, Tickets},
};
use crate::{
    bounded::bounded,
    epoch::Epoch,
    leases::Leases,
    metrics::Metrics,
    temporal::{Dress, Temporal, TicketSignal},
    with_causes,
};

/// After a look that the database refused.
const DATABASE_PAUSE: Duration = Duration::from_millis(250);
/// How long the last marks of a stopping relay may take.
const LAST_MARKS: Duration = Duration::from_secs(2);

/// Where events go.
#[derive(Debug, Clone)]
pub enum Destination {
    /// To the log, and that is all.
    Log,
    /// To the tickets' workflows.
    Temporal {
        /// The connection.
        temporal: Arc<Temporal>,
        /// Start workflows with time skipping.
        time_skipping: bool,
    },
}

/// How the pump works.
#[derive(Debug, Clone, Copy)]
pub struct PumpSettings {
    /// Signals under way at once.
    pub concurrency: usize,
    /// It looks at least this often.
    pub poll: Duration,
    /// How long a ticket waits after a failed signal.
    pub backoff: Backoff,
    /// Tries until an event that will not be accepted is parked.
    pub max_attempts: u32,
}

/// What sending needs; shared by all signals under way.
#[derive(Debug)]
pub struct Sending {
    /// Where to.
    pub destination: Destination,
    /// Whether calls are granted.
    pub gate: Arc<Gate>,
    /// Which partitions are ours.
    pub leases: Arc<Leases>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// The loop's state.
#[derive(Debug)]
pub struct Pump {
    pool: PgPool,
    settings: PumpSettings,
    sending: Arc<Sending>,
    epoch: Arc<Epoch>,
    permits: Arc<Semaphore>,
    tickets: Tickets,
    under_way: JoinSet<Sent>,
    /// Which ticket each task is about: a task that panics cannot say.
    keys: HashMap<Id, Key>,
    unmarked: Vec<(Key, Vec<EventId>)>,
    look_at: Instant,
    was_refused: bool,
}

/// How a signal ended.
#[derive(Debug)]
struct Sent {
    key: Key,
    events: Vec<EventId>,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Delivered,
    /// Not sent: the lease is gone, the breaker is open, or the relay stops.
    HeldBack,
    Failed(TemporalError),
}

impl Pump {
    /// Ready to run.
    pub fn new(
        pool: PgPool,
        settings: PumpSettings,
        sending: Arc<Sending>,
        epoch: Arc<Epoch>,
        now: Instant,
    ) -> Self {
        Self {
            pool,
            settings,
            sending,
            epoch,
            permits: Arc::new(Semaphore::new(settings.concurrency)),
            tickets: Tickets::new(settings.backoff),
            keys: HashMap::new(),
            under_way: JoinSet::new(),
            unmarked: Vec::new(),
            look_at: now,
            was_refused: false,
        }
    }

    /// Runs until stopped; then waits for the signals under way and marks them.
    pub async fn run(mut self, wake: Arc<Notify>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let now = Instant::now();
            let at = self.next_look(now);
            if at <= now && self.room() > 0 {
                self.look(now).await;
                continue;
            }
            tokio::select! {
                Some(sent) = self.under_way.join_next_with_id() => {
                    self.finish(sent).await;
                    self.look_at = Instant::now();
                }
                () = wake.notified() => self.look_at = Instant::now(),
                () = sleep_until(at.into()), if at > now => self.look_at = Instant::now(),
                () = stop.cancelled() => {}
            }
        }
        self.permits.close();
        while let Some(sent) = self.under_way.join_next_with_id().await {
            self.finish(sent).await;
        }
        if timeout(LAST_MARKS, self.mark()).await.is_err() {
            tracing::warn!("the last deliveries could not be marked; they will be sent again");
        }
    }

    /// How many tickets more may be put under way. Several times what runs at once, so that a look
    /// at a long backlog pays off; none until half of that is done.
    fn room(&self) -> usize {
        let depth = self.settings.concurrency * 8;
        let busy = self.under_way.len();
        if busy > depth / 2 { 0 } else { depth - busy }
    }

    fn next_look(&mut self, now: Instant) -> Instant {
        let refused_until = self.sending.gate.reopens_at();
        if self.was_refused && refused_until.is_none() {
            self.tickets.outage_is_over(now);
            self.look_at = now;
        }
        self.was_refused = refused_until.is_some();
        let due = self.tickets.next_due(now);
        let at = due.map_or(self.look_at, |due| due.min(self.look_at));
        refused_until.map_or(at, |until| at.max(until))
    }

    async fn look(&mut self, now: Instant) {
        let jitter = rand::rng().random_range(0.9..1.1);
        self.look_at = now + self.settings.poll.mul_f64(jitter);
        let partitions = self.sending.leases.held(now);
        if partitions.is_empty() {
            return;
        }
        self.mark().await;
        let limits = ClaimLimits {
            // One is enough to find out whether Temporal is back.
            tickets: if self.was_refused {
                1
            } else {
                self.room() as u32
            },
            events_per_ticket: MAX_EVENTS as u32,
        };
        let skip = self.tickets.to_skip(now);
        let claim = outbox::claim(&self.pool, &partitions, &skip, limits);
        match bounded(claim).await {
            Ok(found) => {
                if found.len() == limits.tickets as usize && !self.was_refused {
                    self.look_at = now;
                }
                for ticket in found {
                    self.send(ticket).await;
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = with_causes(&error),
                    "the outbox cannot be read; trying again"
                );
                self.look_at = now + DATABASE_PAUSE;
            }
        }
    }

    async fn send(&mut self, ticket: PendingTicket) {
        let key = (ticket.tenant_id, ticket.ticket_id);
        let Some(first) = ticket.events.first() else {
            return;
        };
        let allowance = self.tickets.allowance(key, first.seq);
        let batch = match Batch::cut(&ticket.events, self.epoch.get(), allowance) {
            Ok(batch) => batch,
            Err(fault) => {
                self.sending.metrics.failed(ErrorClass::Event);
                let event = first.id;
                self.blame(key, event, &fault.to_string()).await;
                return;
            }
        };
        let through = batch.envelope.events.last().map_or(0, |last| last.seq);
        self.tickets.sent(key, through);
        let (sending, permits) = (Arc::clone(&self.sending), Arc::clone(&self.permits));
        let partition = ticket.partition;
        let task = self.under_way.spawn(async move {
            let events = batch.envelope.events.iter().map(|e| e.event_id).collect();
            let outcome = match permits.acquire().await {
                Ok(_permit) => sending.send(key, partition, batch).await,
                Err(_closed) => Outcome::HeldBack,
            };
            Sent {
                key,
                events,
                outcome,
            }
        });
        self.keys.insert(task.id(), key);
    }

    /// Takes in this signal and all others that ended, then marks what was delivered.
    async fn finish(&mut self, first: Result<(Id, Sent), JoinError>) {
        let mut next = Some(first);
        while let Some(ended) = next {
            match ended {
                Ok((id, sent)) => {
                    self.keys.remove(&id);
                    self.take_in(sent).await;
                }
                Err(error) => {
                    tracing::error!(%error, "a delivery ended in a bug; its ticket waits");
                    if let Some(key) = self.keys.remove(&error.id()) {
                        self.wait(key, ErrorClass::Busy);
                    }
                }
            }
            next = self.under_way.try_join_next_with_id();
        }
        self.mark().await;
    }

    async fn take_in(&mut self, sent: Sent) {
        let Sent {
            key,
            events,
            outcome,
        } = sent;
        match outcome {
            Outcome::Delivered => self.unmarked.push((key, events)),
            Outcome::HeldBack => self.tickets.held_back(key),
            Outcome::Failed(error) => {
                self.sending.metrics.failed(error.class);
                // The gate has said once for all that Temporal cannot be used.
                if !error.is_systemic() {
                    tracing::warn!(
                        ticket = %key.1, class = error.class.label(), %error,
                        "a signal was not accepted; its ticket waits",
                    );
                }
                match (error.class, events.as_slice()) {
                    (ErrorClass::Event, [event]) => {
                        self.blame(key, *event, &error.to_string()).await;
                    }
                    _ => self.wait(key, error.class),
                }
            }
        }
    }

    /// Counts a try of an event that will not be accepted as it is, and parks it after the last.
    async fn blame(&mut self, key: Key, event: EventId, error: &str) {
        self.wait(key, ErrorClass::Event);
        let row = (key.0, event);
        let counted = async {
            let attempts = outbox::record_failure(&self.pool, row, error).await?;
            match attempts {
                Some(n) if n >= self.settings.max_attempts => {
                    outbox::park(&self.pool, row, error).await
                }
                _ => Ok(false),
            }
        };
        match bounded(counted).await {
            Ok(true) => tracing::error!(
                ticket = %key.1, %event, error,
                "parked: later events of this ticket wait; see `dispatch relay parked list`",
            ),
            Ok(false) => {}
            Err(db) => {
                tracing::warn!(%event, error = with_causes(&db), "a failed try could not be counted")
            }
        }
    }

    fn wait(&mut self, key: Key, class: ErrorClass) {
        let jitter = rand::rng().random_range(0.0..1.0);
        self.tickets.failed(key, class, Instant::now(), jitter);
    }

    /// Marks all that was delivered, in one statement. What cannot be marked now stays under way
    /// and is marked at the next occasion.
    async fn mark(&mut self) {
        if self.unmarked.is_empty() {
            return;
        }
        failpoint::hit(failpoint::AFTER_SIGNAL_BEFORE_MARK);
        let rows: Vec<_> = self
            .unmarked
            .iter()
            .flat_map(|((tenant, _), events)| events.iter().map(|event| (*tenant, *event)))
            .collect();
        match bounded(outbox::mark_delivered(&self.pool, &rows)).await {
            Ok(_) => {
                for (key, _) in self.unmarked.drain(..) {
                    self.tickets.delivered(key);
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = with_causes(&error),
                    rows = rows.len(),
                    "deliveries could not be marked yet"
                );
            }
        }
    }
}

impl Sending {
    async fn send(&self, key: Key, partition: u8, batch: Batch) -> Outcome {
        if !self.leases.holds(partition, Instant::now()) {
            return Outcome::HeldBack;
        }
        let (tenant, ticket) = key;
        let events = &batch.envelope.events;
        let Some((first, cause)) = events.first().zip(batch.cause()) else {
            return Outcome::HeldBack;
        };
        match &self.destination {
            Destination::Log => {
                for event in events {
                    tracing::info!(
                        %tenant, %ticket, seq = event.seq, event = %event.event_id,
                        kind = event.event_type, correlation_id = %event.correlation_id,
                        trace_id = event.trace.trace_id(), "event",
                    );
                }
            }
            Destination::Temporal {
                temporal,
                time_skipping,
            } => {
                if !self.gate.enter() {
                    return Outcome::HeldBack;
                }
                let signal = TicketSignal {
                    tenant_id: tenant,
                    ticket_id: ticket,
                    request_id: batch.request_id(tenant, ticket),
                    cause: Some((cause.correlation_id.clone(), cause.trace.clone())),
                    envelope: batch.envelope.clone(),
                };
                let dress = batch.level().map(Dress::from);
                let result = temporal
                    .signal_with_start(&signal, dress.as_ref(), *time_skipping)
                    .await;
                self.gate.report(&result);
                if let Err(error) = result {
                    return Outcome::Failed(error);
                }
                tracing::debug!(
                    %tenant, %ticket, first = first.seq, last = cause.seq,
                    correlation_id = %cause.correlation_id, trace_id = cause.trace.trace_id(),
                    "signalled",
                );
            }
        }
        let now = Utc::now();
        let ages = events.iter().map(|event| now - event.occurred_at);
        self.metrics.delivered(ages);
        Outcome::Delivered
    }
}
