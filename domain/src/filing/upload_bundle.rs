//! Keeps a policy bundle that was checked. It decides nothing until it is activated.

use contracts::{command::UploadBundle, filing::Filed};
use serde_json::json;
use uuid::Uuid;

use super::{Filing, FilingFacts};
use crate::Rejection;

pub(super) fn plan(body: &UploadBundle, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let bundle = facts.control.bundle.as_ref().ok_or(Rejection::Broken {
        what: "the bundle that was brought",
    })?;
    let row = json!({
        "sha256": bundle.sha256,
        "version": bundle.version,
        "signed_by": facts.control.signed_by,
        "archive": body.archive,
    });
    let filed = Filed::BundleUploaded {
        bundle: bundle.clone(),
    };
    Ok(Filing {
        row: Some(row),
        ..Filing::written(filed, Uuid::nil(), 0)
    })
}
