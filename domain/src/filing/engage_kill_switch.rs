//! Software stops acting for this tenant.

use contracts::{command::EngageKillSwitch, filing::Filed};

use super::{Filing, FilingFacts, kill_switch};
use crate::Rejection;

pub(super) fn plan(body: &EngageKillSwitch, facts: &FilingFacts) -> Result<Filing, Rejection> {
    kill_switch::turn(true, facts, |generation| Filed::KillSwitchEngaged {
        generation,
        reason: body.reason.clone(),
        scope: body.scope.clone(),
    })
}
