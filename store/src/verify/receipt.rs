//! Compares the stored answer to an accepted command with what its timeline says it led to.

use contracts::{
    command::CommandReceipt,
    comms::Purpose,
    event::{TicketChange, TicketEvent},
    ticket::Ticket,
};

use crate::audit::AuditRow;

/// Whether the body is the receipt of this attempt.
pub(super) fn tells(body: &str, row: &AuditRow, changes: &[TicketChange], ticket: &Ticket) -> bool {
    serde_json::from_str::<CommandReceipt>(body)
        .is_ok_and(|told| told == expected(row, changes, ticket))
}

fn expected(row: &AuditRow, changes: &[TicketChange], ticket: &Ticket) -> CommandReceipt {
    let mut receipt = CommandReceipt {
        command_id: row.command_id,
        decision_id: row.decision_id,
        applied_to_version: row.applied_to_version,
        produced_version: row.produced_version,
        dry_run: false,
        ticket: ticket.clone(),
        approval_id: None,
        note_id: None,
        proposal_id: None,
        evidence_id: None,
        message_id: None,
    };
    for change in changes {
        match &change.event {
            TicketEvent::Created { note_id, .. } => receipt.note_id = *note_id,
            TicketEvent::NoteAdded { note_id } => receipt.note_id = Some(*note_id),
            TicketEvent::ChangeRequested {
                approval_id,
                note_id,
                ..
            } => {
                receipt.approval_id = Some(*approval_id);
                receipt.note_id = *note_id;
            }
            TicketEvent::ChangeDecided { approval_id, .. } => {
                receipt.approval_id = Some(*approval_id);
            }
            TicketEvent::ProposalRecorded { proposal_id, .. } => {
                receipt.proposal_id = Some(*proposal_id);
            }
            TicketEvent::EvidenceAdded { evidence_id, .. } => {
                receipt.evidence_id = Some(*evidence_id);
            }
            TicketEvent::MessageQueued {
                message_id,
                purpose: Purpose::Conversation,
                ..
            }
            | TicketEvent::MessageAttached { message_id } => {
                receipt.message_id = Some(*message_id);
            }
            _ => {}
        }
    }
    receipt
}
