//! Why a call gave no result.

use std::time::Duration;

use contracts::{ErrorCode, Problem};

use crate::token::TokenError;

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// dispatch-api answered with a problem.
    #[error("{} ({}): {}", .problem.code, .problem.status, .problem.detail)]
    Problem {
        /// The whole problem.
        problem: Box<Problem>,
        /// How long the server asked to wait.
        retry_after: Option<Duration>,
        /// The stored answer to an earlier request with this key, not a new one.
        replayed: bool,
    },
    /// No answer came; whether a command took effect is not known, repeat it with the same key.
    #[error("dispatch-api at {url} gave no answer")]
    Transport {
        /// What was called.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// An answer came that is not of the documented shape: a proxy's, or that of another version.
    #[error("dispatch-api at {url} answered {status} in an unknown form: {detail}")]
    Decode {
        /// What was called.
        url: String,
        /// HTTP status of the answer.
        status: u16,
        /// What does not fit, with the beginning of the body.
        detail: String,
        /// How long the server asked to wait.
        retry_after: Option<Duration>,
    },
    /// The token provider failed.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl ClientError {
    /// The problem, when the server told one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// The stable code, when the server told one.
    pub fn code(&self) -> Option<ErrorCode> {
        self.problem().map(|problem| problem.code)
    }

    /// Whether the same call with the same key can succeed later without anybody mending anything
    /// in the request. `false` for everything that would be answered the same for ever.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Problem { problem, .. } => {
                problem.code == ErrorCode::InFlight || retryable_status(problem.status)
            }
            Self::Transport { source, .. } => !source.is_builder(),
            Self::Decode { status, .. } => retryable_status(*status),
            Self::Token(_) => false,
        }
    }

    /// Whether this client tries again by itself. A 500 is retryable but a fault of ours: hammering
    /// it within the same second helps nobody.
    pub(crate) fn is_transient(&self) -> bool {
        let status = match self {
            Self::Problem { problem, .. } => problem.status,
            Self::Decode { status, .. } => *status,
            Self::Transport { .. } | Self::Token(_) => 0,
        };
        self.is_retryable() && status != 500
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem { retry_after, .. } | Self::Decode { retry_after, .. } => *retry_after,
            Self::Transport { .. } | Self::Token(_) => None,
        }
    }
}

const fn retryable_status(status: u16) -> bool {
    status == 429 || status >= 500
}
