//! The loop: claim what is due, look once more, write the try down, send, write the result.
//!
//! Messages are under way beside each other, and each that ends makes room for the next one, so none
//! waits for the slowest. No endpoint holds more than its share of the places: when one is slow or
//! down, its messages go back into the queue for a moment, and those of others find room.

use std::{
    io,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use contracts::{
    TenantId,
    comms::{Channel, DeliveryState, WebhookKind, WebhookMessage},
};
use rand::RngExt;
use sqlx::PgPool;
use store::{
    failpoint,
    sending::{self, Begun, Claimed, CutOff, Ended, Fate, Key, Lease, Outgoing, Target},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    adapter::{Adapter, Reply},
    config::{Endpoint, OnUnknown, Tuning},
    metrics::Metrics,
    verdict::{Judgement, Next, Terms, judge, judge_cut_off},
    with_causes,
};

/// Far above what a healthy database takes: silence must not hold a sender for as long as TCP
/// believes in the connection.
const DATABASE_BOUND: Duration = Duration::from_secs(10);
/// How often a result is written that the database does not take: it is known now only.
const RESULT_TRIES: u32 = 5;
const RESULT_PAUSE: Duration = Duration::from_millis(500);
/// The result of a message that nothing takes; it stays queued.
const NO_ENDPOINT: &str = "no_endpoint";
/// How long after a quiet time nothing is too old that waited for its end.
const MORNING: Duration = Duration::from_secs(3600);
/// The result of a message whose time is long over.
const TOO_OLD: &str = "too_old";
/// The result of a message whose endpoint has its share under way, or is in trouble; it stays queued.
const ENDPOINT_BUSY: &str = "endpoint_busy";

/// An endpoint with its way to the receiver.
#[derive(Debug)]
pub struct Line {
    /// What was configured.
    pub endpoint: Endpoint,
    adapter: Arc<dyn Adapter>,
    /// How many tries may be under way.
    share: u32,
    places: Semaphore,
    /// The last try failed, or none of those under way ended while a message waited for it.
    in_trouble: AtomicBool,
}

impl Line {
    /// An endpoint with as many tries under way as its share.
    pub fn new(endpoint: Endpoint, adapter: Arc<dyn Adapter>, share: u32) -> Self {
        Self {
            endpoint,
            adapter,
            share,
            places: Semaphore::new(share as usize),
            in_trouble: AtomicBool::new(false),
        }
    }

    /// A place for a try, or none for now. In trouble, one message at a time shows whether it is
    /// over; else a message waits a little for a place.
    async fn place(&self, patience: Duration) -> Option<SemaphorePermit<'_>> {
        if self.in_trouble.load(Ordering::Relaxed) {
            return self.places.try_acquire_many(self.share).ok();
        }
        match timeout(patience, self.places.acquire()).await {
            Ok(place) => place.ok(),
            Err(_) => {
                self.in_trouble.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    fn tried(&self, verdict: &Judgement) {
        let failed = matches!(verdict.next, Next::Again { .. } | Next::Unknown);
        self.in_trouble.store(failed, Ordering::Relaxed);
    }

    fn terms(&self) -> Terms {
        Terms {
            keyed: self.endpoint.keyed,
            on_unknown: self.endpoint.on_unknown,
        }
    }
}

/// Sends until it is stopped.
#[derive(Debug)]
pub struct Sender {
    /// As the sender's login.
    pub pool: PgPool,
    /// In the order of the configuration.
    pub lines: Vec<Line>,
    /// Who we are.
    pub lease: Lease,
    /// Times and amounts.
    pub tuning: Tuning,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// What became of one claimed message, as far as the loop wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handled {
    Judged,
    NoEndpoint,
}

impl Sender {
    /// Sends until `stop`; what is under way is ended first.
    pub async fn run(self, stop: CancellationToken) {
        let sender = Arc::new(self);
        let places = sender.tuning.batch.max(1) as usize;
        let mut under_way = JoinSet::new();
        let mut without_endpoint = 0;
        while !stop.is_cancelled() {
            let free = places - under_way.len();
            let claimed = sender.claim(free).await;
            let full = claimed.len() >= free;
            for message in claimed {
                let (sender, stop) = (Arc::clone(&sender), stop.clone());
                under_way.spawn(async move { sender.handle(message, &stop).await });
            }
            if full {
                tokio::select! {
                    Some(one) = under_way.join_next() => without_endpoint += unroutable(one),
                    () = stop.cancelled() => {}
                }
            } else {
                // Senders that were started together do not ask together.
                let jitter = rand::rng().random_range(0.8..1.2);
                tokio::select! {
                    () = sleep(sender.tuning.poll.mul_f64(jitter)) => {}
                    () = stop.cancelled() => {}
                }
            }
            while let Some(one) = under_way.try_join_next() {
                without_endpoint += unroutable(one);
            }
            if !full && without_endpoint > 0 {
                tracing::warn!(
                    messages = without_endpoint,
                    "no endpoint takes these messages; they wait until one does"
                );
                without_endpoint = 0;
            }
        }
        while let Some(one) = under_way.join_next().await {
            unroutable(one);
        }
        if let Err(error) = bounded(sending::release(&sender.pool, sender.lease.worker)).await {
            tracing::warn!(
                error = with_causes(&error),
                "messages could not be given back; their leases end by themselves"
            );
        }
    }

    /// Takes what is due, no more than there is room for.
    async fn claim(&self, free: usize) -> Vec<Claimed> {
        let most = u32::try_from(free).unwrap_or(u32::MAX);
        match bounded(sending::claim(&self.pool, self.lease, most)).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "the queue cannot be read");
                Vec::new()
            }
        }
    }

    fn line(&self, channel: Channel, tenant: TenantId) -> Option<&Line> {
        self.lines
            .iter()
            .find(|line| line.endpoint.takes(channel, tenant))
    }

    async fn handle(
        &self,
        claimed: Claimed,
        stop: &CancellationToken,
    ) -> Result<Handled, store::Error> {
        if stop.is_cancelled() {
            return Ok(Handled::Judged);
        }
        let line = self.line(claimed.channel, claimed.key.0);
        if let Some(cut_off) = &claimed.cut_off {
            self.end_cut_off(&claimed, cut_off, line).await?;
            return Ok(Handled::Judged);
        }
        let Some(line) = line else {
            self.settle(
                claimed.key,
                DeliveryState::Queued,
                NO_ENDPOINT,
                self.tuning.no_endpoint_wait,
            )
            .await?;
            return Ok(Handled::NoEndpoint);
        };
        if self.too_old(&claimed).await? {
            self.settle(claimed.key, DeliveryState::Failed, TOO_OLD, Duration::ZERO)
                .await?;
            return Ok(Handled::Judged);
        }
        let place = match stop.run_until_cancelled(line.place(self.tuning.poll)).await {
            None => return Ok(Handled::Judged),
            Some(None) => {
                let jitter = rand::rng().random_range(0.0..1.0);
                let wait = self.tuning.backoff.after(1, jitter);
                self.settle(claimed.key, DeliveryState::Queued, ENDPOINT_BUSY, wait)
                    .await?;
                return Ok(Handled::Judged);
            }
            Some(Some(place)) => place,
        };
        let target = Target {
            endpoint: line.endpoint.name.as_str(),
            keyed: line.endpoint.keyed,
            retry_unknown: line.endpoint.on_unknown == OnUnknown::Retry,
        };
        let (tenant_id, message_id) = claimed.key;
        match bounded(sending::begin(&self.pool, claimed.key, self.lease, target)).await? {
            Begun::Sending(outgoing) => self.send(claimed.key, line, *outgoing).await?,
            Begun::Withdrawn { reason } => {
                tracing::info!(%tenant_id, %message_id, %reason, "message withdrawn");
                self.metrics.ended(DeliveryState::Withdrawn);
            }
            Begun::Held { scope } => {
                tracing::debug!(%message_id, %scope, "message held back");
            }
            Begun::NoAddress => {
                tracing::warn!(%tenant_id, %message_id, "message given up: no address");
                self.metrics.ended(DeliveryState::Failed);
            }
            Begun::NotOurs => tracing::debug!(%message_id, "another sender has the message"),
        }
        drop(place);
        Ok(Handled::Judged)
    }

    /// Whether it is to be given up. Where its time ran out at night or on days off it has the
    /// [`MORNING`] after them.
    async fn too_old(&self, claimed: &Claimed) -> Result<bool, store::Error> {
        let age = (claimed.now - claimed.due_at).to_std().unwrap_or_default();
        if age > sending::OLDEST {
            return Ok(true);
        }
        let most = self.tuning.max_age;
        Ok(age > most && !bounded(sending::rested(&self.pool, claimed.key, most, MORNING)).await?)
    }

    async fn send(&self, key: Key, line: &Line, outgoing: Outgoing) -> Result<(), store::Error> {
        let (attempt, may_have_it) = (outgoing.attempt, outgoing.may_have_it);
        let message = message(key, outgoing);
        failpoint::hit(failpoint::BEFORE_SEND);
        let begun = Instant::now();
        let reply = timeout(line.endpoint.timeout, line.adapter.send(&message))
            .await
            .unwrap_or(Reply::NoAnswer("timeout"));
        failpoint::hit(failpoint::AFTER_SEND_BEFORE_RESULT);
        let verdict = judge(reply, line.terms(), may_have_it);
        line.tried(&verdict);
        self.metrics
            .tried(line.endpoint.name.as_str(), &verdict, begun.elapsed());
        self.finish(key, attempt, line.endpoint.name.as_str(), &verdict)
            .await
    }

    /// A crash came between the try and its result.
    async fn end_cut_off(
        &self,
        claimed: &Claimed,
        cut_off: &CutOff,
        line: Option<&Line>,
    ) -> Result<(), store::Error> {
        let terms = Terms {
            keyed: cut_off.keyed,
            on_unknown: if cut_off.retry_unknown {
                OnUnknown::Retry
            } else {
                OnUnknown::GiveUp
            },
        };
        let same = line.is_none_or(|line| line.endpoint.name.as_str() == cut_off.endpoint);
        let verdict = judge_cut_off(terms, same);
        self.finish(claimed.key, cut_off.attempt, &cut_off.endpoint, &verdict)
            .await
    }

    async fn finish(
        &self,
        key: Key,
        attempt: u32,
        endpoint: &str,
        verdict: &Judgement,
    ) -> Result<(), store::Error> {
        let jitter = rand::rng().random_range(0.0..1.0);
        let (state, result, wait) = verdict.fate(self.tuning.backoff, attempt, jitter);
        let ended = Ended {
            attempt,
            result: &verdict.result,
            http_status: verdict.http_status,
            ambiguous: verdict.ambiguous,
        };
        let fate = Fate {
            state,
            result,
            wait,
        };
        let write = || sending::finish(&self.pool, key, self.lease.worker, &ended, &fate);
        let mut tries = 1;
        let ours = loop {
            match bounded(write()).await {
                Err(error) if error.is_unavailable() && tries < RESULT_TRIES => {
                    tries += 1;
                    sleep(RESULT_PAUSE).await;
                }
                result => break result?,
            }
        };
        let (tenant_id, message_id) = key;
        if !ours {
            tracing::warn!(
                %tenant_id, %message_id, attempt,
                "the result came too late: another sender has taken the message over"
            );
            return Ok(());
        }
        if state != DeliveryState::Queued {
            self.metrics.ended(state);
        }
        let result = verdict.result.as_str();
        match verdict.next {
            Next::Done => {
                tracing::info!(%tenant_id, %message_id, attempt, endpoint, result, "message sent");
            }
            Next::Again { .. } => tracing::info!(
                %tenant_id, %message_id, attempt, endpoint, result, ?wait,
                "message not sent; it is tried again"
            ),
            Next::GiveUp => tracing::warn!(
                %tenant_id, %message_id, attempt, endpoint, result,
                "message given up: the receiver does not take it"
            ),
            Next::Unknown => tracing::warn!(
                %tenant_id, %message_id, attempt, endpoint, result,
                "message given up: it may have arrived, and the receiver would act twice"
            ),
        }
        Ok(())
    }

    async fn settle(
        &self,
        key: Key,
        state: DeliveryState,
        result: &str,
        wait: Duration,
    ) -> Result<(), store::Error> {
        let fate = Fate {
            state,
            result,
            wait,
        };
        let ours = bounded(sending::settle(&self.pool, key, self.lease.worker, &fate)).await?;
        if ours && state != DeliveryState::Queued {
            let (tenant_id, message_id) = key;
            tracing::warn!(%tenant_id, %message_id, result, "message given up");
            self.metrics.ended(state);
        }
        Ok(())
    }
}

/// One for a message that no endpoint takes.
fn unroutable(one: Result<Result<Handled, store::Error>, JoinError>) -> usize {
    match one {
        Ok(Ok(Handled::Judged)) => 0,
        Ok(Ok(Handled::NoEndpoint)) => 1,
        // Its lease ends, and somebody takes it up again.
        Ok(Err(error)) => {
            tracing::warn!(
                error = with_causes(&error),
                "a message could not be moved on"
            );
            0
        }
        // A bug ends the whole sender, and its supervisor starts it anew.
        Err(bug) => resume_unwind(bug.into_panic()),
    }
}

/// What the receiver is told.
fn message((tenant_id, id): Key, outgoing: Outgoing) -> WebhookMessage {
    WebhookMessage {
        kind: WebhookKind::MessageOutbound,
        id,
        tenant_id,
        ticket_id: outgoing.ticket_id,
        channel: outgoing.channel,
        purpose: outgoing.purpose,
        recipient: outgoing.recipient,
        text: outgoing.text,
        only_while: outgoing.only_while,
        due_at: outgoing.due_at,
        ticket: outgoing.ticket,
        stage: outgoing.stage,
        correlation_id: outgoing.correlation_id,
        sent_at: outgoing.at,
    }
}

/// Asks the database, or gives the question and its connection up.
pub(crate) async fn bounded<T>(
    question: impl Future<Output = Result<T, store::Error>>,
) -> Result<T, store::Error> {
    timeout(DATABASE_BOUND, question).await.unwrap_or_else(|_| {
        let silence = io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer in {DATABASE_BOUND:?}"),
        );
        Err(sqlx::Error::Io(silence).into())
    })
}
