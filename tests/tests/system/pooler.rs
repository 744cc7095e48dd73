//! Behind a pooler in transaction mode: what works there gives the right answers, however few the
//! connections are, and what cannot work there says so before it does harm.

use std::{collections::BTreeSet, path::Path, time::Duration};

use contracts::{Operation, TicketState};
use dispatch_tests::{
    job::Job,
    pooler::Pooler,
    servers, shell,
    stack::{ApiOptions, SEALING_KEY, Stack},
    who::Who,
};
use futures::future::join_all;
use store::{
    PoolSettings,
    session::{self, Session},
    verify::{Options, verify},
};
use tokio_util::sync::CancellationToken;

use crate::kill_race;

/// Connections to Postgres; callers are many more.
const CONNECTIONS: u32 = 3;
const CLIENTS: usize = 24;
const ROUNDS: usize = 3;

/// A dispatch-api that would have sixteen connections to the database, and gets three.
fn with_pooler<F>(test: impl FnOnce(Stack, Pooler) -> F + Send)
where
    F: Future<Output = Pooler>,
{
    servers::run(async || {
        let pooler = Pooler::start(CONNECTIONS, &[]).await;
        let options = ApiOptions {
            pool_size: 16,
            database_at: Some(pooler.address()),
            // Tests seal themselves.
            sealing_interval: Duration::from_secs(3600),
            ..ApiOptions::default()
        };
        let stack = Stack::api(options).await;
        let pooler = test(stack.clone(), pooler).await;
        stack.verify().await;
        stack.end().await;
        pooler.end().await;
    });
}

#[test]
fn many_callers_of_two_tenants_get_their_own_answers_over_three_connections() {
    with_pooler(async |stack, pooler| {
        let clients = (0..CLIENTS).map(|n| {
            let stack = stack.clone();
            async move {
                let (tenant, other) = match n % 2 {
                    0 => (stack.tenant(), stack.other()),
                    _ => (stack.other(), stack.tenant()),
                };
                let client = stack.client(tenant, Who::Dispatcher);
                let stranger = stack.client(other, Who::Dispatcher);
                let mut mine = Vec::new();
                for _ in 0..ROUNDS {
                    let mut job = Job::at(&stack, tenant, TicketState::Triaged).await;
                    job.does(Operation::AddNote).await;
                    let page = client.tickets(&Default::default()).await.unwrap();
                    assert!(page.items.iter().any(|item| item.ticket.id == job.id()));
                    for item in &page.items {
                        assert_eq!(item.ticket.tenant_id, tenant.id);
                    }
                    let refused = stranger.ticket(job.id()).await.unwrap_err();
                    assert_eq!(refused.code(), Some(contracts::ErrorCode::NotFound));
                    mine.push(job.id());
                }
                mine
            }
        });
        let made: Vec<_> = join_all(clients).await.into_iter().flatten().collect();
        assert_eq!(made.len(), CLIENTS * ROUNDS);
        assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), made.len());
        let (tickets, connections): (i64, i64) = sqlx::query_as(
            "select (select count(*) from tickets),
                    (select count(*) from pg_stat_activity where datname = current_database()
                        and application_name = 'dispatch-api')",
        )
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert_eq!(tickets, i64::try_from(made.len()).unwrap());
        assert!(
            (1..=i64::from(CONNECTIONS)).contains(&connections),
            "{connections} connections: the pooler was to share {CONNECTIONS}"
        );
        pooler
    });
}

#[test]
fn the_kill_switch_holds_over_a_pooler() {
    with_pooler(async |stack, pooler| {
        kill_race::race(&stack).await;
        pooler
    });
}

#[test]
fn the_sealer_and_the_checker_work_over_a_pooler() {
    with_pooler(async |stack, pooler| {
        Job::at(&stack, stack.tenant(), TicketState::Closed).await;
        let url = pooler.through(&stack.database().addresses.maintenance);
        let pool = store::connect(&url, &PoolSettings::new("through"))
            .await
            .unwrap();
        // Its last act is a seal.
        let stop = CancellationToken::new();
        stop.cancel();
        let every = Duration::from_secs(1);
        store::seal::run(pool.clone(), SEALING_KEY.into(), every, stop).await;
        let options = Options {
            sealing_key: Some(store::seal::SealingKey::new(SEALING_KEY)),
            delivery_within: None,
            sealed_within: Some(every * 60),
        };
        let report = verify(&pool, &options).await.unwrap();
        assert!(report.tickets == 1 && report.checkpoints > 0, "{report:?}");
        assert_eq!(report.violations, []);
        pool.close().await;
        pooler
    });
}

/// What `dispatch doctor --json` says of a part.
async fn diagnosis(folder: &Path, part: &str, variables: &[(&str, &str)]) -> serde_json::Value {
    let ended = shell::run(folder, &["doctor", "--json"], variables).await;
    let document: serde_json::Value = serde_json::from_str(&ended.out)
        .unwrap_or_else(|error| panic!("{error}: {}{}", ended.out, ended.err));
    let checks = document["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["part"] == part);
    found
        .unwrap_or_else(|| panic!("no {part}: {document}"))
        .clone()
}

/// Has the pooler open so many connections to the server.
async fn fill(url: &str, connections: usize) {
    let pool = store::connect(url, &PoolSettings::new("fill"))
        .await
        .unwrap();
    let held = join_all((0..connections).map(|_| pool.begin())).await;
    assert!(held.iter().all(Result::is_ok));
    drop(held);
    pool.close().await;
}

#[test]
fn what_needs_a_session_of_its_own_is_told_that_it_has_none() {
    servers::run(async || {
        let stack = Stack::api(ApiOptions::default()).await;
        let addresses = &stack.database().addresses;
        let one = Pooler::start(1, &[]).await;
        for url in [&addresses.owner, &addresses.relay] {
            let through = session::probe(&one.through(url)).await.unwrap();
            assert_eq!(through, Session::Shared);
            assert_eq!(session::probe(url).await.unwrap(), Session::Own);
        }
        // With one connection all meet there; with turns taken none is met twice in a row.
        let turns = Pooler::start(4, &[("server_round_robin", "1")]).await;
        let relay = turns.through(&addresses.relay);
        fill(&relay, 4).await;
        assert_eq!(session::probe(&relay).await.unwrap(), Session::Shared);

        let folder = tempfile::tempdir().unwrap();
        let run = async |arguments: &[&str], variables: &[(&str, &str)]| {
            shell::run(folder.path(), arguments, variables).await
        };
        let owner = one.through(&addresses.owner);
        let variables = [("DISPATCH_DATABASE_OWNER_URL", owner.as_str())];
        let ended = run(&["migrate", "--skip-temporal"], &variables).await;
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        for part in [
            "database.owner_url",
            "nothing was migrated",
            "pooler in transaction mode",
        ] {
            assert!(ended.err.contains(part), "no {part:?} in {}", ended.err);
        }
        // No lock of the attempt is left behind on a shared connection.
        let variables = [("DISPATCH_DATABASE_OWNER_URL", addresses.owner.as_str())];
        let ended = run(&["migrate", "--skip-temporal"], &variables).await;
        assert_eq!(ended.code, Some(0), "{}", ended.err);

        let relay = one.through(&addresses.relay);
        let through = [("DISPATCH_DATABASE_RELAY_URL", relay.as_str())];
        let check = diagnosis(folder.path(), "session of dispatch_relay", &through).await;
        assert_eq!(check["ok"], false, "{check}");
        assert!(
            check["to_do"]
                .as_str()
                .unwrap()
                .contains("`database.relay_url`"),
            "{check}"
        );
        let direct = [("DISPATCH_DATABASE_RELAY_URL", addresses.relay.as_str())];
        let check = diagnosis(folder.path(), "session of dispatch_relay", &direct).await;
        assert_eq!(check["ok"], true, "{check}");
        stack.end().await;
        one.end().await;
        turns.end().await;
    });
}

#[test]
fn a_pooler_that_mixes_up_prepared_statements_is_refused_at_the_start() {
    servers::run(async || {
        let stack = Stack::api(ApiOptions::default()).await;
        let addresses = &stack.database().addresses;
        // What every release before 1.21 does.
        let old = Pooler::start(1, &[("max_prepared_statements", "0")]).await;
        let app = old.through(&addresses.app);
        assert!(!session::carries_statements(&app).await.unwrap());
        assert!(session::carries_statements(&addresses.app).await.unwrap());
        let new = Pooler::start(1, &[]).await;
        assert!(
            session::carries_statements(&new.through(&addresses.app))
                .await
                .unwrap()
        );

        let folder = tempfile::tempdir().unwrap();
        let secret = "0123456789abcdef0123456789abcdef";
        let variables = [
            ("DISPATCH_DATABASE_APP_URL", app.as_str()),
            (
                "DISPATCH_DATABASE_MAINTENANCE_URL",
                addresses.maintenance.as_str(),
            ),
            ("DISPATCH_AUTH_JWT_SECRET", secret),
            ("DISPATCH_AUDIT_SEAL_KEY", secret),
            ("DISPATCH_API_LISTEN", "127.0.0.1:0"),
            ("DISPATCH_API_METRICS_LISTEN", "127.0.0.1:0"),
        ];
        let ended = shell::run(folder.path(), &["api"], &variables).await;
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        for part in ["prepared statements", "1.21", "max_prepared_statements"] {
            assert!(ended.err.contains(part), "no {part:?} in {}", ended.err);
        }
        let check = diagnosis(folder.path(), "login dispatch_app", &variables).await;
        assert_eq!(check["ok"], false, "{check}");
        assert!(check["to_do"].as_str().unwrap().contains("1.21"), "{check}");
        stack.end().await;
        old.end().await;
        new.end().await;
    });
}
