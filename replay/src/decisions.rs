//! A recorded decision beside what the same input leads to now.

use chrono::{DateTime, Utc};
use contracts::{
    CommandId, DecisionId, TenantId, TicketId,
    policy::{BundleRef, PolicyDecision, PolicyResult},
};
use policy::EvaluationError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::record::RecordedReason;

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Allow, deny or require an approval.
    pub result: PolicyResult,
    /// The failed conditions.
    pub reasons: Vec<RecordedReason>,
    /// What had to be done besides.
    pub obligations: Vec<String>,
    /// Who had to release it, as it was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Value>,
    /// Who decided.
    pub bundle: BundleRef,
}

/// How the two compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionChange {
    /// It was not allowed, and would be.
    NewlyAllowed,
    /// It was not denied, and would be.
    NewlyDenied,
    /// It needed no approval, and would.
    NewlyNeedsApproval,
    /// The result is the same, for other reasons, with other obligations, or released by others.
    OtherReasons,
    /// The bundle gives no decision on this input: in operation the command would be answered 503.
    NotEvaluable,
    /// Nothing that a caller could act on is different.
    Same,
}

impl DecisionChange {
    /// All of them, what matters most first.
    pub const ALL: [Self; 6] = [
        Self::NewlyAllowed,
        Self::NewlyDenied,
        Self::NewlyNeedsApproval,
        Self::OtherReasons,
        Self::NotEvaluable,
        Self::Same,
    ];

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NewlyAllowed => "newly allowed",
            Self::NewlyDenied => "newly denied",
            Self::NewlyNeedsApproval => "newly needs approval",
            Self::OtherReasons => "other reasons",
            Self::NotEvaluable => "not evaluable",
            Self::Same => "same",
        }
    }
}

/// One line of `decisions.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionLine {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which chain of attempts.
    pub stream: String,
    /// Where in it.
    pub position: u64,
    /// The ticket, when it was about one.
    pub ticket_id: Option<TicketId>,
    /// The attempt.
    pub command_id: CommandId,
    /// The decision.
    pub decision_id: DecisionId,
    /// What was attempted.
    pub operation: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The refusal of the attempt, whoever refused it.
    pub refused: Option<String>,
    /// What was decided.
    pub recorded: Recorded,
    /// What would be decided; absent when it could not be.
    pub replayed: Option<PolicyDecision>,
    /// Why it could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How they compare.
    pub compared: DecisionChange,
}

impl Recorded {
    /// Compares what a caller meets: the result, the rules that failed and in which class, what had to
    /// be done. The wording of a sentence is no difference.
    pub(crate) fn compare(&self, now: &Result<PolicyDecision, EvaluationError>) -> DecisionChange {
        let Ok(now) = now else {
            return DecisionChange::NotEvaluable;
        };
        if self.result != now.result {
            return match now.result {
                PolicyResult::Allow => DecisionChange::NewlyAllowed,
                PolicyResult::Deny => DecisionChange::NewlyDenied,
                PolicyResult::RequireApproval => DecisionChange::NewlyNeedsApproval,
            };
        }
        let (then, reasons) = (&self.reasons, &now.reasons);
        let same = then
            .iter()
            .all(|then| reasons.iter().any(|now| then.is(now)))
            && reasons
                .iter()
                .all(|now| then.iter().any(|then| then.is(now)))
            && self.obligations == now.obligations
            && self.approval == approval(now);
        match same {
            true => DecisionChange::Same,
            false => DecisionChange::OtherReasons,
        }
    }
}

/// Who would have to release it, in the form in which it is stored.
pub(crate) fn approval(decision: &PolicyDecision) -> Option<Value> {
    let need = decision.approval.as_ref()?;
    serde_json::to_value(need).ok()
}
