//! Decides an approval. A change order takes effect at once: approved, it raises the not-to-exceed
//! amount by exactly what the approver saw; rejected, work goes on within the old one. A held
//! command is only released here; the ticket's workflow carries it out.

use contracts::{
    approval::{Approval, ApprovalKind, Verdict},
    command::DecideApproval,
    event::TicketEvent,
    ticket::Ticket,
};

use super::{Plan, about_approval::acted, request_change};
use crate::{Effect, Facts, Rejection, approval::word};

pub(super) fn plan(
    body: &DecideApproval,
    ticket: &Ticket,
    facts: &Facts,
) -> Result<Plan, Rejection> {
    let acted = acted(&body.clone().into(), ticket, facts)?;
    let mut approval = acted.approval;
    let event = match (approval.kind, acted.event) {
        (
            ApprovalKind::ChangeOrder,
            TicketEvent::ApprovalDecided {
                approval_id,
                verdict,
                reason,
                ..
            },
        ) => {
            let nte_cents = match verdict {
                Verdict::Approve => raised(ticket, &approval)?,
                Verdict::Reject => ticket.nte_cents,
            };
            approval.steps.clear();
            TicketEvent::ChangeDecided {
                approval_id,
                verdict,
                nte_cents,
                reason,
            }
        }
        (_, event) => event,
    };
    Ok(Plan::from(event).with([Effect::WriteApproval(Box::new(approval))]))
}

/// The amount afterwards, if what was asked is still what the ticket waits for.
fn raised(ticket: &Ticket, approval: &Approval) -> Result<i64, Rejection> {
    let stale = || Rejection::ApprovalStale {
        approval_id: approval.id,
        why: word("request_changed"),
    };
    let open = ticket
        .open_change
        .as_ref()
        .filter(|open| open.approval_id == approval.id)
        .ok_or_else(stale)?;
    let request = request_change::request(open.scope.as_str(), open.price_delta_cents);
    if approval.request_sha256 != request_change::sha256(&request)? {
        return Err(stale());
    }
    ticket
        .nte_cents
        .checked_add(open.price_delta_cents)
        .ok_or_else(stale)
}
