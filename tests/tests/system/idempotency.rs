//! A key stands for one intent: sent again it gives the same bytes, sent with something else it is
//! refused, and however many send it at once there is one effect.

use std::{collections::BTreeSet, time::Duration};

use contracts::{ErrorCode, Operation, TicketState};
use dispatch_tests::{
    http::{Reply, key, patiently},
    job::Job,
    record::{Footprint, PASSING_REFUSAL, attempt},
    stack::{ApiOptions, Stack, with_api, with_api_options},
    wait,
    who::Who,
};
use futures::future::join_all;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[test]
fn a_key_is_not_used_for_something_else() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let elsewhere = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let (body, key) = (job.body(Operation::Triage).await, key());
        let mut other_body = body.clone();
        other_body["priority"] = json!("P4");
        let ask = |job: &Job, body| {
            stack
                .command(Who::Dispatcher, Operation::Triage, job.id(), body)
                .key(&key)
        };
        let first = ask(&job, &body).send().await;
        first.receipt();
        for (what, different) in [
            ("another body", ask(&job, &other_body)),
            ("another ticket", ask(&elsewhere, &body)),
            ("another version", ask(&job, &body).expecting(1)),
        ] {
            let before = Footprint::take(stack.admin()).await;
            let problem = different
                .send()
                .await
                .problem(ErrorCode::IdempotencyMismatch);
            assert_eq!(
                problem.meta["first_command_id"],
                first.receipt().command_id.to_string()
            );
            assert_eq!(problem.meta["request_id"], key.as_str(), "{what}");
            assert_ne!(
                problem.meta["expected_sha256"], problem.meta["got_sha256"],
                "{what}"
            );
            // An attempt like any other, on record; the key stays with the request that has it.
            let row = attempt(stack.admin(), problem.command_id.unwrap())
                .await
                .unwrap();
            assert_eq!(row.refused.as_deref(), Some("IDEMPOTENCY_MISMATCH"));
            assert_eq!(
                before.changes(stack.admin()).await,
                PASSING_REFUSAL,
                "{what}"
            );
        }
        // Order and white space of a body mean nothing.
        let pretty = serde_json::to_string_pretty(&body).unwrap();
        assert_eq!(ask(&job, &body).text(pretty).send().await.body, first.body);
    });
}

#[test]
fn a_key_belongs_to_its_actor_and_operation() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let note = job.body(Operation::AddNote).await;
        let mut commands = BTreeSet::new();
        for who in [Who::Dispatcher, Who::Qa, Who::Billing] {
            let ask = stack
                .command(who, Operation::AddNote, job.id(), &note)
                .key("1");
            commands.insert(ask.send().await.receipt().command_id);
        }
        let triage = job.body(Operation::Triage).await;
        let ask = stack
            .command(Who::Dispatcher, Operation::Triage, job.id(), &triage)
            .key("1");
        commands.insert(ask.send().await.receipt().command_id);
        let theirs = Job::at(&stack, stack.other(), TicketState::New).await;
        let token = Who::Dispatcher.token(stack.other());
        let ask = stack
            .http()
            .command(Operation::AddNote, Some(theirs.id()), &note);
        commands.insert(ask.token(token).key("1").send().await.receipt().command_id);
        assert_eq!(commands.len(), 5);
    });
}

#[test]
fn the_same_key_eight_times_at_once_has_one_effect() {
    const ROUNDS: usize = 200;
    let options = ApiOptions {
        pool_size: 4,
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        let create = Job::new(&stack, stack.tenant())
            .body(Operation::CreateTicket)
            .await;
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let note = job.body(Operation::AddNote).await;
        for round in 0..ROUNDS {
            let key = key();
            // In turn a command that makes a row, and one that locks a row.
            let ask = || match round % 2 {
                0 => stack.command(Who::Dispatcher, Operation::CreateTicket, None, &create),
                _ => stack.command(Who::Dispatcher, Operation::AddNote, job.id(), &note),
            };
            let replies = join_all((0..8).map(|_| patiently(|| ask().key(&key)))).await;
            let bodies: BTreeSet<_> = replies.iter().map(|reply| reply.body.clone()).collect();
            assert_eq!(bodies.len(), 1, "round {round}");
            replies[0].receipt();
            let fresh = |reply: &&Reply| reply.header("idempotent-replayed").is_none();
            assert_eq!(replies.iter().filter(fresh).count(), 1, "round {round}");
        }
        let count = async |table: &str| -> i64 {
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {table}")))
                .fetch_one(stack.admin())
                .await
                .unwrap()
        };
        let half = i64::try_from(ROUNDS / 2).unwrap();
        assert_eq!(count("tickets").await, half + 1);
        assert_eq!(count("audit_events").await, 2 * half + 1);
        // Each creation brings a note too.
        assert_eq!(count("notes").await, 2 * half + 1);
    });
}

/// Holds a ticket's row from a connection of its own, as a slow command would.
async fn hold(stack: &Stack, job: &Job) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut holder = stack.admin().begin().await.unwrap();
    sqlx::query("select from tickets where id = $1 for update")
        .bind(job.id().as_uuid())
        .execute(&mut *holder)
        .await
        .unwrap();
    holder
}

#[test]
fn a_busy_ticket_is_in_flight_and_the_key_works_later() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let (body, key) = (job.body(Operation::Triage).await, key());
        let ask = || {
            stack
                .command(Who::Dispatcher, Operation::Triage, job.id(), &body)
                .key(&key)
        };
        let before = Footprint::take(stack.admin()).await;
        let holder = hold(&stack, &job).await;
        let reply = ask().send().await;
        reply.no_attempt(ErrorCode::InFlight);
        let wait: u32 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!(wait >= 1);
        // Only writers wait: reads and trials go on.
        ask().dry_run().send().await.receipt();
        stack
            .client(stack.tenant(), Who::Dispatcher)
            .ticket(job.id())
            .await
            .unwrap();
        assert_eq!(before.changes(stack.admin()).await, [""; 0]);
        holder.rollback().await.unwrap();
        ask().send().await.receipt();
    });
}

#[test]
fn a_caller_that_goes_away_leaves_nothing_half_done() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let (body, key) = (job.body(Operation::Triage).await, key());
        let before = Footprint::take(stack.admin()).await;
        let request = |text: &str, length: usize| {
            format!(
                "POST /api/v1/tickets/{}/triage HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
                 content-type: application/json\r\nidempotency-key: {key}\r\n\
                 content-length: {length}\r\n\r\n{text}",
                job.id(),
                Who::Dispatcher.token(stack.tenant()),
            )
        };
        let text = body.to_string();

        // Gone within the body: that is no request.
        let mut stream = TcpStream::connect(stack.address()).await.unwrap();
        let half = request(&text[..text.len() / 2], text.len());
        stream.write_all(half.as_bytes()).await.unwrap();
        drop(stream);

        // Gone while the command waits for the ticket: what has begun is finished.
        let holder = hold(&stack, &job).await;
        let mut stream = TcpStream::connect(stack.address()).await.unwrap();
        stream
            .write_all(request(&text, text.len()).as_bytes())
            .await
            .unwrap();
        wait::until("the command waits", wait::BOUND, || blocked(&stack)).await;
        drop(stream);
        assert_eq!(before.changes(stack.admin()).await, [""; 0]);
        holder.rollback().await.unwrap();

        let done = wait::until("the command's end", wait::BOUND, async || {
            match job.ticket().await.version {
                2 => Ok(()),
                version => Err(version),
            }
        });
        done.await;
        let again = stack
            .command(Who::Dispatcher, Operation::Triage, job.id(), &body)
            .key(&key);
        let reply = again.send().await;
        assert_eq!(reply.receipt().produced_version, 2);
        assert_eq!(reply.header("idempotent-replayed"), Some("true"));
    });
}

/// Whether a session waits for a lock in this database.
async fn blocked(stack: &Stack) -> Result<(), String> {
    let waiting: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock'",
    )
    .fetch_one(stack.admin())
    .await
    .unwrap();
    if waiting > 0 {
        Ok(())
    } else {
        Err("nobody waits".into())
    }
}

#[test]
fn an_answer_outlives_the_process_that_gave_it() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let (body, key) = (job.body(Operation::Triage).await, key());
        let ask = || {
            stack
                .command(Who::Dispatcher, Operation::Triage, job.id(), &body)
                .key(&key)
        };
        let first = ask().send().await;
        first.receipt();
        stack.stop_api().await;
        stack.start_api().await;
        assert_eq!(ask().send().await.body, first.body);
        stack.kill_api();
        stack.start_api().await;
        assert_eq!(ask().send().await.body, first.body);
    });
}

#[test]
fn a_stopping_api_finishes_what_has_begun() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let body = job.body(Operation::Triage).await;
        let holder = hold(&stack, &job).await;
        let ask = stack
            .command(Who::Dispatcher, Operation::Triage, job.id(), &body)
            .key("k");
        let asked = tokio::spawn(ask.send());
        wait::until("the command waits", wait::BOUND, || blocked(&stack)).await;
        let stopping = {
            let stack = stack.clone();
            tokio::spawn(async move { stack.stop_api().await })
        };
        // Nobody new is let in while it stops.
        wait::until("the port is closed", wait::BOUND, async || {
            match TcpStream::connect(stack.address()).await {
                Err(_) => Ok(()),
                Ok(mut stream) => {
                    // Accepted just before: it is closed without an answer.
                    let mut byte = [0];
                    let read =
                        tokio::time::timeout(Duration::from_millis(50), stream.read(&mut byte));
                    Err(format!("{:?}", read.await))
                }
            }
        })
        .await;
        holder.rollback().await.unwrap();
        asked.await.unwrap().receipt();
        stopping.await.unwrap();
        stack.start_api().await;
        let again = stack
            .command(Who::Dispatcher, Operation::Triage, job.id(), &body)
            .key("k");
        assert_eq!(
            again.send().await.header("idempotent-replayed"),
            Some("true")
        );
    });
}
