//! The system with everything beside dispatch-api: relay, worker, and a Temporal namespace.
//!
//! A test of the flow ends when nothing is left to do: all events delivered, every workflow knowing
//! exactly what the database knows ([`agreement`]), the invariants of `dispatch verify` intact. A
//! test that leaves something undone on purpose says so by ending it itself.
//!
//! [`agreement`]: crate::agreement

use std::{
    net::SocketAddr,
    ops::Deref,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, Utc};
use contracts::{
    EventId, TicketId, TraceContext,
    signal::{SignalEvent, TicketWorkflowStart, WorkflowView},
};
use relay::{Environment, Mode, RelayConfig, Tuning, delivery::Backoff};
use serde_json::Value;
use tokio_util::sync::DropGuard;
use uuid::Uuid;
use worker::{Version, WorkerConfig};

use crate::{
    agreement,
    database::Database,
    job::Job,
    namespace::{Key, Namespace, connection_options},
    part::RunningPart,
    servers,
    stack::{ApiOptions, Stack},
    verify, wait,
};

/// How long a system that was hurt may take until it is well again.
pub const HEALING: Duration = Duration::from_secs(30);

/// What a test can choose.
#[derive(Debug, Clone)]
pub struct FlowOptions {
    /// Workflows are started with time skipping.
    pub time_skipping: bool,
    /// Times of the relay.
    pub tuning: Tuning,
    /// The relay runs from the start.
    pub relay: bool,
    /// The worker runs from the start.
    pub worker: bool,
}

impl Default for FlowOptions {
    fn default() -> Self {
        Self {
            time_skipping: false,
            tuning: quick(),
            relay: true,
            worker: true,
        }
    }
}

/// The relay's times, shortened: what takes ten seconds in production because nobody waits for it
/// takes one here because a test does.
pub fn quick() -> Tuning {
    Tuning {
        poll: Duration::from_millis(200),
        lease_ttl: Duration::from_secs(2),
        call_timeout: Duration::from_secs(2),
        ticket_backoff: Backoff {
            first: Duration::from_millis(20),
            most: Duration::from_millis(500),
        },
        breaker_backoff: Backoff {
            first: Duration::from_millis(100),
            most: Duration::from_millis(500),
        },
        max_attempts: 3,
        reconcile_interval: Duration::from_secs(1),
        reconcile_grace: Duration::from_millis(500),
        // Its tests ask for it; the others need no schedules that outlive them on the server.
        control_interval: None,
        ..Tuning::default()
    }
}

/// The system under test. Clones are the same system.
#[derive(Debug, Clone)]
pub struct Flow(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stack: Stack,
    namespace: Namespace,
    options: FlowOptions,
    relays: Mutex<Vec<RunningPart>>,
    worker: Mutex<Option<(RunningPart, DropGuard)>>,
}

impl Deref for Flow {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.0.stack
    }
}

/// Runs a test on a whole system, then waits until nothing is left to do, and checks everything.
pub fn with_flow<F>(options: FlowOptions, test: impl FnOnce(Flow) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    servers::run(move || async move {
        let flow = Flow::start(options).await;
        test(flow.clone()).await;
        flow.settle().await;
        check(flow.database()).await;
        flow.end().await;
    });
}

/// Asserts all invariants of the database of a system that is at rest.
pub async fn check(database: &Database) {
    let found = verify::violations_within(database, HEALING).await;
    assert!(found.is_empty(), "invariants are violated: {found:#?}");
}

impl Flow {
    /// Starts it on a fresh database in a fresh namespace.
    pub async fn start(options: FlowOptions) -> Self {
        let (database, namespace) = tokio::join!(Database::create(), Namespace::create());
        Self::on(database, namespace, options).await
    }

    /// Starts it on these.
    pub async fn on(database: Database, namespace: Namespace, options: FlowOptions) -> Self {
        let stack = Stack::on(database, ApiOptions::default()).await;
        let flow = Self(Arc::new(Inner {
            stack,
            namespace,
            options,
            relays: Mutex::default(),
            worker: Mutex::default(),
        }));
        if flow.0.options.worker {
            flow.start_worker().await;
        }
        if flow.0.options.relay {
            flow.start_relay();
        }
        flow
    }

    /// The Temporal namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// A ticket of the first tenant, for the namespace.
    pub fn key(&self, ticket: TicketId) -> Key {
        (self.tenant().id, ticket)
    }

    /// No ticket yet, of the first tenant.
    pub fn job(&self) -> Job {
        Job::new(self, self.tenant())
    }

    /// Starts a relay; there may be several.
    pub fn start_relay(&self) {
        self.start_relay_with(self.relay_config());
    }

    /// Starts a relay that is configured otherwise.
    pub fn start_relay_with(&self, config: RelayConfig) {
        let part = RunningPart::start("relay", move |stop| async move {
            relay::run(config, stop)
                .await
                .map_err(|error| error.to_string())
        });
        self.0.relays.lock().expect("no holder panicked").push(part);
    }

    /// What its relays are started with.
    pub fn relay_config(&self) -> RelayConfig {
        let options = &self.0.options;
        RelayConfig {
            database_url: self.database().addresses.relay.clone(),
            mode: Mode::DeliverToTemporal,
            temporal: self.namespace().relay(),
            metrics_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            environment: Environment::Test,
            time_skipping: options.time_skipping,
            failpoints: false,
            tuning: options.tuning,
        }
    }

    /// Stops all relays in good order.
    pub async fn stop_relays(&self) {
        let relays = std::mem::take(&mut *self.0.relays.lock().expect("no holder panicked"));
        for part in relays {
            part.stop().await;
        }
    }

    /// Starts the worker and makes its version the current one.
    pub async fn start_worker(&self) {
        self.start_worker_between(self.namespace().address(), self.address())
            .await;
    }

    /// The same; it reaches dispatch-api at this address.
    pub async fn start_worker_through(&self, api: SocketAddr) {
        self.start_worker_between(self.namespace().address(), api)
            .await;
    }

    /// The same; it reaches Temporal at this address.
    pub async fn start_worker_at(&self, temporal: SocketAddr) {
        self.start_worker_between(&temporal.to_string(), self.address())
            .await;
    }

    async fn start_worker_between(&self, temporal: &str, api: SocketAddr) {
        let mut config = WorkerConfig::new(
            connection_options(temporal),
            self.namespace().name(),
            url::Url::parse(&format!("http://{api}")).expect("an address"),
            self.worker_key().await,
        );
        config.pollers = 4;
        // The worker has a thread of its own, which does not end with the part's runtime.
        let mut guard = None;
        let part = RunningPart::start("worker", |stop| {
            guard = Some(stop.clone().drop_guard());
            async move {
                worker::run(config, stop)
                    .await
                    .map_err(|error| error.to_string())
            }
        });
        let guard = guard.expect("the part was started");
        worker::promote(&self.namespace().client(), &Version::of_this_build())
            .await
            .expect("the worker's version can be made current");
        *self.0.worker.lock().expect("no holder panicked") = Some((part, guard));
    }

    /// Stops the worker in good order.
    pub async fn stop_worker(&self) {
        let taken = self.0.worker.lock().expect("no holder panicked").take();
        if let Some((part, _guard)) = taken {
            part.stop().await;
        }
    }

    /// Waits until a ticket's workflow knows exactly what the database knows.
    pub async fn agreed(&self, ticket: TicketId) -> WorkflowView {
        self.agreed_within(ticket, wait::BOUND).await
    }

    /// The same with a bound.
    pub async fn agreed_within(&self, ticket: TicketId, bound: Duration) -> WorkflowView {
        let key = self.key(ticket);
        wait::until("agreement of workflow and database", bound, || {
            agreement::agrees(self.admin(), self.namespace(), key)
        })
        .await
    }

    /// Waits until nothing is left to do.
    pub async fn settle(&self) {
        wait::until("rest", HEALING, || {
            agreement::all_agree(self.admin(), self.namespace())
        })
        .await;
    }

    /// All events of a ticket that are for its workflow, as a relay sends them.
    pub async fn events(&self, ticket: TicketId) -> Vec<SignalEvent> {
        type Row = (
            i64,
            Uuid,
            String,
            i16,
            DateTime<Utc>,
            String,
            String,
            Option<Value>,
        );
        let rows: Vec<Row> = sqlx::query_as(
            "select seq, id, event_type, event_version, occurred_at, correlation_id, traceparent, level
             from outbox_events where ticket_id = $1 and seq is not null order by seq",
        )
        .bind(ticket.as_uuid())
        .fetch_all(self.admin())
        .await
        .expect("the superuser may");
        rows.into_iter()
            .map(
                |(seq, id, event_type, version, occurred_at, correlation_id, trace, level)| {
                    SignalEvent {
                        seq: seq.unsigned_abs(),
                        event_id: EventId::from_uuid(id),
                        event_type,
                        event_version: version.unsigned_abs(),
                        occurred_at,
                        correlation_id: correlation_id.parse().expect("it was checked"),
                        trace: TraceContext::parse(&trace, None).expect("it was checked"),
                        level: level.map(|level| serde_json::from_value(level).expect("a level")),
                    }
                },
            )
            .collect()
    }

    /// What a relay starts a ticket's workflow with.
    pub fn start_input(&self, ticket: TicketId) -> TicketWorkflowStart {
        TicketWorkflowStart {
            tenant_id: self.tenant().id,
            ticket_id: ticket,
            epoch: 1,
        }
    }

    /// Events that wait to be delivered.
    pub async fn pending(&self) -> i64 {
        sqlx::query_scalar("select count(*) from outbox_events where pending")
            .fetch_one(self.admin())
            .await
            .expect("the superuser may")
    }

    /// Waits until no event waits.
    pub async fn drained(&self) {
        wait::until("delivery", wait::BOUND, async || {
            match self.pending().await {
                0 => Ok(()),
                n => Err(n),
            }
        })
        .await;
    }

    /// Stops everything, and removes the database.
    pub async fn end(self) {
        self.stop_relays().await;
        self.stop_worker().await;
        self.0.stack.clone().end().await;
    }
}
