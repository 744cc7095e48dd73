//! `dispatch rollout show` and `history`.

use chrono::{DateTime, Utc};
use contracts::{
    event::AutonomyMode,
    rollout::{RolloutView, StageChange, StageHistory},
};

use super::args::HistoryArgs;
use crate::{
    desk::Desk,
    exit::Failure,
    table::{Mark, Screen, Table, clean},
    words,
};

pub(super) async fn stages(desk: &Desk) -> Result<(), Failure> {
    let view = desk.api.rollout().await?;
    match desk.json {
        true => desk.print_json(&view),
        false => desk.print(&text(&view, desk.screen, Utc::now())),
    }
}

pub(super) async fn history(desk: &Desk, args: &HistoryArgs) -> Result<(), Failure> {
    let history = desk.api.rollout_history(args.operation).await?;
    match desk.json {
        true => desk.print_json(&history),
        false => desk.print(&changes(&history, desk.screen, Utc::now())),
    }
}

/// `AUTO`, or `CANARY 10 %`.
pub(super) fn mode(mode: AutonomyMode, percent: Option<u8>) -> String {
    match percent {
        Some(percent) => format!("{mode} {percent} %"),
        None => mode.to_string(),
    }
}

fn text(view: &RolloutView, screen: Screen, now: DateTime<Utc>) -> String {
    let mut table = Table::new(&["STAGE", "MODE", "HOLDS", "SINCE", "BY", "WHY", "TO COME"]);
    for stage in &view.stages {
        let nobody = || "–".to_owned();
        let to_come = stage.to_come.iter().map(|change| {
            let to = mode(change.to, change.percent);
            let word = match change.effective_at <= now {
                true => "due since",
                false => "at",
            };
            format!("{to} {word} {}", words::minute(change.effective_at))
        });
        let holds = match stage.effective == stage.mode {
            true => mode(stage.mode, stage.percent),
            false => stage.effective.to_string(),
        };
        table.row([
            stage.target.key(),
            mode(stage.mode, stage.percent),
            match stage.effective >= AutonomyMode::Approve {
                true => Mark::Warn.on(&holds),
                false => holds,
            },
            stage.set_at.map_or_else(nobody, |at| words::ago(at, now)),
            stage.set_by.as_deref().map_or_else(nobody, clean),
            stage
                .reason
                .as_ref()
                .map_or_else(nobody, ToString::to_string),
            to_come.collect::<Vec<_>>().join(", "),
        ]);
    }
    let risks: Vec<_> = view.risks.iter().map(ToString::to_string).collect();
    format!(
        "{}ceiling of this environment: {}; where nothing is set: {}; risk classes: {}\n",
        table.render(screen, &[0, 1, 2]),
        view.ceiling,
        view.default_mode,
        risks.join(", ")
    )
}

fn changes(history: &StageHistory, screen: Screen, now: DateTime<Utc>) -> String {
    if history.items.is_empty() {
        return "no stage was ever changed\n".to_owned();
    }
    let mut table = Table::new(&[
        "DECIDED",
        "STAGE",
        "FROM",
        "TO",
        "BY",
        "WHY",
        "WHAT CAME OF IT",
        "REPORT",
    ]);
    for change in &history.items {
        let report = change.report_sha256.as_deref().unwrap_or("–");
        table.row([
            words::time(change.decided_at),
            change.target.key(),
            change.from.to_string(),
            mode(change.to, change.percent),
            clean(&change.decided_by),
            change.reason.to_string(),
            came_of(change, now),
            report.chars().take(12).collect(),
        ]);
    }
    table.render(screen, &[0, 1])
}

/// What is due comes within seconds; what does not was stopped, and waits for people.
fn came_of(change: &StageChange, now: DateTime<Utc>) -> String {
    match change.applied_at {
        Some(at) if at == change.decided_at => "applied at once".to_owned(),
        Some(at) => format!("applied {}", words::time(at)),
        None if change.superseded => void(change),
        None if change.effective_at <= now => {
            format!("due since {}", words::time(change.effective_at))
        }
        None => format!("comes {}", words::time(change.effective_at)),
    }
}

/// What moved the stage on from where it was decided.
fn void(change: &StageChange) -> String {
    let by = change.superseded_by.as_ref().map_or(String::new(), |by| {
        format!(
            ": {} to {} by {} before ({})",
            by.target.key(),
            by.to,
            clean(&by.decided_by),
            by.reason
        )
    });
    format!("void, decided on version {}{by}", change.stage_version)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use contracts::{
        Operation,
        autonomy::StageTarget,
        rollout::{StageView, Superseding},
    };

    use super::*;

    fn change() -> StageChange {
        StageChange {
            command_id: "cmd_00000000000000000000000000000001".parse().unwrap(),
            target: StageTarget {
                operation: Operation::Dispatch,
                risk: Some("emergency".parse().unwrap()),
            },
            from: AutonomyMode::Approve,
            to: AutonomyMode::Canary,
            percent: Some(5),
            report_sha256: Some("ab".repeat(32)),
            reason: "good_figures".parse().unwrap(),
            decided_by: "usr_1".to_owned(),
            decided_at: DateTime::UNIX_EPOCH,
            effective_at: DateTime::UNIX_EPOCH,
            applied_at: None,
            stage_version: 3,
            superseded: false,
            superseded_by: None,
        }
    }

    #[test]
    fn a_ceiling_shows_in_what_holds() {
        let change = change();
        let view = RolloutView {
            ceiling: AutonomyMode::Approve,
            default_mode: AutonomyMode::Shadow,
            risks: vec!["emergency".parse().unwrap(), "standard".parse().unwrap()],
            stages: vec![StageView {
                target: change.target.clone(),
                mode: AutonomyMode::Auto,
                percent: None,
                effective: AutonomyMode::Approve,
                version: 3,
                set_by: Some("usr_1".to_owned()),
                set_at: Some(Utc::now()),
                reason: Some("good_figures".parse().unwrap()),
                to_come: vec![change],
            }],
        };
        let text = text(&view, Screen::PIPE, Utc::now());
        let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[..3], ["dispatch/emergency", "AUTO", "APPROVE"]);
        assert!(text.contains("CANARY 5 % due since "), "{text}");
        let before = self::text(
            &view,
            Screen::PIPE,
            DateTime::UNIX_EPOCH - TimeDelta::days(1),
        );
        assert!(before.contains("CANARY 5 % at "), "{before}");
        assert!(
            text.contains("ceiling of this environment: APPROVE"),
            "{text}"
        );
    }

    #[test]
    fn what_came_of_a_change_is_said() {
        let mut change = change();
        let now = change.effective_at;
        let came_of = |change: &StageChange| came_of(change, now);
        assert!(came_of(&change).starts_with("due since 1970"));
        change.effective_at += TimeDelta::minutes(1);
        assert!(came_of(&change).starts_with("comes 1970"));
        change.superseded = true;
        change.superseded_by = Some(Superseding {
            command_id: "cmd_00000000000000000000000000000002".parse().unwrap(),
            target: StageTarget {
                operation: Operation::Dispatch,
                risk: None,
            },
            to: AutonomyMode::Shadow,
            reason: "wrong_dispatches".parse().unwrap(),
            decided_by: "usr_2".to_owned(),
            at: DateTime::UNIX_EPOCH,
        });
        assert_eq!(
            came_of(&change),
            "void, decided on version 3: dispatch to SHADOW by usr_2 before (wrong_dispatches)"
        );
        change.applied_at = Some(change.decided_at);
        assert_eq!(came_of(&change), "applied at once");
    }
}
