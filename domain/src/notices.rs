//! What our own people are told when something waits for them: an approval, a promise that is near
//! its end or broken; and what became of what they asked for or agreed to.
//!
//! A notice is a message without a text, queued beside what it tells of. Each says what must still
//! be so when it is sent, because people are often faster than reminders.

use chrono::{DateTime, Utc};
use contracts::{
    ActorKind, ApprovalId, Command, MessageId, Role,
    approval::{Approval, ApprovalState, StepKind, Verdict},
    comms::{Channel, CommsRules, OnlyWhile, Purpose, Recipient},
    event::TicketEvent,
    sla::SlaRecordKind,
};
use uuid::Uuid;

use crate::{Effect, Facts, FilingFacts, OutboundMessage};

/// The notices that a command leads to: an event for readers and a row for each.
pub(crate) fn notices(
    event: &TicketEvent,
    effects: &[Effect],
    facts: &Facts,
) -> Vec<(TicketEvent, Effect)> {
    let mut ids = ids(facts.ids.message);
    let mut all = Vec::new();
    for effect in effects {
        match (effect, event) {
            (Effect::WriteApproval(approval), TicketEvent::ApprovalStepTaken { step, .. }) => {
                all.extend(asked(of_step(*step), approval, facts.now, &mut ids))
            }
            (Effect::OpenApproval(approval), _)
            | (Effect::WriteApproval(approval), TicketEvent::ApprovalAmended { .. }) => {
                all.extend(asked(
                    Purpose::ApprovalWaiting,
                    approval,
                    facts.now,
                    &mut ids,
                ));
            }
            (
                Effect::WriteApproval(approval),
                TicketEvent::ApprovalDecided { .. }
                | TicketEvent::ApprovalExpired { .. }
                | TicketEvent::ChangeDecided { .. },
            ) => {
                if matches!(
                    approval.state,
                    ApprovalState::Expired | ApprovalState::Stale
                ) {
                    let open = OnlyWhile::TicketOpen;
                    all.extend(of_end(open, &facts.comms, facts.now, &mut ids));
                }
                all.extend(came_of(approval, facts.now, &mut ids));
            }
            _ => {}
        }
    }
    all.into_iter()
        .chain(of_promise(event, facts))
        .map(queue)
        .collect()
}

/// The notices that a filing leads to: approvals without a ticket.
pub(crate) fn of_filing(
    command: &Command,
    effects: &[Effect],
    facts: &FilingFacts,
) -> Vec<OutboundMessage> {
    let mut ids = ids(facts.message);
    let mut all = Vec::new();
    for effect in effects {
        match (effect, command) {
            (Effect::OpenApproval(approval), _) => {
                all.extend(asked(
                    Purpose::ApprovalWaiting,
                    approval,
                    facts.now,
                    &mut ids,
                ));
            }
            (Effect::WriteApproval(approval), Command::RecordApprovalStep(body)) => {
                match approval.state {
                    ApprovalState::Pending => {
                        all.extend(asked(of_step(body.step), approval, facts.now, &mut ids));
                    }
                    _ => all.extend(over(approval, facts, &mut ids)),
                }
            }
            (Effect::WriteApproval(approval), Command::DecideApproval(_)) => match approval.state {
                ApprovalState::Stale => all.extend(over(approval, facts, &mut ids)),
                _ => {
                    // What was carried out with it may have a notice of its own, under the first id.
                    ids.next();
                    all.extend(came_of(approval, facts.now, &mut ids));
                }
            },
            _ => {}
        }
    }
    all
}

/// The notices that approvals became void beside something else: one for those whom the rules list,
/// however many there were, and one for those of each.
pub(crate) fn of_stale<'a>(
    ended: impl Iterator<Item = &'a TicketEvent>,
    facts: &Facts,
) -> Vec<(TicketEvent, Effect)> {
    let stale = ended.filter_map(|event| match event {
        TicketEvent::ApprovalStale { approval_id, .. } => Some(*approval_id),
        _ => None,
    });
    let stale: Vec<_> = stale.collect();
    if stale.is_empty() {
        return Vec::new();
    }
    let mut ids = ids(facts.ids.ended);
    let listed = of_end(OnlyWhile::TicketOpen, &facts.comms, facts.now, &mut ids);
    let concerned = stale.into_iter().zip(ids).map(|(approval_id, id)| {
        let purpose = Purpose::ApprovalEnded;
        to_concerned(
            id,
            purpose,
            approval_id,
            vec![ApprovalState::Stale],
            facts.now,
        )
    });
    listed.into_iter().chain(concerned).map(queue).collect()
}

/// The fresh id and those after it: an attempt may need more than one, and how many is known only
/// once it is decided.
fn ids(first: MessageId) -> impl Iterator<Item = MessageId> {
    let first = first.as_uuid().as_u128();
    (0..).map(move |n| MessageId::from_uuid(Uuid::from_u128(first.wrapping_add(n))))
}

fn of_step(step: StepKind) -> Purpose {
    match step {
        StepKind::Reminder => Purpose::ApprovalReminder,
        StepKind::Escalation | StepKind::Expiry => Purpose::ApprovalWaiting,
    }
}

/// Told to those who may decide it now.
fn asked(
    purpose: Purpose,
    approval: &Approval,
    due_at: DateTime<Utc>,
    ids: &mut impl Iterator<Item = MessageId>,
) -> Option<OutboundMessage> {
    let approval_id = approval.id;
    let only_while = OnlyWhile::ApprovalPending { approval_id };
    to_roles(&approval.required_roles, purpose, due_at, only_while, ids)
}

/// What people decided, or that nobody did: told to the one who asked and to those who had agreed.
fn came_of(
    approval: &Approval,
    due_at: DateTime<Utc>,
    ids: &mut impl Iterator<Item = MessageId>,
) -> Option<OutboundMessage> {
    use ApprovalState::*;
    let (purpose, states) = match approval.state {
        // What becomes void after all is told in its turn, and this no more.
        Approved | Executed => (Purpose::ApprovalDecided, vec![Approved, Executed]),
        Rejected => (Purpose::ApprovalDecided, vec![Rejected]),
        state @ (Expired | Stale) => (Purpose::ApprovalEnded, vec![state]),
        Pending | Withdrawn => return None,
    };
    // A workflow hears of it by an event, and whoever decided knows.
    let by_workflow = approval.requested_by_kind == ActorKind::Workflow;
    let decider = approval.decided_by.as_ref();
    let someone_agreed = approval.votes.iter().any(|vote| {
        let knows = purpose == Purpose::ApprovalDecided && Some(&vote.actor_id) == decider;
        vote.verdict == Verdict::Approve && !knows
    });
    if by_workflow && !someone_agreed {
        return None;
    }
    let id = ids.next()?;
    Some(to_concerned(id, purpose, approval.id, states, due_at))
}

/// An approval without a ticket is over, and nothing comes of it.
fn over(
    approval: &Approval,
    facts: &FilingFacts,
    ids: &mut impl Iterator<Item = MessageId>,
) -> Vec<OutboundMessage> {
    let stands = OnlyWhile::ApprovalIn {
        approval_id: approval.id,
        states: vec![approval.state],
    };
    let listed = of_end(stands, &facts.comms, facts.now, ids);
    listed
        .into_iter()
        .chain(came_of(approval, facts.now, ids))
        .collect()
}

/// Told to whom the rules list; to nobody, if they list nobody. A job that has ended needs no such
/// notice.
fn of_end(
    only_while: OnlyWhile,
    rules: &CommsRules,
    due_at: DateTime<Utc>,
    ids: &mut impl Iterator<Item = MessageId>,
) -> Option<OutboundMessage> {
    let purpose = Purpose::ApprovalEnded;
    let roles = rules.audiences.get(&purpose)?;
    to_roles(roles, purpose, due_at, only_while, ids)
}

/// Told to whom the rules list for it; to nobody, if they list nobody.
fn of_promise(event: &TicketEvent, facts: &Facts) -> Option<OutboundMessage> {
    let TicketEvent::SlaRecorded {
        clock,
        kind,
        revision,
        ..
    } = event
    else {
        return None;
    };
    let (purpose, only_while) = match kind {
        SlaRecordKind::Warning => (
            Purpose::SlaWarning,
            OnlyWhile::ClockRunning {
                clock: clock.clone(),
                revision: *revision,
            },
        ),
        SlaRecordKind::Breach => (Purpose::SlaBreach, OnlyWhile::TicketOpen),
    };
    let roles = facts.comms.audiences.get(&purpose)?;
    let mut ids = ids(facts.ids.message);
    to_roles(roles, purpose, facts.now, only_while, &mut ids)
}

fn to_roles(
    roles: &[Role],
    purpose: Purpose,
    due_at: DateTime<Utc>,
    only_while: OnlyWhile,
    ids: &mut impl Iterator<Item = MessageId>,
) -> Option<OutboundMessage> {
    if roles.is_empty() {
        return None;
    }
    let roles = roles.to_vec();
    Some(OutboundMessage {
        id: ids.next()?,
        channel: Channel::Operations,
        purpose,
        recipient: Recipient::Roles { roles },
        text: None,
        due_at,
        only_while,
        quiet: None,
    })
}

fn to_concerned(
    id: MessageId,
    purpose: Purpose,
    approval_id: ApprovalId,
    states: Vec<ApprovalState>,
    due_at: DateTime<Utc>,
) -> OutboundMessage {
    OutboundMessage {
        id,
        channel: Channel::Operations,
        purpose,
        recipient: Recipient::Concerned { approval_id },
        text: None,
        due_at,
        only_while: OnlyWhile::ApprovalIn {
            approval_id,
            states,
        },
        quiet: None,
    }
}

/// An event for readers and the row.
fn queue(message: OutboundMessage) -> (TicketEvent, Effect) {
    let event = TicketEvent::MessageQueued {
        message_id: message.id,
        channel: message.channel,
        purpose: message.purpose,
        due_at: message.due_at,
    };
    (event, Effect::QueueMessage(message))
}

#[cfg(test)]
mod tests {
    use contracts::{
        Priority,
        command::{DecideApproval, RecordApprovalStep, RecordSla},
        sla::ClockPhase,
    };

    use super::*;
    use crate::{Decided, approval::demanded_roles, testing::*};

    /// The notices, each told and queued alike.
    fn queued(decided: &Decided) -> Vec<OutboundMessage> {
        let told = decided.changes.iter().filter_map(|c| match &c.event {
            TicketEvent::MessageQueued {
                message_id,
                channel,
                purpose,
                due_at,
            } => Some((*message_id, *channel, *purpose, *due_at)),
            _ => None,
        });
        let messages = decided.effects.iter().filter_map(|effect| match effect {
            Effect::QueueMessage(message) => Some(message.clone()),
            _ => None,
        });
        let messages: Vec<_> = messages.collect();
        let kept = messages.iter();
        let kept: Vec<_> = kept
            .map(|m| (m.id, m.channel, m.purpose, m.due_at))
            .collect();
        assert_eq!(told.collect::<Vec<_>>(), kept);
        messages
    }

    /// The workflow records the next step of the approval's plan, at its moment.
    fn step(desk: &mut Desk) -> Decided {
        let approval = desk.approval().clone();
        let next = approval.steps.first().expect("a step").clone();
        desk.now = next.at;
        desk.run(RecordApprovalStep {
            approval_id: approval.id,
            version: approval.version,
            step: next.step,
            at: next.at,
            applied_seq: desk.seq,
        })
    }

    #[test]
    fn approvers_are_told_at_once_reminded_and_more_of_them_are_asked_later() {
        let mut desk = on_site();
        let version = desk.ticket().version;
        let told = desk.run(request_change(35_000));
        assert_eq!(desk.ticket().version, version + 1, "notices do not count");
        let approval_id = desk.approval().id;
        let roles = demanded_roles(&change_need());
        let more: Vec<_> = roles.iter().copied().chain([Role::TenantAdmin]).collect();
        let reminded = step(&mut desk);
        let escalated = step(&mut desk);
        for (decided, purpose, roles) in [
            (told, Purpose::ApprovalWaiting, roles.clone()),
            (reminded, Purpose::ApprovalReminder, roles),
            (escalated, Purpose::ApprovalWaiting, more),
        ] {
            let [notice] = &queued(&decided)[..] else {
                panic!("one notice for {purpose}");
            };
            assert_eq!(notice.purpose, purpose);
            assert_eq!(notice.due_at, decided.changes[0].at);
            assert_eq!(
                notice.only_while,
                OnlyWhile::ApprovalPending { approval_id }
            );
            assert_eq!(notice.channel, Channel::Operations);
            assert_eq!(notice.text, None);
            assert_eq!(notice.recipient, Recipient::Roles { roles });
        }
        let ended = queued(&step(&mut desk));
        let [notice] = &ended[..] else {
            panic!("the rules list nobody, and one asked: {ended:?}");
        };
        assert_eq!(notice.recipient, Recipient::Concerned { approval_id });
    }

    #[test]
    fn those_listed_hear_that_nobody_decided() {
        let mut desk = on_site();
        desk.run(request_change(35_000));
        let approval = desk.approval().clone();
        let end = approval.steps.last().unwrap().clone();
        desk.row(approval.id).steps = vec![end.clone()];
        desk.now = end.at;
        let mut facts = desk.facts();
        let roles = vec![Role::Dispatcher];
        facts.comms.audiences = [(Purpose::ApprovalEnded, roles.clone())].into();
        let expire = RecordApprovalStep {
            approval_id: approval.id,
            version: 1,
            step: StepKind::Expiry,
            at: end.at,
            applied_seq: desk.seq,
        };
        let decided = desk.try_with(&expire.into(), &facts).unwrap();
        let [notice, own] = &queued(&decided)[..] else {
            panic!("one for those listed, one for the one who asked");
        };
        assert_eq!(notice.purpose, Purpose::ApprovalEnded);
        assert_eq!(notice.only_while, OnlyWhile::TicketOpen);
        assert_eq!(notice.recipient, Recipient::Roles { roles });
        assert_ne!(own.id, notice.id);
        assert_eq!(own.purpose, Purpose::ApprovalEnded);
        assert_eq!(own.only_while, stands(&approval, &[ApprovalState::Expired]));
    }

    fn stands(approval: &Approval, states: &[ApprovalState]) -> OnlyWhile {
        OnlyWhile::ApprovalIn {
            approval_id: approval.id,
            states: states.to_vec(),
        }
    }

    #[test]
    fn whoever_asked_hears_what_was_decided() {
        use ApprovalState::*;
        for (verdict, states) in [
            (Verdict::Approve, &[Approved, Executed][..]),
            (Verdict::Reject, &[Rejected]),
        ] {
            let mut desk = on_site();
            desk.run(request_change(35_000));
            let approval = desk.approval().clone();
            let decided = desk.run(DecideApproval {
                approval_id: approval.id,
                verdict,
                reason: Some(slug("looked_at")),
                version: None,
            });
            let [notice] = &queued(&decided)[..] else {
                panic!("one notice of {verdict:?}");
            };
            assert_eq!(notice.purpose, Purpose::ApprovalDecided);
            let approval_id = approval.id;
            assert_eq!(notice.recipient, Recipient::Concerned { approval_id });
            assert_eq!(notice.only_while, stands(&approval, states));
        }
    }

    #[test]
    fn a_workflow_needs_no_message_and_those_who_had_agreed_do() {
        let mut desk = on_site();
        desk.run(request_change(35_000));
        let mut approval = desk.approval().clone();
        let told = |approval: &Approval| {
            came_of(approval, monday(), &mut ids(MessageId::from_uuid(uuid(1))))
        };
        assert_eq!(told(&approval), None, "nothing came of it yet");
        let vote = |who: &str| contracts::approval::Vote {
            actor_id: who.to_owned(),
            roles: Vec::new(),
            verdict: Verdict::Approve,
            at: monday(),
            reason: None,
            on_behalf_of: None,
            command_id: contracts::CommandId::from_uuid(uuid(1)),
        };
        approval.requested_by_kind = ActorKind::Workflow;
        approval.state = ApprovalState::Approved;
        approval.votes = vec![vote("last")];
        approval.decided_by = Some("last".to_owned());
        assert_eq!(told(&approval), None, "only the one who decided");
        approval.votes.push(vote("first"));
        assert!(told(&approval).is_some());
        approval.votes.pop();
        approval.state = ApprovalState::Stale;
        assert!(told(&approval).is_some(), "it is void after their yes");
    }

    fn record(desk: &Desk, kind: SlaRecordKind) -> RecordSla {
        let clock = desk.clock("answer");
        let ClockPhase::Running {
            warn_at, due_at, ..
        } = clock.phase
        else {
            panic!("it runs");
        };
        RecordSla {
            clock: clock.name.clone(),
            kind,
            revision: clock.revision,
            effective_at: match kind {
                SlaRecordKind::Warning => warn_at,
                SlaRecordKind::Breach => due_at,
            },
            applied_seq: desk.seq,
        }
    }

    #[test]
    fn those_listed_hear_of_a_promise_and_nobody_else() {
        for (kind, purpose) in [
            (SlaRecordKind::Warning, Purpose::SlaWarning),
            (SlaRecordKind::Breach, Purpose::SlaBreach),
        ] {
            let mut desk = Desk::after([create()]);
            let body = record(&desk, kind);
            let mut facts = desk.facts();
            facts.comms.audiences = [(purpose, vec![Role::Dispatcher])].into();
            let before = desk.ticket().clone();
            let decided = desk.try_with(&body.clone().into(), &facts).unwrap();
            assert_eq!(*desk.ticket(), before, "a record beside the ticket");
            let [notice] = &queued(&decided)[..] else {
                panic!("one notice of the {kind}");
            };
            assert_eq!((notice.purpose, notice.due_at), (purpose, desk.now));
            let roles = vec![Role::Dispatcher];
            assert_eq!(notice.recipient, Recipient::Roles { roles });
            let expected = match kind {
                SlaRecordKind::Warning => OnlyWhile::ClockRunning {
                    clock: body.clock,
                    revision: body.revision,
                },
                SlaRecordKind::Breach => OnlyWhile::TicketOpen,
            };
            assert_eq!(notice.only_while, expected);

            let mut desk = Desk::after([create()]);
            let body = record(&desk, kind);
            assert_eq!(queued(&desk.run(body)), [], "nobody is listed");
        }
    }

    #[test]
    fn nothing_else_is_told() {
        let mut desk = Desk::new();
        for command in [create(), triage(Priority::P1), dispatch(), check_in()] {
            assert_eq!(queued(&desk.run(command)), []);
        }
    }
}
