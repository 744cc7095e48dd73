//! The ways on which a job goes back: another visit, another technician, opened again after its end.
//! The workflow knows them from the level alone.

use contracts::{Operation, TicketState};
use dispatch_tests::{
    flow::{Flow, FlowOptions, HEALING, with_flow},
    job::Job,
    wait::{self, BOUND},
};
use temporalio_common::protos::temporal::api::enums::v1::WorkflowExecutionStatus;

/// The ticket's workflow ends.
async fn ends(flow: &Flow, job: &Job) {
    wait::until("the workflow's end", BOUND, async || {
        match flow.namespace().status(flow.key(job.id())).await {
            Some(WorkflowExecutionStatus::Completed) => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[test]
fn a_reopened_ticket_gets_a_workflow_again() {
    with_flow(FlowOptions::default(), async |flow| {
        let mut job = Job::at(&flow, flow.tenant(), TicketState::Closed).await;
        let key = flow.key(job.id());
        flow.settle().await;
        ends(&flow, &job).await;
        let first = flow.namespace().run_id(key).await;

        job.does(Operation::Reopen).await;
        let view = flow.agreed_within(job.id(), HEALING).await;
        let level = view.level.expect("it took a snapshot");
        assert_eq!(level.state, TicketState::ReturnPending);
        assert!(level.sla.iter().any(|clock| clock.revision == 2));
        assert_ne!(flow.namespace().run_id(key).await, first);

        // It ends once more, and so does its workflow.
        for operation in [
            Operation::ProposeSchedule,
            Operation::ConfirmSchedule,
            Operation::Dispatch,
            Operation::CheckIn,
            Operation::Complete,
            Operation::QaVerify,
            Operation::GenerateInvoice,
            Operation::Close,
        ] {
            job.does(operation).await;
        }
        flow.settle().await;
        ends(&flow, &job).await;
    });
}

#[test]
fn every_setback_reaches_the_workflow() {
    with_flow(FlowOptions::default(), async |flow| {
        let mut job = flow.job();
        for operation in [
            Operation::CreateTicket,
            Operation::Triage,
            Operation::ProposeSchedule,
            Operation::ConfirmSchedule,
            Operation::Reschedule,
            Operation::ConfirmSchedule,
            Operation::Dispatch,
            Operation::Unassign,
            Operation::Dispatch,
            Operation::NoAccess,
            Operation::ProposeSchedule,
            Operation::ConfirmSchedule,
            Operation::Dispatch,
            Operation::CheckIn,
            Operation::Complete,
            Operation::QaReject,
        ] {
            job.does(operation).await;
            flow.agreed(job.id()).await;
        }
        assert_eq!(job.ticket().await.visits.len(), 3);

        // A second call about it: its workflow ends with it, the first one's goes on.
        let mut call = Job::at(&flow, flow.tenant(), TicketState::Triaged).await;
        flow.agreed(call.id()).await;
        let into = serde_json::json!({ "into": job.id() });
        call.sends(Operation::Merge, &into).await;
        flow.settle().await;
        ends(&flow, &call).await;
        let open = flow.namespace().status(flow.key(job.id())).await;
        assert_eq!(open, Some(WorkflowExecutionStatus::Running));
    });
}
