//! Everything that an advisor looks at, without a name in it.
//!
//! Two queries at most: one for the ticket and what stands beside it, and one for the technicians
//! where somebody is to be sent.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    Slug, TechnicianId, TicketId,
    event::WaitingFor,
    proposal::{
        AdvisorInput, ApprovedChange, Candidate, ChangeInput, CloseoutInput, DocumentedFact,
        EscalationInput, InvoiceInput, ProposalKind, ReminderInput, SlotInput, TechnicianInput,
        TriageInput, VisitMade,
    },
    schedule::{GeoPoint, TenantSettings, TimeWindow, WorkCalendar},
    sla::{ClockPhase, SlaClock, SlaRecordKey, SlaRecordKind},
    template::IncidentTemplate,
    ticket::{Part, Ticket, Visit},
};
use serde::Deserialize;
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

use crate::{Error, TenantTx, audit::ticket_stream};

/// The rows that advice about a ticket is based on. The template comes from the bundle that the
/// same transaction saw as the active one.
#[derive(Debug, Clone, PartialEq)]
pub struct AdvisorFacts {
    /// The ticket.
    pub ticket: Ticket,
    /// SHA-256 of the active bundle.
    pub bundle_sha256: Option<String>,
    kind: ProposalKind,
    site: GeoPoint,
    office: WorkCalendar,
    beside: Beside,
    technicians: Vec<Technician>,
}

/// What stands beside the ticket.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Beside {
    /// When the last message to the customer was to be sent.
    last_told_at: Option<DateTime<Utc>>,
    evidence: Vec<DocumentedFact>,
    /// Of each return visit.
    parts: Vec<Vec<Part>>,
    changes: Vec<ApprovedChange>,
    sla_recorded: Vec<SlaRecordKey>,
}

#[derive(Debug, Clone, PartialEq)]
struct Technician {
    id: TechnicianId,
    skills: Vec<Slug>,
    base: GeoPoint,
    calendar: WorkCalendar,
    absences: Vec<TimeWindow>,
    visits: Vec<OpenVisit>,
}

/// A visit to another ticket that has not ended. A visit without a window was sent for at once.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct OpenVisit {
    starts_at: Option<DateTime<Utc>>,
    ends_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct TicketRow {
    doc: Json<Ticket>,
    bundle_sha256: Option<String>,
    lat_e6: i32,
    lon_e6: i32,
    settings: Json<TenantSettings>,
    beside: Json<Beside>,
}

#[derive(FromRow)]
struct TechnicianRow {
    id: Uuid,
    skills: Vec<String>,
    base_lat_e6: i32,
    base_lon_e6: i32,
    calendar: Json<WorkCalendar>,
    absences: Json<Vec<TimeWindow>>,
    visits: Json<Vec<OpenVisit>>,
}

/// Reads what advice of that kind needs. Absences that ended before `at` are left out.
pub async fn advisor_facts(
    tx: &mut TenantTx,
    ticket_id: TicketId,
    kind: ProposalKind,
    at: DateTime<Utc>,
) -> Result<Option<AdvisorFacts>, Error> {
    // What a return visit brought stands in the timeline only: the ticket does not carry it on.
    let row: Option<TicketRow> = sqlx::query_as(
        "select t.doc, s.lat_e6, s.lon_e6, n.settings,
                (select bundle_sha256 from deployment) as bundle_sha256,
                jsonb_build_object(
                    'last_told_at', case when $4 = 'reminder' then (
                        select max(m.due_at) from comms_messages m
                         where m.tenant_id = t.tenant_id and m.ticket_id = t.id
                           and m.direction = 'outbound' and m.purpose = 'conversation') end,
                    'evidence', case when $4 <> 'closeout' then '[]' else (
                        select coalesce(jsonb_agg(jsonb_build_object('kind', e.kind,
                                   'verified', e.verified_at is not null)
                                   order by e.added_at, e.id), '[]')
                          from evidence e where e.tenant_id = t.tenant_id and e.ticket_id = t.id)
                        end,
                    'parts', case when $4 <> 'invoice_lines' then '[]' else (
                        select coalesce(jsonb_agg(c #> '{event,data,parts}' order by a.position), '[]')
                          from audit_events a, jsonb_array_elements(a.changes) c
                         where a.tenant_id = t.tenant_id and a.stream = $3
                           and a.operation = 'return_visit'
                           and c #>> '{event,type}' = 'visit.return_needed') end,
                    'changes', case when $4 <> 'invoice_lines' then '[]' else (
                        select coalesce(jsonb_agg(p.request order by p.requested_at, p.id), '[]')
                          from approvals p
                         where p.tenant_id = t.tenant_id and p.ticket_id = t.id
                           and p.kind = 'change_order' and p.state = 'approved') end,
                    'sla_recorded', case when $4 <> 'escalation' then '[]' else (
                        select coalesce(jsonb_agg(jsonb_build_object(
                                   'clock', r.clock, 'kind', r.kind, 'revision', r.revision)
                                   order by r.clock, r.kind, r.revision), '[]')
                          from sla_records r where r.tenant_id = t.tenant_id and r.ticket_id = t.id)
                        end) as beside
         from tickets t join sites s on s.tenant_id = t.tenant_id and s.id = t.site_id
         join tenants n on n.tenant_id = t.tenant_id
         where t.tenant_id = $1 and t.id = $2",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(ticket_id.as_uuid())
    .bind(ticket_stream(ticket_id))
    .bind(kind.to_string())
    .fetch_optional(tx.connection())
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let technicians = match kind {
        ProposalKind::Slot | ProposalKind::Technician => technicians(tx, ticket_id, at).await?,
        ProposalKind::Triage
        | ProposalKind::Reminder
        | ProposalKind::Escalation
        | ProposalKind::ChangeDecision
        | ProposalKind::Closeout
        | ProposalKind::InvoiceLines => Vec::new(),
    };
    Ok(Some(AdvisorFacts {
        ticket: row.doc.0,
        bundle_sha256: row.bundle_sha256,
        kind,
        site: GeoPoint {
            lat_e6: row.lat_e6,
            lon_e6: row.lon_e6,
        },
        office: row.settings.0.calendar,
        beside: row.beside.0,
        technicians,
    }))
}

async fn technicians(
    tx: &mut TenantTx,
    ticket_id: TicketId,
    at: DateTime<Utc>,
) -> Result<Vec<Technician>, Error> {
    let rows: Vec<TechnicianRow> = sqlx::query_as(
        "select p.id, p.skills, p.base_lat_e6, p.base_lon_e6, p.calendar,
                (select coalesce(jsonb_agg(jsonb_build_object('start', a.starts_at, 'end', a.ends_at)
                            order by a.starts_at), '[]')
                 from technician_absences a
                 where a.tenant_id = p.tenant_id and a.technician_id = p.id and a.ends_at > $3)
                    as absences,
                (select coalesce(jsonb_agg(jsonb_build_object(
                            'starts_at', coalesce(v.starts_at, v.checked_in_at, v.eta),
                            'ends_at', v.ends_at) order by v.starts_at, v.id), '[]')
                 from visits v
                 where v.tenant_id = p.tenant_id and v.technician_id = p.id
                   and v.ended_at is null and v.ticket_id <> $2)
                    as visits
         from technicians p where p.tenant_id = $1 and p.active order by p.id",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(ticket_id.as_uuid())
    .bind(at)
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Technician::try_from).collect()
}

impl TryFrom<TechnicianRow> for Technician {
    type Error = Error;

    fn try_from(row: TechnicianRow) -> Result<Self, Error> {
        let id = TechnicianId::from_uuid(row.id);
        Ok(Self {
            id,
            skills: row
                .skills
                .into_iter()
                .map(Slug::new)
                .collect::<Result<_, _>>()
                .map_err(|e| Error::corrupt("technicians", "skills", id, e))?,
            base: GeoPoint {
                lat_e6: row.base_lat_e6,
                lon_e6: row.base_lon_e6,
            },
            calendar: row.calendar.0,
            absences: row.absences.0,
            visits: row.visits.0,
        })
    }
}

impl AdvisorFacts {
    /// What the advisor looks at; `None` when there is nothing to advise on: nobody is awaited, no
    /// change waits, no warning or breach of `clock` is on record. `clock` says which promise an
    /// escalation is about.
    pub fn input(
        self,
        template: &IncidentTemplate,
        clock: Option<&Slug>,
        at: DateTime<Utc>,
    ) -> Option<AdvisorInput> {
        let input = match self.kind {
            ProposalKind::Triage => AdvisorInput::Triage(self.triage(template, at)),
            ProposalKind::Technician => AdvisorInput::Technician(self.technician(template, at)),
            ProposalKind::Slot => AdvisorInput::Slot(self.slot(template, at)),
            ProposalKind::Reminder => AdvisorInput::Reminder(self.reminder(at)?),
            ProposalKind::Escalation => AdvisorInput::Escalation(self.escalation(clock?, at)?),
            ProposalKind::ChangeDecision => {
                AdvisorInput::ChangeDecision(self.change(template, at)?)
            }
            ProposalKind::Closeout => AdvisorInput::Closeout(self.closeout(template, at)),
            ProposalKind::InvoiceLines => AdvisorInput::InvoiceLines(self.invoice(template, at)),
        };
        Some(input)
    }

    fn triage(self, template: &IncidentTemplate, at: DateTime<Utc>) -> TriageInput {
        TriageInput {
            version: self.ticket.version,
            at,
            template: self.ticket.template,
            default_priority: template.default_priority,
            priority: self.ticket.priority,
            details: self.ticket.details,
            required_details: template.required_details.clone(),
        }
    }

    fn technician(self, template: &IncidentTemplate, at: DateTime<Utc>) -> TechnicianInput {
        TechnicianInput {
            version: self.ticket.version,
            at,
            priority: self.ticket.priority,
            site: self.site,
            window: self.ticket.current_visit().and_then(|visit| visit.window),
            visit_minutes: template.visit_minutes,
            required_skills: template.required_skills.clone(),
            due_at: due_at(&self.ticket),
            candidates: candidates(self.technicians, template),
        }
    }

    fn slot(self, template: &IncidentTemplate, at: DateTime<Utc>) -> SlotInput {
        let priority = self.ticket.priority;
        SlotInput {
            version: self.ticket.version,
            at,
            priority,
            site: self.site,
            office: self.office,
            notice_minutes: domain::advisor::notice_minutes(priority),
            visit_minutes: template.visit_minutes,
            required_skills: template.required_skills.clone(),
            due_at: due_at(&self.ticket),
            windows: domain::advisor::windows(at, priority, template.visit_minutes),
            candidates: candidates(self.technicians, template),
        }
    }

    fn reminder(self, at: DateTime<Utc>) -> Option<ReminderInput> {
        let ticket = &self.ticket;
        let waits_for = domain::waiting_for(ticket);
        let since = match (waits_for, &ticket.customer_wait) {
            (WaitingFor::Customer, Some(wait)) => wait.since,
            // The version rose with the offer.
            (WaitingFor::Confirmation, _) => ticket.updated_at,
            _ => return None,
        };
        let last_told_at = self.beside.last_told_at.filter(|told| *told >= since);
        let told_at = last_told_at.unwrap_or(since);
        let window = match waits_for {
            WaitingFor::Confirmation => ticket.current_visit().and_then(|visit| visit.window),
            _ => None,
        };
        Some(ReminderInput {
            version: ticket.version,
            at,
            priority: ticket.priority,
            waits_for,
            contact_id: ticket.contact_id,
            since,
            last_told_at,
            window_starts_at: window.map(|window| window.start),
            moments: domain::advisor::moments(at, told_at, ticket.priority, &self.office),
            office: self.office,
        })
    }

    fn escalation(self, about: &Slug, at: DateTime<Utc>) -> Option<EscalationInput> {
        let ticket = &self.ticket;
        let recorded = &self.beside.sla_recorded;
        let record = domain::escalations_due(&ticket.sla, recorded)
            .into_iter()
            .find(|record| record.clock == *about)?;
        let clock = ticket.sla.iter().find(|clock| clock.name == *about)?;
        let breaches = recorded
            .iter()
            .filter(|record| record.kind == SlaRecordKind::Breach)
            .count();
        Some(EscalationInput {
            version: ticket.version,
            at,
            priority: ticket.priority,
            waits_for: domain::waiting_for(ticket),
            due_at: clock.due_at()?,
            next_deadline: ticket
                .sla
                .iter()
                .flat_map(deadlines)
                .filter(|d| *d > at)
                .min(),
            breaches: u32::try_from(breaches).unwrap_or(u32::MAX),
            office: self.office,
            record,
        })
    }

    fn change(self, template: &IncidentTemplate, at: DateTime<Utc>) -> Option<ChangeInput> {
        let open = self.ticket.open_change?;
        Some(ChangeInput {
            version: self.ticket.version,
            at,
            approval_id: open.approval_id,
            scope_known: template.price_list.contains_key(&open.scope),
            scope: open.scope,
            price_delta_cents: open.price_delta_cents,
            nte_cents: self.ticket.nte_cents,
            initial_nte_cents: template.nte_cents,
        })
    }

    fn closeout(self, template: &IncidentTemplate, at: DateTime<Utc>) -> CloseoutInput {
        let handed_in = self.ticket.visits.iter().flat_map(|visit| &visit.evidence);
        // A hash that a technician handed in says nothing of the file.
        let handed_in = handed_in.map(|evidence| DocumentedFact {
            kind: evidence.kind.clone(),
            verified: false,
        });
        CloseoutInput {
            version: self.ticket.version,
            at,
            required: template
                .evidence
                .get("complete")
                .cloned()
                .unwrap_or_default(),
            files_demanded: template.verified_evidence.clone(),
            evidence: handed_in.chain(self.beside.evidence).collect(),
            change_open: self.ticket.open_change.is_some(),
            customer_awaited: self.ticket.customer_wait.is_some(),
        }
    }

    fn invoice(self, template: &IncidentTemplate, at: DateTime<Utc>) -> InvoiceInput {
        InvoiceInput {
            version: self.ticket.version,
            at,
            nte_cents: self.ticket.nte_cents,
            call_out_cents: template.call_out_cents,
            labour_per_hour_cents: template.labour_per_hour_cents,
            price_list: template.price_list.clone(),
            visit_minutes: template.visit_minutes,
            visits: self.ticket.visits.iter().filter_map(visit_made).collect(),
            parts: self.beside.parts.into_iter().flatten().collect(),
            changes: self.beside.changes,
        }
    }
}

fn due_at(ticket: &Ticket) -> Option<DateTime<Utc>> {
    ticket.sla.iter().filter_map(SlaClock::due_at).min()
}

/// The deadlines of a running clock.
fn deadlines(clock: &SlaClock) -> Vec<DateTime<Utc>> {
    match clock.phase {
        ClockPhase::Running {
            warn_at, due_at, ..
        } => vec![warn_at, due_at],
        ClockPhase::Paused { .. } | ClockPhase::Stopped { .. } => Vec::new(),
    }
}

fn candidates(technicians: Vec<Technician>, template: &IncidentTemplate) -> Vec<Candidate> {
    technicians
        .into_iter()
        .map(|technician| technician.candidate(template.visit_minutes))
        .collect()
}

/// A visit that somebody checked in for, with its begun minutes.
fn visit_made(visit: &Visit) -> Option<VisitMade> {
    let began = visit.checked_in_at?;
    let minutes = visit.ended_at.map(|ended| {
        let seconds = (ended - began).num_seconds().max(0);
        u32::try_from((seconds + 59) / 60).unwrap_or(u32::MAX)
    });
    Some(VisitMade {
        number: visit.number,
        minutes,
    })
}

impl Technician {
    fn candidate(self, visit_minutes: u32) -> Candidate {
        let open_visits = u32::try_from(self.visits.len()).unwrap_or(u32::MAX);
        let booked = self.visits.iter();
        let booked = booked.filter_map(|visit| visit.window(visit_minutes));
        let mut busy: Vec<_> = booked.collect();
        busy.sort_by_key(|window| (window.start, window.end));
        Candidate {
            technician_id: self.id,
            skills: self.skills,
            base: Some(self.base),
            calendar: self.calendar,
            busy,
            absent: self.absences,
            open_visits,
        }
    }
}

impl OpenVisit {
    /// The window, or as long as a visit takes from when it began or is expected to.
    fn window(&self, visit_minutes: u32) -> Option<TimeWindow> {
        let start = self.starts_at?;
        let end = self
            .ends_at
            .unwrap_or(start + TimeDelta::minutes(visit_minutes.into()));
        Some(TimeWindow { start, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_without_a_window_takes_as_long_as_a_visit_takes() {
        let start = DateTime::UNIX_EPOCH;
        let visit = |ends_at| OpenVisit {
            starts_at: Some(start),
            ends_at,
        };
        let minutes = |visit: OpenVisit| {
            let window = visit.window(90).unwrap();
            (window.end - window.start).num_minutes()
        };
        assert_eq!(minutes(visit(None)), 90);
        assert_eq!(minutes(visit(Some(start + TimeDelta::minutes(15)))), 15);
        let unknown = OpenVisit {
            starts_at: None,
            ends_at: None,
        };
        assert_eq!(unknown.window(90), None);
    }
}
