//! R6: how fast a relay drains a backlog, against a bare loop of SignalWithStart with the same
//! payload and as many calls in flight; with one pending event per ticket, and with eight. No
//! worker runs on either side.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result};
use contracts::TicketId;
use futures::{StreamExt, TryStreamExt, stream};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    bench::Bench,
    life, load,
    relaying::{self, Relay, Sample},
    report::{Good, Line, number},
    service::Service,
    stats::{Rounds, interleaved},
};

const EVENTS: usize = 8;

/// Measures both.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let server = bench.servers.temporal().await?;
    let database = bench.database("r6").await?;
    let service = Service::start(&database, 16).await?;
    let one = Arc::new(vec![life::creation()?]);
    let mut several = vec![life::creation()?];
    several.resize(EVENTS, life::retriage()?);
    let several = Arc::new(several);
    let made = load::tickets(service.address, &one, 1).await?;
    let ticket = *made.first().context("a ticket was created")?;
    let mut samples = Sample::per_event(&database.relay, ticket).await?;
    let sample = samples.pop().context("a creation is an event")?;
    let temporal = relaying::temporal(&server)?;
    let tuning = relaying::delivery_only();
    let concurrency = tuning.concurrency;
    let tickets = bench.settings.pick(300, 100);

    let drain = async |life: &Arc<Vec<_>>, tickets| -> Result<f64> {
        load::tickets(service.address, life, tickets).await?;
        let held_back = hold_back(&database.admin).await?;
        let relay = Relay::start(&server, &database, tuning).await?;
        let rate = release(&database.admin, &held_back).await?;
        relay.stop().await?;
        Ok(rate)
    };
    let relay_started = drain(&one, concurrency).await?;
    crate::say(&format!("R6 warm-up: {relay_started:.0} events/s"));
    let [distinct, coalesced] = interleaved(
        "R6 (events/s: distinct tickets, 8 events each)",
        bench.settings.rounds,
        async |_| {
            Ok([
                drain(&one, tickets).await?,
                drain(&several, tickets / 3).await?,
            ])
        },
        async |_| {
            let begun = Instant::now();
            stream::iter(0..tickets)
                .map(|_| {
                    let signal = sample.addressed(TicketId::from_uuid(Uuid::now_v7()));
                    let temporal = &temporal;
                    async move { signal.send(temporal).await }
                })
                .buffer_unordered(concurrency)
                .try_collect::<()>()
                .await?;
            let rate = tickets as f64 / begun.elapsed().as_secs_f64();
            Ok([rate, rate])
        },
    )
    .await?;
    service.stop().await?;
    database.close().await;
    server.shutdown().await;
    let line = |id, what: String, rounds: &Rounds, floor, goal, notes| Line {
        id,
        what,
        ours: format!("{}/s", number(rounds.ours())),
        baseline: format!("SignalWithStart {}/s", number(rounds.baseline())),
        figure: rounds.ratio(),
        unit: "",
        good: Good::AtLeast,
        floor,
        goal,
        notes,
    };
    Ok(vec![
        line(
            "R6",
            format!("relayed events/s, {tickets} distinct tickets, {concurrency} in flight"),
            &distinct,
            0.8,
            0.95,
            vec![
                "from the moment at which the backlog can be seen to the last mark; the baseline \
                 reads and marks nothing; no worker on either side"
                    .to_owned(),
            ],
        ),
        line(
            "R6",
            format!("the same, {EVENTS} pending events per ticket"),
            &coalesced,
            // No floor of its own is set: it may not be lost.
            1.0,
            3.0,
            Vec::new(),
        ),
    ])
}

/// Hides what is pending, so that a relay can start and find nothing.
async fn hold_back(admin: &PgPool) -> Result<Vec<Uuid>> {
    Ok(
        sqlx::query_scalar("update outbox_events set pending = false where pending returning id")
            .fetch_all(admin)
            .await?,
    )
}

/// Shows it again, all at once; answers the events per second at which it is delivered.
async fn release(admin: &PgPool, events: &[Uuid]) -> Result<f64> {
    sqlx::query("update outbox_events set pending = true where id = any($1)")
        .bind(events)
        .execute(admin)
        .await?;
    let begun: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(admin)
        .await?;
    sqlx::query("select pg_notify($1, '')")
        .bind(store::OUTBOX_CHANNEL)
        .execute(admin)
        .await?;
    relaying::until_drained(admin).await?;
    let seconds: f64 = sqlx::query_scalar(
        "select extract(epoch from max(delivered_at) - $2)::float8
         from outbox_events where id = any($1)",
    )
    .bind(events)
    .bind(begun)
    .fetch_one(admin)
    .await?;
    Ok(events.len() as f64 / seconds)
}
