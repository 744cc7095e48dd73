//! The read endpoints.

use contracts::{
    TicketId,
    proposal::{AdvisorInput, ProposalKind},
    read::{Health, ProposalPage, TicketFilter, TicketPage, TimelinePage},
    signal::TicketSnapshot,
    ticket::Ticket,
};
use serde_json::Value;

use crate::{Client, ClientError, client::Request};

impl Client {
    /// One ticket.
    pub async fn ticket(&self, id: TicketId) -> Result<Ticket, ClientError> {
        self.read(format!("api/v1/tickets/{id}"), Vec::new()).await
    }

    /// A page of tickets, newest first.
    pub async fn tickets(&self, filter: &TicketFilter) -> Result<TicketPage, ClientError> {
        let mut query = Vec::new();
        let mut add = |name, value: Option<String>| query.extend(value.map(|v| (name, v)));
        add("state", filter.state.map(|v| v.to_string()));
        add("priority", filter.priority.map(|v| v.to_string()));
        add(
            "template",
            filter.template.as_ref().map(ToString::to_string),
        );
        add("site_id", filter.site_id.map(|v| v.to_string()));
        add("cursor", filter.cursor.clone());
        add("limit", filter.limit.map(|v| v.to_string()));
        self.read("api/v1/tickets", query).await
    }

    /// A page of a ticket's attempts, oldest first.
    pub async fn timeline(
        &self,
        id: TicketId,
        cursor: Option<&str>,
    ) -> Result<TimelinePage, ClientError> {
        let query = cursor.map(|cursor| ("cursor", cursor.to_owned()));
        self.read(
            format!("api/v1/tickets/{id}/timeline"),
            query.into_iter().collect(),
        )
        .await
    }

    /// All proposals of a ticket, oldest first.
    pub async fn proposals(&self, id: TicketId) -> Result<ProposalPage, ClientError> {
        self.read(format!("api/v1/tickets/{id}/proposals"), Vec::new())
            .await
    }

    /// The truth about a ticket, for its workflow and for auditors.
    pub async fn snapshot(&self, id: TicketId) -> Result<TicketSnapshot, ClientError> {
        self.read(format!("api/v1/tickets/{id}/snapshot"), Vec::new())
            .await
    }

    /// Everything that an advisor looks at, as of now.
    pub async fn advisor_input(
        &self,
        id: TicketId,
        kind: ProposalKind,
    ) -> Result<AdvisorInput, ClientError> {
        self.read(
            format!("api/v1/tickets/{id}/advisor-input"),
            vec![("kind", kind.to_string())],
        )
        .await
    }

    /// Whether the server can serve, and which part is missing if not: an unready one is an answer
    /// here, no error.
    pub async fn ready(&self) -> Result<Health, ClientError> {
        self.call(&Request {
            also: Some(503),
            ..Request::get("api/v1/health/ready")
        })
        .await
    }

    /// The OpenAPI document.
    pub async fn openapi(&self) -> Result<Value, ClientError> {
        self.read("api/v1/openapi.json", Vec::new()).await
    }

    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        path: impl Into<String>,
        query: Vec<(&'static str, String)>,
    ) -> Result<T, ClientError> {
        self.call(&Request {
            query,
            ..Request::get(path)
        })
        .await
    }
}
