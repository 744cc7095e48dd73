//! What happens while nobody decides: absolute moments, made once from the policy's minutes.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    Role,
    approval::{Approval, ApprovalNeed, ApprovalPlan, ApprovalStep, OnExpiry, StepKind},
};

/// The steps of a plan that begins at this moment, in time order; the expiry is the last. A plan that
/// escalates at its end goes on from there, once more as long: until then nothing is denied.
pub fn steps(plan: &ApprovalPlan, from: DateTime<Utc>) -> Vec<ApprovalStep> {
    let after = |minutes: u32| from + TimeDelta::minutes(minutes.into());
    let step = |at, step, roles: &[Role]| ApprovalStep {
        at,
        step,
        roles: roles.to_vec(),
    };
    let planned = after(plan.expire_after_minutes);
    let reminders = plan.remind_after_minutes.iter();
    let mut all: Vec<_> = reminders
        .map(|minutes| step(after(*minutes), StepKind::Reminder, &[]))
        .chain(
            plan.escalations
                .iter()
                .map(|rung| step(after(rung.after_minutes), StepKind::Escalation, &rung.roles)),
        )
        .filter(|step| step.at < planned)
        .collect();
    all.sort_by_key(|step| (step.at, step.step));
    let last_rung = plan.escalations.last();
    let end = match last_rung.filter(|_| plan.on_expiry == OnExpiry::Escalate) {
        Some(rung) => {
            all.push(step(planned, StepKind::Escalation, &rung.roles));
            planned + (planned - from)
        }
        None => planned,
    };
    all.push(step(end, StepKind::Expiry, &[]));
    all
}

/// Every role that some demand names: whoever has one may decide.
pub fn demanded_roles(need: &ApprovalNeed) -> Vec<Role> {
    let roles: BTreeSet<Role> = need
        .demands
        .iter()
        .flat_map(|d| &d.roles)
        .copied()
        .collect();
    roles.into_iter().collect()
}

/// Gives an approval its plan, from this moment on.
pub(super) fn apply(approval: &mut Approval, need: &ApprovalNeed, from: DateTime<Utc>) {
    approval.demands.clone_from(&need.demands);
    approval.required_roles = demanded_roles(need);
    approval.steps = steps(&need.plan, from);
    approval.expires_at = approval.steps.last().map(|step| step.at);
    approval.on_expiry = need.plan.on_expiry;
}

/// These may decide besides, whatever was demanded.
pub(super) fn admit(approval: &mut Approval, roles: &[Role]) {
    let add = |known: &mut Vec<Role>| {
        let all: BTreeSet<Role> = known.iter().chain(roles).copied().collect();
        *known = all.into_iter().collect();
    };
    add(&mut approval.required_roles);
    for demand in &mut approval.demands {
        add(&mut demand.roles);
    }
}

/// Moves the end; what would come after it does not come.
pub(crate) fn move_end(approval: &mut Approval, end: DateTime<Utc>) {
    approval
        .steps
        .retain(|step| step.at < end && step.step != StepKind::Expiry);
    approval.steps.push(ApprovalStep {
        at: end,
        step: StepKind::Expiry,
        roles: Vec::new(),
    });
    approval.expires_at = Some(end);
}
