//! Compares the stored answer to an accepted command with what its timeline says it led to.

use contracts::{
    ApprovalId,
    command::CommandReceipt,
    comms::Purpose,
    event::{TicketChange, TicketEvent},
    filing::{Filed, FilingReceipt},
    ticket::Ticket,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::approvals::{Approvals, approval_of};
use crate::audit::AuditRow;

/// Whether the body is the receipt of this attempt.
pub(super) fn tells(
    body: &str,
    row: &AuditRow,
    changes: &[TicketChange],
    ticket: &Ticket,
    approvals: &mut Approvals,
    decision: Option<&Value>,
) -> bool {
    if let [change, ..] = changes
        && let TicketEvent::ApprovalRequested { approval_id, .. } = &change.event
    {
        let told = approvals.get_mut(row.tenant_id, *approval_id);
        return told.is_some_and(|told| told.is_receipt(body, row, decision));
    }
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
        None => match expected(row, changes, ticket, approvals) {
            (receipt, false) => is(body, &receipt),
            (receipt, true) => {
                let told_less = CommandReceipt {
                    approval_state: None,
                    ..receipt.clone()
                };
                is(body, &receipt) || is(body, &told_less)
            }
        },
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

/// The receipt, and whether it may be of before version 0.3, which did not say how an approval stands.
fn expected(
    row: &AuditRow,
    changes: &[TicketChange],
    ticket: &Ticket,
    approvals: &mut Approvals,
) -> (CommandReceipt, bool) {
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
    let mut before_0_3 = false;
    let meant = meant(row);
    for change in changes {
        if let Some(id) = approval_of(&change.event)
            && (!ends_beside(&change.event) || meant == Some(id))
            && let Some(told) = approvals.get_mut(row.tenant_id, id)
        {
            receipt.about(id, told.approval.state);
            before_0_3 = told.before_0_3;
        }
        match &change.event {
            TicketEvent::Created { note_id, .. } => receipt.note_id = *note_id,
            TicketEvent::NoteAdded { note_id } => receipt.note_id = Some(*note_id),
            TicketEvent::ChangeRequested { note_id, .. } => receipt.note_id = *note_id,
            TicketEvent::ApprovalCommented { comment_id, .. } => {
                receipt.comment_id = Some(*comment_id);
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
    (receipt, before_0_3)
}

/// Whether an approval may have ended so beside something else.
fn ends_beside(event: &TicketEvent) -> bool {
    matches!(
        event,
        TicketEvent::ApprovalStale { .. } | TicketEvent::ApprovalWithdrawn { .. }
    )
}

/// The approval that the attempt is about.
fn meant(row: &AuditRow) -> Option<ApprovalId> {
    let carried_out = &row.payload["approval"]["approval_id"];
    let named = &row.payload["approval_id"];
    [carried_out, named]
        .into_iter()
        .find_map(|id| id.as_str()?.parse().ok())
}
