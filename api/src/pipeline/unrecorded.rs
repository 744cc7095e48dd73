//! Failures that leave nothing: the transaction rolled back, and the same request may be tried
//! again.

use std::borrow::Cow;

use contracts::ErrorCode;
use policy::{BundleError, EvaluationError};
use uuid::Uuid;

use super::{Answer, Call, answer::text};
use crate::{
    bundles,
    limits::UsedUp,
    problem::{PROBLEM_JSON, problem},
};

/// When a quota may have room again at the earliest: people make it.
const ROOM_AFTER_SECONDS: u32 = 10;

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unrecorded {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("no policy bundle is active")]
    NoBundle,
    #[error("the active policy bundle cannot be loaded")]
    Bundle(#[from] bundles::NoBundle),
    #[error("the policy gave no decision")]
    Evaluation(#[from] EvaluationError),
    #[error("the token's tenant does not exist")]
    UnknownTenant,
    /// Others on the same ticket came first, and took too long.
    #[error("the command's turn did not come in time")]
    NoTurn,
    /// The tenant uses as much as it may.
    #[error("a quota of the tenant is used up")]
    UsedUp(UsedUp),
    /// Not for callers: policy lets the command pass, and what it brings is to be checked first.
    #[error("the bundle that the command brings was not checked")]
    Unchecked,
    /// Not for callers: policy lets the command pass, and it is to be done with others kept out.
    #[error("the command was looked at without the locks that it takes")]
    NotAlone,
    /// Not for callers: nothing is told any more of what was answered in the tenant.
    #[error("the command was answered before its tenant was erased")]
    AnsweredBeforeErasure,
}

impl Unrecorded {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Store(store::Error::LockTimeout(_)) | Self::NoTurn => ErrorCode::InFlight,
            Self::Store(store::Error::NoTenant) => ErrorCode::Forbidden,
            Self::Store(error) if error.is_unavailable() => ErrorCode::Unavailable,
            Self::Store(_) | Self::Unchecked | Self::NotAlone | Self::AnsweredBeforeErasure => {
                ErrorCode::Internal
            }
            Self::Bundle(bundles::NoBundle::Store(error)) if error.is_unavailable() => {
                ErrorCode::Unavailable
            }
            Self::NoBundle | Self::Bundle(_) | Self::Evaluation(_) => ErrorCode::PolicyUnavailable,
            Self::UnknownTenant => ErrorCode::Forbidden,
            Self::UsedUp(_) => ErrorCode::QuotaExceeded,
        }
    }

    /// A check of a bundle that was brought; the active one is not tried again.
    fn is_slow_trial(&self) -> bool {
        matches!(
            self,
            Self::Bundle(bundles::NoBundle::Unusable(BundleError::Trial { .. }))
        )
    }

    /// Which of the things that can be wrong with the policy it is, for operators who mend it.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::NoBundle => Some("NO_ACTIVE_BUNDLE"),
            Self::Bundle(no) if !no.is_passing() => Some("BUNDLE_UNUSABLE"),
            Self::Evaluation(_) => Some("NO_DECISION"),
            _ => None,
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        if let Self::UsedUp(used_up) = self {
            return used_up.detail().into();
        }
        let detail = match self.code() {
            ErrorCode::InFlight => {
                "The same request, or another one on this ticket, is being worked on. Send this one \
                 again, with the same request id, after the time that Retry-After says."
            }
            ErrorCode::Unavailable => {
                "The database cannot serve this now. Send it again with the same request id: it \
                 takes effect once."
            }
            ErrorCode::PolicyUnavailable if matches!(self, Self::NoBundle) => {
                "No policy bundle is active, so nothing can be allowed. Send it again with the same \
                 request id once an operator has activated one; `dispatch doctor` tells how."
            }
            ErrorCode::PolicyUnavailable if self.is_slow_trial() => {
                "The bundle that this request brings could not be tried out in time: this machine is \
                 too busy. Nothing was kept, and nothing is said about the bundle. Send it again \
                 later with the same request id."
            }
            ErrorCode::PolicyUnavailable if matches!(self, Self::Bundle(_)) => {
                "The active policy bundle cannot be loaded here, so nothing can be allowed. Send it \
                 again later with the same request id; an operator finds the reason in the log."
            }
            ErrorCode::PolicyUnavailable => {
                "No policy can decide this now, so it is neither allowed nor denied. Send it again \
                 later with the same request id; an operator finds the reason in the log."
            }
            ErrorCode::Forbidden => {
                "The tenant of your token does not exist here. Ask for a token of this installation."
            }
            _ => {
                "The request failed through no fault of yours. Sending it again with the same \
                 request id is safe; if it keeps failing, report the instance."
            }
        };
        detail.into()
    }

    /// Logs the cause and hides it from the caller.
    pub(super) fn answer(self, call: &Call) -> Answer {
        let (code, detail) = (self.code(), self.detail());
        let instance = Uuid::now_v7();
        let operation = tracing::field::display(call.command.operation());
        let cause = std::error::Error::source(&self).map(ToString::to_string);
        match code.status() {
            429 => {}
            500 => tracing::error!(%instance, operation, error = %self, cause, "command failed"),
            _ => tracing::warn!(%instance, operation, error = %self, cause, "command not recorded"),
        }
        let mut problem = problem(code, detail, instance, call.received_at);
        problem.request_id = Some(call.request_id.clone());
        if let Some(reason) = self.reason() {
            problem.meta.insert("reason".into(), reason.into());
        }
        if let Self::UsedUp(UsedUp { quota, full }) = &self {
            let facts = [("used", full.used), ("limit", full.limit)];
            let facts = facts.map(|(name, value)| (name.to_owned(), value.into()));
            problem.meta.extend(facts);
            problem
                .meta
                .insert("quota".into(), quota.to_string().into());
        }
        let retry = match code.status() {
            409 | 503 => Some(1),
            429 => Some(ROOM_AFTER_SECONDS),
            _ => None,
        };
        Answer {
            status: problem.status,
            content_type: PROBLEM_JSON,
            body: text(&problem),
            command_id: None,
            decision_id: None,
            replayed: false,
            kept: false,
            kill: None,
            retry_after_seconds: retry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_that_was_too_slow_says_nothing_about_the_active_bundle() {
        let slow = EvaluationError::Slow {
            reason: String::new(),
        };
        let trial = BundleError::Trial {
            operation: "triage".to_owned(),
            actor: "a person".to_owned(),
            source: slow.clone(),
        };
        let brought = Unrecorded::Bundle(trial.into());
        assert_eq!(brought.code(), ErrorCode::PolicyUnavailable);
        assert_eq!(brought.reason(), None, "nothing is to be mended");
        assert!(brought.detail().contains("could not be tried out in time"));
        let active = Unrecorded::Evaluation(slow);
        assert_eq!(active.reason(), Some("NO_DECISION"));
        assert!(!active.detail().contains("tried out"));
    }
}
