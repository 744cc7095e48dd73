//! A relay inside this process, and signals like those it sends.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use contracts::{TicketId, ticket_workflow_id};
use embedded::TemporalServer;
use relay::{
    Environment, Mode, RelayConfig, RelayError, Temporal, TemporalConfig, Tuning,
    delivery::{Batch, MAX_EVENTS},
    temporal::{Dress, TicketSignal},
};
use sqlx::PgPool;
use store::outbox::{self, ClaimLimits, PARTITIONS};
use temporalio_client::{Connection, grpc::WorkflowService, tonic::IntoRequest};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowExecution, enums::v1::HistoryEventFilterType, history::v1::HistoryEvent,
    workflowservice::v1::GetWorkflowExecutionHistoryRequest,
};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    life::TENANT,
    servers::{Database, NAMESPACE, connection},
};

/// How long anything may take until a run is given up.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A relay that only delivers: what a figure sets up on purpose (events that wait for long, workflows
/// of tickets that are not) would be faults to its reconciler.
pub fn delivery_only() -> Tuning {
    let never = Duration::from_secs(3_600);
    Tuning {
        reconcile_interval: never,
        reconcile_grace: never,
        ..Tuning::default()
    }
}

/// A running relay.
#[derive(Debug)]
pub struct Relay {
    stop: CancellationToken,
    task: JoinHandle<Result<(), RelayError>>,
}

impl Relay {
    /// Starts one; returns when it holds every partition.
    pub async fn start(
        server: &TemporalServer,
        database: &Database,
        tuning: Tuning,
    ) -> Result<Self> {
        let config = RelayConfig {
            database_url: database.addresses.relay.clone(),
            mode: Mode::DeliverToTemporal,
            temporal: temporal_config(server)?,
            metrics_listen: ([127, 0, 0, 1], 0).into(),
            environment: Environment::Test,
            time_skipping: false,
            failpoints: false,
            tuning,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(relay::run(config, stop.clone()));
        let relay = Self { stop, task };
        until("the relay holds its leases", async || {
            let held: i64 = sqlx::query_scalar(
                "select count(*) from relay_leases where expires_at > clock_timestamp()",
            )
            .fetch_one(&database.admin)
            .await?;
            Ok(held == i64::from(PARTITIONS))
        })
        .await?;
        Ok(relay)
    }

    /// Stops it in good order.
    pub async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.task.await??)
    }
}

/// The relay's own connection to Temporal.
pub fn temporal(server: &TemporalServer) -> Result<Temporal> {
    let identity = "dispatch-bench".to_owned();
    Ok(Temporal::new(
        temporal_config(server)?,
        identity,
        Duration::from_secs(30),
    ))
}

fn temporal_config(server: &TemporalServer) -> Result<TemporalConfig> {
    Ok(TemporalConfig {
        connection: connection(server)?,
        namespace: NAMESPACE.to_owned(),
    })
}

/// A signal as the relay makes it of a real ticket's events, to be sent for tickets that are not.
#[derive(Debug, Clone)]
pub struct Sample {
    signal: TicketSignal,
    dress: Option<Dress>,
}

impl Sample {
    /// Of this ticket's pending events, one signal for each.
    pub async fn per_event(relay: &PgPool, ticket: TicketId) -> Result<Vec<Self>> {
        let partitions = [outbox::partition_of(ticket)];
        let limits = ClaimLimits {
            tickets: u32::MAX >> 1,
            events_per_ticket: MAX_EVENTS as u32,
        };
        let found = outbox::claim(relay, &partitions, &[], limits).await?;
        let pending = found
            .into_iter()
            .find(|found| found.ticket_id == ticket)
            .context("the ticket has pending events")?;
        let mut samples = Vec::new();
        for event in pending.events.chunks(1) {
            let batch = Batch::cut(event, 1, MAX_EVENTS)?;
            let mut signal = TicketSignal::resync(pending.tenant_id, ticket, 1, "sample");
            signal.cause = batch
                .cause()
                .map(|cause| (cause.correlation_id.clone(), cause.trace.clone()));
            let dress = batch.level().map(Dress::from);
            signal.envelope = batch.envelope;
            samples.push(Self { signal, dress });
        }
        Ok(samples)
    }

    /// The same for a ticket that nobody has heard of. `ticket` is to be drawn anew for each.
    pub fn addressed(&self, ticket: TicketId) -> Self {
        let mut other = self.clone();
        other.signal.ticket_id = ticket;
        other.signal.request_id = Uuid::now_v7();
        other
    }

    /// One SignalWithStart.
    pub async fn send(&self, temporal: &Temporal) -> Result<()> {
        temporal
            .signal_with_start(&self.signal, self.dress.as_ref(), false)
            .await?;
        Ok(())
    }
}

/// The events of a ticket's workflow. With `closed` it waits for the workflow's end and answers
/// only that.
pub async fn history(
    connection: &Connection,
    ticket: TicketId,
    closed: bool,
) -> Result<Vec<HistoryEvent>> {
    let request = GetWorkflowExecutionHistoryRequest {
        namespace: NAMESPACE.to_owned(),
        execution: Some(WorkflowExecution {
            workflow_id: ticket_workflow_id(TENANT.tenant_id, ticket),
            run_id: String::new(),
        }),
        wait_new_event: closed,
        history_event_filter_type: if closed {
            HistoryEventFilterType::CloseEvent.into()
        } else {
            HistoryEventFilterType::AllEvent.into()
        },
        ..Default::default()
    };
    let deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    let mut page = request;
    loop {
        let mut request = page.clone().into_request();
        request.set_timeout(Duration::from_secs(60));
        let answer = connection
            .clone()
            .get_workflow_execution_history(request)
            .await?
            .into_inner();
        events.extend(answer.history.unwrap_or_default().events);
        // A long poll that ends with nothing is to be repeated.
        let ended = if closed {
            !events.is_empty()
        } else {
            answer.next_page_token.is_empty()
        };
        if ended {
            return Ok(events);
        }
        page.next_page_token = answer.next_page_token;
        if Instant::now() > deadline {
            bail!("the workflow of {ticket} does not end");
        }
    }
}

/// Waits until it is so.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !so().await? {
        if Instant::now() > deadline {
            bail!("it did not happen within {PATIENCE:?}: {what}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Waits until nothing is pending.
pub async fn until_drained(pool: &PgPool) -> Result<()> {
    until("the outbox is empty", async || {
        let pending: bool =
            sqlx::query_scalar("select exists (select from outbox_events where pending)")
                .fetch_one(pool)
                .await?;
        Ok(!pending)
    })
    .await
}
