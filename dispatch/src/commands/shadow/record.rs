//! The record from the command line: which part of it, under which bundle, and how far we are.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{SubsecRound, Utc};
use clap::Args;
use contracts::{TenantId, TicketId, value::is_sha256};
use policy::{Bundle, BundleError, BundleFiles, Trust};
use replay::{Range, Snapshot};
use sqlx::PgPool;

use crate::{
    commands::ticket::{Instant as Moment, parse_instant},
    config::Settings,
    exit::{Failure, chain},
    parts,
};

/// The login that reads.
const KEY: &str = "database.reader_url";
/// How often a terminal hears how far we are.
const OFTEN: Duration = Duration::from_millis(100);

/// Tenants that are named to somebody who gave another.
const NAMES: u32 = 10;

/// What decides and advises: the version, and the commit when it was built from a checkout.
pub const CODE_VERSION: &str = env!("CODE_VERSION");

/// From when to when.
#[derive(Debug, Args)]
pub struct SpanArgs {
    /// From this time on: 2026-11-21T18:00:00Z, or 7d ago
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub since: Moment,

    /// Before this time [default: the end of the record]
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub until: Option<Moment>,
}

/// Opens the record.
pub async fn open(settings: &Settings) -> Result<PgPool, Failure> {
    parts::pool(KEY, settings.database.reader_url.as_ref()).await
}

/// The part of the record that is meant; all tenants when none is named.
pub async fn range(
    pool: &PgPool,
    span: &SpanArgs,
    tenants: &[String],
    ticket: Option<TicketId>,
) -> Result<Range, Failure> {
    // What Postgres keeps of a moment.
    let now = Utc::now().trunc_subsecs(6);
    let since = span.since.before(now);
    let until = span.until.map(|until| until.before(now));
    if until.is_some_and(|until| until <= since) {
        return Err(Failure::usage("--until must come after --since"));
    }
    let mut found = Vec::new();
    for named in tenants {
        found.push(tenant(pool, named).await?);
    }
    if tenants.is_empty() {
        let mut snapshot = Snapshot::begin(pool).await.map_err(failed)?;
        found = snapshot.tenants().await.map_err(failed)?;
    }
    Ok(Range::new(found, ticket, since, until))
}

async fn tenant(pool: &PgPool, named: &str) -> Result<TenantId, Failure> {
    if let Some(found) = replay::tenant(pool, named).await.map_err(failed)? {
        return Ok(found);
    }
    let names = replay::tenant_names(pool, NAMES).await.map_err(failed)?;
    Err(Failure::usage(format!(
        "there is no tenant `{named}`: give its id or its name, for example one of: {}",
        names.join(", ")
    )))
}

/// A bundle by where it stands, a folder or an archive, or by its hash; the active one when none is
/// named. Who signed it does not matter: it decides about the past.
pub async fn bundle(
    settings: &Settings,
    pool: &PgPool,
    named: Option<&str>,
) -> Result<Arc<Bundle>, Failure> {
    let sha256 = match named {
        Some(named) if !is_sha256(named) => return at(Path::new(named)),
        Some(sha256) => sha256.to_owned(),
        None => {
            let active = replay::active_bundle(pool).await.map_err(failed)?;
            let none = || Failure::failed("no bundle is active: name one with --bundle");
            active.ok_or_else(none)?.sha256
        }
    };
    let unusable = |error: BundleError| Failure::usage(chain(&error));
    match replay::archive(pool, &sha256).await.map_err(failed)? {
        Some(archive) => BundleFiles::from_archive(&archive)
            .and_then(|files| Trust::Anybody.accept(files))
            .and_then(Bundle::load)
            .map(Arc::new)
            .map_err(unusable),
        None => parts::bundles(settings)?.load(&sha256).map_err(unusable),
    }
}

/// The bundle that stands there.
fn at(path: &Path) -> Result<Arc<Bundle>, Failure> {
    Bundle::open(path, &Trust::Anybody)
        .map(Arc::new)
        .map_err(|error| Failure::usage(format!("{}: {}", path.display(), chain(&error))))
}

/// What went wrong.
pub fn failed(error: replay::Error) -> Failure {
    match &error {
        replay::Error::Store(inner) => parts::database(KEY, inner),
        replay::Error::Place(_) => Failure::usage(chain(&error)),
        replay::Error::S3 { .. } => Failure::infrastructure(chain(&error)),
        replay::Error::Io { .. } | replay::Error::Lost(_) => Failure::failed(chain(&error)),
    }
}

/// Tells a terminal how far we are; nobody else.
#[derive(Debug)]
pub struct Meter {
    what: &'static str,
    shown: bool,
    last: Option<Instant>,
}

impl Meter {
    /// For so many of these.
    pub fn new(what: &'static str) -> Self {
        Self {
            what,
            shown: std::io::stderr().is_terminal(),
            last: None,
        }
    }

    /// So many are done.
    pub fn tell(&mut self, done: u64, total: u64) {
        let soon = self.last.is_some_and(|last| last.elapsed() < OFTEN);
        if !self.shown || soon && done < total {
            return;
        }
        self.last = Some(Instant::now());
        let mut err = std::io::stderr().lock();
        // A terminal that is gone is no reason to stop.
        let _ = write!(err, "\r{done} of {total} {}\u{1b}[K", self.what).and_then(|()| err.flush());
    }

    /// Takes the line away.
    pub fn end(self) {
        if self.last.is_some() {
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "\r\u{1b}[K").and_then(|()| err.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_told_from_a_path() {
        assert!(is_sha256(&"0a".repeat(32)));
        for path in [
            "bundle",
            "./bundle.tar.gz",
            &"0A".repeat(32),
            &"0a".repeat(31),
        ] {
            assert!(!is_sha256(path), "{path}");
        }
    }
}
