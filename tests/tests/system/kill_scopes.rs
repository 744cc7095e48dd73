//! What a kill switch is engaged over: a ticket has to be there, and of software that nobody has seen
//! whoever stops it is told, because a name that is wrong by a letter stops nothing.

use chrono::Utc;
use contracts::{
    ErrorCode, Operation, TicketId, TicketState, filing::Filed, kill_switch::SwitchStatus,
};
use dispatch_tests::{
    filing::receipt,
    http::{Reply, key},
    job::Job,
    record::Footprint,
    stack::{Stack, with_api},
    who::{Who, mint},
};
use serde_json::{Value, json};
use uuid::Uuid;

async fn engage(stack: &Stack, scope: Value) -> Reply {
    let body = json!({ "reason": "exercise", "scope": scope });
    let ask = stack.command(Who::TenantAdmin, Operation::EngageKillSwitch, None, &body);
    ask.send().await
}

/// What the answer warns of.
fn warning(reply: &Reply) -> Option<String> {
    match receipt(reply).filed {
        Filed::KillSwitchEngaged { warning, .. } => warning,
        other => panic!("{other:?}"),
    }
}

async fn switches(stack: &Stack) -> Vec<SwitchStatus> {
    let client = stack.client(stack.tenant(), Who::Auditor);
    client.kill_switch().await.unwrap().switches
}

fn over(ticket: TicketId) -> Value {
    json!({ "kind": "ticket", "ticket_id": ticket })
}

fn agent(id: &str) -> Value {
    json!({ "kind": "agent", "actor_id": id })
}

/// A note of an agent with this id.
async fn note(stack: &Stack, job: &Job, id: &str) -> Reply {
    let mut claims = Who::Agent.claims(stack.tenant(), Utc::now());
    claims.sub = id.to_owned();
    let body = json!({ "text": "on my way" });
    let ask = stack
        .http()
        .command(Operation::AddNote, Some(job.id()), &body);
    ask.token(mint(&claims)).send().await
}

#[test]
fn over_a_ticket_that_is_not_there_no_switch_is_engaged() {
    with_api(async |stack| {
        let ours = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let theirs = Job::at(&stack, stack.other(), TicketState::New).await;
        for unknown in [TicketId::from_uuid(Uuid::now_v7()), theirs.id()] {
            engage(&stack, over(unknown))
                .await
                .problem(ErrorCode::NotFound);
        }
        // Whoever may not turn it does not learn which tickets there are.
        for any in [TicketId::from_uuid(Uuid::now_v7()), theirs.id(), ours.id()] {
            let body = json!({ "reason": "exercise", "scope": over(any) });
            let ask = stack.command(Who::Technician, Operation::EngageKillSwitch, None, &body);
            ask.send().await.problem(ErrorCode::Forbidden);
        }
        assert_eq!(switches(&stack).await, []);

        let footprint = Footprint::take(stack.admin()).await;
        let body = json!({ "reason": "exercise", "scope": over(theirs.id()) });
        let ask = stack.command(Who::TenantAdmin, Operation::EngageKillSwitch, None, &body);
        let would = ask.dry_run().send().await;
        assert_eq!(would.status, 404, "{}", would.text());
        assert_eq!(footprint.changes(stack.admin()).await, [""; 0]);

        assert_eq!(warning(&engage(&stack, over(ours.id())).await), None);
        let [switch] = &switches(&stack).await[..] else {
            panic!("one is engaged");
        };
        assert!(switch.engaged && !switch.never_seen, "{switch:?}");
    });
}

#[test]
fn over_software_that_was_never_seen_it_stands_and_says_so() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        note(&stack, &job, "agt_known").await.receipt();
        // People and integrations are stopped by no switch: their names are wrong ones too.
        let person = Who::Dispatcher.actor(stack.tenant()).id;
        note_of_a_person(&stack, &job).await;
        for (id, seen) in [("agt_known", true), ("agt_knwon", false), (&person, false)] {
            let warned = warning(&engage(&stack, agent(id)).await);
            let said = warned.as_ref().is_some_and(|warning| {
                warning.contains("no software of this id has been seen in this tenant")
                    && warning.contains("the switch stands nevertheless")
            });
            assert_eq!((said, warned.is_none()), (!seen, seen), "{id}: {warned:?}");
            let all = switches(&stack).await;
            let name = format!("agent:{id}");
            let found = all.iter().find(|switch| switch.scope == name).unwrap();
            assert!(found.engaged, "{id}");
            assert_eq!(found.never_seen, !seen, "{id}");
        }
        // Said twice, it is the same answer.
        let body = json!({ "reason": "exercise", "scope": agent("agt_later") });
        let key = key();
        let ask = || {
            stack
                .command(Who::TenantAdmin, Operation::EngageKillSwitch, None, &body)
                .key(&key)
        };
        let first = ask().send().await;
        assert!(warning(&first).is_some());
        assert_eq!(ask().send().await.body, first.body);

        // It comes later, and is stopped: from then on it was seen.
        let stopped = note(&stack, &job, "agt_later").await;
        stopped.problem(ErrorCode::KillSwitch);
        let all = switches(&stack).await;
        let found = all.iter().find(|switch| switch.scope == "agent:agt_later");
        let found = found.unwrap();
        assert!(found.engaged && !found.never_seen, "{found:?}");
    });
}

async fn note_of_a_person(stack: &Stack, job: &Job) {
    let body = json!({ "text": "on my way" });
    let ask = stack.command(Who::Dispatcher, Operation::AddNote, job.id(), &body);
    ask.send().await.receipt();
}

#[test]
fn over_a_channel_on_which_software_never_wrote_it_says_so() {
    with_api(async |stack| {
        let channel = |name: &str| json!({ "kind": "channel", "channel": name });
        let warned = warning(&engage(&stack, channel("sms")).await).unwrap();
        assert!(warned.contains("no message of software"), "{warned}");
        let all = switches(&stack).await;
        assert!(all[0].engaged && all[0].never_seen, "{all:?}");
        // Everything, and a kind of command, is always there.
        for scope in [
            json!({ "kind": "tenant" }),
            json!({ "kind": "operation", "operation": "dispatch" }),
        ] {
            assert_eq!(warning(&engage(&stack, scope).await), None);
        }
        let all = switches(&stack).await;
        assert_eq!(all.iter().filter(|switch| switch.never_seen).count(), 1);
    });
}

#[test]
fn over_books_that_workflows_keep_it_stops_agents_only_and_says_so() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let over = |name: &str| json!({ "kind": "operation", "operation": name });
        let warned = warning(&engage(&stack, over("record_proposal")).await).unwrap();
        assert!(warned.contains("workflows go on with this"), "{warned}");
        assert_eq!(warning(&engage(&stack, over("triage")).await), None);
        let all = switches(&stack).await;
        let passed: Vec<_> = all.iter().filter(|switch| switch.workflows_pass).collect();
        assert_eq!(passed.len(), 1, "{all:?}");
        assert_eq!(passed[0].scope, "operation:record_proposal");
        assert!(passed[0].engaged);

        // And so it is.
        let body = job.body(Operation::RecordProposal).await;
        let by = async |who| {
            let ask = stack.command(who, Operation::RecordProposal, job.id(), &body);
            ask.send().await
        };
        by(Who::Agent).await.problem(ErrorCode::KillSwitch);
        job.does(Operation::RecordProposal).await;

        let release = json!({ "reason": "exercise", "scope": over("record_proposal") });
        let ask = stack.command(
            Who::TenantAdmin,
            Operation::ReleaseKillSwitch,
            None,
            &release,
        );
        receipt(&ask.send().await);
        let all = switches(&stack).await;
        assert!(all.iter().all(|switch| !switch.workflows_pass), "{all:?}");
    });
}
