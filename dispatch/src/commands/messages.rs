//! `dispatch messages`: what came in, what goes out, and what a person has to place.

use std::fmt::Write;

use chrono::Utc;
use clap::{Args, Subcommand};
use contracts::{
    MessageId, Role,
    comms::{Channel, CommsEnvelope, CommsFilter, DeliveryState, Direction, Recipient, Routing},
};

use super::ticket::{parse, resolve};
use crate::{
    cli::Global,
    desk::{Connection, Desk},
    exit::Failure,
    table::{Facts, Mark, Table, clean, short},
    words,
};

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum MessagesCommand {
    /// Lists messages, newest first; held ones oldest first
    List(ListArgs),
    /// Shows one message: text, provenance, where it belongs and how far it got
    Show(ShowArgs),
}

/// `dispatch messages list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of which no rule knows the ticket: a person has to say
    #[arg(long)]
    pub held: bool,

    /// Only in or only out: inbound, outbound
    #[arg(long, value_name = "WAY", value_parser = parse_direction)]
    pub direction: Option<Direction>,

    /// Only on this channel: sms, email, voice …
    #[arg(long, value_name = "CHANNEL", value_parser = parse::<Channel>)]
    pub channel: Option<Channel>,

    /// Only outbound ones that stand so: queued, sent, withdrawn, failed
    #[arg(long, value_name = "STATE", value_parser = parse::<DeliveryState>)]
    pub state: Option<DeliveryState>,

    /// Only of this ticket: its id, the beginning of it, or its short form
    #[arg(long, value_name = "ID")]
    pub ticket: Option<String>,

    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: u32,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch messages show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The message
    #[arg(value_name = "ID")]
    pub message: MessageId,

    #[command(flatten)]
    pub connection: Connection,
}

/// Looks at messages.
pub async fn run(global: &Global, command: MessagesCommand) -> Result<(), Failure> {
    let connection = match &command {
        MessagesCommand::List(args) => &args.connection,
        MessagesCommand::Show(args) => &args.connection,
    };
    let desk = Desk::open(global, connection, Role::Dispatcher)?;
    let result = match command {
        MessagesCommand::List(args) => list(&desk, &args).await,
        MessagesCommand::Show(args) => show(&desk, &args).await,
    };
    desk.ended(result)
}

fn parse_direction(text: &str) -> Result<Direction, String> {
    text.parse()
        .map_err(|_| "there are: inbound, outbound".to_owned())
}

async fn list(desk: &Desk, args: &ListArgs) -> Result<(), Failure> {
    let ticket_id = match &args.ticket {
        Some(text) => Some(resolve(&desk.api, text).await?),
        None => None,
    };
    let filter = CommsFilter {
        direction: args.direction,
        channel: args.channel,
        state: args.state,
        held: args.held.then_some(true),
        ticket_id,
        limit: Some(args.limit),
        ..CommsFilter::default()
    };
    let page = desk.api.messages(&filter).await?;
    if desk.json {
        return desk.print_json(&page);
    }
    if page.items.is_empty() {
        return desk.print("no messages\n");
    }
    let now = Utc::now();
    let mut table = Table::new(&[
        "ID", "AT", "WAY", "CHANNEL", "TICKET", "STANDS", "WHO", "TEXT",
    ]);
    for message in &page.items {
        table.row([
            message.id.to_string(),
            words::ago(message.received_at, now),
            message.direction.to_string(),
            message.channel.to_string(),
            message.ticket_id.map_or_else(|| "–".to_owned(), short),
            stands(message),
            who(message),
            beginning(message),
        ]);
    }
    let mut text = table.render(desk.screen, &[0, 1, 2]);
    if page.next_cursor.is_some() {
        text += "\nthere are more: a greater --limit, or narrower filters\n";
    }
    desk.print(&text)
}

/// Where it belongs, or how far it got.
fn stands(message: &CommsEnvelope) -> String {
    if let Some(delivery) = &message.delivery {
        let state = delivery.state.to_string();
        return match delivery.state {
            DeliveryState::Failed => Mark::Bad.on(&state),
            _ => state,
        };
    }
    match (&message.routing, message.ticket_id) {
        (Some(Routing::Held { reason, .. }), None) => Mark::Warn.on(&format!("held: {reason}")),
        (Some(Routing::Held { .. }), Some(_)) => "attached by a person".to_owned(),
        (Some(Routing::Attached { .. }), _) => "attached".to_owned(),
        (Some(Routing::Created { .. }), _) => "opened a ticket".to_owned(),
        (Some(Routing::Duplicate { .. }), _) => "duplicate".to_owned(),
        (None, _) => "–".to_owned(),
    }
}

fn who(message: &CommsEnvelope) -> String {
    match (&message.peer, &message.recipient) {
        (Some(peer), _) => clean(peer.as_str()),
        (None, Some(recipient)) => recipient_words(recipient),
        (None, None) => "–".to_owned(),
    }
}

fn recipient_words(recipient: &Recipient) -> String {
    match recipient {
        Recipient::Contact { contact_id } => short(contact_id),
        Recipient::Roles { roles } => {
            let roles: Vec<_> = roles.iter().map(ToString::to_string).collect();
            roles.join(" or ")
        }
        Recipient::Concerned { approval_id } => format!("those of {}", short(approval_id)),
    }
}

/// What it says, as far as a line holds it; a notice says what it is for.
fn beginning(message: &CommsEnvelope) -> String {
    const LONGEST: usize = 60;
    let text = match (&message.text, message.purpose) {
        (Some(text), _) => clean(text.as_str()),
        (None, Some(purpose)) => purpose.to_string(),
        (None, None) => String::new(),
    };
    if text.chars().count() <= LONGEST {
        return text;
    }
    let mut cut: String = text.chars().take(LONGEST - 1).collect();
    cut.push('…');
    cut
}

async fn show(desk: &Desk, args: &ShowArgs) -> Result<(), Failure> {
    let message = desk.api.message(args.message).await?;
    if desk.json {
        return desk.print_json(&message);
    }
    let mut text = facts(&message).render(desk.screen);
    if let Some(says) = &message.text {
        text.push('\n');
        for line in says.as_str().lines() {
            let _ = writeln!(text, "  {}", clean(line));
        }
    }
    desk.print(&text)
}

fn facts(message: &CommsEnvelope) -> Facts {
    let mut facts = Facts::default();
    facts.add("message", message.id.to_string());
    facts.add("way", format!("{}, {}", message.direction, message.channel));
    facts.add("who", who(message));
    if let Some(purpose) = message.purpose {
        facts.add("purpose", purpose.to_string());
    }
    facts.add("stands", stands(message));
    match (message.ticket_id, &message.routing) {
        (Some(ticket), _) => facts.add("ticket", ticket.to_string()),
        (None, Some(Routing::Held { candidates, .. })) => {
            let candidates: Vec<_> = candidates.iter().map(ToString::to_string).collect();
            if !candidates.is_empty() {
                facts.add("may belong to", candidates.join(", "));
            }
        }
        (None, _) => {}
    }
    if let (Some(provider), Some(id)) = (&message.provider, &message.provider_message_id) {
        facts.add("provider", format!("{provider}, {}", clean(id.as_str())));
    }
    if let Some(at) = message.provider_time {
        facts.add("sent", words::time(at));
    }
    facts.add("taken", words::time(message.received_at));
    if let Some(delivery) = &message.delivery {
        facts.add("due", words::time(delivery.due_at));
        let mut tries = format!("{}", delivery.attempts);
        if let Some(result) = &delivery.last_result {
            let _ = write!(tries, ", the last met {result}");
        }
        facts.add("tries", tries);
        if let Some(at) = delivery.ended_at {
            facts.add("ended", words::time(at));
        }
    }
    facts
}
