//! The servers of a run: a durable Postgres and a Temporal development server, both of our own and
//! both gone afterwards; and a database for each figure.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use embedded::{Durability, Postgres, PostgresOptions, Progress, TemporalOptions, TemporalServer};
use policy::StarterBundles;
use sqlx::PgPool;
use store::{
    PoolSettings,
    bootstrap::{Addresses, Passwords, addresses, copy_database},
};
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions};
use url::Url;
use uuid::Uuid;
use workflows::ticket::attributes;

use crate::life::TENANT;

/// The namespace of all workflows of the run.
pub const NAMESPACE: &str = "default";
const TEMPLATE: &str = "bench_template";

/// What all figures share.
#[derive(Debug)]
pub struct Servers {
    /// With the settings of a production server as far as durability goes.
    pub postgres: Postgres,
    folder: tempfile::TempDir,
    passwords: Passwords,
}

/// A database with the logins that the real processes use.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Where each login connects.
    pub addresses: Addresses,
    /// Where the superuser connects.
    pub admin_url: String,
    /// As superuser.
    pub admin: PgPool,
    /// As the relay's login.
    pub relay: PgPool,
}

impl Servers {
    /// Starts Postgres and migrates the database that the others are copies of.
    pub async fn start() -> Result<Self> {
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let postgres = Postgres::start(PostgresOptions {
            durability: Durability::Durable,
            settings: vec![
                setting("max_connections", "200"),
                setting("shared_buffers", "512MB"),
                // Checkpoints fall on whichever side is running; rare ones disturb fewer rounds.
                setting("max_wal_size", "8GB"),
                setting("checkpoint_timeout", "30min"),
                // Tells when a transaction was committed, to the microsecond.
                setting("track_commit_timestamp", "on"),
                // What the dump of statements is read from.
                setting("log_line_prefix", crate::dump::LOG_PREFIX),
            ],
            progress: progress(),
            ..PostgresOptions::default()
        })
        .await?;
        let passwords = passwords();
        let server = postgres.superuser_url();
        let owner = store::bootstrap(server, TEMPLATE, &passwords).await?.owner;
        store::migrate(&owner).await?;
        let pool = pool(&owner, 1).await?;
        store::seed::tenant(&pool, TENANT.tenant_id, &TENANT.slug).await?;
        let bundles = StarterBundles::new()?;
        let bundle = bundles.starter();
        let archive = bundle.files().to_archive()?;
        let now = chrono::Utc::now();
        let reference = bundle.reference();
        store::bundles::install(&pool, reference, &archive, None, "bench", "first", now).await?;
        // A database that somebody is connected to cannot be copied.
        pool.close().await;
        Ok(Self {
            postgres,
            folder: tempfile::tempdir()?,
            passwords,
        })
    }

    /// A fresh copy of the migrated database with one tenant in it.
    pub async fn database(&self, name: &str) -> Result<Database> {
        let server = self.postgres.superuser_url();
        let name = format!("bench_{name}_{}", Uuid::new_v4().simple());
        copy_database(server, TEMPLATE, &name).await?;
        let addresses = addresses(server, &name, &self.passwords)?;
        let mut admin_url = Url::parse(server)?;
        admin_url.set_path(&name);
        Ok(Database {
            admin: pool(admin_url.as_str(), 4).await?,
            relay: pool(&addresses.relay, 4).await?,
            admin_url: admin_url.into(),
            addresses,
            name,
        })
    }

    /// Starts a Temporal of its own with its state in a file, so durable as SQLite is.
    pub async fn temporal(&self) -> Result<TemporalServer> {
        let attributes = attributes::ALL
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), format!("{kind:?}")));
        let file = format!("temporal-{}.db", Uuid::new_v4().simple());
        Ok(TemporalServer::resolve_and_start(TemporalOptions {
            db_file: Some(self.folder.path().join(file)),
            ui: false,
            search_attributes: attributes.collect(),
            progress: progress(),
            ..TemporalOptions::default()
        })
        .await?)
    }

    /// A folder for files of this run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Process id of the Postgres server.
    pub fn postgres_pid(&self) -> Result<u32> {
        self.postgres.pid().context("the Postgres server has ended")
    }

    /// The folder of the PostgreSQL programs that run.
    pub fn programs(&self) -> Result<PathBuf> {
        let program = std::fs::read_link(format!("/proc/{}/exe", self.postgres_pid()?))?;
        let folder = program.parent().context("a program is in a folder")?;
        Ok(folder.to_owned())
    }

    /// What a power cut would cost, as the server says.
    pub async fn durability(&self) -> Result<Vec<(String, String)>> {
        let pool = pool(self.postgres.superuser_url(), 1).await?;
        let names = [
            "server_version",
            "fsync",
            "synchronous_commit",
            "full_page_writes",
            "wal_sync_method",
            "commit_delay",
        ];
        let rows: Vec<(String, String)> =
            sqlx::query_as("select name, setting from pg_settings where name = any($1)")
                .bind(names)
                .fetch_all(&pool)
                .await?;
        pool.close().await;
        Ok(rows)
    }
}

impl Database {
    /// Ends all connections of ours to it.
    pub async fn close(&self) {
        self.admin.close().await;
        self.relay.close().await;
    }
}

/// A pool of this size.
pub async fn pool(url: &str, connections: u32) -> Result<PgPool> {
    let settings = PoolSettings {
        max_connections: connections,
        acquire_timeout: Duration::from_secs(30),
        ..PoolSettings::new("dispatch-bench")
    };
    Ok(store::connect(url, &settings).await?)
}

/// How to reach the Temporal server.
pub fn connection(server: &TemporalServer) -> Result<ConnectionOptions> {
    let url = Url::parse(&format!("http://{}", server.address()))?;
    Ok(ConnectionOptions::new(url).build())
}

/// A client of the Temporal server.
pub async fn client(server: &TemporalServer) -> Result<Client> {
    let connection = Connection::connect(connection(server)?).await?;
    Ok(Client::new(
        connection,
        ClientOptions::new(NAMESPACE).build(),
    )?)
}

fn passwords() -> Passwords {
    let same = Uuid::new_v4().simple().to_string();
    Passwords {
        owner: same.clone(),
        app: same.clone(),
        relay: same.clone(),
        comms: same.clone(),
        maintenance: same.clone(),
        reader: same,
    }
}

fn progress() -> Progress {
    Progress::new(crate::say)
}
