//! The flags of `dispatch rollout`.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};
use contracts::{Operation, Slug, autonomy::StageTarget, event::AutonomyMode};

use crate::{
    commands::ticket::{Instant, parse, parse_instant, parse_upper},
    desk::Connection,
};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// How far software may go, kind of command by kind of command, and changes to come
    Show(ShowArgs),
    /// How good software's advice and acts were: agreement, what people undid, what it would save
    Ledger(LedgerArgs),
    /// Makes a gate report, which a promotion is decided on, and says which gates it passes
    ///
    /// Computed by dispatch-api from what is on record, and kept there under its hash. Good for one
    /// change of the stage that it was made at.
    Report(ReportArgs),
    /// Lets software do more by itself; a second person has to agree
    ///
    /// A promotion that a gate stands against is refused, and each figure that is not good enough is
    /// named with what it must be (exit code 1).
    Promote(PromoteArgs),
    /// Lets software do less by itself, at once, or calls off what is to come
    ///
    /// `--to` the very mode (and share) at which the stage stands calls off the changes of it that
    /// are to come. Without any it is refused.
    Demote(DemoteArgs),
    /// How the stages came where they are, by whom and why
    History(HistoryArgs),
}

/// A stage by its name: `dispatch`, or `dispatch/emergency` for one risk class.
#[derive(Debug, Clone)]
pub struct Stage(pub StageTarget);

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (operation, risk) = match text.split_once('/') {
            Some((operation, risk)) => (operation, Some(risk)),
            None => (text, None),
        };
        let operation = parse::<Operation>(operation)?;
        let risk = risk
            .map(|risk| Slug::new(risk).map_err(|error| error.to_string()))
            .transpose()?;
        Ok(Self(StageTarget { operation, risk }))
    }
}

/// `dispatch rollout show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch rollout ledger`.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// The stage: a command, or COMMAND/RISK
    #[arg(value_name = "STAGE")]
    pub stage: Stage,

    /// From this time on: 2026-11-21T18:00:00Z, or 7d ago [default: 28 days before the end]
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub since: Option<Instant>,

    /// Until this time [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub until: Option<Instant>,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch rollout report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The stage: a command, or COMMAND/RISK
    #[arg(value_name = "STAGE")]
    pub stage: Stage,

    /// Proposals and acts from this time on, until now: 2026-11-21T18:00:00Z, or 7d ago; as long ago as
    /// the gate demands, at most 92d [default: 28d]
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub since: Option<Instant>,

    /// Writes the document to this file too
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch rollout promote`.
#[derive(Debug, Args)]
pub struct PromoteArgs {
    /// The stage: a command, or COMMAND/RISK
    #[arg(value_name = "STAGE")]
    pub stage: Stage,

    /// How far: SHADOW, APPROVE, CANARY or AUTO
    #[arg(long, value_name = "MODE", value_parser = parse_upper::<AutonomyMode>)]
    pub to: AutonomyMode,

    /// The share of tickets, for CANARY: 1 to 99
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub percent: Option<u8>,

    /// The gate report that it is decided on: its hash, or the file that `report --out` wrote
    #[arg(long, value_name = "HASH|FILE")]
    pub report: Option<String>,

    /// From this time on: 2026-11-21T18:00:00Z, or in 12h; the other person has to agree before
    /// [default: at once]
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub at: Option<Instant>,

    /// Why: a word such as good_figures
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    /// Only says what would come of it
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch rollout demote`.
#[derive(Debug, Args)]
pub struct DemoteArgs {
    /// The stage: a command, or COMMAND/RISK
    #[arg(value_name = "STAGE")]
    pub stage: Stage,

    /// How far: OFF, SHADOW, APPROVE or CANARY; where it stands to call off what is to come
    #[arg(long, value_name = "MODE", value_parser = parse_upper::<AutonomyMode>)]
    pub to: AutonomyMode,

    /// The share of tickets, for CANARY: 1 to 99
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub percent: Option<u8>,

    /// Why: a word such as wrong_dispatches
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch rollout history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only of this kind of command
    #[arg(long, value_name = "COMMAND", value_parser = parse::<Operation>)]
    pub operation: Option<Operation>,

    #[command(flatten)]
    pub connection: Connection,
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use clap::Parser;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Promote {
        #[command(flatten)]
        args: PromoteArgs,
    }

    #[test]
    fn a_promotion_for_later_is_for_a_time_or_for_so_long_from_now() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let at = |text: &str| {
            let words = [
                "promote",
                "triage",
                "--to",
                "AUTO",
                "--reason",
                "good_figures",
            ];
            let words = words.into_iter().chain(["--at", text]);
            let parsed = Promote::try_parse_from(words).map_err(|error| error.to_string())?;
            Ok::<_, String>(parsed.args.at.unwrap().from(now))
        };
        assert_eq!(at("12h").unwrap(), now + TimeDelta::hours(12));
        let fixed = at("2026-12-01T06:00:00Z").unwrap();
        assert_eq!(fixed.to_rfc3339(), "2026-12-01T06:00:00+00:00");
        assert!(at("tomorrow").unwrap_err().contains("2026-11-21T18:00:00Z"));
    }

    #[test]
    fn a_stage_is_a_command_or_a_command_with_a_risk_class() {
        let key = |text: &str| text.parse::<Stage>().map(|stage| stage.0.key());
        assert_eq!(key("dispatch").unwrap(), "dispatch");
        assert_eq!(key("dispatch/emergency").unwrap(), "dispatch/emergency");
        assert!(
            key("fly").unwrap_err().contains("dispatch"),
            "it lists what there is"
        );
        assert!(key("dispatch/").is_err() && key("dispatch/Two Words").is_err());
    }
}
