//! The fold: the only function that changes a ticket.
//!
//! It decides nothing and needs no facts: a change carries everything that it does, SLA clocks
//! included. It is total, so a timeline can always be folded; a change that no decision could have
//! made (another visit's, a ticket's without a creation) is folded as far as it makes sense.
//!
//! The version rises with each event of audience `Workflow`. A command of class `Change` emits
//! exactly one of those and bookkeeping none, so the version counts the former. What becomes of an
//! approval reaches the workflow too, but the job has not changed with it.

use chrono::{DateTime, Utc};
use contracts::{
    ApprovalId, Priority, TemplateId, TicketState, VisitId,
    approval::{StepKind, TicketApproval, Verdict},
    event::{Audience, TicketChange, TicketEvent},
    ids::SiteId,
    ticket::{CustomerWait, EvidenceRef, OpenChange, Ticket, Visit, VisitStage},
};

use crate::TicketKey;

/// Folds one change into the ticket; `None` is the ticket before its creation.
pub fn evolve(key: TicketKey, ticket: Option<Ticket>, change: &TicketChange) -> Ticket {
    let mut ticket = ticket.unwrap_or_else(|| unborn(key, change.at));
    apply(&mut ticket, &change.event, change.at);
    if change.event.event_type().audience() == Audience::Workflow {
        ticket.version += 1;
        ticket.updated_at = change.at;
    }
    if let Some(clocks) = &change.sla {
        ticket.sla.clone_from(clocks);
    }
    ticket
}

fn apply(ticket: &mut Ticket, event: &TicketEvent, at: DateTime<Utc>) {
    match event {
        TicketEvent::Created {
            site_id,
            asset_id,
            contact_id,
            template,
            priority,
            details,
            nte_cents,
            visit_id,
            note_id: _,
        } => {
            ticket.state = TicketState::New;
            ticket.site_id = *site_id;
            ticket.asset_id = *asset_id;
            ticket.contact_id = *contact_id;
            ticket.template.clone_from(template);
            ticket.priority = *priority;
            ticket.details.clone_from(details);
            ticket.nte_cents = *nte_cents;
            ticket.created_at = at;
            open_visit(ticket, *visit_id);
        }
        TicketEvent::Triaged {
            template,
            priority,
            details,
            nte_cents,
        } => {
            ticket.state = TicketState::Triaged;
            ticket.template.clone_from(template);
            ticket.priority = *priority;
            ticket.details.clone_from(details);
            ticket.nte_cents = *nte_cents;
        }
        TicketEvent::ScheduleProposed { visit_id, window } => {
            ticket.state = TicketState::ScheduleProposed;
            with_visit(ticket, *visit_id, |visit| {
                visit.stage = VisitStage::Proposed;
                visit.window = Some(*window);
            });
        }
        TicketEvent::ScheduleConfirmed { visit_id } => {
            ticket.state = TicketState::Scheduled;
            with_visit(ticket, *visit_id, |visit| {
                visit.stage = VisitStage::Confirmed;
            });
        }
        TicketEvent::Rescheduled {
            visit_id,
            window,
            reason: _,
        } => {
            ticket.state = TicketState::ScheduleProposed;
            with_visit(ticket, *visit_id, |visit| {
                release(visit, VisitStage::Proposed);
                visit.window = Some(*window);
            });
        }
        TicketEvent::Dispatched {
            visit_id,
            technician_id,
            eta,
        } => {
            ticket.state = TicketState::Dispatched;
            with_visit(ticket, *visit_id, |visit| {
                visit.stage = VisitStage::Dispatched;
                visit.technician_id = Some(*technician_id);
                visit.eta = *eta;
            });
        }
        TicketEvent::Unassigned {
            visit_id,
            reason: _,
        } => {
            ticket.state = TicketState::Scheduled;
            with_visit(ticket, *visit_id, |visit| {
                // Without a window there is none that the customer confirmed.
                let stage = match visit.window {
                    Some(_) => VisitStage::Confirmed,
                    None => VisitStage::Open,
                };
                release(visit, stage);
            });
        }
        TicketEvent::EnRoute { visit_id, eta } => {
            with_visit(ticket, *visit_id, |visit| {
                visit.stage = VisitStage::EnRoute;
                visit.eta = eta.or(visit.eta);
            });
        }
        TicketEvent::CheckedIn { visit_id } => {
            ticket.state = TicketState::OnSite;
            with_visit(ticket, *visit_id, |visit| {
                visit.stage = VisitStage::OnSite;
                visit.checked_in_at = Some(at);
            });
        }
        TicketEvent::NoAccess {
            visit_id,
            reason: _,
            next_visit_id,
        } => {
            ticket.state = TicketState::ReturnPending;
            end_visit(ticket, *visit_id, VisitStage::NoAccess, at, &[]);
            open_visit(ticket, *next_visit_id);
        }
        TicketEvent::ChangeRequested {
            approval_id,
            scope,
            price_delta_cents,
            note_id: _,
        } => {
            ticket.state = TicketState::ChangeRequested;
            ticket.open_change = Some(OpenChange {
                approval_id: *approval_id,
                scope: scope.clone(),
                price_delta_cents: *price_delta_cents,
            });
        }
        TicketEvent::ChangeDecided {
            approval_id,
            verdict: Verdict::Approve | Verdict::Reject,
            nte_cents,
            reason: _,
            void: _,
        } => {
            ticket.state = TicketState::OnSite;
            ticket.open_change = None;
            ticket.nte_cents = *nte_cents;
            drop_approval(ticket, *approval_id);
        }
        TicketEvent::AutonomySet { opt_out, reason: _ } => ticket.autonomy_opt_out = *opt_out,
        TicketEvent::ApprovalRequested {
            approval_id,
            kind,
            operation,
            autonomous,
            facts_sha256,
            steps,
            waits_for,
        } => ticket.approvals.push(TicketApproval {
            id: *approval_id,
            kind: *kind,
            operation: *operation,
            version: 1,
            released: false,
            autonomous: *autonomous,
            facts_sha256: facts_sha256.clone(),
            steps: steps.clone(),
            waits_for: waits_for.clone(),
        }),
        TicketEvent::ApprovalVoted {
            approval_id,
            waits_for,
            verdict: _,
        } => with_approval(ticket, *approval_id, |approval| {
            approval.waits_for.clone_from(waits_for);
        }),
        TicketEvent::ApprovalDecided {
            approval_id,
            verdict,
            ..
        } => match verdict {
            Verdict::Approve => with_approval(ticket, *approval_id, |approval| {
                approval.released = true;
                approval.waits_for.clear();
                approval.steps.retain(|step| step.step == StepKind::Expiry);
            }),
            Verdict::Reject => drop_approval(ticket, *approval_id),
        },
        TicketEvent::ApprovalAmended {
            approval_id,
            version,
            facts_sha256,
            steps,
            waits_for,
            reason: _,
        } => with_approval(ticket, *approval_id, |approval| {
            approval.waits_for.clone_from(waits_for);
            approval.version = *version;
            approval.released = false;
            approval.facts_sha256.clone_from(facts_sha256);
            approval.steps.clone_from(steps);
        }),
        TicketEvent::ApprovalStepTaken {
            approval_id,
            steps,
            waits_for,
            step: _,
            roles: _,
        } => with_approval(ticket, *approval_id, |approval| {
            approval.steps.clone_from(steps);
            approval.waits_for.clone_from(waits_for);
        }),
        TicketEvent::ApprovalDueChanged {
            approval_id, steps, ..
        } => with_approval(ticket, *approval_id, |approval| {
            approval.steps.clone_from(steps);
        }),
        TicketEvent::ApprovalWithdrawn { approval_id, .. }
        | TicketEvent::ApprovalStale { approval_id, .. }
        | TicketEvent::ApprovalExpired { approval_id }
        | TicketEvent::ApprovalExecuted { approval_id, .. } => {
            drop_approval(ticket, *approval_id);
        }
        TicketEvent::ReturnNeeded {
            visit_id,
            reason: _,
            parts: _,
            evidence,
            next_visit_id,
        } => {
            ticket.state = TicketState::ReturnPending;
            end_visit(ticket, *visit_id, VisitStage::ReturnNeeded, at, evidence);
            open_visit(ticket, *next_visit_id);
        }
        TicketEvent::Completed { visit_id, evidence } => {
            ticket.state = TicketState::WorkComplete;
            end_visit(ticket, *visit_id, VisitStage::Done, at, evidence);
        }
        TicketEvent::Verified {} => {
            ticket.state = TicketState::Verified;
            ticket.verified_at = Some(at);
        }
        TicketEvent::QaRejected {
            reasons: _,
            next_visit_id,
        } => {
            ticket.state = TicketState::ReturnPending;
            open_visit(ticket, *next_visit_id);
        }
        TicketEvent::Invoiced { invoice } => {
            ticket.state = TicketState::Invoiced;
            ticket.invoice = Some(invoice.clone());
        }
        TicketEvent::Closed {
            no_charge_reason: _,
        } => {
            ticket.state = TicketState::Closed;
            end(ticket, at);
        }
        TicketEvent::Reopened {
            reason: _,
            credit_note,
            next_visit_id,
        } => {
            ticket.state = TicketState::ReturnPending;
            ticket.verified_at = None;
            if let (Some(invoice), Some(number)) = (&mut ticket.invoice, credit_note) {
                invoice.credit_note = Some(number.clone());
            }
            open_visit(ticket, *next_visit_id);
        }
        TicketEvent::Cancelled { reason: _ } => {
            ticket.state = TicketState::Cancelled;
            end(ticket, at);
        }
        TicketEvent::Merged { into } => {
            ticket.state = TicketState::Cancelled;
            ticket.merged_into = Some(*into);
            end(ticket, at);
        }
        TicketEvent::CustomerAwaited { reason } => {
            ticket.customer_wait = Some(CustomerWait {
                since: at,
                reason: reason.clone(),
            });
        }
        TicketEvent::CustomerResumed {} => ticket.customer_wait = None,
        TicketEvent::ApprovalClaimed { .. }
        | TicketEvent::ApprovalReleased { .. }
        | TicketEvent::ApprovalCommented { .. }
        | TicketEvent::NoteAdded { .. }
        | TicketEvent::ProposalRecorded { .. }
        | TicketEvent::ProposalPaired { .. }
        | TicketEvent::SlaRecorded { .. }
        | TicketEvent::EvidenceAdded { .. }
        | TicketEvent::MessageReceived { .. }
        | TicketEvent::MessageAttached { .. }
        | TicketEvent::MessageQueued { .. } => {}
    }
}

/// The ticket before anything happened: version 0, to be filled by its creation.
fn unborn(key: TicketKey, at: DateTime<Utc>) -> Ticket {
    Ticket {
        id: key.ticket_id,
        tenant_id: key.tenant_id,
        state: TicketState::New,
        version: 0,
        template: TemplateId::new("unborn").expect("a lowercase word is a template id"),
        priority: Priority::P4,
        site_id: SiteId::from_uuid(key.ticket_id.as_uuid()),
        asset_id: None,
        contact_id: None,
        details: Default::default(),
        nte_cents: 0,
        customer_wait: None,
        open_change: None,
        approvals: Vec::new(),
        autonomy_opt_out: false,
        sla: Vec::new(),
        visits: Vec::new(),
        invoice: None,
        merged_into: None,
        created_at: at,
        updated_at: at,
        verified_at: None,
    }
}

fn open_visit(ticket: &mut Ticket, id: VisitId) {
    let number = ticket.visits.last().map_or(1, |last| last.number + 1);
    ticket.visits.push(Visit {
        id,
        number,
        stage: VisitStage::Open,
        window: None,
        technician_id: None,
        eta: None,
        checked_in_at: None,
        ended_at: None,
        evidence: Vec::new(),
    });
}

fn with_visit(ticket: &mut Ticket, id: VisitId, change: impl FnOnce(&mut Visit)) {
    if let Some(visit) = ticket.visits.iter_mut().find(|visit| visit.id == id) {
        change(visit);
    }
}

fn with_approval(ticket: &mut Ticket, id: ApprovalId, change: impl FnOnce(&mut TicketApproval)) {
    if let Some(approval) = ticket.approvals.iter_mut().find(|it| it.id == id) {
        change(approval);
    }
}

fn drop_approval(ticket: &mut Ticket, id: ApprovalId) {
    ticket.approvals.retain(|approval| approval.id != id);
}

fn release(visit: &mut Visit, stage: VisitStage) {
    visit.stage = stage;
    visit.technician_id = None;
    visit.eta = None;
}

fn end_visit(
    ticket: &mut Ticket,
    id: VisitId,
    stage: VisitStage,
    at: DateTime<Utc>,
    evidence: &[EvidenceRef],
) {
    with_visit(ticket, id, |visit| {
        visit.stage = stage;
        visit.ended_at = Some(at);
        visit.evidence.extend_from_slice(evidence);
    });
}

/// The ticket ends: nobody is waited for, and a visit that did not end is off.
fn end(ticket: &mut Ticket, at: DateTime<Utc>) {
    ticket.customer_wait = None;
    ticket.open_change = None;
    if let Some(visit) = ticket.visits.last_mut()
        && visit.ended_at.is_none()
    {
        visit.stage = VisitStage::Cancelled;
        visit.ended_at = Some(at);
    }
}
