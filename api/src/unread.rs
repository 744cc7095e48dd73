//! Guardrails that could not be read, round after round: while nobody knows how software does, it goes
//! on as before. So an operator is told, and after a while the stage goes back by itself.
//!
//! Each process knows of the rounds that it answers. One that answers none any more forgets them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use contracts::{TenantId, autonomy::StageSetting};
use tokio::time::Instant;

/// Who was not asked for so long answers no rounds any more: another process does, or nobody.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Which guardrail: a stage at a version, whose tenant.
type Key = (TenantId, String, u64);

/// What could not be read.
#[derive(Debug)]
pub struct Unread {
    missed: Mutex<BTreeMap<Key, Missed>>,
    too_long: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Missed {
    first: Instant,
    last: Instant,
}

impl Unread {
    /// With how long one may go unread. A round comes every 15 seconds, and asks again when it was not
    /// answered: how often one was asked for says nothing.
    pub fn new(too_long: Duration) -> Self {
        Self {
            missed: Mutex::default(),
            too_long,
        }
    }

    /// It was read.
    pub fn was_read(&self, tenant: TenantId, stage: &StageSetting) {
        self.all().remove(&key(tenant, stage));
    }

    /// It was not. Whether that has been so for too long.
    pub fn was_missed(&self, tenant: TenantId, stage: &StageSetting) -> bool {
        let now = Instant::now();
        let mut all = self.all();
        all.retain(|_, missed| missed.last.elapsed() < FORGOTTEN);
        let missed = all.entry(key(tenant, stage)).or_insert(Missed {
            first: now,
            last: now,
        });
        missed.last = now;
        missed.first.elapsed() >= self.too_long
    }

    /// Since when the one that was missed for longest is; zero while all are read.
    pub fn longest(&self) -> Duration {
        let mut all = self.all();
        all.retain(|_, missed| missed.last.elapsed() < FORGOTTEN);
        let longest = all.values().map(|missed| missed.first.elapsed()).max();
        longest.unwrap_or_default()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Key, Missed>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(tenant: TenantId, stage: &StageSetting) -> Key {
    (tenant, stage.target.key(), stage.version)
}

#[cfg(test)]
mod tests {
    use contracts::{Operation, autonomy::StageTarget, event::AutonomyMode};
    use uuid::Uuid;

    use super::*;

    const TOO_LONG: Duration = Duration::from_secs(300);

    fn stage(version: u64) -> StageSetting {
        StageSetting {
            target: StageTarget {
                operation: Operation::Triage,
                risk: None,
            },
            mode: AutonomyMode::Auto,
            percent: None,
            version,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_missed_in_each_round_is_too_much_after_a_while() {
        let tenant = TenantId::from_uuid(Uuid::nil());
        let unread = Unread::new(TOO_LONG);
        let round = Duration::from_secs(15);
        for _ in 0..20 {
            for _ in 0..3 {
                assert!(!unread.was_missed(tenant, &stage(1)), "asked again");
            }
            tokio::time::advance(round).await;
        }
        assert_eq!(unread.longest(), TOO_LONG);
        assert!(
            !unread.was_missed(tenant, &stage(2)),
            "another version begins anew"
        );
        assert!(unread.was_missed(tenant, &stage(1)));
        assert!(unread.was_missed(tenant, &stage(1)), "until it went back");
        unread.was_read(tenant, &stage(1));
        unread.was_read(tenant, &stage(2));
        assert_eq!(unread.longest(), Duration::ZERO);
        assert!(!unread.was_missed(tenant, &stage(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_process_asks_for_now_is_forgotten() {
        let tenant = TenantId::from_uuid(Uuid::nil());
        let unread = Unread::new(TOO_LONG);
        unread.was_missed(tenant, &stage(1));
        tokio::time::advance(FORGOTTEN).await;
        assert_eq!(unread.longest(), Duration::ZERO);
        // Nor does what was missed long ago add up.
        for _ in 0..10 {
            assert!(!unread.was_missed(tenant, &stage(1)));
            tokio::time::advance(FORGOTTEN).await;
        }
    }
}
