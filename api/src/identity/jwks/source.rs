//! An issuer's keys as they were last fetched, and when they are fetched again.
//!
//! Fetched by the first request that needs them, by one request at a time, and again in the
//! background when they are no longer fresh. Keys that nobody has asked for in an hour are as good as
//! none: whoever needs them waits for others, because one of them may have been taken back since. Only
//! while the provider is away keys that were fetched stay in use, up to a bound: people go on working,
//! and a key that was taken back in that time is taken for longer. A `kid` that is not among them is
//! looked for once; then not again for a while, because a `kid` costs its sender nothing.
//!
//! Whoever waits for a fetch has a place in the house that others cannot have meanwhile. So few wait
//! for one issuer, and not for long; the others are sent away at once. The fetch goes on without them.
//! Nobody waits for keys of the last hour, nor for a provider that has just been found away.

use std::{
    future::Future,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use contracts::Slug;
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tracing::Instrument;

use super::{
    super::{Algorithm, IssuerConfig, Refusal, TokenError, key::Key},
    FetchError, KeySet,
    fetch::Fetcher,
};

/// How long keys are fresh when their publisher does not say.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// The least and the most that a publisher can ask for: enough before [`OLD`] for others to be fetched
/// behind the requests, so that where somebody keeps asking nobody waits.
const FRESH_BOUNDS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(50 * 60)];
/// How long after they were fetched keys are used without waiting for others.
const OLD: TimeDelta = TimeDelta::hours(1);
/// The same when no others can be had.
const STALE: TimeDelta = TimeDelta::hours(6);
/// For how long a provider that was away counts as away: old keys are used, and nobody waits for others.
const AWAY: TimeDelta = TimeDelta::minutes(1);
/// Between two searches for unknown keys, and between two tries to renew keys that still do.
const COOL_DOWN: TimeDelta = TimeDelta::seconds(10);
/// Between two tries when there are no keys at all.
const RETRY: TimeDelta = TimeDelta::seconds(1);

/// The longest that one request waits for keys.
pub(in super::super) const PATIENCE: Duration = Duration::from_secs(2);
/// How many requests wait for keys at once: of all issuers, and of one.
const WAITING: usize = 64;
const WAITING_FOR_ONE: usize = 32;

/// How many requests may wait for the keys of each of so many issuers.
pub(in super::super) fn waiting_for_each(issuers: usize) -> usize {
    (WAITING / issuers.max(1)).clamp(1, WAITING_FOR_ONE)
}

/// One issuer's keys.
#[derive(Debug)]
pub(in super::super) struct KeySource {
    name: Slug,
    algorithm: Algorithm,
    fetcher: Fetcher,
    held: RwLock<Option<Arc<Held>>>,
    /// Whoever holds it fetches.
    tries: Mutex<Tries>,
    /// One place for each request that waits for a fetch.
    waiting: Arc<Semaphore>,
    /// When keys that are no longer fresh may be renewed, in milliseconds since the epoch.
    renewal_due: AtomicI64,
    /// When it was found away, unless it answered since, likewise: for those who do not wait for whoever
    /// fetches.
    away_since: AtomicI64,
}

#[derive(Debug)]
struct Held {
    keys: KeySet,
    fetched_at: DateTime<Utc>,
    fresh: TimeDelta,
}

#[derive(Debug, Default)]
struct Tries {
    searched_at: Option<DateTime<Utc>>,
    failed_at: Option<DateTime<Utc>>,
}

impl KeySource {
    /// So many requests may wait for it.
    pub(in super::super) fn new(config: &IssuerConfig, waiting: usize) -> Result<Self, FetchError> {
        Ok(Self {
            name: config.name.clone(),
            algorithm: config.algorithm,
            fetcher: Fetcher::new(config)?,
            held: RwLock::default(),
            tries: Mutex::default(),
            waiting: Arc::new(Semaphore::new(waiting)),
            renewal_due: AtomicI64::new(0),
            away_since: AtomicI64::new(0),
        })
    }

    /// The key of this name.
    pub(in super::super) async fn key(
        self: &Arc<Self>,
        kid: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Arc<Key>, Refusal> {
        let source = Arc::clone(self);
        let held = match self.held(now) {
            Some(held) => match held.keys.find(kid) {
                Some(key) if within(held.fetched_at, now, OLD) || self.is_away(now) => {
                    if !within(held.fetched_at, now, held.fresh) {
                        self.renew(now);
                    }
                    return Ok(key);
                }
                Some(key) => {
                    let place = self.place()?;
                    match wait(place, async move { source.newer(&held, now).await }).await {
                        Ok(newer) => newer,
                        // No others can be had.
                        Err(_) => return Ok(key),
                    }
                }
                None => {
                    let place = self.place()?;
                    wait(place, async move { source.search(&held, now).await }).await?
                }
            },
            None => {
                let place = self.place()?;
                wait(place, async move { source.first(now).await }).await?
            }
        };
        held.keys.find(kid).ok_or(Refusal::Token(TokenError::Key))
    }

    fn held(&self, now: DateTime<Utc>) -> Option<Arc<Held>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.clone()
            .filter(|held| within(held.fetched_at, now, STALE))
    }

    /// Whether it was away a moment ago.
    fn is_away(&self, now: DateTime<Utc>) -> bool {
        let since = DateTime::from_timestamp_millis(self.away_since.load(Ordering::Relaxed));
        since.is_some_and(|since| within(since, now, AWAY))
    }

    /// A place of somebody who waits, if there is one.
    fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = Arc::clone(&self.waiting).try_acquire_owned();
        place.map_err(|_| Refusal::KeysUnavailable)
    }

    /// Keys, when there are none at hand.
    async fn first(&self, now: DateTime<Utc>) -> Result<Arc<Held>, Refusal> {
        let asked = Instant::now();
        let mut tries = self.tries.lock().await;
        let now = now + asked.elapsed();
        if let Some(held) = self.held(now) {
            return Ok(held);
        }
        if tries.failed_at.is_some_and(|at| within(at, now, RETRY)) {
            return Err(Refusal::KeysUnavailable);
        }
        self.fetch(&mut tries, now).await
    }

    /// Newer keys than these, which are old.
    async fn newer(&self, known: &Arc<Held>, now: DateTime<Utc>) -> Result<Arc<Held>, Refusal> {
        let asked = Instant::now();
        let mut tries = self.tries.lock().await;
        let now = now + asked.elapsed();
        if let Some(held) = self.held(now).filter(|held| !Arc::ptr_eq(held, known)) {
            return Ok(held);
        }
        if self.is_away(now) {
            return Err(Refusal::KeysUnavailable);
        }
        self.fetch(&mut tries, now).await
    }

    /// Newer keys than these, among which the wanted one is not.
    async fn search(&self, known: &Arc<Held>, now: DateTime<Utc>) -> Result<Arc<Held>, Refusal> {
        let asked = Instant::now();
        let mut tries = self.tries.lock().await;
        let now = now + asked.elapsed();
        if let Some(held) = self.held(now).filter(|held| !Arc::ptr_eq(held, known)) {
            return Ok(held);
        }
        if tries
            .searched_at
            .is_some_and(|at| within(at, now, COOL_DOWN))
        {
            // Whoever searched found nothing new, or nobody: then it is not the caller's fault.
            return match tries.failed_at >= tries.searched_at {
                true => Err(Refusal::KeysUnavailable),
                false => Ok(Arc::clone(known)),
            };
        }
        tries.searched_at = Some(now);
        self.fetch(&mut tries, now).await
    }

    /// Fetches keys that are not fresh, while those at hand are used.
    fn renew(self: &Arc<Self>, now: DateTime<Utc>) {
        let due = self.renewal_due.load(Ordering::Relaxed);
        let next = (now + COOL_DOWN).timestamp_millis();
        let is_due = due <= now.timestamp_millis() || due > next;
        let claimed = is_due
            && self
                .renewal_due
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if claimed {
            let source = Arc::clone(self);
            tokio::spawn(async move {
                let mut tries = source.tries.lock().await;
                // What failed was told, and is tried again when it is due.
                let _ = source.fetch(&mut tries, now).await;
            });
        }
    }

    async fn fetch(&self, tries: &mut Tries, now: DateTime<Utc>) -> Result<Arc<Held>, Refusal> {
        let issuer = &self.name;
        let begun = Instant::now();
        let fetched = async {
            let (document, lasts) = self.fetcher.fetch().await?;
            Ok((KeySet::parse(&document, self.algorithm)?, lasts))
        };
        match fetched.await {
            Ok((keys, lasts)) => {
                let refused = keys.refused().len();
                tracing::debug!(%issuer, keys = keys.len(), refused, "keys fetched");
                let [least, most] = FRESH_BOUNDS;
                let fresh = lasts.unwrap_or(FRESH).clamp(least, most);
                let held = Arc::new(Held {
                    keys,
                    fetched_at: now,
                    fresh: TimeDelta::from_std(fresh).unwrap_or(COOL_DOWN),
                });
                let mut place = self.held.write().unwrap_or_else(PoisonError::into_inner);
                *place = Some(Arc::clone(&held));
                tries.failed_at = None;
                self.away_since.store(0, Ordering::Relaxed);
                Ok(held)
            }
            Err(error) => {
                let error: FetchError = error;
                tracing::warn!(%issuer, error = chain(&error), "an issuer's keys cannot be fetched");
                // Who waited meanwhile does not try again at once.
                let failed_at = now + begun.elapsed();
                tries.failed_at = Some(failed_at);
                let since = failed_at.timestamp_millis();
                self.away_since.store(since, Ordering::Relaxed);
                Err(Refusal::KeysUnavailable)
            }
        }
    }
}

/// Waits for what a fetch brings, and for so long. The place is free again when the fetch is over, whether
/// or not its caller is still there.
async fn wait<F>(place: OwnedSemaphorePermit, fetch: F) -> Result<Arc<Held>, Refusal>
where
    F: Future<Output = Result<Arc<Held>, Refusal>> + Send + 'static,
{
    let fetch = async move {
        let fetched = fetch.await;
        drop(place);
        fetched
    };
    let fetched = timeout(PATIENCE, tokio::spawn(fetch.in_current_span())).await;
    match fetched {
        Ok(Ok(fetched)) => fetched,
        Ok(Err(_)) | Err(_) => Err(Refusal::KeysUnavailable),
    }
}

/// Whether `at` is less than `span` ago. A clock that was set back does not make it so for longer.
fn within(at: DateTime<Utc>, now: DateTime<Utc>, span: TimeDelta) -> bool {
    let since = now.signed_duration_since(at);
    since < span && since > -span
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
