//! The kill switch: while it is engaged software does nothing but keep the books.

use std::cell::Cell;

use contracts::{ErrorCode, Operation, TicketState, policy::DenyClass};
use dispatch_tests::{
    filing::{FilingExample, done, example, receipt},
    http::Reply,
    job::Job,
    stack::{ApiOptions, Stack, with_api, with_api_options},
    wait::{self, BOUND},
    who::Who,
};
use futures::future::join_all;
use serde_json::{Value, json};

/// Agents that act while the switch is turned, and how often it is turned to either side.
const ACTORS: usize = 8;
const TURNS: usize = 12;

async fn turn(stack: &Stack, operation: Operation) -> u64 {
    let FilingExample { who, body, .. } = example(stack, operation).await;
    done(stack, operation, who, &body).await.produced_version
}

async fn note(stack: &Stack, job: &Job, who: Who) -> Reply {
    let body = json!({ "text": "on my way" });
    let ask = stack.command(who, Operation::AddNote, job.id(), &body);
    ask.send().await
}

#[test]
fn while_it_is_engaged_software_keeps_the_books_only() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        note(&stack, &job, Who::Agent).await.receipt();
        turn(&stack, Operation::EngageKillSwitch).await;

        let problem = note(&stack, &job, Who::Agent)
            .await
            .problem(ErrorCode::KillSwitch);
        assert_eq!(problem.reasons[0].code, "KILL_SWITCH_ENGAGED");
        assert_eq!(problem.reasons[0].class, DenyClass::KillSwitch);
        for operation in [
            Operation::Triage,
            Operation::RecordProposal,
            Operation::AddEvidence,
        ] {
            let body = match operation {
                Operation::AddEvidence => json!({
                    "kind": "photo", "sha256": "0f".repeat(32), "media_type": "image/png",
                    "size_bytes": 1,
                }),
                operation => job.body(operation).await,
            };
            let ask = stack.command(Who::Agent, operation, job.id(), &body);
            ask.send().await.problem(ErrorCode::KillSwitch);
        }
        let triage = job.body(Operation::Triage).await;
        let ask = stack.command(Who::Workflow, Operation::Triage, job.id(), &triage);
        let problem = ask.send().await.problem(ErrorCode::KillSwitch);
        let classes: Vec<_> = problem.reasons.iter().map(|reason| reason.class).collect();
        assert!(classes.contains(&DenyClass::Stage), "every reason is said");
        // A trial says the same.
        let ask = stack.command(
            Who::Agent,
            Operation::AddNote,
            job.id(),
            &json!({ "text": "x" }),
        );
        ask.dry_run().send().await.problem(ErrorCode::KillSwitch);

        // The workflow's books, people and other systems.
        job.does(Operation::RecordProposal).await;
        job.does(Operation::RecordSla).await;
        job.does(Operation::Triage).await;
        note(&stack, &job, Who::Intake).await.receipt();
        // Another tenant's software goes on.
        let theirs = Job::at(&stack, stack.other(), TicketState::New).await;
        let body = json!({ "text": "on my way" });
        let ask = stack
            .http()
            .command(Operation::AddNote, Some(theirs.id()), &body);
        let reply = ask.token(Who::Agent.token(stack.other())).send().await;
        reply.receipt();

        turn(&stack, Operation::ReleaseKillSwitch).await;
        note(&stack, &job, Who::Agent).await.receipt();
    });
}

#[test]
fn it_is_turned_to_the_other_side_only_and_says_who_did() {
    with_api(async |stack| {
        let client = stack.client(stack.tenant(), Who::Auditor);
        let fresh = client.kill_switch().await.unwrap();
        assert_eq!(
            (fresh.engaged, fresh.generation, fresh.turned_by),
            (false, 0, None)
        );
        let reason = json!({ "reason": "agent_misbehaves" });
        let turn = |who, operation| {
            let ask = stack.command(who, operation, None, &reason);
            ask.send()
        };
        let stands = async |operation, engaged, generation| {
            let problem = turn(Who::TenantAdmin, operation).await;
            let problem = problem.problem(ErrorCode::IllegalTransition);
            let meta = json!({ "engaged": engaged, "generation": generation });
            assert_eq!(Value::Object(problem.meta), meta);
        };
        stands(Operation::ReleaseKillSwitch, false, 0).await;
        // Whoever is on duty may stop software; letting it act again is the administrator's.
        let engaged = turn(Who::Dispatcher, Operation::EngageKillSwitch).await;
        assert_eq!(engaged.status, 200);
        assert_eq!(receipt(&engaged).produced_version, 1);
        stands(Operation::EngageKillSwitch, true, 1).await;
        turn(Who::Dispatcher, Operation::ReleaseKillSwitch)
            .await
            .problem(ErrorCode::Forbidden);
        let switch = client.kill_switch().await.unwrap();
        assert_eq!((switch.engaged, switch.generation), (true, 1));
        assert_eq!(switch.reason.unwrap().as_str(), "agent_misbehaves");
        assert_eq!(
            switch.turned_by,
            Some(Who::Dispatcher.actor(stack.tenant()).id)
        );
        let released = turn(Who::TenantAdmin, Operation::ReleaseKillSwitch).await;
        assert_eq!(receipt(&released).produced_version, 2);
        assert!(!client.kill_switch().await.unwrap().engaged);
    });
}

#[test]
fn each_turn_queues_a_notice_that_the_next_one_withdraws() {
    with_api(async |stack| {
        turn(&stack, Operation::EngageKillSwitch).await;
        turn(&stack, Operation::ReleaseKillSwitch).await;
        let queued: Vec<(Value, Value, Option<uuid::Uuid>)> = sqlx::query_as(
            "select recipient, only_while, ticket_id from comms_messages
             where direction = 'outbound' and purpose = 'kill_switch' and channel = 'operations'
             order by received_at",
        )
        .fetch_all(stack.admin())
        .await
        .unwrap();
        let only: Vec<_> = queued.iter().map(|(_, only, _)| only.clone()).collect();
        let generation = |n: u64| json!({ "only": "kill_generation", "generation": n });
        assert_eq!(only, [generation(1), generation(2)]);
        let to =
            json!({ "to": "roles", "roles": ["dispatcher", "tenant_admin", "platform_admin"] });
        assert!(
            queued
                .iter()
                .all(|(who, _, ticket)| *who == to && ticket.is_none())
        );
    });
}

/// Somebody in this database waits for a lock of this kind.
async fn somebody_waits(stack: &Stack, kinds: &[&str]) {
    wait::until("a lock that is waited for", BOUND, async || {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_locks l join pg_stat_activity a using (pid)
             where not l.granted and l.locktype = any($1) and a.datname = current_database()",
        )
        .bind(kinds)
        .fetch_one(stack.admin())
        .await
        .unwrap();
        (waiting > 0).then_some(()).ok_or(waiting)
    })
    .await;
}

#[test]
fn an_act_that_was_decided_before_commits_before_and_one_after_is_refused() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let next = Job::at(&stack, stack.tenant(), TicketState::New).await;
        // The agent's command has begun (it has read that the switch is released, or is about to)
        // and hangs at its ticket's row.
        let mut row = stack.admin().begin().await.unwrap();
        sqlx::query("select from tickets where id = $1 for update")
            .bind(job.id().as_uuid())
            .execute(&mut *row)
            .await
            .unwrap();
        let spawn_note = |job: &Job| {
            let (stack, job) = (stack.clone(), job.clone());
            tokio::spawn(async move { note(&stack, &job, Who::Agent).await })
        };
        let early = spawn_note(&job);
        somebody_waits(&stack, &["transactionid", "tuple"]).await;

        let engage = {
            let stack = stack.clone();
            tokio::spawn(async move { turn(&stack, Operation::EngageKillSwitch).await })
        };
        // It waits for the agent's command to end: nothing that was decided before comes after it.
        somebody_waits(&stack, &["advisory"]).await;
        assert!(!engage.is_finished());
        // What begins now stands behind it.
        let late = spawn_note(&next);
        row.rollback().await.unwrap();

        let early = early.await.unwrap().receipt();
        assert_eq!(engage.await.unwrap(), 1);
        late.await.unwrap().problem(ErrorCode::KillSwitch);
        let order: Vec<String> = sqlx::query_scalar(
            "select operation from audit_events
             where refused is null and operation in ('add_note', 'engage_kill_switch')
             order by recorded_at",
        )
        .fetch_all(stack.admin())
        .await
        .unwrap();
        assert_eq!(order, ["add_note", "engage_kill_switch"]);
        assert_eq!(early.ticket.id, job.id());
    });
}

#[test]
fn turns_and_acts_at_once_leave_no_act_under_an_engaged_switch() {
    let options = ApiOptions {
        pool_size: 16,
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        // Each act on a ticket of its own: nothing but the switch keeps them from running at once.
        let jobs = join_all(
            (0..ACTORS).map(async |_| Job::at(&stack, stack.tenant(), TicketState::New).await),
        );
        let jobs = jobs.await;
        let (done, acts) = (Cell::new(false), Cell::new(0));
        let act = async |job: &Job| {
            while !done.get() {
                let reply = note(&stack, job, Who::Agent).await;
                match reply.status.as_u16() {
                    200 => acts.set(acts.get() + 1),
                    _ => drop(reply.problem(ErrorCode::KillSwitch)),
                }
            }
        };
        let turns = async {
            for _ in 0..TURNS {
                turn(&stack, Operation::EngageKillSwitch).await;
                turn(&stack, Operation::ReleaseKillSwitch).await;
                // Some get through before the next turn.
                let before = acts.get();
                wait::until("an act between turns", BOUND, async || {
                    (acts.get() > before).then_some(()).ok_or(())
                })
                .await;
            }
            done.set(true);
        };
        futures::join!(turns, join_all(jobs.iter().map(act)));

        // In the order in which they were written, which is not what the policy was told.
        let order: Vec<String> = sqlx::query_scalar(
            "select operation from audit_events
             where refused is null
               and operation in ('add_note', 'engage_kill_switch', 'release_kill_switch')
             order by recorded_at",
        )
        .fetch_all(stack.admin())
        .await
        .unwrap();
        let under = |pair: &&[String]| pair[0] == "engage_kill_switch" && pair[1] == "add_note";
        assert_eq!(order.windows(2).filter(under).count(), 0, "{order:?}");
        let turned = order.iter().filter(|word| *word != "add_note").count();
        assert_eq!((turned, order.len() - turned), (2 * TURNS, acts.get()));
    });
}
