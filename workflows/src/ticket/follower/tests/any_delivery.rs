//! Whatever happens on the way, the follower ends where the database is, and nothing is asked for
//! that is on record.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::*;

#[derive(Debug, Clone)]
enum Happens {
    /// An event is committed.
    Commit(TicketLevel),
    /// Committed events from here, so many, are delivered, perhaps backwards.
    Deliver {
        from: usize,
        count: usize,
        backwards: bool,
    },
    /// An envelope that was sent once is sent again.
    Again(usize),
    /// Time passes and the follower does what is due.
    Run { seconds: i64 },
    /// The next calls fail, or their answers are lost after they took effect.
    Fail { calls: usize, after_effect: bool },
    /// The run continues as a new one.
    Continue,
    /// The database is set back to so many events and says so by its epoch.
    Restore { keep: usize },
    /// Somebody asks for a resync.
    Resync,
}

fn a_clock(name: &'static str) -> impl Strategy<Value = Option<SlaClock>> {
    prop_oneof![
        Just(None),
        (1..3_u32, 1..60_i64, 1..60_i64).prop_map(move |(revision, warn, more)| Some(running(
            name,
            revision,
            warn,
            warn + more
        ))),
        Just(Some(clock(name, 1, ClockPhase::Paused { since: at(0) }))),
    ]
}

fn a_level() -> impl Strategy<Value = TicketLevel> {
    let state = prop_oneof![
        Just(TicketState::New),
        Just(TicketState::Triaged),
        Just(TicketState::Scheduled),
        Just(TicketState::OnSite),
    ];
    (state, a_clock("response"), a_clock("completion")).prop_map(|(state, one, two)| {
        let mut level = level(state, 0);
        level.sla = one.into_iter().chain(two).collect();
        level
    })
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => a_level().prop_map(Happens::Commit),
        8 => (0..12_usize, 1..5_usize, any::<bool>())
            .prop_map(|(from, count, backwards)| Happens::Deliver { from, count, backwards }),
        2 => (0..12_usize).prop_map(Happens::Again),
        6 => (0..15_i64).prop_map(|seconds| Happens::Run { seconds }),
        2 => (1..4_usize, any::<bool>())
            .prop_map(|(calls, after_effect)| Happens::Fail { calls, after_effect }),
        1 => Just(Happens::Continue),
        1 => (0..8_usize).prop_map(|keep| Happens::Restore { keep }),
        1 => Just(Happens::Resync),
    ]
}

/// dispatch-api and its database.
struct World {
    follower: TicketFollower,
    now: i64,
    epoch: u64,
    events: Vec<SignalEvent>,
    sla: BTreeSet<SlaRecordKey>,
    proposals: BTreeSet<(ProposalKind, u64)>,
    escalations: BTreeSet<SlaRecordKey>,
    sent: Vec<SignalEnvelope>,
    failing: usize,
    after_effect: bool,
    /// What the follower was told is on record since the database was last set back.
    told: BTreeSet<String>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            follower: follower(),
            now: 0,
            epoch: 1,
            events: Vec::new(),
            sla: BTreeSet::new(),
            proposals: BTreeSet::new(),
            escalations: BTreeSet::new(),
            sent: Vec::new(),
            failing: 0,
            after_effect: false,
            told: BTreeSet::new(),
        };
        world.commit(level(TicketState::New, 0));
        world
    }

    fn commit(&mut self, mut level: TicketLevel) {
        let seq = self.events.len() as u64 + 1;
        level.version = seq;
        self.events.push(event(self.epoch, seq, level));
    }

    fn head(&self) -> &SignalEvent {
        self.events.last().expect("there is always a first event")
    }

    fn head_level(&self) -> TicketLevel {
        self.head().level.clone().expect("committed with a level")
    }

    fn send(&mut self, envelope: SignalEnvelope) {
        self.sent.push(envelope.clone());
        self.follower.receive(envelope, at(self.now));
    }

    fn happen(&mut self, what: Happens) {
        match what {
            Happens::Commit(level) => self.commit(level),
            Happens::Deliver {
                from,
                count,
                backwards,
            } => {
                let from = from % self.events.len();
                let mut events: Vec<_> = self.events[from..].iter().take(count).cloned().collect();
                if backwards {
                    events.reverse();
                }
                self.send(envelope(self.epoch, events));
            }
            Happens::Again(n) => {
                if let Some(old) = self.sent.get(n).cloned() {
                    self.follower.receive(old, at(self.now));
                }
            }
            Happens::Run { seconds } => {
                self.now += seconds;
                self.run();
            }
            Happens::Fail {
                calls,
                after_effect,
            } => {
                self.failing = calls;
                self.after_effect = after_effect;
            }
            Happens::Continue => {
                let json = serde_json::to_string(&self.follower).unwrap();
                self.follower = serde_json::from_str(&json).unwrap();
            }
            Happens::Restore { keep } => {
                self.events.truncate(keep.max(1));
                self.epoch += 1;
                self.sla.clear();
                self.proposals.clear();
                self.escalations.clear();
                self.told.clear();
            }
            Happens::Resync => {
                let mut envelope = envelope(self.epoch, []);
                envelope.resync = true;
                self.send(envelope);
            }
        }
    }

    /// Does what the follower asks for until it waits; answers when it wants to be woken.
    fn run(&mut self) -> Option<DateTime<Utc>> {
        let now = at(self.now);
        for _ in 0..100 {
            match self.follower.next_step(now) {
                Step::Wait(until) => {
                    assert!(until.is_none_or(|at| at > now), "must wait for the future");
                    return until;
                }
                Step::Finish => panic!("no level here is terminal"),
                Step::TakeApprovalStep(_) | Step::CarryOut(_) => panic!("no level has approvals"),
                Step::Snapshot(_) => {
                    let answer = self.answer(|world| SnapshotOutcome::Found {
                        snapshot: Box::new(TicketSnapshot {
                            epoch: world.epoch,
                            head_seq: world.head().seq,
                            head_event_id: Some(world.head().event_id),
                            level: world.head_level(),
                            sla_recorded: world.sla.iter().cloned().collect(),
                            proposed: world.proposals.iter().copied().collect(),
                            escalated: world.escalations.iter().cloned().collect(),
                        }),
                    });
                    self.follower.on_snapshot(answer, now);
                }
                Step::RecordSla(call) => {
                    let name = format!("{:?}", call.key);
                    assert!(!self.told.contains(&name), "asked again: {name}");
                    let answer = self.answer(|world| world.record_sla(&call));
                    if answer == Ok(Outcome::Recorded) {
                        self.told.insert(name);
                    }
                    self.follower.on_sla(call, answer, now);
                }
                Step::Advise(call) => {
                    let names: Vec<_> = call
                        .wanted()
                        .map(|wanted| call.request_id(wanted).to_string())
                        .collect();
                    for name in &names {
                        assert!(!self.told.contains(name), "asked again: {call:?}");
                    }
                    let answer = self.answer(|world| world.record_proposal(&call));
                    if answer == Ok(Outcome::Recorded) {
                        self.told.extend(names);
                    }
                    self.follower.on_advice(&call, answer, now);
                }
            }
        }
        panic!("the follower never rests");
    }

    fn answer<T>(&mut self, effect: impl FnOnce(&mut Self) -> T) -> Result<T, Failure> {
        if self.failing == 0 {
            return Ok(effect(self));
        }
        self.failing -= 1;
        if self.after_effect {
            effect(self);
        }
        Err(away())
    }

    fn record_sla(&mut self, call: &RecordSlaCall) -> Outcome {
        if call.applied_seq > self.head().seq {
            return Outcome::Ahead;
        }
        let stored = deadlines(&self.head_level())
            .into_iter()
            .find(|(key, at)| *key == call.key && *at == call.effective_at);
        if stored.is_none() && !self.sla.contains(&call.key) {
            return Outcome::Moot {
                reason: "ILLEGAL_TRANSITION".into(),
            };
        }
        self.sla.insert(call.key.clone());
        Outcome::Recorded
    }

    fn record_proposal(&mut self, call: &AdviseCall) -> Outcome {
        if call.applied_seq > self.head().seq {
            return Outcome::Ahead;
        }
        if call.version != self.head().seq {
            return Outcome::Moot {
                reason: "VERSION_CONFLICT".into(),
            };
        }
        let kinds = call.kinds.iter().map(|kind| (*kind, call.version));
        self.proposals.extend(kinds);
        self.escalations.extend(call.escalations.iter().cloned());
        Outcome::Recorded
    }
}

proptest! {
    #[test]
    fn ends_where_the_database_is(story in vec(happens(), 0..40)) {
        let mut world = World::new();
        for what in story {
            world.happen(what);
        }
        // Delivery is at least once: in the end the last event arrives, whatever was lost before.
        world.failing = 0;
        world.commit(level(TicketState::Scheduled, 0));
        let last = world.events.len() - 1;
        world.happen(Happens::Deliver { from: last, count: 1, backwards: false });
        let mut rests = false;
        for _ in 0..100 {
            match world.run() {
                Some(wake) => world.now = (wake - at(0)).num_seconds() + 1,
                None => { rests = true; break; }
            }
        }
        prop_assert!(rests, "the follower never comes to rest");
        let view = world.follower.view();
        prop_assert_eq!(view.applied_seq, world.head().seq);
        prop_assert_eq!(view.epoch, world.epoch);
        prop_assert_eq!(view.level, Some(world.head_level()));
        prop_assert_eq!(view.buffered, Vec::<u64>::new());
        let due: Vec<_> = deadlines(&world.head_level()).into_iter().map(|(key, _)| key).collect();
        for key in due {
            prop_assert!(world.sla.contains(&key), "not recorded: {key:?}");
        }
        prop_assert!(world.proposals.contains(&(ProposalKind::Technician, world.head().seq)));
        for record in domain::escalations_due(&world.head_level().sla, &world.sla) {
            prop_assert!(world.escalations.contains(&record), "nobody is told of {record:?}");
        }
    }
}
