//! How much of something a tenant uses, without a counter that all its commands would wait for.
//!
//! It is measured now and then, beside the commands; what this process adds meanwhile is added here.
//! So it is soft by what other processes add between two measurements. Those are further apart the
//! longer it would take to use up what is left, and where a measurement takes long.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// The most often that a tenant is measured, and the least often while it adds.
const SOONEST: Duration = Duration::from_secs(2);
const LATEST: Duration = Duration::from_secs(60);
/// How many times as long as a measurement took is waited until the next.
const REST: u32 = 50;
/// As many processes as this are thought to add at their full rate.
const OTHERS: u64 = 4;

/// What is used of one quota of one tenant.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    measured: Option<Measured>,
    measuring: bool,
    /// Since the measurement began.
    added: i64,
    /// Rises with each measurement.
    generation: u64,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    value: u64,
    at: Instant,
    took: Duration,
}

/// What is used and what may be: more would be too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// Used.
    pub used: u64,
    /// At most.
    pub limit: u64,
}

impl Gauge {
    /// Used as far as is known; `None` before the first measurement.
    pub(super) fn used(&self) -> Option<u64> {
        self.state().used()
    }

    /// Whether it is to be measured now, by whoever is told so. `per_second` can be used up in a second.
    pub(super) fn wants_measuring(&self, limit: u64, per_second: u64, now: Instant) -> bool {
        let mut state = self.state();
        let due = match (state.measured, state.used()) {
            (Some(measured), Some(used)) => {
                let left = limit.saturating_sub(used);
                let lasts = left / per_second.saturating_mul(OTHERS).max(1);
                let fresh = Duration::from_secs(lasts).clamp(SOONEST, LATEST);
                now >= measured.at + fresh.max(measured.took * REST)
            }
            _ => true,
        };
        if state.measuring || !due {
            return false;
        }
        state.measuring = true;
        state.generation += 1;
        true
    }

    /// The measurement, which began when [`wants_measuring`](Self::wants_measuring) was asked: what was
    /// added since then may not be in it. `None` when it failed.
    pub(super) fn measured(&self, value: Option<u64>, before: i64, took: Duration, now: Instant) {
        let mut state = self.state();
        state.measuring = false;
        if let Some(value) = value {
            state.added -= before;
            state.measured = Some(Measured {
                value,
                at: now,
                took,
            });
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// What was added since the last measurement began.
    pub(super) fn added(&self) -> i64 {
        self.state().added
    }

    /// Waits until it was measured once, no longer than this.
    pub(super) async fn known(&self, patience: Duration) {
        let changed = self.changed.notified();
        if self.used().is_none() {
            let _ = tokio::time::timeout(patience, changed).await;
        }
    }

    /// Takes so much, unless that would be too much. Before the first measurement everything passes.
    pub(super) fn claim(self: &Arc<Self>, amount: u64, limit: u64) -> Result<Booking, Full> {
        let mut state = self.state();
        if let Some(used) = state.used()
            && used.saturating_add(amount) > limit
        {
            return Err(Full { used, limit });
        }
        state.added += i64::try_from(amount).unwrap_or(i64::MAX);
        let generation = state.generation;
        drop(state);
        Ok(Booking {
            gauge: Some(Arc::clone(self)),
            amount,
            generation,
        })
    }

    /// So much is used more, or less, whatever the limit is.
    pub(super) fn add(&self, amount: i64) {
        let mut state = self.state();
        state.added = state.added.saturating_add(amount);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn used(&self) -> Option<u64> {
        let measured = self.measured?;
        Some(measured.value.saturating_add_signed(self.added))
    }
}

/// What a command is about to use. It is given back unless the command kept it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Booking {
    gauge: Option<Arc<Gauge>>,
    amount: u64,
    generation: u64,
}

impl Booking {
    /// It is used.
    pub(crate) fn keep(mut self) {
        self.gauge = None;
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        let Some(gauge) = self.gauge.take() else {
            return;
        };
        let mut state = gauge.state();
        // A newer measurement does not have it.
        if state.generation == self.generation {
            state.added -= i64::try_from(self.amount).unwrap_or(i64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(value: u64) -> Arc<Gauge> {
        let gauge = Arc::new(Gauge::default());
        let now = Instant::now();
        assert!(gauge.wants_measuring(100, 1, now));
        gauge.measured(Some(value), 0, Duration::ZERO, now);
        gauge
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_claimed_counts_unless_it_is_given_back() {
        let gauge = measured(8);
        gauge.claim(1, 10).unwrap().keep();
        let held = gauge.claim(1, 10).unwrap();
        let full = gauge.claim(1, 10).unwrap_err();
        assert_eq!((full.used, full.limit), (10, 10));
        drop(held);
        assert_eq!(gauge.used(), Some(9));
        gauge.add(-3);
        assert_eq!(gauge.used(), Some(6));
        // A limit below what is used takes nothing away and lets nothing in.
        assert!(gauge.claim(1, 3).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_measurement_replaces_what_was_added_before_it() {
        let gauge = measured(0);
        gauge.claim(4, 100).unwrap().keep();
        let late = gauge.claim(1, 100).unwrap();
        let later = Instant::now() + LATEST;
        assert!(gauge.wants_measuring(100, 1, later));
        let before = gauge.added();
        assert!(!gauge.wants_measuring(100, 1, later), "one at a time");
        gauge.claim(2, 100).unwrap().keep();
        gauge.measured(Some(5), before, Duration::ZERO, later);
        assert_eq!(gauge.used(), Some(7));
        drop(late);
        assert_eq!(gauge.used(), Some(7), "the measurement did not have it");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_measured_more_often_the_less_is_left() {
        let at = |used: u64, after: u64| {
            let gauge = measured(used);
            gauge.wants_measuring(1_000, 10, Instant::now() + Duration::from_secs(after))
        };
        // 1,000 are left, at forty a second: for 25 seconds.
        assert!(!at(0, 24) && at(0, 25));
        assert!(!at(990, 1) && at(990, 2));
        let slow = Arc::new(Gauge::default());
        let now = Instant::now();
        assert!(slow.wants_measuring(10, 10, now));
        slow.measured(Some(10), 0, Duration::from_secs(1), now);
        assert!(!slow.wants_measuring(10, 10, now + Duration::from_secs(49)));
        assert!(slow.wants_measuring(10, 10, now + Duration::from_secs(50)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_measurement_that_failed_leaves_what_was_known() {
        let gauge = measured(3);
        let later = Instant::now() + LATEST;
        assert!(gauge.wants_measuring(10, 1, later));
        gauge.measured(None, 0, Duration::ZERO, later);
        assert_eq!(gauge.used(), Some(3));
        assert!(gauge.wants_measuring(10, 1, later), "and is tried again");
    }

    #[tokio::test(start_paused = true)]
    async fn before_the_first_measurement_everything_passes_and_nobody_waits_for_long() {
        let gauge = Arc::new(Gauge::default());
        let begun = Instant::now();
        gauge.known(Duration::from_secs(1)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        gauge.claim(5, 1).unwrap().keep();
        assert_eq!(gauge.used(), None);
    }
}
