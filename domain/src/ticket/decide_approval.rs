//! Decides an approval. A change order takes effect at once: approved, it raises the not-to-exceed
//! amount by exactly what the approver saw; rejected, work goes on within the old one. A held
//! command is only released here; the ticket's workflow carries it out.
//!
//! A change order is judged anew at its last yes, when another bundle is active than let it be asked
//! for: what must not be asked for any more, or has not enough people's yes, does not count.
//!
//! Whoever decides what software asked for knows what it had proposed, wherever they looked: its open
//! proposals of that kind count as read from then on.

use contracts::{
    approval::{Approval, ApprovalKind, ApprovalState, Verdict},
    command::DecideApproval,
    event::TicketEvent,
    policy::PolicyResult,
    ticket::Ticket,
};

use super::{Plan, about_approval::acted, request_change};
use crate::{
    Effect, Facts, Rejection,
    approval::{meets, word},
    autonomy::kind_of,
};

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
            let void = verdict == Verdict::Approve && is_stricter(&approval, facts);
            if void {
                approval.state = ApprovalState::Stale;
                approval.reason = Some(word("policy_stricter"));
            }
            approval.steps.clear();
            let nte_cents = match verdict {
                Verdict::Approve => raised(ticket, &approval)?,
                Verdict::Reject => ticket.nte_cents,
            };
            match void {
                true => TicketEvent::ChangeDecided {
                    approval_id,
                    verdict: Verdict::Reject,
                    nte_cents: ticket.nte_cents,
                    reason: approval.reason.clone(),
                    void,
                },
                false => TicketEvent::ChangeDecided {
                    approval_id,
                    verdict,
                    nte_cents,
                    reason,
                    void,
                },
            }
        }
        (_, event) => event,
    };
    let seen = seen_with(&approval, facts);
    Ok(Plan::from(event)
        .with([Effect::WriteApproval(Box::new(approval))])
        .with(seen))
}

/// What software proposed and asked for with this approval, as far as whoever decides has not read it.
fn seen_with<'a>(approval: &Approval, facts: &'a Facts) -> impl Iterator<Item = Effect> + use<'a> {
    let by_software = approval.requested_by_kind.is_autonomous();
    let kind = kind_of(approval.operation).filter(|_| by_software);
    let open = facts.open_proposals.iter();
    open.filter(move |it| Some(it.kind) == kind && !it.seen)
        .map(|it| Effect::SeeProposal(it.id))
}

/// Whether a bundle that became active since would not let it take effect with these votes.
fn is_stricter(approval: &Approval, facts: &Facts) -> bool {
    facts
        .change_anew
        .is_some_and(|result| result != PolicyResult::Allow || !meets(approval, &facts.change_need))
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
