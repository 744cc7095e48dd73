//! Rules of single commands, as a caller meets them: what policy denies, what is not valid, and
//! what a command does besides changing the state.

use chrono::{TimeDelta, Utc};
use contracts::{
    ErrorCode, Operation, Problem, TechnicianId, TicketId, TicketState,
    proposal::PairingOutcome,
    ticket::{Ticket, VisitStage},
};
use dispatch_tests::{
    http::{Reply, pointers},
    job::Job,
    record::{Footprint, left_by},
    stack::{Stack, with_api},
    who::Who,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// Sends a command that must be refused, with nothing changed but the record of it.
async fn refuse(
    job: &Job,
    stack: &Stack,
    who: Who,
    operation: Operation,
    body: &Value,
    code: ErrorCode,
) -> Problem {
    let before = Footprint::take(stack.admin()).await;
    let reply: Reply = stack
        .command(who, operation, job.target(operation), body)
        .send()
        .await;
    assert_eq!(
        reply.status.as_u16(),
        code.status(),
        "{operation} {body}: {}",
        reply.text()
    );
    let problem = reply.problem(code);
    assert!(problem.command_id.is_some(), "{}", reply.text());
    let left = left_by(who, operation, code);
    assert_eq!(
        before.changes(stack.admin()).await,
        left,
        "{operation} {body}"
    );
    problem
}

/// What may be a name or a telephone number is refused, and the refusal does not keep it either.
#[test]
fn a_detail_that_the_template_does_not_list_is_refused_and_not_kept() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let details = json!({
            "anna_jansen": true, "pane_count": 31_612_345_678_i64, "glass_kind": "keizersgracht",
        });
        for operation in [Operation::CreateTicket, Operation::Triage] {
            let mut body = job.body(operation).await;
            body["details"] = details.clone();
            let who = match operation {
                Operation::CreateTicket => Who::Intake,
                _ => Who::Dispatcher,
            };
            let reply = stack
                .command(who, operation, job.target(operation), &body)
                .send()
                .await;
            let problem = reply.problem(ErrorCode::PolicyDenied);
            let mut found = reasons(&problem);
            found.retain(|(code, _)| *code == "UNKNOWN_DETAIL");
            found.sort_unstable();
            assert_eq!(
                found,
                [
                    ("UNKNOWN_DETAIL", Some("/details")),
                    ("UNKNOWN_DETAIL", Some("/details/glass_kind")),
                    ("UNKNOWN_DETAIL", Some("/details/pane_count")),
                ]
            );
        }
        for table in [
            "audit_events",
            "policy_decisions",
            "idempotency_keys",
            "outbox_events",
        ] {
            let kept: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                "select count(*) from {table} t
                 where t::text ~ 'anna_jansen|31612345678|keizersgracht'"
            )))
            .fetch_one(stack.admin())
            .await
            .unwrap();
            assert_eq!(kept, 0, "{table}");
        }
    });
}

/// Codes of the failed conditions, with their places.
fn reasons(problem: &Problem) -> Vec<(&str, Option<&str>)> {
    let reasons = problem.reasons.iter();
    reasons
        .map(|r| (r.code.as_str(), r.pointer.as_deref()))
        .collect()
}

#[test]
fn triage_needs_the_details_of_the_template() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let body = json!({ "priority": "P1", "template": "emergency_door" });
        let problem = refuse(
            &job,
            &stack,
            Who::Dispatcher,
            Operation::Triage,
            &body,
            ErrorCode::PolicyDenied,
        )
        .await;
        assert_eq!(
            reasons(&problem),
            [
                ("MISSING_DETAIL", Some("/details/building_secure")),
                ("MISSING_DETAIL", Some("/details/door_kind")),
            ]
        );
        let body = json!({ "priority": "P1", "template": "moon_landing" });
        let problem = refuse(
            &job,
            &stack,
            Who::Dispatcher,
            Operation::Triage,
            &body,
            ErrorCode::PolicyDenied,
        )
        .await;
        assert_eq!(
            reasons(&problem)[0],
            ("UNKNOWN_TEMPLATE", Some("/template"))
        );
    });
}

#[test]
fn only_an_urgent_job_goes_without_a_window() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let body = job.body(Operation::Dispatch).await;
        let problem = refuse(
            &job,
            &stack,
            Who::Dispatcher,
            Operation::Dispatch,
            &body,
            ErrorCode::PolicyDenied,
        )
        .await;
        assert_eq!(reasons(&problem), [("SCHEDULE_REQUIRED", None)]);
        job.sends(Operation::Triage, &json!({ "priority": "P1" }))
            .await;
        let receipt = job.does(Operation::Dispatch).await;
        assert_eq!(receipt.ticket.state, TicketState::Dispatched);
    });
}

#[test]
fn a_technician_acts_on_their_own_visit_only() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::Dispatched).await;
        for operation in [Operation::EnRoute, Operation::CheckIn] {
            let body = job.body(operation).await;
            let who = Who::OtherTechnician;
            let problem = refuse(&job, &stack, who, operation, &body, ErrorCode::Forbidden).await;
            assert_eq!(reasons(&problem), [("NOT_ASSIGNED", None)]);
        }
    });
}

#[test]
fn work_is_complete_with_its_evidence_only() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        let body = json!({ "evidence": [{ "kind": "photo_after", "sha256": "ab".repeat(32) }] });
        let problem = refuse(
            &job,
            &stack,
            Who::Technician,
            Operation::Complete,
            &body,
            ErrorCode::PolicyDenied,
        )
        .await;
        let missing = ("MISSING_EVIDENCE", Some("/evidence"));
        assert_eq!(reasons(&problem), [missing, missing]);
    });
}

#[test]
fn evidence_of_an_earlier_visit_counts() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::ReturnPending).await;
        let first = job.ticket().await;
        assert_eq!(first.visits.len(), 2);
        assert_eq!(first.visits[0].stage, VisitStage::ReturnNeeded);
        for operation in [
            Operation::ProposeSchedule,
            Operation::ConfirmSchedule,
            Operation::Dispatch,
            Operation::CheckIn,
        ] {
            job.does(operation).await;
        }
        let evidence = ["photo_after", "signature"]
            .map(|kind| json!({ "kind": kind, "sha256": "ab".repeat(32) }));
        let receipt = job
            .sends(Operation::Complete, &json!({ "evidence": evidence }))
            .await;
        assert_eq!(receipt.ticket.state, TicketState::WorkComplete);
    });
}

#[test]
fn a_change_order_raises_the_limit_by_what_was_asked() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::ChangeRequested).await;
        let before = job.ticket().await;
        let operation = Operation::DecideApproval;
        let body = job.body(operation).await;
        for (who, code) in [
            (Who::Technician, "SELF_APPROVAL"),
            (Who::Dispatcher, "APPROVER_ROLE"),
        ] {
            let problem = refuse(&job, &stack, who, operation, &body, ErrorCode::Forbidden).await;
            assert!(reasons(&problem).contains(&(code, None)), "{problem:?}");
        }
        let after = job.does(operation).await.ticket;
        assert_eq!(after.nte_cents, before.nte_cents + 35_000);
        assert_eq!(
            (after.open_change, after.state),
            (None, TicketState::OnSite)
        );

        let approver = Who::Approver;
        let problem = refuse(
            &job,
            &stack,
            approver,
            operation,
            &body,
            ErrorCode::AlreadyDecided,
        )
        .await;
        assert!(!problem.meta.is_empty());
    });
}

#[test]
fn a_rejected_change_order_changes_no_limit() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::ChangeRequested).await;
        let before = job.ticket().await;
        let mut body = job.body(Operation::DecideApproval).await;
        body["verdict"] = "reject".into();
        let after = job.sends(Operation::DecideApproval, &body).await.ticket;
        assert_eq!(after.nte_cents, before.nte_cents);
        assert_eq!(after.state, TicketState::OnSite);
        // Another one can be asked for, and the old one does not decide it.
        job.does(Operation::RequestChange).await;
        let code = ErrorCode::AlreadyDecided;
        refuse(
            &job,
            &stack,
            Who::Approver,
            Operation::DecideApproval,
            &body,
            code,
        )
        .await;
    });
}

#[test]
fn one_of_two_approvers_decides() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::ChangeRequested).await;
        let operation = Operation::DecideApproval;
        let yes = job.body(operation).await;
        let mut no = yes.clone();
        no["verdict"] = "reject".into();
        let (first, second) = tokio::join!(
            stack
                .command(Who::Approver, operation, job.id(), &yes)
                .send(),
            stack
                .command(Who::AccountManager, operation, job.id(), &no)
                .send(),
        );
        let (won, lost) = match first.status.as_u16() {
            200 => (first, second),
            _ => (second, first),
        };
        won.receipt();
        lost.problem(ErrorCode::AlreadyDecided);
        let states: Vec<String> = sqlx::query_scalar("select state from approvals")
            .fetch_all(stack.admin())
            .await
            .unwrap();
        assert!(
            matches!(states.as_slice(), [one] if one != "pending"),
            "{states:?}"
        );
    });
}

#[test]
fn a_cancelled_ticket_withdraws_what_waits() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::ChangeRequested).await;
        let decide = job.body(Operation::DecideApproval).await;
        let ticket = job.does(Operation::Cancel).await.ticket;
        assert_eq!(ticket.visits[0].stage, VisitStage::Cancelled);
        let state: String = sqlx::query_scalar("select state from approvals")
            .fetch_one(stack.admin())
            .await
            .unwrap();
        assert_eq!(state, "withdrawn");
        let code = ErrorCode::AlreadyDecided;
        refuse(
            &job,
            &stack,
            Who::Approver,
            Operation::DecideApproval,
            &decide,
            code,
        )
        .await;
    });
}

#[test]
fn an_invoice_stays_within_the_limit_and_is_numbered_without_gaps() {
    with_api(async |stack| {
        let mut numbers = Vec::new();
        for _ in 0..3 {
            let mut job = Job::at(&stack, stack.tenant(), TicketState::Verified).await;
            let nte = job.ticket().await.nte_cents;
            let lines = json!({ "lines": [
                { "item": "labour", "quantity": 1, "unit_cents": nte },
                { "item": "call_out", "quantity": 1, "unit_cents": 1 },
            ]});
            // Refused attempts use up no number.
            let problem = refuse(
                &job,
                &stack,
                Who::Billing,
                Operation::GenerateInvoice,
                &lines,
                ErrorCode::PolicyDenied,
            )
            .await;
            assert_eq!(reasons(&problem), [("NTE_EXCEEDED", Some("/lines"))]);
            let invoice = job
                .does(Operation::GenerateInvoice)
                .await
                .ticket
                .invoice
                .unwrap();
            assert_eq!(invoice.amount_cents, 9_500 + 3 * 7_800);
            numbers.push(invoice.number);
        }
        assert_eq!(numbers, ["INV-000001", "INV-000002", "INV-000003"]);
    });
}

#[test]
fn nothing_is_given_away_without_a_reason() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::Verified).await;
        let (who, operation) = (Who::Billing, Operation::Close);
        let problem = refuse(
            &job,
            &stack,
            who,
            operation,
            &json!({}),
            ErrorCode::PolicyDenied,
        )
        .await;
        assert_eq!(
            reasons(&problem),
            [("NO_CHARGE_REASON", Some("/no_charge_reason"))]
        );
        let receipt = job
            .sends(operation, &json!({ "no_charge_reason": "goodwill" }))
            .await;
        assert_eq!(receipt.ticket.state, TicketState::Closed);
    });
}

#[test]
fn a_merge_is_into_another_open_ticket_of_the_tenant() {
    with_api(async |stack| {
        let (who, operation) = (Who::Dispatcher, Operation::Merge);
        let mut call = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let theirs = Job::at(&stack, stack.other(), TicketState::Triaged).await;
        let closed = Job::at(&stack, stack.tenant(), TicketState::Closed).await;
        let cancelled = Job::at(&stack, stack.tenant(), TicketState::Cancelled).await;
        for into in [call.id(), theirs.id(), closed.id(), cancelled.id()] {
            let body = json!({ "into": into });
            let code = ErrorCode::InvalidField;
            let problem = refuse(&call, &stack, who, operation, &body, code).await;
            assert_eq!(pointers(&problem), ["/into"]);
        }
        // The one that stays may be further on, and may be merged in its turn.
        let mut stays = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let first = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        let merged = call
            .sends(operation, &json!({ "into": stays.id() }))
            .await
            .ticket;
        assert_eq!(
            (merged.state, merged.merged_into),
            (TicketState::Cancelled, Some(stays.id()))
        );
        assert!(merged.sla.iter().all(|clock| clock.due_at().is_none()));
        assert_eq!(merged.visits[0].stage, VisitStage::Cancelled);
        stays.sends(operation, &json!({ "into": first.id() })).await;
        let untouched = first.ticket().await;
        assert_eq!(untouched.state, TicketState::OnSite);
    });
}

#[test]
fn reopening_takes_back_the_invoice_that_stands() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::Closed).await;
        let before = job.ticket().await;
        let reopened = job.does(Operation::Reopen).await.ticket;
        let invoice = reopened.invoice.clone().unwrap();
        assert_eq!(invoice.credit_note.as_deref(), Some("CRN-000001"));
        assert_eq!(
            Some(invoice.number),
            before.invoice.clone().map(|i| i.number)
        );
        let numbers: Vec<_> = reopened.visits.iter().map(|visit| visit.number).collect();
        assert_eq!(numbers, [1, 2]);
        assert_eq!(reopened.verified_at, None);
        let revision = |ticket: &Ticket, name: &str| {
            let clock = ticket.sla.iter().find(|clock| clock.name.as_str() == name);
            clock.map(|clock| (clock.revision, clock.due_at().is_some()))
        };
        let (was, is) = (
            revision(&before, "completion"),
            revision(&reopened, "completion"),
        );
        assert_eq!(
            (was, is),
            (Some((1, false)), Some((2, true))),
            "a new promise"
        );

        // Verified and closed without a charge: there is nothing to take back any more.
        for operation in [
            Operation::ProposeSchedule,
            Operation::ConfirmSchedule,
            Operation::Dispatch,
            Operation::CheckIn,
            Operation::Complete,
            Operation::QaVerify,
        ] {
            job.does(operation).await;
        }
        job.sends(Operation::Close, &json!({ "no_charge_reason": "warranty" }))
            .await;
        job.does(Operation::Reopen).await;
        let next: i64 =
            sqlx::query_scalar("select next from invoice_counters where series = 'credit_note'")
                .fetch_one(stack.admin())
                .await
                .unwrap();
        assert_eq!(next, 2, "one credit note in all");
    });
}

#[test]
fn a_technician_sent_without_a_window_is_replaced_without_one() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        job.sends(Operation::Triage, &json!({ "priority": "P1" }))
            .await;
        job.does(Operation::Dispatch).await;
        let released = job.does(Operation::Unassign).await.ticket;
        assert_eq!(released.state, TicketState::Scheduled);
        let visit = &released.visits[0];
        assert_eq!(
            (visit.stage, visit.window, visit.technician_id),
            (VisitStage::Open, None, None)
        );
        let again = json!({ "technician_id": stack.tenant().technicians[1] });
        let sent = job.sends(Operation::Dispatch, &again).await.ticket;
        assert_eq!(
            sent.visits[0].technician_id,
            Some(stack.tenant().technicians[1])
        );
    });
}

#[test]
fn where_nobody_could_get_in_the_visit_ends_and_the_promise_goes_on() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::Dispatched).await;
        let body = job.body(Operation::NoAccess).await;
        let (who, code) = (Who::OtherTechnician, ErrorCode::Forbidden);
        let problem = refuse(&job, &stack, who, Operation::NoAccess, &body, code).await;
        assert_eq!(reasons(&problem), [("NOT_ASSIGNED", None)]);
        let before = job.ticket().await;
        let after = job.does(Operation::NoAccess).await.ticket;
        assert_eq!(after.sla, before.sla);
        let stages: Vec<_> = after.visits.iter().map(|v| (v.number, v.stage)).collect();
        assert_eq!(stages, [(1, VisitStage::NoAccess), (2, VisitStage::Open)]);
    });
}

#[test]
fn a_failed_check_goes_on_with_the_clock_and_opens_a_visit() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::WorkComplete).await;
        let running = |ticket: &Ticket| {
            let clocks = ticket.sla.iter().filter(|c| c.due_at().is_some());
            clocks.map(|c| (c.name.to_string(), c.revision)).collect()
        };
        let none: Vec<(String, u32)> = running(&job.ticket().await);
        assert_eq!(none, []);
        let rejected = job.does(Operation::QaReject).await.ticket;
        let clocks = running(&rejected);
        assert!(clocks.contains(&("completion".into(), 1)), "{clocks:?}");
        assert_eq!(rejected.visits[1].stage, VisitStage::Open);
    });
}

#[test]
fn an_awaited_customer_stops_the_clocks() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let running = |ticket: &Ticket| ticket.sla.iter().filter(|c| c.due_at().is_some()).count();
        let before = job.ticket().await;
        assert!(running(&before) > 1);
        let paused = job.does(Operation::CustomerAwait).await.ticket;
        assert_eq!(running(&paused), 0);
        assert!(paused.customer_wait.is_some());
        let resumed = job.does(Operation::CustomerResume).await.ticket;
        assert_eq!(running(&resumed), running(&before));
        for (before, after) in before.sla.iter().zip(&resumed.sla) {
            // What was used is counted in whole seconds.
            let second = TimeDelta::seconds(1);
            assert!(
                before.due_at() <= after.due_at().map(|at| at + second),
                "{before:?} {after:?}"
            );
            assert_eq!(before.revision, after.revision);
        }
    });
}

#[test]
fn a_promise_is_recorded_once() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let (who, operation) = (Who::Workflow, Operation::RecordSla);
        let breach = job.body(operation).await;
        let change = |field: &str, value: Value| {
            let mut body = breach.clone();
            body[field] = value;
            body
        };
        let early = Utc::now();
        for (body, code) in [
            (
                change("effective_at", json!(early)),
                ErrorCode::InvalidField,
            ),
            (
                change("effective_at", json!("2261-01-01T00:00:00Z")),
                ErrorCode::InvalidField,
            ),
            (change("clock", json!("lunch")), ErrorCode::InvalidField),
            (change("revision", json!(9)), ErrorCode::AheadOfDatabase),
            (change("applied_seq", json!(9)), ErrorCode::AheadOfDatabase),
        ] {
            refuse(&job, &stack, who, operation, &body, code).await;
        }
        job.sends(operation, &breach).await;
        // A new request, the same record: there is nothing left to do.
        refuse(
            &job,
            &stack,
            who,
            operation,
            &breach,
            ErrorCode::AlreadyDecided,
        )
        .await;
        let rows: i64 = sqlx::query_scalar("select count(*) from sla_records")
            .fetch_one(stack.admin())
            .await
            .unwrap();
        assert_eq!(rows, 1);
    });
}

#[test]
fn a_proposal_is_paired_with_what_a_person_did() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let recorded = job.does(Operation::RecordProposal).await;
        assert_eq!(recorded.produced_version, recorded.applied_to_version);
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        let of = |id| {
            let client = client.clone();
            async move { client.proposals(id).await.unwrap().items }
        };
        let open = of(job.id()).await;
        assert_eq!(open.len(), 1);
        assert_eq!(Some(open[0].id), recorded.proposal_id);
        assert_eq!(open[0].pairing, None);
        let best = serde_json::to_value(open[0].advice.best().unwrap()).unwrap();
        let act = job
            .sends(
                Operation::Triage,
                &json!({ "priority": best["priority"], "template": best["template"],
                         "details": { "pane_count": 1 } }),
            )
            .await;
        let paired = of(job.id()).await[0]
            .pairing
            .clone()
            .expect("the person acted");
        assert_eq!(paired.outcome, PairingOutcome::Same);
        assert_eq!(paired.command_id, act.command_id);
        assert_eq!(paired.actor_id, Who::Dispatcher.actor(stack.tenant()).id);
    });
}

#[test]
fn an_invalid_value_is_named_by_its_place() {
    with_api(async |stack| {
        let unknown = TechnicianId::from_uuid(Uuid::now_v7());
        let theirs = stack.other().technicians[0];
        let past = Utc::now() - TimeDelta::hours(2);
        let window = |start, end| json!({ "window": { "start": start, "end": end } });
        let evidence = |sha: &str| json!([{ "kind": "photo_before", "sha256": sha }]);
        let line = |quantity: u64, cents: i64| json!({ "lines": [{ "item": "labour", "quantity": quantity, "unit_cents": cents }] });
        use Operation::*;
        let cases: Vec<(Operation, Value, &str)> = vec![
            (
                ProposeSchedule,
                window(past, past + TimeDelta::hours(1)),
                "/window/end",
            ),
            (
                ProposeSchedule,
                window(Utc::now() + TimeDelta::hours(3), Utc::now()),
                "/window/end",
            ),
            (
                Reschedule,
                json!({ "window": { "start": past, "end": past + TimeDelta::hours(1) },
                        "reason": "rain" }),
                "/window/end",
            ),
            (QaReject, json!({ "reasons": [] }), "/reasons"),
            (
                Merge,
                json!({ "into": TicketId::from_uuid(Uuid::now_v7()) }),
                "/into",
            ),
            (
                Dispatch,
                json!({ "technician_id": unknown }),
                "/technician_id",
            ),
            (
                Dispatch,
                json!({ "technician_id": theirs }),
                "/technician_id",
            ),
            (
                Dispatch,
                json!({ "technician_id": stack.tenant().technicians[0], "eta": past }),
                "/eta",
            ),
            (
                RequestChange,
                json!({ "scope": "more", "price_delta_cents": 0 }),
                "/price_delta_cents",
            ),
            (
                ReturnVisit,
                json!({ "reason": "parts", "parts": [{ "sku": "pane", "quantity": 0 }],
                        "evidence": [{ "kind": "photo_before", "sha256": "ab".repeat(32) },
                                     { "kind": "photo_made_safe", "sha256": "ab".repeat(32) }] }),
                "/parts/0/quantity",
            ),
            (
                ReturnVisit,
                json!({ "reason": "parts", "evidence": [evidence("xy")[0], {
                    "kind": "photo_made_safe", "sha256": "ab".repeat(32) }] }),
                "/evidence/0/sha256",
            ),
            (GenerateInvoice, json!({ "lines": [] }), "/lines"),
            (GenerateInvoice, line(0, 1), "/lines/0/quantity"),
            (GenerateInvoice, line(1, -1), "/lines/0/unit_cents"),
            (
                Close,
                json!({ "no_charge_reason": "goodwill" }),
                "/no_charge_reason",
            ),
        ];
        for (operation, body, pointer) in cases {
            let job = Job::ready_for(&stack, stack.tenant(), operation).await;
            let who = dispatch_tests::job::example(operation).who;
            let code = ErrorCode::InvalidField;
            let problem = refuse(&job, &stack, who, operation, &body, code).await;
            assert_eq!(pointers(&problem), [pointer], "{operation} {body}");
        }
    });
}

#[test]
fn without_an_active_bundle_nothing_passes() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let body = job.body(Operation::Triage).await;
        let key = dispatch_tests::http::key();
        let send = || {
            stack
                .command(Who::Dispatcher, Operation::Triage, job.id(), &body)
                .key(&key)
        };
        let before = Footprint::take(stack.admin()).await;
        let (version, sha256): (String, String) =
            sqlx::query_as("select bundle_version, bundle_sha256 from deployment")
                .fetch_one(stack.admin())
                .await
                .unwrap();
        let activate = async |version: Option<&str>, sha256: Option<&str>| {
            sqlx::query("update deployment set bundle_version = $1, bundle_sha256 = $2")
                .bind(version)
                .bind(sha256)
                .execute(stack.admin())
                .await
                .unwrap();
        };
        for unusable in [None, Some("0".repeat(64))] {
            activate(unusable.as_deref(), unusable.as_deref()).await;
            send().send().await.problem(ErrorCode::PolicyUnavailable);
            assert_eq!(before.changes(stack.admin()).await, [""; 0]);
        }
        // Nothing was stored under the key: it works as soon as somebody can decide.
        activate(Some(&version), Some(&sha256)).await;
        send().send().await.receipt();
    });
}
