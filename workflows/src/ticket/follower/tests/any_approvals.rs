//! Whatever becomes of several approvals of one ticket, in any order and however it is delivered:
//! what was released is carried out once and nothing else is, and each step comes at its time.

use std::collections::BTreeMap;

use contracts::{
    ApprovalId,
    approval::{StepKind, TicketApproval},
    event::Stopped,
};
use proptest::{collection::vec, prelude::*};

use super::{
    approvals::{held, released},
    *,
};

#[derive(Debug, Clone)]
enum Happens {
    /// One more is asked for.
    Request,
    /// People release one, or send it back to be decided anew, or end it.
    Decide(usize),
    Amend(usize),
    End(usize),
    /// The kill switch is turned.
    Turn,
    /// The ticket is taken out of what software may do, or is back.
    OptOut,
    /// Committed events from here, so many, are delivered, perhaps backwards.
    Deliver {
        from: usize,
        count: usize,
        backwards: bool,
    },
    /// An envelope that was sent once is sent again.
    Again(usize),
    /// Time passes and the follower does what is due.
    Run {
        seconds: i64,
    },
    /// The next calls fail, or their answers are lost after they took effect.
    Fail {
        calls: usize,
        after_effect: bool,
    },
    /// The run continues as a new one.
    Continue,
    /// Somebody asks for a resync.
    Resync,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => Just(Happens::Request),
        4 => (0..4_usize).prop_map(Happens::Decide),
        1 => (0..4_usize).prop_map(Happens::Amend),
        1 => (0..4_usize).prop_map(Happens::End),
        2 => Just(Happens::Turn),
        2 => Just(Happens::OptOut),
        8 => (0..20_usize, 1..5_usize, any::<bool>())
            .prop_map(|(from, count, backwards)| Happens::Deliver { from, count, backwards }),
        2 => (0..12_usize).prop_map(Happens::Again),
        8 => (0..15_i64).prop_map(|seconds| Happens::Run { seconds }),
        2 => (1..4_usize, any::<bool>())
            .prop_map(|(calls, after_effect)| Happens::Fail { calls, after_effect }),
        1 => Just(Happens::Continue),
        1 => Just(Happens::Resync),
    ]
}

/// How an approval ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Executed,
    Expired,
    ByPeople,
}

/// dispatch-api and its database.
struct World {
    follower: TicketFollower,
    now: i64,
    events: Vec<SignalEvent>,
    open: Vec<TicketApproval>,
    ended: BTreeMap<ApprovalId, End>,
    engaged: bool,
    generation: u64,
    opted_out: bool,
    version: u64,
    sent: Vec<SignalEnvelope>,
    failing: usize,
    after_effect: bool,
    /// Steps that took effect, with the moment that the plan names.
    steps: Vec<(ApprovalId, u32, StepKind)>,
}

/// With time enough for a gap that is waited for and for a pause between two tries.
fn asked(id: u128, moment: i64) -> TicketApproval {
    let mut approval = held(id, moment);
    let expiry = approval.steps.last_mut().expect("it expires");
    expiry.at = at(moment + 300);
    approval
}

/// The gap's patience, and the longest pause with its jitter.
const SOON: i64 = 60;

fn follower_of_versions() -> TicketFollower {
    let mut follower = follower();
    follower.follow_versions(true);
    follower
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            follower: follower_of_versions(),
            now: 0,
            events: Vec::new(),
            open: Vec::new(),
            ended: BTreeMap::new(),
            engaged: false,
            generation: 0,
            opted_out: false,
            version: 1,
            sent: Vec::new(),
            failing: 0,
            after_effect: false,
            steps: Vec::new(),
        };
        world.commit();
        world
    }

    fn level(&self) -> TicketLevel {
        let mut level = level(TicketState::OnSite, self.version);
        level.approvals.clone_from(&self.open);
        level.kill_generation = self.generation;
        level.stopped = self.engaged.then_some(Stopped {
            all: true,
            operations: Vec::new(),
        });
        level
    }

    fn commit(&mut self) {
        let seq = self.events.len() as u64 + 1;
        self.events.push(event(0, seq, self.level()));
    }

    fn head(&self) -> &SignalEvent {
        self.events.last().expect("there is always a first event")
    }

    fn send(&mut self, envelope: SignalEnvelope) {
        self.sent.push(envelope.clone());
        self.follower.receive(envelope, at(self.now));
    }

    fn resync(&mut self) {
        let mut envelope = envelope(1, []);
        envelope.resync = true;
        self.send(envelope);
    }

    fn happen(&mut self, what: Happens) {
        match what {
            Happens::Request => {
                let id = self.open.len() + self.ended.len() + 1;
                self.open.push(asked(id as u128, self.now));
                self.commit();
            }
            Happens::Decide(n) => {
                if let Some(it) = self.open.get_mut(n).filter(|it| !it.released) {
                    *it = released(it.clone());
                    self.commit();
                }
            }
            Happens::Amend(n) => {
                let now = self.now;
                if let Some(it) = self.open.get_mut(n).filter(|it| !it.released) {
                    it.version += 1;
                    it.steps = asked(0, now).steps;
                    self.commit();
                }
            }
            Happens::End(n) => {
                if n < self.open.len() {
                    let it = self.open.remove(n);
                    self.ended.insert(it.id, End::ByPeople);
                    self.commit();
                }
            }
            // The relay tells of it by a resync, which is not an event.
            Happens::Turn => {
                self.engaged = !self.engaged;
                self.generation += 1;
                self.resync();
            }
            Happens::OptOut => {
                self.opted_out = !self.opted_out;
                self.version += 1;
                self.commit();
            }
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
                self.send(envelope(1, events));
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
            Happens::Resync => self.resync(),
        }
    }

    /// Does what the follower asks for until it waits; answers when it wants to be woken.
    fn run(&mut self) -> Option<DateTime<Utc>> {
        let now = at(self.now);
        for _ in 0..200 {
            match self.follower.next_step(now) {
                Step::Wait(until) => {
                    assert!(until.is_none_or(|at| at > now), "must wait for the future");
                    return until;
                }
                Step::Snapshot(_) => {
                    let answer = self.answer(|world| SnapshotOutcome::Found {
                        snapshot: Box::new(TicketSnapshot {
                            epoch: 1,
                            head_seq: world.head().seq,
                            head_event_id: Some(world.head().event_id),
                            level: world.level(),
                            sla_recorded: Vec::new(),
                            proposed: Vec::new(),
                            escalated: Vec::new(),
                        }),
                    });
                    self.follower.on_snapshot(answer, now);
                }
                Step::TakeApprovalStep(call) => {
                    assert!(call.at <= now, "before its time: {call:?}");
                    let answer = self.answer(|world| world.step(&call));
                    self.follower.on_approval_step(&call, answer, now);
                }
                Step::CarryOut(call) => {
                    let known = self.follower.level().unwrap().clone();
                    let released = |it: &TicketApproval| {
                        it.id == call.approval_id && it.version == call.version && it.released
                    };
                    assert!(
                        known.approvals.iter().any(released),
                        "not released: {call:?}"
                    );
                    assert_eq!(known.stopped, None, "stopped: {call:?}");
                    let answer = self.answer(|world| world.carry_out(&call));
                    self.follower.on_carried_out(&call, answer, now);
                }
                other => panic!("nothing else is due: {other:?}"),
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

    fn position(&self, id: ApprovalId, version: u32) -> Option<usize> {
        let is_meant = |it: &TicketApproval| it.id == id && it.version == version;
        self.open.iter().position(is_meant)
    }

    fn step(&mut self, call: &ApprovalStepCall) -> Outcome {
        let found = self.position(call.approval_id, call.version);
        let next = found.filter(|n| {
            let next = self.open[*n].steps.first();
            next.is_some_and(|next| (next.step, next.at) == (call.step, call.at))
        });
        let Some(n) = next else {
            // ALREADY_DECIDED
            return Outcome::Recorded;
        };
        self.steps.push((call.approval_id, call.version, call.step));
        self.open[n].steps.remove(0);
        if call.step == StepKind::Expiry {
            let it = self.open.remove(n);
            self.ended.insert(it.id, End::Expired);
        }
        self.commit();
        Outcome::Recorded
    }

    fn carry_out(&mut self, call: &CarryOutCall) -> Outcome {
        let Some(n) = self.position(call.approval_id, call.version) else {
            return Outcome::Moot {
                reason: "ALREADY_DECIDED".into(),
            };
        };
        assert!(self.open[n].released, "not released: {call:?}");
        if self.engaged {
            return Outcome::Held {
                reason: "KILL_SWITCH".into(),
            };
        }
        if self.opted_out {
            return Outcome::Held {
                reason: "STAGE".into(),
            };
        }
        let it = self.open.remove(n);
        let before = self.ended.insert(it.id, End::Executed);
        assert_eq!(before, None, "carried out after its end: {call:?}");
        self.commit();
        Outcome::Recorded
    }
}

proptest! {
    #[test]
    fn what_is_released_is_carried_out_once_and_nothing_else(
        story in vec(happens(), 0..60), all_arrives: bool,
    ) {
        let mut world = World::new();
        for what in story {
            world.happen(what);
        }
        // In the end the switch is released, the ticket is back, and the last event arrives.
        world.failing = 0;
        if world.engaged {
            world.happen(Happens::Turn);
        }
        if world.opted_out {
            world.happen(Happens::OptOut);
        }
        let owed: Vec<_> = world.open.iter().filter(|it| it.released).map(|it| it.id).collect();
        let expiry = |it: &TicketApproval| it.steps.last().map(|step| step.at);
        let in_time: Vec<_> = world
            .open
            .iter()
            .filter(|it| it.released && expiry(it) > Some(at(world.now + SOON)))
            .map(|it| it.id)
            .collect();
        world.commit();
        let mut rests = false;
        for _ in 0..200 {
            // Delivery is at least once: whatever was lost before, the newest event arrives, by itself
            // or after all that were before it.
            let count = match all_arrives {
                true => world.events.len(),
                false => 1,
            };
            let from = world.events.len() - count;
            world.happen(Happens::Deliver { from, count, backwards: false });
            let head = world.head().seq;
            let wake = world.run();
            if world.head().seq > head {
                continue;
            }
            match wake {
                Some(wake) => world.now = world.now.max((wake - at(0)).num_seconds()) + 1,
                None => { rests = true; break; }
            }
        }
        prop_assert!(rests, "the follower never comes to rest");
        prop_assert_eq!(&world.open, &[], "every approval has an end");
        for id in owed {
            let end = world.ended[&id];
            prop_assert!(end == End::Executed || !in_time.contains(&id), "{} {:?}", id, end);
        }
        // Each step of each version once, and none after the expiry.
        let mut steps = world.steps.clone();
        steps.sort();
        steps.dedup();
        prop_assert_eq!(steps.len(), world.steps.len());
        prop_assert_eq!(world.follower.view().level, Some(world.level()));
    }
}
