//! Exponential backoff with jitter; the randomness comes in as a number.

use std::time::Duration;

/// Doubles from `first` up to `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// Never longer than this, jitter included.
    pub most: Duration,
}

impl Backoff {
    /// How long to wait after the `failures`-th failure in a row (1 for the first). `jitter` in
    /// 0..1 takes up to half away, so that many waiters do not come back at the same instant.
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let full = self.first.saturating_mul(1_u32 << doublings).min(self.most);
        full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_millis(200),
        most: Duration::from_secs(5),
    };

    #[test]
    fn it_doubles_up_to_its_limit() {
        let delays: Vec<_> = [1, 2, 3, 6, 1000]
            .into_iter()
            .map(|n| BACKOFF.delay(n, 0.0).as_millis())
            .collect();
        assert_eq!(delays, [200, 400, 800, 5000, 5000]);
    }

    proptest! {
        #[test]
        fn jitter_stays_in_the_upper_half(failures in 1..u32::MAX, jitter in 0.0..1.0_f64) {
            let (least, delay) = (BACKOFF.delay(failures, 1.0), BACKOFF.delay(failures, jitter));
            prop_assert!(delay >= least && delay <= BACKOFF.delay(failures, 0.0));
            prop_assert!(delay <= BACKOFF.most && !delay.is_zero());
        }
    }
}
