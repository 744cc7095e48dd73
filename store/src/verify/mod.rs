//! The checker behind `dispatch verify`: what must always be true, looked for row by row.
//!
//! It runs as `dispatch_maintenance`, reads everything as of one moment, changes nothing, and knows
//! nothing of how the rows came to be: it recomputes hashes, folds the timeline anew and compares.
//! What it finds are [`Violation`]s; an error means that it could not look.

mod approvals;
mod autonomy;
mod beside;
mod chains;
mod comms;
mod control;
mod filings;
mod receipt;
mod receipts;
mod released;
mod rows;
mod schema;
mod sending;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};

use crate::{Error, seal::SealingKey};

pub use receipts::{Acknowledged, receipts};

/// What must always be true. The numbers are those of the quality document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, strum::Display)]
pub enum Invariant {
    /// An acknowledged command has exactly one effect, audit row, decision and stored answer.
    I1,
    /// None of these stands alone.
    I2,
    /// Versions of a ticket are 1..n, and its timeline folds to it.
    I3,
    /// Events to the workflow are numbered 1..n without gap or repeat.
    I4,
    /// No unexpected effect: software does nothing under an engaged kill switch, and changes nothing
    /// in shadow mode.
    I5,
    /// A key has one answer; another request under it had no effect.
    I6,
    /// Nothing waits too long for delivery, nothing is parked; a message is sent once per key.
    I7,
    /// Only legal transitions.
    I8,
    /// Audit chains and checkpoints are intact and cannot be rewritten.
    I9,
    /// Nothing crosses tenants.
    I10,
    /// What a client was told is in the database.
    I12,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Violation {
    /// Which rule.
    pub invariant: Invariant,
    /// Table and row.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
}

/// What the checker is to assume.
#[derive(Debug, Clone)]
pub struct Options {
    /// Checks the checkpoints' signatures; without it their hashes only.
    pub sealing_key: Option<SealingKey>,
    /// How long an event may wait for delivery; `None`: as long as it likes (no relay runs).
    pub delivery_within: Option<std::time::Duration>,
    /// How long an audit row may wait for a checkpoint; `None`: as long as it likes (no sealer runs).
    pub sealed_within: Option<std::time::Duration>,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// As of when.
    pub at: DateTime<Utc>,
    /// Tickets.
    pub tickets: u64,
    /// Attempts.
    pub attempts: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// What must not be, sorted; at most [`MOST_PER_CHECK`] of each kind.
    pub violations: Vec<Violation>,
}

/// More of one kind help nobody.
pub const MOST_PER_CHECK: usize = 100;

/// Looks at everything.
///
/// # Errors
/// When the database cannot be read: then nothing is known.
pub async fn verify(pool: &PgPool, options: &Options) -> Result<Report, Error> {
    let mut tx = pool
        .begin_with("begin isolation level repeatable read read only")
        .await?;
    let at: DateTime<Utc> = sqlx::query_scalar("select now()")
        .fetch_one(&mut *tx)
        .await?;
    let mut found = Findings::default();
    schema::check(&mut tx, &mut found).await?;
    sending::check(&mut tx, &mut found).await?;
    rows::check(&mut tx, options, &mut found).await?;
    comms::check(&mut tx, &mut found).await?;
    approvals::check(&mut tx, &mut found).await?;
    control::check(&mut tx, &mut found).await?;
    released::check(&mut tx, &mut found).await?;
    autonomy::check(&mut tx, &mut found).await?;
    let seen = chains::check(&mut tx, options.sealing_key.as_ref(), &mut found).await?;
    let tickets = count(&mut tx, "select count(*) from tickets").await?;
    tx.rollback().await?;
    found.violations.sort();
    Ok(Report {
        at,
        tickets,
        attempts: seen.attempts,
        checkpoints: seen.checkpoints,
        violations: found.violations,
    })
}

/// Only what the database itself has to enforce: rights, policies, triggers. Quick, whatever it holds.
///
/// # Errors
/// When the catalogue cannot be read.
pub async fn rights(connection: &mut PgConnection) -> Result<Vec<Violation>, Error> {
    let mut found = Findings::default();
    schema::check(connection, &mut found).await?;
    found.violations.sort();
    Ok(found.violations)
}

async fn count(tx: &mut PgConnection, sql: &'static str) -> Result<u64, Error> {
    let n: i64 = sqlx::query_scalar(sql).fetch_one(tx).await?;
    Ok(n.unsigned_abs())
}

/// Collects violations.
#[derive(Debug, Default)]
struct Findings {
    violations: Vec<Violation>,
}

impl Findings {
    fn add(&mut self, invariant: Invariant, place: impl Into<String>, what: impl Into<String>) {
        let what = what.into();
        let same = |v: &&Violation| v.invariant == invariant && v.what == what;
        if self.violations.iter().filter(same).count() < MOST_PER_CHECK {
            self.violations.push(Violation {
                invariant,
                place: place.into(),
                what,
            });
        }
    }
}
