//! What our own people are told when something waits for them: an approval, a promise that is near
//! its end or broken.
//!
//! A notice is a message without a text, queued beside what it tells of. Each says what must still
//! be so when it is sent, because people are often faster than reminders.

use chrono::{DateTime, Utc};
use contracts::{
    MessageId, Role,
    approval::StepKind,
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
        Effect::OpenApproval(approval) => Some((Purpose::ApprovalWaiting, approval)),
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
    asked
        .chain(of_promise(event, facts))
        .filter(|notice| !notice.roles.is_empty())
        .map(Notice::queue)
        .collect()
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
    use contracts::{Priority, command::RecordSla, sla::ClockPhase};

    use super::*;
    use crate::{Decided, testing::*, ticket::CHANGE_APPROVERS};

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

    #[test]
    fn approvers_are_told_at_once_and_reminded_while_it_waits() {
        let mut desk = on_site();
        let version = desk.ticket().version;
        let decided = desk.run(request_change(35_000));
        assert_eq!(desk.ticket().version, version + 1, "notices do not count");
        let approval_id = desk.approval.as_ref().unwrap().id;
        let [told, reminder] = &queued(&decided)[..] else {
            panic!("two notices");
        };
        assert_eq!(told.purpose, Purpose::ApprovalWaiting);
        assert_eq!(told.due_at, desk.now);
        assert_eq!(reminder.purpose, Purpose::ApprovalReminder);
        assert_eq!(reminder.due_at, desk.now + TimeDelta::minutes(15));
        assert_ne!(told.id, reminder.id);
        for notice in [told, reminder] {
            assert_eq!(
                notice.only_while,
                OnlyWhile::ApprovalPending { approval_id }
            );
            assert_eq!(notice.channel, Channel::Operations);
            assert_eq!(notice.text, None);
            let roles = CHANGE_APPROVERS.to_vec();
            assert_eq!(notice.recipient, Recipient::Roles { roles });
        }
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
