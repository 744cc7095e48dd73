//! Somebody laid hands on a workflow in Temporal's Web UI.

use contracts::Operation;
use dispatch_tests::{
    flow::{Flow, FlowOptions, HEALING, with_flow},
    job::Job,
};

/// A ticket that has come some way, in four signals.
async fn scheduled(flow: &Flow) -> Job {
    let mut job = flow.job();
    for operation in [
        Operation::CreateTicket,
        Operation::Triage,
        Operation::ProposeSchedule,
        Operation::ConfirmSchedule,
    ] {
        job.does(operation).await;
        flow.agreed(job.id()).await;
    }
    job
}

#[test]
fn a_terminated_workflow_comes_back_by_itself() {
    with_flow(FlowOptions::default(), async |flow| {
        let mut job = scheduled(&flow).await;
        let key = flow.key(job.id());
        let first = flow.namespace().run_id(key).await;
        flow.namespace().terminate(key).await;
        let view = flow.agreed_within(job.id(), HEALING).await;
        assert!(view.healed >= 1);
        assert_ne!(flow.namespace().run_id(key).await, first);
        // It goes on as if nothing had happened.
        job.does(Operation::Dispatch).await;
        flow.agreed(job.id()).await;

        // Once more, with an event on the way.
        flow.namespace().terminate(key).await;
        job.does(Operation::EnRoute).await;
        flow.agreed_within(job.id(), HEALING).await;
    });
}

#[test]
fn a_reset_workflow_finds_its_way() {
    with_flow(FlowOptions::default(), async |flow| {
        let mut job = scheduled(&flow).await;
        let key = flow.key(job.id());
        // As the Web UI does it: to the first task, with the later signals again.
        let run = flow.namespace().reset(key, true).await;
        flow.agreed_within(job.id(), HEALING).await;
        assert_eq!(flow.namespace().run_id(key).await, Some(run));
        // And without them: the run knows the beginning of the story only.
        let run = flow.namespace().reset(key, false).await;
        flow.agreed_within(job.id(), HEALING).await;
        assert_eq!(flow.namespace().run_id(key).await, Some(run));
        job.does(Operation::Dispatch).await;
        flow.agreed(job.id()).await;
    });
}
