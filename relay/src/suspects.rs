//! Tickets that may differ from their workflow, and whose turn it is.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use contracts::ids::*;

/// Names a ticket.
pub type Key = (TenantId, TicketId);

/// A workflow that does not end although it was told is told again after ever longer pauses: while
/// no worker runs, signals would only pile up.
const MOST_PATIENCE: Duration = Duration::from_secs(600);

/// What a look at one ticket found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Both sides agree, or do now.
    Well,
    /// Its newest event is on its way, or it could not be asked: too early to judge.
    TooEarly,
    /// Its workflow was told to end.
    Told,
}

/// The suspects of one relay.
#[derive(Debug)]
pub struct Suspects {
    interval: Duration,
    known: HashMap<Key, Suspect>,
}

#[derive(Debug, Clone, Copy)]
struct Suspect {
    again_at: Instant,
    /// How long to wait after the next telling; grows.
    patience: Duration,
}

impl Suspects {
    /// None yet; `interval` lies between two rounds.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            known: HashMap::new(),
        }
    }

    /// Adds these; those that are known already keep their turn.
    pub fn add<'a>(&mut self, keys: impl IntoIterator<Item = &'a Key>, now: Instant) {
        for key in keys {
            self.known.entry(*key).or_insert(Suspect {
                again_at: now,
                patience: self.interval,
            });
        }
    }

    /// Forgets all others.
    pub fn keep(&mut self, ours: impl Fn(TicketId) -> bool) {
        self.known.retain(|(_, ticket), _| ours(*ticket));
    }

    /// Whose turn has come, at most `most`, those in `first` before the others; and whether there
    /// were more.
    pub fn due(&self, first: &HashSet<Key>, most: usize, now: Instant) -> (Vec<Key>, bool) {
        let due = self.known.iter().filter(|(_, s)| s.again_at <= now);
        let (mut due, others): (Vec<Key>, Vec<Key>) = due
            .map(|(key, _)| *key)
            .partition(|key| first.contains(key));
        due.extend(others);
        let more = due.len() > most;
        due.truncate(most);
        (due, more)
    }

    /// How long a workflow that is told now has to end.
    pub fn patience(&self, key: Key) -> Duration {
        self.known.get(&key).map_or(self.interval, |s| s.patience)
    }

    /// Takes note of what a look found.
    pub fn conclude(&mut self, key: Key, verdict: Finding, now: Instant) {
        let Some(suspect) = self.known.get_mut(&key) else {
            return;
        };
        match verdict {
            Finding::Well => {
                self.known.remove(&key);
            }
            // In time for the next round.
            Finding::TooEarly => suspect.again_at = now + self.interval / 2,
            Finding::Told => {
                suspect.again_at = now + suspect.patience;
                suspect.patience = (suspect.patience * 2).min(MOST_PATIENCE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const ROUND: Duration = Duration::from_secs(10);

    fn key(n: u128) -> Key {
        let tenant = TenantId::from_uuid(Uuid::from_u128(1));
        (tenant, TicketId::from_uuid(Uuid::from_u128(n)))
    }

    fn due(suspects: &Suspects, now: Instant) -> Vec<Key> {
        suspects.due(&HashSet::new(), 100, now).0
    }

    #[test]
    fn who_is_well_is_forgotten_and_who_could_not_be_judged_is_not() {
        let (now, mut suspects) = (Instant::now(), Suspects::new(ROUND));
        suspects.add(&[key(1), key(2)], now);
        suspects.conclude(key(1), Finding::Well, now);
        suspects.conclude(key(2), Finding::TooEarly, now);
        assert_eq!(due(&suspects, now), []);
        assert_eq!(due(&suspects, now + ROUND), [key(2)]);
    }

    #[test]
    fn who_was_told_gets_more_and_more_time() {
        let (mut now, mut suspects) = (Instant::now(), Suspects::new(ROUND));
        suspects.add(&[key(1)], now);
        for pause in [10, 20, 40, 80, 160, 320, 600, 600] {
            assert_eq!(due(&suspects, now), [key(1)]);
            suspects.conclude(key(1), Finding::Told, now);
            // Found again by every round meanwhile.
            suspects.add(&[key(1)], now);
            now += Duration::from_secs(pause) - Duration::from_millis(1);
            assert_eq!(due(&suspects, now), []);
            now += Duration::from_millis(1);
        }
    }

    #[test]
    fn the_urgent_come_first_and_the_rest_is_announced() {
        let (now, mut suspects) = (Instant::now(), Suspects::new(ROUND));
        let all: Vec<Key> = (1..=50).map(key).collect();
        suspects.add(&all, now);
        let urgent = HashSet::from([key(49), key(50)]);
        let (due, more) = suspects.due(&urgent, 10, now);
        assert!(more && due.len() == 10);
        assert_eq!(HashSet::from_iter(due[..2].iter().copied()), urgent);
        assert!(!suspects.due(&urgent, 50, now).1);
    }

    #[test]
    fn a_partition_that_went_takes_its_suspects_along() {
        let (now, mut suspects) = (Instant::now(), Suspects::new(ROUND));
        suspects.add(&[key(1), key(2)], now);
        suspects.keep(|ticket| ticket == key(2).1);
        assert_eq!(due(&suspects, now), [key(2)]);
    }
}
