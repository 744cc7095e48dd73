//! R5: how long after its commit an event stands in the workflow's history, at a constant rate
//! that does not wait for anybody, against SignalWithStart alone at the same rate on the same
//! server. Both begin with the moment after which nothing more is needed from the caller (our
//! commit record; the call) and end with the server's time of `WorkflowExecutionSignaled`. No
//! worker runs on either side.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use contracts::TicketId;
use futures::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use temporalio_client::Connection;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use tokio::{sync::Mutex, time::MissedTickBehavior};
use uuid::Uuid;

use crate::{
    bench::Bench,
    http::{Http, ticket_of},
    life, load,
    relaying::{self, Relay, Sample},
    report::{Good, Line, number},
    servers::connection,
    service::Service,
    stats::{Spread, interleaved},
};

const PER_SECOND: u64 = 5;

/// Measures it.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let server = bench.servers.temporal().await?;
    let raw = Connection::connect(connection(&server)?).await?;
    let database = bench.database("r5").await?;
    let service = Service::start(&database, 16).await?;
    let creation = life::creation()?;
    let made = load::tickets(service.address, &Arc::new(vec![creation.clone()]), 1).await?;
    let ticket = *made.first().context("a ticket was created")?;
    let mut samples = Sample::per_event(&database.relay, ticket).await?;
    let sample = samples.pop().context("a creation is an event")?;
    let temporal = Arc::new(relaying::temporal(&server)?);
    sample
        .addressed(TicketId::from_uuid(Uuid::now_v7()))
        .send(&temporal)
        .await?;
    let relay = Relay::start(&server, &database, relaying::delivery_only()).await?;
    relaying::until_drained(&database.admin).await?;

    let count = PER_SECOND * bench.settings.pick(20, 6);
    let pooled = [new_histogram()?, new_histogram()?].map(Mutex::new);
    let [medians] = interleaved(
        "R5 p50 (ms)",
        bench.settings.rounds,
        async |_| {
            let connections = Arc::new(Mutex::new(Vec::new()));
            let tickets = at_constant_rate(count, async || {
                let (connections, creation) = (Arc::clone(&connections), creation.clone());
                let address = service.address;
                let idle = connections.lock().await.pop();
                let mut http = match idle {
                    Some(http) => http,
                    None => Http::connect(address).await?,
                };
                let receipt = http
                    .command(&creation.token, creation.operation, None, &creation.body)
                    .await?;
                let ticket = ticket_of(receipt)?;
                connections.lock().await.push(http);
                Ok((ticket, None))
            })
            .await?;
            relaying::until_drained(&database.admin).await?;
            let latencies = latencies(&raw, &database.admin, tickets).await?;
            note(&pooled[0], latencies).await
        },
        async |_| {
            let tickets = at_constant_rate(count, async || {
                let ticket = TicketId::from_uuid(Uuid::now_v7());
                let signal = sample.addressed(ticket);
                let begun = SystemTime::now();
                signal.send(&temporal).await?;
                Ok((ticket, Some(begun)))
            })
            .await?;
            let latencies = latencies(&raw, &database.admin, tickets).await?;
            note(&pooled[1], latencies).await
        },
    )
    .await?;
    relay.stop().await?;
    service.stop().await?;
    database.close().await;
    server.shutdown().await;

    let [ours, baseline] = pooled.map(Mutex::into_inner);
    let p99 = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.99) as f64 / 1e3;
    let line = |what, ours: f64, baseline: f64, figure, floor, goal, notes| Line {
        id: "R5",
        what: format!("commit → WorkflowExecutionSignaled at {PER_SECOND}/s, {what}"),
        ours: format!("{} ms", number(ours)),
        baseline: format!("SignalWithStart {} ms", number(baseline)),
        figure,
        unit: " ms",
        good: Good::AtMost,
        floor,
        goal,
        notes,
    };
    let added = Spread::of([p99(&ours) - p99(&baseline)]);
    Ok(vec![
        line(
            "p50",
            medians.ours(),
            medians.baseline(),
            medians.difference(),
            25.0,
            10.0,
            Vec::new(),
        ),
        line(
            "p99",
            p99(&ours),
            p99(&baseline),
            added,
            120.0,
            50.0,
            vec![format!(
                "the figure is what is added; p99 over all {} events of all rounds; each event \
                 starts a workflow; no worker on either side",
                ours.len()
            )],
        ),
    ])
}

fn new_histogram() -> Result<Histogram<u64>> {
    // Microseconds up to ten minutes, three digits.
    Ok(Histogram::new_with_bounds(1, 600_000_000, 3)?)
}

/// Adds to the pooled ones; answers this round's p50 in milliseconds.
async fn note(pooled: &Mutex<Histogram<u64>>, latencies: Vec<Duration>) -> Result<[f64; 1]> {
    let mut round = new_histogram()?;
    for latency in latencies {
        round.record(u64::try_from(latency.as_micros())?.max(1))?;
    }
    pooled.lock().await.add(&round)?;
    Ok([round.value_at_quantile(0.5) as f64 / 1e3])
}

/// Begins an operation at each tick, whatever became of the ones before.
async fn at_constant_rate<T>(count: u64, operation: impl AsyncFn() -> Result<T>) -> Result<Vec<T>> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / PER_SECOND as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = stream::FuturesUnordered::new();
    let mut ended = Vec::new();
    let mut begun = 0;
    while begun < count {
        tokio::select! {
            _ = ticks.tick() => {
                begun += 1;
                under_way.push(operation());
            }
            Some(result) = under_way.next() => ended.push(result?),
        }
    }
    while let Some(result) = under_way.next().await {
        ended.push(result?);
    }
    Ok(ended)
}

/// From the given moment, or from the commit of the ticket's creation, to the signal.
async fn latencies(
    connection: &Connection,
    admin: &sqlx::PgPool,
    tickets: Vec<(TicketId, Option<SystemTime>)>,
) -> Result<Vec<Duration>> {
    stream::iter(tickets)
        .map(|(ticket, begun)| async move {
            let begun = match begun {
                Some(begun) => begun,
                None => committed(admin, ticket).await?,
            };
            let history = relaying::history(connection, ticket, false).await?;
            let signaled = history
                .iter()
                .find(|event| event.event_type() == EventType::WorkflowExecutionSignaled)
                .and_then(|event| event.event_time)
                .context("the workflow was signalled")?;
            // Both clocks are this machine's; a server may round down.
            Ok(SystemTime::try_from(signaled)?
                .duration_since(begun)
                .unwrap_or_default())
        })
        .buffer_unordered(8)
        .try_collect()
        .await
}

async fn committed(admin: &sqlx::PgPool, ticket: TicketId) -> Result<SystemTime> {
    // Audit rows are never changed, so their transaction is the command's.
    let at: DateTime<Utc> = sqlx::query_scalar(
        "select pg_xact_commit_timestamp(xmin) from audit_events
         where ticket_id = $1 and operation = 'create_ticket'",
    )
    .bind(ticket.as_uuid())
    .fetch_one(admin)
    .await?;
    Ok(at.into())
}
