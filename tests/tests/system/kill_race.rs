//! The kill switch against software that acts at the same moment, many times over: by the order of
//! the commits, which is the order of their records in the write-ahead log and nobody's clock.
//!
//! A row names the transaction that wrote it (`xmin`), and the log has one COMMIT record for each
//! transaction; so every accepted attempt has a place in the order in which the database made it true.
//! Between the commit of an engagement and that of the next release there must be none of software's.
//! The same race is run against the same system without the locks, where it is lost: what the test
//! could not see would prove nothing.
//!
//! The switch over everything is turned in one tenant while the software of another acts, and another
//! tenant's control raises stages: only the lock over everything is common to them. That race is lost
//! without this one lock.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use contracts::{CommandId, ErrorCode, Operation, TicketState};
use dispatch_tests::{
    filing::{done, receipt},
    http::key,
    job::Job,
    servers,
    stack::{ApiOptions, Stack, with_api_options},
    wait::{self, BOUND},
    who::Who,
    world::Tenant,
};
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Postgres, pool::PoolConnection};
use tokio::sync::{Barrier, Notify};
use uuid::Uuid;

use crate::kill_switch::platform;

/// Callers that act at once, each on a ticket of its own: nothing but the switch stands between them.
const ACTORS: usize = 12;
/// Acts of each in one round.
const ACTS: usize = 4;
const ROUNDS: usize = 8;
/// The locks are left out: it may take some rounds until somebody slips through.
const MOST_ROUNDS: usize = 200;
/// What a tenant's control changes in a round: stages of their own, which stand in nobody's way.
const STAGES: [Operation; 8] = [
    Operation::Dispatch,
    Operation::ProposeSchedule,
    Operation::ConfirmSchedule,
    Operation::Reschedule,
    Operation::Complete,
    Operation::QaVerify,
    Operation::GenerateInvoice,
    Operation::Close,
];

fn options() -> ApiOptions {
    ApiOptions {
        pool_size: 24,
        ..ApiOptions::default()
    }
}

/// Software may triage by itself.
async fn let_software_triage(stack: &Stack, tenant: &Tenant) {
    sqlx::query(
        "insert into autonomy_stages (tenant_id, operation, mode, version, set_by, set_at, reason,
             command_id)
         values ($1, 'triage', 'AUTO', 1, 'test', now(), 'test', $2)",
    )
    .bind(tenant.id.as_uuid())
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

async fn jobs(stack: &Stack, tenant: &Tenant) -> Vec<(Who, Job)> {
    let jobs = (0..ACTORS).map(async |n| {
        let who = if n % 2 == 0 {
            Who::Agent
        } else {
            Who::Workflow
        };
        (who, Job::at(stack, tenant, TicketState::New).await)
    });
    join_all(jobs).await
}

async fn triage(stack: &Stack, who: Who, job: &Job) -> reqwest::Result<StatusCode> {
    let body = json!({ "priority": "P3", "details": { "pane_count": 1 } });
    let ask = stack
        .http()
        .command(Operation::Triage, Some(job.id()), &body);
    let reply = ask.token(who.token(job.tenant())).try_send().await?;
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

/// What an accepted attempt is: two people release what stops all tenants, with the word of the second.
macro_rules! what {
    () => {
        "case when a.changes #>> '{0,type}' = 'approval.requested' then 'asked'
              when a.changes #>> '{0,data,executed,type}' = 'kill_switch.released'
              then 'release_kill_switch' else a.operation end"
    };
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
    sqlx::query_scalar(concat!(
        "with committed as materialized (
             select r.xid, min(r.start_lsn) as lsn
               from wal.pg_get_wal_records_info($1::text::pg_lsn, $2::text::pg_lsn) r
              where r.resource_manager = 'Transaction' and r.record_type = 'COMMIT' group by r.xid)
         select ",
        what!(),
        " from audit_events a join committed c on c.xid = a.xmin
          where a.refused is null order by c.lsn",
    ))
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
            "triage" | "apply_stage_change" => lost += usize::from(engaged),
            _ => {}
        }
    }
    lost
}

/// The same in the order that the checker goes by.
async fn written(stack: &Stack) -> Vec<String> {
    sqlx::query_scalar(concat!(
        "select ",
        what!(),
        " from audit_events a where a.refused is null order by a.written"
    ))
    .fetch_all(stack.admin())
    .await
    .unwrap()
}

/// All rounds, on a dispatch-api however it reaches its database.
pub(crate) async fn race(stack: &Stack) {
    let_software_triage(stack, stack.tenant()).await;
    let jobs = jobs(stack, stack.tenant()).await;
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
    let written = written(stack).await;
    assert_eq!(lost(&written), 0, "{written:?}");
    let_go_of_log(log).await;
}

#[test]
fn nothing_of_software_commits_between_an_engagement_and_its_release() {
    with_api_options(options(), async |stack| race(&stack).await);
}

/// Changes that people of a tenant decided, whose time has come: what its control is to send.
async fn due_changes(stack: &Stack, tenant: &Tenant) -> Vec<Value> {
    let decided = STAGES.map(async |operation| {
        let change = CommandId::from_uuid(Uuid::now_v7());
        sqlx::query(
            "insert into stage_changes (tenant_id, command_id, operation, from_mode, to_mode, reason,
                 decided_by, decided_at, effective_at, stage_version)
             values ($1, $2, $3, 'SHADOW', 'APPROVE', 'test', 'test', now(), now(),
                 stage_version($1, $3, ''))",
        )
        .bind(tenant.id.as_uuid())
        .bind(change.as_uuid())
        .bind(operation.to_string())
        .execute(stack.admin())
        .await
        .unwrap();
        json!({ "change": change })
    });
    join_all(decided).await
}

/// Sends one as the tenant's control does; whether it came to be.
async fn apply(stack: &Stack, tenant: &Tenant, change: &Value) -> bool {
    let ask = stack
        .http()
        .command(Operation::ApplyStageChange, None, change);
    let reply = ask.token(Who::Workflow.token(tenant)).send().await;
    match reply.status.as_u16() {
        200 | 201 => true,
        403 => {
            reply.problem(ErrorCode::KillSwitch);
            false
        }
        // Behind an engagement; or it read the switches twice, and one was turned in between: which is
        // what happens without the locks.
        409 | 422 | 503 => false,
        other => panic!("{other}: {}", reply.text()),
    }
}

/// Stops all tenants, in the first one.
async fn engage_everything(stack: &Stack) {
    let body = json!({ "reason": "race", "scope": { "kind": "everything" } });
    let ask = stack
        .http()
        .command(Operation::EngageKillSwitch, None, &body);
    let first = platform(stack.tenant(), "usr_platform_1");
    receipt(&ask.token(first).send().await);
}

/// Lets all tenants go on: two people do.
async fn release_everything(stack: &Stack) {
    let body = json!({ "reason": "race", "scope": { "kind": "everything" } });
    let ask = stack
        .http()
        .command(Operation::ReleaseKillSwitch, None, &body);
    let first = platform(stack.tenant(), "usr_platform_1");
    let held = ask.token(first).send().await;
    assert_eq!(held.status, 202, "{}", held.text());
    let held = held.json()["approval"]["id"].as_str().unwrap().to_owned();
    let path = format!("/approvals/{held}/decide");
    let ask = stack.http().request(Method::POST, path);
    let second = platform(stack.tenant(), "usr_platform_2");
    let yes = ask.token(second).key(key());
    receipt(&yes.json(&json!({ "verdict": "approve" })).send().await);
}

/// One round: the software of one tenant acts and its control raises stages, and meanwhile all tenants
/// are stopped in another.
async fn round_over_everything(stack: &Stack, jobs: &[(Who, Job)], acts: &Cell<usize>) {
    let changes = due_changes(stack, stack.other()).await;
    let barrier = Barrier::new(jobs.len() + changes.len() + 1);
    let first = Notify::new();
    let actors = jobs.iter().map(async |(who, job)| {
        barrier.wait().await;
        for _ in 0..ACTS {
            if triage(stack, *who, job).await.unwrap() == StatusCode::OK {
                acts.set(acts.get() + 1);
            }
        }
    });
    let control = changes.iter().map(async |change| {
        barrier.wait().await;
        if apply(stack, stack.other(), change).await {
            acts.set(acts.get() + 1);
            first.notify_one();
        }
    });
    let turner = async {
        barrier.wait().await;
        // One comes to be: nothing stops it yet. The others are under way.
        first.notified().await;
        engage_everything(stack).await;
    };
    futures::join!(join_all(actors), join_all(control), turner);
    release_everything(stack).await;
    forget_hours(stack).await;
}

#[test]
fn nothing_of_another_tenant_commits_after_an_engagement_over_everything() {
    with_api_options(options(), async |stack| {
        let_software_triage(&stack, stack.other()).await;
        let jobs = jobs(&stack, stack.other()).await;
        let log = read_log(&stack).await;
        let since = log_end(&stack).await;
        let acts = Cell::new(0);
        for _ in 0..ROUNDS {
            round_over_everything(&stack, &jobs, &acts).await;
        }
        let order = commits(&stack, &since).await;
        let count = |operation: &str| order.iter().filter(|it| *it == operation).count();
        assert_eq!(count("engage_kill_switch"), ROUNDS);
        assert_eq!(count("release_kill_switch"), ROUNDS);
        let (triaged, raised) = (count("triage"), count("apply_stage_change"));
        assert_eq!(triaged + raised, acts.get(), "each act has its place");
        assert!(raised >= ROUNDS, "{raised}");
        let most = ROUNDS * (ACTORS * ACTS + STAGES.len());
        assert!(acts.get() < most, "{}", acts.get());
        assert_eq!(lost(&order), 0, "{order:?}");
        let written = written(&stack).await;
        assert_eq!(lost(&written), 0, "{written:?}");
        let_go_of_log(log).await;
    });
}

/// So many sessions wait for an advisory lock.
async fn waiting(stack: &Stack, wanted: i64) {
    wait::until("sessions that wait for a lock", BOUND, async || {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_locks l join pg_database d on d.oid = l.database
              where l.locktype = 'advisory' and not l.granted and d.datname = current_database()",
        )
        .fetch_one(stack.admin())
        .await
        .unwrap();
        (waiting == wanted).then_some(()).ok_or(waiting)
    })
    .await;
}

#[test]
fn an_engagement_over_everything_waits_for_a_stage_that_another_tenant_raises() {
    with_api_options(options(), async |stack| {
        let change = due_changes(&stack, stack.other()).await.swap_remove(0);
        // A command of that tenant's software that hangs: the change waits for its end.
        let mut slow = stack.admin().begin().await.unwrap();
        sqlx::query(
            "select pg_advisory_xact_lock_shared(hashtextextended('kill switch ' || $1, 0))",
        )
        .bind(stack.other().id.as_uuid().to_string())
        .execute(&mut *slow)
        .await
        .unwrap();
        let raise = {
            let stack = stack.clone();
            tokio::spawn(async move { apply(&stack, stack.other(), &change).await })
        };
        waiting(&stack, 1).await;
        let engage = {
            let stack = stack.clone();
            tokio::spawn(async move { engage_everything(&stack).await })
        };
        waiting(&stack, 2).await;
        slow.rollback().await.unwrap();
        assert!(raise.await.unwrap(), "nothing stopped it yet");
        engage.await.unwrap();
        let order = written(&stack).await;
        assert_eq!(order, ["apply_stage_change", "engage_kill_switch"]);
    });
}

/// The command transaction as it would be if it just read the switch, or that of this name.
async fn leave_out_the_locks(stack: &Stack, of: &str, least: usize) {
    let function: String = sqlx::query_scalar("select pg_get_functiondef('command_open'::regproc)")
        .fetch_one(stack.admin())
        .await
        .unwrap();
    let lock = format!("hashtextextended('kill switch {of}");
    let plain: Vec<&str> = function
        .lines()
        .filter(|line| !line.contains(&lock))
        .collect();
    let left_out = function.lines().count() - plain.len();
    assert!(left_out >= least, "{left_out}");
    sqlx::raw_sql(AssertSqlSafe(plain.join("\n")))
        .execute(stack.admin())
        .await
        .unwrap();
}

#[test]
fn without_the_locks_the_same_race_is_lost() {
    servers::run(async || {
        let stack = Stack::api(options()).await;
        let_software_triage(&stack, stack.tenant()).await;
        // Two of software, two of a turn, two of a stage.
        leave_out_the_locks(&stack, "", 6).await;
        let jobs = jobs(&stack, stack.tenant()).await;
        let acts = Cell::new(0);
        let rounds = Cell::new(0);
        is_lost(&stack, async || {
            round(&stack, &jobs, rounds.get(), &acts).await;
            rounds.set(rounds.get() + 1);
        })
        .await;
        stack.end().await;
    });
}

#[test]
fn without_the_lock_over_everything_the_race_of_two_tenants_is_lost() {
    servers::run(async || {
        let stack = Stack::api(options()).await;
        let_software_triage(&stack, stack.other()).await;
        // Of software, of a turn, of a stage. All others are there.
        leave_out_the_locks(&stack, "everything", 3).await;
        let jobs = jobs(&stack, stack.other()).await;
        let acts = Cell::new(0);
        is_lost(&stack, async || {
            round_over_everything(&stack, &jobs, &acts).await;
        })
        .await;
        stack.end().await;
    });
}

/// Sooner or later somebody slips through.
async fn is_lost(stack: &Stack, round: impl AsyncFn()) {
    let log = read_log(stack).await;
    let mut rounds = 0;
    let slipped = loop {
        let since = log_end(stack).await;
        round().await;
        rounds += 1;
        let slipped = lost(&commits(stack, &since).await);
        if slipped > 0 || rounds == MOST_ROUNDS {
            break slipped;
        }
    };
    assert!(slipped > 0, "nobody slipped through in {rounds} rounds");
    let_go_of_log(log).await;
}

#[test]
fn an_api_that_is_killed_meanwhile_leaves_nothing_that_was_not_allowed() {
    with_api_options(options(), async |stack| {
        let_software_triage(&stack, stack.tenant()).await;
        let jobs = jobs(&stack, stack.tenant()).await;
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
