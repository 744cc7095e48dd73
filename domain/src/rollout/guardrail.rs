//! Guardrails: what takes software back one stage without anybody asking.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{Slug, autonomy::Guardrails, event::AutonomyMode, rollout::LedgerFigures};

/// A guardrail that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breached {
    /// The reason on the record: `guardrail_overridden`, `guardrail_breaches`, `guardrail_denied` or
    /// `guardrail_unreadable`.
    pub reason: Slug,
    /// What holds from now on.
    pub to: AutonomyMode,
}

/// Since when acts count: not longer than the rules say, and not before the stage was last changed.
/// What an earlier stage let happen is no reason to leave this one.
pub fn window(
    rules: &Guardrails,
    set_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let longest = now - TimeDelta::hours(rules.window_hours.into());
    set_at.map_or(longest, |set_at| set_at.max(longest))
}

/// Whether software acts at this stage, by itself or once it is released.
pub fn acts(mode: AutonomyMode) -> bool {
    mode >= AutonomyMode::Approve
}

/// The stage before, where people look at what software does, or at what it would do; none where it
/// does nothing.
fn back(mode: AutonomyMode) -> Option<AutonomyMode> {
    match mode {
        AutonomyMode::Off | AutonomyMode::Shadow => None,
        AutonomyMode::Approve => Some(AutonomyMode::Shadow),
        AutonomyMode::Canary | AutonomyMode::Auto => Some(AutonomyMode::Approve),
    }
}

/// What becomes of a stage of which nobody knows how it does, for too long.
pub fn unreadable(mode: AutonomyMode) -> Option<Breached> {
    Some(Breached {
        reason: Slug::new("guardrail_unreadable").expect("these words are lowercase letters"),
        to: back(mode)?,
    })
}

/// The first guardrail that does not hold; `None` while all do, and for stages at which software
/// does nothing.
pub fn breached(
    rules: &Guardrails,
    mode: AutonomyMode,
    figures: &LedgerFigures,
) -> Option<Breached> {
    let to = back(mode)?;
    let enough_acts = figures.acts >= rules.min_acts.into();
    let enough_attempts = figures.attempts >= rules.min_acts.into();
    let word = match () {
        () if enough_acts && figures.overridden_permille > rules.max_overridden_permille => {
            "guardrail_overridden"
        }
        () if enough_acts && figures.breaches > rules.max_breaches.into() => "guardrail_breaches",
        () if enough_attempts && figures.denied_permille > rules.max_denied_permille => {
            "guardrail_denied"
        }
        () => return None,
    };
    Some(Breached {
        reason: Slug::new(word).expect("these words are lowercase letters"),
        to,
    })
}
