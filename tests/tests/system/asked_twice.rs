//! The same command is held once, however often it is sent: each copy that people said yes to would be
//! carried out. And software puts no more before people than they can look at.

use chrono::Utc;
use client::CallOptions;
use contracts::{
    ApprovalId, ErrorCode, Operation, TicketState,
    approval::{ApprovalState, Verdict},
    command::{AmendApproval, DecideApproval, ExecuteApproval, HeldReceipt, WithdrawApproval},
};
use dispatch_tests::{
    filing::done,
    http::{Reply, key},
    job::{HELD_CENTS, Job},
    stack::{Stack, with_api},
    who::{Who, mint},
};
use futures::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

fn slug(text: &str) -> contracts::Slug {
    contracts::Slug::new(text).unwrap()
}

#[track_caller]
fn held(reply: &Reply) -> ApprovalId {
    assert_eq!(reply.status, 202, "{}", reply.text());
    let receipt: HeldReceipt = serde_json::from_value(reply.json()).unwrap();
    receipt.approval.id
}

/// Refused, for this one is open.
#[track_caller]
fn held_already(reply: &Reply, by: ApprovalId, state: &str) {
    let problem = reply.problem(ErrorCode::AlreadyHeld);
    assert_eq!(problem.meta["approval_id"], by.to_string());
    assert_eq!(problem.meta["state"], state);
    assert!(
        problem.detail.contains(&by.to_string()),
        "{}",
        problem.detail
    );
}

/// A technician asks for so much more.
async fn asks(stack: &Stack, job: &Job, cents: i64) -> Reply {
    let body = json!({ "scope": "shopfront", "price_delta_cents": cents });
    let ask = stack.command(Who::Technician, Operation::RequestChange, job.id(), &body);
    ask.send().await
}

async fn decide(stack: &Stack, who: Who, id: ApprovalId, verdict: Verdict) {
    let body = DecideApproval {
        approval_id: id,
        verdict,
        reason: Some("within_reason".parse().unwrap()),
        version: None,
    };
    let client = stack.client(stack.tenant(), who);
    client.decide(&body, &CallOptions::default()).await.unwrap();
}

async fn approvals(stack: &Stack) -> i64 {
    sqlx::query_scalar("select count(*) from approvals where operation <> 'create_ticket'")
        .fetch_one(stack.admin())
        .await
        .unwrap()
}

#[test]
fn who_asks_again_is_told_of_the_first() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        let before = approvals(&stack).await;
        let key = key();
        let body = json!({ "scope": "shopfront", "price_delta_cents": HELD_CENTS });
        let ask = || {
            stack
                .command(Who::Technician, Operation::RequestChange, job.id(), &body)
                .key(&key)
        };
        let first = ask().send().await;
        let id = held(&first);
        assert_eq!(ask().send().await.body, first.body, "a retry is a replay");
        for _ in 0..2 {
            held_already(&asks(&stack, &job, HELD_CENTS).await, id, "pending");
        }
        let would = ask().dry_run().send().await;
        assert_eq!(would.status, 409, "{}", would.text());
        assert_eq!(approvals(&stack).await, before + 1);
        assert_eq!(job.ticket().await.approvals.len(), 1);
        // Something else is something else.
        let other = held(&asks(&stack, &job, HELD_CENTS + 1).await);
        assert_eq!(job.ticket().await.approvals.len(), 2);

        // An amendment is no way round, and one to what it says already is none.
        let technician = stack.client(stack.tenant(), Who::Technician);
        let amend = |cents: i64| AmendApproval {
            approval_id: other,
            body: json!({ "scope": "shopfront", "price_delta_cents": cents }),
            reason: slug("other_pane"),
        };
        let options = CallOptions::default;
        let same = technician
            .amend_approval(&amend(HELD_CENTS), &options())
            .await;
        assert_eq!(same.unwrap_err().code(), Some(ErrorCode::AlreadyHeld));
        let own = technician
            .amend_approval(&amend(HELD_CENTS + 1), &options())
            .await;
        own.unwrap();
        let withdraw = WithdrawApproval {
            approval_id: other,
            reason: slug("not_needed"),
        };
        technician
            .withdraw_approval(&withdraw, &options())
            .await
            .unwrap();

        // Rejected, it may be asked for again; approved, it is carried out next.
        decide(&stack, Who::AccountManager, id, Verdict::Reject).await;
        let again = held(&asks(&stack, &job, HELD_CENTS).await);
        decide(&stack, Who::AccountManager, again, Verdict::Approve).await;
        held_already(&asks(&stack, &job, HELD_CENTS).await, again, "approved");
        let workflow = stack.client(stack.tenant(), Who::Workflow);
        let execute = ExecuteApproval {
            approval_id: again,
            version: 1,
            applied_seq: 1,
            override_kill_switch: None,
        };
        let carried_out: contracts::command::CommandReceipt = workflow
            .command(Operation::ExecuteApproval, None, &execute, &options())
            .await
            .unwrap();
        assert_eq!(carried_out.ticket.state, TicketState::ChangeRequested);
        asks(&stack, &job, HELD_CENTS)
            .await
            .problem(ErrorCode::IllegalTransition);
    });
}

#[test]
fn of_many_at_once_one_is_held() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        let replies = join_all((0..8).map(|_| asks(&stack, &job, HELD_CENTS))).await;
        let (first, others): (Vec<_>, Vec<_>) =
            replies.iter().partition(|reply| reply.status == 202);
        let [first] = first[..] else {
            panic!("{} were held", first.len());
        };
        let id = held(first);
        for other in others {
            // Some may have given up waiting for the ticket.
            if other.json()["code"] != "IN_FLIGHT" {
                held_already(other, id, "pending");
            }
        }
        assert_eq!(job.ticket().await.approvals.len(), 1);
    });
}

#[test]
fn one_that_nobody_decided_in_time_holds_nothing_any_more() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        let first = held(&asks(&stack, &job, HELD_CENTS).await);
        // Its end has come, and no workflow has put that on record.
        sqlx::query("update approvals set expires_at = now() - interval '1 second' where id = $1")
            .bind(first.as_uuid())
            .execute(stack.admin())
            .await
            .unwrap();
        let second = held(&asks(&stack, &job, HELD_CENTS).await);
        assert_ne!(first, second);
        // As it was, for the checker.
        sqlx::query(
            "update approvals set expires_at = (steps #>> '{-1,at}')::timestamptz where id = $1",
        )
        .bind(first.as_uuid())
        .execute(stack.admin())
        .await
        .unwrap();
    });
}

/// Lets software act with this command once people have released it, past every promotion.
async fn at_approve(stack: &Stack, operation: &str) {
    sqlx::query(
        "insert into autonomy_stages (tenant_id, operation, mode, version, set_by, set_at, reason,
             command_id)
         values ($1, $2, 'APPROVE', 1, 'usr_test', now(), 'test', $3)",
    )
    .bind(stack.tenant().id.as_uuid())
    .bind(operation)
    .bind(Uuid::now_v7())
    .execute(stack.admin())
    .await
    .unwrap();
}

#[test]
fn a_looping_agent_does_not_fill_the_inbox() {
    with_api(async |stack| {
        at_approve(&stack, "comms_outbound").await;
        let starter = policy::Bundle::starter().unwrap();
        let most = starter.autonomy().caps.held_per_ticket.unwrap();
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let other = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let says = async |job: &Job, agent: &str, text: String| {
            let mut claims = Who::Agent.claims(stack.tenant(), Utc::now());
            claims.sub = agent.to_owned();
            let body = json!({
                "ticket_id": job.id(), "contact_id": stack.tenant().contact, "channel": "sms",
                "text": text,
            });
            let ask = stack.http().command(Operation::CommsOutbound, None, &body);
            ask.token(mint(&claims)).send().await
        };
        let first = held(&says(&job, "agt_loop", "on our way 0".into()).await);
        let again = says(&job, "agt_loop", "on our way 0".into()).await;
        held_already(&again, first, "pending");
        // Another one's word is another request.
        held(&says(&job, "agt_other", "on our way 0".into()).await);
        for n in 2..most {
            held(&says(&job, "agt_loop", format!("on our way {n}")).await);
        }
        for agent in ["agt_loop", "agt_other"] {
            let refused = says(&job, agent, "one more".into()).await;
            let refused = refused.problem(ErrorCode::PolicyDenied);
            let reason = refused
                .reasons
                .iter()
                .find(|reason| reason.code == "AUTONOMY_CAP_HELD");
            let reason = reason.unwrap_or_else(|| panic!("{refused:?}"));
            assert!(
                reason.message.starts_with(&format!("{most} commands")),
                "{reason:?}"
            );
        }
        assert_eq!(job.ticket().await.approvals.len(), most as usize);
        // Elsewhere, and for people, it makes no difference; and each decision makes room for one.
        held(&says(&other, "agt_loop", "one more".into()).await);
        decide(&stack, Who::Dispatcher, first, Verdict::Reject).await;
        held(&says(&job, "agt_loop", "one more".into()).await);

        sqlx::query("delete from autonomy_stages")
            .execute(stack.admin())
            .await
            .unwrap();
    });
}

#[test]
fn a_promotion_is_asked_for_once_on_one_ground() {
    with_api(async |stack| {
        let stage = |to: &str| json!({ "target": { "operation": "triage" }, "to": to, "reason": "second_thoughts" });
        let off = || done_off(&stack, stage("OFF"));
        off().await;
        let promotes = async |admin: &str| {
            let mut claims = Who::TenantAdmin.claims(stack.tenant(), Utc::now());
            claims.sub = admin.to_owned();
            let ask = stack
                .http()
                .command(Operation::PromoteStage, None, &stage("SHADOW"));
            ask.token(mint(&claims)).send().await
        };
        let first = held(&promotes("usr_ann").await);
        held_already(&promotes("usr_ann").await, first, "pending");
        let theirs = held(&promotes("usr_bob").await);
        decide(&stack, Who::AccountManager, theirs, Verdict::Approve).await;
        off().await;
        // The first one was asked on the stage as it stood then: a yes would find it void.
        let second = held(&promotes("usr_ann").await);
        decide(&stack, Who::AccountManager, first, Verdict::Approve).await;
        let client = stack.client(stack.tenant(), Who::Auditor);
        let stands = client.approval(first).await.unwrap().summary.approval;
        assert_eq!(stands.state, ApprovalState::Stale);
        held_already(&promotes("usr_ann").await, second, "pending");
    });
}

async fn done_off(stack: &Stack, body: Value) {
    done(stack, Operation::DemoteStage, Who::TenantAdmin, &body).await;
}
