//! Who gets the next connection to Postgres: tenants in turn, each with its requests in the order in
//! which they came.
//!
//! The pool alone would serve whoever came first, so a tenant that has a hundred requests waiting would
//! put every other one at the end of that line. And a tenant whose transactions fill the pool makes each
//! of them slow, others' too: the machine below works on all of them at once. So while anybody else is
//! there, a tenant has no more than a few connections at the same time, which is enough for whatever its
//! rate lets in. Alone it has all.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use contracts::TenantId;
use tokio::{sync::oneshot, time::Instant};

/// How long after its last request a tenant is there.
const THERE_FOR: Duration = Duration::from_secs(1);
/// The part of the connections that a tenant may have while others are there.
const PART: usize = 8;
/// And as many at least.
const LEAST: usize = 2;

/// The way to the pool.
#[derive(Debug, Clone)]
pub(crate) struct Turnstile(Arc<Mutex<Waiting>>);

#[derive(Debug)]
struct Waiting {
    free: usize,
    /// What a tenant may have while others are there.
    share: usize,
    held: HashMap<TenantId, usize>,
    /// Tenants with requests that wait; the first is next.
    order: VecDeque<TenantId>,
    requests: HashMap<TenantId, VecDeque<Request>>,
    /// The last request of all, and the last of any other tenant than that one's.
    last: [Option<(TenantId, Instant)>; 2],
}

#[derive(Debug)]
struct Request {
    tell: oneshot::Sender<Pass>,
    urgent: bool,
}

/// Lets its holder have a connection; whoever is next has it afterwards.
#[derive(Debug)]
#[must_use]
pub(crate) struct Pass {
    of: Option<Turnstile>,
    tenant: TenantId,
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(turnstile) = self.of.take() {
            let mut waiting = turnstile.lock();
            waiting.give_back(self.tenant);
            waiting.hand_on(&turnstile);
        }
    }
}

impl Turnstile {
    pub(super) fn new(connections: usize) -> Self {
        let connections = connections.max(1);
        Self(Arc::new(Mutex::new(Waiting {
            free: connections,
            share: (connections / PART).max(LEAST),
            held: HashMap::new(),
            order: VecDeque::new(),
            requests: HashMap::new(),
            last: [None; 2],
        })))
    }

    /// Waits for a turn of the tenant; what is `urgent` goes first.
    pub(crate) async fn pass(&self, tenant: TenantId, urgent: bool) -> Pass {
        let now = Instant::now();
        let turn = {
            let mut waiting = self.lock();
            waiting.note(tenant, now);
            let (tell, turn) = oneshot::channel();
            waiting.join(tenant, Request { tell, urgent });
            waiting.hand_on(self);
            turn
        };
        // The request stays in the line until it has its turn.
        turn.await.unwrap_or(Pass { of: None, tenant })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn note(&mut self, tenant: TenantId, now: Instant) {
        if let [Some((last, _)), _] = self.last
            && last != tenant
        {
            self.last[1] = self.last[0];
        }
        self.last[0] = Some((tenant, now));
    }

    /// Whether anybody else was there a moment ago.
    fn has_company(&self, tenant: TenantId, now: Instant) -> bool {
        let mut others = self.last.iter().flatten();
        others.any(|(other, at)| *other != tenant && now < *at + THERE_FOR)
    }

    fn join(&mut self, tenant: TenantId, request: Request) {
        let urgent = request.urgent;
        let requests = self.requests.entry(tenant).or_default();
        if requests.is_empty() {
            self.order.push_back(tenant);
        }
        match urgent {
            true => requests.push_front(request),
            false => requests.push_back(request),
        }
        if urgent {
            self.order.retain(|other| *other != tenant);
            self.order.push_front(tenant);
        }
    }

    /// Gives the free connections to those whose turn it is.
    fn hand_on(&mut self, turnstile: &Turnstile) {
        let now = Instant::now();
        while self.free > 0 {
            let next = self.order.iter().position(|tenant| self.may(*tenant, now));
            let Some(tenant) = next.and_then(|next| self.order.remove(next)) else {
                return;
            };
            let Some(requests) = self.requests.get_mut(&tenant) else {
                continue;
            };
            let request = requests.pop_front();
            // Its further ones come after those of others.
            match requests.is_empty() {
                true => {
                    self.requests.remove(&tenant);
                }
                false => self.order.push_back(tenant),
            }
            let Some(request) = request else { continue };
            let pass = Pass {
                of: Some(turnstile.clone()),
                tenant,
            };
            // Whoever waited there may have gone away.
            match request.tell.send(pass) {
                Ok(()) => {
                    self.free -= 1;
                    *self.held.entry(tenant).or_default() += 1;
                }
                Err(mut unused) => unused.of = None,
            }
        }
    }

    fn may(&self, tenant: TenantId, now: Instant) -> bool {
        let held = self.held.get(&tenant).copied().unwrap_or_default();
        let urgent = || {
            let requests = self.requests.get(&tenant);
            requests.is_some_and(|requests| requests.front().is_some_and(|next| next.urgent))
        };
        held < self.share || !self.has_company(tenant, now) || urgent()
    }

    fn give_back(&mut self, tenant: TenantId) {
        self.free += 1;
        if let Some(held) = self.held.get_mut(&tenant) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use futures::FutureExt;
    use uuid::Uuid;

    use super::*;

    const A: TenantId = TenantId::from_uuid(Uuid::from_u128(1));
    const B: TenantId = TenantId::from_uuid(Uuid::from_u128(2));

    fn now(future: impl Future<Output = Pass>) -> Pass {
        future.now_or_never().expect("a free connection")
    }

    #[tokio::test]
    async fn tenants_come_in_turn_and_each_ones_requests_in_order() {
        let turnstile = Turnstile::new(1);
        let first = now(turnstile.pass(A, false));
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for name in ["a1", "a2", "a3", "b1", "b2", "a4!"] {
            let (turnstile, told) = (turnstile.clone(), Arc::clone(&told));
            let tenant = if name.starts_with('a') { A } else { B };
            tasks.push(tokio::spawn(async move {
                let pass = turnstile.pass(tenant, name.ends_with('!')).await;
                told.lock().unwrap().push(name);
                drop(pass);
            }));
            tokio::task::yield_now().await;
        }
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*told.lock().unwrap(), ["a4!", "b1", "a1", "b2", "a2", "a3"]);
        let _free = now(turnstile.pass(B, false));
    }

    #[tokio::test]
    async fn whoever_goes_away_takes_nothing_along() {
        let turnstile = Turnstile::new(2);
        let held = [now(turnstile.pass(A, false)), now(turnstile.pass(A, false))];
        // One leaves before its turn, one when it has it and has not looked yet.
        let mut before = Box::pin(turnstile.pass(A, false));
        let mut after = Box::pin(turnstile.pass(A, false));
        assert!((&mut before).now_or_never().is_none());
        assert!((&mut after).now_or_never().is_none());
        drop(before);
        drop(held);
        drop(after);
        let _both = [now(turnstile.pass(B, false)), now(turnstile.pass(B, false))];
    }

    #[tokio::test(start_paused = true)]
    async fn alone_a_tenant_has_all_and_in_company_a_part() {
        let turnstile = Turnstile::new(24);
        let mut flood: Vec<_> = (0..24).map(|_| now(turnstile.pass(A, false))).collect();
        let mut waits: Vec<_> = (0..9).map(|_| Box::pin(turnstile.pass(A, false))).collect();
        // Those that have their turn now.
        let mut served = || {
            let mut passes = Vec::new();
            waits.retain_mut(|it| match it.now_or_never() {
                Some(pass) => {
                    passes.push(pass);
                    false
                }
                None => true,
            });
            passes
        };
        assert!(served().is_empty());
        // Another one comes: it is next, and the first gets nothing more until it has its part only.
        let mut quiet = Box::pin(turnstile.pass(B, false));
        assert!((&mut quiet).now_or_never().is_none());
        flood.pop();
        let one = quiet.now_or_never().expect("its turn");
        flood.truncate(3);
        assert!(served().is_empty());
        drop(one);
        flood.pop();
        flood.extend(served());
        assert_eq!(flood.len(), 3);
        // What is urgent waits for no part.
        drop(now(turnstile.pass(A, true)));
        assert!(served().is_empty());
        // Nobody else any more: the next that is given back lets all in.
        tokio::time::advance(THERE_FOR).await;
        flood.pop();
        assert_eq!(served().len(), 8);
    }
}
