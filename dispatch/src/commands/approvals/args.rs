//! The flags of `dispatch approvals`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use contracts::{
    FreeText, Operation, Role, Slug,
    approval::{ApprovalKind, ApprovalState},
};

use crate::{cli::parse_role, commands::ticket::parse, desk::Connection};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ApprovalsCommand {
    /// Lists what waits for people, the least time left first
    List(ListArgs),
    /// Shows one approval: what is asked, why, by whom, what happens next, what was said
    Show(OneArgs),
    /// Says yes; when enough people have, what was asked is carried out
    Approve(DecideArgs),
    /// Says no, which ends it
    Reject(DecideArgs),
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
}

impl ApprovalsCommand {
    pub(super) fn connection(&self) -> &Connection {
        match self {
            Self::List(args) => &args.connection,
            Self::Show(args) | Self::Release(args) => &args.connection,
            Self::Approve(args) | Self::Reject(args) => &args.connection,
            Self::Claim(args) => &args.connection,
            Self::Amend(args) => &args.connection,
            Self::Withdraw(args) => &args.connection,
            Self::Comment(args) => &args.connection,
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

    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: u32,

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

/// `dispatch approvals approve` and `reject`.
#[derive(Debug, Args)]
pub struct DecideArgs {
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

fn parse_text(text: &str) -> Result<FreeText, String> {
    FreeText::new(text).map_err(|error| error.to_string())
}
