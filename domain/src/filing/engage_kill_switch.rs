//! Software stops acting, as far as the scope reaches.

use chrono::TimeDelta;
use contracts::{
    actor::is_actor_id, command::EngageKillSwitch, filing::Filed, kill_switch::KillScope,
};

use super::{Filing, FilingFacts, check, kill_switch};
use crate::Rejection;

/// One that is meant to last longer has no end.
const LONGEST: TimeDelta = TimeDelta::days(90);

/// What is said of books that workflows keep.
const PASSED: &str = "workflows go on with this whatever a switch says; of software it stops only \
                      callers of kind agent";

pub(super) fn plan(body: &EngageKillSwitch, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let expires_at = body.expires_at.map(check::kept_instant);
    let filing = kill_switch::engage(&body.scope, expires_at, facts, |generation| {
        Filed::KillSwitchEngaged {
            generation,
            reason: body.reason.clone(),
            scope: body.scope.clone(),
            expires_at,
            warning: warning(&body.scope, facts),
        }
    })?;
    if let KillScope::Agent { actor_id } = &body.scope
        && !is_actor_id(actor_id)
    {
        return Err(Rejection::invalid(
            "/scope/actor_id",
            "must be the subject of a token: 1 to 128 characters A-Z, a-z, 0-9, `.`, `_`, `:`, `-`",
        ));
    }
    match expires_at {
        Some(end) if end <= facts.now => Err(Rejection::invalid(
            "/expires_at",
            "must lie ahead: the switch would be released at once",
        )),
        Some(end) if end - facts.now > LONGEST => Err(Rejection::invalid(
            "/expires_at",
            "must be within 90 days from now; leave it out for a switch without end",
        )),
        _ => Ok(filing),
    }
}

/// What stops less than whoever engages it may think.
///
/// Books that the workflow keeps whatever a switch says; and what a wrong name looks like: it may also be
/// that of software that is still to come, so the switch stands. A ticket that is not there was refused
/// before.
fn warning(scope: &KillScope, facts: &FilingFacts) -> Option<String> {
    if facts.autonomy.rules.workflows_pass(scope) {
        return Some(PASSED.to_owned());
    }
    let unseen = match scope {
        KillScope::Agent { .. } => "no software of this id has been seen in this tenant",
        KillScope::Channel { .. } => {
            "no message of software on this channel has been seen in this tenant"
        }
        KillScope::Everything
        | KillScope::Tenant
        | KillScope::Operation { .. }
        | KillScope::Ticket { .. } => return None,
    };
    facts
        .kill_switch
        .never_seen
        .then(|| format!("{unseen}; the switch stands nevertheless"))
}
