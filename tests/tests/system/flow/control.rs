//! What is due without a ticket: a schedule per tenant, put there once, that fires without the relay
//! and whatever becomes of a worker.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use contracts::{Operation, autonomy::TENANT_CONTROL_WORKFLOW, ids::control_schedule_id};
use dispatch_tests::{
    flow::{Flow, FlowOptions, quick, with_flow},
    wait::{self, BOUND},
    who::Who,
};
use relay::Tuning;
use serde_json::json;
use temporalio_client::tonic::{Code, IntoRequest};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DeleteScheduleRequest, ListSchedulesRequest,
};

fn controlled() -> FlowOptions {
    FlowOptions {
        tuning: Tuning {
            control_interval: Some(Duration::from_secs(1)),
            reconcile_full_interval: Duration::from_secs(2),
            ..quick()
        },
        ..FlowOptions::default()
    }
}

/// The schedules that there are, in order.
async fn schedules(flow: &Flow) -> Vec<String> {
    let request = ListSchedulesRequest {
        namespace: flow.namespace().name().to_owned(),
        maximum_page_size: 100,
        ..Default::default()
    };
    let client = flow.namespace().client();
    // A server grants few lists in a second.
    let listed = wait::until("a list", BOUND, async || {
        let mut service = client.connection().workflow_service();
        match service.list_schedules(request.clone().into_request()).await {
            Err(status) if status.code() == Code::ResourceExhausted => Err(status),
            answer => Ok(answer.expect("schedules can be listed").into_inner()),
        }
    })
    .await;
    let mut ids: Vec<_> = listed
        .schedules
        .into_iter()
        .map(|it| it.schedule_id)
        .collect();
    ids.sort();
    ids
}

async fn rounds(flow: &Flow) -> usize {
    let done =
        format!("WorkflowType = '{TENANT_CONTROL_WORKFLOW}' AND ExecutionStatus = 'Completed'");
    flow.namespace().list(&done).await.len()
}

async fn more_rounds(flow: &Flow) {
    let before = rounds(flow).await;
    wait::until("two more rounds", BOUND, async || {
        match rounds(flow).await {
            n if n >= before + 2 => Ok(()),
            n => Err(n),
        }
    })
    .await;
}

#[test]
fn each_tenant_has_one_schedule_that_fires_whoever_comes_and_goes() {
    with_flow(controlled(), async |flow| {
        let mut expected = [flow.tenant(), flow.other()].map(|it| control_schedule_id(it.id));
        expected.sort();
        let there = async || match schedules(&flow).await {
            found if found == expected => Ok(()),
            found => Err(found),
        };
        wait::until("the schedules", BOUND, there).await;
        more_rounds(&flow).await;

        // Another relay finds them there, and a schedule needs none at all.
        flow.start_relay();
        more_rounds(&flow).await;
        flow.stop_relays().await;
        assert_eq!(schedules(&flow).await, expected);
        more_rounds(&flow).await;

        // Without a worker a round waits; the next worker takes it up.
        flow.stop_worker().await;
        flow.start_worker().await;
        more_rounds(&flow).await;

        // One that somebody removed comes back.
        flow.start_relay();
        let request = DeleteScheduleRequest {
            namespace: flow.namespace().name().to_owned(),
            schedule_id: expected[0].clone(),
            identity: "test".to_owned(),
        };
        let client = flow.namespace().client();
        let mut service = client.connection().workflow_service();
        service
            .delete_schedule(request.into_request())
            .await
            .unwrap();
        let gone = async || match schedules(&flow).await {
            found if found.len() == 1 => Ok(()),
            found => Err(found),
        };
        wait::until("it is gone", BOUND, gone).await;
        let there = async || match schedules(&flow).await {
            found if found == expected => Ok(()),
            found => Err(found),
        };
        wait::until("it is back", BOUND, there).await;
    });
}

#[test]
fn a_kill_switch_that_expires_is_released_once_by_the_workflow() {
    with_flow(controlled(), async |flow| {
        let body = json!({ "reason": "drill", "expires_at": Utc::now() + TimeDelta::seconds(2) });
        let engaged = flow
            .command(Who::TenantAdmin, Operation::EngageKillSwitch, None, &body)
            .send()
            .await;
        assert!(engaged.status.is_success(), "{}", engaged.text());
        let released = async || -> Vec<String> {
            sqlx::query_scalar(
                "select actor_kind from audit_events
                 where operation = 'release_kill_switch' and refused is null",
            )
            .fetch_all(flow.admin())
            .await
            .unwrap()
        };
        wait::until("its release", BOUND, async || {
            match released().await.len() {
                0 => Err("still engaged"),
                _ => Ok(()),
            }
        })
        .await;
        more_rounds(&flow).await;
        assert_eq!(released().await, ["workflow"]);
    });
}
