//! Writes a site: a new one, or the one with this code.

use contracts::{SiteId, command::UpsertSite, filing::Filed};

use super::{Filing, FilingFacts, check};
use crate::Rejection;

pub(super) fn plan(body: &UpsertSite, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let (id, before) = check::thing(facts)?;
    check::place(&body.location, "/location")?;
    let filed = Filed::Site {
        site_id: SiteId::from_uuid(id),
        code: body.code.clone(),
    };
    Ok(Filing::written(filed, id, before))
}
