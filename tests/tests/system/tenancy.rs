//! What keeps tenants apart when the code above forgets to: row-level security, asked of the
//! catalogue and of the application login itself.

use std::{collections::BTreeSet, time::Duration};

use contracts::{Operation, TenantId, TicketState};
use dispatch_tests::{
    database::Database,
    job::Job,
    servers,
    stack::{Stack, with_api},
    who::Who,
    world::Tenant,
};
use futures::future::join_all;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};
use store::TenantTx;

/// Tables with a column `tenant_id`.
async fn tenant_tables(admin: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select c.relname::text from pg_class c
         join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
         order by 1",
    )
    .fetch_all(admin)
    .await
    .unwrap()
}

#[test]
fn every_tenant_table_is_protected() {
    servers::run(async || {
        let database = Database::create().await;
        let tables = tenant_tables(&database.admin).await;
        assert!(tables.len() >= 18, "{tables:?}");
        for table in &tables {
            let (enabled, forced, owner, nullable): (bool, bool, String, bool) = sqlx::query_as(
                "select relrowsecurity, relforcerowsecurity, relowner::regrole::text,
                        not (select attnotnull from pg_attribute
                             where attrelid = c.oid and attname = 'tenant_id')
                 from pg_class c where c.oid = $1::regclass",
            )
            .bind(table)
            .fetch_one(&database.admin)
            .await
            .unwrap();
            assert!(
                enabled && forced,
                "{table}: enabled {enabled}, forced {forced}"
            );
            assert_eq!(owner, "dispatch_owner", "{table}");
            assert!(!nullable, "{table}.tenant_id may be null");

            // What binds the application: one policy for everything, read and written alike.
            let policies: Vec<(String, String, Option<String>, Option<String>)> = sqlx::query_as(
                "select policyname::text, cmd, qual, with_check from pg_policies
                 where schemaname = 'public' and tablename = $1
                   and roles && array['dispatch_app', 'public']::name[]",
            )
            .bind(table)
            .fetch_all(&database.admin)
            .await
            .unwrap();
            let [(name, command, using, check)] = policies.as_slice() else {
                panic!("{table}: one policy binds the application, not {policies:?}");
            };
            assert_eq!(command, "ALL", "{table}.{name}");
            assert_eq!(using, check, "{table}.{name}");
            let rule = using.as_deref().unwrap_or_default();
            assert!(
                rule.contains("tenant_id") && rule.contains("app.tenant_id"),
                "{table}: {rule}"
            );
        }
        // Keys and references begin with the tenant: nothing refers across.
        let crossing: Vec<String> = sqlx::query_scalar(
            "select conrelid::regclass || '.' || conname from pg_constraint
             where contype in ('p', 'f', 'u') and connamespace = 'public'::regnamespace
               and conrelid in (select attrelid from pg_attribute where attname = 'tenant_id')
               -- Found before it is known whose they are.
               and conname not in ('tenants_slug_key', 'api_keys_key_hash_key')
               and not (select attnum from pg_attribute
                        where attrelid = conrelid and attname = 'tenant_id') = any(conkey)",
        )
        .fetch_all(&database.admin)
        .await
        .unwrap();
        assert_eq!(crossing, [""; 0]);
        database.remove().await;
    });
}

#[test]
fn no_login_has_more_than_it_needs() {
    servers::run(async || {
        let database = Database::create().await;
        let logins: Vec<(String, bool, bool, bool, bool)> = sqlx::query_as(
            "select rolname::text, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb
             from pg_roles where rolname like 'dispatch\\_%'
               -- Made by the tests of `database.rls = \"off\"`, for the whole server.
               and rolname <> 'dispatch_app_norls' order by 1",
        )
        .fetch_all(&database.admin)
        .await
        .unwrap();
        assert!(logins.len() >= 4, "{logins:?}");
        for (name, superuser, bypass, roles, databases) in logins {
            assert!(!(superuser || bypass || roles || databases), "{name}");
        }
        // The application may neither become another role nor define anything.
        let (memberships, may_create): (i64, bool) = sqlx::query_as(
            "select (select count(*) from pg_auth_members where member = 'dispatch_app'::regrole),
                    has_schema_privilege('dispatch_app', 'public', 'create')",
        )
        .fetch_one(&database.admin)
        .await
        .unwrap();
        assert_eq!((memberships, may_create), (0, false));
        // Names are for dispatch-api, which serves the directory, and for nobody else.
        let readers: Vec<String> = sqlx::query_scalar(
            "select rolname::text from pg_roles
             where rolname like 'dispatch\\_%'
               and rolname not in ('dispatch_owner', 'dispatch_app_norls')
               and has_column_privilege(rolname, 'contacts', 'name', 'select')",
        )
        .fetch_all(&database.admin)
        .await
        .unwrap();
        assert_eq!(readers, ["dispatch_app"]);
        // The checker sees neither them nor what people wrote.
        for sql in [
            "select name from contacts",
            "select text from notes",
            "select * from notes",
        ] {
            let denied = sqlx::query(sql).execute(&database.maintenance).await;
            assert_eq!(sqlstate(denied), "42501", "{sql}");
        }
        database.remove().await;
    });
}

#[track_caller]
fn sqlstate<T: std::fmt::Debug>(result: Result<T, sqlx::Error>) -> String {
    let error = result.expect_err("it must be refused");
    let database = error.as_database_error().expect("the server refused it");
    database.code().expect("with a state").into_owned()
}

/// A transaction of the application login, bound to a tenant or to none.
async fn as_app(stack: &Stack, tenant: Option<TenantId>) -> Transaction<'static, Postgres> {
    let mut tx = stack.database().app.begin().await.unwrap();
    if let Some(tenant) = tenant {
        sqlx::query("select set_config('app.tenant_id', $1, true)")
            .bind(tenant.as_uuid().to_string())
            .execute(&mut *tx)
            .await
            .unwrap();
    }
    tx
}

async fn rows(connection: &mut PgConnection, table: &str) -> i64 {
    let column = if table == "contacts" {
        "id"
    } else {
        "tenant_id"
    };
    sqlx::query_scalar(AssertSqlSafe(format!(
        "select count({column}) from {table}"
    )))
    .fetch_one(connection)
    .await
    .unwrap_or_else(|error| panic!("{table}: {error}"))
}

/// Tables that the application may read at all.
const UNREADABLE: &[&str] = &["audit_checkpoints", "audit_sealed_heads"];

#[test]
fn without_a_tenant_there_are_no_rows_and_with_one_only_its_own() {
    with_api(async |stack| {
        for tenant in [stack.tenant(), stack.other()] {
            let mut job = Job::at(&stack, tenant, TicketState::Closed).await;
            job.does(Operation::AddNote).await;
        }
        let tables = tenant_tables(stack.admin()).await;
        let mut seen = BTreeSet::new();
        for table in tables
            .iter()
            .filter(|table| !UNREADABLE.contains(&table.as_str()))
        {
            let mut nobody = as_app(&stack, None).await;
            assert_eq!(
                rows(&mut nobody, table).await,
                0,
                "{table} without a tenant"
            );
            let mut stranger =
                as_app(&stack, Some(TenantId::from_uuid(uuid::Uuid::now_v7()))).await;
            assert_eq!(
                rows(&mut stranger, table).await,
                0,
                "{table} with another tenant"
            );
            let all = {
                let mut admin = stack.admin().acquire().await.unwrap();
                rows(&mut admin, table).await
            };
            let mut own = 0;
            for tenant in [stack.tenant(), stack.other()] {
                let mut tx = as_app(&stack, Some(tenant.id)).await;
                own += rows(&mut tx, table).await;
            }
            assert_eq!(own, all, "{table}");
            if all > 0 {
                seen.insert(table.as_str());
            }
        }
        // The test has to have something to see.
        for table in [
            "tickets",
            "visits",
            "notes",
            "audit_events",
            "outbox_events",
            "tenants",
        ] {
            assert!(seen.contains(table), "{table} is empty");
        }
    });
}

#[test]
fn a_row_of_another_tenant_cannot_be_written() {
    with_api(async |stack| {
        let theirs = Job::at(&stack, stack.other(), TicketState::New).await;
        let mut tx = as_app(&stack, Some(stack.tenant().id)).await;
        let planted = sqlx::query(
            "insert into notes (tenant_id, id, ticket_id, command_id, author_id, text, created_at)
             values ($1, gen_random_uuid(), $2, gen_random_uuid(), 'x', 'x', now())",
        )
        .bind(stack.other().id.as_uuid())
        .bind(theirs.id().as_uuid())
        .execute(&mut *tx)
        .await;
        assert_eq!(sqlstate(planted), "42501");
        drop(tx);

        // A reference across tenants finds nothing to refer to.
        let mut tx = as_app(&stack, Some(stack.tenant().id)).await;
        let planted = sqlx::query(
            "insert into notes (tenant_id, id, ticket_id, command_id, author_id, text, created_at)
             values ($1, gen_random_uuid(), $2, gen_random_uuid(), 'x', 'x', now())",
        )
        .bind(stack.tenant().id.as_uuid())
        .bind(theirs.id().as_uuid())
        .execute(&mut *tx)
        .await;
        assert_eq!(sqlstate(planted), "23503");
        drop(tx);

        // Their rows can neither be found to change nor be moved over.
        let mut tx = as_app(&stack, Some(stack.tenant().id)).await;
        let moved = sqlx::query("update tickets set doc = doc where id = $1")
            .bind(theirs.id().as_uuid())
            .execute(&mut *tx)
            .await
            .unwrap();
        assert_eq!(moved.rows_affected(), 0);
        let mine = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let given = sqlx::query("update visits set tenant_id = $1 where ticket_id = $2")
            .bind(stack.other().id.as_uuid())
            .bind(mine.id().as_uuid())
            .execute(&mut *tx)
            .await;
        assert_eq!(sqlstate(given), "42501");
    });
}

#[test]
fn a_pooled_connection_carries_no_tenant_on() {
    with_api(async |stack| {
        let (ours, theirs) = (stack.tenant().clone(), stack.other().clone());
        for tenant in [&ours, &theirs] {
            Job::at(&stack, tenant, TicketState::New).await;
        }
        let settings = store::PoolSettings {
            max_connections: 2,
            ..store::PoolSettings::new("pool-bleed")
        };
        let pool = store::connect(&stack.database().addresses.app, &settings)
            .await
            .unwrap();
        let swap = async |n: u64| {
            let tenant: &Tenant = if n.is_multiple_of(2) { &ours } else { &theirs };
            let work = async {
                let lock_timeout = Duration::from_secs(5);
                let mut tx = TenantTx::begin(&pool, tenant.id, lock_timeout)
                    .await
                    .unwrap();
                assert_eq!(tx.tenant_id(), tenant.id);
                let page = store::read::tickets(&mut tx, &Default::default())
                    .await
                    .unwrap();
                let seen: Vec<_> = page
                    .items
                    .iter()
                    .map(|item| item.ticket.tenant_id)
                    .collect();
                assert_eq!(seen, [tenant.id]);
                match n % 3 {
                    0 => tx.commit().await.unwrap(),
                    1 => tx.rollback().await.unwrap(),
                    _ => drop(tx),
                }
            };
            // Every fifth is cancelled somewhere in the middle.
            let patience = if n.is_multiple_of(5) {
                Duration::from_micros(n % 1_500)
            } else {
                Duration::from_secs(30)
            };
            let _ = tokio::time::timeout(patience, work).await;
        };
        for batch in 0..150_u64 {
            join_all((0..8).map(|n| swap(batch * 8 + n))).await;
        }
        // What is left in the pool belongs to nobody.
        for _ in 0..4 {
            let mut connection = pool.acquire().await.unwrap();
            let left: Option<String> =
                sqlx::query_scalar("select nullif(current_setting('app.tenant_id', true), '')")
                    .fetch_one(&mut *connection)
                    .await
                    .unwrap();
            assert_eq!(left, None);
            assert_eq!(rows(&mut connection, "tickets").await, 0);
        }
        pool.close().await;
    });
}

#[test]
fn lists_and_reads_hold_ones_own_tickets_only() {
    with_api(async |stack| {
        let mine = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let theirs = Job::at(&stack, stack.other(), TicketState::New).await;
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        let page = client.tickets(&Default::default()).await.unwrap();
        let ids: Vec<_> = page.items.iter().map(|item| item.ticket.id).collect();
        assert_eq!(ids, [mine.id()]);
        for (read, who) in [
            ("", Who::Dispatcher),
            ("/timeline", Who::Dispatcher),
            ("/proposals", Who::Dispatcher),
            ("/snapshot", Who::Workflow),
            ("/advisor-input?kind=triage", Who::Workflow),
        ] {
            let path = format!("/tickets/{}{read}", theirs.id());
            let reply = stack.ask(who, reqwest::Method::GET, &path).send().await;
            reply.no_attempt(contracts::ErrorCode::NotFound);
            assert!(!reply.text().contains(&theirs.tenant().id.to_string()));
            let own = stack.ask(
                who,
                reqwest::Method::GET,
                format!("/tickets/{}{read}", mine.id()),
            );
            let own = own.send().await;
            assert_eq!(own.status, 200, "{read}: {}", own.text());
        }
        // A site of theirs is a filter that finds nothing.
        let path = format!("/tickets?site_id={}", stack.other().site);
        let reply = stack
            .ask(Who::Dispatcher, reqwest::Method::GET, path)
            .send()
            .await;
        assert_eq!(reply.json()["items"], Value::Array(vec![]));
    });
}
