//! `dispatch verify`.

mod workflows;

use std::time::Duration;

use serde::Serialize;
use store::{
    seal::SealingKey,
    verify::{Options, Report, Violation, verify},
};

use crate::{
    cli::{Global, VerifyArgs},
    config::Settings,
    exit::Failure,
    parts,
    secret::Secret,
    temporal::Temporal,
};

/// An event that waits longer than this is stuck.
const DELIVERY_BOUND: Duration = Duration::from_secs(30);
/// An audit row that no checkpoint covers after this long was forgotten: the sealer, which runs with
/// the API, comes by every few seconds.
const SEALING_BOUND: Duration = Duration::from_secs(120);
const KEY: &str = "database.maintenance_url";

/// What was looked at and what was found.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Nothing is wrong.
    pub ok: bool,
    /// Of the database.
    pub database: Report,
    /// Of the workflows, when they were asked.
    pub workflows: Option<workflows::Report>,
}

/// Checks the invariants; exit code 1 on any violation.
pub async fn run(global: &Global, args: &VerifyArgs) -> Result<(), Failure> {
    let settings = super::load(global, Vec::new())?.settings;
    let outcome = check(&settings, args.temporal, !args.without_relay).await?;
    if args.output.json {
        super::print_json(&outcome)?;
    } else {
        super::print(&outcome.text())?;
    }
    if outcome.ok {
        Ok(())
    } else {
        Err(Failure::reported())
    }
}

/// Looks at the database and, if asked, at the workflows.
pub async fn check(
    settings: &Settings,
    with_workflows: bool,
    with_relay: bool,
) -> Result<Outcome, Failure> {
    let pool = parts::pool(KEY, settings.database.maintenance_url.as_ref()).await?;
    let key = settings.audit.seal_key.as_ref().map(Secret::expose);
    let options = Options {
        sealing_key: key.map(SealingKey::new),
        delivery_within: with_relay.then_some(DELIVERY_BOUND),
        sealed_within: with_relay.then_some(SEALING_BOUND),
    };
    let database = verify(&pool, &options)
        .await
        .map_err(|error| parts::database(KEY, &error))?;
    let workflows = if with_workflows {
        let client = Temporal::new(&settings.temporal)?.connect().await?;
        Some(workflows::compare(&pool, &client).await?)
    } else {
        None
    };
    let in_workflows = workflows
        .as_ref()
        .map_or(0, |report| report.violations.len());
    Ok(Outcome {
        ok: database.violations.is_empty() && in_workflows == 0,
        database,
        workflows,
    })
}

impl Outcome {
    /// For people.
    pub fn text(&self) -> String {
        let workflows = self.workflows.as_ref();
        let violations: Vec<&Violation> = self
            .database
            .violations
            .iter()
            .chain(workflows.into_iter().flat_map(|report| &report.violations))
            .collect();
        let mut text: String = violations
            .iter()
            .map(|found| format!("{}  {}: {}\n", found.invariant, found.place, found.what))
            .collect();
        text += &format!(
            "{} tickets, {} attempts, {} checkpoints looked at",
            self.database.tickets, self.database.attempts, self.database.checkpoints
        );
        if let Some(report) = workflows {
            text += &format!(", {} workflows compared", report.tickets - report.forgotten);
            if report.forgotten > 0 {
                text += &format!(
                    " ({} more ended and are past Temporal's retention)",
                    report.forgotten
                );
            }
        }
        text += &match violations.len() {
            0 => ": all invariants hold\n".to_owned(),
            1 => ": 1 violation\n".to_owned(),
            n => format!(": {n} violations\n"),
        };
        text
    }
}
