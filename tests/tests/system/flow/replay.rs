//! Histories that were captured from released builds replay on this one.
//!
//! They are never written by an ordinary run: whoever changes the workflow must not be able to
//! change its proof by accident. How to capture those of a new release: `tests/histories/README.md`.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use contracts::{Operation, TicketState, approval::ApprovalState, signal::WorkflowView};
use dispatch_tests::{
    flow::{FlowOptions, with_flow},
    job::Job,
    wait::{self, BOUND},
};
use temporalio_client::WorkflowHistory;
use temporalio_common::protos::temporal::api::history::v1::{History, HistoryEvent};
use temporalio_sdk::workflow_replayer::{
    WorkflowReplayFailure, WorkflowReplayer, WorkflowReplayerOptions,
};
use workflows::TicketWorkflow;

use super::{
    acting::{reaches, set_stage},
    approvals::{approve, becomes},
    budget::JOB,
};

/// What there must be of each release.
const KINDS: [&str; 7] = [
    "breached",
    "cancelled",
    "continued_as_new",
    "continued_run",
    "healed",
    "normal",
    "terminated",
];

/// What there must be besides since version 0.3.0.
const KINDS_SINCE_0_3: [&str; 3] = ["acted", "approval_carried_out", "approval_expired"];

/// The kinds that a release must have.
fn kinds(release: &str) -> Vec<&'static str> {
    let numbers: Vec<u32> = release.split('.').map(|n| n.parse().unwrap()).collect();
    let more = match numbers >= vec![0, 3, 0] {
        true => &KINDS_SINCE_0_3[..],
        false => &[],
    };
    KINDS.iter().chain(more).copied().collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("histories")
}

/// Release and kind of each captured history.
fn captured() -> BTreeMap<(String, String), Vec<u8>> {
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut all = BTreeMap::new();
    for release in fs::read_dir(folder()).unwrap() {
        let release = release.unwrap().path();
        if !release.is_dir() {
            continue;
        }
        let of = release.file_name().unwrap().to_string_lossy().into_owned();
        for file in fs::read_dir(&release).unwrap() {
            let file = file.unwrap().path();
            all.insert((of.clone(), name(&file)), fs::read(&file).unwrap());
        }
    }
    all
}

/// Replays them all and says what went wrong with which.
fn replay(
    options: WorkflowReplayerOptions,
) -> BTreeMap<(String, String), Option<WorkflowReplayFailure>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let captured = captured();
    let histories = captured
        .values()
        .map(|json| WorkflowHistory::from_json(json).unwrap());
    let replayer = WorkflowReplayer::new(options).unwrap();
    let results = runtime
        .block_on(replayer.replay_workflows(histories))
        .unwrap();
    let failures = results.into_iter().map(|result| result.replay_failure);
    captured.keys().cloned().zip(failures).collect()
}

#[test]
fn all_captured_histories_replay() {
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<TicketWorkflow>()
        .unwrap();
    let results = replay(options.build());
    let releases: Vec<_> = results.keys().map(|(release, _)| release).collect();
    assert!(!releases.is_empty(), "no release has its histories");
    for release in releases {
        for kind in kinds(release) {
            let key = (release.clone(), kind.to_owned());
            assert!(results.contains_key(&key), "{key:?} was not captured");
        }
    }
    let failed: Vec<_> = results
        .iter()
        .filter(|(_, failure)| failure.is_some())
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The ticket workflow with one difference: it says nothing to the Web UI's list.
mod changed {
    use contracts::signal::{
        SignalEnvelope, TICKET_SIGNAL, TICKET_VIEW_QUERY, TICKET_WORKFLOW, TicketWorkflowStart,
        WorkflowView,
    };
    use temporalio_macros::{workflow, workflow_methods};
    use temporalio_workflow::{
        LocalActivityOptions, SyncWorkflowContext, WorkflowContext, WorkflowContextView,
        WorkflowResult,
        common::{RetryPolicy, data_converters::RawValue},
    };
    use workflows::{
        activity::{Advise, TakeSnapshot},
        ticket::follower::{Failure, Step, TicketFollower},
    };

    #[workflow]
    pub struct Changed {
        follower: TicketFollower,
        signals: u64,
    }

    fn failure(error: impl std::fmt::Display) -> Failure {
        Failure {
            retryable: true,
            reason: error.to_string(),
        }
    }

    fn options() -> LocalActivityOptions {
        LocalActivityOptions::builder()
            .schedule_to_close_timeout(workflows::ticket::workflow::CALL_TIMEOUT)
            .retry_policy(RetryPolicy::builder().maximum_attempts(1).build())
            .build()
    }

    #[workflow_methods]
    impl Changed {
        #[init]
        pub fn new(_: &WorkflowContextView, start: TicketWorkflowStart) -> Self {
            let follower = TicketFollower::new(&start);
            Self {
                follower,
                signals: 0,
            }
        }

        #[run(name = TICKET_WORKFLOW)]
        pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<WorkflowView> {
            let ctx = &*ctx;
            loop {
                let now = chrono::DateTime::from(ctx.workflow_time().unwrap());
                match ctx.state_mut(|s| s.follower.next_step(now)) {
                    Step::Snapshot(call) => {
                        let answer = ctx
                            .execute_local_activity(TakeSnapshot, call, options())
                            .await;
                        ctx.state_mut(|s| s.follower.on_snapshot(answer.map_err(failure), now));
                    }
                    Step::Advise(call) => {
                        let done = ctx
                            .execute_local_activity(Advise, call.clone(), options())
                            .await;
                        let done = done.map(|settled| settled.outcome).map_err(failure);
                        ctx.state_mut(|s| s.follower.on_advice(&call, done, now));
                    }
                    Step::Finish => return Ok(ctx.state(|s| s.follower.view())),
                    Step::RecordSla(_)
                    | Step::TakeApprovalStep(_)
                    | Step::CarryOut(_)
                    | Step::Wait(_) => {
                        let seen = ctx.state(|s| s.signals);
                        ctx.wait_condition(|s| s.signals != seen).await?;
                    }
                }
            }
        }

        #[signal(name = TICKET_SIGNAL)]
        pub fn ticket_events(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
            let value = serde_json::from_slice(&raw.payloads[0].data).unwrap();
            let now = chrono::DateTime::from(ctx.workflow_time().unwrap());
            self.follower.receive(SignalEnvelope::read(&value), now);
            self.signals += 1;
        }

        #[query(name = TICKET_VIEW_QUERY)]
        pub fn view(&self, _: &WorkflowContextView) -> WorkflowView {
            self.follower.view()
        }
    }
}

#[test]
fn a_changed_workflow_is_found_out() {
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<changed::Changed>()
        .unwrap();
    let results = replay(options.build());
    for ((release, kind), failure) in results {
        assert!(
            matches!(failure, Some(WorkflowReplayFailure::Nondeterminism { .. })),
            "{release}/{kind}: {failure:?}"
        );
    }
}

/// Writes a history once; there is no second time.
fn keep(kind: &str, events: Vec<HistoryEvent>) {
    let folder = folder().join(env!("CARGO_PKG_VERSION"));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(kind).with_extension("json");
    let text = serde_json::to_string_pretty(&History { events }).unwrap() + "\n";
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)
        .unwrap_or_else(|error| panic!("{} is never written again: {error}", file.display()));
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
#[ignore = "captures histories of a release, see tests/histories/README.md"]
fn capture() {
    with_flow(FlowOptions::default(), async |flow| {
        let mut job = flow.job();
        for &operation in JOB {
            job.does(operation).await;
            flow.agreed(job.id()).await;
        }
        keep("normal", flow.namespace().history(flow.key(job.id())).await);

        let job = Job::at(&flow, flow.tenant(), TicketState::Cancelled).await;
        flow.agreed(job.id()).await;
        keep(
            "cancelled",
            flow.namespace().history(flow.key(job.id())).await,
        );

        let mut job = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
        let key = flow.key(job.id());
        flow.agreed(job.id()).await;
        flow.namespace().terminate(key).await;
        keep("terminated", flow.namespace().history(key).await);
        let healed: WorkflowView = flow.agreed(job.id()).await;
        assert!(healed.healed > 0);
        job.does(Operation::Dispatch).await;
        flow.agreed(job.id()).await;
        job.does(Operation::Cancel).await;
        flow.agreed(job.id()).await;
        keep("healed", flow.namespace().history(key).await);
    });
    let slow = FlowOptions {
        relay: false,
        ..FlowOptions::default()
    };
    with_flow(slow, async |flow| {
        let mut job = flow.job();
        job.does(Operation::CreateTicket).await;
        let key = flow.key(job.id());
        let mut input = serde_json::to_value(flow.start_input(job.id())).unwrap();
        input["history_limit"] = 40.into();
        flow.namespace().start(key, &input).await;
        flow.start_relay();
        for operation in JOB.iter().skip(1).take(9) {
            job.does(*operation).await;
            flow.agreed(job.id()).await;
        }
        job.does(Operation::Cancel).await;
        flow.agreed(job.id()).await;
        let runs = wait::until("several runs", BOUND, async || {
            let runs = flow.namespace().runs(key).await;
            if runs.len() >= 2 { Ok(runs) } else { Err(runs) }
        })
        .await;
        keep(
            "continued_as_new",
            flow.namespace().history_of(key, &runs[0]).await,
        );
        keep(
            "continued_run",
            flow.namespace().history_of(key, &runs[1]).await,
        );
    });
    let skipping = FlowOptions {
        time_skipping: true,
        ..FlowOptions::default()
    };
    with_flow(skipping, async |flow| {
        let mut job = flow.job();
        let clocks = job.does(Operation::CreateTicket).await.ticket.sla.len();
        let key = flow.key(job.id());
        wait::until("all breaches", BOUND, async || {
            let view = flow.namespace().view(key).await?;
            let recorded = view.sla_recorded.len();
            if recorded == 2 * clocks {
                Ok(())
            } else {
                Err(format!("{recorded}"))
            }
        })
        .await;
        job.does(Operation::Cancel).await;
        flow.agreed(job.id()).await;
        keep("breached", flow.namespace().history(key).await);

        set_stage(&flow, Operation::Dispatch, "APPROVE").await;
        let mut job = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
        becomes(flow.admin(), job.id(), ApprovalState::Expired).await;
        flow.agreed(job.id()).await;
        job.does(Operation::Cancel).await;
        flow.agreed(job.id()).await;
        let key = flow.key(job.id());
        keep("approval_expired", flow.namespace().history(key).await);
    });
    with_flow(FlowOptions::default(), async |flow| {
        for (kind, mode) in [("approval_carried_out", "APPROVE"), ("acted", "AUTO")] {
            set_stage(&flow, Operation::Dispatch, mode).await;
            let mut job = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
            if mode == "APPROVE" {
                let id = becomes(flow.admin(), job.id(), ApprovalState::Pending).await;
                approve(&flow, id).await;
            }
            reaches(&job, TicketState::Dispatched).await;
            flow.agreed(job.id()).await;
            job.does(Operation::Cancel).await;
            flow.agreed(job.id()).await;
            keep(kind, flow.namespace().history(flow.key(job.id())).await);
        }
    });
}
