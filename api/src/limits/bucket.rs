//! A rate, kept: so many at once, and so many a second from then on (GCRA, by `governor`).

use std::num::NonZeroU32;

use contracts::tenant::Rate;
use governor::{
    InsufficientCapacity, Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};

/// What is left of a rate. The clock is a parameter, so that tests turn it.
#[derive(Debug)]
pub(super) struct Bucket<C: Clock = MonotonicClock> {
    limiter: RateLimiter<NotKeyed, InMemoryState, C, StateInformationMiddleware>,
    clock: C,
    rate: Rate,
}

/// How a bucket stands after somebody asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// What is kept.
    pub rate: Rate,
    /// How many more may come at once.
    pub remaining: u32,
    /// In how many seconds all of it is there again; of a refusal, when to ask again.
    pub reset_seconds: u64,
}

impl<C: Clock + Clone> Bucket<C> {
    pub(super) fn new(rate: Rate, clock: C) -> Self {
        // Nothing is a rate of nothing: what is configured and set is at least one.
        let [per_second, burst] =
            [rate.per_second, rate.burst].map(|n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN));
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self {
            limiter: RateLimiter::direct_with_clock(quota, clock.clone()).with_middleware(),
            clock,
            rate: Rate {
                per_second: per_second.get(),
                burst: burst.get(),
            },
        }
    }

    /// Takes so many, all or none. More than ever come at once take all there is.
    pub(super) fn take(&self, wanted: NonZeroU32) -> Result<Standing, Standing> {
        let all = match self.limiter.check_n(wanted) {
            Ok(taken) => taken,
            Err(InsufficientCapacity(most)) => {
                let most = NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN);
                match self.limiter.check_n(most) {
                    Ok(taken) => taken,
                    // A bucket holds what it says that it holds.
                    Err(InsufficientCapacity(_)) => self.limiter.check(),
                }
            }
        };
        match all {
            Ok(snapshot) => {
                let remaining = snapshot.remaining_burst_capacity();
                let missing = self.rate.burst.saturating_sub(remaining);
                Ok(Standing {
                    rate: self.rate,
                    remaining,
                    reset_seconds: missing.div_ceil(self.rate.per_second).into(),
                })
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now());
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                Err(Standing {
                    rate: self.rate,
                    remaining: 0,
                    reset_seconds: seconds.max(1),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn bucket(per_second: u32, burst: u32) -> (Bucket<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let rate = Rate { per_second, burst };
        (Bucket::new(rate, clock.clone()), clock)
    }

    #[test]
    fn what_is_left_falls_and_comes_back() {
        let (bucket, clock) = bucket(10, 30);
        for taken in 1..=30 {
            let standing = bucket.take(ONE).unwrap();
            assert_eq!(standing.remaining, 30 - taken);
            assert_eq!(standing.reset_seconds, u64::from(taken.div_ceil(10)));
        }
        let refused = bucket.take(ONE).unwrap_err();
        assert_eq!((refused.remaining, refused.reset_seconds), (0, 1));
        clock.advance(Duration::from_millis(99));
        assert!(bucket.take(ONE).is_err());
        clock.advance(Duration::from_millis(1));
        assert_eq!(bucket.take(ONE).unwrap().remaining, 0);
        // After long silence no more than all of it.
        clock.advance(Duration::from_secs(3_600));
        assert_eq!(bucket.take(ONE).unwrap().remaining, 29);
    }

    #[test]
    fn whoever_comes_when_told_to_is_let_in() {
        let (bucket, clock) = bucket(3, 2);
        loop {
            let Err(refused) = bucket.take(ONE) else {
                continue;
            };
            clock.advance(Duration::from_secs(refused.reset_seconds));
            assert!(bucket.take(ONE).is_ok());
            break;
        }
    }

    #[test]
    fn many_are_taken_together_or_not_at_all() {
        let (bucket, clock) = bucket(10, 10);
        let [six, hundred] = [6, 100].map(|n| NonZeroU32::new(n).unwrap());
        assert_eq!(bucket.take(six).unwrap().remaining, 4);
        assert_eq!(bucket.take(six).unwrap_err().reset_seconds, 1);
        assert_eq!(bucket.take(ONE).unwrap().remaining, 3);
        // What is larger than the bucket waits for a full one, and empties it.
        assert!(bucket.take(hundred).is_err());
        clock.advance(Duration::from_secs(1));
        assert_eq!(bucket.take(hundred).unwrap().remaining, 0);
    }

    proptest! {
        /// However they come: never more than the burst and what has come back since.
        #[test]
        fn never_more_than_burst_and_rate(
            per_second in 1_u32..500,
            burst in 1_u32..500,
            steps in prop::collection::vec((0_u64..400, 1_u32..20), 1..300),
        ) {
            let (bucket, clock) = bucket(per_second, burst);
            let (mut millis, mut passed) = (0_u64, 0_u64);
            for (pause, wanted) in steps {
                clock.advance(Duration::from_millis(pause));
                millis += pause;
                for _ in 0..wanted {
                    passed += u64::from(bucket.take(ONE).is_ok());
                }
                let most = u64::from(burst) + (u64::from(per_second) * millis).div_ceil(1_000);
                prop_assert!(passed <= most, "{passed} of {most} after {millis} ms");
            }
            // And no less, for whoever asks often enough: nothing is lost at the edge.
            clock.advance(Duration::from_secs(u64::from(burst.div_ceil(per_second)) + 1));
            let again = (0..burst).filter(|_| bucket.take(ONE).is_ok()).count();
            prop_assert_eq!(again, burst as usize);
        }
    }
}
