//! Whatever the rules of a bundle say: software stays within its stage, and stops; and a yes releases
//! what people were asked about.

mod common;

use common::*;
use contracts::{
    ActorKind, Command, Operation, Role, Slug,
    command::{CommsOutbound, RequestChange},
    event::AutonomyMode,
    policy::{
        DenyClass, PolicyDecision, PolicyHour, PolicyInput, PolicyRelease, PolicyResult, PolicyVote,
    },
};
use dispatch_policy::{Bundle, BundleFiles, Trust};
use serde_json::Value;
use strum::VariantArray;

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bundle");

/// The starter, except that its rules let everything pass.
fn lax() -> Bundle {
    let starter = BundleFiles::read(BUNDLE.as_ref()).unwrap();
    let data = starter.iter().filter(|(name, _)| !name.ends_with(".rego"));
    let rules = "package dispatch\n\ndecision := {\"result\": \"ALLOW\", \"reasons\": [], \"obligations\": []}\n";
    let files = BundleFiles::from_texts(data.chain([("dispatch/decision.rego", rules)])).unwrap();
    Bundle::load(Trust::Anybody.accept(files).unwrap()).unwrap()
}

/// The starter, except that whatever it holds any yes releases.
fn heedless() -> Bundle {
    let starter = BundleFiles::read(BUNDLE.as_ref()).unwrap();
    let texts = starter.iter().map(|(name, text)| {
        let heedless = text.replace("not released(reason.code)", "not input.release");
        assert_eq!(heedless != text, name == "dispatch/holds.rego", "{name}");
        (name, heedless)
    });
    let files = BundleFiles::from_texts(texts).unwrap();
    Bundle::load(Trust::Anybody.accept(files).unwrap()).unwrap()
}

/// Released by somebody who may release nearly anything, after people were asked about these.
fn released(input: &PolicyInput, codes: Option<&[&str]>) -> PolicyInput {
    let roles = [
        Role::Dispatcher,
        Role::AccountManager,
        Role::Qa,
        Role::Billing,
    ];
    PolicyInput {
        release: Some(PolicyRelease {
            approval_id: id("apr", 1),
            proposer: input.actor.clone(),
            codes: codes.map(|codes| codes.iter().map(|&code| code.to_owned()).collect()),
            votes: vec![PolicyVote {
                actor_id: "somebody-else".into(),
                roles: roles.into(),
            }],
        }),
        ..input.clone()
    }
}

fn codes(decision: &PolicyDecision) -> Vec<&str> {
    decision.reasons.iter().map(|it| it.code.as_str()).collect()
}

fn asked(kind: ActorKind, operation: Operation) -> PolicyInput {
    let mut input = ask(person(Role::Dispatcher), command(operation));
    input.actor.kind = kind;
    input
}

/// Class of the refusal.
fn refused(bundle: &Bundle, input: &PolicyInput) -> Option<DenyClass> {
    let decision = bundle.evaluate(input).unwrap();
    let recorded = serde_json::to_string(input).unwrap();
    assert_eq!(bundle.evaluate_recorded(&recorded).unwrap(), decision);
    (decision.result == PolicyResult::Deny).then(|| decision.reasons[0].class)
}

#[test]
fn what_rules_let_pass_stays_within_the_stage() {
    let bundle = lax();
    for operation in Operation::VARIANTS {
        let books = bundle.autonomy().bookkeeping.contains(operation);
        for mode in AutonomyMode::VARIANTS {
            for kind in [ActorKind::Agent, ActorKind::Workflow] {
                let mut input = asked(kind, *operation);
                input.autonomy = *mode;
                let expected = (!books && *mode != AutonomyMode::Auto).then_some(DenyClass::Stage);
                assert_eq!(
                    refused(&bundle, &input),
                    expected,
                    "{operation} {mode} {kind}"
                );
            }
            let mut input = asked(ActorKind::Person, *operation);
            input.autonomy = *mode;
            assert_eq!(refused(&bundle, &input), None, "people are not staged");
        }
    }
}

#[test]
fn what_rules_let_pass_stops_with_the_kill_switch() {
    let bundle = lax();
    for operation in Operation::VARIANTS {
        for kind in [ActorKind::Agent, ActorKind::Workflow] {
            let mut input = asked(kind, *operation);
            input.autonomy = AutonomyMode::Auto;
            input.kill_switch = true;
            let through = bundle.autonomy().through_kill_switch.contains(operation);
            let books = kind == ActorKind::Workflow && through;
            let expected = (!books).then_some(DenyClass::KillSwitch);
            assert_eq!(refused(&bundle, &input), expected, "{operation} {kind}");
            input.kill_switch_override = Some(Slug::new("storm").unwrap());
            assert_eq!(refused(&bundle, &input), None, "{operation} {kind}");
        }
        let mut input = asked(ActorKind::Person, *operation);
        input.kill_switch = true;
        assert_eq!(refused(&bundle, &input), None, "people go on");
    }
}

/// Each question that the bundle holds for people, with what it holds it for.
fn held(bundle: &Bundle) -> Vec<(PolicyInput, PolicyDecision)> {
    let software = [ActorKind::Agent, ActorKind::Workflow];
    let kinds = software.into_iter().flat_map(|kind| {
        let operations = Operation::VARIANTS.iter();
        operations.map(move |operation| PolicyInput {
            autonomy: AutonomyMode::Approve,
            ..asked(kind, *operation)
        })
    });
    let dear: Command = RequestChange {
        scope: slug("shopfront"),
        price_delta_cents: 900_000,
        note: None,
    }
    .into();
    let dear = ask(person(Role::Technician), dear);
    let questions = kinds.chain([dear]);
    let decided = questions.map(|input| {
        let decision = bundle.evaluate(&input).unwrap();
        (input, decision)
    });
    decided
        .filter(|(_, decision)| decision.result == PolicyResult::RequireApproval)
        .collect()
}

#[test]
fn a_yes_releases_what_was_asked_and_nothing_else() {
    let bundle = heedless();
    let held = held(&bundle);
    let several = held.iter().filter(|(_, it)| it.reasons.len() > 1);
    assert!(held.len() > 10 && several.count() > 0, "{}", held.len());
    for (input, bare) in held {
        let all = codes(&bare);
        let decide = |codes: Option<&[&str]>| bundle.evaluate(&released(&input, codes)).unwrap();
        let operation = input.operation;
        assert_eq!(
            decide(Some(&all)).result,
            PolicyResult::Allow,
            "{operation}"
        );
        // Of what was recorded before there were codes nobody knows what was asked.
        assert_eq!(decide(None).result, PolicyResult::Allow, "{operation}");
        let need = bare.approval.as_ref().unwrap();
        for unasked in &all {
            let others: Vec<&str> = all.iter().copied().filter(|it| it != unasked).collect();
            let decision = decide(Some(&others));
            assert_eq!(
                decision.result,
                PolicyResult::RequireApproval,
                "{operation}"
            );
            assert_eq!(codes(&decision), [*unasked], "{operation}");
            let rest = decision.approval.as_ref().unwrap();
            assert_eq!(rest.plan, need.plan, "{operation}");
            let wanted = need.demands.iter().filter(|it| it.code == *unasked);
            assert!(rest.demands.iter().eq(wanted), "{operation}");
            let recorded = serde_json::to_string(&released(&input, Some(&others))).unwrap();
            assert_eq!(bundle.evaluate_recorded(&recorded).unwrap(), decision);
        }
    }
}

/// Whom rules want to agree by the time it is carried out must have said yes, each of them once, whatever
/// those rules make of a release.
#[test]
fn a_yes_of_too_few_releases_nothing() {
    let count_of = |name: &str, text: &str, count: u64| match name {
        "approvals/data.json" => {
            let mut data: Value = serde_json::from_str(text).unwrap();
            data["rules"]["STAGE_APPROVE"]["count"] = count.into();
            data.to_string()
        }
        _ => text.to_owned(),
    };
    let heedless = heedless();
    let of = |count: u64| {
        let files = heedless.files().iter();
        let texts = files.map(|(name, text)| (name, count_of(name, text, count)));
        let files = BundleFiles::from_texts(texts).unwrap();
        Bundle::load(Trust::Anybody.accept(files).unwrap()).unwrap()
    };
    let asked = PolicyInput {
        autonomy: AutonomyMode::Approve,
        ..asked(ActorKind::Agent, Operation::Triage)
    };
    let released_by = |votes: &[(&str, Role)]| {
        let mut input = released(&asked, Some(&["STAGE_APPROVE"]));
        let votes = votes.iter().map(|(who, role)| PolicyVote {
            actor_id: (*who).to_owned(),
            roles: [*role].into(),
        });
        input.release.as_mut().unwrap().votes = votes.collect();
        input
    };
    let (one, two) = (of(1), of(2));
    let passes = |bundle: &Bundle, votes: &[(&str, Role)]| {
        let decision = bundle.evaluate(&released_by(votes)).unwrap();
        let held = decision.result == PolicyResult::RequireApproval;
        assert_eq!(
            codes(&decision),
            if held { vec!["STAGE_APPROVE"] } else { vec![] }
        );
        !held
    };
    let (a, b) = (("a", Role::Dispatcher), ("b", Role::Dispatcher));
    assert!(passes(&one, &[a]) && passes(&two, &[a, b]));
    // By an escalation.
    assert!(passes(&one, &[("c", Role::AccountManager)]));
    assert!(passes(&two, &[a, ("c", Role::TenantAdmin)]));
    assert!(!passes(&one, &[]) && !passes(&one, &[("d", Role::Billing)]));
    assert!(!passes(&two, &[a]) && !passes(&two, &[a, a]));
    assert!(
        !passes(&two, &[a, ("someone", Role::Dispatcher)]),
        "who asked"
    );
}

/// What a person has released is not what software does by itself in an hour; that it is night by now
/// is another thing, though the rules deny it for both where nobody released it.
#[test]
fn what_rules_deny_besides_hides_nothing() {
    let bundle = heedless();
    let Command::CommsOutbound(body) = command(Operation::CommsOutbound) else {
        panic!("a message")
    };
    let message: Command = CommsOutbound {
        send_at: Some("2026-11-21T23:00:00Z".parse().unwrap()),
        ..body
    }
    .into();
    let cap = bundle.autonomy().caps.commands_per_hour;
    let by_night = PolicyInput {
        autonomy: AutonomyMode::Auto,
        hour: Some(PolicyHour {
            of_operation: 0,
            in_all: cap,
            spent_cents: 0,
            spends_cents: 0,
        }),
        ..ask(actor(ActorKind::Agent, &[]), message)
    };
    let bare = bundle.evaluate(&by_night).unwrap();
    assert_eq!(bare.result, PolicyResult::Deny);
    assert_eq!(codes(&bare), ["AUTONOMY_CAP_COUNT", "QUIET_HOURS"]);
    let asked = bundle.evaluate(&released(&by_night, Some(&["QUIET_HOURS"])));
    assert_eq!(asked.unwrap().result, PolicyResult::Allow);
    let unasked = bundle.evaluate(&released(&by_night, Some(&["STAGE_APPROVE"])));
    let unasked = unasked.unwrap();
    assert_eq!(unasked.result, PolicyResult::Deny);
    assert_eq!(codes(&unasked), ["QUIET_HOURS"]);
}

/// What software asked for where it may act, because of something else, is no longer its to do at a
/// lower stage: of that people know nothing where the rules say nothing of stages.
#[test]
fn a_yes_to_something_else_lifts_no_stage() {
    let bundle = lax();
    for (mode, kind, expected) in [
        (AutonomyMode::Auto, ActorKind::Agent, None),
        (
            AutonomyMode::Approve,
            ActorKind::Agent,
            Some(DenyClass::Stage),
        ),
        (
            AutonomyMode::Shadow,
            ActorKind::Agent,
            Some(DenyClass::Stage),
        ),
        (AutonomyMode::Approve, ActorKind::Person, None),
    ] {
        let mut input = asked(kind, Operation::Triage);
        input.autonomy = mode;
        let released = released(&input, Some(&["NTE_DELTA"]));
        assert_eq!(refused(&bundle, &released), expected, "{mode} {kind}");
    }
}
