//! Commands that policy holds: kept, and carried out once when people have released them.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use contracts::{
    ApprovalId, Command, Slug, TicketEvent,
    approval::{Approval, ApprovalState},
    command::CommsOutbound,
    ticket::Ticket,
};

use super::{Plan, check, finish, plan, table};
use crate::{
    Decided, Effect, Facts, Rejection, TicketKey,
    approval::{already, facts_sha256, not_asked_before, owed, unexpired, word},
};

/// Holds a command that could be carried out now. One that could not is refused at once: nobody
/// should be asked about it. Nor about one twice.
pub fn hold(
    key: TicketKey,
    ticket: &Ticket,
    command: &Command,
    approval: Approval,
    facts: &Facts,
) -> Result<Decided, Rejection> {
    check::expected_version(Some(ticket), facts)?;
    table::step(command.operation(), ticket, facts.template.as_ref())?;
    plan(key, ticket, command, facts)?;
    not_asked_before(&approval, &facts.asked_before, facts.now)?;
    let event = TicketEvent::ApprovalRequested {
        approval_id: approval.id,
        kind: approval.kind,
        operation: approval.operation,
        autonomous: approval.requested_by_kind.is_autonomous(),
        facts_sha256: approval.facts_sha256.clone(),
        steps: approval.steps.clone(),
        waits_for: owed(&approval),
    };
    let held = Plan::from(event).with([Effect::OpenApproval(Box::new(approval))]);
    finish(key, Some(ticket), held, facts, None)
}

/// Carries out what was released, on behalf of those who approved it. `facts` are those of the
/// proposer; policy has let the command pass with the votes that there are. What cannot be carried
/// out any more makes the approval stale, which is an outcome, not a refusal: both sides learn it.
pub fn execute(
    key: TicketKey,
    ticket: &Ticket,
    command: &Command,
    approval: &Approval,
    verdict: Result<Option<Slug>, Slug>,
    facts: &Facts,
) -> Result<Decided, Rejection> {
    check::expected_version(Some(ticket), facts)?;
    match approval.state {
        ApprovalState::Approved => unexpired(approval, facts.now)?,
        ApprovalState::Pending => return Err(Rejection::NotReleased(approval.id)),
        _ => return Err(already(approval)),
    }
    let operation = command.operation();
    let unchanged = approval.facts_sha256.as_ref() == Some(&facts_sha256(operation, ticket)?);
    let outcome = match verdict {
        Err(reason) => Err(reason),
        Ok(_) if !unchanged => Err(word("facts_changed")),
        Ok(overridden) => table::step(operation, ticket, facts.template.as_ref())
            .and_then(|()| plan(key, ticket, &by_now(command, facts.now), facts))
            .map(|plan| Ok((plan, overridden)))
            .or_else(|rejection| match rejection.code().status() {
                // Our own fault is no reason: the next try may find it mended.
                500.. => Err(rejection),
                _ => Ok(Err(word(&rejection.code().to_string().to_lowercase()))),
            })?,
    };
    match outcome {
        Ok((plan, kill_switch_override)) => {
            let plan = plan
                .and(TicketEvent::ApprovalExecuted {
                    approval_id: approval.id,
                    operation,
                    proposed_by: approval.requested_by.clone(),
                    approved_by: approval.votes.iter().map(|v| v.actor_id.clone()).collect(),
                    kill_switch_override,
                })
                .with([settled(approval.id, ApprovalState::Executed, None, facts)]);
            finish(key, Some(ticket), plan, facts, Some(approval.id))
        }
        Err(reason) => {
            let state = ApprovalState::Stale;
            let plan = Plan::from(TicketEvent::ApprovalStale {
                approval_id: approval.id,
                reason: reason.clone(),
            })
            .with([settled(approval.id, state, Some(reason), facts)]);
            finish(key, Some(ticket), plan, facts, Some(approval.id))
        }
    }
}

/// The command as it is carried out now: a message whose time came while people looked at it, or while
/// its ticket's workflow was on its way, leaves at once. They said yes to its words; whether it may be
/// heard at this hour policy was asked, which takes the later of the two.
fn by_now(command: &Command, now: DateTime<Utc>) -> Cow<'_, Command> {
    match command {
        Command::CommsOutbound(body) if body.send_at.is_some_and(|at| at < now) => {
            let body = CommsOutbound {
                send_at: None,
                ..body.clone()
            };
            Cow::Owned(body.into())
        }
        other => Cow::Borrowed(other),
    }
}

/// The approvals whose ground a change took away: what they depend on is another now, or the job is
/// over. An event and a row for each, in the transaction of that change.
pub(super) fn ended(
    before: Option<&Ticket>,
    after: &Ticket,
    carried_out: Option<ApprovalId>,
    facts: &Facts,
) -> Result<Vec<(TicketEvent, Effect)>, Rejection> {
    let mut all = Vec::new();
    // A change order of before version 0.3 is not among the ticket's approvals.
    let change = before.and_then(|ticket| ticket.open_change.as_ref());
    let unlisted = change.filter(|change| {
        let is_open = |ticket: &Ticket| {
            ticket
                .approvals
                .iter()
                .any(|it| it.id == change.approval_id)
        };
        after.state.is_terminal() && !before.is_some_and(is_open)
    });
    if let Some(change) = unlisted {
        all.push(withdrawn(change.approval_id, facts));
    }
    for approval in &after.approvals {
        if Some(approval.id) == carried_out {
            continue;
        }
        let approval_id = approval.id;
        if after.state.is_terminal() {
            all.push(withdrawn(approval_id, facts));
            continue;
        }
        let Some(known) = &approval.facts_sha256 else {
            continue;
        };
        if *known != facts_sha256(approval.operation, after)? {
            let reason = word("facts_changed");
            let state = ApprovalState::Stale;
            let effect = settled(approval_id, state, Some(reason.clone()), facts);
            let event = TicketEvent::ApprovalStale {
                approval_id,
                reason,
            };
            all.push((event, effect));
        }
    }
    Ok(all)
}

fn withdrawn(approval_id: ApprovalId, facts: &Facts) -> (TicketEvent, Effect) {
    let reason = word("ticket_ended");
    let state = ApprovalState::Withdrawn;
    let effect = settled(approval_id, state, Some(reason.clone()), facts);
    let event = TicketEvent::ApprovalWithdrawn {
        approval_id,
        reason,
    };
    (event, effect)
}

fn settled(id: ApprovalId, state: ApprovalState, reason: Option<Slug>, facts: &Facts) -> Effect {
    Effect::SettleApproval {
        id,
        state,
        reason,
        at: facts.now,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use contracts::{ContactId, FreeText, Operation, comms::Channel};
    use serde_json::json;

    use super::*;
    use crate::testing::*;

    fn message(send_at: DateTime<Utc>) -> Command {
        CommsOutbound {
            ticket_id: key().ticket_id,
            contact_id: ContactId::from_uuid(uuid(5)),
            channel: Channel::Sms,
            text: FreeText::new("We are on our way.").unwrap(),
            send_at: Some(send_at),
            only_while: None,
        }
        .into()
    }

    fn approval(state: ApprovalState, desk: &Desk) -> Approval {
        let operation = Operation::CommsOutbound;
        serde_json::from_value(json!({
            "id": ApprovalId::from_uuid(uuid(77)), "kind": "held_command", "state": state,
            "operation": operation, "requested_by": "agt_a", "required_roles": ["dispatcher"],
            "request_sha256": "", "version": 1, "request": {}, "requested_at": desk.now,
            "expires_at": desk.now + TimeDelta::hours(1), "decided_by": null, "decided_at": null,
            "reason": null, "facts_sha256": facts_sha256(operation, desk.ticket()).unwrap(),
        }))
        .unwrap()
    }

    #[test]
    fn a_message_whose_time_came_before_it_was_carried_out_leaves_at_once() {
        let desk = on_site();
        let command = message(desk.now + TimeDelta::minutes(5));
        let approved = approval(ApprovalState::Approved, &desk);
        for (minutes, leaves) in [(0, 5), (5, 5), (6, 6), (59, 59)] {
            let mut later = desk.clone();
            later.pass(minutes);
            let facts = later.facts();
            let ticket = later.ticket();
            let decided = execute(later.key, ticket, &command, &approved, Ok(None), &facts);
            let effects = decided.unwrap().effects;
            let due_at = effects.iter().find_map(|effect| match effect {
                Effect::QueueMessage(queued) => Some(queued.due_at),
                _ => None,
            });
            let expected = desk.now + TimeDelta::minutes(leaves);
            assert_eq!(due_at, Some(expected), "after {minutes} minutes");
        }

        // Nobody is asked about one whose time is over before.
        let mut late = desk.clone();
        late.pass(6);
        let (facts, ticket) = (late.facts(), late.ticket());
        let asked = approval(ApprovalState::Pending, &desk);
        let refused = hold(late.key, ticket, &command, asked, &facts).unwrap_err();
        assert_eq!(refused.field().unwrap().pointer, "/send_at");
    }
}
