//! What the policy is asked.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use contracts::{
    event::AutonomyMode,
    policy::{PolicyActor, PolicyApproval, PolicyInput, PolicyTicket},
    schedule::TenantSettings,
    ticket::Ticket,
};

use store::command::{KnownEvidence, OpenFacts};

use super::{Call, intent::Intent};

pub(super) fn of(
    call: &Call,
    at: DateTime<Utc>,
    ticket: Option<&Ticket>,
    facts: &OpenFacts,
    intent: &Intent,
    settings: &TenantSettings,
) -> PolicyInput {
    PolicyInput {
        v: 1,
        operation: call.command.operation(),
        at,
        actor: PolicyActor {
            id: call.actor.id.clone(),
            kind: call.actor.kind,
            roles: call.actor.roles.clone(),
            technician_id: call.actor.technician_id,
        },
        body: intent.payload.clone(),
        ticket: ticket.map(|ticket| policy_ticket(ticket, &facts.evidence)),
        approval: facts.approval.as_ref().map(|approval| PolicyApproval {
            id: approval.id,
            kind: approval.kind,
            requested_by: approval.requested_by.clone(),
            required_roles: approval.required_roles.clone(),
        }),
        tenant: settings.clone(),
        autonomy: AutonomyMode::Shadow,
        kill_switch: facts.kill_switch.unwrap_or(false),
    }
}

fn policy_ticket(ticket: &Ticket, on_record: &[KnownEvidence]) -> PolicyTicket {
    let visit = ticket.current_visit();
    let evidence: BTreeSet<_> = ticket
        .visits
        .iter()
        .flat_map(|visit| visit.evidence.iter().map(|evidence| evidence.kind.clone()))
        .chain(on_record.iter().map(|evidence| evidence.kind.clone()))
        .collect();
    PolicyTicket {
        id: ticket.id,
        state: ticket.state,
        version: ticket.version,
        template: ticket.template.clone(),
        priority: ticket.priority,
        details: ticket.details.clone(),
        nte_cents: ticket.nte_cents,
        technician_id: visit.and_then(|visit| visit.technician_id),
        visit: visit.map_or(0, |visit| visit.number),
        evidence,
        customer_awaited: ticket.customer_wait.is_some(),
    }
}
