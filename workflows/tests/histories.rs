//! Histories of released versions replay on this code.
//!
//! The files in `histories/<version>/` were captured once from a release (`DISPATCH_CAPTURE=<folder>
//! cargo test -p dispatch-workflows --test real_server`) and are never made anew: an open workflow
//! that was started by that release is what they stand for. A failure here means that the change
//! needs `patched`, see the crate's documentation.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use contracts::signal::{TICKET_WORKFLOW, WorkflowView};
use dispatch_workflows::{TenantControl, TicketWorkflow, ticket::TicketInput};
use temporalio_client::WorkflowHistory;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{
    WorkflowContext, WorkflowResult,
    workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions},
};

fn captured() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .flat_map(|version| fs::read_dir(version.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 10, "histories are missing: {files:?}");
    files
}

fn read(file: &Path) -> WorkflowHistory {
    WorkflowHistory::from_json(&fs::read(file).unwrap()).unwrap()
}

#[tokio::test]
async fn every_captured_history_replays() {
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<TicketWorkflow>()
        .unwrap()
        .register_workflow::<TenantControl>()
        .unwrap()
        .build();
    let replayer = WorkflowReplayer::new(options).unwrap();
    for file in captured() {
        let replayed = replayer.replay_workflow(read(&file)).await;
        assert!(replayed.is_ok(), "{}: {replayed:?}", file.display());
    }
}

/// The ticket workflow as somebody might change it by mistake: it sleeps first.
#[workflow]
#[derive(Default)]
struct Changed;

#[workflow_methods]
impl Changed {
    #[run(name = TICKET_WORKFLOW)]
    async fn run(ctx: &mut WorkflowContext<Self>, _: TicketInput) -> WorkflowResult<WorkflowView> {
        ctx.timer(Duration::from_secs(1)).await;
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_changed_workflow_replays_none() {
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<Changed>()
        .unwrap()
        .build();
    let replayer = WorkflowReplayer::new(options).unwrap();
    for file in captured() {
        let replayed = replayer.replay_workflow(read(&file)).await;
        assert!(replayed.is_err(), "{} replays", file.display());
    }
}
