//! Many tenants over a few connections, with callers that go away, tasks that panic and sockets that
//! close, at whatever moment: nobody ever sees a row of another tenant, and what goes back to the
//! pool belongs to nobody.
//!
//! The same storm over code that sets the tenant for the session, as one would who knows no better,
//! is seen by the same eyes: what could not be seen would prove nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use contracts::{Operation, TenantId, TicketState};
use dispatch_tests::{
    database::Database,
    http::key,
    job::Job,
    servers,
    stack::{ApiOptions, Stack, with_api_options},
    wait::{self, BOUND},
    who::Who,
    world::Tenant,
};
use futures::{StreamExt, stream};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use sqlx::{PgConnection, PgPool, Row, postgres::PgPoolOptions};
use store::TenantTx;
use tokio::{io::AsyncWriteExt, net::TcpStream};

const TENANTS: usize = 10;
const CONNECTIONS: u32 = 2;
const CALLERS: usize = 12;
const ROUNDS: u64 = 4_000;
/// Of the long run.
const MANY: u64 = 50_000;

/// What was seen that must not be.
#[derive(Debug, Default)]
struct Seen {
    /// A connection from the pool that has a tenant.
    tenants: AtomicU64,
    /// A connection from the pool with a transaction open.
    transactions: AtomicU64,
    /// Rows of a tenant that was not asked for.
    strangers: AtomicU64,
    /// Connections looked at.
    looks: AtomicU64,
}

impl Seen {
    fn bad(&self) -> [u64; 3] {
        [&self.tenants, &self.transactions, &self.strangers].map(|count| count.load(Relaxed))
    }
}

/// A pool whose every connection is looked at before it is used again.
async fn watched(url: &str, seen: &Arc<Seen>) -> PgPool {
    let seen = Arc::clone(seen);
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(BOUND)
        .test_before_acquire(false)
        .before_acquire(move |connection, _| {
            let seen = Arc::clone(&seen);
            Box::pin(async move {
                // A simple query by itself begins with its transaction.
                let row = sqlx::raw_sql(
                    "select coalesce(current_setting('app.tenant_id', true), '') <> '',
                            now() <> statement_timestamp()",
                )
                .fetch_one(connection)
                .await?;
                let (tenant, open): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
                seen.looks.fetch_add(1, Relaxed);
                seen.tenants.fetch_add(u64::from(tenant), Relaxed);
                seen.transactions.fetch_add(u64::from(open), Relaxed);
                Ok(true)
            })
        })
        .connect(url)
        .await
        .unwrap()
}

/// How code binds a connection to a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binding {
    /// As ours does: for the transaction.
    Transaction,
    /// For the session, and back at the end, if the end is reached.
    Session,
}

/// How a caller ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Commit,
    Rollback,
    /// The transaction is let go of.
    Drop,
    /// The task panics with the transaction open.
    Panic,
}

/// A panic that nobody needs to read about.
fn on_purpose() {
    std::panic::resume_unwind(Box::new("on purpose"));
}

/// Rows that belong to somebody else.
async fn strangers(connection: &mut PgConnection, tenant: Option<TenantId>) -> u64 {
    let rows: i64 =
        sqlx::query_scalar("select count(*) from sites where $1::uuid is null or tenant_id <> $1")
            .bind(tenant.map(|tenant| tenant.as_uuid()))
            .fetch_one(connection)
            .await
            .unwrap_or_default();
    rows.unsigned_abs()
}

/// One caller's work, up to its end.
async fn work(pool: PgPool, seen: Arc<Seen>, binding: Binding, tenant: Tenant, end: End) {
    match binding {
        Binding::Transaction => {
            let Ok(mut tx) = TenantTx::begin(&pool, tenant.id, Duration::from_secs(5)).await else {
                return;
            };
            let filter = contracts::directory::DirectoryFilter::default();
            if let Ok(page) = store::read::sites(&mut tx, &filter).await {
                let own = page.items.iter().map(|site| site.id).eq([tenant.site]);
                seen.strangers.fetch_add(u64::from(!own), Relaxed);
            }
            match end {
                End::Commit => drop(tx.commit().await),
                End::Rollback => drop(tx.rollback().await),
                End::Drop => drop(tx),
                End::Panic => on_purpose(),
            }
        }
        Binding::Session => {
            let Ok(mut connection) = pool.acquire().await else {
                return;
            };
            let set = "select set_config('app.tenant_id', $1, false)";
            let bind = |value: String| sqlx::query(set).bind(value);
            let uuid = tenant.id.as_uuid().to_string();
            if bind(uuid).execute(&mut *connection).await.is_err() {
                return;
            }
            let others = strangers(&mut connection, Some(tenant.id)).await;
            seen.strangers.fetch_add(others, Relaxed);
            match end {
                End::Commit | End::Rollback => {
                    drop(bind(String::new()).execute(&mut *connection).await);
                }
                End::Drop => {}
                End::Panic => on_purpose(),
            }
        }
    }
}

/// Somebody who names no tenant.
async fn nobody(pool: PgPool, seen: Arc<Seen>) {
    if let Ok(mut connection) = pool.acquire().await {
        let others = strangers(&mut connection, None).await;
        seen.strangers.fetch_add(others, Relaxed);
    }
}

/// Thousands of callers, some of whom are cut off somewhere in the middle.
async fn storm(binding: Binding, rounds: u64) -> Arc<Seen> {
    let database = Database::create().await;
    let mut tenants = Vec::new();
    for _ in 0..TENANTS {
        tenants.push(Tenant::seed(&database.admin).await);
    }
    let seen = Arc::<Seen>::default();
    let pool = watched(&database.addresses.app, &seen).await;
    stream::iter(0..rounds)
        .for_each_concurrent(CALLERS, |round| {
            let (pool, seen) = (pool.clone(), Arc::clone(&seen));
            let mut dice = StdRng::seed_from_u64(round);
            let tenant = tenants[dice.random_range(0..TENANTS)].clone();
            let end = match dice.random_range(0..8) {
                0 => End::Panic,
                1 | 2 => End::Drop,
                3 => End::Rollback,
                _ => End::Commit,
            };
            let cut = dice
                .random_bool(0.4)
                .then(|| Duration::from_micros(dice.random_range(0..4_000)));
            let names_none = dice.random_bool(0.1);
            async move {
                let task = match names_none {
                    true => tokio::spawn(nobody(pool, seen)),
                    false => tokio::spawn(work(pool, seen, binding, tenant, end)),
                };
                let handle = task.abort_handle();
                match cut {
                    None => drop(task.await),
                    Some(after) => {
                        if tokio::time::timeout(after, task).await.is_err() {
                            handle.abort();
                        }
                    }
                }
            }
        })
        .await;
    // What is in the pool now belongs to nobody.
    let mut last = Vec::new();
    for _ in 0..CONNECTIONS {
        last.push(pool.acquire().await.unwrap());
    }
    drop(last);
    pool.close().await;
    database.remove().await;
    seen
}

fn leaves_nothing_behind(rounds: u64) {
    servers::run(async || {
        let seen = storm(Binding::Transaction, rounds).await;
        println!("{rounds} callers: {seen:?}");
        assert_eq!(seen.bad(), [0; 3], "tenants, transactions, strangers");
        assert!(seen.looks.load(Relaxed) > rounds / 2, "{seen:?}");
    });
}

#[test]
fn thousands_of_cut_off_callers_leave_nothing_behind() {
    leaves_nothing_behind(ROUNDS);
}

#[test]
#[ignore = "a long proof: run it with --ignored --nocapture"]
fn fifty_thousand_cut_off_callers_leave_nothing_behind() {
    leaves_nothing_behind(MANY);
}

#[test]
fn a_tenant_that_is_set_for_the_session_is_seen_to_bleed() {
    servers::run(async || {
        let seen = storm(Binding::Session, ROUNDS / 4).await;
        let [tenants, _, strangers] = seen.bad();
        assert!(tenants > 0 && strangers > 0, "{seen:?}");
    });
}

/// A request as bytes.
fn request(stack: &Stack, tenant: &Tenant, path: &str, body: Option<&str>) -> Vec<u8> {
    let (method, body) = match body {
        Some(body) => ("POST", body),
        None => ("GET", ""),
    };
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         idempotency-key: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        stack.address(),
        Who::Dispatcher.token(tenant),
        key(),
        body.len(),
    )
    .into_bytes()
}

/// Callers of dispatch-api that hang up, before the whole request is out or at any time after.
async fn hang_up(stack: &Stack, tenant: &Tenant, round: u64) {
    let mut dice = StdRng::seed_from_u64(round);
    let create = json!({
        "site_id": tenant.site, "template": "emergency_glass", "priority": "P2",
        "details": { "pane_count": 1 },
    })
    .to_string();
    let bytes = match dice.random_bool(0.5) {
        true => request(stack, tenant, "/api/v1/tickets", Some(&create)),
        false => request(stack, tenant, "/api/v1/tickets?limit=50", None),
    };
    let Ok(mut socket) = TcpStream::connect(stack.address()).await else {
        return;
    };
    let until = match dice.random_bool(0.2) {
        true => dice.random_range(0..bytes.len()),
        false => bytes.len(),
    };
    let patience = Duration::from_micros(dice.random_range(0..8_000));
    // It may have been closed from the other side.
    let _ = socket.write_all(&bytes[..until]).await;
    let _ = tokio::time::timeout(patience, socket.readable()).await;
}

#[test]
fn callers_that_hang_up_leave_no_tenant_and_no_transaction() {
    let options = ApiOptions {
        pool_size: CONNECTIONS,
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        let tenants = [stack.tenant().clone(), stack.other().clone()];
        for tenant in &tenants {
            Job::at(&stack, tenant, TicketState::New).await;
        }
        stream::iter(0..1_500_u64)
            .for_each_concurrent(CALLERS, |round| {
                let tenant = &tenants[usize::from(round % 2 == 1)];
                hang_up(&stack, tenant, round)
            })
            .await;
        // Commands that have begun are finished without their callers; then nobody is at work.
        wait::until("idle connections", BOUND, async || {
            let busy: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity where datname = current_database()
                    and application_name = 'dispatch-api' and state <> 'idle'",
            )
            .fetch_one(stack.admin())
            .await
            .unwrap();
            (busy == 0).then_some(()).ok_or(busy)
        })
        .await;
        let reads = (0..40).map(async |n: usize| {
            let tenant = &tenants[n % 2];
            let client = stack.client(tenant, Who::Dispatcher);
            let page = client.tickets(&Default::default()).await.unwrap();
            assert!(!page.items.is_empty());
            for item in page.items {
                assert_eq!(item.ticket.tenant_id, tenant.id);
            }
        });
        // A process with two connections takes few requests of a tenant at once.
        stream::iter(reads).buffer_unordered(4).count().await;
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        job.does(Operation::AddNote).await;
    });
}
