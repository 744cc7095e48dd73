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
    approval::ApprovalState,
    autonomy::StageTarget,
    event::{AutonomyMode, WaitingFor},
    ids::*,
    kill_switch::KillScope,
    ticket::{Priority, TicketState},
    trace::CorrelationId,
    value::{FreeText, MessageText, PeerAddress, ProviderMessageId, Slug, TemplateId},
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
    strum::VariantArray,
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
    /// People have decided.
    ApprovalDecided,
    /// Nothing comes of an approval: it expired, or what it was about has changed.
    ApprovalEnded,
    /// A promise is near its end.
    SlaWarning,
    /// A promise was broken.
    SlaBreach,
    /// The kill switch was engaged or released.
    KillSwitch,
    /// Software may do more, or less, by itself.
    StageChanged,
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
    /// Whoever asked for an approval and whoever has said yes to it, as it stands when the message is
    /// sent; not the one whose word decided it, when that is what it tells.
    Concerned {
        /// Which.
        approval_id: ApprovalId,
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
    /// The approval stands so; for our own notices of what became of it.
    ApprovalIn {
        /// Which.
        approval_id: ApprovalId,
        /// At least one.
        states: Vec<ApprovalState>,
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
        /// Which switch: [`KillScope::key`].
        #[serde(default = "of_tenant", skip_serializing_if = "is_of_tenant")]
        scope: String,
    },
    /// Whatever has happened since: what it tells of stays true.
    Always,
}

fn of_tenant() -> String {
    KillScope::Tenant.key()
}

fn is_of_tenant(scope: &str) -> bool {
    scope == of_tenant()
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
    pub text: Option<MessageText>,
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

/// Filters of the list of messages; all given ones must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommsFilter {
    /// Only in or only out.
    pub direction: Option<Direction>,
    /// Only on this channel.
    pub channel: Option<Channel>,
    /// Only for this purpose.
    pub purpose: Option<Purpose>,
    /// Only outbound ones that stand so.
    pub state: Option<DeliveryState>,
    /// `true`: only what a person has to place, oldest first. `false`: only what has its place.
    pub held: Option<bool>,
    /// Only of this ticket.
    pub ticket_id: Option<TicketId>,
    /// Only from or to this person on record.
    pub contact_id: Option<ContactId>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Rows per page, 1 to 200; 50 without it.
    pub limit: Option<u32>,
}

/// A page of messages.
pub type CommsPage = crate::read::Page<CommsEnvelope>;

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

/// What an endpoint gets: the body of a signed request (Standard Webhooks). `webhook-id` is the
/// message's id, the same in each try, so a receiver that remembers it acts once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookMessage {
    /// Always `message.outbound`; others may follow.
    #[serde(rename = "type")]
    pub kind: WebhookKind,
    /// The message; also in `webhook-id`.
    pub id: MessageId,
    /// Whose.
    pub tenant_id: TenantId,
    /// Which ticket it is about; absent for what concerns no ticket.
    pub ticket_id: Option<TicketId>,
    /// How it is to travel on.
    pub channel: Channel,
    /// What it is for.
    pub purpose: Purpose,
    /// To whom.
    pub recipient: WebhookRecipient,
    /// What it says; absent for a notice, which is told by the fields.
    pub text: Option<FreeText>,
    /// What it depends on, and so what it is about: this approval, that clock.
    pub only_while: OnlyWhile,
    /// When it was to go out.
    pub due_at: DateTime<Utc>,
    /// The ticket when it went out.
    pub ticket: Option<WebhookTicket>,
    /// The change of a stage that a notice tells of; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<WebhookStage>,
    /// The conversation.
    pub correlation_id: CorrelationId,
    /// When this try was made.
    pub sent_at: DateTime<Utc>,
}

/// What a webhook tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WebhookKind {
    /// A message to be brought to somebody.
    #[serde(rename = "message.outbound")]
    MessageOutbound,
}

/// Whom the receiver of a webhook is to bring a message to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "to", rename_all = "snake_case")]
pub enum WebhookRecipient {
    /// Somebody at the customer's, at the address on record a moment ago.
    Address {
        /// A telephone number or an e-mail address, as the channel says.
        address: PeerAddress,
    },
    /// Our own people with one of these roles: the receiver knows who that is.
    Roles {
        /// At least one.
        roles: Vec<Role>,
    },
    /// These people and agents of our own, by the subjects of their tokens.
    Actors {
        /// At least one.
        actor_ids: Vec<String>,
    },
}

/// A ticket as a message tells of it; the rest is read at `link`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookTicket {
    /// Where it stands.
    pub state: TicketState,
    /// Its version.
    pub version: u64,
    /// How urgent.
    pub priority: Priority,
    /// The kind of incident.
    pub template: TemplateId,
    /// What it waits for, if anything.
    pub waiting_for: Option<WaitingFor>,
    /// Its nearest deadline, if one runs.
    pub due_at: Option<DateTime<Utc>>,
    /// Its path at dispatch-api.
    pub link: String,
}

/// A change of a stage as a notice tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookStage {
    /// Which stage.
    pub target: StageTarget,
    /// Where it stood.
    pub from: AutonomyMode,
    /// Where it stands from then on.
    pub to: AutonomyMode,
    /// The share of tickets, for CANARY.
    pub percent: Option<u8>,
    /// Why: a person's word, or the guardrail that did not hold.
    pub reason: Slug,
    /// From when on; ahead of the notice for a change that was decided for later.
    pub effective_at: DateTime<Utc>,
}
