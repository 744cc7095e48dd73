//! Stages: promotion, demotion, what comes later, and the report that it is decided on.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use contracts::{
    CommandId, Operation, Role,
    approval::{Approval, StepKind},
    autonomy::{StageGate, StageSetting, StageTarget},
    canonical::{canonical_json, canonical_sha256},
    command::{ApplyStageChange, ChangeApprovalDue, DemoteStage, PromoteStage, RecordGateReport},
    comms::{OnlyWhile, Purpose, Recipient},
    event::AutonomyMode,
    filing::Filed,
    policy::PolicyReport,
    rollout::{GateReport, StageChange, Superseding},
};
use serde_json::json;
use uuid::Uuid;

use super::{tests::facts, *};
use crate::{
    rollout::{TurnedSwitch, rank},
    testing::{monday, slug},
};

fn target() -> StageTarget {
    StageTarget {
        operation: Operation::Dispatch,
        risk: None,
    }
}

fn at(mode: AutonomyMode, percent: Option<u8>) -> FilingFacts {
    let mut facts = facts();
    facts.autonomy.stages = vec![StageSetting {
        target: target(),
        mode,
        percent,
        version: 4,
    }];
    facts.comms.audiences = BTreeMap::from([(Purpose::StageChanged, vec![Role::TenantAdmin])]);
    facts
}

fn promote(to: AutonomyMode, percent: Option<u8>) -> PromoteStage {
    PromoteStage {
        target: target(),
        to,
        percent,
        report_sha256: None,
        effective_at: None,
        reason: slug("good_figures"),
    }
}

fn demote(to: AutonomyMode, percent: Option<u8>) -> DemoteStage {
    DemoteStage {
        target: target(),
        to,
        percent,
        reason: slug("guardrail_overridden"),
    }
}

fn run(command: impl Into<Command>, facts: &FilingFacts) -> Result<Filing, Rejection> {
    decide(&command.into(), facts)
}

fn wrong(command: impl Into<Command>, facts: &FilingFacts) -> String {
    match run(command, facts) {
        Err(Rejection::InvalidField { pointer, .. }) => pointer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_promotion_goes_up_and_a_demotion_down() {
    use AutonomyMode::*;
    let canary = at(Canary, Some(10));
    for (to, percent) in [
        (Off, None),
        (Shadow, None),
        (Approve, None),
        (Canary, Some(10)),
        (Canary, Some(9)),
    ] {
        assert_eq!(wrong(promote(to, percent), &canary), "/to", "{to}");
    }
    for (to, percent) in [(Canary, Some(10)), (Canary, Some(11)), (Auto, None)] {
        assert_eq!(wrong(demote(to, percent), &canary), "/to", "{to}");
    }
    for filing in [
        run(promote(Auto, None), &canary).unwrap(),
        run(promote(Canary, Some(11)), &canary).unwrap(),
        run(demote(Approve, None), &canary).unwrap(),
        run(demote(Canary, Some(9)), &canary).unwrap(),
    ] {
        assert_eq!((filing.applied_to_version, filing.produced_version), (4, 5));
        let row = filing.row.unwrap();
        assert_eq!(
            (&row["from"], &row["operation"]),
            (&"CANARY".into(), &"dispatch".into())
        );
        assert!(row["effective_at"].is_null() && row["applies"].is_null());
        // People hear of it, whatever comes after.
        let [notice] = &filing.notices[..] else {
            panic!()
        };
        assert_eq!(notice.purpose, Purpose::StageChanged);
        assert_eq!(notice.only_while, OnlyWhile::Always);
        assert_eq!(
            notice.recipient,
            Recipient::Roles {
                roles: vec![Role::TenantAdmin]
            }
        );
    }
}

#[test]
fn a_stage_that_nobody_set_stands_at_the_default() {
    let fresh = facts();
    let filing = run(promote(AutonomyMode::Approve, None), &fresh).unwrap();
    assert_eq!((filing.applied_to_version, filing.produced_version), (0, 1));
    assert_eq!(filing.row.unwrap()["from"], "SHADOW");
    run(demote(AutonomyMode::Off, None), &fresh).unwrap();
    let seen = FilingFacts {
        expected_version: Some(1),
        ..fresh
    };
    assert_eq!(
        run(promote(AutonomyMode::Approve, None), &seen),
        Err(Rejection::VersionConflict {
            expected: 1,
            actual: 0
        })
    );
}

#[test]
fn a_share_is_for_canary_and_a_stage_for_what_software_could_do() {
    use AutonomyMode::*;
    let shadow = at(Shadow, None);
    for (to, percent) in [
        (Canary, None),
        (Canary, Some(0)),
        (Canary, Some(100)),
        (Approve, Some(5)),
    ] {
        assert_eq!(wrong(promote(to, percent), &shadow), "/percent");
    }
    for operation in [
        Operation::SetTicketAutonomy,
        Operation::CreateTicket,
        Operation::DecideApproval,
        Operation::PromoteStage,
        Operation::RecordProposal,
    ] {
        let mut body = promote(Approve, None);
        body.target.operation = operation;
        assert_eq!(wrong(body, &shadow), "/target/operation", "{operation}");
    }
    let mut body = promote(Approve, None);
    body.target.risk = Some(slug("unheard_of"));
    assert_eq!(wrong(body.clone(), &shadow), "/target/risk");
    body.target.risk = Some(slug("standard"));
    let filing = run(body, &shadow).unwrap();
    assert_eq!(
        (filing.applied_to_version, &filing.row.unwrap()["risk"]),
        (4, &"standard".into())
    );

    let mut low = at(Shadow, None);
    low.autonomy.ceiling = Approve;
    assert_eq!(
        wrong(promote(Auto, None), &low),
        "/to",
        "this environment allows no more"
    );
}

#[test]
fn a_report_serves_for_the_stage_that_it_was_made_at() {
    let mut facts = at(AutonomyMode::Approve, None);
    let report = |mode, version: i64| {
        Some(PolicyReport {
            kind: "gate".to_owned(),
            age_minutes: 1,
            subject: "dispatch".to_owned(),
            figures: BTreeMap::from([
                ("from_mode".to_owned(), rank(mode)),
                ("stage_version".to_owned(), version),
            ]),
        })
    };
    let body = || promote(AutonomyMode::Auto, None);
    facts.control.report = report(AutonomyMode::Approve, 4);
    run(body(), &facts).unwrap();
    // Demoted and promoted again since: the mode is the same and the report is old.
    facts.control.report = report(AutonomyMode::Approve, 2);
    assert_eq!(wrong(body(), &facts), "/report_sha256");
    facts.control.report = report(AutonomyMode::Shadow, 4);
    assert_eq!(wrong(body(), &facts), "/report_sha256");
}

fn planned(facts: &FilingFacts) -> StageChange {
    StageChange {
        command_id: CommandId::from_uuid(Uuid::from_u128(77)),
        target: target(),
        from: AutonomyMode::Approve,
        to: AutonomyMode::Canary,
        percent: Some(5),
        report_sha256: Some("ab".repeat(32)),
        reason: slug("good_figures"),
        decided_by: "usr_a".to_owned(),
        decided_at: facts.now - TimeDelta::hours(2),
        effective_at: facts.now,
        applied_at: None,
        stage_version: 4,
        superseded: false,
        superseded_by: None,
    }
}

#[test]
fn what_is_decided_for_later_changes_nothing_until_then() {
    let mut facts = at(AutonomyMode::Approve, None);
    let mut body = promote(AutonomyMode::Canary, Some(5));
    for wrong_at in [facts.now, facts.now + TimeDelta::days(32)] {
        body.effective_at = Some(wrong_at);
        assert_eq!(wrong(body.clone(), &facts), "/effective_at");
    }
    body.effective_at = Some(facts.now + TimeDelta::hours(2));
    let filing = run(body, &facts).unwrap();
    assert_eq!((filing.applied_to_version, filing.produced_version), (4, 4));
    assert!(filing.writes && !filing.row.unwrap()["effective_at"].is_null());

    let apply = || ApplyStageChange {
        change: planned(&self::facts()).command_id,
    };
    assert_eq!(run(apply(), &facts), Err(Rejection::NotFound));
    facts.control.change = Some(planned(&facts));
    let filing = run(apply(), &facts).unwrap();
    assert_eq!((filing.applied_to_version, filing.produced_version), (4, 5));
    assert_eq!(filing.operation, Some(Operation::PromoteStage));
    let row = filing.row.unwrap();
    assert_eq!(row["applies"], serde_json::json!(apply().change));
    assert_eq!((&row["to"], &row["percent"]), (&"CANARY".into(), &5.into()));

    let refused = |edit: &dyn Fn(&mut FilingFacts)| {
        let mut facts = facts.clone();
        edit(&mut facts);
        assert_eq!(wrong(apply(), &facts), "/change");
    };
    let change = |edit: fn(&mut StageChange)| {
        move |facts: &mut FilingFacts| edit(facts.control.change.as_mut().unwrap())
    };
    refused(&change(|change| {
        change.applied_at = Some(change.effective_at)
    }));
    refused(&change(|change| change.superseded = true));
    refused(&change(|change| change.stage_version = 3));
    refused(&change(|change| {
        change.effective_at += TimeDelta::minutes(1)
    }));
    // It has moved on and stands where it stood: the clock does not tell, the version does.
    refused(&|facts| facts.autonomy.stages[0].version = 6);
}

#[test]
fn what_comes_due_is_looked_at_again() {
    let mut facts = at(AutonomyMode::Approve, None);
    let change = planned(&facts);
    let apply = ApplyStageChange {
        change: change.command_id,
    };
    facts.control.change = Some(change);
    // The environment allows less than when it was decided.
    let said = |facts: &FilingFacts| match run(apply.clone(), facts) {
        Err(Rejection::InvalidField { pointer, message }) if pointer == "/change" => message,
        other => panic!("{other:?}"),
    };
    let mut low = facts.clone();
    low.autonomy.ceiling = AutonomyMode::Approve;
    let message = said(&low);
    assert!(
        message.contains("leads to CANARY") && message.contains("no more than APPROVE"),
        "{message}"
    );
    // A switch that stood at its time, or was turned since; whoever reads what is due may not know yet.
    let turned = |scope: &str, until| TurnedSwitch {
        scope: scope.to_owned(),
        until,
    };
    for scope in ["everything", "tenant", "operation:dispatch"] {
        for until in [None, Some(facts.now)] {
            let mut stopped = facts.clone();
            stopped.control.turned = vec![turned(scope, until)];
            assert!(said(&stopped).contains("kill switch"), "{scope}");
        }
    }
    facts.control.turned = vec![
        turned("tenant", Some(facts.now - TimeDelta::minutes(1))),
        turned("operation:triage", None),
    ];
    run(apply.clone(), &facts).unwrap();
}

#[test]
fn what_is_to_come_is_called_off_where_the_stage_stands() {
    use AutonomyMode::*;
    for (mode, percent, farther) in [
        (Off, None, (Shadow, None)),
        (Approve, None, (Canary, Some(5))),
        (Canary, Some(10), (Canary, Some(11))),
    ] {
        let mut facts = at(mode, percent);
        let Err(Rejection::InvalidField { pointer, message }) = run(demote(mode, percent), &facts)
        else {
            panic!("{mode}")
        };
        assert_eq!(pointer, "/to");
        assert!(message.contains("no change of it is to come"), "{message}");
        facts.control.change = Some(planned(&facts));
        let filing = run(demote(mode, percent), &facts).unwrap();
        // The next version, at which what was decided on the one before is void.
        assert_eq!((filing.applied_to_version, filing.produced_version), (4, 5));
        let row = filing.row.unwrap();
        assert_eq!((&row["from"], &row["to"]), (&row["to"], &json!(mode)));
        assert_eq!(row["percent"], json!(percent));
        assert!(row["effective_at"].is_null() && row["applies"].is_null());
        // It is no way up.
        assert_eq!(wrong(demote(farther.0, farther.1), &facts), "/to");
    }
}

#[test]
fn why_a_change_is_void_is_said() {
    let mut facts = at(AutonomyMode::Shadow, None);
    let mut change = planned(&facts);
    change.stage_version = 3;
    change.superseded = true;
    change.superseded_by = Some(Superseding {
        command_id: CommandId::from_uuid(Uuid::from_u128(78)),
        target: target(),
        to: AutonomyMode::Shadow,
        reason: slug("wrong_dispatches"),
        decided_by: "usr_b".to_owned(),
        at: facts.now,
    });
    let body = ApplyStageChange {
        change: change.command_id,
    };
    facts.control.change = Some(change);
    let Err(Rejection::InvalidField { message, .. }) = run(body, &facts) else {
        panic!()
    };
    for said in [
        "version 3",
        "version 4",
        "dispatch to SHADOW by usr_b (wrong_dispatches)",
    ] {
        assert!(message.contains(said), "{message}");
    }
}

/// What is set for all classes and for one of them.
fn apart(general: u64, own: Option<u64>) -> FilingFacts {
    let mut facts = at(AutonomyMode::Shadow, None);
    facts.autonomy.stages[0].version = general;
    facts
        .autonomy
        .stages
        .extend(own.map(|version| StageSetting {
            target: of_standard(),
            mode: AutonomyMode::Shadow,
            percent: None,
            version,
        }));
    facts
}

fn of_standard() -> StageTarget {
    StageTarget {
        risk: Some(slug("standard")),
        ..target()
    }
}

#[test]
fn what_stands_of_a_class_that_has_left_the_bundle_goes_back() {
    use AutonomyMode::*;
    let gone = StageTarget {
        operation: Operation::Dispatch,
        risk: Some(slug("unheard_of")),
    };
    let back = |to| DemoteStage {
        target: gone.clone(),
        ..demote(to, None)
    };
    let mut set = at(Shadow, None);
    assert_eq!(
        wrong(back(Off), &set),
        "/target/risk",
        "nothing of it is there"
    );
    set.autonomy.stages.push(StageSetting {
        target: gone.clone(),
        mode: Approve,
        percent: None,
        version: 7,
    });
    for to in [Shadow, Off] {
        assert_eq!(run(back(to), &set).unwrap().applied_to_version, 7);
    }
    assert_eq!(wrong(back(Approve), &set), "/to", "nothing is to come");
    let further = PromoteStage {
        target: gone.clone(),
        ..promote(Canary, Some(5))
    };
    assert_eq!(wrong(further, &set), "/target/risk");

    // What is to come of it is called off where it stands: where the stage for all does.
    let mut coming = at(Shadow, None);
    let mut change = planned(&coming);
    change.target = gone.clone();
    coming.control.change = Some(change);
    assert_eq!(run(back(Shadow), &coming).unwrap().applied_to_version, 4);
    assert_eq!(run(back(Off), &coming).unwrap().applied_to_version, 4);
}

#[test]
fn a_risk_class_without_a_setting_of_its_own_moves_with_the_stage_for_all() {
    let body = || PromoteStage {
        target: of_standard(),
        ..promote(AutonomyMode::Approve, None)
    };
    let expecting = |version, facts: FilingFacts| FilingFacts {
        expected_version: Some(version),
        ..facts
    };
    let conflict = |expected, actual| Err(Rejection::VersionConflict { expected, actual });
    let filing = run(body(), &expecting(4, apart(4, None))).unwrap();
    assert_eq!((filing.applied_to_version, filing.produced_version), (4, 5));
    // The stage for all was changed after it was looked at.
    assert_eq!(run(body(), &expecting(4, apart(5, None))), conflict(4, 5));
    let down = DemoteStage {
        target: of_standard(),
        ..demote(AutonomyMode::Off, None)
    };
    assert_eq!(run(down, &expecting(4, apart(5, None))), conflict(4, 5));
    // Once it has one of its own, the stage for all is another matter, either way.
    assert!(run(body(), &expecting(5, apart(9, Some(5)))).is_ok());
    assert_eq!(
        run(body(), &expecting(4, apart(4, Some(5)))),
        conflict(4, 5)
    );
    let for_all = promote(AutonomyMode::Approve, None);
    assert!(run(for_all, &expecting(4, apart(4, Some(5)))).is_ok());

    // So with a report and with what was decided for later.
    let report = PolicyReport {
        kind: "gate".to_owned(),
        age_minutes: 1,
        subject: of_standard().key(),
        figures: BTreeMap::from([
            ("from_mode".to_owned(), rank(AutonomyMode::Shadow)),
            ("stage_version".to_owned(), 4),
        ]),
    };
    let reported = |mut facts: FilingFacts| {
        facts.control.report = Some(report.clone());
        facts
    };
    assert!(run(body(), &reported(apart(4, None))).is_ok());
    assert_eq!(wrong(body(), &reported(apart(5, None))), "/report_sha256");
    assert_eq!(
        wrong(body(), &reported(apart(4, Some(5)))),
        "/report_sha256"
    );
    let apply = ApplyStageChange {
        change: planned(&facts()).command_id,
    };
    let come = |mut facts: FilingFacts| {
        let mut change = planned(&facts);
        change.target = of_standard();
        facts.control.change = Some(change);
        facts
    };
    assert!(run(apply.clone(), &come(apart(4, None))).is_ok());
    assert_eq!(wrong(apply.clone(), &come(apart(5, None))), "/change");
    assert_eq!(wrong(apply, &come(apart(4, Some(5)))), "/change");
}

#[test]
fn a_report_is_kept_under_the_hash_of_its_document() {
    let mut facts = at(AutonomyMode::Approve, None);
    let body = |since: i64, until: i64| RecordGateReport {
        target: target(),
        since: monday() + TimeDelta::hours(since),
        until: monday() + TimeDelta::hours(until),
    };
    assert_eq!(wrong(body(-1, 1), &facts), "/until");
    assert_eq!(wrong(body(-24 * 93, 0), &facts), "/since");
    // Nobody leaves out what was last.
    assert_eq!(wrong(body(-24 * 28, -1), &facts), "/until");
    assert_eq!(wrong(body(0, 0), &facts), "/since");
    assert!(matches!(
        run(body(-1, 0), &facts),
        Err(Rejection::Broken { .. })
    ));
    facts.control.ledger = Some(LedgerFacts::default());
    let filing = run(body(-1, 0), &facts).unwrap();
    let row = filing.row.unwrap();
    let document = row["document"].as_str().unwrap();
    let sha256 = canonical_sha256(&serde_json::from_str::<serde_json::Value>(document).unwrap());
    let sha256 = sha256.unwrap();
    assert_eq!(row["sha256"], *sha256);
    assert_eq!(filing.filed, Filed::Report { sha256 });
    assert_eq!(
        (&row["kind"], &row["subject"]),
        (&"gate".into(), &"dispatch".into())
    );
    assert_eq!(row["figures"]["from_mode"], 2);
    let report: GateReport = serde_json::from_str(document).unwrap();
    assert_eq!(canonical_json(&report).unwrap(), document);
    assert_eq!(report.stage_version, 4);
    assert_eq!(
        run(body(-1, 0), &facts).unwrap().row.unwrap()["document"],
        document
    );
    let ahead = |seconds: i64| RecordGateReport {
        until: monday() + TimeDelta::seconds(seconds),
        ..body(-1, 0)
    };
    let row = run(ahead(60), &facts).unwrap().row.unwrap();
    assert_eq!(row["document"], document, "a clock that is ahead");
    assert_eq!(wrong(ahead(61), &facts), "/until");
    assert!(run(ahead(-600), &facts).is_ok(), "sent again");
    assert_eq!(wrong(ahead(-601), &facts), "/until");
}

/// A promotion to AUTO with a reminder, another and an end, after so many minutes.
fn asked_for(minutes: [i64; 3]) -> Approval {
    let steps = [StepKind::Reminder, StepKind::Reminder, StepKind::Expiry];
    let steps = steps.into_iter().zip(minutes);
    let steps: Vec<_> = steps
        .map(|(step, minute)| json!({ "step": step, "at": monday() + TimeDelta::minutes(minute) }))
        .collect();
    serde_json::from_value(json!({
        "id": format!("apr_{}", "0".repeat(32)), "kind": "promotion", "state": "pending",
        "operation": "promote_stage", "requested_by": "usr_a",
        "required_roles": ["tenant_admin"], "request_sha256": "", "version": 1,
        "request": { "to": "AUTO" }, "requested_at": monday(), "steps": steps,
        "expires_at": monday() + TimeDelta::minutes(minutes[2]),
        "decided_by": null, "decided_at": null, "reason": null,
    }))
    .unwrap()
}

/// What is left of that plan where the promotion is held, after how many minutes.
fn plan_left(promotion: &Command, facts: &FilingFacts) -> Result<Vec<(StepKind, i64)>, Rejection> {
    let filing = hold(promotion, asked_for([240, 1440, 4320]), facts)?;
    let [Effect::OpenApproval(held)] = &filing.effects[..] else {
        panic!("{filing:?}");
    };
    let end = held.steps.last().map(|step| step.at);
    assert_eq!(held.expires_at, end);
    let Filed::Held { ends_at, .. } = filing.filed else {
        panic!("{filing:?}");
    };
    let whole = monday() + TimeDelta::minutes(4320);
    assert_eq!(ends_at, end.filter(|end| *end < whole), "it says so");
    let after = |at: DateTime<Utc>| (at - monday()).num_minutes();
    let steps = held.steps.iter();
    Ok(steps.map(|step| (step.step, after(step.at))).collect())
}

/// A yes after the end of the report would be void: nobody is asked for so long.
#[test]
fn a_promotion_is_asked_for_as_long_as_its_report_serves() {
    let asked = |age_minutes, most: u32, report: bool| {
        let mut facts = at(AutonomyMode::Canary, Some(10));
        let gate = StageGate {
            min_window_days: 0,
            min_sample: 1,
            min_agreement_permille: 0,
            max_denied_permille: 0,
            max_overridden_permille: 0,
            max_breaches: 0,
            max_age_minutes: most,
        };
        facts.autonomy.rules.gates = [(AutonomyMode::Auto, gate)].into();
        facts.control.report = report.then(|| PolicyReport {
            kind: "gate".to_owned(),
            age_minutes,
            subject: "dispatch".to_owned(),
            figures: BTreeMap::new(),
        });
        facts
    };
    let promotion: Command = promote(AutonomyMode::Auto, None).into();
    let plan = |facts: &FilingFacts| plan_left(&promotion, facts);
    use StepKind::{Expiry, Reminder};
    let whole = [(Reminder, 240), (Reminder, 1440), (Expiry, 4320)];
    assert_eq!(plan(&asked(0, 1440, false)).unwrap(), whole);
    assert_eq!(plan(&asked(0, 4321, true)).unwrap(), whole);
    let cut = [(Reminder, 240), (Expiry, 1430)];
    assert_eq!(plan(&asked(10, 1440, true)).unwrap(), cut);
    assert_eq!(plan(&asked(1439, 1440, true)).unwrap(), [(Expiry, 1)]);
    let Err(Rejection::InvalidField { pointer, .. }) = plan(&asked(1440, 1440, true)) else {
        panic!("nobody could decide it");
    };
    assert_eq!(pointer, "/report_sha256");

    // Nor is its end put off beyond that.
    let mut facts = asked(10, 1440, true);
    facts.approval = Some(asked_for([240, 1440, 1430]));
    let put_off = |minutes: i64| ChangeApprovalDue {
        approval_id: facts.approval.as_ref().unwrap().id,
        expires_at: monday() + TimeDelta::minutes(minutes),
        reason: slug("holiday"),
    };
    assert!(run(put_off(1430), &facts).is_ok());
    assert_eq!(wrong(put_off(1431), &facts), "/expires_at");

    // What is to come later is asked for until then, where that is before: a yes to what should hold
    // already would be void, too.
    let later = |minutes: i64| {
        let effective_at = Some(monday() + TimeDelta::minutes(minutes));
        let promotion = PromoteStage {
            effective_at,
            ..promote(AutonomyMode::Auto, None)
        };
        Command::from(promotion)
    };
    let facts = asked(10, 1440, true);
    let soon = [(Reminder, 240), (Expiry, 300)];
    assert_eq!(plan_left(&later(300), &facts).unwrap(), soon);
    assert_eq!(plan_left(&later(1431), &facts).unwrap(), cut);
    let unread = asked(0, 1440, false);
    assert_eq!(plan_left(&later(300), &unread).unwrap(), soon);
    assert_eq!(plan_left(&later(4321), &unread).unwrap(), whole);
    for mut facts in [facts, unread] {
        let mut approval = asked_for([240, 1440, 300]);
        approval.request["effective_at"] = json!(monday() + TimeDelta::minutes(300));
        facts.approval = Some(approval);
        assert!(run(put_off(300), &facts).is_ok());
        assert_eq!(wrong(put_off(301), &facts), "/expires_at");
    }
}
