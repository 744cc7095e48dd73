//! The audit log is append-only by right and by trigger, chained, and sealed.

use contracts::{Operation, TicketState};
use dispatch_tests::{
    job::Job,
    servers,
    stack::{ApiOptions, Stack, with_api},
    wait,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

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
