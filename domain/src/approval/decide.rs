//! One person's yes or no.

use contracts::{
    ActorKind, Role, TicketEvent,
    approval::{Approval, ApprovalNeed, ApprovalState, Demand, StepKind, Verdict, Vote},
    command::DecideApproval,
    inbox::Owed,
};

use super::{ApprovalFacts, settle, unclaimed, word};
use crate::Rejection;

/// Writes the vote down; enough of them release what is held, one no ends it.
pub(super) fn decide(
    body: &DecideApproval,
    after: &mut Approval,
    facts: &ApprovalFacts,
) -> Result<TicketEvent, Rejection> {
    let approval_id = after.id;
    match body.version {
        Some(seen) if seen != after.version => {
            return Err(Rejection::ApprovalStale {
                approval_id,
                why: word("amended"),
            });
        }
        None if after.version > 1 => {
            return Err(Rejection::invalid(
                "/version",
                "is needed, because what is asked was amended: send the version that you looked at",
            ));
        }
        _ => {}
    }
    unclaimed(after, facts)?;
    let (roles, on_behalf_of) = standing(after, facts)?;
    if body.verdict == Verdict::Reject && body.reason.is_none() {
        return Err(Rejection::invalid(
            "/reason",
            "is needed for a no: say why in a word, such as `too_dear`",
        ));
    }
    after.votes.push(Vote {
        actor_id: facts.actor_id.clone(),
        roles,
        verdict: body.verdict,
        at: facts.now,
        reason: body.reason.clone(),
        on_behalf_of,
        command_id: facts.command_id,
    });
    // Whoever has voted has nothing left to keep others from.
    after.claim = None;
    if body.verdict == Verdict::Approve && !is_met(after) {
        return Ok(TicketEvent::ApprovalVoted {
            approval_id,
            verdict: body.verdict,
            waits_for: owed(after),
        });
    }
    after.decided_by = Some(facts.actor_id.clone());
    after.decided_at = Some(facts.now);
    after.reason.clone_from(&body.reason);
    match body.verdict {
        Verdict::Approve => {
            after.state = ApprovalState::Approved;
            // Released is not done: if nobody can carry it out, it still ends in time.
            after.steps.retain(|step| step.step == StepKind::Expiry);
        }
        Verdict::Reject => settle(after, ApprovalState::Rejected, facts.now),
    }
    Ok(TicketEvent::ApprovalDecided {
        approval_id,
        version: after.version,
        verdict: body.verdict,
        reason: body.reason.clone(),
    })
}

/// The roles that a vote counts with, and for whom it is given; or why the actor has none. One person
/// has one vote, their own or that of whoever lent them theirs: who stands in for somebody says what
/// they would say, with what was lent and nothing of their own besides.
///
/// A vote counts for every demand that it has a role for, so nobody's own roles have to be shared out:
/// in whatever order people come, who has said yes is enough once each demand has its number. Only
/// whoever has several rights to vote by, their own and lent ones, has to choose, and the choice is
/// greedy: the right that serves most of the demands that are still owed; of equal ones their own, then
/// the first that was lent.
///
/// Nobody else may claim it either: a lease of somebody who cannot decide would keep out those who can.
pub(super) fn standing(
    after: &Approval,
    facts: &ApprovalFacts,
) -> Result<(Vec<Role>, Option<String>), Rejection> {
    let none = || Rejection::NotAnApprover {
        approval_id: after.id,
        roles: after.required_roles.clone(),
    };
    // Whatever a bundle says: neither software nor the one who asked.
    if facts.actor_kind != ActorKind::Person || facts.actor_id == after.requested_by {
        return Err(none());
    }
    let vote_of = |who: &str| {
        let mut votes = after.votes.iter();
        votes.find(|vote| vote.actor_id == who || vote.on_behalf_of.as_deref() == Some(who))
    };
    if let Some(vote) = vote_of(&facts.actor_id) {
        return Err(Rejection::AlreadyDecided {
            approval_id: after.id,
            state: after.state,
            by: Some(vote.actor_id.clone()),
            at: Some(vote.at),
        });
    }
    let lent = facts
        .lent
        .iter()
        .filter(|loan| loan.from != after.requested_by && vote_of(&loan.from).is_none());
    let lent = lent.map(|loan| {
        let roles = loan.roles.iter().copied().collect();
        (roles, Some(loan.from.clone()))
    });
    let demands = demands(after);
    let counts = |roles: &[Role]| demands.iter().any(|d| shares(&d.roles, roles));
    let owed = owed(after);
    let served = |roles: &[Role]| owed.iter().filter(|it| shares(&it.roles, roles)).count();
    std::iter::once((facts.actor_roles.clone(), None))
        .chain(lent)
        .filter(|(roles, _)| counts(roles))
        // The first of equal ones.
        .reduce(|best, next| match served(&next.0) > served(&best.0) {
            true => next,
            false => best,
        })
        .ok_or_else(none)
}

/// Whether enough people said yes.
fn is_met(approval: &Approval) -> bool {
    owed(approval).is_empty()
}

/// Whether those who said yes are enough for another bundle too. As where a hold is released, whoever
/// comes to decide by an escalation counts as those who were asked first.
pub(crate) fn meets(approval: &Approval, need: &ApprovalNeed) -> bool {
    let rungs = need.plan.escalations.iter();
    let escalated: Vec<Role> = rungs.flat_map(|rung| &rung.roles).copied().collect();
    let yes = |demand: &Demand| {
        let votes = approval.votes.iter();
        votes
            .filter(|vote| vote.verdict == Verdict::Approve)
            .filter(|vote| shares(&demand.roles, &vote.roles) || shares(&escalated, &vote.roles))
            .count()
    };
    let mut demands = need.demands.iter();
    demands.all(|demand| yes(demand) >= usize::from(demand.count))
}

/// The demands that are not met yet, with what was given of them.
pub(super) fn owed(approval: &Approval) -> Vec<Owed> {
    let given = |demand: &Demand| {
        let yes = approval
            .votes
            .iter()
            .filter(|vote| vote.verdict == Verdict::Approve && shares(&demand.roles, &vote.roles));
        u8::try_from(yes.count()).unwrap_or(u8::MAX)
    };
    demands(approval)
        .into_iter()
        .map(|demand| Owed {
            given: given(&demand),
            code: demand.code,
            roles: demand.roles,
            count: demand.count,
        })
        .filter(|owed| owed.given < owed.count)
        .collect()
}

/// What is demanded; of an approval of before version 0.3 one person with a role of its list.
fn demands(approval: &Approval) -> Vec<Demand> {
    match approval.demands.is_empty() {
        false => approval.demands.clone(),
        true => vec![Demand {
            code: approval.kind.to_string(),
            roles: approval.required_roles.clone(),
            count: 1,
        }],
    }
}

fn shares(wanted: &[Role], given: &[Role]) -> bool {
    wanted.iter().any(|role| given.contains(role))
}
