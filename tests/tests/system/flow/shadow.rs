//! In shadow mode software proposes and never acts, whoever it is and however it tries.

use activities::{Bookkeeper, TokenSource};
use contracts::{ErrorCode, Operation, command::CommandClass, proposal::ProposalKind};
use dispatch_tests::{
    flow::{FlowOptions, with_flow},
    job::{Job, ROUTED},
    namespace::connection_options,
    record::attempt,
    wait::{self, BOUND},
    who::{AUDIENCE, ISSUER, SECRET, Who},
};
use worker::WorkerConfig;

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
fn the_worker_has_the_three_activities_and_no_other() {
    let config = WorkerConfig::new(
        connection_options("127.0.0.1:1"),
        "default",
        url::Url::parse("http://127.0.0.1:1").unwrap(),
        TokenSource::new(SECRET.as_bytes(), ISSUER, AUDIENCE),
    );
    // The bookkeeper is all that an activity can reach dispatch-api with.
    Bookkeeper::new(&config.api, config.tokens.clone()).unwrap();
    let options = worker::options(&config).unwrap();
    let shown = format!("{:?}", options.activities());
    let mut names: Vec<_> = shown.split('"').skip(1).step_by(2).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["advise", "record_sla", "ticket_snapshot"],
        "{shown}"
    );
    let sent = workflows::activity::ALL
        .iter()
        .filter_map(|(_, sends)| *sends);
    for operation in sent {
        assert_eq!(operation.class(), CommandClass::Bookkeeping, "{operation}");
    }
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
    });
}
