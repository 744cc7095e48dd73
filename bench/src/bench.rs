//! What every figure is measured with.

use std::{sync::Mutex, time::Duration};

use anyhow::Result;

use crate::servers::{Database, Servers};

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Interleaved rounds per figure.
    pub rounds: usize,
    /// Much shorter: for trying things out, not for publishing.
    pub quick: bool,
    /// Largest table of delivered events in R9.
    pub delivered_rows: u64,
}

impl Settings {
    /// One of two lengths.
    pub fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// How long one side of one round of a throughput figure runs.
    pub fn round_time(&self) -> Duration {
        Duration::from_secs(self.pick(5, 2))
    }
}

/// The servers, the settings, and the databases that have to be checked in the end.
#[derive(Debug)]
pub struct Bench {
    /// Postgres and its databases.
    pub servers: Servers,
    /// How long and how often.
    pub settings: Settings,
    checked: Mutex<Vec<Database>>,
}

impl Bench {
    /// Starts Postgres. A figure that needs Temporal starts one of its own: what another one left in
    /// it would disturb.
    pub async fn start(settings: Settings) -> Result<Self> {
        Ok(Self {
            servers: Servers::start().await?,
            settings,
            checked: Mutex::new(Vec::new()),
        })
    }

    /// A fresh database; the invariants are checked in it when everything has run.
    pub async fn database(&self, name: &str) -> Result<Database> {
        let database = self.servers.database(name).await?;
        let mut checked = self.checked.lock().expect("no holder panics");
        checked.push(database.clone());
        Ok(database)
    }

    /// A fresh database that holds what dispatch-api would never write: a baseline's rows, or rows
    /// made up. The checker would rightly reject it.
    pub async fn unchecked_database(&self, name: &str) -> Result<Database> {
        self.servers.database(name).await
    }

    /// The databases to check.
    pub fn checked(&self) -> Vec<Database> {
        self.checked.lock().expect("no holder panics").clone()
    }

    /// Stops the servers.
    pub async fn stop(self) {
        self.servers.postgres.shutdown().await;
    }
}
