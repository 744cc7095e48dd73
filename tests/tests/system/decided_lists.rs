//! Many decisions in one request: one request id stands for one list, and for nothing that another list
//! would ask for.

use client::{CallOptions, Client, ClientError};
use contracts::{
    ApprovalId, ErrorCode, Problem, Slug, TicketState,
    approval::{ApprovalState, Verdict},
    command::DecideApproval,
    inbox::{DecideMany, DecidedMany, OneDecision},
};
use dispatch_tests::{
    job::Job,
    stack::{Stack, with_api},
    who::Who,
};
use sqlx::{Postgres, Transaction};

const KEY: &str = "list-1";

async fn asked(stack: &Stack) -> ApprovalId {
    let job = Job::at(stack, stack.tenant(), TicketState::ChangeRequested).await;
    job.approval()
}

fn one(approval_id: ApprovalId, verdict: Verdict) -> OneDecision {
    OneDecision {
        approval_id,
        verdict,
        reason: Some(Slug::new("looked_at").unwrap()),
        version: None,
    }
}

async fn decide(
    client: &Client,
    decisions: &[OneDecision],
    key: &str,
) -> Result<DecidedMany, ClientError> {
    let body = DecideMany {
        decisions: decisions.to_vec(),
    };
    client.decide_many(&body, &CallOptions::with_key(key)).await
}

#[track_caller]
fn refusal(result: Result<DecidedMany, ClientError>, code: ErrorCode) -> Problem {
    let error = result.expect_err("it was taken");
    let problem = error.problem().unwrap_or_else(|| panic!("{error}")).clone();
    assert_eq!(problem.code, code, "{problem:?}");
    problem
}

/// What was decided by now, of these.
async fn decided(stack: &Stack, of: &[ApprovalId]) -> Vec<ApprovalId> {
    let workflow = stack.client(stack.tenant(), Who::Workflow);
    let mut decided = Vec::new();
    for id in of {
        let approval = workflow.approval(*id).await.unwrap().summary.approval;
        if approval.state != ApprovalState::Pending {
            decided.push(*id);
        }
    }
    decided
}

#[test]
fn another_list_under_the_same_id_is_refused_and_decides_nothing() {
    use Verdict::{Approve, Reject};
    with_api(async |stack| {
        let manager = stack.client(stack.tenant(), Who::AccountManager);
        let (a, b, c) = (
            asked(&stack).await,
            asked(&stack).await,
            asked(&stack).await,
        );
        let all = [a, b, c];
        let list = [one(a, Approve), one(b, Reject)];
        let first = decide(&manager, &list, KEY).await.unwrap();
        assert_eq!(decided(&stack, &all).await, [a, b]);

        for (name, other) in [
            ("others", vec![one(c, Approve)]),
            (
                "one more",
                vec![one(a, Approve), one(b, Reject), one(c, Approve)],
            ),
            ("another one", vec![one(a, Approve), one(c, Approve)]),
            ("one less", vec![one(a, Approve)]),
            ("another word", vec![one(a, Approve), one(b, Approve)]),
            ("another first word", vec![one(a, Reject), one(b, Reject)]),
            ("another order", vec![one(b, Reject), one(a, Approve)]),
            (
                "others before",
                vec![one(c, Approve), one(a, Approve), one(b, Reject)],
            ),
        ] {
            let refused = decide(&manager, &other, KEY).await;
            let problem = refusal(refused, ErrorCode::IdempotencyMismatch);
            let command = first.items[0].command_id.map(|id| id.to_string());
            assert_eq!(problem.meta["first_command_id"], command.unwrap(), "{name}");
            assert_eq!(decided(&stack, &all).await, [a, b], "{name}");
        }
        let again = decide(&manager, &list, KEY).await.unwrap();
        assert_eq!(again, first, "the same list has its own answers");

        // Each by itself, too, under the id that it was sent under.
        for (item, decision) in first.items.iter().zip(&list) {
            let alone = DecideApproval {
                approval_id: decision.approval_id,
                verdict: decision.verdict,
                reason: decision.reason.clone(),
                version: None,
            };
            let options = CallOptions::with_key(&item.request_id);
            let answer = manager.decide(&alone, &options).await.unwrap();
            assert_eq!(answer.state(), item.state);
        }
        // Somebody else's id is another one.
        let other = stack.client(stack.tenant(), Who::Approver);
        let done = decide(&other, &[one(c, Approve)], KEY).await.unwrap();
        assert_eq!(done.items[0].status, 200);
    });
}

/// Keeps everybody else from a ticket.
async fn locked(stack: &Stack, job: &Job) -> Transaction<'static, Postgres> {
    let mut tx = stack.admin().begin().await.unwrap();
    sqlx::query("select from tickets where tenant_id = $1 and id = $2 for update")
        .bind(stack.tenant().id.as_uuid())
        .bind(job.id().as_uuid())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx
}

/// Where the first of a list is decided the id is taken by all of it, whatever became of the others; until
/// then it is free, and nothing was done.
#[test]
fn the_first_of_a_list_holds_the_id_for_all_of_it() {
    with_api(async |stack| {
        let manager = stack.client(stack.tenant(), Who::AccountManager);
        let job = Job::at(&stack, stack.tenant(), TicketState::ChangeRequested).await;
        let (a, b, c) = (job.approval(), asked(&stack).await, asked(&stack).await);
        let held = [one(a, Verdict::Approve), one(b, Verdict::Approve)];
        let lock = locked(&stack, &job).await;
        let problem = refusal(decide(&manager, &held, KEY).await, ErrorCode::InFlight);
        assert_eq!(problem.command_id, None);
        assert_eq!(
            decided(&stack, &[a, b]).await,
            [],
            "the others are not tried"
        );

        let other = [one(b, Verdict::Approve), one(a, Verdict::Approve)];
        let half = decide(&manager, &other, KEY).await.unwrap();
        let statuses = half.items.iter().map(|item| item.status);
        assert_eq!(statuses.collect::<Vec<_>>(), [200, 409]);
        lock.rollback().await.unwrap();
        let third = [one(b, Verdict::Approve), one(c, Verdict::Approve)];
        for taken in [&held, &third] {
            refusal(
                decide(&manager, taken, KEY).await,
                ErrorCode::IdempotencyMismatch,
            );
        }
        assert_eq!(decided(&stack, &[a, b, c]).await, [b]);
        // What it had not come to is done when it is sent again.
        let whole = decide(&manager, &other, KEY).await.unwrap();
        assert_eq!(whole.items[0], half.items[0]);
        assert_eq!(whole.items[1].status, 200);
        assert_eq!(decided(&stack, &[a, b, c]).await, [a, b]);
    });
}

#[test]
fn a_refusal_that_stands_holds_the_id_and_a_trial_does_not() {
    with_api(async |stack| {
        let manager = stack.client(stack.tenant(), Who::AccountManager);
        let there = asked(&stack).await;
        let unknown = ApprovalId::from_uuid(uuid::Uuid::now_v7());
        let (good, bad) = (
            [one(there, Verdict::Approve)],
            [one(unknown, Verdict::Approve)],
        );
        let trial = CallOptions {
            dry_run: true,
            ..CallOptions::with_key("trial")
        };
        let body = DecideMany {
            decisions: bad.to_vec(),
        };
        manager.decide_many(&body, &trial).await.unwrap();
        let refused = decide(&manager, &bad, KEY).await.unwrap();
        assert_eq!(refused.items[0].status, 404);
        refusal(
            decide(&manager, &good, KEY).await,
            ErrorCode::IdempotencyMismatch,
        );
        assert_eq!(decided(&stack, &[there]).await, []);
        let done = decide(&manager, &good, "trial").await.unwrap();
        assert_eq!(done.items[0].status, 200);
    });
}
