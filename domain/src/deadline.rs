//! What a promise comes to next.

use contracts::{
    read::NextDeadline,
    sla::{ClockPhase, SlaRecordKey, SlaRecordKind},
    ticket::Ticket,
};

/// The earliest warning or breach of a running clock that is not on record.
pub fn next_deadline(ticket: &Ticket, recorded: &[SlaRecordKey]) -> Option<NextDeadline> {
    let moments = ticket.sla.iter().filter_map(|clock| match clock.phase {
        ClockPhase::Running {
            warn_at, due_at, ..
        } => Some([
            (clock, SlaRecordKind::Warning, warn_at),
            (clock, SlaRecordKind::Breach, due_at),
        ]),
        ClockPhase::Paused { .. } | ClockPhase::Stopped { .. } => None,
    });
    moments
        .flatten()
        .filter(|(clock, kind, _)| {
            !recorded.iter().any(|key| {
                key.clock == clock.name && key.kind == *kind && key.revision == clock.revision
            })
        })
        .min_by_key(|(_, _, at)| *at)
        .map(|(clock, kind, at)| NextDeadline {
            clock: clock.name.clone(),
            kind,
            at,
        })
}

#[cfg(test)]
mod tests {
    use contracts::{Priority, command::CustomerAwait};

    use super::*;
    use crate::testing::*;

    #[test]
    fn the_earliest_moment_that_is_not_on_record_comes_next() {
        let desk = Desk::after([create(), triage(Priority::P2)]);
        let next = |recorded: &[SlaRecordKey]| next_deadline(desk.ticket(), recorded);
        let warning = next(&[]).unwrap();
        assert_eq!(warning.clock, slug("make_safe"));
        assert_eq!(warning.kind, SlaRecordKind::Warning);
        let mut key = SlaRecordKey {
            clock: warning.clock.clone(),
            kind: warning.kind,
            revision: desk.clock("make_safe").revision,
        };
        let breach = next(&[key.clone()]).unwrap();
        assert_eq!(
            (breach.clock, breach.kind),
            (warning.clock, SlaRecordKind::Breach)
        );
        assert!(breach.at > warning.at);
        key.revision += 1;
        assert_eq!(next(&[key]).unwrap().at, warning.at, "another revision's");
    }

    #[test]
    fn a_paused_clock_comes_to_nothing() {
        let mut desk = Desk::after([create(), triage(Priority::P2)]);
        desk.run(CustomerAwait {
            reason: slug("key"),
        });
        assert_eq!(next_deadline(desk.ticket(), &[]), None);
    }
}
