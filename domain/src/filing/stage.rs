//! Turning a stage, either way: its version rises, people hear of it, and so do the workflows.

use chrono::{DateTime, Utc};
use contracts::{
    CommandId, Operation, Slug,
    autonomy::{StageSetting, StageTarget},
    command::CommandClass,
    comms::{Channel, OnlyWhile, Purpose, Recipient},
    event::AutonomyMode,
    filing::Filed,
};
use serde_json::json;
use uuid::Uuid;

use super::{Filing, FilingFacts, check};
use crate::{OutboundMessage, Rejection};

/// What is to be set.
pub(super) struct Turn<'a> {
    pub target: &'a StageTarget,
    pub to: AutonomyMode,
    pub percent: Option<u8>,
    pub reason: &'a Slug,
    pub report_sha256: Option<&'a str>,
    /// Not at once.
    pub effective_at: Option<DateTime<Utc>>,
    /// The change that comes to be with it.
    pub applies: Option<CommandId>,
}

/// Where it stands, when the caller saw that version and the body names a stage.
pub(super) fn standing(
    target: &StageTarget,
    facts: &FilingFacts,
) -> Result<StageSetting, Rejection> {
    let standing = facts.autonomy.standing(target);
    check::expected_version(facts, standing.version)?;
    named(target, facts)?;
    Ok(standing)
}

/// Where it stands, for going back or calling off: what is set or to come is there, whether the active
/// bundle knows its class or not.
pub(super) fn standing_to_go_back(
    target: &StageTarget,
    facts: &FilingFacts,
) -> Result<StageSetting, Rejection> {
    let mut stages = facts.autonomy.stages.iter();
    let is_set = stages.any(|set| set.target == *target);
    let is_to_come = facts.control.change.as_ref();
    if !is_set && is_to_come.is_none_or(|change| change.target != *target) {
        return standing(target, facts);
    }
    let standing = facts.autonomy.standing(target);
    check::expected_version(facts, standing.version)?;
    Ok(standing)
}

/// A stage is about a command that software could carry out, and about a class that the bundle has.
pub(super) fn named(target: &StageTarget, facts: &FilingFacts) -> Result<(), Rejection> {
    if !is_staged(target.operation) {
        return Err(Rejection::invalid(
            "/target/operation",
            "must be a command on a ticket that software could carry out by itself",
        ));
    }
    if !facts.autonomy.has_class_of(target) {
        let rules = &facts.autonomy.rules;
        let mut classes: Vec<_> = rules.risk_classes.keys().map(ToString::to_string).collect();
        classes.push(rules.default_risk.to_string());
        return Err(Rejection::invalid(
            "/target/risk",
            format!(
                "must be a risk class of the active bundle: {}",
                classes.join(", ")
            ),
        ));
    }
    Ok(())
}

/// Commands that have a stage: those that change a ticket, but for the one that keeps software off
/// it, and messages to customers.
pub(crate) fn is_staged(operation: Operation) -> bool {
    match operation {
        Operation::SetTicketAutonomy | Operation::CreateTicket => false,
        Operation::CommsOutbound => true,
        operation => operation.class() == CommandClass::Change,
    }
}

/// CANARY has a share and nothing else has one.
pub(super) fn percent(to: AutonomyMode, percent: Option<u8>) -> Result<(), Rejection> {
    let wrong = |message: &str| Err(Rejection::invalid("/percent", message));
    match (to, percent) {
        (AutonomyMode::Canary, Some(1..=99)) => Ok(()),
        (AutonomyMode::Canary, _) => wrong("must be 1 to 99: the share of tickets, for CANARY"),
        (_, None) => Ok(()),
        (_, Some(_)) => wrong("must be left out: only CANARY is about a share of tickets"),
    }
}

/// Writes it; for later, it is on record and the stage stays as it is.
pub(super) fn set(turn: &Turn<'_>, standing: &StageSetting, facts: &FilingFacts) -> Filing {
    let filed = Filed::StageSet {
        target: turn.target.clone(),
        from: standing.mode,
        to: turn.to,
        percent: turn.percent,
        effective_at: turn.effective_at,
    };
    // Its name is its key: it needs no id of its own.
    let mut filing = Filing::written(filed, Uuid::nil(), standing.version);
    if turn.effective_at.is_some() {
        filing.produced_version = standing.version;
    }
    filing.row = Some(json!({
        "operation": turn.target.operation,
        "risk": turn.target.risk,
        "from": standing.mode,
        "to": turn.to,
        "percent": turn.percent,
        "report_sha256": turn.report_sha256,
        "effective_at": turn.effective_at,
        "applies": turn.applies,
        "reason": turn.reason,
    }));
    filing.notices.extend(notice(facts));
    filing
}

/// Tells those whom the bundle names. That a stage was changed stays true whatever follows.
fn notice(facts: &FilingFacts) -> Option<OutboundMessage> {
    let roles = facts.comms.audiences.get(&Purpose::StageChanged)?;
    (!roles.is_empty()).then(|| OutboundMessage {
        id: facts.message,
        channel: Channel::Operations,
        purpose: Purpose::StageChanged,
        recipient: Recipient::Roles {
            roles: roles.clone(),
        },
        text: None,
        due_at: facts.now,
        only_while: OnlyWhile::Always,
        quiet: None,
    })
}
