//! Everything about an approval of the ticket but its decision: claimed, amended, withdrawn,
//! commented, put off, reminded of, escalated, expired. The rules are those of every approval
//! ([`crate::approval`]); a change order that ends undecided lets the work go on within the old NTE.

use contracts::{
    Command, Slug, TicketEvent,
    approval::{Approval, ApprovalKind, Verdict},
    ticket::Ticket,
};

use super::Plan;
use crate::{
    Effect, Facts, Rejection,
    approval::{Acted, ApprovalFacts, act, already, not_asked_before},
};

/// Refuses to do anything with what ended before, and says who ended it and when: the second
/// approver is to learn who was first, not merely that the ticket has moved on.
pub(super) fn undecided(
    command: &Command,
    ticket: &Ticket,
    facts: &Facts,
) -> Result<(), Rejection> {
    if command.approval_id().is_none() || matches!(command, Command::CommentApproval(_)) {
        return Ok(());
    }
    match named(command, ticket, facts) {
        Some(approval) if !approval.is_open() => Err(already(approval)),
        _ => Ok(()),
    }
}

pub(super) fn plan(command: &Command, ticket: &Ticket, facts: &Facts) -> Result<Plan, Rejection> {
    let acted = acted(command, ticket, facts)?;
    let approval = acted.approval;
    if matches!(command, Command::AmendApproval(_)) {
        not_asked_before(&approval, &facts.asked_before, facts.now)?;
    }
    let change_ended = approval.kind == ApprovalKind::ChangeOrder
        && matches!(
            acted.event,
            TicketEvent::ApprovalWithdrawn { .. } | TicketEvent::ApprovalExpired { .. }
        );
    let event = match change_ended {
        false => acted.event,
        true => TicketEvent::ChangeDecided {
            approval_id: approval.id,
            verdict: Verdict::Reject,
            nte_cents: ticket.nte_cents,
            reason: Slug::new(approval.state.to_string()).ok(),
            void: false,
        },
    };
    let comment = acted.comment.map(|(id, text)| Effect::WriteComment {
        id,
        approval_id: approval.id,
        text,
    });
    Ok(Plan::from(event)
        .with([Effect::WriteApproval(Box::new(approval))])
        .with(comment))
}

/// What becomes of the approval that the command names.
pub(super) fn acted(command: &Command, ticket: &Ticket, facts: &Facts) -> Result<Acted, Rejection> {
    if let Command::RecordApprovalStep(body) = command {
        super::check::not_ahead("applied_seq", body.applied_seq, facts.event_seq)?;
    }
    let approval = named(command, ticket, facts).ok_or(Rejection::NotFound)?;
    act(command, approval, &approval_facts(facts))
}

fn approval_facts(facts: &Facts) -> ApprovalFacts {
    ApprovalFacts {
        now: facts.now,
        actor_id: facts.actor_id.clone(),
        actor_kind: facts.actor_kind,
        actor_roles: facts.actor_roles.clone(),
        lent: facts.lent.clone(),
        command_id: facts.command_id,
        comment: facts.ids.comment,
        amended: facts.amended.clone(),
    }
}

/// The approval that the command names, if it is this ticket's.
fn named<'a>(command: &Command, ticket: &Ticket, facts: &'a Facts) -> Option<&'a Approval> {
    let approval = facts.approval.as_ref()?;
    let is_meant = command.approval_id() == Some(approval.id);
    (is_meant && approval.ticket_id == Some(ticket.id)).then_some(approval)
}
