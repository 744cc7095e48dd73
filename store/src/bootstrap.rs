//! Creates the logins and the database: what only an administrator of the server may do.
//!
//! Everything can be repeated. None of the logins is a superuser or bypasses row-level security,
//! and only the owner may change the schema.

use std::fmt;

use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, raw_sql};
use url::Url;

use crate::{Error, migrate::refuse_pooler, pool::connect_options};

/// Migrates, and owns everything.
pub const OWNER: &str = "dispatch_owner";
/// Runs commands and reads; sees one tenant at a time.
pub const APP: &str = "dispatch_app";
/// Delivers the outbox of all tenants.
pub const RELAY: &str = "dispatch_relay";
/// Sends the outbound messages of all tenants.
pub const COMMS: &str = "dispatch_comms";
/// Reads all tenants, to verify and seal.
pub const MAINTENANCE: &str = "dispatch_maintenance";
/// Reads what was recorded of all tenants, to replay it; cannot write anything.
pub const READER: &str = "dispatch_reader";
/// Has the rights of [`APP`] and is not bound by row-level security, so it sees all tenants: what
/// `database.rls = "off"` uses, and what the benchmark measures the cost of it against. Never made
/// unless asked for.
pub const APP_WITHOUT_RLS: &str = "dispatch_app_norls";

/// The passwords of the logins.
#[derive(Clone)]
pub struct Passwords {
    /// Of [`OWNER`].
    pub owner: String,
    /// Of [`APP`].
    pub app: String,
    /// Of [`RELAY`].
    pub relay: String,
    /// Of [`COMMS`].
    pub comms: String,
    /// Of [`MAINTENANCE`].
    pub maintenance: String,
    /// Of [`READER`].
    pub reader: String,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords(masked)")
    }
}

/// The addresses of one database, one per login. They hold passwords.
#[derive(Clone)]
pub struct Addresses {
    /// For `dispatch migrate`.
    pub owner: String,
    /// For dispatch-api.
    pub app: String,
    /// For the relay.
    pub relay: String,
    /// For the sender of messages.
    pub comms: String,
    /// For `dispatch verify` and the sealer.
    pub maintenance: String,
    /// For `dispatch shadow replay` and `dispatch policy diff`.
    pub reader: String,
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Addresses(masked)")
    }
}

/// Creates what is missing of the logins and the database, sets the passwords, and answers where to
/// connect. `admin_url` is that of a superuser, in any database of the server.
///
/// # Errors
/// [`Error::Configuration`] for an address that cannot be read or leads through a pooler, otherwise
/// what the server said.
pub async fn bootstrap(
    admin_url: &str,
    database: &str,
    passwords: &Passwords,
) -> Result<Addresses, Error> {
    refuse_pooler(admin_url, "nothing was made").await?;
    let options = connect_options(admin_url)?;
    let mut admin = options.connect().await?;
    // Logins belong to the whole server: two that bootstrap different databases at once would
    // otherwise trip over each other.
    lock(&mut admin).await?;
    for (login, password) in passwords.by_login() {
        create_login(&mut admin, login, password).await?;
    }
    create_database(&mut admin, database).await?;
    let mut inside = options.database(database).connect().await?;
    raw_sql(
        "revoke all on schema public from public;
         grant usage on schema public
             to dispatch_app, dispatch_relay, dispatch_comms, dispatch_maintenance, dispatch_reader;
         grant all on schema public to dispatch_owner;
         -- Everybody may make large objects, and nobody here needs any.
         revoke execute on function lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea)
             from public;
         -- An advisory lock takes no right: whoever only reads could hold the lock that a kill switch
         -- waits for.
         do $$
         declare
             locking regprocedure;
         begin
             for locking in select oid from pg_proc
                 where pronamespace = 'pg_catalog'::regnamespace and proname like 'pg\\_%advisory\\_%'
             loop
                 execute format('revoke execute on function %s from public', locking);
                 execute format('grant execute on function %s to dispatch_owner, dispatch_app,
                     dispatch_relay, dispatch_comms, dispatch_maintenance', locking);
             end loop;
         end $$",
    )
    .execute(&mut inside)
    .await?;
    addresses(admin_url, database, passwords)
}

/// Where each login connects.
///
/// # Errors
/// [`Error::Configuration`] when `server_url` is not an address.
pub fn addresses(
    server_url: &str,
    database: &str,
    passwords: &Passwords,
) -> Result<Addresses, Error> {
    let of = |login: &str, password: &str| address(server_url, database, login, password);
    Ok(Addresses {
        owner: of(OWNER, &passwords.owner)?,
        app: of(APP, &passwords.app)?,
        relay: of(RELAY, &passwords.relay)?,
        comms: of(COMMS, &passwords.comms)?,
        maintenance: of(MAINTENANCE, &passwords.maintenance)?,
        reader: of(READER, &passwords.reader)?,
    })
}

/// A copy of a migrated database that nobody is connected to: for tests, in milliseconds. Call it
/// as an administrator; the login addresses are those of [`addresses`].
pub async fn copy_database(admin_url: &str, from: &str, to: &str) -> Result<(), Error> {
    let mut admin = connect_options(admin_url)?.connect().await?;
    let sql: String = sqlx::query_scalar(
        "select format('create database %I owner dispatch_owner template %I', $1, $2)",
    )
    .bind(to)
    .bind(from)
    .fetch_one(&mut admin)
    .await?;
    raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await?;
    restrict(&mut admin, to).await
}

/// Makes [`APP_WITHOUT_RLS`] and answers where it connects. For development only.
///
/// # Errors
/// As [`bootstrap`].
pub async fn create_login_without_rls(
    admin_url: &str,
    database: &str,
    password: &str,
) -> Result<String, Error> {
    let mut admin: PgConnection = connect_options(admin_url)?.connect().await?;
    lock(&mut admin).await?;
    create_login(&mut admin, APP_WITHOUT_RLS, password).await?;
    raw_sql("alter role dispatch_app_norls bypassrls; grant dispatch_app to dispatch_app_norls")
        .execute(&mut admin)
        .await?;
    address(admin_url, database, APP_WITHOUT_RLS, password)
}

/// The address of [`APP_WITHOUT_RLS`], which has the password of [`APP`].
///
/// # Errors
/// [`Error::Configuration`] when `app_url` is not an address.
pub fn address_without_rls(app_url: &str) -> Result<String, Error> {
    let unusable = || Error::Configuration("the database address cannot be read".into());
    let mut url = Url::parse(app_url).map_err(|_| unusable())?;
    url.set_username(APP_WITHOUT_RLS).map_err(|()| unusable())?;
    Ok(url.into())
}

impl Passwords {
    fn by_login(&self) -> [(&'static str, &str); 6] {
        [
            (OWNER, &self.owner),
            (APP, &self.app),
            (RELAY, &self.relay),
            (COMMS, &self.comms),
            (MAINTENANCE, &self.maintenance),
            (READER, &self.reader),
        ]
    }
}

async fn lock(admin: &mut PgConnection) -> Result<(), Error> {
    // Ends with the connection.
    sqlx::query("select pg_advisory_lock(hashtextextended('dispatch bootstrap', 0))")
        .execute(admin)
        .await?;
    Ok(())
}

async fn create_login(admin: &mut PgConnection, login: &str, password: &str) -> Result<(), Error> {
    let exists: bool =
        sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
            .bind(login)
            .fetch_one(&mut *admin)
            .await?;
    // The server quotes: a role statement takes no parameters. The rights are set again each time,
    // so that a login which somebody gave more loses it.
    let sql: String = sqlx::query_scalar(
        "select format('%s role %I login nosuperuser nocreatedb nocreaterole noreplication \
         nobypassrls password %L', $1, $2, $3)",
    )
    .bind(if exists { "alter" } else { "create" })
    .bind(login)
    .bind(password)
    .fetch_one(&mut *admin)
    .await?;
    raw_sql(AssertSqlSafe(sql)).execute(&mut *admin).await?;
    Ok(())
}

async fn create_database(admin: &mut PgConnection, database: &str) -> Result<(), Error> {
    let exists: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(database)
            .fetch_one(&mut *admin)
            .await?;
    if !exists {
        let sql: String =
            sqlx::query_scalar("select format('create database %I owner dispatch_owner', $1)")
                .bind(database)
                .fetch_one(&mut *admin)
                .await?;
        raw_sql(AssertSqlSafe(sql)).execute(&mut *admin).await?;
    }
    restrict(admin, database).await
}

/// Who may connect, and how long a session may hold up the others.
///
/// A forgotten transaction keeps dead rows alive and with them every index on pending rows slow;
/// a command that was cut off must let go of its ticket. Relay and sender want pending rows only, by
/// their index: while the statistics are old, the planner would read all that are done to find them.
/// With that the costs look high where there is no index, and a statement on two rows was compiled for
/// a second before it ran: workflows heard of a kill switch that much later.
async fn restrict(admin: &mut PgConnection, database: &str) -> Result<(), Error> {
    let statements: Vec<String> = sqlx::query_scalar(
        "select format(s, $1) from unnest(array[
             'revoke all on database %I from public',
             'grant connect on database %I to dispatch_owner, dispatch_app, dispatch_relay, dispatch_comms, dispatch_maintenance, dispatch_reader',
             'alter role dispatch_app in database %I set statement_timeout = ''10s''',
             'alter role dispatch_app in database %I set idle_in_transaction_session_timeout = ''10s''',
             'alter role dispatch_relay in database %I set statement_timeout = ''30s''',
             'alter role dispatch_relay in database %I set idle_in_transaction_session_timeout = ''30s''',
             'alter role dispatch_relay in database %I set enable_seqscan = off',
             'alter role dispatch_relay in database %I set jit = off',
             'alter role dispatch_comms in database %I set statement_timeout = ''30s''',
             'alter role dispatch_comms in database %I set idle_in_transaction_session_timeout = ''30s''',
             'alter role dispatch_comms in database %I set enable_seqscan = off',
             'alter role dispatch_comms in database %I set jit = off',
             'alter role dispatch_maintenance in database %I set idle_in_transaction_session_timeout = ''60s''',
             'alter role dispatch_reader in database %I set default_transaction_read_only = on',
             'alter role dispatch_reader in database %I set idle_in_transaction_session_timeout = ''60s'''
         ]) s",
    )
    .bind(database)
    .fetch_all(&mut *admin)
    .await?;
    for statement in statements {
        raw_sql(AssertSqlSafe(statement))
            .execute(&mut *admin)
            .await?;
    }
    Ok(())
}

fn address(server_url: &str, database: &str, login: &str, password: &str) -> Result<String, Error> {
    let unusable = || Error::Configuration("the server's address cannot be read".into());
    let mut url = Url::parse(server_url).map_err(|_| unusable())?;
    url.set_username(login).map_err(|()| unusable())?;
    url.set_password(Some(password)).map_err(|()| unusable())?;
    url.set_path(database);
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_login_has_its_own_address() {
        let all = |p: &str| Passwords {
            owner: p.into(),
            app: p.into(),
            relay: p.into(),
            comms: p.into(),
            maintenance: p.into(),
            reader: p.into(),
        };
        let server = "postgres://postgres:x@127.0.0.1:5433/postgres?sslmode=disable";
        let addresses = addresses(server, "d1", &all("p@ss/word")).unwrap();
        assert_eq!(
            addresses.app,
            "postgres://dispatch_app:p%40ss%2Fword@127.0.0.1:5433/d1?sslmode=disable"
        );
        assert!(!format!("{addresses:?}{:?}", all("secret")).contains("secret"));
        assert_eq!(
            address_without_rls(&addresses.app).unwrap(),
            "postgres://dispatch_app_norls:p%40ss%2Fword@127.0.0.1:5433/d1?sslmode=disable"
        );
    }
}
