//! `dispatch decisions`: what the policy decided, and why.

use chrono::Utc;
use clap::{Args, Subcommand};
use contracts::{
    DecisionId, Operation, Role,
    policy::PolicyResult,
    read::{DecisionDetail, DecisionFilter, DecisionRecord},
};

use super::ticket::{Instant, parse, parse_instant, resolve};
use crate::{
    cli::Global,
    desk::{Connection, Desk},
    exit::Failure,
    table::{Facts, Mark, Screen, Table, clean, short},
    words,
};

/// Of an export.
const PAGE: u32 = 200;

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum DecisionsCommand {
    /// Lists decisions, newest first
    List(ListArgs),
    /// Shows one decision with everything that it depends on
    Show(ShowArgs),
    /// Prints all decisions that the filters leave, one JSON document a line
    Export(ExportArgs),
}

/// `dispatch decisions list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: u32,

    #[command(flatten)]
    pub filter: FilterArgs,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch decisions export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub filter: FilterArgs,

    #[command(flatten)]
    pub connection: Connection,
}

/// Which decisions; all filters together must hold.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Only about these commands: triage, dispatch, close …
    #[arg(long, value_name = "COMMAND", value_delimiter = ',', value_parser = parse::<Operation>)]
    pub operation: Vec<Operation>,

    /// Only with these results: allow, deny …
    #[arg(long, value_name = "RESULT", value_delimiter = ',', value_parser = parse_result)]
    pub result: Vec<PolicyResult>,

    /// Only this caller's
    #[arg(long, value_name = "ID")]
    pub actor: Option<String>,

    /// Only about this ticket: its id, the beginning of it, or its short form
    #[arg(long, value_name = "ID")]
    pub ticket: Option<String>,

    /// Only with this code among the reasons
    #[arg(long, value_name = "CODE")]
    pub reason: Option<String>,

    /// Only from this time on: 2026-11-21T18:00:00Z, or 7d ago
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub from: Option<Instant>,

    /// Only before this time
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub to: Option<Instant>,
}

/// `dispatch decisions show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The decision
    #[arg(value_name = "ID")]
    pub decision: DecisionId,

    #[command(flatten)]
    pub connection: Connection,
}

fn parse_result(text: &str) -> Result<PolicyResult, String> {
    let word = text.trim().replace('-', "_").to_ascii_uppercase();
    word.parse()
        .map_err(|_| "there are: allow, deny, require_approval".to_owned())
}

/// Looks at decisions.
pub async fn run(global: &Global, command: DecisionsCommand) -> Result<(), Failure> {
    let connection = match &command {
        DecisionsCommand::List(args) => &args.connection,
        DecisionsCommand::Show(args) => &args.connection,
        DecisionsCommand::Export(args) => &args.connection,
    };
    let desk = Desk::open(global, connection, Role::Auditor)?;
    let result = match command {
        DecisionsCommand::List(args) => list(&desk, &args).await,
        DecisionsCommand::Show(args) => show(&desk, &args).await,
        DecisionsCommand::Export(args) => export(&desk, &args).await,
    };
    desk.ended(result)
}

async fn filter(desk: &Desk, args: &FilterArgs) -> Result<DecisionFilter, Failure> {
    let now = Utc::now();
    let ticket_id = match &args.ticket {
        Some(text) => Some(resolve(&desk.api, text).await?),
        None => None,
    };
    Ok(DecisionFilter {
        operation: args.operation.clone(),
        result: args.result.clone(),
        actor: args.actor.clone(),
        ticket_id,
        reason: args.reason.clone(),
        from: args.from.map(|from| from.before(now)),
        to: args.to.map(|to| to.before(now)),
        ..DecisionFilter::default()
    })
}

async fn list(desk: &Desk, args: &ListArgs) -> Result<(), Failure> {
    let filter = DecisionFilter {
        limit: Some(args.limit),
        ..filter(desk, &args.filter).await?
    };
    let page = desk.api.decisions(&filter).await?;
    if desk.json {
        return desk.print_json(&page);
    }
    if page.items.is_empty() {
        return desk.print("no decisions\n");
    }
    let mut table = Table::new(&["ID", "AT", "RESULT", "COMMAND", "BY", "TICKET", "REASONS"]);
    for record in &page.items {
        table.row([
            record.id.to_string(),
            words::time(record.at),
            result(record),
            record.operation.to_string(),
            clean(&record.actor_id),
            record.ticket_id.map_or_else(|| "–".to_owned(), short),
            reasons(record),
        ]);
    }
    let mut text = table.render(desk.screen, &[0, 1, 2]);
    if page.next_cursor.is_some() {
        text += "\nthere are more: a greater --limit, narrower filters, or `dispatch decisions export`\n";
    }
    desk.print(&text)
}

fn result(record: &DecisionRecord) -> String {
    let result = record.decision.result.to_string();
    match (record.decision.result, record.refused) {
        (PolicyResult::Allow, None) => result,
        // Let pass by the policy, refused after it.
        (PolicyResult::Allow, Some(code)) => {
            format!("{result}, {}", Mark::Warn.on(&code.to_string()))
        }
        _ => Mark::Bad.on(&result),
    }
}

fn reasons(record: &DecisionRecord) -> String {
    let codes: Vec<_> = record
        .decision
        .reasons
        .iter()
        .map(|reason| reason.code.as_str())
        .collect();
    codes.join(", ")
}

async fn show(desk: &Desk, args: &ShowArgs) -> Result<(), Failure> {
    let detail = desk.api.decision(args.decision).await?;
    if desk.json {
        return desk.print_json(&detail);
    }
    desk.print(&text(desk.screen, &detail)?)
}

fn text(screen: Screen, detail: &DecisionDetail) -> Result<String, Failure> {
    let record = &detail.record;
    let roles: Vec<_> = record.actor_roles.iter().map(ToString::to_string).collect();
    let mut facts = Facts::default();
    facts.add("decision", record.id.to_string());
    facts.add("result", result(record));
    facts.add(
        "command",
        format!("{}, {}", record.operation, record.command_id),
    );
    if let Some(ticket) = record.ticket_id {
        facts.add("ticket", ticket.to_string());
    }
    facts.add("at", words::time(record.at));
    facts.add(
        "by",
        format!(
            "{} ({}{}{})",
            clean(&record.actor_id),
            record.actor_kind,
            if roles.is_empty() { "" } else { ": " },
            roles.join(", ")
        ),
    );
    for reason in &record.decision.reasons {
        facts.add("reason", format!("{}: {}", reason.code, reason.message));
        facts.add("", format!("to pass: {}", reason.to_pass));
    }
    let bundle = &record.decision.bundle;
    facts.add(
        "bundle",
        format!("{}, sha256 {}", bundle.version, bundle.sha256),
    );
    facts.add("took", format!("{} µs", record.evaluation_micros));
    facts.add("request", clean(&record.request_id));
    facts.add("trace", record.trace_id.clone());
    let input = serde_json::to_string_pretty(&detail.input).map_err(Failure::failed)?;
    Ok(format!(
        "{}\nwhat the policy was asked:\n{input}\n",
        facts.render(screen)
    ))
}

async fn export(desk: &Desk, args: &ExportArgs) -> Result<(), Failure> {
    let mut filter = DecisionFilter {
        limit: Some(PAGE),
        ..filter(desk, &args.filter).await?
    };
    loop {
        let page = desk.api.decisions(&filter).await?;
        for record in &page.items {
            desk.print_line(record)?;
        }
        filter.cursor = page.next_cursor;
        if filter.cursor.is_none() {
            return Ok(());
        }
    }
}
