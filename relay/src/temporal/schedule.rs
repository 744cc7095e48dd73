//! The schedule of each tenant's control: what is due without a ticket is looked for by a short
//! workflow, every few seconds.
//!
//! A schedule lives in Temporal, so it fires without any relay; here it is only put there. It skips
//! a round while one runs, and makes up for none that was missed: the next one finds all that is due.

use std::time::Duration;

use contracts::{
    autonomy::{TENANT_CONTROL_WORKFLOW, TenantControlStart},
    ids::{TenantId, control_schedule_id},
    signal::TICKET_TASK_QUEUE,
};
use temporalio_client::{grpc::WorkflowService, tonic::Code};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowType,
    enums::v1::ScheduleOverlapPolicy,
    schedule::v1::{
        IntervalSpec, Schedule, ScheduleAction, SchedulePolicies, ScheduleSpec,
        schedule_action::Action,
    },
    taskqueue::v1::TaskQueue,
    workflow::v1::NewWorkflowExecutionInfo,
    workflowservice::v1::{CreateScheduleRequest, DeleteScheduleRequest},
};
use uuid::Uuid;

use super::{Temporal, signal::payloads};
use crate::delivery::TemporalError;

/// A round that nobody serves ends so late, and the next one takes its place.
const ROUND_TIMEOUT: Duration = Duration::from_secs(60);
/// Temporal allows no shorter one; what was missed longer ago is not made up for.
const CATCH_UP: Duration = Duration::from_secs(10);

impl Temporal {
    /// Puts a tenant's schedule there. `false`: there was one already, which stays as it is.
    pub async fn create_control_schedule(
        &self,
        tenant: TenantId,
        interval: Duration,
    ) -> Result<bool, TemporalError> {
        let request = create_request(tenant, interval, self.namespace(), self.identity());
        let answer = self
            .call(request, |mut service, request| async move {
                service.create_schedule(request).await
            })
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(e) if e.code == Code::AlreadyExists => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Takes the schedule of a tenant that was erased away. `false`: there was none.
    pub async fn delete_control_schedule(&self, tenant: TenantId) -> Result<bool, TemporalError> {
        let request = DeleteScheduleRequest {
            namespace: self.namespace().to_owned(),
            schedule_id: control_schedule_id(tenant),
            identity: self.identity().to_owned(),
        };
        let answer = self
            .call(request, |mut service, request| async move {
                service.delete_schedule(request).await
            })
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(e) if e.code == Code::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn create_request(
    tenant: TenantId,
    interval: Duration,
    namespace: &str,
    identity: &str,
) -> CreateScheduleRequest {
    let start = NewWorkflowExecutionInfo {
        workflow_id: control_schedule_id(tenant),
        workflow_type: Some(WorkflowType {
            name: TENANT_CONTROL_WORKFLOW.to_owned(),
        }),
        task_queue: Some(TaskQueue {
            name: TICKET_TASK_QUEUE.to_owned(),
            ..Default::default()
        }),
        input: Some(payloads(&TenantControlStart { tenant_id: tenant })),
        workflow_execution_timeout: Some(proto(ROUND_TIMEOUT)),
        ..Default::default()
    };
    CreateScheduleRequest {
        namespace: namespace.to_owned(),
        schedule_id: control_schedule_id(tenant),
        schedule: Some(Schedule {
            spec: Some(ScheduleSpec {
                interval: vec![IntervalSpec {
                    interval: Some(proto(interval)),
                    phase: None,
                }],
                ..Default::default()
            }),
            action: Some(ScheduleAction {
                action: Some(Action::StartWorkflow(start)),
            }),
            policies: Some(SchedulePolicies {
                overlap_policy: ScheduleOverlapPolicy::Skip.into(),
                catchup_window: Some(proto(CATCH_UP)),
                ..Default::default()
            }),
            state: None,
        }),
        identity: identity.to_owned(),
        request_id: Uuid::now_v7().to_string(),
        ..Default::default()
    }
}

fn proto<T: TryFrom<Duration, Error: std::fmt::Debug>>(duration: Duration) -> T {
    duration.try_into().expect("seconds that fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_skips_while_a_round_runs_and_names_its_tenant() {
        let tenant = TenantId::from_uuid(Uuid::from_u128(1));
        let request = create_request(tenant, Duration::from_secs(15), "ns", "relay@1");
        let id = "control/ten_00000000000000000000000000000001";
        assert_eq!(request.schedule_id, id);
        let schedule = request.schedule.unwrap();
        let interval = schedule.spec.unwrap().interval[0].interval.unwrap();
        assert_eq!(interval.seconds, 15);
        let policies = schedule.policies.unwrap();
        assert_eq!(policies.overlap_policy(), ScheduleOverlapPolicy::Skip);
        let Some(Action::StartWorkflow(start)) = schedule.action.unwrap().action else {
            panic!("it starts a workflow");
        };
        assert_eq!(start.workflow_id, id);
        let input: TenantControlStart =
            serde_json::from_slice(&start.input.unwrap().payloads[0].data).unwrap();
        assert_eq!(input.tenant_id, tenant);
    }
}
