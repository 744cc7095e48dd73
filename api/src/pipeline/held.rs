//! Commands about approvals: what they are about, and holding what policy wants to be released.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use contracts::{
    Command, Operation, Slug, TicketId,
    approval::{Approval, ApprovalKind, ApprovalNeed, ApprovalState, Verdict},
    canonical::canonical_json,
    policy::{BundleRef, PolicyActor, PolicyDecision, PolicyRelease, PolicyVote},
    ticket::Ticket,
};
use domain::{Rejection, approval};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::{
    TenantTx,
    command::{self, HeldRow},
};

use super::{Call, Minted, Unrecorded, intent};

/// The approval that a command is about, as it was before anything was locked: which ticket it
/// belongs to and which command it holds never change but by an amendment, which is found out by
/// the version.
pub(super) struct About {
    row: HeldRow,
    /// What is held, or shall be after an amendment; none for a change order.
    inner: Option<Command>,
    /// The held command's hash, computed anew from its text.
    sha256: Option<String>,
}

/// Reads it; `None` for a command that is about no approval, or about one that is not there.
pub(super) async fn find(tx: &mut TenantTx, call: &Call) -> Result<Option<About>, Unrecorded> {
    let Some(id) = call.command.approval_id() else {
        return Ok(None);
    };
    let Some(row) = command::held(tx, id).await? else {
        return Ok(None);
    };
    let held = row.command.as_deref().and_then(read);
    let sha256 = row.command.as_deref().map(sha256);
    let inner = match (&call.command, held) {
        (Command::AmendApproval(body), Some(held)) => {
            Command::from_parts(held.operation(), body.body.clone()).ok()
        }
        (_, held) => held,
    };
    Ok(Some(About { row, inner, sha256 }))
}

impl About {
    /// The ticket of the approval.
    pub(super) fn ticket_id(&self) -> Option<TicketId> {
        self.row.approval.ticket_id
    }

    /// What is held, or shall be.
    pub(super) fn inner(&self) -> Option<&Command> {
        self.inner.as_ref()
    }

    /// What is carried out by this call, if it is approved: by the workflow for a ticket, with the
    /// last yes otherwise.
    pub(super) fn carries_out(&self, call: &Call) -> Option<&Command> {
        let releases = match &call.command {
            Command::ExecuteApproval(_) => true,
            Command::DecideApproval(body) => {
                self.ticket_id().is_none() && body.verdict == Verdict::Approve
            }
            _ => false,
        };
        self.inner().filter(|_| releases)
    }

    /// Who asked, as policy saw them then.
    pub(super) fn proposer(&self) -> PolicyActor {
        let approval = &self.row.approval;
        self.row.proposer.clone().unwrap_or_else(|| PolicyActor {
            id: approval.requested_by.clone(),
            kind: approval.requested_by_kind,
            roles: BTreeSet::new(),
            technician_id: None,
        })
    }

    /// What policy is to be asked anew about a change order, because another bundle than the active one
    /// let it be asked for.
    pub(super) fn asked_anew(
        &self,
        active: &BundleRef,
        approval: &Approval,
    ) -> Option<Result<String, store::Error>> {
        let asked = self.row.asked.as_ref()?;
        (asked.bundle_sha256 != active.sha256).then(|| {
            with_votes(&asked.input, approval).map_err(|error| {
                store::Error::corrupt("policy_decisions", "input", approval.id, error)
            })
        })
    }

    /// Why what was approved does not pass any more. The rules are others than when it was asked for,
    /// or the same ones see something else by now: then the rule is named.
    pub(super) fn void_by(&self, decision: &PolicyDecision) -> Slug {
        let stricter = || Slug::new("policy_stricter").expect("a lowercase word");
        if self.row.asked_under.as_ref() != Some(&decision.bundle.sha256) {
            return stricter();
        }
        let reasons = decision.reasons.iter();
        let gravest = reasons.min_by_key(|reason| reason.class);
        let code = gravest.map(|reason| reason.code.to_lowercase());
        code.and_then(|code| Slug::new(code).ok())
            .unwrap_or_else(stricter)
    }

    /// Whether what is held is, byte for byte, what its approval is bound to.
    pub(super) fn is_intact(&self, approval: &Approval) -> bool {
        self.sha256.as_ref() == Some(&approval.request_sha256)
    }
}

/// The question that policy was asked about a change order, with the votes that there are by now beside
/// those that had released it then. What is asked is the old question: the ticket has moved on with it.
/// Whatever a rule holds it for is about the amount that they said yes to.
fn with_votes(input: &str, approval: &Approval) -> Result<String, serde_json::Error> {
    let mut input: Value = serde_json::from_str(input)?;
    let proposer: PolicyActor = serde_json::from_value(input["actor"].clone())?;
    let before: Option<PolicyRelease> = serde_json::from_value(input["release"].clone())?;
    let mut release = release(approval, proposer);
    release.codes = None;
    let before = before.into_iter().flat_map(|before| before.votes);
    release.votes.extend(before);
    input["release"] = serde_json::to_value(release)?;
    Ok(canonical_json(&input).expect("a JSON value always serialises"))
}

/// The release that an approval is: of what was asked, by the votes that it has.
pub(super) fn release(approval: &Approval, proposer: PolicyActor) -> PolicyRelease {
    let yes = approval.votes.iter();
    let yes = yes.filter(|vote| vote.verdict == Verdict::Approve);
    let asked = approval.demands.iter().map(|demand| demand.code.clone());
    PolicyRelease {
        approval_id: approval.id,
        proposer,
        // Of before version 0.3 nothing is on record.
        codes: (!approval.demands.is_empty()).then(|| asked.collect()),
        votes: yes
            .map(|vote| PolicyVote {
                actor_id: vote.actor_id.clone(),
                roles: vote.roles.iter().copied().collect(),
            })
            .collect(),
    }
}

/// Everything that is needed to hold a command.
pub(super) struct Hold<'a> {
    pub call: &'a Call,
    pub at: DateTime<Utc>,
    pub ids: &'a Minted,
    /// The masked body.
    pub payload: &'a Value,
    pub need: &'a ApprovalNeed,
    pub ticket: Option<&'a Ticket>,
}

/// The approval that holds this command; `None` when such a command is never held.
pub(super) fn approval_for(hold: &Hold<'_>) -> Option<Result<Approval, Rejection>> {
    let operation = hold.call.command.operation();
    let kind = ApprovalKind::of_held(operation)?;
    let of_ticket = kind == ApprovalKind::HeldCommand;
    if of_ticket != hold.ticket.is_some() {
        return None;
    }
    Some(build(hold, kind, operation))
}

fn build(hold: &Hold<'_>, kind: ApprovalKind, operation: Operation) -> Result<Approval, Rejection> {
    let facts = hold
        .ticket
        .map(|ticket| approval::facts_sha256(operation, ticket))
        .transpose()?;
    let steps = approval::steps(&hold.need.plan, hold.at);
    let text = text(&hold.call.command, hold.ticket.map(|ticket| ticket.id));
    Ok(Approval {
        id: hold.ids.rows.approval,
        ticket_id: hold.ticket.map(|ticket| ticket.id),
        kind,
        state: ApprovalState::Pending,
        operation,
        requested_by: hold.call.actor.id.clone(),
        requested_by_kind: hold.call.actor.kind,
        required_roles: approval::demanded_roles(hold.need),
        demands: hold.need.demands.clone(),
        votes: Vec::new(),
        version: 1,
        revision: 0,
        request_sha256: sha256(&text),
        request: hold.payload.clone(),
        facts_sha256: facts,
        requested_at: hold.at,
        expires_at: steps.last().map(|step| step.at),
        on_expiry: hold.need.plan.on_expiry,
        steps,
        claim: None,
        decision_id: Some(hold.ids.decision),
        decided_by: None,
        decided_at: None,
        reason: None,
        executed_command_id: None,
    })
}

/// A command as it is kept: canonical, so that its hash can be computed by anybody.
pub(super) fn text(command: &Command, ticket: Option<TicketId>) -> String {
    let document = json!({
        "operation": command.operation(),
        "ticket_id": ticket,
        "body": intent::body(command),
    });
    canonical_json(&document).expect("a JSON value always serialises")
}

pub(super) fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// A kept command; `None` when this build cannot read it.
fn read(text: &str) -> Option<Command> {
    let mut document: Value = serde_json::from_str(text).ok()?;
    let operation: Operation = serde_json::from_value(document["operation"].take()).ok()?;
    Command::from_parts(operation, document["body"].take()).ok()
}

/// A command that software asked for on a ticket and that is held, for the tests of this module.
#[cfg(test)]
pub(super) fn of_software(inner: &Command) -> About {
    let approval = json!({
        "id": format!("apr_{}", "0".repeat(32)), "ticket_id": format!("tkt_{}", "0".repeat(32)),
        "kind": "held_command", "state": "pending", "operation": inner.operation(),
        "requested_by": "usr_agent", "requested_by_kind": "agent", "required_roles": ["approver"],
        "request_sha256": "", "request": {}, "requested_at": DateTime::UNIX_EPOCH,
        "decided_by": null, "decided_at": null, "reason": null, "version": 1,
    });
    About {
        row: HeldRow {
            approval: serde_json::from_value(approval).expect("an approval"),
            command: None,
            sha256: None,
            proposer: None,
            asked: None,
            asked_under: None,
        },
        inner: Some(inner.clone()),
        sha256: None,
    }
}
