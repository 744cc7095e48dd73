//! Filings: commands about something other than a ticket. Each thing has a version of its own.

use chrono::{DateTime, Utc};
use contracts::{
    AssetId, Command, ContactId, MessageId, SiteId, TechnicianId, comms::Routing, filing::Filed,
    schedule::TimeWindow,
};
use uuid::Uuid;

use crate::{Rejection, Route};

/// What a filing depends on besides the command.
#[derive(Debug, Clone, PartialEq)]
pub struct FilingFacts {
    /// The moment of the decision.
    pub now: DateTime<Utc>,
    /// For a thing that is new.
    pub fresh: Uuid,
    /// For a message that is taken in.
    pub message: MessageId,
    /// The version that the caller saw.
    pub expected_version: Option<u64>,
    /// The thing, when it is there.
    pub known: Option<KnownThing>,
    /// Whether the site named in the body exists; `true` when none is named. So for the next two.
    pub site_known: bool,
    /// The contact.
    pub contact_known: bool,
    /// The technician.
    pub technician_known: bool,
    /// The technician's absences that are not over.
    pub absences: Vec<TimeWindow>,
    /// The kill switch.
    pub kill_switch: KillSwitch,
    /// Where an inbound message belongs.
    pub route: Option<Route>,
}

/// A thing as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownThing {
    /// Its id.
    pub id: Uuid,
    /// Its version.
    pub version: u64,
    /// For an asset: its site.
    pub site: Option<Uuid>,
}

/// The tenant's kill switch as it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KillSwitch {
    /// Whether software is stopped.
    pub engaged: bool,
    /// Rises with each turn; 0 before the first.
    pub generation: u64,
}

/// An accepted filing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filing {
    /// What it led to.
    pub filed: Filed,
    /// The thing that is written.
    pub id: Uuid,
    /// Its version before; 0 when it is new.
    pub applied_to_version: u64,
    /// Its version afterwards; the same when nothing is to be written.
    pub produced_version: u64,
    /// Whether anything is to be written.
    pub writes: bool,
}

/// Decides a filing.
pub fn decide(command: &Command, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let before = facts.known.map_or(0, |known| known.version);
    match facts.expected_version {
        Some(expected) if expected != before => {
            return Err(Rejection::VersionConflict {
                expected,
                actual: before,
            });
        }
        Some(_) | None => {}
    }
    let id = facts.known.map_or(facts.fresh, |known| known.id);
    let filed = match command {
        Command::UpsertSite(body) => Filed::Site {
            site_id: SiteId::from_uuid(id),
            code: body.code.clone(),
        },
        Command::UpsertAsset(body) => Filed::Asset {
            asset_id: AssetId::from_uuid(id),
            code: body.code.clone(),
        },
        Command::UpsertContact(body) => Filed::Contact {
            contact_id: ContactId::from_uuid(id),
            code: body.code.clone(),
        },
        Command::UpsertTechnician(body) => Filed::Technician {
            technician_id: TechnicianId::from_uuid(id),
            code: body.code.clone(),
        },
        Command::RecordAbsence(body) => Filed::AbsenceRecorded {
            technician_id: body.technician_id,
            window: body.window,
        },
        Command::CommsInbound(_) => return message(facts),
        _ => {
            return Err(Rejection::Broken {
                what: "a rule for this filing",
            });
        }
    };
    Ok(Filing {
        filed,
        id,
        applied_to_version: before,
        produced_version: before + 1,
        writes: true,
    })
}

/// A message that belongs to no ticket: it came before, or a person has to say.
fn message(facts: &FilingFacts) -> Result<Filing, Rejection> {
    let (message_id, routing, writes) = match &facts.route {
        Some(Route::Duplicate { first, ticket_id }) => (
            *first,
            Routing::Duplicate {
                first: *first,
                ticket_id: *ticket_id,
            },
            false,
        ),
        Some(Route::Unusable { pointer, message }) => {
            return Err(Rejection::invalid(*pointer, *message));
        }
        Some(Route::Hold { reason, candidates, .. }) => (
            facts.message,
            Routing::Held {
                reason: *reason,
                candidates: candidates.clone(),
            },
            true,
        ),
        Some(Route::Attach { .. } | Route::Open { .. }) | None => {
            return Err(Rejection::Broken {
                what: "the route of a message without a ticket",
            });
        }
    };
    Ok(Filing {
        filed: Filed::Message {
            message_id,
            routing,
        },
        id: message_id.as_uuid(),
        applied_to_version: 0,
        produced_version: 0,
        writes,
    })
}
