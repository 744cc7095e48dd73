//! Takes a lent right back. Votes that were given with it stand: they were right when they were
//! given.

use contracts::{Role, command::RevokeDelegation, filing::Filed};

use super::{Filing, FilingFacts, check};
use crate::Rejection;

pub(super) fn plan(body: &RevokeDelegation, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let Some((lender, revoked)) = &facts.control.delegation else {
        return Err(Rejection::NotFound);
    };
    check::expected_version(facts, if *revoked { 2 } else { 1 })?;
    let is_admin = facts.who.actor_roles.contains(&Role::TenantAdmin);
    if *lender != facts.who.actor_id && !is_admin {
        return Err(Rejection::NotTheLender(body.delegation_id));
    }
    if *revoked {
        return Err(Rejection::invalid(
            "/delegation_id",
            "was taken back before",
        ));
    }
    let filed = Filed::DelegationRevoked {
        delegation_id: body.delegation_id,
    };
    Ok(Filing::written(filed, body.delegation_id.as_uuid(), 1))
}
