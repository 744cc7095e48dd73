//! What workflows send besides their records: acts of software, steps of approvals, what was
//! approved, and what is due for a tenant.

use contracts::{
    Command, TicketId,
    autonomy::{ControlDue, DueCommand},
    command::{CommandReceipt, ExecuteApproval, HeldReceipt, RecordApprovalStep},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::{CallOptions, Client, ClientError, client::Request};

/// How a command that policy may hold was answered.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// It is done.
    Done(Box<CommandReceipt>),
    /// People have to decide first.
    Held(Box<HeldReceipt>),
}

impl Client {
    /// Sends a command on a ticket that policy may hold for people to decide.
    pub async fn try_command(
        &self,
        ticket: TicketId,
        command: &Command,
        options: &CallOptions,
    ) -> Result<Answer, ClientError> {
        let operation = command.operation();
        let body = body_of(command);
        self.send_about(operation, Some(ticket.to_string()), &body, options)
            .await
    }

    /// Reminds, escalates or ends an approval that nobody decided.
    pub async fn record_approval_step(
        &self,
        body: &RecordApprovalStep,
        options: &CallOptions,
    ) -> Result<(), ClientError> {
        let command = Command::from(body.clone());
        self.about_approval(&command, options).await
    }

    /// Carries out what was approved.
    pub async fn execute_approval(
        &self,
        body: &ExecuteApproval,
        options: &CallOptions,
    ) -> Result<(), ClientError> {
        let command = Command::from(body.clone());
        self.about_approval(&command, options).await
    }

    /// What is due for the caller's tenant now, without a ticket.
    pub async fn control_due(&self) -> Result<ControlDue, ClientError> {
        self.call(&Request::get("api/v1/control/due")).await
    }

    /// Sends a command that was found due, with the key that came with it.
    pub async fn send_due(&self, due: &DueCommand) -> Result<(), ClientError> {
        let about = ["approval_id", "tenant_id"];
        let about = about.iter().find_map(|it| due.body.get(it)?.as_str());
        let options = CallOptions::with_key(&due.request_id);
        let about = about.map(str::to_owned);
        let sent = self.send_about(due.operation, about, &due.body, &options);
        sent.await.map(|IgnoredAny| ())
    }

    /// Its answer is another one with a ticket and without, and nobody here reads it.
    async fn about_approval(
        &self,
        command: &Command,
        options: &CallOptions,
    ) -> Result<(), ClientError> {
        let about = command.approval_id().map(|id| id.to_string());
        let body = body_of(command);
        let sent = self.send_about(command.operation(), about, &body, options);
        sent.await.map(|IgnoredAny| ())
    }
}

/// A command serialises as `{operation, body}`.
fn body_of(command: &Command) -> Value {
    let mut whole = serde_json::to_value(command).expect("a command is JSON");
    whole["body"].take()
}
