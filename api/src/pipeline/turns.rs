//! The commands on one ticket take turns before they take a connection.
//!
//! Of those that this process has at hand [`AT_ONCE`] are in the database: one has the row, and the
//! next waits for it, so that it is handed over without a pause. Without turns all of them wait there,
//! each with a connection that other tickets' commands need, and Postgres wakes every one of them
//! for each change of the row: 64 clients changed one ticket half as often.
//!
//! First come, first served, but for one thing: a command that names a version which the ticket is
//! known to have left, or is about to leave, is late. It changes nothing (it is refused, or answered as
//! it was before), so it lets a few pass that may succeed; and no two late ones are in the database, so
//! that whoever comes with the present version while one of them is refused is the next. 64 clients that
//! each name the version they saw last then need two attempts for a change.
//!
//! What is right rests on the row's lock alone. Other processes have turns of their own.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use contracts::{TenantId, TicketId};
use tokio::{sync::oneshot, time::timeout};

/// How many commands on one ticket may be in the database.
const AT_ONCE: usize = 2;
/// How many pass whoever came first, one after the other: nobody waits for ever.
const PASS: usize = 16;

/// A ticket as a caller names it: another tenant's of the same name is another one.
type Named = (TenantId, TicketId);

/// Who is next, by ticket.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    by_ticket: HashMap<Named, Line>,
    /// Tells those who wait apart.
    next: u64,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    /// Those that have their turn: at most [`AT_ONCE`].
    running: Vec<Running>,
    /// The newest version that one of them saw.
    newest: u64,
    /// How many have passed the first of those who wait.
    passed: usize,
}

#[derive(Debug)]
struct Running {
    number: u64,
    expected: Option<u64>,
    late: bool,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    expected: Option<u64>,
    called: oneshot::Sender<()>,
}

/// A place in a line: the turn, once [`Turns::take`] has answered it. The next one's comes when it is
/// dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    ticket: Named,
    number: u64,
}

impl Turns {
    /// Waits for a turn; `None` when it did not come in time. `expected` is the version that the command
    /// names.
    pub(super) async fn take(
        &self,
        ticket: Named,
        expected: Option<u64>,
        patience: Duration,
    ) -> Option<Turn<'_>> {
        let (called, call) = oneshot::channel();
        let turn = {
            let mut lines = self.lines();
            lines.next += 1;
            let number = lines.next;
            let line = lines.by_ticket.entry(ticket).or_default();
            line.waiting.push_back(Waiting {
                number,
                expected,
                called,
            });
            line.call();
            Turn {
                turns: self,
                ticket,
                number,
            }
        };
        // The sender is dropped after it has called, and with the turn itself.
        timeout(patience, call).await.ok()?.ok()?;
        Some(turn)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // Each use leaves the lines whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// The ticket was seen at this version.
    pub(super) fn saw(&self, version: u64) {
        if let Some(line) = self.turns.lines().by_ticket.get_mut(&self.ticket) {
            line.newest = line.newest.max(version);
        }
    }
}

impl Line {
    fn call(&mut self) {
        while self.running.len() < AT_ONCE {
            let present = self.present();
            let is_late = |one: &Waiting| one.expected.is_some_and(|version| version < present);
            let is_refusing = self.running.iter().any(|one| one.late);
            let in_time = self.waiting.iter().position(|one| !is_late(one));
            let in_time = in_time.filter(|_| is_refusing || self.passed < PASS);
            let place = in_time.unwrap_or(0);
            let Some(late) = self.waiting.get(place).map(is_late) else {
                return;
            };
            if late && is_refusing {
                return;
            }
            let Some(next) = self.waiting.remove(place) else {
                return;
            };
            self.passed = if place == 0 { 0 } else { self.passed + 1 };
            self.running.push(Running {
                number: next.number,
                expected: next.expected,
                late,
            });
            // Who does not hear it any more gives the turn back at once.
            let _ = next.called.send(());
        }
    }

    /// The version that the ticket will have when those that have their turn succeed.
    fn present(&self) -> u64 {
        let running = self.running.iter().filter(|one| !one.late);
        // Who names a version that nobody has seen yet makes no others late.
        let succeeds = running.filter(|one| one.expected == Some(self.newest));
        self.newest + u64::from(succeeds.count() > 0)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut lines = self.turns.lines();
        let Some(line) = lines.by_ticket.get_mut(&self.ticket) else {
            return;
        };
        match line
            .waiting
            .iter()
            .position(|one| one.number == self.number)
        {
            Some(place) => drop(line.waiting.remove(place)),
            None => line.running.retain(|one| one.number != self.number),
        }
        line.call();
        if line.running.is_empty() {
            lines.by_ticket.remove(&self.ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::{join, join_all};
    use uuid::Uuid;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn ticket(tenant: u128, ticket: u128) -> Named {
        (
            TenantId::from_uuid(Uuid::from_u128(tenant)),
            TicketId::from_uuid(Uuid::from_u128(ticket)),
        )
    }

    #[tokio::test]
    async fn no_more_than_two_at_once_and_each_in_its_turn() {
        let (turns, inside, order) = (Turns::default(), AtomicUsize::new(0), Mutex::new(vec![]));
        join_all((0..50).map(async |n| {
            let _turn = turns.take(ticket(1, 1), None, LONG).await.unwrap();
            order.lock().unwrap().push(n);
            assert!(inside.fetch_add(1, Ordering::SeqCst) < AT_ONCE);
            tokio::task::yield_now().await;
            inside.fetch_sub(1, Ordering::SeqCst);
        }))
        .await;
        assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
        assert!(turns.lines().by_ticket.is_empty(), "a place was kept");
    }

    #[tokio::test]
    async fn who_can_only_be_refused_lets_the_others_pass() {
        let (turns, order) = (Turns::default(), Mutex::new(vec![]));
        let first = turns.take(ticket(1, 1), None, LONG).await.unwrap();
        let second = turns.take(ticket(1, 1), None, LONG).await.unwrap();
        let asked = [Some(3), Some(4), None, Some(3), Some(5)];
        let waiting = join_all(asked.map(async |version| {
            let _turn = turns.take(ticket(1, 1), version, LONG).await.unwrap();
            order.lock().unwrap().push(version);
        }));
        join(waiting, async {
            first.saw(4);
            drop((first, second));
        })
        .await;
        let expected = [Some(4), None, Some(5), Some(3), Some(3)];
        assert_eq!(*order.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn one_that_is_late_is_refused_while_another_succeeds() {
        let (turns, order) = (Turns::default(), Mutex::new(vec![]));
        // The first is about to leave version 7, which the others name.
        let first = turns.take(ticket(1, 1), Some(7), LONG).await.unwrap();
        first.saw(7);
        let late = turns.take(ticket(1, 1), Some(7), LONG).await.unwrap();
        let come = |version| {
            let (turns, order) = (&turns, &order);
            async move {
                let turn = turns.take(ticket(1, 1), Some(version), LONG).await.unwrap();
                order.lock().unwrap().push(version);
                turn
            }
        };
        let (third, in_time, ()) = futures::join!(come(7), come(8), async {
            first.saw(8);
            drop(first);
            tokio::task::yield_now().await;
            drop(late);
        });
        assert_eq!(*order.lock().unwrap(), [8, 7]);
        drop((third, in_time));
        assert!(turns.lines().by_ticket.is_empty(), "a place was kept");
    }

    #[tokio::test]
    async fn nobody_is_passed_for_ever() {
        let (turns, order) = (Turns::default(), Mutex::new(vec![]));
        let first = turns.take(ticket(1, 1), None, LONG).await.unwrap();
        let second = turns.take(ticket(1, 1), None, LONG).await.unwrap();
        first.saw(4);
        let waiting = join_all((0..100).map(async |n| {
            // The first of them all is late.
            let version = (n == 0).then_some(3);
            let _turn = turns.take(ticket(1, 1), version, LONG).await.unwrap();
            order.lock().unwrap().push(n);
            tokio::task::yield_now().await;
        }));
        join(waiting, async { drop((first, second)) }).await;
        let order = order.into_inner().unwrap();
        assert_eq!(order.len(), 100);
        let place = order.iter().position(|n| *n == 0).unwrap();
        assert!((1..=PASS + AT_ONCE).contains(&place), "{place}");
    }

    #[tokio::test]
    async fn a_version_that_nobody_has_seen_makes_nobody_late() {
        let turns = Turns::default();
        let first = turns.take(ticket(1, 1), Some(7), LONG).await.unwrap();
        first.saw(7);
        drop(first);
        let first = turns.take(ticket(1, 1), None, LONG).await.unwrap();
        first.saw(7);
        let second = turns
            .take(ticket(1, 1), Some(1_000_000), LONG)
            .await
            .unwrap();
        let (third, ()) = join(turns.take(ticket(1, 1), Some(7), LONG), async {
            let lines = turns.lines();
            assert_eq!(lines.by_ticket[&ticket(1, 1)].present(), 7);
            drop(lines);
            drop(first);
        })
        .await;
        drop((second, third));
    }

    #[tokio::test]
    async fn who_was_said_to_be_late_and_is_not_has_its_turn() {
        let turns = Turns::default();
        // It changes nothing after all.
        let first = turns.take(ticket(1, 1), Some(7), LONG).await.unwrap();
        first.saw(7);
        let second = turns.take(ticket(1, 1), Some(7), LONG).await.unwrap();
        drop(first);
        let third = turns.take(ticket(1, 1), Some(7), LONG).await.unwrap();
        drop((second, third));
        assert!(turns.lines().by_ticket.is_empty(), "a place was kept");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_gives_up_and_leaves_nothing() {
        let turns = Turns::default();
        let first = turns.take(ticket(1, 1), None, LONG).await.unwrap();
        let second = turns.take(ticket(1, 1), None, LONG).await.unwrap();
        assert!(turns.take(ticket(1, 1), None, LONG).await.is_none());
        // Nobody else waits for them.
        assert!(turns.take(ticket(2, 1), None, LONG).await.is_some());
        assert!(turns.take(ticket(1, 2), None, LONG).await.is_some());
        drop(first);
        assert!(turns.take(ticket(1, 1), None, LONG).await.is_some());
        drop(second);
        assert!(turns.lines().by_ticket.is_empty());
    }
}
