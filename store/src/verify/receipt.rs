//! Compares the stored answer to an accepted command with what its timeline says it led to.

use contracts::{
    command::CommandReceipt,
    comms::Purpose,
    event::{TicketChange, TicketEvent},
    filing::{Filed, FilingReceipt},
    ticket::Ticket,
};
use serde::de::DeserializeOwned;

use crate::audit::AuditRow;

/// Whether the body is the receipt of this attempt.
pub(super) fn tells(body: &str, row: &AuditRow, changes: &[TicketChange], ticket: &Ticket) -> bool {
    match received(changes) {
        Some(filed) => {
            let expected = FilingReceipt {
                command_id: row.command_id,
                decision_id: row.decision_id,
                applied_to_version: row.applied_to_version,
                produced_version: row.produced_version,
                dry_run: false,
                filed,
                ticket: Some(ticket.clone()),
            };
            is(body, &expected)
        }
        None => is(body, &expected(row, changes, ticket)),
    }
}

fn is<T: DeserializeOwned + PartialEq>(body: &str, expected: &T) -> bool {
    serde_json::from_str::<T>(body).is_ok_and(|told| told == *expected)
}

/// The message that was taken in for a ticket.
fn received(changes: &[TicketChange]) -> Option<Filed> {
    changes.iter().find_map(|change| match &change.event {
        TicketEvent::MessageReceived {
            message_id,
            routing,
            ..
        } => Some(Filed::Message {
            message_id: *message_id,
            routing: routing.clone(),
        }),
        _ => None,
    })
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
        approval_state: None,
        comment_id: None,
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
