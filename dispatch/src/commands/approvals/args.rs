//! The flags of `dispatch approvals`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use contracts::{
    DelegationId, FreeText, Operation, Role, Slug,
    approval::{ApprovalKind, ApprovalState},
};

use crate::{
    cli::parse_role,
    commands::ticket::{Instant, parse, parse_instant},
    desk::Connection,
};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ApprovalsCommand {
    /// Lists what waits for people, the least time left first
    List(ListArgs),
    /// Shows one approval: what is asked, why, by whom, what happens next, what was said
    Show(OneArgs),
    /// Says yes; when enough people have, what was asked is carried out
    Approve(ApproveArgs),
    /// Says no and why, which ends it
    Reject(RejectArgs),
    /// Works on one: others are told so, until the time is over
    Claim(ClaimArgs),
    /// Works on it no longer
    Release(OneArgs),
    /// Changes what it asks for: a new version, pending again, all votes void
    Amend(AmendArgs),
    /// Takes it back
    Withdraw(WithdrawArgs),
    /// Says something about it
    Comment(CommentArgs),
    /// Gives it more time, or less
    Due(DueArgs),
    /// Carries out what was approved although a kill switch is engaged
    Override(OverrideArgs),
    /// Lends roles of one's own to somebody, while one is away
    Delegate(DelegateArgs),
    /// Lists what was lent
    Delegations(DelegationsArgs),
    /// Takes back what was lent
    RevokeDelegation(RevokeDelegationArgs),
}

impl ApprovalsCommand {
    pub(super) fn connection(&self) -> &Connection {
        match self {
            Self::List(args) => &args.connection,
            Self::Show(args) | Self::Release(args) => &args.connection,
            Self::Approve(args) => &args.connection,
            Self::Reject(args) => &args.connection,
            Self::Claim(args) => &args.connection,
            Self::Amend(args) => &args.connection,
            Self::Withdraw(args) => &args.connection,
            Self::Comment(args) => &args.connection,
            Self::Due(args) => &args.connection,
            Self::Override(args) => &args.connection,
            Self::Delegate(args) => &args.connection,
            Self::Delegations(args) => &args.connection,
            Self::RevokeDelegation(args) => &args.connection,
        }
    }
}

/// `dispatch approvals list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only these states [default: pending]
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = parse::<ApprovalState>, help_heading = "Filters")]
    pub state: Vec<ApprovalState>,

    /// Only these kinds: held_command, change_order, promotion, rearm, bundle_activation
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = parse::<ApprovalKind>, help_heading = "Filters")]
    pub kind: Vec<ApprovalKind>,

    /// Only what one of these roles may decide
    #[arg(id = "may_decide", long = "role", value_name = "ROLE", value_delimiter = ',', value_parser = parse_role, help_heading = "Filters")]
    pub role: Vec<Role>,

    /// Only what would carry out one of these commands: dispatch, generate_invoice …
    #[arg(long, value_name = "COMMAND", value_delimiter = ',', value_parser = parse::<Operation>, help_heading = "Filters")]
    pub operation: Vec<Operation>,

    /// Only of this ticket: its id, the beginning of it, or its short form
    #[arg(long, value_name = "ID", help_heading = "Filters")]
    pub ticket: Option<String>,

    /// Only what you have claimed
    #[arg(long, help_heading = "Filters")]
    pub mine: bool,

    /// Only what has waited for so many minutes
    #[arg(long, value_name = "MINUTES", help_heading = "Filters")]
    pub waiting: Option<u32>,

    /// Only where the ticket's next deadline comes before the approval's own end
    #[arg(long, help_heading = "Filters")]
    pub sla_at_risk: bool,

    /// Only where the ticket's next deadline comes within so many minutes
    #[arg(long, value_name = "MINUTES", help_heading = "Filters")]
    pub sla_within: Option<u32>,

    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200), conflicts_with = "all")]
    pub limit: u32,

    /// All that the filters leave
    #[arg(long)]
    pub all: bool,

    #[command(flatten)]
    pub connection: Connection,
}

/// One approval.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// The approval: its id, the beginning of it, or its short form
    #[arg(value_name = "ID")]
    pub approval: String,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch approvals approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// The approval: its id, the beginning of it, or its short form
    #[arg(value_name = "ID")]
    pub approval: String,

    /// Why: a word such as within_budget
    #[arg(long, value_name = "WORD")]
    pub reason: Option<Slug>,

    /// The version that you looked at, as `show` has it; needed once it was amended
    #[arg(id = "approval_version", long = "approval-version", value_name = "N")]
    pub version: Option<u32>,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch approvals reject`.
#[derive(Debug, Args)]
pub struct RejectArgs {
    /// The approval: its id, the beginning of it, or its short form
    #[arg(value_name = "ID")]
    pub approval: String,

    /// Why: a word such as too_dear
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    /// The version that you looked at, as `show` has it; needed once it was amended
    #[arg(id = "approval_version", long = "approval-version", value_name = "N")]
    pub version: Option<u32>,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch approvals claim`.
#[derive(Debug, Args)]
pub struct ClaimArgs {
    /// The approval: its id, the beginning of it, or its short form
    #[arg(value_name = "ID")]
    pub approval: String,

    /// For how long
    #[arg(long, value_name = "MINUTES", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=240))]
    pub minutes: u16,

    /// Takes it over from whoever has claimed it: why, as a word such as colleague_is_ill
    #[arg(long, value_name = "WORD")]
    pub take_over: Option<Slug>,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch approvals amend`.
#[derive(Debug, Args)]
pub struct AmendArgs {
    /// The approval: its id, the beginning of it, or its short form
    #[arg(value_name = "ID")]
    pub approval: String,

    /// The command's body as it shall be: a file with a JSON object (`show --json` has the present
    /// one at `command.body`)
    #[arg(long, value_name = "FILE")]
    pub body: PathBuf,

    /// Why: a word such as smaller_pane
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch approvals withdraw`.
#[derive(Debug, Args)]
pub struct WithdrawArgs {
    /// The approval: its id, the beginning of it, or its short form
    #[arg(value_name = "ID")]
    pub approval: String,

    /// Why: a word such as not_needed
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch approvals comment`.
#[derive(Debug, Args)]
pub struct CommentArgs {
    /// The approval: its id, the beginning of it, or its short form
    #[arg(value_name = "ID")]
    pub approval: String,

    /// What you have to say
    #[arg(value_name = "TEXT", value_parser = parse_text)]
    pub text: FreeText,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch approvals due`.
#[derive(Debug, Args)]
pub struct DueArgs {
    /// The approval: its id, the beginning of it, or its short form
    #[arg(value_name = "ID")]
    pub approval: String,

    /// Its new end: 2026-11-21T18:00:00Z, or 4h from now; at most 30d
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub until: Instant,

    /// Why: a word such as customer_calls_back
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch approvals override`.
#[derive(Debug, Args)]
pub struct OverrideArgs {
    /// The approval: its id, the beginning of it, or its short form
    #[arg(value_name = "ID")]
    pub approval: String,

    /// Why the switch is to be passed: a word such as storm
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    /// The version that was approved [default: the present one]
    #[arg(id = "approval_version", long = "approval-version", value_name = "N")]
    pub version: Option<u32>,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch approvals delegate`.
#[derive(Debug, Args)]
pub struct DelegateArgs {
    /// To whom: the subject of their token
    #[arg(id = "to_actor", long = "to", value_name = "ACTOR")]
    pub to: String,

    /// Which roles of one's own
    #[arg(id = "lent", long = "role", value_name = "ROLE", value_delimiter = ',', required = true, value_parser = parse_role)]
    pub roles: Vec<Role>,

    /// From when: 2026-11-21T18:00:00Z, or 4h from now [default: at once]
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub from: Option<Instant>,

    /// Until when: 2026-12-01T08:00:00Z, or 7d from now; at most 90d after the beginning
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub until: Instant,

    /// Why: a word such as leave
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch approvals delegations`.
#[derive(Debug, Args)]
pub struct DelegationsArgs {
    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch approvals revoke-delegation`.
#[derive(Debug, Args)]
pub struct RevokeDelegationArgs {
    /// Its id, as `delegations` shows it
    #[arg(value_name = "ID")]
    pub delegation: DelegationId,

    #[command(flatten)]
    pub connection: Connection,
}

fn parse_text(text: &str) -> Result<FreeText, String> {
    FreeText::new(text).map_err(|error| error.to_string())
}
