//! Keeps a warning or a breach, once per clock, kind and revision.
//!
//! The caller's clock may run differently (time skipping), so its `effective_at` is compared with
//! what is stored and never with our own now: while the clock runs it must be the stored deadline
//! to the instant. A caller that knew another one is behind, hears of the new one and asks again.
//!
//! A promise that was broken stays broken: the record is accepted too when the clock was paused or
//! stopped after the deadline, which happens whenever a person acts between the deadline and the
//! record. The deadline of the run that ended is not kept. A caller that saw it sends it, another
//! one sends the moment of the pause or stop; so anything from the ticket's creation to that moment
//! will do, and nothing later.
//!
//! What is on record is refused with `ALREADY_DECIDED` rather than accepted without an effect: an
//! accepted command has exactly one. The caller may take that answer for success. (A repeated
//! request id never comes here; it gets its first answer again.)

use chrono::{DateTime, SecondsFormat, Utc};
use contracts::{
    Operation,
    command::RecordSla,
    event::TicketEvent,
    sla::{ClockPhase, SlaClock, SlaRecordKey, SlaRecordKind},
    ticket::Ticket,
};

use super::{Plan, check, table};
use crate::{Effect, Facts, Rejection, rejection::Obstacle, sla};

pub(super) fn plan(body: &RecordSla, ticket: &Ticket, facts: &Facts) -> Result<Plan, Rejection> {
    check::not_ahead("applied_seq", body.applied_seq, facts.event_seq)?;
    let clock = ticket
        .sla
        .iter()
        .find(|clock| clock.name == body.clock)
        .ok_or_else(|| Rejection::invalid("/clock", "names no clock of this ticket"))?;
    check::not_ahead("revision", body.revision.into(), clock.revision.into())?;
    if body.revision < clock.revision {
        return Err(Rejection::PromiseReplaced {
            clock: clock.name.clone(),
            given: body.revision,
            current: clock.revision,
        });
    }
    let key = SlaRecordKey {
        clock: clock.name.clone(),
        kind: body.kind,
        revision: clock.revision,
    };
    if facts.sla_recorded.contains(&key) {
        return Err(Rejection::AlreadyRecorded(key));
    }
    due(clock, body, ticket, facts)?;
    let event = TicketEvent::SlaRecorded {
        clock: key.clock.clone(),
        kind: key.kind,
        revision: key.revision,
        effective_at: body.effective_at,
    };
    Ok(Plan::from(event).with([Effect::RecordSla {
        key,
        effective_at: body.effective_at,
    }]))
}

/// Whether the clock came as far as the record says.
fn due(
    clock: &SlaClock,
    body: &RecordSla,
    ticket: &Ticket,
    facts: &Facts,
) -> Result<(), Rejection> {
    let not_running = || {
        table::illegal(
            Operation::RecordSla,
            ticket,
            facts.template.as_ref(),
            Obstacle::ClockNotRunning(clock.name.clone()),
        )
    };
    match clock.phase {
        ClockPhase::Running {
            warn_at, due_at, ..
        } => {
            let deadline = match body.kind {
                SlaRecordKind::Warning => warn_at,
                SlaRecordKind::Breach => due_at,
            };
            if body.effective_at != deadline {
                return Err(Rejection::invalid(
                    "/effective_at",
                    format!("must be the deadline, {}", rfc3339(deadline)),
                ));
            }
        }
        ClockPhase::Paused { since: ended } | ClockPhase::Stopped { at: ended, .. } => {
            let limit = match body.kind {
                SlaRecordKind::Warning => sla::warning_seconds(clock.budget_seconds),
                SlaRecordKind::Breach => clock.budget_seconds,
            };
            if clock.used_seconds <= limit {
                return Err(not_running());
            }
            if !(ticket.created_at..=ended).contains(&body.effective_at) {
                return Err(Rejection::invalid(
                    "/effective_at",
                    format!(
                        "must be when the deadline passed: from {} to {}, when the clock was \
                         paused or stopped",
                        rfc3339(ticket.created_at),
                        rfc3339(ended)
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// As instants stand in JSON, so that it can be sent back as it is.
fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
