//! Exports that take their time: no more is read for a credential that has ended, and a reader who
//! pauses loses nothing.

use std::{net::SocketAddr, time::Duration};

use chrono::{TimeDelta, Utc};
use client::{CallOptions, Client, ClientError, Export};
use contracts::{
    ActorKind, ErrorCode, Role, Slug, TicketState, command::RevokeApiKey, read::DecisionFilter,
};
use dispatch_tests::{
    database::Database,
    job::Job,
    servers,
    software::{account, issue},
    stack::{ApiOptions, Stack, with_api},
    wait::{self, BOUND},
    who::{Who, mint},
};
use sqlx::AssertSqlSafe;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use url::Url;

/// Copies of a decision, and the bytes of each: more than all that is on its way can hold.
const COPIES: i32 = 4_000;
const BYTES: i32 = 16_000;

async fn pad(stack: &Stack) {
    Job::at(stack, stack.tenant(), TicketState::New).await;
    let copied = sqlx::query(
        "insert into policy_decisions
         select r.* from policy_decisions d, generate_series(1, $2) n,
                lateral jsonb_populate_record(d, jsonb_build_object(
                    'id', substr(d.id::text, 1, 24) || lpad(to_hex(n), 12, '0'),
                    'input', jsonb_build_object('pad', repeat('x', $3))::text)) r
          where d.tenant_id = $1
            and d.id = (select id from policy_decisions where tenant_id = $1 order by id limit 1)",
    )
    .bind(stack.tenant().id.as_uuid())
    .bind(COPIES)
    .bind(BYTES)
    .execute(stack.admin())
    .await
    .unwrap();
    assert_eq!(copied.rows_affected(), COPIES as u64);
}

/// Nobody made those: what is looked at when the test ends would say so.
async fn unpad(stack: &Stack) {
    let mut tx = stack.admin().begin().await.unwrap();
    for sql in [
        "set local session_replication_role = replica",
        "delete from policy_decisions where input like '{\"pad\"%'",
    ] {
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn until_refused(reader: &Client) {
    wait::until("the end of a credential", BOUND, async || {
        match reader.decisions(&DecisionFilter::default()).await {
            Err(error) if error.code() == Some(ErrorCode::Unauthenticated) => Ok(()),
            other => Err(other.map(|page| page.items.len())),
        }
    })
    .await;
}

/// What is still to come of it.
async fn rest(export: &mut Export) -> Result<usize, ClientError> {
    let mut bytes = 0;
    while let Some(part) = export.part().await? {
        bytes += part.len();
    }
    Ok(bytes)
}

#[test]
fn an_export_of_decisions_ends_with_the_key_that_asked_for_it() {
    with_api(async |stack| {
        pad(&stack).await;
        let admin = stack.client(stack.tenant(), Who::TenantAdmin);
        let roles = [Role::Auditor];
        let auditor = account(&admin, "audits", ActorKind::Integration, &roles, false).await;
        let key = issue(&admin, auditor).await;
        let reader = admin.with_token(key.expose());
        let filter = DecisionFilter::default();
        let mut whole = reader.export_decisions(&filter).await.unwrap();
        let all = rest(&mut whole).await.unwrap();
        assert!(all > (COPIES * BYTES) as usize, "{all}");

        let mut export = reader.export_decisions(&filter).await.unwrap();
        assert!(export.part().await.unwrap().is_some());
        let keys = admin.api_keys(None, Some(&key.prefix()), None, None).await;
        let revoke = RevokeApiKey {
            api_key_id: keys.unwrap().items[0].id,
            reason: Slug::new("leaked").unwrap(),
        };
        let options = CallOptions::default();
        admin.revoke_api_key(&revoke, &options).await.unwrap();
        until_refused(&reader).await;
        let ended = rest(&mut export).await;
        assert!(ended.is_err(), "{ended:?} bytes were read on, of {all}");
        unpad(&stack).await;
    });
}

#[test]
fn an_export_of_a_tenant_ends_with_the_token_that_asked_for_it() {
    with_api(async |stack| {
        pad(&stack).await;
        let (tenant, now) = (stack.tenant(), Utc::now());
        let mut claims = Who::TenantAdmin.claims(tenant, now);
        claims.exp = (now + TimeDelta::seconds(2)).timestamp();
        let admin = stack.client(tenant, Who::TenantAdmin);
        let reader = admin.with_token(mint(&claims));
        let mut export = reader.export_tenant(tenant.id).await.unwrap();
        assert!(export.part().await.unwrap().is_some());
        until_refused(&reader).await;
        let ended = rest(&mut export).await;
        assert!(ended.is_err(), "{ended:?} bytes were read on");
        let step = wait::until("its end on record", BOUND, async || {
            let steps: Vec<String> = sqlx::query_scalar(
                "select payload ->> 'step' from audit_events
                  where tenant_id = $1 and operation = 'record_tenant_export' order by written",
            )
            .bind(tenant.id.as_uuid())
            .fetch_all(stack.admin())
            .await
            .unwrap();
            match steps.as_slice() {
                [_, ended] => Ok(ended.clone()),
                _ => Err(steps),
            }
        });
        assert_eq!(step.await, "broken_off");
        unpad(&stack).await;
    });
}

/// A network to Postgres that holds whatever is sent: a statement's rows have left the server long before
/// they are read.
async fn wide(server: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(server).await.unwrap();
            for side in [&client, &server] {
                side.set_nodelay(true).unwrap();
            }
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let (sent, mut held) = mpsc::unbounded_channel();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let mut part = vec![0; 64 * 1024];
                while let Ok(n @ 1..) = from_server.read(&mut part).await {
                    if sent.send(part[..n].to_vec()).is_err() {
                        break;
                    }
                }
            });
            tokio::spawn(async move {
                while let Some(part) = held.recv().await {
                    if to_client.write_all(&part).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (address, task)
}

/// Whether the transaction of an export outlasts a pause in which it is asked for nothing.
async fn outlasts(stack: &Stack, pause: Duration) -> bool {
    wait::until("a pause of an export", BOUND, async || {
        let rested: Option<bool> = sqlx::query_scalar(
            "select state = 'idle in transaction'
                and clock_timestamp() - state_change > make_interval(secs => $1)
               from pg_stat_activity
              where datname = current_database() and usename = 'dispatch_app'
                and state in ('active', 'idle in transaction')
                and query like 'select to_jsonb(r)%'",
        )
        .bind(pause.as_secs_f64())
        .fetch_optional(stack.admin())
        .await
        .unwrap();
        match rested {
            None => Ok(false),
            Some(true) => Ok(true),
            Some(false) => Err("not yet"),
        }
    })
    .await
}

#[test]
fn an_export_of_a_tenant_waits_for_a_reader_who_pauses() {
    /// How long the login leaves a transaction alone that nobody uses.
    const USUAL: &str = "1s";
    const PAUSE: Duration = Duration::from_secs(3);
    servers::run(async || {
        let database = Database::create().await;
        let sql = format!(
            "alter role dispatch_app in database {}
                 set idle_in_transaction_session_timeout = '{USUAL}'",
            database.name
        );
        sqlx::query(AssertSqlSafe(sql))
            .execute(&database.admin)
            .await
            .unwrap();
        let server = Url::parse(&database.addresses.app).unwrap();
        let (address, network) = wide(server.socket_addrs(|| Some(5432)).unwrap()[0]).await;
        let options = ApiOptions {
            database_at: Some(address),
            ..ApiOptions::default()
        };
        let stack = Stack::on(database, options).await;
        pad(&stack).await;

        let reader = stack.client(stack.tenant(), Who::TenantAdmin);
        let mut export = reader.export_tenant(stack.tenant().id).await.unwrap();
        assert!(export.part().await.unwrap().is_some());
        assert!(outlasts(&stack, PAUSE).await, "the database broke it off");
        let read = rest(&mut export).await.unwrap();
        assert!(read > (COPIES * BYTES) as usize / 2, "{read}");
        unpad(&stack).await;
        stack.verify().await;
        stack.end().await;
        network.abort();
    });
}
