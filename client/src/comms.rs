//! Messages: the commands and the reads.

use contracts::{
    MessageId, Operation, TicketId,
    command::{AttachMessage, CommandReceipt, CommsInbound, CommsOutbound},
    comms::{CommsEnvelope, CommsFilter, CommsPage},
    filing::FilingReceipt,
};

use crate::{CallOptions, Client, ClientError, client::Request};

impl Client {
    /// Takes a message in; the receipt says where it belongs.
    pub async fn comms_inbound(
        &self,
        body: &CommsInbound,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        self.filing(Operation::CommsInbound, body, options).await
    }

    /// Queues a message to a customer.
    pub async fn comms_outbound(
        &self,
        body: &CommsOutbound,
        options: &CallOptions,
    ) -> Result<CommandReceipt, ClientError> {
        self.command(Operation::CommsOutbound, None, body, options)
            .await
    }

    /// Says where a held message belongs.
    pub async fn attach_message(
        &self,
        ticket: TicketId,
        body: &AttachMessage,
        options: &CallOptions,
    ) -> Result<CommandReceipt, ClientError> {
        self.command(Operation::AttachMessage, Some(ticket), body, options)
            .await
    }

    /// A page of messages, newest first; with `held` what a person has to place, oldest first.
    pub async fn messages(&self, filter: &CommsFilter) -> Result<CommsPage, ClientError> {
        let mut query = Vec::new();
        let mut add = |name, value: Option<String>| query.extend(value.map(|v| (name, v)));
        add("direction", filter.direction.map(|v| v.to_string()));
        add("channel", filter.channel.map(|v| v.to_string()));
        add("purpose", filter.purpose.map(|v| v.to_string()));
        add("state", filter.state.map(|v| v.to_string()));
        add("held", filter.held.map(|v| v.to_string()));
        add("ticket_id", filter.ticket_id.map(|v| v.to_string()));
        add("contact_id", filter.contact_id.map(|v| v.to_string()));
        add("cursor", filter.cursor.clone());
        add("limit", filter.limit.map(|v| v.to_string()));
        self.call(&Request {
            query,
            ..Request::get("api/v1/comms")
        })
        .await
    }

    /// One message.
    pub async fn message(&self, id: MessageId) -> Result<CommsEnvelope, ClientError> {
        self.call(&Request::get(format!("api/v1/comms/{id}"))).await
    }

    /// What a provider sent, as it came.
    pub async fn raw_message(&self, id: MessageId) -> Result<Vec<u8>, ClientError> {
        let path = format!("api/v1/comms/{id}/raw");
        let response = self.open(&path, &[]).await?;
        let transport = |source| ClientError::Transport {
            url: format!("{}{path}", self.base_url()),
            source,
        };
        Ok(response.bytes().await.map_err(transport)?.to_vec())
    }

    /// A page of a ticket's messages, oldest first.
    pub async fn ticket_messages(
        &self,
        id: TicketId,
        cursor: Option<&str>,
    ) -> Result<CommsPage, ClientError> {
        let query = cursor.map(|cursor| ("cursor", cursor.to_owned()));
        self.call(&Request {
            query: query.into_iter().collect(),
            ..Request::get(format!("api/v1/tickets/{id}/comms"))
        })
        .await
    }
}
