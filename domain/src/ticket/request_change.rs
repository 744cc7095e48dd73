//! Asks for more work than was agreed. Nothing goes on until an approval of kind change order is
//! decided; it is bound to the hash of exactly what was asked.

use contracts::{
    Operation,
    approval::{Approval, ApprovalKind, ApprovalState},
    canonical::canonical_sha256,
    command::RequestChange,
    event::TicketEvent,
    ticket::Ticket,
};
use serde_json::{Value, json};

use super::{Plan, check};
use crate::{Effect, Facts, Rejection, TicketKey, approval};

const MOST_CENTS: i64 = 1_000_000_000;

pub(super) fn plan(
    key: TicketKey,
    body: &RequestChange,
    ticket: &Ticket,
    facts: &Facts,
) -> Result<Plan, Rejection> {
    check::within(body.price_delta_cents, (1, MOST_CENTS), || {
        "/price_delta_cents".to_owned()
    })?;
    if ticket
        .nte_cents
        .checked_add(body.price_delta_cents)
        .is_none()
    {
        return Err(Rejection::invalid(
            "/price_delta_cents",
            "would raise the not-to-exceed amount beyond what can be stored",
        ));
    }
    let request = request(body.scope.as_str(), body.price_delta_cents);
    let need = &facts.change_need;
    let steps = approval::steps(&need.plan, facts.now);
    let approval = Approval {
        id: facts.ids.approval,
        ticket_id: Some(key.ticket_id),
        kind: ApprovalKind::ChangeOrder,
        state: ApprovalState::Pending,
        operation: Operation::RequestChange,
        requested_by: facts.actor_id.clone(),
        requested_by_kind: facts.actor_kind,
        required_roles: approval::demanded_roles(need),
        demands: need.demands.clone(),
        votes: Vec::new(),
        version: 1,
        revision: 0,
        request_sha256: sha256(&request)?,
        request,
        facts_sha256: None,
        requested_at: facts.now,
        expires_at: steps.last().map(|step| step.at),
        on_expiry: need.plan.on_expiry,
        steps: steps.clone(),
        claim: None,
        decision_id: None,
        decided_by: None,
        decided_at: None,
        reason: None,
        executed_command_id: None,
    };
    let waits = TicketEvent::ApprovalRequested {
        approval_id: approval.id,
        kind: approval.kind,
        operation: approval.operation,
        autonomous: false,
        facts_sha256: None,
        steps,
        waits_for: approval::owed(&approval),
    };
    let note_id = body.note.is_some().then_some(facts.ids.note);
    let event = TicketEvent::ChangeRequested {
        approval_id: facts.ids.approval,
        scope: body.scope.clone(),
        price_delta_cents: body.price_delta_cents,
        note_id,
    };
    let note = body.note.clone().map(|text| Effect::WriteNote {
        id: facts.ids.note,
        text,
    });
    Ok(Plan::from(event)
        .and(waits)
        .with([Effect::OpenApproval(Box::new(approval))])
        .with(note))
}

/// What the approver sees.
pub(super) fn request(scope: &str, price_delta_cents: i64) -> Value {
    json!({ "scope": scope, "price_delta_cents": price_delta_cents })
}

/// What the approval is bound to.
pub(super) fn sha256(request: &Value) -> Result<String, Rejection> {
    canonical_sha256(request).map_err(|_| Rejection::Broken {
        what: "the canonical form of a change request",
    })
}
