//! What the policy is asked.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use contracts::{
    event::AutonomyMode,
    policy::{PolicyActor, PolicyApproval, PolicyInput, PolicyTicket},
    schedule::TenantSettings,
    template::IncidentTemplate,
    ticket::Ticket,
    value::Slug,
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
    template: Option<&IncidentTemplate>,
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
        ticket: ticket.map(|ticket| policy_ticket(ticket, &facts.evidence, template)),
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

fn policy_ticket(
    ticket: &Ticket,
    on_record: &[KnownEvidence],
    template: Option<&IncidentTemplate>,
) -> PolicyTicket {
    let visit = ticket.current_visit();
    // What a visit handed in was never checked against a file.
    let handed_in = ticket.visits.iter().flat_map(|visit| &visit.evidence);
    let evidence: BTreeSet<_> = handed_in
        .map(|evidence| (&evidence.kind, false))
        .chain(on_record.iter().map(|known| (&known.kind, known.verified)))
        .filter(|(kind, verified)| *verified || !wants_verified(template, kind))
        .map(|(kind, _)| kind.clone())
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

fn wants_verified(template: Option<&IncidentTemplate>, kind: &Slug) -> bool {
    template.is_some_and(|template| template.verified_evidence.contains(kind))
}

#[cfg(test)]
mod tests {
    use contracts::TicketId;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn slug(text: &str) -> Slug {
        Slug::new(text).unwrap()
    }

    /// A ticket whose first visit handed in a photo and a signature.
    fn ticket() -> Ticket {
        let id = |prefix: &str| format!("{prefix}_{}", "0".repeat(32));
        let created = json!({ "at": "2026-11-21T09:00:00Z", "event": {
            "type": "ticket.created", "data": {
                "site_id": id("sit"), "template": "emergency_glass", "priority": "P1",
                "details": {}, "nte_cents": 0, "visit_id": id("vis"),
            } } });
        let key = domain::TicketKey {
            tenant_id: contracts::TenantId::from_uuid(Uuid::nil()),
            ticket_id: TicketId::from_uuid(Uuid::nil()),
        };
        let change = serde_json::from_value(created).unwrap();
        let mut ticket = domain::evolve(key, None, &change);
        ticket.visits[0].evidence = serde_json::from_value(json!([
            { "kind": "photo_before", "sha256": "00" }, { "kind": "signature", "sha256": "00" },
        ]))
        .unwrap();
        ticket
    }

    #[test]
    fn evidence_counts_unless_it_is_to_be_verified_and_is_not() {
        let bundle = policy::Bundle::starter().unwrap();
        let mut template = bundle.template(&ticket().template).unwrap().clone();
        let known = |kind, verified| KnownEvidence {
            kind: slug(kind),
            verified,
        };
        let count = |template: &IncidentTemplate, on_record: &[KnownEvidence]| {
            let counted = policy_ticket(&ticket(), on_record, Some(template)).evidence;
            counted.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let record = [known("photo_after", false)];
        assert_eq!(
            count(&template, &record),
            ["photo_after", "photo_before", "signature"]
        );
        template.verified_evidence = vec![slug("signature"), slug("photo_after")];
        assert_eq!(count(&template, &record), ["photo_before"]);
        let record = [known("photo_after", true), known("signature", false)];
        assert_eq!(count(&template, &record), ["photo_after", "photo_before"]);
    }
}
