//! Software may act again, as far as its stage lets it.

use contracts::{command::ReleaseKillSwitch, filing::Filed};

use super::{Filing, FilingFacts, kill_switch};
use crate::Rejection;

pub(super) fn plan(body: &ReleaseKillSwitch, facts: &FilingFacts) -> Result<Filing, Rejection> {
    kill_switch::release(&body.scope, facts, |generation| Filed::KillSwitchReleased {
        generation,
        reason: body.reason.clone(),
        scope: body.scope.clone(),
    })
}
