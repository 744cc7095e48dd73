//! R9: what it costs a relay to look for work, by the number of events that were delivered before,
//! and while a forgotten transaction keeps their dead versions alive. The rows are made up here and
//! become delivered as a relay makes them so.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use sqlx::{Connection, PgConnection, PgPool};
use store::outbox::{self, ClaimLimits, PARTITIONS};
use uuid::Uuid;

use crate::{
    bench::Bench,
    life::TENANT,
    report::{Good, Line, number},
    servers::Database,
    stats::{Spread, interleaved},
};

/// Tickets that the rows belong to.
const TICKETS: i64 = 1_000;
/// Tickets with a pending event, in each database.
const WAITING: i64 = 64;
/// Deliveries while the transaction is open: a minute at a hundred per second.
const DELIVERED_MEANWHILE: i64 = 6_000;
/// Rows of one statement.
const STEP: i64 = 50_000;

/// Measures it.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let small = filled(bench, 1_000).await?;
    let mut lines = Vec::new();
    let mut rows = 10_000;
    while rows <= bench.settings.delivered_rows {
        let large = filled(bench, i64::try_from(rows)?).await?;
        let what = format!("relay claim p50 at 10^{} delivered rows", rows.ilog10());
        lines.push(compare(bench, what, &large, &small, 2.0, 1.2).await?);
        large.close().await;
        rows *= 10;
    }
    let held = filled(bench, 1_000).await?;
    let mut forgotten = PgConnection::connect(&held.admin_url).await?;
    sqlx::query("begin isolation level repeatable read")
        .execute(&mut forgotten)
        .await?;
    sqlx::query("select count(*) from tickets")
        .execute(&mut forgotten)
        .await?;
    deliver(&held.admin, 1_000_000, DELIVERED_MEANWHILE).await?;
    let what = format!("the same with xmin held over {DELIVERED_MEANWHILE} deliveries");
    let mut line = compare(bench, what, &held, &small, 3.0, 1.5).await?;
    line.notes.push(format!(
        "{WAITING} tickets wait in each; xmin: a transaction stays open while as many events are \
         written and delivered as in 60 s at 100/s"
    ));
    lines.push(line);
    forgotten.close().await?;
    held.close().await;
    small.close().await;
    Ok(lines)
}

async fn compare(
    bench: &Bench,
    what: String,
    large: &Database,
    small: &Database,
    floor: f64,
    goal: f64,
) -> Result<Line> {
    let claims = bench.settings.pick(200, 50);
    let [p50] = interleaved(
        &format!("R9 {what} (ms)"),
        bench.settings.rounds,
        async |_| Ok([claim_p50(&large.relay, claims).await?]),
        async |_| Ok([claim_p50(&small.relay, claims).await?]),
    )
    .await?;
    Ok(Line {
        id: "R9",
        what,
        ours: format!("{} ms", number(p50.ours())),
        baseline: format!("at 10^3 {} ms", number(p50.baseline())),
        figure: p50.ratio(),
        unit: "",
        good: Good::AtMost,
        floor,
        goal,
        notes: Vec::new(),
    })
}

async fn claim_p50(relay: &PgPool, claims: usize) -> Result<f64> {
    let partitions: Vec<u8> = (0..PARTITIONS).collect();
    let limits = ClaimLimits {
        tickets: 256,
        events_per_ticket: 100,
    };
    let mut times = Vec::with_capacity(claims);
    for _ in 0..claims {
        let begun = Instant::now();
        let found = outbox::claim(relay, &partitions, &[], limits).await?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        anyhow::ensure!(
            found.len() as i64 == WAITING,
            "{} tickets were found",
            found.len()
        );
    }
    Ok(Spread::of(times).median)
}

/// A database with so many delivered events, and a few that wait.
async fn filled(bench: &Bench, rows: i64) -> Result<Database> {
    crate::say(&format!("R9: delivering {rows} events"));
    let database = bench.unchecked_database("r9").await?;
    let admin = &database.admin;
    sqlx::query(
        "insert into tickets (tenant_id, id, doc, event_seq, chain_length, chain_head)
         select $1, id, $2::jsonb || jsonb_build_object('id', wire_id('tkt', id)), 1, 1, ''
         from (select lpad(to_hex(n), 32, '0')::uuid as id from generate_series(1, $3::bigint) n) t",
    )
    .bind(TENANT.tenant_id.as_uuid())
    .bind(json!({
        "tenant_id": TENANT.tenant_id, "state": "TRIAGED", "version": 1, "priority": "P1",
        "template": "emergency_glass", "site_id": TENANT.sites[0],
    }))
    .bind(TICKETS)
    .execute(admin)
    .await?;
    let mut done = 0;
    while done < rows {
        let step = STEP.min(rows - done);
        deliver(admin, done, step).await?;
        done += step;
    }
    insert(admin, 9_000_000_000, WAITING).await?;
    // What autovacuum would have come round to.
    sqlx::query("vacuum (analyze) outbox_events")
        .execute(admin)
        .await?;
    Ok(database)
}

async fn deliver(admin: &PgPool, first: i64, count: i64) -> Result<()> {
    insert(admin, first, count).await?;
    sqlx::query(
        "update outbox_events set pending = false, delivered_at = clock_timestamp()
         where pending and seq between $1::bigint / $3::bigint + 1 and ($1 + $2::bigint - 1) / $3 + 1",
    )
    .bind(first)
    .bind(count)
    .bind(TICKETS)
    .execute(admin)
    .await?;
    Ok(())
}

/// Pending events from the `first` on, ticket after ticket.
async fn insert(admin: &PgPool, first: i64, count: i64) -> Result<()> {
    let level = json!({
        "state": "TRIAGED", "version": 1, "template": "emergency_glass", "priority": "P1",
        "waiting_for": "assignment", "visit": 1, "sla": [], "open_approvals": [],
        "autonomy": "SHADOW", "kill_generation": 0,
    });
    sqlx::query(
        "insert into outbox_events
             (tenant_id, id, ticket_id, seq, event_type, event_version, payload, level, command_id,
              correlation_id, traceparent, occurred_at, pending)
         select $1, lpad(to_hex(n), 32, '0')::uuid, lpad(to_hex(n % $4 + 1), 32, '0')::uuid,
                n / $4 + 1, 'ticket.triaged', 1, '{}', $5, $6, 'c',
                '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', clock_timestamp(), true
         from generate_series($2::bigint, $2::bigint + $3::bigint - 1) n",
    )
    .bind(TENANT.tenant_id.as_uuid())
    .bind(first)
    .bind(count)
    .bind(TICKETS)
    .bind(level)
    .bind(Uuid::nil())
    .execute(admin)
    .await?;
    Ok(())
}
