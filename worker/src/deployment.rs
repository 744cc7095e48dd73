//! Worker versions: which one is current, and making one so.

use std::time::{Duration, SystemTime};

use contracts::signal::TICKET_TASK_QUEUE;
use temporalio_client::{
    Client, NamespacedClient,
    tonic::{Code, IntoRequest, Status as Refusal},
};
use temporalio_common::protos::temporal::api::{
    enums::v1::TaskQueueType,
    taskqueue::v1::TaskQueue,
    workflowservice::v1::{
        DescribeTaskQueueRequest, DescribeWorkerDeploymentRequest,
        SetWorkerDeploymentCurrentVersionRequest,
    },
};
use tokio::time::{Instant, sleep};

use crate::{Version, WorkerError};

/// A worker announces its version with its first poll, which takes a moment after its start.
const PROMOTION_LIMIT: Duration = Duration::from_secs(30);
const PROMOTION_PAUSE: Duration = Duration::from_millis(100);
/// A poll lasts up to a minute; whoever has not polled for longer is gone.
const POLL_FRESHNESS: Duration = Duration::from_secs(70);

/// Makes the version the one that tasks go to. A worker of it has to be running; a version that is
/// not announced yet is waited for.
pub async fn promote(client: &Client, version: &Version) -> Result<(), WorkerError> {
    let request = SetWorkerDeploymentCurrentVersionRequest {
        namespace: client.namespace(),
        deployment_name: version.deployment.clone(),
        build_id: version.build_id.clone(),
        identity: client.identity(),
        ..Default::default()
    };
    let deadline = Instant::now() + PROMOTION_LIMIT;
    loop {
        let refusal = match client
            .connection()
            .workflow_service()
            .set_worker_deployment_current_version(request.clone().into_request())
            .await
        {
            Ok(_) => return Ok(()),
            Err(refusal) => refusal,
        };
        if !may_pass(&refusal) {
            return Err(refused("make a worker version current", refusal));
        }
        if Instant::now() >= deadline {
            return Err(WorkerError::Promotion {
                version: version.to_string(),
                seconds: PROMOTION_LIMIT.as_secs(),
                source: Box::new(refusal),
            });
        }
        sleep(PROMOTION_PAUSE).await;
    }
}

/// Not announced yet, not polled yet, being changed by another, or not answered.
fn may_pass(refusal: &Refusal) -> bool {
    matches!(
        refusal.code(),
        Code::NotFound
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::ResourceExhausted
            | Code::Unavailable
            | Code::DeadlineExceeded
            // What the client calls its own timeout.
            | Code::Cancelled
    )
}

/// Who serves the ticket workflows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Build id that tasks go to; `None` while nothing was promoted.
    pub current: Option<String>,
    /// Workers that polled for workflow tasks in the last minute, of any version.
    pub pollers: usize,
}

/// Who serves the ticket workflows.
pub async fn status(client: &Client, deployment: &str) -> Result<Status, WorkerError> {
    let mut service = client.connection().workflow_service();
    let request = DescribeWorkerDeploymentRequest {
        namespace: client.namespace(),
        deployment_name: deployment.to_owned(),
    };
    let current = match service
        .describe_worker_deployment(request.into_request())
        .await
    {
        Ok(answer) => answer
            .into_inner()
            .worker_deployment_info
            .and_then(|info| info.routing_config)
            .and_then(|routing| routing.current_deployment_version)
            .map(|version| version.build_id),
        Err(refusal) if refusal.code() == Code::NotFound => None,
        Err(refusal) => return Err(refused("describe the worker deployment", refusal)),
    };
    let request = DescribeTaskQueueRequest {
        namespace: client.namespace(),
        task_queue: Some(TaskQueue {
            name: TICKET_TASK_QUEUE.to_owned(),
            ..Default::default()
        }),
        task_queue_type: TaskQueueType::Workflow.into(),
        ..Default::default()
    };
    let queue = service
        .describe_task_queue(request.into_request())
        .await
        .map_err(|refusal| refused("describe the task queue", refusal))?
        .into_inner();
    let fresh = |at: SystemTime| at.elapsed().is_ok_and(|age| age < POLL_FRESHNESS);
    let pollers = queue
        .pollers
        .into_iter()
        .filter_map(|poller| SystemTime::try_from(poller.last_access_time?).ok())
        .filter(|at| fresh(*at))
        .count();
    Ok(Status { current, pollers })
}

fn refused(what: &str, refusal: Refusal) -> WorkerError {
    WorkerError::Refused {
        what: what.to_owned(),
        source: Box::new(refusal),
    }
}
