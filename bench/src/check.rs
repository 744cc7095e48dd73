//! The invariant check that ends a run.

use anyhow::Result;
use store::{
    seal::SealingKey,
    verify::{Options, verify},
};

use crate::{
    servers::{Database, pool},
    service::SEALING_KEY,
};

/// Looks through a database as `dispatch verify` does; says and counts what it finds.
pub async fn violations(database: &Database) -> Result<usize> {
    // What autovacuum would have come round to: the checker's joins want statistics.
    let admin = pool(&database.admin_url, 1).await?;
    sqlx::raw_sql("analyze").execute(&admin).await?;
    admin.close().await;
    let pool = pool(&database.addresses.maintenance, 1).await?;
    let options = Options {
        sealing_key: Some(SealingKey::new(SEALING_KEY)),
        // Where a relay ran, its figure has waited until nothing was pending.
        delivery_within: None,
        sealed_within: None,
    };
    let report = verify(&pool, &options).await?;
    pool.close().await;
    for violation in &report.violations {
        crate::say(&format!(
            "{}: {}: {}: {}",
            database.name, violation.invariant, violation.place, violation.what,
        ));
    }
    crate::say(&format!(
        "{} tickets, {} attempts, {} checkpoints: {} violations",
        report.tickets,
        report.attempts,
        report.checkpoints,
        report.violations.len(),
    ));
    Ok(report.violations.len())
}
