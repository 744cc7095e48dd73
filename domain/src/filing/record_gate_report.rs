//! A gate report is computed from what is on record, and kept under its hash.
//!
//! Whoever proposes a promotion makes it, so the window is not theirs to choose at will: it ends now,
//! and how far back it has to reach is the gate's to say (`GATE_WINDOW`).

use chrono::TimeDelta;
use contracts::{
    autonomy::LONGEST_REPORT_DAYS,
    canonical::{canonical_json, canonical_sha256},
    command::RecordGateReport,
    filing::Filed,
};
use serde_json::json;
use uuid::Uuid;

use super::{Filing, FilingFacts, check, stage};
use crate::{Rejection, rollout};

const LONGEST: TimeDelta = TimeDelta::days(LONGEST_REPORT_DAYS as i64);
/// A caller's "now" may be that much behind ours: a request may be sent again with the same body.
const ON_ITS_WAY: TimeDelta = TimeDelta::minutes(10);

pub(super) fn plan(body: &RecordGateReport, facts: &FilingFacts) -> Result<Filing, Rejection> {
    stage::standing(&body.target, facts)?;
    let (since, until) = (
        check::kept_instant(body.since),
        check::kept_instant(body.until),
    );
    if until > facts.now + rollout::CLOCKS_DIFFER {
        return Err(Rejection::invalid("/until", "must not lie in the future"));
    }
    let until = until.min(facts.now);
    if until < facts.now - ON_ITS_WAY {
        return Err(Rejection::invalid(
            "/until",
            "must be now: a report looks at all that was until it is made",
        ));
    }
    if since >= until || until - since > LONGEST {
        return Err(Rejection::invalid(
            "/since",
            format!("must be before `until`, at most {LONGEST_REPORT_DAYS} days"),
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
