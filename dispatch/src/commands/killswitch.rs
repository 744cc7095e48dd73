//! `dispatch killswitch`: stops software from acting, or lets it act again.

use chrono::Utc;
use clap::{Args, Subcommand};
use client::CallOptions;
use contracts::{
    Role, Slug,
    command::{EngageKillSwitch, ReleaseKillSwitch},
    directory::KillSwitchView,
};

use crate::{
    cli::Global,
    desk::{Connection, Desk},
    exit::Failure,
    table::{Mark, clean},
    words,
};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum KillSwitchCommand {
    /// Whether software is stopped, since when, by whom and why
    Status(StatusArgs),
    /// Stops software from acting, at once; people and SLA clocks go on
    Engage(TurnArgs),
    /// Lets software act again, as far as its stage lets it
    Release(TurnArgs),
}

/// `dispatch killswitch status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch killswitch engage` and `release`.
#[derive(Debug, Args)]
pub struct TurnArgs {
    /// Why: a word such as wrong_dispatches
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    #[command(flatten)]
    pub connection: Connection,
}

/// Looks at the switch, or turns it.
pub async fn run(global: &Global, command: KillSwitchCommand) -> Result<(), Failure> {
    let connection = match &command {
        KillSwitchCommand::Status(args) => &args.connection,
        KillSwitchCommand::Engage(args) | KillSwitchCommand::Release(args) => &args.connection,
    };
    let desk = Desk::open(global, connection, Role::TenantAdmin)?;
    let result = turn(&desk, &command).await;
    desk.ended(result)
}

async fn turn(desk: &Desk, command: &KillSwitchCommand) -> Result<(), Failure> {
    let options = CallOptions::default();
    let receipt = match command {
        KillSwitchCommand::Status(_) => None,
        KillSwitchCommand::Engage(args) => {
            let reason = args.reason.clone();
            let body = EngageKillSwitch { reason };
            Some(desk.api.engage_kill_switch(&body, &options).await?)
        }
        KillSwitchCommand::Release(args) => {
            let reason = args.reason.clone();
            let body = ReleaseKillSwitch { reason };
            Some(desk.api.release_kill_switch(&body, &options).await?)
        }
    };
    match receipt {
        Some(receipt) if desk.json => desk.print_json(&receipt),
        _ => {
            let view = desk.api.kill_switch().await?;
            if desk.json {
                return desk.print_json(&view);
            }
            desk.print(&desk.screen.paint(&text(&view)))
        }
    }
}

fn text(view: &KillSwitchView) -> String {
    let state = match view.engaged {
        true => format!("{}: software does not act", Mark::Bad.on("ENGAGED")),
        false => "released: software acts as far as its stage lets it".to_owned(),
    };
    let mut text = format!("{state}\n");
    if let (Some(by), Some(at)) = (&view.turned_by, view.turned_at) {
        text += &format!(
            "turned by {} {} ({})",
            clean(by),
            words::ago(at, Utc::now()),
            words::time(at)
        );
        if let Some(reason) = &view.reason {
            text += &format!(", for {reason}");
        }
        text += &format!("; turn number {}\n", view.generation);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Screen;

    #[test]
    fn the_switch_is_told_in_one_word() {
        let mut view = KillSwitchView::default();
        assert!(text(&view).starts_with("released:"));
        view = KillSwitchView {
            engaged: true,
            generation: 3,
            reason: Some("drill".parse().unwrap()),
            turned_by: Some("usr_1".to_owned()),
            turned_at: Some(Utc::now()),
        };
        let text = Screen::PIPE.paint(&text(&view));
        assert!(text.starts_with("ENGAGED: software"), "{text}");
        assert!(text.contains("by usr_1 0 s ago") && text.contains("for drill; turn number 3"));
    }
}
