//! What a command says to Postgres: few round trips, all in one transaction, and no NOTIFY in it.

use std::time::Duration;

use contracts::{Operation, TicketState};
use dispatch_tests::{
    database::Database,
    job::{Job, ROUTED, example},
    proxy::{Message, Proxy, Said},
    servers,
    stack::{ApiOptions, Stack},
    wait,
    who::Who,
};
use sqlx::postgres::PgListener;
use store::OUTBOX_CHANNEL;

/// Begin and bind the tenant; lock and read; write; commit. It only shrinks.
const ROUND_TRIPS: usize = 4;

/// A dispatch-api with one connection, and what is said over it.
async fn listened() -> (Stack, Proxy) {
    let database = Database::create().await;
    let server = url::Url::parse(&database.addresses.app).unwrap();
    let target = (server.host_str().unwrap(), server.port().unwrap_or(5432));
    let target = tokio::net::lookup_host(target)
        .await
        .unwrap()
        .next()
        .unwrap();
    let proxy = Proxy::start(target).await;
    let options = ApiOptions {
        pool_size: 1,
        database_at: Some(proxy.address()),
        ..ApiOptions::default()
    };
    (Stack::on(database, options).await, proxy)
}

#[test]
fn a_command_is_one_transaction_of_few_round_trips() {
    servers::run(async || {
        let (stack, proxy) = listened().await;
        for &operation in ROUTED {
            // The first command of its kind on a connection prepares its statements.
            for prepared in [false, true] {
                let job = Job::ready_for(&stack, stack.tenant(), operation).await;
                let body = job.body(operation).await;
                proxy.take();
                let ask = stack.command(
                    example(operation).who,
                    operation,
                    job.target(operation),
                    &body,
                );
                ask.send().await.receipt();
                // The waker has a connection of its own; its NOTIFY is not the command's. The pool
                // may ping the connection before and after.
                let said = proxy.take();
                let is = |message: &Message, word: &str| {
                    let statement = message.statement().unwrap_or_default();
                    statement.to_ascii_lowercase().starts_with(word)
                };
                let begins = |said: &&Said| said.iter().any(|message| is(message, "begin"));
                let [own] = said.iter().filter(begins).collect::<Vec<_>>()[..] else {
                    panic!("{operation}: one connection does it, not {said:#?}");
                };
                let place = |word| own.iter().position(|message| is(message, word));
                let (begin, commit) = (place("begin").unwrap(), place("commit").unwrap());
                let command = &own[begin..=commit];
                let trips = command
                    .iter()
                    .filter(|message| message.is_answered())
                    .count();
                // What is about an approval has to find out what that is about.
                let about = usize::from(operation.path().starts_with("/approvals/"));
                let more = match operation {
                    // Whether what is asked for now was asked for before, in a statement that is planned
                    // anew each time; and the decision on it.
                    Operation::AmendApproval => about + 3,
                    // The lock that keeps the sender's last look at the ticket out.
                    Operation::SetTicketAutonomy => 1,
                    _ => about,
                };
                assert!(
                    !prepared || trips <= ROUND_TRIPS + more,
                    "{operation}: {trips}, {command:#?}"
                );
                let count = |word| own.iter().filter(|message| is(message, word)).count();
                assert_eq!(
                    (count("begin"), count("commit")),
                    (1, 1),
                    "{operation}: {own:#?}"
                );
                let mut outside = own[..begin].iter().chain(&own[commit + 1..]);
                assert!(
                    outside.all(|message| *message == Message::Sync),
                    "{operation}: {own:#?}"
                );
                let mut statements = own.iter().filter_map(Message::statement);
                assert!(
                    !statements.any(|s| s.to_ascii_lowercase().contains("notify")),
                    "{operation}"
                );
            }
        }
        stack.verify().await;
        stack.end().await;
    });
}

#[test]
fn the_wake_comes_after_the_commit() {
    servers::run(async || {
        let stack = Stack::api(ApiOptions::default()).await;
        let mut listener = PgListener::connect(&stack.database().addresses.relay)
            .await
            .unwrap();
        listener.listen(OUTBOX_CHANNEL).await.unwrap();
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        wait::within("a wake", wait::BOUND, listener.recv())
            .await
            .unwrap();
        // Whoever is woken finds the event.
        let pending: i64 = sqlx::query_scalar("select count(*) from outbox_events where pending")
            .fetch_one(stack.admin())
            .await
            .unwrap();
        assert_eq!(pending, 1);

        // A refusal wakes nobody: there is nothing to deliver.
        let body = job.body(Operation::Complete).await;
        let ask = stack.command(Who::Auditor, Operation::Complete, job.id(), &body);
        ask.send().await.problem(contracts::ErrorCode::Forbidden);
        let woken = tokio::time::timeout(Duration::from_millis(100), listener.recv()).await;
        assert!(woken.is_err(), "{woken:?}");
        stack.verify().await;
        stack.end().await;
    });
}

#[test]
fn a_lost_connection_is_unavailable_and_the_key_works_later() {
    servers::run(async || {
        let stack = Stack::api(ApiOptions::default()).await;
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let body = job.body(Operation::Triage).await;
        let key = dispatch_tests::http::key();
        let ask = || {
            stack
                .command(Who::Dispatcher, Operation::Triage, job.id(), &body)
                .key(&key)
        };
        // The command waits for the row; then its session is ended.
        let mut holder = stack.admin().begin().await.unwrap();
        sqlx::query("select from tickets where id = $1 for update")
            .bind(job.id().as_uuid())
            .execute(&mut *holder)
            .await
            .unwrap();
        let asked = tokio::spawn(ask().send());
        wait::until("the command's session ends", wait::BOUND, async || {
            let ended: i64 = sqlx::query_scalar(
                "select count(*) from (
                     select pg_terminate_backend(pid) from pg_stat_activity
                     where datname = current_database() and wait_event_type = 'Lock') t",
            )
            .fetch_one(stack.admin())
            .await
            .unwrap();
            if ended > 0 {
                Ok(())
            } else {
                Err("it does not wait yet")
            }
        })
        .await;
        let reply = asked.await.unwrap();
        reply.no_attempt(contracts::ErrorCode::Unavailable);
        assert!(reply.header("retry-after").is_some());
        holder.rollback().await.unwrap();
        assert_eq!(ask().send().await.receipt().produced_version, 2);
        stack.verify().await;
        stack.end().await;
    });
}
