//! `dispatch policy activate` and `rollback`.

use std::path::{Path, PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use clap::Args;
use client::{CallOptions, FilingAnswer};
use contracts::{
    Role, Slug,
    command::{ActivateBundle, UploadBundle},
    filing::Filed,
    policy::DiffSummary,
    value::is_sha256,
};
use policy::BundleFiles;
use replay::{DecisionChange, diff::DiffReport};

use super::{open, read, refused};
use crate::{
    cli::Global,
    desk::{Connection, Desk},
    exit::Failure,
    table::clean,
    words,
};

/// `dispatch policy activate`.
#[derive(Debug, Args)]
pub struct ActivateArgs {
    /// The bundle: a folder, an archive, or the sha256 of one that was uploaded before
    #[arg(value_name = "PATH|SHA256")]
    pub bundle: String,

    /// Why: a word such as quiet_hours_later
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    /// The report of `dispatch policy diff --out FILE` about this bundle; policy may ask for it
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch policy rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Why: a word such as too_strict
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    /// The report of `dispatch policy diff --out FILE` about the bundle before; policy may ask for it
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    #[command(flatten)]
    pub connection: Connection,
}

/// Uploads it, if need be, and activates it.
pub async fn run(global: &Global, args: &ActivateArgs) -> Result<(), Failure> {
    let report = args.report.as_deref().map(summary).transpose()?;
    let files = match is_sha256(&args.bundle) {
        true => None,
        false => Some(open(args.bundle.as_ref())?),
    };
    let desk = Desk::open(global, &args.connection, Role::PlatformAdmin)?;
    let result = activate(&desk, args, files, report).await;
    desk.ended(result)
}

async fn activate(
    desk: &Desk,
    args: &ActivateArgs,
    files: Option<BundleFiles>,
    report: Option<DiffSummary>,
) -> Result<(), Failure> {
    let sha256 = match files {
        None => args.bundle.to_ascii_lowercase(),
        Some(files) => {
            let archive = files.to_archive().map_err(|error| refused(&error))?;
            let body = UploadBundle {
                archive: BASE64_STANDARD.encode(archive),
            };
            desk.api
                .upload_bundle(&body, &CallOptions::default())
                .await?;
            files.sha256()
        }
    };
    turn(desk, sha256, args.reason.clone(), report).await
}

/// Activates the bundle that decided before the one that decides now.
pub async fn rollback(global: &Global, args: &RollbackArgs) -> Result<(), Failure> {
    let report = args.report.as_deref().map(summary).transpose()?;
    let desk = Desk::open(global, &args.connection, Role::PlatformAdmin)?;
    let result = async {
        let history = desk.api.policy_activations().await?;
        let before = history.activations.into_iter().next();
        let sha256 = before
            .and_then(|last| last.previous_sha256)
            .ok_or_else(|| {
                Failure::failed(
                    "there is no bundle before the one that decides: nothing to go back to",
                )
            })?;
        turn(&desk, sha256, args.reason.clone(), report).await
    }
    .await;
    desk.ended(result)
}

async fn turn(
    desk: &Desk,
    sha256: String,
    reason: Slug,
    report: Option<DiffSummary>,
) -> Result<(), Failure> {
    let body = ActivateBundle {
        sha256: sha256.clone(),
        report,
        reason,
    };
    let answer = desk
        .api
        .activate_bundle(&body, &CallOptions::default())
        .await?;
    match answer {
        FilingAnswer::Done(receipt) if desk.json => desk.print_json(&receipt),
        FilingAnswer::Held(receipt) if desk.json => desk.print_json(&receipt),
        FilingAnswer::Done(receipt) => {
            let short: String = sha256.chars().take(12).collect();
            let version = match &receipt.filed {
                Filed::BundleActivated { bundle, .. } => clean(&bundle.version),
                _ => String::new(),
            };
            desk.print(&format!(
                "bundle {version} ({short}…) decides from now on; back with\n  dispatch policy \
                 rollback --reason WORD\n"
            ))
        }
        FilingAnswer::Held(receipt) => {
            let approval = &receipt.approval;
            let end = approval.expires_at.map(words::time).unwrap_or_default();
            desk.print(&format!(
                "held: approval {} waits until {end}; somebody else decides it with\n  dispatch \
                 approvals approve {}\n",
                approval.id, approval.id
            ))
        }
    }
}

/// What a report comes to, bound to it by its hash.
fn summary(path: &Path) -> Result<DiffSummary, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "{} is no report of `dispatch policy diff --out`: {error}",
            path.display()
        ))
    };
    let report: DiffReport = serde_json::from_slice(&read(path)?).map_err(|e| wrong(&e))?;
    let count = |change: DecisionChange| {
        let count = report.decisions.get(&change).copied().unwrap_or(0);
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    Ok(DiffSummary {
        report_sha256: report.sha256().map_err(|e| wrong(&e))?,
        candidate_sha256: report.candidate.sha256.clone(),
        // Of nothing there is no beginning.
        since: report.last_at.map(|_| report.range.since),
        until: report.last_at.unwrap_or_default(),
        decisions: u32::try_from(report.total).unwrap_or(u32::MAX),
        newly_allowed: count(DecisionChange::NewlyAllowed),
        newly_denied: count(DecisionChange::NewlyDenied),
        newly_held: count(DecisionChange::NewlyNeedsApproval),
        undecided: count(DecisionChange::NotEvaluable),
    })
}
