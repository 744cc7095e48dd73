//! Words an outcome for the caller: a receipt or a problem.

use chrono::{DateTime, Utc};
use contracts::{
    command::{CommandReceipt, HeldReceipt},
    comms::Purpose,
    filing::{Filed, FilingReceipt},
    policy::Reason,
    ticket::Ticket,
};
use domain::{Decided, Effect, Filing};
use serde::Serialize;
use store::command::Stored;

use super::{Answer, Call, Minted, judge::Outcome};
use crate::problem::{PROBLEM_JSON, problem};

const JSON: &str = "application/json";

pub(super) fn new(
    call: &Call,
    at: DateTime<Utc>,
    ids: &Minted,
    before: Option<&Ticket>,
    outcome: &Outcome,
    reasons: &[Reason],
) -> Answer {
    // A trial leaves nothing that its ids could name.
    let recorded = !call.dry_run;
    let (status, content_type, body) = match outcome {
        held if held.held().is_some() => {
            let approval = held.held().cloned();
            let receipt = approval.map(|approval| HeldReceipt {
                command_id: ids.command,
                decision_id: ids.decision,
                dry_run: call.dry_run,
                approval,
                reasons: reasons.to_vec(),
            });
            (202, JSON, text(&receipt))
        }
        Outcome::Held(_) => unreachable!("a held command has its approval"),
        Outcome::Accepted(decided) => {
            let created = before.is_none() && recorded;
            let status = if created { 201 } else { 200 };
            match received(&decided.effects) {
                Some(filed) => {
                    let receipt = FilingReceipt {
                        command_id: ids.command,
                        decision_id: ids.decision,
                        applied_to_version: before.map_or(0, |ticket| ticket.version),
                        produced_version: decided.ticket.version,
                        dry_run: call.dry_run,
                        filed,
                        ticket: Some(decided.ticket.clone()),
                    };
                    (status, JSON, text(&receipt))
                }
                None => (status, JSON, text(&receipt(call, ids, before, decided))),
            }
        }
        Outcome::Filed(filing) => {
            let created = filing.writes && recorded && is_new(filing);
            let receipt = FilingReceipt {
                command_id: ids.command,
                decision_id: ids.decision,
                applied_to_version: filing.applied_to_version,
                produced_version: filing.produced_version,
                dry_run: call.dry_run,
                filed: filing.filed.clone(),
                ticket: None,
            };
            (if created { 201 } else { 200 }, JSON, text(&receipt))
        }
        Outcome::Refused(refusal) => {
            let mut problem = problem(refusal.code, &*refusal.detail, ids.command.as_uuid(), at);
            problem.request_id = Some(call.request_id.clone());
            problem.errors.clone_from(&refusal.errors);
            problem.reasons.clone_from(&refusal.reasons);
            problem.meta.clone_from(&refusal.meta);
            problem.command_id = recorded.then_some(ids.command);
            problem.decision_id = recorded.then_some(ids.decision);
            (problem.status, PROBLEM_JSON, text(&problem))
        }
    };
    Answer {
        status,
        content_type,
        body,
        command_id: recorded.then_some(ids.command),
        decision_id: recorded.then_some(ids.decision),
        replayed: false,
        kept: recorded && outcome.is_stored(call),
        kill: None,
        retry_after_seconds: (status == 503).then_some(1),
    }
}

/// Whether there is a thing that was not there before. Turning the kill switch makes none, nor does
/// letting another bundle decide, nor deciding an approval.
fn is_new(filing: &Filing) -> bool {
    let turns = matches!(
        filing.filed,
        Filed::KillSwitchEngaged { .. }
            | Filed::KillSwitchReleased { .. }
            | Filed::BundleActivated { .. }
            | Filed::ApprovalChanged { .. }
    );
    filing.applied_to_version == 0 && !turns
}

/// The message that the command took in, if it is about one.
fn received(effects: &[Effect]) -> Option<Filed> {
    effects.iter().find_map(|effect| match effect {
        Effect::ReceiveMessage { id, routing, .. } => Some(Filed::Message {
            message_id: *id,
            routing: routing.clone(),
        }),
        _ => None,
    })
}

/// The stored answer, byte for byte.
pub(super) fn replayed(stored: Stored) -> Answer {
    Answer {
        status: stored.status,
        content_type: if stored.status < 400 {
            JSON
        } else {
            PROBLEM_JSON
        },
        body: stored.body,
        command_id: Some(stored.command_id),
        decision_id: Some(stored.decision_id),
        replayed: true,
        kept: true,
        kill: None,
        retry_after_seconds: None,
    }
}

pub(super) fn text(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("receipts and problems hold strings and integers only")
}

fn receipt(
    call: &Call,
    ids: &Minted,
    before: Option<&Ticket>,
    decided: &Decided,
) -> CommandReceipt {
    let mut receipt = CommandReceipt {
        command_id: ids.command,
        decision_id: ids.decision,
        applied_to_version: before.map_or(0, |ticket| ticket.version),
        produced_version: decided.ticket.version,
        dry_run: call.dry_run,
        ticket: decided.ticket.clone(),
        approval_id: None,
        approval_state: None,
        comment_id: None,
        note_id: None,
        proposal_id: None,
        evidence_id: None,
        message_id: None,
    };
    for effect in &decided.effects {
        match effect {
            Effect::OpenApproval(approval) => receipt.about(approval.id, approval.state),
            Effect::WriteApproval(approval) => receipt.about(approval.id, approval.state),
            // Beside something else an approval may end; this is the one that was meant.
            Effect::SettleApproval { id, state, .. } => {
                if call.command.approval_id() == Some(*id) {
                    receipt.about(*id, *state);
                }
            }
            Effect::WriteComment { id, .. } => receipt.comment_id = Some(*id),
            Effect::WriteNote { id, .. } => receipt.note_id = Some(*id),
            Effect::RecordProposal { id, .. } => receipt.proposal_id = Some(*id),
            Effect::AddEvidence { id, .. } => receipt.evidence_id = Some(*id),
            Effect::AttachMessage(id) => receipt.message_id = Some(*id),
            Effect::QueueMessage(message) if message.purpose == Purpose::Conversation => {
                receipt.message_id = Some(message.id);
            }
            Effect::QueueMessage(_)
            | Effect::ReceiveMessage { .. }
            | Effect::PairProposal { .. }
            | Effect::SeeProposal(_)
            | Effect::RecordSla { .. } => {}
        }
    }
    receipt
}
