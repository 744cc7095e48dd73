//! In shadow mode software proposes and never acts, whoever it is and however it tries.

use activities::Bookkeeper;
use client::draw_api_key;
use contracts::{
    ErrorCode, Operation,
    command::CommandClass,
    proposal::{AdvisorInput, PairingOutcome, Proposal, ProposalKind},
};
use dispatch_tests::{
    flow::{FlowOptions, with_flow},
    job::{Job, ROUTED},
    namespace::connection_options,
    record::attempt,
    wait::{self, BOUND},
    who::Who,
};
use strum::VariantArray;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use worker::WorkerConfig;

use super::budget::JOB;

#[test]
fn software_is_refused_every_change_while_its_workflow_looks_on() {
    with_flow(FlowOptions::default(), async |flow| {
        for &operation in ROUTED {
            if operation.class() != CommandClass::Change {
                continue;
            }
            let job = Job::ready_for(&flow, flow.tenant(), operation).await;
            let body = job.body(operation).await;
            let before = match operation {
                Operation::CreateTicket => None,
                _ => Some(flow.agreed(job.id()).await),
            };
            for who in [Who::Agent, Who::Workflow] {
                let reply = flow
                    .command(who, operation, job.target(operation), &body)
                    .send()
                    .await;
                let problem = reply.problem(ErrorCode::Stage);
                let row = attempt(flow.admin(), problem.command_id.unwrap()).await;
                let row = row.expect("the attempt is on record");
                assert_eq!(row.refused.as_deref(), Some("STAGE"), "{operation}");
                assert_eq!(row.actor_id, who.actor(flow.tenant()).id, "{operation}");
                assert_eq!(row.result, "DENY", "{operation}");
            }
            // The refusals were no news for the workflow.
            if let Some(before) = before {
                let after = flow.agreed(job.id()).await;
                assert_eq!(after.applied_seq, before.applied_seq, "{operation}");
            }
        }
    });
}

#[test]
fn the_worker_has_its_activities_and_no_other() {
    let config = WorkerConfig::new(
        connection_options("127.0.0.1:1"),
        "default",
        url::Url::parse("http://127.0.0.1:1").unwrap(),
        draw_api_key(),
    );
    // The bookkeeper is all that an activity can reach dispatch-api with.
    Bookkeeper::new(&config.api, &config.key).unwrap();
    let options = worker::options(&config).unwrap();
    let shown = format!("{:?}", options.activities());
    let mut names: Vec<_> = shown.split('"').skip(1).step_by(2).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "advise",
            "approval_step",
            "execute_approval",
            "record_sla",
            "tenant_control",
            "ticket_snapshot"
        ],
        "{shown}"
    );
    // What changes a ticket is what advice is followed by, and the stage is asked about each.
    let sent = workflows::activity::ALL.iter();
    for operation in sent.flat_map(|(_, sends)| sends.iter()) {
        let followed = ProposalKind::VARIANTS
            .iter()
            .any(|kind| domain::autonomy::operation_of(*kind) == Some(*operation));
        let changes = operation.class() == CommandClass::Change;
        assert_eq!(changes, followed, "{operation}");
    }
}

/// All proposals of a ticket, read as software: a person's reading would count.
async fn proposals(flow: &dispatch_tests::flow::Flow, job: &Job) -> Vec<Proposal> {
    let workflow = flow.client(flow.tenant(), Who::Workflow);
    workflow.proposals(job.id()).await.unwrap().items
}

#[test]
fn each_kind_of_advice_is_given_once_where_a_person_decides_and_is_paired() {
    with_flow(FlowOptions::default(), async |flow| {
        let mut job = flow.job();
        for &operation in JOB {
            job.does(operation).await;
            flow.agreed(job.id()).await;
        }
        use ProposalKind::*;
        let proposals = proposals(&flow, &job).await;
        let given: Vec<_> = proposals
            .iter()
            .map(|proposal| (proposal.kind, proposal.based_on_version))
            .collect();
        assert_eq!(
            given,
            [
                (Triage, 1),
                (Slot, 2),
                (Reminder, 3),
                (Technician, 4),
                (ChangeDecision, 8),
                (Slot, 10),
                (Reminder, 11),
                (Technician, 12),
                (Closeout, 16),
                (InvoiceLines, 17),
            ]
        );
        for proposal in &proposals {
            let kind = proposal.kind;
            assert_eq!(domain::advise(&proposal.input), proposal.advice, "{kind}");
            let pairing = proposal.pairing.as_ref();
            let pairing = pairing.unwrap_or_else(|| panic!("{kind} is not paired"));
            assert!(
                !pairing.seen && pairing.outcome != PairingOutcome::Nothing,
                "{kind}: {pairing:?}"
            );
        }
    });
}

#[test]
fn who_is_awaited_is_reminded_and_an_urgent_ticket_asks_twice_in_one_call() {
    with_flow(FlowOptions::default(), async |flow| {
        let mut job = flow.job();
        job.does(Operation::CreateTicket).await;
        flow.agreed(job.id()).await;
        let urgent = serde_json::json!({ "priority": "P1", "details": { "pane_count": 1 } });
        job.sends(Operation::Triage, &urgent).await;
        flow.agreed(job.id()).await;
        job.does(Operation::CustomerAwait).await;
        flow.agreed(job.id()).await;
        job.does(Operation::CustomerResume).await;
        flow.agreed(job.id()).await;
        job.does(Operation::Dispatch).await;
        let view = flow.agreed(job.id()).await;
        use ProposalKind::*;
        let mut expected = [
            (Triage, 1),
            (Slot, 2),
            (Technician, 2),
            (Reminder, 3),
            (Slot, 4),
            (Technician, 4),
        ];
        expected.sort_unstable();
        assert_eq!(view.proposed, expected);
        // Sent at once: no window was offered, and whom to send was decided.
        for proposal in proposals(&flow, &job).await {
            let outcome = proposal.pairing.map(|pairing| pairing.outcome);
            match proposal.kind {
                Slot => assert_eq!(outcome, Some(PairingOutcome::Nothing)),
                // A newer word took its place.
                Technician if proposal.based_on_version == 2 => {
                    assert_eq!(outcome, Some(PairingOutcome::Nothing));
                }
                Technician | Triage => {
                    assert!(outcome.is_some_and(|o| o != PairingOutcome::Nothing));
                }
                // The customer answered in good time.
                _ => assert_eq!(outcome, Some(PairingOutcome::Equivalent)),
            }
        }
        // One marker for the patch and one for each call: two kinds at a version are one call.
        let history = flow.namespace().history(flow.key(job.id())).await;
        let markers = history
            .iter()
            .filter(|event| event.event_type() == EventType::MarkerRecorded)
            .count();
        assert_eq!(markers, 1 + 4);
    });
}

#[test]
fn each_warning_and_breach_is_escalated_once() {
    let options = FlowOptions {
        time_skipping: true,
        ..FlowOptions::default()
    };
    with_flow(options, async |flow| {
        let mut job = flow.job();
        let clocks = job.does(Operation::CreateTicket).await.ticket.sla.len();
        let key = flow.key(job.id());
        let view = wait::until("an escalation of each", BOUND, async || {
            let view = flow.namespace().view(key).await?;
            match view.escalated.len() == 2 * clocks {
                true => Ok(view),
                false => Err(format!("{:?}", view.escalated)),
            }
        })
        .await;
        let mut told: Vec<_> = proposals(&flow, &job)
            .await
            .into_iter()
            .filter_map(|proposal| {
                assert_eq!(domain::advise(&proposal.input), proposal.advice);
                match proposal.input {
                    AdvisorInput::Escalation(input) => Some(input.record),
                    _ => None,
                }
            })
            .collect();
        told.sort();
        assert_eq!(told, view.escalated);
        job.does(Operation::Cancel).await;
        flow.agreed(job.id()).await;
        for proposal in proposals(&flow, &job).await {
            let outcome = proposal.pairing.map(|pairing| pairing.outcome);
            assert_eq!(outcome, Some(PairingOutcome::Nothing), "{}", proposal.kind);
        }
    });
}

#[test]
fn what_it_would_have_done_is_on_record_and_compared_with_what_a_person_did() {
    with_flow(FlowOptions::default(), async |flow| {
        let mut job = flow.job();
        job.does(Operation::CreateTicket).await;
        let auditor = flow.client(flow.tenant(), Who::Auditor);
        let proposal = wait::until("a proposal", BOUND, async || {
            let page = auditor
                .proposals(job.id())
                .await
                .map_err(|error| error.to_string())?;
            page.items
                .into_iter()
                .next()
                .ok_or_else(|| "none yet".to_owned())
        })
        .await;
        assert_eq!(
            (proposal.kind, proposal.based_on_version),
            (ProposalKind::Triage, 1)
        );
        // The advice can be computed again from what is stored with it.
        assert_eq!(domain::advise(&proposal.input), proposal.advice);
        assert_eq!(proposal.pairing, None);

        let receipt = job.does(Operation::Triage).await;
        let page = auditor.proposals(job.id()).await.unwrap();
        let pairing = page.items[0].pairing.clone().expect("a person has acted");
        assert_eq!(pairing.command_id, receipt.command_id);
        assert_eq!(pairing.actor_id, Who::Dispatcher.actor(flow.tenant()).id);
        assert!(
            !pairing.seen,
            "an auditor has read it, the dispatcher has not"
        );
    });
}
