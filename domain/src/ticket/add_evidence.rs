//! Records a documented fact. The file comes apart from it; until it was checked against the hash
//! the evidence is unverified.

use contracts::{command::AddEvidence, event::TicketEvent};

use super::{Plan, check};
use crate::{Effect, Facts, Rejection};

pub(super) fn plan(body: &AddEvidence, facts: &Facts) -> Result<Plan, Rejection> {
    check::sha256(&body.sha256, || "/sha256".into())?;
    check::within(body.size_bytes, (1, 1_000_000_000), || "/size_bytes".into())?;
    let id = facts.ids.evidence;
    let event = TicketEvent::EvidenceAdded {
        evidence_id: id,
        kind: body.kind.clone(),
    };
    Ok(Plan::from(event).with([Effect::AddEvidence {
        id,
        evidence: body.clone(),
    }]))
}
