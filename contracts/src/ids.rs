//! The one registry of typed ids, in alphabetical order; append only.
//!
//! On the wire an id is `<prefix>_<32 lowercase hex digits>` (a UUID without hyphens), so a ticket
//! id can neither be mistaken for nor pasted into the place of a site id. In Postgres it is a
//! plain `uuid`. New ids are UUIDv7 made by the caller: this crate draws no randomness.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Why a string is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is not a {what}: expected `{prefix}_` and 32 lowercase hex digits")]
pub struct InvalidId {
    /// The id type that was wanted, for example `TicketId`.
    pub what: &'static str,
    /// Its wire prefix.
    pub prefix: &'static str,
    /// What came instead, cut to 80 characters.
    pub got: String,
}

macro_rules! typed_id {
    ($($(#[$doc:meta])* $name:ident, $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The wire prefix, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Wraps a UUID; the caller chose it (UUIDv7 for new rows, UUIDv5 for derived ones).
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID as it is stored in Postgres.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }

            /// The last eight hex digits, for people: the first ones are the time, alike for all
            /// ids of a minute.
            pub fn short(&self) -> String {
                self.0.as_simple().to_string().split_off(24)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, self.0.as_simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse($prefix, text).map(Self).ok_or_else(|| InvalidId {
                    what: stringify!($name),
                    prefix: $prefix,
                    got: text.chars().take(80).collect(),
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $prefix, "_[0-9a-f]{32}$"),
                })
            }
        }
    )+};
}

typed_id! {
    /// A key of a service account.
    ApiKeyId, "key";
    /// A decision that people owe: on a change order, a held command, a promotion …
    ApprovalId, "apr";
    /// A thing at a site that can break: a door, a shopfront pane.
    AssetId, "ast";
    /// One row of the audit log.
    AuditId, "aud";
    /// What somebody said about an approval.
    CommentId, "cmt";
    /// One attempt to change something; links audit row, decision, events and stored response.
    CommandId, "cmd";
    /// A person at the customer's; personal data lives only in their row.
    ContactId, "con";
    /// A recorded policy decision.
    DecisionId, "dec";
    /// The right to decide approvals, lent for a time.
    DelegationId, "dlg";
    /// One outbox row.
    EventId, "evt";
    /// A documented fact about a ticket.
    EvidenceId, "evd";
    /// An issued invoice.
    InvoiceId, "inv";
    /// A message from or to somebody.
    MessageId, "msg";
    /// A free-text note; the text itself is in its own table.
    NoteId, "not";
    /// What software would have done.
    ProposalId, "prp";
    /// Software of a tenant that calls with keys.
    ServiceAccountId, "sva";
    /// A place where work is done.
    SiteId, "sit";
    /// A person who is sent out.
    TechnicianId, "tec";
    /// A customer of ours: the boundary that nothing crosses.
    TenantId, "ten";
    /// A job.
    TicketId, "tkt";
    /// One visit of a ticket, numbered from 1.
    VisitId, "vis";
}

fn parse(prefix: &str, text: &str) -> Option<Uuid> {
    let hex = text.strip_prefix(prefix)?.strip_prefix('_')?;
    let canonical = hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    canonical.then(|| Uuid::try_parse(hex).ok()).flatten()
}

/// The Temporal workflow id of a ticket.
pub fn ticket_workflow_id(tenant: TenantId, ticket: TicketId) -> String {
    format!("ticket/{tenant}/{ticket}")
}

/// Reads a workflow id made by [`ticket_workflow_id`] back; `None` for any other id.
pub fn parse_ticket_workflow_id(id: &str) -> Option<(TenantId, TicketId)> {
    let (tenant, ticket) = id.strip_prefix("ticket/")?.split_once('/')?;
    Some((tenant.parse().ok()?, ticket.parse().ok()?))
}

/// The Temporal schedule of a tenant's control, and the beginning of the workflow ids of its rounds.
pub fn control_schedule_id(tenant: TenantId) -> String {
    format!("control/{tenant}")
}

/// The request id of a workflow's call: the same intent gives the same key in every run and
/// attempt (UUIDv5, RFC 9562 §5.5), a new intent is a new `revision`.
pub fn workflow_request_id(
    tenant: TenantId,
    ticket: TicketId,
    purpose: &str,
    business_id: &str,
    revision: u64,
) -> Uuid {
    let name = format!("{tenant}/{ticket}/{purpose}/{business_id}/{revision}");
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: Uuid = Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_00ff);

    #[test]
    fn an_id_reads_back_what_it_prints() {
        let id = TicketId::from_uuid(UUID);
        assert_eq!(id.to_string(), "tkt_019200000000700080000000000000ff");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.short(), "000000ff");
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<TicketId>(&json).unwrap(), id);
    }

    #[test]
    fn another_kind_a_hyphen_or_a_capital_is_refused() {
        let site = SiteId::from_uuid(UUID).to_string();
        assert!(site.parse::<TicketId>().is_err());
        assert!(format!("tkt_{UUID}").parse::<TicketId>().is_err());
        assert!(
            "tkt_019200000000700080000000000000FF"
                .parse::<TicketId>()
                .is_err()
        );
        assert!("tkt_".parse::<TicketId>().is_err());
    }

    #[test]
    fn a_workflow_id_names_its_ticket() {
        let (tenant, ticket) = (TenantId::from_uuid(UUID), TicketId::from_uuid(UUID));
        let id = ticket_workflow_id(tenant, ticket);
        assert_eq!(parse_ticket_workflow_id(&id), Some((tenant, ticket)));
        assert_eq!(parse_ticket_workflow_id("ticket/x/y"), None);
    }

    #[test]
    fn a_request_id_follows_the_intent() {
        let (tenant, ticket) = (TenantId::from_uuid(UUID), TicketId::from_uuid(UUID));
        let key =
            |revision| workflow_request_id(tenant, ticket, "sla", "response:breach", revision);
        assert_eq!(key(1), key(1));
        assert_ne!(key(1), key(2));
    }
}
