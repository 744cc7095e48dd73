//! The flags of `dispatch ticket`.

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use contracts::{
    ActorKind, Operation, Priority, SiteId, TechnicianId, TemplateId, TicketState,
    event::WaitingFor,
    read::{AttemptOutcome, IdOrCode, TicketFilter, TicketSort},
};
use strum::VariantArray;

use crate::{cli::one_of, desk::Connection, token::parse_ttl};

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum TicketCommand {
    /// Lists tickets: state, what each waits for, what is due when
    List(ListArgs),
    /// Shows one ticket: clocks, visits, what can be done now, and what its workflow knows
    ///
    /// The workflow is asked at Temporal and compared with the database; without Temporal the rest
    /// is shown all the same.
    Show(ShowArgs),
    /// Everything that was done or tried on a ticket, in order
    Timeline(TimelineArgs),
    /// Prints changes as they happen: of one ticket until it ends, or of all that the filters leave
    ///
    /// Example, for a script: dispatch ticket watch ID --until CLOSED --timeout 10m. Exit code 0 when
    /// the ticket reached the state, 1 when it ended in another one, 4 when the time was over.
    Watch(WatchArgs),
    /// What software proposed for a ticket, why, and what people did
    Proposals(ProposalsArgs),
}

/// `dispatch ticket list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// In which order: newest, or due (the nearest deadline first)
    #[arg(long, value_name = "ORDER", default_value = "newest", value_parser = parse::<TicketSort>)]
    pub sort: TicketSort,

    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: u32,

    /// All of them, page by page (with --json one page a line)
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,

    #[command(flatten)]
    pub filter: FilterArgs,

    #[command(flatten)]
    pub connection: Connection,
}

/// Which tickets. Several values with commas are alternatives; all filters together must hold.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Only these states
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = parse_upper::<TicketState>)]
    pub state: Vec<TicketState>,

    /// Only these priorities
    #[arg(long, value_name = "P1..P4", value_delimiter = ',', value_parser = parse_upper::<Priority>)]
    pub priority: Vec<Priority>,

    /// Only these kinds of incident
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    pub incident_type: Vec<TemplateId>,

    /// Only what waits for one of these: triage, schedule, assignment, change_approval …
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = parse::<WaitingFor>)]
    pub waiting_for: Vec<WaitingFor>,

    /// Only this site
    #[arg(long, value_name = "ID|CODE")]
    pub site: Option<IdOrCode<SiteId>>,

    /// Only what this technician is sent to
    #[arg(long, value_name = "ID|CODE")]
    pub technician: Option<IdOrCode<TechnicianId>>,

    /// Only with a deadline before this time: 2026-11-21T18:00:00Z, or 4h from now
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub due_before: Option<Instant>,

    /// Only what this names: a ticket's short id, an invoice's number, a site's or asset's code, a
    /// word of the details
    #[arg(long, short, value_name = "TEXT")]
    pub q: Option<String>,
}

/// A time on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instant {
    /// This one.
    At(DateTime<Utc>),
    /// So long from now, or ago.
    Within(chrono::TimeDelta),
}

impl Instant {
    /// As of now.
    pub fn from(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::Within(delta) => now + delta,
        }
    }

    /// So long before now.
    pub fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::Within(delta) => now - delta,
        }
    }
}

impl FilterArgs {
    /// As the API takes it.
    pub fn filter(&self, now: DateTime<Utc>) -> TicketFilter {
        TicketFilter {
            state: self.state.clone(),
            priority: self.priority.clone(),
            incident_type: self.incident_type.clone(),
            waiting_for: self.waiting_for.clone(),
            site: self.site.clone(),
            technician: self.technician.clone(),
            due_before: self.due_before.map(|due| due.from(now)),
            q: self.q.clone(),
            ..TicketFilter::default()
        }
    }
}

/// `dispatch ticket show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The ticket: its id, the beginning of it, or its short form
    #[arg(value_name = "ID")]
    pub ticket: String,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch ticket timeline`.
#[derive(Debug, Args)]
pub struct TimelineArgs {
    /// The ticket: its id, the beginning of it, or its short form
    #[arg(value_name = "ID")]
    pub ticket: String,

    /// Only these commands: triage, dispatch, add_note …
    #[arg(long, value_name = "COMMAND", value_delimiter = ',', value_parser = parse::<Operation>, help_heading = "Filters")]
    pub operation: Vec<Operation>,

    /// Only callers of these kinds: person, agent, workflow, integration
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = parse::<ActorKind>, help_heading = "Filters")]
    pub actor_kind: Vec<ActorKind>,

    /// Only this caller
    #[arg(long, value_name = "ID", help_heading = "Filters")]
    pub actor: Option<String>,

    /// Only what was accepted, or only what was refused
    #[arg(long, value_name = "OUTCOME", value_parser = parse::<AttemptOutcome>, help_heading = "Filters")]
    pub outcome: Option<AttemptOutcome>,

    /// Only from this time on: 2026-11-21T18:00:00Z, or 4h ago
    #[arg(long, value_name = "TIME", value_parser = parse_instant, help_heading = "Filters")]
    pub from: Option<Instant>,

    /// Only before this time
    #[arg(long, value_name = "TIME", value_parser = parse_instant, help_heading = "Filters")]
    pub to: Option<Instant>,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch ticket watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// One ticket: its id, the beginning of it, or its short form; without it all that the filters
    /// leave
    #[arg(value_name = "ID", conflicts_with = "FilterArgs")]
    pub ticket: Option<String>,

    /// Ends when the ticket reaches this state
    #[arg(long, value_name = "STATE", value_parser = parse_upper::<TicketState>, requires = "ticket")]
    pub until: Option<TicketState>,

    /// Ends after this time in any case, with exit code 4
    #[arg(long, value_name = "TIME", value_parser = parse_length)]
    pub timeout: Option<Duration>,

    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_length)]
    pub interval: Duration,

    #[command(flatten)]
    pub filter: FilterArgs,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch ticket proposals`.
#[derive(Debug, Args)]
pub struct ProposalsArgs {
    /// The ticket: its id, the beginning of it, or its short form
    #[arg(value_name = "ID")]
    pub ticket: String,

    #[command(flatten)]
    pub connection: Connection,
}

/// A word of a closed list, told when it is none.
pub fn parse<T>(text: &str) -> Result<T, String>
where
    T: FromStr + VariantArray + std::fmt::Display,
{
    one_of(text)
}

/// The same where the words are in capitals.
pub fn parse_upper<T>(text: &str) -> Result<T, String>
where
    T: FromStr + VariantArray + std::fmt::Display,
{
    one_of(&text.trim().replace('-', "_").to_ascii_uppercase())
}

/// An instant, or a length of time.
pub fn parse_instant(text: &str) -> Result<Instant, String> {
    let text = text.trim();
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(Instant::At(at.to_utc()));
    }
    parse_ttl(text).map(Instant::Within).map_err(|_| {
        format!("`{text}` is neither a time such as 2026-11-21T18:00:00Z nor a length such as 4h")
    })
}

fn parse_length(text: &str) -> Result<Duration, String> {
    let delta = parse_ttl(text)?;
    delta.to_std().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_time_is_an_instant_or_a_length() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let four = parse_instant("4h").unwrap();
        assert_eq!(four.from(now), now + TimeDelta::hours(4));
        assert_eq!(four.before(now), now - TimeDelta::hours(4));
        let fixed = parse_instant("2026-11-21T18:00:00+01:00").unwrap();
        assert_eq!(fixed.from(now).to_rfc3339(), "2026-11-21T17:00:00+00:00");
        assert_eq!(fixed.before(now), fixed.from(now));
        for bad in ["", "yesterday", "2026-11-21", "4"] {
            let error = parse_instant(bad).unwrap_err();
            assert!(error.contains("4h"), "{error}");
        }
    }

    #[test]
    fn states_may_be_typed_in_small_letters() {
        assert_eq!(parse_upper("on-site"), Ok(TicketState::OnSite));
        assert_eq!(parse_upper("p1"), Ok(Priority::P1));
        let error = parse_upper::<TicketState>("flying").unwrap_err();
        assert!(error.contains("NEW, TRIAGED"), "{error}");
    }
}
