//! The only way to tenants' rows: a transaction that belongs to one tenant from its first statement.
//!
//! The setting that row-level security reads is local to the transaction, so it ends with it
//! however it ends and a pooled connection never carries it on. Nothing in this crate reads or
//! writes a tenant's row as the application login without a [`TenantTx`].
//!
//! `sqlx`'s own transaction is not used for one reason: when its `begin` is dropped half way, the
//! connection goes back to the pool with the transaction open. Here the guard stands before the
//! first byte is sent.

use std::{any::Any, time::Duration};

use contracts::TenantId;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Row, pool::PoolConnection, raw_sql};

use crate::Error;

/// Begins what only reads, unless the tenant was erased. The id is typed, so nothing can be injected.
fn read_only(tenant_id: TenantId) -> String {
    format!("{}, tenant_read()", read_only_of_any(tenant_id))
}

fn read_only_of_any(tenant_id: TenantId) -> String {
    format!(
        "begin isolation level repeatable read read only; \
         select set_config('app.tenant_id', '{}', true)",
        tenant_id.as_uuid(),
    )
}

/// A transaction bound to one tenant. Dropping it rolls back.
#[derive(Debug)]
pub struct TenantTx {
    /// `None` only after the end.
    connection: Option<PoolConnection<Postgres>>,
    tenant_id: TenantId,
    kept: Option<Box<dyn Any + Send + Sync>>,
}

impl TenantTx {
    /// Begins a transaction that writes, in one round trip. Each statement sees what was committed
    /// before it; waiting for a lock longer than `lock_timeout` is [`Error::LockTimeout`].
    pub async fn begin(
        pool: &PgPool,
        tenant_id: TenantId,
        lock_timeout: Duration,
    ) -> Result<Self, Error> {
        // Both values are typed, so nothing can be injected; a simple query takes no parameters.
        let sql = format!(
            "begin isolation level read committed; select set_config('app.tenant_id', '{}', true), \
             set_config('lock_timeout', '{}ms', true)",
            tenant_id.as_uuid(),
            lock_timeout.as_millis().max(1),
        );
        Self::open(pool, tenant_id, sql).await
    }

    /// Begins a transaction that only reads, all of it as of one moment.
    ///
    /// # Errors
    /// [`Error::Erased`] for a tenant that was erased.
    pub async fn begin_read(pool: &PgPool, tenant_id: TenantId) -> Result<Self, Error> {
        Self::open(pool, tenant_id, read_only(tenant_id)).await
    }

    /// The same, with the hash of the bundle that is active at that moment, in the same round trip.
    ///
    /// # Errors
    /// [`Error::NoTenant`] when there is no such tenant, besides.
    pub async fn begin_judged(
        pool: &PgPool,
        tenant_id: TenantId,
    ) -> Result<(Self, Option<String>), Error> {
        let sql = format!(
            "{}; select (select bundle_sha256 from deployment), \
             exists (select from tenants where tenant_id = '{}')",
            read_only(tenant_id),
            tenant_id.as_uuid(),
        );
        let mut tx = Self::new(pool, tenant_id).await?;
        let rows = raw_sql(AssertSqlSafe(sql))
            .fetch_all(tx.connection())
            .await?;
        // The first is that of the setting.
        let row = rows
            .get(1)
            .ok_or(Error::Database(sqlx::Error::RowNotFound))?;
        match row.try_get(1)? {
            true => Ok((tx, row.try_get(0)?)),
            false => Err(Error::NoTenant),
        }
    }

    /// [`begin_read`](Self::begin_read) for whoever runs the installation: of an erased tenant they see
    /// what is left.
    pub async fn begin_oversight(pool: &PgPool, tenant_id: TenantId) -> Result<Self, Error> {
        Self::open(pool, tenant_id, read_only_of_any(tenant_id)).await
    }

    async fn open(pool: &PgPool, tenant_id: TenantId, sql: String) -> Result<Self, Error> {
        let mut tx = Self::new(pool, tenant_id).await?;
        raw_sql(AssertSqlSafe(sql)).execute(tx.connection()).await?;
        Ok(tx)
    }

    /// The guard of what is about to begin.
    async fn new(pool: &PgPool, tenant_id: TenantId) -> Result<Self, Error> {
        Ok(Self {
            connection: Some(pool.acquire().await?),
            tenant_id,
            kept: None,
        })
    }

    /// Keeps what its caller needed to have the connection, and lets go of it together with that.
    pub fn keep(&mut self, what: impl Any + Send + Sync) {
        self.kept = Some(Box::new(what));
    }

    /// Of a tenant that was erased nothing is read, though the transaction may write.
    ///
    /// # Errors
    /// [`Error::Erased`] for such a tenant.
    pub async fn not_erased(&mut self) -> Result<(), Error> {
        raw_sql("select tenant_read()")
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Stands between two turns of the tenant, as every command does, and says whether it is active: if
    /// so, it is until this transaction has ended.
    ///
    /// # Errors
    /// [`Error::LockTimeout`] when a turn took too long.
    pub async fn is_active(&mut self) -> Result<bool, Error> {
        let tenant_id = self.tenant_id.as_uuid();
        let state: Option<String> =
            sqlx::query_scalar("select tenant_gate($1, false, false) ->> 'state'")
                .bind(tenant_id)
                .fetch_one(self.connection())
                .await?;
        Ok(state.as_deref() == Some("active"))
    }

    /// Lets a statement run this long: one that goes through all rows of a tenant.
    pub async fn allow(&mut self, lasts: Duration) -> Result<(), Error> {
        // A number: nothing can be injected.
        let sql = format!(
            "select set_config('statement_timeout', '{}ms', true)",
            lasts.as_millis(),
        );
        raw_sql(AssertSqlSafe(sql))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// The same, and it may stay open that long between its statements: while whoever reads what they find
    /// takes their time.
    pub async fn allow_reader(&mut self, lasts: Duration) -> Result<(), Error> {
        let millis = lasts.as_millis();
        // A number: nothing can be injected.
        let sql = format!(
            "select set_config('statement_timeout', '{millis}ms', true), \
             set_config('idle_in_transaction_session_timeout', '{millis}ms', true)",
        );
        raw_sql(AssertSqlSafe(sql))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Lets the statements that follow wait for locks up to `patience`, whatever the login's usual
    /// bound on a statement is.
    pub async fn wait_longer(&mut self, patience: Duration) -> Result<(), Error> {
        let millis = patience.as_millis().max(1);
        // A number: nothing can be injected.
        let sql = format!(
            "select set_config('lock_timeout', '{millis}ms', true), \
             set_config('statement_timeout', '{}ms', true)",
            millis + 1_000,
        );
        raw_sql(AssertSqlSafe(sql))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Whose rows it sees.
    pub fn tenant_id(&self) -> TenantId {
        self.tenant_id
    }

    /// Makes everything durable. An error leaves open whether it happened: the same request id
    /// tells.
    pub async fn commit(self) -> Result<(), Error> {
        self.end("commit").await
    }

    /// Undoes everything.
    pub async fn rollback(self) -> Result<(), Error> {
        self.end("rollback").await
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.connection
            .as_mut()
            .expect("`end` consumes the transaction")
    }

    async fn end(mut self, sql: &'static str) -> Result<(), Error> {
        raw_sql(sql).execute(self.connection()).await?;
        self.connection = None;
        Ok(())
    }
}

impl Drop for TenantTx {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let kept = self.kept.take();
        // Without a runtime there is nobody to send the rollback: closing the socket does it.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    if raw_sql("rollback").execute(&mut *connection).await.is_err() {
                        connection.close_on_drop();
                    }
                    drop(connection);
                    drop(kept);
                });
            }
            Err(_) => drop(connection.detach()),
        }
    }
}
