//! Decides the change order that the ticket waits for. Approved, it raises the not-to-exceed
//! amount by exactly what the approver saw; rejected, work goes on within the old one.

use contracts::{
    Command,
    approval::{Approval, ApprovalState, Verdict},
    command::DecideApproval,
    event::TicketEvent,
    ticket::Ticket,
};

use super::{Plan, request_change};
use crate::{Effect, Facts, Rejection};

/// Refuses to decide what was decided before, and says who did and when.
pub(super) fn undecided(
    command: &Command,
    ticket: &Ticket,
    facts: &Facts,
) -> Result<(), Rejection> {
    let Command::DecideApproval(body) = command else {
        return Ok(());
    };
    let Some(approval) = named(body, ticket, facts) else {
        return Ok(());
    };
    match approval.state {
        ApprovalState::Pending => Ok(()),
        state @ (ApprovalState::Approved | ApprovalState::Rejected | ApprovalState::Withdrawn) => {
            Err(Rejection::AlreadyDecided {
                approval_id: approval.id,
                state,
                by: approval.decided_by.clone(),
                at: approval.decided_at,
            })
        }
    }
}

pub(super) fn plan(
    body: &DecideApproval,
    ticket: &Ticket,
    facts: &Facts,
) -> Result<Plan, Rejection> {
    let approval = named(body, ticket, facts)
        .ok_or_else(|| Rejection::invalid("/approval_id", "names no approval of this ticket"))?;
    let nte_cents = match body.verdict {
        Verdict::Approve => raised(ticket, approval)?,
        Verdict::Reject => ticket.nte_cents,
    };
    let event = TicketEvent::ChangeDecided {
        approval_id: approval.id,
        verdict: body.verdict,
        nte_cents,
        reason: body.reason.clone(),
    };
    Ok(Plan::from(event).with([Effect::DecideApproval {
        id: approval.id,
        verdict: body.verdict,
        reason: body.reason.clone(),
        at: facts.now,
        by: facts.actor_id.clone(),
    }]))
}

/// The approval that the body names, if it is this ticket's.
fn named<'a>(body: &DecideApproval, ticket: &Ticket, facts: &'a Facts) -> Option<&'a Approval> {
    let approval = facts.approval.as_ref()?;
    (approval.id == body.approval_id && approval.ticket_id == ticket.id).then_some(approval)
}

/// The amount afterwards, if what was asked is still what the ticket waits for.
fn raised(ticket: &Ticket, approval: &Approval) -> Result<i64, Rejection> {
    let stale = || Rejection::ApprovalStale {
        approval_id: approval.id,
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
