//! Reads about proposals that need more than a ticket's id.

use chrono::SecondsFormat;
use contracts::{
    Slug, TicketId,
    proposal::{AdvisorInput, Agreement, AgreementFilter, ProposalKind},
};

use crate::{Client, ClientError, client::Request};

impl Client {
    /// Everything that the advisor on escalations looks at, as of now: about this promise.
    pub async fn escalation_input(
        &self,
        id: TicketId,
        clock: &Slug,
    ) -> Result<AdvisorInput, ClientError> {
        let kind = ProposalKind::Escalation.to_string();
        self.call(&Request {
            query: vec![("kind", kind), ("clock", clock.to_string())],
            ..Request::get(format!("api/v1/tickets/{id}/advisor-input"))
        })
        .await
    }

    /// How far people did what software would have done.
    pub async fn proposal_agreement(
        &self,
        filter: &AgreementFilter,
    ) -> Result<Agreement, ClientError> {
        let at =
            |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let query = [
            ("kind", filter.kind.map(|kind| kind.to_string())),
            ("from", filter.from.map(at)),
            ("to", filter.to.map(at)),
        ];
        self.call(&Request {
            query: query
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
            ..Request::get("api/v1/proposals/agreement")
        })
        .await
    }
}
