//! What runs: the list is cheap but lags behind, the description of one workflow is exact.

use chrono::{DateTime, SecondsFormat, Utc};
use contracts::{ids::*, signal::TICKET_WORKFLOW};
use temporalio_client::{grpc::WorkflowService, tonic::Code};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowExecution,
    enums::v1::WorkflowExecutionStatus,
    workflowservice::v1::{DescribeWorkflowExecutionRequest, ListWorkflowExecutionsRequest},
};

use super::Temporal;
use crate::delivery::TemporalError;

/// How many are asked for at once.
const PAGE: i32 = 200;

/// Which ticket workflows to list.
#[derive(Debug, Clone, Copy)]
pub enum Executions {
    /// Those that run.
    Running,
    /// Those that ended after this moment otherwise than by themselves.
    BrokenOffSince(DateTime<Utc>),
}

/// One page of ticket workflows.
#[derive(Debug, Clone, Default)]
pub struct ExecutionPage {
    /// Their tickets.
    pub tickets: Vec<(TenantId, TicketId)>,
    /// Asks for the page after this one; empty on the last.
    pub next: Vec<u8>,
}

impl Executions {
    fn query(self) -> String {
        let which = match self {
            Self::Running => "ExecutionStatus = 'Running'".to_owned(),
            Self::BrokenOffSince(moment) => format!(
                "CloseTime > '{}' AND ExecutionStatus IN \
                 ('Failed', 'Canceled', 'Terminated', 'TimedOut')",
                moment.to_rfc3339_opts(SecondsFormat::Secs, true)
            ),
        };
        format!("WorkflowType = '{TICKET_WORKFLOW}' AND {which}")
    }
}

/// What a description says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Liveness {
    /// It runs.
    Running,
    /// Its last run ended: this one.
    Ended {
        /// The run.
        run_id: String,
    },
    /// Temporal does not know it (any more).
    Unknown,
}

impl Temporal {
    /// Lists ticket workflows; `page` is empty for the first page.
    pub async fn list_tickets(
        &self,
        which: Executions,
        page: Vec<u8>,
    ) -> Result<ExecutionPage, TemporalError> {
        let request = ListWorkflowExecutionsRequest {
            namespace: self.namespace().to_owned(),
            page_size: PAGE,
            next_page_token: page,
            query: which.query(),
        };
        let answer = self
            .call(request, |mut service, request| async move {
                service.list_workflow_executions(request).await
            })
            .await?;
        let ids = answer.executions.into_iter().filter_map(|e| e.execution);
        Ok(ExecutionPage {
            tickets: ids
                .filter_map(|execution| parse_ticket_workflow_id(&execution.workflow_id))
                .collect(),
            next: answer.next_page_token,
        })
    }

    /// Whether a ticket's workflow runs, asked where it is known for certain.
    pub async fn liveness(
        &self,
        tenant: TenantId,
        ticket: TicketId,
    ) -> Result<Liveness, TemporalError> {
        let request = DescribeWorkflowExecutionRequest {
            namespace: self.namespace().to_owned(),
            execution: Some(WorkflowExecution {
                workflow_id: ticket_workflow_id(tenant, ticket),
                run_id: String::new(),
            }),
        };
        let answer = self
            .call(request, |mut service, request| async move {
                service.describe_workflow_execution(request).await
            })
            .await;
        match answer {
            Ok(answer) => {
                let info = answer.workflow_execution_info.unwrap_or_default();
                Ok(match info.status() {
                    WorkflowExecutionStatus::Running
                    | WorkflowExecutionStatus::Paused
                    | WorkflowExecutionStatus::ContinuedAsNew => Liveness::Running,
                    _ => Liveness::Ended {
                        run_id: info.execution.unwrap_or_default().run_id,
                    },
                })
            }
            Err(e) if e.code == Code::NotFound && !e.is_systemic() => Ok(Liveness::Unknown),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_name_the_workflow_and_what_became_of_it() {
        assert_eq!(
            Executions::Running.query(),
            "WorkflowType = 'TicketWorkflow' AND ExecutionStatus = 'Running'"
        );
        let ended = Executions::BrokenOffSince(DateTime::UNIX_EPOCH).query();
        assert!(
            ended.contains("CloseTime > '1970-01-01T00:00:00Z' AND"),
            "{ended}"
        );
    }
}
