//! Queues a message to a customer. It goes to the address on record when it is sent, if what it
//! depends on is still so.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    command::CommsOutbound,
    comms::{Channel, OnlyWhile, Purpose, Recipient},
    event::TicketEvent,
    ticket::Ticket,
};

use super::{Plan, check};
use crate::{Effect, Facts, OutboundMessage, Rejection};

/// Later than this nobody knows why any more.
const FARTHEST: TimeDelta = TimeDelta::days(31);

pub(super) fn plan(
    body: &CommsOutbound,
    ticket: &Ticket,
    facts: &Facts,
) -> Result<Plan, Rejection> {
    check::known(facts.contact_known, "/contact_id", "contact")?;
    if matches!(body.channel, Channel::Operations | Channel::Web) {
        let rule = "must be sms, whatsapp, voice or email: no other address is on record";
        return Err(Rejection::invalid("/channel", rule));
    }
    check::known(
        facts.contact_reachable,
        "/channel",
        "address of that contact on this channel",
    )?;
    let due_at = due_at(body.send_at, facts.now)?;
    let only_while = body.only_while.clone().unwrap_or(OnlyWhile::TicketOpen);
    wanted(&only_while, ticket)?;
    let quiet = facts
        .peace
        .map(|peace| peace.quiet(&facts.calendar, due_at))
        .transpose()
        .map_err(Rejection::CalendarUnusable)?;
    let id = facts.ids.message;
    let event = TicketEvent::MessageQueued {
        message_id: id,
        channel: body.channel,
        purpose: Purpose::Conversation,
        due_at,
    };
    Ok(
        Plan::from(event).with([Effect::QueueMessage(OutboundMessage {
            id,
            channel: body.channel,
            purpose: Purpose::Conversation,
            recipient: Recipient::Contact {
                contact_id: body.contact_id,
            },
            text: Some(body.text.clone()),
            due_at,
            only_while,
            quiet,
        })]),
    )
}

fn due_at(send_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<DateTime<Utc>, Rejection> {
    match send_at {
        Some(at) if at < now => Err(Rejection::invalid(
            "/send_at",
            "must not lie in the past; leave it out to send at once",
        )),
        Some(at) if at - now > FARTHEST => Err(Rejection::invalid(
            "/send_at",
            "must be within 31 days from now",
        )),
        Some(at) => Ok(at),
        None => Ok(now),
    }
}

/// A condition that cannot hold would withdraw the message unsent.
fn wanted(only_while: &OnlyWhile, ticket: &Ticket) -> Result<(), Rejection> {
    let wrong = |pointer: &str, rule: &str| Err(Rejection::invalid(pointer, rule));
    match only_while {
        OnlyWhile::TicketOpen if ticket.state.is_terminal() => wrong(
            "/only_while",
            "must be a `ticket_in` with the ticket's state: the ticket has ended",
        ),
        OnlyWhile::TicketOpen => Ok(()),
        OnlyWhile::TicketIn { states } if states.is_empty() => {
            wrong("/only_while/states", "must name at least one state")
        }
        OnlyWhile::TicketIn { .. } => Ok(()),
        OnlyWhile::ApprovalPending { approval_id } => {
            let change = ticket.open_change.iter().map(|open| open.approval_id);
            let held = ticket.approvals.iter().filter(|it| !it.released);
            let mut pending = change.chain(held.map(|it| it.id));
            match pending.any(|id| id == *approval_id) {
                true => Ok(()),
                false => wrong(
                    "/only_while/approval_id",
                    "must name the approval that the ticket waits for",
                ),
            }
        }
        OnlyWhile::ClockRunning { clock, revision } => {
            let known = ticket.sla.iter().find(|known| known.name == *clock);
            match known {
                None => wrong("/only_while/clock", "names no clock of this ticket"),
                Some(known) if known.revision != *revision => Err(Rejection::invalid(
                    "/only_while/revision",
                    format!("must be the clock's revision, {}", known.revision),
                )),
                Some(_) => Ok(()),
            }
        }
        OnlyWhile::ApprovalIn { .. } | OnlyWhile::KillGeneration { .. } | OnlyWhile::Always => {
            wrong(
                "/only_while",
                "must be about the ticket: `approval_in`, `kill_generation` and `always` are for our own \
             notices",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::{ApprovalId, ContactId, FreeText, TicketState, schedule::QuietHours};

    use super::*;
    use crate::{comms::Peace, testing::*};

    fn message() -> CommsOutbound {
        CommsOutbound {
            ticket_id: key().ticket_id,
            contact_id: ContactId::from_uuid(uuid(5)),
            channel: Channel::Sms,
            text: FreeText::new("We are on our way.").unwrap(),
            send_at: None,
            only_while: None,
        }
    }

    fn pointer(rejection: &Rejection) -> String {
        rejection.field().expect("a wrong field").pointer
    }

    #[test]
    fn it_is_queued_for_its_time_and_changes_nothing() {
        let mut desk = on_site();
        let before = desk.ticket().clone();
        let send_at = Some(desk.now + TimeDelta::days(31));
        let decided = desk.run(CommsOutbound {
            send_at,
            ..message()
        });
        assert_eq!(*desk.ticket(), before);
        let [Effect::QueueMessage(queued)] = &decided.effects[..] else {
            panic!("one message");
        };
        assert_eq!(Some(queued.due_at), send_at);
        assert_eq!(queued.only_while, OnlyWhile::TicketOpen);
        assert_eq!(queued.text, Some(message().text));
    }

    #[test]
    fn what_binds_it_does_so_from_its_time_on() {
        let mut desk = on_site();
        let mut facts = desk.facts();
        let peace = Peace {
            hours: QuietHours {
                from_minute: 22 * 60,
                until_minute: 7 * 60,
            },
            on_days_off: true,
        };
        facts.peace = Some(peace);
        let send_at = facts.now + TimeDelta::days(3);
        let body = CommsOutbound {
            send_at: Some(send_at),
            ..message()
        };
        let decided = desk.try_with(&body.into(), &facts).unwrap();
        let [Effect::QueueMessage(queued)] = &decided.effects[..] else {
            panic!("one message");
        };
        let expected = peace.quiet(&facts.calendar, send_at).unwrap();
        assert_eq!(queued.quiet, Some(expected));
    }

    #[test]
    fn an_address_and_a_time_must_be_there() {
        let mut desk = on_site();
        for channel in [Channel::Operations, Channel::Web] {
            let body = CommsOutbound {
                channel,
                ..message()
            };
            assert_eq!(pointer(&desk.refuse(body)), "/channel");
        }
        let mut facts = desk.facts();
        facts.contact_reachable = false;
        let rejection = desk.try_with(&message().into(), &facts).unwrap_err();
        assert_eq!(pointer(&rejection), "/channel");
        for send_at in [
            desk.now - TimeDelta::seconds(1),
            desk.now + TimeDelta::days(31) + TimeDelta::seconds(1),
        ] {
            let body = CommsOutbound {
                send_at: Some(send_at),
                ..message()
            };
            assert_eq!(pointer(&desk.refuse(body)), "/send_at");
        }
    }

    #[test]
    fn what_could_never_be_sent_is_refused() {
        let mut desk = on_site();
        let clock = desk.clock("completion").clone();
        let running = |revision| OnlyWhile::ClockRunning {
            clock: clock.name.clone(),
            revision,
        };
        let in_states = |states: &[TicketState]| OnlyWhile::TicketIn {
            states: states.to_vec(),
        };
        let approval = |id| OnlyWhile::ApprovalPending { approval_id: id };
        let nobodys = ApprovalId::from_uuid(uuid(99));
        let with = |only_while: &OnlyWhile| CommsOutbound {
            only_while: Some(only_while.clone()),
            ..message()
        };
        for (only_while, wrong) in [
            (in_states(&[]), "/only_while/states"),
            (approval(nobodys), "/only_while/approval_id"),
            (running(clock.revision + 1), "/only_while/revision"),
            (
                OnlyWhile::ClockRunning {
                    clock: slug("none"),
                    revision: 1,
                },
                "/only_while/clock",
            ),
            (
                OnlyWhile::KillGeneration {
                    generation: 1,
                    scope: "tenant".into(),
                },
                "/only_while",
            ),
        ] {
            assert_eq!(pointer(&desk.refuse(with(&only_while))), wrong);
        }
        desk.run(with(&running(clock.revision)));
        desk.run(with(&in_states(&[TicketState::OnSite])));
        desk.run(request_change(1));
        let waiting = desk.approval().id;
        desk.run(with(&approval(waiting)));

        let mut ended = closed();
        assert_eq!(pointer(&ended.refuse(message())), "/only_while");
        ended.run(with(&in_states(&[TicketState::Closed])));
    }
}
