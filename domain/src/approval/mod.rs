//! What becomes of an approval: the same rules whether it has a ticket or not.
//!
//! [`act`] looks at an approval, at what somebody wants of it and at the facts, and answers with the
//! approval afterwards and what happened. It never carries anything out: a held command that is
//! approved is *released*, and whoever carries it out asks the policy and the domain again
//! (`ticket::execute`, `filing`). Nothing here lets silence mean yes: a plan ends with an expiry,
//! and an expiry denies. Until that moment a yes counts, whatever steps are not on record yet.

mod decide;
mod facts;
mod plan;
#[cfg(test)]
mod tests;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use contracts::{
    ActorKind, Command, CommandId, CommentId, DecisionId, FreeText, Role, Slug, TicketEvent,
    approval::{Approval, ApprovalNeed, ApprovalState, Claim, StepKind, Verdict},
    command::{DecideApproval, RecordApprovalStep},
    inbox::Owed,
    policy::PolicyLoan,
};
use serde_json::Value;

use crate::Rejection;

pub(crate) use decide::meets;
pub use facts::facts_sha256;
pub(crate) use plan::move_end;
pub use plan::{demanded_roles, steps};

/// The furthest that the end of an approval can be moved.
const LONGEST: TimeDelta = TimeDelta::days(30);

/// What a decision about an approval depends on besides.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalFacts {
    /// The moment.
    pub now: DateTime<Utc>,
    /// Who acts.
    pub actor_id: String,
    /// What sort of actor.
    pub actor_kind: ActorKind,
    /// Their roles.
    pub actor_roles: Vec<Role>,
    /// What others lent to them.
    pub lent: Vec<PolicyLoan>,
    /// This attempt.
    pub command_id: CommandId,
    /// For a comment.
    pub comment: CommentId,
    /// The held command as it shall be, for an amendment: policy was asked about it.
    pub amended: Option<Amended>,
}

/// A held command as it shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct Amended {
    /// What is asked, free text masked.
    pub request: Value,
    /// Over the canonical command.
    pub request_sha256: String,
    /// Over the facts it depends on.
    pub facts_sha256: Option<String>,
    /// What policy wants for it.
    pub need: ApprovalNeed,
    /// The decision that says so.
    pub decision_id: DecisionId,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Acted {
    /// The approval afterwards.
    pub approval: Approval,
    /// What happened.
    pub event: TicketEvent,
    /// What was said: nowhere else.
    pub comment: Option<(CommentId, FreeText)>,
}

/// What people still owe it: what the workflow waits for. Nothing once it was decided.
pub fn owed(approval: &Approval) -> Vec<Owed> {
    match approval.state {
        ApprovalState::Pending => decide::owed(approval),
        _ => Vec::new(),
    }
}

/// Whether the actor may decide it now, and why not: what a decision would meet.
pub fn may_decide(approval: &Approval, facts: &ApprovalFacts) -> Result<(), Rejection> {
    let decision = DecideApproval {
        approval_id: approval.id,
        verdict: Verdict::Approve,
        reason: None,
        version: Some(approval.version),
    };
    act(&decision.into(), approval, facts).map(|_| ())
}

/// Whether the actor is one of those who are asked, whatever stands in the way of their word now: that
/// somebody else works on it, that they have given it, that it is over.
pub fn is_asked(approval: &Approval, facts: &ApprovalFacts) -> bool {
    let asked = |role: &Role| approval.required_roles.contains(role);
    let lent = (facts.lent.iter()).filter(|loan| loan.from != approval.requested_by);
    let mut roles = (facts.actor_roles.iter()).chain(lent.flat_map(|loan| &loan.roles));
    facts.actor_kind == ActorKind::Person
        && facts.actor_id != approval.requested_by
        && roles.any(asked)
}

/// Refuses to hold what is held: each copy that people said yes to would be carried out. One that has
/// come to its end holds nothing any more, whether that is on record yet or not, and one on another
/// ground will be void.
pub(crate) fn not_asked_before(
    asked: &Approval,
    before: &[Approval],
    now: DateTime<Utc>,
) -> Result<(), Rejection> {
    let holds = |it: &&Approval| {
        it.id != asked.id
            && it.is_open()
            && it.expires_at.is_none_or(|end| now < end)
            && (&it.requested_by, &it.request_sha256, &it.facts_sha256)
                == (
                    &asked.requested_by,
                    &asked.request_sha256,
                    &asked.facts_sha256,
                )
    };
    match before.iter().find(holds) {
        Some(held) => Err(Rejection::HeldAlready {
            approval_id: held.id,
            state: held.state,
            asked_at: held.requested_at,
        }),
        None => Ok(()),
    }
}

/// Decides what becomes of an approval.
pub fn act(
    command: &Command,
    approval: &Approval,
    facts: &ApprovalFacts,
) -> Result<Acted, Rejection> {
    let mut after = approval.clone();
    after.revision += 1;
    let mut comment = None;
    let event = match command {
        Command::CommentApproval(body) => {
            comment = Some((facts.comment, body.text.clone()));
            TicketEvent::ApprovalCommented {
                approval_id: approval.id,
                comment_id: facts.comment,
            }
        }
        Command::RecordApprovalStep(body) => step(body, &mut after)?,
        Command::DecideApproval(body) => {
            pending(approval, facts.now)?;
            decide::decide(body, &mut after, facts)?
        }
        Command::ClaimApproval(body) => {
            pending(approval, facts.now)?;
            unclaimed(approval, facts)?;
            decide::standing(approval, facts)?;
            claim(&mut after, body.minutes, None, facts)?
        }
        Command::TakeOverApproval(body) => {
            pending(approval, facts.now)?;
            decide::standing(approval, facts)?;
            claim(&mut after, body.minutes, Some(body.reason.clone()), facts)?
        }
        Command::ReleaseApproval(_) => {
            pending(approval, facts.now)?;
            match approval.claimed_by(facts.now) {
                Some(claim) if claim.by == facts.actor_id => after.claim = None,
                Some(claim) => return Err(claimed(approval, claim)),
                None => return Err(Rejection::NotClaimed(approval.id)),
            }
            TicketEvent::ApprovalReleased {
                approval_id: approval.id,
            }
        }
        Command::AmendApproval(body) => {
            pending(approval, facts.now)?;
            // Whatever a bundle says: what is carried out is carried out in the name of who asked.
            if facts.actor_id != approval.requested_by {
                return Err(Rejection::NotTheProposer(approval.id));
            }
            unclaimed(approval, facts)?;
            let amended = facts.amended.as_ref().ok_or(Rejection::Broken {
                what: "the held command as it shall be",
            })?;
            after.version += 1;
            after.votes.clear();
            after.claim = None;
            after.request = amended.request.clone();
            after.request_sha256.clone_from(&amended.request_sha256);
            after.facts_sha256.clone_from(&amended.facts_sha256);
            after.decision_id = Some(amended.decision_id);
            plan::apply(&mut after, &amended.need, facts.now);
            TicketEvent::ApprovalAmended {
                approval_id: approval.id,
                version: after.version,
                facts_sha256: after.facts_sha256.clone(),
                steps: after.steps.clone(),
                waits_for: owed(&after),
                reason: body.reason.clone(),
            }
        }
        Command::WithdrawApproval(body) => {
            open(approval)?;
            settle(&mut after, ApprovalState::Withdrawn, facts.now);
            after.reason = Some(body.reason.clone());
            TicketEvent::ApprovalWithdrawn {
                approval_id: approval.id,
                reason: body.reason.clone(),
            }
        }
        Command::ChangeApprovalDue(body) => {
            pending(approval, facts.now)?;
            // As Postgres keeps it: the row, the plan and the timers name the same moment.
            let end = body.expires_at.round_subsecs(6);
            if end <= facts.now || end > facts.now + LONGEST {
                return Err(Rejection::invalid(
                    "/expires_at",
                    "must be later than now and at most thirty days away",
                ));
            }
            plan::move_end(&mut after, end);
            TicketEvent::ApprovalDueChanged {
                approval_id: approval.id,
                steps: after.steps.clone(),
                reason: body.reason.clone(),
            }
        }
        _ => {
            return Err(Rejection::Broken {
                what: "a rule for this command on an approval",
            });
        }
    };
    Ok(Acted {
        approval: after,
        event,
        comment,
    })
}

/// A moment of the plan has come. Clocks differ under time skipping, so the caller's moment is
/// compared with the plan's, not with ours.
fn step(body: &RecordApprovalStep, after: &mut Approval) -> Result<TicketEvent, Rejection> {
    open(after)?;
    let planned = after.steps.first();
    let is_next = planned.is_some_and(|next| (next.step, next.at) == (body.step, body.at));
    if body.version != after.version || !is_next {
        return Err(already(after));
    }
    let next = after.steps.remove(0);
    let approval_id = after.id;
    match next.step {
        StepKind::Reminder => {}
        StepKind::Escalation => plan::admit(after, &next.roles),
        StepKind::Expiry => {
            settle(after, ApprovalState::Expired, next.at);
            return Ok(TicketEvent::ApprovalExpired { approval_id });
        }
    }
    Ok(TicketEvent::ApprovalStepTaken {
        approval_id,
        step: next.step,
        roles: next.roles,
        steps: after.steps.clone(),
        waits_for: owed(after),
    })
}

fn claim(
    after: &mut Approval,
    minutes: u16,
    reason: Option<Slug>,
    facts: &ApprovalFacts,
) -> Result<TicketEvent, Rejection> {
    if !(1..=240).contains(&minutes) {
        return Err(Rejection::invalid("/minutes", "must be 1 to 240"));
    }
    let until = facts.now + TimeDelta::minutes(minutes.into());
    after.claim = Some(Claim {
        by: facts.actor_id.clone(),
        until,
    });
    Ok(TicketEvent::ApprovalClaimed {
        approval_id: after.id,
        until,
        reason,
    })
}

/// It ends: nothing more comes of it.
pub(crate) fn settle(after: &mut Approval, state: ApprovalState, at: DateTime<Utc>) {
    after.state = state;
    after.steps.clear();
    after.claim = None;
    if after.decided_at.is_none() {
        after.decided_at = Some(at);
    }
}

/// Refuses what was decided before, or is over.
fn open(approval: &Approval) -> Result<(), Rejection> {
    match approval.is_open() {
        true => Ok(()),
        false => Err(already(approval)),
    }
}

/// Refuses what is no longer to be decided.
fn pending(approval: &Approval, now: DateTime<Utc>) -> Result<(), Rejection> {
    if approval.state != ApprovalState::Pending {
        return Err(already(approval));
    }
    unexpired(approval, now)
}

/// Refuses what is over, whether or not its end is on record yet.
pub(crate) fn unexpired(approval: &Approval, now: DateTime<Utc>) -> Result<(), Rejection> {
    match approval.expires_at {
        Some(at) if at <= now => Err(Rejection::ApprovalExpired {
            approval_id: approval.id,
            at,
            released: approval.state == ApprovalState::Approved,
        }),
        _ => Ok(()),
    }
}

/// Who was first, or what ended it.
pub(crate) fn already(approval: &Approval) -> Rejection {
    let approval_id = approval.id;
    match approval.state {
        ApprovalState::Stale => Rejection::ApprovalStale {
            approval_id,
            why: approval
                .reason
                .clone()
                .unwrap_or_else(|| word("facts_changed")),
        },
        ApprovalState::Expired => Rejection::ApprovalExpired {
            approval_id,
            at: approval.expires_at.unwrap_or(approval.requested_at),
            released: approval.decided_by.is_some(),
        },
        state => Rejection::AlreadyDecided {
            approval_id,
            state,
            by: approval.decided_by.clone(),
            at: approval.decided_at,
        },
    }
}

/// A word of ours.
pub(crate) fn word(text: &str) -> Slug {
    Slug::new(text).expect("codes and these words are lowercase letters and underscores")
}

fn unclaimed(approval: &Approval, facts: &ApprovalFacts) -> Result<(), Rejection> {
    match approval.claimed_by(facts.now) {
        Some(claim) if claim.by != facts.actor_id => Err(claimed(approval, claim)),
        _ => Ok(()),
    }
}

fn claimed(approval: &Approval, claim: &Claim) -> Rejection {
    Rejection::ApprovalClaimed {
        approval_id: approval.id,
        by: claim.by.clone(),
        until: claim.until,
    }
}
