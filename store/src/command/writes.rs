//! The rows that an accepted command writes beside the decision and the audit row.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contracts::{
    EventId,
    approval::{Approval, ApprovalState, Verdict},
    canonical::canonical_sha256,
    event::{Audience, TicketEvent, TicketLevel},
    proposal::{Advice, AdvisorInput, PairingOutcome, ProposalKind},
    sla::SlaRecordKey,
    ticket::{Ticket, Visit},
};
use domain::{Decided, Effect};
use serde::Serialize;
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
    settled: Vec<SettledRow<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    proposals: Vec<ProposalRow<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pairings: Vec<PairingRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sla: Vec<SlaRow<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    numbers: BTreeMap<&'static str, u64>,
    #[serde(skip)]
    head_seq: u64,
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
    decided_by: Option<&'a str>,
    decided_at: Option<DateTime<Utc>>,
    reason: Option<&'a str>,
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
}

#[derive(Debug, Serialize)]
struct SlaRow<'a> {
    #[serde(flatten)]
    key: &'a SlaRecordKey,
    effective_at: DateTime<Utc>,
}

impl<'a> Writes<'a> {
    /// What a decision leads to. Events to the workflow get the `seq`s after `event_seq`;
    /// `fresh_event_id` is asked once per event.
    pub fn new(
        decided: &'a Decided,
        before: Option<&Ticket>,
        event_seq: u64,
        offered: Offered,
        mut fresh_event_id: impl FnMut() -> EventId,
    ) -> Self {
        let mut head_seq = event_seq;
        let events = decided
            .changes
            .iter()
            .map(|change| {
                let event_type = change.event.event_type();
                let to_workflow = event_type.audience() == Audience::Workflow;
                head_seq += u64::from(to_workflow);
                EventRow {
                    id: fresh_event_id().as_uuid(),
                    seq: to_workflow.then_some(head_seq),
                    event_type: event_type.name(),
                    event_version: event_type.version(),
                    payload: &change.event,
                    level: to_workflow.then(|| domain::level(&decided.ticket)),
                    occurred_at: change.at,
                    pending: to_workflow,
                }
            })
            .collect();
        let mut writes = Self {
            events,
            visits: changed_visits(before, &decided.ticket),
            notes: Vec::new(),
            approvals: Vec::new(),
            settled: Vec::new(),
            proposals: Vec::new(),
            pairings: Vec::new(),
            sla: Vec::new(),
            numbers: used_numbers(before, &decided.ticket, offered),
            head_seq,
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
            Effect::DecideApproval {
                id,
                verdict,
                reason,
                at,
                by,
            } => self.settled.push(SettledRow {
                id: id.as_uuid(),
                state: match verdict {
                    Verdict::Approve => ApprovalState::Approved,
                    Verdict::Reject => ApprovalState::Rejected,
                },
                decided_by: Some(by),
                decided_at: Some(*at),
                reason: reason.as_ref().map(|r| r.as_str()),
            }),
            Effect::WithdrawApproval(id) => self.settled.push(SettledRow {
                id: id.as_uuid(),
                state: ApprovalState::Withdrawn,
                decided_by: None,
                decided_at: None,
                reason: None,
            }),
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
            Effect::PairProposal { id, outcome } => self.pairings.push(PairingRow {
                id: id.as_uuid(),
                outcome: *outcome,
            }),
            Effect::RecordSla { key, effective_at } => self.sla.push(SlaRow {
                key,
                effective_at: *effective_at,
            }),
        }
    }
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
    let invoice = |ticket: &Ticket| ticket.invoice.as_ref().map(|i| i.number.clone());
    let credit_note = |ticket: &Ticket| ticket.invoice.as_ref().and_then(|i| i.credit_note.clone());
    let mut used = BTreeMap::new();
    let mut note = |series, offered: Option<u64>, number: Option<String>, carried: &dyn Fn(&Ticket) -> Option<String>| {
        if let Some(offered) = offered
            && carried(after) == number
            && before.and_then(carried) != number
        {
            used.insert(series, offered);
        }
    };
    note("invoice", offered.invoice, offered.invoice_number(), &invoice);
    note(
        "credit_note",
        offered.credit_note,
        offered.credit_note_number(),
        &credit_note,
    );
    used
}
