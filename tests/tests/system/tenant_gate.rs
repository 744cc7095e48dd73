//! What is done in a tenant while it is turned: a look at where it stands that a turn overtakes.
//!
//! The look is held where nobody else can hold it, within its first statement: by a policy of the test's
//! own on the tenants' rows, in the one session that asks for it.

use std::time::Duration;

use contracts::{Operation, TicketState};
use dispatch_tests::{
    http::key,
    job::Job,
    software::platform_token,
    stack::{Stack, with_api},
    wait::{self, BOUND},
};
use serde_json::json;
use sqlx::{
    PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use store::{
    TenantTx,
    sending::{self, Begun, Target},
};

use crate::last_look;

/// Longer than anything here waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// Cheaper than a comparison, so that it comes before one.
const PLANT: &str = "
    create function trial_hold() returns boolean
    language plpgsql volatile security definer cost 0.0001 as $$
    begin
        if current_setting('trial.hold', true) = 'on' then
            perform set_config('trial.hold', 'off', false);
            perform pg_advisory_xact_lock_shared(4711);
        end if;
        return true;
    end
    $$;
    create policy trial on tenants as restrictive for select to dispatch_app, dispatch_comms
        using (trial_hold());";

async fn run(stack: &Stack, sql: &'static str) {
    sqlx::raw_sql(sql).execute(stack.admin()).await.unwrap();
}

/// A session whose first look at a tenant is held.
async fn holding(url: &str) -> PgPool {
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.options([("trial.hold", "on")]);
    let pool = PgPoolOptions::new().max_connections(1);
    pool.connect_with(options).await.unwrap()
}

async fn hold(stack: &Stack) -> Transaction<'static, Postgres> {
    let mut tx = stack.admin().begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(4711)")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx
}

/// Turns the tenant while somebody looks at it, and lets the look go on.
async fn turned_meanwhile(
    stack: &Stack,
    held: Transaction<'static, Postgres>,
    operation: Operation,
) {
    wait::until("the look is held", BOUND, async || {
        let held: i64 = sqlx::query_scalar(
            "select count(*) from pg_locks l join pg_database d on d.oid = l.database
              where l.locktype = 'advisory' and l.objid = 4711 and not l.granted
                and d.datname = current_database()",
        )
        .fetch_one(stack.admin())
        .await
        .unwrap();
        (held == 1).then_some(()).ok_or(held)
    })
    .await;
    turn(stack, operation).await;
    held.rollback().await.unwrap();
}

async fn turn(stack: &Stack, operation: Operation) {
    let path = operation
        .path()
        .replace("{id}", &stack.tenant().id.to_string());
    let ask = stack.http().post(path).key(key());
    let ask = ask.token(platform_token(stack.other().id));
    let reply = ask.json(&json!({ "reason": "tests" })).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// Whether a turn of the tenant would come at once.
async fn is_free(stack: &Stack) -> bool {
    let mut tx = stack.admin().begin().await.unwrap();
    let free = sqlx::query_scalar(
        "select pg_try_advisory_xact_lock(hashtextextended('tenant ' || $1::uuid, 0))",
    )
    .bind(stack.tenant().id.as_uuid())
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    tx.rollback().await.unwrap();
    free
}

#[test]
fn what_is_told_that_its_tenant_is_active_keeps_a_suspension_waiting() {
    with_api(async |stack| {
        run(&stack, PLANT).await;
        let url = &stack.database().addresses.app;
        let tenant = stack.tenant().id;
        // What a command does first, told what the first look saw or what is; and whether that lasts.
        let look = async |meanwhile: Operation| {
            let pool = holding(url).await;
            let mut tx = TenantTx::begin(&pool, tenant, PATIENCE).await.unwrap();
            let held = hold(&stack).await;
            let turned = turned_meanwhile(&stack, held, meanwhile);
            let (active, ()) = tokio::join!(tx.is_active(), turned);
            let found = (active.unwrap(), is_free(&stack).await);
            tx.rollback().await.unwrap();
            pool.close().await;
            found
        };
        // It was active when it was looked at first: that counts for nothing.
        assert_eq!(look(Operation::SuspendTenant).await, (false, false));
        // It was suspended, and is active now: who is told so has to hold it.
        assert_eq!(look(Operation::ResumeTenant).await, (false, true));
        // Nothing comes in between.
        let mut tx = TenantTx::begin(&stack.database().app, tenant, PATIENCE)
            .await
            .unwrap();
        let found = (tx.is_active().await.unwrap(), is_free(&stack).await);
        assert_eq!(found, (true, false));
        tx.rollback().await.unwrap();
        run(&stack, "drop function trial_hold cascade").await;
    });
}

#[test]
fn no_try_to_send_begins_beside_a_suspension() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let message = job.does(Operation::CommsOutbound).await.message_id.unwrap();
        sqlx::query(
            "update comms_queue set next_at = case when message_id = $1 then now()
                                                   else now() + interval '1 day' end",
        )
        .bind(message.as_uuid())
        .execute(stack.admin())
        .await
        .unwrap();
        let sender = last_look::pool(&stack).await;
        let claimed = sending::claim(&sender, last_look::lease(), 1)
            .await
            .unwrap();
        let claimed = claimed[0].key;
        assert_eq!(claimed.1, message);
        turn(&stack, Operation::SuspendTenant).await;

        run(&stack, PLANT).await;
        let pool = holding(&stack.database().addresses.comms).await;
        let target = Target {
            endpoint: "provider",
            keyed: true,
            retry_unknown: true,
        };
        let held = hold(&stack).await;
        let (begun, ()) = tokio::join!(
            sending::begin(&pool, claimed, last_look::lease(), target),
            turned_meanwhile(&stack, held, Operation::ResumeTenant),
        );
        let scope = "tenant_suspended".to_owned();
        assert_eq!(begun.unwrap(), Begun::Held { scope });
        run(&stack, "drop function trial_hold cascade").await;
        pool.close().await;
        sender.close().await;
    });
}
