//! Which ticket may be sent now.
//!
//! One signal per ticket is under way at a time: that keeps its events in order. A ticket whose
//! signal failed waits, longer each time; the others go on.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use contracts::ids::*;

use super::{Backoff, ErrorClass};

/// Names a ticket.
pub type Key = (TenantId, TicketId);

/// How long a ticket that may be sent again is remembered. If its events are still pending they
/// come back long before; if not, another relay has sent them.
const MEMORY: Duration = Duration::from_secs(60);

/// The tickets that are under way or wait.
#[derive(Debug)]
pub struct Tickets {
    backoff: Backoff,
    /// The last event of each signal that is under way.
    under_way: HashMap<Key, u64>,
    waiting: HashMap<Key, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    until: Instant,
    failures: u32,
    class: ErrorClass,
    /// Send events one by one up to this one: among them is one that will never be accepted.
    singly_through: u64,
}

impl Tickets {
    /// None yet.
    pub fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            under_way: HashMap::new(),
            waiting: HashMap::new(),
        }
    }

    /// Those that must not be sent now.
    pub fn to_skip(&self, now: Instant) -> Vec<TicketId> {
        let waiting = self.waiting.iter().filter(|(_, w)| now < w.until);
        let waiting = waiting.map(|((_, ticket), _)| *ticket);
        let under_way = self.under_way.keys().map(|(_, ticket)| *ticket);
        under_way.chain(waiting).collect()
    }

    /// How many events the next signal may carry when it begins with the event `first`.
    pub fn allowance(&self, key: Key, first: u64) -> usize {
        match self.waiting.get(&key) {
            Some(waiting) if first <= waiting.singly_through => 1,
            _ => usize::MAX,
        }
    }

    /// A signal with events up to `through` is under way.
    pub fn sent(&mut self, key: Key, through: u64) {
        self.under_way.insert(key, through);
    }

    /// The signal arrived and its rows are marked.
    pub fn delivered(&mut self, key: Key) {
        let through = self.under_way.remove(&key).unwrap_or(u64::MAX);
        if let Entry::Occupied(mut waiting) = self.waiting.entry(key) {
            if waiting.get().singly_through > through {
                waiting.get_mut().failures = 0;
            } else {
                waiting.remove();
            }
        }
    }

    /// Nothing was sent after all.
    pub fn held_back(&mut self, key: Key) {
        self.under_way.remove(&key);
    }

    /// The signal failed; `jitter` in 0..1. After an event's own fault in a signal of several, the
    /// next ones carry one event each, so that the culprit shows itself.
    pub fn failed(&mut self, key: Key, class: ErrorClass, now: Instant, jitter: f64) {
        let through = self.under_way.remove(&key).unwrap_or(0);
        let waiting = self.waiting.entry(key).or_insert(Waiting {
            until: now,
            failures: 0,
            class,
            singly_through: 0,
        });
        waiting.failures = waiting.failures.saturating_add(1);
        waiting.class = class;
        waiting.until = now + self.backoff.delay(waiting.failures, jitter);
        if class == ErrorClass::Event {
            waiting.singly_through = waiting.singly_through.max(through);
        }
    }

    /// Temporal answers again: whoever waited only for that may be sent at once.
    pub fn outage_is_over(&mut self, now: Instant) {
        for waiting in self.waiting.values_mut() {
            if waiting.class == ErrorClass::Systemic {
                waiting.until = now;
                waiting.failures = 0;
            }
        }
    }

    /// When the next waiting ticket may be sent. Forgets those that could have been sent long ago.
    pub fn next_due(&mut self, now: Instant) -> Option<Instant> {
        self.waiting
            .retain(|_, waiting| now < waiting.until + MEMORY);
        let due = self.waiting.values().map(|waiting| waiting.until);
        due.filter(|until| *until > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const SECOND: Duration = Duration::from_secs(1);

    fn tickets() -> Tickets {
        Tickets::new(Backoff {
            first: SECOND,
            most: 8 * SECOND,
        })
    }

    fn key(n: u128) -> Key {
        (
            TenantId::from_uuid(Uuid::from_u128(1)),
            TicketId::from_uuid(Uuid::from_u128(n)),
        )
    }

    #[test]
    fn a_ticket_is_sent_once_at_a_time() {
        let (now, mut tickets) = (Instant::now(), tickets());
        tickets.sent(key(1), 3);
        assert_eq!(tickets.to_skip(now), [key(1).1]);
        tickets.delivered(key(1));
        assert!(tickets.to_skip(now).is_empty());
        tickets.sent(key(2), 3);
        tickets.held_back(key(2));
        assert!(tickets.to_skip(now).is_empty());
    }

    #[test]
    fn a_failed_ticket_waits_longer_each_time() {
        let (now, mut tickets) = (Instant::now(), tickets());
        tickets.sent(key(1), 1);
        tickets.failed(key(1), ErrorClass::Busy, now, 0.0);
        assert_eq!(tickets.next_due(now), Some(now + SECOND));
        assert_eq!(tickets.to_skip(now), [key(1).1]);
        let later = now + SECOND;
        assert!(tickets.to_skip(later).is_empty());
        assert_eq!(tickets.allowance(key(1), 1), usize::MAX);
        tickets.sent(key(1), 1);
        tickets.failed(key(1), ErrorClass::Busy, later, 0.0);
        assert_eq!(tickets.next_due(later), Some(later + 2 * SECOND));
        tickets.sent(key(1), 1);
        tickets.delivered(key(1));
        assert_eq!(tickets.next_due(later), None);
    }

    #[test]
    fn after_an_events_own_fault_they_go_one_by_one() {
        let (now, mut tickets) = (Instant::now(), tickets());
        tickets.sent(key(1), 3);
        tickets.failed(key(1), ErrorClass::Event, now, 0.0);
        for seq in 1..=3 {
            assert_eq!(tickets.allowance(key(1), seq), 1, "{seq}");
            tickets.sent(key(1), seq);
            tickets.delivered(key(1));
        }
        assert_eq!(tickets.allowance(key(1), 4), usize::MAX);
    }

    #[test]
    fn an_outage_leaves_no_waiting_behind() {
        let (now, mut tickets) = (Instant::now(), tickets());
        for (n, class) in [(1, ErrorClass::Systemic), (2, ErrorClass::Busy)] {
            tickets.sent(key(n), 1);
            tickets.failed(key(n), class, now, 0.0);
        }
        tickets.outage_is_over(now);
        assert_eq!(tickets.to_skip(now), [key(2).1]);
    }

    #[test]
    fn what_another_relay_sent_is_forgotten() {
        let (now, mut tickets) = (Instant::now(), tickets());
        tickets.sent(key(1), 1);
        tickets.failed(key(1), ErrorClass::Event, now, 0.0);
        tickets.next_due(now + MEMORY);
        assert_eq!(tickets.allowance(key(1), 1), 1);
        tickets.next_due(now + SECOND + MEMORY);
        assert_eq!(tickets.allowance(key(1), 1), usize::MAX);
    }
}
