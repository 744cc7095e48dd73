//! The audit log is append-only by right and by trigger, chained, and sealed.

use contracts::{Operation, TicketState};
use dispatch_tests::{
    database::Database,
    job::Job,
    servers,
    stack::{ApiOptions, SEALING_KEY, Stack, with_api},
    wait,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::seal::{SealingKey, seal};

/// Statements that would rewrite the log, for each table that must not be rewritten.
fn rewrites() -> Vec<String> {
    ["audit_events", "policy_decisions", "audit_checkpoints"]
        .iter()
        .flat_map(|table| {
            [
                format!("update {table} set tenant_id = tenant_id"),
                format!("delete from {table}"),
                format!("truncate {table} cascade"),
            ]
        })
        .collect()
}

async fn state(connection: &mut PgConnection, sql: &str) -> String {
    let result = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await;
    let error = result.err().unwrap_or_else(|| panic!("{sql} was done"));
    let database = error
        .as_database_error()
        .unwrap_or_else(|| panic!("{sql}: {error}"));
    database.code().expect("with a state").into_owned()
}

#[test]
fn nobody_rewrites_the_log() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let addresses = &stack.database().addresses;
        for (login, url, refused) in [
            ("app", &addresses.app, "42501"),
            ("relay", &addresses.relay, "42501"),
            ("maintenance", &addresses.maintenance, "42501"),
            // The owner has the right, so the trigger says no.
            ("owner", &addresses.owner, "RD001"),
        ] {
            let mut connection = PgConnection::connect(url).await.unwrap();
            sqlx::query("select set_config('app.tenant_id', $1, false)")
                .bind(job.tenant().id.as_uuid().to_string())
                .execute(&mut connection)
                .await
                .unwrap();
            for sql in rewrites() {
                assert_eq!(
                    state(&mut connection, &sql).await,
                    refused,
                    "{login}: {sql}"
                );
            }
        }
        // The application may not switch the guard off either.
        let mut app = PgConnection::connect(&addresses.app).await.unwrap();
        for sql in [
            "alter table audit_events disable trigger append_only",
            "drop trigger append_only on audit_events",
            "set session_replication_role = replica",
            "alter table audit_events no force row level security",
        ] {
            assert_eq!(state(&mut app, sql).await, "42501", "{sql}");
        }
    });
}

#[test]
fn heads_are_sealed_while_the_api_runs_and_when_it_stops() {
    servers::run(async || {
        let stack = Stack::api(ApiOptions::default()).await;
        let mut job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        wait::until("the heads are sealed", wait::BOUND, || sealed(&stack, &job)).await;
        job.does(Operation::AddNote).await;
        stack.stop_api().await;
        sealed(&stack, &job)
            .await
            .expect("the last seal is made at the end");
        stack.verify().await;
        stack.end().await;
    });
}

/// Whether the whole chain of a ticket is in a checkpoint.
async fn sealed(stack: &Stack, job: &Job) -> Result<(), (i64, Option<i64>)> {
    let lengths: (i64, Option<i64>) = sqlx::query_as(
        "select chain_length, (select max((head ->> 1)::bigint) from audit_checkpoints c,
                                      jsonb_array_elements(c.heads) head
                               where c.tenant_id = t.tenant_id and head ->> 0 like '%' || $2)
         from tickets t where id = $1",
    )
    .bind(job.id().as_uuid())
    .bind(job.id().to_string())
    .fetch_one(stack.admin())
    .await
    .unwrap();
    if lengths.1 == Some(lengths.0) {
        Ok(())
    } else {
        Err(lengths)
    }
}

#[test]
fn a_backlog_of_any_size_is_sealed() {
    servers::run(async || {
        const CHAINS: usize = 6_000;
        let database = Database::create().await;
        // Chains that ended an hour ago, while no sealer ran.
        let mut connection = database.admin.acquire().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!(
            "set session_replication_role = replica;
             insert into audit_events
                 (tenant_id, stream, position, id, command_id, decision_id, decision_sha256,
                  bundle_sha256, request_id, correlation_id, trace_id, actor_id, actor_kind,
                  actor_roles, operation, at,
                  applied_to_version, produced_version, payload, changes, chain_hash, recorded_at)
             select gen_random_uuid(), 'actor:' || n, 1, gen_random_uuid(), gen_random_uuid(),
                    gen_random_uuid(), '', '', 'r', 'c', 't', 'a', 'person', '[]', 'add_note', now(),
                    0, 0, '{{}}', '[]', sha256('x'), now() - interval '1 hour'
             from generate_series(1, {CHAINS}) n"
        )))
        .execute(&mut *connection)
        .await
        .unwrap();
        // The guards are off on this connection only: it does not go back to the pool.
        connection.close().await.unwrap();
        let key = SealingKey::new(SEALING_KEY);
        // The sealer fails after its first pass, which took as many chains as one may: what it left
        // is not taken for sealed.
        const FAILS_LATER: &str = "create sequence sealed;
             create function fail_later() returns trigger language plpgsql security definer as $$
             begin
                 if nextval('sealed') > 5000 then raise 'planted'; end if;
                 return new;
             end $$;
             create trigger fail_later before insert on audit_checkpoints
                 for each row execute function fail_later()";
        let run = async |sql| sqlx::raw_sql(sql).execute(&database.admin).await.unwrap();
        run(FAILS_LATER).await;
        seal(&database.maintenance, &key).await.unwrap_err();
        run("drop trigger fail_later on audit_checkpoints").await;
        // Its lock is free once its transaction has ended, which nobody waits for.
        let ended = "select not exists (select from pg_locks where locktype = 'advisory'
                         and database = (select oid from pg_database where datname = current_database()))";
        wait::until("the failed pass has ended", wait::BOUND, async || {
            let ended: bool = sqlx::query_scalar(ended)
                .fetch_one(&database.admin)
                .await
                .unwrap();
            if ended { Ok(()) } else { Err("locked") }
        })
        .await;
        let rest = seal(&database.maintenance, &key).await.unwrap();
        assert_eq!(rest, CHAINS - 5_000);
        assert_eq!(seal(&database.maintenance, &key).await.unwrap(), 0);
        database.remove().await;
    });
}
