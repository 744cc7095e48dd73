//! R13: the same request again. What was answered is asked for once more with its key, at the same
//! constant rate as the first time, and must come back byte for byte. Then, with nothing else
//! running, how many bytes of WAL Postgres has flushed because of it: none is the goal, and without
//! bytes there is no flush.

use std::{sync::Mutex, time::Duration};

use anyhow::{Result, ensure};
use chrono::Utc;
use contracts::{Operation, TicketId};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use sqlx::PgPool;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use uuid::Uuid;

use crate::{
    bench::Bench,
    http::{Http, ticket_of},
    life::{self, Step},
    report::{Good, Line, number},
    service::Service,
    stats::{Spread, interleaved},
};

/// Commands per second, of a generator that waits for nobody.
const PER_SECOND: u32 = 100;
/// Connections that they come by in turn.
const LANES: u32 = 8;
/// Longer than what Postgres's background writer takes to come round.
const AT_REST: Duration = Duration::from_secs(20);

/// A command that was answered.
#[derive(Debug)]
struct Sent {
    token: String,
    operation: Operation,
    ticket: Option<TicketId>,
    key: Uuid,
    body: String,
    status: u16,
    answer: Vec<u8>,
}

/// Measures both.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let life = life::short(Utc::now())?;
    let database = bench.database("r13").await?;
    let service = Service::start_unsealed(&database, LANES).await?;
    let count = bench.settings.pick(1_000, 200);
    // Warms both up; and the first round has something to repeat.
    let (_, sent) = first(&service, &life, count).await?;
    again(&service, &sent).await?;
    let last = Mutex::new(sent);
    let [p50] = interleaved(
        "R13 (p50 ms: replay / first)",
        bench.settings.rounds,
        async |_| {
            let sent = std::mem::take(&mut *last.lock().expect("no holder panics"));
            let p50 = again(&service, &sent).await?;
            *last.lock().expect("no holder panics") = sent;
            Ok([p50])
        },
        async |_| {
            let (p50, sent) = first(&service, &life, count).await?;
            *last.lock().expect("no holder panics") = sent;
            Ok([p50])
        },
    )
    .await?;

    let before = flushed(&database.admin).await?;
    let (_, sent) = first(&service, &life, count).await?;
    let by_first = flushed(&database.admin).await? - before;
    // What Postgres would do by itself at some moment.
    sqlx::raw_sql("vacuum (analyze)")
        .execute(&database.admin)
        .await?;
    let before = at_rest(&database.admin).await?;
    again(&service, &sent).await?;
    let by_replays = flushed(&database.admin).await? - before;
    service.stop().await?;
    database.close().await;
    let each = |bytes: i64| bytes as f64 / count as f64;
    Ok(vec![
        Line {
            id: "R13",
            what: "replay of an idempotent command, p50".to_owned(),
            ours: format!("{} ms", number(p50.ours())),
            baseline: format!("first execution {} ms", number(p50.baseline())),
            figure: p50.ratio(),
            unit: "",
            good: Good::AtMost,
            floor: 0.5,
            goal: 0.25,
            notes: vec![format!(
                "the five commands of R1, {PER_SECOND} per second over {LANES} connections; each \
                 answer compared with the first one, byte for byte"
            )],
        },
        Line {
            id: "R13",
            what: "WAL flushed per replay".to_owned(),
            ours: format!("{} B", number(each(by_replays))),
            baseline: format!("first execution {} B", number(each(by_first))),
            figure: Spread::of([each(by_replays)]),
            unit: " B",
            good: Good::AtMost,
            floor: 0.0,
            goal: 0.0,
            notes: vec![format!(
                "of {count} replays on a server at rest, without the sealer, which writes every few \
                 seconds whatever happens; no bytes: nothing was flushed, not once"
            )],
        },
    ])
}

/// Plays lives at the constant rate, each lane its own; p50 in milliseconds, counted from when each
/// was due, and all that was sent.
async fn first(service: &Service, life: &[Step], count: usize) -> Result<(f64, Vec<Sent>)> {
    let lanes = (0..LANES).map(|lane| async move {
        let mut http = Http::connect(service.address).await?;
        let mut due = pace(lane);
        let (mut taken, mut all) = (Vec::new(), Vec::new());
        let mut ticket = None;
        for step in life.iter().cycle().take(count / LANES as usize) {
            if step.operation == Operation::CreateTicket {
                ticket = None;
            }
            let key = Uuid::now_v7();
            let due = due.tick().await;
            let (status, answer) = http
                .send(&step.token, step.operation, ticket, key, &step.body)
                .await?;
            taken.push(due.elapsed());
            ensure!(
                (200..300).contains(&status),
                "{}: {status} {}",
                step.operation,
                String::from_utf8_lossy(answer)
            );
            all.push(Sent {
                token: step.token.clone(),
                operation: step.operation,
                ticket,
                key,
                body: step.body.clone(),
                status,
                answer: answer.to_vec(),
            });
            if ticket.is_none() {
                ticket = Some(ticket_of(answer)?);
            }
        }
        anyhow::Ok((taken, all))
    });
    let (mut times, mut sent) = (Vec::new(), Vec::new());
    for (taken, all) in try_join_all(lanes).await? {
        times.extend(taken);
        sent.extend(all);
    }
    Ok((p50(times)?, sent))
}

/// Sends the same once more at the same rate; p50 in milliseconds.
async fn again(service: &Service, sent: &[Sent]) -> Result<f64> {
    let lanes = (0..LANES)
        .zip(sent.chunks(sent.len().div_ceil(LANES as usize)))
        .map(|(lane, share)| async move {
            let mut http = Http::connect(service.address).await?;
            let mut due = pace(lane);
            let mut taken = Vec::new();
            for sent in share {
                let due = due.tick().await;
                let (status, answer) = http
                    .send(
                        &sent.token,
                        sent.operation,
                        sent.ticket,
                        sent.key,
                        &sent.body,
                    )
                    .await?;
                taken.push(due.elapsed());
                ensure!(
                    status == sent.status && answer == sent.answer,
                    "{} with key {}: {status} {}",
                    sent.operation,
                    sent.key,
                    String::from_utf8_lossy(answer)
                );
            }
            anyhow::Ok(taken)
        });
    p50(try_join_all(lanes).await?.into_iter().flatten())
}

/// The moments at which a lane sends.
fn pace(lane: u32) -> tokio::time::Interval {
    let period = Duration::from_secs(1) / PER_SECOND;
    let mut due = interval_at(Instant::now() + period * lane, period * LANES);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    due
}

fn p50(times: impl IntoIterator<Item = Duration>) -> Result<f64> {
    let mut histogram = Histogram::<u64>::new(3)?;
    for time in times {
        histogram.record(time.as_micros().try_into()?)?;
    }
    Ok(histogram.value_at_quantile(0.5) as f64 / 1e3)
}

/// Bytes of WAL that the server has flushed in its life.
async fn flushed(admin: &PgPool) -> Result<i64> {
    let at = sqlx::query_scalar("select (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint");
    Ok(at.fetch_one(admin).await?)
}

/// Waits until nothing writes any more.
async fn at_rest(admin: &PgPool) -> Result<i64> {
    crate::say("R13: waiting until Postgres is at rest");
    let begun = Instant::now();
    let mut seen = (flushed(admin).await?, begun);
    while seen.1.elapsed() < AT_REST {
        sleep(Duration::from_millis(500)).await;
        let now = flushed(admin).await?;
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        ensure!(
            begun.elapsed() < 8 * AT_REST,
            "Postgres does not come to rest"
        );
    }
    Ok(seen.0)
}
