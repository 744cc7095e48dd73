//! Approvals that have no ticket: a promotion, a re-arming, another policy bundle.
//!
//! No workflow waits for these, so what is released is carried out in the transaction of the last
//! yes: it cannot be lost between the two, and nothing can come in between.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use contracts::{
    Command, Slug, TicketEvent,
    approval::{Approval, ApprovalKind, ApprovalState},
    canonical::canonical_sha256,
    event::AutonomyMode,
    filing::Filed,
};
use serde_json::json;

use super::{Filing, FilingFacts, check};
use crate::{
    Effect, Rejection,
    approval::{act, already, move_end},
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

/// When the report that a promotion rests on is too old for its gate: a yes after that would be void,
/// so nobody is asked for longer.
fn report_ends(to: AutonomyMode, facts: &FilingFacts) -> Option<DateTime<Utc>> {
    let report = facts.control.report.as_ref()?;
    let gate = facts.autonomy.rules.gates.get(&to)?;
    let left = u64::from(gate.max_age_minutes).saturating_sub(report.age_minutes);
    Some(facts.now + TimeDelta::minutes(left.try_into().ok()?))
}

/// The end of what it rests on, or the moment from which it shall hold, where that is before the end of
/// its plan: a yes after either would be void.
fn ends_before(
    command: &Command,
    approval: &Approval,
    facts: &FilingFacts,
) -> Result<Option<DateTime<Utc>>, Rejection> {
    let Command::PromoteStage(body) = command else {
        return Ok(None);
    };
    let report_ends = report_ends(body.to, facts);
    if report_ends.is_some_and(|end| end <= facts.now) {
        return Err(Rejection::invalid(
            "/report_sha256",
            "is of a report that is too old before anybody could decide: make a new one with \
             `dispatch rollout report`",
        ));
    }
    let begins = body.effective_at.map(check::kept_instant);
    let end = report_ends.into_iter().chain(begins).min();
    Ok(end.filter(|end| approval.expires_at.is_none_or(|planned| *end < planned)))
}

/// Why a promotion's end cannot be put off to this moment.
fn put_off_too_far(
    approval: &Approval,
    to: DateTime<Utc>,
    facts: &FilingFacts,
) -> Option<Rejection> {
    let asked = |member: &str| approval.request[member].clone();
    let mode = serde_json::from_value(asked("to")).ok();
    let report_ends = mode.and_then(|mode| report_ends(mode, facts));
    let begins: Option<DateTime<Utc>> = serde_json::from_value(asked("effective_at")).ok();
    let bounds = [
        (
            report_ends,
            "the report that it rests on is too old after that",
        ),
        (begins, "what is asked for is to come then"),
    ];
    let known = bounds.into_iter().filter_map(|(at, why)| Some((at?, why)));
    let (most, why) = known.min_by_key(|(at, _)| *at)?;
    let named = most.to_rfc3339_opts(SecondsFormat::Secs, true);
    let message = format!("must be at most {named}: {why}");
    (most < to).then(|| Rejection::invalid("/expires_at", message))
}

/// Holds a filing that could be carried out now.
pub(super) fn hold(
    command: &Command,
    mut approval: Approval,
    facts: &FilingFacts,
) -> Result<Filing, Rejection> {
    let ends_at = ends_before(command, &approval, facts)?;
    if let Some(end) = ends_at {
        move_end(&mut approval, end);
    }
    let filed = Filed::Held {
        approval_id: approval.id,
        operation: approval.operation,
        facts_sha256: approval.facts_sha256.clone(),
        ends_at,
    };
    let id = approval.id.as_uuid();
    Ok(Filing {
        effects: vec![Effect::OpenApproval(Box::new(approval))],
        ..Filing::written(filed, id, 0)
    })
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
    if let Command::ChangeApprovalDue(body) = command
        && approval.kind == ApprovalKind::Promotion
        && let Some(rejection) = put_off_too_far(approval, body.expires_at, facts)
    {
        return Err(rejection);
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
