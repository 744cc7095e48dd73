//! Changes of stages that were decided for later, when their time has come.

use chrono::{DateTime, Utc};
use contracts::{Operation, kill_switch::KillScope, rollout::StageChange};

/// A kill switch that was ever turned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedSwitch {
    /// [`KillScope::key`].
    pub scope: String,
    /// Until when it stopped software, or stops it; `None` as long as nobody releases it.
    pub until: Option<DateTime<Utc>>,
}

/// Whether a kill switch stood when a change was to come, or was turned since. Whoever stopped software
/// had not this change in mind when they let it go on: it waits until people call it off or decide
/// anew.
pub fn was_stopped(change: &StageChange, turned: &[TurnedSwitch], sender: &str) -> bool {
    let of = |operation| KillScope::Operation { operation };
    let scopes = [
        KillScope::Everything,
        KillScope::Tenant,
        of(Operation::ApplyStageChange),
        of(change.target.operation),
        KillScope::Agent {
            actor_id: sender.to_owned(),
        },
    ];
    let scopes = scopes.map(|scope| scope.key());
    turned
        .iter()
        .filter(|switch| scopes.contains(&switch.scope))
        .any(|switch| {
            switch
                .until
                .is_none_or(|until| change.effective_at <= until)
        })
}
