//! `dispatch relay`, and what an operator does to its work.

use relay::admin;
use uuid::Uuid;

use crate::{
    cli::{Global, ParkedCommand, RelayCommand},
    config::Settings,
    exit::{Failure, chain},
    parts, shutdown,
};

/// Runs the relay until Ctrl-C, or one of the commands.
pub async fn run(global: &Global, command: Option<RelayCommand>) -> Result<(), Failure> {
    let settings = super::load(global, Vec::new())?.settings;
    let Some(command) = command else {
        return parts::relay(&settings, shutdown::on_signal())?.await;
    };
    let pool = parts::pool("database.relay_url", settings.database.relay_url.as_ref()).await?;
    match command {
        RelayCommand::Parked {
            command: ParkedCommand::List(args),
        } => {
            let parked = admin::parked_list(&pool).await.map_err(failure)?;
            list(&parked, args.json)
        }
        RelayCommand::Parked {
            command: ParkedCommand::Replay(which),
        } => {
            if let Some(ticket) = which.ticket {
                known(&pool, ticket).await?;
            }
            let replayed = admin::parked_replay(&pool, which.ticket)
                .await
                .map_err(failure)?;
            super::print(&format!("{replayed} events will be delivered again\n"))
        }
        RelayCommand::NewEpoch { yes: false } => Err(Failure::usage(
            "new-epoch makes every workflow take a snapshot: only after the database was set back \
             to an earlier copy. Say --yes if it was",
        )),
        RelayCommand::NewEpoch { yes: true } => {
            let epoch = admin::new_epoch(&pool).await.map_err(failure)?;
            super::print(&format!(
                "epoch {epoch}: running relays tell every open ticket's workflow\n"
            ))
        }
        RelayCommand::Resync(which) => resync(&settings, &pool, which.ticket).await,
    }
}

/// A ticket that nobody knows is a typo, not one without parked events.
async fn known(pool: &sqlx::PgPool, ticket: contracts::TicketId) -> Result<(), Failure> {
    let tenant = store::outbox::tenant_of(pool, ticket)
        .await
        .map_err(|error| parts::database("database.relay_url", &error))?;
    match tenant {
        Some(_) => Ok(()),
        None => Err(failure(admin::AdminError::UnknownTicket(ticket))),
    }
}

async fn resync(
    settings: &Settings,
    pool: &sqlx::PgPool,
    ticket: Option<contracts::TicketId>,
) -> Result<(), Failure> {
    let temporal = parts::relay_client(settings)?;
    let nonce = Uuid::now_v7();
    match ticket {
        Some(ticket) => {
            let run = admin::resync(pool, &temporal, ticket, nonce)
                .await
                .map_err(failure)?;
            super::print(&format!("{ticket}: run {run} was told\n"))
        }
        None => {
            let told = admin::resync_all(pool, &temporal, nonce)
                .await
                .map_err(failure)?;
            super::print(&format!("{told} workflows were told\n"))
        }
    }
}

fn list(parked: &[admin::ParkedEvent], json: bool) -> Result<(), Failure> {
    if json {
        let rows: Vec<_> = parked
            .iter()
            .map(|event| {
                serde_json::json!({
                    "event_id": event.id,
                    "tenant_id": event.tenant_id,
                    "ticket_id": event.ticket_id,
                    "seq": event.seq,
                    "event_type": event.event_type,
                    "parked_at": event.parked_at,
                    "reason": event.reason,
                    "attempts": event.attempts,
                    "waiting_behind": event.waiting_behind,
                })
            })
            .collect();
        return super::print_json(&rows);
    }
    if parked.is_empty() {
        return super::print("nothing is parked\n");
    }
    let mut text = String::new();
    for event in parked {
        text += &format!(
            "{}  seq {} {}, since {}, after {} tries, {} events wait behind it\n    {}\n",
            event.ticket_id,
            event.seq,
            event.event_type,
            event.parked_at.format("%Y-%m-%d %H:%M:%S UTC"),
            event.attempts,
            event.waiting_behind,
            event.reason,
        );
    }
    text += "\nMend the cause, then: dispatch relay parked replay --ticket ID (or --all)\n";
    super::print(&text)
}

fn failure(error: admin::AdminError) -> Failure {
    let text = chain(&error);
    match error {
        admin::AdminError::UnknownTicket(_) => Failure::failed(text),
        admin::AdminError::Temporal(_) => Failure::infrastructure(text),
        admin::AdminError::Store(error) => parts::database("database.relay_url", &error),
    }
}
