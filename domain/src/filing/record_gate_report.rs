//! A gate report is computed from what is on record, and kept under its hash.

use chrono::TimeDelta;
use contracts::{
    canonical::{canonical_json, canonical_sha256},
    command::RecordGateReport,
    filing::Filed,
};
use serde_json::json;
use uuid::Uuid;

use super::{Filing, FilingFacts, check, stage};
use crate::{Rejection, rollout};

const LONGEST: TimeDelta = TimeDelta::days(366);
/// A caller's "now" may be that much ahead of ours.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(1);

pub(super) fn plan(body: &RecordGateReport, facts: &FilingFacts) -> Result<Filing, Rejection> {
    stage::standing(&body.target, facts)?;
    let (since, until) = (
        check::kept_instant(body.since),
        check::kept_instant(body.until),
    );
    if until > facts.now + CLOCKS_DIFFER {
        return Err(Rejection::invalid("/until", "must not lie in the future"));
    }
    let until = until.min(facts.now);
    if since >= until || until - since > LONGEST {
        return Err(Rejection::invalid(
            "/since",
            "must be before `until`, at most 366 days",
        ));
    }
    let broken = |what| Rejection::Broken { what };
    let rows = facts.control.ledger.clone();
    let rows = rows.ok_or(broken("the rows of a gate report"))?;
    let report = rollout::gate_report(&body.target, (since, until), rows, &facts.autonomy);
    let unwritable = |_| broken("a report that can be written");
    let sha256 = canonical_sha256(&report).map_err(unwritable)?;
    let document = canonical_json(&report).map_err(unwritable)?;
    let filed = Filed::Report {
        sha256: sha256.clone(),
    };
    let mut filing = Filing::written(filed, Uuid::nil(), 0);
    filing.row = Some(json!({
        "kind": "gate",
        "subject": body.target.key(),
        "sha256": sha256,
        "document": document,
        "figures": rollout::policy_figures(&report),
    }));
    Ok(filing)
}
