//! What one signal carries: the longest gapless run of a ticket's pending events that fits.
//!
//! A workflow costs per signal, not per event, so what waits travels together. The limits keep a
//! signal far below Temporal's own (2 MiB a payload) and a history event readable.

use contracts::{
    CorrelationId, TraceContext,
    event::TicketLevel,
    ids::*,
    signal::{SignalEnvelope, SignalEvent},
};
use store::outbox::PendingEvent;
use uuid::Uuid;

/// The most events in one signal.
pub const MAX_EVENTS: usize = 100;
/// The most bytes of JSON in one signal.
pub const MAX_BYTES: usize = 256 * 1024;
/// What an envelope without events takes at most.
const ENVELOPE_BYTES: usize = 128;

/// Events of one ticket that go out in one signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// What is sent.
    pub envelope: SignalEnvelope,
}

/// A row that can never be sent as it is: its own fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEvent {
    /// A column does not hold what it must.
    #[error("column {column} of the outbox row cannot be read: {why}")]
    Undecodable {
        /// Which column.
        column: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// One event alone is above [`MAX_BYTES`].
    #[error("the event takes {bytes} bytes, a signal at most {MAX_BYTES}")]
    Oversized {
        /// Its size as JSON.
        bytes: usize,
    },
}

impl Batch {
    /// Takes as many of a ticket's pending events as one signal may carry, at most `limit`.
    ///
    /// `rows` belong to one ticket and are in `seq` order; there is at least one. A row that cannot
    /// be sent ends the batch before it, so that the fault is reported when it is the first.
    pub fn cut(rows: &[PendingEvent], epoch: u64, limit: usize) -> Result<Self, BadEvent> {
        let mut events: Vec<SignalEvent> = Vec::new();
        let mut bytes = ENVELOPE_BYTES;
        for row in rows.iter().take(limit.clamp(1, MAX_EVENTS)) {
            if events.last().is_some_and(|last| row.seq != last.seq + 1) {
                break;
            }
            match decode(row) {
                Ok((_, size)) if !events.is_empty() && bytes + size > MAX_BYTES => break,
                Ok((event, size)) => {
                    bytes += size;
                    events.push(event);
                }
                Err(_) if !events.is_empty() => break,
                Err(fault) => return Err(fault),
            }
        }
        Ok(Self {
            envelope: SignalEnvelope {
                v: 1,
                epoch,
                events,
                resync: false,
            },
        })
    }

    /// The event that the signal is sent for: the newest, whose level the workflow acts on.
    pub fn cause(&self) -> Option<&SignalEvent> {
        self.envelope.events.last()
    }

    /// The name of the signal: the same events are the same request. By their ids, as a `seq` stands
    /// for another event once the database was set back, and Temporal drops what it has had.
    pub fn request_id(&self, tenant: TenantId, ticket: TicketId) -> Uuid {
        let events = &self.envelope.events;
        let ends = [events.first(), events.last()].into_iter().flatten();
        let ends: Vec<_> = ends.map(|event| event.event_id.to_string()).collect();
        let epoch = self.envelope.epoch;
        workflow_request_id(tenant, ticket, "events", &ends.join("-"), epoch)
    }

    /// The newest level that this build can read.
    pub fn level(&self) -> Option<&TicketLevel> {
        self.envelope
            .events
            .iter()
            .rev()
            .find_map(|event| event.level.as_ref())
    }
}

/// The event and its size in bytes, with the comma after it.
fn decode(row: &PendingEvent) -> Result<(SignalEvent, usize), BadEvent> {
    let undecodable = |column, why: &dyn std::fmt::Display| BadEvent::Undecodable {
        column,
        why: why.to_string(),
    };
    let correlation_id = CorrelationId::new(row.correlation_id.as_str())
        .map_err(|e| undecodable("correlation_id", &e))?;
    let trace = TraceContext::parse(&row.traceparent, row.tracestate.as_deref())
        .ok_or_else(|| undecodable("traceparent", &"not a W3C trace context"))?;
    // A level that a newer dispatch-api wrote may be unreadable here. The event still goes out and
    // keeps its place: the workflow then asks for a snapshot instead of waiting for our upgrade.
    let level = row
        .level
        .as_ref()
        .and_then(|level| serde_json::from_value(level.clone()).ok());
    let event = SignalEvent {
        seq: row.seq,
        event_id: row.id,
        event_type: row.event_type.clone(),
        event_version: row.event_version,
        occurred_at: row.occurred_at,
        correlation_id,
        trace,
        level,
    };
    let size = serde_json::to_vec(&event)
        .map_err(|e| undecodable("level", &e))?
        .len()
        + 1;
    if ENVELOPE_BYTES + size > MAX_BYTES {
        return Err(BadEvent::Oversized { bytes: size });
    }
    Ok((event, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;
    use serde_json::json;

    fn row(seq: u64) -> PendingEvent {
        PendingEvent {
            id: EventId::from_uuid(Uuid::from_u128(seq.into())),
            tenant_id: TenantId::from_uuid(Uuid::from_u128(1)),
            ticket_id: TicketId::from_uuid(Uuid::from_u128(2)),
            partition: 3,
            seq,
            event_type: "ticket.triaged".into(),
            event_version: 1,
            occurred_at: DateTime::<Utc>::UNIX_EPOCH,
            correlation_id: "c-1".into(),
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
            tracestate: None,
            level: Some(level(Vec::new())),
            attempts: 0,
        }
    }

    fn level(sla: Vec<serde_json::Value>) -> serde_json::Value {
        json!({
            "state": "TRIAGED", "version": 2, "template": "emergency_glass", "priority": "P1",
            "waiting_for": "assignment", "visit": 1, "sla": sla, "open_approvals": [],
            "autonomy": "SHADOW", "kill_generation": 0,
        })
    }

    /// A level of about `bytes` bytes.
    fn heavy(bytes: usize) -> serde_json::Value {
        let clock = json!({
            "name": "response", "calendar": "always", "budget_seconds": 60, "used_seconds": 0,
            "revision": 1, "phase": "stopped", "at": "2026-11-21T00:00:00Z", "met": true,
        });
        let each = clock.to_string().len() + 1;
        level(vec![clock; bytes / each])
    }

    fn seqs(batch: &Batch) -> Vec<u64> {
        batch.envelope.events.iter().map(|e| e.seq).collect()
    }

    #[test]
    fn pending_events_travel_together_up_to_the_limit() {
        let rows: Vec<_> = (5..=250).map(row).collect();
        let batch = Batch::cut(&rows, 7, usize::MAX).unwrap();
        assert_eq!(seqs(&batch), (5..=104).collect::<Vec<_>>());
        assert_eq!((batch.envelope.v, batch.envelope.epoch), (1, 7));
        assert_eq!(batch.envelope.events.len(), MAX_EVENTS);
        assert_eq!(seqs(&Batch::cut(&rows, 7, 1).unwrap()), [5]);
    }

    #[test]
    fn a_gap_ends_the_batch() {
        let batch = Batch::cut(&[row(1), row(2), row(4)], 1, usize::MAX).unwrap();
        assert_eq!(seqs(&batch), [1, 2]);
    }

    #[test]
    fn a_bad_row_is_reported_only_when_it_is_first() {
        let mut bad = row(2);
        bad.correlation_id = "two words".into();
        let rows = [row(1), bad.clone(), row(3)];
        assert_eq!(seqs(&Batch::cut(&rows, 1, usize::MAX).unwrap()), [1]);
        assert!(matches!(
            Batch::cut(&[bad, row(3)], 1, usize::MAX),
            Err(BadEvent::Undecodable {
                column: "correlation_id",
                ..
            })
        ));
    }

    #[test]
    fn an_event_above_the_limit_is_oversized() {
        let mut big = row(1);
        big.level = Some(heavy(MAX_BYTES + 1000));
        assert!(matches!(
            Batch::cut(&[big], 1, usize::MAX),
            Err(BadEvent::Oversized { bytes }) if bytes > MAX_BYTES
        ));
    }

    #[test]
    fn the_same_seq_with_another_event_is_another_request() {
        let id = |rows: &[PendingEvent], epoch| {
            let batch = Batch::cut(rows, epoch, usize::MAX).unwrap();
            batch.request_id(rows[0].tenant_id, rows[0].ticket_id)
        };
        let rows = [row(5), row(6)];
        assert_eq!(id(&rows, 1), id(&rows, 1));
        assert_ne!(id(&rows, 1), id(&rows, 2));
        assert_ne!(id(&rows, 1), id(&rows[..1], 1));
        let mut set_back = rows.clone();
        set_back[1].id = EventId::from_uuid(Uuid::from_u128(66));
        assert_ne!(id(&rows, 1), id(&set_back, 1));
    }

    #[test]
    fn an_unreadable_level_does_not_stop_the_event() {
        let mut newer = row(2);
        newer.level = Some(json!({ "state": "IN_ORBIT" }));
        let batch = Batch::cut(&[row(1), newer], 1, usize::MAX).unwrap();
        assert_eq!(batch.envelope.events[1].level, None);
        assert_eq!(batch.level().map(|l| l.version), Some(2));
    }

    proptest! {
        // Each case serialises megabytes.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_batch_is_a_gapless_prefix_within_both_limits(
            steps in prop::collection::vec((1..4_u64, 0..90_000_usize), 1..130),
        ) {
            let mut seq = 0;
            let rows: Vec<_> = steps
                .into_iter()
                .map(|(step, bytes)| {
                    seq += if step == 3 { 2 } else { 1 };
                    let mut row = row(seq);
                    row.level = Some(heavy(bytes));
                    row
                })
                .collect();
            let batch = Batch::cut(&rows, 1, usize::MAX).unwrap();
            let sent = seqs(&batch);
            prop_assert!(!sent.is_empty() && sent.len() <= MAX_EVENTS);
            prop_assert!(serde_json::to_vec(&batch.envelope).unwrap().len() <= MAX_BYTES);
            for (i, seq) in sent.iter().enumerate() {
                prop_assert_eq!(*seq, sent[0] + i as u64);
                prop_assert_eq!(*seq, rows[i].seq);
            }
        }
    }
}
