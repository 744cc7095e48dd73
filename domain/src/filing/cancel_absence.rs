//! A technician will be there after all. What is over stays on record: they were away.

use contracts::{command::CancelAbsence, filing::Filed};

use super::{Filing, FilingFacts, check};
use crate::{Rejection, ticket::check::known};

pub(super) fn plan(body: &CancelAbsence, facts: &FilingFacts) -> Result<Filing, Rejection> {
    // A caller may name the moment as finely as they first sent it.
    let starts_at = check::kept_instant(body.starts_at);
    let found = facts
        .absences
        .iter()
        .find(|window| window.start == starts_at);
    check::expected_version(facts, u64::from(found.is_some()))?;
    known(facts.known.is_some(), "/technician_id", "technician")?;
    let Some(window) = found else {
        return Err(Rejection::invalid(
            "/starts_at",
            "is not when an absence of this technician begins",
        ));
    };
    if window.end <= facts.now {
        return Err(Rejection::invalid(
            "/starts_at",
            "names an absence that is over",
        ));
    }
    let filed = Filed::AbsenceCancelled {
        technician_id: body.technician_id,
        window: *window,
    };
    Ok(Filing::written(filed, body.technician_id.as_uuid(), 1))
}
