//! Turning a kill switch, either way: its generation rises, and people hear of it.

use chrono::{DateTime, Utc};
use contracts::{
    comms::{Channel, OnlyWhile, Purpose, Recipient},
    filing::Filed,
    kill_switch::{KillScope, KillSwitchRow},
};
use uuid::Uuid;

use super::{Filing, FilingFacts, check};
use crate::{OutboundMessage, Rejection};

/// The switch of this scope, as it stands; `None` when it was never turned.
pub(super) fn known<'a>(facts: &'a FilingFacts, scope: &KillScope) -> Option<&'a KillSwitchRow> {
    let key = scope.key();
    let mut switches = facts.autonomy.switches.iter();
    switches.find(|switch| switch.scope == key)
}

/// Engages it, when it is released; one that stands engaged may get a later end. It is never open in
/// between, and an earlier end would be a release by those who may not release.
pub(super) fn engage(
    scope: &KillScope,
    expires_at: Option<DateTime<Utc>>,
    facts: &FilingFacts,
    filed: impl FnOnce(u64) -> Filed,
) -> Result<Filing, Rejection> {
    let before = facts.kill_switch.generation;
    check::expected_version(facts, before)?;
    let row = known(facts, scope);
    let ends_later = row.is_some_and(|row| match (row.expires_at, expires_at) {
        (Some(standing), Some(wanted)) => wanted > standing,
        (Some(_), None) => true,
        (None, _) => false,
    });
    if facts.kill_switch.engaged && !ends_later {
        return Err(stands(row, true, before));
    }
    Ok(turned(scope, before, facts, filed))
}

/// Releases it. One whose end has come stops nothing any more, and is released once all the same:
/// that is what puts the end on record, and tells the workflows.
pub(super) fn release(
    scope: &KillScope,
    facts: &FilingFacts,
    filed: impl FnOnce(u64) -> Filed,
) -> Result<Filing, Rejection> {
    let before = facts.kill_switch.generation;
    check::expected_version(facts, before)?;
    let row = known(facts, scope);
    let lapsed = row.is_some_and(|row| row.engaged && !row.stops(facts.now));
    if !facts.kill_switch.engaged && !lapsed {
        return Err(stands(row, false, before));
    }
    // Software puts an end on record that has come; it brings none about.
    if facts.who.actor_kind.is_autonomous() && !lapsed {
        return Err(stands(row, true, before));
    }
    Ok(turned(scope, before, facts, filed))
}

fn stands(row: Option<&KillSwitchRow>, engaged: bool, generation: u64) -> Rejection {
    Rejection::SwitchStands {
        engaged,
        generation,
        until: row.filter(|_| engaged).and_then(|row| row.expires_at),
    }
}

fn turned(
    scope: &KillScope,
    before: u64,
    facts: &FilingFacts,
    filed: impl FnOnce(u64) -> Filed,
) -> Filing {
    // There is one per scope: it needs no id of its own.
    let mut filing = Filing::written(filed(before + 1), Uuid::nil(), before);
    let notice = notice(scope, filing.produced_version, facts);
    filing.notices.extend(notice);
    filing
}

/// Tells those whom the bundle names; withdrawn when the switch was turned again before it is sent.
fn notice(scope: &KillScope, generation: u64, facts: &FilingFacts) -> Option<OutboundMessage> {
    let roles = facts.comms.audiences.get(&Purpose::KillSwitch)?;
    (!roles.is_empty()).then(|| OutboundMessage {
        id: facts.message,
        channel: Channel::Operations,
        purpose: Purpose::KillSwitch,
        recipient: Recipient::Roles {
            roles: roles.clone(),
        },
        text: None,
        due_at: facts.now,
        only_while: OnlyWhile::KillGeneration {
            generation,
            scope: scope.key(),
        },
        quiet: None,
    })
}
