//! `dispatch ticket show`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::{
    TicketId,
    approval::Approval,
    read::{NextDeadline, TicketStatus},
    signal::WorkflowView,
    sla::{ClockPhase, SlaClock},
    ticket::{Ticket, Visit},
    value::DetailValue,
};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::{args::ShowArgs, id, list::due_words};
use crate::{
    desk::Desk,
    exit::Failure,
    table::{Facts, Mark, Screen, Table, clean, short, wrapped},
    temporal::{self, Temporal, WorkflowState},
    words,
};

/// What is on its way to the workflow may take this long before it counts as a difference.
const ON_ITS_WAY: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(200);
/// Temporal is asked besides: nobody waits long for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// `--json`: the API's document, and what the workflow says.
#[derive(Debug, Serialize)]
struct Document {
    /// `GET /tickets/{id}/status`, as it is.
    status: TicketStatus,
    workflow: Workflow,
}

/// What the ticket's workflow knows, next to the database.
#[derive(Debug, Serialize)]
struct Workflow {
    /// `same`, `different`, or why nothing can be compared.
    comparison: Comparison,
    /// What it runs as, or why it was not asked.
    detail: String,
    /// Where it can be watched.
    link: Option<String>,
    /// Its own view.
    view: Option<Box<WorkflowView>>,
    /// Each difference: what, in the workflow, in the database.
    differences: Vec<Difference>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Comparison {
    /// They know the same.
    Same,
    /// They do not.
    Different,
    /// Temporal or the worker did not answer.
    Unreachable,
    /// It ended, and Temporal has forgotten it.
    Forgotten,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    what: &'static str,
    workflow: String,
    database: String,
}

/// Shows one ticket.
pub async fn run(desk: &Desk, args: &ShowArgs) -> Result<(), Failure> {
    let ticket = id::resolve(&desk.api, &args.ticket).await?;
    let (status, workflow) = both(desk, ticket).await?;
    if desk.json {
        return desk.print_json(&Document { status, workflow });
    }
    desk.print(&text(desk.screen, &status, &workflow, Utc::now()))
}

/// The ticket and its workflow's view. While they differ both are asked again for a moment: an
/// event may be between them.
async fn both(desk: &Desk, id: TicketId) -> Result<(TicketStatus, Workflow), Failure> {
    let mut status = desk.api.ticket_status(id).await?;
    let temporal = Temporal::new(&desk.settings.temporal)?;
    let link = temporal.link(status.ticket.tenant_id, id);
    let unreachable = |detail: String| Workflow {
        comparison: Comparison::Unreachable,
        detail,
        link: link.clone(),
        view: None,
        differences: Vec::new(),
    };
    let client = match timeout(PATIENCE, temporal.connect()).await {
        Ok(Ok(client)) => client,
        Ok(Err(failure)) => return Ok((status, unreachable(failure.message))),
        Err(_) => return Ok((status, unreachable("Temporal does not answer".to_owned()))),
    };
    let begun = Instant::now();
    loop {
        let asked = temporal::ask(&client, status.ticket.tenant_id, id);
        let state = match timeout(PATIENCE, asked).await {
            Ok(Ok(state)) => state,
            Ok(Err(failure)) => return Ok((status, unreachable(failure.message))),
            Err(_) => {
                let why = "the workflow does not answer: does a worker run?".to_owned();
                return Ok((status, unreachable(why)));
            }
        };
        let workflow = compare(&status, state, link.clone());
        if workflow.comparison != Comparison::Different || begun.elapsed() > ON_ITS_WAY {
            return Ok((status, workflow));
        }
        sleep(POLL).await;
        status = desk.api.ticket_status(id).await?;
    }
}

fn compare(status: &TicketStatus, state: WorkflowState, link: Option<String>) -> Workflow {
    let ended = status.ticket.state.is_terminal();
    let workflow = |comparison, detail: &str, view, differences| Workflow {
        comparison,
        detail: detail.to_owned(),
        link: link.clone(),
        view,
        differences,
    };
    let wrong = |detail: &str, was: String| {
        let differences = vec![Difference {
            what: "workflow",
            workflow: was,
            database: status.ticket.state.to_string(),
        }];
        workflow(Comparison::Different, detail, None, differences)
    };
    let (view, runs) = match state {
        WorkflowState::Missing if ended => {
            let why = "ended, and past Temporal's retention";
            return workflow(Comparison::Forgotten, why, None, Vec::new());
        }
        WorkflowState::Missing => return wrong("there is none", "none".to_owned()),
        WorkflowState::Ended(how) => return wrong("ended otherwise", format!("{how:?}")),
        WorkflowState::Running(view) => (view, true),
        WorkflowState::Completed(view) => (view, false),
    };
    let mut differences = differences(status, &view);
    if runs == ended {
        let as_word = |open: bool| if open { "open" } else { "ended" }.to_owned();
        differences.push(Difference {
            what: "life",
            workflow: as_word(runs),
            database: as_word(!ended),
        });
    }
    let comparison = match differences.is_empty() {
        true => Comparison::Same,
        false => Comparison::Different,
    };
    let detail = if runs { "running" } else { "completed" };
    workflow(comparison, detail, Some(view), differences)
}

fn differences(status: &TicketStatus, view: &WorkflowView) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut same = |what, workflow: String, database: String| {
        if workflow != database {
            found.push(Difference {
                what,
                workflow,
                database,
            });
        }
    };
    let ticket = &status.ticket;
    same(
        "events",
        view.applied_seq.to_string(),
        status.event_seq.to_string(),
    );
    let Some(level) = &view.level else {
        same("state", "unknown".to_owned(), ticket.state.to_string());
        return found;
    };
    same("state", level.state.to_string(), ticket.state.to_string());
    same(
        "version",
        level.version.to_string(),
        ticket.version.to_string(),
    );
    same(
        "type",
        level.template.to_string(),
        ticket.template.to_string(),
    );
    same(
        "priority",
        level.priority.to_string(),
        ticket.priority.to_string(),
    );
    same(
        "waits for",
        level.waiting_for.to_string(),
        status.waiting_for.to_string(),
    );
    let visit = ticket.current_visit().map_or(0, |visit| visit.number);
    same("visit", level.visit.to_string(), visit.to_string());
    let clocks = |clocks: &[SlaClock]| {
        let all: Vec<_> = clocks.iter().map(plain_clock).collect();
        all.join(", ")
    };
    same("clocks", clocks(&level.sla), clocks(&ticket.sla));
    let open = |ids: Vec<String>| ids.join(", ");
    same(
        "open approvals",
        open(
            level
                .open_approvals
                .iter()
                .map(ToString::to_string)
                .collect(),
        ),
        open(
            status
                .open_approvals
                .iter()
                .map(|a| a.id.to_string())
                .collect(),
        ),
    );
    found
}

fn plain_clock(clock: &SlaClock) -> String {
    match clock.phase {
        ClockPhase::Running { due_at, .. } => format!("{} due {}", clock.name, words::time(due_at)),
        ClockPhase::Paused { .. } => format!("{} paused", clock.name),
        ClockPhase::Stopped { met, .. } => {
            format!("{} {}", clock.name, if met { "met" } else { "missed" })
        }
    }
}

fn text(screen: Screen, status: &TicketStatus, workflow: &Workflow, now: DateTime<Utc>) -> String {
    let ticket = &status.ticket;
    let mut text = facts(status, now).render(screen);
    let mut part = |of: &str| {
        text.push('\n');
        text += of;
    };
    if !ticket.sla.is_empty() {
        part(&clocks(ticket, now).render(screen, &[0, 1]));
    }
    part(&visits(ticket).render(screen, &[0, 1]));
    if !status.open_approvals.is_empty() {
        part(&approvals(&status.open_approvals, now).render(screen, &[0]));
    }
    part(&about(screen, workflow));
    text
}

fn facts(status: &TicketStatus, now: DateTime<Utc>) -> Facts {
    let ticket = &status.ticket;
    let mut facts = Facts::default();
    facts.add("ticket", ticket.id.to_string());
    facts.add(
        "state",
        format!("{}, version {}", ticket.state, ticket.version),
    );
    facts.add("waits for", status.waiting_for.to_string());
    if let Some(wait) = &ticket.customer_wait {
        let since = words::ago(wait.since, now);
        facts.add(
            "customer",
            format!("awaited for {}, since {since}", wait.reason),
        );
    }
    if let Some(next) = &status.next_deadline {
        facts.add("next", next_words(next, now));
    }
    facts.add("type", format!("{}, {}", ticket.template, ticket.priority));
    facts.add("site", ticket.site_id.to_string());
    if let Some(asset) = ticket.asset_id {
        facts.add("asset", asset.to_string());
    }
    if let Some(contact) = ticket.contact_id {
        facts.add("contact", contact.to_string());
    }
    if !ticket.details.is_empty() {
        let details: Vec<_> = ticket
            .details
            .iter()
            .map(|(name, value)| format!("{name}={}", detail(value)))
            .collect();
        facts.add("details", details.join(", "));
    }
    facts.add("not to exceed", words::amount(ticket.nte_cents));
    if let Some(invoice) = &ticket.invoice {
        let mut words = format!(
            "{}, {}",
            invoice.number,
            words::amount(invoice.amount_cents)
        );
        if let Some(note) = &invoice.credit_note {
            words += &format!(", taken back by {note}");
        }
        facts.add("invoice", words);
    }
    if let Some(into) = ticket.merged_into {
        facts.add("merged into", into.to_string());
    }
    facts.add("created", words::time(ticket.created_at));
    facts.add(
        "updated",
        format!(
            "{}, {}",
            words::time(ticket.updated_at),
            words::ago(ticket.updated_at, now)
        ),
    );
    let possible: Vec<_> = status.possible.iter().map(ToString::to_string).collect();
    facts.add(
        "possible now",
        match possible.is_empty() {
            true => "nothing: it has ended".to_owned(),
            false => possible.join(", "),
        },
    );
    facts
}

fn detail(value: &DetailValue) -> String {
    match value {
        DetailValue::Flag(flag) => flag.to_string(),
        DetailValue::Number(number) => number.to_string(),
        DetailValue::Word(word) => word.to_string(),
    }
}

fn next_words(next: &NextDeadline, now: DateTime<Utc>) -> String {
    format!(
        "{} of {}, {}",
        next.kind,
        next.clock,
        due_words(next.at, now)
    )
}

fn clocks(ticket: &Ticket, now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&["CLOCK", "PHASE", "LEFT", "DUE", "BUDGET"]);
    for clock in &ticket.sla {
        let seconds = |n: u64| words::length(chrono::TimeDelta::seconds(n.cast_signed()));
        let left = clock.budget_seconds.saturating_sub(clock.used_seconds);
        let (phase, left, due) = match clock.phase {
            ClockPhase::Running { due_at, .. } => (
                "running".to_owned(),
                due_words(due_at, now),
                words::time(due_at),
            ),
            ClockPhase::Paused { since } => (
                "paused".to_owned(),
                seconds(left),
                format!("paused {}", words::ago(since, now)),
            ),
            ClockPhase::Stopped { at, met: true } => (
                "met".to_owned(),
                String::new(),
                format!("stopped {}", words::time(at)),
            ),
            ClockPhase::Stopped { at, met: false } => (
                Mark::Bad.on("missed"),
                String::new(),
                format!("stopped {}", words::time(at)),
            ),
        };
        table.row([
            clock.name.to_string(),
            phase,
            left,
            due,
            seconds(clock.budget_seconds),
        ]);
    }
    table
}

fn visits(ticket: &Ticket) -> Table {
    let mut table = Table::new(&[
        "VISIT",
        "STAGE",
        "WINDOW",
        "TECHNICIAN",
        "ETA",
        "ARRIVED",
        "EVIDENCE",
    ]);
    for visit in &ticket.visits {
        table.row(visit_row(visit));
    }
    table
}

fn visit_row(visit: &Visit) -> [String; 7] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let evidence: Vec<_> = visit.evidence.iter().map(|e| e.kind.to_string()).collect();
    [
        visit.number.to_string(),
        visit.stage.to_string(),
        or_dash(visit.window.map(|window| words::window(&window))),
        or_dash(visit.technician_id.map(short)),
        or_dash(visit.eta.map(words::minute)),
        or_dash(visit.checked_in_at.map(words::minute)),
        or_dash((!evidence.is_empty()).then(|| evidence.join(", "))),
    ]
}

fn approvals(open: &[Approval], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&["APPROVAL", "ASKED", "WHAT", "MAY DECIDE"]);
    for approval in open {
        let roles: Vec<_> = approval
            .required_roles
            .iter()
            .map(ToString::to_string)
            .collect();
        table.row([
            approval.id.to_string(),
            words::ago(approval.requested_at, now),
            format!("{} {}", approval.kind, clean(&approval.request.to_string())),
            roles.join(" or "),
        ]);
    }
    table
}

fn about(screen: Screen, workflow: &Workflow) -> String {
    let head = match workflow.comparison {
        Comparison::Same => format!("{}; knows what the database knows", workflow.detail),
        Comparison::Forgotten => workflow.detail.clone(),
        Comparison::Unreachable => {
            format!("{}: {}", Mark::Warn.on("not compared"), workflow.detail)
        }
        Comparison::Different => format!(
            "{}; {} from the database:",
            workflow.detail,
            Mark::Bad.on("DIFFERENT")
        ),
    };
    let mut facts = Facts::default();
    facts.add("workflow", head);
    if let Some(view) = &workflow.view {
        facts.add(
            "",
            format!(
                "{} events applied, {} kept back, {} snapshots taken, {} proposals, {} SLA records",
                view.applied_seq,
                view.buffered.len(),
                view.healed,
                view.proposed.len(),
                view.sla_recorded.len()
            ),
        );
        if let Some(trouble) = &view.trouble {
            facts.add(
                "",
                format!("{}: {}", Mark::Warn.on("trouble"), clean(trouble)),
            );
        }
    }
    let mut text = facts.render(screen);
    if !workflow.differences.is_empty() {
        let mut table = Table::new(&["", "WHAT", "WORKFLOW", "DATABASE"]);
        for difference in &workflow.differences {
            table.row([
                Mark::Bad.on("≠"),
                difference.what.to_owned(),
                difference.workflow.clone(),
                difference.database.clone(),
            ]);
        }
        text += &table.render(screen, &[0, 1]);
    }
    if let Some(link) = &workflow.link {
        text += &wrapped(link, 0, screen);
    }
    text
}
