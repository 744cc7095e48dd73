//! What goes along with one command.

use contracts::{CorrelationId, TraceContext};
use uuid::Uuid;

/// Everything about a command that is not in its body. The default is a command of its own: a new
/// request id, any version, for real.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// Key of the command; a new UUID when absent. A caller that may crash and come back gives its
    /// own, so that the second life repeats the first one's command.
    pub request_id: Option<String>,
    /// Refuse unless the ticket has this version.
    pub expected_version: Option<u64>,
    /// Only tell what would happen.
    pub dry_run: bool,
    /// The conversation; that of the client when absent.
    pub correlation_id: Option<CorrelationId>,
    /// The trace; that of the client when absent.
    pub trace: Option<TraceContext>,
    /// The tool an agent uses.
    pub tool_name: Option<String>,
}

impl CallOptions {
    /// A command with this key.
    pub fn with_key(request_id: impl ToString) -> Self {
        Self {
            request_id: Some(request_id.to_string()),
            ..Self::default()
        }
    }

    /// Refuses the command unless the ticket has this version.
    #[must_use]
    pub fn expecting(mut self, version: u64) -> Self {
        self.expected_version = Some(version);
        self
    }

    /// Only asks what would happen.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// The key of this call, the same for all its attempts.
    pub(crate) fn key(&self) -> String {
        self.request_id
            .clone()
            .unwrap_or_else(|| Uuid::now_v7().to_string())
    }
}
