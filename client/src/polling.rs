//! Reads for callers that ask again and again.

use contracts::{TicketId, ticket::Ticket};
use reqwest::header::IF_NONE_MATCH;

use crate::{Client, ClientError, client::Request};

const NOT_MODIFIED: u16 = 304;

impl Client {
    /// A ticket, unless it still has the version that the caller knows.
    pub async fn ticket_if_changed(
        &self,
        id: TicketId,
        known: Option<u64>,
    ) -> Result<Option<Ticket>, ClientError> {
        let headers = known
            .map(|version| (IF_NONE_MATCH.as_str(), format!("\"{version}\"")))
            .into_iter()
            .collect();
        self.call(&Request {
            headers,
            also: Some(NOT_MODIFIED),
            ..Request::get(format!("api/v1/tickets/{id}"))
        })
        .await
    }
}
