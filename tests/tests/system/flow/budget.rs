//! What a ticket costs Temporal: a published number, because Temporal's cost is per operation.

use client::CallOptions;
use contracts::{Operation, TicketState, command::RecordProposal, proposal::ProposalKind};
use dispatch_tests::{
    flow::{Flow, FlowOptions, with_flow},
    job::Job,
    namespace::count,
    who::Who,
};
use temporalio_common::protos::temporal::api::enums::v1::EventType;

/// History events of the job below, from the first message to the paid invoice, when every event
/// travels alone, which is the dearest way. Of these are ten calls for advice, a marker each, and two
/// for the patch that asks for every kind of it. Six came with approvals: two for the patch that
/// follows them, and two timers, each set and cancelled, because the change order's first reminder
/// is nearer than any deadline until it is decided. Lower it when it falls; think before raising it.
const BUDGET: usize = 120;

/// An emergency with a change order and two visits, as the demo plays it.
pub const JOB: &[Operation] = &[
    Operation::CreateTicket,
    Operation::Triage,
    Operation::ProposeSchedule,
    Operation::ConfirmSchedule,
    Operation::Dispatch,
    Operation::EnRoute,
    Operation::CheckIn,
    Operation::RequestChange,
    Operation::DecideApproval,
    Operation::ReturnVisit,
    Operation::ProposeSchedule,
    Operation::ConfirmSchedule,
    Operation::Dispatch,
    Operation::EnRoute,
    Operation::CheckIn,
    Operation::Complete,
    Operation::QaVerify,
    Operation::GenerateInvoice,
    Operation::Close,
];

async fn events(flow: &Flow, job: &Job) -> usize {
    flow.namespace().history(flow.key(job.id())).await.len()
}

#[test]
fn a_life_costs_no_more_than_its_budget() {
    with_flow(FlowOptions::default(), async |flow| {
        let mut job = flow.job();
        for &operation in JOB {
            job.does(operation).await;
            flow.agreed(job.id()).await;
        }
        assert_eq!(job.ticket().await.state, TicketState::Closed);
        let events = flow.namespace().history(flow.key(job.id())).await;
        // A task beyond one for each signal is this test's own doing: the SDK answers a question
        // that comes in the midst of a call by ending the task and going on in another.
        let tasks = count(&events, EventType::WorkflowTaskScheduled);
        let signals = count(&events, EventType::WorkflowExecutionSignaled);
        let questions = tasks - signals;
        assert!(questions <= signals / 2, "{tasks} tasks, {signals} signals");
        let spent = events.len() - 3 * questions;
        assert!(
            spent <= BUDGET,
            "{spent} history events, {BUDGET} is the budget"
        );
    });
}

#[test]
fn bookkeeping_costs_nothing() {
    with_flow(FlowOptions::default(), async |flow| {
        let mut job = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
        flow.agreed(job.id()).await;
        let before = events(&flow, &job).await;
        for _ in 0..10 {
            job.does(Operation::AddNote).await;
        }
        // An agent may say what it would do, too.
        let agent = flow.client(flow.tenant(), Who::Agent);
        let workflow = flow.client(flow.tenant(), Who::Workflow);
        for kind in [ProposalKind::Technician, ProposalKind::Triage] {
            let input = workflow.advisor_input(job.id(), kind).await.unwrap();
            let body = RecordProposal {
                based_on_version: input.version(),
                applied_seq: 0,
                advice: domain::advise(&input),
                input,
            };
            let options = CallOptions::default();
            let recorded = agent.record_proposal(job.id(), &body, &options).await;
            assert_eq!(recorded.unwrap().ticket.version, 4);
        }
        flow.agreed(job.id()).await;
        assert_eq!(events(&flow, &job).await, before);
        // It hears of the next change all the same, and only of that.
        job.does(Operation::Dispatch).await;
        assert_eq!(flow.agreed(job.id()).await.applied_seq, 5);
    });
}
