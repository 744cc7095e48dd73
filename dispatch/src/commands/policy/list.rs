//! `dispatch policy list`.

use clap::Args;
use contracts::Role;

use crate::{
    cli::Global,
    desk::{Connection, Desk},
    exit::Failure,
    table::{Table, clean},
    words,
};

/// `dispatch policy list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which bundle decided when, instead of which there are
    #[arg(long)]
    pub history: bool,

    #[command(flatten)]
    pub connection: Connection,
}

/// Lists bundles, or activations.
pub async fn run(global: &Global, args: &ListArgs) -> Result<(), Failure> {
    let desk = Desk::open(global, &args.connection, Role::PlatformAdmin)?;
    let result = match args.history {
        true => history(&desk).await,
        false => bundles(&desk).await,
    };
    desk.ended(result)
}

async fn bundles(desk: &Desk) -> Result<(), Failure> {
    let list = desk.api.policy_bundles().await?;
    if desk.json {
        return desk.print_json(&list);
    }
    let mut table = Table::new(&[
        "DECIDES",
        "VERSION",
        "SHA256",
        "SIGNED BY",
        "UPLOADED",
        "BY",
    ]);
    for row in list.bundles {
        table.row([
            if row.active { "yes" } else { "" }.to_owned(),
            clean(&row.bundle.version),
            row.bundle.sha256,
            row.signed_by.as_deref().map(clean).unwrap_or_default(),
            words::time(row.uploaded_at),
            row.uploaded_by.as_deref().map(clean).unwrap_or_default(),
        ]);
    }
    desk.print(&table.render(desk.screen, &[2]))
}

async fn history(desk: &Desk) -> Result<(), Failure> {
    let list = desk.api.policy_activations().await?;
    if desk.json {
        return desk.print_json(&list);
    }
    let mut table = Table::new(&["FROM", "VERSION", "SHA256", "BY", "REASON"]);
    for row in list.activations {
        table.row([
            words::time(row.activated_at),
            clean(&row.bundle.version),
            row.bundle.sha256,
            row.activated_by.as_deref().map(clean).unwrap_or_default(),
            row.reason.as_deref().map(clean).unwrap_or_default(),
        ]);
    }
    desk.print(&table.render(desk.screen, &[2]))
}
