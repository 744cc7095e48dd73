//! The circuit breaker before Temporal.
//!
//! Systemic errors open it: a dead server is asked by one probe at a time instead of by every
//! ticket, and no ticket's tries are used up by an outage. Any answer from the server closes it,
//! a refusal of one ticket too: it shows that the server is there.

use std::time::{Duration, Instant};

use super::backoff::Backoff;

/// How many systemic errors in a row open it: one may be a blip of a single shard.
const THRESHOLD: u32 = 3;

/// Decides who may call.
#[derive(Debug)]
pub struct Breaker {
    backoff: Backoff,
    probe_timeout: Duration,
    state: State,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    /// Nobody may call before `until`.
    Open {
        until: Instant,
    },
    /// One call is under way; it counts as lost at `until`.
    Probing {
        until: Instant,
    },
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Call, like everybody.
    Granted,
    /// Call: yours is the one that finds out.
    Probe,
    /// Do not; ask again at this moment.
    Refused(Instant),
}

impl Breaker {
    /// A closed breaker. A probe that did not report within `probe_timeout` is given up.
    pub fn new(backoff: Backoff, probe_timeout: Duration) -> Self {
        Self {
            backoff,
            probe_timeout,
            state: State::Closed,
            failures: 0,
        }
    }

    /// Asks for one call.
    pub fn ask(&mut self, now: Instant) -> Permission {
        match self.state {
            State::Closed => Permission::Granted,
            State::Open { until } | State::Probing { until } if now < until => {
                Permission::Refused(until)
            }
            State::Open { .. } | State::Probing { .. } => {
                self.state = State::Probing {
                    until: now + self.probe_timeout,
                };
                Permission::Probe
            }
        }
    }

    /// The server answered. True when this closed the breaker.
    pub fn answered(&mut self) -> bool {
        self.failures = 0;
        std::mem::replace(&mut self.state, State::Closed) != State::Closed
    }

    /// A systemic error; `jitter` in 0..1. True when this opened a closed breaker.
    pub fn failed(&mut self, now: Instant, jitter: f64) -> bool {
        let was = self.state;
        // Calls that were under way when it opened fail as well; they tell nothing new.
        if matches!(was, State::Open { until } if now < until) {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        if was == State::Closed && self.failures < THRESHOLD {
            return false;
        }
        let openings = self.failures.saturating_sub(THRESHOLD - 1);
        self.state = State::Open {
            until: now + self.backoff.delay(openings, jitter),
        };
        was == State::Closed
    }

    /// When to ask again; `None` while calls are granted.
    pub fn reopens_at(&self) -> Option<Instant> {
        match self.state {
            State::Closed => None,
            State::Open { until } | State::Probing { until } => Some(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn breaker() -> Breaker {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            most: Duration::from_secs(8),
        };
        Breaker::new(backoff, Duration::from_secs(5))
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = breaker();
        assert!((1..=THRESHOLD).any(|_| breaker.failed(now, 0.0)));
        breaker
    }

    #[test]
    fn a_blip_does_not_open_it() {
        let now = Instant::now();
        let mut breaker = breaker();
        for _ in 0..10 {
            assert!(!breaker.failed(now, 0.0));
            assert!(!breaker.failed(now, 0.0));
            assert!(!breaker.answered());
        }
        assert_eq!(breaker.ask(now), Permission::Granted);
    }

    #[test]
    fn open_it_lets_one_probe_through_at_a_time() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut breaker = opened(now);
        assert_eq!(breaker.ask(now), Permission::Refused(now + second));
        assert_eq!(breaker.ask(now + second), Permission::Probe);
        assert!(matches!(breaker.ask(now + second), Permission::Refused(_)));
        assert!(breaker.answered());
        assert_eq!(breaker.ask(now + second), Permission::Granted);
    }

    #[test]
    fn a_failed_probe_waits_twice_as_long() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let probe = now + Duration::from_secs(1);
        assert_eq!(breaker.ask(probe), Permission::Probe);
        assert!(!breaker.failed(probe, 0.0));
        assert_eq!(breaker.reopens_at(), Some(probe + Duration::from_secs(2)));
    }

    #[test]
    fn a_lost_probe_is_replaced() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let probe = now + Duration::from_secs(1);
        assert_eq!(breaker.ask(probe), Permission::Probe);
        assert_eq!(
            breaker.ask(probe + Duration::from_secs(5)),
            Permission::Probe
        );
    }

    proptest! {
        #[test]
        fn whatever_happens_someone_may_call_again(steps in prop::collection::vec(0..3_u8, 0..200)) {
            let mut now = Instant::now();
            let mut breaker = breaker();
            for step in steps {
                match step {
                    0 => { breaker.failed(now, 0.5); }
                    1 => { breaker.answered(); }
                    _ => { breaker.ask(now); }
                }
                now += Duration::from_millis(700);
            }
            if let Permission::Refused(until) = breaker.ask(now) {
                prop_assert!(until <= now + Duration::from_secs(8));
                prop_assert_eq!(breaker.ask(until), Permission::Probe);
            }
        }
    }
}
