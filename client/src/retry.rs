//! How often and how long a call is tried.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Bounds of one call; whichever comes first ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts, the first included.
    pub max_attempts: u32,
    /// Time for all attempts and pauses together.
    pub total: Duration,
    /// Time for one attempt.
    pub attempt: Duration,
    /// Longest pause after the first attempt; doubles with each further one.
    pub first_pause: Duration,
    /// Longest pause at all, unless the server asks for a longer one.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 8,
            total: Duration::from_secs(30),
            attempt: Duration::from_secs(10),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(3),
        }
    }
}

impl RetryPolicy {
    /// One attempt, no second.
    pub fn once() -> Self {
        Self {
            max_attempts: 1,
            ..Self::default()
        }
    }

    /// The pause after attempt number `attempt` (from 1) of a call that has used `elapsed`; `None`
    /// when the call is over. Between half and all of the nominal pause, so that callers that
    /// failed together do not come back together; never less than the server asked for.
    pub(crate) fn pause(
        &self,
        attempt: u32,
        elapsed: Duration,
        asked: Option<Duration>,
        rng: &mut impl Rng,
    ) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let nominal = self
            .first_pause
            .saturating_mul(2_u32.saturating_pow(attempt - 1))
            .min(self.longest_pause);
        let jittered = nominal.mul_f64(rng.random_range(0.5..=1.0));
        let pause = jittered.max(asked.unwrap_or_default());
        (elapsed + pause < self.total).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    const POLICY: RetryPolicy = RetryPolicy {
        max_attempts: 5,
        total: Duration::from_secs(10),
        attempt: Duration::from_secs(1),
        first_pause: Duration::from_millis(100),
        longest_pause: Duration::from_millis(300),
    };

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut rng = StdRng::seed_from_u64(7);
        for (attempt, nominal) in [(1, 100), (2, 200), (3, 300), (4, 300)] {
            let pause = POLICY
                .pause(attempt, Duration::ZERO, None, &mut rng)
                .unwrap()
                .as_millis();
            assert!(
                (nominal / 2..=nominal).contains(&pause),
                "{attempt}: {pause}"
            );
        }
        assert_eq!(POLICY.pause(5, Duration::ZERO, None, &mut rng), None);
    }

    #[test]
    fn the_server_may_ask_for_longer_but_not_beyond_the_total() {
        let mut rng = StdRng::seed_from_u64(7);
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(
            POLICY.pause(1, Duration::ZERO, asked(2), &mut rng),
            asked(2)
        );
        assert_eq!(
            POLICY.pause(1, Duration::from_secs(9), asked(2), &mut rng),
            None
        );
    }
}
