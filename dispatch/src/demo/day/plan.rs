//! What a day is made of: stories, each a list of acts that say what is sent, by whom, and what
//! must be answered. All of it follows from a seed; ids and times come in when it is played.

use std::collections::BTreeSet;

use contracts::{
    ErrorCode, Operation, Priority, TicketState,
    approval::Verdict,
    command::CommandClass,
    comms::HoldReason,
    value::{DetailValue, Slug, TemplateId},
};
use domain::ticket::table::next_state;
use serde::Serialize;
use strum::VariantArray;

/// Minutes of simulated time.
pub type Minutes = u32;

/// One job, or two that turn out to be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// From 0, in the order of arrival.
    pub number: u32,
    /// What sort of story.
    pub plot: Plot,
    /// What sort of job it is taken for at first.
    pub template: TemplateId,
    /// Minute of the tenant's local day at which it begins.
    pub arrives: Minutes,
    /// How many tickets it opens.
    pub tickets: u32,
    /// What happens, in order.
    pub acts: Vec<Act>,
}

/// What sort of story.
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
    strum::Display,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Plot {
    /// Goes where no story of this day has been.
    Explorer,
    /// One visit, an invoice.
    Plain,
    /// Sent at once, without a window.
    Direct,
    /// Made safe first, mended at a second visit.
    SecondVisit,
    /// Nobody there to let the technician in.
    NoAccess,
    /// Dearer than agreed.
    PriceChange,
    /// The window is moved.
    Rescheduled,
    /// Another technician after all.
    Reassigned,
    /// The technician falls ill.
    FallenIll,
    /// Triaged twice.
    Retriaged,
    /// Two callers, one broken pane.
    Duplicate,
    /// Called off.
    CalledOff,
    /// Quality was not good.
    Rejected,
    /// Verified, and not charged.
    NoCharge,
    /// Opened again.
    Reopened,
    /// A word after the end.
    LateNote,
    /// Came as a message.
    Message,
    /// Not ended when the day is over.
    LeftOpen,
    /// Software is stopped for a while.
    KillSwitch,
}

/// One thing that somebody does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// How long after the act before.
    pub after: Minutes,
    /// Who.
    pub by: By,
    /// To which of the story's tickets.
    pub slot: usize,
    /// What.
    pub deed: Deed,
    /// What is wrong about it, or special.
    pub twist: Option<Twist>,
    /// What must be answered.
    pub expect: Expect,
}

/// A caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Intake,
    Dispatcher,
    AccountManager,
    Approver,
    Qa,
    Billing,
    TenantAdmin,
    Auditor,
    /// A software agent.
    Agent,
    /// The technician with this number.
    Technician(Crew),
    /// A dispatcher of another tenant.
    Foreigner,
    /// No token.
    Nobody,
}

/// A technician.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crew {
    /// One of the seeded ones.
    Seeded(usize),
    /// The one that the story itself put on record.
    Own,
}

/// What is done. Each is a command but the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A customer's site, the thing there, and who is to be called.
    WriteSite,
    WriteAsset,
    /// `settled`: at the story's site; else a person who is at home nowhere.
    WriteContact {
        settled: bool,
    },
    WriteTechnician {
        skills: Vec<Slug>,
    },
    /// The story's own technician is away.
    RecordAbsence,
    CancelAbsence,
    EngageKillSwitch,
    ReleaseKillSwitch,
    /// A message, the story's `number`th.
    MessageIn {
        number: u32,
        from: Peer,
        template: TemplateId,
    },
    MessageOut,
    /// The message that was held last.
    AttachMessage,
    Create {
        template: TemplateId,
        details: Vec<(Slug, DetailValue)>,
    },
    Triage {
        priority: Priority,
        template: Option<TemplateId>,
        details: Vec<(Slug, DetailValue)>,
    },
    /// A window that begins so many hours from then.
    ProposeSchedule {
        hours: u32,
    },
    ConfirmSchedule,
    Reschedule {
        hours: u32,
    },
    Dispatch {
        crew: Crew,
    },
    Unassign,
    EnRoute,
    CheckIn,
    NoAccess,
    RequestChange {
        cents: i64,
    },
    DecideApproval {
        verdict: Verdict,
    },
    ReturnVisit {
        evidence: Vec<Slug>,
    },
    Complete {
        evidence: Vec<Slug>,
    },
    QaVerify,
    QaReject,
    GenerateInvoice {
        labour: u32,
    },
    Close {
        charged: bool,
    },
    Reopen,
    Cancel,
    /// Into the story's other ticket.
    Merge,
    CustomerAwait,
    CustomerResume,
    AddNote,
    AddEvidence,
    /// Reads what the workflow proposes; decides nothing by it, so that a day stays the same.
    LookAtProposals,
}

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The contact of the story's site.
    Settled,
    /// The contact who is at home nowhere.
    Unsettled,
    /// Nobody on record.
    Stranger,
}

/// What is wrong about an act, or special.
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
    strum::Display,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Twist {
    /// A member that the body does not have.
    UnknownMember,
    /// Meant for a version that the ticket does not have.
    StaleVersion,
    /// A ticket that does not exist.
    UnknownTicket,
    /// By a dispatcher of another tenant.
    ForeignTenant,
    /// By somebody who may only read.
    WrongRole,
    /// Without a token.
    NoToken,
    /// By software, which proposes and does not do.
    Software,
    /// By a technician who is not assigned.
    NotAssigned,
    /// Not possible in this state.
    WrongState,
    /// With the key of the act before, which was something else.
    UsedKey,
    /// A window of no length.
    EmptyWindow,
    /// Without what triage must know.
    NoDetails,
    /// Without the photos.
    NoEvidence,
    /// More than was agreed.
    TooDear,
    /// Nothing charged, and no reason.
    NoReason,
    /// Decided before.
    DecidedTwice,
    /// The same again with the same key: the same answer, and nothing done twice.
    SameAgain,
    /// Only asked what would happen.
    DryRun,
}

/// What must be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Done; the ticket is in this state.
    State(TicketState),
    /// Done; not about a ticket.
    Filed,
    /// The message was placed so.
    Routed(Branch),
    /// Refused with one of these codes.
    Refused(&'static [ErrorCode]),
    /// The answer to the act before, once more.
    Repeated,
    /// An answer to a question; nothing was changed.
    Told,
}

/// How a message was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Branch {
    Attached,
    Created,
    Duplicate,
    Held(HoldReason),
}

impl Branch {
    /// All there are.
    pub fn all() -> Vec<Self> {
        let held = HoldReason::VARIANTS
            .iter()
            .map(|reason| Self::Held(*reason));
        [Self::Attached, Self::Created, Self::Duplicate]
            .into_iter()
            .chain(held)
            .collect()
    }
}

impl std::fmt::Display for Branch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Attached => f.write_str("attached"),
            Self::Created => f.write_str("created"),
            Self::Duplicate => f.write_str("duplicate"),
            Self::Held(reason) => write!(f, "held: {reason}"),
        }
    }
}

impl Deed {
    /// The command; `None` for a look.
    pub const fn operation(&self) -> Option<Operation> {
        Some(match self {
            Self::WriteSite => Operation::UpsertSite,
            Self::WriteAsset => Operation::UpsertAsset,
            Self::WriteContact { .. } => Operation::UpsertContact,
            Self::WriteTechnician { .. } => Operation::UpsertTechnician,
            Self::RecordAbsence => Operation::RecordAbsence,
            Self::CancelAbsence => Operation::CancelAbsence,
            Self::EngageKillSwitch => Operation::EngageKillSwitch,
            Self::ReleaseKillSwitch => Operation::ReleaseKillSwitch,
            Self::MessageIn { .. } => Operation::CommsInbound,
            Self::MessageOut => Operation::CommsOutbound,
            Self::AttachMessage => Operation::AttachMessage,
            Self::Create { .. } => Operation::CreateTicket,
            Self::Triage { .. } => Operation::Triage,
            Self::ProposeSchedule { .. } => Operation::ProposeSchedule,
            Self::ConfirmSchedule => Operation::ConfirmSchedule,
            Self::Reschedule { .. } => Operation::Reschedule,
            Self::Dispatch { .. } => Operation::Dispatch,
            Self::Unassign => Operation::Unassign,
            Self::EnRoute => Operation::EnRoute,
            Self::CheckIn => Operation::CheckIn,
            Self::NoAccess => Operation::NoAccess,
            Self::RequestChange { .. } => Operation::RequestChange,
            Self::DecideApproval { .. } => Operation::DecideApproval,
            Self::ReturnVisit { .. } => Operation::ReturnVisit,
            Self::Complete { .. } => Operation::Complete,
            Self::QaVerify => Operation::QaVerify,
            Self::QaReject => Operation::QaReject,
            Self::GenerateInvoice { .. } => Operation::GenerateInvoice,
            Self::Close { .. } => Operation::Close,
            Self::Reopen => Operation::Reopen,
            Self::Cancel => Operation::Cancel,
            Self::Merge => Operation::Merge,
            Self::CustomerAwait => Operation::CustomerAwait,
            Self::CustomerResume => Operation::CustomerResume,
            Self::AddNote => Operation::AddNote,
            Self::AddEvidence => Operation::AddEvidence,
            Self::LookAtProposals => return None,
        })
    }
}

/// One cell of the state table that was used, or could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Transition {
    /// The state before; none for a ticket that is opened.
    pub from: Option<TicketState>,
    /// The command.
    pub operation: Operation,
    /// The state after.
    pub to: TicketState,
}

impl std::fmt::Display for Transition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.from {
            Some(from) => write!(f, "{from} → {} → {}", self.operation, self.to),
            None => write!(f, "– → {} → {}", self.operation, self.to),
        }
    }
}

impl Transition {
    /// Everything that people and systems can do to a ticket. What only its workflow does (proposals,
    /// SLA records) happens as it happens: nobody can plan it.
    pub fn all() -> BTreeSet<Self> {
        let opened = [Operation::CreateTicket, Operation::CommsInbound];
        let opened = opened.into_iter().map(|operation| Self {
            from: None,
            operation,
            to: TicketState::New,
        });
        let cells = Operation::VARIANTS.iter().flat_map(|operation| {
            TicketState::VARIANTS.iter().filter_map(|from| {
                Some(Self {
                    from: Some(*from),
                    operation: *operation,
                    to: next_state(*operation, *from)?,
                })
            })
        });
        cells.filter(Self::is_for_us).chain(opened).collect()
    }

    fn is_for_us(&self) -> bool {
        let ended = self.from.is_some_and(TicketState::is_terminal);
        match self.operation {
            operation if !is_of_a_day(operation) => false,
            Operation::DecideApproval => self.from == Some(TicketState::ChangeRequested),
            // A message finds no ended ticket: it opens another one.
            Operation::CommsInbound => !ended,
            _ => true,
        }
    }

    /// Whether the ticket stays where it is.
    pub fn stays(&self) -> bool {
        self.from == Some(self.to)
            && self.operation != Operation::Triage
            && self.operation != Operation::ProposeSchedule
    }
}

/// Every command that a day sends.
pub fn operations() -> impl Iterator<Item = Operation> {
    Operation::VARIANTS
        .iter()
        .copied()
        .filter(|operation| is_of_a_day(*operation))
}

/// A day is about jobs. What workflows record is theirs, and the control plane (approvals that hold
/// commands, stages, bundles) is turned by platform engineers, not by a day's work; change orders are
/// part of it.
fn is_of_a_day(operation: Operation) -> bool {
    let by_workflows = matches!(operation, Operation::RecordProposal | Operation::RecordSla);
    let of_approvals = match operation.class() {
        CommandClass::Waiting => operation != Operation::DecideApproval,
        _ => operation.path().starts_with("/approvals/"),
    };
    let of_control = [
        "/autonomy",
        "/rollout",
        "/policy",
        "/delegations",
        "/drills",
        "/tenants",
        "/service-accounts",
        "/api-keys",
    ]
    .iter()
    .any(|part| operation.path().contains(part));
    !by_workflows && !of_approvals && !of_control
}

/// Whether the version of a ticket rises with it; the approvals of a day are change orders.
pub fn is_change(operation: Operation) -> bool {
    operation.class() == CommandClass::Change || operation == Operation::DecideApproval
}
