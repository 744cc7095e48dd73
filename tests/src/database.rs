//! A database of its own for each test, copied from one that was migrated once per run.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use policy::{BundleSource, StarterBundles};
use sqlx::{AssertSqlSafe, PgPool};
use store::{
    PoolSettings,
    bootstrap::{Addresses, Passwords, addresses, copy_database},
};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{servers, wait};

/// The password of every login, in every database of the tests.
pub const PASSWORD: &str = "tests-only";

/// The migrated database that the others are copies of; nobody is connected to it.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// A database with the logins that the real processes use.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Where each login connects.
    pub addresses: Addresses,
    /// As superuser: for looking at everything and for breaking things.
    pub admin: PgPool,
    /// As the application login.
    pub app: PgPool,
    /// As the maintenance login.
    pub maintenance: PgPool,
}

impl Database {
    /// A fresh one, migrated and empty.
    pub async fn create() -> Self {
        let server = servers::postgres().await.superuser_url();
        Self::copy_of(TEMPLATE.get_or_init(|| make_template(server)).await).await
    }

    /// A copy of a database that nobody is connected to. Asserts that the application login is one
    /// that row-level security binds.
    pub async fn copy_of(template: &str) -> Self {
        let server = servers::postgres().await.superuser_url();
        let name = name();
        copy_database(server, template, &name)
            .await
            .expect("a database can be copied");
        let addresses = addresses(server, &name, &passwords()).expect("the server's own address");
        let database = Self {
            admin: pool(&admin_url(server, &name)).await,
            app: pool(&addresses.app).await,
            maintenance: pool(&addresses.maintenance).await,
            addresses,
            name,
        };
        database.assert_app_is_bound().await;
        database
    }

    /// The login that dispatch-api uses may do nothing that row-level security does not see.
    async fn assert_app_is_bound(&self) {
        let (login, session, superuser, bypass): (String, String, bool, bool) = sqlx::query_as(
            "select current_user::text, session_user::text, rolsuper, rolbypassrls
             from pg_roles where rolname = current_user",
        )
        .fetch_one(&self.app)
        .await
        .expect("every login may read this");
        assert_eq!((login.as_str(), &login), (store::bootstrap::APP, &session));
        assert!(!superuser, "{login} is a superuser");
        assert!(!bypass, "{login} bypasses row-level security");
    }

    /// Copies it as it is now. Nobody may be writing: who is connected is thrown out.
    pub async fn copy(&self) -> String {
        let server = servers::postgres().await.superuser_url();
        let copy = name();
        self.throw_out().await;
        copy_database(server, &self.name, &copy)
            .await
            .expect("a database that nobody uses can be copied");
        copy
    }

    /// Puts a copy in its place, under its name. Nobody may be using it.
    pub async fn set_back_to(&self, copy: &str) {
        self.throw_out().await;
        let server = pool(servers::postgres().await.superuser_url()).await;
        let drop = format!("drop database \"{}\" with (force)", self.name);
        let rename = format!("alter database \"{copy}\" rename to \"{}\"", self.name);
        for sql in [drop, rename] {
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&server)
                .await
                .expect("the superuser may");
        }
        server.close().await;
    }

    async fn throw_out(&self) {
        let server = pool(servers::postgres().await.superuser_url()).await;
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
            .bind(&self.name)
            .execute(&server)
            .await
            .expect("the superuser may");
        server.close().await;
        for pool in [&self.admin, &self.app, &self.maintenance] {
            while let Some(broken) = pool.try_acquire() {
                // The other end is gone already.
                let _ = broken.close().await;
            }
        }
    }

    /// Removes it, whoever is still connected.
    pub async fn remove(&self) {
        for pool in [&self.app, &self.maintenance, &self.admin] {
            // Waits for connections that somebody still holds: a test that does hangs here.
            wait::within("giving connections back", wait::BOUND, pool.close()).await;
        }
        let server = pool(servers::postgres().await.superuser_url()).await;
        let sql = format!("drop database \"{}\" with (force)", self.name);
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&server)
            .await
            .expect("the superuser may");
        server.close().await;
    }
}

/// The bundle that decides in all tests.
pub fn bundles() -> Arc<dyn BundleSource> {
    Arc::<StarterBundles>::clone(&STARTER)
}

static STARTER: LazyLock<Arc<StarterBundles>> =
    LazyLock::new(|| Arc::new(StarterBundles::new().expect("the starter bundle is valid")));

async fn make_template(server: &'static str) -> String {
    let name = name();
    let addresses = store::bootstrap(server, &name, &passwords())
        .await
        .expect("the superuser may");
    store::migrate(&addresses.owner)
        .await
        .expect("the migrations run on an empty database");
    let owner = pool(&addresses.owner).await;
    store::bundles::install(
        &owner,
        STARTER.starter().reference(),
        &STARTER
            .starter()
            .files()
            .to_archive()
            .expect("the starter bundle can be packed"),
        None,
        "tests",
        "first",
        chrono::Utc::now(),
    )
    .await
    .expect("the owner may");
    // A database that somebody is connected to cannot be copied.
    owner.close().await;
    name
}

async fn pool(url: &str) -> PgPool {
    let settings = PoolSettings {
        max_connections: 8,
        acquire_timeout: Duration::from_secs(20),
        ..PoolSettings::new("dispatch-tests")
    };
    store::connect(url, &settings)
        .await
        .expect("the shared server answers")
}

fn name() -> String {
    format!("test_{}", Uuid::new_v4().simple())
}

fn passwords() -> Passwords {
    let same = || PASSWORD.to_owned();
    Passwords {
        owner: same(),
        app: same(),
        relay: same(),
        comms: same(),
        maintenance: same(),
        reader: same(),
    }
}

fn admin_url(server: &str, database: &str) -> String {
    let mut url = url::Url::parse(server).expect("the server's own address");
    url.set_path(database);
    url.into()
}
