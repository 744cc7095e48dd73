//! Approvals that have no ticket: a promotion, a re-arming, another policy bundle.
//!
//! No workflow waits for these, so what is released is carried out in the transaction of the last
//! yes: it cannot be lost between the two, and nothing can come in between.

use contracts::{
    Command, Slug, TicketEvent,
    approval::{Approval, ApprovalState},
    filing::Filed,
};

use super::{Filing, FilingFacts};
use crate::{
    Effect, Rejection,
    approval::{act, already},
};

/// Holds a filing that could be carried out now.
pub fn hold(approval: Approval) -> Filing {
    let filed = Filed::Held {
        approval_id: approval.id,
        operation: approval.operation,
    };
    let id = approval.id.as_uuid();
    Filing {
        effects: vec![Effect::OpenApproval(Box::new(approval))],
        ..Filing::written(filed, id, 0)
    }
}

/// Everything that can become of such an approval, but for what it releases.
pub(super) fn plan(command: &Command, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let approval = facts.approval.as_ref().ok_or(Rejection::NotFound)?;
    if matches!(command, Command::ExecuteApproval(_)) {
        // Released and carried out are one.
        return Err(match approval.state {
            ApprovalState::Pending => Rejection::NotReleased(approval.id),
            _ => already(approval),
        });
    }
    if let Command::RecordApprovalStep(body) = command
        && body.at > facts.now
    {
        return Err(Rejection::invalid("/at", "must not lie in the future"));
    }
    let acted = act(command, approval, &facts.who)?;
    let comment = acted.comment.map(|(id, text)| Effect::WriteComment {
        id,
        approval_id: approval.id,
        text,
    });
    Ok(changed(acted.approval, approval, None, comment))
}

/// What the last yes releases: carried out, or void with the reason why it cannot be.
pub fn release(
    command: &Command,
    inner: Result<Filing, Slug>,
    facts: &FilingFacts,
) -> Result<Filing, Rejection> {
    let before = facts.approval.as_ref().ok_or(Rejection::NotFound)?;
    let acted = act(command, before, &facts.who)?;
    let is_released = matches!(acted.event, TicketEvent::ApprovalDecided { .. })
        && acted.approval.state == ApprovalState::Approved;
    if !is_released {
        return Ok(changed(acted.approval, before, None, None));
    }
    let mut after = acted.approval;
    after.steps.clear();
    match inner {
        Ok(inner) => {
            after.state = ApprovalState::Executed;
            after.executed_command_id = Some(facts.who.command_id);
            let mut filing = changed(after, before, Some(inner.filed.clone()), None);
            filing.id = inner.id;
            filing.applied_to_version = inner.applied_to_version;
            filing.produced_version = inner.produced_version;
            filing.notices.extend(inner.notices);
            filing.row = inner.row;
            filing.effects.extend(inner.effects);
            filing.operation = inner.operation;
            Ok(filing)
        }
        Err(reason) => {
            after.state = ApprovalState::Stale;
            after.reason = Some(reason);
            Ok(changed(after, before, None, None))
        }
    }
}

fn changed(
    after: Approval,
    before: &Approval,
    executed: Option<Filed>,
    comment: Option<Effect>,
) -> Filing {
    let filed = Filed::ApprovalChanged {
        approval_id: after.id,
        state: after.state,
        executed: executed.map(Box::new),
    };
    let id = after.id.as_uuid();
    let mut effects = vec![Effect::WriteApproval(Box::new(after))];
    effects.extend(comment);
    Filing {
        effects,
        ..Filing::written(filed, id, before.revision)
    }
}
