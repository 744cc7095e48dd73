//! The kill switch against software that acts at the same moment, many times over: by the order of
//! the commits, which is the order of their records in the write-ahead log and nobody's clock.
//!
//! A row names the transaction that wrote it (`xmin`), and the log has one COMMIT record for each
//! transaction; so every accepted attempt has a place in the order in which the database made it true.
//! Between the commit of an engagement and that of the next release there must be none of software's.
//! The same race is run against the same system without the locks, where it is lost: what the test
//! could not see would prove nothing.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use contracts::{ErrorCode, Operation, TicketState};
use dispatch_tests::{
    filing::done,
    job::Job,
    servers,
    stack::{ApiOptions, Stack, with_api_options},
    wait::{self, BOUND},
    who::Who,
};
use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Postgres, pool::PoolConnection};
use tokio::sync::Barrier;
use uuid::Uuid;

/// Callers that act at once, each on a ticket of its own: nothing but the switch stands between them.
const ACTORS: usize = 12;
/// Acts of each in one round.
const ACTS: usize = 4;
const ROUNDS: usize = 8;
/// The locks are left out: it may take some rounds until somebody slips through.
const MOST_ROUNDS: usize = 200;

fn options() -> ApiOptions {
    ApiOptions {
        pool_size: 24,
        ..ApiOptions::default()
    }
}

/// Software may triage by itself.
async fn let_software_triage(stack: &Stack) {
    sqlx::query(
        "insert into autonomy_stages (tenant_id, operation, mode, version, set_by, set_at, reason,
             command_id)
         values ($1, 'triage', 'AUTO', 1, 'test', now(), 'test', $2)",
    )
    .bind(stack.tenant().id.as_uuid())
    .bind(Uuid::now_v7())
    .execute(stack.admin())
    .await
    .unwrap();
}

/// What counts acts of software has room for this test's.
async fn forget_hours(stack: &Stack) {
    sqlx::query("delete from autonomy_hours")
        .execute(stack.admin())
        .await
        .unwrap();
}

async fn jobs(stack: &Stack) -> Vec<(Who, Job)> {
    let jobs = (0..ACTORS).map(async |n| {
        let who = if n % 2 == 0 {
            Who::Agent
        } else {
            Who::Workflow
        };
        (who, Job::at(stack, stack.tenant(), TicketState::New).await)
    });
    join_all(jobs).await
}

async fn triage(stack: &Stack, who: Who, job: &Job) -> reqwest::Result<StatusCode> {
    let body = json!({ "priority": "P3", "details": { "pane_count": 1 } });
    let ask = stack.command(who, Operation::Triage, job.id(), &body);
    let reply = ask.try_send().await?;
    match reply.status.as_u16() {
        200 => {}
        403 => drop(reply.problem(ErrorCode::KillSwitch)),
        // Behind an engagement, or the database is gone with its API.
        409 | 503 => {}
        other => panic!("{other}: {}", reply.text()),
    }
    Ok(reply.status)
}

fn scope(of_triage: bool) -> Value {
    match of_triage {
        true => {
            json!({ "reason": "race", "scope": { "kind": "operation", "operation": "triage" } })
        }
        false => json!({ "reason": "race" }),
    }
}

/// One round: everybody acts, and at the same moment the switch is engaged; then it is released.
async fn round(stack: &Stack, jobs: &[(Who, Job)], n: usize, acts: &Cell<usize>) {
    let barrier = Barrier::new(jobs.len() + 1);
    // In half of the rounds the switch over this kind of command.
    let body = scope(n % 2 == 1);
    let actors = jobs.iter().map(async |(who, job)| {
        barrier.wait().await;
        for _ in 0..ACTS {
            if triage(stack, *who, job).await.unwrap() == StatusCode::OK {
                acts.set(acts.get() + 1);
            }
        }
    });
    let turner = async {
        barrier.wait().await;
        done(stack, Operation::EngageKillSwitch, Who::TenantAdmin, &body).await;
    };
    futures::join!(join_all(actors), turner);
    done(stack, Operation::ReleaseKillSwitch, Who::TenantAdmin, &body).await;
    forget_hours(stack).await;
}

/// Makes the log readable, and keeps it from being recycled while the connection is held.
async fn read_log(stack: &Stack) -> PoolConnection<Postgres> {
    let mut keeper = stack.admin().acquire().await.unwrap();
    sqlx::raw_sql("create schema wal; create extension pg_walinspect schema wal")
        .execute(&mut *keeper)
        .await
        .expect("pg_walinspect is among Postgres' own extensions");
    sqlx::query("select pg_create_physical_replication_slot(current_database(), true, true)")
        .execute(&mut *keeper)
        .await
        .unwrap();
    keeper
}

/// Ends the session that keeps the log.
async fn let_go_of_log(keeper: PoolConnection<Postgres>) {
    keeper.close().await.unwrap();
}

/// Where the log ends.
async fn log_end(stack: &Stack) -> String {
    sqlx::query_scalar("select pg_current_wal_insert_lsn()::text")
        .fetch_one(stack.admin())
        .await
        .unwrap()
}

/// The accepted attempts since then, in the order of their commits: whether each engages, releases,
/// or is software's.
async fn commits(stack: &Stack, since: &str) -> Vec<String> {
    let end = log_end(stack).await;
    wait::until("the log on disk", BOUND, async || {
        let flushed: bool =
            sqlx::query_scalar("select pg_current_wal_flush_lsn() >= $1::text::pg_lsn")
                .bind(&end)
                .fetch_one(stack.admin())
                .await
                .unwrap();
        flushed.then_some(()).ok_or("not yet")
    })
    .await;
    sqlx::query_scalar(
        "with committed as materialized (
             select r.xid, min(r.start_lsn) as lsn
               from wal.pg_get_wal_records_info($1::text::pg_lsn, $2::text::pg_lsn) r
              where r.resource_manager = 'Transaction' and r.record_type = 'COMMIT' group by r.xid)
         select a.operation from audit_events a join committed c on c.xid = a.xmin
          where a.refused is null order by c.lsn",
    )
    .bind(since)
    .bind(end)
    .fetch_all(stack.admin())
    .await
    .unwrap()
}

/// Acts of software between the commit of an engagement and that of the next release.
fn lost(order: &[String]) -> usize {
    let mut engaged = false;
    let mut lost = 0;
    for operation in order {
        match operation.as_str() {
            "engage_kill_switch" => engaged = true,
            "release_kill_switch" => engaged = false,
            "triage" => lost += usize::from(engaged),
            _ => {}
        }
    }
    lost
}

/// All rounds, on a dispatch-api however it reaches its database.
pub(crate) async fn race(stack: &Stack) {
    let_software_triage(stack).await;
    let jobs = jobs(stack).await;
    let log = read_log(stack).await;
    let since = log_end(stack).await;
    let acts = Cell::new(0);
    for n in 0..ROUNDS {
        round(stack, &jobs, n, &acts).await;
    }
    let order = commits(stack, &since).await;
    let count = |operation: &str| order.iter().filter(|it| *it == operation).count();
    assert_eq!(count("engage_kill_switch"), ROUNDS);
    assert_eq!(count("release_kill_switch"), ROUNDS);
    assert_eq!(count("triage"), acts.get(), "each act has its place");
    assert!(
        acts.get() > 0 && acts.get() < ROUNDS * ACTORS * ACTS,
        "{}",
        acts.get()
    );
    assert_eq!(lost(&order), 0, "{order:?}");
    // The order that the checker goes by is that of the commits.
    let written: Vec<String> = sqlx::query_scalar(
        "select operation from audit_events where refused is null
            and operation in ('engage_kill_switch', 'release_kill_switch', 'triage')
          order by written",
    )
    .fetch_all(stack.admin())
    .await
    .unwrap();
    assert_eq!(lost(&written), 0, "{written:?}");
    let_go_of_log(log).await;
}

#[test]
fn nothing_of_software_commits_between_an_engagement_and_its_release() {
    with_api_options(options(), async |stack| race(&stack).await);
}

/// The command transaction as it would be if it just read the switch.
async fn leave_out_the_locks(stack: &Stack) {
    let function: String = sqlx::query_scalar("select pg_get_functiondef('command_open'::regproc)")
        .fetch_one(stack.admin())
        .await
        .unwrap();
    let plain: Vec<&str> = function
        .lines()
        .filter(|line| !line.contains("hashtextextended('kill switch "))
        .collect();
    let left_out = function.lines().count() - plain.len();
    assert!(left_out >= 4, "two shared and two exclusive locks");
    sqlx::raw_sql(AssertSqlSafe(plain.join("\n")))
        .execute(stack.admin())
        .await
        .unwrap();
}

#[test]
fn without_the_locks_the_same_race_is_lost() {
    servers::run(async || {
        let stack = Stack::api(options()).await;
        let_software_triage(&stack).await;
        leave_out_the_locks(&stack).await;
        let jobs = jobs(&stack).await;
        let log = read_log(&stack).await;
        let acts = Cell::new(0);
        let mut rounds = 0;
        let slipped = loop {
            let since = log_end(&stack).await;
            round(&stack, &jobs, rounds, &acts).await;
            rounds += 1;
            let slipped = lost(&commits(&stack, &since).await);
            if slipped > 0 || rounds == MOST_ROUNDS {
                break slipped;
            }
        };
        assert!(slipped > 0, "nobody slipped through in {rounds} rounds");
        let_go_of_log(log).await;
        stack.end().await;
    });
}

#[test]
fn an_api_that_is_killed_meanwhile_leaves_nothing_that_was_not_allowed() {
    with_api_options(options(), async |stack| {
        let_software_triage(&stack).await;
        let jobs = jobs(&stack).await;
        let log = read_log(&stack).await;
        let since = log_end(&stack).await;
        for _ in 0..3 {
            let barrier = Barrier::new(jobs.len() + 2);
            let key = RefCell::new(None);
            let actors = jobs.iter().map(async |(who, job)| {
                barrier.wait().await;
                while triage(&stack, *who, job)
                    .await
                    .is_ok_and(|status| status == StatusCode::OK)
                {}
            });
            let turner = async {
                barrier.wait().await;
                let ask = stack.command(
                    Who::TenantAdmin,
                    Operation::EngageKillSwitch,
                    None,
                    &scope(false),
                );
                // Whether it took effect is not known: that is what a lost answer is.
                *key.borrow_mut() = ask.try_send().await.ok().map(|reply| reply.status);
            };
            let killer = async {
                barrier.wait().await;
                somebody_is_at_work(&stack).await;
                stack.kill_api();
            };
            futures::join!(join_all(actors), turner, killer);
            stack.start_api().await;
            let client = stack.client(stack.tenant(), Who::TenantAdmin);
            if !client.kill_switch().await.unwrap().engaged {
                done(
                    &stack,
                    Operation::EngageKillSwitch,
                    Who::TenantAdmin,
                    &scope(false),
                )
                .await;
            }
            for (who, job) in &jobs {
                let status = triage(&stack, *who, job).await.unwrap();
                assert_eq!(status, StatusCode::FORBIDDEN);
            }
            done(
                &stack,
                Operation::ReleaseKillSwitch,
                Who::TenantAdmin,
                &scope(false),
            )
            .await;
            forget_hours(&stack).await;
        }
        let order = commits(&stack, &since).await;
        assert!(order.iter().any(|operation| operation == "triage"));
        assert_eq!(lost(&order), 0, "{order:?}");
        let_go_of_log(log).await;
    });
}

/// A command is in its transaction.
async fn somebody_is_at_work(stack: &Stack) {
    wait::until("a command in its transaction", BOUND, async || {
        let busy: bool = sqlx::query_scalar(
            "select exists (select from pg_stat_activity
              where datname = current_database() and usename = 'dispatch_app'
                and xact_start is not null)",
        )
        .fetch_one(stack.admin())
        .await
        .unwrap();
        busy.then_some(()).ok_or("none")
    })
    .await;
}

#[test]
fn an_engagement_outwaits_a_command_that_takes_longer_than_others_wait() {
    with_api_options(options(), async |stack| {
        // A command of software that hangs, holding what it holds.
        let mut slow = stack.admin().begin().await.unwrap();
        sqlx::query(
            "select pg_advisory_xact_lock_shared(hashtextextended('kill switch ' || $1, 0))",
        )
        .bind(stack.tenant().id.as_uuid().to_string())
        .execute(&mut *slow)
        .await
        .unwrap();
        let engage = {
            let stack = stack.clone();
            tokio::spawn(async move {
                done(
                    &stack,
                    Operation::EngageKillSwitch,
                    Who::TenantAdmin,
                    &scope(false),
                )
                .await
            })
        };
        // Other commands give up after three seconds.
        let patience = Duration::from_secs(4);
        wait::until("an engagement that waits on", BOUND, async || {
            let waits: bool = sqlx::query_scalar(
                "select exists (select from pg_locks l join pg_stat_activity a using (pid)
                  where not l.granted and l.locktype = 'advisory'
                    and a.datname = current_database()
                    and clock_timestamp() - l.waitstart > make_interval(secs => $1))",
            )
            .bind(patience.as_secs_f64())
            .fetch_one(stack.admin())
            .await
            .unwrap();
            waits.then_some(()).ok_or("not yet")
        })
        .await;
        assert!(!engage.is_finished());
        slow.rollback().await.unwrap();
        assert_eq!(engage.await.unwrap().produced_version, 1);
    });
}
