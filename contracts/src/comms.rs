//! Messages: what came in, what goes out, and which ticket they belong to.
//!
//! A message's text, its peer's address and the provider's raw payload are personal data. They are
//! kept in rows of their own and appear in no event, audit payload, policy input or history; what
//! stands there is the message's id.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actor::Role,
    ids::*,
    ticket::TicketState,
    trace::CorrelationId,
    value::{FreeText, PeerAddress, ProviderMessageId, Slug, TemplateId},
};

/// How a message travels.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Channel {
    /// A text message; the peer is a telephone number.
    Sms,
    /// WhatsApp; the peer is a telephone number.
    Whatsapp,
    /// The transcript of a call; the peer is a telephone number.
    Voice,
    /// E-mail; the peer is an address.
    Email,
    /// A chat on a website; the peer is a handle.
    Web,
    /// To our own people by their role: paging, a team's chat. Outbound only.
    Operations,
}

/// From where to where.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Direction {
    /// From a peer to us.
    Inbound,
    /// From us to a peer or to our own people.
    Outbound,
}

/// What an outbound message is for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Purpose {
    /// Somebody writes to a customer.
    Conversation,
    /// A decision is owed.
    ApprovalWaiting,
    /// A decision is still owed.
    ApprovalReminder,
    /// A promise is near its end.
    SlaWarning,
    /// A promise was broken.
    SlaBreach,
    /// The kill switch was engaged or released.
    KillSwitch,
}

/// Who is to get an outbound message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "to", rename_all = "snake_case", deny_unknown_fields)]
pub enum Recipient {
    /// A person at the customer's, at the address on record when it is sent.
    Contact {
        /// Who.
        contact_id: ContactId,
    },
    /// Our own people with one of these roles.
    Roles {
        /// At least one.
        roles: Vec<Role>,
    },
}

/// What must still be so when the message is about to be sent; otherwise it is withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "only", rename_all = "snake_case", deny_unknown_fields)]
pub enum OnlyWhile {
    /// The ticket has not ended.
    TicketOpen,
    /// The ticket is in one of these states.
    TicketIn {
        /// At least one.
        states: Vec<TicketState>,
    },
    /// The approval was not decided.
    ApprovalPending {
        /// Which.
        approval_id: ApprovalId,
    },
    /// The clock runs at this revision.
    ClockRunning {
        /// Which.
        clock: Slug,
        /// Its revision.
        revision: u32,
    },
    /// The kill switch has not been turned again.
    KillGeneration {
        /// The turn that this message tells of.
        generation: u64,
    },
}

/// Where an inbound message belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "route", rename_all = "snake_case")]
pub enum Routing {
    /// To an open ticket of the same peer and site.
    Attached {
        /// Which.
        ticket_id: TicketId,
    },
    /// It opened a ticket.
    Created {
        /// Which.
        ticket_id: TicketId,
    },
    /// It came before: nothing was done.
    Duplicate {
        /// The first of its kind.
        first: MessageId,
        /// Where that one belongs.
        ticket_id: Option<TicketId>,
    },
    /// A person has to say.
    Held {
        /// Why.
        reason: HoldReason,
        /// Tickets that it may belong to.
        candidates: Vec<TicketId>,
    },
}

impl Routing {
    /// The ticket, once there is one.
    pub fn ticket_id(&self) -> Option<TicketId> {
        match self {
            Self::Attached { ticket_id } | Self::Created { ticket_id } => Some(*ticket_id),
            Self::Duplicate { ticket_id, .. } => *ticket_id,
            Self::Held { .. } => None,
        }
    }
}

/// Why a person has to say where a message belongs.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum HoldReason {
    /// Nobody on record has this address.
    UnknownPeer,
    /// The peer is on record at several sites, or at none.
    SiteUnclear,
    /// Several open tickets fit.
    SeveralTickets,
}

/// The rules for messages: data of the policy bundle (`comms/data.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommsRules {
    /// A message belongs to an open ticket of the same peer and site whose last message or change
    /// is not older than this; otherwise it opens one.
    pub attach_window_hours: u32,
    /// The kind of incident of a ticket that a message opens, when the message names none.
    pub intake_template: TemplateId,
    /// How long an approval waits before its approvers are reminded, once.
    pub approval_reminder_minutes: u32,
    /// Who hears of what; a purpose that is not listed goes to nobody. Approvals go to the roles
    /// that may decide them.
    pub audiences: BTreeMap<Purpose, Vec<Role>>,
}

/// A message as it is kept: envelope, text and provenance. The raw payload is read apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommsEnvelope {
    /// Its id.
    pub id: MessageId,
    /// Where it belongs; absent while nobody has said.
    pub ticket_id: Option<TicketId>,
    /// In or out.
    pub direction: Direction,
    /// How it travels.
    pub channel: Channel,
    /// What an outbound one is for.
    pub purpose: Option<Purpose>,
    /// Who brought it.
    pub provider: Option<Slug>,
    /// The provider's name for it.
    pub provider_message_id: Option<ProviderMessageId>,
    /// Who sent it; absent once erased.
    pub peer: Option<PeerAddress>,
    /// The person on record, when the peer is known.
    pub contact_id: Option<ContactId>,
    /// Who is to get an outbound one.
    pub recipient: Option<Recipient>,
    /// What it says; absent for a notice, and once erased.
    pub text: Option<FreeText>,
    /// Where an inbound one was found to belong.
    pub routing: Option<Routing>,
    /// When the provider says it was sent.
    pub provider_time: Option<DateTime<Utc>>,
    /// When dispatch-api took it.
    pub received_at: DateTime<Utc>,
    /// Whether a raw payload was kept.
    pub has_raw: bool,
    /// The conversation.
    pub correlation_id: CorrelationId,
    /// The attempt that brought it.
    pub command_id: CommandId,
    /// What must still hold when it is sent.
    pub only_while: Option<OnlyWhile>,
    /// How far an outbound one got.
    pub delivery: Option<Delivery>,
}

/// How far an outbound message got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Where it stands.
    pub state: DeliveryState,
    /// Not before.
    pub due_at: DateTime<Utc>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was sent, withdrawn or given up.
    pub ended_at: Option<DateTime<Utc>>,
    /// What the last try met, as a word: `http_503`, `timeout`, `approval_decided` …
    pub last_result: Option<Slug>,
    /// Whether the receiver takes a key and acts on it once. `Some(false)`: a try that was not
    /// answered may have arrived, and a later one may be a second.
    pub receiver_keyed: Option<bool>,
}

/// Where an outbound message stands.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DeliveryState {
    /// Waits to be sent, or to be tried again.
    Queued,
    /// The receiver took it.
    Sent,
    /// It was no longer wanted when its time came.
    Withdrawn,
    /// Given up.
    Failed,
}
