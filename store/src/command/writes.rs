//! The rows that an accepted command writes beside the decision and the audit row.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use contracts::{
    ApprovalId, ContactId, EventId, MessageId, Operation,
    approval::{Approval, ApprovalState},
    canonical::canonical_sha256,
    command::{AddEvidence, CommsInbound},
    comms::{Channel, Direction, OnlyWhile, Purpose, Recipient, Routing},
    event::{TicketEvent, TicketLevel},
    filing::Filed,
    policy::PolicyActor,
    proposal::{Advice, AdvisorInput, PairingOutcome, ProposalKind},
    sla::SlaRecordKey,
    ticket::{Ticket, Visit},
    value::PeerAddress,
};
use domain::{Autonomy, Decided, Effect, Filing, OutboundMessage, comms::Quiet};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Offered;

/// Rows as `command_commit` reads them; ids are row ids, except inside documents of `contracts`.
#[derive(Debug, Serialize)]
pub struct Writes<'a> {
    events: Vec<EventRow<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    visits: Vec<&'a Visit>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<NoteRow<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    approvals: Vec<&'a Approval>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    approvals_written: Vec<&'a Approval>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    approvals_settled: Vec<SettledRow<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    comments: Vec<CommentRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<HeldCommand<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<Counted>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    proposals: Vec<ProposalRow<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pairings: Vec<PairingRow>,
    /// Proposals that the actor has read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    seen: Vec<Uuid>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sla: Vec<SlaRow<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<EvidenceRow<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<MessageRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attached: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filing: Option<FilingRow<'a>>,
    /// What a function of its own writes.
    #[serde(skip)]
    apart: Option<(Apart, FilingRow<'a>)>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    numbers: BTreeMap<&'static str, u64>,
    #[serde(skip)]
    head_seq: u64,
    /// Workflows hear of it by a control event.
    #[serde(skip)]
    is_control: bool,
}

#[derive(Debug, Serialize)]
struct EventRow<'a> {
    id: Uuid,
    seq: Option<u64>,
    event_type: &'static str,
    event_version: u16,
    payload: &'a TicketEvent,
    level: Option<TicketLevel>,
    occurred_at: DateTime<Utc>,
    pending: bool,
}

#[derive(Debug, Serialize)]
struct NoteRow<'a> {
    id: Uuid,
    text: &'a str,
}

#[derive(Debug, Serialize)]
struct SettledRow<'a> {
    id: Uuid,
    state: ApprovalState,
    reason: Option<&'a str>,
    at: DateTime<Utc>,
}

#[derive(Debug, Serialize)]
struct CommentRow<'a> {
    id: Uuid,
    approval_id: Uuid,
    text: &'a str,
}

/// A held command as it was sent.
#[derive(Debug, Clone, Serialize)]
pub struct HeldCommand<'a> {
    /// The approval that holds it.
    #[serde(serialize_with = "approval_row")]
    pub approval_id: ApprovalId,
    /// The approval's version.
    pub version: u32,
    /// What it is.
    pub operation: Operation,
    /// Its canonical JSON.
    pub command: &'a str,
    /// SHA-256 over that.
    pub sha256: &'a str,
    /// Who asked.
    pub proposer: &'a PolicyActor,
}

fn approval_row<S: serde::Serializer>(id: &ApprovalId, serializer: S) -> Result<S::Ok, S::Error> {
    id.as_uuid().serialize(serializer)
}

/// One command that software carries out by itself, with the caps that hold for it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Counted {
    /// The clock hour.
    pub hour: DateTime<Utc>,
    /// The clock hour in which it takes effect, where those of its kind are counted.
    pub hour_of_operation: DateTime<Utc>,
    /// What it is.
    pub operation: Operation,
    /// What it spends, in cents.
    pub spends_cents: i64,
    /// The most commands of any kind.
    pub most: u32,
    /// The most of this kind.
    pub most_of_operation: u32,
    /// The most cents.
    pub most_cents: i64,
}

#[derive(Debug, Serialize)]
struct ProposalRow<'a> {
    id: Uuid,
    kind: ProposalKind,
    based_on_version: u64,
    input: &'a AdvisorInput,
    input_sha256: String,
    advice: &'a Advice,
}

#[derive(Debug, Serialize)]
struct PairingRow {
    id: Uuid,
    outcome: PairingOutcome,
    seen: bool,
}

#[derive(Debug, Serialize)]
struct SlaRow<'a> {
    #[serde(flatten)]
    key: &'a SlaRecordKey,
    effective_at: DateTime<Utc>,
}

#[derive(Debug, Serialize)]
struct EvidenceRow<'a> {
    id: Uuid,
    #[serde(flatten)]
    evidence: &'a AddEvidence,
}

/// `write_messages` reads these.
#[derive(Debug, Serialize)]
struct MessageRow<'a> {
    id: Uuid,
    direction: Direction,
    channel: Channel,
    purpose: Option<Purpose>,
    provider: Option<&'a str>,
    provider_message_id: Option<&'a str>,
    contact_id: Option<Uuid>,
    recipient: Option<&'a Recipient>,
    routing: Option<&'a Routing>,
    only_while: Option<&'a OnlyWhile>,
    due_at: Option<DateTime<Utc>>,
    provider_time: Option<DateTime<Utc>>,
    peer: Option<&'a str>,
    text: Option<&'a str>,
    raw: Option<&'a str>,
    quiet: Option<String>,
}

#[derive(Debug, Serialize)]
struct FilingRow<'a> {
    id: Uuid,
    version: u64,
    body: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<Operation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

/// What is rare enough for a round trip, and a function, of its own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Apart {
    /// Of a tenant.
    Tenant,
    /// Of a service account or one of its keys.
    ServiceAccount,
}

impl Apart {
    pub(super) const fn sql(self) -> &'static str {
        match self {
            Self::Tenant => "select write_tenant($1, $2, $3, $4, $5)",
            Self::ServiceAccount => "select write_service_account($1, $2, $3, $4, $5)",
        }
    }
}

/// Whether `write_control` writes a control event for it.
fn is_control(filed: &Filed) -> bool {
    match filed {
        Filed::ApprovalChanged {
            executed: Some(executed),
            ..
        } => is_control(executed),
        Filed::KillSwitchEngaged { .. }
        | Filed::KillSwitchReleased { .. }
        | Filed::StageSet { .. }
        | Filed::BundleActivated { .. }
        | Filed::Tenant { .. } => true,
        _ => false,
    }
}

/// An inbound message with where it belongs.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedMessage<'a> {
    /// Its id.
    pub id: MessageId,
    /// What came.
    pub body: &'a CommsInbound,
    /// Who sent it: the address in its one spelling.
    pub peer: &'a PeerAddress,
    /// Where it belongs.
    pub routing: &'a Routing,
    /// The person on record with the peer's address.
    pub contact_id: Option<ContactId>,
}

impl<'a> Writes<'a> {
    fn nothing(head_seq: u64) -> Self {
        Self {
            events: Vec::new(),
            visits: Vec::new(),
            notes: Vec::new(),
            approvals: Vec::new(),
            approvals_written: Vec::new(),
            approvals_settled: Vec::new(),
            comments: Vec::new(),
            held: None,
            counted: None,
            proposals: Vec::new(),
            pairings: Vec::new(),
            seen: Vec::new(),
            sla: Vec::new(),
            evidence: Vec::new(),
            messages: Vec::new(),
            attached: None,
            filing: None,
            apart: None,
            numbers: BTreeMap::new(),
            head_seq,
            is_control: false,
        }
    }

    /// What a filing leads to; `body` is its command's body.
    pub fn of_filing(filing: &'a Filing, body: &'a Value) -> Self {
        let about_approval = matches!(
            filing.filed,
            Filed::Held { .. } | Filed::ApprovalChanged { executed: None, .. }
        );
        let scope = match &filing.filed {
            Filed::KillSwitchEngaged { scope, .. } | Filed::KillSwitchReleased { scope, .. } => {
                Some(scope.key())
            }
            Filed::ApprovalChanged {
                executed: Some(executed),
                ..
            } => match &**executed {
                Filed::KillSwitchReleased { scope, .. } => Some(scope.key()),
                _ => None,
            },
            _ => None,
        };
        let row = FilingRow {
            id: filing.id,
            version: filing.produced_version,
            body: filing.row.as_ref().unwrap_or(body),
            operation: filing.operation,
            scope,
        };
        let (filing_row, apart) = match filing.filed {
            Filed::Tenant { .. } => (None, Some((Apart::Tenant, row))),
            Filed::ServiceAccount { .. }
            | Filed::ApiKeyIssued { .. }
            | Filed::ApiKeyRotated { .. }
            | Filed::ApiKeyRevoked { .. } => (None, Some((Apart::ServiceAccount, row))),
            _ => ((!about_approval).then_some(row), None),
        };
        let mut writes = Self {
            filing: filing_row,
            apart,
            is_control: is_control(&filing.filed),
            ..Self::nothing(0)
        };
        for effect in &filing.effects {
            writes.add(effect);
        }
        for notice in &filing.notices {
            writes.queue(notice);
        }
        writes
    }

    /// Keeps the command that an approval holds.
    pub fn hold(&mut self, held: HeldCommand<'a>) {
        self.held = Some(held);
    }

    /// Counts the command as one of software's own.
    pub fn count(&mut self, counted: Counted) {
        self.counted = Some(counted);
    }

    /// A message that belongs to no ticket yet.
    pub fn of_message(message: ReceivedMessage<'a>) -> Self {
        let mut writes = Self::nothing(0);
        writes.receive(message);
        writes
    }

    /// A message that came in.
    pub fn receive(&mut self, message: ReceivedMessage<'a>) {
        let body = message.body;
        self.messages.push(MessageRow {
            id: message.id.as_uuid(),
            direction: Direction::Inbound,
            channel: body.channel,
            purpose: None,
            provider: Some(body.provider.as_str()),
            provider_message_id: Some(body.provider_message_id.as_str()),
            contact_id: message.contact_id.map(|id| id.as_uuid()),
            recipient: None,
            routing: Some(message.routing),
            only_while: None,
            due_at: None,
            provider_time: body.provider_time,
            peer: Some(message.peer.as_str()),
            text: Some(body.text.as_str()),
            raw: body.raw.as_ref().map(|raw| raw.as_str()),
            quiet: None,
        });
    }

    /// What is written by a function of its own, and by which.
    pub(super) fn apart(&mut self) -> Option<(Apart, impl Serialize + Send + Sync + 'a)> {
        self.apart.take()
    }

    /// Whether the workflow hears of it.
    pub fn reaches_workflow(&self) -> bool {
        self.events.iter().any(|event| event.pending) || self.is_control
    }

    /// What a decision leads to. Events to the workflow get the `seq`s after `event_seq`;
    /// `fresh_event_id` is asked once per event.
    pub fn new(
        decided: &'a Decided,
        before: Option<&Ticket>,
        event_seq: u64,
        offered: Offered,
        autonomy: &Autonomy,
        mut fresh_event_id: impl FnMut() -> EventId,
    ) -> Self {
        let mut head_seq = event_seq;
        let events = decided
            .changes
            .iter()
            .map(|change| {
                let event_type = change.event.event_type();
                let to_workflow = event_type.audience().is_workflow();
                head_seq += u64::from(to_workflow);
                EventRow {
                    id: fresh_event_id().as_uuid(),
                    seq: to_workflow.then_some(head_seq),
                    event_type: event_type.name(),
                    event_version: event_type.version(),
                    payload: &change.event,
                    level: to_workflow.then(|| domain::level(&decided.ticket, autonomy)),
                    occurred_at: change.at,
                    pending: to_workflow,
                }
            })
            .collect();
        let mut writes = Self {
            events,
            visits: changed_visits(before, &decided.ticket),
            numbers: used_numbers(before, &decided.ticket, offered),
            ..Self::nothing(head_seq)
        };
        for effect in &decided.effects {
            writes.add(effect);
        }
        writes
    }

    /// `seq` of the ticket's last event to the workflow, these included.
    pub fn head_seq(&self) -> u64 {
        self.head_seq
    }

    fn add(&mut self, effect: &'a Effect) {
        match effect {
            Effect::OpenApproval(approval) => self.approvals.push(approval),
            Effect::WriteApproval(approval) => self.approvals_written.push(approval),
            Effect::SettleApproval {
                id,
                state,
                reason,
                at,
            } => self.approvals_settled.push(SettledRow {
                id: id.as_uuid(),
                state: *state,
                reason: reason.as_ref().map(|reason| reason.as_str()),
                at: *at,
            }),
            Effect::WriteComment {
                id,
                approval_id,
                text,
            } => self.comments.push(CommentRow {
                id: id.as_uuid(),
                approval_id: approval_id.as_uuid(),
                text: text.as_str(),
            }),
            Effect::SeeProposal(id) => self.seen.push(id.as_uuid()),
            Effect::WriteNote { id, text } => self.notes.push(NoteRow {
                id: id.as_uuid(),
                text: text.as_str(),
            }),
            Effect::RecordProposal {
                id,
                kind,
                based_on_version,
                input,
                advice,
            } => self.proposals.push(ProposalRow {
                id: id.as_uuid(),
                kind: *kind,
                based_on_version: *based_on_version,
                input,
                input_sha256: canonical_sha256(input)
                    .expect("an advisor's input holds strings and integers only"),
                advice,
            }),
            Effect::PairProposal { id, outcome, seen } => self.pairings.push(PairingRow {
                id: id.as_uuid(),
                outcome: *outcome,
                seen: *seen,
            }),
            Effect::RecordSla { key, effective_at } => self.sla.push(SlaRow {
                key,
                effective_at: *effective_at,
            }),
            Effect::AddEvidence { id, evidence } => self.evidence.push(EvidenceRow {
                id: id.as_uuid(),
                evidence,
            }),
            Effect::AttachMessage(id) => self.attached = Some(id.as_uuid()),
            Effect::QueueMessage(message) => self.queue(message),
            // Its text and address stand in the command, so the caller hands it to `receive`.
            Effect::ReceiveMessage { .. } => {}
        }
    }
}

impl<'a> Writes<'a> {
    fn queue(&mut self, message: &'a OutboundMessage) {
        self.messages.push(MessageRow {
            id: message.id.as_uuid(),
            direction: Direction::Outbound,
            channel: message.channel,
            purpose: Some(message.purpose),
            provider: None,
            provider_message_id: None,
            contact_id: match &message.recipient {
                Recipient::Contact { contact_id } => Some(contact_id.as_uuid()),
                Recipient::Roles { .. } | Recipient::Concerned { .. } => None,
            },
            recipient: Some(&message.recipient),
            routing: None,
            only_while: Some(&message.only_while),
            due_at: Some(message.due_at),
            provider_time: None,
            peer: None,
            text: message.text.as_ref().map(|text| text.as_str()),
            raw: None,
            quiet: message.quiet.as_ref().map(multirange),
        });
    }
}

/// When a message must not leave, as Postgres reads it: what nobody knows is quiet.
fn multirange(quiet: &Quiet) -> String {
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let windows = quiet.windows.iter();
    let mut ranges: Vec<String> = windows
        .map(|window| format!("[{},{})", text(window.start), text(window.end)))
        .collect();
    ranges.push(format!("[{},)", text(quiet.known_until)));
    format!("{{{}}}", ranges.join(","))
}

fn changed_visits<'a>(before: Option<&Ticket>, after: &'a Ticket) -> Vec<&'a Visit> {
    let before = before.map_or(&[][..], |ticket| &ticket.visits);
    let changed = |visit: &&Visit| !before.contains(visit);
    after.visits.iter().filter(changed).collect()
}

/// The offered numbers that the ticket now carries and did not before.
fn used_numbers(
    before: Option<&Ticket>,
    after: &Ticket,
    offered: Offered,
) -> BTreeMap<&'static str, u64> {
    let invoice = |ticket: &Ticket| Some(ticket.invoice.as_ref()?.number.clone());
    let credit_note = |ticket: &Ticket| ticket.invoice.as_ref()?.credit_note.clone();
    let is_new = |number: Option<String>, of: &dyn Fn(&Ticket) -> Option<String>| {
        number.is_some() && of(after) == number && before.and_then(of) != number
    };
    let series = [
        (
            "invoice",
            offered.invoice,
            is_new(offered.invoice_number(), &invoice),
        ),
        (
            "credit_note",
            offered.credit_note,
            is_new(offered.credit_note_number(), &credit_note),
        ),
    ];
    series
        .into_iter()
        .filter(|(.., used)| *used)
        .filter_map(|(series, number, _)| Some((series, number?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use contracts::{
        InvoiceId, NoteId, Priority, SiteId, TemplateId, TenantId, TicketId, VisitId,
        event::TicketChange, ticket::Invoice,
    };
    use domain::TicketKey;

    use super::*;

    const KEY: TicketKey = TicketKey {
        tenant_id: TenantId::from_uuid(Uuid::nil()),
        ticket_id: TicketId::from_uuid(Uuid::max()),
    };

    fn change(event: TicketEvent) -> TicketChange {
        TicketChange {
            at: DateTime::UNIX_EPOCH,
            event,
            sla: None,
        }
    }

    fn decided(before: Option<Ticket>, events: Vec<TicketEvent>) -> Decided {
        let changes: Vec<_> = events.into_iter().map(change).collect();
        let fold = |ticket, change| Some(domain::evolve(KEY, ticket, change));
        Decided {
            ticket: changes.iter().fold(before, fold).unwrap(),
            changes,
            effects: Vec::new(),
        }
    }

    fn created() -> TicketEvent {
        TicketEvent::Created {
            site_id: SiteId::from_uuid(Uuid::nil()),
            asset_id: None,
            contact_id: None,
            template: TemplateId::new("emergency_glass").unwrap(),
            priority: Priority::P1,
            details: BTreeMap::new(),
            nte_cents: 0,
            visit_id: VisitId::from_uuid(Uuid::nil()),
            note_id: None,
        }
    }

    fn note() -> TicketEvent {
        TicketEvent::NoteAdded {
            note_id: NoteId::from_uuid(Uuid::nil()),
        }
    }

    fn invoiced(number: &str) -> TicketEvent {
        TicketEvent::Invoiced {
            invoice: Invoice {
                id: InvoiceId::from_uuid(Uuid::nil()),
                number: number.into(),
                amount_cents: 0,
                lines: Vec::new(),
                issued_at: DateTime::UNIX_EPOCH,
                credit_note: None,
            },
        }
    }

    fn writes<'a>(decided: &'a Decided, before: Option<&Ticket>, seq: u64) -> Writes<'a> {
        let offered = Offered {
            invoice: Some(7),
            credit_note: None,
        };
        Writes::new(decided, before, seq, offered, &autonomy(), || {
            EventId::from_uuid(Uuid::nil())
        })
    }

    fn autonomy() -> Autonomy {
        let rules = serde_json::json!({
            "kinds": ["agent", "workflow"], "bookkeeping": [], "through_kill_switch": [],
            "default_mode": "SHADOW", "default_risk": "standard", "risk_classes": {}, "gates": {},
            "caps": { "commands_per_hour": 1, "spend_cents_per_hour": 1 },
            "guardrails": {
                "window_hours": 1, "min_acts": 1, "max_overridden_permille": 1,
                "max_breaches": 1, "max_denied_permille": 1,
            },
        });
        Autonomy {
            at: DateTime::UNIX_EPOCH,
            stages: Vec::new(),
            switches: Vec::new(),
            ceiling: contracts::event::AutonomyMode::Auto,
            rules: serde_json::from_value(rules).unwrap(),
        }
    }

    #[test]
    fn only_events_to_the_workflow_are_numbered_and_delivered() {
        let opened = decided(None, vec![created()]);
        let first = writes(&opened, None, 0);
        assert_eq!((first.head_seq(), first.events[0].seq), (1, Some(1)));
        assert!(first.events[0].pending && first.events[0].level.is_some());
        assert_eq!(first.visits.len(), 1);

        let noted = decided(Some(opened.ticket.clone()), vec![note()]);
        let beside = writes(&noted, Some(&opened.ticket), 1);
        assert_eq!((beside.head_seq(), beside.events[0].seq), (1, None));
        assert!(!beside.events[0].pending && beside.events[0].level.is_none());
        assert!(beside.visits.is_empty(), "no visit changed");
    }

    #[test]
    fn a_number_is_used_once_and_only_when_the_ticket_carries_it() {
        let opened = decided(None, vec![created()]);
        assert!(writes(&opened, None, 0).numbers.is_empty());
        let before = Some(&opened.ticket);
        let charged = decided(before.cloned(), vec![invoiced("INV-000007")]);
        assert_eq!(
            writes(&charged, before, 1).numbers,
            BTreeMap::from([("invoice", 7)])
        );
        let other = decided(before.cloned(), vec![invoiced("INV-000008")]);
        assert!(writes(&other, before, 1).numbers.is_empty());
        let later = decided(Some(charged.ticket.clone()), vec![note()]);
        assert!(writes(&later, Some(&charged.ticket), 2).numbers.is_empty());
    }
}
