//! All that the activities can reach of dispatch-api: a few reads, the books, what software may do
//! by itself and what people have released. Every command is one that stage, kill switch and policy
//! are asked about there; none decides an approval.

use std::time::Duration;

use client::{Answer, CallOptions, Client, ClientError, KillWatch, RetryPolicy};
use contracts::{
    Command, Slug, TenantId, TicketId, TraceContext,
    autonomy::{ControlDue, DueCommand},
    command::{ExecuteApproval, RecordApprovalStep, RecordProposal, RecordSla},
    kill_switch::KillState,
    proposal::{AdvisorInput, Proposal, ProposalKind},
    service_account::ApiKeyText,
    signal::TicketSnapshot,
};
use url::Url;
use uuid::Uuid;
use workflows::activity::Cause;

/// Bounds of one call. An activity makes two for each record, mostly of one, at most of a few, and
/// is cut off after the six seconds that the workflow gives it; the next run finds what was done.
const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 4,
    total: Duration::from_millis(2_500),
    attempt: Duration::from_secs(2),
    first_pause: Duration::from_millis(50),
    longest_pause: Duration::from_millis(500),
};

/// dispatch-api as the workflows of all tenants may use it.
#[derive(Debug, Clone)]
pub struct Bookkeeper {
    client: Client,
}

impl Bookkeeper {
    /// Calls dispatch-api at `base` with the key of an account that acts in any tenant: each call
    /// names its own. Fails only when TLS cannot be set up.
    pub fn new(base: &Url, key: &ApiKeyText) -> Result<Self, ClientError> {
        Ok(Self {
            client: Client::new(base, key.expose())?.with_retry(RETRY),
        })
    }

    /// How many days are left of the key, by the last answer to a call.
    pub fn key_days_left(&self) -> Option<i64> {
        self.client.key_days_left()
    }

    /// The same for what a tenant has besides tickets.
    pub(crate) fn of_tenant(&self, tenant: TenantId) -> ControlDesk {
        ControlDesk {
            client: self.client.in_tenant(tenant),
        }
    }

    /// The same for one ticket, within the conversation and the trace of what led to the call.
    pub(crate) fn of(&self, tenant: TenantId, ticket: TicketId, cause: Option<&Cause>) -> Desk {
        // A span of its own for each run of an activity, as for every hop.
        let random = *Uuid::new_v4().as_bytes();
        let span = *random.first_chunk().expect("a UUID has sixteen bytes");
        let trace = cause.map(|cause| cause.trace.child(span));
        let trace = trace.unwrap_or_else(|| root(random, span));
        let correlation = cause.map(|cause| cause.correlation_id.clone());
        let heard = KillWatch::default();
        Desk {
            client: self
                .client
                .in_tenant(tenant)
                .within(correlation, Some(trace))
                .watching(&heard),
            ticket,
            heard,
        }
    }
}

fn root(trace: [u8; 16], span: [u8; 8]) -> TraceContext {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&trace);
    bytes[16..].copy_from_slice(&span);
    TraceContext::root(bytes)
}

/// [`Bookkeeper`] for one ticket.
#[derive(Debug)]
pub(crate) struct Desk {
    client: Client,
    ticket: TicketId,
    heard: KillWatch,
}

impl Desk {
    /// How the kill switches stood at the last answer to a command of this call.
    pub(crate) fn kill(&self) -> Option<KillState> {
        self.heard.last()
    }

    pub(crate) async fn snapshot(&self) -> Result<TicketSnapshot, ClientError> {
        self.client.snapshot(self.ticket).await
    }

    pub(crate) async fn advisor_input(
        &self,
        kind: ProposalKind,
        clock: Option<&Slug>,
    ) -> Result<AdvisorInput, ClientError> {
        match clock {
            None => self.client.advisor_input(self.ticket, kind).await,
            Some(clock) => self.client.escalation_input(self.ticket, clock).await,
        }
    }

    pub(crate) async fn record_proposal(
        &self,
        body: &RecordProposal,
        key: Uuid,
    ) -> Result<(), ClientError> {
        let options = CallOptions::with_key(key);
        let receipt = self.client.record_proposal(self.ticket, body, &options);
        receipt.await.map(drop)
    }

    pub(crate) async fn record_sla(&self, body: &RecordSla, key: Uuid) -> Result<(), ClientError> {
        let options = CallOptions::with_key(key);
        let receipt = self.client.record_sla(self.ticket, body, &options);
        receipt.await.map(drop)
    }

    /// What is on record about a kind of advice, oldest first.
    pub(crate) async fn proposals(&self) -> Result<Vec<Proposal>, ClientError> {
        let page = self.client.proposals(self.ticket).await?;
        Ok(page.items)
    }

    /// Does what advice says, if policy lets it, at this version only.
    pub(crate) async fn act(
        &self,
        command: &Command,
        version: u64,
        key: Uuid,
    ) -> Result<Answer, ClientError> {
        let options = CallOptions::with_key(key).expecting(version);
        self.client
            .try_command(self.ticket, command, &options)
            .await
    }

    pub(crate) async fn record_approval_step(
        &self,
        body: &RecordApprovalStep,
        key: Uuid,
    ) -> Result<(), ClientError> {
        let options = CallOptions::with_key(key);
        self.client.record_approval_step(body, &options).await
    }

    pub(crate) async fn execute_approval(
        &self,
        body: &ExecuteApproval,
        key: Uuid,
    ) -> Result<(), ClientError> {
        let options = CallOptions::with_key(key);
        self.client.execute_approval(body, &options).await
    }
}

/// [`Bookkeeper`] for what a tenant has besides tickets.
#[derive(Debug)]
pub(crate) struct ControlDesk {
    client: Client,
}

impl ControlDesk {
    pub(crate) async fn due(&self) -> Result<ControlDue, ClientError> {
        self.client.control_due().await
    }

    pub(crate) async fn send(&self, due: &DueCommand) -> Result<(), ClientError> {
        self.client.send_due(due).await
    }
}
