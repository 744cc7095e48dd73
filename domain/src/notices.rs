//! What our own people are told when something waits for them: an approval, a promise that is near
//! its end or broken.
//!
//! A notice is a message without a text, queued beside what it tells of. Each says what must still
//! be so when it is sent, because people are often faster than reminders.

use chrono::{DateTime, Utc};
use contracts::{
    MessageId, Role,
    approval::{ApprovalState, StepKind},
    comms::{Channel, OnlyWhile, Purpose, Recipient},
    event::TicketEvent,
    sla::SlaRecordKind,
};

use crate::{Effect, Facts, OutboundMessage};

/// The notices that a command leads to: an event for readers and a row for each.
pub(crate) fn notices(
    event: &TicketEvent,
    effects: &[Effect],
    facts: &Facts,
) -> Vec<(TicketEvent, Effect)> {
    let asked = effects.iter().filter_map(|effect| match effect {
        Effect::OpenApproval(approval) => Some((Purpose::ApprovalWaiting, &**approval)),
        Effect::WriteApproval(approval) => match event {
            TicketEvent::ApprovalStepTaken {
                step: StepKind::Reminder,
                ..
            } => Some((Purpose::ApprovalReminder, &**approval)),
            TicketEvent::ApprovalStepTaken { .. } | TicketEvent::ApprovalAmended { .. } => {
                Some((Purpose::ApprovalWaiting, &**approval))
            }
            _ => None,
        },
        _ => None,
    });
    let asked = asked.map(|(purpose, approval)| Notice {
        id: facts.ids.message,
        purpose,
        roles: approval.required_roles.clone(),
        due_at: facts.now,
        only_while: OnlyWhile::ApprovalPending {
            approval_id: approval.id,
        },
    });
    let expired = effects.iter().any(has_expired);
    let ended = expired.then(|| of_end(facts.ids.message, facts)).flatten();
    asked
        .chain(of_promise(event, facts))
        .chain(ended)
        .filter(|notice| !notice.roles.is_empty())
        .map(Notice::queue)
        .collect()
}

/// The notice that approvals became void beside something else: one, however many there were.
pub(crate) fn of_stale<'a>(
    mut ended: impl Iterator<Item = &'a TicketEvent>,
    facts: &Facts,
) -> Option<(TicketEvent, Effect)> {
    let is_stale = |event: &TicketEvent| matches!(event, TicketEvent::ApprovalStale { .. });
    let notice = ended
        .any(is_stale)
        .then(|| of_end(facts.ids.ended, facts))??;
    Some(notice.queue())
}

fn has_expired(effect: &Effect) -> bool {
    matches!(effect, Effect::WriteApproval(approval) if approval.state == ApprovalState::Expired)
}

/// Those who asked and those who were to decide, as the rules list them; nobody, if they list
/// nobody. A job that has ended needs no such notice.
fn of_end(id: MessageId, facts: &Facts) -> Option<Notice> {
    let purpose = Purpose::ApprovalEnded;
    let roles = facts.comms.audiences.get(&purpose)?.clone();
    (!roles.is_empty()).then_some(Notice {
        id,
        purpose,
        roles,
        due_at: facts.now,
        only_while: OnlyWhile::TicketOpen,
    })
}

/// Told to whom the rules list for it; to nobody, if they list nobody.
fn of_promise(event: &TicketEvent, facts: &Facts) -> Option<Notice> {
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
    Some(Notice {
        id: facts.ids.message,
        purpose,
        roles: facts.comms.audiences.get(&purpose)?.clone(),
        due_at: facts.now,
        only_while,
    })
}

struct Notice {
    id: MessageId,
    purpose: Purpose,
    roles: Vec<Role>,
    due_at: DateTime<Utc>,
    only_while: OnlyWhile,
}

impl Notice {
    fn queue(self) -> (TicketEvent, Effect) {
        let event = TicketEvent::MessageQueued {
            message_id: self.id,
            channel: Channel::Operations,
            purpose: self.purpose,
            due_at: self.due_at,
        };
        let message = OutboundMessage {
            id: self.id,
            channel: Channel::Operations,
            purpose: self.purpose,
            recipient: Recipient::Roles { roles: self.roles },
            text: None,
            due_at: self.due_at,
            only_while: self.only_while,
        };
        (event, Effect::QueueMessage(message))
    }
}

#[cfg(test)]
mod tests {
    use contracts::{
        Priority,
        command::{RecordApprovalStep, RecordSla},
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
        assert_eq!(queued(&step(&mut desk)), [], "the rules list nobody");
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
        let [notice] = &queued(&decided)[..] else {
            panic!("one notice");
        };
        assert_eq!(notice.purpose, Purpose::ApprovalEnded);
        assert_eq!(notice.only_while, OnlyWhile::TicketOpen);
        assert_eq!(notice.recipient, Recipient::Roles { roles });
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
