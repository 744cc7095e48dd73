//! Writes a technician: a new one, or the one with this code.

use contracts::{TechnicianId, command::UpsertTechnician, filing::Filed};

use super::{Filing, FilingFacts, check};
use crate::{Rejection, ticket::check::known};

/// Skills travel with every advice.
const MOST_SKILLS: usize = 64;

pub(super) fn plan(body: &UpsertTechnician, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let (id, before) = check::thing(facts)?;
    known(facts.contact_known, "/contact_id", "contact")?;
    if body.skills.len() > MOST_SKILLS {
        return Err(Rejection::invalid(
            "/skills",
            format!("must have at most {MOST_SKILLS} entries"),
        ));
    }
    for (n, skill) in body.skills.iter().enumerate() {
        if body.skills[..n].contains(skill) {
            return Err(Rejection::invalid(
                format!("/skills/{n}"),
                "is in the list already",
            ));
        }
    }
    check::place(&body.home_base, "/home_base")?;
    check::calendar(&body.calendar)?;
    let filed = Filed::Technician {
        technician_id: TechnicianId::from_uuid(id),
        code: body.code.clone(),
    };
    Ok(Filing::written(filed, id, before))
}
