//! How many exports of tenants are being read: each holds a connection, and a snapshot, for as long as
//! its reader reads.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use contracts::TenantId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// At once in a process; and one of a tenant, so that nobody has all of them.
const AT_ONCE: usize = 2;
/// How long one waits for those before it to end.
const TURN: Duration = Duration::from_secs(5);

/// Those under way.
#[derive(Debug)]
pub struct Exports {
    room: Arc<Semaphore>,
    tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

/// One that is under way until this is dropped.
#[derive(Debug)]
pub struct Export {
    exports: Arc<Exports>,
    _places: [OwnedSemaphorePermit; 2],
}

impl Default for Exports {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(AT_ONCE)),
            tenants: Mutex::default(),
        }
    }
}

impl Exports {
    /// Begins one of this tenant; `None` when its turn did not come in the time that one waits.
    pub async fn begin(self: &Arc<Self>, tenant: TenantId) -> Option<Export> {
        let own = Arc::clone(
            self.tenants()
                .entry(tenant)
                .or_insert_with(|| Arc::new(Semaphore::new(1))),
        );
        let turn = async {
            // The tenant's own first: whoever waits for that takes no place of others.
            let own = own.acquire_owned().await.ok()?;
            Some([own, Arc::clone(&self.room).acquire_owned().await.ok()?])
        };
        let places = timeout(TURN, turn).await.ok()??;
        Some(Export {
            exports: Arc::clone(self),
            _places: places,
        })
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<TenantId, Arc<Semaphore>>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // This one's own goes with the next.
        let is_used = |own: &mut Arc<Semaphore>| Arc::strong_count(own) > 1;
        self.exports.tenants().retain(|_, own| is_used(own));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_tenant_has_all_places() {
        let exports = Arc::new(Exports::default());
        let tenant = |n| TenantId::from_uuid(Uuid::from_u128(n));
        let first = exports.begin(tenant(1)).await;
        assert!(first.is_some());
        assert!(exports.begin(tenant(1)).await.is_none());
        let second = exports.begin(tenant(2)).await;
        assert!(second.is_some());
        assert!(exports.begin(tenant(3)).await.is_none());
        drop(first);
        assert!(exports.begin(tenant(1)).await.is_some());
    }
}
