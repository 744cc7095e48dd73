//! Stages that the active bundle knows no more, and stages that no evidence will ever raise: people
//! can take back the former, and are told of the latter.

use chrono::{TimeDelta, Utc};
use client::CallOptions;
use contracts::{
    ApprovalId, ErrorCode, Operation,
    approval::Verdict,
    command::{DecideApproval, HeldReceipt},
    event::AutonomyMode,
    filing::Filed,
};
use dispatch_tests::{
    filing::receipt,
    http::{Reply, pointers},
    stack::{Stack, with_api},
    who::Who,
};
use serde_json::{Value, json};

use super::rollout::rules;

fn about(operation: &str, to: &str) -> Value {
    json!({
        "target": { "operation": operation, "risk": "emergency" }, "to": to,
        "reason": "second_thoughts",
    })
}

async fn send(stack: &Stack, operation: Operation, body: &Value) -> Reply {
    stack
        .command(Who::TenantAdmin, operation, None, body)
        .send()
        .await
}

/// Asks for it, and another person agrees.
async fn promote(stack: &Stack, body: &Value) {
    let reply = send(stack, Operation::PromoteStage, body).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let held: HeldReceipt = serde_json::from_value(reply.json()).unwrap();
    let approval_id: ApprovalId = held.approval.id;
    let yes = DecideApproval {
        approval_id,
        verdict: Verdict::Approve,
        reason: None,
        version: None,
    };
    let manager = stack.client(stack.tenant(), Who::AccountManager);
    manager.decide(&yes, &CallOptions::default()).await.unwrap();
}

/// How a stage stands and how many changes of it are to come; `None` when it is not shown.
async fn shown(stack: &Stack, stage: &str) -> Option<(AutonomyMode, usize)> {
    let client = stack.client(stack.tenant(), Who::Auditor);
    let stages = client.rollout().await.unwrap().stages;
    let found = stages.iter().find(|found| found.target.key() == stage)?;
    Some((found.mode, found.to_come.len()))
}

#[test]
fn what_stands_of_a_class_that_has_left_the_bundle_can_be_taken_back() {
    with_api(async |stack| {
        // Of triage a change is to come, of dispatch something is set.
        for operation in ["triage", "dispatch"] {
            let off = send(&stack, Operation::DemoteStage, &about(operation, "OFF")).await;
            receipt(&off);
        }
        let mut later = about("triage", "SHADOW");
        later["effective_at"] = json!(Utc::now() + TimeDelta::hours(1));
        promote(&stack, &later).await;
        promote(&stack, &about("dispatch", "SHADOW")).await;
        rules(&stack, |data| {
            let classes = data["risk_classes"].as_object_mut().unwrap();
            classes.remove("emergency").unwrap();
        })
        .await;
        use AutonomyMode::{Off, Shadow};
        assert_eq!(shown(&stack, "triage/emergency").await, Some((Off, 1)));
        assert_eq!(shown(&stack, "dispatch/emergency").await, Some((Shadow, 0)));

        // It goes no further, and of what is nowhere on record there is nothing to take back.
        let further = about("dispatch", "APPROVE");
        let problem = send(&stack, Operation::PromoteStage, &further).await;
        assert!(problem.status.is_client_error(), "{}", problem.text());
        let nowhere = about("qa_verify", "OFF");
        let nowhere = send(&stack, Operation::DemoteStage, &nowhere).await;
        let nowhere = nowhere.problem(ErrorCode::InvalidField);
        assert_eq!(pointers(&nowhere), ["/target/risk"]);

        let called_off = send(&stack, Operation::DemoteStage, &about("triage", "OFF")).await;
        let Filed::StageSet { from, to, .. } = receipt(&called_off).filed else {
            panic!("{}", called_off.text());
        };
        assert_eq!((from, to), (Off, Off));
        assert_eq!(shown(&stack, "triage/emergency").await, Some((Off, 0)));
        let off = about("dispatch", "OFF");
        receipt(&send(&stack, Operation::DemoteStage, &off).await);
        assert_eq!(shown(&stack, "dispatch/emergency").await, Some((Off, 0)));
        // Once.
        for operation in ["triage", "dispatch"] {
            let again = send(&stack, Operation::DemoteStage, &about(operation, "OFF")).await;
            assert_eq!(pointers(&again.problem(ErrorCode::InvalidField)), ["/to"]);
        }
    });
}

#[test]
fn a_sample_that_will_never_come_is_said_to_never_come() {
    with_api(async |stack| {
        let to_collect = async |operation: &str| {
            let now = Utc::now();
            let target = json!({ "operation": operation });
            let body = json!({
                "target": target, "since": now - TimeDelta::hours(1), "until": now,
            });
            let kept = receipt(&send(&stack, Operation::RecordGateReport, &body).await);
            let Filed::Report { sha256 } = kept.filed else {
                panic!("{kept:?}");
            };
            let body = json!({
                "target": target, "to": "APPROVE", "reason": "good_figures",
                "report_sha256": sha256,
            });
            let refused = send(&stack, Operation::PromoteStage, &body).await;
            let refused = refused.problem(ErrorCode::PolicyDenied);
            let mut reasons = refused.reasons.into_iter();
            let sample = reasons.find(|reason| reason.code == "GATE_SAMPLE");
            sample.expect("there is no pair").to_pass
        };
        let never = to_collect("comms_outbound").await;
        assert!(
            never.contains("No advisor speaks of comms_outbound"),
            "{never}"
        );
        assert!(!never.contains("Collect"), "{never}");
        let some_time = to_collect("triage").await;
        assert_eq!(some_time, "Collect at least 20, over a longer time.");
    });
}
