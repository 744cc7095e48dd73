//! `dispatch rollout promote` and `demote`.

use chrono::Utc;
use client::{CallOptions, FilingAnswer};
use contracts::{
    canonical::canonical_sha256,
    command::{DemoteStage, PromoteStage},
    event::AutonomyMode,
    filing::Filed,
    value::is_sha256,
};
use serde_json::Value;

use super::{
    args::{DemoteArgs, PromoteArgs},
    show::mode,
};
use crate::{desk::Desk, exit::Failure, words};

pub(super) async fn promote(desk: &Desk, args: &PromoteArgs) -> Result<(), Failure> {
    let body = PromoteStage {
        target: args.stage.0.clone(),
        to: args.to,
        percent: args.percent,
        report_sha256: args.report.as_deref().map(hash).transpose()?,
        effective_at: args.at.map(|at| at.from(Utc::now())),
        reason: args.reason.clone(),
    };
    let options = CallOptions {
        dry_run: args.dry_run,
        ..CallOptions::default()
    };
    let answer = desk.api.promote_stage(&body, &options).await?;
    match answer {
        FilingAnswer::Done(receipt) if desk.json => desk.print_json(&receipt),
        FilingAnswer::Held(held) if desk.json => desk.print_json(&held),
        FilingAnswer::Done(receipt) => desk.print(&done(&receipt.filed)),
        FilingAnswer::Held(held) => {
            let roles: Vec<_> = held
                .approval
                .required_roles
                .iter()
                .map(ToString::to_string)
                .collect();
            let end = held
                .approval
                .expires_at
                .map_or(String::new(), |at| format!(" until {}", words::time(at)));
            let what = match held.dry_run {
                true => "would wait for another person".to_owned(),
                false => format!("waits for another person as {}", held.approval.id),
            };
            desk.print(&format!(
                "{} to {}: {what}: {}{end}\n",
                body.target.key(),
                mode(body.to, body.percent),
                roles.join(" or ")
            ))
        }
    }
}

pub(super) async fn demote(desk: &Desk, args: &DemoteArgs) -> Result<(), Failure> {
    let body = DemoteStage {
        target: args.stage.0.clone(),
        to: args.to,
        percent: args.percent,
        reason: args.reason.clone(),
    };
    let options = CallOptions::default();
    let receipt = desk.api.demote_stage(&body, &options).await?;
    match desk.json {
        true => desk.print_json(&receipt),
        false => desk.print(&done(&receipt.filed)),
    }
}

fn done(filed: &Filed) -> String {
    match filed {
        // Of a share it cannot be told from here whether it is another one.
        Filed::StageSet {
            target, from, to, ..
        } if from == to && *to != AutonomyMode::Canary => format!(
            "{}: {to} as before; what was to come is called off\n",
            target.key()
        ),
        Filed::StageSet {
            target,
            from,
            to,
            percent,
            effective_at,
        } => {
            let when = effective_at.map_or("from now on".to_owned(), |at| {
                format!("from {} on", words::time(at))
            });
            format!(
                "{}: {from} to {}, {when}\n",
                target.key(),
                mode(*to, *percent)
            )
        }
        _ => "done\n".to_owned(),
    }
}

/// The hash as it is given, or of the report in the file of that name.
fn hash(given: &str) -> Result<String, Failure> {
    let lowercase = given.to_ascii_lowercase();
    if is_sha256(&lowercase) {
        return Ok(lowercase);
    }
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "--report {given}: neither the hash of a report (64 hex digits) nor a file with one: {error}"
        ))
    };
    let text = std::fs::read_to_string(given).map_err(|error| wrong(&error))?;
    let document: Value = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    canonical_sha256(&document).map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_off_is_said() {
        let set = |from, to, percent| {
            done(&Filed::StageSet {
                target: "triage".parse::<super::super::args::Stage>().unwrap().0,
                from,
                to,
                percent,
                effective_at: None,
            })
        };
        use AutonomyMode::*;
        assert_eq!(
            set(Off, Off, None),
            "triage: OFF as before; what was to come is called off\n"
        );
        assert_eq!(
            set(Canary, Canary, Some(5)),
            "triage: CANARY to CANARY 5 %, from now on\n"
        );
    }

    #[test]
    fn a_report_is_named_by_its_hash_or_by_its_file() {
        assert_eq!(hash(&"AB".repeat(32)).unwrap(), "ab".repeat(32));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"b":1, "a":2}"#).unwrap();
        let path = file.path().to_str().unwrap();
        // However it is laid out: the hash is over the canonical document.
        assert_eq!(
            hash(path).unwrap(),
            canonical_sha256(&serde_json::json!({ "a": 2, "b": 1 })).unwrap()
        );
        assert!(hash("no_such_file").is_err());
    }
}
