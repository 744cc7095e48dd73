//! The read endpoints.

use chrono::{DateTime, SecondsFormat, Utc};
use contracts::{
    DecisionId, TicketId,
    event::EventType,
    proposal::{AdvisorInput, ProposalKind},
    read::{
        DecisionDetail, DecisionFilter, DecisionPage, Health, ProposalPage, TicketFilter,
        TicketPage, TicketSort, TicketStatus, TimelineFilter, TimelinePage,
    },
    signal::TicketSnapshot,
    ticket::Ticket,
};
use serde_json::Value;

use crate::{Client, ClientError, Export, client::Request};

impl Client {
    /// One ticket.
    pub async fn ticket(&self, id: TicketId) -> Result<Ticket, ClientError> {
        self.read(format!("api/v1/tickets/{id}"), Vec::new()).await
    }

    /// A ticket with what it waits for and what can be done now.
    pub async fn ticket_status(&self, id: TicketId) -> Result<TicketStatus, ClientError> {
        self.read(format!("api/v1/tickets/{id}/status"), Vec::new())
            .await
    }

    /// A page of tickets.
    pub async fn tickets(&self, filter: &TicketFilter) -> Result<TicketPage, ClientError> {
        let query = Parameters::default()
            .list("state", &filter.state)
            .list("priority", &filter.priority)
            .list("incident_type", &filter.incident_type)
            .list("waiting_for", &filter.waiting_for)
            .one("site", filter.site.as_ref())
            .one("technician", filter.technician.as_ref())
            .at("due_before", filter.due_before)
            .one("q", filter.q.as_ref())
            .one(
                "sort",
                (filter.sort != TicketSort::default()).then_some(filter.sort),
            )
            .one("counts", filter.counts.then_some(true))
            .one("cursor", filter.cursor.as_ref())
            .one("limit", filter.limit);
        self.read("api/v1/tickets", query.0).await
    }

    /// A page of a ticket's attempts, oldest first.
    pub async fn timeline(
        &self,
        id: TicketId,
        cursor: Option<&str>,
    ) -> Result<TimelinePage, ClientError> {
        let filter = TimelineFilter {
            cursor: cursor.map(str::to_owned),
            ..TimelineFilter::default()
        };
        self.timeline_where(id, &filter).await
    }

    /// A page of those attempts on a ticket that the filter leaves, oldest first.
    pub async fn timeline_where(
        &self,
        id: TicketId,
        filter: &TimelineFilter,
    ) -> Result<TimelinePage, ClientError> {
        let query = Parameters::default()
            .list("operation", &filter.operation)
            .list("actor_kind", &filter.actor_kind)
            .one("actor", filter.actor.as_ref())
            .one("outcome", filter.outcome)
            .one("event", filter.event.map(EventType::name))
            .at("from", filter.from)
            .at("to", filter.to)
            .one("cursor", filter.cursor.as_ref())
            .one("limit", filter.limit);
        self.read(format!("api/v1/tickets/{id}/timeline"), query.0)
            .await
    }

    /// A page of recorded decisions, newest first.
    pub async fn decisions(&self, filter: &DecisionFilter) -> Result<DecisionPage, ClientError> {
        let query = decision_parameters(filter)
            .one("cursor", filter.cursor.as_ref())
            .one("limit", filter.limit);
        self.read("api/v1/decisions", query.0).await
    }

    /// All recorded decisions that the filter leaves, oldest first, as JSON Lines in parts.
    pub async fn export_decisions(&self, filter: &DecisionFilter) -> Result<Export, ClientError> {
        const PATH: &str = "api/v1/decisions/export";
        let response = self.open(PATH, &decision_parameters(filter).0).await?;
        Ok(Export::new(self, PATH, response))
    }

    /// A recorded decision with what it depends on.
    pub async fn decision(&self, id: DecisionId) -> Result<DecisionDetail, ClientError> {
        self.read(format!("api/v1/decisions/{id}"), Vec::new())
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

    /// Whether the process runs.
    pub async fn live(&self) -> Result<Health, ClientError> {
        self.read("api/v1/health/live", Vec::new()).await
    }

    /// The same as [`Client::ready`], at the older place.
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.call(&Request {
            also: Some(503),
            ..Request::get("api/v1/health")
        })
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

    pub(crate) async fn read<T: serde::de::DeserializeOwned>(
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

fn decision_parameters(filter: &DecisionFilter) -> Parameters {
    Parameters::default()
        .list("operation", &filter.operation)
        .list("result", &filter.result)
        .one("actor", filter.actor.as_ref())
        .one("ticket_id", filter.ticket_id)
        .one("reason", filter.reason.as_ref())
        .at("from", filter.from)
        .at("to", filter.to)
}

/// A query string in the making: what is not asked for is not sent.
#[derive(Default)]
pub(crate) struct Parameters(pub(crate) Vec<(&'static str, String)>);

impl Parameters {
    pub(crate) fn one(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.0.extend(value.map(|value| (name, value.to_string())));
        self
    }

    pub(crate) fn list(self, name: &'static str, values: &[impl ToString]) -> Self {
        let values: Vec<_> = values.iter().map(ToString::to_string).collect();
        self.one(name, (!values.is_empty()).then(|| values.join(",")))
    }

    fn at(self, name: &'static str, at: Option<DateTime<Utc>>) -> Self {
        self.one(
            name,
            at.map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        )
    }
}
