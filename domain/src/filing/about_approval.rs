//! Approvals that have no ticket: a promotion, a re-arming, another policy bundle.
//!
//! No workflow waits for these, so what is released is carried out in the transaction of the last
//! yes: it cannot be lost between the two, and nothing can come in between.

use contracts::{
    Command, Slug, TicketEvent,
    approval::{Approval, ApprovalState},
    canonical::canonical_sha256,
    filing::Filed,
};
use serde_json::json;

use super::{Filing, FilingFacts};
use crate::{
    Effect, Rejection,
    approval::{act, already},
};

/// What a held filing depends on: when it changes, a yes is no longer about what is. The turn of the
/// switch that is to be released, the bundle that decides, the stage as it stands.
pub fn ground(command: &Command, facts: &FilingFacts) -> Result<String, Rejection> {
    let ground = match command {
        Command::ReleaseKillSwitch(body) => json!({
            "scope": body.scope.key(),
            "generation": facts.kill_switch.generation,
        }),
        Command::ActivateBundle(_) => json!({ "active": facts.control.active_bundle }),
        Command::PromoteStage(body) => {
            let stages = facts.autonomy.stages.iter();
            let standing = stages.filter(|stage| stage.target.operation == body.target.operation);
            json!({ "stages": standing.collect::<Vec<_>>() })
        }
        _ => json!({}),
    };
    canonical_sha256(&ground).map_err(|_| Rejection::Broken {
        what: "the canonical form of the facts of an approval",
    })
}

/// Holds a filing that could be carried out now.
pub(super) fn hold(approval: Approval) -> Filing {
    let filed = Filed::Held {
        approval_id: approval.id,
        operation: approval.operation,
        facts_sha256: approval.facts_sha256.clone(),
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
    if matches!(command, Command::AmendApproval(_)) {
        return Err(Rejection::invalid(
            "/approval_id",
            "names an approval without a ticket: withdraw it and ask anew",
        ));
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
pub(super) fn release(
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
