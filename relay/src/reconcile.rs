//! Makes Temporal agree with the database, whatever happened to either.
//!
//! Events alone cannot heal a workflow that somebody terminated in the Web UI, a Temporal cluster
//! that lost its data, or a database that was set back to an earlier copy. So the open tickets are
//! compared with the running workflows. A round takes no input and may be run at any time, by
//! several relays too: it looks at levels, not at what happened, and what it does is a request to
//! take a snapshot, which changes nothing in a workflow that is right already.
//!
//! Suspects are looked at one by one, in both places, before anything is done, because the list of
//! workflows lags behind:
//!
//! - an open ticket without a running workflow: one is started and told to take a snapshot;
//! - a running workflow of a ticket that ended a while ago, or that the database does not know:
//!   told to take a snapshot, it ends;
//! - after a new epoch: every open ticket of the partition, once.
//!
//! Besides, every tenant has a schedule in Temporal that looks for what is due without a ticket. One
//! that is missing is put there by the relay that holds the first partition.
//!
//! A full round finds all suspects and costs Temporal a row per open ticket. It is run at the
//! start, when partitions came to us, after a new epoch, after an outage, and now and then. The
//! quick round every few seconds finds those whose workflow was broken off lately, which is where
//! orphans come from, and looks again at those that it could not judge before.
//!
//! Each relay reconciles the partitions it holds.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use contracts::{TenantId, event::TicketLevel};
use futures::{StreamExt, stream};
use rand::RngExt;
use sqlx::PgPool;
use store::{
    leases,
    outbox::{self, TicketHead, partition_of},
    tenants,
};
use temporalio_client::tonic::Code;
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    bounded::bounded,
    config::Tuning,
    delivery::{Sending, TemporalError},
    epoch::Epoch,
    suspects::{Finding, Key, Suspects},
    temporal::{Dress, Executions, Liveness, Temporal, TicketSignal},
    with_causes,
};

/// Open tickets read at once.
const PAGE: u32 = 1000;
/// Between two pages of the list of running workflows: a long list must not use up what the server
/// grants to everybody.
const PAGE_PAUSE: Duration = Duration::from_millis(250);
/// After the server's limit was reached all the same, and how often.
const LIMIT_PAUSE: Duration = Duration::from_secs(1);
const LIST_PATIENCE: u32 = 10;
/// How far back a quick round looks: several rounds, and the lag of the list.
const LATELY: TimeDelta = TimeDelta::minutes(2);
/// The most suspects looked at in one round; the others' turn comes in the next, which then
/// follows at once.
const MOST_SUSPECTS: usize = 500;
/// Tickets asked about at once.
const CONCURRENCY: usize = 8;
/// Compares and mends.
#[derive(Debug)]
pub struct Reconciler {
    pool: PgPool,
    temporal: Arc<Temporal>,
    sending: Arc<Sending>,
    epoch: Arc<Epoch>,
    time_skipping: bool,
    interval: Duration,
    full_interval: Duration,
    grace: Duration,
    control_interval: Option<Duration>,
    /// Tenants whose schedule was there when last looked.
    controlled: HashSet<TenantId>,
    /// Erased tenants that had none when last looked.
    uncontrolled: HashSet<TenantId>,
    suspects: Suspects,
}

/// Why a round ended early; the next one begins anew.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The breaker is open.
    #[error("Temporal cannot be used now")]
    Refused,
    /// Some tickets could not be told of the new epoch.
    #[error("not every open ticket could be told of the new epoch yet")]
    Incomplete,
    /// A call that concerns no single ticket failed.
    #[error(transparent)]
    Temporal(#[from] TemporalError),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Reconciler {
    /// Ready to run.
    pub fn new(
        pool: PgPool,
        temporal: Arc<Temporal>,
        sending: Arc<Sending>,
        epoch: Arc<Epoch>,
        time_skipping: bool,
        tuning: &Tuning,
    ) -> Self {
        Self {
            pool,
            temporal,
            sending,
            epoch,
            time_skipping,
            interval: tuning.reconcile_interval,
            full_interval: tuning.reconcile_full_interval,
            grace: tuning.reconcile_grace,
            control_interval: tuning.control_interval,
            controlled: HashSet::new(),
            uncontrolled: HashSet::new(),
            suspects: Suspects::new(tuning.reconcile_interval),
        }
    }

    /// Runs rounds: on a timer, when nudged, and when Temporal can be used again.
    pub async fn run(mut self, nudge: Arc<Notify>, stop: CancellationToken) {
        let mut full_at = Instant::now();
        let mut more = false;
        loop {
            let jitter = rand::rng().random_range(0.8..1.0);
            let sending = Arc::clone(&self.sending);
            let pause = match more {
                true => Duration::ZERO,
                false => self.interval.mul_f64(jitter),
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = nudge.notified() => full_at = Instant::now(),
                () = sending.gate.closed() => full_at = Instant::now(),
                () = stop.cancelled() => return,
            }
            let full = full_at <= Instant::now();
            let ended = tokio::select! {
                ended = self.round(full) => ended,
                () = stop.cancelled() => return,
            };
            more = matches!(ended, Ok(true));
            match ended {
                Ok(_) if full => full_at = Instant::now() + self.full_interval,
                Ok(_) | Err(RoundError::Refused) => {}
                Err(error) => {
                    tracing::warn!(
                        error = with_causes(&error),
                        "a reconciling round ended early"
                    );
                }
            }
        }
    }

    /// One round, a quick or a full one. True when there were more suspects than it could look at.
    pub async fn round(&mut self, full: bool) -> Result<bool, RoundError> {
        let held = self.held();
        if held.is_empty() {
            return Ok(false);
        }
        // Before the lists: a server that is asked for many grants few of them.
        self.schedule_control(&held, full).await?;
        self.suspects
            .keep(|ticket| held.contains(&partition_of(ticket)));
        let broken_off = Executions::BrokenOffSince(Utc::now() - LATELY);
        let broken_off = self.list(broken_off, &held).await?;
        self.suspects.add(&broken_off, Instant::now());
        // Before the long list, so that trouble with that one does not keep it from these.
        let more = self.examine_due(&broken_off).await?;
        if !full {
            return Ok(more);
        }
        self.follow_epoch(&held).await?;
        // Before the tickets: a workflow that starts in between is no orphan.
        let running = self.list(Executions::Running, &held).await?;
        let open = self.open(&held).await?;
        let differing = open.symmetric_difference(&running);
        self.suspects.add(differing, Instant::now());
        self.examine_due(&broken_off).await
    }

    /// Puts the schedules there that are missing: those of new tenants, in a full round also those
    /// that somebody removed.
    async fn schedule_control(&mut self, held: &HashSet<u8>, full: bool) -> Result<(), RoundError> {
        let Some(interval) = self.control_interval.filter(|_| held.contains(&0)) else {
            return Ok(());
        };
        if full {
            self.controlled.clear();
            self.uncontrolled.clear();
        }
        for tenant in bounded(tenants::all(&self.pool)).await? {
            if self.controlled.contains(&tenant) {
                continue;
            }
            let created = self.temporal.create_control_schedule(tenant, interval);
            if self.call(created).await? {
                tracing::info!(%tenant, "its control was scheduled");
            }
            self.controlled.insert(tenant);
        }
        for tenant in bounded(tenants::erased(&self.pool)).await? {
            if self.uncontrolled.contains(&tenant) {
                continue;
            }
            if self
                .call(self.temporal.delete_control_schedule(tenant))
                .await?
            {
                tracing::info!(%tenant, "it was erased: its control is not scheduled any more");
            }
            self.uncontrolled.insert(tenant);
        }
        Ok(())
    }

    /// Looks at the suspects whose turn has come, at those in `first` before the others. True when
    /// there were too many.
    async fn examine_due(&mut self, first: &HashSet<Key>) -> Result<bool, RoundError> {
        let now = Instant::now();
        let (due, more) = self.suspects.due(first, MOST_SUSPECTS, now);
        let found = self.for_each(&due, |key| self.examine(key)).await?;
        for (key, verdict) in found {
            self.suspects.conclude(key, verdict, now);
        }
        Ok(more)
    }

    /// Compares one ticket with its workflow, and mends.
    async fn examine(&self, key: Key) -> Result<Finding, RoundError> {
        let head = bounded(outbox::ticket_head(&self.pool, key.0, key.1)).await?;
        if head.as_ref().is_some_and(|head| self.is_on_its_way(head)) {
            return Ok(Finding::TooEarly);
        }
        let open = head.as_ref().is_some_and(|head| !head.state.is_terminal());
        match self.call(self.temporal.liveness(key.0, key.1)).await? {
            Liveness::Running if !open => {
                self.tell(key).await?;
                Ok(Finding::Told)
            }
            Liveness::Ended { run_id } if open => self.revive(key, head.as_ref(), &run_id).await,
            Liveness::Unknown if open => self.revive(key, head.as_ref(), "none").await,
            _ => Ok(Finding::Well),
        }
    }

    /// After a new epoch, tells every open ticket of each partition, once.
    async fn follow_epoch(&self, held: &HashSet<u8>) -> Result<(), RoundError> {
        let partitions: Vec<u8> = held.iter().copied().collect();
        let epoch = self.epoch.get();
        let due = bounded(leases::resync_due(&self.pool, epoch, &partitions)).await?;
        if due.is_empty() {
            return Ok(());
        }
        let open = self.open(&due.iter().copied().collect()).await?;
        let open: Vec<Key> = open.into_iter().collect();
        let told = self.for_each(&open, |key| self.announce_epoch(key, epoch));
        if told
            .await?
            .iter()
            .any(|(_, verdict)| *verdict != Finding::Well)
        {
            return Err(RoundError::Incomplete);
        }
        bounded(leases::resynced(&self.pool, epoch, &due)).await?;
        tracing::info!(epoch, tickets = open.len(), "resynced after a new epoch");
        Ok(())
    }

    fn held(&self) -> HashSet<u8> {
        let held = self.sending.leases.held(Instant::now());
        held.into_iter().collect()
    }

    /// Tickets of our partitions with such a workflow, as visibility knows it.
    async fn list(
        &self,
        executions: Executions,
        held: &HashSet<u8>,
    ) -> Result<HashSet<Key>, RoundError> {
        let mut tickets = HashSet::new();
        let (mut page, mut patience) = (Vec::new(), LIST_PATIENCE);
        loop {
            let asked = self.call(self.temporal.list_tickets(executions, page.clone()));
            match asked.await {
                Ok(found) => {
                    let ours = |(_, ticket): &Key| held.contains(&partition_of(*ticket));
                    tickets.extend(found.tickets.into_iter().filter(ours));
                    if found.next.is_empty() {
                        return Ok(tickets);
                    }
                    page = found.next;
                    sleep(PAGE_PAUSE).await;
                }
                Err(RoundError::Temporal(e)) if over_limit(&e) && patience > 0 => {
                    patience -= 1;
                    sleep(LIMIT_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Open tickets of our partitions.
    async fn open(&self, held: &HashSet<u8>) -> Result<HashSet<Key>, RoundError> {
        let mut open = HashSet::new();
        let mut after = None;
        loop {
            let page = bounded(outbox::open_tickets(&self.pool, after, PAGE)).await?;
            let keys = page
                .iter()
                .map(|ticket| (ticket.tenant_id, ticket.ticket_id));
            after = keys.clone().next_back();
            open.extend(keys.filter(|(_, ticket)| held.contains(&partition_of(*ticket))));
            if page.len() < PAGE as usize {
                return Ok(open);
            }
        }
    }

    async fn announce_epoch(&self, key: Key, epoch: u64) -> Result<Finding, RoundError> {
        let head = bounded(outbox::ticket_head(&self.pool, key.0, key.1)).await?;
        let signal = TicketSignal::resync(key.0, key.1, epoch, "epoch");
        self.start(&signal, head.as_ref()).await
    }

    /// An open ticket whose workflow does not run.
    async fn revive(
        &self,
        key: Key,
        head: Option<&TicketHead>,
        ended_run: &str,
    ) -> Result<Finding, RoundError> {
        let signal = TicketSignal::resync(key.0, key.1, self.epoch.get(), ended_run);
        let verdict = self.start(&signal, head).await?;
        tracing::warn!(ticket = %key.1, ended_run, "no workflow was running: started one");
        Ok(verdict)
    }

    /// A running workflow whose ticket is not open: it will look, and end.
    async fn tell(&self, key: Key) -> Result<(), RoundError> {
        let intent = format!("ended, {} s", self.suspects.patience(key).as_secs());
        let signal = TicketSignal::resync(key.0, key.1, self.epoch.get(), &intent);
        if self.call(self.temporal.signal(&signal)).await? {
            self.sending.metrics.resynced();
            tracing::warn!(ticket = %key.1, "the ticket has ended and its workflow runs: told it");
        }
        Ok(())
    }

    /// Whether the ticket's workflow is about to hear of its newest event anyway.
    fn is_on_its_way(&self, head: &TicketHead) -> bool {
        head.under_way || head.age.is_some_and(|age| age < self.grace)
    }

    async fn start(
        &self,
        signal: &TicketSignal,
        head: Option<&TicketHead>,
    ) -> Result<Finding, RoundError> {
        let dress = head.and_then(dress);
        let call = self
            .temporal
            .signal_with_start(signal, dress.as_ref(), self.time_skipping);
        self.call(call).await?;
        self.sending.metrics.resynced();
        Ok(Finding::Well)
    }

    /// Runs one call if calls are granted, and reports how it ended.
    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, TemporalError>>,
    ) -> Result<T, RoundError> {
        if !self.sending.gate.enter() {
            return Err(RoundError::Refused);
        }
        let result = call.await;
        // A limit that reading ran into says nothing about writing: delivery goes on.
        if !result.as_ref().is_err_and(over_limit) {
            self.sending.gate.report(&result);
        }
        Ok(result?)
    }

    /// Does it for each ticket, several at once. One ticket's own trouble is logged and left to a
    /// later round; anything else ends this one.
    async fn for_each<'a, F>(
        &'a self,
        keys: &[Key],
        act: impl Fn(Key) -> F,
    ) -> Result<Vec<(Key, Finding)>, RoundError>
    where
        F: Future<Output = Result<Finding, RoundError>> + 'a,
    {
        let mut results = stream::iter(keys.iter().copied())
            .map(|key| {
                let acting = act(key);
                async move { (key, acting.await) }
            })
            .buffer_unordered(CONCURRENCY);
        let mut found = Vec::with_capacity(keys.len());
        while let Some((key, result)) = results.next().await {
            match result {
                Ok(verdict) => found.push((key, verdict)),
                Err(RoundError::Temporal(error)) if !error.is_systemic() => {
                    tracing::warn!(ticket = %key.1, %error, "could not be reconciled yet");
                    found.push((key, Finding::TooEarly));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

fn over_limit(error: &TemporalError) -> bool {
    error.code == Code::ResourceExhausted
}

/// How a workflow of this ticket is dressed, as far as this build can read it.
pub(crate) fn dress(head: &TicketHead) -> Option<Dress> {
    let level: TicketLevel = serde_json::from_value(head.level.clone()?).ok()?;
    Some(Dress::from(&level))
}
