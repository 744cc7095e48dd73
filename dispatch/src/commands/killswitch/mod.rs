//! `dispatch killswitch`: stops software from acting, or lets it act again.

mod drill;

use chrono::{TimeDelta, Utc};
use clap::{Args, Subcommand};
use client::{CallOptions, Client, FilingAnswer};
use contracts::{
    Role, Slug,
    command::{EngageKillSwitch, ReleaseKillSwitch},
    directory::KillSwitchView,
    filing::Filed,
    kill_switch::{KillScope, StopPhase, SwitchStatus},
};

use crate::{
    cli::Global,
    commands::ticket::resolve,
    desk::{Connection, Desk},
    exit::Failure,
    table::{Mark, clean},
    token::parse_ttl,
    words,
};

pub use drill::DrillArgs;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum KillSwitchCommand {
    /// Where software is stopped, how far each stop has come, since when, by whom and why
    Status(StatusArgs),
    /// Stops software from acting, at once; people and SLA clocks go on
    Engage(EngageArgs),
    /// Lets software act again, as far as its stage lets it
    Release(ReleaseArgs),
    /// Measures how soon a switch stops software, on one without real effect, and keeps the report
    Drill(DrillArgs),
}

/// `dispatch killswitch status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub connection: Connection,
}

/// Which switch.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// Where: everything, tenant, operation:NAME, channel:NAME, agent:SUBJECT or ticket:ID; a ticket's
    /// id may be shortened to its beginning or its last 8 digits
    #[arg(long, value_name = "SCOPE", default_value = "tenant", value_parser = parse_scope)]
    pub scope: Scope,

    /// Why: a word such as wrong_dispatches
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,
}

/// `dispatch killswitch engage`.
#[derive(Debug, Args)]
pub struct EngageArgs {
    #[command(flatten)]
    pub which: Which,

    /// Releases itself after this time, such as 30m or 8h; never without it
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    pub expires_in: Option<TimeDelta>,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch killswitch release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(flatten)]
    pub which: Which,

    #[command(flatten)]
    pub connection: Connection,
}

/// A scope as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of it is said.
    Whole(KillScope),
    /// A ticket by the beginning or the end of its id: which one, dispatch-api knows.
    Ticket(String),
}

impl Scope {
    async fn resolve(&self, api: &Client) -> Result<KillScope, Failure> {
        match self {
            Self::Whole(scope) => Ok(scope.clone()),
            Self::Ticket(text) => Ok(KillScope::Ticket {
                ticket_id: resolve(api, text).await?,
            }),
        }
    }
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    let short = text.strip_prefix("ticket:").filter(|id| !id.is_empty());
    let whole = KillScope::of_key(text).map(Scope::Whole);
    whole
        .or_else(|| Some(Scope::Ticket(short?.to_owned())))
        .ok_or_else(|| {
            format!(
                "`{text}` is no scope: everything, tenant, operation:dispatch, channel:sms, \
                 agent:SUBJECT or ticket:tkt_…"
            )
        })
}

/// Looks at the switches, turns one, or tries one out.
pub async fn run(global: &Global, command: KillSwitchCommand) -> Result<(), Failure> {
    let (connection, scope) = match &command {
        KillSwitchCommand::Status(args) => (&args.connection, None),
        KillSwitchCommand::Engage(args) => (&args.connection, Some(&args.which.scope)),
        KillSwitchCommand::Release(args) => (&args.connection, Some(&args.which.scope)),
        KillSwitchCommand::Drill(args) => (&args.connection, None),
    };
    // Software of all tenants is stopped by those who run the installation.
    let usual = match scope {
        Some(Scope::Whole(KillScope::Everything)) => Role::PlatformAdmin,
        _ => Role::TenantAdmin,
    };
    let desk = Desk::open(global, connection, usual)?;
    let result = match &command {
        KillSwitchCommand::Drill(args) => drill::run(&desk, args).await,
        command => turn(&desk, command).await,
    };
    desk.ended(result)
}

async fn turn(desk: &Desk, command: &KillSwitchCommand) -> Result<(), Failure> {
    let options = CallOptions::default();
    match command {
        KillSwitchCommand::Engage(args) => {
            let body = EngageKillSwitch {
                reason: args.which.reason.clone(),
                scope: args.which.scope.resolve(&desk.api).await?,
                expires_at: args.expires_in.map(|time| Utc::now() + time),
            };
            let receipt = desk.api.engage_kill_switch(&body, &options).await?;
            if desk.json {
                return desk.print_json(&receipt);
            }
            desk.print(&desk.screen.paint(&warned(&receipt.filed)))?;
        }
        KillSwitchCommand::Release(args) => {
            let body = ReleaseKillSwitch {
                reason: args.which.reason.clone(),
                scope: args.which.scope.resolve(&desk.api).await?,
            };
            match desk.api.release_kill_switch(&body, &options).await? {
                FilingAnswer::Held(held) if desk.json => return desk.print_json(&held),
                FilingAnswer::Held(held) => {
                    return desk.print(&format!(
                        "not released yet: a second person has to agree ({}); see `dispatch approvals \
                         show {}`\n",
                        held.approval
                            .required_roles
                            .iter()
                            .map(ToString::to_string)
                            .collect::<Vec<_>>()
                            .join(" or "),
                        held.approval.id,
                    ));
                }
                FilingAnswer::Done(receipt) if desk.json => return desk.print_json(&receipt),
                FilingAnswer::Done(_) => {}
            }
        }
        KillSwitchCommand::Status(_) | KillSwitchCommand::Drill(_) => {}
    }
    let view = desk.api.kill_switch().await?;
    if desk.json {
        return desk.print_json(&view);
    }
    desk.print(&desk.screen.paint(&text(&view)))
}

/// What an engagement should make whoever asked for it look at.
fn warned(filed: &Filed) -> String {
    match filed {
        Filed::KillSwitchEngaged {
            warning: Some(warning),
            ..
        } => format!("{}: {}\n", Mark::Bad.on("warning"), clean(warning)),
        _ => String::new(),
    }
}

fn text(view: &KillSwitchView) -> String {
    if view.switches.is_empty() {
        return "no kill switch was ever turned: software acts as far as its stage lets it\n"
            .into();
    }
    let mut text = String::new();
    if !view.switches.iter().any(|switch| switch.engaged) {
        text += "none is engaged: software acts as far as its stage lets it\n";
    }
    // What stops something comes first; switches that were tried once stay in the list.
    let (engaged, released): (Vec<_>, Vec<_>) =
        view.switches.iter().partition(|switch| switch.engaged);
    for switch in engaged.into_iter().chain(released) {
        text += &line(switch);
    }
    text
}

fn line(switch: &SwitchStatus) -> String {
    let state = match switch.phase {
        StopPhase::Running => "released".to_owned(),
        StopPhase::Stopping => Mark::Bad.on("STOPPING"),
        StopPhase::Stopped => Mark::Bad.on("STOPPED"),
    };
    let turned = switch.turned_at;
    // Of the one over everything a tenant is not told.
    let by = switch.turned_by.as_deref();
    let by = by
        .map(|by| format!(" by {}", clean(by)))
        .unwrap_or_default();
    let mut line = format!(
        "{}: {state}; turn {}{} {} ({}), for {}",
        clean(&switch.scope),
        switch.generation,
        by,
        words::ago(turned, Utc::now()),
        words::time(turned),
        switch.reason,
    );
    match (switch.engaged, switch.expires_at) {
        (true, Some(end)) => line += &format!("; releases itself at {}", words::time(end)),
        (false, Some(end)) => line += &format!("; released itself at {}", words::time(end)),
        (_, None) => {}
    }
    if switch.never_seen {
        line += "; nothing that it stops was ever seen in this tenant";
    }
    if switch.workflows_pass {
        line += "; it stops only agents, workflows go on with this";
    }
    if let Some(under_way) = switch.under_way {
        line += &match switch.stop_millis {
            Some(0) => "; no effect of software came after it".to_owned(),
            Some(millis) => format!("; last effect of software after {millis} ms"),
            None => format!(
                "; under way: {} messages, {}",
                under_way.messages,
                match under_way.telling {
                    true => "workflows are being told",
                    false => "all workflows know",
                }
            ),
        };
        if let Some(told) = under_way.told {
            line += &format!("; {told} workflows told");
        }
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    use contracts::kill_switch::UnderWay;

    use super::*;
    use crate::table::Screen;

    fn switch() -> SwitchStatus {
        SwitchStatus {
            scope: "tenant".to_owned(),
            engaged: true,
            phase: StopPhase::Stopped,
            generation: 3,
            reason: "wrong_dispatches".parse().unwrap(),
            turned_by: Some("usr_1".to_owned()),
            turned_at: Utc::now(),
            expires_at: None,
            never_seen: false,
            workflows_pass: false,
            under_way: Some(UnderWay {
                told: Some(7),
                ..UnderWay::default()
            }),
            stop_millis: Some(12),
        }
    }

    fn told(switch: SwitchStatus) -> String {
        let view = KillSwitchView {
            switches: vec![switch],
            ..KillSwitchView::default()
        };
        Screen::PIPE.paint(&text(&view))
    }

    #[test]
    fn a_ticket_may_be_named_in_short() {
        let short = |id: &str| Ok(Scope::Ticket(id.to_owned()));
        assert_eq!(parse_scope("ticket:1234abcd"), short("1234abcd"));
        assert_eq!(parse_scope("ticket:tkt_0193"), short("tkt_0193"));
        let id = format!("tkt_{}", "0".repeat(32));
        let whole = KillScope::Ticket {
            ticket_id: id.parse().unwrap(),
        };
        assert_eq!(
            parse_scope(&format!("ticket:{id}")),
            Ok(Scope::Whole(whole))
        );
        assert_eq!(parse_scope("tenant"), Ok(Scope::Whole(KillScope::Tenant)));
        for wrong in ["ticket:", "agent:", "operation:fly", "1234abcd"] {
            assert!(parse_scope(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_never_seen_is_said() {
        let engaged = |warning: Option<&str>| Filed::KillSwitchEngaged {
            generation: 1,
            reason: "typo".parse().unwrap(),
            scope: KillScope::Tenant,
            expires_at: None,
            warning: warning.map(ToOwned::to_owned),
        };
        let said = |warning| Screen::PIPE.paint(&warned(&engaged(warning)));
        assert_eq!(said(Some("look twice")), "warning: look twice\n");
        assert_eq!(said(None), "");
        let unseen = told(SwitchStatus {
            scope: "agent:typo".to_owned(),
            never_seen: true,
            ..switch()
        });
        assert!(
            unseen.contains("agent:typo: STOPPED") && unseen.contains("was ever seen"),
            "{unseen}"
        );
    }

    #[test]
    fn what_workflows_go_on_with_is_said() {
        assert!(!told(switch()).contains("only agents"));
        let passed = told(SwitchStatus {
            scope: "operation:record_proposal".to_owned(),
            workflows_pass: true,
            ..switch()
        });
        assert!(
            passed.contains("it stops only agents, workflows go on"),
            "{passed}"
        );
    }

    #[test]
    fn each_switch_is_told_in_a_line() {
        assert!(text(&KillSwitchView::default()).starts_with("no kill switch was ever turned"));
        let stopped = told(switch());
        assert!(
            stopped.starts_with("tenant: STOPPED; turn 3 by usr_1 0 s ago"),
            "{stopped}"
        );
        assert!(
            stopped.contains("after 12 ms; 7 workflows told"),
            "{stopped}"
        );
        let stopping = told(SwitchStatus {
            phase: StopPhase::Stopping,
            stop_millis: None,
            under_way: Some(UnderWay {
                messages: 2,
                telling: true,
                told: Some(0),
            }),
            ..switch()
        });
        assert!(
            stopping.contains("STOPPING")
                && stopping.contains("2 messages, workflows are being told"),
            "{stopping}"
        );
        let drill = SwitchStatus {
            scope: "agent:drill".to_owned(),
            engaged: false,
            ..switch()
        };
        let view = KillSwitchView {
            switches: vec![drill, switch()],
            ..KillSwitchView::default()
        };
        let both = Screen::PIPE.paint(&text(&view));
        assert!(both.starts_with("tenant: STOPPED"), "{both}");
        let of_others = told(SwitchStatus {
            scope: "everything".to_owned(),
            turned_by: None,
            under_way: Some(UnderWay::default()),
            ..switch()
        });
        assert!(
            of_others.contains("turn 3 0 s ago") && !of_others.contains("workflows told"),
            "{of_others}"
        );
        let released = told(SwitchStatus {
            engaged: false,
            phase: StopPhase::Running,
            stop_millis: None,
            under_way: None,
            ..switch()
        });
        assert!(
            released.starts_with("none is engaged") && released.contains("tenant: released;"),
            "{released}"
        );
    }
}
