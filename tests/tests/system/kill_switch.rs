//! The kill switch: while it is engaged software does nothing but keep the books.

use std::{cell::Cell, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ErrorCode, MessageId, Operation, Role, TicketState,
    approval::ApprovalState,
    comms::DeliveryState,
    filing::Filed,
    kill_switch::{StopPhase, SwitchStatus},
    policy::{DenyClass, PolicyResult},
};
use dispatch_tests::{
    filing::{FilingExample, done, example, receipt},
    flow::{FlowOptions, with_flow},
    http::{Ask, Reply, pointers},
    job::Job,
    record::attempt,
    servers,
    stack::{ApiOptions, Stack, with_api, with_api_options},
    wait::{self, BOUND},
    who::{Who, mint},
    world::Tenant,
};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use store::{
    PoolSettings,
    sending::{self, Begun, Ended, Fate, Lease, Target},
    verify::{Invariant, Violation},
};
use uuid::Uuid;

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
            let meta = json!({
                "engaged": engaged, "generation": generation, "expires_at": null,
            });
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

/// Every command takes the switch's lock before any ticket's, a merge too: what waits for a turn must
/// hold nothing that those whom the turn waits for may want.
#[test]
fn a_merge_of_software_that_waits_for_a_turn_holds_no_ticket() {
    with_api(async |stack| {
        let from = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let into = Job::at(&stack, stack.tenant(), TicketState::New).await;
        // Somebody turns the switch, and hangs.
        let mut turning = stack.admin().begin().await.unwrap();
        sqlx::query("select pg_advisory_xact_lock(hashtextextended('kill switch ' || $1, 0))")
            .bind(stack.tenant().id.as_uuid().to_string())
            .execute(&mut *turning)
            .await
            .unwrap();
        let merge = {
            let (stack, ticket) = (stack.clone(), from.id());
            let body = json!({ "into": into.id() });
            tokio::spawn(async move {
                let ask = stack.command(Who::Agent, Operation::Merge, ticket, &body);
                ask.send().await
            })
        };
        somebody_waits(&stack, &["advisory"]).await;
        let free: Vec<uuid::Uuid> = sqlx::query_scalar(
            "select id from tickets where id = any($1) for no key update skip locked",
        )
        .bind(vec![from.id().as_uuid(), into.id().as_uuid()])
        .fetch_all(&mut *turning)
        .await
        .unwrap();
        assert_eq!(free.len(), 2, "both can be had while it waits");
        turning.rollback().await.unwrap();
        assert_eq!(merge.await.unwrap().status, 403);
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

/// Whoever runs the installation, in a tenant.
pub(super) fn platform(tenant: &Tenant, sub: &str) -> String {
    let mut claims = Who::TenantAdmin.claims(tenant, Utc::now());
    claims.sub = sub.to_owned();
    claims.roles = [Role::PlatformAdmin].into();
    mint(&claims)
}

fn of(scope: Value) -> Value {
    json!({ "reason": "drill", "scope": scope })
}

async fn switch(stack: &Stack, scope: &str) -> SwitchStatus {
    let view = stack
        .client(stack.tenant(), Who::Auditor)
        .kill_switch()
        .await;
    let switches = view.unwrap().switches;
    let found = switches.iter().find(|switch| switch.scope == scope);
    found
        .unwrap_or_else(|| panic!("{scope} is not among {switches:?}"))
        .clone()
}

/// How far software may go with a command, past every promotion.
pub(super) async fn set_stage(stack: &Stack, operation: &str, mode: &str) {
    sqlx::query(
        "insert into autonomy_stages (tenant_id, operation, mode, version, set_by, set_at, reason,
             command_id)
         values ($1, $2, $3, 1, 'test', now(), 'test', $4)",
    )
    .bind(stack.tenant().id.as_uuid())
    .bind(operation)
    .bind(mode)
    .bind(Uuid::now_v7())
    .execute(stack.admin())
    .await
    .unwrap();
}

#[test]
fn each_scope_stops_what_it_fits_and_nothing_else() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let next = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let agent = Who::Agent.actor(stack.tenant()).id;
        let told = async |channel: &str| -> Vec<String> {
            let body = json!({
                "ticket_id": job.id(), "contact_id": stack.tenant().contact, "channel": channel,
                "text": "on my way",
            });
            let ask = stack.command(Who::Agent, Operation::CommsOutbound, None, &body);
            let problem = ask.send().await.problem(ErrorCode::KillSwitch);
            problem
                .reasons
                .into_iter()
                .map(|reason| reason.code)
                .collect()
        };
        let stopped = |reply: Reply| drop(reply.problem(ErrorCode::KillSwitch));
        let scopes = [
            json!({ "kind": "ticket", "ticket_id": job.id() }),
            json!({ "kind": "agent", "actor_id": agent }),
            json!({ "kind": "operation", "operation": "add_note" }),
            json!({ "kind": "channel", "channel": "sms" }),
        ];
        for (n, scope) in scopes.into_iter().enumerate() {
            let body = of(scope);
            done(&stack, Operation::EngageKillSwitch, Who::TenantAdmin, &body).await;
            match n {
                0 => {
                    stopped(note(&stack, &job, Who::Agent).await);
                    note(&stack, &next, Who::Agent).await.receipt();
                }
                1 => {
                    stopped(note(&stack, &job, Who::Agent).await);
                    let mut other = Who::Agent.claims(stack.tenant(), Utc::now());
                    other.sub = "usr_agent_2".to_owned();
                    let body = json!({ "text": "on my way" });
                    let ask = stack
                        .http()
                        .command(Operation::AddNote, Some(job.id()), &body);
                    ask.token(mint(&other)).send().await.receipt();
                }
                2 => {
                    stopped(note(&stack, &job, Who::Agent).await);
                    note(&stack, &job, Who::Dispatcher).await.receipt();
                    job.clone().does(Operation::RecordSla).await;
                }
                _ => {
                    assert!(
                        told("sms")
                            .await
                            .contains(&"KILL_SWITCH_ENGAGED".to_owned())
                    );
                    note(&stack, &job, Who::Agent).await.receipt();
                    // Of what is stopped elsewhere only the stage is said.
                    let body = json!({
                        "ticket_id": job.id(), "contact_id": stack.tenant().contact,
                        "channel": "email", "text": "on my way",
                    });
                    let ask = stack.command(Who::Agent, Operation::CommsOutbound, None, &body);
                    ask.send().await.problem(ErrorCode::Stage);
                }
            }
            done(
                &stack,
                Operation::ReleaseKillSwitch,
                Who::TenantAdmin,
                &body,
            )
            .await;
            note(&stack, &job, Who::Agent).await.receipt();
        }
        let client = stack.client(stack.tenant(), Who::Auditor);
        let view = client.kill_switch().await.unwrap();
        assert_eq!(
            (view.engaged, view.generation, view.switches.len()),
            (false, 0, 4)
        );
        assert!(
            view.switches
                .iter()
                .all(|switch| switch.generation == 2 && switch.phase == StopPhase::Running)
        );
    });
}

#[test]
fn who_may_not_turn_a_switch_keeps_nobody_waiting_and_waits_for_nobody() {
    with_api(async |stack| {
        // Software is in the middle of a command.
        let mut software = stack.admin().begin().await.unwrap();
        let locks = [
            "kill switch everything".to_owned(),
            format!("kill switch {}", stack.tenant().id.as_uuid()),
        ];
        sqlx::query(
            "select pg_advisory_xact_lock_shared(hashtextextended(key, 0))
               from unnest($1::text[]) key",
        )
        .bind(locks.as_slice())
        .execute(&mut *software)
        .await
        .unwrap();
        // With the lock it would be told after a while that others came first.
        for scope in ["everything", "tenant"] {
            let body = of(json!({ "kind": scope }));
            for operation in [Operation::EngageKillSwitch, Operation::ReleaseKillSwitch] {
                for who in [Who::Technician, Who::Agent] {
                    let ask = stack.http().command(operation, None, &body);
                    let reply = ask.token(who.token(stack.tenant())).send().await;
                    assert_eq!(reply.status, 403, "{scope} {operation}: {}", reply.text());
                }
            }
        }
        software.rollback().await.unwrap();
        turn(&stack, Operation::EngageKillSwitch).await;
    });
}

#[test]
fn the_one_over_everything_stops_all_tenants_and_two_people_let_them_go_on() {
    with_api(async |stack| {
        let theirs = Job::at(&stack, stack.other(), TicketState::New).await;
        let their_note = async || {
            let body = json!({ "text": "on my way" });
            let ask = stack
                .http()
                .command(Operation::AddNote, Some(theirs.id()), &body);
            ask.token(Who::Agent.token(stack.other())).send().await
        };
        let body = of(json!({ "kind": "everything" }));
        let ask = |operation, token: &str| -> Ask {
            stack.http().command(operation, None, &body).token(token)
        };
        let tenant_admin = Who::TenantAdmin.token(stack.tenant());
        ask(Operation::EngageKillSwitch, &tenant_admin)
            .send()
            .await
            .problem(ErrorCode::Forbidden);
        their_note().await.receipt();
        let first = platform(stack.tenant(), "usr_platform_1");
        receipt(&ask(Operation::EngageKillSwitch, &first).send().await);
        their_note().await.problem(ErrorCode::KillSwitch);
        let seen = stack
            .client(stack.other(), Who::Auditor)
            .kill_switch()
            .await
            .unwrap();
        assert!(!seen.engaged && seen.switches[0].engaged, "{seen:?}");
        assert_eq!(seen.switches[0].scope, "everything");
        // That it is, since when and why: neither who it was nor what it did to others.
        let own = switch(&stack, "everything").await;
        for (seen, whose) in [(&seen.switches[0], "another's"), (&own, "its own")] {
            assert_eq!(seen.turned_by, None, "{whose}");
            let under_way = seen.under_way.unwrap();
            assert_eq!((under_way.told, under_way.messages), (None, 0), "{whose}");
            assert_eq!(seen.reason.as_str(), "drill");
        }
        let all = stack
            .client(stack.other(), Who::Auditor)
            .with_token(platform(stack.other(), "usr_platform_9"))
            .kill_switch()
            .await
            .unwrap();
        let all = &all.switches[0];
        assert_eq!(all.turned_by.as_deref(), Some("usr_platform_1"));
        assert_eq!(all.under_way.unwrap().told, Some(0));
        assert_eq!(all.turned_at, own.turned_at);

        // Whatever anybody agrees to, the administrator of a tenant does not ask for it.
        ask(Operation::ReleaseKillSwitch, &tenant_admin)
            .send()
            .await
            .problem(ErrorCode::Forbidden);
        let held = ask(Operation::ReleaseKillSwitch, &first).send().await;
        assert_eq!(held.status, 202, "{}", held.text());
        let approval = held.json()["approval"].clone();
        assert_eq!(
            (approval["kind"].as_str(), approval["ticket_id"].as_str()),
            (Some("rearm"), None)
        );
        their_note().await.problem(ErrorCode::KillSwitch);
        let decide = |token: String| {
            let id = approval["id"].as_str().unwrap();
            let path = format!("/approvals/{id}/decide");
            let ask = stack.http().request(Method::POST, path).token(token);
            let ask = ask.key(dispatch_tests::http::key());
            ask.json(&json!({ "verdict": "approve" })).send()
        };
        // Whoever asked does not decide.
        decide(first.clone()).await.problem(ErrorCode::Forbidden);
        // Nor does the administrator of a tenant.
        assert_eq!(approval["required_roles"], json!(["platform_admin"]));
        let problem = decide(tenant_admin).await.problem(ErrorCode::Forbidden);
        assert_eq!(problem.reasons[0].code, "APPROVER_ROLE");
        their_note().await.problem(ErrorCode::KillSwitch);
        let released = receipt(&decide(platform(stack.tenant(), "usr_platform_2")).await);
        assert_eq!(
            released.produced_version, 2,
            "released in the transaction of the yes"
        );
        their_note().await.receipt();
        let person = stack
            .client(stack.tenant(), Who::Auditor)
            .with_token(platform(stack.tenant(), "usr_platform_2"));
        let turned = person.kill_switch().await.unwrap().switches.remove(0);
        assert_eq!(turned.turned_by.as_deref(), Some("usr_platform_2"));

        // The yes is on record as a yes; beside it the decision on what it released.
        let yes = attempt(stack.admin(), released.command_id).await.unwrap();
        assert_eq!(yes.operation, "decide_approval");
        let id = approval["id"].as_str().unwrap().parse().unwrap();
        let detail = person.approval(id).await.unwrap();
        let carried_out = detail.carried_out.unwrap();
        assert_eq!(carried_out.result, PolicyResult::Allow);
        let decision = person.decision(carried_out.decision_id).await.unwrap();
        assert_eq!(decision.record.command_id, released.command_id);
        assert_eq!(decision.record.operation, Operation::ReleaseKillSwitch);
        assert_eq!(decision.input["actor"]["id"], "usr_platform_1");
        assert_eq!(
            decision.input["release"]["votes"][0]["actor_id"],
            "usr_platform_2"
        );
        assert_eq!(
            yes.payload["released"]["decision_id"],
            json!(carried_out.decision_id)
        );
    });
}

#[test]
fn a_yes_releases_only_the_turn_that_people_were_asked_about() {
    with_api(async |stack| {
        let (first, second) = (
            platform(stack.tenant(), "usr_platform_1"),
            platform(stack.tenant(), "usr_platform_2"),
        );
        let turn = async |operation, body: &Value| {
            let ask = stack.http().command(operation, None, body);
            ask.token(&first).send().await
        };
        let everything = of(json!({ "kind": "everything" }));
        let mut ends = everything.clone();
        ends["expires_at"] = json!(Utc::now() + TimeDelta::hours(1));
        receipt(&turn(Operation::EngageKillSwitch, &ends).await);
        let held = turn(Operation::ReleaseKillSwitch, &everything).await;
        assert_eq!(held.status, 202, "{}", held.text());
        let id = held.json()["approval"]["id"].as_str().unwrap().to_owned();
        let about = |what: &str, token: &str, body: Value| {
            let ask = stack
                .http()
                .request(Method::POST, format!("/approvals/{id}/{what}"));
            let ask = ask.token(token).key(dispatch_tests::http::key());
            ask.json(&body).send()
        };
        // What has no ticket is withdrawn and asked anew.
        let other = json!({ "body": everything, "reason": "fixed" });
        about("amend", &first, other)
            .await
            .problem(ErrorCode::InvalidField);

        // Meanwhile it is to stand for longer: nobody said yes to ending that.
        receipt(&turn(Operation::EngageKillSwitch, &everything).await);
        let yes = json!({ "verdict": "approve" });
        let late = receipt(&about("decide", &second, yes).await);
        let Filed::ApprovalChanged {
            state, executed, ..
        } = late.filed
        else {
            panic!("{late:?}")
        };
        assert_eq!((state, executed), (ApprovalState::Stale, None));
        let standing = switch(&stack, "everything").await;
        assert_eq!((standing.engaged, standing.generation), (true, 2));
    });
}

#[test]
fn the_checker_looks_at_the_decision_on_what_a_yes_released() {
    servers::run(async || {
        let stack = Stack::api(ApiOptions::default()).await;
        let body = of(json!({ "kind": "everything" }));
        let send = async |operation| {
            let ask = stack.http().command(operation, None, &body);
            let ask = ask.token(platform(stack.tenant(), "usr_platform_1"));
            ask.send().await
        };
        receipt(&send(Operation::EngageKillSwitch).await);
        let held = send(Operation::ReleaseKillSwitch).await.json();
        let path = format!(
            "/approvals/{}/decide",
            held["approval"]["id"].as_str().unwrap()
        );
        let ask = stack.http().request(Method::POST, path);
        let ask = ask.token(platform(stack.tenant(), "usr_platform_2"));
        let ask = ask.key(dispatch_tests::http::key());
        receipt(&ask.json(&json!({ "verdict": "approve" })).send().await);
        stack.verify().await;
        for (invariant, what, sql) in [
            (
                Invariant::I9,
                "is not the one of the chain",
                "update policy_decisions set input = replace(input, 'usr_platform_2', 'usr_x')",
            ),
            (
                Invariant::I2,
                "a decision on something else than what was released",
                "update policy_decisions set input = replace(input, 'usr_x', 'usr_platform_2'),
                        operation = 'engage_kill_switch'",
            ),
            (
                Invariant::I2,
                "a yes without the decision on what it released",
                "delete from policy_decisions",
            ),
        ] {
            let sql = format!(
                "begin; set local session_replication_role = replica; {sql}
                  where jsonb_typeof(input::jsonb -> 'release') = 'object';
                 commit"
            );
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(stack.admin())
                .await
                .unwrap();
            let found = stack.violations().await;
            let expected = |it: &Violation| it.invariant == invariant && it.what.contains(what);
            assert!(found.iter().any(expected), "no \"{what}\": {found:#?}");
        }
        stack.end().await;
    });
}

/// What an older dispatch-api asks for.
async fn of_tenant(stack: &Stack) -> Option<Value> {
    let asks = json!({ "thing": "kill_switch" });
    let facts: Value = sqlx::query_scalar("select filing_facts($1, $2, true)")
        .bind(stack.tenant().id.as_uuid())
        .bind(asks)
        .fetch_one(stack.admin())
        .await
        .unwrap();
    Some(facts["kill_switch"].clone()).filter(|switch| !switch.is_null())
}

#[test]
fn an_older_program_is_told_of_the_tenants_switch_and_of_no_other() {
    with_api(async |stack| {
        for scope in [
            json!({ "kind": "operation", "operation": "dispatch" }),
            json!({ "kind": "channel", "channel": "sms" }),
        ] {
            let who = Who::TenantAdmin;
            done(&stack, Operation::EngageKillSwitch, who, &of(scope)).await;
            assert_eq!(of_tenant(&stack).await, None);
        }
        turn(&stack, Operation::EngageKillSwitch).await;
        turn(&stack, Operation::ReleaseKillSwitch).await;
        let released = json!({ "engaged": false, "generation": 2 });
        assert_eq!(of_tenant(&stack).await, Some(released));
    });
}

#[test]
fn one_with_an_end_releases_itself_and_the_workflow_puts_it_on_record() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let first = Utc::now() + TimeDelta::seconds(5);
        let mut body = json!({ "reason": "drill", "expires_at": first });
        done(&stack, Operation::EngageKillSwitch, Who::TenantAdmin, &body).await;
        let release = async |who| {
            let body = json!({ "reason": "expired" });
            stack
                .command(who, Operation::ReleaseKillSwitch, None, &body)
                .send()
                .await
        };
        // Software ends nothing that has not ended.
        release(Who::Workflow)
            .await
            .problem(ErrorCode::IllegalTransition);
        release(Who::Agent).await.problem(ErrorCode::KillSwitch);
        // An earlier end would be a release by those who may only engage.
        body["expires_at"] = json!(first - TimeDelta::seconds(4));
        stack
            .command(Who::TenantAdmin, Operation::EngageKillSwitch, None, &body)
            .send()
            .await
            .problem(ErrorCode::IllegalTransition);
        // A later one, without a moment in between.
        body["expires_at"] = json!(first + TimeDelta::seconds(3));
        done(&stack, Operation::EngageKillSwitch, Who::TenantAdmin, &body).await;
        note(&stack, &job, Who::Agent)
            .await
            .problem(ErrorCode::KillSwitch);
        wait::until("the end of the switch", BOUND, async || {
            let reply = note(&stack, &job, Who::Agent).await;
            reply.status.is_success().then_some(()).ok_or(reply.text())
        })
        .await;
        let ended = switch(&stack, "tenant").await;
        assert_eq!((ended.engaged, ended.phase), (false, StopPhase::Running));
        let mut tx = store::TenantTx::begin_read(&stack.database().app, stack.tenant().id)
            .await
            .unwrap();
        let expired = store::read::expired_switches(&mut tx, Utc::now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!((expired.len(), expired[0].generation), (1, 2));
        assert_eq!(receipt(&release(Who::Workflow).await).produced_version, 3);
        release(Who::Workflow)
            .await
            .problem(ErrorCode::IllegalTransition);
    });
}

#[test]
fn a_person_with_the_right_and_a_reason_carries_out_what_is_stopped() {
    with_api(async |stack| {
        set_stage(&stack, "triage", "APPROVE").await;
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let body = json!({ "priority": "P3", "details": { "pane_count": 1 } });
        let ask = stack.command(Who::Workflow, Operation::Triage, job.id(), &body);
        let held = ask.send().await;
        assert_eq!(held.status, 202, "{}", held.text());
        let id = held.json()["approval"]["id"].as_str().unwrap().to_owned();
        let about = |what: &str, who: Who, body: Value| {
            let path = format!("/approvals/{id}/{what}");
            let ask = stack.ask(who, Method::POST, path);
            ask.key(dispatch_tests::http::key()).json(&body).send()
        };
        let yes = json!({ "verdict": "approve" });
        assert_eq!(about("decide", Who::Dispatcher, yes).await.status, 200);
        let plain = json!({ "version": 1 });
        let with_reason = json!({ "version": 1, "override_kill_switch": "storm" });
        let by_workflow =
            json!({ "version": 1, "applied_seq": 1, "override_kill_switch": "storm" });
        // Where nothing stops it there is nothing to override: not even another switch counts.
        let other = of(json!({ "kind": "operation", "operation": "dispatch" }));
        done(
            &stack,
            Operation::EngageKillSwitch,
            Who::TenantAdmin,
            &other,
        )
        .await;
        for (who, body) in [
            (Who::TenantAdmin, &with_reason),
            (Who::Workflow, &by_workflow),
        ] {
            let problem = about("execute", who, body.clone()).await;
            let problem = problem.problem(ErrorCode::InvalidField);
            assert_eq!(pointers(&problem), ["/override_kill_switch"]);
        }
        assert_eq!(overrides(&stack).await, 0);
        assert_eq!(job.ticket().await.state, TicketState::New);
        turn(&stack, Operation::EngageKillSwitch).await;

        let stopped = about("execute", Who::Workflow, by_workflow).await;
        stopped.problem(ErrorCode::KillSwitch);
        let stopped = about("execute", Who::TenantAdmin, plain).await;
        stopped.problem(ErrorCode::KillSwitch);
        let forbidden = about("execute", Who::Dispatcher, with_reason.clone()).await;
        forbidden.problem(ErrorCode::Forbidden);
        assert_eq!(job.ticket().await.state, TicketState::New);
        // What stops all tenants is not overridden by the administrator of one.
        let everything = of(json!({ "kind": "everything" }));
        let first = platform(stack.tenant(), "usr_platform_1");
        let engage = stack
            .http()
            .command(Operation::EngageKillSwitch, None, &everything);
        receipt(&engage.token(&first).send().await);
        let stopped = about("execute", Who::TenantAdmin, with_reason.clone()).await;
        let problem = stopped.problem(ErrorCode::KillSwitch);
        assert!(
            problem.detail.contains("takes the role `platform_admin`"),
            "{}",
            problem.detail
        );
        let release = stack
            .http()
            .command(Operation::ReleaseKillSwitch, None, &everything);
        let asked = release.token(&first).send().await;
        assert_eq!(asked.status, 202, "{}", asked.text());
        let path = format!(
            "/approvals/{}/decide",
            asked.json()["approval"]["id"].as_str().unwrap()
        );
        let second = platform(stack.tenant(), "usr_platform_2");
        let yes = stack.http().request(Method::POST, path).token(&second);
        let yes = yes.key(dispatch_tests::http::key());
        receipt(&yes.json(&json!({ "verdict": "approve" })).send().await);
        assert_eq!(job.ticket().await.state, TicketState::New);
        let carried_out = about("execute", Who::TenantAdmin, with_reason.clone()).await;
        assert_eq!(carried_out.status, 200, "{}", carried_out.text());
        assert_eq!(job.ticket().await.state, TicketState::Triaged);
        let again = about("execute", Who::TenantAdmin, with_reason).await;
        again.problem(ErrorCode::AlreadyDecided);
        let events: Vec<Value> = sqlx::query_scalar(
            "select payload from outbox_events where event_type = 'approval.executed'",
        )
        .fetch_all(stack.admin())
        .await
        .unwrap();
        assert_eq!(events.len(), 1, "once");
        assert_eq!(events[0]["data"]["kill_switch_override"], "storm");
        assert!(overrides(&stack).await > 0);
    });
}

/// Decisions that know of an override.
async fn overrides(stack: &Stack) -> i64 {
    sqlx::query_scalar(
        "select count(*) from policy_decisions where input::jsonb ->> 'kill_switch_override' is not null",
    )
    .fetch_one(stack.admin())
    .await
    .unwrap()
}

/// What people approved of an agent's: a message, with this text. It is not carried out yet.
async fn approved_message(stack: &Stack, job: &Job, text: &str) -> String {
    let body = json!({
        "ticket_id": job.id(), "contact_id": stack.tenant().contact, "channel": "sms",
        "text": text,
    });
    let ask = stack.command(Who::Agent, Operation::CommsOutbound, None, &body);
    let held = ask.send().await;
    assert_eq!(held.status, 202, "{}", held.text());
    let id = held.json()["approval"]["id"].as_str().unwrap().to_owned();
    let yes = json!({ "verdict": "approve" });
    let yes = of_approval(stack, &id, "decide", Who::Dispatcher, &yes).await;
    assert_eq!(yes.status, 200, "{}", yes.text());
    id
}

async fn of_approval(stack: &Stack, id: &str, what: &str, who: Who, body: &Value) -> Reply {
    let ask = stack.ask(who, Method::POST, format!("/approvals/{id}/{what}"));
    ask.key(dispatch_tests::http::key()).json(body).send().await
}

/// An approved message of software that is queued under an engaged switch, because a person wants it sent.
async fn overridden_message(stack: &Stack, job: &Job, text: &str) -> MessageId {
    let id = approved_message(stack, job, text).await;
    turn(stack, Operation::EngageKillSwitch).await;
    let body = json!({ "version": 1, "override_kill_switch": "storm" });
    let queued = of_approval(stack, &id, "execute", Who::TenantAdmin, &body).await;
    queued.receipt().message_id.unwrap()
}

#[test]
fn no_override_lets_a_message_pass_a_switch_that_comes_later() {
    with_api(async |stack| {
        set_stage(&stack, "comms_outbound", "APPROVE").await;
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let id = approved_message(&stack, &job, "on my way").await;
        let execute =
            async |body: Value| of_approval(&stack, &id, "execute", Who::TenantAdmin, &body).await;
        execute(json!({ "version": 1, "override_kill_switch": "storm" }))
            .await
            .problem(ErrorCode::InvalidField);
        let queued = execute(json!({ "version": 1 })).await;
        let message = queued.receipt().message_id.unwrap();

        turn(&stack, Operation::EngageKillSwitch).await;
        let pool = comms_pool(&stack).await;
        assert_eq!(stopped(&stack, &pool, message).await, "tenant");
        pool.close().await;
    });
}

#[test]
fn an_override_is_for_the_turn_that_stood_and_for_no_other() {
    with_api(async |stack| {
        set_stage(&stack, "comms_outbound", "APPROVE").await;
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let pool = comms_pool(&stack).await;
        let over_sms = of(json!({ "kind": "channel", "channel": "sms" }));
        let turn_sms = async |operation| {
            done(&stack, operation, Who::TenantAdmin, &over_sms).await;
        };

        // The switch that it was for stands: that is what an override is for.
        let at_once = overridden_message(&stack, &job, "on my way").await;
        leaves(&stack, &pool, at_once).await;
        turn(&stack, Operation::ReleaseKillSwitch).await;

        // Another one, engaged when that one was released.
        let under_another = overridden_message(&stack, &job, "in an hour").await;
        turn(&stack, Operation::ReleaseKillSwitch).await;
        turn_sms(Operation::EngageKillSwitch).await;
        assert_eq!(stopped(&stack, &pool, under_another).await, "channel:sms");
        // The checker knows what must not have left under it.
        assert_eq!(stack.violations().await, []);
        let at = |moment: DateTime<Utc>| {
            sqlx::query("update comms_attempts set at = $2 where message_id = $1")
                .bind(at_once.as_uuid())
                .bind(moment)
                .execute(stack.admin())
        };
        let began: DateTime<Utc> =
            sqlx::query_scalar("select at from comms_attempts where message_id = $1")
                .bind(at_once.as_uuid())
                .fetch_one(stack.admin())
                .await
                .unwrap();
        at(Utc::now()).await.unwrap();
        let found = stack.violations().await;
        assert!(
            found.iter().any(|it| it.invariant == Invariant::I5
                && it.what.contains("left under an engaged kill switch")),
            "{found:?}"
        );
        at(began).await.unwrap();
        turn_sms(Operation::ReleaseKillSwitch).await;
        leaves(&stack, &pool, under_another).await;

        // Another one beside it: each stops.
        let beside = overridden_message(&stack, &job, "in two hours").await;
        turn_sms(Operation::EngageKillSwitch).await;
        assert_eq!(stopped(&stack, &pool, beside).await, "channel:sms");
        turn_sms(Operation::ReleaseKillSwitch).await;
        leaves(&stack, &pool, beside).await;
        turn(&stack, Operation::ReleaseKillSwitch).await;

        // The same one, engaged again.
        let under_the_next = overridden_message(&stack, &job, "in three hours").await;
        turn(&stack, Operation::ReleaseKillSwitch).await;
        turn(&stack, Operation::EngageKillSwitch).await;
        assert_eq!(stopped(&stack, &pool, under_the_next).await, "tenant");
        turn(&stack, Operation::ReleaseKillSwitch).await;
        leaves(&stack, &pool, under_the_next).await;
        pool.close().await;
    });
}

async fn comms_pool(stack: &Stack) -> sqlx::PgPool {
    let comms = &stack.database().addresses.comms;
    store::connect(comms, &PoolSettings::new("tests"))
        .await
        .unwrap()
}

/// What the sender does with this message.
async fn begin_with(stack: &Stack, pool: &sqlx::PgPool, message: MessageId) -> Begun {
    sqlx::query(
        "update comms_queue set next_at = now() + interval '1 day'
          where state = 'queued' and message_id <> $1",
    )
    .bind(message.as_uuid())
    .execute(stack.admin())
    .await
    .unwrap();
    sqlx::query("update comms_queue set next_at = now() where message_id = $1")
        .bind(message.as_uuid())
        .execute(stack.admin())
        .await
        .unwrap();
    let claimed = sending::claim(pool, lease(), 1).await.unwrap().pop();
    let claimed = claimed.expect("it is in the queue");
    assert_eq!(claimed.key.1, message);
    let target = Target {
        endpoint: "provider",
        keyed: true,
        retry_unknown: true,
    };
    let begun = sending::begin(pool, claimed.key, lease(), target).await;
    begun.unwrap()
}

/// Which switch stops it.
async fn stopped(stack: &Stack, pool: &sqlx::PgPool, message: MessageId) -> String {
    match begin_with(stack, pool, message).await {
        Begun::Held { scope } => scope,
        other => panic!("{other:?}"),
    }
}

async fn leaves(stack: &Stack, pool: &sqlx::PgPool, message: MessageId) {
    let begun = begin_with(stack, pool, message).await;
    assert!(matches!(begun, Begun::Sending(_)), "{begun:?}");
}

/// What the sender does with the next message.
async fn begin(stack: &Stack, pool: &sqlx::PgPool) -> Option<(sending::Key, Begun)> {
    // Held back it would come again after a while.
    sqlx::query("update comms_queue set next_at = now() where state = 'queued'")
        .execute(stack.admin())
        .await
        .unwrap();
    let claimed = sending::claim(pool, lease(), 1).await.unwrap().pop()?;
    let target = Target {
        endpoint: "provider",
        keyed: true,
        retry_unknown: true,
    };
    let begun = sending::begin(pool, claimed.key, lease(), target).await;
    Some((claimed.key, begun.unwrap()))
}

fn lease() -> Lease {
    Lease {
        worker: Uuid::from_u128(7),
        lasts: Duration::from_secs(60),
    }
}

#[test]
fn what_software_says_waits_and_what_is_under_way_keeps_the_switch_stopping() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let comms = &stack.database().addresses.comms;
        let pool = store::connect(comms, &PoolSettings::new("tests"))
            .await
            .unwrap();
        // A person's message, as if software had wanted it: which stage lets it is not the matter.
        let queue = async |job: &mut Job| {
            let message = job.does(Operation::CommsOutbound).await.message_id.unwrap();
            sqlx::query("update comms_messages set by_software = 'usr_agent' where id = $1")
                .bind(message.as_uuid())
                .execute(stack.admin())
                .await
                .unwrap();
        };
        queue(&mut job).await;
        let (key, begun) = begin(&stack, &pool).await.unwrap();
        assert!(matches!(begun, Begun::Sending(_)), "{begun:?}");
        turn(&stack, Operation::EngageKillSwitch).await;
        let stopping = switch(&stack, "tenant").await;
        assert_eq!(stopping.phase, StopPhase::Stopping);
        assert_eq!(stopping.under_way.unwrap().messages, 1);
        let ended = Ended {
            attempt: 1,
            result: "delivered",
            http_status: Some(204),
            ambiguous: false,
        };
        let fate = Fate {
            state: DeliveryState::Sent,
            result: "delivered",
            wait: Duration::ZERO,
        };
        let worker = lease().worker;
        assert!(
            sending::finish(&pool, key, worker, &ended, &fate)
                .await
                .unwrap()
        );
        // No relay runs here: nobody has told the workflows.
        let telling = switch(&stack, "tenant").await;
        assert_eq!(telling.phase, StopPhase::Stopping);
        assert!(telling.under_way.unwrap().telling && telling.under_way.unwrap().messages == 0);
        sqlx::query("update control_events set told = 0, done_at = now()")
            .execute(stack.admin())
            .await
            .unwrap();
        let stopped = switch(&stack, "tenant").await;
        assert_eq!(stopped.phase, StopPhase::Stopped);
        assert!(
            stopped.stop_millis.is_some_and(|millis| millis > 0),
            "{stopped:?}"
        );

        // Another one is held back, and goes out once software may act again. The notice of the turn
        // itself is nobody's conversation.
        queue(&mut job).await;
        let mut held = 0;
        let mut notices = 0;
        for _ in 0..2 {
            match begin(&stack, &pool).await {
                Some((_, Begun::Held { scope })) => {
                    assert_eq!(scope, "tenant");
                    held += 1;
                }
                Some((_, Begun::Sending(_))) => notices += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((held, notices), (1, 1));
        turn(&stack, Operation::ReleaseKillSwitch).await;
        let mut sent = 0;
        while let Some((_, begun)) = begin(&stack, &pool).await {
            sent += usize::from(matches!(&begun, Begun::Sending(message)
                if message.purpose == contracts::comms::Purpose::Conversation));
        }
        assert_eq!(sent, 1);
        pool.close().await;
        for table in [
            "comms_attempts where ended_at is null",
            "comms_queue where false",
        ] {
            let sql = format!("delete from {table}");
            sqlx::query(AssertSqlSafe(sql))
                .execute(stack.admin())
                .await
                .unwrap();
        }
        sqlx::query(
            "update comms_queue set attempts = 0, leased_by = null, lease_until = null
                      where state = 'queued'",
        )
        .execute(stack.admin())
        .await
        .unwrap();
    });
}

#[test]
fn how_long_a_stop_took_is_measured_by_what_software_does_by_itself() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        // A technician asked; the workflow only carries it out.
        let id = job.is_held().await.id;
        job.is_released().await;
        let stop = async |backdated: DateTime<Utc>| {
            turn(&stack, Operation::EngageKillSwitch).await;
            let turned_at = switch(&stack, "tenant").await.turned_at;
            let set = async |at: DateTime<Utc>| {
                sqlx::query("update kill_switches set turned_at = $1")
                    .bind(at)
                    .execute(stack.admin())
                    .await
                    .unwrap();
            };
            // As if the engagement had come in before, and waited.
            set(backdated).await;
            sqlx::query("update control_events set told = 0, done_at = now()")
                .execute(stack.admin())
                .await
                .unwrap();
            let stopped = switch(&stack, "tenant").await;
            set(turned_at).await;
            assert_eq!(stopped.phase, StopPhase::Stopped);
            stopped.stop_millis.unwrap()
        };
        let before = Utc::now();
        let path = format!("/approvals/{id}/execute");
        let execute = stack.ask(Who::Workflow, Method::POST, path);
        let execute = execute.key(dispatch_tests::http::key());
        let body = json!({ "version": 1, "applied_seq": 1 });
        let executed = execute.json(&body).send().await;
        assert_eq!(executed.status, 200, "{}", executed.text());
        assert_eq!(stop(before).await, 0);

        turn(&stack, Operation::ReleaseKillSwitch).await;
        let before = Utc::now();
        note(&stack, &job, Who::Agent).await.receipt();
        assert!(stop(before).await > 0);
    });
}

#[test]
fn only_workflows_on_which_software_may_act_are_told() {
    with_flow(FlowOptions::default(), async |flow| {
        let job = Job::at(&flow, flow.tenant(), TicketState::New).await;
        flow.agreed(job.id()).await;
        let stopped = async || {
            wait::until("a stop that is known to all", BOUND, async || {
                let now = switch(&flow, "tenant").await;
                match now.phase {
                    StopPhase::Stopped => Ok(now.under_way.unwrap().told.unwrap()),
                    _ => Err(now),
                }
            })
            .await
        };
        turn(&flow, Operation::EngageKillSwitch).await;
        assert_eq!(
            stopped().await,
            0,
            "in shadow mode there is nothing to stop"
        );
        turn(&flow, Operation::ReleaseKillSwitch).await;
        set_stage(&flow, "triage", "APPROVE").await;
        turn(&flow, Operation::EngageKillSwitch).await;
        assert_eq!(stopped().await, 1);
        let view = flow.agreed(job.id()).await;
        drop(view);
        turn(&flow, Operation::ReleaseKillSwitch).await;
    });
}

#[test]
fn the_checker_finds_acts_that_should_not_be() {
    servers::run(async || {
        let stack = Stack::api(ApiOptions::default()).await;
        set_stage(&stack, "triage", "AUTO").await;
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        note(&stack, &job, Who::Agent).await.receipt();
        let body = json!({ "priority": "P3", "details": { "pane_count": 1 } });
        let ask = stack.command(Who::Agent, Operation::Triage, job.id(), &body);
        ask.send().await.receipt();
        let ticket = of(json!({ "kind": "ticket", "ticket_id": job.id() }));
        done(
            &stack,
            Operation::EngageKillSwitch,
            Who::TenantAdmin,
            &ticket,
        )
        .await;
        let i5 = async || -> Vec<String> {
            let found = stack.violations().await;
            let of_software = found.into_iter().filter(|it| it.invariant == Invariant::I5);
            of_software.map(|it| it.what).collect()
        };
        assert_eq!(i5().await, [""; 0]);
        let plant = async |sql: &'static str| {
            let sql = format!("begin; set local session_replication_role = replica; {sql}; commit");
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(stack.admin())
                .await
                .unwrap();
        };
        plant(
            "update audit_events set written = nextval('audit_order')
              where operation = 'add_note' and actor_kind = 'agent'",
        )
        .await;
        assert_eq!(i5().await, ["software acted under an engaged kill switch"]);
        for (mode, expected) in [
            (
                "SHADOW",
                "software changed a ticket by itself in shadow mode",
            ),
            ("OFF", "software acted by itself where it is switched off"),
            (
                "APPROVE",
                "software acted without a release where people have to approve",
            ),
        ] {
            let sql = format!(
                "begin; set local session_replication_role = replica;
                 update policy_decisions set input = jsonb_set(input::jsonb, '{{autonomy}}', '\"{mode}\"')::text
                  where operation = 'triage'; commit",
            );
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(stack.admin())
                .await
                .unwrap();
            assert!(i5().await.contains(&expected.to_owned()), "{mode}");
        }
        plant(
            "update policy_decisions set input = jsonb_set(jsonb_set(input::jsonb, '{autonomy}',
                 '\"AUTO\"'), '{stage}', '{\"configured\": \"CANARY\", \"percent\": 0}')::text
              where operation = 'triage'",
        )
        .await;
        let outside = "software acted by itself on a ticket outside the share".to_owned();
        assert!(i5().await.contains(&outside));
        stack.end().await;
    });
}

#[test]
fn each_answer_to_software_says_how_the_switches_stand() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let note = async |who: Who, key: &str| {
            let body = json!({ "text": "as asked" });
            let ask = stack.command(who, Operation::AddNote, job.id(), &body);
            let reply = ask.key(key).send().await;
            let told = reply.header("kill-switch").map(str::to_owned);
            (reply.status.as_u16(), told)
        };
        let told = |status: u16, text: &str| (status, Some(text.to_owned()));
        assert_eq!(
            note(Who::Dispatcher, "p").await,
            (200, None),
            "people go on"
        );
        assert_eq!(note(Who::Agent, "a").await, told(200, "generation=0"));
        let body = json!({
            "reason": "drill", "scope": { "kind": "operation", "operation": "dispatch" },
        });
        done(&stack, Operation::EngageKillSwitch, Who::TenantAdmin, &body).await;
        let some = "generation=1; stopped=dispatch";
        assert_eq!(note(Who::Agent, "b").await, told(200, some));
        let body = json!({ "reason": "drill" });
        done(&stack, Operation::EngageKillSwitch, Who::TenantAdmin, &body).await;
        // A refusal says it, and so does a stored answer: as they stand now.
        let all = "generation=2; stopped=all";
        assert_eq!(note(Who::Agent, "c").await, told(403, all));
        assert_eq!(note(Who::Agent, "a").await, told(200, all));
        assert_eq!(note(Who::Dispatcher, "q").await, (200, None));
    });
}
