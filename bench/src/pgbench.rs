//! Runs `pgbench` of the PostgreSQL that is measured.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use embedded::{EmbeddedError, MissingInfrastructure};
use tokio::process::Command;
use url::Url;

use crate::{cpu, servers::Servers};

/// A script that can be run any number of times.
#[derive(Debug)]
pub struct Pgbench {
    program: PathBuf,
    script: PathBuf,
    url: Url,
    password: String,
    runs: u64,
}

/// What a run did.
#[derive(Debug, Clone, Copy)]
pub struct Ran {
    /// Times the script was run through, per second.
    pub scripts_per_second: f64,
    /// CPU seconds of `pgbench` itself.
    pub cpu_seconds: f64,
    /// Times the script was run through.
    pub scripts: u64,
}

impl Pgbench {
    /// Takes `pgbench` from the folder of the server that runs. `url` names login and database.
    pub fn new(servers: &Servers, url: &str, script: &str) -> Result<Self> {
        let program = servers.programs()?.join("pgbench");
        if !program.exists() {
            return Err(EmbeddedError::Missing(MissingInfrastructure {
                what: "pgbench",
                tried: vec![format!("{} is not there", program.display())],
                remedy: "Install the PostgreSQL package that holds it (Debian: postgresql-15), or set \
                         DISPATCH_PG_BIN to a folder that holds both postgres and pgbench.",
            })
            .into());
        }
        let file = servers
            .folder()
            .join(format!("{}.sql", uuid::Uuid::new_v4().simple()));
        std::fs::write(&file, script)?;
        let mut url = Url::parse(url)?;
        let password = url.password().unwrap_or_default().to_owned();
        // On a command line everybody on the machine could read it.
        url.set_password(None)
            .ok()
            .context("a URL that can have a password")?;
        Ok(Self {
            program,
            script: file,
            url,
            password,
            runs: 0,
        })
    }

    /// Runs it with this many clients for this long; every transaction must succeed.
    pub async fn run(&mut self, clients: usize, time: Duration) -> Result<Ran> {
        // Twelve digits, and no number twice.
        let base = 100_000_000_000 + self.runs * 1_000_000_000;
        self.runs += 1;
        let before = cpu::of_ended_children()?;
        let output = Command::new(&self.program)
            .env("PGPASSWORD", &self.password)
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
            .arg(format!("--client={clients}"))
            .arg(format!("--time={}", time.as_secs().max(1)))
            .arg(format!("--file={}", self.script.display()))
            .args(["--define", &format!("base={base}"), "--define", "i=0"])
            .arg(self.url.as_str())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("running pgbench")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            let errors: String = errors.chars().take(2_000).collect();
            bail!("pgbench: {}\n{errors}", output.status);
        }
        let field = |name: &str| -> Result<f64> {
            let line = text
                .lines()
                .find_map(|line| line.trim().strip_prefix(name))
                .with_context(|| format!("pgbench says no `{name}`"))?;
            let number = line.trim().split([' ', '/']).next().unwrap_or_default();
            Ok(number.parse()?)
        };
        Ok(Ran {
            scripts_per_second: field("tps =")?,
            scripts: field("number of transactions actually processed:")? as u64,
            cpu_seconds: cpu::of_ended_children()? - before,
        })
    }
}
