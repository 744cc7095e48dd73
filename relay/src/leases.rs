//! Who delivers which partitions.
//!
//! Each ticket belongs to one of [`PARTITIONS`] partitions (by a hash of its id), and each
//! partition to at most one relay at a time: a row with a holder, an epoch that rises with every
//! change of hands, and an expiry on the database's clock. Without this two relays would race for
//! the same rows and reorder a ticket's events.
//!
//! A lease is an optimisation, not the safety. A relay that lost one and does not know it may send
//! what its successor sends too, earlier or later: the workflow's `applied_seq` makes that
//! harmless. That is also why marking rows as delivered asks for no lease: whoever sent them, they
//! were sent. The lease is looked at before each signal, so a relay that was paused past its expiry
//! goes quiet by itself.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use sqlx::PgPool;
use store::{leases, outbox::PARTITIONS};
use uuid::Uuid;

/// The partitions this relay believes to hold.
#[derive(Debug)]
pub struct Leases {
    holder: Uuid,
    ttl: Duration,
    /// Until when, by our own clock.
    held: RwLock<BTreeMap<u8, Instant>>,
}

/// What one round changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// Partitions that are ours now and were not before.
    pub gained: Vec<u8>,
    /// Partitions that were ours and are no more.
    pub lost: Vec<u8>,
    /// Live relays, this one included.
    pub live: usize,
}

/// What a relay does in one round to hold its fair share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// It holds the share already.
    Stay,
    /// It gives up this many.
    GiveUp(usize),
    /// It takes up to this many that are free.
    Take(usize),
}

/// The move of one of `live` relays (itself included) that holds `held` partitions.
pub fn fair_move(held: usize, live: usize) -> Move {
    let share = usize::from(PARTITIONS).div_ceil(live.max(1));
    match held.checked_sub(share) {
        Some(0) => Move::Stay,
        Some(surplus) => Move::GiveUp(surplus),
        None => Move::Take(share - held),
    }
}

impl Leases {
    /// No partitions yet. `holder` names this process, a new one each start.
    pub fn new(holder: Uuid, ttl: Duration) -> Self {
        Self {
            holder,
            ttl,
            held: RwLock::default(),
        }
    }

    /// Whether the partition is ours at `now`.
    pub fn holds(&self, partition: u8, now: Instant) -> bool {
        self.read()
            .get(&partition)
            .is_some_and(|until| now < *until)
    }

    /// Our partitions at `now`, in order.
    pub fn held(&self, now: Instant) -> Vec<u8> {
        let held = self.read();
        let valid = held.iter().filter(|(_, until)| now < **until);
        valid.map(|(partition, _)| *partition).collect()
    }

    /// Renews ours, gives up what is above our share, takes what is free below it.
    pub async fn round(&self, pool: &PgPool, now: Instant) -> Result<Round, store::Error> {
        // From the moment of asking, so that our clock ends a lease before the database's does.
        let until = now + self.ttl;
        let before = self.held(now);
        let live = leases::announce(pool, self.holder, self.ttl).await?;
        let mut ours = leases::renew(pool, self.holder, self.ttl).await?;
        match fair_move(ours.len(), live) {
            Move::Stay => {}
            Move::GiveUp(surplus) => {
                let given_up = ours.split_off(ours.len() - surplus);
                // First in here, so that nothing more is sent; then for the others to see.
                self.replace(&ours, until);
                leases::release(pool, self.holder, &given_up).await?;
            }
            Move::Take(most) => {
                ours.extend(leases::acquire(pool, self.holder, self.ttl, most).await?);
            }
        }
        self.replace(&ours, until);
        let without = |a: &[u8], b: &[u8]| a.iter().filter(|p| !b.contains(p)).copied().collect();
        Ok(Round {
            gained: without(&ours, &before),
            lost: without(&before, &ours),
            live,
        })
    }

    /// Gives everything back, so that another relay need not wait for the expiry.
    pub async fn release_all(&self, pool: &PgPool) -> Result<(), store::Error> {
        let ours: Vec<u8> = {
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *held).into_keys().collect()
        };
        leases::release(pool, self.holder, &ours).await?;
        leases::leave(pool, self.holder).await
    }

    fn replace(&self, ours: &[u8], until: Instant) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        *held = ours.iter().map(|partition| (*partition, until)).collect();
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u8, Instant>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn a_lease_ends_by_our_own_clock() {
        let now = Instant::now();
        let leases = Leases::new(Uuid::nil(), TTL);
        leases.replace(&[5], now + TTL);
        assert!(leases.holds(5, now) && !leases.holds(6, now));
        assert_eq!(leases.held(now), [5]);
        assert!(!leases.holds(5, now + TTL));
        assert!(leases.held(now + TTL).is_empty());
    }

    proptest! {
        /// The rounds of any number of relays, in any order, end with every partition held and
        /// nobody above the share.
        #[test]
        fn rounds_converge_to_fair_shares(
            relays in 1..20_usize,
            mut owner in prop::collection::vec(prop::option::of(0..20_usize), usize::from(PARTITIONS)),
        ) {
            for o in &mut owner {
                *o = o.filter(|o| *o < relays);
            }
            // Two passes: in the first, those above the share may come last.
            for me in (0..relays).chain(0..relays) {
                let held = owner.iter().filter(|o| **o == Some(me)).count();
                let (from, to, most) = match fair_move(held, relays) {
                    Move::Stay => continue,
                    Move::GiveUp(n) => (Some(me), None, n),
                    Move::Take(n) => (None, Some(me), n),
                };
                for o in owner.iter_mut().filter(|o| **o == from).take(most) {
                    *o = to;
                }
            }
            prop_assert!(owner.iter().all(Option::is_some));
            for me in 0..relays {
                let mine = owner.iter().filter(|o| **o == Some(me)).count();
                prop_assert!(mine <= usize::from(PARTITIONS).div_ceil(relays));
            }
        }
    }
}
