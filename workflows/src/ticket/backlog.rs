//! What the level of a ticket calls for, and what has been tried of it.
//!
//! Duties are computed from the level each time, never remembered from an edge: a level that calls
//! for a breach record does so after any number of restarts, and one that no longer does ends the
//! matter. Remembered are only the attempts: a failed one waits longer each time, a settled one is
//! not made again for the very same duty. A duty's name holds all that it depends on, so a moved
//! deadline is another duty.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ApprovalId, Operation, Priority, TicketState,
    approval::{StepKind, TicketApproval},
    event::TicketLevel,
    proposal::ProposalKind,
    sla::{ClockPhase, SlaClock, SlaRecordKey, SlaRecordKind},
};
use serde::{Deserialize, Serialize};

/// The longest pause after a failed attempt, jitter not counted: once dispatch-api is back, all is
/// made good within half a minute.
const LONGEST_PAUSE: TimeDelta = TimeDelta::seconds(20);

/// Something to be done once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "duty", rename_all = "snake_case")]
pub enum Duty {
    /// Read the truth.
    Snapshot,
    /// Record that a deadline passed.
    Sla {
        /// Which.
        key: SlaRecordKey,
        /// When it passed.
        at: DateTime<Utc>,
    },
    /// Propose something for this version of the ticket: of runs without [`EVERY_KIND`].
    Advice {
        /// About what.
        kind: ProposalKind,
        /// The ticket's version.
        version: u64,
    },
    /// Propose all that is due at this version of the ticket, in one call.
    Proposals {
        /// About what.
        kinds: Vec<ProposalKind>,
        /// Warnings and breaches that somebody should be told of.
        escalations: Vec<SlaRecordKey>,
        /// The ticket's version.
        version: u64,
        /// Advice that software may act on, in this order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        act: Vec<ProposalKind>,
        /// The turn of the kill switches under which it may; 0 when it may not.
        #[serde(default, skip_serializing_if = "is_zero")]
        kill_generation: u64,
    },
    /// Remind, escalate or end an approval that nobody decided.
    ApprovalStep {
        /// Which.
        approval_id: ApprovalId,
        /// Its version.
        version: u32,
        /// What is due.
        step: StepKind,
        /// When.
        at: DateTime<Utc>,
    },
    /// Carry out what was approved. What a kill switch or a stage stood against is another duty
    /// once these have changed.
    CarryOut {
        /// Which.
        approval_id: ApprovalId,
        /// The version that was approved.
        version: u32,
        /// What it releases.
        operation: Operation,
        /// The turn of the kill switches.
        kill_generation: u64,
        /// Advice that software may act on: a sign of the stages.
        acts_on: Vec<ProposalKind>,
    },
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The patch since which approvals are waited for and carried out, and software acts where it may.
/// A run meets it when its level first has something of this, so that one which began before it
/// takes it up too, unless an older worker has seen such a level in it.
pub const APPROVALS: &str = "approvals";

/// The patch since which a run adopts what the answers to its calls say of the kill switches, without
/// waiting for the signal. A run meets it when an answer is newer than its level.
pub const ANSWERS: &str = "kill-switch-in-answers";

/// The patch since which a run tries what was held back again once the ticket is at another version: what
/// about the ticket lets software act (an opt-out, the class of its risk) changes with that, and of commands
/// without advice nothing else in a level shows it. A run meets it when such a version comes.
pub const HELD_BACK: &str = "held-back-until-another-version";

/// What the open approvals call for: what was released is carried out at once, and the next step of
/// each comes at its time. What software asked for is not even tried while a kill switch stops it.
pub fn approval_duties(level: &TicketLevel) -> Vec<Duty> {
    let stopped = |approval: &TicketApproval| {
        let stopped = level.stopped.as_ref();
        approval.autonomous && stopped.is_some_and(|s| s.stops(approval.operation))
    };
    let released = level
        .approvals
        .iter()
        .filter(|approval| approval.released && !stopped(approval))
        .map(|approval| Duty::CarryOut {
            approval_id: approval.id,
            version: approval.version,
            operation: approval.operation,
            kill_generation: level.kill_generation,
            acts_on: level.acts_on.clone(),
        });
    let steps = level.approvals.iter().filter_map(|approval| {
        let next = approval.steps.first()?;
        Some(Duty::ApprovalStep {
            approval_id: approval.id,
            version: approval.version,
            step: next.step,
            at: next.at,
        })
    });
    let mut steps: Vec<_> = steps.collect();
    steps.sort_by_key(Duty::due);
    released.chain(steps).collect()
}

/// The patch since which every kind of advice is asked for. Runs that began before it ask for
/// triage and technicians only, one call for each.
pub const EVERY_KIND: &str = "every-kind-of-advice";

/// What a run without [`EVERY_KIND`] asks about at this level.
pub fn first_advice_due(level: &TicketLevel) -> Option<ProposalKind> {
    match (level.state, level.priority) {
        (TicketState::New, _) => Some(ProposalKind::Triage),
        (TicketState::Scheduled, _) | (TicketState::Triaged, Priority::P1) => {
            Some(ProposalKind::Technician)
        }
        _ => None,
    }
}

impl Duty {
    /// The moment from which it is due; `None` for at once.
    fn due(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Sla { at, .. } | Self::ApprovalStep { at, .. } => Some(*at),
            Self::Snapshot
            | Self::Advice { .. }
            | Self::Proposals { .. }
            | Self::CarryOut { .. } => None,
        }
    }
}

/// Warning and breach of each clock, in time order: those to come of a running one, and those that
/// happened before a clock was paused or stopped, because somebody may act between a deadline and
/// its record.
pub fn deadlines(level: &TicketLevel) -> Vec<(SlaRecordKey, DateTime<Utc>)> {
    let both = |clock: &SlaClock| {
        let warned_after = domain::sla::warning_seconds(clock.budget_seconds);
        let (warn_at, due_at) = match clock.phase {
            ClockPhase::Running {
                warn_at, due_at, ..
            } => (Some(warn_at), Some(due_at)),
            ClockPhase::Paused { since: ended } | ClockPhase::Stopped { at: ended, .. } => (
                (clock.used_seconds > warned_after).then_some(ended),
                (clock.used_seconds > clock.budget_seconds).then_some(ended),
            ),
        };
        [
            (SlaRecordKind::Warning, warn_at),
            (SlaRecordKind::Breach, due_at),
        ]
    };
    let mut all: Vec<_> = level
        .sla
        .iter()
        .flat_map(|clock| {
            both(clock).into_iter().filter_map(|(kind, at)| {
                let key = SlaRecordKey {
                    clock: clock.name.clone(),
                    kind,
                    revision: clock.revision,
                };
                Some((key, at?))
            })
        })
        .collect();
    all.sort_by(|(a, at), (b, bt)| (at, a).cmp(&(bt, b)));
    all
}

/// The deadline that an operator looks at: the nearest of the running clocks, passed or not.
pub fn due_at(level: &TicketLevel) -> Option<DateTime<Utc>> {
    level.sla.iter().filter_map(SlaClock::due_at).min()
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Attempt {
    duty: Duty,
    failures: u32,
    /// When to try again; `None`: settled.
    again: Option<DateTime<Utc>>,
    /// The ticket's version at which a kill switch or a stage stood against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_at: Option<u64>,
}

/// What was tried and did not lead to a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempts(Vec<Attempt>);

/// When a duty may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Now.
    Now,
    /// Not before this moment.
    At(DateTime<Utc>),
    /// It is settled.
    Never,
}

impl Attempts {
    /// When the duty may be done.
    pub fn when(&self, duty: &Duty, now: DateTime<Utc>) -> When {
        let attempt = self.0.iter().find(|a| a.duty == *duty);
        let again = match attempt {
            Some(Attempt { again: None, .. }) => return When::Never,
            Some(Attempt { again, .. }) => *again,
            None => None,
        };
        match duty.due().max(again) {
            Some(at) if at > now => When::At(at),
            _ => When::Now,
        }
    }

    /// Never again, for this very duty.
    pub fn settle(&mut self, duty: Duty) {
        let attempt = self.attempt(duty);
        attempt.again = None;
    }

    /// Not at this version of the ticket, at which a kill switch or a stage stands against it.
    pub fn hold(&mut self, duty: Duty, version: u64) {
        let attempt = self.attempt(duty);
        attempt.again = None;
        attempt.held_at = Some(version);
    }

    /// Whether the duty was held back at another version of the ticket than this one.
    pub fn was_held(&self, duty: &Duty, version: u64) -> bool {
        let attempt = self.0.iter().find(|a| a.duty == *duty);
        let held_at = attempt.and_then(|attempt| attempt.held_at);
        held_at.is_some_and(|at| at != version)
    }

    /// What was held back at another version of the ticket than this one may be tried again.
    pub fn free(&mut self, version: u64) {
        self.0.retain(|a| a.held_at.is_none_or(|at| at == version));
    }

    /// Later again: pauses of 1 s, 2 s, 4 s … with up to a quarter more, by `salt`, so that tickets
    /// that failed together do not come back together.
    pub fn postpone(&mut self, duty: Duty, now: DateTime<Utc>, salt: u128) {
        let attempt = self.attempt(duty);
        attempt.failures = attempt.failures.saturating_add(1);
        let doubled = TimeDelta::seconds(1 << (attempt.failures - 1).min(5));
        let pause = doubled.min(LONGEST_PAUSE);
        let quarter = pause.num_milliseconds() / 4;
        let jitter = i64::try_from(salt % 1000).expect("below 1000") * quarter / 1000;
        attempt.again = Some(now + pause + TimeDelta::milliseconds(jitter));
    }

    /// It is done.
    pub fn forget(&mut self, duty: &Duty) {
        self.0.retain(|a| a.duty != *duty);
    }

    /// The truth is another one: what was settled may not be.
    pub fn reopen(&mut self) {
        self.0.retain(|a| a.again.is_some());
    }

    /// Keeps only what is about a duty that still exists.
    pub fn retain(&mut self, exists: impl Fn(&Duty) -> bool) {
        self.0.retain(|a| exists(&a.duty));
    }

    /// Whether nothing is left that was tried in vain.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn attempt(&mut self, duty: Duty) -> &mut Attempt {
        let place = self.0.iter().position(|a| a.duty == duty);
        let place = place.unwrap_or_else(|| {
            self.0.push(Attempt {
                duty,
                failures: 0,
                again: None,
                held_at: None,
            });
            self.0.len() - 1
        });
        &mut self.0[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn advice() -> Duty {
        Duty::Advice {
            kind: ProposalKind::Triage,
            version: 1,
        }
    }

    #[test]
    fn pauses_double_and_end_below_half_a_minute() {
        let mut attempts = Attempts::default();
        let mut pauses = Vec::new();
        for _ in 0..40 {
            attempts.postpone(advice(), START, 999);
            let When::At(at) = attempts.when(&advice(), START) else {
                panic!("must wait");
            };
            pauses.push((at - START).num_milliseconds());
        }
        assert_eq!(pauses[..3], [1249, 2499, 4999]);
        assert_eq!(pauses[39], 24_995);
    }

    #[test]
    fn a_settled_duty_is_not_done_again_but_a_moved_deadline_is_another_duty() {
        let mut attempts = Attempts::default();
        let sla = |seconds| Duty::Sla {
            key: SlaRecordKey {
                clock: "response".parse().unwrap(),
                kind: SlaRecordKind::Breach,
                revision: 1,
            },
            at: START + TimeDelta::seconds(seconds),
        };
        let now = START + TimeDelta::seconds(60);
        assert_eq!(attempts.when(&sla(60), now), When::Now);
        assert_eq!(
            attempts.when(&sla(61), now),
            When::At(START + TimeDelta::seconds(61))
        );
        attempts.settle(sla(60));
        assert_eq!(attempts.when(&sla(60), now), When::Never);
        assert_eq!(attempts.when(&sla(59), now), When::Now);
    }
}
