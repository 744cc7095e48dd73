//! What is due without a ticket: a schedule per tenant, put there once, that fires without the relay
//! and whatever becomes of a worker.

use std::{process::Stdio, time::Duration};

use chrono::{TimeDelta, Utc};
use contracts::{
    Operation, autonomy::TENANT_CONTROL_WORKFLOW, event::AutonomyMode, ids::control_schedule_id,
    rollout::StageHistory,
};
use dispatch_tests::{
    fleet::program,
    flow::{Flow, FlowOptions, quick, with_flow},
    wait::{self, BOUND},
    who::Who,
};
use relay::Tuning;
use serde_json::{Value, json};
use temporalio_client::tonic::{Code, IntoRequest};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DeleteScheduleRequest, DescribeScheduleRequest, ListSchedulesRequest,
};

use crate::rollout::{self, TRIAGE};

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
    more_rounds_within(flow, BOUND).await;
}

async fn more_rounds_within(flow: &Flow, bound: Duration) {
    let before = rounds(flow).await;
    wait::until("two more rounds", bound, async || {
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
        let client = flow.namespace().client();
        let made_at = async || {
            let request = DescribeScheduleRequest {
                namespace: flow.namespace().name().to_owned(),
                schedule_id: expected[0].clone(),
            };
            let mut service = client.connection().workflow_service();
            let answer = service.describe_schedule(request.into_request()).await;
            let info = answer.ok()?.into_inner().info?;
            info.create_time
        };
        let before = made_at().await;
        assert!(before.is_some());
        let request = DeleteScheduleRequest {
            namespace: flow.namespace().name().to_owned(),
            schedule_id: expected[0].clone(),
            identity: "test".to_owned(),
        };
        let mut service = client.connection().workflow_service();
        service
            .delete_schedule(request.into_request())
            .await
            .unwrap();
        wait::until("it is back", BOUND, async || match made_at().await {
            Some(at) if Some(at) != before => Ok(()),
            other => Err(other),
        })
        .await;
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

/// How soon a breached guardrail takes a stage back, whatever else the machine does.
const A_MINUTE: Duration = Duration::from_secs(60);

/// The schedule fires as in production; there is no worker yet.
fn as_in_production() -> FlowOptions {
    FlowOptions {
        tuning: Tuning {
            control_interval: Tuning::default().control_interval,
            ..quick()
        },
        worker: false,
        ..FlowOptions::default()
    }
}

#[test]
fn a_breached_guardrail_takes_a_stage_back_within_a_minute_by_the_schedule_alone() {
    with_flow(as_in_production(), async |flow| {
        rollout::rules(&flow, rollout::easy).await;
        rollout::triaged(&flow, true).await;
        rollout::raise(&flow, TRIAGE, AutonomyMode::Auto, None).await;
        let mut jobs = Vec::new();
        for _ in 0..3 {
            let job = rollout::fresh(&flow).await;
            let acted = rollout::act(&flow, Who::Agent, &job, "P2").await;
            acted.receipt();
            jobs.push(job);
        }
        flow.start_worker().await;
        // While all is well a round changes nothing.
        more_rounds_within(&flow, A_MINUTE).await;
        let (mode, version) = rollout::standing(&flow, TRIAGE).await;
        assert_eq!(mode, AutonomyMode::Auto);
        let notices = rollout::told(&flow).await.0;

        // One of three is undone, which is more than 150 in a thousand.
        let undone = rollout::act(&flow, Who::Dispatcher, &jobs[0], "P1").await;
        undone.receipt();
        wait::until(
            "the demotion",
            A_MINUTE,
            async || match rollout::standing(&flow, TRIAGE).await {
                (AutonomyMode::Approve, then) if then == version + 1 => Ok(()),
                other => Err(other),
            },
        )
        .await;

        // Once, however often it is looked at.
        more_rounds_within(&flow, A_MINUTE).await;
        let tenant = flow.tenant();
        let demotions: Vec<(String, String, Option<String>)> = sqlx::query_as(
            "select actor_kind, actor_id, refused from audit_events
              where tenant_id = $1 and operation = 'demote_stage'",
        )
        .bind(tenant.id.as_uuid())
        .fetch_all(flow.admin())
        .await
        .unwrap();
        let workflow = Who::Workflow.actor(tenant).id;
        assert_eq!(demotions, [("workflow".to_owned(), workflow.clone(), None)]);
        assert_eq!(rollout::told(&flow).await.0, notices + 1);

        // With its reason on the record, as people read it.
        let document = history(&flow, &["--json"]).await;
        let changes: StageHistory = serde_json::from_str(&document).unwrap();
        let last = &changes.items[0];
        assert_eq!(
            (last.from, last.to, last.reason.as_str()),
            (
                AutonomyMode::Auto,
                AutonomyMode::Approve,
                "guardrail_overridden"
            )
        );
        assert_eq!(last.decided_by, workflow);
        let text = history(&flow, &[]).await;
        let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert!(
            row.contains(&"guardrail_overridden") && row.contains(&"APPROVE"),
            "{text}"
        );

        // And those whom the bundle names are told.
        let queued: Vec<(Value, String)> = sqlx::query_as(
            "select m.recipient, q.state from comms_messages m
               join comms_queue q on q.tenant_id = m.tenant_id and q.message_id = m.id
              where m.tenant_id = $1 and m.command_id = $2 and m.purpose = 'stage_changed'",
        )
        .bind(tenant.id.as_uuid())
        .bind(last.command_id.as_uuid())
        .fetch_all(flow.admin())
        .await
        .unwrap();
        let roles = json!(["dispatcher", "account_manager", "tenant_admin"]);
        assert_eq!(
            queued,
            [(
                json!({ "to": "roles", "roles": roles }),
                "queued".to_owned()
            )]
        );
    });
}

/// What `dispatch rollout history` prints.
async fn history(flow: &Flow, flags: &[&str]) -> String {
    let mut command = tokio::process::Command::new(program());
    command
        .args(["rollout", "history", "--operation", TRIAGE])
        .args(flags)
        .env_clear()
        .env("DISPATCH_API_URL", format!("http://{}", flow.address()))
        .env("DISPATCH_API_TOKEN", Who::Auditor.token(flow.tenant()))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = wait::within("the program", BOUND, command.output()).await;
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
