//! All that the activities can reach of dispatch-api: two reads and two records.

use std::time::Duration;

use client::{CallOptions, Client, ClientError, RetryPolicy};
use contracts::{
    Slug, TenantId, TicketId, TraceContext,
    command::{RecordProposal, RecordSla},
    proposal::{AdvisorInput, ProposalKind},
    signal::TicketSnapshot,
};
use url::Url;
use uuid::Uuid;
use workflows::activity::Cause;

use crate::TokenSource;

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
    tokens: TokenSource,
}

impl Bookkeeper {
    /// Calls dispatch-api at `base`. Fails only when TLS cannot be set up.
    pub fn new(base: &Url, tokens: TokenSource) -> Result<Self, ClientError> {
        let nobody = "each call brings the token of its tenant";
        Ok(Self {
            client: Client::new(base, nobody)?.with_retry(RETRY),
            tokens,
        })
    }

    /// The same for one ticket, within the conversation and the trace of what led to the call.
    pub(crate) fn of(&self, tenant: TenantId, ticket: TicketId, cause: Option<&Cause>) -> Desk {
        // A span of its own for each run of an activity, as for every hop.
        let random = *Uuid::new_v4().as_bytes();
        let span = *random.first_chunk().expect("a UUID has sixteen bytes");
        let trace = cause.map(|cause| cause.trace.child(span));
        let trace = trace.unwrap_or_else(|| root(random, span));
        let correlation = cause.map(|cause| cause.correlation_id.clone());
        Desk {
            client: self
                .client
                .with_token(self.tokens.of(tenant))
                .within(correlation, Some(trace)),
            ticket,
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
}

impl Desk {
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
}
