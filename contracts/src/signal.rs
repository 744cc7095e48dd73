//! The one signal of a ticket's workflow, and the snapshot that heals it.
//!
//! The signal's name never changes and its envelope carries its own version: an undecodable signal
//! would block the workflow task for good, so decoding is lenient. Unknown fields are ignored; an
//! event whose level cannot be read still advances `seq` and asks for a snapshot.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    event::TicketLevel,
    ids::*,
    proposal::ProposalKind,
    sla::SlaRecordKey,
    trace::{CorrelationId, TraceContext},
};

/// The workflow's type name.
pub const TICKET_WORKFLOW: &str = "TicketWorkflow";
/// The signal's name, for ever.
pub const TICKET_SIGNAL: &str = "ticket_events";
/// The query that tells what the workflow knows; answers a [`WorkflowView`].
pub const TICKET_VIEW_QUERY: &str = "view";
/// The task queue of ticket workflows and their activities.
pub const TICKET_TASK_QUEUE: &str = "dispatch-tickets";

/// What a ticket's workflow is started with. The workflow reads it leniently: a continued run
/// carries more fields of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketWorkflowStart {
    /// Whose ticket.
    pub tenant_id: TenantId,
    /// Which.
    pub ticket_id: TicketId,
    /// Epoch of the database that started it.
    pub epoch: u64,
}

/// What the relay sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignalEnvelope {
    /// Shape of the envelope; 1.
    pub v: u16,
    /// Rises when the database was set back to an earlier copy.
    pub epoch: u64,
    /// Events in `seq` order, gapless within one envelope.
    #[serde(default)]
    pub events: Vec<SignalEvent>,
    /// Ask for a snapshot whatever the events say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

/// One event as the workflow gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignalEvent {
    /// 1 for a ticket's first event; gapless.
    pub seq: u64,
    /// The outbox row: the same `seq` with another id betrays a restored database.
    pub event_id: EventId,
    /// For example `ticket.created`.
    pub event_type: String,
    /// Version of the event's shape.
    pub event_version: u16,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// The conversation it belongs to.
    pub correlation_id: CorrelationId,
    /// The trace it belongs to.
    pub trace: TraceContext,
    /// The ticket afterwards; `None` when this build cannot read it.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(with = "TicketLevel")]
    pub level: Option<TicketLevel>,
}

fn lenient<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<TicketLevel>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(d)?).ok())
}

impl SignalEnvelope {
    /// Reads whatever came. What cannot be read as an envelope becomes a request for a snapshot;
    /// an event that cannot be read is left out, and the gap it leaves is healed by a snapshot too.
    pub fn read(value: &Value) -> Self {
        let events = value
            .get("events")
            .and_then(Value::as_array)
            .map(|events| {
                events
                    .iter()
                    .filter_map(|e| serde_json::from_value(e.clone()).ok())
                    .collect()
            })
            .unwrap_or_default();
        let epoch = value.get("epoch").and_then(Value::as_u64);
        Self {
            v: value
                .get("v")
                .and_then(Value::as_u64)
                .and_then(|v| v.try_into().ok())
                .unwrap_or(1),
            epoch: epoch.unwrap_or(0),
            resync: epoch.is_none() || value.get("resync").and_then(Value::as_bool) == Some(true),
            events,
        }
    }
}

/// The truth about a ticket, read by the workflow when it cannot trust what it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketSnapshot {
    /// Of the database.
    pub epoch: u64,
    /// `seq` of the last event.
    pub head_seq: u64,
    /// Id of that event.
    pub head_event_id: Option<EventId>,
    /// The ticket now.
    pub level: TicketLevel,
    /// Warnings and breaches on record.
    pub sla_recorded: Vec<SlaRecordKey>,
    /// Proposals on record: what about, and which version of the ticket. Escalations are listed
    /// apart.
    pub proposed: Vec<(ProposalKind, u64)>,
    /// Warnings and breaches on which there is an escalation proposal.
    #[serde(default)]
    pub escalated: Vec<SlaRecordKey>,
}

/// What the workflow knows: answer of its query and result of its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowView {
    /// Epoch it follows.
    pub epoch: u64,
    /// The last event it applied.
    pub applied_seq: u64,
    /// The ticket as it knows it; `None` before the first event or snapshot.
    pub level: Option<TicketLevel>,
    /// Events kept back because an earlier one is missing.
    pub buffered: Vec<u64>,
    /// How often it took a snapshot.
    pub healed: u32,
    /// Warnings and breaches it recorded.
    pub sla_recorded: Vec<SlaRecordKey>,
    /// Proposals it recorded.
    pub proposed: Vec<(ProposalKind, u64)>,
    /// Warnings and breaches for which it proposed an escalation.
    #[serde(default)]
    pub escalated: Vec<SlaRecordKey>,
    /// The last call that failed or was refused, until one succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whatever_comes_is_read() {
        for odd in [
            json!(null),
            json!("x"),
            json!({}),
            json!({"epoch": "one"}),
            json!([1]),
        ] {
            let envelope = SignalEnvelope::read(&odd);
            assert!(envelope.resync && envelope.events.is_empty(), "{odd}");
        }
    }

    #[test]
    fn a_newer_event_keeps_its_place() {
        let envelope = SignalEnvelope::read(&json!({
            "v": 9, "epoch": 3, "colour": "red",
            "events": [{
                "seq": 4, "event_id": "evt_00000000000000000000000000000001",
                "event_type": "drone.landed", "event_version": 2, "new_field": [],
                "occurred_at": "2026-11-21T00:00:00Z", "correlation_id": "c",
                "trace": { "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" },
                "level": { "state": "IN_ORBIT" },
            }],
        }));
        assert!(!envelope.resync);
        assert_eq!(
            (envelope.events[0].seq, &envelope.events[0].level),
            (4, &None)
        );
    }
}
