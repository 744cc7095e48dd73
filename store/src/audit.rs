//! One row of the audit log, and the hash that chains it to the row before.
//!
//! A chain runs per ticket, whose row is locked anyway, and per actor for attempts without a
//! ticket. (One chain per tenant was measured to cost three quarters of the throughput.) The link
//! itself is computed in Postgres by `command_commit`, where the chain's end is locked; this is the
//! same computation for those who check it.

use chrono::{DateTime, SubsecRound, Utc};
use contracts::{
    AuditId, CommandId, DecisionId, TenantId, TicketId,
    canonical::{canonical_json, canonical_sha256},
    filing::Filed,
};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The content of an audit row: exactly what its hash covers besides the position and the hash
/// before. Words are kept as they are stored, so that a checker hashes the row and not its own
/// understanding of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(
    missing_docs,
    reason = "the columns are documented in contracts::read::TimelineEntry"
)]
pub struct AuditRow {
    pub id: AuditId,
    pub tenant_id: TenantId,
    pub stream: String,
    pub ticket_id: Option<TicketId>,
    pub command_id: CommandId,
    pub decision_id: DecisionId,
    pub decision_sha256: String,
    pub bundle_sha256: String,
    pub request_id: String,
    pub correlation_id: String,
    pub trace_id: String,
    pub actor_id: String,
    pub actor_kind: String,
    pub actor_roles: Value,
    pub tool_name: Option<String>,
    pub operation: String,
    pub at: DateTime<Utc>,
    pub refused: Option<String>,
    pub before: Option<String>,
    pub after: Option<String>,
    pub applied_to_version: u64,
    pub produced_version: u64,
    pub payload: Value,
    pub changes: Value,
}

impl AuditRow {
    /// The canonical text that is hashed.
    pub fn content(&self) -> String {
        canonical_json(self).expect("strings, integers and JSON values always serialise")
    }
}

/// The stream of a ticket.
pub fn ticket_stream(ticket_id: TicketId) -> String {
    ticket_id.to_string()
}

/// The stream of an actor's attempts that concern no ticket of theirs.
pub fn actor_stream(actor_id: &str) -> String {
    format!("actor:{actor_id}")
}

/// The stream of a thing that is no ticket; `None` for a message without one, which stays with
/// whoever brought it.
pub fn filing_stream(filed: &Filed) -> Option<String> {
    match filed {
        Filed::Site { site_id, .. } => Some(site_id.to_string()),
        Filed::Asset { asset_id, .. } => Some(asset_id.to_string()),
        Filed::Contact { contact_id, .. } => Some(contact_id.to_string()),
        Filed::Technician { technician_id, .. }
        | Filed::AbsenceRecorded { technician_id, .. }
        | Filed::AbsenceCancelled { technician_id, .. } => Some(technician_id.to_string()),
        Filed::KillSwitchEngaged { .. } | Filed::KillSwitchReleased { .. } => {
            Some("kill_switch".into())
        }
        Filed::Message { .. } => None,
        Filed::Drilled { .. } => Some("kill_switch".into()),
        Filed::Delegated { delegation_id } | Filed::DelegationRevoked { delegation_id } => {
            Some(delegation_id.to_string())
        }
        Filed::Report { .. } | Filed::StageSet { .. } => Some("rollout".into()),
        Filed::Tenant { tenant_id, .. } | Filed::TenantExport { tenant_id, .. } => {
            Some(tenant_id.to_string())
        }
        Filed::ServiceAccount {
            service_account_id, ..
        }
        | Filed::ApiKeyIssued {
            service_account_id, ..
        }
        | Filed::ApiKeyRotated {
            service_account_id, ..
        }
        | Filed::ApiKeyRevoked {
            service_account_id, ..
        } => Some(service_account_id.to_string()),
        Filed::BundleUploaded { .. } | Filed::BundleActivated { .. } => Some("policy".into()),
        Filed::Held { approval_id, .. } | Filed::ApprovalChanged { approval_id, .. } => {
            Some(approval_id.to_string())
        }
    }
}

/// The hash of the row at `position` (from 1) whose predecessor has the hash `previous` (empty for
/// the first).
pub fn link(previous: &[u8], position: u64, content: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(previous)
        .chain_update(format!("{position} "))
        .chain_update(content)
        .finalize()
        .into()
}

/// What an audit row holds of its decision, so that the chain covers it: SHA-256, in hex, over the
/// decision (`contracts::policy::PolicyDecision`, or the same as JSON) and the canonical JSON of its
/// input.
pub fn decision_sha256(decision: &impl Serialize, input: &str) -> String {
    #[derive(Serialize)]
    struct Hashed<'a, D> {
        decision: &'a D,
        input: &'a str,
    }
    canonical_sha256(&Hashed { decision, input }).expect("words and JSON values always serialise")
}

/// The moment as Postgres keeps it: whole microseconds. What is hashed must read back the same.
pub fn stored_instant(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    fn row() -> AuditRow {
        AuditRow {
            id: AuditId::from_uuid(Uuid::nil()),
            tenant_id: TenantId::from_uuid(Uuid::nil()),
            stream: "actor:a".into(),
            ticket_id: None,
            command_id: CommandId::from_uuid(Uuid::nil()),
            decision_id: DecisionId::from_uuid(Uuid::nil()),
            decision_sha256: "d".into(),
            bundle_sha256: "b".into(),
            request_id: "r".into(),
            correlation_id: "c".into(),
            trace_id: "t".into(),
            actor_id: "a".into(),
            actor_kind: "person".into(),
            actor_roles: json!(["dispatcher"]),
            tool_name: None,
            operation: "triage".into(),
            at: DateTime::UNIX_EPOCH,
            refused: None,
            before: None,
            after: None,
            applied_to_version: 1,
            produced_version: 2,
            payload: json!({ "b": 1, "a": 2 }),
            changes: json!([]),
        }
    }

    #[test]
    fn a_link_depends_on_all_it_covers() {
        let content = row().content();
        let first = link(b"", 1, &content);
        assert_eq!(first, link(b"", 1, &row().content()));
        assert_ne!(first, link(b"", 2, &content));
        assert_ne!(first, link(&first, 1, &content));
        let mut other = row();
        other.payload["a"] = json!(3);
        assert_ne!(first, link(b"", 1, &other.content()));
    }

    #[test]
    fn the_link_is_a_plain_hash_that_anybody_can_compute() {
        assert_eq!(
            hex::encode(link(b"", 1, "{}")),
            hex::encode(Sha256::digest(b"1 {}"))
        );
    }

    #[test]
    fn a_decision_is_hashed_with_its_input() {
        let decision = |result| json!({ "result": result, "reasons": [] });
        let hash = decision_sha256(&decision("ALLOW"), "{}");
        assert_eq!(hash, decision_sha256(&decision("ALLOW"), "{}"));
        assert_ne!(hash, decision_sha256(&decision("DENY"), "{}"));
        assert_ne!(hash, decision_sha256(&decision("ALLOW"), "[]"));
    }

    #[test]
    fn instants_are_kept_in_whole_microseconds() {
        let at = DateTime::from_timestamp(1, 123_456_789).unwrap();
        assert_eq!(stored_instant(at).timestamp_subsec_nanos(), 123_456_000);
    }
}
