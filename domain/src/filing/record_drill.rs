//! The report of a drill of the kill switch is kept: a canonical document, named by its hash.

use chrono::TimeDelta;
use contracts::{
    actor::is_actor_id,
    canonical::{canonical_json, canonical_sha256},
    command::RecordDrill,
    filing::Filed,
    kill_switch::KillScope,
};
use serde_json::json;

use super::{Filing, FilingFacts, check};
use crate::Rejection;

/// A report is made right after its drill.
const OLDEST: TimeDelta = TimeDelta::days(1);

pub(super) fn plan(body: &RecordDrill, facts: &FilingFacts) -> Result<Filing, Rejection> {
    check::expected_version(facts, 0)?;
    let engaged_at = check::kept_instant(body.engaged_at);
    if engaged_at > facts.now || facts.now - engaged_at > OLDEST {
        return Err(Rejection::invalid(
            "/engaged_at",
            "must lie within the last day",
        ));
    }
    if let KillScope::Agent { actor_id } = &body.scope
        && !is_actor_id(actor_id)
    {
        return Err(Rejection::invalid(
            "/scope/actor_id",
            "must be the subject of a token",
        ));
    }
    if body.clients == 0 {
        return Err(Rejection::invalid("/clients", "must be at least 1"));
    }
    if body.passed > body.attempts {
        return Err(Rejection::invalid(
            "/passed",
            "must not be more than `/attempts`",
        ));
    }
    let subject = body.scope.key();
    let document = json!({
        "scope": subject,
        "engaged_at": engaged_at,
        "stop_millis": body.stop_millis,
        "clients": body.clients,
        "attempts": body.attempts,
        "passed": body.passed,
        "recorded_at": facts.now,
        "recorded_by": facts.who.actor_id,
    });
    let broken = |_| Rejection::Broken {
        what: "a report that can be written down",
    };
    let row = json!({
        "kind": "drill",
        "subject": subject,
        "sha256": canonical_sha256(&document).map_err(broken)?,
        "document": canonical_json(&document).map_err(broken)?,
        "figures": {
            "stop_millis": body.stop_millis,
            "clients": body.clients,
            "attempts": body.attempts,
            "passed": body.passed,
        },
    });
    let filed = Filed::Drilled {
        stop_millis: body.stop_millis,
        passed: body.passed == 0,
    };
    Ok(Filing {
        row: Some(row),
        ..Filing::written(filed, facts.fresh, 0)
    })
}
