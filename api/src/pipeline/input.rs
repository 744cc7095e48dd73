//! What the policy is asked.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use contracts::{
    Command,
    approval::ApprovalKind,
    canonical::canonical_json,
    comms::Channel,
    policy::{
        PolicyActor, PolicyApproval, PolicyHour, PolicyInput, PolicyRelease, PolicyReport,
        PolicyTicket,
    },
    schedule::TenantSettings,
    template::IncidentTemplate,
    ticket::Ticket,
    value::Slug,
};
use domain::{Autonomy, rollout::rank};
use serde_json::Value;
use store::command::{KnownEvidence, OpenFacts, ReportRow};

use super::Call;

/// What the input is made of besides the facts.
pub(super) struct Asked<'a> {
    /// The command that is judged: the one that was sent, or the one that an approval holds.
    pub command: &'a Command,
    /// Its body, masked.
    pub body: &'a Value,
    /// Who wants it.
    pub actor: PolicyActor,
    pub at: DateTime<Utc>,
    pub ticket: Option<&'a Ticket>,
    pub template: Option<&'a IncidentTemplate>,
    /// The approval that releases it.
    pub release: Option<PolicyRelease>,
    /// Why a person does it although a kill switch is engaged.
    pub kill_switch_override: Option<Slug>,
}

/// The caller as policy sees them.
pub(super) fn caller(call: &Call) -> PolicyActor {
    PolicyActor {
        id: call.actor.id.clone(),
        kind: call.actor.kind,
        roles: call.actor.roles.clone(),
        technician_id: call.actor.technician_id,
    }
}

pub(super) fn of(
    asked: Asked<'_>,
    facts: &OpenFacts,
    autonomy: &Autonomy,
    settings: &TenantSettings,
) -> PolicyInput {
    let operation = asked.command.operation();
    let by_itself = asked.actor.kind.is_autonomous();
    let (mode, stage) = autonomy.stage(operation, asked.ticket);
    // What a release rests on is bound to the approval.
    let stands = match asked.command {
        Command::PromoteStage(body) if asked.release.is_none() => {
            Some(rank(autonomy.standing(&body.target).mode))
        }
        _ => None,
    };
    let kill_switches = match by_itself {
        false => Vec::new(),
        true => autonomy.stopped_by(
            operation,
            asked.ticket.map(|ticket| ticket.id),
            channel(asked.command),
            &asked.actor.id,
        ),
    };
    PolicyInput {
        v: 1,
        operation,
        at: asked.at,
        body: asked.body.clone(),
        ticket: asked
            .ticket
            .map(|ticket| policy_ticket(ticket, &facts.evidence, asked.template)),
        approval: facts.approval.as_ref().map(|approval| PolicyApproval {
            id: approval.id,
            kind: approval.kind,
            requested_by: approval.requested_by.clone(),
            required_roles: approval.required_roles.clone(),
            operation: Some(approval.operation),
            claimed_by: approval.claimed_by(asked.at).map(|claim| claim.by.clone()),
        }),
        tenant: settings.clone(),
        autonomy: mode,
        kill_switch: !kill_switches.is_empty(),
        // Where nothing is stopped nothing is overridden.
        kill_switch_override: asked
            .kill_switch_override
            .filter(|_| !kill_switches.is_empty()),
        kill_switches,
        stage: by_itself.then_some(stage),
        release: asked.release,
        hour: facts.hour.filter(|_| by_itself).map(|hour| PolicyHour {
            of_operation: hour.of_operation,
            in_all: hour.in_all,
            spent_cents: hour.spent_cents,
            spends_cents: spends_cents(asked.command),
        }),
        report: comparison(asked.command, asked.at).or_else(|| {
            let kept = facts.control.report.as_ref();
            let mut report = report_of(kept?, asked.at);
            let standing = stands.map(|place| ("standing_mode".to_owned(), place));
            report.figures.extend(standing);
            Some(report)
        }),
        lent: facts.lent.clone(),
        actor: asked.actor,
    }
}

/// The canonical text of an input, as decisions keep it.
pub(super) fn text(input: &PolicyInput) -> String {
    canonical_json(input).expect("a policy input holds strings, integers and booleans only")
}

/// A kept report as rules see it.
pub(super) fn report_of(report: &ReportRow, at: DateTime<Utc>) -> PolicyReport {
    let age = (at - report.made_at).num_minutes();
    PolicyReport {
        kind: report.kind.clone(),
        age_minutes: age.try_into().unwrap_or(0),
        subject: report.subject.clone(),
        figures: report.figures.clone(),
    }
}

/// What a bundle would have decided, as whoever activates it says.
fn comparison(command: &Command, at: DateTime<Utc>) -> Option<PolicyReport> {
    let Command::ActivateBundle(body) = command else {
        return None;
    };
    let report = body.report.as_ref()?;
    let age = (at - report.until).num_minutes();
    let figures = [
        ("decisions", report.decisions),
        ("newly_allowed", report.newly_allowed),
        ("newly_denied", report.newly_denied),
        ("newly_held", report.newly_held),
        ("undecided", report.undecided),
    ];
    Some(PolicyReport {
        kind: "policy_diff".to_owned(),
        age_minutes: age.try_into().unwrap_or(0),
        subject: report.candidate_sha256.clone(),
        figures: figures
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect(),
    })
}

/// The channel that a message would take.
fn channel(command: &Command) -> Option<Channel> {
    match command {
        Command::CommsOutbound(body) => Some(body.channel),
        _ => None,
    }
}

/// What a command charges, or adds to what may be charged, in cents.
pub(super) fn spends_cents(command: &Command) -> i64 {
    match command {
        Command::GenerateInvoice(body) => body.lines.iter().fold(0_i64, |sum, line| {
            let cents = line.unit_cents.saturating_mul(line.quantity.into());
            sum.saturating_add(cents)
        }),
        Command::RequestChange(body) => body.price_delta_cents,
        _ => 0,
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
        held_by_software: held_by_software(ticket),
    }
}

fn held_by_software(ticket: &Ticket) -> u32 {
    let open = ticket.approvals.iter();
    let held = open.filter(|it| it.autonomous && it.kind == ApprovalKind::HeldCommand);
    held.count().try_into().unwrap_or(u32::MAX)
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
