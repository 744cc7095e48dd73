//! dispatch-api as a process of its own, so that its CPU time is its own: this program, started
//! again with [`FLAG`] and its configuration on standard input. It ends when that is closed, so
//! also when the benchmark is killed.

use std::{net::SocketAddr, process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use api::{ApiConfig, Limits, Quotas, Secret, Server, TokenConfig, Watched};
use chrono::{TimeDelta, Utc};
use contracts::event::AutonomyMode;
use contracts::{Actor, actor::TokenClaims};
use policy::{StarterBundles, Trust};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use crate::servers::Database;

/// The hidden flag of the child.
pub const FLAG: &str = "--as-dispatch-api";
/// The secret of all tokens of a run.
pub const SECRET: &str = "benchmarks-only-0123456789abcdef0123456789abcdef";
/// Who issues them.
pub const ISSUER: &str = "https://issuer.bench";
/// Who they are for.
pub const AUDIENCE: &str = "dispatch-api-bench";
/// The key that audit checkpoints are sealed with.
pub const SEALING_KEY: &str = "benchmarks-only-sealing-key-0123456789abcdef";

/// How often chain heads are sealed.
const SEALING: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
struct Start {
    database_url: String,
    maintenance_url: String,
    pool_size: u32,
    sealing: Duration,
    /// Whether tenants have the quotas that are usual.
    limited: bool,
}

/// A running dispatch-api.
#[derive(Debug)]
pub struct Service {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process id.
    pub pid: u32,
}

impl Service {
    /// Starts one on this database.
    pub async fn start(database: &Database, pool_size: u32) -> Result<Self> {
        Self::start_at(&database.addresses.app, database, pool_size).await
    }

    /// One that seals nothing while it is looked at: its sealer writes without being asked.
    pub async fn start_unsealed(database: &Database, pool_size: u32) -> Result<Self> {
        let day = Duration::from_secs(24 * 3600);
        Self::launch(&database.addresses.app, database, pool_size, day, false).await
    }

    /// One with the quotas of a tenant that are usual. The others have none: what they are measured with
    /// is one tenant that does as much as the machine can.
    pub async fn start_limited(database: &Database, pool_size: u32) -> Result<Self> {
        let url = &database.addresses.app;
        Self::launch(url, database, pool_size, SEALING, true).await
    }

    /// The same with another way to the database for its commands.
    pub async fn start_at(url: &str, database: &Database, pool_size: u32) -> Result<Self> {
        Self::launch(url, database, pool_size, SEALING, false).await
    }

    async fn launch(
        url: &str,
        database: &Database,
        pool_size: u32,
        sealing: Duration,
        limited: bool,
    ) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(FLAG)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting dispatch-api")?;
        let start = serde_json::to_vec(&Start {
            database_url: url.to_owned(),
            maintenance_url: database.addresses.maintenance.clone(),
            pool_size,
            sealing,
            limited,
        })?;
        let stdin = child.stdin.as_mut().context("a piped input")?;
        stdin.write_all(&start).await?;
        stdin.write_all(b"\n").await?;
        let stdout = child.stdout.take().context("a piped output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        let Ok(address) = line.trim().parse() else {
            bail!("dispatch-api did not start; its errors are above");
        };
        let pid = child.id().context("dispatch-api has ended")?;
        Ok(Self {
            child,
            address,
            pid,
        })
    }

    /// Stops it in good order.
    pub async fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait())
            .await
            .context("dispatch-api does not stop")??;
        if !status.success() {
            bail!("dispatch-api ended with {status}");
        }
        Ok(())
    }
}

/// The child's life.
pub async fn run() -> Result<()> {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    input.read_line(&mut line).await?;
    let start: Start = serde_json::from_str(&line)?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(ApiConfig {
        listen: any,
        metrics_listen: any,
        database_url: Secret::new(start.database_url),
        row_level_security: true,
        maintenance_url: Secret::new(start.maintenance_url),
        pool_size: start.pool_size,
        tokens: TokenConfig {
            secret: Secret::new(SECRET),
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            leeway: Duration::from_secs(5),
            issuers: Vec::new(),
        },
        sealing_key: Secret::new(SEALING_KEY),
        cursor_keys: Vec::new(),
        sealing_interval: start.sealing,
        bundles: Arc::new(StarterBundles::new()?),
        trust: Trust::Anybody,
        ceiling: AutonomyMode::Auto,
        watched: Watched::default(),
        limits: Limits {
            quotas: match start.limited {
                true => Quotas::default(),
                false => Quotas::boundless(),
            },
            ..Limits::default()
        },
        failpoints: false,
    })
    .await?;
    let mut output = tokio::io::stdout();
    output
        .write_all(format!("{}\n", server.api_address()?).as_bytes())
        .await?;
    output.flush().await?;
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        // The parent closes it, or is gone.
        let _ = input.read_to_end(&mut Vec::new()).await;
        stop.cancel();
    });
    server.run(shutdown).await;
    Ok(())
}

/// A token for this actor, valid for a day.
pub fn token(actor: &Actor) -> Result<String> {
    let now = Utc::now();
    Ok(api::identity::mint(
        SECRET,
        &TokenClaims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: actor.id.clone(),
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: (now + TimeDelta::days(1)).timestamp(),
            tenant: actor.tenant_id,
            kind: actor.kind,
            roles: actor.roles.clone(),
            technician_id: actor.technician_id,
        },
    )?)
}
