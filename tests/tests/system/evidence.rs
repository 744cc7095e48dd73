//! Evidence on record: what is known of files that are not here yet.

use contracts::{ErrorCode, Operation, TicketState};
use dispatch_tests::{http::pointers, job::Job, stack::with_api, who::Who};
use serde_json::{Value, json};

fn evidence(kind: &str) -> Value {
    json!({
        "kind": kind, "sha256": "0e".repeat(32), "media_type": "image/jpeg", "size_bytes": 123_456,
        "taken_at": "2026-11-21T09:00:00.123456Z",
    })
}

#[test]
fn evidence_on_record_is_read_back_unverified() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        let before = job.ticket().await;
        let mut ids = Vec::new();
        for kind in ["photo_before", "photo_after"] {
            let receipt = job.sends(Operation::AddEvidence, &evidence(kind)).await;
            assert_eq!(receipt.applied_to_version, receipt.produced_version);
            ids.push(receipt.evidence_id.unwrap());
        }
        assert_eq!(job.ticket().await, before, "the ticket does not change");
        let client = stack.client(stack.tenant(), Who::Auditor);
        let page = client.evidence(job.id()).await.unwrap();
        let read: Vec<_> = page.items.iter().map(|record| record.id).collect();
        assert_eq!(read, ids);
        let first = &page.items[0];
        assert_eq!(first.verified_at, None);
        assert_eq!(first.kind.as_str(), "photo_before");
        assert_eq!(first.size_bytes, 123_456);
        assert_eq!(json!(first.taken_at), evidence("photo_before")["taken_at"]);
        assert_eq!(first.added_by, Who::Dispatcher.actor(stack.tenant()).id);
        assert_eq!(first.ticket_id, job.id());

        let path = format!("/tickets/{}/evidence", job.id());
        let stranger = Who::Dispatcher.token(stack.other());
        let reply = stack.http().get(&path).token(stranger).send().await;
        reply.no_attempt(ErrorCode::NotFound);
    });
}

#[test]
fn evidence_on_record_counts_at_the_last_step() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        let id = job.id();
        let complete = |evidence: Value| {
            let body = json!({ "evidence": evidence });
            let stack = stack.clone();
            async move {
                let ask = stack.command(Who::Technician, Operation::Complete, id, &body);
                ask.send().await
            }
        };
        let inline = json!([{ "kind": "photo_after", "sha256": "0d".repeat(32) }]);
        let problem = complete(inline.clone())
            .await
            .problem(ErrorCode::PolicyDenied);
        let missing: Vec<_> = problem.reasons.iter().map(|r| r.code.as_str()).collect();
        assert_eq!(missing, ["MISSING_EVIDENCE", "MISSING_EVIDENCE"]);
        for kind in ["photo_before", "signature"] {
            job.sends(Operation::AddEvidence, &evidence(kind)).await;
        }
        let receipt = complete(inline).await.receipt();
        assert_eq!(receipt.ticket.state, TicketState::WorkComplete);
    });
}

#[test]
fn who_brings_tickets_in_puts_no_evidence_on_record() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        let body = evidence("photo_before");
        for who in [Who::Intake, Who::Registry] {
            let ask = stack.command(who, Operation::AddEvidence, job.id(), &body);
            ask.send().await.problem(ErrorCode::Forbidden);
        }
        let client = stack.client(stack.tenant(), Who::Auditor);
        assert_eq!(client.evidence(job.id()).await.unwrap().items, []);
    });
}

#[test]
fn what_is_no_evidence_is_refused_with_its_place() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        for (field, value) in [
            ("sha256", json!("0E".repeat(32))),
            ("sha256", json!("Mrs Quillfeather, +31205550199")),
            ("size_bytes", json!(0)),
            ("size_bytes", json!(1_000_000_001)),
            ("media_type", json!("image")),
            ("kind", json!("Photo of Anna")),
        ] {
            let mut body = evidence("photo_before");
            body[field] = value;
            let ask = stack.command(Who::Dispatcher, Operation::AddEvidence, job.id(), &body);
            let problem = ask.send().await.problem(ErrorCode::InvalidField);
            assert_eq!(pointers(&problem), [format!("/{field}")]);
        }
        let kept: i64 = sqlx::query_scalar(
            "select count(*) from audit_events where payload::text like '%Quillfeather%'",
        )
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert_eq!(kept, 0);
        let client = stack.client(stack.tenant(), Who::Auditor);
        assert_eq!(client.evidence(job.id()).await.unwrap().items, []);
    });
}
