//! A tenant that does not work: its workflows wait without wearing themselves out, and one that was
//! erased leaves nothing running.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use contracts::{Operation, Role, TicketState, ids::control_schedule_id, sla::ClockPhase};
use dispatch_tests::{
    flow::{Flow, FlowOptions, check, quick, with_flow},
    http::key,
    job::Job,
    servers,
    wait::{self, BOUND},
    who::{Who, mint},
};
use relay::Tuning;
use serde_json::{Value, json};
use temporalio_client::tonic::{Code, IntoRequest};
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeScheduleRequest;

async fn turn(flow: &Flow, operation: Operation, body: &Value) {
    let mut claims = Who::TenantAdmin.claims(flow.other(), Utc::now());
    claims.roles = [Role::PlatformAdmin].into();
    let path = operation
        .path()
        .replace("{id}", &flow.tenant().id.to_string());
    let ask = flow.http().post(path).token(mint(&claims)).key(key());
    let reply = ask.json(body).send().await;
    assert_eq!(reply.status, 200, "{operation}: {}", reply.text());
}

/// SLA records of the workflow that were refused while its tenant was suspended, by what they record.
async fn refused(flow: &Flow) -> BTreeMap<(String, String), i64> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "select payload ->> 'clock', payload ->> 'kind', count(*) from audit_events
          where operation = 'record_sla' and refused = 'TENANT_SUSPENDED' group by 1, 2",
    )
    .fetch_all(flow.admin())
    .await
    .unwrap();
    rows.into_iter()
        .map(|(clock, kind, times)| ((clock, kind), times))
        .collect()
}

#[test]
fn a_suspended_tenants_workflow_waits_and_records_what_came_due_after_the_resume() {
    let options = FlowOptions {
        time_skipping: true,
        relay: false,
        ..FlowOptions::default()
    };
    with_flow(options, async |flow| {
        let job = Job::at(&flow, flow.tenant(), TicketState::New).await;
        let ticket = job.ticket().await;
        let clock = ticket.sla.iter().find_map(|clock| match clock.phase {
            ClockPhase::Running {
                warn_at, due_at, ..
            } => Some((clock, warn_at, due_at)),
            _ => None,
        });
        let (clock, warn_at, due_at) = clock.expect("a new job has a promise");
        turn(
            &flow,
            Operation::SuspendTenant,
            &json!({ "reason": "unpaid" }),
        )
        .await;
        flow.start_relay();
        // Hours pass on this server while nobody has anything to do.
        let name = clock.name.to_string();
        let kinds = ["warning", "breach"].map(|kind| (name.clone(), kind.to_owned()));
        let tried = wait::until("both were tried", BOUND, async || {
            let tried = refused(&flow).await;
            match kinds.iter().all(|kind| tried.contains_key(kind)) {
                true => Ok(tried),
                false => Err(tried),
            }
        })
        .await;
        assert!(tried.values().all(|times| *times == 1), "{tried:?}");
        let view = flow.namespace().view(flow.key(job.id())).await.unwrap();
        let trouble = view.trouble.expect("it says what it waits for");
        assert!(trouble.ends_with("TENANT_SUSPENDED"), "{trouble}");

        turn(&flow, Operation::ResumeTenant, &json!({ "reason": "paid" })).await;
        wait::until("what came due meanwhile", BOUND, async || {
            let found: Vec<(String, DateTime<Utc>)> = sqlx::query_as(
                "select kind, effective_at from sla_records where ticket_id = $1 and clock = $2
                  order by effective_at",
            )
            .bind(job.id().as_uuid())
            .bind(&name)
            .fetch_all(flow.admin())
            .await
            .unwrap();
            let due = [
                ("warning".to_owned(), warn_at),
                ("breach".to_owned(), due_at),
            ];
            match found == due {
                true => Ok(()),
                false => Err(found),
            }
        })
        .await;
    });
}

#[test]
fn an_erased_tenant_leaves_nothing_running() {
    servers::run(|| async {
        let flow = Flow::start(FlowOptions {
            tuning: Tuning {
                control_interval: Some(Duration::from_secs(1)),
                reconcile_full_interval: Duration::from_secs(2),
                ..quick()
            },
            ..FlowOptions::default()
        })
        .await;
        let job = Job::at(&flow, flow.tenant(), TicketState::Triaged).await;
        flow.settle().await;
        let body = json!({ "reason": "left", "grace_days": 1 });
        turn(&flow, Operation::RequestTenantDeletion, &body).await;
        let tenant = flow.tenant().id;
        sqlx::query("update tenants set erase_after = now() where tenant_id = $1")
            .bind(tenant.as_uuid())
            .execute(flow.admin())
            .await
            .unwrap();
        // Its control finds that its time has come.
        wait::until("the erasure", BOUND, async || {
            let state: String =
                sqlx::query_scalar("select state from tenants where tenant_id = $1")
                    .bind(tenant.as_uuid())
                    .fetch_one(flow.admin())
                    .await
                    .unwrap();
            match state.as_str() {
                "erased" => Ok(()),
                _ => Err(state),
            }
        })
        .await;
        let client = flow.namespace().client();
        wait::until("its schedule is gone", BOUND, async || {
            let request = DescribeScheduleRequest {
                namespace: flow.namespace().name().to_owned(),
                schedule_id: control_schedule_id(tenant),
            };
            let mut service = client.connection().workflow_service();
            match service.describe_schedule(request.into_request()).await {
                Err(status) if status.code() == Code::NotFound => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let running = format!(
            "WorkflowId = '{}' AND ExecutionStatus = 'Running'",
            contracts::ids::ticket_workflow_id(tenant, job.id())
        );
        wait::until("its workflow has ended", BOUND, async || {
            match flow.namespace().list(&running).await {
                none if none.is_empty() => Ok(()),
                some => Err(format!("{some:?}")),
            }
        })
        .await;
        flow.stop_relays().await;
        check(flow.database()).await;
        flow.end().await;
    });
}
