//! Temporal as the binary sees it: connect, ask a ticket's workflow what it knows.
//!
//! The address comes from the SDK's environment configuration (TEMPORAL_ADDRESS,
//! TEMPORAL_NAMESPACE, TLS and API key variables, a profile in temporal.toml); only what that
//! leaves open is taken from our own settings, which `dispatch dev` writes.

use std::time::Duration;

use contracts::{
    TenantId, TicketId,
    signal::{TICKET_VIEW_QUERY, WorkflowView},
    ticket_workflow_id,
};
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, UntypedQuery, UntypedWorkflow,
    WorkflowDescribeOptions, WorkflowExecutionStatus, WorkflowGetResultOptions,
    WorkflowQueryOptions,
    envconfig::{ClientConfigProfile, LoadClientConfigProfileOptions},
    errors::WorkflowInteractionError,
    tonic::{IntoRequest, Status},
};
use temporalio_common::{
    data_converters::RawValue,
    envconfig::load_client_config_profile,
    protos::temporal::api::{
        operatorservice::v1::DeleteNamespaceRequest, workflowservice::v1::RegisterNamespaceRequest,
    },
};
use url::Url;

use crate::{
    config,
    exit::{Failure, chain, root},
};

const DEFAULT_ADDRESS: &str = "localhost:7233";
const DEFAULT_NAMESPACE: &str = "default";
const SHORTEST_RETENTION_SECONDS: i64 = 24 * 60 * 60;

/// Where Temporal is and how to get in.
#[derive(Clone)]
pub struct Temporal {
    /// Address, TLS, key.
    pub connection: ConnectionOptions,
    /// Namespace.
    pub namespace: String,
    /// Web UI, when it is known.
    pub ui_url: Option<Url>,
}

/// Address and namespace that the SDK's own configuration says; `dispatch dev` starts no server
/// when there is an address.
pub fn given() -> Result<(Option<String>, Option<String>), Failure> {
    let profile = profile()?;
    Ok((profile.address, profile.namespace))
}

fn profile() -> Result<ClientConfigProfile, Failure> {
    load_client_config_profile(LoadClientConfigProfileOptions::default(), None)
        .map_err(|error| wrong(&error))
}

fn wrong(error: &dyn std::error::Error) -> Failure {
    Failure::usage(format!("Temporal's configuration: {}", chain(error)))
}

impl std::fmt::Debug for Temporal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Temporal")
            .field("target", &self.connection.target.as_str())
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Temporal {
    /// From the environment, then the settings, then the SDK's defaults.
    pub fn new(settings: &config::Temporal) -> Result<Self, Failure> {
        let mut profile = profile()?;
        let own = |value: &Option<String>, default: &str| {
            value.clone().unwrap_or_else(|| default.to_owned())
        };
        profile
            .address
            .get_or_insert_with(|| own(&settings.address, DEFAULT_ADDRESS));
        let namespace = profile
            .namespace
            .clone()
            .unwrap_or_else(|| own(&settings.namespace, DEFAULT_NAMESPACE));
        Ok(Self {
            connection: ConnectionOptions::try_from(profile).map_err(|error| wrong(&error))?,
            namespace,
            ui_url: settings.ui_url.clone(),
        })
    }

    /// Connects, or says what is missing.
    pub async fn connect(&self) -> Result<Client, Failure> {
        // A dead address must not hold a person up for the SDK's long default.
        let bound = Duration::from_secs(10);
        let connection = tokio::time::timeout(bound, Connection::connect(self.connection.clone()))
            .await
            .map_err(|_| self.unreachable(&format!("no answer within {} s", bound.as_secs())))?
            .map_err(|error| self.unreachable(&root(&error)))?;
        Client::new(
            connection,
            ClientOptions::new(self.namespace.clone()).build(),
        )
        .map_err(|error| self.unreachable(&chain(&error)))
    }

    /// Makes the namespace, which must not be there yet.
    pub async fn create_namespace(&self) -> Result<(), Failure> {
        let mut request = RegisterNamespaceRequest {
            namespace: self.namespace.clone(),
            description: "a temporary run of `dispatch dev`".to_owned(),
            ..Default::default()
        };
        let retention = &mut request.workflow_execution_retention_period;
        retention.get_or_insert_default().seconds = SHORTEST_RETENTION_SECONDS;
        let client = self.connect().await?;
        client
            .connection()
            .workflow_service()
            .register_namespace(request.into_request())
            .await
            .map_err(|status| self.refused("make", &status))?;
        Ok(())
    }

    /// Deletes the namespace with everything in it.
    pub async fn delete_namespace(&self) -> Result<(), Failure> {
        let request = DeleteNamespaceRequest {
            namespace: self.namespace.clone(),
            ..Default::default()
        };
        let client = self.connect().await?;
        client
            .connection()
            .operator_service()
            .delete_namespace(request.into_request())
            .await
            .map_err(|status| self.refused("delete", &status))?;
        Ok(())
    }

    fn refused(&self, what: &str, status: &Status) -> Failure {
        Failure::infrastructure(format!(
            "Temporal at {} refused to {what} the namespace {}: {}; TEMPORAL_NAMESPACE names one \
             that is there",
            self.connection.target,
            self.namespace,
            status.message()
        ))
    }

    fn unreachable(&self, why: &str) -> Failure {
        Failure::infrastructure(format!(
            "no Temporal server answers at {}: {why}. Start one (`dispatch dev` does) or set \
             TEMPORAL_ADDRESS",
            self.connection.target
        ))
    }

    /// The page of a ticket's workflow in the Web UI.
    pub fn link(&self, tenant: TenantId, ticket: TicketId) -> Option<String> {
        let mut url = self.ui_url.clone()?;
        url.path_segments_mut().ok()?.pop_if_empty().extend([
            "namespaces",
            &self.namespace,
            "workflows",
            &ticket_workflow_id(tenant, ticket),
        ]);
        Some(url.into())
    }
}

/// What a ticket's workflow says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkflowState {
    /// There is none by this id.
    Missing,
    /// It runs; its answer to the query.
    Running(Box<WorkflowView>),
    /// It ended by itself; its result.
    Completed(Box<WorkflowView>),
    /// It ended otherwise, by this status.
    Ended(WorkflowExecutionStatus),
}

/// Asks the newest run of a ticket's workflow: its result when it ended, the query when it runs
/// (which needs a worker to answer).
pub async fn ask(
    client: &Client,
    tenant: TenantId,
    ticket: TicketId,
) -> Result<WorkflowState, Failure> {
    let id = ticket_workflow_id(tenant, ticket);
    let handle = client.get_workflow_handle::<UntypedWorkflow>(id.clone());
    let trouble = |error: &dyn std::error::Error| {
        Failure::infrastructure(format!("asking workflow {id}: {}", chain(error)))
    };
    let description = match handle.describe(WorkflowDescribeOptions::default()).await {
        Err(WorkflowInteractionError::NotFound(_)) => return Ok(WorkflowState::Missing),
        described => described.map_err(|error| trouble(&error))?,
    };
    match description.status() {
        WorkflowExecutionStatus::Running => {
            let answer = handle
                .query(
                    UntypedQuery::new(TICKET_VIEW_QUERY),
                    RawValue::new(Vec::new()),
                    WorkflowQueryOptions::default(),
                )
                .await
                .map_err(|error| trouble(&error))?;
            view(&id, &answer).map(WorkflowState::Running)
        }
        WorkflowExecutionStatus::Completed => {
            let result = handle
                .get_result(WorkflowGetResultOptions::default())
                .await
                .map_err(|error| trouble(&error))?;
            view(&id, &result).map(WorkflowState::Completed)
        }
        other => Ok(WorkflowState::Ended(other)),
    }
}

fn view(id: &str, value: &RawValue) -> Result<Box<WorkflowView>, Failure> {
    let bytes = value
        .payloads
        .first()
        .map(|payload| payload.data.as_slice())
        .unwrap_or_default();
    serde_json::from_slice(bytes).map_err(|error| {
        Failure::failed(format!(
            "workflow {id} says what this version cannot read: {error}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_link_escapes_the_workflow_id() {
        let temporal = Temporal {
            connection: ConnectionOptions::new(Url::parse("http://localhost:7233").unwrap())
                .build(),
            namespace: "default".into(),
            ui_url: Some(Url::parse("http://127.0.0.1:8233").unwrap()),
        };
        let link = temporal.link(
            TenantId::from_uuid(Uuid::from_u128(1)),
            TicketId::from_uuid(Uuid::from_u128(2)),
        );
        assert_eq!(
            link.as_deref(),
            Some(
                "http://127.0.0.1:8233/namespaces/default/workflows/\
                 ticket%2Ften_00000000000000000000000000000001%2F\
                 tkt_00000000000000000000000000000002"
            )
        );
    }
}
