//! Everything that an advisor looks at, without a name in it.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    Slug, TechnicianId, TicketId,
    proposal::{AdvisorInput, Candidate, ProposalKind, TechnicianInput, TriageInput},
    schedule::{GeoPoint, TimeWindow, WorkCalendar},
    sla::SlaClock,
    template::IncidentTemplate,
    ticket::Ticket,
};
use serde::Deserialize;
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

use crate::{Error, TenantTx};

/// The rows that advice about a ticket is based on. The template comes from the bundle that the
/// same transaction saw as the active one.
#[derive(Debug, Clone, PartialEq)]
pub struct AdvisorFacts {
    /// The ticket.
    pub ticket: Ticket,
    /// SHA-256 of the active bundle.
    pub bundle_sha256: Option<String>,
    site: GeoPoint,
    technicians: Vec<Technician>,
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

/// Reads them. Absences that ended before `at` are left out.
pub async fn advisor_facts(
    tx: &mut TenantTx,
    ticket_id: TicketId,
    at: DateTime<Utc>,
) -> Result<Option<AdvisorFacts>, Error> {
    let tenant = tx.tenant_id().as_uuid();
    let row: Option<TicketRow> = sqlx::query_as(
        "select t.doc, s.lat_e6, s.lon_e6, (select bundle_sha256 from deployment) as bundle_sha256
         from tickets t join sites s on s.tenant_id = t.tenant_id and s.id = t.site_id
         where t.tenant_id = $1 and t.id = $2",
    )
    .bind(tenant)
    .bind(ticket_id.as_uuid())
    .fetch_optional(tx.connection())
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let technicians: Vec<TechnicianRow> = sqlx::query_as(
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
    .bind(tenant)
    .bind(ticket_id.as_uuid())
    .bind(at)
    .fetch_all(tx.connection())
    .await?;
    Ok(Some(AdvisorFacts {
        ticket: row.doc.0,
        bundle_sha256: row.bundle_sha256,
        site: GeoPoint {
            lat_e6: row.lat_e6,
            lon_e6: row.lon_e6,
        },
        technicians: technicians
            .into_iter()
            .map(Technician::try_from)
            .collect::<Result<_, _>>()?,
    }))
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
    /// What the advisor of that kind looks at.
    pub fn input(
        self,
        kind: ProposalKind,
        template: &IncidentTemplate,
        at: DateTime<Utc>,
    ) -> AdvisorInput {
        let Self {
            ticket,
            site,
            technicians,
            ..
        } = self;
        match kind {
            ProposalKind::Triage => AdvisorInput::Triage(TriageInput {
                version: ticket.version,
                at,
                template: ticket.template,
                default_priority: template.default_priority,
                priority: ticket.priority,
                details: ticket.details,
                required_details: template.required_details.clone(),
            }),
            ProposalKind::Technician => AdvisorInput::Technician(TechnicianInput {
                version: ticket.version,
                at,
                priority: ticket.priority,
                site,
                window: ticket.current_visit().and_then(|visit| visit.window),
                visit_minutes: template.visit_minutes,
                required_skills: template.required_skills.clone(),
                due_at: ticket.sla.iter().filter_map(SlaClock::due_at).min(),
                candidates: technicians
                    .into_iter()
                    .map(|technician| technician.candidate(template.visit_minutes))
                    .collect(),
            }),
        }
    }
}

impl Technician {
    fn candidate(self, visit_minutes: u32) -> Candidate {
        let open_visits = u32::try_from(self.visits.len()).unwrap_or(u32::MAX);
        let booked = self
            .visits
            .iter()
            .filter_map(|visit| visit.window(visit_minutes));
        let mut busy: Vec<_> = self.absences.iter().copied().chain(booked).collect();
        busy.sort_by_key(|window| (window.start, window.end));
        Candidate {
            technician_id: self.id,
            skills: self.skills,
            base: self.base,
            calendar: self.calendar,
            busy,
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
