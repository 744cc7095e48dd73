//! Which failures end the matter.

use std::error::Error;

use client::ClientError;
use contracts::{ErrorCode, service_account::TENANT_HEADER};
use temporalio_common::error::ApplicationFailure;
use temporalio_sdk::activities::ActivityError;
use workflows::activity::Outcome;

/// A call that did not end the matter: try again later.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Later {
    /// Short, and safe to stand in a history.
    reason: String,
    source: ClientError,
}

impl From<ClientError> for Later {
    fn from(source: ClientError) -> Self {
        Self {
            reason: reason(&source),
            source,
        }
    }
}

/// Splits what is final from what is not. A refused key counts as "later" although the answer is
/// final for this request: it will be replaced, and the record is owed still.
pub(crate) fn refusal(error: ClientError) -> Result<(Option<ErrorCode>, String), Later> {
    let code = error.code();
    if error.is_retryable() || is_about_the_key(&error) || matches!(error, ClientError::Token(_)) {
        return Err(error.into());
    }
    Ok((code, reason(&error)))
}

/// Whether the key is to blame: not known, not for this, or not one of an account that acts in any
/// tenant.
fn is_about_the_key(error: &ClientError) -> bool {
    let Some(problem) = error.problem() else {
        return false;
    };
    match problem.code {
        ErrorCode::Unauthenticated | ErrorCode::OutOfScope => true,
        ErrorCode::InvalidParameter => problem.meta.get("parameter") == Some(&TENANT_HEADER.into()),
        _ => false,
    }
}

/// What every bookkeeping command may be answered, whatever it records.
pub(crate) fn common(code: Option<ErrorCode>, reason: String) -> Outcome {
    match code {
        // Without the ticket the workflow has no business here: the snapshot will tell.
        Some(ErrorCode::AheadOfDatabase | ErrorCode::NotFound) => Outcome::Ahead,
        Some(ErrorCode::AlreadyDecided) => Outcome::Recorded,
        _ => Outcome::Refused { reason },
    }
}

/// Lets the activity fail, so that it is tried again.
pub(crate) fn retryable(activity: &'static str, later: Later) -> ActivityError {
    tracing::warn!(
        activity,
        error = &later.source as &dyn Error,
        "dispatch-api could not be used; it is tried again"
    );
    ActivityError::application(ApplicationFailure::new(later.reason))
}

/// A code where there is one: bodies of strange answers do not belong in histories.
fn reason(error: &ClientError) -> String {
    match error {
        ClientError::Problem { problem, .. } => problem.code.to_string(),
        ClientError::Decode { status, .. } => format!("unreadable answer with status {status}"),
        other => other.to_string(),
    }
}
