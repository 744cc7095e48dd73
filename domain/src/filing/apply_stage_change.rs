//! A change of a stage that people decided before comes to be.
//!
//! Only if the stage has not changed since: a demotion in between is the newer word.

use contracts::command::ApplyStageChange;

use super::{Filing, FilingFacts, stage};
use crate::Rejection;

pub(super) fn plan(_: &ApplyStageChange, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let change = facts.control.change.as_ref().ok_or(Rejection::NotFound)?;
    let standing = stage::standing(&change.target, facts)?;
    if change.applied_at.is_some() {
        return Err(Rejection::invalid("/change", "was applied before"));
    }
    if change.superseded || standing.mode != change.from {
        return Err(Rejection::invalid(
            "/change",
            "must not be older than the stage: it has changed since",
        ));
    }
    if change.effective_at > facts.now {
        return Err(Rejection::invalid(
            "/change",
            "must be due: its time has not come",
        ));
    }
    let turn = stage::Turn {
        target: &change.target,
        to: change.to,
        percent: change.percent,
        reason: &change.reason,
        report_sha256: change.report_sha256.as_deref(),
        effective_at: None,
        applies: Some(change.command_id),
    };
    let mut filing = stage::set(&turn, &standing, facts);
    filing.operation = Some(contracts::Operation::PromoteStage);
    Ok(filing)
}
