//! API keys of service accounts.
//!
//! What begins with `rdk_` is a key and nothing else. Its checksum is looked at first, so that a slip
//! costs no question of the database; then it is found by its SHA-256. The secret part has 256 random
//! bits: nobody comes near it by trying, and how long a comparison takes tells nothing of it.
//!
//! What was found is remembered for a few seconds, a bounded number of keys and only ones that there
//! are: a caller who makes keys up fills nothing. So whatever is done to a key or its account holds in
//! every process within [`FRESH`]; its end holds at once. Of made-up keys that have the right checksum
//! each costs one look into an index, only [`LOOKS`] are under way at once, and few wait for one.
//!
//! Whoever's key was found before waits for none of them: looks at known keys are counted apart, one at
//! a time for each key, and so many more at once. Anybody can make keys up; nobody can make one known.

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    Actor, ApiPermission, TenantId,
    service_account::{ApiKeyText, KEY_MARK, account_actor_id},
};
use futures::future::BoxFuture;
use sqlx::PgPool;
use store::{
    TenantTx,
    read::{KeyOfCaller, caller, note_use},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{Identity, KeyOfCall, NamedTenant, Refusal, Scopes, TokenError};

/// For how long a key is taken to be as it was found. With the time that the look itself takes it is
/// at most five seconds.
pub(super) const FRESH: TimeDelta = TimeDelta::seconds(4);
/// A request that began before another one looked may find what that one found.
const BEFORE: TimeDelta = TimeDelta::milliseconds(500);
/// Keys in each of the two halves of what is remembered.
const HALF: usize = 1024;
/// Looks into the database at once for keys that were never found, and as many for those that were.
const LOOKS: usize = 4;
/// Requests with a key that was never found that wait for such a look; more are told at once to come
/// again.
const WAITING: usize = 32;
/// Notes of uses under way at once; a use that finds no room is noted by the next one.
const NOTES: usize = 2;
/// A use is noted unless one was within this time.
const NOTED: TimeDelta = TimeDelta::seconds(60);
/// A note waits no longer for whoever changes the key.
const NOTE_PATIENCE: Duration = Duration::from_secs(1);

/// Where keys are kept.
pub trait KeyDirectory: fmt::Debug + Send + Sync + 'static {
    /// The key with this hash, of whichever tenant.
    fn find<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<KeyOfCaller>, store::Error>>;

    /// Notes that it was used.
    fn note(&self, key: &KeyOfCaller, at: DateTime<Utc>) -> BoxFuture<'static, ()>;
}

/// The keys in the database, seen by the application login.
#[derive(Debug)]
pub struct StoredKeys(PgPool);

impl StoredKeys {
    /// `pool` is that of `dispatch_app`.
    pub fn new(pool: PgPool) -> Self {
        Self(pool)
    }
}

impl KeyDirectory for StoredKeys {
    fn find<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<KeyOfCaller>, store::Error>> {
        Box::pin(caller(&self.0, hash))
    }

    fn note(&self, key: &KeyOfCaller, at: DateTime<Utc>) -> BoxFuture<'static, ()> {
        let (pool, tenant, id) = (self.0.clone(), key.tenant_id, key.id);
        Box::pin(async move {
            let noted = async {
                let mut tx = TenantTx::begin(&pool, tenant, NOTE_PATIENCE).await?;
                note_use(&mut tx, id, at).await?;
                tx.commit().await
            };
            if let Err(error) = noted.await {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, key = %id, "the use of a key was not noted");
            }
        })
    }
}

/// Knows whose keys are whose.
#[derive(Debug)]
pub(super) struct ApiKeys {
    directory: Arc<dyn KeyDirectory>,
    known: Mutex<Halves>,
    looks: Semaphore,
    waiting: Semaphore,
    renewals: Semaphore,
    notes: Arc<Semaphore>,
}

/// A key as it was found at a moment.
#[derive(Debug)]
struct Known {
    key: KeyOfCaller,
    at: DateTime<Utc>,
    noted: AtomicBool,
    /// The one look at this key that is under way, now and whenever it is found again.
    renewal: Arc<Semaphore>,
    /// When it could not be looked at again last, because where keys are kept was away.
    away: Mutex<Option<Instant>>,
}

type Hash = [u8; 32];

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<Hash, Arc<Known>>,
    old: HashMap<Hash, Arc<Known>>,
}

/// Whether a credential is a key, whatever else is wrong with it.
pub(super) fn is_key(credential: &str) -> bool {
    credential.starts_with(KEY_MARK)
}

impl ApiKeys {
    pub(super) fn new(directory: Arc<dyn KeyDirectory>) -> Self {
        Self {
            directory,
            known: Mutex::default(),
            looks: Semaphore::new(LOOKS),
            waiting: Semaphore::new(LOOKS + WAITING),
            renewals: Semaphore::new(LOOKS),
            notes: Arc::new(Semaphore::new(NOTES)),
        }
    }

    /// Whom a key stands for.
    pub(super) async fn identify(
        &self,
        credential: &str,
        named: NamedTenant,
        now: DateTime<Utc>,
    ) -> Result<Identity, Refusal> {
        let text = ApiKeyText::parse(credential).map_err(|_| TokenError::KeyForm)?;
        let hash = text.digest();
        let known = match self.with(|halves| halves.get(&hash)) {
            Some(known) if known.is_fresh(now) => known,
            Some(known) => self.renew(&known, &hash, now).await?,
            None => self.discover(&hash, now).await?,
        };
        let key = &known.key;
        // What is shown of a key names it in logs: it has to be the one that was shown.
        if !is_same(&key.key_hash, &hash) || key.prefix != text.prefix().as_str() {
            return Err(TokenError::UnknownKey.into());
        }
        if key.revoked_at.is_some() {
            return Err(TokenError::RevokedKey.into());
        }
        if key.expires_at <= now {
            return Err(TokenError::ExpiredKey.into());
        }
        if !key.active {
            return Err(TokenError::DisabledAccount.into());
        }
        let tenant_id = match (key.any_tenant, named) {
            (false, NamedTenant::None) => key.tenant_id,
            (true, NamedTenant::One(tenant)) => tenant,
            (true, NamedTenant::None | NamedTenant::Unreadable) => return Err(Refusal::NameTenant),
            (false, NamedTenant::One(_) | NamedTenant::Unreadable) => {
                return Err(Refusal::NamesTenant);
            }
        };
        self.note(&known, now);
        Ok(Identity {
            actor: actor(key, tenant_id),
            scopes: Scopes::of(&key.scopes),
            key: Some(KeyOfCall {
                prefix: key.prefix.clone(),
                expires_at: key.expires_at,
            }),
        })
    }

    fn remembered(&self, hash: &Hash, now: DateTime<Utc>) -> Option<Arc<Known>> {
        let known = self.with(|halves| halves.get(hash));
        known.filter(|known| known.is_fresh(now))
    }

    /// Looks at a key that was found before. Its turn comes whatever made-up keys are sent; those who
    /// wait are bounded by the requests that are let in.
    async fn renew(
        &self,
        known: &Known,
        hash: &Hash,
        now: DateTime<Utc>,
    ) -> Result<Arc<Known>, Refusal> {
        let came = Instant::now();
        let _one = turn(&known.renewal).await?;
        // Whoever had the turn before looked for it.
        if let Some(known) = self.remembered(hash, now) {
            return Ok(known);
        }
        // In vain, maybe: what those who waited meanwhile learn together, instead of one after the other.
        if known.away().is_some_and(|away| away >= came) {
            return Err(Refusal::KeysAway);
        }
        let _turn = turn(&self.renewals).await?;
        let looked = self.look(hash, Arc::clone(&known.renewal), now).await;
        if let Err(Refusal::KeysAway) = looked {
            *known.away() = Some(Instant::now());
        }
        looked
    }

    /// Looks for a key that was never found, or was forgotten.
    async fn discover(&self, hash: &Hash, now: DateTime<Utc>) -> Result<Arc<Known>, Refusal> {
        let place = self.waiting.try_acquire();
        let _place = place.map_err(|_| Refusal::KeysCrowded)?;
        let _turn = turn(&self.looks).await?;
        // Whoever had the turn before may have looked for the same one.
        if let Some(known) = self.remembered(hash, now) {
            return Ok(known);
        }
        self.look(hash, Arc::new(Semaphore::new(1)), now).await
    }

    async fn look(
        &self,
        hash: &Hash,
        renewal: Arc<Semaphore>,
        now: DateTime<Utc>,
    ) -> Result<Arc<Known>, Refusal> {
        let found = self.directory.find(hash).await;
        let found = found.map_err(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "an API key could not be looked up");
            Refusal::KeysAway
        })?;
        let key = found.ok_or(TokenError::UnknownKey)?;
        let known = Arc::new(Known {
            key,
            at: now,
            noted: AtomicBool::new(false),
            renewal,
            away: Mutex::default(),
        });
        self.with(|halves| halves.remember(*hash, Arc::clone(&known)));
        Ok(known)
    }

    /// Notes the use beside the request, at most once a minute.
    fn note(&self, known: &Arc<Known>, now: DateTime<Utc>) {
        let due = known.key.last_used_at.is_none_or(|last| last < now - NOTED);
        if !due || known.noted.load(Ordering::Relaxed) {
            return;
        }
        let Ok(room) = Arc::clone(&self.notes).try_acquire_owned() else {
            return;
        };
        if !known.noted.swap(true, Ordering::Relaxed) {
            let note = self.directory.note(&known.key, now);
            tokio::spawn(async move {
                note.await;
                drop(room);
            });
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Halves) -> T) -> T {
        // Each change is one step: whoever panicked left the maps whole.
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    fn away(&self) -> MutexGuard<'_, Option<Instant>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        let age = now - self.at;
        // A clock that was set back makes nothing last longer.
        -BEFORE <= age && age < FRESH
    }
}

async fn turn(at: &Semaphore) -> Result<SemaphorePermit<'_>, Refusal> {
    at.acquire().await.map_err(|_| Refusal::KeysAway)
}

impl Halves {
    fn get(&self, hash: &Hash) -> Option<Arc<Known>> {
        self.young.get(hash).or_else(|| self.old.get(hash)).cloned()
    }

    /// When the younger half is full, the older one is forgotten.
    fn remember(&mut self, hash: Hash, known: Arc<Known>) {
        if self.young.len() >= HALF && !self.young.contains_key(&hash) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(hash, known);
    }
}

fn actor(key: &KeyOfCaller, tenant_id: TenantId) -> Actor {
    Actor {
        tenant_id,
        id: account_actor_id(key.kind, &key.code, tenant_id),
        kind: key.kind,
        roles: key.roles.clone(),
        technician_id: None,
    }
}

/// Compared in a time that does not depend on where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differ) == 0
}

/// The problem's fact that names what the key lacks.
pub(crate) fn lacks(permission: ApiPermission) -> String {
    format!("This API key is not for `{permission}`: its scopes leave that out.")
}
