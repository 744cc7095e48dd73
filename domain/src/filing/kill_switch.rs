//! Turning the kill switch, either way: the generation rises, and people hear of it.

use contracts::{
    comms::{Channel, OnlyWhile, Purpose, Recipient},
    filing::Filed,
};
use uuid::Uuid;

use super::{Filing, FilingFacts, check};
use crate::{OutboundMessage, Rejection};

/// Turns it, when it stands the other way. The generation is its version.
pub(super) fn turn(
    engage: bool,
    facts: &FilingFacts,
    filed: impl FnOnce(u64) -> Filed,
) -> Result<Filing, Rejection> {
    let before = facts.kill_switch.generation;
    check::expected_version(facts, before)?;
    if facts.kill_switch.engaged == engage {
        return Err(Rejection::SwitchStands {
            engaged: engage,
            generation: before,
        });
    }
    // There is one per tenant: it needs no id of its own.
    let mut filing = Filing::written(filed(before + 1), Uuid::nil(), before);
    filing
        .notices
        .extend(notice(filing.produced_version, facts));
    Ok(filing)
}

/// Tells those whom the bundle names; withdrawn when the switch was turned again before it is sent.
fn notice(generation: u64, facts: &FilingFacts) -> Option<OutboundMessage> {
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
        only_while: OnlyWhile::KillGeneration { generation },
    })
}
