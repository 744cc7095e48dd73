//! Software may do less by itself: at once, and without anybody's leave.

use contracts::{command::DemoteStage, event::AutonomyMode};

use super::{Filing, FilingFacts, stage};
use crate::Rejection;

pub(super) fn plan(body: &DemoteStage, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let standing = stage::standing(&body.target, facts)?;
    let smaller_share = body.to == AutonomyMode::Canary
        && standing.mode == AutonomyMode::Canary
        && body.percent < standing.percent;
    if body.to >= standing.mode && !smaller_share {
        return Err(Rejection::invalid(
            "/to",
            format!(
                "must be less than {}, where the stage stands",
                standing.mode
            ),
        ));
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
