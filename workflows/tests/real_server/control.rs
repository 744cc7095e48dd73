//! A tenant's control: short, and tried again.

use std::time::Duration;

use contracts::{
    autonomy::{TENANT_CONTROL_WORKFLOW, TenantControlStart},
    ids::control_schedule_id,
};
use dispatch_workflows::TenantControl;
use temporalio_client::{WorkflowGetResultOptions, WorkflowStartOptions};
use tokio::time::sleep;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_round_waits_for_dispatch_api_and_says_what_it_did() {
    let fixture = Fixture::new().await;
    fixture.api.truth().away = true;
    let id = control_schedule_id(fixture.start.tenant_id);
    let start = TenantControlStart {
        tenant_id: fixture.start.tenant_id,
    };
    let done = fixture
        .with_worker(async {
            let options = WorkflowStartOptions::new(&fixture.task_queue, &id).build();
            let handle = fixture
                .client
                .start_workflow(TenantControl::run, start, options)
                .await
                .unwrap();
            let calls = || fixture.api.truth().calls.get("tenant_control").copied();
            while calls().is_none() {
                sleep(Duration::from_millis(20)).await;
            }
            fixture.api.truth().away = false;
            handle
                .get_result(WorkflowGetResultOptions::default())
                .await
                .unwrap()
        })
        .await;
    assert_eq!(done.done, 1);
    let history = fixture.history_of(&id, None).await;
    println!("{} events: {:#?}", history.len(), census(&history));
    assert!(history.len() <= 10, "{} events in a round", history.len());
    assert_eq!(TENANT_CONTROL_WORKFLOW, "TenantControl");
    replay("tenant_control", history).await;
}
