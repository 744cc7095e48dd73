//! How fast refusals leave. A refusal costs its tenant nothing and us some work; whoever sends on
//! without waiting would make us do nothing else. So each of a tenant's refusals leaves a little after
//! the one before it, and whoever waits for answers sends no faster than that. A caller that does as
//! `Retry-After` says does not notice.

use std::time::Duration;

use tokio::time::Instant;

/// Between two refusals of a tenant.
const APART: Duration = Duration::from_millis(5);
/// The longest that a refusal is kept back.
const LONGEST: Duration = Duration::from_secs(2);

/// When a tenant's next refusal may leave.
#[derive(Debug, Default)]
pub(super) struct Pace {
    next: Option<Instant>,
}

impl Pace {
    /// For how long a refusal of this moment is kept back.
    pub(super) fn delay(&mut self, now: Instant) -> Duration {
        let leaves = self.next.map_or(now, |next| next.max(now));
        let delay = (leaves - now).min(LONGEST);
        self.next = Some(now + delay + APART);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_leave_at_once_and_a_flood_in_line() {
        let mut pace = Pace::default();
        let now = Instant::now();
        assert_eq!(pace.delay(now), Duration::ZERO);
        assert_eq!(pace.delay(now), APART);
        assert_eq!(pace.delay(now), 2 * APART);
        assert_eq!(pace.delay(now + 3 * APART), Duration::ZERO);
        for _ in 0..1_000 {
            assert!(pace.delay(now) <= LONGEST);
        }
        assert_eq!(pace.delay(now), LONGEST);
        // It is not held against anybody for longer than it lasted.
        assert_eq!(pace.delay(now + LONGEST + APART), Duration::ZERO);
    }
}
