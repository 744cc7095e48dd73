//! A change of a stage that people decided before comes to be.
//!
//! Only at the version of the stage that it was decided on: whatever moved it in between is the newer
//! word. Clocks have no say in it. And only when nothing stopped software at its time or since, and as
//! far as the environment allows: whoever sends it asked before, but what is asked before may be old.

use contracts::{command::ApplyStageChange, rollout::StageChange};

use super::{Filing, FilingFacts, stage};
use crate::{Rejection, rollout::was_stopped};

pub(super) fn plan(_: &ApplyStageChange, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let change = facts.control.change.as_ref().ok_or(Rejection::NotFound)?;
    let standing = stage::standing(&change.target, facts)?;
    if change.applied_at.is_some() {
        return Err(Rejection::invalid("/change", "was applied before"));
    }
    if change.superseded || standing.version != change.stage_version {
        return Err(Rejection::invalid(
            "/change",
            moved_on(change, standing.version),
        ));
    }
    if change.effective_at > facts.now {
        return Err(Rejection::invalid(
            "/change",
            "must be due: its time has not come",
        ));
    }
    if was_stopped(change, &facts.control.turned, &facts.who.actor_id) {
        return Err(Rejection::invalid(
            "/change",
            "does not come: a kill switch stood when its time came, or was turned since. Call it off, \
             or decide anew",
        ));
    }
    if change.to > facts.autonomy.ceiling {
        return Err(Rejection::invalid(
            "/change",
            format!(
                "does not come: it leads to {}, and this environment allows no more than {}",
                change.to, facts.autonomy.ceiling
            ),
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

/// Which change came before, as far as it is on record.
fn moved_on(change: &StageChange, version: u64) -> String {
    let by = change.superseded_by.as_ref().map_or(String::new(), |by| {
        format!(
            " with {}: {} to {} by {} ({})",
            by.command_id,
            by.target.key(),
            by.to,
            by.decided_by,
            by.reason
        )
    });
    format!(
        "is void: it was decided on version {} of the stage, which has moved on to version \
         {version}{by}",
        change.stage_version
    )
}
