//! Lets another policy bundle decide, from the next transaction on, everywhere.

use contracts::{command::ActivateBundle, filing::Filed};
use serde_json::json;
use uuid::Uuid;

use super::{Filing, FilingFacts};
use crate::Rejection;

pub(super) fn plan(body: &ActivateBundle, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let control = &facts.control;
    let bundle = control
        .bundle
        .as_ref()
        .ok_or_else(|| Rejection::invalid("/sha256", "names no bundle that was uploaded"))?;
    if control.active_bundle.as_ref() == Some(&bundle.sha256) {
        return Err(Rejection::invalid(
            "/sha256",
            "names the bundle that decides already",
        ));
    }
    if let Some(report) = &body.report
        && report.candidate_sha256 != bundle.sha256
    {
        return Err(Rejection::invalid(
            "/report/candidate_sha256",
            "must be the bundle that is to be activated",
        ));
    }
    let row = json!({
        "sha256": bundle.sha256,
        "version": bundle.version,
        "previous": control.active_bundle,
        "reason": body.reason,
    });
    let filed = Filed::BundleActivated {
        bundle: bundle.clone(),
        previous: control.active_bundle.clone(),
    };
    Ok(Filing {
        row: Some(row),
        ..Filing::written(filed, Uuid::nil(), 0)
    })
}
