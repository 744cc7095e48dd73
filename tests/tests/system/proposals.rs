//! Proposals over HTTP: each kind is read, advised on, recorded and paired with what a person does;
//! who had read it is known; and how often people agree can be asked.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use client::CallOptions;
use contracts::{
    ErrorCode, Operation, Slug, TicketState,
    command::RecordProposal,
    proposal::{
        AdvisorInput, Agreement, AgreementFilter, ApprovedChange, Choice, KindAgreement,
        PairingOutcome, Proposal, ProposalKind,
    },
};
use dispatch_tests::{
    filing::{FilingExample, done, example},
    job::Job,
    stack::{Stack, with_api},
    who::Who,
};
use reqwest::Method;
use serde_json::{Value, json};
use strum::VariantArray;

/// Records what the advisor of that kind says, as the ticket's workflow would.
async fn propose(stack: &Stack, job: &Job, kind: ProposalKind, clock: Option<&Slug>) {
    let workflow = stack.client(stack.tenant(), Who::Workflow);
    let input = match clock {
        None => workflow.advisor_input(job.id(), kind).await,
        Some(clock) => workflow.escalation_input(job.id(), clock).await,
    };
    let input = input.unwrap();
    let snapshot = workflow.snapshot(job.id()).await.unwrap();
    let body = RecordProposal {
        based_on_version: input.version(),
        applied_seq: snapshot.head_seq,
        advice: domain::advise(&input),
        input,
    };
    let options = CallOptions::default();
    let recorded = workflow.record_proposal(job.id(), &body, &options).await;
    recorded.unwrap();
}

/// Read past dispatch-api's clients of persons: an auditor's reading would count as one.
async fn proposals(stack: &Stack, job: &Job) -> Vec<Proposal> {
    let workflow = stack.client(stack.tenant(), Who::Workflow);
    workflow.proposals(job.id()).await.unwrap().items
}

async fn newest(stack: &Stack, job: &Job) -> Proposal {
    proposals(stack, job).await.pop().expect("one is on record")
}

/// What a person sends who does as recommended.
fn act(job: &Job, proposal: &Proposal) -> (Operation, Value) {
    match proposal.advice.best().expect("something is recommended") {
        Choice::Triage { template, priority } => (
            Operation::Triage,
            json!({ "template": template, "priority": priority, "details": { "pane_count": 1 } }),
        ),
        Choice::Dispatch { technician_id, eta } => (
            Operation::Dispatch,
            json!({ "technician_id": technician_id, "eta": eta }),
        ),
        Choice::ProposeWindow { window } => {
            (Operation::ProposeSchedule, json!({ "window": window }))
        }
        Choice::Remind { contact_id, at, .. } => (
            Operation::CommsOutbound,
            json!({ "ticket_id": job.id(), "contact_id": contact_id, "channel": "sms",
                    "text": "Does it suit you?", "send_at": at }),
        ),
        Choice::DecideChange { verdict } => match &proposal.input {
            AdvisorInput::ChangeDecision(input) => (
                Operation::DecideApproval,
                json!({
                    "approval_id": input.approval_id, "verdict": verdict, "reason": "looked_at",
                }),
            ),
            other => panic!("{other:?}"),
        },
        Choice::Verify => (Operation::QaVerify, json!({})),
        Choice::Reject { reasons } => (Operation::QaReject, json!({ "reasons": reasons })),
        Choice::Invoice { lines } => (Operation::GenerateInvoice, json!({ "lines": lines })),
        Choice::Escalate { .. } => panic!("no command is called so"),
    }
}

/// The state in which each kind is asked for; escalations are tried apart.
const STATES: [(ProposalKind, TicketState); 7] = [
    (ProposalKind::Triage, TicketState::New),
    (ProposalKind::Slot, TicketState::Triaged),
    (ProposalKind::Reminder, TicketState::ScheduleProposed),
    (ProposalKind::Technician, TicketState::Scheduled),
    (ProposalKind::ChangeDecision, TicketState::ChangeRequested),
    (ProposalKind::Closeout, TicketState::WorkComplete),
    (ProposalKind::InvoiceLines, TicketState::Verified),
];

#[test]
fn each_kind_is_paired_with_the_act_that_it_is_about() {
    with_api(async |stack| {
        for (kind, state) in STATES {
            let mut job = Job::at(&stack, stack.tenant(), state).await;
            propose(&stack, &job, kind, None).await;
            let proposal = newest(&stack, &job).await;
            assert_eq!((proposal.kind, &proposal.pairing), (kind, &None));
            assert_eq!(domain::advise(&proposal.input), proposal.advice, "{kind}");
            let (operation, body) = act(&job, &proposal);
            let receipt = job.sends(operation, &body).await;
            let pairing = newest(&stack, &job).await.pairing;
            let pairing = pairing.unwrap_or_else(|| panic!("{kind} is not paired"));
            assert_eq!(pairing.outcome, PairingOutcome::Same, "{kind}");
            assert_eq!(pairing.command_id, receipt.command_id, "{kind}");
            assert!(!pairing.seen, "{kind}");
        }
    });
}

/// Where technicians start from is most often where they live: it is shown as in the directory, to
/// those who plan and to the technician.
#[test]
fn homes_are_for_those_who_plan() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        propose(&stack, &job, ProposalKind::Slot, None).await;
        let mut scheduled = Job::at(&stack, stack.tenant(), TicketState::Scheduled).await;
        propose(&stack, &scheduled, ProposalKind::Technician, None).await;
        let own = Who::Technician.actor(stack.tenant()).technician_id.unwrap();
        let seen = async |who: Who, job: &Job| -> Vec<_> {
            let client = stack.client(stack.tenant(), who);
            let proposal = client.proposals(job.id()).await.unwrap().items.remove(0);
            let candidates = match proposal.input {
                AdvisorInput::Slot(input) => input.candidates,
                AdvisorInput::Technician(input) => input.candidates,
                other => panic!("{other:?}"),
            };
            assert!(candidates.len() > 1);
            let shown = candidates.into_iter().filter(|it| it.base.is_some());
            shown.map(|it| it.technician_id).collect()
        };
        for job in [&job, &scheduled] {
            let all = seen(Who::Workflow, job).await;
            assert!(all.len() > 1 && all.contains(&own), "{all:?}");
            for who in [Who::Dispatcher, Who::TenantAdmin, Who::Registry] {
                assert_eq!(seen(who, job).await, all, "{who:?}");
            }
            for who in [
                Who::Qa,
                Who::Billing,
                Who::AccountManager,
                Who::Auditor,
                Who::Intake,
                Who::Agent,
            ] {
                assert_eq!(seen(who, job).await, [], "{who:?}");
            }
            assert_eq!(seen(Who::Technician, job).await, [own]);
        }
        scheduled.does(Operation::Dispatch).await;
    });
}

#[test]
fn an_approved_change_is_charged_and_a_rejected_one_is_not() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::ChangeRequested).await;
        job.does(Operation::DecideApproval).await;
        let refused = job.does(Operation::RequestChange).await.approval_id;
        let verdict = json!({
            "approval_id": refused, "verdict": "reject", "reason": "too_dear",
        });
        job.sends(Operation::DecideApproval, &verdict).await;
        job.does(Operation::Complete).await;
        job.does(Operation::QaVerify).await;
        propose(&stack, &job, ProposalKind::InvoiceLines, None).await;
        let proposal = newest(&stack, &job).await;
        let AdvisorInput::InvoiceLines(input) = &proposal.input else {
            panic!("{:?}", proposal.input)
        };
        let approved = ApprovedChange {
            scope: "laminated_pane".parse().unwrap(),
            price_delta_cents: 35_000,
        };
        assert_eq!(input.changes, [approved]);
        let Some(Choice::Invoice { lines }) = proposal.advice.best() else {
            panic!("{:?}", proposal.advice)
        };
        let charged = lines.iter().filter(|l| l.item.as_str() == "laminated_pane");
        assert_eq!(charged.count(), 1, "{lines:?}");
    });
}

#[test]
fn an_absence_is_no_booking() {
    with_api(async |stack| {
        let FilingExample { who, body, .. } = example(&stack, Operation::RecordAbsence).await;
        done(&stack, Operation::RecordAbsence, who, &body).await;
        Job::at(&stack, stack.tenant(), TicketState::Dispatched).await;
        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let workflow = stack.client(stack.tenant(), Who::Workflow);
        let input = workflow.advisor_input(job.id(), ProposalKind::Slot).await;
        let AdvisorInput::Slot(input) = input.unwrap() else {
            panic!("a slot was asked for")
        };
        let technician = stack.tenant().technicians[0];
        let candidate = input.candidates.iter();
        let candidate = candidate.filter(|c| c.technician_id == technician);
        let of: Vec<_> = candidate.map(|c| (c.absent.len(), c.busy.len())).collect();
        assert_eq!(of, [(1, 1)]);
    });
}

#[test]
fn who_moves_on_without_the_act_has_done_nothing_about_it() {
    with_api(async |stack| {
        let others = [
            (ProposalKind::Triage, TicketState::New, Operation::Cancel),
            (ProposalKind::Slot, TicketState::Triaged, Operation::Cancel),
            (
                ProposalKind::Technician,
                TicketState::Scheduled,
                Operation::Reschedule,
            ),
            (
                ProposalKind::ChangeDecision,
                TicketState::ChangeRequested,
                Operation::Cancel,
            ),
            (
                ProposalKind::InvoiceLines,
                TicketState::Verified,
                Operation::Reopen,
            ),
        ];
        for (kind, state, operation) in others {
            let mut job = Job::at(&stack, stack.tenant(), state).await;
            propose(&stack, &job, kind, None).await;
            job.does(Operation::AddNote).await;
            assert_eq!(newest(&stack, &job).await.pairing, None, "{kind}");
            let receipt = job.does(operation).await;
            let pairing = newest(&stack, &job).await.pairing.expect("it is over");
            assert_eq!(pairing.outcome, PairingOutcome::Nothing, "{kind}");
            assert_eq!(pairing.command_id, receipt.command_id, "{kind}");
        }
        // A customer who answers before the moment needed no reminder.
        let mut job = Job::at(&stack, stack.tenant(), TicketState::ScheduleProposed).await;
        propose(&stack, &job, ProposalKind::Reminder, None).await;
        job.does(Operation::ConfirmSchedule).await;
        let pairing = newest(&stack, &job).await.pairing.unwrap();
        assert_eq!(pairing.outcome, PairingOutcome::Equivalent);
    });
}

#[test]
fn an_escalation_is_about_a_record_and_met_by_moving_on() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let clock = job.ticket().await.sla[0].name.clone();
        let path = format!(
            "/tickets/{}/advisor-input?kind=escalation&clock={clock}",
            job.id()
        );
        let early = stack.ask(Who::Workflow, Method::GET, &path).send().await;
        early.no_attempt(ErrorCode::IllegalTransition);
        job.does(Operation::RecordSla).await;
        let workflow = stack.client(stack.tenant(), Who::Workflow);
        let snapshot = workflow.snapshot(job.id()).await.unwrap();
        let recorded = snapshot.sla_recorded[0].clone();
        assert_eq!(snapshot.escalated, []);
        propose(
            &stack,
            &job,
            ProposalKind::Escalation,
            Some(&recorded.clock),
        )
        .await;
        let snapshot = workflow.snapshot(job.id()).await.unwrap();
        assert_eq!(snapshot.escalated, [recorded]);
        assert_eq!(snapshot.proposed, [], "escalations are listed apart");
        let proposal = newest(&stack, &job).await;
        assert_eq!(domain::advise(&proposal.input), proposal.advice);
        let Some(Choice::Escalate { to, .. }) = proposal.advice.best() else {
            panic!("{proposal:?}");
        };
        let by_dispatcher = *to == contracts::Role::Dispatcher;
        job.does(Operation::Triage).await;
        let pairing = newest(&stack, &job).await.pairing.unwrap();
        let expected = match by_dispatcher {
            true => PairingOutcome::Same,
            false => PairingOutcome::Equivalent,
        };
        assert_eq!(pairing.outcome, expected);
    });
}

#[test]
fn it_is_known_who_had_read_a_proposal() {
    with_api(async |stack| {
        let paired_after = async |readers: &[Who]| {
            let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
            propose(&stack, &job, ProposalKind::Triage, None).await;
            for who in readers {
                let client = stack.client(stack.tenant(), *who);
                for _ in 0..2 {
                    assert_eq!(client.proposals(job.id()).await.unwrap().items.len(), 1);
                }
            }
            let views: i64 = sqlx::query_scalar(
                "select count(*) from proposal_views v join proposals p using (tenant_id)
                 where p.id = v.proposal_id and p.ticket_id = $1",
            )
            .bind(job.id().as_uuid())
            .fetch_one(stack.admin())
            .await
            .unwrap();
            let receipt = job.does(Operation::Triage).await;
            let pairing = newest(&stack, &job).await.pairing.unwrap();
            assert_eq!(pairing.command_id, receipt.command_id);
            (views, pairing.seen)
        };
        assert_eq!(paired_after(&[]).await, (0, false));
        assert_eq!(paired_after(&[Who::Dispatcher]).await, (1, true));
        // Somebody else's reading is not the actor's, and software leaves no trace.
        assert_eq!(paired_after(&[Who::Qa, Who::Auditor]).await, (2, false));
        assert_eq!(
            paired_after(&[Who::Agent, Who::Intake, Who::Workflow]).await,
            (0, false)
        );
    });
}

fn by_kind(agreement: Agreement) -> BTreeMap<ProposalKind, KindAgreement> {
    agreement
        .kinds
        .into_iter()
        .map(|of| (of.kind, of))
        .collect()
}

#[test]
fn agreement_is_counted_by_kind_and_by_who_had_read() {
    with_api(async |stack| {
        let began = Utc::now();
        let triaged = async |body: Value, seen: bool| {
            let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
            propose(&stack, &job, ProposalKind::Triage, None).await;
            if seen {
                let dispatcher = stack.client(stack.tenant(), Who::Dispatcher);
                dispatcher.proposals(job.id()).await.unwrap();
            }
            let body = match body {
                Value::Null => act(&job, &newest(&stack, &job).await).1,
                body => body,
            };
            job.sends(Operation::Triage, &body).await;
        };
        let other = json!({ "priority": "P4", "details": { "pane_count": 1 } });
        triaged(Value::Null, true).await;
        triaged(Value::Null, false).await;
        triaged(other.clone(), false).await;
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        propose(&stack, &job, ProposalKind::Triage, None).await;
        job.does(Operation::Cancel).await;
        let waiting = Job::at(&stack, stack.tenant(), TicketState::New).await;
        propose(&stack, &waiting, ProposalKind::Triage, None).await;

        let client = stack.client(stack.tenant(), Who::AccountManager);
        let ask = async |filter: AgreementFilter| {
            by_kind(client.proposal_agreement(&filter).await.unwrap())
        };
        let all = ask(AgreementFilter::default()).await;
        assert_eq!(all.len(), ProposalKind::VARIANTS.len());
        let triage = &all[&ProposalKind::Triage];
        let counts = |of: contracts::proposal::OutcomeCounts| {
            (
                of.same,
                of.equivalent,
                of.different,
                of.nothing,
                of.agreement_permille,
            )
        };
        assert_eq!(triage.open, 1);
        assert_eq!(counts(triage.all), (2, 0, 1, 1, Some(666)));
        assert_eq!(counts(triage.seen), (1, 0, 0, 0, Some(1000)));
        assert_eq!(counts(triage.unseen), (1, 0, 1, 1, Some(500)));
        let slot = &all[&ProposalKind::Slot];
        assert_eq!((slot.open, counts(slot.all)), (0, (0, 0, 0, 0, None)));

        let span = |from: Option<DateTime<Utc>>, to| AgreementFilter {
            kind: Some(ProposalKind::Triage),
            from,
            to,
        };
        let later = Utc::now() + TimeDelta::hours(1);
        let within = ask(span(Some(began), Some(later))).await;
        assert_eq!(within.len(), 1);
        assert_eq!(&within[&ProposalKind::Triage], triage);
        for outside in [span(Some(later), None), span(None, Some(began))] {
            let none = ask(outside).await;
            assert_eq!(counts(none[&ProposalKind::Triage].all), (0, 0, 0, 0, None));
        }
        let elsewhere = stack.client(stack.other(), Who::Dispatcher);
        let everything = AgreementFilter::default();
        let none = by_kind(elsewhere.proposal_agreement(&everything).await.unwrap());
        assert_eq!(none[&ProposalKind::Triage].open, 0, "another tenant's");

        let path = "/proposals/agreement";
        for who in [
            Who::Technician,
            Who::Qa,
            Who::Billing,
            Who::Intake,
            Who::Workflow,
        ] {
            let reply = stack.ask(who, Method::GET, path).send().await;
            reply.no_attempt(ErrorCode::Forbidden);
        }
        for who in [Who::Dispatcher, Who::Auditor, Who::TenantAdmin] {
            let reply = stack.ask(who, Method::GET, path).send().await;
            assert_eq!(reply.status, 200, "{who:?}");
        }
        let odd = stack.ask(
            Who::Auditor,
            Method::GET,
            "/proposals/agreement?kind=gossip",
        );
        odd.send().await.no_attempt(ErrorCode::InvalidParameter);
    });
}
