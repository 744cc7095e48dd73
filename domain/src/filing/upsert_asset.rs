//! Writes a thing at a site: a new one, or the one with this code. It never moves: its tickets say
//! where it was, and they are kept.

use contracts::{AssetId, SiteId, command::UpsertAsset, filing::Filed};

use super::{Filing, FilingFacts, check};
use crate::{Rejection, ticket::check::known};

pub(super) fn plan(body: &UpsertAsset, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let (id, before) = check::thing(facts)?;
    known(facts.site_known, "/site_id", "site")?;
    if let Some(site) = facts.known.and_then(|known| known.site)
        && site != body.site_id.as_uuid()
    {
        return Err(Rejection::invalid(
            "/site_id",
            format!(
                "must stay `{}`, where this asset is: give what moved a code of its own",
                SiteId::from_uuid(site)
            ),
        ));
    }
    let filed = Filed::Asset {
        asset_id: AssetId::from_uuid(id),
        code: body.code.clone(),
    };
    Ok(Filing::written(filed, id, before))
}
