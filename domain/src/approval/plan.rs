//! What happens while nobody decides: absolute moments, made once from the policy's minutes.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    Role,
    approval::{Approval, ApprovalNeed, ApprovalPlan, ApprovalStep, OnExpiry, StepKind},
};

/// The steps of a plan that begins at this moment, in time order; the expiry is the last.
pub fn steps(plan: &ApprovalPlan, from: DateTime<Utc>) -> Vec<ApprovalStep> {
    let after = |minutes: u32| from + TimeDelta::minutes(minutes.into());
    let step = |at, step, roles: &[Role]| ApprovalStep {
        at,
        step,
        roles: roles.to_vec(),
    };
    let end = after(plan.expire_after_minutes);
    let reminders = plan.remind_after_minutes.iter();
    let mut all: Vec<_> = reminders
        .map(|minutes| step(after(*minutes), StepKind::Reminder, &[]))
        .chain(
            plan.escalations
                .iter()
                .map(|rung| step(after(rung.after_minutes), StepKind::Escalation, &rung.roles)),
        )
        .filter(|step| step.at < end)
        .collect();
    all.sort_by_key(|step| (step.at, step.step));
    let last_roles = plan.escalations.last().map_or(&[][..], |rung| &rung.roles);
    all.push(step(end, StepKind::Expiry, last_roles));
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

/// At the end of an undecided approval whose plan says so: the last rung's roles once more for as
/// long as it was planned, and then it is denied. `false`: it is over now.
pub(super) fn last_chance(approval: &mut Approval, end: &ApprovalStep) -> bool {
    let undecided = approval.state == contracts::approval::ApprovalState::Pending;
    if approval.on_expiry != OnExpiry::Escalate || !undecided || end.roles.is_empty() {
        return false;
    }
    let planned = end.at - approval.requested_at;
    admit(approval, &end.roles);
    approval.on_expiry = OnExpiry::Deny;
    approval.steps = vec![ApprovalStep {
        at: end.at + planned.max(TimeDelta::minutes(1)),
        step: StepKind::Expiry,
        roles: Vec::new(),
    }];
    approval.expires_at = approval.steps.last().map(|step| step.at);
    true
}

/// Moves the end; what would come after it does not come.
pub(super) fn move_end(approval: &mut Approval, end: DateTime<Utc>) {
    let roles = match approval.steps.pop() {
        Some(last) => last.roles,
        None => Vec::new(),
    };
    approval.steps.retain(|step| step.at < end);
    approval.steps.push(ApprovalStep {
        at: end,
        step: StepKind::Expiry,
        roles,
    });
    approval.expires_at = Some(end);
}
