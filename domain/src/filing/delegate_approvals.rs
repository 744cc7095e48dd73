//! Lends one's right to decide approvals to somebody else, while one is away. What is lent is never
//! more than one has, and never lent on: the roles are those of the lender's own token.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use contracts::{DelegationId, actor::is_actor_id, command::DelegateApprovals, filing::Filed};

use super::{Filing, FilingFacts, check};
use crate::Rejection;

/// The longest that a right can be lent for.
const LONGEST: TimeDelta = TimeDelta::days(90);

pub(super) fn plan(body: &DelegateApprovals, facts: &FilingFacts) -> Result<Filing, Rejection> {
    check::expected_version(facts, 0)?;
    if !is_actor_id(&body.to) {
        return Err(Rejection::invalid("/to", "is no subject of a token"));
    }
    if body.to == facts.who.actor_id {
        return Err(Rejection::invalid("/to", "must be somebody else"));
    }
    let distinct: BTreeSet<_> = body.roles.iter().collect();
    if body.roles.is_empty() || distinct.len() != body.roles.len() {
        return Err(Rejection::invalid(
            "/roles",
            "must have at least one role, and each once",
        ));
    }
    for (at, role) in body.roles.iter().enumerate() {
        if !facts.who.actor_roles.contains(role) {
            return Err(Rejection::invalid(
                format!("/roles/{at}"),
                "is no role of your own: only those can be lent",
            ));
        }
    }
    if body.until <= body.from || body.until <= facts.now {
        return Err(Rejection::invalid(
            "/until",
            "must be later than `from`, and not be over",
        ));
    }
    if body.until - body.from > LONGEST {
        return Err(Rejection::invalid(
            "/until",
            "must be at most ninety days after `from`",
        ));
    }
    let filed = Filed::Delegated {
        delegation_id: DelegationId::from_uuid(facts.fresh),
    };
    Ok(Filing::written(filed, facts.fresh, 0))
}
