//! Software may do less by itself: at once, and without anybody's leave.
//!
//! Or it shall not do more later: set where it stands, a stage calls off what is to come of it. That
//! is a change like any other, so it makes void what was decided on the version before.
//!
//! Both are possible for whatever is on record, also for a risk class that the bundle has no longer: it
//! may be back with the next one, and nobody should have to wait for that.

use contracts::{command::DemoteStage, event::AutonomyMode};

use super::{Filing, FilingFacts, stage};
use crate::Rejection;

pub(super) fn plan(body: &DemoteStage, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let standing = stage::standing_to_go_back(&body.target, facts)?;
    let smaller_share = body.to == AutonomyMode::Canary
        && standing.mode == AutonomyMode::Canary
        && body.percent < standing.percent;
    let stays = body.to == standing.mode && body.percent == standing.percent;
    let calls_off = stays && facts.control.change.is_some();
    if body.to >= standing.mode && !smaller_share && !calls_off {
        let message = match stays {
            true => format!(
                "must be less than {}, where the stage stands: no change of it is to come that \
                 could be called off",
                standing.mode
            ),
            false => format!(
                "must be less than {}, where the stage stands",
                standing.mode
            ),
        };
        return Err(Rejection::invalid("/to", message));
    }
    stage::percent(body.to, body.percent)?;
    let turn = stage::Turn {
        target: &body.target,
        to: body.to,
        percent: body.percent,
        reason: &body.reason,
        report_sha256: None,
        effective_at: None,
        applies: None,
    };
    Ok(stage::set(&turn, &standing, facts))
}
